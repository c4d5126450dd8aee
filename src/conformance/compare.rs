//! The one comparison and the one table of tolerances, for every executor and every test.
//!
//! Knows numbers and models; knows no case and no executor.

use std::f64::consts::SQRT_2;
use std::fmt;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{LayerKind, Model};

/// The allowed distance of two numbers: `|a − b| ≤ abs + rel · max(|a|, |b|)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The allowed distance at zero.
    pub abs: f64,
    /// The allowed distance for each unit of size.
    pub rel: f64,
}

/// Half the distance between 1 and the next f32: the largest error of one operation on numbers near 1.
pub(super) const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// The roundings of a step besides its product: the bias, the sum of the
/// two halves, the activations and the pointwise update, each a few ULP.
const POINTWISE: f64 = 8.0;

impl Tolerance {
    /// The oracle against fixtures that another framework computed in f64 from the same f32 weights and inputs.
    ///
    /// Both sides are exact to about 1e-13. The rest is allowed because
    /// a framework may hold its inputs or its result in f32 in between.
    pub const FIXTURE: Self = Self { abs: 2e-6, rel: 2e-6 };

    /// An executor in f32 against the oracle.
    ///
    /// A product of depth K with partial sums of size about 1 has an error of about `√K` roundings; the sure
    /// bound `γ_K` is K of them. (Higham and Mary, "A New Approach to Probabilistic Rounding Error Analysis",
    /// 2019.) A step adds `POINTWISE` more. Slopes are at most 1 and the recurrent products contract, so the
    /// errors of T steps and L layers add up like independent ones: by `√(T · L)`. Weights in half precision
    /// change nothing, since the oracle gets the rounded ones and sums stay in f32.
    ///
    /// Measured: these equations, run in f32, use at most 49 % of it over the whole table (deep relu stacks).
    /// Most cells use less than 15 %. Any bug of [`Bug`](super::Bug) overshoots it tenfold.
    pub fn executor(model: &Model, time: usize) -> Self {
        let (depth, layers) = model.layers.iter().fold((1, 0), |(depth, layers), layer| match &layer.kind {
            LayerKind::Recurrent(r) => {
                let widest = (0..r.num_layers).map(|l| r.layer_input(l).len()).max().unwrap_or(0);
                (depth.max(widest + r.hidden_size), layers + r.num_layers)
            }
            LayerKind::Linear(l) => (depth.max(l.in_features), layers + 1),
            LayerKind::Conv1d(c) => (depth.max(c.of_group()[0] * c.kernel_size), layers + 1),
            kind => kind.norm().map_or((depth, layers), |norm| (depth.max(norm.features), layers + 1)),
        });
        Self::roundings((root(depth) + POINTWISE) * root(time * layers.max(1)))
    }

    /// One executor in f32 against another: a few ULP for each step.
    ///
    /// This is the allowed error of each, times `√2`: two independent errors.
    pub fn executors(model: &Model, time: usize) -> Self {
        let one = Self::executor(model, time);
        Self { abs: one.abs * SQRT_2, rel: one.rel * SQRT_2 }
    }

    /// A gradient in f32 against the oracle's. `want` is the true gradient of the tensor.
    ///
    /// An element is a sum over steps and rows whose terms cancel, so the tensor's
    /// largest element is the measure of their size. It counts as at least `SMALLEST`: if
    /// terms of about 1 cancel completely, only the four roundings of their sum remain.
    pub fn gradient(want: &ArrayD<f64>) -> Self {
        let largest = want.iter().fold(Self::SMALLEST, |largest, x| largest.max(x.abs()));
        Self { abs: Self::GRADIENT * largest, rel: 0.0 }
    }

    /// Measured: the CPU uses 10 % of it over the whole table; any
    /// bug of [`PlanBug`](super::PlanBug) overshoots it tenfold.
    const GRADIENT: f64 = 5e-5;
    const SMALLEST: f64 = 5e-3;

    fn roundings(count: f64) -> Self {
        Self { abs: count * UNIT, rel: count * UNIT }
    }

    /// Returns the allowed distance of `a` and `b`.
    fn allows(self, a: f64, b: f64) -> f64 {
        self.abs + self.rel * a.abs().max(b.abs())
    }
}

fn root(n: usize) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let n = n as f64;
    n.sqrt()
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e} + {:.1e}·|x|", self.abs, self.rel)
    }
}

/// The worst element of a tensor: its place, its values, and how much of the tolerance it uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The number of elements compared.
    pub elements: usize,
    /// The index of the worst one.
    pub index: Vec<usize>,
    /// The value from the executor.
    pub got: f32,
    /// The true value.
    pub want: f64,
    /// Their distance, in units of the last place of the f32 nearest to `want`.
    pub ulps: f64,
    /// How much of the tolerance their distance is: 1 is all of it. It is infinite if one of the two is not finite.
    pub used: f64,
    /// The tolerance.
    pub tolerance: Tolerance,
}

impl Comparison {
    /// Returns the same comparison within `tolerance`, if that allows more.
    pub(super) fn within(self, tolerance: Tolerance) -> Self {
        let used = used(f64::from(self.got), self.want, tolerance);
        if used < self.used { Self { used, tolerance, ..self } } else { self }
    }

    /// Whether every element is within the tolerance.
    pub fn passed(&self) -> bool {
        self.used <= 1.0
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} % of tolerance, worst at {:?}: got {}, want {:.9}, {:.1} ULP",
            100.0 * self.used,
            self.index,
            self.got,
            self.want,
            self.ulps
        )
    }
}

/// Compares an executor's tensor with the true one.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Shape`] if the shapes differ, or if there is no element to compare.
pub fn compare(got: ArrayViewD<'_, f32>, want: ArrayViewD<'_, f64>, tolerance: Tolerance) -> Result<Comparison> {
    if got.shape() != want.shape() {
        let message = format!("expected {:?}, got {:?}", want.shape(), got.shape());
        return Err(Error::new(ErrorKind::Shape, message));
    }
    let mut worst: Option<(IxDyn, f64)> = None;
    for ((index, &a), &b) in got.indexed_iter().zip(want.iter()) {
        let used = used(f64::from(a), b, tolerance);
        if worst.as_ref().is_none_or(|(_, most)| used > *most) {
            worst = Some((index, used));
        }
    }
    let (index, used) =
        worst.ok_or_else(|| Error::new(ErrorKind::Shape, format!("expected elements, got {:?}", got.shape())))?;
    let (a, b) = (got[&index], want[&index]);
    Ok(Comparison {
        elements: got.len(),
        ulps: (f64::from(a) - b).abs() / ulp(b),
        index: ndarray::Dimension::slice(&index).to_vec(),
        got: a,
        want: b,
        used,
        tolerance,
    })
}

/// Returns the distance of `a` and `b` as a part of the tolerance; infinite if one of them is not finite.
fn used(a: f64, b: f64, tolerance: Tolerance) -> f64 {
    if a.is_finite() && b.is_finite() { (a - b).abs() / tolerance.allows(a, b) } else { f64::INFINITY }
}

/// Returns the distance from the f32 nearest to `x` to the next larger one.
fn ulp(x: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, reason = "the nearest f32 is meant")]
    let near = (x.abs() as f32).min(f32::MAX);
    f64::from(f32::from_bits(near.to_bits() + 1)) - f64::from(near)
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, array};

    use super::*;

    const TOLERANCE: Tolerance = Tolerance { abs: 0.5, rel: 0.25 };

    fn one(a: f32, b: f64) -> Comparison {
        compare(arr1(&[a]).into_dyn().view(), arr1(&[b]).into_dyn().view(), TOLERANCE).unwrap()
    }

    #[test]
    fn a_difference_is_measured_against_the_larger_of_the_two() {
        assert_eq!(one(4.0, 2.5).used, 1.0);
        assert!(one(4.0, 2.5).passed());
        assert!(!one(4.0, 2.49).passed());
        assert_eq!(one(0.0, 0.25).used, 0.25 / 0.5625);
    }

    #[test]
    fn no_number_never_passes() {
        for (a, b) in [(f32::NAN, 0.0), (0.0, f64::NAN), (f32::NAN, f64::NAN), (f32::INFINITY, f64::INFINITY)] {
            let comparison = one(a, b);
            assert!(!comparison.passed(), "{comparison}");
        }
    }

    #[test]
    fn the_worst_element_is_named() {
        let got = array![[1.0_f32, 2.0], [3.0, 4.5], [5.0, 6.0]].into_dyn();
        let want = array![[1.0, 2.0], [3.0, 4.0], [5.25, 6.0]].into_dyn();
        let comparison = compare(got.view(), want.view(), TOLERANCE).unwrap();
        assert_eq!((comparison.index.as_slice(), comparison.elements), ([1, 1].as_slice(), 6));
        assert_eq!(
            comparison.to_string(),
            "30.8 % of tolerance, worst at [1, 1]: got 4.5, want 4.000000000, 1048576.0 ULP"
        );
    }

    #[test]
    fn the_worst_element_is_named_by_its_logical_index_whatever_the_memory_order() {
        let got = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]].reversed_axes().into_dyn();
        let mut want = array![[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]].into_dyn();
        want[[2, 0]] = 3.1;
        assert_eq!(compare(got.view(), want.view(), TOLERANCE).unwrap().index, [2, 0]);
    }

    #[test]
    fn another_shape_or_none_is_an_error() {
        let message = |got: &[usize], want: &[usize]| {
            compare(ndarray::ArrayD::zeros(got).view(), ndarray::ArrayD::zeros(want).view(), TOLERANCE)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(message(&[2, 3], &[3, 2]), "expected [3, 2], got [2, 3]");
        assert_eq!(message(&[0, 3], &[0, 3]), "expected elements, got [0, 3]");
    }

    #[test]
    fn an_ulp_is_the_step_to_the_next_f32() {
        assert_eq!(ulp(1.0), f64::from(f32::EPSILON));
        assert_eq!(ulp(-0.75), f64::from(f32::EPSILON) / 2.0);
        assert!(ulp(0.0) > 0.0);
    }
}
