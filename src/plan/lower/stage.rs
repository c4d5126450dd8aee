//! Stages: operations with the slots that they read and write. Each has what its work needs, by type.

use super::across::Taking;
use super::attention::Attended;
use super::copies::Copies;
use super::groups::Use;
use super::ops::{
    Axis, Begin, Convolution, Drop, Input, Normalize, Op, OpKind, Recurrence, Sequence, Source, Span, VisibleSteps,
};
use super::view::Inside;
use super::walk::Walk;
use super::{HostInput, Lowering, needed};
use crate::cell::{Activation, Cell};
use crate::error::{Error, Result};
use crate::kernel::{CELL_UNPROJECTED, Combine};
use crate::layout::{MatrixRef, depth};
use crate::model::{Features, Join, Slice, State};
use crate::plan::{Feed, Shape, SlotId, SlotKind};

/// An operation with its slots.
pub(super) struct Stage<'a> {
    pub(super) op: &'a Op,
    /// The result.
    pub(super) result: Sequence,
    pub(super) work: Work<'a>,
}

/// The work of an operation, and what it takes.
pub(super) enum Work<'a> {
    /// [`OpKind`] describes these.
    Gather {
        buffer: usize,
        tokens: SlotId,
    },
    OneHot {
        tokens: SlotId,
    },
    Recurrent {
        r: &'a Recurrence,
        states: States,
        /// Where the final hidden states of two directions meet, if a consumer takes both.
        meeting: Option<SlotId>,
        /// The initial hidden and cell state, if the host does not write them.
        begin: [Option<Sequence>; 2],
    },
    Wavefront {
        layers: &'a [Recurrence],
        states: States,
        /// Whether a consumer takes the result chunk by chunk.
        in_group: bool,
    },
    MaskOutputs {
        visible: VisibleSteps,
        source: Sequence,
    },
    Merge {
        combine: Combine,
        source: Sequence,
    },
    Drop {
        drop: Drop,
        /// The words that the draw depends on.
        draws: SlotId,
        source: Sequence,
    },
    Linear {
        matrix: MatrixRef,
        activation: Activation,
        source: Sequence,
        /// The first panel of the result that it writes: the result may be a part of a concatenation.
        panel: usize,
    },
    Convolve {
        conv: Convolution,
        activation: Activation,
        source: Sequence,
    },
    Rowwise {
        activation: Activation,
        source: Sequence,
    },
    Normalize {
        of: Normalize,
        source: Sequence,
    },
    Join {
        join: Join,
        values: Vec<Joined>,
    },
    Slice {
        slice: Slice,
        source: Sequence,
    },
    Attention(Attended),
    /// Each value with its first step and the count.
    Pieces(Vec<(Sequence, usize, usize)>),
    Across(Taking),
    Sample {
        source: Sequence,
    },
    /// A view of an existing slot.
    View,
}

/// A value that a join takes.
#[derive(Clone, Copy)]
pub(super) struct Joined {
    /// Where it is, or `None` if its operation has already written it into the result.
    pub(super) source: Option<Sequence>,
    /// Its true features.
    pub(super) size: usize,
}

/// What a recurrent layer, or the first one of a layer run, takes and keeps.
#[derive(Clone, Copy)]
pub(super) struct States {
    pub(super) taken: Taken,
    /// The hoisted input product.
    pub(super) gates: SlotId,
    /// The cell states of an LSTM.
    pub(super) cell_state: Option<SlotId>,
    /// What a GRU leaves between its two products, if the reset comes before the product.
    pub(super) scratch: Option<SlotId>,
    /// What each step keeps for its backward pass, if it does.
    pub(super) kept: Option<Kept>,
    /// Copies of the state before a step, if elements of them are dropped.
    pub(super) copies: Option<Copies>,
    /// Where the final hidden state is.
    pub(super) last: Sequence,
    /// Where the final cell state is.
    pub(super) last_cell: Option<Sequence>,
}

/// A slot `[D · steps][B][P][G][16]` of what steps keep for their backward pass.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) slot: SlotId,
    /// Whether it has all steps, or only those of one chunk.
    pub(super) whole: bool,
}

/// The input of the hoisted product.
#[derive(Clone, Copy)]
pub(super) enum Taken {
    /// Rows of a packed buffer, chosen by tokens.
    Tokens { buffer: usize, tokens: SlotId },
    /// Features of each direction, times a matrix, or copies of them for each gate.
    Features { matrix: MatrixRef, sources: [Sequence; 2], per_gate: bool },
}

impl Axis {
    /// Returns the number of its rows of the batch.
    pub(super) fn time(self, shape: Shape) -> usize {
        match self {
            Self::Steps(clock) => shape.steps(clock).time,
            Self::Rows => 1,
        }
    }
}

impl Stage<'_> {
    /// Returns the length of the time axis that the stage runs over.
    pub(super) fn time(&self, shape: Shape) -> usize {
        self.op.along().time(shape)
    }

    /// Returns the states of a recurrent layer.
    fn states(&self) -> Option<&States> {
        let (Work::Recurrent { states, .. } | Work::Wavefront { states, .. }) = &self.work else { return None };
        Some(states)
    }

    /// Returns where a final state of the recurrent layer is.
    fn last(&self, state: State) -> Result<Sequence> {
        let last = self.states().and_then(|states| match state {
            State::Hidden => Some(states.last),
            State::Cell => states.last_cell,
        });
        needed(last, format_args!("a final state of layer {}", self.op.layer))
    }
}

/// An operation that is to become a stage.
#[derive(Clone, Copy)]
struct Draft<'a, 's> {
    op: &'a Op,
    /// The stages before it.
    stages: &'s [Stage<'a>],
    /// How much of its result a slot holds, and the rows of that slot.
    span: Span,
    rows: usize,
}

impl Lowering<'_> {
    /// Makes the stage of `op`, with the slots that it needs. `stages` are those before it.
    pub(super) fn stage<'a>(
        &mut self,
        op: &'a Op,
        (used, inside): (Use, Option<Inside>),
        stages: &[Stage<'a>],
    ) -> Result<Stage<'a>> {
        let span = self.span(op, used);
        let rows = self.rows_of(op, span);
        let draft = Draft { op, stages, span, rows };
        let source = || self.source(draft);
        let (work, name) = match &op.kind {
            OpKind::Recurrent(r) => return self.recurrent_stage(draft, r, used.finals),
            OpKind::Wavefront(layers) => return self.wavefront_stage(draft, layers, used.in_group),
            OpKind::LastStep => {
                let source = source()?;
                let first = source.first + self.last_row(source);
                return Ok(view(op, Sequence { first, axis: Axis::Rows, span: Span::Whole, ..source }));
            }
            OpKind::Final(state) => return Ok(view(op, self.last(draft, *state)?)),
            OpKind::Sample => {
                let result = self.drawn(self.main_tokens()?);
                return Ok(Stage { op, result, work: Work::Sample { source: source()? } });
            }
            OpKind::Gather { buffer } => (Work::Gather { buffer: *buffer, tokens: self.tokens(draft)? }, "vectors"),
            OpKind::OneHot => (Work::OneHot { tokens: self.tokens(draft)? }, "vectors"),
            OpKind::MaskOutputs(visible) => (Work::MaskOutputs { visible: *visible, source: source()? }, "masked"),
            OpKind::Merge(combine) => (Work::Merge { combine: *combine, source: source()? }, "merged"),
            OpKind::Drop(drop) => {
                let draws = self.dropped(op.layer, drop.place);
                (Work::Drop { drop: *drop, draws, source: self.source(draft)? }, "dropped")
            }
            OpKind::Linear { matrix, activation } => {
                let linear = |source, panel| Work::Linear { matrix: *matrix, activation: *activation, source, panel };
                if let Some(Inside { op: join, panel }) = inside {
                    let slot = self.concatenated.get(&join).copied();
                    let result = needed(slot, format_args!("a slot of the concatenation that operation {join} gives"))?;
                    return Ok(Stage { op, result, work: linear(source()?, panel) });
                }
                (linear(source()?, 0), "product")
            }
            OpKind::Convolve { conv, activation } => {
                (Work::Convolve { conv: *conv, activation: *activation, source: source()? }, "product")
            }
            OpKind::Rowwise { activation, .. } => {
                (Work::Rowwise { activation: *activation, source: source()? }, "activated")
            }
            OpKind::Normalize(of) => (Work::Normalize { of: *of, source: source()? }, "normalized"),
            OpKind::Join(join) => {
                let result = self.concatenated.get(&stages.len()).copied();
                let values = op.from.iter().map(|&source| self.joined(source, stages, result));
                let work = Work::Join { join: *join, values: values.collect::<Result<_>>()? };
                if let Some(result) = result {
                    return Ok(Stage { op, result, work });
                }
                (work, "joined")
            }
            OpKind::Pieces(pieces) => {
                let sources =
                    op.from.iter().map(|&source| self.features(source, stages)).collect::<Result<Vec<_>>>()?;
                let piece = |(source, &(first, count)): (Sequence, &(usize, usize))| (source, first, count);
                (Work::Pieces(sources.into_iter().zip(pieces).map(piece).collect()), "pieces")
            }
            OpKind::Slice(slice) => (Work::Slice { slice: *slice, source: source()? }, "slice"),
            OpKind::Across(across) => (Work::Across(self.taking(op, *across, self.source(draft)?)), "across"),
            OpKind::Attention(attending) => {
                let taken = op.from.iter().map(|&source| self.features(source, stages)).collect::<Result<Vec<_>>>()?;
                (Work::Attention(self.attended(op, *attending, &taken)?), "attention")
            }
        };
        Ok(Stage { op, result: self.result(op, name, span), work })
    }

    /// Makes the slot of concatenation `index` if there is none yet: other operations write into it first.
    pub(super) fn concatenated(&mut self, index: usize, op: &Op, used: Use) {
        if !self.concatenated.contains_key(&index) {
            let result = self.result(op, "joined", self.span(op, used));
            self.concatenated.insert(index, result);
        }
    }

    /// Makes a slot for the result of `op`.
    fn result(&mut self, op: &Op, name: &str, span: Span) -> Sequence {
        let name = match op.stacked {
            Some(stacked) => format!("{}.{name}.{stacked}", op.layer),
            None => format!("{}.{name}", op.layer),
        };
        let rows = self.rows_of(op, span);
        let slot = self.slot(name, SlotKind::Scratch, &[rows, self.shape.batch, depth(op.features)]);
        Sequence { slot, first: 0, features: op.features, axis: op.axis, span }
    }

    /// Returns how much of the result of `op` is in a slot at once.
    pub(super) fn span(&self, op: &Op, used: Use) -> Span {
        let by_chunk = used.by_chunk && op.streams() && op.axis != Axis::Rows && op.axis.time(self.shape) > self.chunk;
        // The backward pass needs all of it.
        if by_chunk && !self.keeps { Span::Chunk } else { Span::Whole }
    }

    /// Returns the row of layer `r`'s cell states that has the one before step
    /// `index` of its walk. Two rows alternate, or each step has its own.
    pub(super) fn cell_row(&self, r: &Recurrence, index: usize) -> usize {
        match self.keeps {
            false => index % 2,
            // The state before a projection has a row among the first.
            true => index + if r.projection.is_some() { CELL_UNPROJECTED + 1 } else { 0 },
        }
    }

    fn rows_beside(&self, r: &Recurrence) -> usize {
        match r.cell {
            Cell::Lstm if self.keeps => self.cell_row(r, self.shape.steps(r.clock).time) + 1,
            Cell::Lstm | Cell::Rnn | Cell::Gru(_) => r.rows_beside(),
        }
    }

    fn rows_of(&self, op: &Op, span: Span) -> usize {
        match span {
            Span::Whole => op.axis.time(self.shape),
            Span::Chunk => self.chunk,
        }
    }

    /// Returns the features in `source`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Internal` if it has none.
    pub(super) fn features(&self, source: Source, stages: &[Stage<'_>]) -> Result<Sequence> {
        match source {
            Source::Op(op) => Ok(stages[op].result),
            Source::Input(input) => match self.inputs.get(input).copied().flatten() {
                Some(HostInput::Features(sequence)) => Ok(sequence),
                _ => Err(Error::internal(format!("a plan: expected features of input {input}, got none"))),
            },
        }
    }

    /// Returns a value of a join, whose result is `result` if operations write into it.
    fn joined(&self, source: Source, stages: &[Stage<'_>], result: Option<Sequence>) -> Result<Joined> {
        let sequence = self.features(source, stages)?;
        Ok(match source {
            Source::Op(op) if result.is_some_and(|result| result.slot == sequence.slot) => {
                Joined { source: None, size: stages[op].op.features.len() }
            }
            Source::Op(_) | Source::Input(_) => Joined { source: Some(sequence), size: sequence.features.len() },
        })
    }

    /// Returns the features that an operation of one value takes.
    fn source(&self, draft: Draft<'_, '_>) -> Result<Sequence> {
        let first = needed(draft.op.from.first(), format_args!("a source of layer {}", draft.op.layer))?;
        self.features(*first, draft.stages)
    }

    /// Returns the tokens that an operation takes.
    fn tokens(&self, draft: Draft<'_, '_>) -> Result<SlotId> {
        let input = draft.op.from.first().and_then(|source| match source {
            Source::Input(input) => self.inputs.get(*input).copied().flatten(),
            Source::Op(_) => None,
        });
        match input {
            Some(HostInput::Tokens(slot)) => Ok(slot),
            _ => Err(Error::internal(format!("a plan: expected tokens of layer {}, got none", draft.op.layer))),
        }
    }

    /// Returns the final state of a recurrent layer that an operation takes.
    fn last(&self, draft: Draft<'_, '_>, state: State) -> Result<Sequence> {
        match draft.op.from[..] {
            [Source::Op(op)] => draft.stages[op].last(state),
            _ => Err(Error::internal("a final state: expected a recurrent layer that it is of, got none")),
        }
    }

    /// Returns the row that a state begins with.
    fn begin_of(&self, begin: Begin, stages: &[Stage<'_>]) -> Result<Sequence> {
        match begin {
            Begin::Row(source) => self.features(source, stages),
            Begin::Final(op, state) => stages[op].last(state),
        }
    }

    /// Returns what layer `r` takes.
    fn taken(&self, draft: Draft<'_, '_>, r: &Recurrence) -> Result<Taken> {
        Ok(match r.input {
            Input::Table(buffer) => Taken::Tokens { buffer, tokens: self.tokens(draft)? },
            Input::Matrix(matrix) => {
                let first = self.source(draft)?;
                let second = draft.op.from.get(1).map(|&source| self.features(source, draft.stages)).transpose()?;
                let is_per_gate = |source: &Source| match source {
                    Source::Op(op) => matches!(draft.stages[*op].op.kind, OpKind::Drop(Drop { gates: 2.., .. })),
                    Source::Input(_) => false,
                };
                let per_gate = draft.op.from.first().is_some_and(is_per_gate);
                Taken::Features { matrix, sources: [first, second.unwrap_or(first)], per_gate }
            }
        })
    }

    fn recurrent_stage<'a>(&mut self, draft: Draft<'a, '_>, r: &'a Recurrence, met: bool) -> Result<Stage<'a>> {
        let Draft { op, stages, span, rows } = draft;
        let (batch, layer, features, width) = (self.shape.batch, op.layer, op.features, depth(op.features));
        let (taken, gates) = (self.taken(draft, r)?, needed(self.gates, "a slot of gates")?);
        let mut begin = [None; 2];
        for (begin, of) in begin.iter_mut().zip(r.begin) {
            *begin = of.map(|of| self.begin_of(of, stages)).transpose()?;
        }
        // The initial state is in the row before the outputs. A reverse direction starts from the row after them.
        let first = usize::from(r.walks[0] != Walk::Reverse);
        let all = rows.saturating_add(r.directions);
        let hidden = self.slot(format!("{layer}.hidden.{}", r.stacked), SlotKind::Scratch, &[all, batch, width]);
        let (stack, stacked) = (r.stack, r.stacked);
        if begin[0].is_none() {
            for walk in &r.walks[..r.directions] {
                self.write(Feed::Hidden { stack, layer: stacked }, hidden, walk.initial_row(all), 1);
            }
        }
        let met = r.directions == 2 && met;
        let meeting = met.then(|| self.slot(format!("{layer}.final.{stacked}"), SlotKind::Scratch, &[1, batch, width]));
        let dims = [self.rows_beside(r), batch, r.directions * r.units()];
        let name = if r.cell.states() == 2 { "cell" } else { "scratch" };
        let beside = (dims[0] > 0).then(|| self.slot(format!("{layer}.{name}.{stacked}"), SlotKind::Scratch, &dims));
        let cell_state = beside.filter(|_| r.cell.states() == 2);
        let scratch = beside.filter(|_| r.cell.states() != 2);
        if let (Some(cell_state), None) = (cell_state, begin[1]) {
            self.write(Feed::Cell { stack, layer: stacked }, cell_state, self.cell_row(r, 0), 1);
        }
        let last_cell = cell_state.map(|slot| Sequence {
            slot,
            first: self.cell_row(r, op.axis.time(self.shape)),
            features: Features { parts: r.directions, size: r.hidden_size },
            axis: Axis::Rows,
            span: Span::Whole,
        });
        let result = Sequence { slot: hidden, first, features, axis: op.axis, span };
        let last = match (meeting, r.walks[0]) {
            (Some(slot), _) => Sequence { slot, first: 0, ..result },
            (None, Walk::Reverse) => result,
            (None, _) => Sequence { first: first + self.last_row(result), ..result },
        };
        let last = Sequence { axis: Axis::Rows, span: Span::Whole, ..last };
        let kept = self.kept(r, layer);
        let copies = r.drop.map(|drop| self.copies(r, drop, layer, features));
        let states = States { taken, gates, cell_state, scratch, kept, copies, last, last_cell };
        Ok(Stage { op, result, work: Work::Recurrent { r, states, meeting, begin } })
    }

    /// Makes the slot of what the steps of `r` keep for their backward pass, if there is room for all of it.
    fn kept(&mut self, r: &Recurrence, layer: usize) -> Option<Kept> {
        if !self.keeps || !r.steps_back() {
            return None;
        }
        let dims = [r.directions * self.shape.steps(r.clock).time, self.shape.batch, r.kept_width()];
        let bytes = dims.iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
        if bytes > self.limits.binding_bytes || bytes > self.keep_bytes {
            return None;
        }
        self.keep_bytes -= bytes;
        let slot = self.slot(format!("{layer}.kept.{}", r.stacked), SlotKind::Scratch, &dims);
        Some(Kept { slot, whole: true })
    }

    /// Makes the stage of a wavefront. Each layer's states have two
    /// rows that alternate, and only the last layer has outputs.
    fn wavefront_stage<'a>(
        &mut self,
        draft: Draft<'a, '_>,
        layers: &'a [Recurrence],
        in_group: bool,
    ) -> Result<Stage<'a>> {
        let Draft { op, span, rows, .. } = draft;
        let (batch, layer, features) = (self.shape.batch, op.layer, op.features);
        let (taken, gates) = (self.taken(draft, &layers[0])?, needed(self.gates, "a slot of gates")?);
        let (width, stacked) = (depth(features), layers[0].stacked);
        let dims = [2 * layers.len(), batch, width];
        let hidden = self.slot(format!("{layer}.hidden.{stacked}"), SlotKind::Scratch, &dims);
        for (index, r) in layers.iter().enumerate() {
            self.write(Feed::Hidden { stack: r.stack, layer: r.stacked }, hidden, 2 * index, 1);
        }
        let has_cell_state = layers[0].rows_beside() > 0;
        let cell_state = has_cell_state.then(|| self.slot(format!("{layer}.cell.{stacked}"), SlotKind::Scratch, &dims));
        if let Some(cell_state) = cell_state {
            for (index, r) in layers.iter().enumerate() {
                self.write(Feed::Cell { stack: r.stack, layer: r.stacked }, cell_state, 2 * index, 1);
            }
        }
        let output = self.slot(format!("{layer}.output.{stacked}"), SlotKind::Scratch, &[rows, batch, width]);
        let result = Sequence { slot: output, first: 0, features, axis: op.axis, span };
        let first = 2 * (layers.len() - 1) + op.axis.time(self.shape) % 2;
        let last = Sequence { slot: hidden, first, features, axis: Axis::Rows, span: Span::Whole };
        let last_cell = cell_state.map(|slot| Sequence { slot, ..last });
        let states = States { taken, gates, cell_state, scratch: None, kept: None, copies: None, last, last_cell };
        Ok(Stage { op, result, work: Work::Wavefront { layers, states, in_group } })
    }
}

/// Makes the stage of an operation that gives a view of an existing slot.
fn view(op: &Op, result: Sequence) -> Stage<'_> {
    Stage { op, result, work: Work::View }
}
