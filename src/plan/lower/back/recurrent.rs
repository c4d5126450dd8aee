//! The backward pass of a recurrent layer, chunk by chunk of its walk, the last step first.
//!
//! A step back leaves δ of its gates, and hands gradients of its states to the timestep before. `steps` has
//! the layers whose step back is one dispatch, and `separate` the others. When a chunk is done, its gradients
//! of matrices and of the layer's input are products over all of its rows. `chunk` has these products.

use std::ops::Range;

use super::{Back, GradientOf};
use crate::error::Result;
use crate::kernel::JoinOp;
use crate::layout::depth;
use crate::model::{Features, State};
use crate::plan::lower::Chunk;
use crate::plan::lower::dispatch::pair;
use crate::plan::lower::join::Part;
use crate::plan::lower::needed;
use crate::plan::lower::ops::{Axis, Begin, Recurrence, Sequence, Span};
use crate::plan::lower::stage::States;
use crate::plan::lower::walk::{Side, Walk};
use crate::plan::{Fetch, SlotId, SlotKind, Window};

/// A recurrent layer, and the slots of its backward pass.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) r: &'a Recurrence,
    pub(super) states: &'a States,
    pub(super) hidden: Sequence,
    /// The gradient of the layer's outputs.
    pub(super) delta: Sequence,
    /// δ of the gates, `[D][C][B][P][G][16]`.
    pub(super) gates: SlotId,
    /// δ of a GRU's recurrent product in the same form, with two gates if the reset comes before the product.
    pub(super) recurrent: Option<SlotId>,
    /// What each step hands to the timestep before.
    pub(super) handed: Handed,
    /// For a GRU with the reset before the product: the other input of the new gate, `r ∘ h`, and its gradient.
    pub(super) new: Option<[SlotId; 3]>,
    /// For a projection: the gradient of its result by step, its input by step, and the input's gradient at the current
    /// step.
    pub(super) projected: Option<[SlotId; 3]>,
}

/// The gradients that each step hands to the timestep before.
#[derive(Clone, Copy)]
pub(super) enum Handed {
    /// Gradients of the hidden and the cell state, in two rows of
    /// one slot, `[2][B][D · H]`. The steps multiply δ themselves.
    Past(SlotId),
    /// Each in its own slot, `[D][B][units]`.
    Separate(Separate),
}

/// The gradient through the product, the one that bypasses it, and that of the cell state.
#[derive(Clone, Copy)]
pub(super) struct Separate {
    pub(super) product: SlotId,
    pub(super) direct: SlotId,
    pub(super) carry: Option<SlotId>,
}

impl Way<'_> {
    /// Returns the padded units of a direction's state.
    pub(super) fn state_units(&self) -> usize {
        depth(self.hidden.features) / self.r.directions
    }

    /// Returns where the gradients of a direction's state of `size` features are, with the first feature in each.
    fn handed(&self, of: State, direction: usize, size: usize) -> Vec<(Sequence, usize)> {
        match (self.handed, of) {
            (Handed::Past(slot), _) => {
                let features = Features { parts: self.r.directions, size };
                let first = usize::from(of == State::Cell);
                vec![(Sequence { slot, first, features, axis: Axis::Rows, span: Span::Whole }, direction * size)]
            }
            (Handed::Separate(Separate { product, direct, .. }), State::Hidden) => {
                [product, direct].map(|slot| (handed_row(slot, direction, size), 0)).to_vec()
            }
            (Handed::Separate(Separate { carry, .. }), State::Cell) => {
                carry.map(|slot| (handed_row(slot, direction, size), 0)).into_iter().collect()
            }
        }
    }
}

impl Walk {
    /// Returns the row of the hidden state before the first, in time, of steps
    /// `start .. start + len` of the walk. `first` is the row of the first output.
    fn first_before(self, start: usize, len: usize, first: usize, time: usize) -> usize {
        match self {
            Self::Forward | Self::Backwards => first + start - 1,
            Self::Reverse => first + time - start - len + 1,
        }
    }
}

impl Back<'_, '_> {
    /// Emits the backward pass of the layer with operation index `index`.
    pub(super) fn recurrent(
        &mut self,
        index: usize,
        (r, states, hidden): (&Recurrence, &States, Sequence),
        begin: &[Option<Sequence>; 2],
    ) -> Result<()> {
        let of_cells = self.come(GradientOf::FinalCell(index));
        if self.come(GradientOf::Op(index)).is_none() && of_cells.is_none() {
            return Ok(());
        }
        // If no consumer takes the outputs, their gradients are zeros.
        let (delta, _) = self.begin(GradientOf::Op(index), false)?;
        let way = self.way(r, states, hidden, delta);
        let slots = match way.handed {
            Handed::Past(slot) => vec![slot],
            Handed::Separate(Separate { product, direct, carry }) => {
                [product, direct].into_iter().chain(carry).collect()
            }
        };
        for slot in slots {
            let dims = self.low.plan.slots[slot].dims.clone();
            self.zero_rows(self.low.whole(slot), 0..dims[0] * dims[1], dims[2])?;
        }
        if r.steps_back() {
            self.zero_behind(&way)?;
        }
        if states.copies.is_some() && r.steps_back() {
            self.zero_nothing(&way)?;
        }
        if let Some(cells) = of_cells {
            self.hand_cells(&way, cells)?;
        }
        let stages = self.stages;
        let from = &stages[index].op.from;
        let sources = [from.first(), from.get(1)].map(|source| source.and_then(|&source| self.given(source)));
        let of_each = from.len() > 1;
        let chunks = self.chunks(self.low.shape.steps(r.clock).time);
        // The directions of a chunk are at different steps, unless it is the only chunk. Then the first direction
        // sets the gradient, and the other adds to it. If each direction has its own value, nothing is added.
        let at_once = chunks.len() == 1 || r.directions == 1 || of_each;
        let mut targets = [None; 2];
        for (target, given) in targets.iter_mut().zip(sources) {
            *target = given.map(|given| self.begin(given, at_once)).transpose()?;
        }
        let begins = self.wants.states || r.begin.iter().any(Option::is_some);
        for (done, &chunk) in chunks.iter().enumerate() {
            if r.steps_back() {
                self.steps_of_chunk(&way, chunk, begins || done + 1 < chunks.len())?;
            } else {
                self.gates_again(&way, chunk)?;
                for step in (0..chunk.len).rev() {
                    self.step_separate(&way, chunk, step)?;
                }
            }
            for direction in 0..r.directions {
                self.gradients_of_chunk(&way, chunk, direction)?;
                let own = if of_each { direction } else { 0 };
                if let Some((target, first)) = targets[own] {
                    self.input_of_chunk(&way, chunk, direction, (target, first && direction == own))?;
                }
            }
        }
        self.initial(&way, begin)
    }

    fn way<'a>(&mut self, r: &'a Recurrence, states: &'a States, hidden: Sequence, delta: Sequence) -> Way<'a> {
        if r.steps_back() {
            self.way_by_steps(r, states, hidden, delta)
        } else {
            self.way_separate(r, states, hidden, delta)
        }
    }

    /// Hands the gradient of the final cell states to the last step.
    fn hand_cells(&mut self, way: &Way<'_>, cells: Sequence) -> Result<()> {
        let size = way.r.hidden_size;
        for direction in 0..way.r.directions {
            for (target, offset) in way.handed(State::Cell, direction, size) {
                let part = Part { combine: JoinOp::Set, taken: [direction * size, size], offset, scale: 1.0 };
                self.low.join_part(&part, false, cells, target, ONE)?;
            }
        }
        Ok(())
    }

    /// Returns the sides of a layer's steps back. Both directions go at once
    /// if one binding reaches the rows of both, and one program computes both.
    pub(super) fn sides(&self, way: &Way<'_>) -> &'static [Side] {
        let Way { r, states, hidden, delta, .. } = *way;
        let bound: Vec<SlotId> =
            [hidden.slot, delta.slot].into_iter().chain(states.cell_state).chain(states.scratch).collect();
        Side::of(r.directions, self.low.fit_whole(&bound) && r.variants[0] == r.variants[1])
    }

    /// Returns the gradient of the outputs at steps `indices` of the walk, each at its own
    /// step in time. It is a window, and each direction's row of the last of these steps.
    pub(super) fn above(&self, way: &Way<'_>, indices: Range<usize>, side: Side) -> (Window, (u32, u32)) {
        let Way { r, delta, .. } = *way;
        let time = self.low.shape.steps(r.clock).time;
        let lowest = r.walks[side.first].first_step(indices.start, indices.len(), time);
        let (window, base) = match side.count {
            2 => (self.low.whole(delta.slot), 0),
            _ => self.low.rows(delta, lowest, indices.len()),
        };
        (window, pair(side.first, side.count, |d| r.walks[d].step(indices.end - 1, time) - base))
    }

    /// Returns the rows of the hidden state before each step of a
    /// chunk, ascending in time: their window, and the first row in it.
    pub(super) fn before(&self, way: &Way<'_>, chunk: Chunk, direction: usize) -> (Window, usize) {
        let time = self.low.shape.steps(way.r.clock).time;
        let row = way.r.walks[direction].first_before(chunk.start, chunk.len, way.hidden.first, time);
        let (window, base) = self.low.rows(way.hidden, row, chunk.len);
        (window, (row - base) * self.low.shape.batch)
    }

    /// Emits what the first step hands back: the gradients of the initial states.
    fn initial(&mut self, way: &Way<'_>, begin: &[Option<Sequence>; 2]) -> Result<()> {
        let Way { r, .. } = *way;
        let (state, stacked) = (r.stack, r.stacked);
        let size = way.hidden.features.size;
        for (which, size) in [(State::Hidden, size), (State::Cell, r.hidden_size)] {
            if which == State::Cell && r.cell.states() < 2 {
                continue;
            }
            let index = usize::from(which == State::Cell);
            let fetch = match which {
                State::Hidden => Fetch::InitialHidden { stack: state, layer: stacked },
                State::Cell => Fetch::InitialCell { stack: state, layer: stacked },
            };
            match (r.begin[index], begin[index]) {
                (Some(Begin::Row(source)), _) => {
                    let Some(given) = self.given(source) else { continue };
                    let (target, _) = self.begin(given, false)?;
                    let row = Sequence { axis: Axis::Rows, ..target };
                    for direction in 0..r.directions {
                        self.add_handed(way, which, (direction, size), row, direction * size)?;
                    }
                }
                (Some(Begin::Final(op, State::Cell)), _) => {
                    let (target, _) = self.begin(GradientOf::FinalCell(op), false)?;
                    for direction in 0..r.directions {
                        self.add_handed(way, which, (direction, size), target, direction * size)?;
                    }
                }
                (Some(Begin::Final(op, State::Hidden)), _) => {
                    let (target, _) = self.begin(GradientOf::Op(op), false)?;
                    let from = self.stages[op].op.recurrence();
                    let from = needed(from, "a layer whose final state begins another")?;
                    let time = self.low.shape.steps(from.clock).time;
                    for direction in 0..r.directions {
                        let first = from.walks[direction].last_row(time);
                        let row = Sequence { first, axis: Axis::Rows, ..target };
                        self.add_handed(way, which, (direction, size), row, direction * size)?;
                    }
                }
                (None, _) if self.wants.states => {
                    let features = Features { parts: r.directions, size };
                    let name = format!("{fetch}").replace(' ', ".");
                    let dims = [1, self.low.shape.batch, depth(features)];
                    let slot = self.low.slot(name, SlotKind::Scratch, &dims);
                    let target = Sequence { slot, first: 0, features, axis: Axis::Rows, span: Span::Whole };
                    self.zero(target)?;
                    for direction in 0..r.directions {
                        self.add_handed(way, which, (direction, size), target, direction * size)?;
                    }
                    self.low.read(fetch, slot, 0, 1);
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Adds the gradients of a direction's state to the features of a row from `offset` on.
    fn add_handed(
        &mut self,
        way: &Way<'_>,
        which: State,
        (direction, size): (usize, usize),
        target: Sequence,
        offset: usize,
    ) -> Result<()> {
        for (source, first) in way.handed(which, direction, size) {
            let part = Part { combine: JoinOp::Add, taken: [first, size], offset, scale: 1.0 };
            self.low.join_part(&part, false, source, target, ONE)?;
        }
        Ok(())
    }
}

/// The single row of a value without a time axis.
const ONE: Chunk = Chunk { index: 0, at: 0, start: 0, len: 1 };

/// Returns a direction's row of a slot `[D][B][units]`.
fn handed_row(slot: SlotId, direction: usize, size: usize) -> Sequence {
    let features = Features { parts: 1, size };
    Sequence { slot, first: direction, features, axis: Axis::Rows, span: Span::Whole }
}
