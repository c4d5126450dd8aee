//! No two files of a module import each other, directly or through others.
//!
//! Reads `super::` and `crate::ROOM::` paths. Names that a module re-exports for its own files make no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::{code, files, group_items};

/// Folders whose files are kept apart.
const ROOMS: &[&str] = &[
    "cpu",
    "data",
    "engine",
    "formats",
    "formats/description",
    "formats/keras",
    "formats/onnx",
    "gpu",
    "plan/lower",
    "recipe",
    "weights",
];

/// Files of a module that may import each other, since they share one type.
const ONE_TYPE: &[(&str, &[&str])] = &[("engine", &["begin", "pending", "push", "streams"])];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns the file of a module that `path`, below the module's folder, is
/// or belongs to. Returns `None` for the module's own file, and for tests.
fn file_of(path: &str) -> Option<&str> {
    let first = path.split('/').next()?.trim_end_matches(".rs");
    (!["mod", "tests"].contains(&first) && !path.contains("/tests")).then_some(first)
}

/// Returns what the file at `path`, in module `room`, imports, by the names of the module's files.
fn imports(room: &str, path: &str, text: &str) -> BTreeSet<String> {
    let own = format!("crate::{}::", room.replace('/', "::"));
    // Deeper down, `super` is a file of the module.
    let near = !path.contains('/') || path.split('/').count() == 2 && path.ends_with("/mod.rs");
    let roots = near.then_some("super::").into_iter().chain([own.as_str()]);
    let code = code(text);
    let mut names = BTreeSet::new();
    for root in roots {
        for (at, _) in code.match_indices(root) {
            let after = &code[at + root.len()..];
            match after.strip_prefix('{') {
                Some(group) => names.extend(group_items(group).iter().map(|item| word(item))),
                None => drop(names.insert(word(after))),
            }
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Returns files that import each other, each circle once.
fn circles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            for import in &imports[file] {
                if let Some((import, _)) = imports.get_key_value(import)
                    && seen.insert(import)
                {
                    next.push(import);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|file| (file, reached(file))).collect();
    let circle = |file: &&String| {
        let back = |other: &&&String| *other != file && reached[**other].contains(*file);
        let others: BTreeSet<&String> = reached[*file].iter().filter(back).copied().collect();
        (!others.is_empty()).then(|| others.into_iter().chain([*file]).cloned().collect::<BTreeSet<_>>())
    };
    imports.keys().collect::<Vec<_>>().iter().filter_map(circle).map(|files| files.into_iter().collect()).collect()
}

fn of_room(room: &str) -> Imports {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    let mut all = Imports::new();
    for file in files::files(&folder, &["rs"]) {
        let path = files::name(&folder, &file);
        if let Some(name) = file_of(&path) {
            let found = imports(room, &path, &fs::read_to_string(&file).expect("a readable file"));
            all.entry(name.to_owned()).or_default().extend(found.into_iter().filter(|import| import != name));
        }
    }
    all
}

#[test]
fn no_files_of_a_room_import_each_other() {
    let mut found = Vec::new();
    for room in ROOMS {
        let imports = of_room(room);
        assert!(imports.len() > 3, "only {} files seen in {room}", imports.len());
        let mut circles = circles(&imports);
        for (_, files) in ONE_TYPE.iter().filter(|(of, _)| of == room) {
            assert!(
                circles.remove(&files.iter().map(|&file| file.to_owned()).collect::<Vec<_>>()),
                "{room}: no circle of {files:?}: take it out"
            );
        }
        found.extend(circles.into_iter().map(|circle| format!("{room}: {circle:?}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let room = |files: &[(&str, &str)]| -> BTreeSet<Vec<String>> {
        let of = |(path, text): &(&str, &str)| {
            (file_of(path).expect("a file of the room").to_owned(), imports("gpu", path, text))
        };
        circles(&files.iter().map(of).collect())
    };
    let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(room(&[("a.rs", "use super::b::B;"), ("b.rs", "use super::{c, d::{e, f}};"), ("c.rs", "")]), [].into());
    let by_way =
        [("a.rs", "use super::b;"), ("b.rs", "use super::{d, c::C};"), ("c/x.rs", "fn f() -> crate::gpu::a::A {}")];
    assert_eq!(room(&by_way), [vec![a.clone(), b.clone(), c]].into());
    let two = [("a.rs", "// super::c\nuse super::b::B;"), ("b/mod.rs", "use super::a;"), ("c.rs", "use super::a;")];
    assert_eq!(room(&two), [vec![a, b]].into());
    // Files below another one, and tests, belong to it.
    assert_eq!(room(&[("a/x.rs", "use super::b;"), ("b.rs", "use super::a;\n")]), [].into());
    assert_eq!(room(&[("a.rs", "use super::b;"), ("b.rs", "#[cfg(test)]\nmod tests {\nuse super::a;\n}")]), [].into());
}
