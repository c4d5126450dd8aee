//! The rows of a summary: Keras' name of each layer, what the layer gives, and what it takes.
//!
//! A selection of a stack's result has no row of its own, since Keras'
//! layer gives that result itself. Several calls of one layer are one row.

use std::collections::{HashMap, HashSet};

use super::Row;
use crate::model::{Flow, InputKind, Layer, LayerKind, Model, ModelInput, Pin, Recurrent, Select, State, Value};

/// Returns the rows of `model`. Those of its inputs come first if the inputs are named.
pub(super) fn of(model: &Model) -> Vec<Row> {
    let table = Table::of(model);
    let flows = model.flows().ok();
    let steps = flows.as_ref().map(|flows| steps(model, flows)).unwrap_or_default();
    let mut rows = table.input_rows();
    let inputs = rows.len();
    let parameters = model.own_parameters();
    let statistics = model.own_statistics();
    for (index, layer) in model.layers.iter().enumerate() {
        let Some(Place { row, call, .. }) = table.places[index].as_ref().filter(|_| !table.is_folded(index)) else {
            continue;
        };
        let mut initial: Vec<_> = layer.initial.iter().flatten().flat_map(|&value| table.called(value)).collect();
        if let [Some(Value::Layer(one, _)), Some(Value::Layer(other, _))] = layer.initial
            && one == other
        {
            // Keras takes all states of one direction before those of the other.
            initial.sort_unstable();
        }
        let sources = layer.from.iter().flat_map(|&value| table.called(value)).chain(initial);
        if *call > 0 {
            rows[inputs + row].sources.extend(sources);
            continue;
        }
        let output = match flows.as_ref().and_then(|flows| flows.get(index)) {
            None => "?".into(),
            Some(&flow) => table.output(index, flow, steps.get(index).copied().flatten()),
        };
        rows.push(Row {
            layer: format!("{} ({})", table.names[*row], layer.kind.summary()),
            output,
            parameters: [&parameters, &statistics].iter().fold(0, |sum: usize, all| sum.saturating_add(all[index])),
            sources: sources.collect(),
        });
    }
    rows
}

/// The first result of Keras' layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Main {
    Steps,
    LastOutput,
    FinalHidden,
}

/// Which results of a stack are taken.
#[derive(Clone, Copy, Default)]
struct Taken {
    steps: bool,
    last_step: bool,
    last_output: bool,
    final_hidden: bool,
    states: bool,
}

impl Taken {
    fn main(self) -> Main {
        let Self { steps, last_step, last_output, final_hidden, states } = self;
        match () {
            () if steps => Main::Steps,
            () if last_step || last_output => Main::LastOutput,
            () if final_hidden => Main::FinalHidden,
            () if states => Main::LastOutput,
            () => Main::Steps,
        }
    }

    /// Whether a result is taken that is not the first of the layer.
    fn has_states(self) -> bool {
        let main = self.main();
        self.states || self.final_hidden && main != Main::FinalHidden || self.last_output && main == Main::Steps
    }
}

/// The row of a layer, and the call.
struct Place {
    row: usize,
    /// The number of earlier layers that are the same one, called before.
    call: usize,
}

/// What has to be known of all layers before the first row is written.
struct Table<'a> {
    model: &'a Model,
    inputs: Vec<ModelInput>,
    /// For each layer: which results are taken.
    taken: Vec<Taken>,
    /// The place of each layer; `None` for those that are folded.
    places: Vec<Option<Place>>,
    /// The name of each row.
    names: Vec<String>,
}

impl<'a> Table<'a> {
    fn of(model: &'a Model) -> Self {
        let mut inputs = model.all_inputs().unwrap_or_default();
        if let (Some(name), [only]) = (&model.input_layer, &mut inputs[..]) {
            only.name.clone_from(name);
        }
        let taken = vec![Taken::default(); model.layers.len()];
        let mut table = Self { model, inputs, taken, places: Vec::new(), names: Vec::new() };
        table.see_takers();
        table.name();
        table
    }

    /// Finds which results of each layer are taken.
    fn see_takers(&mut self) {
        let outputs: Vec<Value> = match &self.model.outputs[..] {
            [] => vec![self.model.last_value()],
            outputs => outputs.iter().map(|output| output.from).collect(),
        };
        let mut values: Vec<(Value, bool)> = outputs.into_iter().map(|value| (value, false)).collect();
        for (index, layer) in self.model.layers.iter().enumerate() {
            if let (Some(_), Some(&Value::Layer(stack, _))) = (self.direction(index), layer.from.first()) {
                self.taken[stack].states = true;
                continue;
            }
            let is_step = layer.kind == LayerKind::Select(Select::LastStep) && layer.name.is_none();
            values.extend(layer.from.iter().map(|&value| (value, is_step)));
            values.extend(layer.initial.iter().flatten().map(|&value| (value, false)));
        }
        for (value, is_step) in values {
            // A selection without a row passes on which results its own consumers take.
            let Value::Layer(layer, pin) = value else { continue };
            let Some(taken) = self.taken.get_mut(layer) else { continue };
            match pin {
                Pin::Output if is_step => taken.last_step = true,
                Pin::Output => taken.steps = true,
                Pin::LastOutput => taken.last_output = true,
                Pin::FinalHidden => taken.final_hidden = true,
                Pin::FinalCell | Pin::Hidden | Pin::Cell => taken.states = true,
            }
        }
    }

    /// Finds the places and names of the rows.
    fn name(&mut self) {
        let is_chain = self.model.is_chain();
        let mut names = Names::default();
        names.given.extend(self.inputs.iter().filter(|_| !is_chain).map(|input| input.name.clone()));
        // The first layer with each prefix, its row, and how often it has been called again.
        let mut called: HashMap<&str, Vec<(usize, usize, usize)>> = HashMap::new();
        for (index, layer) in self.model.layers.iter().enumerate() {
            if self.is_folded(index) {
                self.places.push(None);
                continue;
            }
            let twins = called.entry(&layer.prefix).or_default();
            let twin = twins.iter_mut().find(|(first, ..)| self.model.layers[*first].kind == layer.kind);
            let has_tensors = layer.kind.tensors().next().is_some();
            if let (Some((_, row, calls)), false, true) = (twin, is_chain, has_tensors) {
                *calls += 1;
                self.places.push(Some(Place { row: *row, call: *calls }));
                continue;
            }
            let row = self.names.len();
            twins.extend(has_tensors.then_some((index, row, 0)));
            self.places.push(Some(Place { row, call: 0 }));
            self.names.push(names.name(layer));
        }
    }

    /// Returns the stack at `layer`, if it is one.
    fn stack(&self, layer: usize) -> Option<&'a Recurrent> {
        match &self.model.layers.get(layer)?.kind {
            LayerKind::Recurrent(stack) => Some(stack),
            _ => None,
        }
    }

    /// Whether layer `index` has no row, because Keras' layer gives its result itself.
    fn is_folded(&self, index: usize) -> bool {
        self.is_selection(index) || self.direction(index).is_some()
    }

    /// Whether layer `index` is a selection without a row.
    fn is_selection(&self, index: usize) -> bool {
        let layer = &self.model.layers[index];
        let LayerKind::Select(select) = layer.kind else { return false };
        match (select, layer.from.first()) {
            (Select::AllSteps | Select::FinalHidden | Select::LastOutput, _) => true,
            (Select::LastStep, Some(&Value::Layer(of, Pin::Output))) => {
                layer.name.is_none() && self.stack(of).is_some() && !self.taken[of].steps
            }
            (Select::LastStep, _) => false,
        }
    }

    /// Returns the direction whose final state layer `index` cuts out. Keras gives each direction's state separately.
    fn direction(&self, index: usize) -> Option<usize> {
        let layer = &self.model.layers[index];
        let (LayerKind::Slice(slice), None, &[Value::Layer(of, pin)]) = (&layer.kind, &layer.name, &layer.from[..])
        else {
            return None;
        };
        let stack = self.stack(of).filter(|stack| stack.num_layers == 1 && stack.directions() == 2)?;
        let size = match pin {
            Pin::FinalHidden => stack.state_size(),
            Pin::FinalCell => stack.hidden_size,
            _ => return None,
        };
        (slice.count == size && slice.first.checked_rem(size) == Some(0)).then(|| slice.first / size)
    }

    /// Returns the value behind `value`, past selections without a row.
    fn origin(&self, mut value: Value) -> Value {
        while let Value::Layer(index, Pin::Output) = value
            && index < self.model.layers.len()
            && self.is_selection(index)
        {
            let layer = &self.model.layers[index];
            value = match (&layer.kind, layer.from[0]) {
                (LayerKind::Select(Select::LastStep), Value::Layer(of, _)) => return Value::Layer(of, Pin::LastOutput),
                (_, from) => from,
            };
        }
        value
    }

    /// Returns the names of `value` in the column of sources: the layer, which of its calls, and which of its results.
    fn called(&self, value: Value) -> Vec<String> {
        let (layer, pin) = match self.origin(value) {
            Value::Input(input) => {
                return vec![self.inputs.get(input).map_or("?".into(), |input| format!("{}[0][0]", input.name))];
            }
            Value::Layer(layer, pin) => (layer, pin),
        };
        let Some(of) = self.model.layers.get(layer) else { return vec!["?".into()] };
        let way = if pin == Pin::Output { self.direction(layer) } else { None };
        let (layer, pin) = match (way, &of.from[..]) {
            (Some(_), &[Value::Layer(stack, state)]) => (stack, state),
            _ => (layer, pin),
        };
        let Some(Some(Place { row, call })) = self.places.get(layer) else { return vec!["?".into()] };
        let name = &self.names[*row];
        let numbered = |numbers: Vec<usize>| numbers.iter().map(|number| format!("{name}[{call}][{number}]")).collect();
        let main = self.taken[layer].main();
        let of_states = |state: usize| match self.keras_states(layer) {
            Some((states, directions)) => {
                let ways = way.map_or(0..directions, |way| way..way + 1);
                numbered(ways.map(|way| 1 + way * states + state).collect())
            }
            None => {
                let word = Pin::WORDS.iter().find(|(_, other)| *other == pin).map_or("?", |(word, _)| word);
                vec![format!("{name}.{word}")]
            }
        };
        match pin {
            Pin::Output => numbered(vec![0]),
            Pin::LastOutput if main == Main::LastOutput => numbered(vec![0]),
            Pin::FinalHidden if main == Main::FinalHidden => numbered(vec![0]),
            Pin::LastOutput | Pin::FinalHidden | Pin::Hidden => of_states(0),
            Pin::FinalCell | Pin::Cell => of_states(1),
        }
    }

    /// Returns how many states each direction has, and how many directions, if one Keras layer computes the stack.
    fn keras_states(&self, layer: usize) -> Option<(usize, usize)> {
        let stack = self.stack(layer).filter(|stack| stack.num_layers == 1)?;
        Some((1 + usize::from(State::Cell.is_of(stack)), stack.directions()))
    }

    /// Returns the shape of what layer `index` gives; several shapes if its states are taken too.
    fn output(&self, index: usize, flow: Flow, steps: Option<usize>) -> String {
        let (taken, batch) = (self.taken[index], self.model.batch_size);
        let Some(stack) = self.stack(index) else { return shape(flow, batch, steps) };
        let main = match taken.main() {
            Main::Steps => flow,
            Main::LastOutput => Flow::Rows(stack.output()),
            Main::FinalHidden => Flow::Rows(stack.hidden()),
        };
        let main = shape(main, batch, steps);
        let Some((states, directions)) = self.keras_states(index).filter(|_| taken.has_states()) else { return main };
        let sizes = [stack.state_size(), stack.hidden_size];
        let state = |size: usize| format!("({}, {size})", size_or_none(batch));
        let of_way = sizes.into_iter().take(states).map(state).collect::<Vec<_>>();
        let all: Vec<_> = std::iter::once(main).chain((0..directions).flat_map(|_| of_way.clone())).collect();
        format!("[{}]", all.join(", "))
    }

    /// Returns the rows of the inputs. A chain has none, unless its file names the input layer.
    fn input_rows(&self) -> Vec<Row> {
        let batch = self.model.batch_size;
        let row = |(index, input): (usize, &ModelInput)| Row {
            layer: format!("{} (InputLayer)", input.name),
            output: match input.kind {
                InputKind::State(_) => "(None, None, None)".into(),
                kind => {
                    let steps = self.model.steps.get(index).copied().flatten();
                    kind.flow().map_or("?".into(), |flow| shape(flow, batch, steps))
                }
            },
            parameters: 0,
            sources: Vec::new(),
        };
        let is_shown = !self.model.is_chain() || self.model.input_layer.is_some();
        self.inputs.iter().enumerate().filter(|_| is_shown).map(row).collect()
    }
}

/// Returns the steps of what each layer of `model` gives, if they are fixed; `flows` is what it gives.
fn steps(model: &Model, flows: &[Flow]) -> Vec<Option<usize>> {
    let mut steps: Vec<Option<usize>> = Vec::with_capacity(model.layers.len());
    let has_time: Vec<bool> = flows.iter().map(|&flow| has_steps(flow)).collect();
    for (index, layer) in model.layers.iter().enumerate() {
        // Whether a value has steps, and how many if they are fixed.
        let of = |value: &Value| match *value {
            Value::Input(input) => {
                let has = model.inputs.get(input).is_none_or(|input| input.kind.has_time());
                (has, model.steps.get(input).copied().flatten())
            }
            Value::Layer(layer, Pin::Output) => (has_time[layer], steps[layer]),
            Value::Layer(..) => (false, None),
        };
        let taken: Vec<_> = layer.from.iter().map(of).collect();
        let times: Vec<_> = taken.iter().map(|(_, steps)| *steps).collect();
        let are_told = taken.iter().all(|(has, steps)| !has || steps.is_some());
        steps.push(match layer.kind.pieces(&times).filter(|_| are_told || layer.kind.own_steps().is_some()) {
            _ if !has_time[index] => None,
            Some(pieces) => Some(pieces.into_iter().map(|(_, count)| count).sum()),
            None if layer.kind.pieces(&[]).is_some() => None,
            // It has the steps of its query.
            None if matches!(layer.kind, LayerKind::Attention(_)) => times.first().copied().flatten(),
            None => times.into_iter().flatten().next(),
        });
    }
    steps
}

fn has_steps(flow: Flow) -> bool {
    !matches!(flow, Flow::Rows(_))
}

fn shape(flow: Flow, batch: Option<usize>, steps: Option<usize>) -> String {
    let (batch, steps) = (size_or_none(batch), size_or_none(steps));
    match flow {
        Flow::Tokens(_) => format!("({batch}, {steps})"),
        Flow::Steps(features) => format!("({batch}, {steps}, {})", features.len()),
        Flow::Rows(features) => format!("({batch}, {})", features.len()),
    }
}

/// Returns a size; `None`, as in Python, if each call decides it.
fn size_or_none(size: Option<usize>) -> String {
    size.map_or("None".into(), |size| size.to_string())
}

/// The names in use.
#[derive(Default)]
struct Names {
    classes: HashMap<&'static str, usize>,
    given: HashSet<String>,
}

impl Names {
    /// Returns the model's name for a layer: its name, or else the prefix of its tensors. A layer with neither,
    /// or only a number, is named after its class and counted, as in Keras. No two have the same name.
    fn name(&mut self, layer: &Layer) -> String {
        let prefix = layer.prefix.trim_end_matches('.');
        let has_prefix = layer.kind.parameters() > 0 && prefix.chars().any(|c| !c.is_ascii_digit());
        let name = layer.name.as_deref().or(has_prefix.then_some(prefix));
        if let Some(name) = name.filter(|name| !self.given.contains(*name)) {
            self.given.insert(name.to_owned());
            return name.to_owned();
        }
        loop {
            let class = layer.kind.class();
            let twins = self.classes.entry(class).or_default();
            let name = snake_case(class);
            let name = if *twins == 0 { name } else { format!("{name}_{twins}") };
            *twins += 1;
            if self.given.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// Returns `SimpleRNN` as `simple_rnn`.
fn snake_case(class: &str) -> String {
    let mut name = String::new();
    for letter in class.chars() {
        if letter.is_ascii_uppercase() && name.ends_with(|before: char| before.is_ascii_lowercase()) {
            name.push('_');
        }
        name.push(letter);
    }
    name.to_ascii_lowercase()
}
