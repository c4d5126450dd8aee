//! What a user passes and gets: sequences, lengths, masks, states; and the same, checked against a model.
//!
//! `Input` is what the user wrote, in the model's axes; `Call` is what the road carries: time-major, batched,
//! every size known to fit. Knows models; knows no plan and no device.

mod learned;

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{
    ArcArray, Array, Array1, Array2, Array3, ArrayBase, ArrayD, Axis, CowArray, Data, Dimension, Ix2, Ix3, IxDyn,
    RawDataClone, s,
};

use crate::error::{Error, ErrorKind, Result, SMALLER_CALL, zeros};
use crate::model::{Axes, Embedding, Flow, LayerKind, Model, Recurrent};

/// The input of a run: one sequence or a batch of them.
///
/// # Shapes
///
/// Features `[B, T, I]` (`[T, B, I]` where the model is time-major) or `[T, I]` for one sequence without a batch;
/// tokens `[B, T]` (`[T, B]`) or `[T]`.
///
/// # Example
///
/// ```
/// use gatewave::Input;
/// use ndarray::{Array3, array};
///
/// let features = Input::features(Array3::zeros((2, 5, 8))).lengths([5, 3]);
/// let tokens = Input::tokens(array![[17_i64, 4, 0], [3, 0, 0]]).mask(array![[true, true, true], [true, false, false]]);
/// # drop((features, tokens));
/// ```
#[derive(Clone, Debug)]
pub struct Input {
    pub(crate) sequence: Sequence<ArcArray<f32, IxDyn>, ArrayD<i64>>,
    pub(crate) lengths: Option<Vec<i64>>,
    pub(crate) mask: Option<ArrayD<bool>>,
    /// By stack, each once.
    pub(crate) states: BTreeMap<usize, States>,
    pub(crate) encoder: Option<Box<Self>>,
}

/// Features or tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Sequence<F, T> {
    /// Real numbers.
    Features(F),
    /// Indices.
    Tokens(T),
}

/// The states of one recurrent stack, layer-major, forward before reverse.
///
/// # Shapes
///
/// `h` `[L · D, B, state_size]`, `c` `[L · D, B, H]`; without a batch `[L · D, state_size]`, `[L · D, H]`.
#[derive(Clone, Debug, PartialEq)]
pub struct States {
    /// The hidden states.
    pub h: ArrayD<f32>,
    /// The cell states, of an LSTM.
    pub c: Option<ArrayD<f32>>,
}

/// The output of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What the last layer gives: `[B, T, F]` (`[T, B, F]`), or `[B, F]` where the time axis is gone; without a batch
    /// `[T, F]` or `[F]`.
    pub output: ArrayD<f32>,
    /// The final states of each recurrent stack.
    pub states: Vec<States>,
}

/// The sequence of a checked call.
type CallSequence = Sequence<ArcArray<f32, Ix3>, Array2<u32>>;

/// A checked call: time-major, batched, of the model's sizes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `[T, B, I]` (shared with the input: a view of its memory, not always contiguous), or `[T, B]` tokens.
    /// Features and tokens are 0 at dead steps, which may hold anything in the input; but a token that is itself what
    /// makes a step dead stays.
    pub(crate) sequence: CallSequence,
    /// `[T, B]`: whether row b has a step at t, by the caller and by the model. `None`: all have.
    pub(crate) live: Option<Array2<bool>>,
    /// For each stack, `h` `[L · D, B, state_size]` and `c` `[L · D, B, H]`; zeros where the user gave none.
    pub(crate) states: Vec<(Array3<f32>, Option<Array3<f32>>)>,
    /// The call of the model's encoder.
    pub(crate) encoder: Option<Box<(Self, Form)>>,
}

/// The axes the user wrote, so that the output comes back in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// The order of the axes.
    pub(crate) axes: Axes,
    /// Whether there is a batch axis.
    pub(crate) batching: Batching,
    /// T.
    pub(crate) time: usize,
    /// B; 1 without a batch.
    pub(crate) batch: usize,
}

/// Whether there is a batch axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batching {
    /// Axes T and B.
    Batch,
    /// Axis T alone: one sequence.
    Single,
}

impl Input {
    /// Sequences of feature vectors.
    ///
    /// # Shapes
    ///
    /// `[B, T, I]` (`[T, B, I]` where the model is time-major), or `[T, I]`.
    pub fn features<D: Dimension>(features: Array<f32, D>) -> Self {
        Self::new(Sequence::Features(features.into_dyn().into_shared()))
    }

    /// Sequences of tokens, for a model that begins with an embedding or a one-hot layer.
    ///
    /// # Shapes
    ///
    /// `[B, T]` (`[T, B]` where the model is time-major), or `[T]`.
    pub fn tokens<D: Dimension>(tokens: Array<i64, D>) -> Self {
        Self::new(Sequence::Tokens(tokens.into_dyn()))
    }

    fn new(sequence: Sequence<ArcArray<f32, IxDyn>, ArrayD<i64>>) -> Self {
        Self { sequence, lengths: None, mask: None, states: BTreeMap::new(), encoder: None }
    }

    /// The same with the number of steps of each row, in any order; what comes after them is not read. A model that
    /// takes steps out by itself ([`Masking`](crate::Masking), [`Embedding::mask_token`](crate::Embedding::mask_token))
    /// does so as well.
    ///
    /// # Shapes
    ///
    /// B numbers from 0 to T.
    #[must_use]
    pub fn lengths(mut self, lengths: impl IntoIterator<Item = i64>) -> Self {
        self.lengths = Some(lengths.into_iter().collect());
        self
    }

    /// The same with a mask: where it is `false` there is no step, the state stays and the output is what the stack's
    /// [`Padding`](crate::Padding) says.
    ///
    /// # Shapes
    ///
    /// `[B, T]` whatever the model's axes, or `[T]` without a batch.
    #[must_use]
    pub fn mask<D: Dimension>(mut self, mask: Array<bool, D>) -> Self {
        self.mask = Some(mask.into_dyn());
        self
    }

    /// The same with initial states for the first recurrent stack; without them they are zero.
    ///
    /// [`Output::states`] are what goes in here to carry on where a run ended.
    #[must_use]
    pub fn states(self, states: States) -> Self {
        self.stack_states(0, states)
    }

    /// The same with initial states for recurrent stack `stack`, counted from 0 among the model's recurrent layers.
    #[must_use]
    pub fn stack_states(mut self, stack: usize, states: States) -> Self {
        self.states.insert(stack, states);
        self
    }

    /// The same with the input of the model's encoder: a sequence of as many rows, of any number of steps.
    #[must_use]
    pub fn encoder(mut self, input: Self) -> Self {
        self.encoder = Some(Box::new(input));
        self
    }

    /// The call this input makes of `model`, and the axes it was written in.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the input does not fit the model.
    pub(crate) fn check(&self, model: &Model) -> Result<(Call, Form)> {
        let form = self.form(model)?;
        let encoder = self.encoded(model, form)?;
        let (sequence, live) = self.carried(model, form)?;
        let stacks = model.stacks().count();
        if let Some(stack) = self.states.keys().find(|&&stack| stack >= stacks) {
            return Err(shape(format!(
                "states of stack {stack}: the model has {stacks} recurrent stack(s), counted from 0"
            )));
        }
        let states = model
            .stacks()
            .enumerate()
            .map(|(index, stack)| {
                states(self.states.get(&index), stack, form)
                    .map_err(|e| e.at(format!("states of stack {index} ({})", stack.cell.name())))
            })
            .collect::<Result<_>>()?;
        Ok((Call { sequence, live, states, encoder: encoder.map(Box::new) }, form))
    }

    /// The call that the encoder's input makes of it, where the model has one.
    fn encoded(&self, model: &Model, form: Form) -> Result<Option<(Call, Form)>> {
        let (encoder, input) = match (&model.encoder, &self.encoder) {
            (None, None) => return Ok(None),
            (Some(encoder), Some(input)) => (encoder, input),
            (Some(_), None) => {
                return Err(shape(
                    "encoder: expected an input of its own beside the decoder's (Input::encoder), got none",
                ));
            }
            (None, Some(_)) => return Err(shape("encoder: expected no input of one, which the model has not")),
        };
        if let Some(stack) = self.states.keys().find(|&&stack| model.is_linked(stack)) {
            return Err(shape(format!(
                "states of stack {stack}: expected none, since the encoder's final states begin it"
            )));
        }
        let (call, own) = input.check(&encoder.model).map_err(|e| e.at("encoder"))?;
        if (own.batching, own.batch) != (form.batching, form.batch) {
            let text = |form: Form| match form.batching {
                Batching::Batch => format!("{} rows", form.batch),
                Batching::Single => "one sequence without a batch".into(),
            };
            return Err(shape(format!(
                "encoder: expected {} as the decoder's input has, got {}",
                text(form),
                text(own)
            )));
        }
        Ok(Some((call, own)))
    }

    /// The sequence, time-major, and which steps of it there are: those of the caller that the model's first layer takes.
    fn carried(&self, model: &Model, form: Form) -> Result<(CallSequence, Option<Array2<bool>>)> {
        let given = self.live(form)?;
        let first = model.layers.first().map(|layer| &layer.kind);
        Ok(match &self.sequence {
            Sequence::Features(x) => {
                let x = form.time_major(x.clone());
                let own = match first {
                    Some(LayerKind::Masking(masking)) => Some(differs(&x, masking.value.get())),
                    _ => None,
                };
                let live = both(given, own);
                (Sequence::Features(zeroed(x, live.as_ref())), live)
            }
            Sequence::Tokens(x) => {
                let tokens = tokens(x, given.as_ref(), form, model.input()?.tokens().unwrap_or(0))?;
                let own = match first {
                    Some(LayerKind::Embedding(Embedding { mask_token: Some(mask), .. })) => {
                        Some(tokens.mapv(|token| token as usize != *mask))
                    }
                    _ => None,
                };
                (Sequence::Tokens(tokens), both(given, own))
            }
        })
    }

    /// The axes of the sequence, checked.
    fn form(&self, model: &Model) -> Result<Form> {
        let (got, size) = match (&self.sequence, model.input()?) {
            (Sequence::Features(x), Flow::Steps(features)) => (x.shape(), Some(features.len())),
            (Sequence::Tokens(x), Flow::Tokens(_)) => (x.shape(), None),
            (Sequence::Features(x), _) => {
                return Err(shape(format!(
                    "input: expected integer tokens {} (the model begins with {}), got features {:?}",
                    axes_text(model.axes, None),
                    model.layers[0].kind.name(),
                    x.shape()
                )));
            }
            (Sequence::Tokens(x), input) => {
                return Err(shape(format!(
                    "input: expected {input}, got tokens {:?}; to feed tokens, begin the model with an embedding or one_hot",
                    x.shape()
                )));
            }
        };
        let rank = got.len() - usize::from(size.is_some() && !got.is_empty());
        let fits = size.is_none_or(|size| got.last() == Some(&size));
        if !fits || !(1..=2).contains(&rank) {
            let single = size.map_or("[T]".into(), |size| format!("[T, {size}]"));
            let or = if fits || rank != 2 { format!(" or {single} for one sequence") } else { String::new() };
            return Err(shape(format!("input: expected {}{or}, got {got:?}", axes_text(model.axes, size))));
        }
        let (batching, time, batch) = match (rank, model.axes) {
            (1, _) => (Batching::Single, got[0], 1),
            (_, Axes::BatchFirst) => (Batching::Batch, got[1], got[0]),
            (_, Axes::TimeMajor) => (Batching::Batch, got[0], got[1]),
        };
        if time == 0 || batch == 0 {
            return Err(shape(format!(
                "input: expected at least one step and one row, got {got:?} (T = {time}, B = {batch})"
            )));
        }
        Ok(Form { axes: model.axes, batching, time, batch })
    }

    /// `[T, B]`: which steps there are by the caller, from the lengths or the mask. `None`: all.
    fn live(&self, form: Form) -> Result<Option<Array2<bool>>> {
        let live = match (&self.lengths, &self.mask) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(shape("lengths and mask: expected one of them, got both; a mask says it all"));
            }
            (Some(lengths), None) => {
                let steps = form.steps(lengths)?;
                Array2::from_shape_fn((form.time, form.batch), |(t, b)| t < steps[b])
            }
            (None, Some(mask)) => {
                // A mask has one order of axes, as lengths have one: a row of it is a row of the batch.
                let rows = Form { axes: Axes::BatchFirst, ..form };
                let (expected, letters) = match form.batching {
                    Batching::Batch => (vec![form.batch, form.time], "B, T"),
                    Batching::Single => (vec![form.time], "T"),
                };
                if mask.shape() != expected {
                    return Err(shape(format!("mask: expected {expected:?} ({letters}), got {:?}", mask.shape())));
                }
                rows.time_major::<_, Ix2>(mask.clone())
            }
        };
        Ok(Some(live))
    }
}

impl Call {
    /// Begins the stacks that the encoder of `model` begins: at its final states, `given`.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where they are not of the stacks' sizes.
    pub(crate) fn begin(&mut self, model: &Model, given: &[States], form: Form) -> Result<()> {
        let links = model.encoder.iter().flat_map(|encoder| &encoder.states);
        for link in links {
            let stack = model.stacks().nth(link.to).expect("a checked link");
            self.states[link.to] = states(given.get(link.from), stack, form)?;
        }
        Ok(())
    }

    /// `[2, T, B]`: whether row b has had a step when a direction is at t. Forward: at t or before; reverse: at t or
    /// after. All have, where there is no mask.
    pub(crate) fn seen(&self) -> Array3<bool> {
        let dims = match &self.sequence {
            Sequence::Features(x) => (x.len_of(Axis(0)), x.len_of(Axis(1))),
            Sequence::Tokens(tokens) => tokens.dim(),
        };
        let mut seen = Array3::from_elem((2, dims.0, dims.1), true);
        let Some(live) = &self.live else { return seen };
        for (mut seen, steps) in seen.outer_iter_mut().zip([s![..;1, ..], s![..;-1, ..]]) {
            let mut so_far = Array1::from_elem(dims.1, false);
            for (mut seen, live) in seen.slice_mut(steps).outer_iter_mut().zip(live.slice(steps).outer_iter()) {
                so_far.zip_mut_with(&live, |so_far, &live| *so_far |= live);
                seen.assign(&so_far);
            }
        }
        seen
    }
}

impl Form {
    /// The user's index of step t of row b.
    fn position(self, t: usize, b: usize) -> Vec<usize> {
        match (self.batching, self.axes) {
            (Batching::Single, _) => vec![t],
            (Batching::Batch, Axes::BatchFirst) => vec![b, t],
            (Batching::Batch, Axes::TimeMajor) => vec![t, b],
        }
    }

    /// `x` of the checked dims with its axes in the order T, B, ….
    fn time_major<S: Data + RawDataClone, D: Dimension>(self, mut x: ArrayBase<S, IxDyn>) -> ArrayBase<S, D> {
        match (self.batching, self.axes) {
            (Batching::Single, _) => x.insert_axis_inplace(Axis(1)),
            (Batching::Batch, Axes::BatchFirst) => x.swap_axes(0, 1),
            (Batching::Batch, Axes::TimeMajor) => {}
        }
        x.into_dimensionality().expect("the rank has been checked")
    }

    /// The number of steps of each row.
    fn steps(self, lengths: &[i64]) -> Result<Vec<usize>> {
        if lengths.len() != self.batch {
            return Err(shape(format!(
                "lengths: expected {}, one for each row of the batch, got {}",
                self.batch,
                lengths.len()
            )));
        }
        let one = |(row, &length): (usize, &i64)| match usize::try_from(length) {
            Ok(steps) if steps <= self.time => Ok(steps),
            _ => Err(shape(format!("lengths: expected 0 to {} (T) for row {row}, got {length}", self.time))),
        };
        lengths.iter().enumerate().map(one).collect()
    }
}

impl States {
    /// Hidden states alone: of an RNN or a GRU.
    pub fn hidden<D: Dimension>(h: Array<f32, D>) -> Self {
        Self { h: h.into_dyn(), c: None }
    }

    /// Hidden states and cell states: of an LSTM.
    pub fn with_cell<D: Dimension, E: Dimension>(h: Array<f32, D>, c: Array<f32, E>) -> Self {
        Self { h: h.into_dyn(), c: Some(c.into_dyn()) }
    }
}

/// `[T, B]`: the steps that are live in each mask there is. `None`: all are.
fn both(given: Option<Array2<bool>>, own: Option<Array2<bool>>) -> Option<Array2<bool>> {
    let live = match (given, own) {
        (Some(given), Some(own)) => given & own,
        (given, own) => given.or(own)?,
    };
    if live.iter().all(|&live| live) { None } else { Some(live) }
}

/// `[T, B, I]` to `[T, B]`: whether any feature of a step is another number than `value`.
fn differs(x: &ArcArray<f32, Ix3>, value: f32) -> Array2<bool> {
    x.map_axis(Axis(2), |features| features.iter().any(|&x| x != value))
}

/// `[T, B, I]` with zeros at dead steps, whatever the input holds there.
fn zeroed(mut x: ArcArray<f32, Ix3>, live: Option<&Array2<bool>>) -> ArcArray<f32, Ix3> {
    if let Some(live) = live {
        let mut own = x.view_mut();
        for ((t, b), _) in live.indexed_iter().filter(|(_, live)| !**live) {
            own.slice_mut(s![t, b, ..]).fill(0.0);
        }
    }
    x
}

/// `[T, B]` with 0 where the caller has no step; every other token is below `bound`.
fn tokens(x: &ArrayD<i64>, live: Option<&Array2<bool>>, form: Form, bound: usize) -> Result<Array2<u32>> {
    let x: CowArray<'_, i64, Ix2> = form.time_major(CowArray::from(x));
    let mut tokens = Array2::zeros(x.dim());
    for ((t, b), &token) in x.indexed_iter() {
        if live.is_some_and(|live| !live[[t, b]]) {
            continue;
        }
        tokens[[t, b]] = u32::try_from(token).ok().filter(|&token| (token as usize) < bound).ok_or_else(|| {
            let last = bound.saturating_sub(1);
            shape(format!("input: expected tokens from 0 to {last}, got {token} at {:?}", form.position(t, b)))
        })?;
    }
    Ok(tokens)
}

/// The states of `stack` before a call: zeros.
///
/// # Errors
///
/// Kind `Limits`, where there is no memory for them.
pub(crate) fn initial(stack: &Recurrent, form: Form) -> Result<(Array3<f32>, Option<Array3<f32>>)> {
    let array = |size| {
        let dims = (stack.num_layers * stack.directions(), form.batch, size);
        let data = zeros("the states", &[dims.0, dims.1, dims.2], SMALLER_CALL)?;
        Ok(Array3::from_shape_vec(dims, data).expect("as many elements as the dims say"))
    };
    let c = (stack.cell.states() > 1).then(|| array(stack.hidden_size)).transpose()?;
    Ok((array(stack.state_size())?, c))
}

/// The states of `stack` that were given, checked; zeros where there are none.
fn states(given: Option<&States>, stack: &Recurrent, form: Form) -> Result<(Array3<f32>, Option<Array3<f32>>)> {
    let rows = stack.num_layers * stack.directions();
    let dims = |size| (rows, form.batch, size);
    let has_cell = stack.cell.states() > 1;
    let Some(given) = given else { return initial(stack, form) };
    let one = |name: &str, state: &ArrayD<f32>, size: usize| {
        let (expected, letters) = match form.batching {
            Batching::Batch => (vec![rows, form.batch, size], "layers · directions, B, size"),
            Batching::Single => (vec![rows, size], "layers · directions, size"),
        };
        if state.shape() != expected {
            return Err(shape(format!("{name}: expected {expected:?} ({letters}), got {:?}", state.shape())));
        }
        Ok(state.to_shape(dims(size)).expect("the same number of elements").into_owned())
    };
    let h = one("h", &given.h, stack.state_size())?;
    let c = match (has_cell, &given.c) {
        (true, Some(c)) => Some(one("c", c, stack.hidden_size)?),
        (false, None) => None,
        (true, None) => return Err(shape("c: expected cell states beside h, got none; zeros will do")),
        (false, Some(c)) => {
            return Err(shape(format!("c: expected none (only an lstm has cell states), got {:?}", c.shape())));
        }
    };
    Ok((h, c))
}

fn axes_text(axes: Axes, size: Option<usize>) -> String {
    let letters = match axes {
        Axes::BatchFirst => "B, T",
        Axes::TimeMajor => "T, B",
    };
    size.map_or_else(|| format!("[{letters}]"), |size| format!("[{letters}, {size}]"))
}

fn shape(message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Shape, message.to_string())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::model::{Lstm, Masking};

    fn live_of(model: &Model, input: &Input) -> (Call, Vec<Vec<bool>>) {
        let (call, _) = input.check(model).unwrap();
        let live = call.live.clone().expect("a mask");
        (call, live.columns().into_iter().map(|row| row.to_vec()).collect())
    }

    #[test]
    fn a_token_that_masks_and_the_callers_mask_both_take_steps_out() {
        let model = Model::new().layer(Embedding::new(9, 2).mask_token(3)).layer(Lstm::new(2, 2));
        let tokens = Input::tokens(array![[3_i64, 1, 3, 2], [5, 6, 7, -1]]);
        assert!(tokens.check(&model).is_err(), "a token of a live step must be in the table");
        let (call, live) = live_of(&model, &tokens.lengths([4, 3]));
        assert_eq!(live, [[false, true, false, true], [true, true, true, false]]);
        let Sequence::Tokens(tokens) = call.sequence else { panic!("tokens") };
        assert_eq!(tokens.column(0).to_vec(), [3, 1, 3, 2], "the embedding of the token itself goes on");
        assert_eq!(tokens.column(1).to_vec(), [5, 6, 7, 0], "what the caller masks is not read");
    }

    #[test]
    fn a_step_is_masked_where_all_its_features_are_the_value() {
        let model = Model::new().layer(Masking::new(2, -1.0)).layer(Lstm::new(2, 2));
        let nan = f32::NAN;
        let x = array![[[-1.0, -1.0], [-1.0, 2.0], [nan, -1.0], [nan, nan]]];
        let (call, live) = live_of(&model, &Input::features(x).lengths([3]));
        assert_eq!(live, [[false, true, true, false]]);
        let Sequence::Features(x) = call.sequence else { panic!("features") };
        assert_eq!(x.slice(s![.., 0, 0]).iter().map(|x| x.to_bits()).collect::<Vec<_>>(), {
            [0.0, -1.0, nan, 0.0].map(f32::to_bits)
        });
    }

    #[test]
    fn masks_that_take_nothing_out_are_none() {
        let model = Model::new().layer(Masking::new(1, 0.0)).layer(Lstm::new(1, 2));
        let (call, _) = Input::features(array![[[1.0_f32], [2.0]]]).lengths([2]).check(&model).unwrap();
        assert_eq!(call.live, None);
        assert!(call.seen().iter().all(|&seen| seen) && call.seen().dim() == (2, 2, 1));
    }

    #[test]
    fn a_row_is_seen_from_its_first_live_step_on_in_each_direction() {
        let model = Model::new().layer(Lstm::new(1, 2));
        let mask = array![[false, true, false, false], [true, false, false, true], [false; 4]];
        let (call, _) = Input::features(Array3::<f32>::zeros((3, 4, 1))).mask(mask).check(&model).unwrap();
        let seen = call.seen();
        assert_eq!(seen.dim(), (2, 4, 3));
        let of = |direction: usize, row: usize| seen.slice(s![direction, .., row]).to_vec();
        assert_eq!([of(0, 0), of(0, 1), of(0, 2)], [[false, true, true, true], [true; 4], [false; 4]]);
        assert_eq!([of(1, 0), of(1, 1), of(1, 2)], [[true, true, false, false], [true; 4], [false; 4]]);
    }
}
