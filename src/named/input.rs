//! Named tensors → `Input`: which tensor is what, whether it has its port's axes, and
//! the permutation to the model's axes.
//!
//! Knows ports and calls; knows no weights.

use std::borrow::Cow;

use ndarray::{ArrayBase, ArrayD, ArrayViewD, Axis, Data, IxDyn, Slice};

use super::{NamedTensors, Values, arrange, joined, letter, not_real, shape};
use crate::call::{Input, States};
use crate::error::Result;
use crate::model::{Clocks, Dim, Flow, InputPort, InputValue, Model, ModelInput, Required, State, TimeAxis, groups_of};

/// Makes the input of `model` from `tensors`, checked as far as axes tell. It borrows tensors that have its types.
pub(crate) fn read_input<'t>(model: &Model, tensors: &'t NamedTensors) -> Result<Input<'t>> {
    model.check()?;
    let ports = model.all_ports();
    let reader = Reader {
        model,
        clocks: Clocks::of(model),
        ports: &ports.inputs,
        tensors,
        all_needed: ports.required == Required::All,
        as_they_stand: model.has_usual_axes(),
    };
    let (input, sizes) = reader.sequence()?;
    if reader.all_needed {
        reader.all_there()?;
    }
    let input = reader.states(reader.steps(reader.others(input, sizes)?, sizes)?, sizes)?;
    finish(&ports.inputs, tensors)?;
    Ok(input)
}

/// Checks that the model knows the name of every tensor.
fn finish(ports: &[InputPort], tensors: &NamedTensors) -> Result<()> {
    let mut known: Vec<String> = Vec::new();
    for port in ports {
        if !known.contains(&port.name) {
            known.push(port.name.clone());
        }
    }
    match tensors.keys().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(unknown) => Err(shape(format!("{unknown}: unknown tensor; this model takes {}", joined(known)))),
    }
}

/// Reads the tensors of a call.
struct Reader<'a, 't> {
    model: &'a Model,
    clocks: Clocks,
    ports: &'a [InputPort],
    tensors: &'t NamedTensors,
    /// Whether a call must have every input.
    all_needed: bool,
    /// Whether the axes are those of a call. `call` then checks them, with or without a batch.
    as_they_stand: bool,
}

/// The name of a state, and the state if it is given.
type NamedState<'a> = (&'a str, Option<ArrayD<f32>>);

/// T and B of a call, if other axes than those of `call` determine them.
#[derive(Clone, Copy, Default)]
struct Sizes {
    time: Option<usize>,
    batch: Option<usize>,
}

impl Sizes {
    /// The length of `dim`, if it is known; `features` is the number of features that are being read.
    fn length(self, dim: Dim, features: usize, layers: usize) -> Option<usize> {
        match dim {
            Dim::Time => self.time,
            Dim::Batch => self.batch,
            Dim::Features => Some(features),
            Dim::Layers => Some(layers),
            Dim::Directions | Dim::One => Some(1),
        }
    }
}

impl<'t> Reader<'_, 't> {
    /// The first tensor given for a port of `value`.
    fn given(&self, value: InputValue) -> Option<(&InputPort, &'t Values)> {
        self.all_given(value).next()
    }

    fn all_given(&self, value: InputValue) -> impl Iterator<Item = (&InputPort, &'t Values)> {
        let ports = self.ports.iter().filter(move |port| port.value == value);
        ports.filter_map(|port| Some((port, self.tensors.get(&port.name)?)))
    }

    /// The tensor given for a port of `value`; an error if there are several.
    fn one_given(&self, value: InputValue) -> Result<Option<(&InputPort, &'t Values)>> {
        one_of(self.all_given(value))
    }

    /// Reads the features or tokens, under any of their names.
    fn sequence(&self) -> Result<(Input<'t>, Sizes)> {
        let names: Vec<_> =
            self.ports.iter().filter(|port| port.value == InputValue::Sequence).map(|port| &port.name).collect();
        let Some((port, values)) = self.one_given(InputValue::Sequence)? else {
            let aliases: String = names[1..].iter().map(|name| format!(" (or {name})")).collect();
            let got = joined(self.tensors.keys());
            let got = if got.is_empty() { "nothing" } else { &got };
            return Err(shape(format!("{}: expected the input under this name{aliases}, got {got}", names[0])));
        };
        if self.as_they_stand {
            let input = match (values, self.model.input()?) {
                (Values::F32(_), Flow::Tokens(_)) => Input::tokens(whole(&port.name, values)?.into_owned()),
                (Values::F32(features), _) => Input::features(features),
                (Values::I64(tokens), _) => Input::tokens(tokens),
            };
            return Ok((input, Sizes::default()));
        }
        match self.model.input()? {
            Flow::Tokens(_) => {
                let tokens = whole(&port.name, values)?.into_owned();
                let (tokens, sizes) = self.arranged(port, tokens, &self.model.axes_of(true), 1)?;
                Ok((Input::tokens(tokens), sizes))
            }
            Flow::Steps(features) | Flow::Rows(features) => {
                let Values::F32(array) = values else { return Err(not_real(&port.name, values.shape())) };
                let flow = self.model.input()?;
                if in_groups(port, flow) {
                    let length = |dim| {
                        port.axes.iter().position(|d| *d == dim).map_or(Some(1), |at| array.shape().get(at).copied())
                    };
                    let sizes = Sizes { time: length(Dim::Time), batch: length(Dim::Batch) };
                    return Ok((Input::features(self.grouped(port, array.view(), flow, sizes)?), sizes));
                }
                let axes = self.model.axes_of_flow(flow);
                let (array, sizes) = self.arranged(port, array.view(), &axes, features.len())?;
                Ok((Input::features(array), sizes))
            }
        }
    }

    /// Adds the model's other inputs to `input`.
    fn others(&self, mut input: Input<'t>, sizes: Sizes) -> Result<Input<'t>> {
        for (index, ModelInput { name, kind }) in self.model.inputs.iter().enumerate() {
            let Some(flow) = kind.flow().filter(|_| index != self.model.main_input()) else { continue };
            let value = InputValue::Input(index);
            let Some((port, values)) = self.one_given(value)? else {
                let got = joined(self.tensors.keys());
                let names = self.ports.iter().filter(|port| port.value == value).map(|port| &port.name);
                let names = names.map(String::as_str).collect::<Vec<_>>().join(" or ");
                return Err(shape(format!("{names}: expected {flow} under this name, got {got}")));
            };
            let sizes = Sizes { time: self.time(index, sizes), ..sizes };
            let check = |features| check_axes(port, values.shape(), "I", |dim| sizes.length(dim, features, 1));
            let axes = self.model.axes_of_flow(flow);
            input = match flow {
                Flow::Tokens(_) => {
                    let mut tokens = whole(&port.name, values)?.into_owned();
                    if !self.as_they_stand {
                        check(1)?;
                        tokens = arrange(tokens, &port.axes, &axes);
                    }
                    input.with_tokens(name, tokens)
                }
                Flow::Steps(features) | Flow::Rows(features) => {
                    let Values::F32(array) = values else { return Err(not_real(&port.name, values.shape())) };
                    if in_groups(port, flow) {
                        input.with_features(name, self.grouped(port, array.view(), flow, sizes)?)
                    } else if self.as_they_stand {
                        input.with_features(name, array)
                    } else {
                        check(features.len())?;
                        input.with_features(name, arrange(array.view(), &port.axes, &axes))
                    }
                }
            };
        }
        Ok(input)
    }

    /// Reads rows or steps whose features are group after group along an axis.
    fn grouped(&self, port: &InputPort, array: ArrayViewD<'_, f32>, flow: Flow, sizes: Sizes) -> Result<ArrayD<f32>> {
        let (features, along) = (flow.features().len(), groups_of(flow).unwrap_or(Dim::Layers));
        let place = port.axes.iter().position(|dim| *dim == along);
        let groups = place.and_then(|place| array.shape().get(place)).copied().unwrap_or(1).max(1);
        let Some(one) = features.checked_div(groups).filter(|one| one * groups == features) else {
            return Err(shape(format!("{}: expected {features} features in all, in {groups} groups", port.name)));
        };
        let length = |dim| if dim == along { Some(groups) } else { sizes.length(dim, one, groups) };
        check_axes(port, array.shape(), "I", length)?;
        let mut axes = self.model.axes_of_flow(flow);
        axes.insert(axes.len() - 1, along);
        let array = arrange(array, &port.axes, &axes);
        let mut lengths = array.shape()[..axes.len() - 2].to_vec();
        lengths.push(features);
        Ok(array.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&lengths)).expect("checked"))
    }

    /// The number of steps of the time axis of input `index`, if it is known before the input is read.
    fn time(&self, index: usize, main: Sizes) -> Option<usize> {
        let leader = self.clocks.leader(index)?;
        if leader == self.model.main_input() {
            return main.time;
        }
        let (port, values) = self.given(InputValue::Input(leader))?;
        let place = port.axes.iter().position(|dim| *dim == Dim::Time)?;
        values.shape().get(place).copied()
    }

    /// Checks that every input is there, except weights, which are read elsewhere.
    fn all_there(&self) -> Result<()> {
        let missing = |port: &&InputPort| {
            !matches!(port.value, InputValue::Weights { .. }) && !self.tensors.contains_key(&port.name)
        };
        let Some(InputPort { name, value, .. }) = self.ports.iter().find(missing) else { return Ok(()) };
        let what = match value {
            InputValue::Lengths(_) => "the lengths of the rows",
            InputValue::Mask(_) => "a mask",
            InputValue::State { state: State::Hidden, .. } => "initial hidden states",
            InputValue::State { state: State::Cell, .. } => "initial cell states",
            InputValue::Sequence | InputValue::Input(_) | InputValue::Weights { .. } => "an input",
        };
        let got = joined(self.tensors.keys());
        Err(shape(format!("{name}: expected {what} under this name, which the model needs, got {got}")))
    }

    /// A sequence in the axes of the model, and its sizes.
    fn arranged<S: Data>(
        &self,
        port: &InputPort,
        array: ArrayBase<S, IxDyn>,
        axes: &[Dim],
        features: usize,
    ) -> Result<(ArrayBase<S, IxDyn>, Sizes)> {
        check_axes(port, array.shape(), "I", |dim| Sizes::default().length(dim, features, 1))?;
        let length = |dim| port.axes.iter().position(|d| *d == dim).map_or(1, |place| array.shape()[place]);
        let sizes = Sizes { time: Some(length(Dim::Time)), batch: Some(length(Dim::Batch)) };
        Ok((arrange(array, &port.axes, axes), sizes))
    }

    /// Adds the lengths or the mask of each time axis to `input`.
    fn steps(&self, mut input: Input<'t>, sizes: Sizes) -> Result<Input<'t>> {
        // A port that several time axes share applies to all that have none of their
        // own. An ONNX graph has one for each.
        let shared = |port: &InputPort| self.ports.iter().filter(|other| other.name == port.name).nth(1).is_some();
        let is_common = |port: &InputPort| !self.all_needed && shared(port);
        for index in 0..self.model.inputs.len().max(1) {
            let sizes = Sizes { time: self.time(index, sizes), ..sizes };
            let name = self.model.inputs.get(index).map(|input| input.name.as_str());
            let own = |value| one_of(self.all_given(value).filter(|(port, _)| !is_common(port)));
            let common = |value| self.all_given(value).find(|(port, _)| is_common(port));
            if let Some((port, values)) = own(InputValue::Lengths(index))? {
                let lengths = self.lengths(port, values, sizes)?;
                input = match name {
                    None => input.lengths(lengths),
                    Some(name) => input.lengths_of(name, lengths),
                };
            }
            if let Some((port, values)) = own(InputValue::Mask(index))? {
                let mask = self.mask(port, values, sizes)?;
                input = match name {
                    None => input.mask(mask),
                    Some(name) => input.mask_of(name, mask),
                };
            }
            if let Some((port, values)) = common(InputValue::Lengths(index)) {
                input = input.lengths(self.lengths(port, values, sizes)?);
            }
            if let Some((port, values)) = common(InputValue::Mask(index)) {
                input = input.mask(self.mask(port, values, sizes)?);
            }
        }
        Ok(input)
    }

    /// Reads a mask.
    fn mask(&self, port: &InputPort, values: &Values, sizes: Sizes) -> Result<ArrayD<bool>> {
        let mask = values.to_f32().mapv(|live| live != 0.0);
        if self.as_they_stand {
            return Ok(mask);
        }
        check_axes(port, mask.shape(), "1", |dim| sizes.length(dim, 1, 1))?;
        Ok(arrange(mask, &port.axes, &[Dim::Batch, Dim::Time]))
    }

    /// Reads the number of steps of each row.
    fn lengths(&self, port: &InputPort, values: &Values, sizes: Sizes) -> Result<Vec<i64>> {
        let Values::I64(array) = values else {
            let got = values.shape();
            return Err(shape(format!("{}: expected [B] integers, got floats {got:?}", port.name)));
        };
        if !self.as_they_stand {
            check_axes(port, array.shape(), "1", |dim| sizes.length(dim, 1, 1))?;
            check_lengths(port, array, sizes)?;
        } else if array.ndim() > 1 {
            return Err(shape(format!("{}: expected [B] integers, got {:?}", port.name, array.shape())));
        }
        Ok(array.iter().copied().collect())
    }

    /// Adds the initial states that are given to `input`.
    fn states(&self, mut input: Input<'t>, sizes: Sizes) -> Result<Input<'t>> {
        for (index, stack) in self.model.stacks().enumerate() {
            let hidden = self.state(index, State::Hidden, sizes)?;
            let cell = self.state(index, State::Cell, sizes)?;
            // A state without a port is zero. A state that a value of the model begins is not given.
            let begun = self.model.begun(index);
            let zeros = |like: &ArrayD<f32>, state: State| {
                let mut shape = like.shape().to_vec();
                *shape.last_mut().expect("a state has an axis") = state.size(stack);
                ArrayD::zeros(shape)
            };
            let states = match (hidden, cell) {
                (None | Some((_, None)), None | Some((_, None))) => continue,
                (Some((_, Some(h))), None) if State::Cell.is_of(stack) => States { c: Some(zeros(&h, State::Cell)), h },
                (Some((_, Some(h))), None) => States::hidden(h),
                (None, Some((_, Some(c)))) => States { h: zeros(&c, State::Hidden), c: Some(c) },
                (Some((_, Some(h))), Some((_, Some(c)))) => States { h, c: Some(c) },
                (Some((there, Some(_))), Some((missing, None))) | (Some((missing, None)), Some((there, Some(_)))) => {
                    return Err(shape(format!("{there}: expected {missing} beside it, got none")));
                }
            };
            input = input.stack_states(index, states.without(begun));
        }
        Ok(input)
    }

    /// The name of a state of stack `index`, if it has one, and the state, if it is given: `[L·D, B, H]`.
    fn state(&self, index: usize, which: State, sizes: Sizes) -> Result<Option<NamedState<'_>>> {
        let own = |port: &&InputPort| matches!(port.value, InputValue::State { stack, state, .. } if stack == index && state == which);
        let Some(port) = self.ports.iter().find(own) else { return Ok(None) };
        let Some(values) = self.tensors.get(&port.name) else { return Ok(Some((&port.name, None))) };
        let array = values.to_f32().into_owned();
        if self.as_they_stand {
            return Ok(Some((&port.name, Some(array))));
        }
        let stacks: Vec<_> = self.model.stacks().collect();
        let rows = |port: &InputPort| match port.value {
            InputValue::State { stack, first, .. } => {
                first..first.saturating_add(stacks[stack].num_layers.saturating_mul(stacks[stack].directions()))
            }
            _ => 0..0,
        };
        // Several stacks may take their rows from one tensor.
        let all = self.ports.iter().filter(|other| other.name == port.name).map(|port| rows(port).end).max();
        let (letter, size) = (if which == State::Hidden { "S" } else { "H" }, which.size(stacks[index]));
        check_axes(port, array.shape(), letter, |dim| sizes.length(dim, size, all.unwrap_or(0)))?;
        let mut array = arrange(array, &port.axes, &[Dim::Layers, Dim::Batch, Dim::Features]);
        array.slice_axis_inplace(Axis(0), Slice::from(rows(port)));
        self.without_steps(index, &mut array);
        Ok(Some((&port.name, Some(array))))
    }

    /// Sets the states of rows without steps to zero, as ONNX Runtime does: such rows end with zeros.
    fn without_steps(&self, stack: usize, states: &mut ArrayD<f32>) {
        let clock = self.clocks.of_stacks(self.model).nth(stack).and_then(|clock| self.clocks.all().get(clock));
        let Some(&TimeAxis::Input(leader)) = clock.map(|clock| &clock.axis) else { return };
        let Some((_, Values::I64(lengths))) = self.given(InputValue::Lengths(leader)) else { return };
        for (mut row, _) in states.axis_iter_mut(Axis(1)).zip(lengths).filter(|(_, length)| **length == 0) {
            row.fill(0.0);
        }
    }
}

/// Whether the features of `port` are in groups along an axis.
fn in_groups(port: &InputPort, flow: Flow) -> bool {
    groups_of(flow).is_some_and(|along| port.axes.contains(&along))
}

/// Returns the only one of `given`, if any; an error if there are several.
fn one_of<'p, 't>(
    mut given: impl Iterator<Item = (&'p InputPort, &'t Values)>,
) -> Result<Option<(&'p InputPort, &'t Values)>> {
    match (given.next(), given.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(shape(format!("{} and {}: expected one of them, got both", first.name, second.name)))
        }
        (first, _) => Ok(first),
    }
}

/// Checks that a tensor has the axes of `port`, each with the length that is known.
/// `features` is the letter of the last axis.
fn check_axes(port: &InputPort, got: &[usize], features: &str, length: impl Fn(Dim) -> Option<usize>) -> Result<()> {
    let wanted: Vec<_> = port.axes.iter().map(|&dim| length(dim)).collect();
    if wanted.len() == got.len()
        && wanted.iter().zip(got).all(|(wanted, got)| wanted.is_none_or(|wanted| wanted == *got))
    {
        return Ok(());
    }
    let letters = || port.axes.iter().map(|&dim| letter(dim, features));
    let lengths =
        wanted.iter().zip(letters()).map(|(n, letter)| n.map_or_else(|| letter.to_owned(), |n| n.to_string()));
    let (lengths, letters) = (joined(lengths), joined(letters()));
    Err(shape(format!("{}: expected [{lengths}] ({letters}), got {got:?}", port.name)))
}

/// Checks that no row has more steps than there are.
fn check_lengths(port: &InputPort, lengths: &ArrayD<i64>, sizes: Sizes) -> Result<()> {
    let steps = sizes.time.unwrap_or(1);
    let fits = |length: i64| usize::try_from(length).is_ok_and(|length| length <= steps);
    match lengths.iter().enumerate().find(|(_, length)| !fits(**length)) {
        None => Ok(()),
        Some((row, length)) => {
            Err(shape(format!("{}: expected 0 to {steps} (T) for row {row}, got {length}", port.name)))
        }
    }
}

/// Reads tokens, which may come as reals that are integers: a graph may round them itself,
/// and Keras' inputs are reals by default.
fn whole<'a>(name: &str, values: &'a Values) -> Result<Cow<'a, ArrayD<i64>>> {
    let array = match values {
        Values::I64(array) => return Ok(Cow::Borrowed(array)),
        Values::F32(array) => array,
    };
    // Every i64 up to 2^24 has an f32 of its own, and no token is larger.
    const MOST: f32 = 16_777_216.0;
    match array.iter().find(|x| x.fract() != 0.0 || x.abs() > MOST || x.is_nan()) {
        Some(broken) => Err(shape(format!("{name}: expected integer tokens, got {broken}"))),
        #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^24")]
        None => Ok(Cow::Owned(array.mapv(|x| x as i64))),
    }
}
