//! Each format as people have it, and what is wrong with files, told by line.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder of its own for a test, removed with it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatewave-read-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What is read of a file of these bytes: labels and texts.
    fn read(&self, name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> Vec<(String, String)> {
        pairs(&Labelled::read(&self.write(name, bytes), options).unwrap())
    }

    /// What is wrong with a file of these bytes, after its name.
    fn refused(&self, name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> String {
        let path = self.write(name, bytes);
        let error = Labelled::read(&path, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let text = error.to_string();
        text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pairs(rows: &Labelled) -> Vec<(String, String)> {
    rows.rows().iter().map(|row| (row.label.clone(), row.text.clone())).collect()
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
    let rows = Labelled::read(&scratch.write("a.csv", text), &named()).unwrap();
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
    let rows = Labelled::read(&scratch.0.join("all"), &plain()).unwrap();
    let labels: Vec<_> = rows.rows().iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels, ["pos", "neg", "pos", "pos", "pos", "neg", "pos", "pos"]);
    let texts: Vec<_> = rows.texts().collect();
    assert_eq!((texts[0], texts[1], texts[7]), ("good 0\nfilm", "bad 0", "good 5\nfilm"));
    // All files together may have so many bytes.
    let error = Labelled::read(&scratch.0.join("all"), &plain().max_bytes(50)).unwrap_err().to_string();
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
    assert_eq!(error, "expected at most 6 bytes, got more; a larger bound (--max-bytes) reads it into memory");
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
        ("id,text\n1,Fine\n", "line 1: expected a column label, got \"id\", \"text\"; --label-column NAME says"),
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
    let lines = read_lines(&scratch.write("a.txt", "one\r\ntwo\n\n"), 100).unwrap();
    let lines: Vec<_> = lines.iter().map(|(line, place)| (line.as_str(), place.to_string())).collect();
    assert_eq!((lines.len(), lines[0].0, lines[1].0), (2, "one", "two"));
    assert!(lines[1].1.ends_with("a.txt: line 2"));
    let refused = |bytes: &str| read_lines(&scratch.write("a.txt", bytes), 100).unwrap_err().to_string();
    assert!(refused("one\n\ntwo\n").ends_with("a.txt: line 2: expected a text, got an empty line; take it out"));
    assert!(refused(" \n").ends_with("a.txt: expected a text a line, got an empty file"));
}
