//! The Keras part of docs/formats.md is printed from the table that the reader obeys.

use gatewave::formats::{keras, support};

use crate::support::golden;

#[test]
fn the_documentation_is_the_table_that_the_reader_obeys() {
    let names: Vec<String> = keras::ACTIVATIONS.iter().map(|name| format!("`{name}`")).collect();
    let table = support::markdown(keras::ATTRIBUTES);
    golden::assert_part("docs/formats.md", "keras", &format!("\n{table}\nActivations: {}.\n\n", names.join(", ")));
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
