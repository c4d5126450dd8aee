//! Shape → plan on an open device: the batch in tiles that fit it, what is said where none does, the plans that are kept.
//!
//! Needs a model and a device's limits, and no weights: what would run can be told before there is memory for it.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::{Call, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Mask, Medium};
use crate::layout::Layout;
use crate::loss::Objective;
use crate::model::{Clocks, Flow, Model, ModelInput};
use crate::plan::tune::Tuning;
use crate::plan::{Goal, Gradients, Limits, Plan, Shape, Strategy, lower};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Options;
use super::cache::Cache;
use super::device::DeviceInfo;
use super::executor::Machine;
use super::lesson::loss_term;

/// Plans that are kept: a server sees a few shapes again and again.
const PLANS: usize = 16;

/// What is planned, and the strategy that it is held to.
type Key = (Shape, Goal, Option<Strategy>);

/// A model on a device without its weights: it plans, and runs nothing.
#[doc(hidden)]
pub struct Planner {
    pub(super) model: Model,
    /// What its outputs are, the first one first.
    pub(super) flows: Vec<Flow>,
    /// The clocks that they go by; none of one without a time axis.
    pub(super) output_clocks: Vec<Option<usize>>,
    /// Those of the model.
    pub(super) clocks: Clocks,
    pub(super) layout: Layout,
    pub(super) limits: Limits,
    pub(super) tuning: Tuning,
    /// The most rows of a tile.
    tile_rows: usize,
    pub(super) device: DeviceInfo,
    /// Whether workgroups of the device have waited for each other in vain.
    stalled: Arc<AtomicBool>,
    plans: Mutex<Cache<Key, Arc<Plan>>>,
}

impl Planner {
    /// A planner of `model` on the device that `options` mean.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where the layers do not fit each other; `Device`, where there is no such device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(model: Model, options: &Options) -> Result<Self> {
        let layout = super::layout(&model, options)?;
        let (machine, device) = block_on(Machine::open(options))?;
        Self::on(model, layout, &machine, device, options)
    }

    /// A planner on an open device.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where the layers do not fit each other; `Device`, where the device failed the self-check of the strategy asked for.
    pub(super) fn on(
        model: Model,
        layout: Layout,
        machine: &Machine,
        device: DeviceInfo,
        options: &Options,
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

    /// The plan of a call of `shape`, or of the tile of it that fits.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where `shape` has no steps or no rows; `Limits`, where not even one sequence fits the device.
    pub fn plan(&self, shape: Shape) -> Result<Arc<Plan>> {
        self.plan_to(Goal::Outputs, shape)
    }

    /// The same for `goal`.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan); kind `Model`, where `goal` is to draw tokens and the model gives no number for each.
    pub fn plan_to(&self, goal: Goal, shape: Shape) -> Result<Arc<Plan>> {
        if shape.all_steps().any(|steps| steps.time == 0) || shape.batch == 0 {
            return Err(Error::new(
                ErrorKind::Shape,
                format!("plan: expected at least one step and one row, got T = {}, B = {}", shape.time, shape.batch),
            ));
        }
        let key = (shape, goal, self.tuning_for(goal).held_to());
        if let Some(plan) = self.plans().get(&key) {
            return Ok(plan);
        }
        let plan = Arc::new(self.lower_tile(goal, shape)?);
        self.plans().put(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// The sizes of a call of `batch` rows without a mask: `time` steps, and so many of the inputs that `times` name, where
    /// they have their own.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the model has no such input, or it shares its steps with an earlier one.
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

    /// The call that `input` makes of the model.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the input does not fit the model.
    pub(super) fn call<'a>(&'a self, input: &'a Input) -> Result<Call<'a>> {
        input.check_by(&self.model, Cow::Borrowed(&self.clocks))
    }

    /// The bytes of the weights.
    pub(super) fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// Where is planned for, and why there.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// What runs in the place of `plan`, whose run ended in `error`: the same by steps, where workgroups that share a layer
    /// have waited for each other in vain.
    ///
    /// # Errors
    ///
    /// `error`, where that is not so.
    pub(super) fn instead_of(&self, plan: &Plan, error: Error) -> Result<Arc<Plan>> {
        if plan.exchange().is_none() || !self.has_stalled() {
            return Err(error);
        }
        // Steps need less memory: the batch that was a tile still is one.
        self.plan(plan.shape).ok().filter(|by_steps| by_steps.shape == plan.shape).ok_or(error)
    }

    fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// The choices for `goal`: workgroups share no layer once they have waited in vain, nor where the states that a run
    /// begins with are gone after it.
    fn tuning_for(&self, goal: Goal) -> Tuning {
        match self.tuning.held_to() {
            Some(Strategy::Persistent) if goal == Goal::Frames || self.has_stalled() => {
                self.tuning.with_strategy(Some(Strategy::Step))
            }
            _ => self.tuning,
        }
    }

    /// As many rows of `shape` as are to be computed at once, where they fit the device.
    fn tile(&self, shape: Shape) -> Shape {
        Shape { batch: shape.batch.min(self.tile_rows), ..shape }
    }

    /// The plan of `shape`, its batch halved until it fits the device.
    fn lower_tile(&self, goal: Goal, shape: Shape) -> Result<Plan> {
        // Streams and drawing keep the states of all rows in one buffer: their rows are not parted by choice.
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

    /// Why one sequence does not fit, and how long a sequence would.
    fn too_long(&self, goal: Goal, shape: Shape, why: Error) -> Error {
        if matches!(goal, Goal::Tokens(_)) {
            // Whoever draws can draw fewer at a time, and `why` says so.
            return self.device.explain(why.at(format!("{} steps on {}", shape.time, self.device)));
        }
        self.none_fits(shape, why, |shape| self.lower(goal, shape), "")
    }

    /// Why no plan of one sequence fits, and how long a sequence would by `lower`. `what` is said of the sequence.
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
        // A plan goes in whole or not at all: a panic elsewhere left nothing half done.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Plans of training.
impl Planner {
    /// A planner of the losses and gradients of `model` on the device that `options` mean.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn for_training(model: Model, options: &Options) -> Result<Self> {
        Ok(block_on(Self::open_for_training(model, options))?.0)
    }

    /// The same, with the open device.
    pub(super) async fn open_for_training(model: Model, options: &Options) -> Result<(Self, Machine)> {
        let layout = Layout::for_training(&model)?;
        let (machine, device) = Machine::open_to_train(options).await?;
        let mut planner = Self::on(model, layout, &machine, device, options)?;
        // Updates write matrices, which they could not in a texture: plans copy them there.
        planner.layout = planner.layout.with_medium(Medium::Buffer);
        Ok((planner, machine))
    }

    /// The plan of what a call of `shape` loses by `objective`, and of the gradients of the weights.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where a loss does not fit the last layer; `Limits`, where not even one row fits the device.
    pub fn plan_gradients(&self, objective: &Objective, shape: Shape) -> Result<Plan> {
        let measured = objective.measured(&self.model)?;
        let losses = objective.terms().iter().zip(&measured).map(loss_term);
        self.lower_gradients(
            shape,
            &Gradients { losses: losses.collect(), weights: true, drops: true, ..Gradients::default() },
        )
    }

    /// The plan of `gradients` of a call of `shape`, its batch halved until it fits the device.
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
