//! The layers of Keras that normalise, and those that scale: their configuration and variables → one layer each.
//!
//! Each works on the features of every step by itself. Knows one layer at a time, and its input.

use serde_json::Value;

use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::hdf5::Stored;
use super::values::Flow;
use super::variables::{self, Variable, VariablePath, Within};
use crate::cell::{Activation, Constant};
use crate::error::Result;
use crate::model::{BatchNorm, L2Norm, LayerKind, LayerNorm, MEAN, PRelu, RmsNorm, VARIANCE};
use crate::weights::Tensor;
use crate::weights::dialect::{BIAS, WEIGHT};

/// The least deviation by which `Normalization` divides: Keras' `backend.epsilon()`.
const LEAST: f32 = 1e-7;

/// The classes that are read here.
pub(super) const CLASSES: [&str; 7] = [
    "BatchNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "UnitNormalization",
    "Normalization",
    "PReLU",
    "Rescaling",
];

/// Where the variables of a layer are, and how many have been read.
struct Numbered<'a> {
    place: &'a VariablePath,
    within: Within<'a>,
    count: usize,
}

impl Builder {
    /// Reads a layer of one of [`CLASSES`].
    pub(super) fn norm(&mut self, config: &mut Config, place: &VariablePath, within: Within) -> Result<()> {
        self.now = self.settled(&self.now)?;
        let features = match self.now.flow {
            Flow::Rows(features) | Flow::OneStep(features) => features,
            Flow::Steps { features: Some(features), bare: false, .. } => features,
            _ => return Err(wrong(format!("expected an input whose features are told, got {}", self.now.shape()))),
        };
        let mut from = Numbered { place, within, count: 0 };
        match config.class() {
            "BatchNormalization" => self.batch_normalization(config, &mut from, features),
            "LayerNormalization" => self.layer_normalization(config, &mut from, features),
            "RMSNormalization" => {
                self.features_axis(config, "axis")?;
                let mut norm = RmsNorm::new(features);
                norm.eps = Constant::new(config.number("epsilon")?.unwrap_or(1e-6));
                let scale = self.number_of(&mut from, "scale", features)?;
                self.normalize(&from, norm, vec![(WEIGHT, scale)])
            }
            "UnitNormalization" => {
                self.features_axis(config, "axis")?;
                self.normalize(&from, L2Norm::new(features), Vec::new())
            }
            "Normalization" => self.constants(config, &mut from, features),
            "Rescaling" => self.rescaling(config, &from, features),
            _ => self.slopes(config, &mut from, features),
        }
    }

    /// Adds a layer with these tensors. It changes no axis and no mask.
    fn normalize(
        &mut self,
        from: &Numbered<'_>,
        layer: impl Into<LayerKind>,
        tensors: Vec<(&'static str, Tensor)>,
    ) -> Result<()> {
        if tensors.is_empty() {
            return self.push("", layer);
        }
        let prefix = self.prefix(from.place)?;
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{prefix}.{name}"), tensor)));
        self.push(&prefix, layer)
    }

    /// Reads the next variable of a layer, `[features]`.
    fn number_of(&mut self, from: &mut Numbered<'_>, name: &'static str, features: usize) -> Result<Tensor> {
        Ok(variables::table(self.next_of(from, name, &[features])?))
    }

    fn next_of(&mut self, from: &mut Numbered<'_>, name: &'static str, shape: &[usize]) -> Result<Stored> {
        let variable = Variable::Numbered { name, number: from.count };
        from.count += 1;
        self.variables.read(from.place, from.within, variable, shape)
    }

    /// Checks that the layer works on the features, which are the last axis.
    fn features_axis(&self, config: &mut Config, key: &str) -> Result<()> {
        self.check_axis(key, &config.take(key).unwrap_or_else(|| (-1).into()))
    }

    fn check_axis(&self, key: &str, axis: &Value) -> Result<()> {
        let one = axis.as_array().filter(|axes| axes.len() == 1).map_or(axis, |axes| &axes[0]);
        // Within TimeDistributed, a step has no axis of time.
        let last = if matches!(self.now.flow, Flow::Rows(_)) { 1 } else { 2 };
        match one.as_i64() {
            Some(n) if n == -1 || n == last => Ok(()),
            _ => Err(wrong(format!("{key}: expected -1 (the features), got {}", short(axis)))),
        }
    }

    fn batch_normalization(&mut self, config: &mut Config, from: &mut Numbered<'_>, features: usize) -> Result<()> {
        self.features_axis(config, "axis")?;
        let mut norm = BatchNorm::new(features);
        norm.eps = Constant::new(config.number("epsilon")?.unwrap_or(1e-3));
        (norm.scale, norm.bias) = (config.flag("scale", true)?, config.flag("center", true)?);
        // Keras uses the moving statistics of a layer that is not trained.
        norm.frozen = !config.flag("trainable", true)?;
        let tensors = [
            norm.scale.then(|| (WEIGHT, self.number_of(from, "gamma", features))),
            norm.bias.then(|| (BIAS, self.number_of(from, "beta", features))),
            Some((MEAN, self.number_of(from, "moving_mean", features))),
            Some((VARIANCE, self.number_of(from, "moving_variance", features))),
        ];
        let tensors = tensors.into_iter().flatten().map(|(name, tensor)| Ok((name, tensor?)));
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        self.normalize(from, norm, tensors)
    }

    fn layer_normalization(&mut self, config: &mut Config, from: &mut Numbered<'_>, features: usize) -> Result<()> {
        self.features_axis(config, "axis")?;
        config.only("rms_scaling", &Value::Bool(false))?;
        let mut norm = LayerNorm::new(features);
        norm.eps = Constant::new(config.number("epsilon")?.unwrap_or(1e-3));
        (norm.scale, norm.bias) = (config.flag("scale", true)?, config.flag("center", true)?);
        let mut tensors = Vec::new();
        if norm.scale {
            tensors.push((WEIGHT, self.number_of(from, "gamma", features)?));
        }
        if norm.bias {
            tensors.push((BIAS, self.number_of(from, "beta", features)?));
        }
        self.normalize(from, norm, tensors)
    }

    /// Reads `Normalization`: constants from the configuration, or variables that `adapt` has set.
    fn constants(&mut self, config: &mut Config, from: &mut Numbered<'_>, features: usize) -> Result<()> {
        let axis = config.take_even_null("axis").unwrap_or_else(|| (-1).into());
        // One mean and one variance of all features.
        let whole = axis.is_null() || axis.as_array().is_some_and(Vec::is_empty);
        if !whole {
            self.check_axis("axis", &axis)?;
        }
        let given = [numbers(config, "mean")?, numbers(config, "variance")?];
        let [mean, variance] = match given {
            [Some(mean), Some(variance)] => [mean, variance],
            _ => {
                if whole {
                    let text =
                        "axis: expected -1 (the features), got null: one number of all features, which `adapt` found";
                    return Err(wrong(format!("{text}, is not read; give it as mean and variance")));
                }
                let mean = self.next_of(from, "mean", &[features])?.elements()?;
                [mean, self.next_of(from, "variance", &[features])?.elements()?]
            }
        };
        let [mean, variance] = [for_each("mean", mean, features)?, for_each("variance", variance, features)?];
        let deviation = |variance: &f32| variance.sqrt().max(LEAST);
        let (mean, variance) = match config.flag("invert", false)? {
            false => (mean, variance.iter().map(|v| v.max(LEAST * LEAST)).collect()),
            // y = x · σ + μ, which is (x − (−μ / σ)) / √(1 / σ²).
            true => {
                let mean = mean.iter().zip(&variance).map(|(mean, v)| -mean / deviation(v)).collect();
                (mean, variance.iter().map(|v| deviation(v).powi(-2)).collect())
            }
        };
        let norm = BatchNorm::new(features).eps(0.0).scale(false).bias(false).frozen();
        let tensor = |numbers: Vec<f32>| Tensor::new([features], numbers);
        self.normalize(from, norm, vec![(MEAN, tensor(mean)), (VARIANCE, tensor(variance))])
    }

    fn rescaling(&mut self, config: &mut Config, from: &Numbered<'_>, features: usize) -> Result<()> {
        let scale = numbers(config, "scale")?.unwrap_or_else(|| vec![1.0]);
        let offset = numbers(config, "offset")?.unwrap_or_else(|| vec![0.0]);
        if let ([alpha], [beta]) = (&scale[..], &offset[..]) {
            let affine = Activation::Affine { alpha: Constant::new(*alpha), beta: Constant::new(*beta) };
            return self.push("", affine);
        }
        let tensor = |numbers: Vec<f32>| Tensor::new([features], numbers);
        let scale = tensor(for_each("scale", scale, features)?);
        let offset = tensor(for_each("offset", offset, features)?);
        let [zeros, ones] = [0.0, 1.0].map(|x| tensor(vec![x; features]));
        let tensors = vec![(WEIGHT, scale), (BIAS, offset), (MEAN, zeros), (VARIANCE, ones)];
        self.normalize(from, BatchNorm::new(features).eps(0.0).frozen(), tensors)
    }

    /// Reads a PReLU. Its slopes have the axes of a row of the batch, except those that share them.
    fn slopes(&mut self, config: &mut Config, from: &mut Numbered<'_>, features: usize) -> Result<()> {
        let axes = config.take("shared_axes").unwrap_or_else(|| Value::Array(Vec::new()));
        let shares = |axis: i64| axes.as_array().is_some_and(|axes| axes.iter().any(|of| of.as_i64() == Some(axis)));
        let has_time = !matches!(self.now.flow, Flow::Rows(_));
        if has_time && !shares(1) {
            let text = format!("shared_axes: expected [1] (the steps), got {}: a slope for each step", short(&axes));
            return Err(wrong(text));
        }
        let one = shares(if has_time { 2 } else { 1 });
        let len = if one { 1 } else { features };
        let shape = [1, len];
        let alpha = self.next_of(from, "alpha", if has_time { &shape } else { &shape[1..] })?;
        let alpha = Tensor::stored([len], move || alpha.elements());
        let slopes = PRelu::new(features);
        self.normalize(from, if one { slopes.shared() } else { slopes }, vec![(WEIGHT, alpha)])
    }
}

/// Takes a number, or lists of numbers in lists, from a configuration. NumPy's arrays are objects that have them.
fn numbers(config: &mut Config, key: &str) -> Result<Option<Vec<f32>>> {
    let Some(value) = config.take(key) else { return Ok(None) };
    let unfit = || wrong(format!("{key}: expected numbers, got {}", short(&value)));
    let held = value.get("config").and_then(|config| config.get("value")).unwrap_or(&value);
    let (mut found, mut open) = (Vec::new(), vec![held]);
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values.iter().rev()),
            value => {
                #[expect(clippy::cast_possible_truncation, reason = "Keras computes in float32 too")]
                let number = value.as_f64().ok_or_else(unfit)? as f32;
                found.push(number);
            }
        }
    }
    Ok(Some(found))
}

/// Returns a number for each feature: those given, or one for all.
fn for_each(key: &str, numbers: Vec<f32>, features: usize) -> Result<Vec<f32>> {
    match numbers[..] {
        [one] => Ok(vec![one; features]),
        _ if numbers.len() == features => Ok(numbers),
        _ => Err(wrong(format!("{key}: expected one number or {features}, got {}", numbers.len()))),
    }
}
