//! Tokens and windows of a text, compared with values worked out by hand.

use std::path::Path;

use super::super::windows::Cut;
use super::*;
use crate::OneHot;
use crate::data::SourceLocation;
use crate::data::scratch::Scratch;
use crate::model::{Axes, Embedding, Gru, Linear, Select};
use crate::named::{Examples, Values};
use crate::trainer::Dataset;

fn corpus(text: &str) -> Corpus {
    Corpus::new(text, SourceLocation::of_file(Path::new("text.txt"))).unwrap()
}

fn model(tokens: usize) -> Model {
    Model::new().layer(Embedding::new(tokens, 4)).layer(Gru::new(4, 4)).layer(Linear::new(4, tokens))
}

fn whole(values: &Values) -> Vec<i64> {
    let Values::I64(array) = values else { panic!("expected whole numbers, got {values:?}") };
    array.iter().copied().collect()
}

/// Makes a model and a spec whose vocabulary is the digits.
fn digits() -> (Model, CorpusSpec) {
    let mut model = Model::new().layer(OneHot::new(10)).layer(Gru::new(10, 4)).layer(Linear::new(4, 10));
    model.vocabulary = Some(('0'..='9').collect());
    let spec = CorpusSpec::of_model(&model, &Metadata::new()).unwrap().unwrap();
    (model, spec)
}

#[test]
fn each_step_foresees_the_next_character() {
    let (model, spec) = digits();
    let tensors = spec.tensors(&model, &corpus("01234567890"), 3, None).unwrap();
    assert_eq!(whole(&tensors["x"]), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(whole(&tensors["y"]), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(tensors["y"].shape(), [3, 3]);
    let turned = model.clone().axes(Axes::TimeMajor);
    let tensors = spec.tensors(&turned, &corpus("0123456"), 3, None).unwrap();
    assert_eq!((tensors["x"].shape(), whole(&tensors["x"])), (&[3, 2][..], vec![0, 3, 1, 4, 2, 5]));
    assert_eq!(Dataset::new(&turned, spec.objective(), tensors).unwrap().rows(), 2);
}

#[test]
fn streams_are_parts_of_the_text_whose_windows_follow_each_other() {
    let (model, spec) = digits();
    let text = "01234567890123456789";
    // Two parts of nine tokens: 0 to 8, and 9 to 7 of the next ten.
    let tensors = spec.tensors(&model, &corpus(text), 4, Some(2)).unwrap();
    assert_eq!(tensors["x"].shape(), [4, 4]);
    assert_eq!(whole(&tensors["x"]), [0, 1, 2, 3, 9, 0, 1, 2, 4, 5, 6, 7, 3, 4, 5, 6]);
    assert_eq!(whole(&tensors["y"]), [1, 2, 3, 4, 0, 1, 2, 3, 5, 6, 7, 8, 4, 5, 6, 7]);
    // Row b of each batch goes on where row b of the batch before ended.
    for (rows, window) in [(2, 4), (3, 2), (1, 6), (19, 1)] {
        let cut = Cut::of(text.len(), window, Some(rows)).unwrap();
        let begins: Vec<usize> = (0..cut.rows()).map(|row| cut.begin(row)).collect();
        assert!(begins.len().is_multiple_of(rows));
        let mut pairs = begins.iter().zip(begins.iter().skip(rows));
        assert!(pairs.all(|(before, after)| before + window == *after), "{begins:?}");
        assert!(begins.iter().all(|begin| begin + window < text.len()), "{begins:?}");
    }
}

#[test]
fn a_vocabulary_is_learned_from_a_text_and_kept() {
    let text = corpus("to be or not to be");
    let chars = CorpusSpec::learn(&model(20), &text, &CorpusOptions::default()).unwrap();
    assert_eq!((chars.unit(), chars.num_tokens()), (Unit::Characters, 10));
    let options = CorpusOptions { unit: Unit::Words, num_tokens: Some(6) };
    let words = CorpusSpec::learn(&model(20), &text, &options).unwrap();
    assert_eq!(words.encode("To be, or not").unwrap(), [3, 4, 5, 2]);
    assert_eq!(words.continued(&[3, 4, 2, 19, -1]), " to be \u{fffd} \u{fffd} \u{fffd}");
    assert_eq!(chars.continued(&chars.encode("be to").unwrap()), "be to");
    let json = words.to_json().unwrap();
    let wanted = r#"{"version":1,"tokenizer":{"unit":"words","start":false,"units":["to","be","or"]}}"#;
    assert_eq!(json, wanted);
    let metadata = Metadata::from([(CorpusSpec::KEY.to_owned(), json.clone())]);
    let (described, spec) = digits();
    assert_eq!(CorpusSpec::of_model(&described, &metadata).unwrap(), Some(words));
    assert_eq!((spec.to_json(), spec.tokenizer(), spec.continued(&[1, 2, 10])), (None, None, "12\u{fffd}".to_owned()));
    assert_eq!(CorpusSpec::of_model(&model(9), &Metadata::new()).unwrap(), None);
    for (from, to, said) in [
        ("\"version\":1", "\"version\":3", "expected version 1, got 3"),
        ("false", "true", "start: expected texts without a start token, got one"),
        ("\"be\"", "\"to\"", "vocabulary: expected each word once"),
    ] {
        let metadata = Metadata::from([(CorpusSpec::KEY.to_owned(), json.replacen(from, to, 1))]);
        let error = CorpusSpec::of_model(&described, &metadata).unwrap_err();
        let text = error.to_string();
        assert!(
            error.kind() == ErrorKind::Model && text.starts_with("metadata gatewave.corpus: ") && text.contains(said),
            "{text}"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_numbers() {
    let options = CorpusOptions::default();
    let text = corpus("to be or not to be");
    let plain = || Model::new().layer(Embedding::new(9, 4)).layer(Gru::new(4, 4));
    let learn = |model: Model| CorpusSpec::learn(&model, &text, &options).unwrap_err().to_string();
    for (model, said) in [
        (
            plain().layer(Linear::new(4, 8)),
            "expected a model that gives 9 numbers for each step, one for each token, got 8",
        ),
        (
            plain().layer(Select::FinalHidden).layer(Linear::new(4, 9)),
            "expected an output for each step of a text, got one",
        ),
        (Model::new().layer(Gru::new(4, 4)), "expected a model that takes tokens, got one that takes features; a text"),
        (
            Model::new().layer(Embedding::new(9, 4)).layer(Gru::new(4, 4).bidirectional()).layer(Linear::new(8, 9)),
            "layer 1: expected a forward stack, got a bidirectional one; ",
        ),
        (model(3), "text.txt: num_tokens: expected 4 or more, got 3; "),
    ] {
        let error = learn(model);
        assert!(error.starts_with(said), "{error}");
    }
    let many = CorpusOptions { num_tokens: Some(10), ..CorpusOptions::default() };
    let error = CorpusSpec::learn(&model(9), &text, &many).unwrap_err().to_string();
    assert!(error.starts_with("num_tokens: expected at most 9, which the model has, got 10; "), "{error}");
    let (described, spec) = digits();
    let refused = |text: &str, window: usize, streams: Option<usize>| {
        spec.tensors(&described, &corpus(text), window, streams).unwrap_err().to_string()
    };
    let short =
        "text.txt: window 4: expected a text of at least 5 tokens, got 4; try a smaller window, or a longer text";
    assert_eq!(refused("0123", 4, None), short);
    let short = refused("012345678", 4, Some(3));
    let said =
        "text.txt: window 4 in each of 3 streams: expected a text of at least 13 tokens, got 9; try a smaller window";
    assert!(short.starts_with(said), "{short}");
    assert_eq!(refused("0123", 0, None), "text.txt: window: expected 1 or more, got 0");
    assert_eq!(refused("0123", 1, Some(0)), "text.txt: streams: expected 1 or more, got 0");
    let unknown = refused("01\n2", 1, None);
    assert_eq!(unknown, "text.txt: line 1: character '\\n' is not in the model's vocabulary \"0123456789\"");
    assert_eq!(spec.encode("").unwrap_err().to_string(), "expected at least one character, got none");
    let large = CorpusSpec::learn(&model(20), &text, &options).unwrap();
    let error = large.check(&model(9)).unwrap_err().to_string();
    assert_eq!(error, "expected a vocabulary of this model, got 10 tokens where it has 9");
}

#[test]
fn windows_of_a_text_that_stays_in_its_file_are_the_same() {
    let scratch = Scratch::new("windows");
    // Longer than a piece, with characters of one, two and three bytes, and words outside the vocabulary.
    let text: String =
        (0..9000).map(|n| format!("{} é–{n}{}", n % 13, if n % 5 == 0 { "\n" } else { " - " })).collect();
    let stored = Corpus::open(scratch.write("text.txt", format!("\u{feff}{text}")), 1 << 20).unwrap();
    let held = corpus(&text);
    for unit in [Unit::Characters, Unit::Words] {
        let options = CorpusOptions { unit, num_tokens: None };
        let [spec, same] = [&held, &stored].map(|text| CorpusSpec::learn(&model(200), text, &options).unwrap());
        assert_eq!(spec, same);
        assert_eq!(spec.tokens(&held).unwrap(), spec.tokens(&stored).unwrap());
        let count = spec.tokens(&held).unwrap().len();
        for (window, streams) in [(1, None), (37, None), (50, Some(7)), (count - 1, None)] {
            let [held, stored] =
                [&held, &stored].map(|text| spec.examples(&model(200), text, window, streams).unwrap());
            assert_eq!((held.rows(), held.lengths()), (stored.rows(), None));
            assert_eq!((held.tokens(), stored.tokens()), (count, count));
            assert_eq!((held.unknown() > 0, held.unknown()), (unit == Unit::Words, stored.unknown()));
            let rows: Vec<usize> = (0..held.rows()).rev().step_by(1 + held.rows() / 300).collect();
            assert!(held.tensors(&rows).unwrap() == stored.tensors(&rows).unwrap(), "{unit} {window} {streams:?}");
        }
    }
}

#[test]
fn what_a_vocabulary_lacks_is_told_by_its_line() {
    let (model, spec) = digits();
    let scratch = Scratch::new("lacks");
    let text = "0".repeat(100_000);
    let (mut described, mut file) = (spec, String::new());
    if let Vocabulary::Described(all) = &mut described.0 {
        all.push('\n');
    }
    for _ in 0..3 {
        file += &text;
        file.push('\n');
    }
    let path = scratch.write("text.txt", file + "12x");
    for text in [Corpus::read(&path, 1 << 20).unwrap(), Corpus::open(&path, 1 << 20).unwrap()] {
        let error = described.tokens(&text).unwrap_err().to_string();
        assert!(error.contains("text.txt: line 4: character 'x' is not in the model's vocabulary"), "{error}");
    }
    assert!(described.examples(&model, &corpus("01"), 5, None).is_err());
}
