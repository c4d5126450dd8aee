//! A model under training: steps, and gradients as one flat array that machines can sum.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatewave::formats::safetensors::TRAINING_KEY;
use gatewave::formats::{self, Metadata, description};
use gatewave::train::{Batch, Gradients};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Error, ErrorKind, Model, NamedTensors, Result, Values, Weights};
use ndarray::Array1;
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::arrays::{self, Given};
use crate::errors::compute;
use crate::fork::Kept;
use crate::model::{Engine, Options, builder};
use crate::settings::{Settings, schedule_of, wrong};

/// The key of our settings in a checkpoint's metadata.
const KEY: &str = "gatewave.python";

/// A model under training. Threads may share it: updates take turns.
#[pyclass(frozen, module = "gatewave._native")]
pub(crate) struct Trainer {
    inner: Kept<Mutex<gatewave::Trainer>>,
    /// What its model's file says beside the model, which the trained one keeps.
    metadata: Metadata,
    settings: String,
    /// How the learning rate changes, if a fit said so: a checkpoint keeps it beside the settings.
    schedule: Mutex<Option<Value>>,
    /// The names and shapes of the tensors that are trained, in the order of a flat gradient.
    layout: Vec<(String, Vec<usize>)>,
}

impl Trainer {
    pub(crate) fn lock(&self) -> MutexGuard<'_, gatewave::Trainer> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a trainer that begins at `weights`, or where its settings say.
    fn begin(
        model: Model,
        weights: Option<Weights>,
        metadata: Metadata,
        settings: String,
        device: &str,
    ) -> Result<Self> {
        let Settings { like, seed, update, objective, carry, schedule } = Settings::of(&settings, &model)?;
        if model.all_ports().takes_weights() {
            let text = "expected a model that holds its weights, got one that takes them with each call";
            return Err(Error::new(ErrorKind::Model, text));
        }
        let weights = match weights {
            Some(weights) => weights,
            None => Weights::initial(&model, like, seed)?,
        };
        let (options, _) = builder(&(device.to_owned(), "f32".to_owned(), None))?;
        let mut inner = gatewave::Trainer::new(model, &weights, objective, update, options)?;
        inner.set_dropout_seed(Some(seed));
        if carry {
            inner.carry(true)?;
        }
        let said = schedule.as_ref().map(|(_, said)| said.clone());
        if let Some((schedule, _)) = schedule {
            inner.set_schedule(schedule)?;
        }
        let layout = inner.gradient_shapes().into_iter().collect();
        Ok(Self { inner: Kept::new(Mutex::new(inner)), metadata, settings, schedule: Mutex::new(said), layout })
    }

    /// Sets how the learning rate of `inner`, this trainer, changes in a training of `updates` updates.
    pub(crate) fn schedule(
        &self,
        inner: &mut gatewave::Trainer,
        words: Option<String>,
        updates: u64,
        warm_up: u64,
    ) -> Result<()> {
        if words.is_none() && warm_up == 0 {
            return Ok(());
        }
        let like = Settings::of(&self.settings, inner.model())?.like;
        let said = json!({"words": words, "updates": updates, "warm_up": warm_up});
        inner.set_schedule(schedule_of(said.clone(), like)?)?;
        self.remember(Some(said));
        Ok(())
    }

    fn remember(&self, schedule: Option<Value>) {
        *self.schedule.lock().unwrap_or_else(PoisonError::into_inner) = schedule;
    }

    /// Returns the settings with the schedule among them.
    fn all_settings(&self) -> Result<String> {
        let schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Value = serde_json::from_str(&self.settings).map_err(|e| wrong(e.to_string()))?;
        if let (Some(schedule), Value::Object(keys)) = (schedule, &mut all) {
            keys.insert("schedule".to_owned(), schedule);
        }
        Ok(all.to_string())
    }

    /// Returns the number of elements of a flat gradient.
    fn elements(&self) -> usize {
        self.layout.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Lays the gradients side by side.
    fn flat(&self, gradients: &Gradients) -> Vec<f32> {
        let mut flat = Vec::with_capacity(self.elements());
        for (name, _) in &self.layout {
            flat.extend(gradients.weights.get(name).into_iter().flatten());
        }
        flat
    }

    /// Cuts a flat gradient into the gradients of tensors.
    fn cut(&self, flat: &[f32]) -> Result<BTreeMap<String, Vec<f32>>> {
        if flat.len() != self.elements() {
            let text = format!("gradients: expected {} elements, as layout says, got {}", self.elements(), flat.len());
            return Err(Error::new(ErrorKind::Shape, text));
        }
        let mut rest = flat;
        let cut = |(name, shape): &(String, Vec<usize>)| {
            let (own, others) = rest.split_at(shape.iter().product());
            rest = others;
            (name.clone(), own.to_vec())
        };
        Ok(self.layout.iter().map(cut).collect())
    }
}

fn batch(trainer: &gatewave::Trainer, tensors: &NamedTensors) -> Result<Batch> {
    Batch::named(trainer.model(), trainer.objective().clone(), tensors)
}

#[pymethods]
impl Trainer {
    /// Begins at the weights of `engine`.
    #[staticmethod]
    fn of_engine(py: Python<'_>, engine: &Engine, settings: String, device: &str) -> PyResult<Self> {
        let held = Arc::clone(&*engine.held);
        compute(py, || {
            let metadata = held.metadata.clone();
            Self::begin(held.model().clone(), Some(held.weights()?), metadata, settings, device)
        })
    }

    /// Draws the weights of the model that `json` describes.
    #[staticmethod]
    fn of_description(py: Python<'_>, json: &str, settings: String, device: &str) -> PyResult<Self> {
        compute(py, || {
            let model = description::from_json(json, &Tensors::new())?;
            Self::begin(model, None, Metadata::new(), settings, device)
        })
    }

    /// Goes on where the training of a file was saved, by its own settings unless others are given.
    #[staticmethod]
    fn of_checkpoint(py: Python<'_>, path: PathBuf, settings: Option<String>, device: &str) -> PyResult<Self> {
        compute(py, || {
            let (model, weights) = formats::open(&path)?;
            let mut metadata = formats::metadata(&path)?;
            metadata.remove(TRAINING_KEY);
            let own = metadata.remove(KEY);
            let settings = settings.or(own).ok_or_else(|| {
                let text =
                    "expected a checkpoint of this package, got one without its settings; give loss and optimizer";
                wrong(text).at(path.display())
            })?;
            let trainer = Self::begin(model, Some(weights), metadata, settings, device)?;
            trainer.lock().resume(&path)?;
            Ok(trainer)
        })
    }

    /// Trains on one batch. Returns its loss before the update, the norm of its gradients, and the update's number.
    fn step(&self, py: Python<'_>, given: Given<'_>) -> PyResult<(f64, f64, u64)> {
        let tensors = arrays::named(&given)?;
        compute(py, || {
            let mut trainer = self.lock();
            let batch = batch(&trainer, &tensors)?;
            let trained = trainer.step(&batch)?;
            Ok((trained.loss, trained.norm, trained.update))
        })
    }

    /// Computes the loss of a batch and its flat gradient.
    fn gradients<'py>(&self, py: Python<'py>, given: Given<'py>) -> PyResult<(f64, Bound<'py, PyAny>)> {
        let tensors = arrays::named(&given)?;
        let (loss, flat) = compute(py, || {
            let trainer = self.lock();
            let gradients = trainer.gradients(&batch(&trainer, &tensors)?)?;
            Ok((gradients.loss, self.flat(&gradients)))
        })?;
        Ok((loss, arrays::array(py, Values::F32(Array1::from_vec(flat).into_dyn()))?))
    }

    /// Updates the weights by a flat gradient. Returns its norm and the update's number.
    fn apply(&self, py: Python<'_>, flat: Bound<'_, PyAny>, loss: f64) -> PyResult<(f64, u64)> {
        let flat = arrays::floats("gradients", &flat)?;
        compute(py, || {
            let flat: Vec<f32> = flat.iter().copied().collect();
            let trained = self.lock().apply(&Gradients::of_weights(loss, self.cut(&flat)?))?;
            Ok((trained.norm, trained.update))
        })
    }

    /// Computes the loss of a batch; dropout drops nothing.
    fn loss(&self, py: Python<'_>, given: Given<'_>) -> PyResult<f64> {
        let tensors = arrays::named(&given)?;
        compute(py, || {
            let trainer = self.lock();
            trainer.loss(&batch(&trainer, &tensors)?)
        })
    }

    /// Runs the model with its present weights.
    fn run<'py>(&self, py: Python<'py>, given: Given<'py>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let tensors = arrays::named(&given)?;
        let results = compute(py, || {
            let trainer = self.lock();
            let output = trainer.run(&trainer.model().named_input(&tensors)?)?;
            trainer.model().named_output(&output)
        })?;
        arrays::arrays(py, results)
    }

    /// The names and shapes of what is trained, in the order of a flat gradient.
    fn layout(&self) -> Vec<(String, Vec<usize>)> {
        self.layout.clone()
    }

    /// The settings, as they were given.
    fn settings(&self) -> &str {
        &self.settings
    }

    /// An engine with a copy of the present weights.
    fn engine(&self, py: Python<'_>, options: Options) -> PyResult<Engine> {
        compute(py, || {
            let trainer = self.lock();
            Engine::of(trainer.model(), &trainer.weights()?, self.metadata.clone(), &options)
        })
    }

    /// Copies of the present weights by name.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let copies = compute(py, || {
            let trainer = self.lock();
            let tensors = trainer.weights()?.to_tensors(trainer.model())?;
            let copy = |(name, tensor): (&str, &Tensor)| Ok((name.to_owned(), Values::F32(tensor.to_array()?)));
            tensors.iter().map(copy).collect::<Result<Vec<_>>>()
        })?;
        arrays::arrays(py, copies)
    }

    /// Writes all that the training needs to go on.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        compute(py, || {
            let mut metadata = self.metadata.clone();
            metadata.retain(|key, _| key.starts_with("gatewave."));
            metadata.insert(KEY.to_owned(), self.all_settings()?);
            self.lock().save_with(&path, &metadata)
        })
    }

    /// Sets how the learning rate changes in `updates` updates. The first `warm_up` of them raise it.
    fn set_schedule(&self, py: Python<'_>, words: Option<String>, updates: u64, warm_up: u64) -> PyResult<()> {
        compute(py, || self.schedule(&mut self.lock(), words, updates, warm_up))
    }

    fn set_learning_rate(&self, py: Python<'_>, rate: f64) -> PyResult<()> {
        compute(py, || {
            if !(rate.is_finite() && rate >= 0.0) {
                return Err(wrong(format!("learning_rate: expected a finite number, 0 or more, got {rate}")));
            }
            self.lock().set_learning_rate(rate);
            self.remember(None);
            Ok(())
        })
    }

    /// The learning rate of the next update, and the updates and epochs so far.
    fn position(&self, py: Python<'_>) -> PyResult<(f64, u64, u64)> {
        compute(py, || {
            let trainer = self.lock();
            Ok((trainer.learning_rate(), trainer.updates(), trainer.epochs()))
        })
    }

    /// Counts an epoch, and tells the schedule its loss.
    fn end_epoch(&self, py: Python<'_>, loss: f64) -> PyResult<()> {
        compute(py, || {
            self.lock().end_epoch(loss);
            Ok(())
        })
    }

    /// Forgets carried states.
    fn reset_states(&self, py: Python<'_>) -> PyResult<()> {
        compute(py, || {
            self.lock().reset_states();
            Ok(())
        })
    }

    /// The device: its name, what is behind it, why it was taken, and whether it is the CPU.
    fn device(&self, py: Python<'_>) -> PyResult<(String, String, String, bool)> {
        compute(py, || {
            let trainer = self.lock();
            let device = trainer.device();
            Ok((device.name().to_owned(), device.detail().to_owned(), device.reason().to_owned(), device.is_cpu()))
        })
    }

    /// The inputs of a call.
    fn inputs(&self, py: Python<'_>) -> PyResult<Vec<crate::ports::Input>> {
        compute(py, || crate::ports::inputs(self.lock().model()))
    }

    /// The outputs of a call.
    fn outputs(&self, py: Python<'_>) -> PyResult<Vec<crate::ports::Output>> {
        compute(py, || crate::ports::outputs(self.lock().model()))
    }

    /// The description as JSON.
    fn description(&self, py: Python<'_>) -> PyResult<String> {
        compute(py, || Ok(description::to_json(self.lock().model())))
    }
}
