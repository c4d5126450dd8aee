//! Operations: what a model is flattened into, each with the values that it takes.

use std::ops::Range;
use std::slice;

use super::walk::Walk;
use crate::cell::{Activation, Cell, Constant, Reset, Variant};
use crate::kernel::{Combine, Kernel, kept_gates, padded};
use crate::layout::{Place, depth};
use crate::model::{Direction, Features, Join, Padding, Recurrent, Slice, State};
use crate::plan::{Feed, SlotId};

/// Whether a sequence has a time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// T rows of the batch, by a clock of the model.
    Steps(usize),
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

/// Where an operation takes a value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An input of the model, which the host writes.
    Input(usize),
    /// What an operation before it gives.
    Op(usize),
}

/// What a layer of a stack begins with, where the host does not write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// A row of features.
    Row(Source),
    /// A final state of the recurrent layer that an operation is.
    Final(usize, State),
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// The layer of the model, for names.
    pub(super) layer: usize,
    /// The layer of the stack that it belongs to, where another one follows, for names.
    pub(super) stacked: Option<usize>,
    pub(super) kind: OpKind,
    /// What it takes: one value, those that a join takes, or one for each direction of a recurrent layer.
    pub(super) from: Vec<Source>,
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
    /// Elements dropped at random.
    Drop(Drop),
    /// A product with `matrix`, then an elementwise activation.
    Linear { matrix: Place, activation: Activation },
    /// `Activate` or `Softmax`.
    Rowwise { kernel: Kernel, activation: Activation },
    /// The output at the last time index.
    LastStep,
    /// A final state of a recurrent layer.
    Final(State),
    /// Several values as one.
    Join(Join),
    /// Some of the features.
    Slice(Slice),
    /// Steps of several values, one after the other: of each the first, and how many.
    Pieces(Vec<(usize, usize)>),
    /// A token drawn from logits.
    Sample,
}

/// What a place of a model drops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drop {
    /// The share that is dropped.
    pub(super) rate: Constant,
    /// Which of the places where its layer drops.
    pub(super) place: usize,
    /// Whether all steps share what is dropped.
    pub(super) shared: bool,
    /// Gates that each get a copy of the value, with elements of its own dropped: a row of copies is laid out as one of gates. 1
    /// where the value itself is dropped of.
    pub(super) gates: usize,
}

/// What of a layer's outputs shows under a mask: that of which `feed` is not 0, from row `rows[direction]` of it on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shows {
    pub(super) feed: Feed,
    pub(super) rows: [usize; 2],
}

impl Shows {
    /// Of all outputs of a layer of `r`, which goes by `clock`.
    pub(super) fn all(r: &Recurrent, clock: usize, time: usize) -> Self {
        let (feed, rows) = match (r.padding, r.direction) {
            (Padding::Zero, Direction::Backwards) => (Feed::LiveBackwards(clock), [0, 0]),
            (Padding::Zero, _) => (Feed::Live(clock), [0, 0]),
            (Padding::Held, Direction::Backwards) => (Feed::SeenBackwards(clock), [0, 0]),
            (Padding::Held, Direction::Reverse) => (Feed::Seen(clock), [time, time]),
            (Padding::Held, Direction::Forward | Direction::Both) => (Feed::Seen(clock), [0, time]),
        };
        Self { feed, rows }
    }

    /// Of the output that each direction of a layer of `r` computes last: at the last step, or down at the first.
    pub(super) fn last(r: &Recurrent, clock: usize, time: usize) -> Self {
        let last = time - 1;
        let (feed, rows) = match (r.padding, r.direction) {
            (Padding::Zero, Direction::Forward | Direction::Both) => (Feed::Live(clock), [last, 0]),
            (Padding::Zero, _) => (Feed::Live(clock), [0, 0]),
            (Padding::Held, Direction::Forward | Direction::Both) => (Feed::Seen(clock), [last, time]),
            (Padding::Held, _) => (Feed::Seen(clock), [time, time]),
        };
        Self { feed, rows }
    }
}

/// One layer of a stack, in all its directions.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    /// Which stack of the model, and which of its layers.
    pub(super) stack: usize,
    pub(super) stacked: usize,
    /// The clock of the model that it goes by.
    pub(super) clock: usize,
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
    /// What is dropped of the hidden state before its products, if anything.
    pub(super) drop: Option<Drop>,
    /// What the hidden and the cell state begin with, where the host does not write them.
    pub(super) begin: [Option<Begin>; 2],
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

    /// Gates of product `product` of a step. A GRU that resets before the product has two of them.
    pub(super) fn product_gates(&self, product: usize) -> Range<usize> {
        match (self.cell, product) {
            (Cell::Gru(Reset::Before), 0) => 0..2,
            (Cell::Gru(Reset::Before), _) => 2..3,
            (Cell::Rnn | Cell::Lstm | Cell::Gru(Reset::After), _) => 0..self.cell.gates(),
        }
    }

    /// Whether each step goes back in one dispatch: its product is one, and its state is not projected.
    pub(super) fn steps_back(&self) -> bool {
        self.cell != Cell::Gru(Reset::Before) && self.projection.is_none()
    }

    /// Elements of a row of the hoisted product, one direction.
    pub(super) fn gates_width(&self) -> usize {
        self.cell.gates() * self.units()
    }

    /// Elements of a row of what a step keeps, one direction.
    pub(super) fn kept_width(&self) -> usize {
        kept_gates(self.cell) as usize * self.units()
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
            OpKind::LastStep | OpKind::Final(_) | OpKind::Pieces(_) => false,
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::Blank(_)
            | OpKind::Merge(_)
            | OpKind::Drop(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Sample => true,
        }
    }

    /// The recurrent layers in it: one, or those of a run.
    fn recurrences(&self) -> &[Recurrence] {
        match &self.kind {
            OpKind::Recurrent(r) => slice::from_ref(r),
            OpKind::Diagonal(layers) => layers,
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::Blank(_)
            | OpKind::Merge(_)
            | OpKind::Drop(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::LastStep
            | OpKind::Final(_)
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Pieces(_)
            | OpKind::Sample => &[],
        }
    }

    /// The recurrent layer that it is, or the first one of its run.
    pub(super) fn recurrence(&self) -> Option<&Recurrence> {
        self.recurrences().first()
    }

    /// What the recurrent layers of the operation begin with, where the host does not write it; those of a run with nothing.
    pub(super) fn begins(&self) -> impl Iterator<Item = Begin> + '_ {
        self.recurrences().iter().flat_map(|r| r.begin.into_iter().flatten())
    }

    /// Whether it begins with what one of `ops` gives or ends in.
    pub(super) fn begins_in(&self, ops: Range<usize>) -> bool {
        self.begins().any(|begin| match begin {
            Begin::Row(Source::Op(op)) | Begin::Final(op, _) => ops.contains(&op),
            Begin::Row(Source::Input(_)) => false,
        })
    }

    /// Bytes of scratch a timestep and row of the batch takes.
    pub(super) fn step_bytes(&self) -> u64 {
        4 * (depth(self.features) + self.gates_width()) as u64
    }

    /// Elements of a row of the hoisted product, all directions; of a run that of its first layer.
    pub(super) fn gates_width(&self) -> usize {
        self.recurrence().map_or(0, |r| r.directions * r.gates_width())
    }

    /// Layers of a stack in it.
    pub(super) fn layers(&self) -> usize {
        self.recurrences().len()
    }

    /// Bytes of the widest row of the batch that the operation binds.
    pub(super) fn widest_bytes(&self) -> u64 {
        4 * self.gates_width().max(depth(self.features)) as u64
    }
}

/// The operations of a model in the order in which they run, and what they give to the caller.
pub(super) struct Ops {
    pub(super) ops: Vec<Op>,
    /// The outputs of the model that are no final states.
    pub(super) outputs: Vec<Source>,
    /// The clock of each input of the model that has a time axis.
    pub(super) inputs: Vec<Option<usize>>,
}
