//! A stack of recurrent layers over time: directions, dead steps, padding and merging.
//!
//! Calls the cell once for each step and knows none of its equations.

use ndarray::{Array, Array2, Array3, ArrayView3, Axis, RemoveAxis, concatenate, s};

use super::cell::{TrueWeights, step};
use crate::cell::{Cell, Variant};
use crate::model::{Direction, Merge, Padding, Recurrent};
use crate::weights::CellWeights;

/// The states of one stack on their way.
#[derive(Clone)]
pub(super) struct States {
    /// `[L · D, B, state_size]`.
    pub(super) h: Array3<f64>,
    /// `[L · D, B, H]`.
    pub(super) c: Option<Array3<f64>>,
}

impl States {
    /// Those of a stack `r` that is given none.
    pub(super) fn zero(r: &Recurrent, batch: usize) -> Self {
        let rows = r.num_layers * r.directions();
        let c = (r.cell.states() > 1).then(|| Array3::zeros((rows, batch, r.hidden_size)));
        Self { h: Array3::zeros((rows, batch, r.state_size())), c }
    }
}

/// What a stack gives.
pub(super) struct Given {
    /// What its last layer gives, `[T, B, F]`.
    pub(super) steps: Array3<f64>,
    /// What its last layer computes last, `[B, F]`.
    pub(super) last: Array2<f64>,
    /// The final states.
    pub(super) states: States,
}

/// A stack of recurrent layers: each layer runs over what the one below gave, in each of its directions.
///
/// What the directions give for a step of the input, each padded, is merged: `[forward, reverse]` side by side, or what
/// [`Merge`] says (Keras' `Bidirectional`).
pub(super) fn stack(
    r: &Recurrent,
    cells: &[CellWeights],
    x: Array3<f64>,
    live: Option<&Array2<bool>>,
    initial: States,
) -> Given {
    let walks: &[_] = match r.direction {
        Direction::Forward => &[Walk::Up],
        Direction::Reverse | Direction::Backwards => &[Walk::Down],
        Direction::Both => &[Walk::Up, Walk::Down],
    };
    let mut states = initial;
    let (mut y, mut last) = (x, None);
    for layer in 0..r.num_layers {
        let (mut steps, mut lasts) = (Vec::new(), Vec::new());
        for (d, &walk) in walks.iter().enumerate() {
            let row = layer * walks.len() + d;
            let mut h = states.h.index_axis(Axis(0), row).to_owned();
            let mut c = states.c.as_ref().map(|c| c.index_axis(Axis(0), row).to_owned());
            let weights = TrueWeights::of(r.cell, &cells[row]);
            let direction = OneDirection { cell: r.cell, variant: r.variant(d), weights, walk, padding: r.padding };
            let computed = direction.over_time(y.view(), live, &mut h, &mut c);
            lasts.push(computed.index_axis(Axis(0), computed.len_of(Axis(0)) - 1).to_owned());
            steps.push(match (walk, r.direction) {
                (Walk::Up, _) | (_, Direction::Backwards) => computed,
                (Walk::Down, _) => flipped(computed),
            });
            states.h.index_axis_mut(Axis(0), row).assign(&h);
            if let (Some(all), Some(c)) = (&mut states.c, &c) {
                all.index_axis_mut(Axis(0), row).assign(c);
            }
        }
        y = merged(r.merge, steps);
        last = Some(merged(r.merge, lasts));
    }
    Given { steps: y, last: last.expect("a checked stack has a layer"), states }
}

/// The order in which a direction visits the steps.
#[derive(Clone, Copy)]
enum Walk {
    /// 0 … T − 1.
    Up,
    /// T − 1 … 0.
    Down,
}

/// One direction of one layer.
struct OneDirection {
    cell: Cell,
    variant: Variant,
    weights: TrueWeights,
    walk: Walk,
    padding: Padding,
}

impl OneDirection {
    /// `[T, B, state_size]` in the order in which the steps are computed. `h` and `c` come in initial and go out final.
    ///
    /// Where `live[t, b]` is false, row b has no step at t: its state stays, and the output is padding. Walked down, a
    /// dead tail passes the initial state through to each row's own last step: the meaning of PyTorch's packed
    /// sequences and of ONNX's `sequence_lens`. (A row with no live step ends at its initial state; ONNX Runtime 1.31
    /// gives zero there, for `Y_h` and `Y_c` alike.)
    fn over_time(
        &self,
        x: ArrayView3<'_, f64>,
        live: Option<&Array2<bool>>,
        h: &mut Array2<f64>,
        c: &mut Option<Array2<f64>>,
    ) -> Array3<f64> {
        let (time, batch, _) = x.dim();
        let mut y = Array3::zeros((time, batch, h.ncols()));
        for n in 0..time {
            let t = match self.walk {
                Walk::Up => n,
                Walk::Down => time - 1 - n,
            };
            let (h_next, c_next) =
                step(self.cell, &self.variant, &self.weights, x.index_axis(Axis(0), t), h, c.as_ref());
            for b in 0..batch {
                if live.is_none_or(|live| live[[t, b]]) {
                    h.row_mut(b).assign(&h_next.row(b));
                    if let (Some(c), Some(c_next)) = (c.as_mut(), &c_next) {
                        c.row_mut(b).assign(&c_next.row(b));
                    }
                    y.slice_mut(s![n, b, ..]).assign(&h_next.row(b));
                } else if self.padding == Padding::Held && n > 0 {
                    // Keras' `rnn`: a masked step repeats the output before it, which begins at zero.
                    let before = y.slice(s![n - 1, b, ..]).to_owned();
                    y.slice_mut(s![n, b, ..]).assign(&before);
                }
            }
        }
        y
    }
}

/// The same steps, the last first.
fn flipped(mut y: Array3<f64>) -> Array3<f64> {
    y.invert_axis(Axis(0));
    y
}

/// What one or two directions give, merged over the features (the last axis).
fn merged<D: RemoveAxis>(merge: Merge, parts: Vec<Array<f64, D>>) -> Array<f64, D> {
    let mut parts = parts.into_iter();
    let forward = parts.next().expect("a stack has a direction");
    let Some(reverse) = parts.next() else { return forward };
    match merge {
        Merge::Concat => concatenate(Axis(forward.ndim() - 1), &[forward.view(), reverse.view()])
            .expect("the directions of a layer have one time and batch"),
        Merge::Sum => forward + reverse,
        Merge::Average => (forward + reverse) / 2.0,
        Merge::Product => forward * reverse,
    }
}
