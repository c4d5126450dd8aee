//! Losses of rows, and their gradients by the values they are measured on, in f64.

use ndarray::{Array1, Array3, ArrayView1, Zip, s};

use super::activation::{activate, sigmoid, softplus};
use crate::cell::Activation;
use crate::loss::{Aim, Aimed, Measure};

/// Returns `Σ scale · ℓ` over the rows of an output, `[T, B, F]`, and its gradient.
pub(super) fn measured(aim: &Aim, y: &Array3<f64>) -> (f64, Array3<f64>) {
    let (mut loss, mut d_y) = (0.0, Array3::zeros(y.dim()));
    for ((t, b), &scale) in aim.scale.indexed_iter().filter(|(_, scale)| **scale != 0.0) {
        let row = y.slice(s![t, b, ..]);
        let (own, d_row) = match (&aim.measured.measure, &aim.aimed) {
            (Measure::CrossEntropy, Aimed::Classes(classes)) => cross_entropy(row, &unit(row.len(), classes[[t, b]])),
            (Measure::Smoothed { share, class_weights }, Aimed::Classes(classes)) => {
                cross_entropy(row, &smoothed(class_weights, f64::from(*share), classes[[t, b]]))
            }
            (measure, Aimed::Values(values)) => {
                elementwise(measure, row, values.slice(s![t, b, ..]).mapv(f64::from).view())
            }
            (measure, _) => elementwise(measure, row, Array1::zeros(row.len()).view()),
        };
        let scale = f64::from(scale);
        loss += scale * own;
        d_y.slice_mut(s![t, b, ..]).assign(&(d_row * scale));
    }
    (loss, d_y)
}

/// ```text
/// ℓ = −Σ_c q_c ln p_c        p = softmax(z)
/// δz = p Σ q − q
/// ```
fn cross_entropy(z: ArrayView1<'_, f64>, q: &Array1<f64>) -> (f64, Array1<f64>) {
    let ln_p = activate(Activation::LogSoftmax, z.to_owned());
    // A class with a share of 0 does not count, however unlikely it is.
    let loss = -Zip::from(q).and(&ln_p).fold(0.0, |sum, &q, &ln_p| if q == 0.0 { sum } else { sum + q * ln_p });
    (loss, ln_p.mapv(f64::exp) * q.sum() - q)
}

/// Returns a share of 1 for one class.
fn unit(classes: usize, class: u32) -> Array1<f64> {
    Array1::from_shape_fn(classes, |c| if c == class as usize { 1.0 } else { 0.0 })
}

/// Returns `q_c = (1 − s) w_c [c = y] + s/C · w_c`, as torch.nn.CrossEntropyLoss.
fn smoothed(class_weights: &[f32], share: f64, class: u32) -> Array1<f64> {
    #[expect(clippy::cast_precision_loss, reason = "few classes")]
    let spread = share / class_weights.len() as f64;
    let own = |c: usize| if c == class as usize { 1.0 - share } else { 0.0 };
    class_weights.iter().enumerate().map(|(c, &weight)| f64::from(weight) * (own(c) + spread)).collect()
}

/// Returns the sum over features, and the derivative of each.
fn elementwise(measure: &Measure, y: ArrayView1<'_, f64>, t: ArrayView1<'_, f64>) -> (f64, Array1<f64>) {
    let one = |y: f64, t: f64| {
        let e = y - t;
        match measure {
            // −t ln σ(z) − (1 − t) ln (1 − σ(z)) = softplus(z) − t z
            Measure::BinaryCrossEntropy => (softplus(y) - t * y, sigmoid(y) - t),
            Measure::Squared => (e * e, 2.0 * e),
            Measure::Absolute => (e.abs(), sign(e)),
            Measure::Huber { delta } => {
                let delta = f64::from(*delta);
                if e.abs() <= delta { (e * e / 2.0, e) } else { (delta * (e.abs() - delta / 2.0), delta * sign(e)) }
            }
            Measure::SumOfSquares => (y * y, 2.0 * y),
            Measure::CrossEntropy | Measure::Smoothed { .. } => unreachable!("checked targets are classes"),
        }
    };
    let d = Zip::from(&y).and(&t).map_collect(|&y, &t| one(y, t).1);
    (Zip::from(&y).and(&t).fold(0.0, |sum, &y, &t| sum + one(y, t).0), d)
}

/// Returns −1, 0 or 1.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr1, array};

    use super::*;
    use crate::loss::Measured;
    use crate::model::{Features, Flow, Pin, Value};

    fn aim(measure: Measure, aimed: Aimed) -> Aim {
        let (value, flow) = (Value::Layer(0, Pin::Output), Flow::Rows(Features { parts: 1, size: 4 }));
        let measured = Measured { value, flow, bare: None, measure };
        Aim { measured, aimed, scale: Array2::from_elem((1, 1), 0.5), counts: Array2::default((1, 1)) }
    }

    #[test]
    fn each_gradient_is_the_limit_of_differences() {
        let z = array![[[0.3, -1.2, 0.8, 2.0]]];
        let values = || Aimed::Values(array![[[1.0, 0.25, 0.75, 0.0]]]);
        let classes = || Aimed::Classes(array![[2]]);
        let share = Measure::Smoothed { share: 0.2, class_weights: vec![1.0, 0.5, 2.0, 0.0] };
        for aim in [
            aim(Measure::CrossEntropy, classes()),
            aim(share, classes()),
            aim(Measure::BinaryCrossEntropy, values()),
            aim(Measure::Squared, values()),
            aim(Measure::Absolute, values()),
            aim(Measure::Huber { delta: 1.0 }, values()),
            aim(Measure::SumOfSquares, Aimed::None),
        ] {
            let (_, got) = measured(&aim, &z);
            for n in 0..4 {
                let at = |step: f64| {
                    let mut z = z.clone();
                    z[[0, 0, n]] += step;
                    measured(&aim, &z).0
                };
                let want = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((want - got[[0, 0, n]]).abs() < 1e-9, "{aim:?} at {n}: {got}, expected {want}");
            }
        }
    }

    #[test]
    fn losses_are_those_worked_out_by_hand() {
        let z = array![[[0.0, (3.0_f64).ln()]]];
        let loss = |measure, aimed| measured(&aim(measure, aimed), &z).0 * 2.0;
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a}, expected {b}");
        // p = 1/4 and 3/4.
        close(loss(Measure::CrossEntropy, Aimed::Classes(array![[0]])), 4.0_f64.ln());
        let share = Measure::Smoothed { share: 0.5, class_weights: vec![1.0, 2.0] };
        close(loss(share, Aimed::Classes(array![[0]])), 0.75 * 4.0_f64.ln() + 0.5 * (4.0_f64 / 3.0).ln());
        let yes = || Aimed::Values(array![[[1.0, 1.0]]]);
        close(loss(Measure::BinaryCrossEntropy, yes()), 2.0_f64.ln() + (4.0_f64 / 3.0).ln());
        close(loss(Measure::Huber { delta: 0.5 }, yes()), 0.375 + (3.0_f64.ln() - 1.0).powi(2) / 2.0);
    }

    #[test]
    fn a_row_that_does_not_count_may_hold_anything() {
        let z = array![[[f64::NAN, 1.0]], [[1.0, 2.0]]];
        let aim = Aim { scale: array![[0.0], [1.0]], ..aim(Measure::SumOfSquares, Aimed::None) };
        let (loss, d) = measured(&aim, &z);
        assert_eq!((loss, d.slice(s![0, 0, ..]).to_owned()), (5.0, arr1(&[0.0, 0.0])));
    }
}
