//! The parts of a model that take texts and give their classes, or those
//! of their tokens: its port of tokens, its lengths or mask, its output.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayD, ArrayView1, s};

use super::ends::{Ends, placed};
use super::side::Side;
use super::tokenizer::Tokenizer;
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::{BinaryCrossEntropy, CrossEntropy, Objective, last_activation};
use crate::model::{Dim, Flow, InputPort, Model, TimeEnd};
use crate::named::{NamedTensors, Values};

/// The axes of rows of tokens.
const AXES: [Dim; 2] = [Dim::Batch, Dim::Time];

/// The input and the output of a model for text.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    /// Every token is below this.
    pub(super) tokens: usize,
    /// How many numbers the model gives for a text, or for each of its tokens.
    pub(super) outputs: usize,
    /// The activation of the output.
    activation: Option<Activation>,
    ends: Ends,
    /// The end of a text that is padded.
    pad: Side,
    /// The input that tells padding from text: the lengths if padding comes last, or the mask if it comes first.
    tells: InputPort,
    /// The fewest steps that the model takes. In a shorter text, padding counts as steps up to there.
    least: usize,
    /// A layer that reads padding, if there is one: all texts then need one length.
    reads_padding: Option<String>,
}

impl Heads {
    /// Finds the heads of `model` for texts that are padded at the end `pad`.
    /// With `tags` the model answers for each token, else for a whole text.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the model does not take one
    /// sequence of tokens and give one row of numbers for each (for each token). It is the same if it takes
    /// no lengths (no mask, if padding comes first), if its output is that of a padded step, or if a text would not
    /// have the windows that it has alone.
    pub(super) fn of(model: &Model, pad: Side, tags: bool) -> Result<Self> {
        let ends = Ends::of(model)?;
        let Flow::Tokens(tokens) = ends.takes else {
            let text = "expected a model that takes tokens, got one that takes features";
            return Err(wrong(text).hint("text needs an embedding or one_hot layer first"));
        };
        let features = match (ends.gives, tags) {
            (Flow::Rows(features), false) | (Flow::Steps(features), true) => features,
            (_, false) => {
                let text = "expected one output for a text, got one for each of its steps";
                return Err(wrong(text).hint("try a select layer of final_hidden"));
            }
            (_, true) => {
                let text = "expected an output for each token of a text, got one for all of them";
                return Err(wrong(text).hint("leave out the select layer"));
            }
        };
        own_steps(model, pad)?;
        own_windows(model, pad)?;
        let (tells, what) = match pad {
            Side::End => (&ends.lengths, "the lengths of its rows"),
            Side::Start => (&ends.mask, "a mask of its steps"),
        };
        let Some(tells) = tells.clone() else {
            let text = format!("expected a model that takes {what}, got one that does not");
            return Err(wrong(text).hint("without that it would read what pads a shorter text"));
        };
        let activation = last_activation(model, ends.output).map(|(_, activation)| activation);
        if activation == Some(Activation::Sigmoid) && features.len() > 1 {
            let text = format!("expected softmax or no activation of {} outputs, got sigmoid", features.len());
            return Err(wrong(text).hint("a sigmoid answers for two labels, with one output"));
        }
        if features.len() == 1 && matches!(activation, Some(Activation::Softmax | Activation::LogSoftmax)) {
            let text = "expected sigmoid or no activation of one output, got softmax, which is always 1";
            return Err(wrong(text).hint("try a sigmoid, or two outputs"));
        }
        let reads = model.layers.iter().position(|layer| layer.kind.counts_padding());
        let reads_padding = reads.map(|layer| model.place(layer));
        let least = model.fewest_steps();
        Ok(Self { tokens, outputs: features.len(), activation, ends, pad, tells, least, reads_padding })
    }

    /// Returns the steps that texts are padded to, of which the longest has `longest` tokens, and none more than
    /// `max_length`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the model reads padding, so that an
    /// answer depends on the length that texts are padded to, and no `max_length` fixes that.
    pub(super) fn steps(&self, longest: usize, max_length: Option<usize>) -> Result<usize> {
        match (&self.reads_padding, max_length) {
            (None, _) => Ok(longest.max(self.least)),
            (Some(_), Some(all)) => Ok(all.max(longest)),
            (Some(layer), None) => {
                let text =
                    format!("layer {layer}: expected texts of one length, since it reads what pads shorter ones");
                Err(wrong(text).hint("give a length that all are padded to or cut to (--max-length N)"))
            }
        }
    }

    /// Returns the steps of a text of `length` tokens: padding counts up to the fewest that the model takes.
    pub(super) fn told(&self, length: usize) -> usize {
        length.max(self.least)
    }

    /// Returns how many labels it tells apart.
    pub(super) fn labels(&self) -> usize {
        self.outputs.max(2)
    }

    /// Returns the loss that fits its output.
    pub(super) fn objective(&self) -> Objective {
        match self.outputs {
            1 => BinaryCrossEntropy::default().into(),
            _ => CrossEntropy::default().into(),
        }
    }

    /// Lays out rows of tokens, padded to `steps`, under the model's names and in its axes.
    pub(super) fn tensors(&self, rows: &[Vec<i64>], steps: usize) -> NamedTensors {
        let tokens = self.padded(rows.iter().map(Vec::as_slice), rows.len(), steps);
        let told: Values = match self.pad {
            Side::Start => {
                let is_text = |(row, step): (usize, usize)| {
                    f32::from(u8::from(self.place(self.told(rows[row].len()), steps).contains(&step)))
                };
                placed(Array2::from_shape_fn((rows.len(), steps), is_text).into_dyn(), &AXES, &self.tells.axes).into()
            }
            Side::End => rows.iter().map(|row| self.told(row.len()) as i64).collect::<Array1<_>>().into(),
        };
        let (name, tokens) = self.ends.taken(tokens, &AXES);
        NamedTensors::from([(name, tokens.into()), (self.tells.name.clone(), told)])
    }

    /// Lays out the classes of texts as targets, under the model's name of them.
    pub(super) fn classes(&self, classes: Vec<i64>) -> (String, Values) {
        (self.ends.targets().to_owned(), Array1::from(classes).into())
    }

    /// Lays out the classes of the tokens of `count` texts in the same way, padded to `steps`.
    pub(super) fn tags<'a>(
        &self,
        rows: impl Iterator<Item = &'a [i64]>,
        count: usize,
        steps: usize,
    ) -> (String, Values) {
        let (name, tags) = self.ends.target(self.padded(rows, count, steps), &AXES);
        (name, tags.into())
    }

    /// Returns the steps of a text of `length` tokens.
    pub(super) fn place(&self, length: usize, steps: usize) -> Range<usize> {
        match self.pad {
            Side::Start => steps.saturating_sub(length)..steps,
            Side::End => 0..length.min(steps),
        }
    }

    /// Pads `count` rows to `steps`, in the axes of [`AXES`]. Nothing reads what pads classes.
    fn padded<'a>(&self, rows: impl Iterator<Item = &'a [i64]>, count: usize, steps: usize) -> ArrayD<i64> {
        let mut all = Array2::from_elem((count, steps), Tokenizer::PADDING);
        for (mut to, row) in all.outer_iter_mut().zip(rows) {
            to.slice_mut(s![self.place(row.len(), steps)]).assign(&ArrayView1::from(row));
        }
        all.into_dyn()
    }

    /// Returns the probability of each label from a model's output for a text. An output without
    /// an activation is taken as the number before softmax or sigmoid, as the losses take it.
    pub(super) fn probabilities(&self, given: &[f32]) -> Vec<f64> {
        let given: Vec<f64> = given.iter().map(|x| f64::from(*x)).collect();
        match (given[..].as_ref(), self.activation) {
            ([p], Some(Activation::Sigmoid)) => vec![1.0 - p, *p],
            // Each is computed from its own side, so that neither rounds to zero.
            ([z], _) => vec![1.0 / (1.0 + z.exp()), 1.0 / (1.0 + (-z).exp())],
            (_, Some(Activation::Softmax)) => given,
            (_, _) => {
                let most = given.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = given.iter().map(|z| (z - most).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(|power| power / sum).collect()
            }
        }
    }
}

/// Refuses a model that answers from the end of the time axis where
/// shorter texts have padding, unless its last step is held there.
fn own_steps(model: &Model, pad: Side) -> Result<()> {
    let taken = model.ends_taken();
    let reads = |end: TimeEnd| taken.contains(&(end, false));
    let (padded, what, other) = match pad {
        Side::End => (TimeEnd::Last, "last", (TimeEnd::First, "start (--pad start)")),
        Side::Start => (TimeEnd::First, "first", (TimeEnd::Last, "end (--pad end)")),
    };
    if !reads(padded) {
        return Ok(());
    }
    let text = format!(
        "expected an answer at each text's own last step, got one at the {what} time index, where shorter texts have padding"
    );
    let pads = if reads(other.0) { String::new() } else { format!(", or pad texts at their {}", other.1) };
    Err(wrong(text).hint(format!("select final_hidden of the last stack{pads}")))
}

/// Refuses a model of windows in which a text would not have those that it has alone.
fn own_windows(model: &Model, pad: Side) -> Result<()> {
    for (index, layer) in model.layers.iter().enumerate() {
        let place = || format!("layer {}", model.place(index));
        if layer.kind.depends_on_length() {
            let text = format!("{}: expected padding that is alike for texts of every length, got another", place());
            return Err(wrong(text).hint("with a stride, \"same\" pads by the length; try another padding"));
        }
        if pad == Side::Start && layer.kind.depends_on_begin() {
            let text =
                format!("{}: expected steps from the first one of a text on, got every n-th time index", place());
            return Err(wrong(text).hint("pad texts at their end (--pad end)"));
        }
    }
    Ok(())
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Axes, Direction, Padding};
    use crate::{Embedding, Gru, Linear, Select};

    fn head(select: Select, last: Linear) -> Result<Heads> {
        let model = Model::new().layer(Embedding::new(10, 4)).layer(Gru::new(4, 8)).layer(select).layer(last);
        Heads::of(&model, Side::End, false)
    }

    #[test]
    fn probabilities_are_those_of_the_last_activation() {
        let of = |outputs: usize, activation: Activation, given: &[f32]| {
            let last = Linear::new(8, outputs).activation(activation);
            head(Select::FinalHidden, last).unwrap().probabilities(given)
        };
        assert_eq!(of(1, Activation::Sigmoid, &[0.75]), [0.25, 0.75]);
        assert_eq!(of(1, Activation::Linear, &[0.0]), [0.5, 0.5]);
        let [no, yes] = of(1, Activation::Linear, &[3.0])[..] else { panic!("two labels") };
        assert!((yes - 0.952_574_126_822_433).abs() < 1e-12 && (no + yes - 1.0).abs() < 1e-12);
        assert_eq!(of(3, Activation::Softmax, &[0.5, 0.25, 0.25]), [0.5, 0.25, 0.25]);
        for (activation, given) in
            [(Activation::Linear, [1000.0, 1000.0]), (Activation::LogSoftmax, [-std::f32::consts::LN_2; 2])]
        {
            assert_eq!(of(2, activation, &given), [0.5, 0.5], "{activation}");
        }
    }

    #[test]
    fn what_does_not_answer_for_a_text_is_refused() {
        let refused = |heads: Result<Heads>| heads.expect_err("it is refused").to_string();
        let text = refused(Heads::of(&Model::new().layer(Gru::new(4, 8)).layer(Select::FinalHidden), Side::End, false));
        assert!(text.starts_with("expected a model that takes tokens"), "{text}");
        let text = refused(head(Select::AllSteps, Linear::new(8, 1)));
        assert!(text.starts_with("expected one output for a text, got one for each of its steps"), "{text}");
        for select in [Select::LastStep, Select::LastOutput] {
            let text = refused(head(select, Linear::new(8, 1)));
            assert!(
                text.contains("at the last time index")
                    && text.contains("select final_hidden")
                    && text.contains("--pad start"),
                "{text}"
            );
            let held = Gru::new(4, 8).padding(Padding::Held);
            let model = Model::new().layer(Embedding::new(10, 4)).layer(held).layer(select).layer(Linear::new(8, 1));
            assert_eq!(Heads::of(&model, Side::End, false).unwrap().labels(), 2);
        }
        let text = refused(head(Select::FinalHidden, Linear::new(8, 2).activation(Activation::Sigmoid)));
        assert!(text.starts_with("expected softmax or no activation of 2 outputs, got sigmoid"), "{text}");
        let text = refused(head(Select::FinalHidden, Linear::new(8, 1).activation(Activation::Softmax)));
        assert!(text.starts_with("expected sigmoid or no activation of one output"), "{text}");
    }

    #[test]
    fn tokens_stand_in_the_axes_of_the_model() {
        let model = Model::new().layer(Embedding::new(10, 4)).layer(Gru::new(4, 8)).layer(Select::FinalHidden);
        let rows = [vec![1, 3, 4], vec![1, 5]];
        let [end, start] = [[[1, 3, 4], [1, 5, 0]], [[1, 3, 4], [0, 1, 5]]].map(|rows| ndarray::arr2(&rows).into_dyn());
        let mask = ndarray::arr2(&[[1.0_f32, 1.0, 1.0], [0.0, 1.0, 1.0]]).into_dyn();
        for axes in [Axes::BatchFirst, Axes::TimeMajor] {
            let in_axes = |values: Values| match (axes, values) {
                (Axes::TimeMajor, Values::I64(array)) => Values::I64(array.reversed_axes()),
                (Axes::TimeMajor, Values::F32(array)) => Values::F32(array.reversed_axes()),
                (_, values) => values,
            };
            let tensors = |pad| Heads::of(&model.clone().axes(axes), pad, false).unwrap().tensors(&rows, 3);
            let lengths = Array1::from(vec![3_i64, 2]).into();
            let wanted = [("x", in_axes(end.clone().into())), ("lengths", lengths)];
            assert_eq!(tensors(Side::End), wanted.map(|(name, values)| (name.to_owned(), values)).into());
            let wanted = [("x", in_axes(start.clone().into())), ("mask", mask.clone().into())];
            assert_eq!(tensors(Side::Start), wanted.map(|(name, values)| (name.to_owned(), values)).into());
        }
    }

    #[test]
    fn a_text_behind_its_padding_begins_at_no_index_that_is_known() {
        for (direction, select, answers) in [
            (Direction::Forward, Select::LastStep, true),
            (Direction::Forward, Select::LastOutput, true),
            (Direction::Both, Select::LastStep, true),
            (Direction::Both, Select::LastOutput, false),
            (Direction::Reverse, Select::LastStep, true),
            (Direction::Reverse, Select::LastOutput, false),
            (Direction::Backwards, Select::LastStep, false),
            (Direction::Backwards, Select::LastOutput, false),
        ] {
            for (padding, answers) in [(Padding::Zero, answers), (Padding::Held, true)] {
                let stack = Gru::new(4, 8).direction(direction).padding(padding);
                let model = Model::new().layer(Embedding::new(10, 4)).layer(stack).layer(select);
                let features = if direction == Direction::Both { 16 } else { 8 };
                let heads = Heads::of(&model.layer(Linear::new(features, 3)), Side::Start, false);
                match (&heads, answers) {
                    (Ok(heads), true) => assert_eq!(heads.labels(), 3),
                    (Err(error), false) => assert!(error.to_string().contains("at the first time index"), "{error}"),
                    _ => panic!("{direction:?} {select:?} {padding:?}: {heads:?}"),
                }
            }
        }
    }
}
