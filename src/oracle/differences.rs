//! Finite differences, compared with the gradients: the independent check of the oracle itself.
//!
//! Moves the numbers of a call a little to both sides along a random direction
//! `u`, in f64. Then compares `(L(p + εu) − L(p − εu)) / 2ε` with `⟨δp, u⟩`.

use std::collections::BTreeMap;

use ndarray::{Array, ArrayD, ArrayViewMutD, Dimension};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::back::{Back, back, loss};
use super::forward::{Forward, Point, forward};
use super::params::Params;
use super::stack::{Keep, States};
use super::values::Values;
use crate::call::{Call, Input};
use crate::dropout::Dropping;
use crate::error::Result;
use crate::loss::{Aim, Objective, Targets};
use crate::model::{LayerKind, Model};
use crate::weights::Weights;

/// The objective's slope along a direction, compared with the gradients.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The name of what was moved: `rnn.weight_ih_l0`, `input x`, `h of stack 0`, or `all`.
    pub name: String,
    /// The slope by finite differences.
    pub slope: f64,
    /// The slope by the gradients.
    pub gradient: f64,
    /// The distance of the two, divided by the gradient's length.
    pub error: f64,
    /// Whether the two differ, and the slopes on the two sides differ as well. Then there is a
    /// corner right at the point, and PyTorch's derivative need not be the mean of the two sides.
    pub corner: bool,
}

/// The directions in which numbers are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Each tensor, input and state by itself.
    Each,
    /// All of them together.
    All,
}

/// Compares slopes with the gradients of a call, in directions that are drawn
/// from `seed`. Dropout is that of the first update of a training with `seed`.
///
/// # Errors
///
/// As [`gradients`](super::gradients).
pub fn differences(
    model: &Model,
    weights: &Weights,
    input: &Input,
    (objective, targets): (&Objective, &[Targets]),
    along: Along,
    seed: u64,
) -> Result<Vec<Difference>> {
    let (call, aims, mut point) = super::start(model, weights, input, objective, targets)?;
    point.dropping = Some(Dropping::new(seed, 1));
    let slopes = Slopes { model, call: &call, aims: &aims, point };
    let forward = forward(model, &call, &slopes.point, Keep::Steps)?;
    let back = back(model, &call, &slopes.point, &forward, &aims);
    slopes.against(back, along, seed)
}

pub(super) struct Slopes<'a, 'c> {
    pub(super) model: &'a Model,
    pub(super) call: &'a Call<'c>,
    pub(super) aims: &'a [Aim],
    pub(super) point: Point,
}

/// The largest error of slopes that agree.
const CLOSE: f64 = 1e-6;

/// Arrays by their names.
type Named = BTreeMap<String, ArrayD<f64>>;

impl Slopes<'_, '_> {
    /// Compares slopes with `back`.
    pub(super) fn against(&self, back: Back, along: Along, seed: u64) -> Result<Vec<Difference>> {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let size = back.loss.abs();
        let gradients = self.named(back);
        let mut direction =
            |gradient: &ArrayD<f64>| gradient.mapv(|_| f64::from(draw.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0);
        let mut directions: Named =
            gradients.iter().map(|(name, gradient)| (name.clone(), direction(gradient))).collect();
        self.keep_still(&mut directions);
        match along {
            Along::All => Ok(vec![self.along("all".into(), &gradients, &directions, size)?]),
            Along::Each => {
                let one = |(name, direction): (String, ArrayD<f64>)| {
                    self.along(name.clone(), &gradients, &Named::from([(name, direction)]), size)
                };
                directions.into_iter().map(one).collect()
            }
        }
    }

    /// Compares the slope along `directions`. A step that crosses
    /// a corner tells nothing, so the best of several counts.
    fn along(&self, name: String, gradients: &Named, directions: &Named, size: f64) -> Result<Difference> {
        let all = || directions.iter().map(|(name, u)| (&gradients[name], u));
        let gradient: f64 = all().map(|(g, u)| (g * u).sum()).sum();
        let length = all().map(|(g, _)| g.mapv(|g| g * g).sum()).sum::<f64>().sqrt();
        let here = self.loss_at(directions, 0.0)?;
        // The last digits of the loss are noise, and dividing by the step magnifies it.
        let unit = length + 1e-3 * (1.0 + size);
        let mut best = Difference { name, slope: f64::NAN, gradient, error: f64::INFINITY, corner: false };
        for step in [1e-5, 1e-6, 1e-7] {
            let (above, below) = (self.loss_at(directions, step)?, self.loss_at(directions, -step)?);
            let slope = (above - below) / (2.0 * step);
            let error = (slope - gradient).abs() / unit;
            if error < best.error {
                best = Difference { slope, error, ..best };
            }
            if best.error < CLOSE {
                break;
            }
            // The two sides of a smooth function differ by about the step, so the last one decides.
            // The numbers moved may be on several corners, whose differences partly cancel.
            let sides = ((above - here) / step - (here - below) / step).abs();
            best.corner = sides > 0.1 * best.error * unit;
        }
        best.corner &= best.error > CLOSE;
        Ok(best)
    }

    fn loss_at(&self, directions: &Named, step: f64) -> Result<f64> {
        let mut point = self.point.clone();
        point.each(self.model, &mut |name, mut array| {
            if let Some(direction) = directions.get(&name) {
                array.scaled_add(step, direction);
            }
        });
        let forward: Forward = forward(self.model, self.call, &point, Keep::Nothing)?;
        Ok(loss(self.model, self.call, &point, &forward, self.aims))
    }

    /// Returns the gradients, each by the name of its variable.
    fn named(&self, back: Back) -> Named {
        let states = self.point.states.iter().enumerate();
        let states = states.map(|(stack, states)| states.as_ref().and_then(|_| back.states.get(&stack).cloned()));
        let mut gradients =
            Point { params: back.params, inputs: back.inputs, states: states.collect(), dropping: None };
        let mut named: Named = Named::new();
        gradients.each(self.model, &mut |name, array| {
            let sum = named.entry(name).or_insert_with(|| ArrayD::zeros(array.raw_dim()));
            *sum += &array;
        });
        named
    }

    /// Does not move what has no gradient although the objective depends on
    /// it: features that are not read, and rows of a table that do not train.
    fn keep_still(&self, directions: &mut Named) {
        for (&index, values) in &self.point.inputs {
            let (Values::Steps(x), Some(u)) = (values, directions.get_mut(&input_name(index))) else { continue };
            for ((t, b, n), _) in x.indexed_iter() {
                if self.call.features(index, t, b).is_none() {
                    u[[t, b, n]] = 0.0;
                }
            }
        }
        for layer in &self.model.layers {
            if let LayerKind::Embedding(e) = &layer.kind
                && let (Some(row), Some(u)) = (e.padding_idx, directions.get_mut(&format!("{}weight", layer.prefix)))
            {
                u.index_axis_mut(ndarray::Axis(0), row).fill(0.0);
            }
        }
    }
}

impl Point {
    /// Calls `f` with each array and its name.
    fn each(&mut self, model: &Model, f: &mut dyn FnMut(String, ArrayViewMutD<'_, f64>)) {
        Params::each(&mut self.params, model, f);
        for (&index, values) in &mut self.inputs {
            match values {
                Values::Steps(x) => f(input_name(index), dynamic(x)),
                Values::Rows(x) => f(input_name(index), dynamic(x)),
                Values::Tokens(_) | Values::States(_) => {}
            }
        }
        for (stack, states) in self.states.iter_mut().enumerate() {
            let Some(States { h, c }) = states else { continue };
            f(format!("h of stack {stack}"), dynamic(h));
            if let Some(c) = c {
                f(format!("c of stack {stack}"), dynamic(c));
            }
        }
    }
}

fn input_name(index: usize) -> String {
    format!("input {index}")
}

fn dynamic<D: Dimension>(x: &mut Array<f64, D>) -> ArrayViewMutD<'_, f64> {
    x.view_mut().into_dyn()
}
