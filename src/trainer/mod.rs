//! Training: a model, its weights and what an optimizer keeps of them, on a device.
//!
//! A [`Trainer`] is to training what [`Engine`](crate::Engine) is to running a model. It takes a batch, finds what the model
//! loses on it and by which the weights are to change, and changes them. `data` has the examples that batches are taken out of, in memory (`held`) or wherever they come from,
//! and `fit` goes over them epoch by epoch. Only `checkpoint` knows files.

mod batch;
mod carry;
mod checkpoint;
mod data;
mod dropout;
mod fit;
mod fitting;
mod held;
mod metrics;
mod named;
mod order;
#[cfg(not(target_arch = "wasm32"))]
mod probe;
mod rate;
mod step;
mod stopping;
mod tally;
mod targets;

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::call::{Input, Output};
use crate::dropout::Dropping;
#[cfg(not(target_arch = "wasm32"))]
use crate::engine::KernelTime;
use crate::engine::{Asked, Carried, DeviceInfo, Found, Learner, Moves, Options, Sent, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Model, Role};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::rule::{clip_factor, squares, update};
use crate::train::{Clip, Schedule, Update};
use crate::weights::{Named, Precision, Tensor, Tensors, Weights, states_of};

pub use batch::{Batch, Gradients};
pub use data::Dataset;
pub use fit::{Epoch, Fit};
pub use fitting::{FitEnd, FitEvent, Fitting, Standing};
pub use metrics::{Measures, Metric};
use step::Waiting;
pub use stopping::EarlyStopping;

/// A model that is being trained.
///
/// # Example
///
/// ```
/// use gatewave::{Adam, Batch, CrossEntropy, Device, Input, Like, Linear, Lstm, Model, Select, Targets, Trainer, Update, Weights};
/// use ndarray::{Array3, arr1};
///
/// # fn main() -> gatewave::Result<()> {
/// let model = Model::new().layer(Lstm::new(3, 8)).layer(Select::LastStep).layer(Linear::new(8, 2));
/// let weights = Weights::initial(&model, Like::Torch, 0)?;
/// let update = Update::by(Adam::like(Like::Torch).learning_rate(0.01));
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
    learner: Learner,
    objective: Objective,
    update: Update,
    /// The learning rate, where no schedule says it.
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
    /// What dropout is drawn from; none where it drops nothing.
    seed: Option<u64>,
    /// The shape of each tensor by its name.
    shapes: BTreeMap<String, Vec<usize>>,
    /// Where stacks have learned to begin, and what the optimizer keeps of that: it is here, as each call writes it.
    states: BTreeMap<String, Trainable>,
    waiting: Waiting,
}

/// A tensor that is trained on the host.
struct Trainable {
    named: Named,
    /// In the order of the rule's moments.
    moments: Vec<Vec<f32>>,
}

/// What an update was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trained {
    /// What the model lost on the batch, before the update.
    pub loss: f64,
    /// The norm of all gradients together, before clipping.
    pub norm: f64,
    /// Which update it was, counted from 1.
    pub update: u64,
}

impl Trainer {
    /// A trainer of `model` that begins at `weights`, makes `objective` small by `update`, and computes on `options`' device.
    ///
    /// # Errors
    ///
    /// Those of an engine; kind `Training`, where the update's settings cannot be, or the precision is not that of floats of
    /// 32 bits; `Weights`, where a weight is not finite, or its file holds it as an integer.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(
        model: Model,
        weights: &Weights,
        objective: impl Into<Objective>,
        update: Update,
        options: impl Into<Options>,
    ) -> Result<Self> {
        block_on(Self::new_async(model, weights, objective, update, options))
    }

    /// [`new`](Self::new), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub async fn new_async(
        model: Model,
        weights: &Weights,
        objective: impl Into<Objective>,
        update: Update,
        options: impl Into<Options>,
    ) -> Result<Self> {
        update.check()?;
        model.check()?;
        dropout::check(&model)?;
        let options = options.into();
        if options.precision != Precision::F32 {
            let text = format!(
                "precision: expected F32 to train, got {:?}; round a model when it is trained",
                options.precision
            );
            return Err(Error::new(ErrorKind::Training, text));
        }
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
                return Err(Error::new(ErrorKind::Weights, text));
            }
            shapes.insert(name.clone(), named.shape.clone());
            if named.role == Role::State {
                states.insert(name, Trainable { moments: vec![vec![0.0; named.data.len()]; moments], named });
            }
        }
        let moves = Moves { rule: update.rule(), by_tensor: matches!(update.clip, Clip::TensorNorm(_)) };
        let learner = Learner::new(model, weights, moves, &options).await?;
        let (objective, rate) = (objective.into(), update.optimizer.learning_rate());
        let carried = Carried::of(learner.model(), false).map(Mutex::new);
        let (schedule, updates, epochs, carry, seed) = (None, 0, 0, false, Some(0));
        let waiting = Waiting::default();
        Ok(Self {
            learner,
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

    /// What the model loses on a batch, and all gradients of it; the weights stay. States that are
    /// [carried](Self::carry) go on. Dropout drops what the next update would.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn gradients(&self, batch: &Batch) -> Result<Gradients> {
        block_on(self.gradients_async(batch))
    }

    /// [`gradients`](Self::gradients), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub async fn gradients_async(&self, batch: &Batch) -> Result<Gradients> {
        let mut found = self.found(batch, Wanted::All).await?;
        let finals = std::mem::take(&mut found.finals);
        let gradients = self.named(found)?;
        if gradients.loss.is_finite() {
            self.keep(finals);
        }
        Ok(gradients)
    }

    /// Finds the gradients of the weights, which stay on the device: what the model loses. For whoever measures.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    #[cfg(not(target_arch = "wasm32"))]
    #[doc(hidden)]
    pub fn rehearse(&self, batch: &Batch) -> Result<f64> {
        block_on(self.lost(batch, Asked { wanted: Wanted::Left, dropping: self.dropping() }))
    }

    /// [`rehearse`](Self::rehearse): what the programs of the device took.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step); kind `Device`, where the device has no clock.
    #[cfg(not(target_arch = "wasm32"))]
    #[doc(hidden)]
    pub fn rehearse_clocked(&self, batch: &Batch) -> Result<Vec<KernelTime>> {
        self.learner.clocked(&batch.input, &self.objective, &batch.targets, self.dropping())
    }

    /// Changes the weights by gradients from elsewhere: of several batches or machines, averaged.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where loss or gradients are not finite, or of another model: the weights are then as they were;
    /// `Lost`, where the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn apply(&mut self, gradients: &Gradients) -> Result<Trained> {
        block_on(self.apply_async(gradients))
    }

    /// [`apply`](Self::apply), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub async fn apply_async(&mut self, gradients: &Gradients) -> Result<Trained> {
        let (mut tensors, mut states) = (Tensors::new(), BTreeMap::new());
        for (name, shape) in &self.shapes {
            let gradient = self.gradient(gradients, name, shape)?;
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
        self.learner.set_gradients(&weights).await?;
        self.change(gradients.loss, states).await
    }

    /// The gradient of a tensor.
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

    /// Changes the weights by the gradients that the learner keeps, and where stacks begin by those of `states`.
    async fn change(&mut self, loss: f64, states: BTreeMap<String, Named>) -> Result<Trained> {
        let (t, of_roles) = (self.updates + 1, self.scalars()?);
        let scalars = &of_roles[Role::State as usize];
        let squared: BTreeMap<&String, f64> = states
            .iter()
            .map(|(name, gradient)| (name, squares(scalars, &self.states[name].named.data, &gradient.data)))
            .collect();
        let mut sent = Sent::default();
        self.learner.update(&of_roles, squared.values().sum(), &mut sent).await?;
        self.learner.land(&mut sent).await?;
        let norm = f64::from(sent.norm).sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            return Err(self.not_finite(t, loss, norm));
        }
        let rule = self.update.rule();
        for (name, gradient) in &states {
            let Some(Trainable { named, moments }) = self.states.get_mut(name) else { continue };
            let own = if let Clip::TensorNorm(_) = self.update.clip { squared[name] } else { norm * norm };
            let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
            let factor = clip_factor(scalars, own as f32);
            update(rule, scalars, factor, &mut named.data, &gradient.data, &mut moments);
        }
        if !states.is_empty() {
            self.begin();
        }
        self.updates = t;
        Ok(Trained { loss, norm, update: t })
    }

    /// Tells the learner where stacks begin.
    fn begin(&mut self) {
        let named = self.states.iter().map(|(name, state)| (name.clone(), state.named.clone())).collect();
        let states = states_of(self.learner.model(), &named);
        self.learner.set_initial(states);
    }

    fn not_finite(&self, update: u64, loss: f64, norm: f64) -> Error {
        let text = format!(
            "update {update}: expected a finite loss and finite gradients, got a loss of {loss} and a norm of {norm}; the weights \
             are as they were; try a smaller learning rate, or clip gradients by their norm"
        );
        Error::new(ErrorKind::Training, text)
    }

    /// What the model loses on a batch. Dropout drops nothing.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn loss(&self, batch: &Batch) -> Result<f64> {
        block_on(self.loss_async(batch))
    }

    /// [`loss`](Self::loss), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub async fn loss_async(&self, batch: &Batch) -> Result<f64> {
        self.lost(batch, Asked { wanted: Wanted::Loss, dropping: None }).await
    }

    /// What the model gives for `input` by the weights of now.
    ///
    /// # Errors
    ///
    /// Those of an engine's run.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, input: &Input) -> Result<Output> {
        block_on(self.run_async(input))
    }

    /// [`run`](Self::run), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_async(&self, input: &Input) -> Result<Output> {
        self.learner.run(input).await
    }

    /// The weights of now.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for them; `Lost`, where the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn weights(&self) -> Result<Weights> {
        block_on(self.weights_async())
    }

    /// [`weights`](Self::weights), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`weights`](Self::weights).
    pub async fn weights_async(&self) -> Result<Weights> {
        self.learner.weights().await
    }

    /// An engine of the model with the weights of now.
    ///
    /// # Errors
    ///
    /// Those of an engine.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn engine(&self, options: impl Into<Options>) -> Result<crate::engine::Engine> {
        crate::engine::Engine::with_options(self.model().clone(), &self.weights()?, options.into())
    }

    /// Sets what dropout is drawn from, 0 where nothing is said. Each update drops other elements; the same seed drops the same ones
    /// on every device, however a batch is cut. With none nothing is dropped. Whoever averages the gradients of several machines gives each a seed of its own.
    pub fn set_dropout_seed(&mut self, seed: Option<u64>) {
        self.seed = seed;
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.learner.model()
    }

    /// What it makes small.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Where it computes, and why there.
    pub fn device(&self) -> &DeviceInfo {
        self.learner.device()
    }

    /// What the next update drops.
    fn dropping(&self) -> Option<Dropping> {
        self.seed.map(|seed| Dropping::new(seed, self.updates + 1))
    }

    /// What the next update takes.
    async fn found(&self, batch: &Batch, wanted: Wanted) -> Result<Found> {
        let (asked, carried) = (Asked { wanted, dropping: self.dropping() }, self.carried());
        self.learner.gradients(&batch.input, &self.objective, &batch.targets, (asked, carried.as_ref())).await
    }

    async fn lost(&self, batch: &Batch, asked: Asked) -> Result<f64> {
        self.learner.loss(&batch.input, &self.objective, &batch.targets, asked).await
    }

    /// Gradients by the names of tensors and inputs.
    fn named(&self, found: Found) -> Result<Gradients> {
        let inputs = self.model().all_inputs()?;
        let input = |(index, array): (usize, _)| Some((inputs.get(index)?.name.clone(), array));
        let weights = found.weights.ok_or_else(|| Error::internal("gradients: expected those of the weights"))?;
        Ok(Gradients {
            loss: found.loss,
            weights: weights.sums(self.model())?.into_iter().map(|(name, named)| (name, named.data)).collect(),
            inputs: found.inputs.into_iter().filter_map(input).collect(),
            states: found.states,
        })
    }
}
