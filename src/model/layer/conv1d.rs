//! The layer `conv1d`: a convolution over the steps of a sequence.

use std::{fmt, iter};

use super::param::{BIAS, Init, Law, Param, Role, WEIGHT};
use super::recurrent::Bias;
use super::row::{Places, differs};
use super::{Kind, Linear};
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, positive, unfit};

/// The most taps, and the longest stride, dilation and padding. No model needs more, and steps are counted in 32 bits.
const MOST: usize = 1 << 24;

/// `y[t] = f(Σ_j W_j·x[t · stride + j · dilation − left] + b)` over the taps j of the kernel, with zeros for steps
/// outside the sequence. Tensors: `weight` `[out_features, in_features / groups, kernel_size]`, `bias`
/// `[out_features]`. They are those of PyTorch's `Conv1d`.
///
/// Dead steps are read as zeros, so that each row gives what it gives alone. A row runs from its first live step to its
/// last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conv1d {
    /// The features of the input.
    pub in_features: usize,
    /// The features of the output.
    pub out_features: usize,
    /// The taps of the kernel.
    pub kernel_size: usize,
    /// Steps of the input from one step of the output to the next.
    pub stride: usize,
    /// Steps of the input from one tap to the next.
    pub dilation: usize,
    /// Groups of features. Each group of the output is computed from one group of the input.
    pub groups: usize,
    /// The zeros before and after the sequence.
    pub padding: ConvPadding,
    /// Whether there is a bias: [`Bias::One`] or [`Bias::None`].
    pub bias: Bias,
    /// The activation.
    pub activation: Activation,
    /// Whether dead steps are read with the values that they have. Every step of the output is then live. Keras'
    /// `Conv1D` does so, since it takes no mask and gives none.
    pub all_steps: bool,
}

/// The zeros before and after a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConvPadding {
    /// None.
    #[default]
    Valid,
    /// As many as give `⌈T / stride⌉` steps, and the odd one after the sequence.
    Same,
    /// All before the sequence: no step depends on a later one.
    Causal,
    /// This many before and after it.
    Explicit(usize, usize),
}

impl ConvPadding {
    /// The word for each that has one in a description.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("valid", Self::Valid), ("same", Self::Same), ("causal", Self::Causal)];
}

impl Conv1d {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 10] = [
        "in_features",
        "out_features",
        "kernel_size",
        "stride",
        "dilation",
        "groups",
        "padding",
        "bias",
        "activation",
        "all_steps",
    ];

    /// Creates a convolution with a bias, without padding and without activation.
    pub fn new(in_features: usize, out_features: usize, kernel_size: usize) -> Self {
        Self {
            in_features,
            out_features,
            kernel_size,
            stride: 1,
            dilation: 1,
            groups: 1,
            padding: ConvPadding::Valid,
            bias: Bias::One,
            activation: Activation::Linear,
            all_steps: false,
        }
    }

    /// Sets the steps of the input from one step of the output to the next.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Sets the steps of the input from one tap to the next.
    #[must_use]
    pub fn dilation(self, dilation: usize) -> Self {
        Self { dilation, ..self }
    }

    /// Sets the groups of features. With as many groups as features, it is a depthwise convolution.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Sets the zeros before and after the sequence.
    #[must_use]
    pub fn padding(self, padding: ConvPadding) -> Self {
        Self { padding, ..self }
    }

    /// Sets the activation.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Sets whether there is a bias.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Self { bias: if bias { Bias::One } else { Bias::None }, ..self }
    }

    /// Removes the bias.
    #[must_use]
    pub fn no_bias(self) -> Self {
        self.bias(false)
    }

    /// Sets that dead steps are read with the values that they have.
    #[must_use]
    pub fn all_steps(self) -> Self {
        Self { all_steps: true, ..self }
    }

    /// Returns how many steps of the input one step of the output depends on, from the first to the last.
    pub(crate) fn span(&self) -> usize {
        self.kernel_size.saturating_sub(1).saturating_mul(self.dilation).saturating_add(1)
    }

    /// Returns the zeros before and after a sequence of `time` steps.
    pub(crate) fn pads(&self, time: usize) -> [usize; 2] {
        match self.padding {
            ConvPadding::Valid => [0, 0],
            ConvPadding::Causal => [self.span() - 1, 0],
            ConvPadding::Explicit(before, after) => [before, after],
            ConvPadding::Same => {
                let reach = time.div_ceil(self.stride.max(1)).saturating_sub(1).saturating_mul(self.stride);
                let all = reach.saturating_add(self.span()).saturating_sub(time);
                [all / 2, all - all / 2]
            }
        }
    }

    /// Returns the steps of the output for `time` steps of the input; 0 if the kernel is longer than those.
    pub(crate) fn out_steps(&self, time: usize) -> usize {
        let padded = self.pads(time).into_iter().fold(time, usize::saturating_add);
        match padded.checked_sub(self.span()) {
            Some(more) if time > 0 => more / self.stride.max(1) + 1,
            _ => 0,
        }
    }

    /// Returns the windows along `time` steps, for rows of a batch.
    pub(crate) fn places(&self, time: usize) -> Places {
        let (count, [before, _]) = (self.out_steps(time), self.pads(time));
        Places { count, stride: self.stride.max(1), before, span: self.span() }
    }

    /// Whether the output has the steps of the input, whatever their number, and the same live ones.
    pub(crate) fn keeps_time(&self) -> bool {
        let same = match self.padding {
            ConvPadding::Valid => self.span() == 1,
            ConvPadding::Same | ConvPadding::Causal => true,
            ConvPadding::Explicit(before, after) => before.saturating_add(after) == self.span() - 1,
        };
        self.stride == 1 && same && !self.all_steps
    }

    /// Whether the padding before a row depends on the number of its steps.
    pub(crate) fn depends_on_length(&self) -> bool {
        self.padding == ConvPadding::Same && differs(self.span(), self.stride, |all| all / 2)
    }

    /// Returns the linear layer that it is, if it has one tap, one group and every step by itself.
    pub(crate) fn as_linear(&self) -> Option<Linear> {
        let plain = self.kernel_size == 1 && self.stride == 1 && self.groups == 1 && self.pads(1) == [0, 0];
        let linear = Linear::new(self.in_features, self.out_features).activation(self.activation);
        plain.then(|| linear.bias(self.bias != Bias::None))
    }

    /// Returns the features of a group of the input, and of a group of the output.
    pub(crate) fn of_group(&self) -> [usize; 2] {
        [self.in_features, self.out_features].map(|features| features / self.groups.max(1))
    }

    fn check(&self) -> Result<()> {
        let wrong = |text| Err(Error::new(ErrorKind::Model, text));
        let pads = if let ConvPadding::Explicit(before, after) = self.padding { [before, after] } else { [0, 0] };
        let sizes = [
            ("kernel_size", self.kernel_size),
            ("stride", self.stride),
            ("dilation", self.dilation),
            ("kernel_size · dilation", self.span()),
            ("padding", pads[0].max(pads[1])),
        ];
        if let Some((key, size)) = sizes.into_iter().find(|(_, size)| *size > MOST) {
            return wrong(format!("{key}: expected at most {MOST}, got {size}"));
        }
        positive("in_features", self.in_features)?;
        positive("out_features", self.out_features)?;
        positive("kernel_size", self.kernel_size)?;
        positive("stride", self.stride)?;
        positive("dilation", self.dilation)?;
        positive("groups", self.groups)?;
        let most = u32::MAX as usize / 16;
        let product = self.kernel_size.saturating_mul(self.in_features);
        if product > most || self.out_features > most {
            return wrong(format!(
                "kernel_size · in_features and out_features: expected at most {most} each, got {product} and {}",
                self.out_features
            ));
        }
        for (key, features) in [("in_features", self.in_features), ("out_features", self.out_features)] {
            if !features.is_multiple_of(self.groups) {
                return wrong(format!(
                    "groups: expected a divisor of {key}, got {} groups of {features} features",
                    self.groups
                ));
            }
        }
        Ok(())
    }
}

impl Kind for Conv1d {
    fn name(&self) -> &'static str {
        "conv1d"
    }

    fn takes(&self) -> Option<Flow> {
        Some(Flow::Steps(Features::one(self.in_features)))
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        self.check()?;
        match input {
            Flow::Steps(f) if f.len() == self.in_features => Ok(Flow::Steps(Features::one(self.out_features))),
            _ => unfit(format!("a sequence of {} features (in_features)", self.in_features), input),
        }
    }

    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        let ([inputs, _], outputs, taps) = (self.of_group(), self.out_features, self.kernel_size);
        let terms = inputs.saturating_mul(taps);
        let param = move |name: &str, shape, role, keras| Param {
            name: name.into(),
            shape,
            role,
            init: Init::of_terms(terms, keras),
        };
        let bias = (self.bias != Bias::None).then(|| param(BIAS, vec![outputs], Role::Bias, Law::Zero));
        let law = Law::glorot(terms, outputs.saturating_mul(taps));
        Box::new(iter::once(param(WEIGHT, vec![outputs, inputs, taps], Role::Matrix, law)).chain(bias))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conv1d({}→{}, {}", self.in_features, self.out_features, self.kernel_size)?;
        for (word, size) in [("stride", self.stride), ("dilation", self.dilation), ("groups", self.groups)] {
            if size != 1 {
                write!(f, ", {word} {size}")?;
            }
        }
        match self.padding {
            ConvPadding::Valid => {}
            ConvPadding::Same => write!(f, ", same")?,
            ConvPadding::Causal => write!(f, ", causal")?,
            ConvPadding::Explicit(before, after) => write!(f, ", padding {before}+{after}")?,
        }
        write!(f, ")")?;
        match self.activation {
            Activation::Linear => Ok(()),
            activation => write!(f, " {activation}"),
        }
    }

    fn class(&self) -> &'static str {
        "Conv1D"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_keras_and_pytorch() {
        let conv = |kernel, stride, dilation, padding| {
            Conv1d::new(2, 3, kernel).stride(stride).dilation(dilation).padding(padding)
        };
        // The second column is keras.ops.conv of 11 steps, for all but the explicit padding, which is torch's.
        for (conv, pads, steps) in [
            (conv(4, 1, 1, ConvPadding::Valid), [0, 0], 8),
            (conv(4, 3, 1, ConvPadding::Valid), [0, 0], 3),
            (conv(3, 1, 4, ConvPadding::Valid), [0, 0], 3),
            (conv(4, 1, 1, ConvPadding::Same), [1, 2], 11),
            (conv(4, 3, 1, ConvPadding::Same), [1, 1], 4),
            (conv(2, 4, 1, ConvPadding::Same), [0, 0], 3),
            (conv(3, 2, 2, ConvPadding::Causal), [4, 0], 6),
            (conv(5, 2, 1, ConvPadding::Explicit(2, 3)), [2, 3], 6),
            (conv(12, 1, 1, ConvPadding::Valid), [0, 0], 0),
        ] {
            assert_eq!((conv.pads(11), conv.out_steps(11)), (pads, steps), "{conv:?}");
        }
    }
}
