//! The backward pass of a stack of recurrent layers. It goes from the last layer to
//! the first, and in each direction from the step that was computed last to the first.
//!
//! Calls the cell's backward pass once for each step and knows none of its equations.

use ndarray::{Array, Array2, Array3, Axis, RemoveAxis, s};

use super::cell_back::step_back;
use super::dropout::Dropped;
use super::params::CellParams;
use super::stack::{Kept, OneDirection, States, Walk, between};
use crate::dropout::Dropping;
use crate::model::{Merge, Padding, Recurrent};

/// The gradients of a stack's results.
pub(super) struct GivenBack {
    /// Of its last layer's output, `[T, B, F]`.
    pub(super) steps: Array3<f64>,
    /// Of the output that its last layer computes last, `[B, F]`.
    pub(super) last: Option<Array2<f64>>,
    /// Of the final states.
    pub(super) states: States,
}

/// The gradients of a stack's inputs.
pub(super) struct StackBack {
    /// Of its input, `[T, B, I]`.
    pub(super) x: Array3<f64>,
    /// Of its initial states.
    pub(super) states: States,
    /// Of the hidden state after each step, `[T, B, state_size]` in the
    /// input's order, of each layer and direction; 0 at dead steps.
    pub(super) hidden: Vec<Array3<f64>>,
}

/// Returns the gradients of a stack's inputs. Adds those of the weights `cells` to `d_cells`.
///
/// The input of a layer is the output of the one below: its gradient is the sum over the layer's directions.
pub(super) fn stack_back(
    r: &Recurrent,
    cells: &[CellParams],
    kept: &[Kept],
    given: GivenBack,
    dropping: Option<(Dropping, usize)>,
    d_cells: &mut [CellParams],
) -> StackBack {
    let walks = Walk::of(r);
    let GivenBack { steps: mut d_y, last: mut d_last, states: mut d_states } = given;
    let mut hidden = vec![Array3::default((0, 0, 0)); kept.len()];
    for layer in (0..r.num_layers).rev() {
        if let Some(place) = between(r, layer, dropping) {
            d_y = place.of(d_y);
        }
        let rows = layer * walks.len()..(layer + 1) * walks.len();
        let computed = &kept[rows.clone()];
        let in_place: Vec<_> =
            computed.iter().zip(walks).map(|(kept, walk)| walk.in_place(r, kept.y.clone())).collect();
        let mut d_parts = merged_back(r.merge, &in_place, &d_y);
        for (d_part, walk) in d_parts.iter_mut().zip(walks) {
            *d_part = walk.in_place(r, std::mem::take(d_part));
        }
        if let Some(d_last) = d_last.take() {
            let end = d_y.len_of(Axis(0)) - 1;
            let lasts: Vec<_> = computed.iter().map(|kept| kept.y.index_axis(Axis(0), end).to_owned()).collect();
            for (d_part, d_last) in d_parts.iter_mut().zip(merged_back(r.merge, &lasts, &d_last)) {
                let mut d_end = d_part.index_axis_mut(Axis(0), end);
                d_end += &d_last;
            }
        }
        let mut d_x: Option<Array3<f64>> = None;
        for ((d, row), d_part) in rows.enumerate().zip(d_parts) {
            let (mut d_h, mut d_c) = d_states.row(row);
            let (batch, inputs) = (d_part.len_of(Axis(1)), cells[row].w_x.ncols());
            let dropped = Dropped::of(r, (layer, d), (batch, inputs), dropping);
            let direction = OneDirection::of(r, d, &cells[row], dropped);
            let (own, d_hidden) = direction.back_over_time(&kept[row], d_part, &mut d_h, &mut d_c, &mut d_cells[row]);
            hidden[row] = d_hidden;
            d_x = Some(match d_x {
                Some(others) => others + own,
                None => own,
            });
            d_states.set_row(row, &d_h, d_c.as_ref());
        }
        d_y = d_x.expect("a stack has a direction");
    }
    StackBack { x: d_y, states: d_states, hidden }
}

impl OneDirection<'_> {
    /// Returns the gradients of the input, `[T, B, I]`, and of the hidden state after each step, both in the
    /// input's order. `d_y` is the gradient of the direction's output, in the order of computation. `d_h`
    /// and `d_c` come in as the gradients of the final states and go out as those of the initial ones.
    ///
    /// ```text
    /// live:  δh' = δh + δy_n, and through the cell to x, h, c and the weights
    /// dead:  δh and δc stay; a held output sends δy_n to δy_{n−1}, which it repeats, and any other sends nothing
    /// ```
    fn back_over_time(
        &self,
        kept: &Kept,
        mut d_y: Array3<f64>,
        d_h: &mut Array2<f64>,
        d_c: &mut Option<Array2<f64>>,
        d_weights: &mut CellParams,
    ) -> (Array3<f64>, Array3<f64>) {
        let (time, batch, _) = d_y.dim();
        let mut d_x = Array3::zeros((time, batch, self.weights.w_x.ncols()));
        let mut d_hidden = Array3::zeros((time, batch, d_h.ncols()));
        for n in (0..time).rev() {
            let t = self.walk.at(n, time);
            // The part that goes through the cell; the rest bypasses it.
            let mut d_h_next = Array2::zeros(d_h.dim());
            let mut d_c_next = d_c.as_ref().map(|d_c| Array2::zeros(d_c.dim()));
            for b in 0..batch {
                if kept.live.as_ref().is_none_or(|live| live[[t, b]]) {
                    d_h_next.row_mut(b).assign(&(&d_h.row(b) + &d_y.slice(s![n, b, ..])));
                    d_h.row_mut(b).fill(0.0);
                    if let (Some(d_c_next), Some(d_c)) = (&mut d_c_next, d_c.as_mut()) {
                        d_c_next.row_mut(b).assign(&d_c.row(b));
                        d_c.row_mut(b).fill(0.0);
                    }
                } else if self.padding == Padding::Held && n > 0 {
                    let held = d_y.slice(s![n, b, ..]).to_owned();
                    let mut before = d_y.slice_mut(s![n - 1, b, ..]);
                    before += &held;
                }
            }
            d_hidden.index_axis_mut(Axis(0), t).assign(&d_h_next);
            let given = (&d_h_next, d_c_next.as_ref());
            let back =
                step_back(self.cell, &self.variant, self.weights, (&kept.steps[n], &self.dropped), given, d_weights);
            d_x.index_axis_mut(Axis(0), t).assign(&back.x);
            *d_h += &back.h;
            if let (Some(d_c), Some(back)) = (d_c.as_mut(), &back.c) {
                *d_c += back;
            }
        }
        (d_x, d_hidden)
    }
}

/// Returns the gradients of the outputs of one or two directions, from the gradient of the merged output.
fn merged_back<D: RemoveAxis>(merge: Merge, parts: &[Array<f64, D>], d_y: &Array<f64, D>) -> Vec<Array<f64, D>> {
    let [forward, reverse] = parts else { return vec![d_y.clone()] };
    match merge {
        Merge::Concat => {
            let features = Axis(d_y.ndim() - 1);
            let (d_forward, d_reverse) = d_y.view().split_at(features, forward.len_of(features));
            vec![d_forward.to_owned(), d_reverse.to_owned()]
        }
        Merge::Sum => vec![d_y.clone(), d_y.clone()],
        Merge::Average => vec![d_y / 2.0, d_y / 2.0],
        Merge::Product => vec![d_y * reverse, d_y * forward],
    }
}
