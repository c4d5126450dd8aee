//! `gatewave run --text`: runs a model that keeps its tokenizer on texts, and prints its labels.

use std::io::Write;
use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use gatewave::data::{Answer, ReadOptions, TextSpec, read_lines};
use gatewave::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::Args;
use crate::files::{data_parser, name, once};
use crate::text::kept_text;
use crate::{Outcome, Verdict};

/// The most texts of a call.
const ROWS: usize = 64;

/// The most labels that have a column each; with more, only the answer's probability is shown.
const COLUMNS: usize = 4;

/// The most characters of a text that a table shows.
const SHOWN: usize = 48;

/// The texts.
#[derive(clap::Args)]
pub(super) struct TextArgs {
    /// A text for a model that was trained on labelled text; may be repeated.
    /// One for a model of tagged text has white space between its tokens
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["input", "output"])]
    text: Vec<String>,
    /// A file with one text on each line, or `-` for standard input
    #[arg(long, value_name = "LINES", conflicts_with_all = ["input", "output", "text"], value_parser = data_parser())]
    text_file: Option<PathBuf>,
    /// Texts and time series: print JSON, one object on each line, instead of a table
    #[arg(long, conflicts_with = "input")]
    pub(super) json: bool,
}

impl TextArgs {
    /// Returns whether there is one.
    pub(super) fn given(&self) -> bool {
        !self.text.is_empty() || self.text_file.is_some()
    }

    fn texts(&self) -> Result<Vec<String>> {
        if let Some(path) = &self.text_file {
            let lines = read_lines(path, ReadOptions::MAX_BYTES)?;
            return Ok(lines.into_iter().map(|(line, _)| line).collect());
        }
        match self.text.iter().find(|text| text.trim().is_empty()) {
            Some(_) => Err(Error::new(ErrorKind::Shape, "--text: expected a text, got an empty one")),
            None => Ok(self.text.clone()),
        }
    }
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    once(args.model.files())?;
    let texts = args.text.texts()?;
    let device = args.device.device()?;
    let place = |e: Error| e.at(name(args.model.file()));
    let (model, tensors) = args.model.read()?;
    let spec = kept_text(args.model.file())?;
    spec.check(&model).map_err(place)?;
    let engine = args.model.engine(model.clone(), &tensors, device, args.precision)?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header(&spec));
    for texts in texts.chunks(ROWS) {
        let all = || texts.iter().map(String::as_str);
        let output = engine.run(&spec.input(&model, all())?)?;
        if spec.is_tagging() {
            for (text, answers) in texts.iter().zip(spec.tag_answers(&model, all(), &output)?) {
                let tagged = Tagged::of(text, &spec, &answers);
                if args.text.json {
                    writeln!(out, "{}", tagged.line(text))?;
                    continue;
                }
                // An empty row lies between two texts.
                if table.row_count() > 0 {
                    table.add_row([""]);
                }
                table.add_rows(tagged.rows());
            }
            continue;
        }
        for (text, answer) in texts.iter().zip(spec.answers(&model, &output)?) {
            match args.text.json {
                true => writeln!(out, "{}", line(text, &spec, &answer))?,
                false => drop(table.add_row(row(text, &spec, &answer))),
            }
        }
    }
    if !args.text.json {
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(out, "{table}")?;
    }
    Ok(Verdict::Done)
}

/// The tokens of a text, each with its tag and the tag's probability. Tokens that are cut off are not among them.
struct Tagged<'a>(Vec<(&'a str, &'a str, f64)>);

impl<'a> Tagged<'a> {
    fn of(text: &'a str, spec: &'a TextSpec, answers: &[Answer]) -> Self {
        let tokens: Vec<&str> = text.split_whitespace().collect();
        let kept = &tokens[spec.kept(tokens.len())];
        let tag =
            |answer: &Answer| (spec.classes().labels()[answer.class].as_str(), answer.probabilities[answer.class]);
        let tags = answers.iter().map(tag);
        Self(kept.iter().zip(tags).map(|(token, (tag, probability))| (*token, tag, probability)).collect())
    }

    fn rows(&self) -> impl Iterator<Item = [String; 3]> {
        self.0.iter().map(|(token, tag, probability)| [shown(token), shown(tag), format!("{probability:.4}")])
    }

    fn line(&self, text: &str) -> Value {
        let tokens: Vec<_> = self.0.iter().map(|(token, ..)| token).collect();
        let tags: Vec<_> = self.0.iter().map(|(_, tag, _)| tag).collect();
        let probabilities: Vec<_> = self.0.iter().map(|(.., probability)| probability).collect();
        json!({"text": text, "tokens": tokens, "tags": tags, "probabilities": probabilities})
    }
}

/// Returns whether each label has a column.
fn has_columns(spec: &TextSpec) -> bool {
    spec.classes().labels().len() <= COLUMNS
}

fn header(spec: &TextSpec) -> Vec<String> {
    if spec.is_tagging() {
        return ["token", "tag", "probability"].map(str::to_owned).into();
    }
    let own = if has_columns(spec) { spec.classes().labels().to_vec() } else { vec!["probability".to_owned()] };
    ["text", "label"].map(str::to_owned).into_iter().chain(own.iter().map(|label| shown(label))).collect()
}

fn row(text: &str, spec: &TextSpec, answer: &Answer) -> Vec<String> {
    let probabilities = match has_columns(spec) {
        true => &answer.probabilities[..],
        false => &answer.probabilities[answer.class..=answer.class],
    };
    let label = &spec.classes().labels()[answer.class];
    let numbers = probabilities.iter().map(|p| format!("{p:.4}"));
    [shown(text), shown(label)].into_iter().chain(numbers).collect()
}

fn line(text: &str, spec: &TextSpec, answer: &Answer) -> Value {
    let labels = spec.classes().labels();
    let pairs = labels.iter().cloned().zip(answer.probabilities.iter().map(|p| Value::from(*p)));
    json!({"text": text, "label": labels[answer.class], "probabilities": pairs.collect::<Map<_, _>>()})
}

/// Returns as much of a text as a table has room for, on one line.
fn shown(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = plain.clone().take(SHOWN).collect();
    if plain.count() > SHOWN {
        shown.push('…');
    }
    shown
}
