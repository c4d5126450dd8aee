//! A folder with a folder for each label, in which each `.txt` file is a text, like IMDB's reviews.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ReadOptions, text, unreadable, wrong};
use crate::data::labelled::{Example, ReadAgain, SourceLocation};
use crate::error::Result;

/// Reads the rows of the folder at `path`; the labels take turns.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io),
/// with the file, if something cannot be read or does not fit.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Example>> {
    if options.names_columns() {
        let text = "expected no name of a column, got one; the folders in it are the labels";
        return Err(wrong(text).at(path.display()));
    }
    let mut files = Vec::new();
    for folder in entries(path)?.into_iter().filter(|entry| entry.is_dir()) {
        let is_text = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "txt") && file.is_file();
        let texts: Vec<PathBuf> = entries(&folder)?.into_iter().filter(is_text).collect();
        if texts.is_empty() {
            let text = "expected texts in files that end in .txt, got none; take the folder out, or fill it";
            return Err(wrong(text).at(folder.display()));
        }
        files.push((label(&folder)?, texts));
    }
    if files.is_empty() {
        let text = "expected a folder for each label, with a .txt file for each text, got no folder in it";
        return Err(wrong(text).at(path.display()));
    }
    let mut left = options.max_bytes;
    let mut rows = Vec::new();
    let most = options.max_bytes;
    let again: Arc<ReadAgain> = Arc::new(move |place, _| text(place.path(), most));
    for (label, file) in in_turns(&files) {
        let text = text(file, left).map_err(|e| {
            let all = options.max_bytes;
            if left < all { e.hint(format!("all files together may have {all} bytes")) } else { e }
        })?;
        let bytes = text.len() as u64;
        let row = Example::new(text, label, SourceLocation::of_file(file))?;
        if options.stream {
            rows.push(row.stored(0..bytes, &again));
        } else {
            left = left.saturating_sub(bytes);
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Returns the entries of a folder, sorted by name, without hidden files.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let at = |e: std::io::Error| unreadable(&e).at(folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns the label, which is the folder's name.
fn label(folder: &Path) -> Result<String> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| wrong("expected a name in UTF-8, as it is a label").at(folder.display()))?;
    Ok(name.to_owned())
}

/// Orders the files, each with its label. File i of n is placed
/// at (i + ½) / n of the whole, so that no part lacks a label.
fn in_turns(files: &[(String, Vec<PathBuf>)]) -> Vec<(&str, &Path)> {
    let mut placed = Vec::new();
    for (label, texts) in files {
        let all = texts.len() as u128;
        let place = |(at, file)| ((2 * at as u128 + 1, all), label.as_str(), PathBuf::as_path(file));
        placed.extend(texts.iter().enumerate().map(place));
    }
    // Fractions are compared by their products, so all machines agree. The sort keeps equal ones in their order.
    placed.sort_by(|((a, n), ..), ((b, m), ..)| (a * m).cmp(&(b * n)));
    placed.into_iter().map(|(_, label, file)| (label, file)).collect()
}
