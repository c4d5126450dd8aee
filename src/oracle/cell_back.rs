//! The backward pass of one step of one cell: from the gradients of its results to those of its inputs.
//!
//! Each backward pass has the order and the letters of the equations of `cell`, last equation
//! first. `δ` before a letter is the gradient of the loss by it; for a gate, `δa` is that of its
//! function's input. Every sum over the rows of the batch is a product with a transposed matrix.
//!
//! Werbos, "Backpropagation Through Time: What It Does and How to Do It", 1990; the LSTM as in Greff et al., "LSTM:
//! A Search Space Odyssey", 2017, appendix A. PyTorch's autograd gives the same. If a function has no derivative at
//! a point, it is PyTorch's: a clip passes the gradient of a value on its bound, as `torch.clamp` does.

use ndarray::{Array2, ArrayView2, Axis, s};

use super::activation::activate;
use super::cell::{Gate, Step, clipped};
use super::dropout::Dropped;
use super::params::CellParams;
use super::slope::activate_back;
use crate::cell::{Activation, Cell, Coupling, Reset, Variant};

/// The gradients of the inputs of a step.
pub(super) struct StepBack {
    /// `[B, I]`.
    pub(super) x: Array2<f64>,
    /// `[B, state_size]`.
    pub(super) h: Array2<f64>,
    /// Of an LSTM, `[B, H]`.
    pub(super) c: Option<Array2<f64>>,
}

/// The backward pass of `step`, from `δh'` and, for an LSTM, `δc'`. Adds the gradients of the weights `w` to `δw`.
pub(super) fn step_back(
    cell: Cell,
    variant: &Variant,
    w: &CellParams,
    (step, dropped): (&Step, &Dropped),
    (d_h_next, d_c_next): (&Array2<f64>, Option<&Array2<f64>>),
    d_w: &mut CellParams,
) -> StepBack {
    let mut back = Back { variant, w, step, dropped, d_w, d: StepBack::zero(step) };
    match cell {
        Cell::Rnn => back.rnn(d_h_next),
        Cell::Lstm => back.lstm(d_h_next, d_c_next.expect("an LSTM has the gradient of its cell state")),
        Cell::Gru(reset) => back.gru(reset, d_h_next),
    }
    back.d
}

struct Back<'a> {
    variant: &'a Variant,
    w: &'a CellParams,
    step: &'a Step,
    dropped: &'a Dropped,
    d_w: &'a mut CellParams,
    d: StepBack,
}

impl StepBack {
    fn zero(step: &Step) -> Self {
        let zeros = |of: &Array2<f64>| Array2::zeros(of.dim());
        Self { x: zeros(&step.x), h: zeros(&step.h), c: step.c.as_ref().map(zeros) }
    }
}

impl Back<'_> {
    /// ```text
    /// δa = δh' ∘ f'(a)
    /// ```
    fn rnn(&mut self, d_h_next: &Array2<f64>) {
        let d_a = self.gate(0, self.variant.functions.f, d_h_next.clone());
        self.x_product(0, &d_a);
        let d_h = self.h_product(0, &self.step.h, &d_a);
        self.d.h += &d_h;
    }

    /// ```text
    /// u   = o ∘ h(c')                  projected: δu = δh'·W_rᵀ, δW_r = uᵀ·δh';  else δu = δh'
    /// δo  = δu ∘ h(c')                 δa_o = δo ∘ f'(a_o)
    /// δc' += δu ∘ o ∘ h'(c') + p_o ∘ δa_o
    /// δi  = δc' ∘ g                    coupled: δi −= δf, and the forget gate has no δa
    /// δf  = δc' ∘ c
    /// δg  = δc' ∘ i                    δa_g = δg ∘ g'(a_g)
    /// δc  = δc' ∘ f + p_i ∘ δa_i + p_f ∘ δa_f
    /// ```
    fn lstm(&mut self, d_h_next: &Array2<f64>, d_c_next: &Array2<f64>) {
        let functions = self.variant.functions;
        let step = self.step;
        let [i, f, g, o] = &step.gates[..] else { unreachable!("an LSTM has four gates") };
        let (c, c_next) = (step.c.as_ref().expect("of an LSTM"), step.c_next.as_ref().expect("of an LSTM"));
        let h_of_c = activate(functions.h, c_next.clone());
        let d_u = match (&self.w.w_r, &mut self.d_w.w_r) {
            (Some(w_r), Some(d_w_r)) => {
                *d_w_r += &d_h_next.t().dot(&(&o.out * &h_of_c));
                d_h_next.dot(w_r)
            }
            _ => d_h_next.clone(),
        };
        let d_a_o = self.gate(3, functions.f, &d_u * &h_of_c);
        let mut d_c_next = d_c_next + &activate_back(functions.h, c_next, &(&d_u * &o.out));
        d_c_next += &self.peep(2, c_next, &d_a_o);
        let mut d_i = &d_c_next * &g.out;
        let d_f = &d_c_next * c;
        let mut d_c = &d_c_next * &f.out;
        if self.variant.coupling == Coupling::InputForget {
            d_i -= &d_f;
        } else {
            let d_a_f = self.gate(1, functions.f, d_f);
            d_c += &self.peep(1, c, &d_a_f);
            self.both_products(1, &d_a_f);
        }
        let d_a_i = self.gate(0, functions.f, d_i);
        d_c += &self.peep(0, c, &d_a_i);
        let d_a_g = self.gate(2, functions.g, &d_c_next * &i.out);
        self.both_products(0, &d_a_i);
        self.both_products(2, &d_a_g);
        self.both_products(3, &d_a_o);
        self.d.c = Some(d_c);
    }

    /// ```text
    /// δn = δh' ∘ (1 − z)               δa_n = δn ∘ g'(a_n)
    /// δz = δh' ∘ (h − n)               δh = δh' ∘ z
    /// q = h·W_hn + b_hn:               δq = δa_n ∘ r,  δr = δa_n ∘ q                    reset after the product
    /// q = r ∘ h:                       δq = δa_n·W_hnᵀ, δr = δq ∘ h, δh += δq ∘ r       reset before it
    /// ```
    ///
    /// With the reset after, the two sides of the new gate have two δ: `δa_n` for the input and `δa_n ∘ r` for the state.
    fn gru(&mut self, reset: Reset, d_h_next: &Array2<f64>) {
        let functions = self.variant.functions;
        let step = self.step;
        let [r, z, n] = &step.gates[..] else { unreachable!("a GRU has three gates") };
        let (h, q) = (&step.h, step.q.as_ref().expect("of a GRU"));
        let d_a_n = self.gate(2, functions.g, d_h_next * &z.out.mapv(|z| 1.0 - z));
        let d_a_z = self.gate(1, functions.f, d_h_next * &(h - &n.out));
        self.d.h += &(d_h_next * &z.out);
        self.x_product(2, &d_a_n);
        let d_r = match reset {
            Reset::After => {
                let d_h = self.h_product(2, h, &(&d_a_n * &r.out));
                self.d.h += &d_h;
                &d_a_n * q
            }
            Reset::Before => {
                let d_q = self.h_product(2, q, &d_a_n);
                self.d.h += &(&d_q * &r.out);
                d_q * h
            }
        };
        let d_a_r = self.gate(0, functions.f, d_r);
        self.both_products(0, &d_a_r);
        self.both_products(1, &d_a_z);
    }

    /// Returns `δa` of gate `gate` from the gradient of its output; 0 where a clip cut the sum.
    fn gate(&self, gate: usize, function: Activation, d_out: Array2<f64>) -> Array2<f64> {
        let Gate { sum, .. } = &self.step.gates[gate];
        let mut d_a = activate_back(function, &clipped(self.variant, sum.clone()), &d_out);
        if let Some(clip) = self.variant.clip {
            d_a.zip_mut_with(sum, |d, &a| {
                if a.abs() > f64::from(clip.get()) {
                    *d = 0.0;
                }
            });
        }
        d_a
    }

    /// Adds `δx += δa·W_x`, `δW_x += δaᵀ·x`, `δb_x += Σ δa` of one gate, with x after dropout.
    fn x_product(&mut self, gate: usize, d_a: &Array2<f64>) {
        let rows = gate * self.w.hidden..(gate + 1) * self.w.hidden;
        let d_x = d_a.dot(&self.w.w_x.slice(s![rows.clone(), ..]));
        self.d.x += &self.dropped.x(gate, d_x.view());
        let x = self.dropped.x(gate, self.step.x.view());
        add(self.d_w.w_x.slice_mut(s![rows.clone(), ..]), d_a.t().dot(&x).view());
        if let Some(b) = &mut self.d_w.b_x {
            let mut b = b.slice_mut(s![rows]);
            b += &d_a.sum_axis(Axis(0));
        }
    }

    /// Adds `δW_h += δaᵀ·h`, `δb_h += Σ δa` of one gate, and returns `δh = δa·W_h`, with h after dropout.
    fn h_product(&mut self, gate: usize, h: &Array2<f64>, d_a: &Array2<f64>) -> Array2<f64> {
        let rows = gate * self.w.hidden..(gate + 1) * self.w.hidden;
        add(self.d_w.w_h.slice_mut(s![rows.clone(), ..]), d_a.t().dot(&self.dropped.h(gate, h.view())).view());
        if let Some(b) = &mut self.d_w.b_h {
            let mut b = b.slice_mut(s![rows.clone()]);
            b += &d_a.sum_axis(Axis(0));
        }
        self.dropped.h(gate, d_a.dot(&self.w.w_h.slice(s![rows, ..])).view())
    }

    /// Does both, for a gate with the same `δa` for `x` and `h`.
    fn both_products(&mut self, gate: usize, d_a: &Array2<f64>) {
        self.x_product(gate, d_a);
        let d_h = self.h_product(gate, &self.step.h, d_a);
        self.d.h += &d_h;
    }

    /// Adds `δp += Σ c ∘ δa` to a row of the peepholes, and returns `δc = p ∘ δa`; 0 without peepholes.
    fn peep(&mut self, row: usize, c: &Array2<f64>, d_a: &Array2<f64>) -> Array2<f64> {
        match (&self.w.peepholes, &mut self.d_w.peepholes) {
            (Some(peepholes), Some(d_peepholes)) => {
                let mut d_row = d_peepholes.row_mut(row);
                d_row += &(c * d_a).sum_axis(Axis(0));
                d_a * &peepholes.row(row)
            }
            _ => Array2::zeros(c.dim()),
        }
    }
}

fn add(mut sum: ndarray::ArrayViewMut2<'_, f64>, term: ArrayView2<'_, f64>) {
    sum += &term;
}
