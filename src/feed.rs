//! Call → the bytes that a plan asks for; the bytes that it returns →
//! `Output`: padding, tiles of the batch, the user's axes.
//!
//! The two ends of the road around an executor. Knows calls, models and what a plan writes
//! and reads. Knows no device, nor how anything is computed.

use std::mem;
use std::ops::Range;

use ndarray::{Array3, ArrayD, ArrayView1, ArrayView3, ArrayViewMut3, Axis, Ix3, IxDyn, s};

use crate::call::{Batching, Call, Form, Output, States, initial};
use crate::error::{Result, SMALLER_CALL, zeros};
use crate::kernel::padded;
use crate::model::{Axes, Features, Flow, InputKind, Model, OTHER_CLOCKS};
use crate::plan::tune::PARALLEL_ELEMS;
use crate::plan::{Feed, Fetch, Read};
use crate::platform::parallel::*;

/// Lays out in `words` what a plan takes as `feed`, for rows `rows` of `call`.
///
/// # Shapes
///
/// As [`Feed`] says; B is the length of `rows`.
pub(crate) fn encode(call: &Call<'_>, model: &Model, rows: Range<usize>, feed: Feed, words: &mut [u32]) {
    let (first, batch, clock) = (rows.start, rows.len(), feed.clock());
    let time = call.time(clock);
    let live = |t: usize, b: usize| u32::from(call.is_live(clock, t, first + b));
    let state = |given: Option<View<'_>>, stack: usize, layer: usize, words| {
        let directions = model.stacks().nth(stack).expect("a plan of this model").directions();
        let part = s![layer * directions..(layer + 1) * directions, rows.clone(), ..];
        pad_state(given.as_ref().map(|state| state.slice(part)), directions, batch, words);
    };
    match feed {
        Feed::Features | Feed::Tokens => input(call, model, model.main_input(), &rows, words),
        Feed::Other(other) => input(call, model, other, &rows, words),
        Feed::Live(_) => each_step(words, batch, live),
        Feed::LiveBackwards(_) => each_step(words, batch, |t, b| live(time - 1 - t, b)),
        Feed::Started(_) => {
            let (up, down) = words.split_at_mut(time * batch);
            started(up, batch, StepOrder::Forward, |_| false, |t, b| live(t, b) != 0);
            started(down, batch, StepOrder::Reversed, |_| false, |t, b| live(t, b) != 0);
        }
        // Its first row is the last step, where the reversed walk begins.
        Feed::StartedReversed(_) => {
            started(words, batch, StepOrder::Forward, |_| false, |t, b| live(time - 1 - t, b) != 0)
        }
        Feed::Draws => unreachable!("a call draws no tokens"),
        Feed::Targets(_)
        | Feed::Scale(_)
        | Feed::ClassWeights(_)
        | Feed::Order(_)
        | Feed::Starts(_)
        | Feed::Dropped { .. }
        | Feed::Scalars
        | Feed::Squares => {
            unreachable!("a call has no losses")
        }
        Feed::Hidden { stack, layer } => state(call.initial(stack).and_then(|[h, _]| h), stack, layer, words),
        Feed::Cell { stack, layer } => state(call.initial(stack).and_then(|[_, c]| c), stack, layer, words),
    }
}

type View<'a> = ArrayView3<'a, f32>;

/// Fills `[T][B]` with the result of `of` for each step of each row.
pub(crate) fn each_step(words: &mut [u32], batch: usize, of: impl Fn(usize, usize) -> u32) {
    for (t, row) in words.chunks_exact_mut(batch).enumerate() {
        row.iter_mut().enumerate().for_each(|(b, word)| *word = of(t, b));
    }
}

/// The end of a sequence at which a walk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepOrder {
    /// The first step.
    Forward,
    /// The last.
    Reversed,
}

/// Fills `[T][B]`: whether a row has had a live step by the time a walk has done step t, or `before` it began.
pub(crate) fn started(
    words: &mut [u32],
    batch: usize,
    order: StepOrder,
    before: impl Fn(usize) -> bool,
    live: impl Fn(usize, usize) -> bool,
) {
    let time = words.len() / batch;
    for b in 0..batch {
        let mut so_far = before(b);
        for index in 0..time {
            let t = match order {
                StepOrder::Forward => index,
                StepOrder::Reversed => time - 1 - index,
            };
            so_far |= live(t, b);
            words[t * batch + b] = u32::from(so_far);
        }
    }
}

/// Lays out input `index` of the model as [`Feed::Other`] says: features at dead steps are 0.
fn input(call: &Call<'_>, model: &Model, index: usize, rows: &Range<usize>, words: &mut [u32]) {
    let (first, batch) = (rows.start, rows.len());
    // A model without named inputs has one sequence.
    match model.inputs.get(index).map(|input| input.kind) {
        Some(InputKind::Row(_)) => {
            pad_rows(bytemuck::cast_slice_mut(words), batch, |row| Some(call.row(index, first + row)));
        }
        Some(InputKind::State(_)) => unreachable!("initial states have feeds of their own"),
        Some(InputKind::Tokens(_)) => each_step(words, batch, |t, b| call.token(index, t, first + b)),
        None if call.has_tokens() => each_step(words, batch, |t, b| call.token(index, t, first + b)),
        Some(InputKind::Sequence(_)) | None => {
            let steps = call.clocks().of_read(index).map_or(1, |clock| call.time(clock)) * batch;
            pad_rows(bytemuck::cast_slice_mut(words), steps, |row| {
                call.features(index, row / batch, first + row % batch)
            });
        }
    }
}

/// Fills `count` rows, each with the result of `of` and zeros behind it, or with zeros alone if there is none.
fn pad_rows<'a>(data: &mut [f32], count: usize, of: impl Fn(usize) -> Option<ArrayView1<'a, f32>> + Sync) {
    let width = data.len() / count;
    for_rows(data, width, |row, target| {
        let Some(source) = of(row) else { return target.fill(0.0) };
        let (target, padding) = target.split_at_mut(source.len());
        match source.to_slice() {
            Some(source) => target.copy_from_slice(source),
            None => target.iter_mut().zip(source).for_each(|(to, from)| *to = *from),
        }
        padding.fill(0.0);
    });
}

/// `[D, B, S]` → `[B][D][padded S]`; zeros if there is no state.
fn pad_state(state: Option<View<'_>>, directions: usize, batch: usize, words: &mut [u32]) {
    words.fill(0);
    let Some(state) = state else { return };
    let width = words.len() / (batch * directions);
    let data = bytemuck::cast_slice_mut(words);
    let mut padded = ArrayViewMut3::from_shape((batch, directions, width), data).expect("as many as the dims say");
    padded.slice_mut(s![.., .., ..state.len_of(Axis(2))]).assign(&state.permuted_axes([1, 0, 2]));
}

/// The outputs of a call, filled one tile of the batch after the other.
pub(crate) struct Decoder<'a> {
    model: &'a Model,
    form: Form,
    /// What each output of the model is, and its clock.
    flows: &'a [Flow],
    clocks: &'a [Option<usize>],
    /// The number of steps by each clock.
    times: [usize; 1 + OTHER_CLOCKS],
    output: Vec<f32>,
    /// The outputs after the first. Most models have none, and an empty list takes no memory.
    others: Vec<Vec<f32>>,
    /// With a batch axis, until it is finished.
    states: Vec<States>,
}

impl<'a> Decoder<'a> {
    /// Makes the outputs of `model` for `call`, all zero. The model's outputs are `flows`, by `clocks`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
    pub(crate) fn new(
        model: &'a Model,
        (flows, clocks): (&'a [Flow], &'a [Option<usize>]),
        call: &Call<'_>,
    ) -> Result<Self> {
        let (form, mut times) = (call.form, [1; 1 + OTHER_CLOCKS]);
        times.iter_mut().enumerate().for_each(|(clock, time)| *time = call.time(clock));
        let of = |(flow, clock): (&Flow, &Option<usize>)| {
            let time = clock.map_or(1, |clock| times[clock]);
            zeros("the output", &[time, form.batch, flow.features().len()], SMALLER_CALL)
        };
        let mut all = flows.iter().zip(clocks).map(of);
        let output = all.next().expect("a model has an output")?;
        let others = all.collect::<Result<Vec<_>>>()?;
        let mut states = Vec::with_capacity(model.stacks().count());
        for stack in model.stacks() {
            let (h, c) = initial(stack, form)?;
            states.push(States { h: h.into_dyn(), c: c.map(Array3::into_dyn) });
        }
        Ok(Self { model, form, flows, clocks, times, output, others, states })
    }

    /// Takes the result `read` of a plan that ran on rows `rows` of the call.
    ///
    /// # Shapes
    ///
    /// As [`Fetch`] says; B is the length of `rows`.
    pub(crate) fn decode(&mut self, read: Read, rows: &Range<usize>, data: &[f32]) {
        match read.fetch {
            Fetch::Output => self.output(0, rows, data),
            Fetch::Other(output) => self.output(output, rows, data),
            Fetch::Tokens => unreachable!("a call draws no tokens"),
            Fetch::Losses(_)
            | Fetch::Norm
            | Fetch::Weights(_)
            | Fetch::Input(_)
            | Fetch::InitialHidden { .. }
            | Fetch::InitialCell { .. } => unreachable!("a call has no losses"),
            Fetch::Hidden { stack, .. } | Fetch::HiddenPart { stack, .. } | Fetch::Cell { stack, .. } => {
                let directions = self.model.stacks().nth(stack).expect("a plan of this model").directions();
                let States { h, c } = &mut self.states[stack];
                let (h, c) = (with_batch(h), c.as_mut().map(with_batch));
                take_final(read.fetch, directions, rows, data, h, c);
            }
        }
    }

    /// The number of steps of output `index`, or 1 if it has no time axis.
    fn time(&self, index: usize) -> usize {
        self.clocks[index].map_or(1, |clock| self.times[clock])
    }

    /// `[T][B][padded]` or `[B][padded]` of the tile → its rows of output `index`, in the user's axes.
    fn output(&mut self, index: usize, rows: &Range<usize>, data: &[f32]) {
        let (flow, time, Form { axes, batch, .. }) = (self.flows[index], self.time(index), self.form);
        let (first, tile, features) = (rows.start, rows.len(), flow.features());
        let width = padded(features.size);
        let gone = matches!(flow, Flow::Rows(_));
        let output = match index.checked_sub(1) {
            None => &mut self.output,
            Some(other) => &mut self.others[other],
        };
        for_rows(output, features.len(), |row, target| {
            let (t, b) = match axes {
                _ if gone => (0, row),
                Axes::BatchFirst => (row % time, row / time),
                Axes::TimeMajor => (row / batch, row % batch),
            };
            if !rows.contains(&b) {
                return;
            }
            unpad_row(&data[(t * tile + b - first) * features.parts * width..], features, target);
        });
    }

    /// Returns the outputs, in the user's axes.
    pub(crate) fn finish(mut self) -> Output {
        let Form { axes, batching, batch, .. } = self.form;
        let times = self.times;
        let in_axes = |((flow, clock), output): ((&Flow, &Option<usize>), Vec<f32>)| {
            let time = clock.map_or(1, |clock| times[clock]);
            let features = flow.features().len();
            let dims: &[usize] = match (flow, batching, axes) {
                (Flow::Rows(_), Batching::Batch, _) => &[batch, features],
                (Flow::Rows(_), Batching::Single, _) => &[features],
                (_, Batching::Single, _) => &[time, features],
                (_, Batching::Batch, Axes::BatchFirst) => &[batch, time, features],
                (_, Batching::Batch, Axes::TimeMajor) => &[time, batch, features],
            };
            ArrayD::from_shape_vec(IxDyn(dims), output).expect("as many elements as the dims say")
        };
        let mut kinds = self.flows.iter().zip(self.clocks);
        let output = in_axes((kinds.next().expect("a model has an output"), mem::take(&mut self.output)));
        let others = kinds.zip(mem::take(&mut self.others)).map(in_axes).collect();
        if batching == Batching::Single {
            for state in self.states.iter_mut().flat_map(|states| [Some(&mut states.h), states.c.as_mut()]).flatten() {
                *state = mem::take(state).index_axis_move(Axis(1), 0);
            }
        }
        Output { output, states: self.states, others }
    }
}

/// One row of an output, `[parts][padded]` → `[parts · size]`.
pub(crate) fn unpad_row(source: &[f32], features: Features, target: &mut [f32]) {
    for (to, from) in target.chunks_exact_mut(features.size).zip(source.chunks_exact(padded(features.size))) {
        to.copy_from_slice(&from[..features.size]);
    }
}

fn with_batch(state: &mut ArrayD<f32>) -> ArrayViewMut3<'_, f32> {
    state.view_mut().into_dimensionality::<Ix3>().expect("a state with a batch")
}

/// Puts a final state into its place among the states of the stack, `[L · D, B, S]`. It comes from a plan that ran on
/// rows `rows`. The stack has `directions` directions. Any `fetch` but a final state is a bug.
pub(crate) fn take_final(
    fetch: Fetch,
    directions: usize,
    rows: &Range<usize>,
    data: &[f32],
    h: ArrayViewMut3<'_, f32>,
    c: Option<ArrayViewMut3<'_, f32>>,
) {
    let part = |layer| s![layer * directions..(layer + 1) * directions, rows.clone(), ..];
    match (fetch, c) {
        (Fetch::Hidden { layer, .. }, _) => unpad_state(data, h.slice_move(part(layer))),
        (Fetch::HiddenPart { layer, direction, .. }, _) => {
            let row = layer * directions + direction;
            unpad_part(data, direction, directions, h.slice_move(s![row..=row, rows.clone(), ..]));
        }
        (Fetch::Cell { layer, .. }, Some(c)) => unpad_state(data, c.slice_move(part(layer))),
        _ => unreachable!("only an LSTM's plan has a memory"),
    }
}

/// `[B][D · padded S]` → `[D, B, S]`.
pub(crate) fn unpad_state(data: &[f32], mut state: ArrayViewMut3<'_, f32>) {
    let (directions, batch, size) = state.dim();
    let data = ArrayView3::from_shape((batch, directions, padded(size)), data).expect("a plan reads whole states");
    state.assign(&data.slice(s![.., .., ..size]).permuted_axes([1, 0, 2]));
}

/// The part of `[B][D · padded S]` that belongs to `direction` → `[1, B, S]`.
fn unpad_part(data: &[f32], direction: usize, directions: usize, mut state: ArrayViewMut3<'_, f32>) {
    let (_, batch, size) = state.dim();
    let data = ArrayView3::from_shape((batch, directions, padded(size)), data).expect("a plan reads whole rows");
    state.assign(&data.slice(s![.., direction..=direction, ..size]).permuted_axes([1, 0, 2]));
}

/// Calls `each` with the index and the elements of each row of `width`, on all cores if that pays.
fn for_rows(data: &mut [f32], width: usize, each: impl Fn(usize, &mut [f32]) + Sync) {
    if data.len() < PARALLEL_ELEMS {
        data.chunks_exact_mut(width).enumerate().for_each(|(row, data)| each(row, data));
    } else {
        let rows = (PARALLEL_ELEMS / 4 / width).max(1);
        data.par_chunks_exact_mut(width).with_min_len(rows).enumerate().for_each(|(row, data)| each(row, data));
    }
}

#[cfg(test)]
mod tests;
