//! Files and folders of this project that tests walk or copy, and the arguments of the commands in its texts.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns all files below `folder` by their paths, in order; of these extensions alone if there are some.
pub fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if extensions.is_empty()
            || path.extension().is_some_and(|got| extensions.iter().any(|wanted| got == *wanted))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the path of `file` from `root`, with slashes on every system.
pub fn name(root: &Path, file: &Path) -> String {
    let path = file.strip_prefix(root).expect("a file below the root");
    path.to_str().expect("a name in UTF-8").replace('\\', "/")
}

/// Copies these folders of the project into `place`, where commands then run as at the project's root.
pub fn copy(folders: &[&str], place: impl AsRef<Path>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in folders.iter().flat_map(|folder| files(&root.join(folder), &[])) {
        let copy = place.as_ref().join(name(root, &file));
        fs::create_dir_all(copy.parent().expect("a file has a folder")).expect("the folder can be made");
        fs::copy(&file, &copy).unwrap_or_else(|e| panic!("{}: {e}", copy.display()));
    }
}

/// Returns the words of a command, whose quotes have no quotes within.
pub fn arguments(command: &str) -> Vec<&str> {
    let parts = command.split('"').enumerate();
    parts
        .flat_map(|(at, part)| if at % 2 == 0 { part.split_whitespace().collect::<Vec<_>>() } else { vec![part] })
        .collect()
}
