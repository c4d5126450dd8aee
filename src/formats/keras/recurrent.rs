//! `SimpleRNN`, `LSTM` and GRU, in one direction and in both: configurations → a stack of one layer and its tensors.
//!
//! Knows the keys of a recurrent layer; `layers` knows the layers before and after it.

use super::activations::{self, Version};
use super::config::{Config, wrong};
use super::hdf5::Stored;
use super::variables::{Variable, VariablePath, Variables, Within, cell_bias, cell_kernel};
use crate::cell::{Cell, Functions, Reset};
use crate::error::Result;
use crate::model::{Bias, Direction, Padding, Recurrent, StateLifetime};
use crate::weights::dialect::{Part, Way, cell_tensor};
use crate::weights::{Tensor, Tensors};

/// Whether the layer gives its output at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequences {
    /// It gives all outputs.
    Every,
    /// It gives only the one that is computed last.
    Last,
}

/// Whether the layer also gives its final states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum States {
    Given,
    Kept,
}

/// The order of the axes of a layer's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    BatchMajor,
    TimeMajor,
}

/// A recurrent layer's configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) cell: Cell,
    pub(super) units: usize,
    pub(super) functions: Functions,
    pub(super) bias: Bias,
    pub(super) sequences: Sequences,
    pub(super) states: States,
    pub(super) direction: Direction,
    pub(super) state_lifetime: StateLifetime,
    /// The output of a dead step.
    pub(super) padding: Padding,
    pub(super) order: Order,
    /// The shares of the input and of the state that training drops.
    pub(super) dropouts: [f32; 2],
    /// Whether Keras computes it without a loop.
    pub(super) unrolled: bool,
}

impl Settings {
    pub(super) fn of(config: &mut Config, version: Version) -> Result<Self> {
        let cell = match config.class() {
            "SimpleRNN" => Cell::Rnn,
            "LSTM" => Cell::Lstm,
            "GRU" => {
                // Before this option existed, the gate acted first.
                let after = config.flag("reset_after", version == Version::Three)?;
                Cell::Gru(if after { Reset::After } else { Reset::Before })
            }
            _ => return Err(wrong("expected a SimpleRNN, an LSTM or a GRU".into())),
        };
        let biased = config.flag("use_bias", true)?;
        let pick = |flag, yes, no| if flag { yes } else { no };
        let backwards = config.flag("go_backwards", false)?;
        Ok(Self {
            cell,
            units: config.size("units")?,
            functions: functions(config, cell, version)?,
            bias: match (biased, cell) {
                (false, _) => Bias::None,
                (true, Cell::Gru(Reset::After)) => Bias::Two,
                (true, _) => Bias::One,
            },
            sequences: if config.flag("return_sequences", false)? { Sequences::Every } else { Sequences::Last },
            states: if config.flag("return_state", false)? { States::Given } else { States::Kept },
            direction: if backwards { Direction::Backwards } else { Direction::Forward },
            state_lifetime: if config.flag("stateful", false)? { StateLifetime::Engine } else { StateLifetime::Call },
            padding: pick(config.flag("zero_output_for_mask", false)?, Padding::Zero, Padding::Held),
            order: if config.flag("time_major", false)? { Order::TimeMajor } else { Order::BatchMajor },
            dropouts: [dropped(config, "dropout")?, dropped(config, "recurrent_dropout")?],
            unrolled: config.flag("unroll", false)?,
        })
    }

    /// Returns the stack of one layer. It has the layer's own padding, since any call may have a mask.
    pub(super) fn stack(&self, input_size: usize) -> Recurrent {
        let stack = Recurrent::new(self.cell, input_size, self.units);
        Recurrent {
            direction: self.direction,
            bias: self.bias,
            functions: [self.functions; 2],
            state_lifetime: self.state_lifetime,
            padding: self.padding,
            input_dropout: self.dropouts[0].into(),
            recurrent_dropout: self.dropouts[1].into(),
            ..stack
        }
    }

    /// Returns the shape of the bias.
    fn bias_shape(&self) -> Vec<usize> {
        let width = self.cell.gates() * self.units;
        if self.bias == Bias::Two { vec![2, width] } else { vec![width] }
    }
}

/// Takes the share that training drops. Keras clamps it to 0 to 1, and drops nothing at 1.
fn dropped(config: &mut Config, key: &str) -> Result<f32> {
    let rate = config.number(key)?.unwrap_or(0.0).clamp(0.0, 1.0);
    Ok(if rate < 1.0 { rate } else { 0.0 })
}

fn functions(config: &mut Config, cell: Cell, version: Version) -> Result<Functions> {
    let plain = cell.functions();
    let functions = match cell {
        Cell::Rnn => Functions { f: activations::take(config, "activation", plain.f, version)?, ..plain },
        Cell::Lstm => {
            let g = activations::take(config, "activation", plain.g, version)?;
            Functions { f: activations::take(config, "recurrent_activation", plain.f, version)?, g, h: g }
        }
        Cell::Gru(_) => {
            let g = activations::take(config, "activation", plain.g, version)?;
            Functions { f: activations::take(config, "recurrent_activation", plain.f, version)?, g, ..plain }
        }
    };
    match functions.each().into_iter().find(|function| !function.is_elementwise()) {
        Some(function) => {
            Err(wrong(format!("activation: expected one of each unit alone, got {function}, which needs all of them")))
        }
        None => Ok(functions),
    }
}

/// Checks that two directions can be one stack.
pub(super) fn pair(forward: &Settings, backward: &Settings) -> Result<()> {
    let differ = |what: &str, one: String, other: String| {
        Err(wrong(format!(
            "backward_layer: {what}: expected {one} as in the layer, got {other}; both directions must be of one shape"
        )))
    };
    let (f, b) = (forward, backward);
    if f.direction != Direction::Forward || b.direction != Direction::Backwards {
        let text =
            "go_backwards: expected false in the layer and true in its backward_layer; the other way round is refused";
        return Err(wrong(text.into()));
    }
    if f.cell != b.cell {
        return differ("cell", f.cell.to_string(), b.cell.to_string());
    }
    if f.units != b.units {
        return differ("units", f.units.to_string(), b.units.to_string());
    }
    let same = [
        ("return_sequences", f.sequences == b.sequences),
        ("return_state", f.states == b.states),
        ("stateful", f.state_lifetime == b.state_lifetime),
        ("time_major", f.order == b.order),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => differ(what, "the same".into(), "another".into()),
        None => Ok(()),
    }
}

/// The variables of one direction.
pub(super) struct CellVariables {
    kernel: Stored,
    recurrent: Stored,
    bias: Option<Stored>,
}

impl CellVariables {
    /// Finds the variables. Without `input_size`, the kernel determines it.
    pub(super) fn of(
        settings: &Settings,
        input_size: Option<usize>,
        variables: &mut Variables,
        place: &VariablePath,
        within: [Within; 2],
    ) -> Result<Self> {
        let (width, [kernel, bias]) = (settings.cell.gates() * settings.units, within);
        let rows = input_size.unwrap_or(0);
        Ok(Self {
            kernel: variables.read(place, kernel, Variable::Kernel, &[rows, width])?,
            recurrent: variables.read(place, kernel, Variable::RecurrentKernel, &[settings.units, width])?,
            bias: (settings.bias != Bias::None)
                .then(|| variables.read(place, bias, Variable::Bias, &settings.bias_shape()))
                .transpose()?,
        })
    }

    pub(super) fn input_size(&self) -> usize {
        self.kernel.shape()[0]
    }

    /// Adds the tensors of one direction of `stack` under `prefix`. A
    /// direction without a bias gets zeros if the other one has a bias.
    pub(super) fn insert(self, stack: &Recurrent, prefix: &str, way: Way, tensors: &mut Tensors) {
        let (cell, hidden) = (stack.cell, stack.hidden_size);
        let mut put = |part, tensor| tensors.insert(format!("{prefix}{}", cell_tensor(part, 0, way)), tensor);
        put(Part::WX, cell_kernel(self.kernel, cell, hidden));
        put(Part::WH, cell_kernel(self.recurrent, cell, hidden));
        let row = |row| match &self.bias {
            Some(bias) => cell_bias(bias.clone(), cell, hidden, row),
            None => {
                let width = cell.gates() * hidden;
                Tensor::stored([width], move || Ok(vec![0.0; width]))
            }
        };
        if stack.bias != Bias::None {
            put(Part::BX, row(0));
        }
        if stack.bias == Bias::Two {
            put(Part::BH, row(1));
        }
    }
}
