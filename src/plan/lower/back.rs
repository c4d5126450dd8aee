//! The backward pass: losses, then each operation in reverse order.
//!
//! Every value that depends on a weight has a gradient, in a slot like its own. Each consumer of the value adds
//! to it. The gradient is complete when the backward pass reaches the value's operation, since all consumers come
//! after it. This file has the order, and decides who adds to what. `recurrent` (with `chunk`), `rows` and `join`
//! have the operations, as `emit` has them forward. `loss` has the begin of gradients, and `weights` the end.

mod across;
mod attention;
mod chunk;
mod convolve;
mod copies;
mod join;
mod loss;
mod normalize;
mod recurrent;
mod rows;
mod separate;
mod steps;
mod sums;
mod weights;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::dispatch::{lanes, word};
use super::groups::groups;
use super::join::Part;
use super::ops::{Axis, Begin, Normalize, OpKind, Ops, Sequence, Source, Span};
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
enum GradientOf {
    /// The result of an operation.
    Op(usize),
    /// An input of the model.
    Input(usize),
    /// The final cell state of the recurrent layer with this operation index.
    FinalCell(usize),
}

/// Where a gradient is, and whether anything has been added to it yet.
#[derive(Clone, Copy)]
struct Gradient {
    sequence: Sequence,
    begun: bool,
}

/// A plan's backward pass while it is written.
struct Back<'p, 'l> {
    low: &'p mut Lowering<'l>,
    stages: &'p [Stage<'p>],
    /// Whether each operation's gradient is wanted: for a weight, an input or an initial state before it.
    wanted: Vec<bool>,
    wants: &'p Gradients,
    gradients: HashMap<GradientOf, Gradient>,
    /// The gradients of packed buffers, and which of their matrices have been written to.
    weights: HashMap<usize, (SlotId, Vec<bool>)>,
    /// The matrices whose peepholes have been written to.
    peepholes: HashSet<(usize, usize)>,
    /// Transposed matrices, by packed buffer, and whether each gate is transposed by itself.
    transposed: HashMap<(usize, bool), SlotId>,
    /// Scratch slots by name.
    scratch: HashMap<String, SlotId>,
    /// The sums that are kept for an update.
    sums: Option<SlotId>,
}

impl Lowering<'_> {
    /// Emits the call, its losses, and the backward pass.
    pub(super) fn gradients(&mut self, all: &Ops, wants: &Gradients, losses: &[Source]) -> Result<()> {
        let all_groups = groups(&all.ops, self.shape);
        let stages = self.stages(all, &all_groups)?;
        self.fits(&stages)?;
        let needed = needed_by(all, losses);
        self.forward(&stages, &all_groups, |op| needed[op])?;
        // Nothing reads what no consumer takes.
        if !wants.finals {
            self.plan.reads.clear();
        }
        let wanted = wanted(all, wants, self);
        let mut back = Back {
            low: self,
            stages: &stages,
            wanted,
            wants,
            gradients: HashMap::new(),
            weights: HashMap::new(),
            peepholes: HashSet::new(),
            transposed: HashMap::new(),
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

/// Returns which operations a loss needs.
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

/// Returns whether the gradient of each operation is wanted.
fn wanted(all: &Ops, wants: &Gradients, low: &Lowering<'_>) -> Vec<bool> {
    let mut wanted: Vec<bool> = Vec::with_capacity(all.ops.len());
    for op in &all.ops {
        let of = |source: &Source, wanted: &[bool]| match *source {
            Source::Op(op) => wanted[op],
            Source::Input(input) => wants.inputs && matches!(low.inputs.get(input), Some(Some(HostInput::Features(_)))),
        };
        let weighs = match op.kind {
            OpKind::Gather { .. }
            | OpKind::Linear { .. }
            | OpKind::Convolve { .. }
            | OpKind::Recurrent(_)
            | OpKind::Wavefront(_) => true,
            OpKind::Normalize(Normalize { buffer, .. }) => {
                [normalize::WEIGHT, normalize::BIAS].into_iter().any(|row| normalize::is_trained(low, buffer, row))
            }
            OpKind::OneHot
            | OpKind::MaskOutputs(_)
            | OpKind::Merge(_)
            | OpKind::Drop(_)
            | OpKind::Rowwise { .. }
            | OpKind::LastStep
            | OpKind::Final(_)
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Pieces(_)
            | OpKind::Across(_)
            | OpKind::Sample => false,
            OpKind::Attention(attending) => attending.weight.is_some(),
        };
        let any = weighs || op.from.iter().any(|source| of(source, &wanted));
        wanted.push(any);
    }
    wanted
}

impl Back<'_, '_> {
    /// Emits the backward pass of operation `index`, if its result has a gradient.
    fn operation(&mut self, index: usize) -> Result<()> {
        let stages = self.stages;
        let stage = &stages[index];
        if let Work::Recurrent { r, states, begin, .. } = &stage.work {
            return self.recurrent(index, (r, states, stage.result), begin);
        }
        let Some(delta) = self.come(GradientOf::Op(index)) else { return Ok(()) };
        let time = stage.time(self.low.shape);
        match &stage.work {
            Work::Gather { buffer, .. } => self.gather(stage, *buffer, delta),
            Work::OneHot { .. } | Work::Sample { .. } => Ok(()),
            Work::Linear { matrix, source, .. } => self.linear(stage, (*matrix, *source), delta, time),
            Work::Convolve { conv, source, .. } => self.convolve(stage, conv, *source, delta, time),
            Work::Rowwise { activation, source } => self.rowwise(stage, *activation, *source, delta, time),
            Work::Normalize { of, source } => self.normalize(stage, *of, *source, delta, time),
            Work::MaskOutputs { visible, .. } => self.mask_outputs(stage, *visible, delta, time),
            Work::Merge { combine, source } => self.merge(stage, *combine, *source, delta, time),
            Work::Drop { drop, draws, .. } => self.dropped(stage, (*drop, *draws), delta, time),
            Work::Join { join, values } => self.join(stage, *join, values, delta, time),
            Work::Slice { slice, .. } => self.slice(stage, *slice, delta, time),
            Work::Pieces(pieces) => self.pieces(stage, pieces, delta),
            Work::Across(taking) => self.across(stage, *taking, delta, time),
            Work::Attention(attended) => self.attention(stage, attended, delta, time),
            Work::View => self.view(stage, delta),
            Work::Recurrent { .. } | Work::Wavefront { .. } => {
                Err(Error::internal("the way back: expected the layers of a run apart"))
            }
        }
    }

    /// Returns the gradient of `given`, if anything has been added to it.
    fn come(&self, given: GradientOf) -> Option<Sequence> {
        self.gradients.get(&given).filter(|gradient| gradient.begun).map(|gradient| gradient.sequence)
    }

    /// Returns what has the gradient of `source`, if it is wanted.
    fn given(&self, source: Source) -> Option<GradientOf> {
        match source {
            Source::Op(op) => self.wanted[op].then_some(GradientOf::Op(op)),
            Source::Input(input) => {
                let features = matches!(self.low.inputs.get(input), Some(Some(HostInput::Features(_))));
                (self.wants.inputs && features).then_some(GradientOf::Input(input))
            }
        }
    }

    /// Returns where the gradient of `given` is, and makes it if there is none yet.
    fn gradient(&mut self, given: GradientOf) -> Result<Gradient> {
        if let Some(&gradient) = self.gradients.get(&given) {
            return Ok(gradient);
        }
        let (name, axis, features) = match given {
            GradientOf::Op(op) => {
                let op = self.stages[op].op;
                (format!("{}.gradient", op.layer), op.axis, op.features)
            }
            GradientOf::Input(input) => match self.low.inputs.get(input) {
                Some(Some(HostInput::Features(sequence))) => {
                    (format!("input.{input}.gradient"), sequence.axis, sequence.features)
                }
                _ => return Err(Error::internal(format!("input {input}: expected features"))),
            },
            GradientOf::FinalCell(op) => {
                let op = self.stages[op].op;
                let r = op.recurrence().ok_or_else(|| Error::internal("a cell state: expected a recurrent layer"))?;
                let features = Features { parts: r.directions, size: r.hidden_size };
                (format!("{}.cell.gradient", op.layer), Axis::Rows, features)
            }
        };
        let rows = axis.time(self.low.shape);
        let slot = self.low.slot(name, SlotKind::Scratch, &[rows, self.low.shape.batch, depth(features)]);
        let gradient =
            Gradient { sequence: Sequence { slot, first: 0, features, axis, span: Span::Whole }, begun: false };
        self.gradients.insert(given, gradient);
        Ok(gradient)
    }

    /// Returns where to add to the gradient of `given`, and whether to set it instead. It is set by
    /// the first addition if that reaches `all` elements. If that does not, zeros are written before.
    fn begin(&mut self, given: GradientOf, all: bool) -> Result<(Sequence, bool)> {
        let Gradient { sequence, begun } = self.gradient(given)?;
        if !begun && !all {
            self.zero(sequence)?;
        }
        self.gradients.insert(given, Gradient { sequence, begun: true });
        Ok((sequence, !begun && all))
    }

    /// Adds all of `source` to the gradient of `given`.
    fn add_all(&mut self, given: GradientOf, source: Sequence, combine: JoinOp, time: usize) -> Result<()> {
        let (target, first) = self.begin(given, true)?;
        for chunk in self.chunks(time) {
            let combine = if first && combine == JoinOp::Add { JoinOp::Set } else { combine };
            let part = Part { combine, taken: [0, source.features.len()], offset: 0, scale: 1.0 };
            self.low.join_part(&part, first, source, target, chunk)?;
        }
        Ok(())
    }

    /// Returns the chunks of `time` steps, the last one first.
    fn chunks(&self, time: usize) -> Vec<Chunk> {
        let mut chunks = self.low.chunks(time);
        chunks.reverse();
        chunks
    }

    /// Returns a slot of one chunk for short use. All requests of one name share it.
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

    /// Returns a slot of `dims`. All requests of one name share it.
    fn handed(&mut self, name: &str, dims: &[usize]) -> SlotId {
        if let Some(&slot) = self.scratch.get(name) {
            return slot;
        }
        let slot = self.low.slot(name, SlotKind::Scratch, dims);
        self.scratch.insert(name.to_owned(), slot);
        slot
    }

    /// Writes zeros to all of a gradient.
    fn zero(&mut self, sequence: Sequence) -> Result<()> {
        let time = sequence.axis.time(self.low.shape);
        for chunk in self.chunks(time) {
            let (window, first) = self.low.rows_of_chunk(sequence, chunk);
            let rows = first..first + chunk.len * self.low.shape.batch;
            self.zero_rows(window, rows, depth(sequence.features))?;
        }
        Ok(())
    }

    /// Writes zeros to `rows` rows of `width` elements of a window.
    fn zero_rows(&mut self, window: Window, rows: Range<usize>, width: usize) -> Result<()> {
        for (row, count) in self.low.pieces(rows.len(), 1) {
            let params =
                Params { rows: word(count), units: word(width), target_0: word(rows.start + row), ..Params::default() };
            let windows = [(Role::Result, Some(window))];
            self.low.dispatch(Program::Training(Training::Zero), params, [lanes(width), count, 1], &windows)?;
        }
        Ok(())
    }

    /// Adds the host's reads, except those of losses, which `loss` adds.
    fn read(&mut self) -> Result<()> {
        for buffer in 0..self.low.layout.buffers.len() {
            self.finish_weights(buffer)?;
        }
        if self.wants.inputs {
            for input in 0..self.low.inputs.len() {
                if !matches!(self.low.inputs[input], Some(HostInput::Features(_))) {
                    continue;
                }
                let Gradient { sequence, begun } = self.gradient(GradientOf::Input(input))?;
                if !begun {
                    self.zero(sequence)?;
                }
                self.low.read(Fetch::Input(input), sequence.slot, 0, sequence.axis.time(self.low.shape));
            }
        }
        Ok(())
    }

    /// Emits the backward pass of a view: of the last step, or of a final state.
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

    /// Adds `delta`, a row of the batch, to the gradient of a final state of the layer with operation index `op`.
    fn add_final(&mut self, op: usize, state: State, delta: Sequence) -> Result<()> {
        if state == State::Cell {
            return self.add_all(GradientOf::FinalCell(op), delta, JoinOp::Add, 1);
        }
        let stage = &self.stages[op];
        let (target, _) = self.begin(GradientOf::Op(op), false)?;
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

    /// Adds one row of the batch to another: all of it, or one direction's part.
    fn add_row(&mut self, source: Sequence, target: Sequence, direction: Option<usize>) -> Result<()> {
        let size = source.features.size;
        let taken = direction.map_or([0, source.features.len()], |d| [d * size, size]);
        let part = Part { combine: JoinOp::Add, taken, offset: taken[0], scale: 1.0 };
        let chunk = Chunk { index: 0, at: 0, start: 0, len: 1 };
        self.low.join_part(&part, false, source, target, chunk)
    }
}
