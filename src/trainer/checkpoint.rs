//! A trainer ⇄ a `.safetensors` file: a model that an engine runs, with all that its training needs to go on.
//!
//! Weights have their own names. Moments of the optimizer and carried states
//! have names that begin with `gatewave.training.`; all else is in the metadata.
//! Numbers of 64 bits are written as texts, so that each is read back exactly.

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
use crate::precision::Precision;
use crate::recipe::{PlateauState, Schedule};
use crate::rule::Moment;
use crate::weights::{Named, OF_TRAINING, Tensor, Tensors, Weights, non_finite};

/// The version of the format written here.
const VERSION: u64 = 1;

/// What the metadata say of a training.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u64,
    updates: u64,
    epochs: u64,
    /// The rate that the caller set.
    learning_rate: String,
    /// The settings of the update, by name.
    update: BTreeMap<String, String>,
    /// The schedule, before it observed anything.
    schedule: String,
    /// What a plateau has observed.
    plateau: Option<Recorded>,
    /// Whether all stacks carry their states.
    carry: bool,
    /// The rows that have been reset.
    anew: BTreeSet<usize>,
    /// The seed of dropout.
    dropout_seed: Option<String>,
    /// Where a fit is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fit: Option<Record>,
}

/// A [`PlateauState`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    best: Option<String>,
    bad: u64,
    cooldown: u64,
    rate: Option<String>,
}

/// The checked contents of a file.
struct Resumed {
    state: State,
    rate: f64,
    seed: Option<u64>,
    plateau: Option<PlateauState>,
    /// The elements and moments of each tensor.
    tensors: BTreeMap<String, (Vec<f32>, Vec<Vec<f32>>)>,
    carried: Option<Carried>,
}

impl State {
    /// Reads the state from a file's metadata.
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

/// Reads where the saved fit was from the file at `path`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read,
/// or [`ErrorKind::Weights`](crate::ErrorKind::Weights) if it is damaged or holds no fit.
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
    /// Saves the model with all that its training needs to go on: weights, moments, counters, the learning rate,
    /// the state of a schedule, carried states, and the seed of dropout. [`formats::open`](crate::formats::open)
    /// reads the file as a model. An existing file is replaced once the new one is whole.
    ///
    /// The seed of a [`Fit`](crate::train::Fit) is not saved. It gives
    /// each epoch its order by the number of the epoch, which goes on.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if a weight is not finite: nothing is written then;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot
    ///   be written, or its name does not end in `.safetensors`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        block_on(self.save_async(path))
    }

    /// Does the same as [`save`](Self::save) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`save`](Self::save).
    pub async fn save_async(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write(path.as_ref(), None, &Metadata::new()).await
    }

    /// Does the same as [`save`](Self::save), and adds `metadata`, which [`formats::metadata`] reads back.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`save_fitting`](Self::save_fitting).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save_with(&self, path: impl AsRef<Path>, metadata: &Metadata) -> Result<()> {
        block_on(self.save_with_async(path, metadata))
    }

    /// Does the same as [`save_with`](Self::save_with) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`save_fitting`](Self::save_fitting).
    pub async fn save_with_async(&self, path: impl AsRef<Path>, metadata: &Metadata) -> Result<()> {
        formats::check_keys(metadata)?;
        self.check_none_waits("save")?;
        self.write(path.as_ref(), None, metadata).await
    }

    /// Does the same as [`save`](Self::save), and adds where `fitting` is, for [`Fitting::resume`], and `metadata`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`save`](Self::save), or one of kind:
    ///
    /// - [`ErrorKind::Busy`](crate::ErrorKind::Busy) if a step was submitted
    ///   and not received: [`Fitting::settle`] receives those of a fit;
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if a key of
    ///   `metadata` is not free (see [`formats::write_with`]).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save_fitting(&self, path: impl AsRef<Path>, fitting: &Fitting, metadata: &Metadata) -> Result<()> {
        block_on(self.save_fitting_async(path, fitting, metadata))
    }

    /// Does the same as [`save_fitting`](Self::save_fitting) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`save_fitting`](Self::save_fitting).
    pub async fn save_fitting_async(
        &self,
        path: impl AsRef<Path>,
        fitting: &Fitting,
        metadata: &Metadata,
    ) -> Result<()> {
        formats::check_keys(metadata)?;
        self.check_none_waits("save")?;
        self.write(path.as_ref(), Some(fitting.record()), metadata).await
    }

    async fn write(&self, path: &Path, fit: Option<Record>, metadata: &Metadata) -> Result<()> {
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
            return Err(Error::new(ErrorKind::Io, "expected a name that ends in .safetensors").at(path.display()));
        }
        let weights = self.weights_async().await?.to_tensors(self.model())?;
        if let Some(found) = non_finite(&weights).first() {
            let text = format!("{found}; expected finite weights to save, nothing was written");
            return Err(Error::new(ErrorKind::Numeric, text).at(path.display()));
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
            plateau: self.schedule.as_ref().and_then(|schedule| schedule.state()).map(|seen| Recorded {
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

    /// Goes on where a training was [saved](Self::save). This trainer must have the same model and update.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::train::{Adam, Batch, Convention, Loss, Targets, Update};
    /// use gatewave::{Device, Gru, Input, Model, Trainer, Weights};
    /// use ndarray::Array3;
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Gru::new(1, 4));
    /// let begin = |seed| {
    ///     let weights = Weights::initial(&model, Convention::Torch, seed)?;
    ///     Trainer::new(&model, &weights, Loss::MeanSquared, Update::by(Adam::like(Convention::Torch)), Device::Cpu)
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
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read;
    /// - [`ErrorKind::Weights`](crate::ErrorKind::Weights) if it is
    ///   damaged or no checkpoint, or a weight in it is not finite;
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if it is of another model;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if it is of another update or schedule;
    /// - [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device is lost.
    ///
    /// The trainer is then as it was.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<()> {
        block_on(self.resume_async(path))
    }

    /// Does the same as [`resume`](Self::resume) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`resume`](Self::resume).
    pub async fn resume_async(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.resume_from(path.as_ref()).await
    }

    async fn resume_from(&mut self, path: &Path) -> Result<()> {
        self.end_dropped().await;
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
        self.runner.set(&all).await?;
        for (moment, values) in kept.iter().enumerate() {
            self.runner.set_moment(moment, values).await?;
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

    /// Returns moment number `moment` of each tensor, by name.
    async fn moment(&self, moment: usize) -> Result<BTreeMap<String, Named>> {
        let mut all = self.runner.moment(moment).await?.named(self.model())?;
        for (name, state) in &self.states {
            let data = state.moments[moment].clone();
            all.insert(name.clone(), Named { data, ..state.named.clone() });
        }
        Ok(all)
    }

    /// Reads the file at `path`, and checks that it is of this trainer's model and update.
    fn read(&self, path: &Path) -> Result<Resumed> {
        let safetensors::Contents { tensors: held, description, metadata, .. } = safetensors::read(path)?;
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
                return Err(damaged(format!("{name}: expected finite weights, got {bad}")).of_tensor(name));
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

    /// Returns the schedule in words, without what it has observed.
    fn schedule_in_words(&self) -> String {
        let fresh = |schedule: &Schedule| format!("{:?}", schedule.clone().resumed(PlateauState::default()));
        self.schedule.as_ref().map_or_else(|| "none".to_owned(), fresh)
    }

    /// Returns the state of a plateau, and checks that the schedule is this trainer's.
    fn plateau(&self, state: &State) -> Result<Option<PlateauState>> {
        let (own, other) = (self.schedule_in_words(), &state.schedule);
        if own != *other {
            let text = format!(
                "schedule: expected {own}, got {other}; give the trainer the checkpoint's before it resumes, and another after \
                 that"
            );
            return Err(Error::new(ErrorKind::Training, text));
        }
        let read = |seen: &Recorded| {
            let read = |text: &Option<String>| text.as_deref().map(number).transpose();
            let (best, rate) = (read(&seen.best)?, read(&seen.rate)?);
            Ok(PlateauState { best, bad: seen.bad, cooldown: seen.cooldown, rate })
        };
        state.plateau.as_ref().map(read).transpose()
    }

    /// Returns the states that stack `stack` goes on from, if there are any.
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

/// Returns the name of a carried state.
fn of_stack(stack: usize, state: &str) -> String {
    format!("{OF_TRAINING}states.{stack}.{state}")
}

/// Returns the elements of a tensor of this shape.
fn elements(held: &Tensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    match held.get(name) {
        Some(tensor) if tensor.shape() == shape => Ok(tensor.read().map_err(|e| e.at_tensor(name))?.into_owned()),
        Some(tensor) => Err(damaged(format!("{name}: expected {shape:?}, got {:?}", tensor.shape())).of_tensor(name)),
        None => Err(damaged(format!("{name}: expected a tensor {shape:?} of 32-bit floats, got none")).of_tensor(name)),
    }
}

/// Reads a number that a checkpoint holds as text.
pub(super) fn number<T>(text: &str) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse::<T>()
        .map_err(|e| damaged(format!("metadata {TRAINING_KEY}: expected a number, got {text:?}")).because(e))
}

/// Returns the first place where `got` differs from `expected`, with what each holds there.
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
