//! `SimpleRNN`, `LSTM`, `GRU`, `RNN` and the layers of cuDNN: configurations → stacks of one layer and their tensors.
//!
//! Knows the keys of a recurrent layer, and those of a direction; `cells` knows those of a cell, and `stacks` adds
//! the layers to the model.

use super::activations::Version;
use super::cells::{self, CellPlace, CellSettings};
use super::config::{Config, wrong};
use super::hdf5::Stored;
use super::variables::{Variable, VariablePath, Variables, Within, cell_bias, cell_kernel, cudnn_kernel};
use crate::cell::Cell;
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
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Its cells, each over the one before it: one, but for an `RNN` of several.
    pub(super) cells: Vec<CellSettings>,
    pub(super) sequences: Sequences,
    pub(super) states: States,
    pub(super) direction: Direction,
    pub(super) state_lifetime: StateLifetime,
    /// The output of a dead step.
    pub(super) padding: Padding,
    pub(super) order: Order,
    /// Whether Keras computes it without a loop.
    pub(super) unrolled: bool,
}

impl Settings {
    /// Reads the configuration. `frozen` says that a layer around it is not trained.
    pub(super) fn of(config: &mut Config, version: Version, frozen: bool) -> Result<Self> {
        let pick = |flag, yes, no| if flag { yes } else { no };
        let cells = cells::of(config, version, frozen)?;
        let backwards = config.flag("go_backwards", false)?;
        Ok(Self {
            cells,
            sequences: if config.flag("return_sequences", false)? { Sequences::Every } else { Sequences::Last },
            states: if config.flag("return_state", false)? { States::Given } else { States::Kept },
            direction: if backwards { Direction::Backwards } else { Direction::Forward },
            state_lifetime: if config.flag("stateful", false)? { StateLifetime::Engine } else { StateLifetime::Call },
            padding: pick(config.flag("zero_output_for_mask", false)?, Padding::Zero, Padding::Held),
            order: if config.flag("time_major", false)? { Order::TimeMajor } else { Order::BatchMajor },
            unrolled: config.flag("unroll", false)?,
        })
    }

    /// Returns the layer of cell `index` alone. The cells below the last one give every step where it is in the input.
    pub(super) fn of_cell(&self, index: usize) -> Self {
        let (is_last, cells) = (index + 1 == self.cells.len(), vec![self.cells[index].clone()]);
        match self.direction {
            _ if is_last => Self { cells, ..self.clone() },
            Direction::Backwards => {
                Self { cells, sequences: Sequences::Every, direction: Direction::Reverse, ..self.clone() }
            }
            _ => Self { cells, sequences: Sequences::Every, ..self.clone() },
        }
    }

    /// Returns the stack of one layer for `cell`. It has the layer's own padding, since any call may have a mask.
    pub(super) fn stack(&self, cell: &CellSettings, input_size: usize) -> Recurrent {
        let stack = Recurrent::new(cell.cell, input_size, cell.units);
        Recurrent {
            direction: self.direction,
            bias: cell.bias,
            functions: [cell.functions; 2],
            state_lifetime: self.state_lifetime,
            padding: self.padding,
            input_dropout: cell.dropouts[0].into(),
            recurrent_dropout: cell.dropouts[1].into(),
            ..stack
        }
    }

    /// Returns the number of its states.
    pub(super) fn state_count(&self) -> usize {
        self.cells.iter().map(|cell| cell.cell.states()).sum()
    }
}

/// Checks that two layers can be the directions of one. Returns their cells if one stack can have both.
pub(super) fn pair<'a>(
    forward: &'a Settings,
    backward: &'a Settings,
) -> Result<Option<(&'a CellSettings, &'a CellSettings)>> {
    let (f, b) = (forward, backward);
    if f.direction != Direction::Forward || b.direction != Direction::Backwards {
        let text =
            "go_backwards: expected false in the layer and true in its backward_layer; the other way round is refused";
        return Err(wrong(text.into()));
    }
    let same = [
        ("return_sequences", f.sequences == b.sequences),
        ("return_state", f.states == b.states),
        ("stateful", f.state_lifetime == b.state_lifetime),
        ("time_major", f.order == b.order),
    ];
    if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
        let text = format!("backward_layer: {what}: expected the same as in the layer, got another");
        return Err(wrong(text));
    }
    let ([one], [other]) = (&f.cells[..], &b.cells[..]) else { return Ok(None) };
    let has_biases = one.bias == other.bias || one.bias == Bias::None || other.bias == Bias::None;
    Ok((one.cell == other.cell && one.units == other.units && has_biases).then_some((one, other)))
}

/// The variables of a cell.
pub(super) struct CellVariables {
    kernel: Stored,
    recurrent: Stored,
    bias: Option<Stored>,
    /// Reads a kernel.
    reads: fn(Stored, Cell, usize) -> Tensor,
}

impl CellVariables {
    /// Finds the variables. Without `input_size`, the kernel determines it.
    pub(super) fn of(
        cell: &CellSettings,
        input_size: Option<usize>,
        variables: &mut Variables,
        place: &VariablePath,
        at: &CellPlace,
    ) -> Result<Self> {
        let (width, within) = (cell.cell.gates() * cell.units, Within::Cell(at));
        let rows = input_size.unwrap_or(0);
        Ok(Self {
            kernel: variables.read(place, within, Variable::Kernel, &[rows, width])?,
            recurrent: variables.read(place, within, Variable::RecurrentKernel, &[cell.units, width])?,
            bias: (cell.bias != Bias::None)
                .then(|| variables.read(place, within, Variable::Bias, &cell.bias_shape()))
                .transpose()?,
            reads: if cell.of_cudnn { cudnn_kernel } else { cell_kernel },
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
        put(Part::WX, (self.reads)(self.kernel, cell, hidden));
        put(Part::WH, (self.reads)(self.recurrent, cell, hidden));
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
