//! The way back: losses, and each operation in reverse, the last one first.
//!
//! Every value that a weight has a part in has a gradient, a slot like its own, to which each taker of the value adds. The
//! gradient of a value is whole when the operation that gives it is reached: all its takers come after it. Here is the
//! order, and who adds to what; `recurrent` (with `chunk`), `rows` and `join` have the operations, each as `emit` has them forward,
//! `loss` where gradients begin, and `weights` where they end.

mod apart;
mod chunk;
mod copies;
mod join;
mod loss;
mod recurrent;
mod rows;
mod steps;
mod weights;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::dispatch::{lanes, word};
use super::groups::groups;
use super::join::Part;
use super::ops::{Axis, Begin, OpKind, Ops, Sequence, Source, Span};
use super::stage::{Stage, Work};
use super::{Chunk, HostInput, Lowering};
use crate::error::{Error, Result};
use crate::kernel::{JoinOp, Params, Program, Role, Training};
use crate::layout::depth;
use crate::model::{Features, State};
use crate::plan::{Fetch, Gradients, SlotId, SlotKind, Window};

pub(super) use loss::loss_source;

/// What has a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Given {
    /// What an operation gives.
    Op(usize),
    /// An input of the model.
    Input(usize),
    /// The final cell state of the recurrent layer that an operation is.
    FinalCell(usize),
}

/// Where a gradient is, and whether anything has been added to it yet.
#[derive(Clone, Copy)]
struct Held {
    sequence: Sequence,
    begun: bool,
}

/// A plan's way back while it is written.
struct Back<'p, 'l> {
    low: &'p mut Lowering<'l>,
    stages: &'p [Stage<'p>],
    /// Of each operation whether anything wants its gradient: a weight, an input or an initial state before it.
    wanted: Vec<bool>,
    wants: &'p Gradients,
    held: HashMap<Given, Held>,
    /// The gradients of packed buffers, and the matrices of them that are begun.
    weights: HashMap<usize, (SlotId, Vec<bool>)>,
    /// The matrices whose peepholes are begun.
    peepholes: HashSet<(usize, usize)>,
    /// Turned matrices, by packed buffer, and whether each gate is turned by itself.
    turned: HashMap<(usize, bool), SlotId>,
    /// Scratch slots by name.
    scratch: HashMap<String, SlotId>,
    /// The sums that are kept for an update.
    sums: Option<SlotId>,
}

impl Lowering<'_> {
    /// The call, its losses, and the way back.
    pub(super) fn gradients(&mut self, all: &Ops, wants: &Gradients, losses: &[Source]) -> Result<()> {
        let all_groups = groups(&all.ops, self.shape);
        let stages = self.stages(all, &all_groups)?;
        self.fits(&stages)?;
        let needed = needed_by(all, losses);
        self.forward(&stages, &all_groups, |op| needed[op])?;
        // What nothing takes is read by nobody.
        if !wants.finals {
            self.plan.reads.clear();
        }
        let wanted = wanted(all, wants, self);
        let mut back = Back {
            low: self,
            stages: &stages,
            wanted,
            wants,
            held: HashMap::new(),
            weights: HashMap::new(),
            peepholes: HashSet::new(),
            turned: HashMap::new(),
            scratch: HashMap::new(),
            sums: None,
        };
        for (term, &source) in losses.iter().enumerate() {
            back.loss(term, source)?;
        }
        if !(wants.weights || wants.inputs || wants.states) {
            return Ok(());
        }
        for index in (0..stages.len()).rev() {
            back.operation(index)?;
            super::countable(back.low.plan.steps.len())?;
        }
        back.read()
    }
}

/// Which operations a loss needs.
fn needed_by(all: &Ops, losses: &[Source]) -> Vec<bool> {
    let mut needed = vec![false; all.ops.len()];
    let mark = |source: &Source, needed: &mut Vec<bool>| {
        if let Source::Op(op) = *source {
            needed[op] = true;
        }
    };
    losses.iter().for_each(|source| mark(source, &mut needed));
    for index in (0..all.ops.len()).rev() {
        if !needed[index] {
            continue;
        }
        all.ops[index].from.iter().for_each(|source| mark(source, &mut needed));
        for begin in all.ops[index].begins() {
            match begin {
                Begin::Row(source) => mark(&source, &mut needed),
                Begin::Final(op, _) => needed[op] = true,
            }
        }
    }
    needed
}

/// Of each operation whether its gradient is wanted.
fn wanted(all: &Ops, wants: &Gradients, low: &Lowering<'_>) -> Vec<bool> {
    let mut wanted: Vec<bool> = Vec::with_capacity(all.ops.len());
    for op in &all.ops {
        let of = |source: &Source, wanted: &[bool]| match *source {
            Source::Op(op) => wanted[op],
            Source::Input(input) => wants.inputs && matches!(low.inputs.get(input), Some(Some(HostInput::Features(_)))),
        };
        let weighs = match op.kind {
            OpKind::Gather { .. } | OpKind::Linear { .. } | OpKind::Recurrent(_) | OpKind::Diagonal(_) => true,
            OpKind::OneHot
            | OpKind::Blank(_)
            | OpKind::Merge(_)
            | OpKind::Drop(_)
            | OpKind::Rowwise { .. }
            | OpKind::LastStep
            | OpKind::Final(_)
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Pieces(_)
            | OpKind::Sample => false,
        };
        let any = weighs || op.from.iter().any(|source| of(source, &wanted));
        wanted.push(any);
    }
    wanted
}

impl Back<'_, '_> {
    /// The way back through operation `index`, if a gradient has come to what it gives.
    fn operation(&mut self, index: usize) -> Result<()> {
        let stages = self.stages;
        let stage = &stages[index];
        if let Work::Recurrent { r, states, begin, .. } = &stage.work {
            return self.recurrent(index, (r, states, stage.result), begin);
        }
        let Some(delta) = self.come(Given::Op(index)) else { return Ok(()) };
        let time = stage.time(self.low.shape);
        match &stage.work {
            Work::Gather { buffer, .. } => self.gather(stage, *buffer, delta),
            Work::OneHot { .. } | Work::Sample { .. } => Ok(()),
            Work::Linear { matrix, source, .. } => self.linear(stage, (*matrix, *source), delta, time),
            Work::Rowwise { activation, source } => self.rowwise(stage, *activation, *source, delta, time),
            Work::Blank { shows, .. } => self.blank(stage, *shows, delta, time),
            Work::Merge { combine, source } => self.merge(stage, *combine, *source, delta, time),
            Work::Drop { drop, draws, .. } => self.dropped(stage, (*drop, *draws), delta, time),
            Work::Join { join, values } => self.join(stage, *join, values, delta, time),
            Work::Slice { slice, .. } => self.slice(stage, *slice, delta, time),
            Work::Pieces(pieces) => self.pieces(stage, pieces, delta),
            Work::View => self.view(stage, delta),
            Work::Recurrent { .. } | Work::Diagonal { .. } => {
                Err(Error::internal("the way back: expected the layers of a run apart"))
            }
        }
    }

    /// The gradient of `given`, where anything has been added to it.
    fn come(&self, given: Given) -> Option<Sequence> {
        self.held.get(&given).filter(|held| held.begun).map(|held| held.sequence)
    }

    /// What has the gradient of `source`, if anything wants it.
    fn given(&self, source: Source) -> Option<Given> {
        match source {
            Source::Op(op) => self.wanted[op].then_some(Given::Op(op)),
            Source::Input(input) => {
                let features = matches!(self.low.inputs.get(input), Some(Some(HostInput::Features(_))));
                (self.wants.inputs && features).then_some(Given::Input(input))
            }
        }
    }

    /// Where the gradient of `given` is, made where there is none yet.
    fn held(&mut self, given: Given) -> Result<Held> {
        if let Some(&held) = self.held.get(&given) {
            return Ok(held);
        }
        let (name, axis, features) = match given {
            Given::Op(op) => {
                let op = self.stages[op].op;
                (format!("{}.gradient", op.layer), op.axis, op.features)
            }
            Given::Input(input) => match self.low.inputs.get(input) {
                Some(Some(HostInput::Features(sequence))) => {
                    (format!("input.{input}.gradient"), sequence.axis, sequence.features)
                }
                _ => return Err(Error::internal(format!("input {input}: expected features"))),
            },
            Given::FinalCell(op) => {
                let op = self.stages[op].op;
                let r = op.recurrence().ok_or_else(|| Error::internal("a cell state: expected a recurrent layer"))?;
                let features = Features { parts: r.directions, size: r.hidden_size };
                (format!("{}.cell.gradient", op.layer), Axis::Rows, features)
            }
        };
        let rows = axis.time(self.low.shape);
        let slot = self.low.slot(name, SlotKind::Scratch, &[rows, self.low.shape.batch, depth(features)]);
        let held = Held { sequence: Sequence { slot, first: 0, features, axis, span: Span::Whole }, begun: false };
        self.held.insert(given, held);
        Ok(held)
    }

    /// Where something is to be added to the gradient of `given`, and whether it is the first, which is to be set: where it
    /// reaches `all` elements. Where it does not, and is the first, zeros are set before.
    fn begin(&mut self, given: Given, all: bool) -> Result<(Sequence, bool)> {
        let Held { sequence, begun } = self.held(given)?;
        if !begun && !all {
            self.zero(sequence)?;
        }
        self.held.insert(given, Held { sequence, begun: true });
        Ok((sequence, !begun && all))
    }

    /// Adds `source` to the gradient of `given`, all of it.
    fn add_all(&mut self, given: Given, source: Sequence, combine: JoinOp, time: usize) -> Result<()> {
        let (target, first) = self.begin(given, true)?;
        for chunk in self.chunks(time) {
            let combine = if first && combine == JoinOp::Add { JoinOp::Set } else { combine };
            let part = Part { combine, taken: [0, source.features.len()], offset: 0, scale: 1.0 };
            self.low.join_part(&part, first, source, target, chunk)?;
        }
        Ok(())
    }

    /// The chunks of `time` steps, the last one first.
    fn chunks(&self, time: usize) -> Vec<Chunk> {
        let mut chunks = self.low.chunks(time);
        chunks.reverse();
        chunks
    }

    /// A slot of one chunk for a moment: whoever asks for it by the same name takes turns.
    fn scratch(&mut self, name: &str, axis: Axis, features: Features) -> Sequence {
        let rows = match axis {
            Axis::Steps(_) => self.low.chunk,
            Axis::Rows => 1,
        };
        let slot =
            self.handed(&format!("{name}.{rows}.{}", depth(features)), &[rows, self.low.shape.batch, depth(features)]);
        let span = if axis == Axis::Rows { Span::Whole } else { Span::Chunk };
        Sequence { slot, first: 0, features, axis, span }
    }

    /// A slot of `dims` that is shared by all who ask for it by `name`.
    fn handed(&mut self, name: &str, dims: &[usize]) -> SlotId {
        if let Some(&slot) = self.scratch.get(name) {
            return slot;
        }
        let slot = self.low.slot(name, SlotKind::Scratch, dims);
        self.scratch.insert(name.to_owned(), slot);
        slot
    }

    /// Zeros in all of a gradient.
    fn zero(&mut self, sequence: Sequence) -> Result<()> {
        let time = sequence.axis.time(self.low.shape);
        for chunk in self.chunks(time) {
            let row = self.low.row_of(sequence, chunk, 0);
            let (window, base) = self.low.rows(sequence, row, chunk.len);
            let first = (row - base) * self.low.shape.batch;
            let rows = first..first + chunk.len * self.low.shape.batch;
            self.zero_rows(window, rows, depth(sequence.features))?;
        }
        Ok(())
    }

    /// Zeros in `rows` rows of `width` elements of a window.
    fn zero_rows(&mut self, window: Window, rows: Range<usize>, width: usize) -> Result<()> {
        for (row, count) in self.low.pieces(rows.len(), 1) {
            let params =
                Params { rows: word(count), units: word(width), target_0: word(rows.start + row), ..Params::default() };
            let windows = [(Role::Result, Some(window))];
            self.low.dispatch(Program::Training(Training::Zero), params, [lanes(width), count, 1], &windows)?;
        }
        Ok(())
    }

    /// What the host reads: losses are read where they are found.
    fn read(&mut self) -> Result<()> {
        for buffer in 0..self.low.layout.buffers.len() {
            self.finish_weights(buffer)?;
        }
        if self.wants.inputs {
            for input in 0..self.low.inputs.len() {
                if !matches!(self.low.inputs[input], Some(HostInput::Features(_))) {
                    continue;
                }
                let Held { sequence, begun } = self.held(Given::Input(input))?;
                if !begun {
                    self.zero(sequence)?;
                }
                self.low.read(Fetch::Input(input), sequence.slot, 0, sequence.axis.time(self.low.shape));
            }
        }
        Ok(())
    }

    /// The way back through a view: of the last step, or of a final state.
    fn view(&mut self, stage: &Stage<'_>, delta: Sequence) -> Result<()> {
        let Some(&source) = stage.op.from.first() else { return Ok(()) };
        let Some(given) = self.given(source) else { return Ok(()) };
        match (&stage.op.kind, source) {
            (OpKind::Final(state), Source::Op(op)) => self.add_final(op, *state, delta),
            _ => {
                let (target, _) = self.begin(given, false)?;
                let last = target.axis.time(self.low.shape) - 1;
                self.add_row(delta, Sequence { first: target.first + last, axis: Axis::Rows, ..target }, None)
            }
        }
    }

    /// Adds `delta`, a row of the batch, to the gradient of a final state of the layer that operation `op` is.
    fn add_final(&mut self, op: usize, state: State, delta: Sequence) -> Result<()> {
        if state == State::Cell {
            return self.add_all(Given::FinalCell(op), delta, JoinOp::Add, 1);
        }
        let stage = &self.stages[op];
        let (target, _) = self.begin(Given::Op(op), false)?;
        let Some(r) = stage.op.recurrence() else {
            return Err(Error::internal("a final state: expected a recurrent layer"));
        };
        let time = self.low.shape.steps(r.clock).time;
        for direction in 0..r.directions {
            let first = r.walks[direction].last_row(time);
            let row = Sequence { first, axis: Axis::Rows, ..target };
            self.add_row(delta, row, Some(direction))?;
        }
        Ok(())
    }

    /// Adds one row of the batch to another, all of it or one direction's part.
    fn add_row(&mut self, source: Sequence, target: Sequence, direction: Option<usize>) -> Result<()> {
        let size = source.features.size;
        let taken = direction.map_or([0, source.features.len()], |d| [d * size, size]);
        let part = Part { combine: JoinOp::Add, taken, offset: taken[0], scale: 1.0 };
        let chunk = Chunk { index: 0, at: 0, start: 0, len: 1 };
        self.low.join_part(&part, false, source, target, chunk)
    }
}
