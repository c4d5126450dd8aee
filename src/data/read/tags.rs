//! Tokens with a tag each, as in files of `CoNLL`: a token a line, and an empty line behind each sentence.

use std::ops::Range;

use super::{Ends, ReadOptions, again, wrong};
use crate::data::bytes::Line;
use crate::data::labelled::{Example, SourceLocation};
use crate::error::Result;

/// The line that begins a document in files of `CoNLL`. It is no token.
const DOCUMENT: &str = "-DOCSTART-";

/// Which columns of a line hold the token and the tag.
#[derive(Clone, Copy, Debug)]
struct Columns {
    token: usize,
    /// None for the last column.
    tag: Option<usize>,
    /// Whether lines are those of `CoNLL-U`: with comments, and with lines of several tokens or of none.
    universal: bool,
}

/// A sentence under way.
struct Sentence {
    place: SourceLocation,
    bytes: Range<u64>,
    tokens: Vec<String>,
    tags: Vec<String>,
}

/// Reads the sentences of the file `source`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io),
/// with the line, if the file cannot be read or a line does not fit.
pub(super) fn read(source: &SourceLocation, options: &ReadOptions) -> Result<Vec<Example>> {
    let columns = Columns::of(source, options).map_err(|e| e.at(source))?;
    let again = again(source, move |text| {
        let tokens = text.lines().filter_map(|line| columns.fields(&split(line)).transpose());
        Ok(tokens.map(|fields| Ok(fields?.0)).collect::<Result<Vec<_>>>()?.join(" "))
    });
    let mut rows = Vec::new();
    let mut end = |sentence: Option<Sentence>| -> Result<()> {
        let Some(Sentence { place, bytes, tokens, tags }) = sentence else { return Ok(()) };
        let row = Example::tagged(&tokens, &tags, place)?;
        rows.push(if options.stream { row.stored(bytes, &again) } else { row });
        Ok(())
    };
    let (mut sentence, mut width): (Option<Sentence>, Option<usize>) = (None, None);
    for piece in options.pieces(source, Ends::Lines)? {
        for Line { text, bytes, number } in piece?.lines() {
            if text.trim().is_empty() {
                end(sentence.take())?;
                continue;
            }
            let place = source.line(number);
            let cells = split(text);
            let Some((token, tag)) = columns.fields(&cells).map_err(|e| e.at(&place))? else { continue };
            let (wanted, got) = (*width.get_or_insert(cells.len()), cells.len());
            if wanted != got {
                let text = format!("expected {wanted} columns, as the first token has, got {got}");
                return Err(wrong(text).hint("an empty line ends a sentence").at(place));
            }
            let own = sentence.get_or_insert_with(|| {
                let (tokens, tags) = (Vec::new(), Vec::new());
                Sentence { place, bytes: bytes.clone(), tokens, tags }
            });
            own.bytes.end = bytes.end;
            own.tokens.push(token);
            own.tags.push(tag);
        }
    }
    end(sentence.take())?;
    Ok(rows)
}

/// Returns the columns of a line: set apart by tabs if it has one, otherwise by white space.
fn split(line: &str) -> Vec<&str> {
    if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() }
}

/// Returns a cell without white space: that inside of it becomes `_`.
fn joined(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join("_")
}

impl Columns {
    fn of(source: &SourceLocation, options: &ReadOptions) -> Result<Self> {
        let universal = source.path().extension().is_some_and(|extension| extension.eq_ignore_ascii_case("conllu"));
        let number = |what: &str, said: Option<&String>| {
            let Some(said) = said else { return Ok(None) };
            match said.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
                Some(index) => Ok(Some(index)),
                None => {
                    let text = format!("--{what}-column: expected the number of a column, from 1, got {said:?}");
                    Err(wrong(text))
                }
            }
        };
        let token = number("text", options.text_column.as_ref())?.unwrap_or(usize::from(universal));
        // `CoNLL-U` has the form of a word in its second column, and the part of speech in its fourth.
        let tag = number("label", options.label_column.as_ref())?.or(universal.then_some(3));
        Ok(Self { token, tag, universal })
    }

    /// Returns the token and the tag in the cells of a line; none if it has no token.
    fn fields(self, cells: &[&str]) -> Result<Option<(String, String)>> {
        let first = cells.first().map_or("", |cell| cell.trim());
        let is_other = self.universal && (first.starts_with('#') || first.contains(['-', '.']));
        if first.is_empty() && cells.len() < 2 || first == DOCUMENT || is_other {
            return Ok(None);
        }
        let tag = self.tag.unwrap_or(cells.len() - 1);
        let cell = |index: usize| cells.get(index).copied();
        match (cell(self.token), cell(tag)) {
            (Some(token), Some(tag_cell)) if tag != self.token => {
                let fields = (joined(token), joined(tag_cell));
                match fields.0.is_empty() || fields.1.is_empty() {
                    true => Err(wrong("expected a token and its tag, got an empty cell")),
                    false => Ok(Some(fields)),
                }
            }
            (Some(_), Some(_)) if cells.len() > 1 => {
                let text = format!("expected two columns, got {} for the token and the tag", tag + 1);
                Err(wrong(text).hint("--text-column N and --label-column N say which hold them"))
            }
            _ => {
                let least = self.token.max(self.tag.unwrap_or(0)).max(1) + 1;
                let text = format!("expected a token and its tag in {least} columns or more, got {}", cells.len());
                Err(wrong(text).hint("columns are set apart by tabs or white space; an empty line ends a sentence"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Labelled;
    use crate::data::scratch::Scratch;
    use crate::error::ErrorKind;

    fn plain() -> ReadOptions {
        ReadOptions::default()
    }

    /// Returns the tags and tokens of the sentences of a file, which are the same if they stay there.
    fn sentences(scratch: &Scratch, name: &str, bytes: &str, options: &ReadOptions) -> Vec<[String; 2]> {
        let path = scratch.write(name, bytes);
        let [held, stored] = [false, true].map(|stream| {
            let rows = Labelled::read(&path, &options.clone().stream(stream)).unwrap();
            assert!(rows.is_tagged());
            let of = |row: &Example| [row.label.clone(), row.text().unwrap().into_owned(), row.place.to_string()];
            rows.rows().iter().map(of).collect::<Vec<_>>()
        });
        assert_eq!(held, stored);
        held.into_iter().map(|[tags, tokens, _]| [tags, tokens]).collect()
    }

    fn own(all: &[[&str; 2]]) -> Vec<[String; 2]> {
        all.iter().map(|pair| pair.map(str::to_owned)).collect()
    }

    #[test]
    fn each_way_to_write_columns_gives_the_same_sentences() {
        let scratch = Scratch::new("tags");
        let wanted = own(&[["B-ORG O O", "EU rejects ."], ["B-PER", "Peter"]]);
        for (name, text) in [
            ("a.conll", "EU\tB-ORG\nrejects\tO\n.\tO\n\nPeter\tB-PER\n"),
            ("b.bio", "\u{feff}EU B-ORG\r\nrejects  O\r\n. O\r\n \r\n\r\nPeter B-PER"),
            (
                "c.iob",
                "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n. . O O\n\nPeter NNP B-NP B-PER\n\n",
            ),
        ] {
            assert_eq!(sentences(&scratch, name, text, &plain()), wanted, "{name}");
        }
        let third = plain().text_column("2").label_column("1");
        assert_eq!(sentences(&scratch, "d.iob2", "B-ORG EU x\nO rejects x\nO . x\n\nB-PER Peter x\n", &third), wanted);
        let universal =
            "# text = EU: 10 000\n1\tEU\teu\tPROPN\t_\n2-3\tdu\t_\t_\t_\n2\t10 000\t_\tNUM\t_\n2.1\tx\tx\tx\t_\n";
        let wanted = own(&[["PROPN NUM", "EU 10_000"]]);
        assert_eq!(sentences(&scratch, "e.conllu", universal, &plain()), wanted);
        let forms = plain().label_column("3");
        let wanted = own(&[["eu _", "EU 10_000"]]);
        assert_eq!(sentences(&scratch, "e.conllu", universal, &forms), wanted);
    }

    /// Pieces of a file end within sentences.
    #[test]
    fn long_files_give_all_their_sentences() {
        let scratch = Scratch::new("long-tags");
        let wanted: Vec<[String; 2]> = (0..3000)
            .map(|n| {
                let tokens: Vec<_> = (0..=n % 17).map(|at| format!("é{n}-{at}")).collect();
                let tags: Vec<_> = (0..=n % 17).map(|at| format!("T{}", (n + at) % 5)).collect();
                [tags.join(" "), tokens.join(" ")]
            })
            .collect();
        let text: String = wanted
            .iter()
            .map(|[tags, tokens]| {
                let lines = tokens.split(' ').zip(tags.split(' ')).map(|(token, tag)| format!("{token}\t{tag}\n"));
                lines.collect::<String>() + "\n"
            })
            .collect();
        assert!(sentences(&scratch, "a.conll", &text, &plain()) == wanted);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_line() {
        let scratch = Scratch::new("wrong-tags");
        let refused = |bytes: &str, options: &ReadOptions| {
            let path = scratch.write("a.conll", bytes);
            let error = Labelled::read(&path, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            error.to_string().replace(&format!("{}: ", path.display()), "")
        };
        for (bytes, said) in [
            (
                "EU B-ORG\nrejects\n",
                "line 2: expected a token and its tag in 2 columns or more, got 1; columns are set apart",
            ),
            (
                "EU x B-ORG\nrejects O\n",
                "line 2: expected 3 columns, as the first token has, got 2; an empty line ends",
            ),
            ("EU\tB-ORG\n\tO\n", "line 2: expected a token and its tag, got an empty cell"),
            ("\n-DOCSTART- O\n\n", "expected rows of a label and a text, got none; "),
        ] {
            let error = refused(bytes, &plain());
            assert!(error.starts_with(said), "{error}");
        }
        let error = refused("EU B-ORG\n", &plain().text_column("word"));
        assert_eq!(error, "--text-column: expected the number of a column, from 1, got \"word\"");
        let error = refused("EU B-ORG\n", &plain().label_column("3"));
        assert!(error.starts_with("line 1: expected a token and its tag in 3 columns or more, got 2"), "{error}");
        let error = refused("EU B-ORG\n", &plain().label_column("1"));
        assert!(error.starts_with("line 1: expected two columns, got 1 for the token and the tag; "), "{error}");
    }

    #[test]
    fn a_sentence_that_changed_is_told_with_its_line() {
        let scratch = Scratch::new("changed-tags");
        let path = scratch.write("a.conll", "EU B-ORG\n\nPeter B-PER\n");
        let rows = Labelled::read(&path, &plain().stream(true)).unwrap();
        scratch.write("a.conll", "EU B-ORG\n\nPeter      \n");
        let error = rows.rows()[1].text().unwrap_err().to_string();
        assert!(error.contains("a.conll: line 3: expected a token and its tag in 2 columns or more, got 1"), "{error}");
    }
}
