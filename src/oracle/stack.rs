//! A stack of recurrent layers over time: directions, dead steps, padding and merging.
//!
//! Calls the cell once for each step and knows none of its equations.

use ndarray::{Array, Array2, Array3, ArrayView3, Axis, RemoveAxis, concatenate, s};

use super::cell::{Step, step};
use super::dropout::{DropSite, Dropped};
use super::params::CellParams;
use crate::cell::{Cell, Variant};
use crate::dropout::Dropping;
use crate::model::{Direction, Merge, Padding, Recurrent};

/// The states of one stack.
#[derive(Clone, Debug)]
pub(super) struct States {
    /// `[L · D, B, state_size]`.
    pub(super) h: Array3<f64>,
    /// `[L · D, B, H]`.
    pub(super) c: Option<Array3<f64>>,
}

impl States {
    /// Creates the initial states of stack `r` if it is given none.
    pub(super) fn zero(r: &Recurrent, batch: usize) -> Self {
        let rows = r.num_layers * r.directions();
        let c = (r.cell.states() > 1).then(|| Array3::zeros((rows, batch, r.hidden_size)));
        Self { h: Array3::zeros((rows, batch, r.state_size())), c }
    }

    /// Returns the hidden and the cell state of a row of layers and directions.
    pub(super) fn row(&self, row: usize) -> (Array2<f64>, Option<Array2<f64>>) {
        let own = |all: &Array3<f64>| all.index_axis(Axis(0), row).to_owned();
        (own(&self.h), self.c.as_ref().map(own))
    }

    /// Sets the states of a row of layers and directions.
    pub(super) fn set_row(&mut self, row: usize, h: &Array2<f64>, c: Option<&Array2<f64>>) {
        self.h.index_axis_mut(Axis(0), row).assign(h);
        if let (Some(all), Some(c)) = (&mut self.c, c) {
            all.index_axis_mut(Axis(0), row).assign(c);
        }
    }
}

/// The results of a stack.
pub(super) struct StackRun {
    /// The output of its last layer, `[T, B, F]`.
    pub(super) steps: Array3<f64>,
    /// The output that its last layer computes last, `[B, F]`.
    pub(super) last: Array2<f64>,
    /// The final states.
    pub(super) states: States,
    /// The values between, of each layer and direction; empty unless they are kept.
    pub(super) kept: Vec<Kept>,
}

/// The values that one direction of one layer computed.
pub(super) struct Kept {
    /// Its outputs, `[T, B, state_size]`, in the order of computation.
    pub(super) y: Array3<f64>,
    /// The steps in that order.
    pub(super) steps: Vec<Step>,
    /// Which steps are live, `[T, B]` in the order of the input.
    pub(super) live: Option<Array2<bool>>,
}

/// Whether the values between are kept for the backward pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// They are not.
    Nothing,
    /// They are.
    Steps,
}

/// Computes a stack of recurrent layers: each layer runs over the output of the one below, in each of its directions.
///
/// The padded outputs of the directions are merged for each step of the input:
/// `[forward, reverse]` side by side, or as [`Merge`] says (Keras' `Bidirectional`).
pub(super) fn stack(
    r: &Recurrent,
    cells: &[CellParams],
    (x, live): (Array3<f64>, Option<&Array2<bool>>),
    initial: States,
    dropping: Option<(Dropping, usize)>,
    keep: Keep,
) -> StackRun {
    let walks = Walk::of(r);
    let mut states = initial;
    let (mut y, mut last, mut all) = (x, None, Vec::new());
    for layer in 0..r.num_layers {
        let (mut steps, mut lasts) = (Vec::new(), Vec::new());
        for (d, &walk) in walks.iter().enumerate() {
            let row = layer * walks.len() + d;
            let (mut h, mut c) = states.row(row);
            let (_, batch, inputs) = y.dim();
            let dropped = Dropped::of(r, (layer, d), (batch, inputs), dropping);
            let direction = OneDirection::of(r, d, &cells[row], dropped);
            let mut kept = (keep == Keep::Steps).then(Vec::new);
            let computed = direction.over_time(y.view(), live, &mut h, &mut c, kept.as_mut());
            all.extend(kept.map(|steps| Kept { y: computed.clone(), steps, live: live.cloned() }));
            lasts.push(computed.index_axis(Axis(0), computed.len_of(Axis(0)) - 1).to_owned());
            steps.push(walk.in_place(r, computed));
            states.set_row(row, &h, c.as_ref());
        }
        y = merged(r.merge, steps);
        last = Some(merged(r.merge, lasts));
        if let Some(place) = between(r, layer, dropping) {
            y = place.of(y);
        }
    }
    StackRun { steps: y, last: last.expect("a checked stack has a layer"), states, kept: all }
}

/// Returns the dropout between layer `layer` of a stack and the next one, if there
/// is any. The index in `dropping` is that of the stack among the model's layers.
pub(super) fn between(r: &Recurrent, layer: usize, dropping: Option<(Dropping, usize)>) -> Option<DropSite> {
    let (dropping, index) = dropping.filter(|_| layer + 1 < r.num_layers)?;
    let (place, rate) = (r.place_between(layer), r.dropout.get());
    Some(DropSite { dropping, layer: index, place, rate, shared: false })
}

/// The order in which a direction visits the steps.
#[derive(Clone, Copy)]
pub(super) enum Walk {
    /// 0 … T − 1.
    Up,
    /// T − 1 … 0.
    Down,
}

impl Walk {
    /// Returns the walks of a stack's directions.
    pub(super) fn of(r: &Recurrent) -> &'static [Self] {
        match r.direction {
            Direction::Forward => &[Self::Up],
            Direction::Reverse | Direction::Backwards => &[Self::Down],
            Direction::Both => &[Self::Up, Self::Down],
        }
    }

    /// Returns the step that is visited as number `n` of `time`.
    pub(super) fn at(self, n: usize, time: usize) -> usize {
        match self {
            Self::Up => n,
            Self::Down => time - 1 - n,
        }
    }

    /// Reorders outputs from the order of computation to that of the stack: the input's
    /// order, unless the stack goes backwards. The same function reorders them back.
    pub(super) fn in_place(self, r: &Recurrent, mut computed: Array3<f64>) -> Array3<f64> {
        if matches!(self, Self::Down) && r.direction != Direction::Backwards {
            computed.invert_axis(Axis(0));
        }
        computed
    }
}

/// One direction of one layer.
pub(super) struct OneDirection<'a> {
    pub(super) cell: Cell,
    pub(super) variant: Variant,
    pub(super) weights: &'a CellParams,
    pub(super) walk: Walk,
    pub(super) padding: Padding,
    pub(super) dropped: Dropped,
}

impl<'a> OneDirection<'a> {
    /// Creates direction `direction` of a stack, with the weights of one of its layers and their dropout.
    pub(super) fn of(r: &Recurrent, direction: usize, weights: &'a CellParams, dropped: Dropped) -> Self {
        let (variant, walk) = (r.variant(direction), Walk::of(r)[direction]);
        Self { cell: r.cell, variant, weights, walk, padding: r.padding, dropped }
    }

    /// Computes `[T, B, state_size]` in the order of the walk. `h`
    /// and `c` come in as initial states and go out as final ones.
    ///
    /// If `live[t, b]` is false, row b has no step at t: its state stays, and the output is padding.
    /// Walked down, dead steps at the end pass the initial state on to each row's own last step. That
    /// is the meaning of PyTorch's packed sequences and of ONNX's `sequence_lens`. (A row with no live
    /// step ends at its initial state; ONNX Runtime 1.31 gives zero there, for `Y_h` and `Y_c` alike.)
    fn over_time(
        &self,
        x: ArrayView3<'_, f64>,
        live: Option<&Array2<bool>>,
        h: &mut Array2<f64>,
        c: &mut Option<Array2<f64>>,
        mut kept: Option<&mut Vec<Step>>,
    ) -> Array3<f64> {
        let (time, batch, _) = x.dim();
        let mut y = Array3::zeros((time, batch, h.ncols()));
        for n in 0..time {
            let t = self.walk.at(n, time);
            let (x, states) = (x.index_axis(Axis(0), t), (&*h, c.as_ref()));
            let mut computed = step(self.cell, &self.variant, self.weights, x, states, &self.dropped);
            for b in 0..batch {
                if live.is_none_or(|live| live[[t, b]]) {
                    h.row_mut(b).assign(&computed.h_next.row(b));
                    if let (Some(c), Some(c_next)) = (c.as_mut(), &computed.c_next) {
                        c.row_mut(b).assign(&c_next.row(b));
                    }
                    y.slice_mut(s![n, b, ..]).assign(&computed.h_next.row(b));
                } else {
                    computed.forget(b);
                    if self.padding == Padding::Held && n > 0 {
                        // Keras' `rnn`: a masked step repeats the output before it, which begins at zero.
                        let before = y.slice(s![n - 1, b, ..]).to_owned();
                        y.slice_mut(s![n, b, ..]).assign(&before);
                    }
                }
            }
            if let Some(kept) = &mut kept {
                kept.push(computed);
            }
        }
        y
    }
}

/// Merges the outputs of one or two directions over the features (the last axis).
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
