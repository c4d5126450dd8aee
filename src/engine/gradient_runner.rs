//! A model whose weights change, on a device: losses and gradients of calls, and new weights in place of the old.
//!
//! It is to training what `Engine` is to running a model: it checks, plans, executes and decodes. Knows no optimizer.

#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
mod probe;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::Cache;
use super::call_io::CallIo;
use super::carry::Carried;
use super::device_states::PendingRead;
use super::executor::Executor;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
use super::kernels::{self, KernelTime};
use super::planner::Planner;
use super::sent::Sent;
use super::tiles::{Tile, Tiles, shape_of};
use super::training_io::{Found, Sorted, TrainingIo, loss_term};
use super::{DeviceInfo, EngineBuilder, warn_of_debug_build};
use crate::call::{Input, Output};
use crate::dropout::Dropping;
use crate::error::Result;
use crate::feed::Decoder;
use crate::loss::{Aim, Objective, Targets};
use crate::model::Model;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
use crate::plan::Slots;
use crate::plan::{GradientSink, Gradients, Plan, Shape, UpdateRule};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::platform::compute;
use crate::weights::{LearnedStates, Source, Weights};

/// How many plans are kept.
const PLANS: usize = 16;

/// What a plan depends on.
type Key = (Shape, Gradients);

/// A model with weights that change.
pub(crate) struct GradientRunner {
    /// How the weights change.
    pub(super) update_rule: UpdateRule,
    /// The plan of an update, once there was one: what it keeps is there then.
    pub(super) update: Option<Arc<Plan>>,
    pub(super) planner: Arc<Planner>,
    pub(super) executor: Executor,
    pub(super) initial: BTreeMap<usize, LearnedStates>,
    plans: Mutex<Cache<Key, Arc<Plan>>>,
    desk: Mutex<Desk>,
}

/// What a call leaves for the next one: memory, so that a call of a known shape allocates none.
#[derive(Default)]
struct Desk {
    /// The objective of the last call, and its checked targets.
    objective: Option<Objective>,
    aims: Vec<Aim>,
    /// The plan that it asked for last.
    key: Option<Key>,
    sorted: Sorted,
}

/// Which gradients of a call are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None: only the loss.
    Loss,
    /// Those of the weights, which stay on the device.
    Left,
    /// Those of the weights, which are kept on the device for an update.
    Kept,
    /// Those of the weights, of inputs of features, and of initial states.
    All,
}

/// What a call should compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Which gradients.
    pub(crate) wanted: Wanted,
    /// What dropout drops, if anything.
    pub(crate) dropping: Option<Dropping>,
}

/// How the plans of a call are run.
///
/// An asynchronous closure would do, but its futures are not known to be `Send`.
enum Way<'a> {
    /// Their results are waited for.
    Waited,
    /// Their results come later, by these reads.
    Sent(&'a mut Vec<PendingRead>),
    /// The time of each program is measured.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    Clocked(&'a mut Vec<KernelTime>),
    /// Others run in their place.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    Changed(probe::Change<'a>),
    /// Others run in their place, and leave every slot.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    Traced(probe::Change<'a>, &'a mut Slots),
}

impl Way<'_> {
    async fn run(&mut self, executor: &Executor, plan: &Arc<Plan>, io: &mut TrainingIo<'_, '_>) -> Result<()> {
        match self {
            Self::Waited => executor.run(plan, io).await.map(drop),
            Self::Sent(reads) => {
                reads.extend(executor.send(plan, io).await?);
                Ok(())
            }
            #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
            Self::Clocked(times) => {
                let spent = executor.run_clocked(plan, io).await?;
                kernels::add(times, plan, spent);
                Ok(())
            }
            #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
            Self::Changed(change) => {
                let plan = change(plan);
                executor.run(&plan, io).await.map(drop)
            }
            #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
            Self::Traced(change, slots) => {
                let plan = change(plan);
                let traced = executor.trace(&plan, io).await?;
                slots.extend(traced.into_iter().map(|(slot, data)| (plan.slots[slot].name.clone(), data)));
                Ok(())
            }
        }
    }
}

impl GradientRunner {
    /// Makes a runner of `model` that begins at `weights` and changes them by `update_rule`.
    ///
    /// # Errors
    ///
    /// As an engine's.
    pub(crate) async fn new(
        model: Model,
        weights: &Weights,
        update_rule: UpdateRule,
        options: &EngineBuilder,
    ) -> Result<Self> {
        warn_of_debug_build();
        let source = Source::held(weights, &model)?;
        let (planner, machine) = Planner::open_for_training(model, options).await?;
        let initial = source.initial(&planner.model, planner.layout.storage)?;
        let (planner, mut executor) = (Arc::new(planner), machine.executor());
        executor.load(&planner, source, |_| ()).await?;
        Ok(Self {
            update_rule,
            update: None,
            planner,
            executor,
            initial,
            plans: Mutex::new(Cache::new(PLANS)),
            desk: Mutex::default(),
        })
    }

    /// Returns the model.
    pub(crate) fn model(&self) -> &Model {
        &self.planner.model
    }

    /// Returns the device that computes.
    pub(crate) fn device(&self) -> &DeviceInfo {
        &self.planner.device
    }

    /// Returns the plan of the losses and gradients of a call of `shape`, or of the largest tile of it that fits.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if not even one row fits the device.
    async fn plan(&self, key: &Key) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(plan);
        }
        let (planner, (shape, gradients)) = (Arc::clone(&self.planner), key.clone());
        let plan = Arc::new(compute(move || planner.lower_gradients(shape, &gradients)).await??);
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).put(key.clone(), Arc::clone(&plan));
        Ok(plan)
    }

    /// Takes what the last call left, if it had the same objective.
    fn desk(&self, objective: &Objective) -> Desk {
        let mut desk = std::mem::take(&mut *self.desk.lock().unwrap_or_else(PoisonError::into_inner));
        if desk.objective.as_ref() != Some(objective) {
            desk = Desk { objective: Some(objective.clone()), ..Desk::default() };
        }
        desk
    }

    /// Runs the model on `input` with the current weights.
    ///
    /// # Errors
    ///
    /// As an engine's run.
    pub(crate) async fn run(&self, input: &Input<'_>) -> Result<Output> {
        let Planner { model, flows, device, .. } = &*self.planner;
        let call = self.planner.call(input)?;
        let learned = self.planner.learned(&call, &self.initial)?;
        let call = call.learning(&learned);
        let mut decoder = Decoder::new(model, (flows, &self.planner.output_clocks), &call)?;
        let mut tiles = Tiles::of(&self.planner, &call);
        while let Some(Tile { rows, plan }) = tiles.next().await? {
            let mut io = CallIo { call: &call, model, rows, decoder: Some(&mut decoder) };
            self.executor.run(&plan, &mut io).await.map_err(|e| device.explain(e))?;
        }
        Ok(decoder.finish())
    }

    /// Computes the loss of `input` by `objective`, and the wanted gradients. If states are `carried`, stacks without
    /// states of their own begin there, and their final states are returned.
    ///
    /// # Errors
    ///
    /// Returns an error of kind
    ///
    /// - `ErrorKind::Shape` if input or targets do not fit;
    /// - `ErrorKind::Model` if a loss does not fit the last layer;
    /// - `ErrorKind::Limits` if not even one row fits the device;
    /// - `ErrorKind::Device` or `ErrorKind::Lost` if it fails.
    pub(crate) async fn gradients(
        &self,
        input: &Input<'_>,
        objective: &Objective,
        targets: &[Targets],
        (asked, carried): (Asked, Option<&Carried>),
    ) -> Result<Found> {
        self.learn((input, carried), objective, (targets, asked), Way::Waited, |io, learned| io.finish(learned)).await
    }

    /// [`gradients`](Self::gradients) of the weights, which are kept for an [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients). Returns an error of kind `ErrorKind::Limits` if
    /// there is no memory for what is kept.
    pub(crate) async fn keep_gradients(
        &mut self,
        input: &Input<'_>,
        objective: &Objective,
        targets: &[Targets],
        (dropping, carried): (Option<Dropping>, Option<&Carried>),
    ) -> Result<Found> {
        self.moving().await?;
        self.gradients(input, objective, targets, (Asked { wanted: Wanted::Kept, dropping }, carried)).await
    }

    /// [`keep_gradients`](Self::keep_gradients), for stacks that begin at zero
    /// or at given states. The loss comes with `sent`.
    ///
    /// # Errors
    ///
    /// As [`keep_gradients`](Self::keep_gradients).
    pub(crate) async fn send_gradients(
        &mut self,
        input: &Input<'_>,
        objective: &Objective,
        targets: &[Targets],
        (dropping, sent): (Option<Dropping>, &mut Sent),
    ) -> Result<()> {
        self.moving().await?;
        let asked = Asked { wanted: Wanted::Kept, dropping };
        let way = Way::Sent(&mut sent.reads);
        sent.loss = self.learn((input, None), objective, (targets, asked), way, |io, _| io.loss).await?;
        Ok(())
    }

    /// Computes the loss of `input` by `objective`. Gradients that are asked for are computed and stay on the device.
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients).
    pub(crate) async fn loss(
        &self,
        input: &Input<'_>,
        objective: &Objective,
        targets: &[Targets],
        asked: Asked,
    ) -> Result<f64> {
        self.learn((input, None), objective, (targets, asked), Way::Waited, |io, _| io.loss).await
    }

    /// Measures the time of each program of a call that computes the gradients of the weights.
    ///
    /// # Errors
    ///
    /// As [`gradients`](Self::gradients). Returns an error of kind `ErrorKind::Device` if the device has no clock.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    pub(crate) fn clocked(
        &self,
        input: &Input,
        objective: &Objective,
        targets: &[Targets],
        dropping: Option<Dropping>,
    ) -> Result<Vec<KernelTime>> {
        let mut times = Vec::new();
        let asked = Asked { wanted: Wanted::Left, dropping };
        let way = Way::Clocked(&mut times);
        block_on(self.learn((input, None), objective, (targets, asked), way, |_, _| ()))?;
        Ok(times)
    }

    /// [`gradients`](Self::gradients), in which the plan of each tile of the batch is run by `way`. `end` makes the
    /// result; it is told which rows of a stack begin at learned states.
    async fn learn<F>(
        &self,
        (input, carried): (&Input<'_>, Option<&Carried>),
        objective: &Objective,
        (targets, Asked { wanted, dropping }): (&[Targets], Asked),
        mut way: Way<'_>,
        end: impl FnOnce(TrainingIo<'_, '_>, &dyn Fn(usize, usize) -> bool) -> F,
    ) -> Result<F> {
        let Planner { model, layout, device, .. } = &*self.planner;
        let call = self.planner.call(input)?;
        // Stacks that begin at learned states, unless a state is given.
        let learns: BTreeMap<usize, bool> =
            self.initial.keys().map(|&stack| (stack, call.initial(stack).is_none())).collect();
        let learned = self.planner.learned(&call, &self.initial)?;
        let kept = carried.map(|carried| carried.begin(input, &call, &learned)).transpose()?.unwrap_or_default();
        let call = call.keeping(&kept).learning(&learned);
        let mut desk = self.desk(objective);
        let Desk { aims, key, sorted, .. } = &mut desk;
        objective.check_again(model, &call, targets, aims)?;
        let all = wanted == Wanted::All;
        let weights = wanted != Wanted::Loss;
        let states = all || weights && !self.initial.is_empty();
        let (finals, drops) = (carried.is_some(), dropping.is_some());
        let sink = match wanted {
            Wanted::Left => GradientSink::Discard,
            Wanted::Kept => GradientSink::Accumulate { first: true },
            Wanted::Loss | Wanted::All => GradientSink::Read,
        };
        let (shape, batch) = (shape_of(&call), call.form.batch);
        let key = key.get_or_insert_with(|| {
            let losses = objective.terms().iter().zip(aims.iter().map(|aim| &aim.measured)).map(loss_term);
            (shape, Gradients { losses: losses.collect(), ..Gradients::default() })
        });
        let losses = std::mem::take(&mut key.1.losses);
        *key = (shape, Gradients { losses, weights, sink, inputs: all, states, finals, drops });
        let mut io = TrainingIo::new((&call, model, layout), (aims, &key.1), sorted)?;
        io.dropping = dropping;
        let (mut first, mut most) = (0, batch);
        while first < batch {
            key.0.batch = most.min(batch - first);
            let plan = self.plan(key).await?;
            most = plan.shape.batch;
            io.rows = first..first + most;
            way.run(&self.executor, &plan, &mut io).await.map_err(|e| device.explain(e))?;
            first += most;
            if let GradientSink::Accumulate { first } = &mut key.1.sink {
                *first = false;
            }
        }
        let anew = |stack, row| carried.is_none_or(|carried| carried.begins_anew(stack, row));
        let ended = end(io, &|stack, row| learns.get(&stack).is_some_and(|learns| *learns) && anew(stack, row));
        *self.desk.lock().unwrap_or_else(PoisonError::into_inner) = desk;
        Ok(ended)
    }
}
