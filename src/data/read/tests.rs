//! Each format as people write it, and errors of files, with their lines.

use super::*;
use crate::data::scratch::Scratch;
use crate::error::ErrorKind;

impl Scratch {
    /// Returns the labels and texts of a file of these bytes.
    fn read(&self, name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> Vec<(String, String)> {
        pairs(&Labelled::read(self.write(name, bytes), options).unwrap())
    }

    /// Returns the error of a file of these bytes, after its name.
    fn refused(&self, name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> String {
        let path = self.write(name, bytes);
        let error = Labelled::read(&path, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let text = error.to_string();
        text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned()
    }
}

fn pairs(rows: &Labelled) -> Vec<(String, String)> {
    rows.rows().iter().map(|row| (row.label.clone(), row.text().unwrap().into_owned())).collect()
}

fn own(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect()
}

fn plain() -> ReadOptions {
    ReadOptions::default()
}

fn named() -> ReadOptions {
    plain().text_column("review").label_column("stars")
}

#[test]
fn a_tsv_is_a_label_and_a_text_or_has_names() {
    let scratch = Scratch::new("tsv");
    let wanted = own(&[("1", " \"Fine\", he said."), ("0", "Bad")]);
    assert_eq!(scratch.read("a.tsv", "1\t \"Fine\", he said.\r\n\n0\tBad", &plain()), wanted);
    assert_eq!(
        scratch.read("b.tsv", "\u{feff}text\tid\tlabel\n \"Fine\", he said.\t7\t1\nBad\t8\t0\n", &plain()),
        wanted
    );
    assert_eq!(scratch.read("c.TSV", "stars\treview\n1\t \"Fine\", he said.\n0\tBad\n", &named()), wanted);
}

#[test]
#[cfg(feature = "csv")]
fn a_csv_has_names_and_quotes() {
    let scratch = Scratch::new("csv");
    let text = "id,stars,review\n1,5,\"Fine, he said: \"\"go\"\".\nTwice.\"\n\n2, 1 ,Bad \"film\"\n";
    let wanted = own(&[("5", "Fine, he said: \"go\".\nTwice."), ("1", "Bad \"film\"")]);
    assert_eq!(scratch.read("a.csv", text, &named()), wanted);
    let rows = Labelled::read(scratch.write("a.csv", text), &named()).unwrap();
    assert!(rows.rows()[1].place.to_string().ends_with("a.csv: line 5"), "{}", rows.rows()[1].place);
}

#[test]
fn json_lines_have_keys() {
    let scratch = Scratch::new("jsonl");
    let text = "{\"text\": \"Fine\\tfilm\", \"label\": 1}\n\n{\"label\": true, \"text\": \"Bad\", \"id\": []}\n";
    assert_eq!(scratch.read("a.jsonl", text, &plain()), own(&[("1", "Fine\tfilm"), ("true", "Bad")]));
    let text = "{\"review\": \"Fine\", \"stars\": \"five\"}";
    assert_eq!(scratch.read("a.ndjson", text, &named()), own(&[("five", "Fine")]));
}

#[test]
fn a_folder_has_a_folder_for_each_label_and_they_take_turns() {
    let scratch = Scratch::new("folder");
    for n in 0..6 {
        scratch.write(&format!("all/pos/{n}.txt"), format!("good {n}\nfilm"));
    }
    for n in 0..2 {
        scratch.write(&format!("all/neg/{n}.txt"), format!("bad {n}"));
    }
    scratch.write("all/neg/.hidden.txt", [0xff]);
    scratch.write("all/neg/notes.md", [0xff]);
    scratch.write("all/vocabulary.txt", "good\nbad\n");
    let rows = Labelled::read(scratch.0.join("all"), &plain()).unwrap();
    let labels: Vec<_> = rows.rows().iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels, ["pos", "neg", "pos", "pos", "pos", "neg", "pos", "pos"]);
    let texts: Vec<_> = rows.texts().map(Result::unwrap).collect();
    assert_eq!((&*texts[0], &*texts[1], &*texts[7]), ("good 0\nfilm", "bad 0", "good 5\nfilm"));
    // The bound is for all files together.
    let error = Labelled::read(scratch.0.join("all"), &plain().max_bytes(50)).unwrap_err().to_string();
    assert!(error.contains(".txt: expected at most ") && error.contains("all files together may have 50"), "{error}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_line() {
    let scratch = Scratch::new("wrong");
    let rows_wanted = "expected rows of a label and a text, got none; is this the right file?";
    let none = "got none; fill it in or take the row out";
    for (name, bytes, said) in [
        ("a.tsv", &b""[..], rows_wanted.to_owned()),
        ("a.tsv", b"\n\n", rows_wanted.to_owned()),
        ("a.jsonl", b"\n", rows_wanted.to_owned()),
        ("a.tsv", b"1\tFine\nBad\n", "line 2: expected a label, a tab and a text, got 1 columns; ".to_owned()),
        ("a.tsv", b"1\tFine\n7\t0\tBad\n", "line 2: expected a label, a tab and a text, got 3 columns; ".to_owned()),
        ("a.tsv", b"1\tFine\n\tBad\n", format!("line 2: expected a label, {none}")),
        ("a.tsv", b"1\tFine\n0\t \n", format!("line 2: expected a text, {none}")),
        ("a.tsv", b"label\tid\ttext\n0\tBad\n", "line 2: expected 3 columns, as the first line has, got 2".to_owned()),
        ("a.tsv", b"1\tFine\n0\tCaf\xe9\n", "line 2: expected UTF-8, got the byte 0xe9; save the file as".to_owned()),
        ("a.tsv", b"\xff\xfe1\0\t\0", "line 1: expected UTF-8, got UTF-16; save the file as UTF-8".to_owned()),
        ("a.jsonl", b"{\"text\": \"a\"}", "line 1: expected a key label, got \"text\"; --label-column NAME".to_owned()),
        ("a.jsonl", b"{\"label\": 1}\n", "line 1: expected a key text, got \"label\"; --text-column NAME".to_owned()),
        ("a.jsonl", b"[1]\n", "line 1: expected an object of JSON, got \"[1]\": ".to_owned()),
        ("a.jsonl", b"{\"label\": 1, \"text\": 2}", "line 1: text: expected a string, got \"2\"".to_owned()),
        ("a.jsonl", b"{\"label\": null, \"text\": \"a\"}", "line 1: label: expected a string, a number".to_owned()),
    ] {
        let error = scratch.refused(name, bytes, &plain());
        assert!(error.starts_with(&said), "{name} {:?}: {error}", String::from_utf8_lossy(bytes));
    }
    let error = scratch.refused("a.tsv", "label\ttext\n1\tFine\n", &named());
    assert_eq!(
        error,
        "line 1: expected a column stars, got \"label\", \"text\"; --label-column NAME says which holds the label"
    );
    let error = scratch.refused("a.tsv", "1\tFine\n", &plain().max_bytes(6));
    let hint = "a larger bound (--max-bytes) reads it into memory, --stream leaves texts on disk";
    assert_eq!(error, format!("expected at most 6 bytes, got more; {hint}"));
    let deep = "[".repeat(100_000);
    assert!(scratch.refused("a.jsonl", format!("{{\"label\": {deep}"), &plain()).contains("recursion limit"));
}

#[test]
#[cfg(feature = "csv")]
fn what_is_wrong_with_a_csv_is_told_by_line() {
    let scratch = Scratch::new("wrong-csv");
    for (bytes, said) in [
        ("", "expected rows of a label and a text, got none"),
        ("label,text\n", "expected rows of a label and a text, got none"),
        (
            "id,text\n1,Fine\n",
            "line 1: expected a column label, got \"id\", \"text\"; --label-column NAME says which holds the label",
        ),
        (
            "year,sunspots\n1700,5\n",
            "line 1: expected a column label, got \"year\", \"sunspots\"; --label-column NAME says which holds the label, and \
             --window N takes the file as a time series",
        ),
        (
            "label;text\n1;Fine\n",
            "line 1: expected a column label, got \"label;text\"; columns are set apart by commas",
        ),
        ("label,text\n1,Fine, really\n", "line 2: expected 2 columns, as the first line has, got 3; a text with"),
        ("label,text\n1,\"a\nb\"\n0,\n", "line 4: expected a text, got none"),
        ("label,text\n1,a\n0,\"b\n1,c\n1,d\n", "line 3: expected a closing double quote, got the end of the file"),
    ] {
        let error = scratch.refused("a.csv", bytes, &plain());
        assert!(error.starts_with(said), "{bytes:?}: {error}");
    }
    let same = plain().text_column("label");
    let error = scratch.refused("a.csv", "label,text\n1,a\n", &same);
    assert_eq!(error, "line 1: expected two columns, got label for the text and the label");
}

#[test]
fn what_is_no_file_of_labelled_text_is_refused() {
    let scratch = Scratch::new("no-file");
    let read = |path: &Path, options: &ReadOptions| Labelled::read(path, options).unwrap_err().to_string();
    let error = read(&scratch.write("a.pdf", "x"), &plain());
    assert!(error.contains("expected labelled text: a folder, or a name that ends in .tsv"), "{error}");
    assert!(read(&scratch.0.join("none.tsv"), &plain()).contains("none.tsv: cannot be read: "));
    assert!(read(&scratch.0.join("none"), &plain()).contains("none: cannot be read: "));
    let folder = scratch.write("empty/a.txt", "x").parent().unwrap().to_owned();
    assert!(read(&folder, &plain()).contains("expected a folder for each label"), "no folders in it");
    scratch.write("empty/pos/a.md", "x");
    assert!(read(&folder, &plain()).contains("pos: expected texts in files that end in .txt, got none"));
    assert!(read(&folder, &named()).contains("expected no name of a column"));
    #[cfg(unix)]
    {
        let pipe = scratch.0.join("pipe.tsv");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&pipe, &plain()).ends_with("pipe.tsv: expected a regular file"));
    }
}

#[test]
fn lines_of_text_have_their_places() {
    let scratch = Scratch::new("lines");
    let lines = read_lines(scratch.write("a.txt", "one\r\ntwo\n\n"), 100).unwrap();
    let lines: Vec<_> = lines.iter().map(|(line, place)| (line.as_str(), place.to_string())).collect();
    assert_eq!((lines.len(), lines[0].0, lines[1].0), (2, "one", "two"));
    assert!(lines[1].1.ends_with("a.txt: line 2"));
    let refused = |bytes: &str| read_lines(scratch.write("a.txt", bytes), 100).unwrap_err().to_string();
    assert!(refused("one\n\ntwo\n").ends_with("a.txt: line 2: expected a text, got an empty line; take it out"));
    assert!(refused(" \n").ends_with("a.txt: expected one text on each line, got an empty file"));
}

/// Returns the labels and texts of a file. Checks that they and
/// their places are the same whether texts stay in the file or not.
fn both_ways(path: &Path, options: &ReadOptions) -> Vec<(String, String)> {
    let held = Labelled::read(path, options).unwrap();
    let stored = Labelled::read(path, &options.clone().stream(true)).unwrap();
    assert_eq!(pairs(&held), pairs(&stored), "{}", path.display());
    let places = |rows: &Labelled| rows.rows().iter().map(|row| row.place.clone()).collect::<Vec<_>>();
    assert_eq!(places(&held), places(&stored), "{}", path.display());
    pairs(&held)
}

#[test]
fn texts_that_stay_in_their_files_are_the_same() {
    let scratch = Scratch::new("stream");
    let number = |n: usize| if n.is_multiple_of(3) { "many" } else { "few" };
    // Enough that pieces end between them, at any row; and one row is longer than a piece.
    let text = |n: usize| format!("é{n} {}", "word ".repeat(if n == 700 { 40_000 } else { n * 7 % 23 }).trim_end());
    let wanted: Vec<_> = (0..3000).map(|n| (number(n).to_owned(), text(n).trim_end().to_owned())).collect();
    let lines = |row: &dyn Fn(&str, &str) -> String, end: &str| -> String {
        wanted.iter().map(|(label, text)| row(label, text) + end).collect()
    };
    for (name, bytes) in [
        ("bare.tsv", lines(&|label, text| format!("{label}\t{text}"), "\n")),
        ("named.tsv", format!("id\ttext\tlabel\r\n{}", lines(&|label, text| format!("7\t{text}\t{label}"), "\r\n"))),
        ("mark.tsv", format!("\u{feff}{}", lines(&|label, text| format!("{label}\t{text}"), "\n\n"))),
        ("a.jsonl", lines(&|label, text| format!("{{\"label\": \"{label}\", \"text\": \"{text}\"}}"), "\n")),
        #[cfg(feature = "csv")]
        ("plain.csv", format!("\u{feff}text,label\n{}", lines(&|label, text| format!("{text},{label}"), "\n\n"))),
        #[cfg(feature = "csv")]
        ("old.csv", format!("text,label\r{}", lines(&|label, text| format!("{text},{label}"), "\r"))),
    ] {
        let got = both_ways(&scratch.write(name, bytes), &plain());
        assert_eq!(got.len(), wanted.len(), "{name}");
        assert!(got == wanted, "{name}: {:?}", got.iter().zip(&wanted).find(|(got, wanted)| got != wanted));
    }
    for n in 0..5 {
        scratch.write(&format!("all/{}/{n}.txt", number(n)), format!("\u{feff}{}\n", text(n)));
    }
    assert_eq!(both_ways(&scratch.0.join("all"), &plain()).len(), 5);
}

#[test]
#[cfg(feature = "csv")]
fn quoted_texts_of_several_lines_stay_in_their_file() {
    let scratch = Scratch::new("quoted");
    let mut file = "text,label\n".to_owned();
    let mut wanted = Vec::new();
    for n in 0..4000 {
        let text = format!("a \"{n}\",\nand, \"\"\r\n{}", "more\n".repeat(n % 11));
        file += &format!("\"{}\",yes\n", text.replace('"', "\"\""));
        wanted.push(("yes".to_owned(), text));
    }
    let path = scratch.write("quoted.csv", &file);
    assert_eq!(both_ways(&path, &plain()), wanted);
    let last = Labelled::read(&path, &plain().stream(true)).unwrap().rows()[3999].place.to_string();
    let line = 1 + file.trim_end().rfind("\n\"a ").map_or(0, |at| file[..=at].matches('\n').count());
    assert!(last.ends_with(&format!("quoted.csv: line {line}")), "{last}, not {line}");
    // The line of a quote that is not closed, after the first piece.
    let open = scratch.write("open.csv", file.clone() + "\"open,yes\nb,no\n");
    let error = Labelled::read(&open, &plain().stream(true)).unwrap_err().to_string();
    let line = 1 + file.matches('\n').count();
    assert!(error.contains(&format!("open.csv: line {line}: expected a closing double quote, got the end")), "{error}");
}

#[test]
fn a_file_that_changes_under_its_rows_is_an_error() {
    let scratch = Scratch::new("changed");
    let path = scratch.write("a.tsv", "yes\tone\nno\ttwo\n");
    let rows = Labelled::read(&path, &plain().stream(true)).unwrap();
    scratch.write("a.tsv", "yes\tone\n");
    assert_eq!(rows.rows()[0].text().unwrap(), "one");
    let error = rows.rows()[1].text().unwrap_err().to_string();
    assert!(error.contains("a.tsv: line 2: bytes 8 to 14: expected 6 bytes, got 0; was the file changed"), "{error}");
    scratch.write("a.tsv", "yes\tone\nno two\n");
    let error = rows.rows()[1].text().unwrap_err().to_string();
    assert!(error.contains("a.tsv: line 2: expected a label, a tab and a text, got 1 columns"), "{error}");
}

#[test]
fn a_bound_is_that_of_a_row_where_texts_stay() {
    let scratch = Scratch::new("bound");
    let path = scratch.write("a.tsv", "yes\tone\nno\ttwo\n");
    let error = Labelled::read(&path, &plain().max_bytes(10)).unwrap_err().to_string();
    assert!(error.contains("expected at most 10 bytes, got more; a larger bound (--max-bytes)"), "{error}");
    assert!(error.ends_with("--stream leaves texts on disk"), "{error}");
    let error = Labelled::read(&path, &plain().max_bytes(5).stream(true)).unwrap_err().to_string();
    assert!(error.contains("line 1: expected a row of at most 5 bytes, got more"), "{error}");
    // Many short rows, and one long row.
    let rows = "yes\tone\n".repeat(20_000);
    let path = scratch.write("many.tsv", &rows);
    assert_eq!(Labelled::read(&path, &plain().max_bytes(8).stream(true)).unwrap().rows().len(), 20_000);
    let path = scratch.write("many.tsv", rows + "yes\tthree\n");
    let error = Labelled::read(&path, &plain().max_bytes(8).stream(true)).unwrap_err().to_string();
    assert!(error.contains("line 20001: expected a row of at most 8 bytes, got more"), "{error}");
}
