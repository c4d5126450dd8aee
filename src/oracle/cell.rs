//! One step of one cell: the equations of RNN, LSTM and GRU with all their variants, gate by gate.
//!
//! Knows a cell, its weights and its variant; knows no time, no batch mask and no direction.
//!
//! If the specifications leave a choice, this does what ONNX Runtime 1.31 computes, found by random trials:
//! - `clip` bounds the sum that goes into a gate's function: products, biases and peephole together. The cell state is
//!   never clipped, neither when it is kept nor on its way through `h`, although ONNX says "the input of activations".
//! - A coupled forget gate is `1 − i`, with the input gate as its function
//!   gives it. The weights, bias and peephole of the forget gate are not used.
//! - The output gate's peephole sees the new cell state, unclipped; those of input and forget see the old one.

use ndarray::{Array2, ArrayView2, s};

use super::activation::{activate, bounded};
use super::dropout::Dropped;
use super::params::CellParams;
use crate::cell::{Activation, Cell, Coupling, Reset, Variant};

/// One step of every row: its inputs, its results, and the values between.
pub(super) struct Step {
    /// `[B, I]`.
    pub(super) x: Array2<f64>,
    /// `[B, state_size]`.
    pub(super) h: Array2<f64>,
    /// Of an LSTM, `[B, H]`.
    pub(super) c: Option<Array2<f64>>,
    /// The gates in the cell's order.
    pub(super) gates: Vec<Gate>,
    /// Of a GRU, `[B, H]`: `h·W_hn + b_hn` if the reset is after the product, `r ∘ h` if it is before.
    pub(super) q: Option<Array2<f64>>,
    /// The next `h`.
    pub(super) h_next: Array2<f64>,
    /// The next `c`.
    pub(super) c_next: Option<Array2<f64>>,
}

impl Step {
    /// Sets the values of row `row`, which has no step here, to zero. They may be NaN, and 0 times NaN would be NaN.
    pub(super) fn forget(&mut self, row: usize) {
        let Self { x, h, c, gates, q, h_next, c_next } = self;
        let gates = gates.iter_mut().flat_map(|gate| [&mut gate.sum, &mut gate.out]);
        for array in [x, h, h_next].into_iter().chain([c, q, c_next].into_iter().flatten()).chain(gates) {
            array.row_mut(row).fill(0.0);
        }
    }
}

/// A gate, `[B, H]`: the input and the output of its function.
pub(super) struct Gate {
    /// Products, biases and peephole together, before they are clipped.
    pub(super) sum: Array2<f64>,
    /// The output of its function.
    pub(super) out: Array2<f64>,
}

/// Computes one step of every row from `h` `[B, state_size]` and, for an LSTM, `c` `[B, H]`.
pub(super) fn step(
    cell: Cell,
    variant: &Variant,
    w: &CellParams,
    x: ArrayView2<'_, f64>,
    (h, c): (&Array2<f64>, Option<&Array2<f64>>),
    dropped: &Dropped,
) -> Step {
    let w = &Products { w, dropped };
    match cell {
        Cell::Rnn => rnn(variant, w, x, h),
        Cell::Lstm => lstm(variant, w, x, h, c.expect("a checked call has the cell state of an LSTM")),
        Cell::Gru(reset) => gru(reset, variant, w, x, h),
    }
}

/// The weights of a step, and the dropout of the vectors that they multiply.
struct Products<'a> {
    w: &'a CellParams,
    dropped: &'a Dropped,
}

/// ```text
/// h' = f(x·W_x + b_x + h·W_h + b_h)
/// ```
///
/// Elman, "Finding Structure in Time", 1990; torch.nn.RNN; ONNX RNN; Keras `SimpleRNN`.
fn rnn(variant: &Variant, w: &Products<'_>, x: ArrayView2<'_, f64>, h: &Array2<f64>) -> Step {
    let hidden = Gate::of(variant, variant.functions.f, w.x(0, x) + w.h(0, h));
    let h_next = hidden.out.clone();
    Step { x: x.to_owned(), h: h.clone(), c: None, gates: vec![hidden], q: None, h_next, c_next: None }
}

/// ```text
/// i  = f(x·W_xi + b_xi + h·W_hi + b_hi + p_i ∘ c)
/// f  = f(x·W_xf + b_xf + h·W_hf + b_hf + p_f ∘ c)        coupled: f = 1 − i
/// g  = g(x·W_xg + b_xg + h·W_hg + b_hg)
/// c' = f ∘ c + i ∘ g
/// o  = f(x·W_xo + b_xo + h·W_ho + b_ho + p_o ∘ c')
/// h' = o ∘ h(c'), and where projected h' = (o ∘ h(c')) · W_r
/// ```
///
/// Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al., 1999; the peepholes
/// of Gers and Schmidhuber, "Recurrent Nets that Time and Count", 2000; coupled gates: Greff et al., "LSTM: A Search
/// Space Odyssey", 2017; the projection of Sak et al., 2014; torch.nn.LSTM; ONNX LSTM; Keras `LSTM`.
fn lstm(variant: &Variant, w: &Products<'_>, x: ArrayView2<'_, f64>, h: &Array2<f64>, c: &Array2<f64>) -> Step {
    let functions = variant.functions;
    let product = |index| w.x(index, x) + w.h(index, h);
    let i = Gate::of(variant, functions.f, w.w.peep(0, c, product(0)));
    let f = match variant.coupling {
        Coupling::Apart => Gate::of(variant, functions.f, w.w.peep(1, c, product(1))),
        Coupling::InputForget => Gate { sum: Array2::zeros(i.out.dim()), out: i.out.mapv(|i| 1.0 - i) },
    };
    let g = Gate::of(variant, functions.g, product(2));
    let c_next = &f.out * c + &i.out * &g.out;
    let o = Gate::of(variant, functions.f, w.w.peep(2, &c_next, product(3)));
    let h_next = &o.out * &activate(functions.h, c_next.clone());
    let h_next = match &w.w.w_r {
        Some(w_r) => h_next.dot(&w_r.t()),
        None => h_next,
    };
    let (x, h, c, c_next) = (x.to_owned(), h.clone(), Some(c.clone()), Some(c_next));
    Step { x, h, c, gates: vec![i, f, g, o], q: None, h_next, c_next }
}

/// ```text
/// r  = f(x·W_xr + b_xr + h·W_hr + b_hr)
/// z  = f(x·W_xz + b_xz + h·W_hz + b_hz)
/// n  = g(x·W_xn + b_xn + r ∘ (h·W_hn + b_hn))            reset after the product
/// n  = g(x·W_xn + b_xn + (r ∘ h)·W_hn + b_hn)            reset before it
/// h' = (1 − z) ∘ n + z ∘ h
/// ```
///
/// Cho et al., 2014: reset before. torch.nn.GRU and cuDNN: after. ONNX's `linear_before_reset` and Keras' `reset_after`
/// choose.
fn gru(reset: Reset, variant: &Variant, w: &Products<'_>, x: ArrayView2<'_, f64>, h: &Array2<f64>) -> Step {
    let functions = variant.functions;
    let r = Gate::of(variant, functions.f, w.x(0, x) + w.h(0, h));
    let z = Gate::of(variant, functions.f, w.x(1, x) + w.h(1, h));
    let (q, recurrent) = match reset {
        Reset::After => {
            let q = w.h(2, h);
            let recurrent = &r.out * &q;
            (q, recurrent)
        }
        Reset::Before => {
            let q = &r.out * h;
            let recurrent = w.h(2, &q);
            (q, recurrent)
        }
    };
    let n = Gate::of(variant, functions.g, w.x(2, x) + recurrent);
    let new = z.out.mapv(|z| 1.0 - z);
    let h_next = new * &n.out + &z.out * h;
    let (x, h) = (x.to_owned(), h.clone());
    Step { x, h, c: None, gates: vec![r, z, n], q: Some(q), h_next, c_next: None }
}

impl Gate {
    /// Computes a gate from its sum: clipped, then through its function.
    fn of(variant: &Variant, function: Activation, sum: Array2<f64>) -> Self {
        let out = activate(function, clipped(variant, sum.clone()));
        Self { sum, out }
    }
}

/// Returns the input of a gate's function: `sum`, clipped.
pub(super) fn clipped(variant: &Variant, sum: Array2<f64>) -> Array2<f64> {
    match variant.clip {
        Some(clip) => sum.mapv_into(|x| bounded(x, -f64::from(clip.get()), f64::from(clip.get()))),
        None => sum,
    }
}

impl Products<'_> {
    /// Returns `x·W_x + b_x` of one gate, with x after dropout.
    fn x(&self, gate: usize, x: ArrayView2<'_, f64>) -> Array2<f64> {
        self.w.x(gate, self.dropped.x(gate, x).view())
    }

    /// Returns `h·W_h + b_h` of one gate, with h after dropout.
    fn h(&self, gate: usize, h: &Array2<f64>) -> Array2<f64> {
        self.w.h(gate, &self.dropped.h(gate, h.view()))
    }
}

impl CellParams {
    /// Returns `x·W_x + b_x` of one gate: `[B, I]` to `[B, H]`.
    fn x(&self, gate: usize, x: ArrayView2<'_, f64>) -> Array2<f64> {
        let rows = gate * self.hidden..(gate + 1) * self.hidden;
        let product = x.dot(&self.w_x.slice(s![rows.clone(), ..]).t());
        match &self.b_x {
            Some(b) => product + b.slice(s![rows]),
            None => product,
        }
    }

    /// Returns `h·W_h + b_h` of one gate: `[B, state_size]` to `[B, H]`.
    fn h(&self, gate: usize, h: &Array2<f64>) -> Array2<f64> {
        let rows = gate * self.hidden..(gate + 1) * self.hidden;
        let product = h.dot(&self.w_h.slice(s![rows.clone(), ..]).t());
        match &self.b_h {
            Some(b) => product + b.slice(s![rows]),
            None => product,
        }
    }

    /// Returns `product + p ∘ c` of one gate, by its row in the
    /// peepholes. Without peepholes it is the product, whatever c holds.
    fn peep(&self, row: usize, c: &Array2<f64>, product: Array2<f64>) -> Array2<f64> {
        match &self.peepholes {
            Some(peepholes) => product + c * &peepholes.row(row),
            None => product,
        }
    }
}
