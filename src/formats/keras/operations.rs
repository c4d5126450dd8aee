//! Operations that Keras 3 writes as layers: sums and products
//! of tensors and numbers, functions, and computations of masks.
//!
//! Knows the meaning of each operation; knows no configuration of a layer.

use serde_json::{Map, Value};

use super::across::{self, Counted};
use super::builder::Builder;
use super::config::wrong;
use super::items::item_of_mask;
use super::joins::is_time;
use super::masks::Mask;
use super::values::{Flow, Known};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::Join;

/// The supported operations.
const CLASSES: &[&str] = &[
    "Add",
    "All",
    "Amax",
    "Amin",
    "Any",
    "Cast",
    "Concatenate",
    "ConvertToTensor",
    "Copy",
    "Divide",
    "Exp",
    "ExpandDims",
    "GetItem",
    "Identity",
    "LogSigmoid",
    "LogicalAnd",
    "LogicalOr",
    "Max",
    "Maximum",
    "Mean",
    "Min",
    "Multiply",
    "Negative",
    "NotEqual",
    "OnesLike",
    "Relu",
    "Sigmoid",
    "Silu",
    "Softplus",
    "Softsign",
    "Split",
    "Subtract",
    "Sum",
    "Tanh",
    "TrueDivide",
    "ZerosLike",
];

/// An operation, and its arguments at construction.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    class: String,
    keys: Map<String, Value>,
}

/// The operations that Keras 2 writes as functions of TensorFlow.
const FUNCTIONS: &[(&str, &str)] = &[
    ("__operators__.add", "Add"),
    ("math.add", "Add"),
    ("math.subtract", "Subtract"),
    ("math.multiply", "Multiply"),
    ("math.truediv", "TrueDivide"),
    ("math.divide", "TrueDivide"),
    ("math.maximum", "Maximum"),
    ("math.reduce_max", "Max"),
    ("math.reduce_mean", "Mean"),
    ("math.reduce_min", "Min"),
    ("math.reduce_sum", "Sum"),
    ("math.negative", "Negative"),
    ("math.tanh", "Tanh"),
    ("math.sigmoid", "Sigmoid"),
    ("math.exp", "Exp"),
    ("nn.relu", "Relu"),
    ("__operators__.getitem", "GetItem"),
    ("concat", "Concatenate"),
    ("expand_dims", "ExpandDims"),
];

/// An argument of an operation.
#[derive(Debug)]
pub(super) enum Operand {
    Tensor(Known),
    Constant(Value),
}

impl Operation {
    /// Whether a layer with `keys` is an operation. `.h5` files have
    /// no modules; there, only layers have the key `trainable`.
    pub(super) fn is(keys: &Map<String, Value>) -> bool {
        let class = keys.get("class_name").and_then(Value::as_str).unwrap_or_default();
        match keys.get("module").and_then(Value::as_str) {
            Some(module) if module.contains(".ops.") => module.starts_with("keras."),
            _ if matches!(class, "TFOpLambda" | "SlicingOpLambda") => true,
            None => {
                let layer = keys.get("config").is_some_and(|config| config.get("trainable").is_some());
                CLASSES.contains(&class) && !layer
            }
            Some(_) => false,
        }
    }

    pub(super) fn of(keys: &Map<String, Value>) -> Self {
        let text = keys.get("class_name").and_then(Value::as_str).unwrap_or_default();
        let keys = keys.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
        let function = keys.get("function").and_then(Value::as_str).unwrap_or_default();
        let class = FUNCTIONS.iter().find(|(name, _)| *name == function).map_or(text, |(_, class)| class);
        Self { class: class.to_owned(), keys }
    }

    /// Returns the operation over `axis`.
    pub(super) fn over(&self, axis: &Value) -> Self {
        let mut over = self.clone();
        over.keys.insert("axis".into(), axis.clone());
        over
    }

    fn is_last_axis(&self) -> bool {
        let axis = self.keys.get("axis");
        axis.is_some_and(|axis| *axis == -1 || *axis == serde_json::json!([-1]))
    }

    /// Whether it is over the steps of `tensor`.
    fn is_over_time(&self, tensor: &Known) -> bool {
        let has_time = matches!(tensor.flow, Flow::Input | Flow::Steps { .. } | Flow::OneStep(_) | Flow::Mask);
        has_time && self.keys.get("axis").is_some_and(is_time)
    }

    /// Returns an argument of its construction.
    fn key(&self, key: &str) -> &Value {
        self.keys.get(key).unwrap_or(&Value::Null)
    }
}

impl Builder {
    /// Returns the results of `operation`.
    pub(super) fn operation(&mut self, operation: &Operation, operands: &[Operand]) -> Result<Vec<Known>> {
        match (operation.class.as_str(), operands) {
            ("Split", [Operand::Tensor(tensor)]) if operation.is_last_axis() => {
                self.split(operation.key("indices_or_sections"), tensor)
            }
            ("Split", [Operand::Tensor(tensor)]) if tensor.flow != Flow::Mask && operation.is_over_time(tensor) => {
                self.split_steps(operation.key("indices_or_sections"), tensor)
            }
            _ => Ok(vec![self.single(operation, operands)?]),
        }
    }

    /// Returns the result of an operation with only one.
    fn single(&mut self, operation: &Operation, operands: &[Operand]) -> Result<Known> {
        let tensors: Vec<&Known> = operands.iter().filter_map(Operand::tensor).collect();
        let from = self.place.clone();
        let only = |mask: Mask| Ok(Known::steps(mask, &from));
        let masks = !tensors.is_empty() && tensors.iter().all(|tensor| tensor.flow == Flow::Mask);
        match (operation.class.as_str(), operands) {
            ("NotEqual", [Operand::Tensor(tensor), Operand::Constant(value)]) => {
                let mask = tensor.is_input().zip(number(value)).map(|(input, value)| Mask::of(input, value));
                only(mask.unwrap_or(Mask::Other))
            }
            // All steps of ones are live, and none of zeros.
            ("OnesLike", [Operand::Tensor(tensor)]) => Ok(Known::steps(Mask::None, &tensor.from)),
            ("ZerosLike", [Operand::Tensor(_)]) => only(Mask::Never),
            ("GetItem", [Operand::Tensor(tensor), Operand::Constant(index)]) if masks => {
                only(item_of_mask(tensor, index)?)
            }
            ("Concatenate", _) if masks && operation.is_over_time(tensors[0]) => {
                only(Mask::in_pieces(&tensors.iter().map(|tensor| tensor.piece()).collect::<Vec<_>>())?)
            }
            (class, _) if masks => only(mask(operation, class, &tensors)),
            ("GetItem", [Operand::Tensor(tensor), Operand::Constant(index)]) => self.item(tensor, index),
            (class, [Operand::Tensor(tensor)]) if across::reduce(class).is_some() => {
                let over = operation.key("axis");
                let over = over.as_array().filter(|axes| axes.len() == 1).map_or(over, |axes| &axes[0]);
                let (Some(reduce), true, true) =
                    (across::reduce(class), is_time(over), operation.key("initial").is_null())
                else {
                    return Err(wrong("expected it over the steps of a sequence (axis=1)".into()));
                };
                let keeps = across::keeps_axis(operation.key("keepdims"))?;
                self.now = self.settled(tensor)?;
                self.pooled(reduce, Counted::All, keeps)?;
                Ok(self.now.clone())
            }
            ("Concatenate", _) if tensors.len() == operands.len() && operation.is_last_axis() => {
                let tensors: Vec<_> = tensors.into_iter().cloned().collect();
                self.unmasked(|builder| builder.join(Join::Concat, tensors))
            }
            ("Concatenate", _)
                if tensors.len() == operands.len() && tensors.iter().any(|t| operation.is_over_time(t)) =>
            {
                let tensors: Vec<_> = tensors.into_iter().cloned().collect();
                self.unmasked(|builder| builder.join(Join::ConcatSteps, tensors))
            }
            ("ExpandDims", [Operand::Tensor(tensor)]) if operation.key("axis").as_i64() == Some(1) => {
                self.one_step(tensor)
            }
            (class, [Operand::Tensor(one), Operand::Tensor(other)]) => {
                let Some(join) = join(class) else { return Err(unread()) };
                let rows =
                    [one, other].map(|tensor| matches!(self.settled(tensor), Ok(Known { flow: Flow::Rows(_), .. })));
                if rows[0] != rows[1] {
                    return Err(wrong(format!(
                        "expected two sequences or two tensors without time, got {} of {} and {} of {}; join them with \
                         a layer ({class}())",
                        one.shape(),
                        one.from,
                        other.shape(),
                        other.from
                    )));
                }
                let both = vec![one.clone(), other.clone()];
                self.unmasked(|builder| builder.join(join, both))
            }
            (class, [Operand::Tensor(tensor)]) => {
                let Some(function) = function(class) else { return Err(unread()) };
                self.apply_function(tensor, function)
            }
            (class, [Operand::Tensor(tensor), Operand::Constant(value)]) => {
                let function = number(value).and_then(|value| scaled(class, value, Side::Right));
                self.apply_function(tensor, function.ok_or_else(unread)?)
            }
            (class, [Operand::Constant(value), Operand::Tensor(tensor)]) => {
                let function = number(value).and_then(|value| scaled(class, value, Side::Left));
                self.apply_function(tensor, function.ok_or_else(unread)?)
            }
            _ => Err(unread()),
        }
    }

    fn apply_function(&mut self, tensor: &Known, function: Activation) -> Result<Known> {
        self.now = self.settled(tensor)?;
        self.push("", function)?;
        self.unmasked(|builder| Ok(builder.now.clone()))
    }

    /// Returns the result of `make` without the mask, since no operation passes one on.
    pub(super) fn unmasked(&mut self, make: impl FnOnce(&mut Self) -> Result<Known>) -> Result<Known> {
        let mut known = make(self)?;
        known.mask = Mask::None;
        Ok(known)
    }
}

impl Operand {
    pub(super) fn into_tensor(self) -> Option<Known> {
        match self {
            Self::Tensor(known) => Some(known),
            Self::Constant(_) => None,
        }
    }

    pub(super) fn tensor(&self) -> Option<&Known> {
        match self {
            Self::Tensor(known) => Some(known),
            Self::Constant(_) => None,
        }
    }
}

/// The side of a number in an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Returns the result of an operation on masks.
fn mask(operation: &Operation, class: &str, tensors: &[&Known]) -> Mask {
    let all = tensors.iter().map(|tensor| tensor.mask.clone());
    match (class, tensors) {
        ("Any", [one]) if operation.is_last_axis() => match &one.mask {
            Mask::Several(masks) => masks.iter().cloned().fold(Mask::Never, Mask::or),
            mask => mask.clone(),
        },
        ("All", [Known { mask: Mask::Several(masks), .. }]) if operation.is_last_axis() => {
            masks.iter().cloned().fold(Mask::None, Mask::and)
        }
        ("ExpandDims" | "Cast" | "Copy" | "ConvertToTensor" | "Identity", [one]) => one.mask.clone(),
        ("Concatenate", _) if operation.is_last_axis() && all.clone().all(|mask| !matches!(mask, Mask::Several(_))) => {
            Mask::Several(all.collect())
        }
        ("LogicalOr", _) => all.fold(Mask::Never, Mask::or),
        ("LogicalAnd", _) => all.fold(Mask::None, Mask::and),
        _ => Mask::Other,
    }
}

fn join(class: &str) -> Option<Join> {
    Some(match class {
        "Add" => Join::Add,
        "Subtract" => Join::Subtract,
        "Multiply" => Join::Multiply,
        "Maximum" => Join::Maximum,
        _ => return None,
    })
}

/// Returns the function of a class without constants.
fn function(class: &str) -> Option<Activation> {
    Some(match class {
        "Relu" => Activation::Relu,
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "Silu" => Activation::Silu,
        "LogSigmoid" => Activation::LogSigmoid,
        "Exp" => Activation::Exponential,
        "Negative" => affine(-1.0, 0.0),
        _ => return None,
    })
}

/// Returns the function that `class` applies to a tensor, with the number `value` at `side` of it.
fn scaled(class: &str, value: f32, side: Side) -> Option<Activation> {
    let function = match (class, side) {
        ("Multiply", _) => affine(value, 0.0),
        ("Add", _) => affine(1.0, value),
        ("Subtract", Side::Right) => affine(1.0, -value),
        ("Subtract", Side::Left) => affine(-1.0, value),
        ("TrueDivide" | "Divide", Side::Right) if value != 0.0 => affine(1.0 / value, 0.0),
        ("Maximum", _) if value == 0.0 => Activation::Relu,
        _ => return None,
    };
    Some(function)
}

fn affine(alpha: f32, beta: f32) -> Activation {
    Activation::Affine { alpha: alpha.into(), beta: beta.into() }
}

/// Returns the number in `value`, alone or as an array of one.
fn number(value: &Value) -> Option<f32> {
    let value = match value.get("config").and_then(|config| config.get("value")) {
        Some(inner) => inner,
        None => value,
    };
    #[expect(clippy::cast_possible_truncation, reason = "Keras computes in float32 too")]
    value.as_f64().map(|x| x as f32).filter(|x| x.is_finite())
}

fn unread() -> crate::error::Error {
    let text = "this operation is not read: sums, differences, products and maxima of two tensors are, a tensor times or \
                plus a number, max, mean, min and sum over time, x[:, a:b], x[..., a:b], concatenate, split, relu, sigmoid, tanh, softplus, softsign, silu, log_sigmoid \
                and exp; try a layer for it";
    wrong(text.into())
}
