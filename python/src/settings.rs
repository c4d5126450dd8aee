//! The settings of a training, as JSON from the package → the library's types. A checkpoint keeps this text.

use gatewave::interface::OutputValue;
use gatewave::train::{
    Adam, AdamW, BinaryCrossEntropy, Clip, Convention, CrossEntropy, Huber, Loss, Objective, Optimizer, RmsProp,
    Schedule, Sgd, Term, Update,
};
use gatewave::{Error, ErrorKind, Model, Result};
use serde_json::{Map, Value};

use crate::ports::output_index;

/// An object whose keys are taken one by one; what is left in the end is unknown.
pub(crate) struct Keys {
    place: String,
    keys: Map<String, Value>,
}

impl Keys {
    /// Reads the object `json`, called `place` in errors.
    pub(crate) fn of_json(place: &str, json: &str) -> Result<Self> {
        let value = serde_json::from_str(json).map_err(|e| wrong(format!("{place}: {e}")))?;
        Self::of(place, value)
    }

    fn of(place: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(keys) => Ok(Self { place: place.to_owned(), keys }),
            other => Err(wrong(format!("{place}: expected settings by name, got {other}"))),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.keys.remove(key).filter(|value| !value.is_null())
    }

    fn unfit(&self, key: &str, wanted: &str, got: &Value) -> Error {
        wrong(format!("{}: {key}: expected {wanted}, got {got}", self.place))
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.unfit(key, "a number", &value))
    }

    pub(crate) fn whole(&mut self, key: &str) -> Result<Option<u64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| self.unfit(key, "a whole number, 0 or more", &value))
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.unfit(key, "true or false", &value))
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.unfit(key, "a text", &value)),
        }
    }

    pub(crate) fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(value) => Err(self.unfit(key, "a list", &value)),
        }
    }

    fn numbers(&mut self, key: &str) -> Result<Option<Vec<f64>>> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let number = |value: &Value| value.as_f64().ok_or_else(|| self.unfit(key, "numbers", value));
        list.iter().map(number).collect::<Result<_>>().map(Some)
    }

    fn pair(&mut self, key: &str) -> Result<Option<[f64; 2]>> {
        let Some(numbers) = self.numbers(key)? else { return Ok(None) };
        <[f64; 2]>::try_from(numbers).map(Some).map_err(|got| {
            let got = Value::from(got);
            self.unfit(key, "two numbers", &got)
        })
    }

    fn object(&mut self, key: &str) -> Result<Option<Self>> {
        self.take(key).map(|value| Self::of(key, value)).transpose()
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<()> {
        match self.keys.keys().next() {
            None => Ok(()),
            Some(key) => Err(wrong(format!("{}: {key}: unknown setting", self.place))),
        }
    }
}

/// How a model is trained.
pub(crate) struct Settings {
    pub(crate) like: Convention,
    /// The seed of first weights and of dropout.
    pub(crate) seed: u64,
    pub(crate) update: Update,
    pub(crate) objective: Objective,
    pub(crate) carry: bool,
    /// How the learning rate changes, and how that was said.
    pub(crate) schedule: Option<(Schedule, Value)>,
}

impl Settings {
    /// Reads the settings of a training of `model`.
    pub(crate) fn of(json: &str, model: &Model) -> Result<Self> {
        let mut keys = Keys::of_json("trainer", json)?;
        let like = convention(&mut keys)?;
        let seed = keys.whole("seed")?.unwrap_or(0);
        let optimizer = keys.object("optimizer")?.ok_or_else(|| wrong("optimizer: expected one, got none"))?;
        let update = Update::by(optimizer_of(optimizer, like)?).clip(clip(&mut keys)?);
        update.check()?;
        let losses = keys.list("losses")?.unwrap_or_default();
        let objective = objective(losses, model)?;
        let carry = keys.flag("carry")?.unwrap_or(false);
        let schedule = match keys.take("schedule") {
            Some(said) => Some((schedule_of(said.clone(), like)?, said)),
            None => None,
        };
        keys.finish()?;
        Ok(Self { like, seed, update, objective, carry, schedule })
    }
}

/// Reads a schedule: its words, the updates of the training, and how many of them raise the rate first.
pub(crate) fn schedule_of(said: Value, like: Convention) -> Result<Schedule> {
    let mut keys = Keys::of("schedule", said)?;
    let (words, updates) = (keys.text("words")?, keys.whole("updates")?.unwrap_or(0));
    let warm_up = keys.whole("warm_up")?.unwrap_or(0);
    keys.finish()?;
    if warm_up > 0 && warm_up >= updates {
        let text = format!("warm_up: expected fewer updates than all of the training ({updates}), got {warm_up}");
        return Err(wrong(text));
    }
    let schedule = match words {
        Some(words) => Schedule::of_words(&words, updates - warm_up, like).map_err(|e| e.at("schedule"))?,
        None => Schedule::constant(),
    };
    let schedule = if warm_up > 0 { schedule.after_warm_up(warm_up) } else { schedule };
    schedule.check()?;
    Ok(schedule)
}

/// Reads whose formulas a training follows.
fn convention(keys: &mut Keys) -> Result<Convention> {
    match keys.text("like")?.as_deref() {
        None | Some("torch") => Ok(Convention::Torch),
        Some("keras") => Ok(Convention::Keras),
        Some(other) => Err(wrong(format!("like: expected torch or keras, got {other:?}"))),
    }
}

fn clip(keys: &mut Keys) -> Result<Clip> {
    let all = [
        keys.number("clip_norm")?.map(|x| Clip::GlobalNorm(rounded(x))),
        keys.number("clip_tensor_norm")?.map(|x| Clip::TensorNorm(rounded(x))),
        keys.number("clip_value")?.map(|x| Clip::Value(rounded(x))),
    ];
    let mut said = all.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(_), Some(_)) => Err(wrong("clip_norm, clip_tensor_norm, clip_value: expected one of them, got several")),
        (clip, _) => Ok(clip.unwrap_or(Clip::None)),
    }
}

/// Sets a setting, if a value was given.
fn set<T>(setting: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *setting = said;
    }
}

fn optimizer_of(mut keys: Keys, like: Convention) -> Result<Optimizer> {
    let name = keys.text("name")?.unwrap_or_default();
    keys.place.clone_from(&name);
    let (rate, decay) = (keys.number("learning_rate")?, keys.number("weight_decay")?);
    macro_rules! common {
        ($optimizer:ident) => {{
            set(&mut $optimizer.learning_rate, rate);
            decay.map_or($optimizer, |decay| $optimizer.weight_decay(decay)).into()
        }};
    }
    macro_rules! adam {
        ($kind:ident) => {{
            let mut adam = $kind::like(like);
            set(&mut adam.betas, keys.pair("betas")?);
            set(&mut adam.epsilon, keys.number("epsilon")?);
            set(&mut adam.amsgrad, keys.flag("amsgrad")?);
            common!(adam)
        }};
    }
    let optimizer: Optimizer = match name.as_str() {
        "sgd" => {
            let mut sgd = Sgd::like(like);
            set(&mut sgd.momentum, keys.number("momentum")?);
            set(&mut sgd.dampening, keys.number("dampening")?);
            set(&mut sgd.nesterov, keys.flag("nesterov")?);
            common!(sgd)
        }
        "rmsprop" => {
            let mut rms = RmsProp::like(like);
            set(&mut rms.alpha, keys.number("alpha")?);
            set(&mut rms.epsilon, keys.number("epsilon")?);
            set(&mut rms.momentum, keys.number("momentum")?);
            set(&mut rms.centered, keys.flag("centered")?);
            common!(rms)
        }
        "adam" => adam!(Adam),
        "adamw" => adam!(AdamW),
        other => return Err(wrong(format!("optimizer: expected sgd, rmsprop, adam or adamw, got {other:?}"))),
    };
    keys.finish()?;
    Ok(optimizer)
}

/// Reads the losses of a training of `model`. One that names no output is that of each.
fn objective(losses: Vec<Value>, model: &Model) -> Result<Objective> {
    let mut terms: Vec<Term> = Vec::new();
    for value in losses {
        let mut keys = Keys::of("loss", value)?;
        let (output, weight) = (keys.text("output")?, rounded(keys.number("weight")?.unwrap_or(1.0)));
        let loss = keys.object("loss")?.ok_or_else(|| wrong("loss: expected one, got none"))?;
        let loss = loss_of(loss)?;
        keys.finish()?;
        let outputs = match output {
            None => all_outputs(model),
            Some(name) => vec![output_index(model, &name).map_err(|known| {
                wrong(format!("loss: expected an output of the model ({}), got {name}", known.join(", ")))
            })?],
        };
        for output in outputs {
            if terms.iter().any(|term| term.output == output) {
                return Err(wrong(format!("loss: expected one of an output, got two of output {output}")));
            }
            terms.push(Term::new(output, loss.clone(), weight));
        }
    }
    if terms.is_empty() {
        return Err(wrong(format!("loss: expected one of {}, got none", Loss::NAMES.join(", "))));
    }
    Ok(Objective::of_terms(terms))
}

/// Returns the indices of the outputs that are no final states.
fn all_outputs(model: &Model) -> Vec<usize> {
    let mut all: Vec<usize> = vec![0];
    for port in &model.all_ports().outputs {
        if let OutputValue::Another(index) = port.value
            && !all.contains(&index)
        {
            all.push(index);
        }
    }
    all
}

fn loss_of(mut keys: Keys) -> Result<Loss> {
    let name = keys.text("name")?.unwrap_or_default();
    keys.place.clone_from(&name);
    let mut loss = Loss::of_name(&name)
        .ok_or_else(|| wrong(format!("loss: expected one of {}, got {name:?}", Loss::NAMES.join(", "))))?;
    let float = |numbers: Vec<f64>| numbers.into_iter().map(rounded).collect::<Vec<f32>>();
    match &mut loss {
        Loss::CrossEntropy(CrossEntropy { ignore, class_weights, smoothing, .. }) => {
            if let Some(value) = keys.take("ignore") {
                *ignore = value.as_i64().ok_or_else(|| keys.unfit("ignore", "a whole number", &value))?;
            }
            *class_weights = keys.numbers("class_weights")?.map(float);
            set(smoothing, keys.number("smoothing")?.map(rounded));
        }
        Loss::BinaryCrossEntropy(BinaryCrossEntropy { class_weights, smoothing, .. }) => {
            *class_weights = keys.pair("class_weights")?.map(|pair| pair.map(rounded));
            set(smoothing, keys.number("smoothing")?.map(rounded));
        }
        Loss::Huber(Huber { delta, .. }) => set(delta, keys.number("delta")?.map(rounded)),
        _ => {}
    }
    keys.finish()?;
    Ok(loss)
}

/// Returns the nearest 32-bit float.
#[expect(clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
fn rounded(x: f64) -> f32 {
    x as f32
}

/// Makes the error of a setting.
pub(crate) fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Training, text)
}
