//! Activations by the names and the objects that Keras writes → ours.
//!
//! Keras 2 and 3 give one name two meanings (`hard_sigmoid`), so the
//! version is needed. Knows only layers that are just an activation.

use serde_json::Value;

use super::config::{Config, short, word, wrong};
use crate::cell::{Activation, Constant};
use crate::error::Result;

/// The version of Keras that wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Two,
    Three,
}

/// The names, as docs/formats.md lists them.
pub const NAMES: &[&str] = &[
    "linear",
    "sigmoid",
    "tanh",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "softplus",
    "softsign",
    "silu",
    "swish",
    "hard_silu",
    "hard_swish",
    "hard_sigmoid",
    "hard_tanh",
    "gelu",
    "exponential",
    "mish",
    "log_sigmoid",
    "hard_shrink",
    "soft_shrink",
    "tanh_shrink",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "softmax",
    "log_softmax",
];

fn named(name: &str, version: Version) -> Option<Activation> {
    let c = Constant::new;
    Some(match name {
        "linear" => Activation::Linear,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "relu" => Activation::Relu,
        "relu6" => Activation::Clamp { alpha: c(0.0), beta: c(6.0) },
        "leaky_relu" => Activation::LeakyRelu { alpha: c(0.2) },
        "elu" => Activation::Elu { alpha: c(1.0) },
        "selu" => Activation::Selu { alpha: c(1.673_263_2), gamma: c(1.050_701) },
        "celu" => Activation::Celu { alpha: c(1.0) },
        "softplus" => Activation::Softplus,
        "softsign" => Activation::Softsign,
        "silu" | "swish" => Activation::Silu,
        "hard_silu" | "hard_swish" => Activation::HardSilu { alpha: c(1.0 / 6.0), beta: c(0.5) },
        "hard_sigmoid" => match version {
            Version::Two => Activation::HardSigmoid { alpha: c(0.2), beta: c(0.5) },
            Version::Three => Activation::HardSigmoid { alpha: c(1.0 / 6.0), beta: c(0.5) },
        },
        // 0 up to -1, 1 from 1, a straight line between.
        "sparse_sigmoid" => Activation::HardSigmoid { alpha: c(0.5), beta: c(0.5) },
        "hard_tanh" => Activation::Clamp { alpha: c(-1.0), beta: c(1.0) },
        "gelu" => Activation::Gelu,
        "exponential" => Activation::Exponential,
        "mish" => Activation::Mish,
        "log_sigmoid" => Activation::LogSigmoid,
        "hard_shrink" => Activation::HardShrink { alpha: c(0.5) },
        "soft_shrink" => Activation::SoftShrink { alpha: c(0.5) },
        "tanh_shrink" => Activation::TanhShrink,
        "sparse_plus" => Activation::SparsePlus,
        "squareplus" => Activation::Squareplus { alpha: c(4.0) },
        "softmax" => Activation::Softmax,
        "log_softmax" => Activation::LogSoftmax,
        _ => return None,
    })
}

/// Takes the activation under `key`: a name, an object, or nothing, which is the identity.
pub(super) fn take(config: &mut Config, key: &str, default: Activation, version: Version) -> Result<Activation> {
    // Null is the identity. A missing key means Keras' default.
    match config.take_even_null(key) {
        None => Ok(default),
        Some(value) => of(&value, version).map_err(|e| e.at(key)),
    }
}

fn of(value: &Value, version: Version) -> Result<Activation> {
    let by_name = |name: &str| {
        named(name, version)
            .ok_or_else(|| wrong(format!("expected one of {}, got {}", NAMES.join(", "), short(&name.into()))))
    };
    match value {
        Value::Null => Ok(Activation::Linear),
        Value::String(name) => by_name(name),
        // Keras' own functions are names.
        Value::Object(keys) if word(keys, "class_name")? == "function" => Err(wrong(format!(
            "expected a function of Keras, got {}, which is Python code that no file holds",
            short(keys.get("config").unwrap_or(&Value::Null))
        ))),
        Value::Object(_) => {
            let config = Config::of(value)?;
            let place = config.place();
            object(config, version).map_err(|e| e.at(place))
        }
        other => Err(wrong(format!("expected a name, got {}", short(other)))),
    }
}

/// Reads a layer as a function.
fn object(mut config: Config, version: Version) -> Result<Activation> {
    config.dtype()?;
    let activation = layer(&mut config, version)?;
    config.finish()?;
    activation.ok_or_else(|| wrong("expected a layer that is an activation".into()))
}

/// Reads a layer that is just an activation; `None` if it is another layer.
pub(super) fn layer(config: &mut Config, version: Version) -> Result<Option<Activation>> {
    Ok(Some(match config.class() {
        "Activation" => match config.take("activation") {
            Some(value) => of(&value, version).map_err(|e| e.at("activation"))?,
            None => Activation::Linear,
        },
        "ReLU" => relu(config)?,
        "LeakyReLU" => {
            let (new, old) = (config.number("negative_slope")?, config.number("alpha")?);
            if new.is_some() && old.is_some() {
                return Err(wrong("expected negative_slope or alpha, got both".into()));
            }
            Activation::LeakyRelu { alpha: new.or(old).unwrap_or(0.3).into() }
        }
        "ELU" => Activation::Elu { alpha: config.number("alpha")?.unwrap_or(1.0).into() },
        "ThresholdedReLU" => Activation::ThresholdedRelu { alpha: config.number("theta")?.unwrap_or(1.0).into() },
        "Softmax" => Activation::Softmax,
        _ => return Ok(None),
    }))
}

fn relu(config: &mut Config) -> Result<Activation> {
    let slope = config.number("negative_slope")?.unwrap_or(0.0);
    let threshold = config.number("threshold")?.unwrap_or(0.0);
    let most = config.number("max_value")?;
    match (slope == 0.0, threshold == 0.0, most) {
        (true, true, None) => Ok(Activation::Relu),
        (true, true, Some(most)) if most >= 0.0 => Ok(Activation::Clamp { alpha: 0.0.into(), beta: most.into() }),
        (false, true, None) => Ok(Activation::LeakyRelu { alpha: slope.into() }),
        (true, false, None) if threshold > 0.0 => Ok(Activation::ThresholdedRelu { alpha: threshold.into() }),
        _ => Err(wrong(format!(
            "expected one of negative_slope, threshold (above 0) and max_value (not below 0), got {slope}, {threshold} and {most:?}"
        ))),
    }
}
