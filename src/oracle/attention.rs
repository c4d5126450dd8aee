//! Attention over steps, with its backward pass.
//!
//! ```text
//! dot:      s[t, n] = scale · Σ_f q[t, f] · k[n, f]                     (Luong, Pham and Manning 2015)
//! additive: s[t, n] = scale · Σ_f w[f] · tanh(q[t, f] + k[n, f])        (Bahdanau, Cho and Bengio 2015)
//! given:    s[t, n] = scale · k[n]
//! y[t] = Σ_n a[t, n] · v[n],  a[t] = softmax over the live n of s[t]; 0 if there is none
//! ```

use ndarray::{Array1, Array2, Array3};

use super::values::Values;
use crate::model::{Attention, Scores};

/// What an attention takes, as steps: `[T_q, B, F]`, `[T_v, B, F]`, `[T_v, B, F_v]`.
struct Taken<'a> {
    of: &'a Attention,
    query: Array3<f64>,
    key: Array3<f64>,
    value: Array3<f64>,
    /// Which steps of the value are live, `[T_v, B]`.
    live: Option<&'a Array2<bool>>,
    /// `[F]`; ones if the scores have none.
    weight: Array1<f64>,
}

impl<'a> Taken<'a> {
    fn new(of: &'a Attention, values: &[Values], weight: Option<&Array2<f64>>, live: Option<&'a Array2<bool>>) -> Self {
        let (value, key) = of.places(values.len());
        let key = values[key].steps();
        // One step, which no score depends on.
        let query = match of.scores {
            Scores::Given => Array3::zeros((1, key.dim().1, 1)),
            Scores::Dot | Scores::ScaledDot | Scores::Additive => values[0].steps(),
        };
        let weight = weight.map_or_else(|| Array1::ones(of.features), |w| w.row(0).to_owned());
        Self { of, query, key, value: values[value].steps(), live, weight }
    }

    fn sees(&self, (t, n, b): (usize, usize, usize)) -> bool {
        self.live.is_none_or(|live| live[[n, b]]) && (!self.of.causal || n <= t)
    }

    fn score(&self, (t, n, b): (usize, usize, usize)) -> f64 {
        let features = 0..self.of.features;
        let (q, k) = (|f: usize| self.query[[t, b, f]], |f: usize| self.key[[n, b, f]]);
        let sum: f64 = match self.of.scores {
            Scores::Given => k(0),
            Scores::Dot | Scores::ScaledDot => features.map(|f| q(f) * k(f)).sum(),
            Scores::Additive => features.map(|f| self.weight[f] * (q(f) + k(f)).tanh()).sum(),
        };
        f64::from(self.of.factor()) * sum
    }

    /// Returns the weights of the steps, `[T_q, T_v, B]`.
    fn shares(&self) -> Array3<f64> {
        let ((queries, batch, _), steps) = (self.query.dim(), self.key.dim().0);
        let mut shares = Array3::zeros((queries, steps, batch));
        for (t, b) in (0..queries).flat_map(|t| (0..batch).map(move |b| (t, b))) {
            let seen: Vec<usize> = (0..steps).filter(|&n| self.sees((t, n, b))).collect();
            let scores: Vec<f64> = seen.iter().map(|&n| self.score((t, n, b))).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|s| (s - most).exp()).sum();
            for (&n, s) in seen.iter().zip(scores) {
                shares[[t, n, b]] = (s - most).exp() / total;
            }
        }
        shares
    }
}

/// Computes the sums. `live` has the live steps of the value, and `asks` those of the query.
pub(super) fn attention(
    of: &Attention,
    values: &[Values],
    weight: Option<&Array2<f64>>,
    [live, asks]: [Option<&Array2<bool>>; 2],
) -> Values {
    let taken = Taken::new(of, values, weight, live);
    let shares = taken.shares();
    let (queries, steps, batch) = shares.dim();
    let y = Array3::from_shape_fn((queries, batch, taken.value.dim().2), |(t, b, f)| {
        let is_asked = asks.is_none_or(|asks| asks[[t, b]]);
        let sum = || (0..steps).map(|n| shares[[t, n, b]] * taken.value[[n, b, f]]).sum();
        if is_asked { sum() } else { 0.0 }
    });
    match (of.scores, &values[0]) {
        (Scores::Given, _) => Values::Rows(y.index_axis_move(ndarray::Axis(0), 0)),
        (_, query) => query.of_steps(y),
    }
}

/// Returns the gradients of all that an attention takes, in order, and adds that of its weight.
///
/// ```text
/// δv[n] = Σ_t a[t, n] δy[t]      δa[t, n] = δy[t]·v[n]      δs = a ∘ (δa − Σ_n a ∘ δa)
/// dot:      δq[t] = scale Σ_n δs[t, n] k[n],  δk[n] = scale Σ_t δs[t, n] q[t]
/// additive: with r = tanh(q[t] + k[n]) and δr = scale δs[t, n] w ∘ (1 − r²):  δq[t] = Σ_n δr,  δk[n] = Σ_t δr,
///           δw = scale Σ_(t, n) δs[t, n] r
/// given:    δk[n] = scale δs[n]
/// ```
pub(super) fn attention_back(
    of: &Attention,
    values: &[Values],
    (weight, d_weight): (Option<&Array2<f64>>, Option<&mut Array2<f64>>),
    [live, asks]: [Option<&Array2<bool>>; 2],
    d_y: &Values,
) -> Vec<Values> {
    let taken = Taken::new(of, values, weight, live);
    let (shares, mut d_y) = (taken.shares(), d_y.steps());
    let (queries, steps, batch) = shares.dim();
    for ((t, b), _) in asks.into_iter().flat_map(|asks| asks.indexed_iter()).filter(|(_, asks)| !**asks) {
        d_y.slice_mut(ndarray::s![t, b, ..]).fill(0.0);
    }
    let (mut d_query, mut d_key) = (Array3::zeros(taken.query.dim()), Array3::zeros(taken.key.dim()));
    let mut d_value = Array3::zeros(taken.value.dim());
    let mut d_own = Array1::zeros(of.features);
    let scale = f64::from(of.factor());
    for (t, b) in (0..queries).flat_map(|t| (0..batch).map(move |b| (t, b))) {
        let d_share =
            |n: usize| -> f64 { (0..taken.value.dim().2).map(|f| d_y[[t, b, f]] * taken.value[[n, b, f]]).sum() };
        let mean: f64 = (0..steps).map(|n| shares[[t, n, b]] * d_share(n)).sum();
        for n in 0..steps {
            let share = shares[[t, n, b]];
            for f in 0..taken.value.dim().2 {
                d_value[[n, b, f]] += share * d_y[[t, b, f]];
            }
            let d_score = scale * share * (d_share(n) - mean);
            for f in 0..of.features {
                let (q, k) = (taken.query[[t, b, f]], taken.key[[n, b, f]]);
                match of.scores {
                    Scores::Given => d_key[[n, b, f]] += d_score,
                    Scores::Dot | Scores::ScaledDot => {
                        d_query[[t, b, f]] += d_score * k;
                        d_key[[n, b, f]] += d_score * q;
                    }
                    Scores::Additive => {
                        let r = (q + k).tanh();
                        let d = d_score * taken.weight[f] * (1.0 - r * r);
                        d_query[[t, b, f]] += d;
                        d_key[[n, b, f]] += d;
                        d_own[f] += d_score * r;
                    }
                }
            }
        }
    }
    if let Some(d_weight) = d_weight {
        let mut row = d_weight.row_mut(0);
        row += &d_own;
    }
    match (of.scores, values.len()) {
        (Scores::Given, _) => vec![Values::Steps(d_key), Values::Steps(d_value)],
        (_, 2) => vec![values[0].of_steps(d_query), Values::Steps(d_value + d_key)],
        _ => vec![values[0].of_steps(d_query), Values::Steps(d_value), Values::Steps(d_key)],
    }
}
