//! The flat list of operations of a model: stacks opened into layers, padding blanked where it would be seen, the
//! outputs of two directions merged.
//!
//! A layer's padding shows to everything but two takers of its outputs. A selection of final states reads none of them.
//! A cell reads them only where it has a step, and there the layer below had one too, so that the same output was
//! computed; but a backwards layer's outputs stand in the order of its walk, while the mask stays where it is (as in
//! Keras): the output that the next layer reads at a step of its own may be of a dead one.

use super::walk::Walk;
use crate::cell::{Activation, Cell, Reset, Variant};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Combine, Kernel, Mask, padded};
use crate::layout::{Layout, Place, Role, depth, is_folded, vectors};
use crate::model::{Direction, Features, Flow, Layer, LayerKind, Merge, Model, Padding, Recurrent, Select};
use crate::plan::{Feed, Shape, SlotId};

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
    /// The layer of the stack that it belongs to, where another one follows, for names.
    pub(super) stacked: Option<usize>,
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
    /// The layers of a run, diagonal by diagonal.
    Diagonal(Vec<Recurrence>),
    /// Zeros but where the padding shows something.
    Blank(Shows),
    /// The outputs of two directions as one.
    Merge(Combine),
    /// A product with `matrix`, then an elementwise activation.
    Linear { matrix: Place, activation: Activation },
    /// `Activate` or `Softmax`.
    Rowwise { kernel: Kernel, activation: Activation },
    /// The output at the last time index.
    LastStep,
    /// The final hidden state of the last recurrent layer.
    FinalHidden,
    /// A token drawn from logits.
    Sample,
}

/// What of a layer's outputs shows under a mask: that of which `feed` is not 0, from row `rows[direction]` of it on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shows {
    pub(super) feed: Feed,
    pub(super) rows: [usize; 2],
}

impl Shows {
    /// Of all outputs of a layer of `r`.
    fn all(r: &Recurrent, time: usize) -> Self {
        let (feed, rows) = match (r.padding, r.direction) {
            (Padding::Zero, Direction::Backwards) => (Feed::LiveBackwards, [0, 0]),
            (Padding::Zero, _) => (Feed::Live, [0, 0]),
            (Padding::Held, Direction::Backwards) => (Feed::SeenBackwards, [0, 0]),
            (Padding::Held, Direction::Reverse) => (Feed::Seen, [time, time]),
            (Padding::Held, Direction::Forward | Direction::Both) => (Feed::Seen, [0, time]),
        };
        Self { feed, rows }
    }

    /// Of the output that each direction of a layer of `r` computes last: at the last step, or down at the first.
    fn last(r: &Recurrent, time: usize) -> Self {
        let last = time - 1;
        let (feed, rows) = match (r.padding, r.direction) {
            (Padding::Zero, Direction::Forward | Direction::Both) => (Feed::Live, [last, 0]),
            (Padding::Zero, _) => (Feed::Live, [0, 0]),
            (Padding::Held, Direction::Forward | Direction::Both) => (Feed::Seen, [last, time]),
            (Padding::Held, _) => (Feed::Seen, [time, time]),
        };
        Self { feed, rows }
    }
}

/// What takes the outputs of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    /// A recurrent layer.
    Cell,
    /// A selection of final states: nothing takes the outputs.
    Final,
    /// Anything that sees them all: another layer, a user.
    All,
}

/// One layer of a stack, in all its directions.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    /// Which stack of the model, and which of its layers.
    pub(super) stack: usize,
    pub(super) stacked: usize,
    pub(super) cell: Cell,
    pub(super) directions: usize,
    /// How each direction goes through time.
    pub(super) walks: [Walk; 2],
    /// How the cell of each direction departs from its plain equations.
    pub(super) variants: [Variant; 2],
    /// H.
    pub(super) hidden_size: usize,
    /// The input product: a table of tokens, or a matrix.
    pub(super) input: Input,
    /// The recurrent products of a step, in order.
    pub(super) hidden: Vec<Place>,
    /// The projection.
    pub(super) projection: Option<Place>,
    /// The run that the layer is in, and which of its layers it is.
    pub(super) run: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// Tokens choose rows of a packed buffer.
    Table(usize),
    /// Features go through a product.
    Matrix(Place),
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
            OpKind::Recurrent(r) => r.walks == [Walk::Forward; 2],
            OpKind::Diagonal(_) => true,
            OpKind::LastStep | OpKind::FinalHidden => false,
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::Blank(_)
            | OpKind::Merge(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::Sample => true,
        }
    }

    /// Bytes of scratch a timestep and row of the batch takes.
    pub(super) fn step_bytes(&self) -> u64 {
        4 * (depth(self.features) + self.gates_width()) as u64
    }

    /// Elements of a row of the hoisted product, all directions.
    pub(super) fn gates_width(&self) -> usize {
        match &self.kind {
            OpKind::Recurrent(r) => r.directions * r.gates_width(),
            OpKind::Diagonal(layers) => layers[0].gates_width(),
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::Blank(_)
            | OpKind::Merge(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::LastStep
            | OpKind::FinalHidden
            | OpKind::Sample => 0,
        }
    }

    /// Layers of a stack in it.
    pub(super) fn layers(&self) -> usize {
        match &self.kind {
            OpKind::Recurrent(_) => 1,
            OpKind::Diagonal(layers) => layers.len(),
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::Blank(_)
            | OpKind::Merge(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::LastStep
            | OpKind::FinalHidden
            | OpKind::Sample => 0,
        }
    }

    /// Bytes of the widest row of the batch that the operation binds.
    pub(super) fn widest_bytes(&self) -> u64 {
        4 * self.gates_width().max(depth(self.features)) as u64
    }
}

/// The operations of `model`, first to last.
pub(super) fn flatten(model: &Model, layout: &Layout, shape: Shape) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    let mut stacks: Vec<&Recurrent> = Vec::new();
    for (layer, (kind, flow)) in model.layers.iter().map(|layer| &layer.kind).zip(model.flows()?).enumerate() {
        let (axis, features) = match flow {
            Flow::Steps(features) => (Axis::Steps, features),
            Flow::Rows(features) => (Axis::Rows, features),
            Flow::Tokens(_) => continue,
        };
        let mut add = |kind| ops.push(Op { layer, stacked: None, kind, axis, features });
        let find = |role| buffer(layout, role);
        match kind {
            LayerKind::Embedding(_) | LayerKind::OneHot(_) if is_folded(model, layer) => {}
            LayerKind::Embedding(_) => add(OpKind::Gather { buffer: find(Role::Table { layer })? }),
            LayerKind::OneHot(_) => add(OpKind::OneHot),
            LayerKind::Recurrent(r) => {
                for stacked in 0..r.num_layers {
                    ops.extend(recurrent_layer(model, layout, shape, (layer, r), (stacks.len(), stacked))?);
                }
                stacks.push(r);
            }
            LayerKind::Select(Select::AllSteps) | LayerKind::Masking(_) | LayerKind::Dropout(_) => {}
            LayerKind::Select(Select::LastStep) => add(OpKind::LastStep),
            LayerKind::Select(Select::FinalHidden) => add(OpKind::FinalHidden),
            LayerKind::Select(Select::LastOutput) => {
                ops.extend(stacks.last().into_iter().flat_map(|r| last_output(r, shape, layer)));
            }
            LayerKind::Join(_) => return Err(Error::internal("joins are not lowered")),
            LayerKind::Linear(l) => {
                let matrix = place(layout, Role::Linear { layer })?;
                match rowwise(l.activation) {
                    Some(softmax) => {
                        add(OpKind::Linear { matrix, activation: Activation::Linear });
                        add(softmax);
                    }
                    None => add(OpKind::Linear { matrix, activation: l.activation }),
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

/// Layer `stacked` of the model's recurrent layer `r`, and what makes its outputs what the next one takes.
fn recurrent_layer(
    model: &Model,
    layout: &Layout,
    shape: Shape,
    (layer, r): (usize, &Recurrent),
    (stack, stacked): (usize, usize),
) -> Result<Vec<Op>> {
    let is_last = stacked + 1 == r.num_layers;
    let between = (!is_last).then_some(stacked);
    let op = |kind, features| Op { layer, stacked: between, kind, axis: Axis::Steps, features };
    let recurrence = recurrence(model, layout, r, layer, stack, stacked)?;
    let mut ops = vec![op(OpKind::Recurrent(Box::new(recurrence)), r.hidden())];
    let taker = if is_last { taker(&model.layers[layer + 1..]) } else { Taker::Cell };
    let padding_shows = match taker {
        Taker::Cell => r.direction == Direction::Backwards,
        Taker::Final => false,
        Taker::All => true,
    };
    if shape.mask == Mask::Live && padding_shows {
        ops.push(op(OpKind::Blank(Shows::all(r, shape.time)), r.hidden()));
    }
    if let (Some(combine), Taker::Cell | Taker::All) = (combine(r), taker) {
        ops.push(op(OpKind::Merge(combine), r.output()));
    }
    Ok(ops)
}

/// The output that each direction of the last layer of `r` computes last, as its padding has it, merged.
fn last_output(r: &Recurrent, shape: Shape, layer: usize) -> Vec<Op> {
    let op = |kind, features| Op { layer, stacked: None, kind, axis: Axis::Rows, features };
    let mut ops = vec![op(OpKind::FinalHidden, r.hidden())];
    if shape.mask == Mask::Live {
        ops.push(op(OpKind::Blank(Shows::last(r, shape.time)), r.hidden()));
    }
    ops.extend(combine(r).map(|combine| op(OpKind::Merge(combine), r.output())));
    ops
}

/// How the outputs of a layer of `r` are merged, if they are.
fn combine(r: &Recurrent) -> Option<Combine> {
    match r.merge {
        _ if !r.is_merged() => None,
        Merge::Concat => None,
        Merge::Sum => Some(Combine::Sum),
        Merge::Average => Some(Combine::Average),
        Merge::Product => Some(Combine::Product),
    }
}

/// What takes the outputs of a stack before the layers `rest`.
fn taker(rest: &[Layer]) -> Taker {
    let passes = |kind: &&LayerKind| matches!(kind, LayerKind::Select(Select::AllSteps) | LayerKind::Dropout(_));
    match rest.iter().map(|layer| &layer.kind).find(|kind| !passes(kind)) {
        Some(LayerKind::Recurrent(_)) => Taker::Cell,
        Some(LayerKind::Select(Select::FinalHidden | Select::LastOutput)) => Taker::Final,
        _ => Taker::All,
    }
}

fn recurrence(
    model: &Model,
    layout: &Layout,
    r: &Recurrent,
    layer: usize,
    stack: usize,
    stacked: usize,
) -> Result<Recurrence> {
    let hidden = |gate| place(layout, Role::Hidden { layer, stacked, gate });
    Ok(Recurrence {
        stack,
        stacked,
        cell: r.cell,
        directions: r.directions(),
        walks: Walk::of(r.direction),
        variants: [0, 1].map(|direction| r.variant(direction)),
        hidden_size: r.hidden_size,
        input: match vectors(model, layer).filter(|_| stacked == 0) {
            Some((vectors, _)) => Input::Table(buffer(layout, Role::InputTable { layer, vectors })?),
            None => Input::Matrix(place(layout, Role::Input { layer, stacked })?),
        },
        hidden: match r.cell {
            Cell::Gru(Reset::Before) => vec![hidden(0)?, hidden(2)?],
            Cell::Rnn | Cell::Lstm | Cell::Gru(Reset::After) => vec![hidden(0)?],
        },
        projection: r.proj_size.map(|_| place(layout, Role::Projection { layer, stacked })).transpose()?,
        run: layout.run(layer, stacked),
    })
}

fn buffer(layout: &Layout, role: Role) -> Result<usize> {
    layout.find(role).ok_or_else(|| missing(role))
}

fn place(layout: &Layout, role: Role) -> Result<Place> {
    layout.place(role).ok_or_else(|| missing(role))
}

fn missing(role: Role) -> Error {
    Error::new(ErrorKind::Model, format!("the layout has no buffer for {role:?}: it is of another model"))
}

/// `ops` with the layers of each run in one operation, where `diagonal` says so.
pub(super) fn together(ops: Vec<Op>, diagonal: impl Fn(usize, &Recurrence) -> Result<bool>) -> Result<Vec<Op>> {
    let mut all: Vec<Op> = Vec::with_capacity(ops.len());
    for op in ops {
        let OpKind::Recurrent(r) = op.kind else {
            all.push(op);
            continue;
        };
        match (r.run, all.last_mut().map(|op| &mut op.kind)) {
            (Some((_, 1..)), Some(OpKind::Diagonal(layers))) => layers.push(*r),
            (Some((run, 0)), _) if diagonal(run, &r)? => all.push(Op { kind: OpKind::Diagonal(vec![*r]), ..op }),
            _ => all.push(Op { kind: OpKind::Recurrent(r), ..op }),
        }
    }
    Ok(all)
}
