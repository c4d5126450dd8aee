//! Which module may import which: data flows in one direction, given in this table.
//!
//! Reads every `crate::` path in the code of `src/` (tests inside it are exempt) and every mention of wgpu.

#[path = "layering/circles.rs"]
mod circles;
#[path = "support/files.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests have it in a module, and use all of it")]
mod files;
#[path = "support/golden.rs"]
#[allow(unreachable_pub, reason = "other tests have it in a module")]
mod golden;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A module of the library and the modules it may import. All may import those of `EVERYONES`; each may import itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("platform", &[]),
    ("precision", &[]),
    ("random", &[]),
    ("table", &[]),
    ("dropout", &["random"]),
    ("cell", &[]),
    ("model", &["cell"]),
    ("call", &["model"]),
    ("summary", &["model", "cell", "table"]),
    ("weights", &["model", "cell"]),
    ("formats", &["model", "weights", "cell"]),
    ("rule", &[]),
    ("recipe", &["model", "weights", "random", "rule"]),
    ("named", &["model", "call", "weights"]),
    ("loss", &["model", "call", "cell"]),
    ("oracle", &["model", "weights", "cell", "call", "loss", "dropout", "random"]),
    ("kernel", &["cell", "rule"]),
    ("layout", &["model", "kernel", "cell"]),
    ("pack", &["weights", "layout", "kernel", "model", "cell"]),
    ("plan", &["model", "layout", "kernel", "cell", "dropout", "rule"]),
    ("feed", &["call", "model", "plan", "kernel", "layout"]),
    ("cpu", &["plan", "kernel", "layout", "pack", "cell", "random", "rule"]),
    ("gpu", &["plan", "kernel", "pack"]),
    // It replaces `gpu` if that is not built.
    ("gpu_absent", &["plan", "kernel", "pack"]),
    (
        "engine",
        &[
            "cell", "model", "call", "named", "summary", "weights", "formats", "oracle", "kernel", "layout", "pack",
            "plan", "feed", "cpu", "gpu", "loss", "dropout", "rule",
        ],
    ),
    ("parts", &["engine", "formats", "named", "table"]),
    ("data", &["model", "call", "named", "loss", "cell", "formats", "recipe", "table"]),
    (
        "trainer",
        &[
            "engine", "model", "call", "named", "loss", "recipe", "weights", "formats", "random", "dropout", "rule",
            "plan",
        ],
    ),
    (
        "conformance",
        &["oracle", "model", "weights", "cell", "call", "kernel", "loss", "plan", "recipe", "trainer", "engine"],
    ),
];

/// The modules that every module may import.
const EVERYONES: &[&str] = &["error", "platform", "precision"];

/// The only module that may mention wgpu.
const KNOWS_WGPU: &str = "gpu";

/// The only file that may mention the other runtime.
const KNOWS_RTEN: &str = "parts/foreign.rs";

/// The only module that may ask the system for a clock or for threads, or may wait: a browser has other ones.
const KNOWS_THE_SYSTEM: &str = "platform";

/// The words that do so.
const OF_THE_SYSTEM: &[&str] =
    &["time::Instant", "SystemTime", "std::thread", "catch_unwind", "rayon::", "pollster", "web_time"];

/// Returns the imports of file `path` (under `src/`) that it may not have.
fn violations(path: &str, text: &str) -> Vec<String> {
    let module = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let code = code(text);
    let mut found = Vec::new();
    if module != KNOWS_WGPU && mentions_wgpu(&code) {
        found.push(format!("{path}: mentions wgpu or naga; only {KNOWS_WGPU} may"));
    }
    if path != KNOWS_RTEN && (code.contains("rten::") || code.contains("rten_")) {
        found.push(format!("{path}: mentions rten; only {KNOWS_RTEN} may"));
    }
    // The crate's root, its public modules and the binary are above all modules; tests may use anything.
    if ["lib", "api", "bin"].contains(&module) || path.ends_with("/tests.rs") || path.contains("/tests/") {
        return found;
    }
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        found.push(format!("{path}: module {module} is not in the table"));
        return found;
    };
    let asked = OF_THE_SYSTEM.iter().filter(|word| module != KNOWS_THE_SYSTEM && code.contains(**word));
    found.extend(asked.map(|word| format!("{path}: asks for `{word}`; only {KNOWS_THE_SYSTEM} may")));
    if climbs_to_the_root(path, &code) {
        found.push(format!("{path}: reaches the crate's root by `super::`; write `crate::`"));
    }
    for import in imports(&code) {
        let import = import.as_str();
        if import != module && !EVERYONES.contains(&import) && !allowed.contains(&import) {
            found.push(format!("{path}: imports {import}; {module} may import {allowed:?}"));
        }
    }
    found
}

/// `text` without comments and without the tests at its end.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        // Tests that need a feature have its attribute on a line of its own.
        let is_module = |next: &&str| next.starts_with("mod ") || next.starts_with("#[cfg(feature");
        if line == "#[cfg(test)]" && lines.peek().is_some_and(is_module) {
            break;
        }
        code += line.split("//").next().unwrap_or_default();
        code.push('\n');
    }
    code
}

fn mentions_wgpu(code: &str) -> bool {
    code.contains("wgpu::") || code.contains("use wgpu") || code.contains("naga::")
}

/// Whether `super` leads out of the module: unindented in the module's own file, twice anywhere else.
fn climbs_to_the_root(path: &str, code: &str) -> bool {
    let top = match path.split_once('/') {
        None => true,
        Some((_, file)) => file == "mod.rs",
    };
    code.contains("super::super::") || top && code.lines().any(|line| line.starts_with("use super::"))
}

/// The first names of all `crate::` paths: `crate::a::B` and `use crate::{a::B, c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let after = &code[at + "crate::".len()..];
        match after.strip_prefix('{') {
            Some(group) => names.extend(group_items(group).iter().map(|item| word(item))),
            None => drop(names.insert(word(after))),
        }
    }
    names
}

/// The items of a `{…}` group, whose `{` is already read.
fn group_items(group: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(group[start..at].trim());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

#[test]
fn each_module_imports_only_what_stands_before_it_on_the_road() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files::files(&root, &["rs"]);
    assert!(files.len() > 15, "only {} files seen", files.len());
    let mut found = Vec::new();
    for file in &files {
        let path = files::name(&root, file);
        found.extend(violations(&path, &fs::read_to_string(file).unwrap()));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_row_of_the_table_is_a_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let missing: Vec<_> = MAY_IMPORT
        .iter()
        .map(|(module, _)| module)
        .filter(|module| !root.join(format!("{module}.rs")).exists() && !root.join(module).is_dir())
        .collect();
    assert!(missing.is_empty(), "rows without a file under src/: {missing:?}");
}

#[test]
fn the_page_on_architecture_has_the_table() {
    let row = |(module, allowed): &(&str, &[&str])| {
        let allowed: Vec<_> = allowed.iter().map(|name| format!("`{name}`")).collect();
        format!("| `{module}` | {} |\n", if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") })
    };
    let rows: String = MAY_IMPORT.iter().map(row).collect();
    golden::assert_part("ARCHITECTURE.md", "imports", &format!("\n| module | may import |\n| --- | --- |\n{rows}\n"));
}

#[test]
fn a_planted_violation_is_found() {
    let found = |path: &str, text: &str| violations(path, text).len();
    assert_eq!(found("plan/lower.rs", "use crate::gpu::Device;\n"), 1);
    assert_eq!(found("oracle.rs", "use crate::{cell::Cell, layout::{Layout, Form}, plan};\n"), 2);
    assert_eq!(found("oracle.rs", "use crate::{\n    cell::Cell,\n    pack,\n};\n"), 1);
    assert_eq!(found("cell.rs", "fn f() -> crate::model::Model {}\n"), 1);
    assert_eq!(found("cell.rs", "use super::model;\n"), 1);
    assert_eq!(found("plan/mod.rs", "use super::model;\n"), 1);
    assert_eq!(found("plan/tune.rs", "use super::super::weights;\n"), 1);
    assert_eq!(found("cpu/mod.rs", "fn f(d: &wgpu::Device) {}\n"), 1);
    assert_eq!(found("bin/gatewave/main.rs", "use wgpu::Instance;\n"), 1);
    assert_eq!(found("cpu/tests.rs", "use wgpu::Instance;\n"), 1);
    assert_eq!(found("model.rs", "use crate::Weights;\n"), 1);
    assert_eq!(found("helpers.rs", ""), 1);
    assert_eq!(found("plan/tune.rs", "use std::time::Instant;\n"), 1);
    assert_eq!(found("error.rs", "use crate::cell::Cell;\n"), 1);
    assert_eq!(found("platform.rs", "use crate::plan::Plan;\n"), 1);
    assert_eq!(found("feed.rs", "use rayon::prelude::*;\n"), 1);
    assert_eq!(found("parts.rs", "use rten::Model;\n"), 1);
}

#[test]
fn what_the_table_allows_is_not_a_violation() {
    let allowed = "// crate::gpu\nuse crate::error::Result;\nuse crate::{cell::Cell, plan};\nuse super::tune;\n";
    assert_eq!(violations("plan/lower.rs", allowed), [""; 0]);
    assert_eq!(violations("gpu/device.rs", "use wgpu::Device;\nuse crate::plan::Plan;\n"), [""; 0]);
    assert_eq!(violations("platform.rs", "use std::time::Instant;\n"), [""; 0]);
    assert_eq!(violations("gpu/tests.rs", "use crate::cell::Cell;\n"), [""; 0]);
    assert_eq!(violations("cpu/tests/mod.rs", "use super::*;\nuse crate::layout::Layout;\n"), [""; 0]);
    assert_eq!(violations("plan/lower/mod.rs", "use super::tune;\n"), [""; 0]);
    assert_eq!(violations("pack.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::oracle;\n}\n"), [""; 0]);
}
