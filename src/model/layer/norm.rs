//! What the layers that normalise have in common: each works on every step (or row) by itself, and has at most one
//! weight and one bias for each feature.

use std::{fmt, iter};

use super::param::{BIAS, Init, Law, Param, Role, WEIGHT};
use super::{Kind, LayerKind};
use crate::cell::Constant;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, positive, unfit};

/// The name of the mean that a batch norm keeps.
pub(crate) const MEAN: &str = "running_mean";

/// The name of the variance that a batch norm keeps.
pub(crate) const VARIANCE: &str = "running_var";

/// What is computed of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormOf {
    /// [`BatchNorm`](super::BatchNorm).
    Batch,
    /// [`LayerNorm`](super::LayerNorm).
    Layer,
    /// [`RmsNorm`](super::RmsNorm).
    Rms,
    /// [`L2Norm`](super::L2Norm).
    L2,
    /// [`PRelu`](super::PRelu).
    PRelu,
}

/// A layer that normalises, as weights, layouts and the oracle see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Norm {
    /// What it computes.
    pub(crate) of: NormOf,
    /// F.
    pub(crate) features: usize,
    /// The number that keeps it from dividing by zero.
    pub(crate) eps: Constant,
    /// The length of the weight: F, 1, or none.
    pub(crate) weight: Option<usize>,
    /// Whether there is a bias.
    pub(crate) bias: bool,
}

/// What each layer that normalises defines in its file. All else is the same for each.
pub(super) trait Normalizes {
    /// Its name, as descriptions write it.
    const NAME: &'static str;
    /// The class of Keras that a summary shows.
    const CLASS: &'static str;

    /// What it computes.
    fn norm(&self) -> Norm;
}

impl<L: Normalizes> Kind for L {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn takes(&self) -> Option<Flow> {
        Some(Flow::Steps(Features::one(self.norm().features)))
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        self.norm().flow(input)
    }

    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        self.norm().tensors()
    }

    fn parameters(&self) -> usize {
        self.norm().parameters()
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", L::NAME, self.norm().features)
    }

    fn class(&self) -> &'static str {
        L::CLASS
    }
}

impl LayerKind {
    /// Returns what the layer computes if it normalises.
    pub(crate) fn norm(&self) -> Option<Norm> {
        match self {
            Self::BatchNorm(norm) => Some(norm.norm()),
            Self::LayerNorm(norm) => Some(norm.norm()),
            Self::RmsNorm(norm) => Some(norm.norm()),
            Self::L2Norm(norm) => Some(norm.norm()),
            Self::PRelu(norm) => Some(norm.norm()),
            _ => None,
        }
    }
}

impl Norm {
    /// Whether it has the mean and variance of each feature.
    pub(crate) fn has_statistics(self) -> bool {
        self.of == NormOf::Batch
    }

    /// Returns what the layer gives for `input`: as many features.
    fn flow(self, input: Flow) -> Result<Flow> {
        positive("features", self.features)?;
        let eps = self.eps.get();
        if !(eps.is_finite() && eps >= 0.0) {
            return Err(Error::new(ErrorKind::Model, format!("eps: expected a number from 0 on, got {eps}")));
        }
        match input {
            Flow::Steps(f) if f.len() == self.features => Ok(Flow::Steps(Features::one(self.features))),
            Flow::Rows(f) if f.len() == self.features => Ok(Flow::Rows(Features::one(self.features))),
            _ => unfit(format!("{} features (features)", self.features), input),
        }
    }

    /// Returns the table of parameters.
    fn tensors(self) -> Box<dyn Iterator<Item = Param>> {
        let ones = |count| Law::OneAt { first: 0, count };
        let param = |name: &str, len: usize, role, law| Param {
            name: name.into(),
            shape: vec![len],
            role,
            init: Init { range: Init::EVEN, torch: law, keras: law, zero_row: None },
        };
        // PyTorch's and Keras' slopes of a PReLU begin elsewhere.
        let slopes = |len| Param { init: Init::of_slopes(), ..param(WEIGHT, len, Role::Diagonal, Law::Zero) };
        let weight = self.weight.map(|len| match self.of {
            NormOf::PRelu => slopes(len),
            _ => param(WEIGHT, len, Role::Diagonal, ones(len)),
        });
        let features = self.features;
        let bias = self.bias.then(|| param(BIAS, features, Role::Bias, Law::Zero));
        let statistics = self.has_statistics().then(|| {
            let mean = param(MEAN, features, Role::Statistic, Law::Zero);
            let variance = param(VARIANCE, features, Role::Statistic, ones(features));
            // A variance is not negative.
            [mean, Param { init: Init { range: [0.5, 1.5], ..variance.init }, ..variance }]
        });
        Box::new(iter::empty().chain(weight).chain(bias).chain(statistics.into_iter().flatten()))
    }

    /// Returns the number of its trainable parameters.
    fn parameters(self) -> usize {
        self.weight.unwrap_or(0).saturating_add(if self.bias { self.features } else { 0 })
    }
}
