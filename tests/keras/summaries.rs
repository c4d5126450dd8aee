//! Summaries compared with those that Keras 3.15 prints of the same
//! files (`tests/golden/keras-summaries.json`): name, rows, totals.

use std::collections::BTreeMap;

use gatewave::formats::keras;
use serde_json::Value;

use crate::files::folder;

/// Returns the name, the total and the cells of each row of a table.
fn parsed(table: &str) -> (String, String, Vec<Vec<String>>) {
    let name = table.lines().find_map(|line| line.strip_prefix("Model: \"")?.strip_suffix('"')).expect("a name");
    let total = table.lines().map(str::trim).find(|line| line.starts_with("Total params: ")).expect("a total");
    let rows = table.lines().filter_map(|line| line.strip_prefix('│')?.strip_suffix('│'));
    let cells = rows.map(|row| row.split('│').map(|cell| cell.trim().to_owned()).collect());
    (name.to_owned(), total.to_owned(), cells.collect())
}

#[test]
fn a_summary_has_the_name_the_rows_and_the_total_that_keras_prints() {
    let text = std::fs::read_to_string(folder().join("keras-summaries.json")).expect("the summaries are there");
    let all: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    assert!(all.len() >= 30, "only {} summaries", all.len());
    for (file, wanted) in all {
        let (model, _) = keras::read(folder().join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let table = model.summary().to_string();
        let (name, total, mut rows) = parsed(&table);
        let mut wanted_rows: Vec<Vec<String>> = serde_json::from_value(wanted["rows"].clone()).expect("rows of texts");
        // A wrapper around a layer that depends on only one step is that layer here.
        for row in &mut wanted_rows {
            row[0] = row[0].replace("(TimeDistributed)", "(Dense)");
        }
        if !model.is_chain() {
            // Here the leading input comes first.
            rows.sort();
            wanted_rows.sort();
        }
        assert_eq!(rows, wanted_rows, "{file}\n{table}");
        assert_eq!((name.as_str(), total.as_str()), (text_of(&wanted, "name"), text_of(&wanted, "total")), "{file}");
    }
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("a text")
}
