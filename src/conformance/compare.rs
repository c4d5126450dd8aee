//! One comparison and one table of tolerances, for every executor and every test.
//!
//! Knows numbers and models; knows no case and no executor.

use std::f64::consts::SQRT_2;
use std::fmt;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{LayerKind, Model};

/// How far two numbers may be apart: `|a − b| ≤ abs + rel · max(|a|, |b|)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// What is allowed at zero.
    pub abs: f64,
    /// What is allowed for each unit of size.
    pub rel: f64,
}

/// Half the distance between 1 and the next f32: the most that one operation on numbers near 1 is wrong by.
pub(super) const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Roundings of a step beside its product: the bias, the sum of the two halves, the activations and the pointwise
/// update, each of a few ULP.
const POINTWISE: f64 = 8.0;

impl Tolerance {
    /// Oracle against fixtures that another framework computed in f64 from the same f32 weights and inputs.
    ///
    /// Both sides are exact to about 1e-13; what is left is that a framework may hold its inputs or its result in
    /// f32 on the way.
    pub const FIXTURE: Self = Self { abs: 2e-6, rel: 2e-6 };

    /// An executor in f32 against the oracle.
    ///
    /// A product of depth K with partial sums of size about 1 is wrong by about `√K` roundings (Higham and Mary,
    /// "A New Approach to Probabilistic Rounding Error Analysis", 2019; the sure bound `γ_K` is K of them), a step by
    /// `POINTWISE` more. Slopes are at most 1 and the recurrent products contract, so that the errors of T steps
    /// and L layers add up like independent ones: by `√(T · L)`. Weights in half precision change nothing, since the
    /// oracle is given the rounded ones and sums stay in f32.
    ///
    /// Measured: these equations run in f32 use at most 49 % of it over the whole table (deep relu stacks), and
    /// most cells less than 15 %; any bug of [`Bug`](super::Bug) overshoots it tenfold.
    pub fn executor(model: &Model, time: usize) -> Self {
        let (depth, layers) = model.layers.iter().fold((1, 0), |(depth, layers), layer| match &layer.kind {
            LayerKind::Recurrent(r) => {
                let widest = (0..r.num_layers).map(|l| r.layer_input(l).len()).max().unwrap_or(0);
                (depth.max(widest + r.hidden_size), layers + r.num_layers)
            }
            LayerKind::Linear(l) => (depth.max(l.in_features), layers + 1),
            _ => (depth, layers),
        });
        Self::roundings((root(depth) + POINTWISE) * root(time * layers.max(1)))
    }

    /// One executor in f32 against another: a few ULP a step.
    ///
    /// What either may be away from the truth, times `√2`: two independent errors.
    pub fn executors(model: &Model, time: usize) -> Self {
        let one = Self::executor(model, time);
        Self { abs: one.abs * SQRT_2, rel: one.rel * SQRT_2 }
    }

    /// A gradient in f32 against the oracle's, of a tensor of which `want` is the truth.
    ///
    /// An element is a sum over steps and rows whose terms cancel, so it is the largest of the tensor that says how large
    /// they are. What is less than `SMALLEST` altogether is what is left of such sums: of terms of about 1, where all that is
    /// left is nothing, four roundings.
    pub fn gradient(want: &ArrayD<f64>) -> Self {
        let largest = want.iter().fold(Self::SMALLEST, |largest, x| largest.max(x.abs()));
        Self { abs: Self::GRADIENT * largest, rel: 0.0 }
    }

    /// Measured: the CPU uses 10 % of it over the whole table; any bug of [`PlanBug`](super::PlanBug) overshoots it tenfold.
    const GRADIENT: f64 = 5e-5;
    const SMALLEST: f64 = 5e-3;

    fn roundings(count: f64) -> Self {
        Self { abs: count * UNIT, rel: count * UNIT }
    }

    /// What is allowed between `a` and `b`.
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

/// The worst element of a tensor: where it is, what it is, and how much of the tolerance it uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// How many elements were compared.
    pub elements: usize,
    /// Where the worst one is.
    pub index: Vec<usize>,
    /// What the executor gave there.
    pub got: f32,
    /// What is true there.
    pub want: f64,
    /// How far apart they are, in units of the last place of the f32 nearest to `want`.
    pub ulps: f64,
    /// How much of the tolerance that is: 1 is all of it. Infinite where one of the two is no number.
    pub used: f64,
    /// The tolerance.
    pub tolerance: Tolerance,
}

impl Comparison {
    /// The same within `tolerance`, where that allows more.
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

/// Compares what an executor gave with what is true.
///
/// # Errors
///
/// Kind `Shape`, where the shapes differ or there is no element: nothing compared is nothing proved.
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

/// The part of the tolerance that lies between `a` and `b`: infinite where one of them is no finite number.
fn used(a: f64, b: f64, tolerance: Tolerance) -> f64 {
    if a.is_finite() && b.is_finite() { (a - b).abs() / tolerance.allows(a, b) } else { f64::INFINITY }
}

/// The distance from the f32 nearest to `x` to the next larger one.
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
