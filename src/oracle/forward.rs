//! The forward pass: every layer in order, from all numbers of a call.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array2, Array3, Axis, s};

use super::across::{counted, flattened, permuted, pooled, repeated, reshaped};
use super::activation::activate;
use super::attention::attention;
use super::conv::convolved;
use super::dropout::DropSite;
use super::join::joined;
use super::layers::{embedding, last_layer, last_step, linear, part, side_by_side, unit_vectors, zeroed};
use super::norm::normalized;
use super::params::{LayerParams, Params};
use super::stack::{Keep, Kept, States, stack};
use super::values::Values;
use super::windows::{every, padded, windowed};
use crate::call::Call;
use crate::dropout::Dropping;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Dropout, DropoutUnit, InputKind, Layer, LayerKind, Model, Pin, Recurrent, Select, Value};
use crate::weights::Weights;

/// All numbers that a call is computed from, in f64. Gradients are taken by them.
#[derive(Clone)]
pub(super) struct Point {
    /// The weights.
    pub(super) params: Params,
    /// The inputs of the model, by index, without inputs of initial states.
    pub(super) inputs: BTreeMap<usize, Values>,
    /// The initial states of each stack: those of the call, or else zero. `None` if the stack has learned them.
    pub(super) states: Vec<Option<States>>,
    /// The dropout, if there is any.
    pub(super) dropping: Option<Dropping>,
}

/// The results of all layers.
pub(super) struct Forward {
    /// Every value.
    pub(super) values: HashMap<Value, Values>,
    /// The final states of each stack.
    pub(super) states: Vec<States>,
    /// The values between that each stack computed.
    pub(super) kept: Vec<Vec<Kept>>,
}

impl Point {
    /// Collects the numbers of a call of `model` with `weights`.
    pub(super) fn of(model: &Model, weights: &Weights, call: &Call<'_>) -> Result<Self> {
        let params = Params::of(model, weights);
        let mut inputs = BTreeMap::new();
        for (index, of) in model.all_inputs()?.iter().enumerate() {
            inputs.extend(host_values(call, index, of.kind).map(|given| (index, given)));
        }
        let begin = |(index, stack): (usize, &Recurrent)| match call.initial(index) {
            Some([h, c]) => {
                let mut states = States::zero(stack, call.form.batch);
                if let Some(h) = h {
                    states.h = h.mapv(f64::from);
                }
                if let Some(c) = c {
                    states.c = Some(c.mapv(f64::from));
                }
                Some(states)
            }
            None if params.initial.contains_key(&index) => None,
            None => Some(States::zero(stack, call.form.batch)),
        };
        let states = model.stacks().enumerate().map(begin).collect();
        Ok(Self { params, inputs, states, dropping: None })
    }

    /// Returns dropout place 0 of layer `index`, which is a layer `dropout`.
    pub(super) fn drops(&self, index: usize, dropout: &Dropout) -> Option<DropSite> {
        let (rate, shared) = (dropout.rate.get(), dropout.drops == DropoutUnit::Features);
        self.dropping.map(|dropping| DropSite { dropping, layer: index, place: 0, rate, shared })
    }
}

/// Returns which steps of `value` are live, `[T, B]`; `None` if all are, or if it has no time axis.
pub(super) fn live(call: &Call<'_>, value: Value) -> Option<Array2<bool>> {
    let clock = call.clocks().of_value(value).filter(|&clock| call.masked(clock))?;
    Some(Array2::from_shape_fn((call.time(clock), call.form.batch), |(t, b)| call.is_live(clock, t, b)))
}

/// Computes every layer in order.
pub(super) fn forward(model: &Model, call: &Call<'_>, point: &Point, keep: Keep) -> Result<Forward> {
    let mut values: HashMap<Value, Values> = HashMap::new();
    values.extend(point.inputs.iter().map(|(&index, given)| (Value::Input(index), given.clone())));
    let (mut states, mut kept) = (Vec::new(), Vec::new());
    for (index, (layer, params)) in model.layers.iter().zip(&point.params.layers).enumerate() {
        let taken: Vec<Values> = layer.from.iter().map(|value| values[value].clone()).collect();
        let own = |pin| Value::Layer(index, pin);
        let given = match (&layer.kind, params, &taken[0]) {
            (LayerKind::Embedding(_), LayerParams::Embedding(table), Values::Tokens(tokens)) => {
                Values::Steps(embedding(tokens, table))
            }
            (LayerKind::OneHot(one_hot), _, Values::Tokens(tokens)) => {
                Values::Steps(unit_vectors(tokens, one_hot.num_classes))
            }
            (LayerKind::Recurrent(r), LayerParams::Recurrent(cells), Values::Steps(x)) => {
                let mut initial = initial(model, call, point, r, states.len());
                let [hidden, cell] = layer.initial;
                if let Some(begun) = hidden.and_then(|value| begun(values.get(&value)?, r)) {
                    initial.h = begun;
                }
                if let Some(begun) = cell.and_then(|value| begun(values.get(&value)?, r)) {
                    initial.c = Some(begun);
                }
                let live = live(call, layer.from[0]);
                let dropping = point.dropping.map(|dropping| (dropping, index));
                let given = stack(r, cells, (x.clone(), live.as_ref()), initial, dropping, keep);
                values.insert(own(Pin::FinalHidden), Values::Rows(last_layer(&given.states.h, r.directions())));
                values.insert(own(Pin::Hidden), Values::States(given.states.h.clone()));
                values.insert(own(Pin::LastOutput), Values::Rows(given.last));
                if let Some(c) = &given.states.c {
                    values.insert(own(Pin::FinalCell), Values::Rows(last_layer(c, r.directions())));
                    values.insert(own(Pin::Cell), Values::States(c.clone()));
                }
                states.push(given.states);
                kept.push(given.kept);
                Values::Steps(given.steps)
            }
            (LayerKind::Select(Select::LastStep), _, Values::Steps(x)) => Values::Rows(last_step(x)),
            (LayerKind::Select(Select::AllSteps), _, values @ Values::Steps(_)) => values.clone(),
            // The layer takes a stack's result by its name.
            (LayerKind::Select(Select::LastOutput | Select::FinalHidden), _, values @ Values::Rows(_)) => {
                values.clone()
            }
            (LayerKind::Linear(l), LayerParams::Linear { w, b }, x @ (Values::Steps(_) | Values::Rows(_))) => {
                x.of_steps(linear(&x.steps(), w, b.as_ref(), l.activation))
            }
            (LayerKind::Conv1d(conv), LayerParams::Conv { w, b }, Values::Steps(x)) => {
                Values::Steps(convolved(conv, &convolvable(call, layer, x), w, b.as_ref()))
            }
            (kind, params, x @ (Values::Steps(_) | Values::Rows(_))) if kind.norm().is_some() => {
                let norm = kind.norm().expect("it normalises");
                x.of_steps(normalized(norm, &params.norm(), &x.steps()))
            }
            (LayerKind::Activation(f), _, x @ (Values::Steps(_) | Values::Rows(_))) => {
                x.of_steps(activate(*f, x.steps()))
            }
            (LayerKind::Masking(_), _, Values::Steps(x)) => {
                Values::Steps(zeroed(x.clone(), live(call, own(Pin::Output)).as_ref()))
            }
            (LayerKind::Dropout(dropout), _, x @ (Values::Steps(_) | Values::Rows(_))) => {
                point.drops(index, dropout).map_or_else(|| x.clone(), |place| x.of_steps(place.of(x.steps())))
            }
            (LayerKind::Join(join), _, Values::Steps(_) | Values::Rows(_)) => joined(*join, &taken),
            (LayerKind::SliceSteps(slice), _, Values::Steps(x)) => {
                let (first, count) = slice.range(x.len_of(Axis(0)));
                Values::Steps(every(x, first, slice.step, count))
            }
            (LayerKind::Slice(slice), _, x @ (Values::Steps(_) | Values::Rows(_))) => {
                x.of_steps(part(&x.steps(), Axis(2), slice.first, slice.count))
            }
            (LayerKind::GlobalPool(pool), _, Values::Steps(x)) => {
                let live = live(call, layer.from[0]);
                Values::Rows(pooled(pool.reduce, x, counted(pool, live.as_ref())))
            }
            (LayerKind::WindowPool(pool), _, Values::Steps(x)) => {
                Values::Steps(windowed(pool, x, live(call, layer.from[0]).as_ref()))
            }
            (LayerKind::PadSteps(pad), _, Values::Steps(x)) => Values::Steps(padded(pad, x)),
            (LayerKind::Repeat(repeat), _, Values::Rows(row)) => Values::Steps(repeated(row, repeat.count)),
            (LayerKind::Flatten(_), _, Values::Steps(x)) => Values::Rows(flattened(x)),
            (LayerKind::Reshape(shape), _, x @ (Values::Steps(_) | Values::Rows(_))) => {
                Values::Steps(reshaped(&x.steps(), shape.steps, shape.features))
            }
            (LayerKind::Permute(_), _, Values::Steps(x)) => Values::Steps(permuted(x)),
            (LayerKind::Attention(of), params, _) => {
                let weight = if let LayerParams::Embedding(row) = params { Some(row) } else { None };
                let (value, _) = of.places(taken.len());
                let [of_value, of_query] = [layer.from[value], own(Pin::Output)].map(|value| live(call, value));
                attention(of, &taken, weight, [of_value.as_ref(), of_query.as_ref()])
            }
            (kind, ..) => {
                let message = format!("layer {index} {}: expected its weights, got another layer's", kind.name());
                return Err(Error::new(ErrorKind::Weights, message));
            }
        };
        values.insert(own(Pin::Output), given);
    }
    Ok(Forward { values, states, kept })
}

/// Returns what the convolution `layer` reads of `x`: zeros at dead steps, unless it reads all of them or is a linear
/// layer.
pub(super) fn convolvable(call: &Call<'_>, layer: &Layer, x: &Array3<f64>) -> Array3<f64> {
    let reads_all = matches!(&layer.kind, LayerKind::Conv1d(conv) if conv.all_steps || conv.as_linear().is_some());
    zeroed(x.clone(), live(call, layer.from[0]).filter(|_| !reads_all).as_ref())
}

/// Returns the value of input `index` of the model: 0 at dead steps. `None` for initial states.
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

/// Returns the initial states of stack `index`, if they do not come from a value.
fn initial(model: &Model, call: &Call<'_>, point: &Point, r: &Recurrent, index: usize) -> States {
    match (&point.states[index], point.params.initial.get(&index)) {
        (Some(states), _) => states.clone(),
        (None, Some((h, c))) => {
            let mut states = States::zero(r, call.form.batch);
            for row in call.rows_that_learn(model, index) {
                states.h.index_axis_mut(Axis(1), row).assign(h);
                if let (Some(all), Some(c)) = (&mut states.c, c) {
                    all.index_axis_mut(Axis(1), row).assign(c);
                }
            }
            states
        }
        (None, None) => States::zero(r, call.form.batch),
    }
}

/// Returns the states `[L · D, B, size]` that a value gives stack `r` to begin at.
fn begun(value: &Values, r: &Recurrent) -> Option<Array3<f64>> {
    match value {
        Values::States(states) => Some(states.clone()),
        // The states of the one layer's directions are side by side.
        Values::Rows(row) => Some(side_by_side(row, r.directions())),
        Values::Steps(_) | Values::Tokens(_) => None,
    }
}
