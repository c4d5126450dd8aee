//! The flat list of operations of a model: stacks opened into layers, padding blanked where it would be seen.

use crate::cell::{Activation, Cell, Reset, Variant};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Kernel, Mask, padded};
use crate::layout::{Layout, Role, depth, one_hot_before};
use crate::model::{Features, Flow, LayerKind, Model, Recurrent, Select};
use crate::plan::{Shape, SlotId};

/// Whether a sequence has a time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// T rows of the batch.
    Steps,
    /// One row of the batch.
    Rows,
}

/// How much of a sequence its slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// All of it.
    Whole,
    /// The current chunk.
    Chunk,
}

/// A sequence in a slot `[R][B][depth(features)]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    pub(super) slot: SlotId,
    /// The row of the first step.
    pub(super) first: usize,
    pub(super) features: Features,
    pub(super) axis: Axis,
    pub(super) span: Span,
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// The layer of the model, for names.
    pub(super) layer: usize,
    pub(super) kind: OpKind,
    pub(super) axis: Axis,
    pub(super) features: Features,
}

#[derive(Clone, Debug)]
pub(super) enum OpKind {
    /// Rows of the table in packed buffer `buffer`, by token.
    Gather { buffer: usize },
    /// Unit vectors by token.
    OneHot,
    /// One layer of a stack.
    Recurrent(Box<Recurrence>),
    /// Zeros where there is no step.
    Blank,
    /// A product with packed buffer `buffer`, then an elementwise activation.
    Linear { buffer: usize, activation: Activation },
    /// `Activate` or `Softmax`.
    Rowwise { kernel: Kernel, activation: Activation },
    /// The output at the last time index.
    LastStep,
    /// The final hidden state of the last recurrent layer.
    FinalHidden,
}

/// One layer of a stack, in all its directions.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    /// Which stack of the model, and which of its layers.
    pub(super) stack: usize,
    pub(super) stacked: usize,
    pub(super) cell: Cell,
    pub(super) directions: usize,
    /// How the cell of each direction departs from its plain equations.
    pub(super) variants: [Variant; 2],
    /// H.
    pub(super) hidden_size: usize,
    /// Packed buffer of the input product: a table of tokens, or a matrix.
    pub(super) input: Input,
    /// Packed buffers of the recurrent products of a step, in order.
    pub(super) hidden: Vec<usize>,
    /// Packed buffer of the projection.
    pub(super) projection: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// Tokens choose rows of `W_x`.
    Table(usize),
    /// Features go through a product.
    Matrix(usize),
}

impl Recurrence {
    /// Padded H.
    pub(super) fn units(&self) -> usize {
        padded(self.hidden_size)
    }

    /// Elements of a row of the hoisted product, one direction.
    pub(super) fn gates_width(&self) -> usize {
        self.cell.gates() * self.units()
    }

    /// Rows of the memory, if there is one.
    pub(super) fn memory_rows(&self) -> usize {
        match self.cell {
            Cell::Lstm => 2 + usize::from(self.projection.is_some()),
            Cell::Gru(Reset::Before) => 2,
            Cell::Rnn | Cell::Gru(Reset::After) => 0,
        }
    }
}

impl Op {
    /// Whether the operation goes forward in time, so that it can run chunk by chunk with its neighbours.
    pub(super) fn streams(&self) -> bool {
        match &self.kind {
            OpKind::Recurrent(r) => r.directions == 1,
            OpKind::LastStep | OpKind::FinalHidden => false,
            _ => true,
        }
    }

    /// Bytes of scratch a timestep and row of the batch takes.
    pub(super) fn step_bytes(&self) -> u64 {
        let sequence = depth(self.features) as u64;
        let gates = match &self.kind {
            OpKind::Recurrent(r) => (r.directions * r.gates_width()) as u64,
            _ => 0,
        };
        4 * (sequence + gates)
    }

    /// Bytes of the widest row of the batch that the operation binds.
    pub(super) fn widest_bytes(&self) -> u64 {
        let gates = match &self.kind {
            OpKind::Recurrent(r) => r.directions * r.gates_width(),
            _ => 0,
        };
        4 * gates.max(depth(self.features)) as u64
    }
}

/// The operations of `model`, first to last.
pub(super) fn flatten(model: &Model, layout: &Layout, shape: Shape) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    let mut stack = 0;
    for (layer, (kind, flow)) in model.layers.iter().map(|layer| &layer.kind).zip(model.flows()?).enumerate() {
        let (axis, features) = match flow {
            Flow::Steps(features) => (Axis::Steps, features),
            Flow::Rows(features) => (Axis::Rows, features),
            Flow::Tokens(_) => continue,
        };
        let mut add = |kind| ops.push(Op { layer, kind, axis, features });
        let find = |role| buffer(layout, role);
        match kind {
            LayerKind::Embedding(_) => add(OpKind::Gather { buffer: find(Role::Table { layer })? }),
            LayerKind::OneHot(_) if one_hot_before(model, layer + 1) => {}
            LayerKind::OneHot(_) => add(OpKind::OneHot),
            LayerKind::Recurrent(r) => {
                for stacked in 0..r.num_layers {
                    add(OpKind::Recurrent(Box::new(recurrence(model, layout, r, layer, stack, stacked)?)));
                }
                if shape.mask == Mask::Live && padding_shows(&model.layers[layer + 1..]) {
                    add(OpKind::Blank);
                }
                stack += 1;
            }
            LayerKind::Select(Select::AllSteps) | LayerKind::Masking(_) | LayerKind::Dropout(_) => {}
            LayerKind::Select(Select::LastStep) => add(OpKind::LastStep),
            LayerKind::Select(Select::FinalHidden | Select::LastOutput) => add(OpKind::FinalHidden),
            LayerKind::Linear(l) => {
                let buffer = find(Role::Linear { layer })?;
                match rowwise(l.activation) {
                    Some(softmax) => {
                        add(OpKind::Linear { buffer, activation: Activation::Linear });
                        add(softmax);
                    }
                    None => add(OpKind::Linear { buffer, activation: l.activation }),
                }
            }
            LayerKind::Activation(activation) => {
                let elementwise = OpKind::Rowwise { kernel: Kernel::Activate, activation: *activation };
                add(rowwise(*activation).unwrap_or(elementwise));
            }
        }
    }
    Ok(ops)
}

fn rowwise(activation: Activation) -> Option<OpKind> {
    matches!(activation, Activation::Softmax | Activation::LogSoftmax)
        .then_some(OpKind::Rowwise { kernel: Kernel::Softmax, activation })
}

/// Whether the held states of dead steps would be seen: by a user, or by anything but a cell or a final state.
fn padding_shows(rest: &[crate::model::Layer]) -> bool {
    let next = rest.iter().map(|layer| &layer.kind).find(|kind| **kind != LayerKind::Select(Select::AllSteps));
    !matches!(next, Some(LayerKind::Recurrent(_) | LayerKind::Select(Select::FinalHidden)))
}

fn recurrence(
    model: &Model,
    layout: &Layout,
    r: &Recurrent,
    layer: usize,
    stack: usize,
    stacked: usize,
) -> Result<Recurrence> {
    let hidden = |gate| buffer(layout, Role::Hidden { layer, stacked, gate });
    Ok(Recurrence {
        stack,
        stacked,
        cell: r.cell,
        directions: r.directions(),
        variants: [0, 1].map(|direction| r.variant(direction)),
        hidden_size: r.hidden_size,
        input: if stacked == 0 && one_hot_before(model, layer) {
            Input::Table(buffer(layout, Role::InputTable { layer })?)
        } else {
            Input::Matrix(buffer(layout, Role::Input { layer, stacked })?)
        },
        hidden: match r.cell {
            Cell::Gru(Reset::Before) => vec![hidden(0)?, hidden(2)?],
            Cell::Rnn | Cell::Lstm | Cell::Gru(Reset::After) => vec![hidden(0)?],
        },
        projection: r.proj_size.map(|_| buffer(layout, Role::Projection { layer, stacked })).transpose()?,
    })
}

fn buffer(layout: &Layout, role: Role) -> Result<usize> {
    layout.find(role).ok_or_else(|| {
        Error::new(ErrorKind::Model, format!("the layout has no buffer for {role:?}: it is of another model"))
    })
}
