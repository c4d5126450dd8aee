//! One update, element by element: the compiled part, the numbers
//! that change from update to update, and the arithmetic.
//!
//! One formula serves every optimizer of both frameworks; their differences are in the numbers of
//! [`Scalars`]. So a WGSL kernel is this file line by line, and its results are the same up to rounding.

use bytemuck::{Pod, Zeroable};

/// The part of an update that never changes, so that a kernel is compiled for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The direction of a step.
    pub method: Method,
    /// Whether steps have momentum.
    pub momentum: bool,
    /// Whether each element of a gradient is bounded by itself.
    pub clips_value: bool,
}

/// The direction of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// The gradient.
    Gradient,
    /// The gradient over the root of its mean square.
    RmsProp {
        /// Whether the variance replaces the mean square.
        centered: bool,
    },
    /// The mean gradient over the root of its mean square.
    Adam {
        /// Whether the largest mean square so far replaces the last.
        amsgrad: bool,
    },
}

/// A number that is kept for each weight from update to update. All begin at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The running mean of gradients.
    Mean,
    /// The running mean of the squares of gradients.
    Square,
    /// The largest mean square so far.
    Largest,
    /// The momentum: accumulated gradients in PyTorch's formulas,
    /// accumulated steps in Keras', with the sign of gradients.
    Momentum,
}

impl Moment {
    /// Returns its name in a checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Square => "square",
            Self::Largest => "largest",
            Self::Momentum => "momentum",
        }
    }
}

impl Rule {
    /// Returns the moments kept for each weight, in order: 0 to 3 buffers.
    pub fn moments(self) -> &'static [Moment] {
        use Moment::{Largest, Mean, Momentum, Square};
        match (self.method, self.momentum) {
            (Method::Gradient, false) => &[],
            (Method::Gradient, true) => &[Momentum],
            (Method::RmsProp { centered: false }, false) => &[Square],
            (Method::RmsProp { centered: false }, true) => &[Square, Momentum],
            (Method::RmsProp { centered: true }, false) => &[Square, Mean],
            (Method::RmsProp { centered: true }, true) => &[Square, Mean, Momentum],
            (Method::Adam { amsgrad: false }, _) => &[Mean, Square],
            (Method::Adam { amsgrad: true }, _) => &[Mean, Square, Largest],
        }
    }
}

/// The numbers of one update of weights of one role, from [`Update::scalars`](crate::train::Update::scalars).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Scalars {
    /// 2λ of the L2 penalty.
    pub penalty: f32,
    /// c, the bound of a norm; 0 if there is none.
    pub clip_norm: f32,
    /// What is added to a norm before c is divided by it.
    pub clip_slack: f32,
    /// The bound of each element of a gradient; the largest float if there is none.
    pub clip_value: f32,
    /// λ of a coupled decay, which is a part of the gradient.
    pub coupled: f32,
    /// ηλ of a decoupled decay.
    pub decoupled: f32,
    /// 1 − β₁: the share of a gradient that goes into the mean.
    pub mean: f32,
    /// 1 − β₂: the share of its square that goes into the mean square.
    pub square: f32,
    /// The factor of the root of the mean square: Adam's correction.
    pub root: f32,
    /// ε inside the root.
    pub inside: f32,
    /// ε outside the root.
    pub epsilon: f32,
    /// μ: the share of the momentum that is kept.
    pub momentum: f32,
    /// The factor of a step's direction in the momentum.
    pub into: f32,
    /// The factor of the direction in the weights.
    pub direct: f32,
    /// The factor of the momentum in the weights.
    pub through: f32,
    /// Unused: it makes the size a multiple of 16 bytes.
    pub reserved: f32,
}

const _: () = assert!(size_of::<Scalars>().is_multiple_of(16));

/// Returns the factor for gradients whose norm has the square `square`; 1 if nothing is clipped by norm.
///
/// P `nn/utils/clip_grad.py`: min(1, c / (N + 1e-6)), which is c / max(N + 1e-6, c). K
/// `base_optimizer.py`: c · min(1/N, 1/c) and g · c / max(N, c), which are c / max(N, c).
pub fn clip_factor(s: &Scalars, square: f32) -> f32 {
    let norm = square.sqrt() + s.clip_slack;
    if s.clip_norm <= 0.0 || norm <= s.clip_norm { 1.0 } else { s.clip_norm / norm }
}

/// Returns the sum of the squares of gradients `g` of weights `w`, including the penalty's
/// part. It is computed in 64 bits: eight sums side by side in order, then their sum in order.
#[inline(always)]
pub fn squares(s: &Scalars, w: &[f32], g: &[f32]) -> f64 {
    const SIDE: usize = 8;
    let square = |w: f32, g: f32| f64::from(g + s.penalty * w) * f64::from(g + s.penalty * w);
    let ((w, w_rest), (g, g_rest)) = (w.as_chunks::<SIDE>(), g.as_chunks::<SIDE>());
    let mut sums = [0.0; SIDE];
    for (w, g) in w.iter().zip(g) {
        for i in 0..SIDE {
            sums[i] += square(w[i], g[i]);
        }
    }
    let rest = w_rest.iter().zip(g_rest).map(|(&w, &g)| square(w, g));
    sums.into_iter().chain(rest).sum()
}

/// Updates weights `w` with gradients `g`, and their `moments`, in the number and order of `rule`.
/// The gradients are multiplied by `clip_factor`, as the function [`clip_factor`] returns it.
#[inline(always)]
pub fn update(rule: Rule, s: &Scalars, clip_factor: f32, w: &mut [f32], g: &[f32], moments: &mut [&mut [f32]]) {
    debug_assert_eq!(rule.moments().len(), moments.len(), "a buffer for each moment");
    debug_assert!(moments.iter().all(|moment| moment.len() == w.len()) && w.len() == g.len(), "buffers of one length");
    let gradient = |w: f32, g: f32| entering(rule, s, clip_factor, w, g);
    match (rule.method, moments) {
        (Method::Gradient, []) => each(w, g, [], |w, g, []| moved(s, w, gradient(w, g))),
        (Method::Gradient, [b]) => each(w, g, [b], |w, g, [b]| pushed(s, w, gradient(w, g), b)),
        (Method::RmsProp { centered: false }, [v]) => {
            each(w, g, [v], |w, g, [v]| moved(s, w, over_root(s, gradient(w, g), v)));
        }
        (Method::RmsProp { centered: false }, [v, b]) => {
            each(w, g, [v, b], |w, g, [v, b]| pushed(s, w, over_root(s, gradient(w, g), v), b));
        }
        (Method::RmsProp { centered: true }, [v, m]) => {
            each(w, g, [v, m], |w, g, [v, m]| moved(s, w, over_deviation(s, gradient(w, g), v, m)));
        }
        (Method::RmsProp { centered: true }, [v, m, b]) => {
            each(w, g, [v, m, b], |w, g, [v, m, b]| pushed(s, w, over_deviation(s, gradient(w, g), v, m), b));
        }
        (Method::Adam { amsgrad: false }, [m, v]) => {
            each(w, g, [m, v], |w, g, [m, v]| moved(s, w, adam(s, gradient(w, g), m, v)));
        }
        (Method::Adam { amsgrad: true }, [m, v, largest]) => {
            each(w, g, [m, v, largest], |w, g, [m, v, l]| moved(s, w, amsgrad(s, gradient(w, g), m, v, l)));
        }
        _ => unreachable!("a buffer for each moment of the rule"),
    }
}

/// Applies `f` to each weight, its gradient and its N moments.
#[inline(always)]
fn each<const N: usize>(
    w: &mut [f32],
    g: &[f32],
    moments: [&mut &mut [f32]; N],
    f: impl Fn(f32, f32, [&mut f32; N]) -> f32,
) {
    let g = &g[..w.len()];
    let mut moments = moments.map(|moment| &mut moment[..w.len()]);
    for i in 0..w.len() {
        w[i] = f(w[i], g[i], moments.each_mut().map(|moment| &mut moment[i]));
    }
}

/// Returns the gradient as the optimizer sees it.
#[inline(always)]
fn entering(rule: Rule, s: &Scalars, clip_factor: f32, w: f32, g: f32) -> f32 {
    // g += 2λw: the loss has λ Σw² (K regularizers/regularizers.py).
    let mut g = g + s.penalty * w;
    // g to ±c (P clip_grad_value_, K clipvalue). A NaN stays one.
    if rule.clips_value {
        g = g.clamp(-s.clip_value, s.clip_value);
    }
    // g · c / max(N, c) (P clip_grad_norm_, K clipnorm and global_clipnorm).
    g *= clip_factor;
    // g += λw (P optim/sgd.py, rmsprop.py, adam.py).
    g + s.coupled * w
}

/// Returns the weight moved along `d`.
#[inline(always)]
fn moved(s: &Scalars, w: f32, d: f32) -> f32 {
    // w −= ηλw (P optim/adamw.py, K base_optimizer.py), then w −= ηd.
    w - s.decoupled * w - s.direct * d
}

/// Returns the weight moved along `d` with momentum `b`.
#[inline(always)]
fn pushed(s: &Scalars, w: f32, d: f32, b: &mut f32) -> f32 {
    // P: b = μb + (1 − τ)d. K: b = μb + ηd, where its velocity is −b.
    *b = s.momentum * *b + s.into * d;
    // P: w −= ηb, Nesterov w −= η(d + μb). K: w −= b, Nesterov w −= ηd + μb.
    w - s.decoupled * w - (s.direct * d + s.through * *b)
}

/// Moves the running mean `m` towards `x` by the share `part`.
#[inline(always)]
fn towards(m: &mut f32, x: f32, part: f32) {
    // m += (1 − β)(x − m), which is m = βm + (1 − β)x (P and K, of all means).
    *m += part * (x - *m);
}

/// Returns RMSprop's direction.
#[inline(always)]
fn over_root(s: &Scalars, g: f32, v: &mut f32) -> f32 {
    towards(v, g * g, s.square);
    // P: g / (√v + ε). K: g / √(v + ε).
    g / ((*v + s.inside).sqrt() + s.epsilon)
}

/// Returns the direction of centered RMSprop.
#[inline(always)]
fn over_deviation(s: &Scalars, g: f32, v: &mut f32, m: &mut f32) -> f32 {
    towards(v, g * g, s.square);
    towards(m, g, s.mean);
    // P: g / (√(v − m²) + ε). K: g / √(v − m² + ε). A variance that rounding made negative is zero.
    g / (((*v - *m * *m).max(0.0) + s.inside).sqrt() + s.epsilon)
}

/// Returns Adam's direction, without the correction of the mean.
#[inline(always)]
fn adam(s: &Scalars, g: f32, m: &mut f32, v: &mut f32) -> f32 {
    towards(m, g, s.mean);
    towards(v, g * g, s.square);
    // P: m / (√v/√(1 − β₂ᵗ) + ε). K: m / (√v + ε).
    *m / (v.sqrt() * s.root + s.epsilon)
}

/// Returns Adam's direction over the largest mean square so far; neither moment is corrected.
#[inline(always)]
fn amsgrad(s: &Scalars, g: f32, m: &mut f32, v: &mut f32, largest: &mut f32) -> f32 {
    towards(m, g, s.mean);
    towards(v, g * g, s.square);
    *largest = largest.max(*v);
    *m / (largest.sqrt() * s.root + s.epsilon)
}
