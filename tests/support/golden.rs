//! Golden texts: files of this repository that a test compares with its
//! results. `BLESS=1` rewrites them, never on continuous integration.

use std::env;
use std::fs;
use std::path::Path;

/// Compares `text` with the file `name` of this repository.
#[track_caller]
pub fn assert_file(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if is_blessed() {
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
        fs::write(&path, text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let wanted = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}; BLESS=1 makes it"));
    let differs = wanted.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(wanted == text, "{name} differs, first in {differs:?}; BLESS=1 rewrites it:\n{text}");
}

/// Compares `text` with the part of file `name` between the comments that mark the beginning and the end of `part`.
#[track_caller]
pub fn assert_part(name: &str, part: &str, text: &str) {
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("the file is there");
    let (begin, end) = (format!("<!-- {part}: begin -->\n"), format!("<!-- {part}: end -->"));
    let (before, rest) = file.split_once(&begin).expect("a comment where the part begins");
    let (_, after) = rest.split_once(&end).expect("a comment where the part ends");
    assert_file(name, &format!("{before}{begin}{text}{end}{after}"));
}

fn is_blessed() -> bool {
    let blessed = env::var_os("BLESS").is_some();
    assert!(!(blessed && env::var_os("CI").is_some()), "golden files are blessed by people, not by CI");
    blessed
}
