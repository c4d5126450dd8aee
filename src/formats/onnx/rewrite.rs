//! Recognizes several links as one layer: exporters write some layers as arithmetic.
//!
//! `x · sigmoid(x)` is a Silu, half of a sum of directions is their mean, and the
//! logarithm of a softmax is a log-softmax. Works on links; knows no operator.

use super::links::{Links, What, segments};
use super::misfit;
use super::value::{At, Data, Segment};
use crate::cell::{Activation, Constant as Number};
use crate::error::Result;
use crate::model::{LayerKind, Merge, Padding};

impl Links {
    /// Returns `alpha · data + beta`.
    pub(super) fn scaled(&mut self, data: Data, alpha: f32, beta: f32) -> Result<Data> {
        if (alpha, beta) == (1.0, 0.0) {
            return Ok(data);
        }
        if (alpha, beta) == (0.5, 0.0) {
            if let Some(mean) = self.averaged(&data) {
                return Ok(mean);
            }
            if data.content.ndim() == 0
                && let Ok((link, _)) = self.resolve_data(&data)
                && self.link(link).what == What::TwiceGelu
            {
                let parent = self.link(link).parent().expect("a Gelu is of something");
                let gelu = self.child(parent, What::activation(Activation::Gelu), self.link(parent).features);
                let mut data = data;
                data.relink(gelu);
                return Ok(data);
            }
        }
        let affine = Activation::Affine { alpha: Number::new(alpha), beta: Number::new(beta) };
        self.activate(data, affine)
    }

    /// Returns the mean of directions, from half of their sum.
    fn averaged(&mut self, data: &Data) -> Option<Data> {
        let segment = data.segments().next()?.clone();
        let mut stack = self.stack(segment.link)?.clone();
        if stack.merge != Merge::Sum || data.segments().any(|other| other.link != segment.link) {
            return None;
        }
        stack.merge = Merge::Average;
        let link = self.instead(segment.link, stack.into(), self.link(segment.link).features);
        let mut data = data.clone();
        data.relink(link);
        Some(data)
    }

    /// Returns the sum or the product of a layer's two directions, if `a` and `b` are those.
    pub(super) fn merged(&mut self, a: &Data, b: &Data, merge: Merge) -> Option<Data> {
        let alone = |data: &Data| match data.content.first().map(Vec::as_slice) {
            Some([segment]) if data.content.len() == 1 => Some(segment.clone()),
            _ => None,
        };
        let (x, y) = (alone(a)?, alone(b)?);
        let mut stack = self.stack(x.link).filter(|stack| stack.directions() == 2 && !stack.is_merged())?.clone();
        let size = stack.state_size();
        let mut starts = [x.start, y.start];
        starts.sort_unstable();
        if x.link != y.link || a.axes != b.axes || starts != [0, size] || (x.len, y.len) != (size, size) {
            return None;
        }
        let (forward, reverse) = if x.start == 0 { (x.at, y.at) } else { (y.at, x.at) };
        let at = match (forward, reverse) {
            (At::Last, At::First) => At::Output,
            // With held padding, the output that is computed last is the final state.
            (At::Hidden, At::Hidden) => {
                stack.padding = Padding::Held;
                At::Output
            }
            (a, b) if a == b && a != At::Cell => a,
            _ => return None,
        };
        stack.merge = merge;
        let link = self.instead(x.link, stack.into(), size);
        let mut data = a.clone();
        data.content.fill(vec![Segment { link, at, start: 0, len: size }]);
        Some(data)
    }

    /// Returns `a · b` as one activation, if one of the two is a function of the other.
    pub(super) fn gated(&mut self, a: &Data, b: &Data) -> Option<Data> {
        if a.axes != b.axes || a.content.ndim() != 0 || b.content.ndim() != 0 {
            return None;
        }
        let (x, runs) = self.resolve_data(a).ok()?;
        let (gate, others) = self.resolve_data(b).ok()?;
        if runs != others {
            return None;
        }
        let what = self.product_of(x, gate)?;
        let of = match self.half(x) {
            Some(whole) if !self.descends(gate, x) => whole,
            _ => x,
        };
        let link = self.child(of, what, self.link(of).features);
        let mut data = a.clone();
        data.content.fill(segments(link, runs));
        Some(data)
    }

    /// Returns `x · gate` as one function, if `gate` is a function of `x`.
    fn product_of(&self, x: usize, gate: usize) -> Option<What> {
        // The root of 1/2, as an exporter rounds it.
        let is_root = |alpha: Number| (alpha.get() - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6;
        let functions = |from: usize| -> Option<Vec<Option<Activation>>> {
            let mut functions = Vec::new();
            let mut at = gate;
            while at != from && functions.len() < 4 {
                functions.push(match &self.link(at).what {
                    What::Layer(LayerKind::Activation(activation)) => Some(*activation),
                    What::Erf => None,
                    _ => return None,
                });
                at = self.link(at).parent()?;
            }
            (at == from).then_some(functions)
        };
        use Activation::{Affine, HardSigmoid, HardSilu, Mish, Sigmoid, Silu, Softplus, Tanh};
        // The functions of x / √2, outermost first: 1 + erf, and half of it.
        let is = |affine: Option<Activation>, a: f32, b: f32| {
            affine == Some(Affine { alpha: Number::new(a), beta: Number::new(b) })
        };
        let erf = |functions: &[Option<Activation>]| match *functions {
            [one, None, Some(Affine { alpha, beta })] => is(one, 1.0, 1.0) && is_root(alpha) && beta.get() == 0.0,
            _ => false,
        };
        if let Some(functions) = functions(x) {
            return match functions[..] {
                [Some(Sigmoid)] => Some(What::activation(Silu)),
                [Some(HardSigmoid { alpha, beta })] => Some(What::activation(HardSilu { alpha, beta })),
                [Some(Tanh), Some(Softplus)] => Some(What::activation(Mish)),
                [half, ..] if is(half, 0.5, 0.0) && erf(&functions[1..]) => Some(What::activation(Activation::Gelu)),
                _ if erf(&functions) => Some(What::TwiceGelu),
                _ => None,
            };
        }
        let half = self.half(x)?;
        functions(half).filter(|f| erf(f)).map(|_| What::activation(Activation::Gelu))
    }

    /// Returns the logarithm of `data`, a sigmoid or a softmax, as
    /// one function. It keeps digits that two functions would lose.
    pub(super) fn logarithm(&mut self, mut data: Data) -> Result<Data> {
        let (link, runs) = self.resolve_data(&data)?;
        let log = match self.link(link).what {
            What::Layer(LayerKind::Activation(Activation::Sigmoid)) => Activation::LogSigmoid,
            What::Layer(LayerKind::Activation(Activation::Softmax)) => Activation::LogSoftmax,
            _ => return Err(misfit("the logarithm of something else than a sigmoid or a softmax".into())),
        };
        let parent = self.link(link).parent().expect("a function is of something");
        let link = self.child(parent, What::activation(log), self.link(parent).features);
        data.content.fill(segments(link, runs));
        Ok(data)
    }

    /// Returns `a − b` as one function, if `b` is the hyperbolic tangent of `a`.
    pub(super) fn shrunk(&mut self, a: &Data, b: &Data) -> Option<Data> {
        let (x, tanh) = (self.resolve_data(a).ok()?, self.resolve_data(b).ok()?);
        let of = &self.link(tanh.0);
        if a.axes != b.axes
            || x.1 != tanh.1
            || of.parent() != Some(x.0)
            || of.what != What::activation(Activation::Tanh)
        {
            return None;
        }
        let link = self.child(x.0, What::activation(Activation::TanhShrink), self.link(x.0).features);
        let mut data = a.clone();
        data.content.fill(segments(link, x.1));
        Some(data)
    }

    /// Whether link `later` is `earlier`, or is computed from it.
    fn descends(&self, later: usize, earlier: usize) -> bool {
        std::iter::successors(Some(later), |&link| self.link(link).parent()).any(|link| link == earlier)
    }

    /// Returns the link that `x` is half of.
    fn half(&self, x: usize) -> Option<usize> {
        let half = Activation::Affine { alpha: Number::new(0.5), beta: Number::new(0.0) };
        (self.link(x).what == What::activation(half)).then_some(self.link(x).parent()?)
    }
}
