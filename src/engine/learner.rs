//! A model whose weights are to change, on a device: losses and gradients of calls, and new weights in place of the old.
//!
//! What `Engine` is to running a model: it checks, plans, executes and decodes. Knows no optimizer.

#[cfg(not(target_arch = "wasm32"))]
mod probe;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::Cache;
use super::carry::Carried;
use super::exchange::Exchange;
use super::executor::{Executor, Wait};
#[cfg(not(target_arch = "wasm32"))]
use super::kernels::{self, KernelTime};
use super::lesson::{Found, Lesson, Sorted, loss_term};
use super::planner::Planner;
use super::sent::Sent;
use super::{DeviceInfo, Options, shape_of};
use crate::call::{Input, Output};
use crate::dropout::Dropping;
use crate::error::Result;
use crate::feed::Decoder;
use crate::kernel::Medium;
use crate::loss::{Aim, Objective, Targets};
use crate::model::Model;
use crate::pack::Packing;
use crate::plan::{Ends, Gradients, Moves, Plan, Shape};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::weights::{LearnedStates, Source, Weights};

/// Plans that are kept.
const PLANS: usize = 16;

/// What a plan is of.
type Key = (Shape, Gradients);

/// A model with weights that change.
pub(crate) struct Learner {
    /// How they change.
    pub(super) moves: Moves,
    /// The plan of a change, once there was one: what it keeps is there then.
    pub(super) update: Option<Arc<Plan>>,
    pub(super) planner: Planner,
    pub(super) executor: Executor,
    pub(super) initial: BTreeMap<usize, LearnedStates>,
    plans: Mutex<Cache<Key, Arc<Plan>>>,
    desk: Mutex<Desk>,
}

/// What a call leaves for the next one: memory, so that a call of a shape that was seen before asks for none.
#[derive(Default)]
struct Desk {
    /// The objective of the last call, and what it aimed at.
    objective: Option<Objective>,
    aims: Vec<Aim>,
    /// The plan that it asked for last.
    key: Option<Key>,
    sorted: Sorted,
}

/// Which gradients are wanted of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None: what it loses alone.
    Loss,
    /// Those of the weights, which stay on the device.
    Left,
    /// Those of the weights, which are kept there for an update.
    Kept,
    /// Those of the weights, of inputs of features and of initial states.
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

impl Learner {
    /// A learner of `model` that begins at `weights` and changes them by `moves`.
    ///
    /// # Errors
    ///
    /// Those of an engine.
    pub(crate) async fn new(model: Model, weights: &Weights, moves: Moves, options: &Options) -> Result<Self> {
        let source = Source::held(weights, &model)?;
        let (planner, machine) = Planner::open_for_training(model, options).await?;
        let initial = source.initial(&planner.model, planner.layout.storage.into())?;
        let mut executor = machine.executor();
        for packed in Packing::new(source, &planner.model, &planner.layout) {
            executor.add(packed?, Medium::Buffer).await.map_err(|e| planner.device.explain(e))?;
        }
        Ok(Self {
            moves,
            update: None,
            planner,
            executor,
            initial,
            plans: Mutex::new(Cache::new(PLANS)),
            desk: Mutex::default(),
        })
    }

    /// The model.
    pub(crate) fn model(&self) -> &Model {
        &self.planner.model
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> &DeviceInfo {
        &self.planner.device
    }

    /// The plan of the losses and gradients of a call of `shape`, or of the tile of it that fits.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where not even one row fits the device.
    fn plan(&self, key: &Key) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(plan);
        }
        let plan = Arc::new(self.planner.lower_gradients(key.0, &key.1)?);
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).put(key.clone(), Arc::clone(&plan));
        Ok(plan)
    }

    /// What the last call has left, if it was by the same objective.
    fn desk(&self, objective: &Objective) -> Desk {
        let mut desk = std::mem::take(&mut *self.desk.lock().unwrap_or_else(PoisonError::into_inner));
        if desk.objective.as_ref() != Some(objective) {
            desk = Desk { objective: Some(objective.clone()), ..Desk::default() };
        }
        desk
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

    /// [`gradients`](Self::gradients) of the weights, which are kept for an [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients); kind `Limits`, where there is no memory for what is kept.
    pub(crate) async fn keep_gradients(
        &mut self,
        input: &Input,
        objective: &Objective,
        targets: &[Targets],
        (dropping, carried): (Option<Dropping>, Option<&Carried>),
    ) -> Result<Found> {
        self.moving().await?;
        self.gradients(input, objective, targets, (Asked { wanted: Wanted::Kept, dropping }, carried)).await
    }

    /// [`keep_gradients`](Self::keep_gradients) of stacks that begin at zero or where they are told to: what they lose comes with
    /// `sent`.
    ///
    /// # Errors
    ///
    /// As [`keep_gradients`](Self::keep_gradients).
    pub(crate) async fn send_gradients(
        &mut self,
        input: &Input,
        objective: &Objective,
        targets: &[Targets],
        (dropping, sent): (Option<Dropping>, &mut Sent),
    ) -> Result<()> {
        self.moving().await?;
        let flights = &mut sent.flights;
        let run = async |plan: &Arc<Plan>, lesson: &mut Lesson<'_, '_>| {
            flights.extend(self.executor.send(plan, lesson).await?);
            Ok(())
        };
        let asked = Asked { wanted: Wanted::Kept, dropping };
        sent.loss = self.learn((input, None), objective, (targets, asked), run, |lesson, _| lesson.loss).await?;
        Ok(())
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
        // Those that begin where they have learned to, unless a state is given.
        let learns: BTreeMap<usize, bool> =
            self.initial.keys().map(|&stack| (stack, call.initial(stack).is_none())).collect();
        let learned = call.learned(model, self.initial.iter().map(|(&i, states)| (i, &states.h, states.c.as_ref())))?;
        let kept = carried.map(|carried| carried.begin(input, &call, &learned)).transpose()?.unwrap_or_default();
        let call = call.keeping(&kept).learning(&learned);
        let mut desk = self.desk(objective);
        let Desk { aims, key, sorted, .. } = &mut desk;
        objective.check_again(model, &call, targets, aims)?;
        let all = wanted == Wanted::All;
        let weights = wanted != Wanted::Loss;
        let states = all || weights && !self.initial.is_empty();
        let (finals, drops) = (carried.is_some(), dropping.is_some());
        let ends = match wanted {
            Wanted::Left => Ends::Left,
            Wanted::Kept => Ends::Kept { first: true },
            Wanted::Loss | Wanted::All => Ends::Read,
        };
        let (shape, batch) = (shape_of(&call), call.form.batch);
        let key = key.get_or_insert_with(|| {
            let losses = objective.terms().iter().zip(aims.iter().map(|aim| &aim.measured)).map(loss_term);
            (shape, Gradients { losses: losses.collect(), ..Gradients::default() })
        });
        let losses = std::mem::take(&mut key.1.losses);
        *key = (shape, Gradients { losses, weights, ends, inputs: all, states, finals, drops });
        let mut lesson = Lesson::new((&call, model, layout), (aims, &key.1), sorted)?;
        lesson.dropping = dropping;
        let (mut first, mut most) = (0, batch);
        while first < batch {
            key.0.batch = most.min(batch - first);
            let plan = self.plan(key)?;
            most = plan.shape.batch;
            lesson.rows = first..first + most;
            run(&plan, &mut lesson).await.map_err(|e| device.explain(e))?;
            first += most;
            if let Ends::Kept { first } = &mut key.1.ends {
                *first = false;
            }
        }
        let anew = |stack, row| carried.is_none_or(|carried| carried.begins_anew(stack, row));
        let ended = end(lesson, &|stack, row| learns.get(&stack).is_some_and(|learns| *learns) && anew(stack, row));
        *self.desk.lock().unwrap_or_else(PoisonError::into_inner) = desk;
        Ok(ended)
    }
}
