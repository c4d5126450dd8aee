//! Convolutions over steps: `Conv1D`, `DepthwiseConv1D` and `SeparableConv1D` → one convolution, or one and a linear
//! layer.
//!
//! Keras takes no mask in them and gives none. Knows one layer at a time, and its input.

use super::activations;
use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::hdf5::Stored;
use super::values::Flow;
use super::variables::{self, Variable, VariablePath, Within};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{Conv1d, ConvPadding, Linear};
use crate::weights::Tensor;
use crate::weights::dialect::{BIAS, WEIGHT};

/// What all three layers have in common.
struct Kernel {
    taps: usize,
    stride: usize,
    dilation: usize,
    padding: ConvPadding,
    activation: Activation,
    biased: bool,
}

/// The variables of a layer.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a VariablePath,
    /// The name of the first variable, and of the second if it is another kernel.
    names: [&'static str; 2],
}

impl Place<'_> {
    fn variable(self, number: usize) -> Variable {
        Variable::Numbered { name: self.names.get(number).copied().unwrap_or("bias"), number }
    }
}

impl Builder {
    /// Reads a convolution.
    pub(super) fn convolution(&mut self, config: &mut Config, path: &VariablePath) -> Result<()> {
        self.needs_all_steps()?;
        config.only("data_format", &"channels_last".into())?;
        let (time, features) = self.steps()?;
        let kernel = Kernel {
            taps: one(config, "kernel_size")?
                .ok_or_else(|| wrong("kernel_size: expected a number, got nothing".into()))?,
            stride: one(config, "strides")?.unwrap_or(1),
            dilation: one(config, "dilation_rate")?.unwrap_or(1),
            padding: padding(config)?,
            activation: activations::take(config, "activation", Activation::Linear, self.version)?,
            biased: config.flag("use_bias", true)?,
        };
        // Masked steps are read with their values, and every step of the result is live.
        let reads_all = !self.now.held.is_empty();
        if reads_all {
            self.shows_masked_steps()?;
        }
        let units = match config.class() {
            "Conv1D" => self.plain(config, path, (&kernel, reads_all), features)?,
            "DepthwiseConv1D" => self.depthwise(config, path, (&kernel, reads_all), features)?,
            _ => self.separable(config, path, (&kernel, reads_all), features)?,
        };
        let conv = kernel.conv(1, 1);
        let time = time.map(|time| match conv.out_steps(time) {
            0 => Err(wrong(format!("expected at least {} steps, which the kernel spans, got {time}", conv.span()))),
            steps => Ok(steps),
        });
        self.is_unmasked(Flow::Steps { time: time.transpose()?, features: Some(units), bare: false });
        Ok(())
    }

    fn plain(
        &mut self,
        config: &mut Config,
        path: &VariablePath,
        (kernel, reads_all): (&Kernel, bool),
        features: Option<usize>,
    ) -> Result<usize> {
        let (units, groups) = (config.size("filters")?, one(config, "groups")?.unwrap_or(1));
        let place = Place { path, names: ["kernel", "bias"] };
        let inputs = match features {
            Some(features) if !features.is_multiple_of(groups) => {
                return Err(wrong(format!("groups: expected a divisor of {features} features, got {groups}")));
            }
            Some(features) => features / groups,
            None => 0,
        };
        let stored = self.variables.read(path, Within::Layer, place.variable(0), &[kernel.taps, inputs, units])?;
        let inputs = stored.shape()[1];
        let features =
            inputs.checked_mul(groups).ok_or_else(|| wrong(format!("groups: expected fewer, got {groups}")))?;
        let mut conv = kernel.conv(features, units).groups(groups).activation(kernel.activation);
        conv.all_steps = reads_all;
        let prefix = self.prefix(path)?;
        self.tensors.insert(format!("{prefix}.{WEIGHT}"), turned(stored, vec![units, inputs, kernel.taps], [2, 1, 0]));
        self.biased(place, &prefix, kernel, 1, units)?;
        self.takes(features);
        self.push(&prefix, if kernel.biased { conv } else { conv.no_bias() })?;
        Ok(units)
    }

    fn depthwise(
        &mut self,
        config: &mut Config,
        path: &VariablePath,
        (kernel, reads_all): (&Kernel, bool),
        features: Option<usize>,
    ) -> Result<usize> {
        let names =
            if self.version == activations::Version::Two { ["depthwise_kernel", "bias"] } else { ["kernel", "bias"] };
        let place = Place { path, names };
        let prefix = self.prefix(path)?;
        let (features, units) = self.each_feature(config, place, &prefix, (kernel, features))?;
        self.biased(place, &prefix, kernel, 1, units)?;
        let mut conv = kernel.conv(features, units).groups(features).activation(kernel.activation);
        conv.all_steps = reads_all;
        self.takes(features);
        self.push(&prefix, if kernel.biased { conv } else { conv.no_bias() })?;
        Ok(units)
    }

    /// Reads a kernel for each feature, and a linear layer over what they give.
    fn separable(
        &mut self,
        config: &mut Config,
        path: &VariablePath,
        (kernel, reads_all): (&Kernel, bool),
        features: Option<usize>,
    ) -> Result<usize> {
        let units = config.size("filters")?;
        let place = Place { path, names: ["depthwise_kernel", "pointwise_kernel"] };
        let prefix = self.prefix(path)?;
        let depthwise = format!("{prefix}.depthwise");
        let (features, between) = self.each_feature(config, place, &depthwise, (kernel, features))?;
        let mut conv = kernel.conv(features, between).groups(features).no_bias();
        conv.all_steps = reads_all;
        let stored = self.variables.read(path, Within::Layer, place.variable(1), &[1, between, units])?;
        self.tensors.insert(format!("{prefix}.{WEIGHT}"), turned(stored, vec![units, between], [0, 2, 1]));
        self.biased(place, &prefix, kernel, 2, units)?;
        self.takes(features);
        self.push(&depthwise, conv)?;
        let linear = Linear::new(between, units).activation(kernel.activation).bias(kernel.biased);
        self.push(&prefix, linear)?;
        Ok(units)
    }

    /// Reads a kernel of one feature in each group. Returns the features that it takes and gives.
    fn each_feature(
        &mut self,
        config: &mut Config,
        place: Place<'_>,
        prefix: &str,
        (kernel, features): (&Kernel, Option<usize>),
    ) -> Result<(usize, usize)> {
        let multiplier = one(config, "depth_multiplier")?.unwrap_or(1);
        let shape = [kernel.taps, features.unwrap_or(0), multiplier];
        let stored = self.variables.read(place.path, Within::Layer, place.variable(0), &shape)?;
        let features = stored.shape()[1];
        let units = features.checked_mul(multiplier).ok_or_else(|| wrong("depth_multiplier: expected less".into()))?;
        let weight = turned(stored, vec![units, 1, kernel.taps], [1, 2, 0]);
        self.tensors.insert(format!("{prefix}.{WEIGHT}"), weight);
        Ok((features, units))
    }

    /// Reads the bias, which is variable `number`, if there is one.
    fn biased(&mut self, place: Place<'_>, prefix: &str, kernel: &Kernel, number: usize, units: usize) -> Result<()> {
        if kernel.biased {
            let variable = Variable::Numbered { name: "bias", number };
            let bias = self.variables.read(place.path, Within::Layer, variable, &[units])?;
            self.tensors.insert(format!("{prefix}.{BIAS}"), variables::table(bias));
        }
        Ok(())
    }

    /// Tells the features of the current value, which only the kernel may know.
    fn takes(&mut self, size: usize) {
        if let Flow::Steps { features, .. } = &mut self.now.flow {
            *features = Some(size);
        }
    }
}

impl Kernel {
    fn conv(&self, features: usize, units: usize) -> Conv1d {
        Conv1d::new(features, units, self.taps).stride(self.stride).dilation(self.dilation).padding(self.padding)
    }
}

/// Reads a kernel of three axes in another order, as a tensor of `shape`: its axis i is axis `order[i]` of the file.
fn turned(stored: Stored, shape: Vec<usize>, order: [usize; 3]) -> Tensor {
    Tensor::stored(shape, move || {
        let (elements, of) = (stored.elements()?, stored.shape());
        let ([i, j, k], steps) = (order.map(|axis| of[axis]), [of[1] * of[2], of[2], 1]);
        let [a, b, c] = order.map(|axis| steps[axis]);
        let rows = (0..i).flat_map(|i| (0..j).map(move |j| i * a + j * b));
        Ok(rows.flat_map(|row| (0..k).map(move |k| row + k * c)).map(|at| elements[at]).collect())
    })
}

/// Takes a number above 0, or a list of one.
fn one(config: &mut Config, key: &str) -> Result<Option<usize>> {
    let Some(value) = config.take(key) else { return Ok(None) };
    let only = value.as_array().filter(|list| list.len() == 1).map_or(&value, |list| &list[0]);
    match only.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(n @ 1..=0x7fff_ffff) => Ok(Some(n)),
        _ => Err(wrong(format!("{key}: expected a whole number from 1 to 2147483647, got {}", short(&value)))),
    }
}

fn padding(config: &mut Config) -> Result<ConvPadding> {
    let value = config.take("padding").unwrap_or_else(|| "valid".into());
    let word = value.as_str().map(str::to_lowercase);
    let known =
        word.and_then(|word| ConvPadding::WORDS.iter().find(|(of, _)| *of == word).map(|&(_, padding)| padding));
    known.ok_or_else(|| wrong(format!("padding: expected valid, same or causal, got {}", short(&value))))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_padding_is_a_word_in_any_case() {
        let of = |value: Value| {
            let config = serde_json::json!({"class_name": "Conv1D", "config": {"name": "c", "padding": value}});
            padding(&mut Config::of(&config).expect("a layer"))
        };
        assert_eq!(of("SAME".into()).ok(), Some(ConvPadding::Same));
        assert_eq!(of(Value::Null).ok(), Some(ConvPadding::Valid));
        let error = of("full".into()).expect_err("no such padding").to_string();
        assert_eq!(error, "padding: expected valid, same or causal, got \"full\"");
    }
}
