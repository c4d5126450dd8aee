//! A trainer ⇄ a `.safetensors` file: a model that an engine runs, with all that its training needs to go on.
//!
//! The weights stand under their own names. What an optimizer keeps of a tensor, and states that are carried, stand under
//! names that begin with `gatewave.training.`, and the rest in the metadata. Numbers of 64 bits are texts, so that each comes
//! back as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use ndarray::Array3;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Trainer;
use super::fitting::{Fitting, Record};
use crate::call::Batched;
use crate::engine::Carried;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::safetensors::{self, TRAINING_KEY};
use crate::formats::{self, Metadata, description};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::rule::Moment;
use crate::train::{PlateauState, Schedule};
use crate::weights::{Named, OF_TRAINING, Precision, Tensor, Tensors, Weights, non_finite};

/// The version of what is written here.
const VERSION: u64 = 1;

/// What the metadata says of a training.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u64,
    updates: u64,
    epochs: u64,
    /// What was set by hand.
    learning_rate: String,
    /// The settings of the update, by name.
    update: BTreeMap<String, String>,
    /// The schedule, before anything was seen.
    schedule: String,
    /// What a plateau has seen.
    plateau: Option<Seen>,
    /// Whether all stacks carry their states.
    carry: bool,
    /// The rows that have been reset.
    anew: BTreeSet<usize>,
    /// What dropout is drawn from.
    dropout_seed: Option<String>,
    /// Where a fit stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fit: Option<Record>,
}

/// A [`PlateauState`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    best: Option<String>,
    bad: u64,
    cooldown: u64,
    rate: Option<String>,
}

/// What a file holds, checked.
struct Resumed {
    state: State,
    rate: f64,
    seed: Option<u64>,
    plateau: Option<PlateauState>,
    /// Of each tensor its elements and moments.
    tensors: BTreeMap<String, (Vec<f32>, Vec<Vec<f32>>)>,
    carried: Option<Carried>,
}

impl State {
    /// What a file's metadata say.
    fn of(metadata: &Metadata) -> Result<Self> {
        let Some(training) = metadata.get(TRAINING_KEY) else {
            let text = format!(
                "expected a checkpoint (metadata under {TRAINING_KEY}), got a file without; Trainer::save writes one"
            );
            return Err(Error::new(ErrorKind::Weights, text));
        };
        let version = json(training, TRAINING_KEY)?.get("version").and_then(Value::as_u64);
        if version != Some(VERSION) {
            let got = version.map_or("none".into(), |version| version.to_string());
            return Err(damaged(format!("metadata {TRAINING_KEY}: expected version {VERSION}, got {got}")));
        }
        serde_json::from_str(training).map_err(|e| damaged(format!("metadata {TRAINING_KEY}: {e}")))
    }
}

/// Where the fit stood that the file at `path` was saved with.
///
/// # Errors
///
/// Kind `Io`, where the file cannot be read; `Weights`, where it is damaged, or says nothing of a fit.
pub(super) fn recorded(path: &Path) -> Result<Record> {
    State::of(&safetensors::read(path)?.metadata)?.fit.ok_or_else(|| {
        let text = "expected a checkpoint of a fit, got one of a trainer alone; Trainer::save_fitting writes one";
        Error::new(ErrorKind::Weights, text)
    })
}

fn json(text: &str, key: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| damaged(format!("metadata {key}: {e}")))
}

impl Trainer {
    /// Saves the model with all that its training needs to go on: weights, moments, counters, the learning rate, what a
    /// schedule has seen, states that are carried, the seed of
    /// dropout. [`formats::open`](crate::formats::open) reads the file as a model. A file that
    /// was there is replaced when the new one is whole.
    ///
    /// The seed of a [`Fit`](crate::Fit) is no part of it: it gives each epoch its order by the number of the epoch, which goes on.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where a weight is not finite: nothing is written then; `Io`, where the file cannot be written, or its
    /// name does not end in `.safetensors`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: &Path) -> Result<()> {
        block_on(self.save_async(path))
    }

    /// [`save`](Self::save), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn save_async(&self, path: &Path) -> Result<()> {
        self.write(path, None, &Metadata::new()).await
    }

    /// [`save`](Self::save), with where `fitting` stands, which [`Fitting::resume`] reads, and what the file says beside the model.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save); kind `Training`, where a step was submitted and not received: [`Fitting::settle`] receives those of a
    /// fit; `Model`, where a key of `metadata` is not free (see [`formats::write_with`]).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save_fitting(&self, path: &Path, fitting: &Fitting, metadata: &Metadata) -> Result<()> {
        block_on(self.save_fitting_async(path, fitting, metadata))
    }

    /// [`save_fitting`](Self::save_fitting), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`save_fitting`](Self::save_fitting).
    pub async fn save_fitting_async(&self, path: &Path, fitting: &Fitting, metadata: &Metadata) -> Result<()> {
        formats::check_keys(metadata)?;
        self.check_none_waits("save")?;
        self.write(path, Some(fitting.record()), metadata).await
    }

    async fn write(&self, path: &Path, fit: Option<Record>, metadata: &Metadata) -> Result<()> {
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
            return Err(Error::new(ErrorKind::Io, "expected a name that ends in .safetensors").at(path.display()));
        }
        let weights = self.weights_async().await?.to_tensors(self.model())?;
        if let Some(found) = non_finite(&weights).first() {
            let text = format!("{found}; expected finite weights to save, nothing was written");
            return Err(Error::new(ErrorKind::Training, text).at(path.display()));
        }
        let mut kept = Tensors::new();
        for (n, moment) in self.update.rule().moments().iter().enumerate() {
            for (name, named) in self.moment(n).await? {
                kept.insert(format!("{OF_TRAINING}{}.{name}", moment.name()), Tensor::new(named.shape, named.data));
            }
        }
        let carried = self.carried();
        let (states, anew) = carried.as_ref().map(Carried::parts).unzip();
        let states = states.unwrap_or_default();
        for (stack, (h, c)) in states.iter().enumerate().filter_map(|(stack, states)| Some((stack, states.as_ref()?))) {
            for (state, values) in [("h", Some(h)), ("c", c.as_ref())] {
                let Some(values) = values else { continue };
                kept.insert(of_stack(stack, state), Tensor::new(values.shape(), values.iter().copied().collect()));
            }
        }
        let text = |x: f64| x.to_string();
        let state = State {
            version: VERSION,
            updates: self.updates,
            epochs: self.epochs,
            learning_rate: text(self.rate),
            update: self.update.settings().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            schedule: self.schedule_in_words(),
            plateau: self.schedule.as_ref().and_then(|schedule| schedule.state()).map(|seen| Seen {
                best: seen.best.map(text),
                bad: seen.bad,
                cooldown: seen.cooldown,
                rate: seen.rate.map(text),
            }),
            carry: self.carry,
            anew: anew.cloned().unwrap_or_default(),
            dropout_seed: self.seed.map(|seed| seed.to_string()),
            fit,
        };
        let mut metadata = metadata.clone();
        metadata.insert(TRAINING_KEY.to_owned(), serde_json::to_string(&state).expect("plain data"));
        formats::write_beside(path, self.model(), weights, Precision::F32, (&metadata, kept))
    }

    /// Goes on where [`save`](Self::save) left a training: this trainer is of the same model and update.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Adam, Batch, Device, Gru, Input, Like, Loss, Model, Targets, Trainer, Update, Weights};
    /// use ndarray::Array3;
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Gru::new(1, 4));
    /// let begin = |seed| {
    ///     let weights = Weights::initial(&model, Like::Torch, seed)?;
    ///     Trainer::new(model.clone(), &weights, Loss::MeanSquared, Update::by(Adam::like(Like::Torch)), Device::Cpu)
    /// };
    /// let batch = Batch::new(Input::features(Array3::ones((2, 5, 1))), Targets::values(Array3::zeros((2, 5, 4))));
    /// let path = std::env::temp_dir().join(format!("gatewave-{}-doc.safetensors", std::process::id()));
    /// let mut trainer = begin(0)?;
    /// trainer.step(&batch)?;
    /// trainer.save(&path)?;
    /// let mut resumed = begin(1)?;
    /// resumed.resume(&path)?;
    /// assert_eq!(resumed.step(&batch)?, trainer.step(&batch)?);
    /// # std::fs::remove_file(path).expect("it is there");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Kind `Io`, where the file cannot be read; `Weights`, where it is damaged, no checkpoint, or a weight of it is not finite;
    /// `Model`, where it is of another model; `Training`, where it is of another update or schedule; `Lost`, where the device is
    /// lost. The trainer is then as it was.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: &Path) -> Result<()> {
        block_on(self.resume_async(path))
    }

    /// [`resume`](Self::resume), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub async fn resume_async(&mut self, path: &Path) -> Result<()> {
        let Resumed { state, rate, seed, plateau, tensors, carried } =
            self.read(path).map_err(|e| if e.kind() == ErrorKind::Io { e } else { e.at(path.display()) })?;
        let moments = self.update.rule().moments().len();
        let tensor = |name: &String, data: Vec<f32>| (name.clone(), Tensor::new(self.shapes[name].clone(), data));
        let (mut all, mut kept) = (Tensors::new(), vec![Tensors::new(); moments]);
        for (name, (weights, moments)) in &tensors {
            all.extend([tensor(name, weights.clone())]);
            kept.iter_mut().zip(moments).for_each(|(all, own)| all.extend([tensor(name, own.clone())]));
        }
        let all = Weights::from_tensors(self.model(), all)?;
        let kept: Vec<Weights> =
            kept.into_iter().map(|tensors| Weights::of_tensors(self.model(), tensors)).collect::<Result<_>>()?;
        self.learner.set(&all).await?;
        for (moment, values) in kept.iter().enumerate() {
            self.learner.set_moment(moment, values).await?;
        }
        for (name, (weights, moments)) in tensors {
            if let Some(own) = self.states.get_mut(&name) {
                (own.named.data, own.moments) = (weights, moments);
            }
        }
        (self.updates, self.epochs, self.rate, self.seed) = (state.updates, state.epochs, rate, seed);
        self.schedule = self.schedule.take().map(|schedule| match plateau {
            Some(seen) => schedule.resumed(seen),
            None => schedule,
        });
        (self.carry, self.carried) = (state.carry, carried.map(std::sync::Mutex::new));
        Ok(())
    }

    /// What the optimizer keeps of each tensor as moment `moment`, by name.
    async fn moment(&self, moment: usize) -> Result<BTreeMap<String, Named>> {
        let mut all = self.learner.moment(moment).await?.named(self.model())?;
        for (name, state) in &self.states {
            let data = state.moments[moment].clone();
            all.insert(name.clone(), Named { data, ..state.named.clone() });
        }
        Ok(all)
    }

    /// What the file at `path` holds, where it is of this trainer's model and update.
    fn read(&self, path: &Path) -> Result<Resumed> {
        let safetensors::Contents { tensors: held, description, metadata } = safetensors::read(path)?;
        let state = State::of(&metadata)?;
        let own = json(&description::to_json(self.model()), safetensors::MODEL_KEY)?;
        let other = json(description.as_deref().unwrap_or("null"), safetensors::MODEL_KEY)?;
        if let Some((place, expected, got)) = difference("model", &own, &other) {
            let text = format!("{place}: expected {expected}, got {got}; the checkpoint is of another model");
            return Err(Error::new(ErrorKind::Model, text));
        }
        self.same_update(&state)?;
        let plateau = self.plateau(&state)?;
        let rate = number(&state.learning_rate)?;
        let seed = state.dropout_seed.as_deref().map(number).transpose()?;
        let mut tensors = BTreeMap::new();
        for (name, shape) in &self.shapes {
            let weights = elements(&held, name, shape)?;
            if let Some(bad) = weights.iter().find(|w| !w.is_finite()) {
                return Err(damaged(format!("{name}: expected finite weights, got {bad}")));
            }
            let of = |moment: &Moment| elements(&held, &format!("{OF_TRAINING}{}.{name}", moment.name()), shape);
            let moments = self.update.rule().moments().iter().map(of).collect::<Result<Vec<_>>>()?;
            tensors.insert(name.clone(), (weights, moments));
        }
        let mut carried = Carried::of(self.model(), state.carry);
        if let Some(carried) = &mut carried {
            let states = (0..self.model().stacks().count()).map(|stack| self.states(&held, stack));
            carried.set(states.collect::<Result<Vec<_>>>()?, state.anew.clone());
        }
        Ok(Resumed { state, rate, seed, plateau, tensors, carried })
    }

    fn same_update(&self, state: &State) -> Result<()> {
        let own = self.update.settings();
        let none = "none".to_owned();
        for (name, expected) in &own {
            let got = state.update.get(*name).unwrap_or(&none);
            if got != expected {
                let text = format!(
                    "{name}: expected {expected}, got {got}; the checkpoint is of another update, make the trainer with that \
                     one's settings"
                );
                return Err(Error::new(ErrorKind::Training, text));
            }
        }
        Ok(())
    }

    /// The schedule without what it has seen.
    fn schedule_in_words(&self) -> String {
        let fresh = |schedule: &Schedule| format!("{:?}", schedule.clone().resumed(PlateauState::default()));
        self.schedule.as_ref().map_or_else(|| "none".to_owned(), fresh)
    }

    /// What a plateau has seen, of the schedule of this trainer.
    fn plateau(&self, state: &State) -> Result<Option<PlateauState>> {
        let (own, other) = (self.schedule_in_words(), &state.schedule);
        if own != *other {
            let text = format!(
                "schedule: expected {own}, got {other}; give the trainer the checkpoint's before it resumes, and another after \
                 that"
            );
            return Err(Error::new(ErrorKind::Training, text));
        }
        let read = |seen: &Seen| {
            let read = |text: &Option<String>| text.as_deref().map(number).transpose();
            let (best, rate) = (read(&seen.best)?, read(&seen.rate)?);
            Ok(PlateauState { best, bad: seen.bad, cooldown: seen.cooldown, rate })
        };
        state.plateau.as_ref().map(read).transpose()
    }

    /// The states that stack `stack` goes on from, if there are any.
    fn states(&self, held: &Tensors, stack: usize) -> Result<Option<Batched>> {
        let Some(r) = self.model().stacks().nth(stack) else { return Ok(None) };
        let (name, rows) = (of_stack(stack, "h"), r.num_layers * r.directions());
        let Some(batch) = held.shape(&name).and_then(|shape| shape.get(1).copied()) else { return Ok(None) };
        let read = |state: &str, size: usize| -> Result<Array3<f32>> {
            let elements = elements(held, &of_stack(stack, state), &[rows, batch, size])?;
            Ok(Array3::from_shape_vec((rows, batch, size), elements).expect("a checked shape"))
        };
        let c = (r.cell.states() > 1).then(|| read("c", r.hidden_size)).transpose()?;
        Ok(Some((read("h", r.state_size())?, c)))
    }
}

/// The name of a state that is carried.
fn of_stack(stack: usize, state: &str) -> String {
    format!("{OF_TRAINING}states.{stack}.{state}")
}

/// The elements of a tensor, which is of this shape.
fn elements(held: &Tensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    match held.get(name) {
        Some(tensor) if tensor.shape() == shape => Ok(tensor.read().map_err(|e| e.at(name))?.into_owned()),
        Some(tensor) => Err(damaged(format!("{name}: expected {shape:?}, got {:?}", tensor.shape()))),
        None => Err(damaged(format!("{name}: expected a tensor {shape:?} of 32-bit floats, got none"))),
    }
}

/// The number that a checkpoint holds as a word, so that it comes back as it was.
pub(super) fn number<T>(text: &str) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse::<T>()
        .map_err(|e| damaged(format!("metadata {TRAINING_KEY}: expected a number, got {text:?}")).because(e))
}

/// The first place where `got` is not as `expected`, with what stands there in each.
fn difference(place: &str, expected: &Value, got: &Value) -> Option<(String, String, String)> {
    match (expected, got) {
        (Value::Object(own), Value::Object(other)) => {
            let keys: BTreeSet<&String> = own.keys().chain(other.keys()).collect();
            keys.into_iter().find_map(|key| {
                let of = |values: &serde_json::Map<String, Value>| values.get(key).cloned().unwrap_or_default();
                difference(&format!("{place}.{key}"), &of(own), &of(other))
            })
        }
        (Value::Array(own), Value::Array(other)) if own.len() == other.len() => {
            let pairs = own.iter().zip(other).enumerate();
            pairs.into_iter().find_map(|(at, (own, other))| difference(&format!("{place}[{at}]"), own, other))
        }
        (Value::Array(own), Value::Array(other)) => {
            Some((place.to_owned(), format!("{} of them", own.len()), format!("{}", other.len())))
        }
        _ if expected == got => None,
        _ => {
            let text = |value: &Value| if value.is_null() { "none".to_owned() } else { value.to_string() };
            Some((place.to_owned(), text(expected), text(got)))
        }
    }
}

fn damaged(text: String) -> Error {
    Error::new(ErrorKind::Weights, text)
}
