//! Operations that Keras 3 writes as layers: sums and products of tensors and numbers, functions, and what computes masks.
//!
//! Knows what each operation means; knows no configuration of a layer.

use serde_json::{Map, Value};

use super::builder::Builder;
use super::config::{short, wrong};
use super::masks::Mask;
use super::values::{Flow, Known, Source};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{Join, Select};

/// The operations that are read.
const CLASSES: &[&str] = &[
    "Add",
    "All",
    "Any",
    "Cast",
    "Concatenate",
    "Copy",
    "Divide",
    "Exp",
    "ExpandDims",
    "GetItem",
    "Identity",
    "LogSigmoid",
    "LogicalAnd",
    "LogicalOr",
    "Maximum",
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
    "Tanh",
    "TrueDivide",
    "ZerosLike",
];

/// An operation, and what it was made with.
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
    ("math.negative", "Negative"),
    ("math.tanh", "Tanh"),
    ("math.sigmoid", "Sigmoid"),
    ("math.exp", "Exp"),
    ("nn.relu", "Relu"),
    ("__operators__.getitem", "GetItem"),
];

/// What an operation takes.
#[derive(Debug)]
pub(super) enum Operand {
    Tensor(Known),
    Constant(Value),
}

impl Operation {
    /// Whether a layer with `keys` is one. `.h5` files have no modules; then only a layer says whether it is trained.
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

    fn is_last_axis(&self) -> bool {
        let axis = self.keys.get("axis");
        axis.is_some_and(|axis| *axis == -1 || *axis == serde_json::json!([-1]))
    }
}

impl Builder {
    /// What `operation` gives.
    pub(super) fn operation(&mut self, operation: &Operation, operands: &[Operand]) -> Result<Vec<Known>> {
        match (operation.class.as_str(), operands) {
            ("Split", [Operand::Tensor(tensor)]) if operation.is_last_axis() => self.split(operation, tensor),
            _ => Ok(vec![self.single(operation, operands)?]),
        }
    }

    /// What an operation of one result gives.
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
            // Of which all steps are there, or none.
            ("OnesLike", [Operand::Tensor(_)]) => only(Mask::None),
            ("ZerosLike", [Operand::Tensor(_)]) => only(Mask::Never),
            (class, _) if masks => only(mask(operation, class, &tensors)),
            ("GetItem", [Operand::Tensor(tensor), Operand::Constant(index)]) => self.item(tensor, index),
            ("Concatenate", _) if tensors.len() == operands.len() && operation.is_last_axis() => {
                let tensors: Vec<_> = tensors.into_iter().cloned().collect();
                self.unmasked(|builder| builder.join(Join::Concat, tensors))
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

    /// What `make` gives, without the mask: no operation hands one on.
    fn unmasked(&mut self, make: impl FnOnce(&mut Self) -> Result<Known>) -> Result<Known> {
        let mut known = make(self)?;
        known.mask = Mask::None;
        Ok(known)
    }

    /// `x[:, -1]` and `x[…, a:b]`.
    fn item(&mut self, tensor: &Known, index: &Value) -> Result<Known> {
        let tensor = self.settled(tensor)?;
        let unread = || {
            let text = format!(
                "expected the last step of a sequence (x[:, -1]) or some features (x[..., a:b]), got {}",
                short(index)
            );
            wrong(format!("{text} of {}", tensor.shape()))
        };
        let features = tensor.features().filter(|_| !matches!(tensor.flow, Flow::Steps { bare: true, .. }));
        let features = features.ok_or_else(unread)?;
        let rank = if matches!(tensor.flow, Flow::Rows(_)) { 2 } else { 3 };
        match &axes(index, rank)[..] {
            [batch, last] if rank == 3 && is_whole(batch) && **last == -1 => self.last_step(tensor, features),
            [batch, last, rest] if is_whole(batch) && **last == -1 && is_whole(rest) => {
                self.last_step(tensor, features)
            }
            [before @ .., last] if before.len() + 1 == rank && before.iter().all(|axis| is_whole(axis)) => {
                let (first, end) = span(last, features).ok_or_else(unread)?;
                self.features(&tensor, first, end - first)
            }
            whole if whole.iter().all(|axis| is_whole(axis)) => self.unmasked(|_| Ok(tensor.clone())),
            _ => Err(unread()),
        }
    }

    fn last_step(&mut self, tensor: Known, features: usize) -> Result<Known> {
        self.now = tensor;
        self.push("", Select::LastStep)?;
        Ok(Known::rows(self.now.source, features, &self.place))
    }

    /// Features `first .. first + count` of `tensor`.
    fn features(&mut self, tensor: &Known, first: usize, count: usize) -> Result<Known> {
        let all = tensor.features().unwrap_or_default();
        let source = match tensor.source {
            Source::Part { of, first: before, all, .. } => Source::part(of, before + first, count, all),
            Source::Whole(_) if tensor.is_input().is_some() => Source::part(self.edge(tensor)?, first, count, all),
            Source::Whole(of) => Source::part(of, first, count, all),
        };
        let flow = match tensor.flow {
            Flow::Steps { time, .. } => Flow::Steps { time, features: Some(count), bare: false },
            _ => Flow::Rows(count),
        };
        self.unmasked(|builder| Ok(Known { flow, source, from: builder.place.clone(), ..tensor.clone() }))
    }

    /// Parts of the features, side by side.
    fn split(&mut self, operation: &Operation, tensor: &Known) -> Result<Vec<Known>> {
        let tensor = self.settled(tensor)?;
        let places = operation.keys.get("indices_or_sections").unwrap_or(&Value::Null);
        let wrong = || {
            wrong(format!(
                "indices_or_sections: expected places among the features of {}, got {}",
                tensor.shape(),
                short(places)
            ))
        };
        let all = tensor.features().ok_or_else(wrong)?;
        let whole = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        let ends: Option<Vec<usize>> = match places {
            Value::Array(places) => places.iter().map(whole).chain([Some(all)]).collect(),
            parts => whole(parts)
                .filter(|parts| *parts > 0 && *parts <= all && all % parts == 0)
                .map(|parts| (1..=parts).map(|part| part * (all / parts)).collect()),
        };
        let (mut first, mut gives) = (0, Vec::new());
        for end in ends.ok_or_else(wrong)? {
            if end <= first || end > all {
                return Err(wrong());
            }
            gives.push(self.features(&tensor, first, end - first)?);
            first = end;
        }
        Ok(gives)
    }
}

/// What is asked of each axis of `rank`; an ellipsis stands for those that are left out.
fn axes(index: &Value, rank: usize) -> Vec<&Value> {
    let list = index.as_array().map_or(std::slice::from_ref(index), |list| &list[..]);
    let is_ellipsis = |axis: &&Value| axis.get("class_name").is_some_and(|class| *class == "__ellipsis__");
    let mut axes = Vec::new();
    for axis in list {
        // The whole of an axis, as a slice without numbers is.
        let times = if is_ellipsis(&axis) { (rank + 1).saturating_sub(list.len()) } else { 1 };
        axes.extend(std::iter::repeat_n(if is_ellipsis(&axis) { &Value::Null } else { axis }, times));
    }
    axes
}

/// What a slice is made of: Keras 3 writes an object around it.
fn slice(axis: &Value) -> Option<[&Value; 3]> {
    let keys = axis.get("config").unwrap_or(axis).as_object()?;
    Some(["start", "stop", "step"].map(|key| keys.get(key).unwrap_or(&Value::Null)))
}

fn is_whole(axis: &Value) -> bool {
    axis.is_null() || slice(axis).is_some_and(|parts| parts.iter().all(|part| part.is_null()))
}

/// From where to where a slice of `features` goes, if not from nowhere.
fn span(axis: &Value, features: usize) -> Option<(usize, usize)> {
    let place = |value: &Value, default: usize| match value.as_i64() {
        _ if value.is_null() => Some(default),
        Some(n) if n < 0 => Some(features.saturating_sub(usize::try_from(n.unsigned_abs()).ok()?)),
        n => Some(usize::try_from(n?).ok()?.min(features)),
    };
    let [start, stop, step] = slice(axis)?;
    let (start, stop) = (place(start, 0)?, place(stop, features)?);
    (start < stop && (step.is_null() || *step == 1)).then_some((start, stop))
}

impl Operand {
    pub(super) fn into_tensor(self) -> Option<Known> {
        match self {
            Self::Tensor(known) => Some(known),
            Self::Constant(_) => None,
        }
    }

    fn tensor(&self) -> Option<&Known> {
        match self {
            Self::Tensor(known) => Some(known),
            Self::Constant(_) => None,
        }
    }
}

/// Which operand a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// An operation on masks.
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
        ("ExpandDims" | "Cast" | "Copy" | "Identity", [one]) => one.mask.clone(),
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

/// A function without constants of its own.
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

/// What `class` makes of a tensor and the number `value`, which stands at `side` of it.
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

/// The number that `value` is, alone or as an array of one.
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
                plus a number, x[:, -1], x[..., a:b], split, relu, sigmoid, tanh, softplus, softsign, silu, log_sigmoid \
                and exp; try a layer for it";
    wrong(text.into())
}
