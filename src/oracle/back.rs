//! The backward pass: from the losses through every layer, last to first, to all numbers of a call.
//!
//! A value's gradient is the sum of the gradients from all its consumers. Before a layer is processed,
//! all consumers of its results have been. A value on which no loss depends has no gradient.

use std::collections::BTreeMap;

use ndarray::{Array3, Axis, s};

use super::across::{counted, permuted, pooled_back, repeated_back, reshaped};
use super::attention::attention_back;
use super::conv::{convolved_back, sums};
use super::forward::{Forward, Point, convolvable, live};
use super::join::joined_back;
use super::layers::{
    embedding_back, last_layer, last_layer_back, last_step, last_step_back, linear, linear_back, part_back, zeroed,
};
use super::loss::measured;
use super::norm::normalized_back;
use super::params::{LayerParams, Params};
use super::slope::activate_back;
use super::stack::States;
use super::stack_back::{GivenBack, StackBack, stack_back};
use super::values::{Gradients, Values};
use super::windows::{every_back, padded_back, windowed_back};
use crate::call::Call;
use crate::cell::Activation;
use crate::loss::Aim;
use crate::model::{LayerKind, Model, Pin, Recurrent, Select, Value};

/// The loss, and its gradients for all numbers of a [`Point`].
pub(super) struct Back {
    pub(super) loss: f64,
    pub(super) params: Params,
    /// For inputs of features, by index: 0 at dead steps.
    pub(super) inputs: BTreeMap<usize, Values>,
    /// For the initial states of each stack that has not learned them and does not begin at a value.
    pub(super) states: BTreeMap<usize, States>,
    /// For the hidden state after each step: by stack, of each layer and direction.
    pub(super) hidden: BTreeMap<usize, Vec<Array3<f64>>>,
}

/// Returns only the loss.
pub(super) fn loss(model: &Model, call: &Call<'_>, point: &Point, forward: &Forward, aims: &[Aim]) -> f64 {
    let one = |aim| measured(aim, &bare_value(model, call, (point, forward), aim, aim.measured.value).steps()).0;
    aims.iter().map(one).sum()
}

/// Returns the loss and all its gradients.
pub(super) fn back(model: &Model, call: &Call<'_>, point: &Point, forward: &Forward, aims: &[Aim]) -> Back {
    let mut walk = Walk {
        model,
        call,
        point,
        forward,
        gradients: Gradients::default(),
        bare: BTreeMap::new(),
        params: point.params.zeros(model),
        states: BTreeMap::new(),
        hidden: BTreeMap::new(),
    };
    let mut loss = 0.0;
    for aim in aims {
        let y = bare_value(model, call, (point, forward), aim, aim.measured.value);
        let (own, d_y) = measured(aim, &y.steps());
        loss += own;
        walk.add_bare(aim, aim.measured.value, y.of_steps(d_y));
    }
    for layer in (0..model.layers.len()).rev() {
        walk.layer(layer);
    }
    let mut inputs = BTreeMap::new();
    for (&index, given) in &point.inputs {
        let (Values::Steps(_) | Values::Rows(_)) = given else { continue };
        let d = walk.gradients.take(Value::Input(index)).unwrap_or_else(|| given.zeros());
        inputs.insert(index, unread_zeroed(call, index, d));
    }
    Back { loss, params: walk.params, inputs, states: walk.states, hidden: walk.hidden }
}

/// Returns the value that `aim` is measured on: `value` without the activation of layer `aim.measured.bare`.
fn bare_value(model: &Model, call: &Call<'_>, (point, forward): (&Point, &Forward), aim: &Aim, value: Value) -> Values {
    let (Some(bare), Value::Layer(index, Pin::Output)) = (aim.measured.bare, value) else {
        return forward.values[&value].clone();
    };
    let from = model.layers[index].from[0];
    match (&model.layers[index].kind, &point.params.layers[index]) {
        (LayerKind::Conv1d(conv), LayerParams::Conv { w, b }) if index == bare => {
            let x = convolvable(call, &model.layers[index], &forward.values[&from].steps());
            Values::Steps(sums(conv, &x, w, b.as_ref()))
        }
        (LayerKind::Linear(_), LayerParams::Linear { w, b }) if index == bare => {
            let x = &forward.values[&from];
            x.of_steps(linear(&x.steps(), w, b.as_ref(), Activation::Linear))
        }
        _ if index == bare => forward.values[&from].clone(),
        (LayerKind::Select(Select::LastStep), _) => {
            Values::Rows(last_step(&bare_value(model, call, (point, forward), aim, from).steps()))
        }
        _ => bare_value(model, call, (point, forward), aim, from),
    }
}

/// Sets the gradient to zero where the caller's features of input `index` are not read.
fn unread_zeroed(call: &Call<'_>, index: usize, d: Values) -> Values {
    let Values::Steps(mut d) = d else { return d };
    let (time, batch, _) = d.dim();
    for (t, b) in (0..time).flat_map(|t| (0..batch).map(move |b| (t, b))) {
        if call.features(index, t, b).is_none() {
            d.slice_mut(s![t, b, ..]).fill(0.0);
        }
    }
    Values::Steps(d)
}

struct Walk<'a, 'c> {
    model: &'a Model,
    call: &'a Call<'c>,
    point: &'a Point,
    forward: &'a Forward,
    gradients: Gradients,
    /// For the inputs of layers' activations, if a loss is measured there.
    bare: BTreeMap<usize, Array3<f64>>,
    params: Params,
    states: BTreeMap<usize, States>,
    hidden: BTreeMap<usize, Vec<Array3<f64>>>,
}

impl Walk<'_, '_> {
    /// The backward pass of [`bare_value`].
    fn add_bare(&mut self, aim: &Aim, value: Value, d: Values) {
        let (Some(bare), Value::Layer(index, Pin::Output)) = (aim.measured.bare, value) else {
            return self.gradients.add(value, d);
        };
        let layer = &self.model.layers[index];
        match (&layer.kind, d) {
            (_, d) if index == bare => {
                let own = d.steps();
                let sum = self.bare.remove(&index).map_or(own.clone(), |sum| sum + own);
                self.bare.insert(index, sum);
            }
            (LayerKind::Select(Select::LastStep), Values::Rows(d)) => {
                let time = self.forward.values[&layer.from[0]].steps().len_of(Axis(0));
                self.add_bare(aim, layer.from[0], Values::Steps(last_step_back(time, &d)));
            }
            (_, d) => self.add_bare(aim, layer.from[0], d),
        }
    }

    /// Adds the gradients of layer `index`'s results to those of its inputs and weights.
    fn layer(&mut self, index: usize) {
        let layer = &self.model.layers[index];
        if let LayerKind::Recurrent(r) = &layer.kind {
            return self.stack(index, r);
        }
        let (d_y, d_bare) = (self.gradients.take(Value::Layer(index, Pin::Output)), self.bare.remove(&index));
        if d_y.is_none() && d_bare.is_none() {
            return;
        }
        let (from, x) = (layer.from[0], &self.forward.values[&layer.from[0]]);
        let params = (&self.point.params.layers[index], &mut self.params.layers[index]);
        let d_x = match (&layer.kind, params, d_y) {
            (LayerKind::Embedding(e), (_, LayerParams::Embedding(d_table)), Some(d_y)) => {
                let Values::Tokens(tokens) = x else { unreachable!("a checked embedding takes tokens") };
                return embedding_back(tokens, e.padding_idx, &d_y.steps(), d_table);
            }
            (LayerKind::Linear(l), (LayerParams::Linear { w, b }, LayerParams::Linear { w: d_w, b: d_b }), d_y) => {
                let (weights, d_weights) = ((w, b.as_ref(), l.activation), (d_w, d_b.as_mut()));
                let d_y = d_y.map(|d_y| d_y.steps());
                x.of_steps(linear_back(&x.steps(), weights, d_y.as_ref(), d_bare.as_ref(), d_weights))
            }
            (LayerKind::Conv1d(c), (LayerParams::Conv { w, b }, LayerParams::Conv { w: d_w, b: d_b }), d_y) => {
                let read = convolvable(self.call, layer, &x.steps());
                let d_y = d_y.map(|d_y| d_y.steps());
                let given = [d_y.as_ref(), d_bare.as_ref()];
                let d_x = convolved_back(c, &read, (w, b.as_ref()), given, (d_w, d_b.as_mut()));
                Values::Steps(convolvable(self.call, layer, &d_x))
            }
            (kind, (own, d_own), Some(d_y)) if kind.norm().is_some() => {
                let norm = kind.norm().expect("it normalises");
                let mut d_params = d_own.norm();
                let d_x = normalized_back(norm, &own.norm(), (&x.steps(), &d_y.steps()), &mut d_params);
                if let LayerParams::Norm(d_own) = d_own {
                    *d_own = d_params;
                }
                x.of_steps(d_x)
            }
            (LayerKind::Activation(f), _, d_y) => {
                let d_y = d_y.map(|d_y| activate_back(*f, &x.steps(), &d_y.steps()));
                let parts = [d_y, d_bare].into_iter().flatten();
                x.of_steps(parts.reduce(|sum, d| sum + d).expect("there is one of them"))
            }
            (LayerKind::Select(Select::LastStep), _, Some(Values::Rows(d_y))) => {
                Values::Steps(last_step_back(x.steps().len_of(Axis(0)), &d_y))
            }
            (LayerKind::Masking(_), _, Some(d_y)) => {
                let live = live(self.call, Value::Layer(index, Pin::Output));
                Values::Steps(zeroed(d_y.steps(), live.as_ref()))
            }
            (LayerKind::Join(join), _, Some(d_y)) => {
                let taken: Vec<_> = layer.from.iter().map(|value| self.forward.values[value].clone()).collect();
                for (&value, d) in layer.from.iter().zip(joined_back(*join, &taken, &d_y)) {
                    self.gradients.add(value, d);
                }
                return;
            }
            (LayerKind::Attention(of), (params, d_params), Some(d_y)) => {
                let taken: Vec<_> = layer.from.iter().map(|value| self.forward.values[value].clone()).collect();
                let weights = match (params, d_params) {
                    (LayerParams::Embedding(row), LayerParams::Embedding(d_row)) => (Some(row), Some(d_row)),
                    _ => (None, None),
                };
                let (value, _) = of.places(taken.len());
                let lives = [layer.from[value], Value::Layer(index, Pin::Output)].map(|value| live(self.call, value));
                let d_taken = attention_back(of, &taken, weights, lives.each_ref().map(Option::as_ref), &d_y);
                for (&value, d) in layer.from.iter().zip(d_taken) {
                    self.gradients.add(value, d);
                }
                return;
            }
            (LayerKind::SliceSteps(slice), _, Some(d_y)) => {
                let time = x.steps().len_of(Axis(0));
                Values::Steps(every_back(&d_y.steps(), slice.range(time).0, slice.step, time))
            }
            (LayerKind::Slice(slice), _, Some(d_y)) => {
                x.of_steps(part_back(&d_y.steps(), Axis(2), slice.first, x.steps().len_of(Axis(2))))
            }
            (LayerKind::GlobalPool(pool), _, Some(Values::Rows(d_y))) => {
                let live = live(self.call, from);
                Values::Steps(pooled_back(pool.reduce, &x.steps(), counted(pool, live.as_ref()), &d_y))
            }
            (LayerKind::WindowPool(pool), _, Some(d_y)) => {
                let live = live(self.call, from);
                Values::Steps(windowed_back(pool, &x.steps(), live.as_ref(), &d_y.steps()))
            }
            (LayerKind::PadSteps(pad), _, Some(d_y)) => {
                Values::Steps(padded_back(pad, &d_y.steps(), x.steps().len_of(Axis(0))))
            }
            (LayerKind::Repeat(_), _, Some(d_y)) => Values::Rows(repeated_back(&d_y.steps())),
            (LayerKind::Flatten(_) | LayerKind::Reshape(_), _, Some(d_y)) => {
                let (steps, _, features) = x.steps().dim();
                x.of_steps(reshaped(&d_y.steps(), steps, features))
            }
            (LayerKind::Permute(_), _, Some(d_y)) => Values::Steps(permuted(&d_y.steps())),
            (LayerKind::Dropout(dropout), _, Some(d_y)) => match self.point.drops(index, dropout) {
                Some(place) => x.of_steps(place.of(d_y.steps())),
                None => d_y,
            },
            // The selected rows were computed already: their gradient passes through.
            (LayerKind::Select(_), _, Some(d_y)) => d_y,
            // Tokens have no gradient.
            _ => return,
        };
        self.gradients.add(from, d_x);
    }

    /// Does the same for a recurrent stack: for its steps, and for its final states under all their names.
    fn stack(&mut self, index: usize, r: &Recurrent) {
        let mut take = |pin| self.gradients.take(Value::Layer(index, pin));
        let pins =
            [Pin::Output, Pin::LastOutput, Pin::FinalHidden, Pin::Hidden, Pin::FinalCell, Pin::Cell].map(&mut take);
        if pins.iter().all(Option::is_none) {
            return;
        }
        let [steps, last, final_hidden, hidden, final_cell, cell] = pins;
        let rows = |d: Option<Values>| match d {
            Some(Values::Rows(d)) => Some(d),
            _ => None,
        };
        let steps = steps.unwrap_or_else(|| self.forward.values[&Value::Layer(index, Pin::Output)].zeros()).steps();
        let mut states = States::zero(r, steps.len_of(Axis(1)));
        if let Some(d) = hidden {
            states.h += &d.steps();
        }
        if let Some(d) = rows(final_hidden) {
            last_layer_back(&d, r.directions(), &mut states.h);
        }
        if let Some(c) = &mut states.c {
            if let Some(d) = cell {
                *c += &d.steps();
            }
            if let Some(d) = rows(final_cell) {
                last_layer_back(&d, r.directions(), c);
            }
        }
        let (stack, layer) = (self.model.stack_of(index), &self.model.layers[index]);
        let (LayerParams::Recurrent(cells), LayerParams::Recurrent(d_cells)) =
            (&self.point.params.layers[index], &mut self.params.layers[index])
        else {
            unreachable!("forward has found the stack's weights")
        };
        let dropping = self.point.dropping.map(|dropping| (dropping, index));
        let given = GivenBack { steps, last: rows(last), states };
        let StackBack { x, states, hidden } = stack_back(r, cells, &self.forward.kept[stack], given, dropping, d_cells);
        self.gradients.add(layer.from[0], Values::Steps(x));
        self.hidden.insert(stack, hidden);
        self.begin(stack, r, layer.initial, states);
    }

    /// Adds the gradients of a stack's initial states to those of the values that it begins at.
    fn begin(&mut self, stack: usize, r: &Recurrent, initial: [Option<Value>; 2], mut d: States) {
        let begins = |value: &Value| self.forward.values.contains_key(value);
        let [hidden, cell] = initial.map(|value| value.filter(begins));
        // If a state begins at a value, nothing depends on the call's own initial state.
        if let Some(value) = hidden {
            self.send(value, r, &d.h);
            d.h.fill(0.0);
        }
        if let (Some(value), Some(d_c)) = (cell, &mut d.c) {
            self.send(value, r, d_c);
            d_c.fill(0.0);
        }
        if self.model.begun(stack).all(r) {
            return;
        }
        // Each row began at the same learned states.
        match self.params.initial.get_mut(&stack).filter(|_| self.point.states[stack].is_none()) {
            Some((d_h, d_c)) => {
                for row in self.call.rows_that_learn(self.model, stack) {
                    *d_h += &d.h.index_axis(Axis(1), row);
                    if let (Some(d_c), Some(c)) = (d_c.as_mut(), &d.c) {
                        *d_c += &c.index_axis(Axis(1), row);
                    }
                }
            }
            None => drop(self.states.insert(stack, d)),
        }
    }

    /// Adds the gradient of states to the gradient of the value that holds them.
    fn send(&mut self, value: Value, r: &Recurrent, d: &Array3<f64>) {
        let d = match &self.forward.values[&value] {
            Values::Rows(_) => Values::Rows(last_layer(d, r.directions())),
            _ => Values::States(d.clone()),
        };
        self.gradients.add(value, d);
    }
}
