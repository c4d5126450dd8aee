//! What training makes small: losses, what they are measured against, and the objective, their weighted sum.
//!
//! A loss is a mean over what counts: rows, or the live steps of all rows, times features where targets have them. `check`
//! brings targets into the road's order and folds all that counts into one factor for each row. Knows models and calls; host
//! data alone, no kernel and no device.
//!
//! What each loss means stands at its type, with PyTorch's and Keras' formulas.

mod check;
mod head;
mod place;

use ndarray::{Array, ArrayD, Dimension};

pub(crate) use check::{Aim, Aimed, Measure, Measured, shapes};
pub(crate) use head::last_activation;

/// What is measured between an output of a model and its targets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Of classes: see [`CrossEntropy`].
    CrossEntropy(CrossEntropy),
    /// Of yes and no: see [`BinaryCrossEntropy`].
    BinaryCrossEntropy(BinaryCrossEntropy),
    /// The mean of `(y − t)²` (torch.nn.MSELoss, Keras `MeanSquaredError`).
    MeanSquared,
    /// The mean of `|y − t|` (torch.nn.L1Loss, Keras `MeanAbsoluteError`).
    MeanAbsolute,
    /// Squared near the target, absolute far from it: see [`Huber`].
    Huber(Huber),
    /// The sum of `y²` over rows or live steps, without targets and not divided by anything: for benchmarks and tests of
    /// gradients.
    SumOfSquares,
}

/// `−ln softmax(z)_y` of the logits `z` and the class `y` of each row or step (torch.nn.CrossEntropyLoss, Keras
/// `SparseCategoricalCrossentropy`).
///
/// ```text
/// ℓ = (1 − s) · w_y · (−ln p_y) + s/C · Σ_c w_c · (−ln p_c)        p = softmax(z), C classes
/// loss = Σ ℓ / Σ w_y                                               over targets that are not ignored
/// ```
///
/// With class weights `w` (else 1) and smoothing `s` (else 0): PyTorch's formula. A last activation of softmax or `log_softmax`
/// is part of the loss, which is taken from the logits before it.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// The target that does not count.
    pub ignore: i64,
    /// One weight for each class.
    pub class_weights: Option<Vec<f32>>,
    /// The share of the target that is spread over all classes, 0 to 1.
    pub smoothing: f32,
}

/// `−t ln σ(z) − (1 − t) ln (1 − σ(z))` of the logit `z` and the target `t` of each feature (torch.nn.BCEWithLogitsLoss, Keras
/// `BinaryCrossentropy`).
///
/// ```text
/// loss = Σ w(t) · ℓ / n        w(t) = (1 − t) · w_no + t · w_yes, over n features of rows or live steps
/// ```
///
/// With class weights `w_no` and `w_yes` (else 1), of an output of one feature: a row counts as much as its label says. The mean is
/// divided by how many there are and not by their weights. Of targets of 0 and 1 `w_no = 1` makes `w_yes` PyTorch's `pos_weight`, and both together are
/// Keras' `class_weight`.
///
/// A last activation of sigmoid is part of the loss, which is taken from the logits before it. So no probability is clipped,
/// as Keras does where it is given probabilities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryCrossEntropy {
    /// What targets are moved towards a half by, 0 to 1: `t (1 − s) + s/2` (Keras' `label_smoothing`). Weights are those of the targets
    /// before that.
    pub smoothing: f32,
    /// How much a target of 0 and one of 1 count, of an output of one feature.
    pub class_weights: Option<[f32; 2]>,
}

/// `e²/2` where `|e| ≤ δ`, else `δ (|e| − δ/2)`, of `e = y − t` (torch.nn.HuberLoss, Keras `Huber`).
#[derive(Clone, Debug, PartialEq)]
pub struct Huber {
    /// Where the square ends.
    pub delta: f32,
}

/// What an output is measured against, and how much each row counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    wanted: Wanted,
    sample_weights: Option<ArrayD<f32>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Classes(ArrayD<i64>),
    Values(ArrayD<f32>),
    None,
}

/// What training makes small: the weighted sum of losses.
///
/// # Example
///
/// ```
/// use gatewave::{CrossEntropy, Loss, Objective};
///
/// let one = Objective::new(CrossEntropy::default().smoothing(0.1));
/// // Of a model with two outputs: the second counts a tenth.
/// let two = Objective::new(Loss::MeanSquared).and(1, CrossEntropy::default(), 0.1);
/// assert_eq!((one.terms().len(), two.terms().len()), (1, 2));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    terms: Vec<Term>,
}

/// One of the losses of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The output, counted from 0 among those of the model that are no final states: 0 is
    /// [`Output::output`](crate::Output::output), 1 the first of [`Output::others`](crate::Output::others).
    pub output: usize,
    /// What is measured.
    pub loss: Loss,
    /// What it is multiplied by.
    pub weight: f32,
}

impl Loss {
    /// The words for losses, as the command line has them.
    pub const NAMES: [&'static str; 5] = ["cross_entropy", "binary_cross_entropy", "mse", "mae", "huber"];

    /// The loss of that name, as it is where nothing else is said.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "cross_entropy" => CrossEntropy::default().into(),
            "binary_cross_entropy" => BinaryCrossEntropy::default().into(),
            "mse" => Self::MeanSquared,
            "mae" => Self::MeanAbsolute,
            "huber" => Huber::default().into(),
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy(_) => "cross_entropy",
            Self::BinaryCrossEntropy(_) => "binary_cross_entropy",
            Self::MeanSquared => "mse",
            Self::MeanAbsolute => "mae",
            Self::Huber(_) => "huber",
            Self::SumOfSquares => "sum_of_squares",
        }
    }
}

impl From<CrossEntropy> for Loss {
    fn from(loss: CrossEntropy) -> Self {
        Self::CrossEntropy(loss)
    }
}

impl From<BinaryCrossEntropy> for Loss {
    fn from(loss: BinaryCrossEntropy) -> Self {
        Self::BinaryCrossEntropy(loss)
    }
}

impl From<Huber> for Loss {
    fn from(loss: Huber) -> Self {
        Self::Huber(loss)
    }
}

impl Default for CrossEntropy {
    /// Ignores −100; without class weights or smoothing.
    fn default() -> Self {
        Self { ignore: -100, class_weights: None, smoothing: 0.0 }
    }
}

impl CrossEntropy {
    /// Sets the target that does not count.
    #[must_use]
    pub fn ignore(mut self, target: i64) -> Self {
        self.ignore = target;
        self
    }

    /// Sets one weight for each class.
    #[must_use]
    pub fn class_weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
        self.class_weights = Some(weights.into());
        self
    }

    /// Sets the share of the target that is spread over all classes.
    #[must_use]
    pub fn smoothing(mut self, share: f32) -> Self {
        self.smoothing = share;
        self
    }
}

impl BinaryCrossEntropy {
    /// Sets what targets are moved towards a half by.
    #[must_use]
    pub fn smoothing(mut self, share: f32) -> Self {
        self.smoothing = share;
        self
    }

    /// Sets how much a target of 0 and one of 1 count.
    #[must_use]
    pub fn class_weights(mut self, weights: [f32; 2]) -> Self {
        self.class_weights = Some(weights);
        self
    }
}

impl Default for Huber {
    /// The square ends at 1.
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

impl Huber {
    /// Sets where the square ends.
    #[must_use]
    pub fn delta(mut self, delta: f32) -> Self {
        self.delta = delta;
        self
    }
}

impl Targets {
    /// Classes, for a cross-entropy.
    ///
    /// # Shapes
    ///
    /// `[B, T]` (`[T, B]` where the model is time-major) of an output with steps, `[B]` of one without; without a batch `[T]`,
    /// or no axis. What stands at a dead step is not read.
    pub fn classes<D: Dimension>(classes: Array<i64, D>) -> Self {
        Self { wanted: Wanted::Classes(classes.into_dyn()), sample_weights: None }
    }

    /// Numbers, for any loss but a cross-entropy of classes.
    ///
    /// # Shapes
    ///
    /// The output's. Those of a binary cross-entropy may leave out the features where there is one.
    pub fn values<D: Dimension>(values: Array<f32, D>) -> Self {
        Self { wanted: Wanted::Values(values.into_dyn()), sample_weights: None }
    }

    /// None, for [`Loss::SumOfSquares`].
    pub fn none() -> Self {
        Self { wanted: Wanted::None, sample_weights: None }
    }

    /// Sets what the loss of each row or step is multiplied by. The mean is still divided by the number of what counts and not
    /// by the sum of these weights (Keras' `sum_over_batch_size`).
    ///
    /// # Shapes
    ///
    /// As classes have them, or `[B]` for all steps of a row.
    #[must_use]
    pub fn sample_weights<D: Dimension>(mut self, weights: Array<f32, D>) -> Self {
        self.sample_weights = Some(weights.into_dyn());
        self
    }
}

impl Objective {
    /// The loss of a model's first output.
    pub fn new(loss: impl Into<Loss>) -> Self {
        Self { terms: vec![Term { output: 0, loss: loss.into(), weight: 1.0 }] }
    }

    /// The same and `weight` times the loss of output `output`, counted from 0 among those that are no final states.
    #[must_use]
    pub fn and(mut self, output: usize, loss: impl Into<Loss>, weight: f32) -> Self {
        self.terms.push(Term { output, loss: loss.into(), weight });
        self
    }

    /// An objective of these terms.
    pub fn of_terms(terms: impl IntoIterator<Item = Term>) -> Self {
        Self { terms: terms.into_iter().collect() }
    }

    /// Its terms. A call brings targets for each, in their order.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }
}

impl<L: Into<Loss>> From<L> for Objective {
    fn from(loss: L) -> Self {
        Self::new(loss)
    }
}
