//! What training minimises: losses, their targets, and the objective, which is their weighted sum.
//!
//! A loss is a mean over all that counts: rows, or the live steps of all rows, times features if the
//! targets have them. `check` brings targets into the order of the executors, and folds all weights
//! into one factor for each row. Knows models and calls; host data alone, no kernel and no device.
//!
//! The docs of each loss define it, with the formulas of PyTorch and Keras.

mod check;
mod head;
mod place;

use ndarray::{Array, ArrayD, Dimension};

pub(crate) use check::{Aim, Aimed, Measure, Measured, shapes};
pub(crate) use head::last_activation;

/// The target that a loss of classes ignores unless it is told another.
pub(crate) const IGNORED: i64 = -100;

/// A loss between an output of a model and its targets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// A loss of classes: see [`CrossEntropy`].
    CrossEntropy(CrossEntropy),
    /// A loss of yes and no: see [`BinaryCrossEntropy`].
    BinaryCrossEntropy(BinaryCrossEntropy),
    /// The mean of `(y − t)²` (torch.nn.MSELoss, Keras `MeanSquaredError`).
    MeanSquared,
    /// The mean of `|y − t|` (torch.nn.L1Loss, Keras `MeanAbsoluteError`).
    MeanAbsolute,
    /// Squared near the target, absolute far from it: see [`Huber`].
    Huber(Huber),
    /// The sum of `y²` over rows or live steps, without targets and
    /// without a division. It serves benchmarks and tests of gradients.
    SumOfSquares,
}

/// `−ln softmax(z)_y` of the logits `z` and the class `y` of each row or
/// step (torch.nn.CrossEntropyLoss, Keras `SparseCategoricalCrossentropy`).
///
/// ```text
/// ℓ = (1 − s) · w_y · (−ln p_y) + s/C · Σ_c w_c · (−ln p_c)        p = softmax(z), C classes
/// loss = Σ ℓ / Σ w_y                                               over targets that are not ignored
/// ```
///
/// The class weights `w` default to 1, and the smoothing `s` to 0: PyTorch's formula. A last activation
/// of softmax or `log_softmax` is part of the loss, which is computed from the logits before it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CrossEntropy {
    /// The target that is ignored.
    pub ignore: i64,
    /// One weight for each class.
    pub class_weights: Option<Vec<f32>>,
    /// The share of the target that is spread over all classes, 0 to 1.
    pub smoothing: f32,
}

/// `−t ln σ(z) − (1 − t) ln (1 − σ(z))` of the logit `z` and the target `t`
/// of each feature (torch.nn.BCEWithLogitsLoss, Keras `BinaryCrossentropy`).
///
/// ```text
/// loss = Σ w(t) · ℓ / n        w(t) = (1 − t) · w_no + t · w_yes, over n features of rows or live steps
/// ```
///
/// The class weights `w_no` and `w_yes` default to 1, and apply to an output of one feature: a row counts as
/// much as its label says. The mean is divided by the number of features, not by their weights. If targets
/// are 0 and 1, `w_no = 1` makes `w_yes` PyTorch's `pos_weight`; both together are Keras' `class_weight`.
///
/// A last activation of sigmoid is part of the loss, which is computed from the
/// logits before it. So no probability is clipped, as Keras does with probabilities.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BinaryCrossEntropy {
    /// How far targets are moved towards a half, 0 to 1: `t (1 − s) + s/2` (Keras'
    /// `label_smoothing`). Class weights are those of the targets before that.
    pub smoothing: f32,
    /// The weights of targets 0 and 1, for an output of one feature.
    pub class_weights: Option<[f32; 2]>,
}

/// `e²/2` where `|e| ≤ δ`, else `δ (|e| − δ/2)`, with `e = y − t` (torch.nn.HuberLoss, Keras `Huber`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Huber {
    /// δ, the error at which the square ends.
    pub delta: f32,
}

/// The targets of an output, and how much each row counts.
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

/// What training minimises: the weighted sum of losses.
///
/// # Example
///
/// ```
/// use gatewave::train::{CrossEntropy, Loss, Objective};
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
#[non_exhaustive]
pub struct Term {
    /// The index of the output among those of the model that are not final states. 0 is
    /// [`Output::output`](crate::Output::output), 1 the first of [`Output::others`](crate::Output::others).
    pub output: usize,
    /// The loss.
    pub loss: Loss,
    /// The factor of the loss.
    pub weight: f32,
}

impl Term {
    /// Makes a term: `weight` times the loss of an output, counted
    /// from 0 among those of the model that are not final states.
    pub fn new(output: usize, loss: impl Into<Loss>, weight: f32) -> Self {
        Self { output, loss: loss.into(), weight }
    }
}

impl Loss {
    /// The words for losses, as on the command line.
    pub const NAMES: [&'static str; 5] = ["cross_entropy", "binary_cross_entropy", "mse", "mae", "huber"];

    /// Returns the loss of that name, with its default settings.
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

    /// Returns its name.
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
    /// Returns a loss that ignores −100, without class weights or smoothing.
    fn default() -> Self {
        Self { ignore: IGNORED, class_weights: None, smoothing: 0.0 }
    }
}

impl CrossEntropy {
    /// Sets the target that is ignored.
    #[must_use]
    pub fn ignore(mut self, target: i64) -> Self {
        self.ignore = target;
        self
    }

    /// Sets the weights of the classes, one for each.
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
    /// Sets how far targets are moved towards a half.
    #[must_use]
    pub fn smoothing(mut self, share: f32) -> Self {
        self.smoothing = share;
        self
    }

    /// Sets the weights of targets 0 and 1.
    #[must_use]
    pub fn class_weights(mut self, weights: [f32; 2]) -> Self {
        self.class_weights = Some(weights);
        self
    }
}

impl Default for Huber {
    /// Returns a loss whose square ends at 1.
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

impl Huber {
    /// Sets the error at which the square ends.
    #[must_use]
    pub fn delta(mut self, delta: f32) -> Self {
        self.delta = delta;
        self
    }
}

impl Targets {
    /// Makes targets of classes, for a cross-entropy.
    ///
    /// # Shapes
    ///
    /// An output with steps takes `[B, T]`, or `[T, B]` if the model is time-major; one without steps
    /// takes `[B]`. Without a batch they are `[T]` or a scalar. Targets at dead steps are not read.
    pub fn classes<D: Dimension>(classes: Array<i64, D>) -> Self {
        Self { wanted: Wanted::Classes(classes.into_dyn()), sample_weights: None }
    }

    /// Makes targets of numbers, for any loss but a cross-entropy of classes.
    ///
    /// # Shapes
    ///
    /// The shape of the output. Targets of a binary cross-entropy may leave out the features if there is one.
    pub fn values<D: Dimension>(values: Array<f32, D>) -> Self {
        Self { wanted: Wanted::Values(values.into_dyn()), sample_weights: None }
    }

    /// Makes no targets, for [`Loss::SumOfSquares`].
    pub fn none() -> Self {
        Self { wanted: Wanted::None, sample_weights: None }
    }

    /// Sets the weights of the loss of each row or step. The mean is still divided by the number of
    /// rows or steps that count, and not by the sum of these weights (Keras' `sum_over_batch_size`).
    ///
    /// # Shapes
    ///
    /// The shape of classes, or `[B]` for all steps of a row.
    #[must_use]
    pub fn sample_weights<D: Dimension>(mut self, weights: Array<f32, D>) -> Self {
        self.sample_weights = Some(weights.into_dyn());
        self
    }
}

impl Objective {
    /// Makes an objective of the loss of a model's first output.
    pub fn new(loss: impl Into<Loss>) -> Self {
        Self { terms: vec![Term { output: 0, loss: loss.into(), weight: 1.0 }] }
    }

    /// Adds `weight` times the loss of output `output`, counted from 0 among those that are not final states.
    #[must_use]
    pub fn and(mut self, output: usize, loss: impl Into<Loss>, weight: f32) -> Self {
        self.terms.push(Term { output, loss: loss.into(), weight });
        self
    }

    /// Makes an objective of these terms.
    pub fn of_terms(terms: impl IntoIterator<Item = Term>) -> Self {
        Self { terms: terms.into_iter().collect() }
    }

    /// Returns its terms. A call brings targets for each, in their order.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }
}

impl<L: Into<Loss>> From<L> for Objective {
    fn from(loss: L) -> Self {
        Self::new(loss)
    }
}
