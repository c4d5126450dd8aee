//! A new layer, option, field or variant breaks no code that uses
//! the library: everything that may grow is `#[non_exhaustive]`.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules without promises: internals, and what checks the library.
const NOT_PROMISED: [&str; 12] = [
    "bin/",
    "conformance/",
    "cpu/",
    "feed/",
    "kernel/",
    "layout",
    "oracle",
    "pack",
    "plan/",
    "rule.rs",
    "tests/",
    "tests.rs",
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

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Returns the public enums of `text`, and its public structs with public fields, that may not grow.
fn closed(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let Some(item) = line.trim_start().strip_prefix("pub ") else { continue };
        let Some((kind, name)) = item.split_once(' ').filter(|(kind, _)| ["enum", "struct"].contains(kind)) else {
            continue;
        };
        let body = lines[place + 1..].iter().take_while(|line| line.trim() != "}");
        let has_fields = kind == "enum" || body.clone().any(|line| line.trim_start().starts_with("pub "));
        let attributes = lines[..place].iter().rev().take_while(|line| line.trim_start().starts_with("#["));
        if line.ends_with('{') && has_fields && !attributes.clone().any(|line| line.trim() == "#[non_exhaustive]") {
            found.push(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '$').collect());
        }
    }
    found
}

#[test]
fn what_grows_is_non_exhaustive() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root);
    assert!(files.len() > 300, "only {} files seen", files.len());
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        if NOT_PROMISED.iter().any(|part| path.starts_with(part) || path.ends_with(part)) || path.contains("/tests/") {
            continue;
        }
        let names = closed(&fs::read_to_string(&file).unwrap());
        let names = names.into_iter().filter(|name| !CLOSED.contains(&name.as_str()));
        found.extend(names.map(|name| format!("{path}: {name}: expected #[non_exhaustive], or a row in CLOSED")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_enum_or_struct_is_found() {
    assert_eq!(closed("pub enum Cell {\n    Rnn,\n}\n"), ["Cell"]);
    assert_eq!(closed("#[non_exhaustive]\n#[derive(Clone)]\npub enum Cell {\n}\n"), [""; 0]);
    assert_eq!(closed("#[derive(Clone)]\npub struct Layer {\n    pub name: String,\n}\n"), ["Layer"]);
    assert_eq!(closed("pub struct Node {\n    layer: usize,\n}\npub fn f() {}\n"), [""; 0]);
    assert_eq!(closed("pub(crate) enum Own {\n}\n"), [""; 0]);
    assert_eq!(closed("        pub struct $name {\n            pub like: Convention,\n        }\n"), ["$name"]);
}
