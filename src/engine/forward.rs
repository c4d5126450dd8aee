//! Models that can run frame by frame: which cannot, and why; and what streams need to know of those that can.
//!
//! Knows models and their clocks; knows no stream, no plan and no device.

use crate::call::OwnMask;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Clocks, Direction, Features, Flow, Initial, InputKind, InputValue, LayerKind, Model, ModelInput, OutputValue, Pin,
    Select, State, Value,
};

/// How a model runs frame by frame.
pub(super) struct Forward {
    /// The inputs that are part of each frame, the main one among them.
    pub(super) frames: Vec<Part>,
    /// The inputs without a time axis, which a stream is given once.
    pub(super) rows: Vec<Row>,
    /// For each clock, the masks that take frames out, with the input of each.
    pub(super) own: Vec<Vec<(usize, OwnMask)>>,
    /// For each input, the clock by which its features are read, if it has one.
    read: Vec<Option<usize>>,
    /// The index of the main input, which tells the steps.
    pub(super) main: usize,
    /// The initial states that are values of the model, hidden before cell, stack by stack.
    pub(super) begins: Vec<(usize, State)>,
    /// Whether an output depends on the newest frame alone: then each frame is a run of its own.
    pub(super) one_by_one: bool,
    /// The outputs of each frame.
    pub(super) outputs: Vec<OutputPart>,
}

/// An input that is part of each frame.
pub(super) struct Part {
    /// Its index among the model's inputs.
    pub(super) input: usize,
    /// Its names.
    pub(super) names: Vec<String>,
    pub(super) flow: Flow,
}

/// An input without a time axis.
pub(super) struct Row {
    pub(super) input: usize,
    pub(super) names: Vec<String>,
    pub(super) size: usize,
    /// Features of the rows before it.
    pub(super) first: usize,
}

/// An output.
pub(super) struct OutputPart {
    pub(super) names: Vec<String>,
    pub(super) features: Features,
    /// Whether it has no time axis.
    pub(super) is_row: bool,
    /// Features of the outputs before it.
    pub(super) first: usize,
}

impl Forward {
    /// Finds how `model` runs frame by frame.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Model` if a part of it cannot be computed frame by frame.
    pub(super) fn of(model: &Model) -> Result<Self> {
        check_stacks(model)?;
        let beyond = model.layers.iter().enumerate().find_map(|(layer, of)| Some((layer, of.kind.beyond_a_step()?)));
        if let Some((layer, got)) = beyond {
            let text = format!("expected what each frame gives, got {got}; run whole sequences, without a stream");
            return Err(model.at_layer(layer, Error::new(ErrorKind::Model, text)));
        }
        let clocks = Clocks::of(model);
        let late = late(model)?;
        let own = (0..clocks.all().len()).map(|clock| OwnMask::of_clock(model, &clocks, clock)).collect();
        let ports = model.all_ports();
        let (mut frames, mut rows, mut first) = (Vec::new(), Vec::new(), 0);
        let inputs = model.all_inputs()?;
        let main = model.main_input();
        for (input, ModelInput { name, kind }) in inputs.iter().enumerate() {
            let is_it = |value: InputValue| match value {
                InputValue::Sequence => input == main,
                InputValue::Input(other) => input == other,
                InputValue::Lengths(_)
                | InputValue::Mask(_)
                | InputValue::State { .. }
                | InputValue::Weights { .. } => false,
            };
            let others = ports.inputs.iter().filter(|port| is_it(port.value)).map(|port| &port.name);
            let names = names(name, others);
            match (*kind, kind.flow()) {
                (InputKind::Row(size), _) => {
                    rows.push(Row { input, names, size, first });
                    first += size;
                }
                (_, Some(flow)) => frames.push(Part { input, names, flow }),
                (_, None) => {}
            }
        }
        let read = (0..inputs.len()).map(|input| clocks.of_read(input)).collect();
        let begins = begins(model);
        let one_by_one = model.feature_outputs().iter().any(|value| late.contains(value) || is_pinned(*value));
        Ok(Self { frames, rows, own, read, main, begins, one_by_one, outputs: outputs(model)? })
    }

    /// The masks that take frames out of what is read from input `input`.
    pub(super) fn unread(&self, input: usize) -> &[(usize, OwnMask)] {
        self.read.get(input).copied().flatten().map_or(&[], |clock| &self.own[clock])
    }

    /// Features of all rows that a stream is given once.
    pub(super) fn row_width(&self) -> usize {
        self.rows.last().map_or(0, |row| row.first + row.size)
    }

    /// Features of all outputs of a frame.
    pub(super) fn output_width(&self) -> usize {
        self.outputs.last().map_or(0, |output| output.first + output.features.len())
    }

    /// The names of the parts of a frame, for messages.
    pub(super) fn frame_names(&self) -> String {
        self.frames.iter().map(|part| part.names[0].as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// `own`, and the names of `others` that differ from it.
fn names<'a>(own: &str, others: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names = vec![own.to_owned()];
    for other in others {
        if !names.contains(other) {
            names.push(other.clone());
        }
    }
    names
}

/// The outputs of `model` except final states.
fn outputs(model: &Model) -> Result<Vec<OutputPart>> {
    let is_state = |value: Value| matches!(value, Value::Layer(_, Pin::Hidden | Pin::Cell));
    let own: Vec<_> = model.outputs.iter().filter(|output| !is_state(output.from)).collect();
    let ports = model.all_ports();
    let (mut outputs, mut first) = (Vec::new(), 0);
    for (index, flow) in model.output_flows()?.into_iter().enumerate() {
        let is_it = |value: &OutputValue| match value {
            OutputValue::Output => index == 0,
            OutputValue::Another(other) => index == *other,
            OutputValue::Direction(_) | OutputValue::Largest(_) | OutputValue::States { .. } => false,
        };
        let others = ports.outputs.iter().filter(|port| is_it(&port.value)).map(|port| &port.name);
        let names = names(own.get(index).map_or("output", |output| &output.name), others);
        let features = flow.features();
        outputs.push(OutputPart { names, features, is_row: matches!(flow, Flow::Rows(_)), first });
        first += features.len();
    }
    Ok(outputs)
}

/// Checks that each stack goes forward, from a state that a stream can begin with.
fn check_stacks(model: &Model) -> Result<()> {
    for (index, layer) in model.layers.iter().enumerate() {
        let LayerKind::Recurrent(stack) = &layer.kind else { continue };
        let got = match stack.direction {
            Direction::Forward if stack.initial == Initial::Zero => continue,
            Direction::Forward => "one with learned states: streams begin at zero",
            Direction::Reverse => "a reverse one: it needs later frames",
            Direction::Backwards => "a backwards one: it needs later frames",
            Direction::Both => "a bidirectional one: it needs later frames",
        };
        let text = format!("expected a forward stack, got {got}");
        return Err(model.at_layer(index, Error::new(ErrorKind::Model, text)));
    }
    Ok(())
}

/// Finds the values that are known only after the last frame.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Model` if a frame or an initial state needs one of them.
fn late(model: &Model) -> Result<Vec<Value>> {
    let inputs = model.all_inputs()?;
    let mut late: Vec<Value> = Vec::new();
    for ((index, layer), flow) in model.layers.iter().enumerate().zip(model.flows()?) {
        let is_late = |value: &Value| late.contains(value) || is_pinned(*value);
        let named = |value: Value| (model.place(index), model.called(value, &inputs));
        let of_steps = |value: &&Value| matches!(flow, Flow::Steps(_)) && is_late(value);
        if let Some(value) = layer.from.iter().find(of_steps) {
            let (place, value) = named(*value);
            return wrong(format!(
                "layer {place}: expected what each frame gives, got {value}, which is known after the last one"
            ));
        }
        if let Some(value) = layer.initial.iter().flatten().find(|value| is_late(value)) {
            let (place, value) = named(*value);
            return wrong(format!(
                "layer {place}: expected to begin with what is known before the first frame, got {value}, which is known \
                 after the last one"
            ));
        }
        let selects =
            matches!(layer.kind, LayerKind::Select(Select::LastStep | Select::FinalHidden | Select::LastOutput));
        if matches!(flow, Flow::Rows(_)) && (selects || layer.from.iter().any(is_late)) {
            late.push(Value::Layer(index, Pin::Output));
        }
    }
    Ok(late)
}

/// Whether `value` is a pin of a layer other than its output, such as a final state.
fn is_pinned(value: Value) -> bool {
    matches!(value, Value::Layer(_, pin) if pin != Pin::Output)
}

/// The initial states that are values of `model`.
fn begins(model: &Model) -> Vec<(usize, State)> {
    let begun = |stack: usize| {
        let begun = model.begun(stack);
        [State::Hidden, State::Cell].into_iter().filter(move |&state| begun.has(state)).map(move |state| (stack, state))
    };
    (0..model.stacks().count()).flat_map(begun).collect()
}

fn wrong<T>(text: String) -> Result<T> {
    Err(Error::new(ErrorKind::Model, text))
}
