//! The way back through a recurrent layer, chunk by chunk of its walk, the last step first.
//!
//! What went into the gates is computed once more, for all steps of a chunk at once: the states before each of them are
//! there. So forward keeps states alone, and gates need memory for one chunk. Then a step back is the cell's way back, which
//! leaves δ of the gates in their place, and a product of δ with the recurrent matrix turned, for the step before. When a
//! chunk is done its gradients of the matrices, and that of the layer's input, are products over all of its rows: `chunk` has
//! them.

use super::{Back, Given};
use crate::cell::{Activation, Cell, Peepholes, Reset};
use crate::error::{Error, Result};
use crate::kernel::{CellBack, JoinOp, Mask, Matrix, Params, Program, Role, StateKind, Storage, Training};
use crate::layout::{Place, depth};
use crate::model::{Features, State};
use crate::plan::lower::Chunk;
use crate::plan::lower::dispatch::{HoistedProduct, lanes, pair, word};
use crate::plan::lower::join::Part;
use crate::plan::lower::needed;
use crate::plan::lower::ops::{Axis, Begin, Recurrence, Sequence, Span};
use crate::plan::lower::recurrent::Layer;
use crate::plan::lower::stage::States;
use crate::plan::lower::walk::{Side, Walk};
use crate::plan::tune::Product;
use crate::plan::{Fetch, SlotId, SlotKind, Window};

/// A recurrent layer, and the slots of its way back.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) r: &'a Recurrence,
    pub(super) states: &'a States,
    pub(super) hidden: Sequence,
    /// The gradient of what it gives.
    pub(super) delta: Sequence,
    /// What the step after hands back through its product, `[D][B][S]`.
    pub(super) product: SlotId,
    /// What goes past the products, `[D][B][S]`.
    pub(super) direct: Option<SlotId>,
    /// The gradient of the cell state, `[D][B][H]`.
    pub(super) carry: Option<SlotId>,
    /// A GRU's recurrent product, and its gradient.
    pub(super) recurrent: Option<SlotId>,
    /// Of a GRU with the reset before the product: what goes into the new gate besides, `r ∘ h`, and its gradient.
    pub(super) new: Option<[SlotId; 3]>,
    /// Of a projection: the gradient of its result, and what went into it, by step; and the gradient of that at the step.
    pub(super) projected: Option<[SlotId; 3]>,
}

impl Way<'_> {
    /// Padded units of a direction's state.
    pub(super) fn state_units(&self) -> usize {
        depth(self.hidden.features) / self.r.directions
    }
}

impl Walk {
    /// The row of the hidden state before the first, in time, of the steps `start .. start + len` of the walk, where `first`
    /// is the row of the first output.
    fn first_before(self, start: usize, len: usize, first: usize, time: usize) -> usize {
        match self {
            Self::Forward | Self::Backwards => first + start - 1,
            Self::Reverse => first + time - start - len + 1,
        }
    }
}

impl Back<'_, '_> {
    /// The way back through the layer that operation `index` is.
    pub(super) fn recurrent(
        &mut self,
        index: usize,
        (r, states, hidden): (&Recurrence, &States, Sequence),
        begin: &[Option<Sequence>; 2],
    ) -> Result<()> {
        let of_cells = self.come(Given::FinalCell(index));
        if self.come(Given::Op(index)).is_none() && of_cells.is_none() {
            return Ok(());
        }
        // Where nothing takes the outputs, their gradients are zeros.
        let (delta, _) = self.begin(Given::Op(index), false)?;
        let way = self.way(r, states, hidden, delta);
        for slot in [Some(way.product), way.direct, way.carry].into_iter().flatten() {
            let dims = self.low.plan.slots[slot].dims.clone();
            self.zero_rows(self.low.whole(slot), 0..dims[0] * dims[1], dims[2])?;
        }
        if let Some(cells) = of_cells {
            self.hand_cells(&way, cells)?;
        }
        let source = self.stages[index].op.from.first().and_then(|&source| self.given(source));
        let chunks = self.chunks(self.low.shape.steps(r.clock).time);
        // The directions of a chunk are at other steps, unless it is the only one: then the first sets what the other adds to.
        let at_once = chunks.len() == 1 || r.directions == 1;
        let target = source.map(|given| self.begin(given, at_once)).transpose()?;
        for chunk in chunks {
            self.gates_again(&way, chunk)?;
            for step in (0..chunk.len).rev() {
                self.step_back(&way, chunk, step)?;
            }
            for direction in 0..r.directions {
                self.gradients_of_chunk(&way, chunk, direction)?;
                if let Some((target, first)) = target {
                    self.input_of_chunk(&way, chunk, direction, (target, first && direction == 0))?;
                }
            }
        }
        self.initial(&way, begin)
    }

    fn way<'a>(&mut self, r: &'a Recurrence, states: &'a States, hidden: Sequence, delta: Sequence) -> Way<'a> {
        let (chunk, batch, d) = (self.low.chunk, self.low.shape.batch, r.directions);
        let (units, width) = (depth(hidden.features) / d, r.units());
        let masked = self.low.shape.steps(r.clock).mask == Mask::Live;
        let mut handed = |name: &str, dims: [usize; 3]| self.handed(&format!("{name}.{}.{}", dims[0], dims[2]), &dims);
        let rows = |width: usize| [d * chunk, batch, width];
        let is_gru = matches!(r.cell, Cell::Gru(_));
        let projected = r.projection.is_some();
        Way {
            r,
            states,
            hidden,
            delta,
            product: handed("product", [2, batch, units]),
            direct: (is_gru || masked || projected).then(|| handed("direct", [2, batch, units])),
            carry: (r.cell.states() == 2).then(|| handed("carry", [2, batch, width])),
            recurrent: match r.cell {
                Cell::Gru(Reset::After) => Some(handed("recurrent", rows(3 * width))),
                Cell::Gru(Reset::Before) => Some(handed("recurrent", rows(2 * width))),
                Cell::Rnn | Cell::Lstm => None,
            },
            new: (r.cell == Cell::Gru(Reset::Before)).then(|| {
                [handed("new", rows(width)), handed("reset", rows(width)), handed("reset_product", [2, batch, width])]
            }),
            projected: projected.then(|| {
                [
                    handed("projected", rows(units)),
                    handed("unprojected", rows(width)),
                    handed("unprojected_product", [2, batch, width]),
                ]
            }),
        }
    }

    /// The gradient of the final cell states, handed to the last step.
    fn hand_cells(&mut self, way: &Way<'_>, cells: Sequence) -> Result<()> {
        let carry = needed(way.carry, "a gradient of cell states")?;
        for direction in 0..way.r.directions {
            let part = Part {
                combine: JoinOp::Set,
                taken: [direction * way.r.hidden_size, way.r.hidden_size],
                offset: 0,
                scale: 1.0,
            };
            let target = handed_row(carry, direction, way.r.hidden_size);
            self.low.join_part(&part, false, cells, target, ONE)?;
        }
        Ok(())
    }

    /// What went into the gates of a chunk, from the states before each step.
    fn gates_again(&mut self, way: &Way<'_>, chunk: Chunk) -> Result<()> {
        let (r, batch) = (way.r, self.low.shape.batch);
        for direction in 0..r.directions {
            self.low.hoisted(r, way.states, chunk, Side { first: direction, count: 1 })?;
            let before = self.before(way, chunk, direction);
            let gates = self.low.whole(way.states.gates);
            match (r.cell, way.recurrent, way.new) {
                (Cell::Rnn | Cell::Lstm, ..) => {
                    self.again(r.hidden[0], (direction, chunk), before, (gates, r.cell.gates(), true))?;
                }
                (Cell::Gru(Reset::After), Some(recurrent), _) => {
                    let recurrent = self.low.whole(recurrent);
                    self.again(r.hidden[0], (direction, chunk), before, (recurrent, 3, false))?;
                }
                (Cell::Gru(Reset::Before), Some(recurrent), Some([new, reset, _])) => {
                    let (of_recurrent, of_reset) = (self.low.whole(recurrent), self.low.whole(reset));
                    self.again(r.hidden[0], (direction, chunk), before, (of_recurrent, 2, false))?;
                    let (hidden, first_hidden) = before;
                    for (row, rows) in self.low.pieces(chunk.len * batch, 1) {
                        let block = direction * chunk.len * batch;
                        let params = Params {
                            rows: word(rows),
                            batch: word(batch),
                            directions: word(r.directions),
                            direction: word(direction),
                            units: word(r.units()),
                            features: word(r.hidden_size),
                            source_0: word(first_hidden + row),
                            target_0: word(block + row),
                            ..Params::default()
                        };
                        let windows = [
                            (Role::Gates, Some(gates)),
                            (Role::Recurrent, Some(of_recurrent)),
                            (Role::Hidden, Some(hidden)),
                            (Role::Result, Some(of_reset)),
                        ];
                        let program = Program::Training(Training::ResetRows(r.variants[direction]));
                        self.low.dispatch(program, params, [lanes(r.units()), rows, 1], &windows)?;
                    }
                    let new = self.low.whole(new);
                    let source = (of_reset, direction * chunk.len * batch);
                    self.product(
                        r.hidden[1],
                        (direction, chunk.len * batch),
                        (source, None, 0),
                        (new, direction * chunk.len * batch, r.units(), false),
                    )?;
                }
                (Cell::Gru(_), ..) => return Err(Error::internal("a GRU: expected slots of its recurrent product")),
            }
        }
        Ok(())
    }

    /// The rows of the hidden state before each step of a chunk, ascending in time: their window, and the first row in it.
    pub(super) fn before(&self, way: &Way<'_>, chunk: Chunk, direction: usize) -> (Window, usize) {
        let time = self.low.shape.steps(way.r.clock).time;
        let row = way.r.walks[direction].first_before(chunk.start, chunk.len, way.hidden.first, time);
        let (window, base) = self.low.rows(way.hidden, row, chunk.len);
        (window, (row - base) * self.low.shape.batch)
    }

    /// The recurrent product of a chunk with `place`, of so many gates: into a direction's rows of `result`.
    fn again(
        &mut self,
        place: Place,
        (direction, chunk): (usize, Chunk),
        (hidden, first): (Window, usize),
        (result, gates, add): (Window, usize, bool),
    ) -> Result<()> {
        let shaped = self.shaped(place.buffer)?;
        let rows = chunk.len * self.low.shape.batch;
        let (units, directions) = (depth(shaped.source), shaped.matrices);
        debug_assert_eq!(gates, shaped.gates);
        let source = ((hidden, first), Some(directions * units), direction * units);
        self.product(place, (direction, rows), source, (result, direction * rows, shaped.width(), add))
    }

    /// Rows times the matrix of a direction.
    fn product(
        &mut self,
        place: Place,
        (direction, rows): (usize, usize),
        ((source, first_source), source_width, source_column): ((Window, usize), Option<usize>, usize),
        (result, first_result, width, add): (Window, usize, usize, bool),
    ) -> Result<()> {
        let shaped = self.shaped(place.buffer)?;
        let product = HoistedProduct {
            cell: None,
            activation: Activation::Linear,
            rows,
            source,
            sources: [first_source; 2],
            result,
            targets: [first_result; 2],
            width,
            panel: 0,
            source_width,
            source_column,
            after: shaped.after,
            add,
        };
        let panels = self.low.panels(place, direction, 1)?;
        let size = Product { rows, depth: depth(shaped.source), panels: shaped.panels, gates: shaped.gates };
        self.low.project_panels(self.low.matrix(place.buffer), &panels, &product, size)
    }

    /// The dispatches of step `step` of `chunk` back: δ of its gates, and what it hands to the step before.
    fn step_back(&mut self, way: &Way<'_>, chunk: Chunk, step: usize) -> Result<()> {
        let Way { r, states, hidden, .. } = *way;
        let bound: Vec<SlotId> = [hidden.slot, way.delta.slot].into_iter().chain(states.memory).collect();
        let together = self.low.fit_whole(&bound) && r.variants[0] == r.variants[1];
        for &side in Side::of(r.directions, together) {
            self.side_back(way, chunk, step, side)?;
        }
        Ok(())
    }

    fn side_back(&mut self, way: &Way<'_>, chunk: Chunk, step: usize, side: Side) -> Result<()> {
        let Way { r, states, hidden, delta, .. } = *way;
        let (batch, mask) = (self.low.shape.batch, self.low.shape.steps(r.clock).mask);
        let variant = r.variants[side.first];
        let (window, base) = self.low.hidden_window(r, hidden, chunk, side);
        let forward = self.low.step_params(Layer { r, states, hidden }, chunk, step, side, base);
        // Gradients of outputs stand at their steps.
        let time = self.low.shape.steps(r.clock).time;
        let at = |d: usize| r.walks[d].step(chunk.start + step, time);
        let (delta_window, delta_base) = match side.count {
            2 => (self.low.whole(delta.slot), 0),
            _ => self.low.rows(delta, at(side.first), 1),
        };
        let (target_0, target_1) = pair(side.first, side.count, |d| at(d) - delta_base);
        let params = Params {
            rows: word(batch),
            direction: word(side.first),
            units: word(r.units()),
            features: word(r.hidden_size),
            target_0,
            target_1,
            ..forward
        };
        let grid = |units: usize| [lanes(units), batch, side.count];
        let whole = |slot: Option<SlotId>| slot.map(|slot| self.low.whole(slot));
        let gates = (Role::Gates, Some(self.low.whole(states.gates)));
        let live = (Role::Live, whole(self.low.live(r.clock)));
        let hidden = (Role::Hidden, Some(window));
        let memory = (Role::Memory, whole(states.memory));
        let delta = (Role::Delta, Some(delta_window));
        let handed = (Role::Product, Some(self.low.whole(way.product)));
        let direct = (Role::Direct, whole(way.direct));
        let carry = (Role::Carry, whole(way.carry));
        let recurrent = (Role::Recurrent, whole(way.recurrent));
        if let (Some([new, _, reset_product]), Cell::Gru(Reset::Before)) = (way.new, r.cell) {
            let new_gate = (Role::New, Some(self.low.whole(new)));
            let windows = [new_gate, gates, live, recurrent, hidden, delta, handed, direct];
            let program = Program::Training(Training::NewBack(variant, mask));
            self.low.dispatch(program, params, grid(r.units()), &windows)?;
            self.turned_step(r.hidden[1], (way, chunk, step, side), new, reset_product)?;
            let handed = (Role::Product, Some(self.low.whole(reset_product)));
            let program = Program::Training(Training::ResetBack(variant));
            self.low.dispatch(program, params, grid(r.units()), &[gates, recurrent, hidden, handed, direct])?;
            let recurrent = needed(way.recurrent, "a recurrent product")?;
            return self.turned_step(r.hidden[0], (way, chunk, step, side), recurrent, way.product);
        }
        let (mut windows, mut states_of) = (vec![gates, live, memory, carry], StateKind::Hidden);
        if r.cell.states() == 2 {
            states_of = StateKind::Memory;
        }
        match (r.projection, way.projected) {
            (Some(projection), Some([projected, unprojected, product])) => {
                states_of = StateKind::Projected;
                let features = word(way.hidden.features.size);
                let params = Params { units: word(way.state_units()), features, ..params };
                let result = (Role::Result, Some(self.low.whole(projected)));
                let program = Program::Training(Training::StateBack(mask));
                self.low.dispatch(program, params, grid(way.state_units()), &[live, result, delta, handed, direct])?;
                self.turned_step(projection, (way, chunk, step, side), projected, product)?;
                windows.push((Role::Result, Some(self.low.whole(unprojected))));
                windows.push((Role::Product, Some(self.low.whole(product))));
            }
            _ => {
                windows.extend([delta, handed]);
                if matches!(r.cell, Cell::Gru(_)) {
                    windows.extend([recurrent, hidden]);
                }
                windows.push(direct);
            }
        }
        let mut params = params;
        if r.variants[0].peepholes == Peepholes::Diagonal {
            let panels = needed(self.low.panels(r.hidden[0], side.first, side.count)?.pop(), "panels of peepholes")?;
            let Params { weight_panel, weight_panels, .. } = panels.params();
            params = Params { weight_panel, weight_panels, depth: word(way.state_units()), ..params };
            windows.push((Role::Weights, Some(panels.window)));
        }
        let program = CellBack { cell: r.cell, variant, states: states_of, mask };
        // A slot that this program does not bind is another's.
        let program = Program::Training(Training::CellBack(program));
        windows.retain(|(role, _)| program.bindings().any(|binding| binding.role == *role));
        self.low.dispatch(program, params, grid(r.units()), &windows)?;
        let source = way.recurrent.unwrap_or(states.gates);
        self.turned_step(r.hidden[0], (way, chunk, step, side), source, way.product)
    }

    /// The rows of one step of `source`, `[D][C][B]`, times the matrix at `place` turned, into `result`, `[D][B]`.
    fn turned_step(
        &mut self,
        place: Place,
        (way, chunk, step, side): (&Way<'_>, Chunk, usize, Side),
        source: SlotId,
        result: SlotId,
    ) -> Result<()> {
        let batch = self.low.shape.batch;
        let shaped = self.shaped(place.buffer)?;
        let (panels, size) = self.turned_panels(place, side.first, side.count)?;
        let block = |d: usize| d * chunk.len + way.r.walks[d].step(step, chunk.len);
        let product = HoistedProduct {
            cell: None,
            activation: Activation::Linear,
            rows: batch,
            source: self.low.whole(source),
            sources: [0, 1].map(|d| block(d) * batch),
            result: self.low.whole(result),
            targets: [0, batch],
            width: depth(shaped.source),
            panel: 0,
            source_width: None,
            source_column: 0,
            after: 1,
            add: false,
        };
        self.low.project_panels(Matrix::buffer(Storage::F32), &panels, &product, Product { rows: batch, ..size })
    }

    /// What the first step hands back: the gradients of the initial states.
    fn initial(&mut self, way: &Way<'_>, begin: &[Option<Sequence>; 2]) -> Result<()> {
        let Way { r, .. } = *way;
        let (state, stacked) = (r.stack, r.stacked);
        let size = way.hidden.features.size;
        let hidden: Vec<SlotId> = [Some(way.product), way.direct].into_iter().flatten().collect();
        let cells: Vec<SlotId> = way.carry.into_iter().collect();
        for (which, (of, size)) in [(State::Hidden, (hidden, size)), (State::Cell, (cells, r.hidden_size))] {
            if of.is_empty() {
                continue;
            }
            let index = usize::from(which == State::Cell);
            let fetch = match which {
                State::Hidden => Fetch::InitialHidden { stack: state, layer: stacked },
                State::Cell => Fetch::InitialMemory { stack: state, layer: stacked },
            };
            match (r.begin[index], begin[index]) {
                (Some(Begin::Row(source)), _) => {
                    let Some(given) = self.given(source) else { continue };
                    let (target, _) = self.begin(given, false)?;
                    let row = Sequence { axis: Axis::Rows, ..target };
                    for direction in 0..r.directions {
                        self.add_handed(&of, (direction, size), row, direction * size)?;
                    }
                }
                (Some(Begin::Final(op, State::Cell)), _) => {
                    let (target, _) = self.begin(Given::FinalCell(op), false)?;
                    for direction in 0..r.directions {
                        self.add_handed(&of, (direction, size), target, direction * size)?;
                    }
                }
                (Some(Begin::Final(op, State::Hidden)), _) => {
                    let (target, _) = self.begin(Given::Op(op), false)?;
                    let from = self.stages[op].op.recurrence();
                    let from = needed(from, "a layer whose final state begins another")?;
                    let time = self.low.shape.steps(from.clock).time;
                    for direction in 0..r.directions {
                        let first = from.walks[direction].last_row(time);
                        let row = Sequence { first, axis: Axis::Rows, ..target };
                        self.add_handed(&of, (direction, size), row, direction * size)?;
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
                        self.add_handed(&of, (direction, size), target, direction * size)?;
                    }
                    self.low.read(fetch, slot, 0, 1);
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Adds what is handed back in direction `direction` of each slot to the features from `offset` on of a row.
    fn add_handed(
        &mut self,
        slots: &[SlotId],
        (direction, size): (usize, usize),
        target: Sequence,
        offset: usize,
    ) -> Result<()> {
        for &slot in slots {
            let part = Part { combine: JoinOp::Add, taken: [0, size], offset, scale: 1.0 };
            self.low.join_part(&part, false, handed_row(slot, direction, size), target, ONE)?;
        }
        Ok(())
    }
}

/// The one row of what has no time axis.
const ONE: Chunk = Chunk { index: 0, at: 0, start: 0, len: 1 };

/// A direction's row of a slot `[D][B][units]`.
fn handed_row(slot: SlotId, direction: usize, size: usize) -> Sequence {
    let features = Features { parts: 1, size };
    Sequence { slot, first: direction, features, axis: Axis::Rows, span: Span::Whole }
}
