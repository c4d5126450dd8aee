//! All public names by path: a name that comes, goes or moves is seen in review, and the crate's root stays short.
//!
//! Reads the sources. Names behind the feature `testing`, and
//! documents that are rendered with the crate, are not listed.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::golden;

/// The root has fewer names than this, including modules.
const AT_THE_ROOT: usize = 40;

/// Returns every public path below the file of a module: `folder` has its modules' files, `module` is its own path.
fn public(text: &str, folder: &Path, module: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut skipped = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(") {
            skipped |= line.contains("feature = \"testing\"") && !line.contains("not(") || line.contains("(doc,");
        }
        if line.trim_start().starts_with(['#', '/']) || line.is_empty() {
            continue;
        }
        // An item with all its lines: to the `;` of an import, or to the brace that closes a module.
        let mut item = line.to_owned();
        let end = match line {
            _ if line.ends_with(';') || line.ends_with('}') => None,
            _ if line.starts_with("pub use ") => Some("};"),
            _ if line.ends_with('{') => Some("}"),
            _ => None,
        };
        if let Some(end) = end {
            for line in lines.by_ref() {
                item.push('\n');
                item.push_str(line);
                if line == end {
                    break;
                }
            }
        }
        if !std::mem::take(&mut skipped)
            && let Some(item) = item.strip_prefix("pub ")
        {
            add(item, folder, module, &mut names);
        }
    }
    names
}

/// Adds the names of the item after `pub `.
fn add(item: &str, folder: &Path, module: &str, names: &mut BTreeSet<String>) {
    let named = |name: &str| format!("{module}::{name}");
    if let Some(tree) = item.strip_prefix("use ") {
        names.extend(leaves(tree.trim_end_matches(';')).iter().map(|name| named(name)));
        return;
    }
    let words: Vec<&str> =
        item.split_whitespace().filter(|word| !["async", "const", "unsafe"].contains(word)).collect();
    // A constant has no other word before its name.
    let name = match words[..] {
        ["enum" | "fn" | "mod" | "static" | "struct" | "trait" | "type", name, ..] => name,
        [name, ..] => name,
        [] => return,
    };
    let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    names.insert(named(&name));
    if words[0] != "mod" {
        return;
    }
    match item.split_once('{') {
        Some((_, body)) => {
            let body: Vec<&str> = body.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
            names.extend(public(&body.join("\n"), &folder.join(&name), &named(&name)));
        }
        None => names.extend(public_file(folder, &name, &named(&name))),
    }
}

/// Returns the names in the tree of an import.
fn leaves(tree: &str) -> Vec<String> {
    let name = |path: &str| path.rsplit(" as ").next().and_then(|path| path.rsplit("::").next()).map(str::to_owned);
    match tree.split_once('{') {
        None => name(tree.trim()).into_iter().collect(),
        Some((_, group)) => {
            assert!(!group.contains('{'), "expected one group in an import, got {tree}");
            let items = group.trim_end_matches('}').split(',').map(str::trim);
            items.filter(|item| !item.is_empty()).filter_map(name).collect()
        }
    }
}

/// Returns the names of the module `name`, whose file is in `folder`.
fn public_file(folder: &Path, name: &str, module: &str) -> BTreeSet<String> {
    let (own, below) = (folder.join(format!("{name}.rs")), folder.join(name));
    public(&read(&if own.exists() { own } else { below.join("mod.rs") }), &below, module)
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Returns all public paths of the crate. The modules that collect names are in src/api.rs.
fn of_the_crate() -> BTreeSet<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = public(&read(&sources.join("lib.rs")), &sources, "gatewave");
    let gathered = public(&read(&sources.join("api.rs")), &sources, "gatewave");
    names.extend(gathered.into_iter().filter(|path| path.matches("::").count() > 1));
    names
}

#[test]
fn the_public_names_are_those_of_the_golden_file() {
    let names: Vec<String> = of_the_crate().into_iter().map(|name| name + "\n").collect();
    assert!(names.len() > 150, "only {} names seen", names.len());
    golden::assert_file("tests/golden/public.txt", &names.concat());
}

#[test]
fn the_root_has_few_names() {
    let names = of_the_crate();
    let root: Vec<&String> = names.iter().filter(|path| path.matches("::").count() == 1).collect();
    assert!(root.len() > 20 && root.len() < AT_THE_ROOT, "{} names at the crate's root: {root:#?}", root.len());
}

/// A library's user builds none of the command line's dependencies.
#[test]
fn the_default_features_have_nothing_of_the_command_line() {
    let manifest = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let feature = |name: &str| -> Vec<String> {
        let (_, list) = manifest.split_once(&format!("\n{name} = [")).expect("a feature of that name");
        let (list, _) = list.split_once(']').expect("the end of the list");
        list.split(',').map(|word| word.trim().trim_matches('"').to_owned()).filter(|word| !word.is_empty()).collect()
    };
    assert_eq!(feature("default"), ["gpu", "keras", "onnx", "torch", "csv"]);
    let of_the_command_line = feature("cli");
    let needed = of_the_command_line.iter().filter_map(|word| word.strip_prefix("dep:")).collect::<Vec<_>>();
    assert!(needed.contains(&"clap"), "{needed:?}");
    for name in needed {
        let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = ")));
        assert!(line.is_some_and(|line| line.contains("optional = true")), "{name} is built by all");
    }
}

#[test]
fn a_name_of_each_kind_is_seen() {
    let text = "\
pub use a::{B, c as D};
pub(crate) use a::Hidden;
#[cfg(feature = \"testing\")]
pub use a::Tests;
#[cfg(all(feature = \"gpu\", not(target_arch = \"wasm32\")))]
pub use a::adapters;
pub mod inner {
    /// Text.
    pub struct E;
    #[cfg(feature = \"testing\")]
    pub mod own {
        pub struct Tests;
    }
    pub use crate::{
        F, G,
    };
}
pub const H: usize = 1;
pub const fn i() {}
impl J {
    pub fn method() {}
}
pub enum K {
    L,
}
";
    let names = public(text, Path::new(""), "x");
    let expected = [
        "x::B",
        "x::D",
        "x::H",
        "x::K",
        "x::adapters",
        "x::i",
        "x::inner",
        "x::inner::E",
        "x::inner::F",
        "x::inner::G",
    ];
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
