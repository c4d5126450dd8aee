//! Steps back of several dispatches: of a GRU with the reset
//! before the product, and of an LSTM that projects its state.
//!
//! The inputs of the gates are computed again, for all steps of a chunk at once, since the states
//! before each step are there. Then a step back is the cell's backward pass, which overwrites
//! them with δ. Products of δ with the transposed matrices follow, for the timestep before.

use super::Back;
use super::recurrent::{Handed, Separate, Way};
use crate::cell::{Cell, Peepholes, Reset};
use crate::error::{Error, Result};
use crate::kernel::{CellBack, Params, Program, Role, Training};
use crate::layout::{MatrixRef, depth};
use crate::plan::lower::Chunk;
use crate::plan::lower::copies::Rows;
use crate::plan::lower::dispatch::{InputGemm, lanes, word};
use crate::plan::lower::needed;
use crate::plan::lower::ops::{Recurrence, Sequence};
use crate::plan::lower::recurrent::Layer;
use crate::plan::lower::stage::States;
use crate::plan::lower::walk::Side;
use crate::plan::tune::Product;
use crate::plan::{SlotId, Window};

impl Back<'_, '_> {
    pub(super) fn way_separate<'a>(
        &mut self,
        r: &'a Recurrence,
        states: &'a States,
        hidden: Sequence,
        delta: Sequence,
    ) -> Way<'a> {
        let (chunk, batch, d) = (self.low.chunk, self.low.shape.batch, r.directions);
        let (units, width) = (depth(hidden.features) / d, r.units());
        let mut handed = |name: &str, dims: [usize; 3]| self.handed(&format!("{name}.{}.{}", dims[0], dims[2]), &dims);
        let rows = |width: usize| [d * chunk, batch, width];
        let is_gru = matches!(r.cell, Cell::Gru(_));
        let separate = Separate {
            product: handed("product", [2, batch, units]),
            direct: handed("direct", [2, batch, units]),
            carry: (r.cell.states() == 2).then(|| handed("carry", [2, batch, width])),
        };
        Way {
            r,
            states,
            hidden,
            delta,
            gates: states.gates,
            recurrent: is_gru.then(|| handed("recurrent", rows(2 * width))),
            handed: Handed::Separate(separate),
            new: is_gru.then(|| {
                [handed("new", rows(width)), handed("reset", rows(width)), handed("reset_product", [2, batch, width])]
            }),
            projected: r.projection.is_some().then(|| {
                [
                    handed("projected", rows(units)),
                    handed("unprojected", rows(width)),
                    handed("unprojected_product", [2, batch, width]),
                ]
            }),
        }
    }

    /// Computes the inputs of the gates of a chunk again, from the states before each step.
    pub(super) fn gates_again(&mut self, way: &Way<'_>, chunk: Chunk) -> Result<()> {
        let (r, batch) = (way.r, self.low.shape.batch);
        for direction in 0..r.directions {
            self.low.hoisted(r, way.states, chunk, Side { first: direction, count: 1 })?;
            let before = self.multiplied(way, chunk, direction)?;
            let gates = self.low.whole(way.states.gates);
            match (r.cell, way.recurrent, way.new) {
                (Cell::Lstm, ..) => {
                    self.again(way, (direction, chunk), before, (gates, r.cell.gates(), true))?;
                }
                (Cell::Gru(Reset::Before), Some(recurrent), Some([new, reset, _])) => {
                    let (of_recurrent, of_reset) = (self.low.whole(recurrent), self.low.whole(reset));
                    self.again(way, (direction, chunk), before, (of_recurrent, 2, false))?;
                    let (hidden, first_hidden) = self.before(way, chunk, direction);
                    // If elements of r ∘ h are dropped, the product takes what is left.
                    let whole = match way.states.copies {
                        Some(_) => {
                            let slot = self.reset_slot(way);
                            self.low.whole(slot)
                        }
                        None => of_reset,
                    };
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
                            (Role::Result, Some(whole)),
                        ];
                        let program = Program::Training(Training::ResetRows(r.variants[direction]));
                        self.low.dispatch(program, params, [lanes(r.units()), rows, 1], &windows)?;
                    }
                    self.copy_reset_rows(way, (direction, chunk), (whole, of_reset))?;
                    let new = self.low.whole(new);
                    let source = (of_reset, direction * chunk.len * batch);
                    self.product(
                        (r.hidden[1], false),
                        (direction, chunk.len * batch),
                        (source, None, 0),
                        (new, direction * chunk.len * batch, r.units(), false),
                    )?;
                }
                (Cell::Rnn | Cell::Gru(_), ..) => {
                    return Err(Error::internal("a step of two products: expected those of a GRU or of an LSTM"));
                }
            }
        }
        Ok(())
    }

    /// Emits the recurrent product of a chunk for the given gates, into a direction's rows of `result`.
    fn again(
        &mut self,
        way: &Way<'_>,
        (direction, chunk): (usize, Chunk),
        (before, source_width, column): ((Window, usize), usize, usize),
        (result, gates, add): (Window, usize, bool),
    ) -> Result<()> {
        let place = way.r.hidden[0];
        let shaped = self.shaped(place.buffer)?;
        let rows = chunk.len * self.low.shape.batch;
        debug_assert_eq!(gates, shaped.gates);
        let source = (before, Some(source_width), column);
        let target = (result, direction * rows, shaped.width(), add);
        self.product((place, way.states.copies.is_some()), (direction, rows), source, target)
    }

    /// Emits the product of rows with the matrix of a direction.
    fn product(
        &mut self,
        (place, per_gate): (MatrixRef, bool),
        (direction, rows): (usize, usize),
        ((source, first_source), source_width, source_column): ((Window, usize), Option<usize>, usize),
        (result, first_result, width, add): (Window, usize, usize, bool),
    ) -> Result<()> {
        let shaped = self.shaped(place.buffer)?;
        let plain = InputGemm::plain(rows, (source, [first_source; 2]), (result, [first_result; 2]), width);
        let product = InputGemm { source_width, source_column, after: shaped.after, add, per_gate, ..plain };
        let panels = self.low.panels(place, direction, 1)?;
        let size = Product { rows, depth: depth(shaped.source), panels: shaped.panels, gates: shaped.gates };
        self.low.project_panels(self.low.matrix(place.buffer), &panels, &product, size)
    }

    /// Emits step `step` of `chunk` back: δ of its gates, and what it hands to the timestep before.
    pub(super) fn step_separate(&mut self, way: &Way<'_>, chunk: Chunk, step: usize) -> Result<()> {
        for &side in self.sides(way) {
            self.side_back(way, chunk, step, side)?;
        }
        Ok(())
    }

    fn side_back(&mut self, way: &Way<'_>, chunk: Chunk, step: usize, side: Side) -> Result<()> {
        let Way { r, states, hidden, .. } = *way;
        let (batch, mask) = (self.low.shape.batch, self.low.shape.steps(r.clock).mask);
        let variant = r.variants[side.first];
        let (window, base) = self.low.hidden_window(r, hidden, chunk, side);
        let forward = self.low.step_params(Layer { r, states, hidden }, chunk, step, side, base);
        let (above, (target_0, target_1)) = self.above(way, chunk.start + step..chunk.start + step + 1, side);
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
        let cell_state = (Role::CellState, whole(states.cell_state));
        let delta = (Role::Delta, Some(above));
        let Handed::Separate(separate) = way.handed else {
            return Err(Error::internal("a step of two products: expected gradients in slots of their own"));
        };
        let handed = (Role::Product, Some(self.low.whole(separate.product)));
        let direct = (Role::Direct, Some(self.low.whole(separate.direct)));
        let recurrent = (Role::Recurrent, whole(way.recurrent));
        let carry = (Role::Carry, whole(separate.carry));
        let place = (way, chunk, step, side);
        match (way.new, r.projection, way.projected) {
            (Some([new, _, reset_product]), ..) => {
                let new_gate = (Role::New, Some(self.low.whole(new)));
                let windows = [new_gate, gates, live, recurrent, hidden, delta, handed, direct];
                let program = Program::Training(Training::NewBack(variant, mask));
                self.low.dispatch(program, params, grid(r.units()), &windows)?;
                self.transposed_step((r.hidden[1], Some(1)), place, new, reset_product)?;
                let handed = (Role::Product, Some(self.low.whole(reset_product)));
                let program = Program::Training(Training::ResetBack(variant));
                self.low.dispatch(program, params, grid(r.units()), &[gates, recurrent, hidden, handed, direct])?;
                let recurrent = needed(way.recurrent, "a recurrent product")?;
                self.transposed_step((r.hidden[0], Some(0)), place, recurrent, separate.product)
            }
            (None, Some(projection), Some([projected, unprojected, product])) => {
                let features = word(way.hidden.features.size);
                let of_state = Params { units: word(way.state_units()), features, ..params };
                let result = (Role::Result, Some(self.low.whole(projected)));
                let program = Program::Training(Training::StateBack(mask));
                let windows = [live, result, delta, handed, direct];
                self.low.dispatch(program, of_state, grid(way.state_units()), &windows)?;
                self.transposed_step((projection, None), place, projected, product)?;
                let (mut params, mut peepholes) = (params, None);
                if variant.peepholes == Peepholes::Diagonal {
                    let panels = self.low.packed_panels(r.hidden[0], side.first, side.count)?.pop();
                    let panels = needed(panels, "panels of peepholes")?;
                    let Params { weight_panel, weight_panels, .. } = panels.params();
                    params = Params { weight_panel, weight_panels, depth: word(way.state_units()), ..params };
                    peepholes = Some(panels.window);
                }
                let windows = [
                    gates,
                    live,
                    cell_state,
                    carry,
                    (Role::Result, Some(self.low.whole(unprojected))),
                    (Role::Product, Some(self.low.whole(product))),
                    (Role::Peepholes, peepholes),
                ];
                let program = Program::Training(Training::CellBack(CellBack { variant, mask }));
                self.low.dispatch(program, params, grid(r.units()), &windows)?;
                self.transposed_step((r.hidden[0], Some(0)), place, way.gates, separate.product)
            }
            _ => Err(Error::internal("a step of two products: expected those of a GRU or of an LSTM")),
        }
    }

    /// Emits the product of the rows of one step of `source`, `[D][C][B]`, with the matrix at `place` transposed,
    /// into `result`, `[D][B]`. `recurrent` is the product's index in a step, if it is one of the state.
    fn transposed_step(
        &mut self,
        (place, recurrent): (MatrixRef, Option<usize>),
        (way, chunk, step, side): (&Way<'_>, Chunk, usize, Side),
        source: SlotId,
        result: SlotId,
    ) -> Result<()> {
        let batch = self.low.shape.batch;
        if let (Some(copies), Some(product)) = (way.states.copies, recurrent) {
            let first = [side.first, side.first + 1].map(|d| d * batch);
            let target = Rows { window: self.low.whole(result), first, parts: 1 };
            return self.copies_back((way, copies, product), (chunk, step, side), source, (target, true));
        }
        let shaped = self.shaped(place.buffer)?;
        let block = |d: usize| d * chunk.len + way.r.walks[d].step(step, chunk.len);
        let source = (self.low.whole(source), [0, 1].map(|d| block(d) * batch));
        let result = (self.low.whole(result), [0, batch]);
        let product = InputGemm::plain(batch, source, result, depth(shaped.source));
        self.gemm_transposed((place, side.first, side.count), &product)
    }
}
