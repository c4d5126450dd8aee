//! The oracle: the textbook equations in f64 on unpacked weights. What everything else is compared with.
//!
//! It knows no layout, no plan and no kernel, fuses nothing and hoists nothing: it alone can find a bug in gate
//! order, packing or planning, since everything else shares those. Written to be read, step by step, in the order
//! of the equations; fast only where that costs no line. Here are the layers, in `stack` the directions and the dead
//! steps, in `cell` the equations, in `activation` the functions.
//!
//! Letters: T time, B batch, I input, H hidden, G gates, L layers, D directions, F features.

mod activation;
mod cell;
mod stack;

use std::collections::HashMap;
use std::iter;

use ndarray::{Array, Array1, Array2, Array3, ArrayD, ArrayView2, Axis, concatenate, s};

use self::activation::activate;
use self::stack::{States, stack};
use crate::call::{Batching, Call, Input};
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Axes, InputKind, Join, LayerKind, Model, Pin, Recurrent, Select, Value};
use crate::weights::{LayerWeights, Weights};

/// What a model truly gives, in the axes of the input: an [`Output`](crate::Output) in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// What the last layer gives: `[B, T, F]` (`[T, B, F]`), or `[B, F]` where the time axis is gone; without a batch
    /// `[T, F]` or `[F]`.
    pub output: ArrayD<f64>,
    /// The final states of each recurrent stack.
    pub states: Vec<TrueStates>,
    /// The other outputs of the model.
    pub others: Vec<ArrayD<f64>>,
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
    let form = input.check(model)?.form;
    let (values, states) = run_layers(model, weights, input)?;
    let state_in_form = |states: States| match form.batching {
        Batching::Batch => TrueStates { h: states.h.into_dyn(), c: states.c.map(Array::into_dyn) },
        Batching::Single => TrueStates {
            h: states.h.remove_axis(Axis(1)).into_dyn(),
            c: states.c.map(|c| c.remove_axis(Axis(1)).into_dyn()),
        },
    };
    let in_form = |values: &Values| match (values.clone(), form.batching, form.axes) {
        (Values::Steps(y), Batching::Single, _) => y.remove_axis(Axis(1)).into_dyn(),
        (Values::Steps(y), Batching::Batch, Axes::TimeMajor) => y.into_dyn(),
        (Values::Steps(y), Batching::Batch, Axes::BatchFirst) => y.permuted_axes([1, 0, 2]).into_dyn(),
        (Values::Rows(y), Batching::Single, _) => y.remove_axis(Axis(0)).into_dyn(),
        (Values::Rows(y), Batching::Batch, _) => y.into_dyn(),
        (Values::Tokens(_), ..) => unreachable!("a checked model gives features"),
    };
    let mut outputs = model.feature_outputs().into_iter().map(|value| in_form(&values[&value]));
    let output = outputs.next().expect("a model has an output");
    let others = outputs.collect();
    Ok(Truth { output, states: states.into_iter().map(state_in_form).collect(), others })
}

/// What stands between two layers.
#[derive(Clone)]
enum Values {
    /// `[T, B]`.
    Tokens(Array2<u32>),
    /// `[T, B, F]`.
    Steps(Array3<f64>),
    /// `[B, F]`.
    Rows(Array2<f64>),
}

/// Every layer in its order: every value of features, and the final states of each stack.
fn run_layers(model: &Model, weights: &Weights, input: &Input) -> Result<(HashMap<Value, Values>, Vec<States>)> {
    let call = input.check(model)?;
    let learned = call.learned(model, weights.initial.iter().map(|(&i, states)| (i, &states.h, states.c.as_ref())))?;
    let call = call.learning(&learned);
    let batch = call.form.batch;
    let live = |value: Value| {
        let clock = call.clocks().of_value(value).filter(|&clock| call.masked(clock))?;
        Some(Array2::from_shape_fn((call.time(clock), batch), |(t, b)| call.is_live(clock, t, b)))
    };
    let mut values: HashMap<Value, Values> = HashMap::new();
    for (index, of) in model.all_inputs()?.iter().enumerate() {
        values.extend(host_values(&call, index, of.kind).map(|given| (Value::Input(index), given)));
    }
    let mut states: Vec<States> = Vec::new();
    for (index, (layer, weights)) in model.layers.iter().zip(&weights.layers).enumerate() {
        let taken: Vec<Values> = layer.from.iter().map(|value| values[value].clone()).collect();
        let own = |pin| Value::Layer(index, pin);
        let given = match (&layer.kind, weights, taken[0].clone()) {
            (LayerKind::Embedding(_), LayerWeights::Embedding(table), Values::Tokens(tokens)) => {
                Values::Steps(embedding(&tokens, table))
            }
            (LayerKind::OneHot(one_hot), _, Values::Tokens(tokens)) => {
                Values::Steps(unit_vectors(&tokens, one_hot.num_classes))
            }
            (LayerKind::Recurrent(r), LayerWeights::Recurrent(cells), Values::Steps(x)) => {
                let mut initial = match call.initial(states.len()) {
                    Some((h, c)) => States { h: h.mapv(f64::from), c: c.map(|c| c.mapv(f64::from)) },
                    None => States::zero(r, batch),
                };
                let [hidden, cell] = layer.initial;
                if let Some(begun) = hidden.and_then(|value| begun(model, value, r, &values, &states)) {
                    initial.h = begun;
                }
                if let Some(begun) = cell.and_then(|value| begun(model, value, r, &values, &states)) {
                    initial.c = Some(begun);
                }
                let given = stack(r, cells, x, live(layer.from[0]).as_ref(), initial);
                values.insert(own(Pin::FinalHidden), Values::Rows(last_layer(&given.states.h, r.directions())));
                values.insert(own(Pin::LastOutput), Values::Rows(given.last));
                if let Some(c) = &given.states.c {
                    values.insert(own(Pin::FinalCell), Values::Rows(last_layer(c, r.directions())));
                }
                states.push(given.states);
                Values::Steps(given.steps)
            }
            (LayerKind::Select(Select::LastStep), _, Values::Steps(x)) => Values::Rows(last_step(x)),
            (LayerKind::Select(Select::AllSteps), _, values @ Values::Steps(_)) => values,
            // Results of a stack, which the layer takes by their names.
            (LayerKind::Select(Select::LastOutput | Select::FinalHidden), _, values @ Values::Rows(_)) => values,
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
            // Keras' `Masking` also zeroes the steps that it takes out.
            (LayerKind::Masking(_), _, Values::Steps(mut x)) => {
                if let Some(live) = live(own(Pin::Output)) {
                    for ((t, b), _) in live.indexed_iter().filter(|(_, live)| !**live) {
                        x.slice_mut(s![t, b, ..]).fill(0.0);
                    }
                }
                Values::Steps(x)
            }
            (LayerKind::Dropout(_), _, values @ (Values::Steps(_) | Values::Rows(_))) => values,
            (LayerKind::Join(join), _, Values::Steps(_) | Values::Rows(_)) => joined(*join, &taken),
            (LayerKind::Slice(slice), _, Values::Steps(x)) => {
                Values::Steps(x.slice_move(s![.., .., slice.first..slice.first + slice.count]))
            }
            (LayerKind::Slice(slice), _, Values::Rows(x)) => {
                Values::Rows(x.slice_move(s![.., slice.first..slice.first + slice.count]))
            }
            (kind, ..) => {
                let message = format!("layer {index} {}: expected its weights, got another layer's", kind.name());
                return Err(Error::new(ErrorKind::Weights, message));
            }
        };
        values.insert(own(Pin::Output), given);
    }
    Ok((values, states))
}

/// What input `index` of the model is given: 0 at dead steps. None of initial states.
fn host_values(call: &Call<'_>, index: usize, kind: InputKind) -> Option<Values> {
    let (clock, batch) = (call.clocks().of_value(Value::Input(index)), call.form.batch);
    let time = clock.map_or(1, |clock| call.time(clock));
    let steps = || (0..time).flat_map(|t| (0..batch).map(move |b| (t, b)));
    Some(match kind {
        InputKind::Tokens(_) => Values::Tokens(Array2::from_shape_fn((time, batch), |(t, b)| call.token(index, t, b))),
        InputKind::Sequence(size) => {
            let mut x = Array3::zeros((time, batch, size));
            for (t, b) in steps() {
                if let Some(features) = call.features(index, t, b) {
                    x.slice_mut(s![t, b, ..]).assign(&features.mapv(f64::from));
                }
            }
            Values::Steps(x)
        }
        InputKind::Row(size) => {
            Values::Rows(Array2::from_shape_fn((batch, size), |(b, n)| f64::from(call.row(index, b)[n])))
        }
        InputKind::State(_) => return None,
    })
}

/// The states `[L · D, B, size]` that `value` begins stack `r` with; none where the call brings them.
fn begun(
    model: &Model,
    value: Value,
    r: &Recurrent,
    values: &HashMap<Value, Values>,
    states: &[States],
) -> Option<Array3<f64>> {
    match value {
        Value::Layer(layer, Pin::Hidden) => Some(states[model.stack_of(layer)].h.clone()),
        Value::Layer(layer, Pin::Cell) => states[model.stack_of(layer)].c.clone(),
        value => match values.get(&value)? {
            // The directions of the one layer stand side by side.
            Values::Rows(row) => {
                let (batch, size) = (row.nrows(), row.ncols() / r.directions());
                Some(Array3::from_shape_fn((r.directions(), batch, size), |(d, b, n)| row[[b, d * size + n]]))
            }
            Values::Steps(_) | Values::Tokens(_) => None,
        },
    }
}

/// The values of a join; rows meet each step.
fn joined(join: Join, values: &[Values]) -> Values {
    let time =
        values.iter().find_map(|value| if let Values::Steps(x) = value { Some(x.len_of(Axis(0))) } else { None });
    let has_time = time.is_some();
    let steps = |value: &Values| match value {
        Values::Steps(x) => x.clone(),
        Values::Rows(x) => Array3::from_shape_fn((time.unwrap_or(1), x.nrows(), x.ncols()), |(_, b, n)| x[[b, n]]),
        Values::Tokens(_) => unreachable!("a checked model joins features"),
    };
    let mut parts = values.iter().map(steps);
    let first = parts.next().expect("a checked join has values");
    let joined = match join {
        Join::Concat => {
            let all: Vec<_> = iter::once(first).chain(parts).collect();
            let views: Vec<_> = all.iter().map(|part| part.view()).collect();
            concatenate(Axis(2), &views).expect("values of one time and batch")
        }
        Join::Add => parts.fold(first, |sum, part| sum + part),
        Join::Subtract => parts.fold(first, |rest, part| rest - part),
        Join::Multiply => parts.fold(first, |product, part| product * part),
        #[expect(clippy::cast_precision_loss, reason = "a model joins few values")]
        Join::Average => parts.fold(first, |sum, part| sum + part) / values.len() as f64,
        Join::Maximum => parts.fold(first, |mut most, part| {
            most.zip_mut_with(&part, |a, &b| *a = if b > *a || b.is_nan() { b } else { *a });
            most
        }),
    };
    if has_time { Values::Steps(joined) } else { Values::Rows(joined.index_axis_move(Axis(0), 0)) }
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

/// `y = f(x·Wᵀ + b)`: `[rows, in_features]` to `[rows, out_features]`.
fn linear(x: ArrayView2<'_, f64>, w: &Array2<f32>, b: Option<&Array1<f32>>, f: Activation) -> Array2<f64> {
    let mut y = x.dot(&w.mapv(f64::from).t());
    if let Some(b) = b {
        y += &b.mapv(f64::from);
    }
    activate(f, y)
}
