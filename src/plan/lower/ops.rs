//! Operations: what a model is flattened into, each with the values that it takes.

use std::ops::Range;
use std::slice;

use super::walk::Walk;
use crate::cell::{Activation, Cell, Constant, Reset, Variant};
use crate::kernel::{Band, Combine, Kernel, Norm, PoolOp, kept_gates, padded};
use crate::layout::{MatrixRef, depth};
use crate::model::{Direction, Features, Join, Padding, Recurrent, Scores, Slice, State, Windows};
use crate::plan::{Feed, SlotId};

/// A convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    pub(super) matrix: MatrixRef,
    pub(super) band: Band,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// The zeros before the sequence.
    pub(super) before: usize,
}

/// Whether a sequence has a time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// T rows of the batch, by this clock of the model.
    Steps(usize),
    /// One row of the batch.
    Rows,
}

/// How much of a sequence its slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// The whole sequence.
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

/// The value that an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An input of the model, which the host writes.
    Input(usize),
    /// The result of an earlier operation.
    Op(usize),
}

/// The initial state of a stack's layer, if the host does not write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// A row of features.
    Row(Source),
    /// A final state of the recurrent layer with this operation index.
    Final(usize, State),
}

/// An operation.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// The layer of the model, for names.
    pub(super) layer: usize,
    /// The layer of the stack that it belongs to, if another one follows, for names.
    pub(super) stacked: Option<usize>,
    pub(super) kind: OpKind,
    /// What it takes: one value, all values of a join, or one for each direction of a recurrent layer.
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
    /// Consecutive layers of a stack, wavefront by wavefront.
    Wavefront(Vec<Recurrence>),
    /// Zeros except at visible steps.
    MaskOutputs(VisibleSteps),
    /// The outputs of two directions, combined.
    Merge(Combine),
    /// Elements dropped at random.
    Drop(Drop),
    /// A product with `matrix`, then an elementwise activation.
    Linear { matrix: MatrixRef, activation: Activation },
    /// A convolution over steps, then an elementwise activation.
    Convolve { conv: Convolution, activation: Activation },
    /// `Activate` or `Softmax`.
    Rowwise { kernel: Kernel, activation: Activation },
    /// Features normalised, step by step.
    Normalize(Normalize),
    /// The output at the last time index.
    LastStep,
    /// A final state of a recurrent layer.
    Final(State),
    /// Several values joined into one.
    Join(Join),
    /// Some of the features.
    Slice(Slice),
    /// Steps of several values, one after the other. Each value has its first step and their count.
    Pieces(Vec<(usize, usize)>),
    /// What several steps are read for at once.
    Across(Across),
    /// A token drawn from logits.
    Sample,
    /// Sums of steps, weighted by scores.
    Attention(Attending),
}

/// An attention. It takes the query, then the key and the value. If the scores are given, they are the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attending {
    pub(super) scores: Scores,
    /// The factor of the scores.
    pub(super) scale: f32,
    /// Whether a step of the query sees no later step of the value.
    pub(super) causal: bool,
    /// The packed buffer of the weight of additive scores.
    pub(super) weight: Option<usize>,
    /// The clock of the value, and its steps.
    pub(super) clock: usize,
    pub(super) steps: usize,
}

/// What `normalize` and its backward pass are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normalize {
    pub(super) norm: Norm,
    pub(super) eps: Constant,
    /// The packed buffer of its numbers.
    pub(super) buffer: usize,
    /// Whether one number serves all features.
    pub(super) single: bool,
}

/// A place of a model that drops elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drop {
    /// The share that is dropped.
    pub(super) rate: Constant,
    /// The place in its layer.
    pub(super) place: usize,
    /// Whether all steps share what is dropped.
    pub(super) shared: bool,
    /// Gates that each get a copy of the value with its own elements dropped. A row of copies
    /// is laid out like a row of gates. 1 if elements of the value itself are dropped.
    pub(super) gates: usize,
}

/// Which outputs of a layer stay visible under a mask: those where `feed`, starting at row `rows[direction]`, is not 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct VisibleSteps {
    pub(super) feed: Feed,
    pub(super) rows: [usize; 2],
}

impl VisibleSteps {
    /// Describes all outputs of a layer of `r`, whose clock is `clock`.
    pub(super) fn all(r: &Recurrent, clock: usize, time: usize) -> Self {
        let (feed, rows) = match (r.padding, r.direction) {
            (Padding::Zero, Direction::Backwards) => (Feed::LiveBackwards(clock), [0, 0]),
            (Padding::Zero, _) => (Feed::Live(clock), [0, 0]),
            (Padding::Held, Direction::Backwards) => (Feed::StartedReversed(clock), [0, 0]),
            (Padding::Held, Direction::Reverse) => (Feed::Started(clock), [time, time]),
            (Padding::Held, Direction::Forward | Direction::Both) => (Feed::Started(clock), [0, time]),
        };
        Self { feed, rows }
    }

    /// Describes the output that each direction of a layer of `r`
    /// computes last: at the last step, or reversed, at the first.
    pub(super) fn last(r: &Recurrent, clock: usize, time: usize) -> Self {
        let last = time - 1;
        let (feed, rows) = match (r.padding, r.direction) {
            (Padding::Zero, Direction::Forward | Direction::Both) => (Feed::Live(clock), [last, 0]),
            (Padding::Zero, _) => (Feed::Live(clock), [0, 0]),
            (Padding::Held, Direction::Forward | Direction::Both) => (Feed::Started(clock), [last, time]),
            (Padding::Held, _) => (Feed::Started(clock), [time, time]),
        };
        Self { feed, rows }
    }
}

/// One layer of a stack, in all its directions.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    /// The stack of the model, and the layer in it.
    pub(super) stack: usize,
    pub(super) stacked: usize,
    /// The clock of its time axis.
    pub(super) clock: usize,
    pub(super) cell: Cell,
    pub(super) directions: usize,
    /// How each direction walks through time.
    pub(super) walks: [Walk; 2],
    /// How the cell of each direction departs from its plain equations.
    pub(super) variants: [Variant; 2],
    /// H.
    pub(super) hidden_size: usize,
    /// The input product: a table of tokens, or a matrix.
    pub(super) input: Input,
    /// The recurrent products of a step, in order.
    pub(super) hidden: Vec<MatrixRef>,
    /// The projection.
    pub(super) projection: Option<MatrixRef>,
    /// The layer run that the layer is in, and its index there.
    pub(super) run: Option<(usize, usize)>,
    /// The dropout of the hidden state before its products, if any.
    pub(super) drop: Option<Drop>,
    /// The initial hidden and cell state, if the host does not write them.
    pub(super) begin: [Option<Begin>; 2],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// Tokens choose rows of this packed buffer.
    Table(usize),
    /// Features go through a product.
    Matrix(MatrixRef),
}

impl Recurrence {
    /// Returns H, padded.
    pub(super) fn units(&self) -> usize {
        padded(self.hidden_size)
    }

    /// Returns the gates of product `product` of a step. A GRU with the reset before the product has two products.
    pub(super) fn product_gates(&self, product: usize) -> Range<usize> {
        match (self.cell, product) {
            (Cell::Gru(Reset::Before), 0) => 0..2,
            (Cell::Gru(Reset::Before), _) => 2..3,
            (Cell::Rnn | Cell::Lstm | Cell::Gru(Reset::After), _) => 0..self.cell.gates(),
        }
    }

    /// Whether the backward pass of each step is one dispatch: it has one product, and no projection.
    pub(super) fn steps_back(&self) -> bool {
        self.cell != Cell::Gru(Reset::Before) && self.projection.is_none()
    }

    /// Returns the elements of a row of the hoisted input product, for one direction.
    pub(super) fn gates_width(&self) -> usize {
        self.cell.gates() * self.units()
    }

    /// Returns the elements of a row of what a step keeps, for one direction.
    pub(super) fn kept_width(&self) -> usize {
        kept_gates(self.cell) as usize * self.units()
    }

    /// Returns the rows of the state or scratch beside the hidden state, if there are any.
    pub(super) fn rows_beside(&self) -> usize {
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
            OpKind::Wavefront(_) => true,
            OpKind::LastStep
            | OpKind::Final(_)
            | OpKind::Pieces(_)
            | OpKind::Convolve { .. }
            | OpKind::Attention(_) => false,
            OpKind::Across(across) => across.streams(),
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::MaskOutputs(_)
            | OpKind::Merge(_)
            | OpKind::Drop(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::Normalize(_)
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Sample => true,
        }
    }

    /// Returns its recurrent layers: one, or those of a layer run.
    fn recurrences(&self) -> &[Recurrence] {
        match &self.kind {
            OpKind::Recurrent(r) => slice::from_ref(r),
            OpKind::Wavefront(layers) => layers,
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::MaskOutputs(_)
            | OpKind::Merge(_)
            | OpKind::Drop(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::Normalize(_)
            | OpKind::LastStep
            | OpKind::Final(_)
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Pieces(_)
            | OpKind::Across(_)
            | OpKind::Sample
            | OpKind::Convolve { .. }
            | OpKind::Attention(_) => &[],
        }
    }

    /// Returns its recurrent layer, or the first one of its layer run.
    pub(super) fn recurrence(&self) -> Option<&Recurrence> {
        self.recurrences().first()
    }

    /// Returns the initial states of its recurrent layers that the host does not write. A layer run has none.
    pub(super) fn begins(&self) -> impl Iterator<Item = Begin> + '_ {
        self.recurrences().iter().flat_map(|r| r.begin.into_iter().flatten())
    }

    /// Whether it begins with a result or a final state of one of `ops`.
    pub(super) fn begins_in(&self, ops: Range<usize>) -> bool {
        self.begins().any(|begin| match begin {
            Begin::Row(Source::Op(op)) | Begin::Final(op, _) => ops.contains(&op),
            Begin::Row(Source::Input(_)) => false,
        })
    }

    /// Returns the bytes of scratch for one timestep and row of the batch.
    pub(super) fn step_bytes(&self) -> u64 {
        4 * (depth(self.features) + self.gates_width() + 2 * self.scored_steps()) as u64
    }

    /// Returns the elements of a row of the hoisted input product
    /// in all directions. A layer run counts its first layer's.
    pub(super) fn gates_width(&self) -> usize {
        self.recurrence().map_or(0, |r| r.directions * r.gates_width())
    }

    /// Returns how many layers of a stack it has.
    pub(super) fn layers(&self) -> usize {
        self.recurrences().len()
    }

    /// Returns the bytes of the widest row of the batch that the operation binds.
    pub(super) fn widest_bytes(&self) -> u64 {
        let widest = 4 * self.gates_width().max(depth(self.features)).max(self.scored_steps()) as u64;
        widest.max(self.stride_bytes())
    }

    /// Returns the elements of a row of scores, padded; 0 if it has none.
    fn scored_steps(&self) -> usize {
        if let OpKind::Attention(attending) = &self.kind { padded(attending.steps) } else { 0 }
    }
}

/// The operations of a model in the order in which they run, and what they give to the caller.
pub(super) struct Ops {
    pub(super) ops: Vec<Op>,
    /// The outputs of the model that are not final states.
    pub(super) outputs: Vec<Source>,
    /// The clock of each input of the model that has a time axis.
    pub(super) inputs: Vec<Option<usize>>,
}

/// An operation across steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Across {
    /// What steps of this clock come to: those that are live, or all of them.
    Pool { op: PoolOp, clock: usize, all: bool },
    /// The same numbers in another shape, or with steps and features swapped.
    Rearrange { swapped: bool },
    /// What the steps of windows come to: those that are live by a clock, or all of them.
    Windows { op: PoolOp, windows: Windows, clock: Option<usize> },
}

impl Across {
    /// Whether it goes along with the operations before it, chunk by chunk.
    pub(super) fn streams(self) -> bool {
        matches!(self, Self::Pool { .. })
    }
}
