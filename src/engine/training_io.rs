//! The host's side of a plan of gradients: a call and its targets in, and the sums over tiles of the batch out.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array2, Array3, ArrayD, Axis, IxDyn, s};

use crate::call::{Batched, Batching, Call, States, initial};
use crate::dropout::Dropping;
use crate::error::Result;
use crate::feed::{encode, take_final, unpad_row, unpad_state};
use crate::kernel::{RowLoss, padded};
use crate::layout::Layout;
use crate::loss::{Aim, Aimed, Measure, Measured, Term};
use crate::model::{Axes, Embedding, Initial, InputKind, LayerKind, Model, Value};
use crate::pack::unpack;
use crate::plan::{Feed, Fetch, Gradients, HostIo, LossTerm, Read, Write};
use crate::weights::{LearnedStates, Weights};

/// The loss of a call, and the gradients.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The loss.
    pub(crate) loss: f64,
    /// The gradients of the weights, learned states among them; `None` if they were not read.
    pub(crate) weights: Option<Weights>,
    /// The gradients of learned states.
    pub(crate) learned: BTreeMap<usize, LearnedStates>,
    /// The gradients of the inputs of features, by index, in the axes of the call.
    pub(crate) inputs: BTreeMap<usize, ArrayD<f32>>,
    /// The gradients of initial states, by stack, in the axes of the call.
    pub(crate) states: BTreeMap<usize, States>,
    /// The final states of each stack if states are carried; `None` for a stack that begins at a value of the model.
    pub(crate) finals: Vec<Option<Batched>>,
}

/// The host's side of a plan of gradients: writes a call and its targets,
/// and adds up the results of tiles of the batch.
pub(super) struct TrainingIo<'a, 'c> {
    call: &'a Call<'c>,
    model: &'a Model,
    layout: &'a Layout,
    aims: &'a [Aim],
    pub(super) dropping: Option<Dropping>,
    pub(super) rows: Range<usize>,
    pub(super) loss: f64,
    /// By packed buffer; empty for a buffer that was not read, or if none was.
    weights: Vec<Vec<f32>>,
    sorted: &'a mut Sorted,
    inputs: BTreeMap<usize, ArrayD<f32>>,
    /// By stack, with a batch; empty if not wanted.
    states: BTreeMap<usize, Batched>,
    /// Where each stack ends (before the run: where it begins); empty if not wanted.
    finals: Vec<Batched>,
}

/// The rows of a call, sorted by token.
#[derive(Default)]
pub(super) struct Sorted {
    order: Vec<u32>,
    /// Where the rows of each token start.
    starts: Vec<u32>,
    /// Where the next row of each token goes.
    next: Vec<u32>,
}

impl<'a, 'c> TrainingIo<'a, 'c> {
    /// Makes the host's side of a plan of `wanted`.
    pub(super) fn new(
        (call, model, layout): (&'a Call<'c>, &'a Model, &'a Layout),
        (aims, wanted): (&'a [Aim], &Gradients),
        sorted: &'a mut Sorted,
    ) -> Result<Self> {
        let mut states = BTreeMap::new();
        let mut finals = Vec::new();
        for (stack, r) in model.stacks().enumerate() {
            if wanted.states {
                states.insert(stack, initial(r, call.form)?);
            }
            if wanted.finals {
                finals.push(call.beginning(stack, r)?);
            }
        }
        let (weights, inputs, rows) = (Vec::new(), BTreeMap::new(), 0..0);
        Ok(Self { call, model, layout, aims, dropping: None, rows, loss: 0.0, weights, sorted, inputs, states, finals })
    }

    /// Fills the parameters of a loss for each row, `[T][B]` of `width` elements.
    fn each(&self, words: &mut [u32], width: usize, of: impl Fn(usize, usize, &mut [u32])) {
        let batch = self.rows.len();
        for (row, words) in words.chunks_exact_mut(width).enumerate() {
            of(row / batch, self.rows.start + row % batch, words);
        }
    }

    /// Fills the parameters of a dropout at one place of the model: see [`Feed::Dropped`].
    fn drawn(&self, layer: usize, place: usize, words: &mut [u32]) {
        let [low, high] = self.dropping.map_or([0; 2], |dropping| dropping.key(layer, place));
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        words.copy_from_slice(&[low, high, word(self.call.form.batch), word(self.rows.start)]);
    }

    fn targets(&self, term: usize, words: &mut [u32]) {
        match &self.aims[term].aimed {
            Aimed::Classes(classes) => self.each(words, 1, |t, b, word| word[0] = classes[[t, b]]),
            Aimed::Values(values) => {
                let rows = values.dim().0 * self.rows.len();
                let size = self.aims[term].measured.flow.features().size;
                self.each(words, words.len() / rows, |t, b, words| {
                    words.fill(0);
                    for (n, value) in values.slice(s![t, b, ..]).iter().enumerate() {
                        words[n / size * padded(size) + n % size] = value.to_bits();
                    }
                });
            }
            Aimed::None => words.fill(0),
        }
    }

    /// Sorts the rows of the tokens that embedding `layer` takes, by token.
    fn sort(&mut self, layer: usize) {
        let input = match self.model.origin(self.model.layers[layer].from[0]) {
            Value::Input(input) => input,
            Value::Layer(..) => 0,
        };
        let (below, padding) = match &self.model.layers[layer].kind {
            LayerKind::Embedding(Embedding { num_embeddings, padding_idx, .. }) => (*num_embeddings, *padding_idx),
            _ => (0, None),
        };
        let time = self.call.clocks().of_value(Value::Input(input)).map_or(1, |clock| self.call.time(clock));
        let batch = self.rows.len();
        let (call, first) = (self.call, self.rows.start);
        let token = |row: usize| call.token(input, row / batch, first + row % batch) as usize;
        let rows = time * batch;
        let Sorted { order, starts, next } = &mut *self.sorted;
        starts.clear();
        starts.resize(below + 1, 0);
        let trains = |token: usize| Some(token) != padding;
        for row in 0..rows {
            if trains(token(row)) {
                starts[token(row) + 1] += 1;
            }
        }
        for v in 0..below {
            starts[v + 1] += starts[v];
        }
        next.clone_from(starts);
        order.clear();
        order.resize(rows, 0);
        let mut behind = starts[below] as usize;
        for row in 0..rows {
            let at = match token(row) {
                v if trains(v) => {
                    next[v] += 1;
                    next[v] as usize - 1
                }
                _ => {
                    behind += 1;
                    behind - 1
                }
            };
            order[at] = u32::try_from(row).unwrap_or(u32::MAX);
        }
    }

    /// Takes the gradient of input `index`, in the axes of the call: 0 where it is not read.
    fn input(&mut self, index: usize, data: &[f32]) {
        let form = self.call.form;
        let clock = self.call.clocks().of_value(Value::Input(index));
        let kind = self.model.inputs.get(index).map(|input| input.kind);
        let Some(flow) = self.model.all_inputs().ok().and_then(|inputs| inputs.get(index)?.kind.flow()) else { return };
        let features = flow.features();
        let size = features.len();
        let time = clock.map_or(1, |clock| self.call.time(clock));
        let by_row = matches!(kind, Some(InputKind::Row(_)));
        let dims: &[usize] = match (by_row, form.axes) {
            (true, _) => &[form.batch, size],
            (false, Axes::BatchFirst) => &[form.batch, time, size],
            (false, Axes::TimeMajor) => &[time, form.batch, size],
        };
        let all = self.inputs.entry(index).or_insert_with(|| ArrayD::zeros(IxDyn(dims)));
        let width = features.parts * padded(features.size);
        let batch = self.rows.len();
        let mut row_data = vec![0.0; size];
        for (row, data) in data.chunks_exact(width).enumerate() {
            let (t, b) = (row / batch, self.rows.start + row % batch);
            if !by_row && self.call.features(index, t, b).is_none() {
                continue;
            }
            unpad_row(data, features, &mut row_data);
            let mut target = match (by_row, form.axes) {
                (true, _) => all.slice_mut(s![b, ..]).into_dyn(),
                (false, Axes::BatchFirst) => all.slice_mut(s![b, t, ..]).into_dyn(),
                (false, Axes::TimeMajor) => all.slice_mut(s![t, b, ..]).into_dyn(),
            };
            target.iter_mut().zip(&row_data).for_each(|(to, from)| *to = *from);
        }
    }

    /// Returns the results, with the gradients of learned states summed over the rows that began there.
    pub(super) fn finish(self, learned: impl Fn(usize, usize) -> bool) -> Found {
        let mut sums = BTreeMap::new();
        let form = self.call.form;
        let mut states = BTreeMap::new();
        let stacks = self.model.stacks().enumerate();
        for ((stack, (h, c)), (_, r)) in self.states.into_iter().zip(stacks) {
            let begun = self.model.begun(stack);
            let sum =
                (r.initial == Initial::Learned).then(|| sums.entry(stack).or_insert_with(|| no_states(&h, c.as_ref())));
            match sum {
                Some(sum) if (0..form.batch).any(|row| learned(stack, row)) => {
                    let rows = self.call.rows_that_learn(self.model, stack);
                    for row in rows.into_iter().filter(|&row| learned(stack, row)) {
                        sum.h += &h.index_axis(Axis(1), row);
                        if let (Some(sum), Some(c)) = (&mut sum.c, &c) {
                            *sum += &c.index_axis(Axis(1), row);
                        }
                    }
                }
                _ if begun.all(r) => {}
                _ => {
                    let in_form = |states: Array3<f32>| match form.batching {
                        Batching::Batch => states.into_dyn(),
                        Batching::Single => states.index_axis_move(Axis(1), 0).into_dyn(),
                    };
                    let gradients = States { h: in_form(h), c: c.map(in_form) };
                    states.insert(stack, gradients.without(begun));
                }
            }
        }
        let single = |(index, all): (usize, ArrayD<f32>)| match (form.batching, form.axes) {
            (Batching::Single, Axes::TimeMajor) if all.ndim() == 3 => (index, all.index_axis_move(Axis(1), 0)),
            (Batching::Single, _) => (index, all.index_axis_move(Axis(0), 0)),
            (Batching::Batch, _) => (index, all),
        };
        let own = |(stack, ends): (usize, _)| (!self.model.begun(stack).any()).then_some(ends);
        let finals = self.finals.into_iter().enumerate().map(own).collect();
        // If the model has no weights, these are all of them.
        let weights = (!self.weights.is_empty() || self.layout.buffers.is_empty()).then(|| {
            let weights = unpack(self.model, self.layout, &self.weights, false);
            Weights { initial: sums.clone(), ..weights }
        });
        let inputs = self.inputs.into_iter().map(single).collect();
        Found { loss: self.loss, weights, learned: sums, inputs, states, finals }
    }
}

/// The sum of the losses of rows.
pub(super) fn sum(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum()
}

/// Zero gradients of learned states, in the shape of those of rows without the batch axis.
fn no_states(h: &Array3<f32>, c: Option<&Array3<f32>>) -> LearnedStates {
    let zeros = |rows: &Array3<f32>| Array2::zeros((rows.dim().0, rows.dim().2));
    LearnedStates { h: zeros(h), c: c.map(zeros) }
}

impl HostIo for TrainingIo<'_, '_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        match write.feed {
            Feed::Targets(term) => self.targets(term, words),
            Feed::Scale(term) => {
                self.each(words, 1, |t, b, word| word[0] = self.aims[term].scale[[t, b]].to_bits());
            }
            Feed::ClassWeights(term) => {
                words.fill(0);
                if let Measure::Smoothed { class_weights, .. } = &self.aims[term].measured.measure {
                    words.iter_mut().zip(class_weights).for_each(|(word, weight)| *word = weight.to_bits());
                }
            }
            Feed::Order(layer) => {
                self.sort(layer);
                words.copy_from_slice(&self.sorted.order);
            }
            Feed::Starts(layer) => {
                self.sort(layer);
                words.copy_from_slice(&self.sorted.starts);
            }
            Feed::Dropped { layer, place } => self.drawn(layer, place, words),
            feed => encode(self.call, self.model, self.rows.clone(), feed, words),
        }
        Ok(())
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        match read.fetch {
            Fetch::Losses(_) => self.loss += sum(data),
            Fetch::Weights(buffer) => {
                self.weights.resize_with(self.layout.buffers.len(), Vec::new);
                let sums = &mut self.weights[buffer];
                if sums.is_empty() {
                    sums.extend_from_slice(data);
                } else {
                    sums.iter_mut().zip(data).for_each(|(sum, gradient)| *sum += gradient);
                }
            }
            Fetch::Input(input) => self.input(input, data),
            Fetch::InitialHidden { stack, layer } => {
                let directions = self.model.stacks().nth(stack).map_or(1, |r| r.directions());
                if let Some((h, _)) = self.states.get_mut(&stack) {
                    let part = s![layer * directions..(layer + 1) * directions, self.rows.clone(), ..];
                    unpad_state(data, h.slice_mut(part));
                }
            }
            Fetch::InitialCell { stack, layer } => {
                let directions = self.model.stacks().nth(stack).map_or(1, |r| r.directions());
                if let Some((_, Some(c))) = self.states.get_mut(&stack) {
                    let part = s![layer * directions..(layer + 1) * directions, self.rows.clone(), ..];
                    unpad_state(data, c.slice_mut(part));
                }
            }
            Fetch::Hidden { stack, .. } | Fetch::HiddenPart { stack, .. } | Fetch::Cell { stack, .. } => {
                let directions = self.model.stacks().nth(stack).map_or(1, |r| r.directions());
                if let Some((h, c)) = self.finals.get_mut(stack) {
                    let (h, c) = (h.view_mut(), c.as_mut().map(|c| c.view_mut()));
                    take_final(read.fetch, directions, &self.rows, data, h, c);
                }
            }
            Fetch::Output | Fetch::Other(_) | Fetch::Tokens | Fetch::Norm => {}
        }
    }
}

/// The loss of output `term.output` as a plan computes it: from logits, if the plan leaves off the activation.
pub(super) fn loss_term((term, measured): (&Term, &Measured)) -> LossTerm {
    let loss = match &measured.measure {
        Measure::CrossEntropy => RowLoss::CrossEntropy { smoothing: 0.0.into(), weighted: false },
        Measure::Smoothed { share, .. } => RowLoss::CrossEntropy { smoothing: (*share).into(), weighted: true },
        Measure::BinaryCrossEntropy => RowLoss::BinaryCrossEntropy { smoothing: 0.0.into() },
        Measure::Squared => RowLoss::Squared,
        Measure::Absolute => RowLoss::Absolute,
        Measure::Huber { delta } => RowLoss::Huber { delta: (*delta).into() },
        Measure::SumOfSquares => RowLoss::SumOfSquares,
    };
    LossTerm { output: term.output, logits: measured.bare.is_some(), loss }
}
