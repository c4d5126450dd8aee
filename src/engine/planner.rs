//! Shape → plan on an open device. Cuts the batch into tiles that fit, says
//! what would fit if none does, and keeps plans.
//!
//! Needs a model and a device's limits, but no weights: a plan can be shown before there is memory for its weights.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::{Batched, Call, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Mask, Medium};
use crate::layout::Layout;
use crate::loss::Objective;
use crate::model::{Clocks, Flow, Misfit, Model, ModelInput, Value};
use crate::plan::tune::Tuning;
use crate::plan::{Goal, Gradients, Limits, Plan, Shape, Strategy, lower};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::platform::compute;
use crate::weights::LearnedStates;

use super::EngineBuilder;
use super::cache::Cache;
use super::device::DeviceInfo;
use super::executor::Machine;
use super::training_io::loss_term;

/// How many plans are kept: a server sees a few shapes again and again.
const PLANS: usize = 16;

/// What is planned, and the strategy that the plan must use.
type Key = (Shape, Goal, Option<Strategy>);

/// A model on a device, without its weights: it makes plans and runs nothing.
pub struct Planner {
    pub(super) model: Model,
    /// The kinds of its outputs, the first output first.
    pub(super) flows: Vec<Flow>,
    /// The clocks of its outputs; `None` for one without a time axis.
    pub(super) output_clocks: Vec<Option<usize>>,
    /// All clocks of the model.
    pub(super) clocks: Clocks,
    pub(super) layout: Layout,
    pub(super) limits: Limits,
    pub(super) tuning: Tuning,
    /// The most rows of a tile.
    tile_rows: usize,
    pub(super) device: DeviceInfo,
    /// Whether workgroups of the device have stalled.
    stalled: Arc<AtomicBool>,
    plans: Mutex<Cache<Key, Arc<Plan>>>,
}

impl Planner {
    /// Makes a planner of `model` on the device that `options` choose.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other, or
    /// of kind [`ErrorKind::Device`](crate::ErrorKind::Device) if there is no such device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(model: Model, options: &EngineBuilder) -> Result<Self> {
        let layout = super::layout(&model, options)?;
        let (machine, device) = block_on(Machine::open(options))?;
        Self::on(model, layout, &machine, device, options)
    }

    /// Makes a planner on an open device.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Model` if the layers do not fit each other, or of kind `ErrorKind::Device`
    /// if the device failed the self-check of the requested strategy.
    pub(super) fn on(
        model: Model,
        layout: Layout,
        machine: &Machine,
        device: DeviceInfo,
        options: &EngineBuilder,
    ) -> Result<Self> {
        log::info!("device {device}: {}", device.reason());
        let (limits, tuning) = (machine.limits(options), machine.tuning(options)?);
        let layout = layout.with_medium(tuning.medium());
        let flows = model.output_flows()?;
        let clocks = Clocks::of(&model);
        let output_clocks = model.feature_outputs().into_iter().map(|value| clocks.of_value(value)).collect();
        let tile_rows = options.tile_rows.map_or(usize::MAX, NonZeroUsize::get);
        let (stalled, plans) = (machine.stalled(), Mutex::new(Cache::new(PLANS)));
        Ok(Self { model, flows, output_clocks, clocks, layout, limits, tuning, tile_rows, device, stalled, plans })
    }

    /// Returns the plan of a call of `shape`, or of the largest tile of it that fits.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if `shape` has no steps or no rows, or of
    /// kind [`ErrorKind::Limits`](crate::ErrorKind::Limits) if not even one sequence fits the device.
    pub fn plan(&self, shape: Shape) -> Result<Arc<Plan>> {
        self.plan_to(Goal::Outputs, shape)
    }

    /// [`plan`](Self::plan) for another `goal`.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan). Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if `goal` is to
    /// draw tokens and the model's output is not one number for each token.
    pub fn plan_to(&self, goal: Goal, shape: Shape) -> Result<Arc<Plan>> {
        if shape.all_steps().any(|steps| steps.time == 0) || shape.batch == 0 {
            // A layer may have said why it has no step.
            let clock = |input| self.clocks.of_value(Value::Input(input)).unwrap_or(0);
            if shape.steps(clock(self.model.main_input())).time > 0 && shape.batch > 0 {
                self.model.check_steps(|input| shape.steps(clock(input)).time).map_err(Misfit::error)?;
            }
            return Err(Error::new(
                ErrorKind::Shape,
                format!("plan: expected at least one step and one row, got T = {}, B = {}", shape.time, shape.batch),
            ));
        }
        // Once, since a call that stalls meanwhile changes the tuning of later plans.
        let key = self.key(goal, shape);
        let known = self.plans().get(&key);
        if let Some(plan) = known {
            return Ok(plan);
        }
        let plan = Arc::new(self.lower_tile(goal, shape)?);
        self.plans().put(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// [`plan_to`](Self::plan_to). If the polling thread must not block, a new plan is made in another thread.
    pub(super) async fn planned(self: &Arc<Self>, goal: Goal, shape: Shape) -> Result<Arc<Plan>> {
        if let Some(plan) = self.known(goal, shape) {
            return Ok(plan);
        }
        let planner = Arc::clone(self);
        compute(move || planner.plan_to(goal, shape)).await?
    }

    /// The plan for `goal` and `shape`, if it is kept.
    fn known(&self, goal: Goal, shape: Shape) -> Option<Arc<Plan>> {
        self.plans().get(&self.key(goal, shape))
    }

    fn key(&self, goal: Goal, shape: Shape) -> Key {
        (shape, goal, self.tuning_for(goal).fixed_strategy())
    }

    /// The sizes of a call of `batch` rows without a mask. It has `time` steps; `times` gives
    /// other numbers for inputs with steps of their own, by name.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the model has no such input, or if
    /// that input shares its steps with an earlier one.
    pub fn shape(&self, time: usize, batch: usize, times: &[(String, usize)]) -> Result<Shape> {
        let (clocks, main) = (&self.clocks, self.model.main_input());
        let has_own = |(index, _): &(usize, &ModelInput)| *index != main && clocks.leader(*index) == Some(*index);
        let own: Vec<&str> =
            self.model.inputs.iter().enumerate().filter(has_own).map(|(_, input)| input.name.as_str()).collect();
        if let Some((name, _)) = times.iter().find(|(name, _)| !own.contains(&name.as_str())) {
            let text = match own.join(", ") {
                none if none.is_empty() => format!("expected no input, since none has steps of its own, got {name}"),
                names => format!("expected an input with steps of its own ({names}), got {name}"),
            };
            return Err(Error::new(ErrorKind::Shape, text));
        }
        let of = |input: usize| {
            let name = self.model.inputs.get(input).map(|input| &input.name);
            times.iter().find(|(other, _)| Some(other) == name).map_or(time, |(_, time)| *time)
        };
        Ok(Shape::of_model(&self.model, of, batch, Mask::All))
    }

    /// Checks `input` against the model, and returns the call.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if the input does not fit the model.
    pub(super) fn call<'a>(&'a self, input: &'a Input) -> Result<Call<'a>> {
        input.check_by(&self.model, Cow::Borrowed(&self.clocks))
    }

    /// Returns the states at which the stacks in `initial`, which learned them, begin in `call`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
    pub(super) fn learned(
        &self,
        call: &Call<'_>,
        initial: &BTreeMap<usize, LearnedStates>,
    ) -> Result<Vec<Option<Batched>>> {
        call.learned(&self.model, initial.iter().map(|(&stack, states)| (stack, &states.h, states.c.as_ref())))
    }

    /// The bytes of the weights.
    pub(super) fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// Returns the device that plans are made for, and why it was chosen.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// Returns the fallback for `plan`, whose run ended in `error`: the same call by
    /// steps, if workgroups that share a layer have stalled.
    ///
    /// # Errors
    ///
    /// Returns `error` if none has stalled.
    pub(super) fn fallback_plan(&self, plan: &Plan, error: Error) -> Result<Arc<Plan>> {
        if plan.mailbox().is_none() || !self.has_stalled() {
            return Err(error);
        }
        // Steps need less memory, so a batch that was one tile still is.
        self.plan(plan.shape).ok().filter(|by_steps| by_steps.shape == plan.shape).ok_or(error)
    }

    fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// The tuning for `goal`. Workgroups do not share a layer once they have stalled, nor
    /// if a run overwrites the states that it began with.
    fn tuning_for(&self, goal: Goal) -> Tuning {
        match self.tuning.fixed_strategy() {
            Some(Strategy::Persistent) if goal == Goal::Frames || self.has_stalled() => {
                self.tuning.with_strategy(Some(Strategy::Step))
            }
            _ => self.tuning,
        }
    }

    /// Cuts `shape` to as many rows as should be computed at once, if they fit the device.
    fn tile(&self, shape: Shape) -> Shape {
        Shape { batch: shape.batch.min(self.tile_rows), ..shape }
    }

    /// Makes the plan of `shape`, with its batch halved until it fits the device.
    fn lower_tile(&self, goal: Goal, shape: Shape) -> Result<Plan> {
        // Streams and drawing keep the states of all rows in one buffer, so their rows are only cut if they must be.
        let mut tile = if goal == Goal::Outputs { self.tile(shape) } else { shape };
        loop {
            match self.lower(goal, tile) {
                Err(e) if e.kind() == ErrorKind::Limits && tile.batch > 1 => tile.batch = tile.batch.div_ceil(2),
                Err(e) if e.kind() == ErrorKind::Limits => return Err(self.too_long(goal, tile, e)),
                plan => return plan,
            }
            log::debug!("a batch of {} does not fit {}; trying {}", shape.batch, self.device, tile.batch);
        }
    }

    fn lower(&self, goal: Goal, shape: Shape) -> Result<Plan> {
        let lower = match goal {
            Goal::Outputs => lower::lower,
            Goal::Frames => lower::lower_frames,
            Goal::Beginnings => lower::lower_beginnings,
            Goal::Tokens(output) => {
                let (shape, tuning) = ((shape, output), self.tuning_for(goal));
                return lower::lower_drawing(&self.model, &self.layout, shape, &self.limits, &tuning);
            }
        };
        lower(&self.model, &self.layout, shape, &self.limits, &self.tuning_for(goal))
    }

    /// The error of a sequence that does not fit; it says how long a sequence would.
    fn too_long(&self, goal: Goal, shape: Shape, why: Error) -> Error {
        if matches!(goal, Goal::Tokens(_)) {
            // A caller that draws can draw fewer tokens at a time, and `why` says so.
            return self.device.explain(why.at(format!("{} steps on {}", shape.time, self.device)));
        }
        self.none_fits(shape, why, |shape| self.lower(goal, shape), "")
    }

    /// The error if no plan of one sequence fits; it says how long a sequence would fit by
    /// `lower`. `what` is added to the sequence's description.
    fn none_fits(&self, shape: Shape, why: Error, lower: impl Fn(Shape) -> Result<Plan>, what: &str) -> Error {
        let mut fits = None;
        let halves = std::iter::successors(Some(shape.time / 2), |time| Some(time / 2)).take_while(|&time| time > 0);
        for time in halves {
            let shape = Shape::of_model(&self.model, |_| time, shape.batch, shape.mask);
            if shape.all_steps().any(|steps| steps.time == 0) {
                break;
            }
            match lower(shape) {
                Ok(_) => {
                    fits = Some(time);
                    break;
                }
                Err(e) if e.kind() == ErrorKind::Limits => {}
                // A layer of a fixed number of steps takes no shorter sequence.
                Err(e) if e.kind() == ErrorKind::Shape => break,
                Err(e) => return e,
            }
        }
        let hint = match fits {
            Some(time) => format!("a sequence of {time} steps would fit: split it and carry the states over"),
            None => "not even one step fits: the model is too large for this device".into(),
        };
        let text = format!("one sequence of {} steps{what} on {}: {why}; {hint}", shape.time, self.device);
        self.device.explain(Error::new(ErrorKind::Limits, text))
    }

    fn plans(&self) -> MutexGuard<'_, Cache<Key, Arc<Plan>>> {
        // A plan goes in whole or not at all, so a panic elsewhere left nothing half done.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Plans of training.
impl Planner {
    /// Makes a planner of the losses and gradients of `model` on the device that `options` choose.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn for_training(model: Model, options: &EngineBuilder) -> Result<Self> {
        Ok(block_on(Self::open_for_training(model, options))?.0)
    }

    /// [`for_training`](Self::for_training), which also returns the open device.
    pub(super) async fn open_for_training(model: Model, options: &EngineBuilder) -> Result<(Self, Machine)> {
        let layout = Layout::for_training(&model)?;
        let (machine, device) = Machine::open_to_train(options).await?;
        let mut planner = Self::on(model, layout, &machine, device, options)?;
        // Updates write matrices, which they cannot do in a texture; plans copy them there.
        planner.layout = planner.layout.with_medium(Medium::Buffer);
        Ok((planner, machine))
    }

    /// Makes the plan of the loss of a call of `shape` by `objective`, and of the gradients of the weights.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if a loss does not fit the last layer, or
    /// of kind [`ErrorKind::Limits`](crate::ErrorKind::Limits) if not even one row fits the device.
    pub fn plan_gradients(&self, objective: &Objective, shape: Shape) -> Result<Plan> {
        let measured = objective.measured(&self.model)?;
        let losses = objective.terms().iter().zip(&measured).map(loss_term);
        self.lower_gradients(
            shape,
            &Gradients { losses: losses.collect(), weights: true, drops: true, ..Gradients::default() },
        )
    }

    /// Makes the plan of `gradients` of a call of `shape`, with its batch halved until it fits the device.
    pub(super) fn lower_gradients(&self, shape: Shape, gradients: &Gradients) -> Result<Plan> {
        let Self { model, layout, limits, tuning, .. } = self;
        let lower = |shape| lower::lower_gradients(model, layout, shape, limits, tuning, gradients);
        let mut tile = self.tile(shape);
        loop {
            match lower(tile) {
                Err(e) if e.kind() == ErrorKind::Limits && tile.batch > 1 => tile.batch = tile.batch.div_ceil(2),
                Err(e) if e.kind() == ErrorKind::Limits => {
                    return Err(self.none_fits(tile, e, lower, " with its gradients"));
                }
                plan => return plan,
            }
        }
    }
}
