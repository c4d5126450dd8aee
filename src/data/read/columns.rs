//! Which columns hold the text and the label, by the names above them.

use super::{ReadOptions, wrong};
use crate::error::{Result, some_of};

/// Returns the indices of the label and of the text among the columns `names`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io)
/// if one of them is not among the names, or both are the same.
pub(super) fn places(names: &[&str], options: &ReadOptions) -> Result<[usize; 2]> {
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    let holds = |wanted: &str| names.contains(&wanted);
    let place = |what: &str, wanted: &str| {
        names.iter().position(|name| *name == wanted).ok_or_else(|| {
            let hint = match names[..] {
                [one] if one.contains(';') => "columns are set apart by commas here, and not by semicolons".to_owned(),
                _ if !options.names_columns() && !holds("label") && !holds("text") => format!(
                    "--{what}-column NAME says which holds the {what}, and --window N takes the file as a time series"
                ),
                _ => format!("--{what}-column NAME says which holds the {what}"),
            };
            wrong(format!("expected a column {wanted}, got {}", listed(&names))).hint(hint)
        })
    };
    let [label, text] = [place("label", options.label())?, place("text", options.text())?];
    if label == text {
        return Err(wrong(format!("expected two columns, got {} for the text and the label", options.text())));
    }
    Ok([label, text])
}

/// Lists some names in a readable line.
pub(super) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    const FEW: usize = 10;
    if names.is_empty() {
        return "none".to_owned();
    }
    some_of(names.iter().map(|name| shortened(name.as_ref())), FEW)
}

/// Returns a name in quotes, shortened if it looks like a text.
pub(super) fn shortened(name: &str) -> String {
    const MOST: usize = 40;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}
