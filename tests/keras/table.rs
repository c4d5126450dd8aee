//! The Keras part of docs/formats.md is printed from the table that the reader obeys.

use std::fs;
use std::path::Path;

use gatewave::weights::{keras, support};

const BEGIN: &str = "<!-- keras: begin -->\n";
const END: &str = "<!-- keras: end -->";

/// What stands between the markers.
fn section() -> String {
    let names: Vec<String> = keras::ACTIVATIONS.iter().map(|name| format!("`{name}`")).collect();
    format!("\n{}\nActivations: {}.\n\n", support::markdown(keras::ATTRIBUTES), names.join(", "))
}

/// `BLESS=1` rewrites the file.
#[test]
fn the_documentation_is_the_table_that_the_reader_obeys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    let text = fs::read_to_string(&path).expect("docs/formats.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("a marker where the table begins");
    let (between, after) = rest.split_once(END).expect("a marker where the table ends");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", section())).expect("docs/formats.md is written");
    } else {
        assert!(between == section(), "docs/formats.md is not the table; BLESS=1 rewrites it");
    }
}

#[test]
fn no_row_stands_twice_and_each_says_of_whom() {
    let mut seen = std::collections::BTreeSet::new();
    for row in keras::ATTRIBUTES {
        assert!(!row.of.is_empty());
        for of in row.of.split(' ') {
            for name in row.name.split(' ') {
                assert!(seen.insert((of, name)), "{of} {name} twice");
            }
        }
    }
    assert!(seen.len() > 100, "only {} rows", seen.len());
}
