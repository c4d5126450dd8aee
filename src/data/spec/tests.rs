//! What a training fixes, compared with values worked out by hand.

use std::path::Path;

use super::*;
use crate::data::{DataSummary, Example, SourceLocation, SummaryOptions};
use crate::model::{Axes, Direction, Embedding, Gru, Linear, Padding, Select, SliceSteps};
use crate::named::Values;
use crate::weights::Weights;
use crate::{Activation, Device, Engine};

fn rows(all: &[(&str, &str)]) -> Labelled {
    let file = SourceLocation::of_file(Path::new("rows.tsv"));
    let row = |(at, (label, text)): (usize, &(&str, &str))| Example::new(*text, label, file.line(at + 1)).unwrap();
    Labelled::new(all.iter().enumerate().map(row).collect(), file.clone()).unwrap()
}

fn reviews() -> Labelled {
    rows(&[("pos", "a good film"), ("neg", "a bad bad film, in all"), ("pos", "good")])
}

fn model(tokens: usize, outputs: usize) -> Model {
    let model = Model::new().layer(Embedding::new(tokens, 4)).layer(Gru::new(4, 8)).layer(Select::FinalHidden);
    model.layer(Linear::new(8, outputs))
}

fn whole(values: &Values) -> Vec<i64> {
    let Values::I64(array) = values else { panic!("expected whole numbers, got {values:?}") };
    array.iter().copied().collect()
}

#[test]
fn rows_become_padded_tokens_their_lengths_and_classes() {
    let spec = TextSpec::learn(&model(100, 1), &reviews(), &TextOptions::default()).unwrap();
    // a, good, film and bad occur twice, and come in the order in which they were first seen.
    assert_eq!(spec.tokenizer().units(), ["a", "good", "film", "bad", "in", "all"]);
    let tensors = spec.tensors(&model(100, 1), &reviews()).unwrap();
    assert_eq!(tensors["x"].shape(), [3, 7]);
    assert_eq!(whole(&tensors["x"])[..14], [1, 3, 4, 5, 0, 0, 0, 1, 3, 6, 6, 5, 7, 8]);
    assert_eq!(whole(&tensors["lengths"]), [4, 7, 2]);
    assert_eq!(whole(&tensors["y"]), [1, 0, 1]);
    assert_eq!(tensors.len(), 3);
}

#[test]
fn long_texts_are_cut_at_the_end_that_is_said() {
    for (truncate, tokens) in [(Side::End, [1, 3, 6]), (Side::Start, [5, 7, 8])] {
        let options = TextOptions { max_length: Some(3), truncate, ..TextOptions::default() };
        let spec = TextSpec::learn(&model(100, 1), &reviews(), &options).unwrap();
        assert_eq!(spec.encode("a bad bad film in all"), tokens);
        assert_eq!(spec.encode("good"), [1, 4]);
        assert_eq!(whole(&spec.tensors(&model(100, 1), &reviews()).unwrap()["lengths"]), [3, 3, 2]);
    }
}

#[test]
fn the_vocabulary_has_no_more_tokens_than_the_model() {
    let spec = TextSpec::learn(&model(5, 1), &reviews(), &TextOptions::default()).unwrap();
    assert_eq!(spec.tokenizer().units(), ["a", "good"]);
    let options = TextOptions { num_tokens: Some(6), ..TextOptions::default() };
    let error = TextSpec::learn(&model(5, 1), &reviews(), &options).unwrap_err().to_string();
    assert!(error.starts_with("num_tokens: expected at most 5, which the model has, got 6; try fewer"), "{error}");
    let error = spec.check(&model(4, 1)).unwrap_err().to_string();
    assert_eq!(error, "expected a tokenizer and labels of this model, got 5 tokens where it has 4");
    let error = spec.check(&model(5, 3)).unwrap_err().to_string();
    assert_eq!(error, "expected a tokenizer and labels of this model, got 2 labels where it has 3");
}

#[test]
fn labels_are_as_many_as_the_model_tells_apart() {
    let three = rows(&[("a", "x"), ("b", "x"), ("a", "x"), ("c", "x")]);
    let learn = |outputs: usize, rows: &Labelled| TextSpec::learn(&model(9, outputs), rows, &TextOptions::default());
    let error = learn(1, &three).unwrap_err().to_string();
    let said =
        "rows.tsv: line 4: expected 2 labels, which the model tells apart, got \"c\" beside a, b; give the model's";
    assert!(error.starts_with(said), "{error}");
    let error = learn(4, &three).unwrap_err().to_string();
    let said =
        "rows.tsv: expected 4 labels, which the model tells apart, got 3 (a, b, c); give the model's last layer 3";
    assert!(error.starts_with(said), "{error}");
    let spec = learn(3, &three).unwrap();
    assert_eq!(whole(&spec.tensors(&model(9, 3), &three).unwrap()["y"]), [0, 1, 0, 2]);
}

#[test]
fn losses_fit_the_outputs() {
    let spec = TextSpec::learn(&model(9, 2), &reviews(), &TextOptions::default()).unwrap();
    let name = |outputs: usize| spec.objective(&model(100, outputs)).unwrap().terms()[0].loss.name();
    assert_eq!((name(1), name(2)), ("binary_cross_entropy", "cross_entropy"));
}

#[test]
fn what_pads_a_text_changes_no_answer() {
    let mut refused = Vec::new();
    for direction in [Direction::Forward, Direction::Reverse, Direction::Backwards, Direction::Both] {
        for padding in [Padding::Zero, Padding::Held] {
            for select in [Select::FinalHidden, Select::LastStep, Select::LastOutput] {
                for pad in [Side::Start, Side::End] {
                    let stack = Gru::new(4, 8).direction(direction).padding(padding);
                    let features = if direction == Direction::Both { 16 } else { 8 };
                    let model = Model::new().layer(Embedding::new(100, 4)).layer(stack).layer(select);
                    let last = Linear::new(8, 2).activation(Activation::Softmax);
                    let model = model.layer(Linear::new(features, 8)).layer(last);
                    match TextSpec::learn(&model, &reviews(), &TextOptions { pad, ..TextOptions::default() }) {
                        Ok(spec) => padding_changes_nothing(
                            &model,
                            &spec,
                            &format!("{direction:?} {padding:?} {select:?} {pad:?}"),
                        ),
                        Err(error) => {
                            assert!(error.to_string().contains("time index, where shorter texts have padding"));
                            refused.push((direction, select, pad));
                        }
                    }
                }
            }
        }
    }
    // Refused are models that read the padded end: stacks that give zeros there, and directions that begin there.
    assert_eq!(refused.len(), 11, "{refused:?}");
}

#[test]
fn what_would_read_padding_is_refused() {
    let first = || Model::new().layer(Embedding::new(100, 4));
    let gru = |features: usize, direction| Gru::new(features, 8).direction(direction);
    let turned =
        first().layer(gru(4, Direction::Backwards)).layer(gru(8, Direction::Forward)).layer(Select::FinalHidden);
    let deep = first().layer(gru(4, Direction::Backwards).num_layers(2)).layer(Select::FinalHidden);
    let sliced = |slice| first().layer(slice).layer(gru(4, Direction::Forward)).layer(Select::FinalHidden);
    let words = Model::new().layer(Embedding::new(100, 8)).layer(Select::LastStep);
    for (model, pads) in [
        (turned, &[Side::Start, Side::End][..]),
        (deep, &[Side::Start, Side::End]),
        (sliced(SliceSteps::from(-5)), &[Side::End]),
        (sliced(SliceSteps::from(1)), &[Side::Start]),
        (sliced(SliceSteps::from(0).to(-1)), &[Side::End]),
        (words, &[Side::End]),
    ] {
        let model = model.layer(Linear::new(8, 2));
        for pad in [Side::Start, Side::End] {
            let learned = TextSpec::learn(&model, &reviews(), &TextOptions { pad, ..TextOptions::default() });
            assert_eq!(learned.is_err(), pads.contains(&pad), "{pad:?}: {}", model.summary());
        }
    }
}

fn padding_changes_nothing(model: &Model, spec: &TextSpec, what: &str) {
    let engine = Engine::new(model, &Weights::random(model, 1).unwrap(), Device::Cpu).unwrap();
    let answers = |texts: &[&'static str]| {
        let input = spec.input(model, texts.iter().copied()).unwrap();
        spec.answers(model, &engine.run(&input).unwrap()).unwrap()
    };
    let together = answers(&["good", "a bad bad film, in all"]);
    assert_eq!(together.len(), 2);
    for (answer, alone) in together.iter().zip([answers(&["good"]), answers(&["a bad bad film, in all"])]) {
        assert_eq!((alone.len(), answer.probabilities.len()), (1, alone[0].probabilities.len()));
        let pairs = answer.probabilities.iter().zip(&alone[0].probabilities);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{what}: {answer:?} {alone:?}");
        assert!((answer.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        assert_eq!(answer.class, usize::from(answer.probabilities[1] > answer.probabilities[0]));
    }
}

#[test]
fn more_padding_than_can_be_laid_out_is_refused() {
    let long = "a ".repeat(70_000);
    let mut many = vec![("pos", "a"); 4000];
    many.extend([("neg", long.as_str())]);
    let many = rows(&many);
    let options = TextOptions::default();
    let spec = TextSpec::learn(&model(9, 1), &many, &options).unwrap();
    let error = spec.tensors(&model(9, 1), &many).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limits);
    let said = "rows.tsv: 4001 rows padded to 70001 tokens, the longest row: expected at most ";
    assert!(error.to_string().starts_with(said) && error.to_string().contains("--max-length"), "{error}");
    let spec = TextSpec::learn(&model(9, 1), &many, &TextOptions { max_length: Some(10), ..options }).unwrap();
    assert_eq!(spec.tensors(&model(9, 1), &many).unwrap()["x"].shape(), [4001, 10]);
}

/// Sentences whose tokens have a tag each.
fn tagged() -> Labelled {
    let file = SourceLocation::of_file(Path::new("rows.conll"));
    let row = |line: usize, tokens: &[&str], tags: &[&str]| Example::tagged(tokens, tags, file.line(line)).unwrap();
    let rows = vec![
        row(1, &["EU", "rejects", "EU", "."], &["ORG", "O", "ORG", "O"]),
        row(6, &["Peter"], &["PER"]),
        row(8, &["EU", "Peter"], &["ORG", "PER"]),
    ];
    Labelled::new(rows, file.clone()).unwrap()
}

fn tagger(tokens: usize, outputs: usize) -> Model {
    let model = Model::new().layer(Embedding::new(tokens, 4)).layer(Gru::new(4, 8).bidirectional());
    model.layer(Linear::new(16, outputs))
}

#[test]
fn tags_stand_beside_their_tokens() {
    let options = |pad| TextOptions { pad, ..TextOptions::default() };
    for axes in [Axes::BatchFirst, Axes::TimeMajor] {
        let model = tagger(20, 3).axes(axes);
        for (pad, x, y) in [
            (Side::End, [3, 5, 3, 6, 4, 0, 0, 0, 3, 4, 0, 0], [1, 0, 1, 0, 2, 0, 0, 0, 1, 2, 0, 0]),
            (Side::Start, [3, 5, 3, 6, 0, 0, 0, 4, 0, 0, 3, 4], [1, 0, 1, 0, 0, 0, 0, 2, 0, 0, 1, 2]),
        ] {
            let spec = TextSpec::learn(&model, &tagged(), &options(pad)).unwrap();
            assert_eq!(spec.tokenizer().units(), ["EU", "Peter", "rejects", "."]);
            assert_eq!(spec.classes().labels(), ["O", "ORG", "PER"]);
            assert!(spec.is_tagging() && !spec.tokenizer().start());
            let tensors = spec.tensors(&model, &tagged()).unwrap();
            let laid_out = |name: &str| {
                let Values::I64(array) = &tensors[name] else { panic!("expected whole numbers") };
                let array = array.view().into_dimensionality::<Ix2>().unwrap();
                let array = if axes == Axes::TimeMajor { array.reversed_axes() } else { array };
                array.iter().copied().collect::<Vec<_>>()
            };
            assert_eq!((laid_out("x"), laid_out("y")), (x.to_vec(), y.to_vec()), "{axes:?} {pad:?}");
            let examples = spec.examples(&model, tagged()).unwrap();
            assert_eq!((examples.lengths(), examples.tensors(&[0, 1, 2]).unwrap()), (Some(vec![4, 1, 2]), tensors));
            let again = TextSpec::from_json(&spec.to_json()).unwrap();
            assert_eq!((again.is_tagging(), &again), (true, &spec));
        }
    }
}

#[test]
fn tags_are_cut_with_their_tokens() {
    for (truncate, x, y) in [(Side::End, [3, 5], [1, 0]), (Side::Start, [3, 6], [1, 0])] {
        let options = TextOptions { max_length: Some(2), truncate, ..TextOptions::default() };
        let spec = TextSpec::learn(&tagger(20, 3), &tagged(), &options).unwrap();
        let tensors = spec.tensors(&tagger(20, 3), &tagged()).unwrap();
        assert_eq!((&whole(&tensors["x"])[..2], &whole(&tensors["y"])[..2]), (&x[..], &y[..]));
        assert_eq!(whole(&tensors["lengths"]), [2, 1, 2]);
    }
}

#[test]
fn each_token_has_the_answer_that_it_has_alone() {
    for axes in [Axes::BatchFirst, Axes::TimeMajor] {
        for (outputs, pad) in [(3, Side::End), (3, Side::Start)] {
            let model = tagger(20, outputs).axes(axes);
            let options = TextOptions { pad, ..TextOptions::default() };
            let spec = TextSpec::learn(&model, &tagged(), &options).unwrap();
            let engine = Engine::new(&model, &Weights::random(&model, 1).unwrap(), Device::Cpu).unwrap();
            let answers = |texts: &[&'static str]| {
                let output = engine.run(&spec.input(&model, texts.iter().copied()).unwrap()).unwrap();
                spec.tag_answers(&model, texts.iter().copied(), &output).unwrap()
            };
            let texts = ["EU rejects", "Peter", "no EU rejects Peter ."];
            let together = answers(&texts);
            assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 5]);
            for (all, text) in together.iter().zip(texts) {
                let alone = answers(&[text]);
                assert_eq!((alone.len(), alone[0].len()), (1, all.len()));
                for (answer, alone) in all.iter().zip(&alone[0]) {
                    assert_eq!(answer.probabilities.len(), alone.probabilities.len());
                    let pairs = answer.probabilities.iter().zip(&alone.probabilities);
                    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{axes:?} {pad:?} {text}");
                    assert!(answer.probabilities.iter().all(|p| *p <= answer.probabilities[answer.class]));
                }
            }
            let output = engine.run(&spec.input(&model, texts).unwrap()).unwrap();
            let error = spec.tag_answers(&model, ["EU"], &output).unwrap_err().to_string();
            assert!(error.starts_with("expected an output of 1 texts with 3 numbers for each token, got ["), "{error}");
            assert!(spec.answers(&model, &output).is_err());
        }
    }
}

#[test]
fn tagged_text_that_does_not_fit_is_refused() {
    let learn = |model: &Model, rows: &Labelled| TextSpec::learn(model, rows, &TextOptions::default());
    let error = learn(&model(20, 3), &tagged()).unwrap_err().to_string();
    let said = "expected an output for each token of a text, got one for all of them; leave out the select layer";
    assert_eq!(error, said);
    let error = learn(&tagger(20, 2), &tagged()).unwrap_err().to_string();
    let said = "rows.conll: line 6: expected 2 labels, which the model tells apart, got \"PER\" beside ORG, O; give";
    assert!(error.starts_with(said), "{error}");
    let spec = learn(&tagger(20, 3), &tagged()).unwrap();
    let file = SourceLocation::of_file(Path::new("rows.conll"));
    let other = Example::tagged(&["EU", "in"], &["ORG", "LOC"], file.line(4)).unwrap();
    let other = Labelled::new(vec![other], file.clone()).unwrap();
    let error = spec.tensors(&tagger(20, 3), &other).unwrap_err().to_string();
    let said = "rows.conll: line 4: token 2: expected a label that was trained on (O, ORG, PER), got \"LOC\"; take";
    assert!(error.starts_with(said), "{error}");
    let error = spec.tensors(&tagger(20, 3), &reviews()).unwrap_err().to_string();
    let said = "rows.tsv: expected a tag for each token, as in the data that the model was trained on, got a label for";
    assert!(error.starts_with(said), "{error}");
    let error = learn(&model(20, 2), &reviews()).unwrap().tensors(&model(20, 2), &tagged()).unwrap_err().to_string();
    assert!(error.starts_with("rows.conll: expected a label for each text, as in the data"), "{error}");
    let tokenizer = Tokenizer::of_units(Unit::Whitespace, true, vec!["EU".to_owned()]).unwrap();
    let begun = TextSpec::new(tokenizer, spec.classes().clone()).tagging();
    let error = begun.check(&tagger(20, 3)).unwrap_err().to_string();
    assert_eq!(error, "expected texts without a start token, since each token has an answer, got one");
    for (tokens, tags, said) in [
        (&["a", "b"][..], &["x"][..], "rows.conll: expected a tag for each token, got 2 tokens and 1 tags"),
        (&[], &[], "rows.conll: expected a tag for each token, got 0 tokens and 0 tags"),
        (&["a b"], &["x"], "rows.conll: token 1: expected one without white space, got \"a b\""),
        (&["a", "b"], &["x", ""], "rows.conll: tag 2: expected one without white space, got \"\""),
    ] {
        assert_eq!(Example::tagged(tokens, tags, file.clone()).unwrap_err().to_string(), said);
    }
    let mixed = [tagged().rows().to_vec(), reviews().rows().to_vec()].concat();
    let error = Labelled::new(mixed, file).unwrap_err().to_string();
    assert_eq!(error, "rows.tsv: line 1: expected tags in every row or in none, got both kinds");
}

#[test]
fn tags_are_counted_and_not_rows() {
    let rows = tagged();
    let classes = Classes::of(&rows).unwrap();
    // Of seven tokens two are O, three ORG and two PER.
    let balanced = classes.balanced(&rows).unwrap();
    let wanted = [7.0 / 6.0, 7.0 / 9.0, 7.0 / 6.0];
    assert!(balanced.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-6), "{balanced:?}");
    assert_eq!((rows.only_label(), rows.warnings().len()), (None, 0));
    let summary = DataSummary::of(&rows, &SummaryOptions::default()).unwrap();
    assert_eq!((summary.rows(), summary.length(1.0), summary.distinct()), (3, 4, 4));
    let counts: Vec<_> = summary.classes().iter().map(|class| (class.label.as_str(), class.rows)).collect();
    assert_eq!(counts, [("O", 2), ("ORG", 3), ("PER", 2)]);
    let text = summary.to_string();
    assert!(text.contains(" 42.9 %") && text.contains("\ntokens a row\n  shortest 1 "), "{text}");
}

#[test]
fn examples_are_the_rows_of_the_tensors() {
    let (model, rows) = (model(100, 1), reviews());
    let spec = TextSpec::learn(&model, &rows, &TextOptions::default()).unwrap();
    let (all, examples) = (spec.tensors(&model, &rows).unwrap(), spec.examples(&model, rows).unwrap());
    assert_eq!((examples.rows(), examples.lengths()), (3, Some(vec![4, 7, 2])));
    assert_eq!(examples.tensors(&[0, 1, 2]).unwrap(), all);
    let some = examples.tensors(&[2, 0]).unwrap();
    assert_eq!(some["x"].shape(), [2, 7]);
    assert_eq!(whole(&some["x"]), [1, 4, 0, 0, 0, 0, 0, 1, 3, 4, 5, 0, 0, 0]);
    assert_eq!((whole(&some["lengths"]), whole(&some["y"])), (vec![2, 4], vec![1, 1]));
}
