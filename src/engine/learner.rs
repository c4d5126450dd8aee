//! A model whose weights are to change, on a device: losses and gradients of calls, and new weights in place of the old.
//!
//! What `Engine` is to running a model: it checks, plans, executes and decodes. Knows no optimizer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array3, ArrayD, Axis, IxDyn, s};

use super::cache::Cache;
use super::carry::Carried;
use super::exchange::Exchange;
use super::executor::{Executor, Wait};
#[cfg(not(target_arch = "wasm32"))]
use super::kernels::{self, KernelTime};
use super::planner::{Planner, row_loss};
use super::{DeviceInfo, Options, shape_of};
use crate::call::{Batched, Batching, Call, Input, Output, States, initial};
use crate::dropout::Dropping;
use crate::error::Result;
use crate::feed::{Decoder, encode, take_final, unpad_row, unpad_state};
use crate::kernel::{Medium, padded};
use crate::layout::Layout;
use crate::loss::{Aim, Aimed, Measure, Objective, Targets};
use crate::model::{Axes, Embedding, InputKind, LayerKind, Model, Value};
use crate::pack::{Packing, pack, unpack};
use crate::plan::{Caller, Feed, Fetch, Gradients, LossTerm, Plan, Read, Shape, Write};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::weights::{LearnedStates, Source, Weights};

/// Plans that are kept.
const PLANS: usize = 16;

/// What a plan is of.
type Key = (Shape, Gradients);

/// A model with weights that change.
pub(crate) struct Learner {
    planner: Planner,
    executor: Executor,
    initial: BTreeMap<usize, LearnedStates>,
    plans: Mutex<Cache<Key, Arc<Plan>>>,
}

/// Which gradients are wanted of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None: what it loses alone.
    Loss,
    /// Those of the weights, which stay on the device.
    Left,
    /// Those of the weights.
    Weights,
    /// Those of inputs of features and of initial states besides.
    All,
}

/// What is asked of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Which gradients.
    pub(crate) wanted: Wanted,
    /// What dropout drops, if anything.
    pub(crate) dropping: Option<Dropping>,
}

/// What a call loses, and the gradients.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The objective.
    pub(crate) loss: f64,
    /// The gradients of the weights, learned states among them.
    pub(crate) weights: Weights,
    /// Those of the inputs of features, by their places, in the axes of the call.
    pub(crate) inputs: BTreeMap<usize, ArrayD<f32>>,
    /// Those of where stacks begin, by stack, in the axes of the call.
    pub(crate) states: BTreeMap<usize, States>,
    /// The final states of each stack, where states are carried; none of one that begins at a value of the model.
    pub(crate) finals: Vec<Option<Batched>>,
}

impl Learner {
    /// A learner of `model` that begins at `weights`.
    ///
    /// # Errors
    ///
    /// Those of an engine.
    pub(crate) async fn new(model: Model, weights: &Weights, options: &Options) -> Result<Self> {
        let source = Source::held(weights, &model)?;
        let (planner, machine) = Planner::open_for_training(model, options).await?;
        let initial = source.initial(&planner.model, planner.layout.storage.into())?;
        let mut executor = machine.executor();
        for packed in Packing::new(source, &planner.model, &planner.layout) {
            executor.add(packed?, Medium::Buffer).await.map_err(|e| planner.device.explain(e))?;
        }
        Ok(Self { planner, executor, initial, plans: Mutex::new(Cache::new(PLANS)) })
    }

    /// The model.
    pub(crate) fn model(&self) -> &Model {
        &self.planner.model
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> &DeviceInfo {
        &self.planner.device
    }

    /// Sets the weights.
    ///
    /// # Errors
    ///
    /// Kind `Weights`, where they are another model's; `Lost`, where the device is lost.
    pub(crate) async fn set(&mut self, weights: &Weights) -> Result<()> {
        let packed = pack(weights, &self.planner.model, &self.planner.layout)?;
        for (index, buffer) in packed.buffers.into_iter().enumerate() {
            self.executor.replace(index, buffer).await?;
        }
        self.initial.clone_from(&weights.initial);
        Ok(())
    }

    /// The plan of the losses and gradients of a call of `shape`, or of the tile of it that fits.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where not even one row fits the device.
    pub(crate) fn plan(&self, shape: Shape, gradients: &Gradients) -> Result<Arc<Plan>> {
        let key = (shape, gradients.clone());
        if let Some(plan) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(plan);
        }
        let plan = Arc::new(self.planner.lower_gradients(shape, gradients)?);
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).put(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// What the model gives for `input` by the weights of now.
    ///
    /// # Errors
    ///
    /// Those of an engine's run.
    pub(crate) async fn run(&self, input: &Input) -> Result<Output> {
        let Planner { model, flows, device, .. } = &self.planner;
        let call = self.planner.call(input)?;
        let learned = call.learned(model, self.initial.iter().map(|(&i, states)| (i, &states.h, states.c.as_ref())))?;
        let call = call.learning(&learned);
        let (shape, batch) = (shape_of(&call), call.form.batch);
        let mut decoder = Decoder::new(model, (flows, &self.planner.output_clocks), &call)?;
        let (mut first, mut most) = (0, batch);
        while first < batch {
            let plan = self.planner.plan(Shape { batch: most.min(batch - first), ..shape })?;
            most = plan.shape.batch;
            let rows = first..first + most;
            let mut exchange = Exchange { call: &call, model, rows, decoder: Some(&mut decoder) };
            self.executor.run(&plan, &mut exchange, Wait::Aside).await.map_err(|e| device.explain(e))?;
            first += most;
        }
        Ok(decoder.finish())
    }

    /// What `input` loses by `objective`, and the gradients that are wanted. Where states are `carried`, stacks that are given
    /// none begin there, and where they end is told.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where input or targets do not fit; `Model`, where a loss does not fit the last layer; `Limits`, where
    /// not even one row fits the device; `Device` or `Lost`, where it fails.
    pub(crate) async fn gradients(
        &self,
        input: &Input,
        objective: &Objective,
        targets: &[Targets],
        (asked, carried): (Asked, Option<&Carried>),
    ) -> Result<Found> {
        let run = async |plan: &Arc<Plan>, lesson: &mut Lesson<'_, '_>| {
            self.executor.run(plan, lesson, Wait::Aside).await.map(drop)
        };
        self.learn((input, carried), objective, (targets, asked), run, |lesson, learned| lesson.finish(learned)).await
    }

    /// What `input` loses by `objective`; gradients that are asked for are found and stay on the device.
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients).
    pub(crate) async fn loss(
        &self,
        input: &Input,
        objective: &Objective,
        targets: &[Targets],
        asked: Asked,
    ) -> Result<f64> {
        let run = async |plan: &Arc<Plan>, lesson: &mut Lesson<'_, '_>| {
            self.executor.run(plan, lesson, Wait::Aside).await.map(drop)
        };
        self.learn((input, None), objective, (targets, asked), run, |lesson, _| lesson.loss).await
    }

    /// What the programs took of a call that finds the gradients of the weights.
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients); kind `Device`, where the device has no clock.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn clocked(
        &self,
        input: &Input,
        objective: &Objective,
        targets: &[Targets],
        dropping: Option<Dropping>,
    ) -> Result<Vec<KernelTime>> {
        let mut times = Vec::new();
        let asked = Asked { wanted: Wanted::Left, dropping };
        let run = async |plan: &Arc<Plan>, lesson: &mut Lesson<'_, '_>| {
            let spent = self.executor.run_clocked(plan, lesson).await?;
            kernels::add(&mut times, plan, spent);
            Ok(())
        };
        block_on(self.learn((input, None), objective, (targets, asked), run, |_, _| ()))?;
        Ok(times)
    }

    /// [`gradients`](Self::gradients), the plan of each tile of the batch run by `run`, and what `end` makes of it: it is told which
    /// rows of a stack begin where the model has learned to.
    async fn learn<F>(
        &self,
        (input, carried): (&Input, Option<&Carried>),
        objective: &Objective,
        (targets, Asked { wanted, dropping }): (&[Targets], Asked),
        mut run: impl AsyncFnMut(&Arc<Plan>, &mut Lesson<'_, '_>) -> Result<()>,
        end: impl FnOnce(Lesson<'_, '_>, &dyn Fn(usize, usize) -> bool) -> F,
    ) -> Result<F> {
        let Planner { model, layout, device, .. } = &self.planner;
        let call = self.planner.call(input)?;
        let given: Vec<bool> = (0..model.stacks().count()).map(|stack| call.initial(stack).is_some()).collect();
        let learned = call.learned(model, self.initial.iter().map(|(&i, states)| (i, &states.h, states.c.as_ref())))?;
        let kept = carried.map(|carried| carried.begin(input, &call, &learned)).transpose()?.unwrap_or_default();
        let call = call.keeping(&kept).learning(&learned);
        let aims = objective.check(model, &call, targets)?;
        let losses = objective.terms().iter().zip(&aims).map(|(term, aim)| LossTerm {
            output: term.output,
            logits: aim.bare.is_some(),
            loss: row_loss(&aim.measure),
        });
        let all = wanted == Wanted::All;
        let weights = wanted != Wanted::Loss;
        let states = all || weights && !self.initial.is_empty();
        let (left, finals, drops) = (wanted == Wanted::Left, carried.is_some(), dropping.is_some());
        let gradients = Gradients { losses: losses.collect(), weights, left, inputs: all, states, finals, drops };
        let mut lesson = Lesson::new(&call, model, layout, &aims)?;
        lesson.dropping = dropping;
        let (shape, batch) = (shape_of(&call), call.form.batch);
        let (mut first, mut most) = (0, batch);
        while first < batch {
            let plan = self.plan(Shape { batch: most.min(batch - first), ..shape }, &gradients)?;
            most = plan.shape.batch;
            lesson.rows = first..first + most;
            run(&plan, &mut lesson).await.map_err(|e| device.explain(e))?;
            first += most;
        }
        let anew = |stack, row| carried.is_none_or(|carried| carried.begins_anew(stack, row));
        Ok(end(lesson, &|stack, row| !given[stack] && self.initial.contains_key(&stack) && anew(stack, row)))
    }
}

/// The caller of a plan of gradients: gives it a call and its targets, and adds up what tiles of the batch give.
struct Lesson<'a, 'c> {
    call: &'a Call<'c>,
    model: &'a Model,
    layout: &'a Layout,
    aims: &'a [Aim],
    dropping: Option<Dropping>,
    rows: Range<usize>,
    loss: f64,
    /// By packed buffer; nothing of one that was not read.
    weights: Vec<Vec<f32>>,
    inputs: BTreeMap<usize, ArrayD<f32>>,
    /// By stack, with a batch.
    states: BTreeMap<usize, Batched>,
    /// Where each stack ends; before that, where it begins.
    finals: Vec<Batched>,
}

impl<'a, 'c> Lesson<'a, 'c> {
    fn new(call: &'a Call<'c>, model: &'a Model, layout: &'a Layout, aims: &'a [Aim]) -> Result<Self> {
        let weights = vec![Vec::new(); layout.buffers.len()];
        let mut states = BTreeMap::new();
        let mut finals = Vec::new();
        for (stack, r) in model.stacks().enumerate() {
            states.insert(stack, initial(r, call.form)?);
            finals.push(call.beginning(stack, r)?);
        }
        let (inputs, rows) = (BTreeMap::new(), 0..0);
        Ok(Self { call, model, layout, aims, dropping: None, rows, loss: 0.0, weights, inputs, states, finals })
    }

    /// Lays out what a loss is told of the rows, `[T][B]` of `width` elements.
    fn each(&self, words: &mut [u32], width: usize, of: impl Fn(usize, usize, &mut [u32])) {
        let batch = self.rows.len();
        for (row, words) in words.chunks_exact_mut(width).enumerate() {
            of(row / batch, self.rows.start + row % batch, words);
        }
    }

    /// What a place of the model that drops is told: see [`Feed::Dropped`].
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
                let flow = self.model.output_flows().ok().and_then(|flows| {
                    let outputs = self.model.feature_outputs();
                    let index = outputs.iter().position(|&value| value == self.aims[term].value)?;
                    flows.get(index).copied()
                });
                let size = flow.map_or(values.dim().2, |flow| flow.features().size);
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

    /// The rows of the tokens that embedding `layer` takes, by token, and where each token's start.
    fn sorted(&self, layer: usize) -> (Vec<u32>, Vec<u32>) {
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
        let token = |row: usize| self.call.token(input, row / batch, self.rows.start + row % batch) as usize;
        let rows = time * batch;
        let mut starts = vec![0_u32; below + 1];
        let trains = |token: usize| Some(token) != padding;
        for row in 0..rows {
            if trains(token(row)) {
                starts[token(row) + 1] += 1;
            }
        }
        for v in 0..below {
            starts[v + 1] += starts[v];
        }
        let mut next = starts.clone();
        let mut order = vec![0_u32; rows];
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
        (order, starts)
    }

    /// The gradient of input `index`, in the axes of the call: 0 where it is not read.
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

    /// What was found, the gradients of learned states summed over the rows that began there.
    fn finish(self, learned: impl Fn(usize, usize) -> bool) -> Found {
        let mut weights = unpack(self.model, self.layout, &self.weights);
        let form = self.call.form;
        let begun = |(stack, r)| (r, self.model.begun(stack));
        let stacks: Vec<_> = self.model.stacks().enumerate().map(begun).collect();
        let mut states = BTreeMap::new();
        for (stack, (h, c)) in self.states {
            match weights.initial.get_mut(&stack) {
                Some(sum) if (0..form.batch).any(|row| learned(stack, row)) => {
                    let rows = self.call.rows_that_learn(self.model, stack);
                    for row in rows.into_iter().filter(|&row| learned(stack, row)) {
                        sum.h += &h.index_axis(Axis(1), row);
                        if let (Some(sum), Some(c)) = (&mut sum.c, &c) {
                            *sum += &c.index_axis(Axis(1), row);
                        }
                    }
                }
                _ if stacks[stack].1.all(stacks[stack].0) => {}
                _ => {
                    let in_form = |states: Array3<f32>| match form.batching {
                        Batching::Batch => states.into_dyn(),
                        Batching::Single => states.index_axis_move(Axis(1), 0).into_dyn(),
                    };
                    let gradients = States { h: in_form(h), c: c.map(in_form) };
                    states.insert(stack, gradients.without(stacks[stack].1));
                }
            }
        }
        let single = |(index, all): (usize, ArrayD<f32>)| match (form.batching, form.axes) {
            (Batching::Single, Axes::TimeMajor) if all.ndim() == 3 => (index, all.index_axis_move(Axis(1), 0)),
            (Batching::Single, _) => (index, all.index_axis_move(Axis(0), 0)),
            (Batching::Batch, _) => (index, all),
        };
        let own = |(stack, ends): (usize, _)| (!stacks[stack].1.any()).then_some(ends);
        let finals = self.finals.into_iter().enumerate().map(own).collect();
        Found { loss: self.loss, weights, inputs: self.inputs.into_iter().map(single).collect(), states, finals }
    }
}

impl Caller for Lesson<'_, '_> {
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        match write.feed {
            Feed::Targets(term) => self.targets(term, words),
            Feed::Scale(term) => {
                self.each(words, 1, |t, b, word| word[0] = self.aims[term].scale[[t, b]].to_bits());
            }
            Feed::ClassWeights(term) => {
                words.fill(0);
                if let Measure::Smoothed { class_weights, .. } = &self.aims[term].measure {
                    words.iter_mut().zip(class_weights).for_each(|(word, weight)| *word = weight.to_bits());
                }
            }
            Feed::Order(layer) => words.copy_from_slice(&self.sorted(layer).0),
            Feed::Starts(layer) => words.copy_from_slice(&self.sorted(layer).1),
            Feed::Dropped { layer, place } => self.drawn(layer, place, words),
            feed => encode(self.call, self.model, self.rows.clone(), feed, words),
        }
        Ok(())
    }

    fn take(&mut self, read: Read, data: &[f32]) {
        match read.fetch {
            Fetch::Losses(_) => self.loss += data.iter().map(|&loss| f64::from(loss)).sum::<f64>(),
            Fetch::Weights(buffer) => {
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
            Fetch::InitialMemory { stack, layer } => {
                let directions = self.model.stacks().nth(stack).map_or(1, |r| r.directions());
                if let Some((_, Some(c))) = self.states.get_mut(&stack) {
                    let part = s![layer * directions..(layer + 1) * directions, self.rows.clone(), ..];
                    unpad_state(data, c.slice_mut(part));
                }
            }
            Fetch::Hidden { stack, .. } | Fetch::HiddenPart { stack, .. } | Fetch::Memory { stack, .. } => {
                let directions = self.model.stacks().nth(stack).map_or(1, |r| r.directions());
                if let Some((h, c)) = self.finals.get_mut(stack) {
                    let (h, c) = (h.view_mut(), c.as_mut().map(|c| c.view_mut()));
                    take_final(read.fetch, directions, &self.rows, data, h, c);
                }
            }
            Fetch::Output | Fetch::Other(_) | Fetch::Tokens => {}
        }
    }
}
