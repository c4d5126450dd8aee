//! One step of one cell: the equations of RNN, LSTM and GRU with all that can differ in them, gate by gate.
//!
//! Knows a cell, its weights and its variant; knows no time, no batch mask and no direction.
//!
//! Where the specifications leave a choice, it is what ONNX Runtime 1.31 computes, found by random trials:
//! - `clip` bounds what goes into a gate's function: products, biases and peephole together. The cell state is never
//!   clipped, neither where it is kept nor on its way through `h`, although ONNX says "the input of activations".
//! - A coupled forget gate is `1 − i` of the input gate as it comes out of its function; weights, bias and peephole of
//!   the forget gate are not used.
//! - The output gate's peephole sees the new cell state, unclipped; those of input and forget the old one.

use ndarray::{Array1, Array2, ArrayView2, s};

use super::activation::{activate, bounded};
use crate::cell::{Activation, Cell, Coupling, Reset, Variant};
use crate::weights::CellWeights;

/// One step of every row: `h` `[B, state_size]` and, of an LSTM, `c` `[B, H]`.
pub(super) fn step(
    cell: Cell,
    variant: &Variant,
    w: &TrueWeights,
    x: ArrayView2<'_, f64>,
    h: &Array2<f64>,
    c: Option<&Array2<f64>>,
) -> (Array2<f64>, Option<Array2<f64>>) {
    match cell {
        Cell::Rnn => (rnn(variant, w, x, h), None),
        Cell::Lstm => {
            let c = c.expect("a checked call has the cell state of an LSTM");
            let (h, c) = lstm(variant, w, x, h, c);
            (h, Some(c))
        }
        Cell::Gru(reset) => (gru(reset, variant, w, x, h), None),
    }
}

/// ```text
/// h' = f(x·W_x + b_x + h·W_h + b_h)
/// ```
///
/// Elman, "Finding Structure in Time", 1990; torch.nn.RNN; ONNX RNN; Keras `SimpleRNN`.
fn rnn(variant: &Variant, w: &TrueWeights, x: ArrayView2<'_, f64>, h: &Array2<f64>) -> Array2<f64> {
    gate(variant, variant.functions.f, w.x(0, x) + w.h(0, h))
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
fn lstm(
    variant: &Variant,
    w: &TrueWeights,
    x: ArrayView2<'_, f64>,
    h: &Array2<f64>,
    c: &Array2<f64>,
) -> (Array2<f64>, Array2<f64>) {
    let functions = variant.functions;
    let product = |index| w.x(index, x) + w.h(index, h);
    let i = gate(variant, functions.f, w.peep(0, c, product(0)));
    let f = match variant.coupling {
        Coupling::Apart => gate(variant, functions.f, w.peep(1, c, product(1))),
        Coupling::InputForget => i.mapv(|i| 1.0 - i),
    };
    let g = gate(variant, functions.g, product(2));
    let c_next = f * c + i * g;
    let o = gate(variant, functions.f, w.peep(2, &c_next, product(3)));
    let h_next = o * activate(functions.h, c_next.clone());
    let h_next = match &w.w_r {
        Some(w_r) => h_next.dot(&w_r.t()),
        None => h_next,
    };
    (h_next, c_next)
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
fn gru(reset: Reset, variant: &Variant, w: &TrueWeights, x: ArrayView2<'_, f64>, h: &Array2<f64>) -> Array2<f64> {
    let functions = variant.functions;
    let r = gate(variant, functions.f, w.x(0, x) + w.h(0, h));
    let z = gate(variant, functions.f, w.x(1, x) + w.h(1, h));
    let recurrent = match reset {
        Reset::After => r * w.h(2, h),
        Reset::Before => w.h(2, &(r * h)),
    };
    let n = gate(variant, functions.g, w.x(2, x) + recurrent);
    let new = z.mapv(|z| 1.0 - z);
    new * n + z * h
}

/// A gate from what goes into it: clipped, then through its function.
fn gate(variant: &Variant, function: Activation, x: Array2<f64>) -> Array2<f64> {
    let x = match variant.clip {
        Some(clip) => x.mapv(|x| bounded(x, -f64::from(clip.get()), f64::from(clip.get()))),
        None => x,
    };
    activate(function, x)
}

/// The weights of a cell in f64; an absent bias is zero.
pub(super) struct TrueWeights {
    /// `[G · H, I]`.
    w_x: Array2<f64>,
    /// `[G · H, state_size]`.
    w_h: Array2<f64>,
    /// `[G · H]`.
    b_x: Array1<f64>,
    /// `[G · H]`.
    b_h: Array1<f64>,
    /// `[proj_size, H]`.
    w_r: Option<Array2<f64>>,
    /// `[3, H]`: gates input, forget, output.
    peepholes: Option<Array2<f64>>,
    /// The rows of each gate: gate g has the rows from g · H up to (g + 1) · H.
    hidden: usize,
}

impl TrueWeights {
    pub(super) fn of(cell: Cell, weights: &CellWeights) -> Self {
        let rows = weights.w_h.nrows();
        let hidden = rows / cell.gates();
        let bias = |b: &Option<Array1<f32>>| b.as_ref().map_or_else(|| Array1::zeros(rows), |b| b.mapv(f64::from));
        Self {
            w_x: weights.w_x.mapv(f64::from),
            w_h: weights.w_h.mapv(f64::from),
            b_x: bias(&weights.b_x),
            b_h: bias(&weights.b_h),
            w_r: weights.w_r.as_ref().map(|w| w.mapv(f64::from)),
            peepholes: weights.peepholes.as_ref().map(|p| p.mapv(f64::from)),
            hidden,
        }
    }

    /// `x·W_x + b_x` of one gate: `[B, I]` to `[B, H]`.
    fn x(&self, gate: usize, x: ArrayView2<'_, f64>) -> Array2<f64> {
        let rows = gate * self.hidden..(gate + 1) * self.hidden;
        x.dot(&self.w_x.slice(s![rows.clone(), ..]).t()) + self.b_x.slice(s![rows])
    }

    /// `h·W_h + b_h` of one gate: `[B, state_size]` to `[B, H]`.
    fn h(&self, gate: usize, h: &Array2<f64>) -> Array2<f64> {
        let rows = gate * self.hidden..(gate + 1) * self.hidden;
        h.dot(&self.w_h.slice(s![rows.clone(), ..]).t()) + self.b_h.slice(s![rows])
    }

    /// `product + p ∘ c` of one gate, by its row in the peepholes; without peepholes the product, whatever is in c.
    fn peep(&self, row: usize, c: &Array2<f64>, product: Array2<f64>) -> Array2<f64> {
        match &self.peepholes {
            Some(peepholes) => product + c * &peepholes.row(row),
            None => product,
        }
    }
}
