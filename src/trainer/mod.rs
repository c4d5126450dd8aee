//! Training: a model, its weights and the state of its optimizer, on a device.
//!
//! A [`Trainer`] is to training what [`Engine`](crate::Engine) is to running a model. It takes a batch, computes
//! the loss and the gradients, and updates the weights. `data` holds the examples that batches are taken from: in
//! memory (`in_memory`) or laid out by the caller. `fit` goes over them epoch by epoch. Only `checkpoint` knows files.

mod batch;
mod carry;
mod checkpoint;
mod data;
mod dropout;
mod fit;
mod fitting;
pub(crate) mod in_memory;
mod layout;
mod metrics;
mod named;
mod order;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
mod probe;
mod rate;
mod shared;
mod step;
mod stopping;
mod tally;
mod targets;
#[cfg(not(target_arch = "wasm32"))]
mod threads;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use crate::call::{Input, Output};
use crate::dropout::Dropping;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
use crate::engine::KernelTime;
use crate::engine::{Asked, Carried, DeviceInfo, Engine, EngineBuilder, Found, GradientRunner, UpdateRule, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Model, Role};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::recipe::{Clip, Schedule, Update};
use crate::weights::{Named, Tensor, Tensors, Weights, states_of};

pub use batch::{Batch, Gradients};
pub use data::Dataset;
pub use fit::{Epoch, Fit};
pub use fitting::{FitEnd, FitEvent, FitPosition, Fitting};
pub use metrics::{Measures, Metric};
use step::Waiting;
pub use stopping::EarlyStopping;

/// A model under training.
///
/// # Example
///
/// ```
/// use gatewave::train::{Adam, Batch, Convention, CrossEntropy, Targets, Update};
/// use gatewave::{Device, Input, Linear, Lstm, Model, Select, Trainer, Weights};
/// use ndarray::{Array3, arr1};
///
/// # fn main() -> gatewave::Result<()> {
/// let model = Model::new().layer(Lstm::new(3, 8)).layer(Select::LastStep).layer(Linear::new(8, 2));
/// let weights = Weights::initial(&model, Convention::Torch, 0)?;
/// let update = Update::by(Adam::like(Convention::Torch).learning_rate(0.01));
/// let mut trainer = Trainer::new(model, &weights, CrossEntropy::default(), update, Device::Cpu)?;
///
/// let batch = Batch::new(Input::features(Array3::ones((4, 5, 3))), Targets::classes(arr1(&[0, 1, 0, 0])));
/// let first = trainer.step(&batch)?.loss;
/// for _ in 0..20 {
///     trainer.step(&batch)?;
/// }
/// assert!(trainer.loss(&batch)? < first);
/// # Ok(())
/// # }
/// ```
pub struct Trainer {
    runner: GradientRunner,
    objective: Objective,
    update: Update,
    /// The learning rate, used if there is no schedule.
    rate: f64,
    schedule: Option<Schedule>,
    /// Updates so far.
    updates: u64,
    /// Epochs so far.
    epochs: u64,
    /// Whether all stacks carry their states.
    carry: bool,
    /// Where the next batch begins.
    carried: Option<Mutex<Carried>>,
    /// The seed of dropout; none if nothing is dropped.
    seed: Option<u64>,
    /// The shape of each tensor by its name.
    shapes: BTreeMap<String, Vec<usize>>,
    /// The learned initial states of stacks and their moments. They are kept on the host because each call writes them.
    states: BTreeMap<String, Trainable>,
    waiting: Waiting,
}

impl fmt::Debug for Trainer {
    /// Writes the trainer in a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer")
            .field("model", &format_args!("{}", self.model().in_few_words()))
            .field("device", &format_args!("{}", self.device()))
            .field("updates", &self.updates)
            .finish_non_exhaustive()
    }
}

/// A tensor that is trained on the host.
struct Trainable {
    named: Named,
    /// In the order of the rule's moments.
    moments: Vec<Vec<f32>>,
}

/// The numbers of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trained {
    /// The loss on the batch, before the update.
    pub loss: f64,
    /// The norm of all gradients together, before clipping.
    pub norm: f64,
    /// The number of the update, counted from 1.
    pub update: u64,
}

impl Trainer {
    /// Makes a trainer of `model` that begins at `weights`. It minimises
    /// `objective` by `update`, and computes on the device of `options`.
    ///
    /// # Errors
    ///
    /// Returns the errors of an engine, or an error of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if the settings
    ///   of the update are invalid, or the precision is not 32-bit float;
    /// - [`ErrorKind::Weights`](crate::ErrorKind::Weights) if a
    ///   weight is not finite, or its file holds it as an integer.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(
        model: impl Into<Model>,
        weights: &Weights,
        objective: impl Into<Objective>,
        update: Update,
        options: impl Into<EngineBuilder>,
    ) -> Result<Self> {
        block_on(Self::new_async(model, weights, objective, update, options))
    }

    /// Does the same as [`new`](Self::new) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`new`](Self::new).
    pub async fn new_async(
        model: impl Into<Model>,
        weights: &Weights,
        objective: impl Into<Objective>,
        update: Update,
        options: impl Into<EngineBuilder>,
    ) -> Result<Self> {
        let model = model.into();
        update.check()?;
        model.check()?;
        dropout::check(&model)?;
        let options = options.into();
        options.check_trains()?;
        if let Some(name) = &weights.integers {
            return Err(Error::new(
                ErrorKind::Weights,
                format!(
                    "{name}: expected floats to train, got integers of 8 bits; train the model that they were rounded \
                     from, or widen them with `gatewave convert MODEL OUT.safetensors`"
                ),
            ));
        }
        // Checks the shapes, and that layers of one name share their weights.
        weights.to_tensors(&model)?;
        let moments = update.rule().moments().len();
        let (mut shapes, mut states) = (BTreeMap::new(), BTreeMap::new());
        for (name, named) in weights.named(&model)? {
            if let Some(bad) = named.data.iter().position(|w| !w.is_finite()) {
                let text =
                    format!("{name}: expected finite weights to train, got {} at element {bad}", named.data[bad]);
                return Err(Error::new(ErrorKind::Weights, text).of_tensor(name));
            }
            shapes.insert(name.clone(), named.shape.clone());
            if named.role == Role::State {
                states.insert(name, Trainable { moments: vec![vec![0.0; named.data.len()]; moments], named });
            }
        }
        let update_rule = UpdateRule { rule: update.rule(), by_tensor: matches!(update.clip, Clip::TensorNorm(_)) };
        let runner = GradientRunner::new(model, weights, update_rule, &options).await?;
        let (objective, rate) = (objective.into(), update.optimizer.learning_rate());
        let carried = Carried::of(runner.model(), false).map(Mutex::new);
        let (schedule, updates, epochs, carry, seed) = (None, 0, 0, false, Some(0));
        let waiting = Waiting::default();
        Ok(Self {
            runner,
            objective,
            update,
            rate,
            schedule,
            updates,
            epochs,
            carry,
            carried,
            seed,
            shapes,
            states,
            waiting,
        })
    }

    /// Computes the loss on a batch and all its gradients; the weights stay as they are. States that
    /// are [carried](Self::carry) go on. Dropout drops the same elements as in the next update.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn gradients(&self, batch: &Batch) -> Result<Gradients> {
        block_on(self.gradients_async(batch))
    }

    /// Does the same as [`gradients`](Self::gradients) without blocking. A dropped future leaves the trainer as it was.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    pub async fn gradients_async(&self, batch: &Batch) -> Result<Gradients> {
        let mut found = self.found(batch, Wanted::All).await?;
        let finals = std::mem::take(&mut found.finals);
        let gradients = self.named(found)?;
        if gradients.loss.is_finite() {
            self.keep(finals);
        }
        Ok(gradients)
    }

    /// Computes the gradients of the weights, leaves them on the
    /// device, and returns the loss. This is for measurements.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    pub fn evaluate_gradients(&self, batch: &Batch) -> Result<f64> {
        block_on(self.lost(batch, Asked { wanted: Wanted::Left, dropping: self.dropping() }))
    }

    /// Does the same as [`evaluate_gradients`](Self::evaluate_gradients),
    /// and returns the time of each program of the device.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step), or one of kind
    /// [`ErrorKind::Device`](crate::ErrorKind::Device) if the device has no clock.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    pub fn evaluate_gradients_clocked(&self, batch: &Batch) -> Result<Vec<KernelTime>> {
        self.runner.clocked(&batch.input, &self.objective, &batch.targets, self.dropping())
    }

    /// Updates the weights by gradients from elsewhere: those of several batches or machines, averaged.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if the loss or a gradient is not finite;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if the gradients are of another model;
    /// - [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device is lost.
    ///
    /// The first two leave the weights as they were.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn apply(&mut self, gradients: &Gradients) -> Result<Trained> {
        block_on(self.apply_async(gradients))
    }

    /// Does the same as [`apply`](Self::apply) without blocking. If the future is dropped before it is
    /// ready, the update is done either not at all or entirely, as with [`step_async`](Self::step_async).
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`apply`](Self::apply).
    pub async fn apply_async(&mut self, gradients: &Gradients) -> Result<Trained> {
        self.end_dropped().await;
        let (mut tensors, mut states) = (Tensors::new(), BTreeMap::new());
        let trained = self.gradient_shapes();
        for (name, shape) in &self.shapes {
            // No gradient reaches a mean or a variance that a layer keeps.
            let gradient = match trained.contains_key(name) {
                true => self.gradient(gradients, name, shape)?,
                false => &vec![0.0; shape.iter().product()],
            };
            if let Some(state) = self.states.get(name) {
                states.insert(name.clone(), Named { data: gradient.clone(), ..state.named.clone() });
            }
            tensors.insert(name.clone(), Tensor::new(shape.clone(), gradient.clone()));
        }
        let mut weights = Weights::of_tensors(self.model(), tensors)?;
        weights.keep_firsts(self.model());
        if !gradients.loss.is_finite() {
            return Err(self.not_finite(self.updates + 1, gradients.loss, f64::NAN));
        }
        self.runner.set_gradients(&weights).await?;
        self.change(gradients.loss, states, None).await
    }

    /// Returns the gradient of a tensor.
    fn gradient<'a>(&self, gradients: &'a Gradients, name: &str, shape: &[usize]) -> Result<&'a Vec<f32>> {
        let wrong = |text: String| Error::new(ErrorKind::Training, format!("update {}: {text}", self.updates + 1));
        let Some(gradient) = gradients.weights.get(name) else {
            return Err(wrong(format!("expected a gradient of {name}, got none")));
        };
        let wanted = shape.iter().product::<usize>();
        if gradient.len() != wanted {
            let text = format!("{name}: expected a gradient of {wanted} elements, got {}", gradient.len());
            return Err(wrong(text));
        }
        Ok(gradient)
    }

    /// Tells the runner the initial states of stacks.
    fn begin(&mut self) {
        let named = self.states.iter().map(|(name, state)| (name.clone(), state.named.clone())).collect();
        let states = states_of(self.runner.model(), &named);
        self.runner.set_initial(states);
    }

    fn not_finite(&self, update: u64, loss: f64, norm: f64) -> Error {
        let text = format!(
            "update {update}: expected a finite loss and finite gradients, got a loss of {loss} and a norm of {norm}; the weights \
             are as they were; try a smaller learning rate, or clip gradients by their norm"
        );
        Error::new(ErrorKind::Numeric, text)
    }

    /// Computes the loss on a batch. Dropout drops nothing.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn loss(&self, batch: &Batch) -> Result<f64> {
        block_on(self.loss_async(batch))
    }

    /// Does the same as [`loss`](Self::loss) without blocking. A dropped future leaves the trainer as it was.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    pub async fn loss_async(&self, batch: &Batch) -> Result<f64> {
        self.lost(batch, Asked { wanted: Wanted::Loss, dropping: None }).await
    }

    /// Runs the model on `input` with the current weights.
    ///
    /// # Errors
    ///
    /// Returns the errors of an engine's run.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, input: &Input) -> Result<Output> {
        block_on(self.run_async(input))
    }

    /// Does the same as [`run`](Self::run) without blocking. A dropped future leaves the trainer as it was.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`run`](Self::run).
    pub async fn run_async(&self, input: &Input<'_>) -> Result<Output> {
        self.runner.run(input).await
    }

    /// Returns the current weights.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Limits`](crate::ErrorKind::Limits) if there is no
    /// memory for them, or [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn weights(&self) -> Result<Weights> {
        block_on(self.weights_async())
    }

    /// Does the same as [`weights`](Self::weights) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`weights`](Self::weights).
    pub async fn weights_async(&self) -> Result<Weights> {
        self.runner.weights().await
    }

    /// Builds an engine of the model with a copy of the current weights, which later updates do not change.
    /// It may be on another device, and store weights in another precision. [`run`](Self::run) runs the
    /// model on the trainer's own buffers, without a copy.
    ///
    /// # Errors
    ///
    /// Returns the errors of an engine.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn engine(&self, options: impl Into<EngineBuilder>) -> Result<Engine> {
        block_on(self.engine_async(options))
    }

    /// Does the same as [`engine`](Self::engine) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`engine`](Self::engine).
    pub async fn engine_async(&self, options: impl Into<EngineBuilder>) -> Result<Engine> {
        let options = options.into();
        options.build_async(self.model(), &self.weights_async().await?).await
    }

    /// Sets the seed of dropout; the default is 0. Each update drops other elements. The same seed
    /// drops the same elements on every device, however a batch is cut. With `None` nothing is
    /// dropped. When gradients of several machines are averaged, give each machine its own seed.
    pub fn set_dropout_seed(&mut self, seed: Option<u64>) {
        self.seed = seed;
    }

    /// Returns the number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        self.runner.model()
    }

    /// Returns the objective that training minimises.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Returns the device that it computes on, and why that one was chosen.
    pub fn device(&self) -> &DeviceInfo {
        self.runner.device()
    }

    /// Returns what the next update drops.
    fn dropping(&self) -> Option<Dropping> {
        self.seed.map(|seed| Dropping::new(seed, self.updates + 1))
    }

    /// Computes what the next update needs.
    async fn found(&self, batch: &Batch, wanted: Wanted) -> Result<Found> {
        let (asked, carried) = (Asked { wanted, dropping: self.dropping() }, self.carried());
        self.runner.gradients(&batch.input, &self.objective, &batch.targets, (asked, carried.as_ref())).await
    }

    async fn lost(&self, batch: &Batch, asked: Asked) -> Result<f64> {
        self.runner.loss(&batch.input, &self.objective, &batch.targets, asked).await
    }

    /// Names the gradients by tensor and by input.
    fn named(&self, found: Found) -> Result<Gradients> {
        let inputs = self.model().all_inputs()?;
        let input = |(index, array): (usize, _)| Some((inputs.get(index)?.name.clone(), array));
        let weights = found.weights.ok_or_else(|| Error::internal("gradients: expected those of the weights"))?;
        // No gradient reaches a mean or a variance that a layer keeps.
        let trained = |(name, named): (String, Named)| (named.role != Role::Statistic).then_some((name, named.data));
        Ok(Gradients {
            loss: found.loss,
            weights: weights.sums(self.model())?.into_iter().filter_map(trained).collect(),
            inputs: found.inputs.into_iter().filter_map(input).collect(),
            states: found.states,
        })
    }
}
