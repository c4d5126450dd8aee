//! A new layer, option, field or variant breaks no code that uses the library: everything that may grow is
//! `#[non_exhaustive]`.
//!
//! Reads the sources. Public are all names in `tests/golden/public.txt`, and what a public method takes or gives: all
//! types that are `pub` in a file with promises.

#[path = "support/files.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests have it in a module, and use all of it")]
mod files;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Modules without promises: internals, and what checks the library. A type of theirs may still have a public name.
const NOT_PROMISED: [&str; 11] =
    ["bin/", "conformance/", "cpu/", "feed/", "kernel/", "layout", "oracle", "pack", "plan/", "rule.rs", "tests.rs"];

/// Types of these modules that only share their name with a public one.
const NAMESAKES: [(&str, &str); 5] = [
    ("conformance/mod.rs", "Part"),
    ("kernel/binding.rs", "Role"),
    ("kernel/program.rs", "Join"),
    ("layout.rs", "Role"),
    ("plan/gradients.rs", "Gradients"),
];

/// Types that are closed by their meaning.
const CLOSED: [&str; 12] = [
    // There are two ways, and no third.
    "Axes",
    "Coupling",
    "Peepholes",
    "Reset",
    "Sequence",
    "Side",
    // The parts of an equation: functions f, g, h; states h, c; groups of features.
    "Features",
    "Functions",
    "LearnedStates",
    "States",
    // Not for users.
    "KernelTime",
    "Numbers",
];

/// Returns the public enums of `text`, and its public structs that code could write down, which may not grow: those
/// with a public field, and those without fields.
fn closed(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let Some(item) = line.trim_start().strip_prefix("pub ") else { continue };
        let Some((kind, item)) = item.split_once(' ').filter(|(kind, _)| ["enum", "struct"].contains(kind)) else {
            continue;
        };
        let name: String = item.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '$').collect();
        let body = lines[place + 1..].iter().take_while(|line| line.trim() != "}");
        let is_open = match item.strip_prefix(&*name).unwrap_or_default() {
            ";" => true,
            after if after.ends_with('{') => {
                kind == "enum" || body.clone().any(|line| line.trim_start().starts_with("pub "))
            }
            // The fields of a tuple, or an item that ends on its line.
            after => after.contains("pub ") || kind == "enum",
        };
        let above = lines[..place].iter().rev().map(|line| line.trim());
        let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        if is_open && !attributes.any(|line| line == "#[non_exhaustive]") {
            found.push(name);
        }
    }
    found
}

/// Returns the last part of each public path.
fn public_names(root: &Path) -> BTreeSet<String> {
    let paths = fs::read_to_string(root.join("tests/golden/public.txt")).expect("the list of public names");
    paths.lines().filter_map(|path| path.rsplit("::").next()).map(str::to_owned).collect()
}

#[test]
fn what_grows_is_non_exhaustive() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let public = public_names(root);
    assert!(public.len() > 150, "only {} public names", public.len());
    let sources = root.join("src");
    let all = files::files(&sources, &["rs"]);
    assert!(all.len() > 300, "only {} files seen", all.len());
    let (mut found, mut closed_ones, mut namesakes, mut skipped) =
        (Vec::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for file in all {
        let path = files::name(&sources, &file);
        let part = NOT_PROMISED.iter().find(|part| path.starts_with(**part) || path.ends_with(**part));
        skipped.extend(part);
        let is_promised = part.is_none() && !path.contains("/tests/");
        for name in closed(&fs::read_to_string(&file).unwrap()) {
            let (row, namesake) = (CLOSED.iter().find(|row| **row == name), (path.as_str(), name.as_str()));
            let namesake = NAMESAKES.iter().find(|row| **row == namesake);
            match (row, namesake) {
                _ if !is_promised && !public.contains(&name) => {}
                (Some(row), _) => drop(closed_ones.insert(*row)),
                (_, Some(row)) => drop(namesakes.insert(*row)),
                _ => found.push(format!("{path}: {name}: expected #[non_exhaustive], or a row in CLOSED")),
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    // A row that holds for nothing would hide the next type of its name.
    assert_eq!(closed_ones, BTreeSet::from(CLOSED), "the rows of CLOSED that are used");
    assert_eq!(namesakes, BTreeSet::from(NAMESAKES), "the rows of NAMESAKES that are used");
    assert_eq!(skipped, BTreeSet::from(NOT_PROMISED.each_ref()), "the rows of NOT_PROMISED that are used");
}

#[test]
fn a_planted_enum_or_struct_is_found() {
    assert_eq!(closed("pub enum Cell {\n    Rnn,\n}\n"), ["Cell"]);
    assert_eq!(closed("pub enum Cell<'a, T> {\n    Rnn,\n}\n"), ["Cell"]);
    assert_eq!(closed("pub enum Never {}\n"), ["Never"]);
    assert_eq!(closed("#[non_exhaustive]\n#[derive(Clone)]\npub enum Cell {\n}\n"), [""; 0]);
    assert_eq!(closed("#[non_exhaustive]\n/// Text.\npub enum Cell {\n}\n"), [""; 0]);
    assert_eq!(closed("#[derive(Clone)]\npub struct Layer {\n    pub name: String,\n}\n"), ["Layer"]);
    assert_eq!(closed("pub struct Node {\n    layer: usize,\n}\npub fn f() {}\n"), [""; 0]);
    assert_eq!(closed("pub struct Lstm;\npub struct Id(pub usize);\npub struct Own(usize);\n"), ["Lstm", "Id"]);
    assert_eq!(closed("#[non_exhaustive]\npub struct Lstm;\n"), [""; 0]);
    assert_eq!(closed("pub(crate) enum Own {\n}\n"), [""; 0]);
    assert_eq!(closed("        pub struct $name {\n            pub like: Convention,\n        }\n"), ["$name"]);
}
