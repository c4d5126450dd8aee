//! Texts in memory and texts that stay in their files: split, and refused if they are empty.

use super::*;
use crate::data::scratch::Scratch;

fn corpus(text: &str) -> Result<Corpus> {
    Corpus::new(text, SourceLocation::of_file(Path::new("text.txt")))
}

#[test]
fn the_last_characters_or_words_are_split_off() {
    let scratch = Scratch::new("split");
    let parts = |text: &str, share: f64, unit: Unit| {
        let stored = Corpus::open(scratch.write("text.txt", format!("\u{feff}{text}")), 1 << 20).unwrap();
        let [held, stored] = [corpus(text).unwrap(), stored]
            .map(|corpus| corpus.split(share, unit).unwrap().map(|part| part.text().unwrap().into_owned()));
        assert_eq!(held, stored);
        held
    };
    assert_eq!(parts("abcdéfgh", 0.5, Unit::Characters), ["abcd", "éfgh"]);
    assert_eq!(parts("one two\n three  four", 0.25, Unit::Words), ["one two\n three  ", "four"]);
    let long: String = (0..30_000).map(|n| format!("{n} é{}", if n % 7 == 0 { "\n" } else { " " })).collect();
    for unit in [Unit::Characters, Unit::Words] {
        let [first, last] = parts(&long, 0.3, unit);
        assert_eq!(format!("{first}{last}"), long);
        let count = |text: &str| begins(text, unit).count();
        assert_eq!(count(&first), rows_before_split(count(&long), 0.3).unwrap());
    }
    for share in [0.0, 1.0, f64::NAN] {
        let error = corpus("abc").unwrap().split(share, Unit::Characters).unwrap_err().to_string();
        assert!(error.starts_with("text.txt: validation_split: "), "{error}");
    }
}

#[test]
fn an_empty_text_is_refused() {
    let scratch = Scratch::new("empty");
    for empty in ["", " \n"] {
        let error = corpus(empty).unwrap_err().to_string();
        assert_eq!(error, "text.txt: expected a text, got none; is this the right file?");
        let error = Corpus::open(scratch.write("text.txt", empty), 1 << 20).unwrap_err().to_string();
        assert!(error.ends_with("text.txt: expected a text, got none; is this the right file?"), "{error}");
    }
    // A part of white space alone cannot be trained on.
    assert!(corpus("    a").unwrap().split(0.2, Unit::Characters).is_err());
}

#[test]
fn a_file_that_changes_is_an_error_with_its_name() {
    let scratch = Scratch::new("changes");
    let path = scratch.write("text.txt", "one\ntwo\nthree\n");
    let stored = Corpus::open(&path, 1 << 20).unwrap();
    scratch.write("text.txt", "one\n");
    let error = stored.text().unwrap_err().to_string();
    assert!(error.contains("text.txt: bytes 0 to 14: expected 14 bytes, got 4; was the file changed"), "{error}");
    let error = Corpus::open(scratch.write("latin.txt", b"one\ncaf\xe9"), 1 << 20).unwrap_err().to_string();
    assert!(error.contains("latin.txt: line 2: expected UTF-8, got the byte 0xe9; "), "{error}");
    assert!(
        Corpus::open(Path::new("none.txt"), 1 << 20).unwrap_err().to_string().starts_with("none.txt: cannot be read: ")
    );
}
