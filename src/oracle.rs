//! The oracle: the textbook equations in f64 on unpacked weights. What everything else is compared with.
//!
//! It knows no layout, no plan and no kernel, fuses nothing and hoists nothing: it alone can find a bug in gate
//! order, packing or planning, since everything else shares those. Written to be read, step by step, in the order
//! of the equations; fast only where that costs no line.
//!
//! Letters: T time, B batch, I input, H hidden, G gates, L layers, D directions, F features.

use ndarray::{
    Array, Array1, Array2, Array3, ArrayD, ArrayView2, ArrayView3, ArrayViewMut1, Axis, RemoveAxis, concatenate, s,
};

use crate::call::{Batching, Call, Input, Sequence};
use crate::cell::{Activation, Cell, Reset};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Axes, Direction, LayerKind, Model, Recurrent, Select};
use crate::weights::{CellWeights, LayerWeights, Weights};

/// What a model truly gives, in the axes of the input: an [`Output`](crate::Output) in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// What the last layer gives: `[B, T, F]` (`[T, B, F]`), or `[B, F]` where the time axis is gone; without a batch
    /// `[T, F]` or `[F]`.
    pub output: ArrayD<f64>,
    /// The final states of each recurrent stack.
    pub states: Vec<TrueStates>,
}

/// The true final states of one recurrent stack, layer-major, forward before reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct TrueStates {
    /// The hidden states, `[L · D, B, state_size]`; without a batch `[L · D, state_size]`.
    pub h: ArrayD<f64>,
    /// The cell states of an LSTM, `[L · D, B, H]`; without a batch `[L · D, H]`.
    pub c: Option<ArrayD<f64>>,
}

/// Runs `model` with `weights` on `input`.
///
/// # Errors
///
/// Kind `Model`, where the layers do not fit each other; `Weights`, where the weights are another model's; `Shape`,
/// where the input does not fit the model.
pub fn run(model: &Model, weights: &Weights, input: &Input) -> Result<Truth> {
    model.check()?;
    weights.to_tensors(model)?;
    let (call, form) = input.check(model)?;
    let (values, states) = run_layers(model, weights, &call)?;
    let in_form = |states: States| match form.batching {
        Batching::Batch => TrueStates { h: states.h.into_dyn(), c: states.c.map(Array::into_dyn) },
        Batching::Single => TrueStates {
            h: states.h.remove_axis(Axis(1)).into_dyn(),
            c: states.c.map(|c| c.remove_axis(Axis(1)).into_dyn()),
        },
    };
    let output = match (values, form.batching, form.axes) {
        (Values::Steps(y), Batching::Single, _) => y.remove_axis(Axis(1)).into_dyn(),
        (Values::Steps(y), Batching::Batch, Axes::TimeMajor) => y.into_dyn(),
        (Values::Steps(y), Batching::Batch, Axes::BatchFirst) => y.permuted_axes([1, 0, 2]).into_dyn(),
        (Values::Rows(y), Batching::Single, _) => y.remove_axis(Axis(0)).into_dyn(),
        (Values::Rows(y), Batching::Batch, _) => y.into_dyn(),
        (Values::Tokens(_), ..) => unreachable!("a checked model gives features"),
    };
    Ok(Truth { output, states: states.into_iter().map(in_form).collect() })
}

/// What stands between two layers.
enum Values {
    /// `[T, B]`.
    Tokens(Array2<u32>),
    /// `[T, B, F]`.
    Steps(Array3<f64>),
    /// `[B, F]`.
    Rows(Array2<f64>),
}

/// The states of one stack on their way.
struct States {
    /// `[L · D, B, state_size]`.
    h: Array3<f64>,
    /// `[L · D, B, H]`.
    c: Option<Array3<f64>>,
}

/// Every layer, one after the other.
fn run_layers(model: &Model, weights: &Weights, call: &Call) -> Result<(Values, Vec<States>)> {
    let mut values = match &call.sequence {
        Sequence::Features(x) => Values::Steps(x.mapv(f64::from)),
        Sequence::Tokens(tokens) => Values::Tokens(tokens.clone()),
    };
    let mut states: Vec<States> = Vec::new();
    let mut final_hidden = None;
    for (index, (layer, weights)) in model.layers.iter().zip(&weights.layers).enumerate() {
        values = match (&layer.kind, weights, values) {
            (LayerKind::Embedding(_), LayerWeights::Embedding(table), Values::Tokens(tokens)) => {
                Values::Steps(embedding(&tokens, table))
            }
            (LayerKind::OneHot(one_hot), _, Values::Tokens(tokens)) => {
                Values::Steps(unit_vectors(&tokens, one_hot.num_classes))
            }
            (LayerKind::Recurrent(r), LayerWeights::Recurrent(cells), Values::Steps(x)) => {
                let (h, c) = &call.states[states.len()];
                let initial = States { h: h.mapv(f64::from), c: c.as_ref().map(|c| c.mapv(f64::from)) };
                let (y, last) = stack(r, cells, x, call.live.as_ref(), initial);
                final_hidden = Some(last_layer(&last.h, r.directions()));
                states.push(last);
                Values::Steps(y)
            }
            (LayerKind::Select(select), _, Values::Steps(x)) => match select {
                Select::AllSteps => Values::Steps(x),
                Select::LastStep => Values::Rows(last_step(x)),
                Select::LastOutput => todo!(),
                Select::FinalHidden => {
                    Values::Rows(final_hidden.clone().expect("a checked model has a stack before final_hidden"))
                }
            },
            (LayerKind::Linear(l), LayerWeights::Linear { w, b }, Values::Steps(x)) => {
                let mut y = Array3::zeros((x.len_of(Axis(0)), x.len_of(Axis(1)), l.out_features));
                for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
                    y.assign(&linear(x, w, b.as_ref(), l.activation));
                }
                Values::Steps(y)
            }
            (LayerKind::Linear(l), LayerWeights::Linear { w, b }, Values::Rows(x)) => {
                Values::Rows(linear(x.view(), w, b.as_ref(), l.activation))
            }
            (LayerKind::Activation(f), _, Values::Steps(x)) => Values::Steps(activate(*f, x)),
            (LayerKind::Activation(f), _, Values::Rows(x)) => Values::Rows(activate(*f, x)),
            (kind, ..) => {
                let message = format!("layer {index} {}: expected its weights, got another layer's", kind.name());
                return Err(Error::new(ErrorKind::Weights, message));
            }
        };
    }
    Ok((values, states))
}

/// `y[t, b] = table[tokens[t, b]]`.
fn embedding(tokens: &Array2<u32>, table: &Array2<f32>) -> Array3<f64> {
    let (time, batch) = tokens.dim();
    Array3::from_shape_fn((time, batch, table.ncols()), |(t, b, n)| f64::from(table[[tokens[[t, b]] as usize, n]]))
}

/// `y[t, b, n] = 1` where `n = tokens[t, b]`, else 0.
fn unit_vectors(tokens: &Array2<u32>, classes: usize) -> Array3<f64> {
    let (time, batch) = tokens.dim();
    Array3::from_shape_fn((time, batch, classes), |(t, b, n)| if tokens[[t, b]] as usize == n { 1.0 } else { 0.0 })
}

/// The output at the last time index.
fn last_step(x: Array3<f64>) -> Array2<f64> {
    let last = x.len_of(Axis(0)) - 1;
    x.index_axis_move(Axis(0), last)
}

/// The hidden states of the last layer, its directions side by side: `[L · D, B, S]` to `[B, D · S]`.
fn last_layer(h: &Array3<f64>, directions: usize) -> Array2<f64> {
    let first = h.len_of(Axis(0)) - directions;
    let parts: Vec<_> = (first..first + directions).map(|row| h.index_axis(Axis(0), row)).collect();
    concatenate(Axis(1), &parts).expect("the directions of a layer have one batch")
}

/// A stack of recurrent layers: each layer runs over what the one below gave, in each of its directions.
///
/// `output_l[t] = [h_forward[t], h_reverse[t]]`; the reverse direction starts at T − 1 and goes down to 0.
fn stack(
    r: &Recurrent,
    cells: &[CellWeights],
    x: Array3<f64>,
    live: Option<&Array2<bool>>,
    initial: States,
) -> (Array3<f64>, States) {
    let directions: &[_] = match r.direction {
        Direction::Forward => &[Walk::Up],
        Direction::Reverse | Direction::Backwards => &[Walk::Down],
        Direction::Both => &[Walk::Up, Walk::Down],
    };
    let mut last = initial;
    let mut y = x;
    for layer in 0..r.num_layers {
        let mut parts = Vec::with_capacity(directions.len());
        for (d, &walk) in directions.iter().enumerate() {
            let row = layer * directions.len() + d;
            let mut h = last.h.index_axis(Axis(0), row).to_owned();
            let mut c = last.c.as_ref().map(|c| c.index_axis(Axis(0), row).to_owned());
            let weights = TrueWeights::of(r.cell, &cells[row]);
            parts.push(layer_over_time(r.cell, &weights, y.view(), walk, live, &mut h, &mut c));
            last.h.index_axis_mut(Axis(0), row).assign(&h);
            if let (Some(all), Some(c)) = (&mut last.c, &c) {
                all.index_axis_mut(Axis(0), row).assign(c);
            }
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        y = concatenate(Axis(2), &views).expect("the directions of a layer have one time and batch");
    }
    (y, last)
}

/// The order in which a direction visits the steps.
#[derive(Clone, Copy)]
enum Walk {
    /// 0 … T − 1.
    Up,
    /// T − 1 … 0.
    Down,
}

/// One layer in one direction. `h` and `c` come in initial and go out final.
///
/// Where `live[t, b]` is false, row b has no step at t: its state stays, and the output is zero. Walked down, a dead
/// tail passes the initial state through to each row's own last step: the meaning of PyTorch's packed sequences.
fn layer_over_time(
    cell: Cell,
    weights: &TrueWeights,
    x: ArrayView3<'_, f64>,
    walk: Walk,
    live: Option<&Array2<bool>>,
    h: &mut Array2<f64>,
    c: &mut Option<Array2<f64>>,
) -> Array3<f64> {
    let (time, batch, _) = x.dim();
    let mut y = Array3::zeros((time, batch, h.ncols()));
    for step in 0..time {
        let t = match walk {
            Walk::Up => step,
            Walk::Down => time - 1 - step,
        };
        let (h_next, c_next) = cell_step(cell, weights, x.index_axis(Axis(0), t), h, c.as_ref());
        for b in (0..batch).filter(|&b| live.is_none_or(|live| live[[t, b]])) {
            h.row_mut(b).assign(&h_next.row(b));
            if let (Some(c), Some(c_next)) = (c.as_mut(), &c_next) {
                c.row_mut(b).assign(&c_next.row(b));
            }
            y.slice_mut(s![t, b, ..]).assign(&h_next.row(b));
        }
    }
    y
}

/// One step of every row: `h` `[B, state_size]` and, of an LSTM, `c` `[B, H]`.
fn cell_step(
    cell: Cell,
    w: &TrueWeights,
    x: ArrayView2<'_, f64>,
    h: &Array2<f64>,
    c: Option<&Array2<f64>>,
) -> (Array2<f64>, Option<Array2<f64>>) {
    match cell {
        // h' = f(x·W_x + b_x + h·W_h + b_h)
        // Elman, "Finding Structure in Time", 1990; torch.nn.RNN.
        Cell::Rnn => {
            let f: fn(f64) -> f64 = f64::tanh;
            ((w.x(0, x) + w.h(0, h)).mapv(f), None)
        }
        // i = σ(x·W_xi + b_xi + h·W_hi + b_hi)     f, o likewise
        // g = tanh(x·W_xg + b_xg + h·W_hg + b_hg)
        // c' = f ∘ c + i ∘ g
        // h' = o ∘ tanh(c'), and where projected h' = (o ∘ tanh(c')) · W_r
        // Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al., 1999;
        // the projection of Sak et al., 2014; torch.nn.LSTM.
        Cell::Lstm => {
            let c = c.expect("a checked call has the cell state of an LSTM");
            let gate = |index| w.x(index, x) + w.h(index, h);
            let i = gate(0).mapv(sigmoid);
            let f = gate(1).mapv(sigmoid);
            let g = gate(2).mapv(f64::tanh);
            let o = gate(3).mapv(sigmoid);
            let c_next = f * c + i * g;
            let h_next = o * c_next.mapv(f64::tanh);
            let h_next = match &w.w_r {
                Some(w_r) => h_next.dot(&w_r.t()),
                None => h_next,
            };
            (h_next, Some(c_next))
        }
        // r = σ(x·W_xr + b_xr + h·W_hr + b_hr)     z likewise
        // n = tanh(x·W_xn + b_xn + r ∘ (h·W_hn + b_hn))     reset after the product: torch.nn.GRU, cuDNN
        // n = tanh(x·W_xn + b_xn + (r ∘ h)·W_hn + b_hn)     reset before it: Cho et al., 2014; ONNX
        // h' = (1 − z) ∘ n + z ∘ h
        Cell::Gru(reset) => {
            let r = (w.x(0, x) + w.h(0, h)).mapv(sigmoid);
            let z = (w.x(1, x) + w.h(1, h)).mapv(sigmoid);
            let recurrent = match reset {
                Reset::After => r * w.h(2, h),
                Reset::Before => w.h(2, &(r * h)),
            };
            let n = (w.x(2, x) + recurrent).mapv(f64::tanh);
            let keep = z.mapv(|z| 1.0 - z);
            (keep * n + z * h, None)
        }
    }
}

/// The weights of a cell in f64; an absent bias is zero.
struct TrueWeights {
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
    /// The rows of each gate: gate g has the rows from g · H up to (g + 1) · H.
    hidden: usize,
}

impl TrueWeights {
    fn of(cell: Cell, weights: &CellWeights) -> Self {
        let rows = weights.w_h.nrows();
        let bias = |b: &Option<Array1<f32>>| b.as_ref().map_or_else(|| Array1::zeros(rows), |b| b.mapv(f64::from));
        Self {
            w_x: weights.w_x.mapv(f64::from),
            w_h: weights.w_h.mapv(f64::from),
            b_x: bias(&weights.b_x),
            b_h: bias(&weights.b_h),
            w_r: weights.w_r.as_ref().map(|w| w.mapv(f64::from)),
            hidden: rows / cell.gates(),
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
}

/// `y = f(x·Wᵀ + b)`: `[rows, in_features]` to `[rows, out_features]`.
fn linear(x: ArrayView2<'_, f64>, w: &Array2<f32>, b: Option<&Array1<f32>>, f: Activation) -> Array2<f64> {
    let mut y = x.dot(&w.mapv(f64::from).t());
    if let Some(b) = b {
        y += &b.mapv(f64::from);
    }
    activate(f, y)
}

/// `y = f(x)`, over the features (the last axis) where f is a softmax.
fn activate<D: RemoveAxis>(f: Activation, mut x: Array<f64, D>) -> Array<f64, D> {
    let features = Axis(x.ndim() - 1);
    match f {
        Activation::Linear => {}
        Activation::Sigmoid => x.mapv_inplace(sigmoid),
        Activation::Tanh => x.mapv_inplace(f64::tanh),
        Activation::Relu => x.mapv_inplace(relu),
        Activation::Softmax => x.lanes_mut(features).into_iter().for_each(|mut lane| {
            log_softmax(lane.view_mut());
            lane.mapv_inplace(f64::exp);
        }),
        Activation::LogSoftmax => x.lanes_mut(features).into_iter().for_each(log_softmax),
        _ => todo!(),
    }
    x
}

/// `y_i = x_i − max − ln Σ exp(x_j − max)`, which is `ln(exp(x_i) / Σ exp(x_j))` without its overflow.
fn log_softmax(mut x: ArrayViewMut1<'_, f64>) {
    let max = x.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let sum: f64 = x.iter().map(|&x| (x - max).exp()).sum();
    x.mapv_inplace(|x| x - max - sum.ln());
}

/// `1 / (1 + exp(−x))`.
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `max(0, x)`, NaN for NaN.
fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}
