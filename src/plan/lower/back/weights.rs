//! Where gradients end: in matrices, their biases and tables, laid out as the packed weights are; and the turned matrices
//! that gradients go back through.

use super::Back;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{LANES, Loads, Medium, Outer, Params, Program, Role, Training};
use crate::layout::{Form, Place, depth};
use crate::model::Features;
use crate::plan::lower::dispatch::{HoistedProduct, lanes, word};
use crate::plan::lower::needed;
use crate::plan::lower::ops::Sequence;
use crate::plan::lower::windows::{Panels, Table};
use crate::plan::lower::{Chunk, HostInput, Lowering};
use crate::plan::tune::Product;
use crate::plan::{Ends, Feed, Fetch, SlotId, SlotKind, Window, kept};

/// Rows of a value and of a gradient whose products are a matrix's gradient.
pub(super) struct Outside {
    /// How many.
    pub(super) rows: usize,
    pub(super) source: Window,
    pub(super) first_source: usize,
    /// Elements of a row of the source, and the first that is taken.
    pub(super) width: usize,
    pub(super) column: usize,
    pub(super) delta: Window,
    pub(super) first_delta: usize,
    /// Whether each gate takes rows of the source of its own, which are copies: then a row's elements count in one of them.
    pub(super) apart: bool,
}

/// The form of a matrix.
#[derive(Clone, Copy)]
pub(super) struct Shaped {
    pub(super) matrices: usize,
    pub(super) panels: usize,
    pub(super) source: Features,
    pub(super) gates: usize,
    /// Rows of a panel after those of the depth.
    pub(super) after: usize,
    pub(super) units: usize,
}

impl Shaped {
    /// Elements of a row of what its product gives.
    pub(super) fn width(self) -> usize {
        self.panels * self.gates * LANES
    }

    /// Bytes of a panel.
    fn panel_bytes(self) -> u64 {
        4 * ((depth(self.source) + self.after) * self.gates * LANES) as u64
    }

    /// Rows of a panel of the matrix turned, and their gates: one of all, or each by itself.
    fn turned(self, apart: bool) -> [usize; 2] {
        if apart { [self.panels * LANES + 1, self.gates] } else { [self.width() + 1, 1] }
    }
}

impl Back<'_, '_> {
    /// The form of the matrices in packed buffer `buffer`.
    pub(super) fn shaped(&self, buffer: usize) -> Result<Shaped> {
        let packed = &self.low.layout.buffers[buffer];
        match packed.form {
            Form::Matrix { matrices, panels, source, gates, extra, units } => {
                Ok(Shaped { matrices, panels, source, gates, after: 1 + extra, units })
            }
            Form::Table { .. } => Err(Error::internal(format!("{}: expected a matrix", packed.name))),
        }
    }

    /// The slot of the gradient of packed buffer `buffer`, and whether its matrix `matrix` is begun here.
    pub(super) fn gradient_of(&mut self, buffer: usize, matrix: usize) -> (SlotId, bool) {
        let (low, ends) = (&mut *self.low, self.wants.ends);
        let (slot, begun) = self.weights.entry(buffer).or_insert_with(|| {
            let like = low.weights_slot(buffer);
            let matrices = like.dims[0];
            let (kind, begun) = match ends {
                Ends::Read | Ends::Left => (SlotKind::Scratch, false),
                Ends::Kept { first } => (SlotKind::Kept(kept::gradient(buffer)), !first),
            };
            let slot = low.slot(format!("{}.gradient", like.name), kind, &like.dims);
            (slot, vec![begun; matrices])
        });
        (*slot, !std::mem::replace(&mut begun[matrix], true))
    }

    /// The slot of the gradient of packed buffer `buffer`, and whether the peepholes of its matrix `matrix` are begun here.
    pub(super) fn peepholes_of(&mut self, buffer: usize, matrix: usize) -> (SlotId, bool) {
        let (slot, _) = self.gradient_of(buffer, matrix);
        let first = self.peepholes.insert((buffer, matrix));
        (slot, first && self.wants.ends != Ends::Kept { first: false })
    }

    /// Zeros in what no operation has added to, and the read of the gradient of packed buffer `buffer`.
    pub(super) fn finish_weights(&mut self, buffer: usize) -> Result<()> {
        let dims = self.low.weights_slot(buffer).dims;
        for matrix in 0..dims[0] {
            let (slot, untouched) = self.gradient_of(buffer, matrix);
            if untouched {
                // A panel may be wider than a grid: its rows are zeroed, each as wide as its gates.
                let (rows, width) = (dims[1], dims[dims.len().saturating_sub(2).max(2)..].iter().product::<usize>());
                let each = dims[2..].iter().product::<usize>() / width.max(1);
                let bytes = 4 * (each * width) as u64;
                let panels = self.low.panels_of((slot, rows, self.cut_by(slot, bytes)), 0, matrix, 1);
                for Panels { window, at, panels, .. } in panels {
                    self.zero_rows(window, at * each..(at + panels) * each, width)?;
                }
            }
        }
        if self.wants.ends == Ends::Read {
            let (slot, _) = self.gradient_of(buffer, 0);
            self.low.read(Fetch::Weights(buffer), slot, 0, dims[0]);
        }
        Ok(())
    }

    /// The size of what windows of `slot` are cut by, where it cannot be bound whole.
    fn cut_by(&self, slot: SlotId, bytes: u64) -> Option<u64> {
        (!self.low.fit_whole(&[slot])).then_some(bytes)
    }

    /// Adds the products of `outside` to the gradient of matrix `place.first + direction` of a packed buffer, bias and all.
    pub(super) fn outer(&mut self, place: Place, direction: usize, outside: &Outside) -> Result<()> {
        let shaped = self.shaped(place.buffer)?;
        let (slot, first) = self.gradient_of(place.buffer, place.first + direction);
        let cut = self.cut_by(slot, shaped.panel_bytes());
        let (depth, gates) = (depth(shaped.source), shaped.gates);
        // Copies stand side by side in a row.
        let source_width = outside.width * if outside.apart { gates } else { 1 };
        let numbers = |width: usize| outside.rows * width;
        let bytes = 4 * numbers(source_width.max(shaped.width())) as u64;
        let medium = self.low.medium_for(bytes);
        let [(source, first_source), (delta, first_delta)] = match medium {
            Medium::Buffer => [(outside.source, outside.first_source), (outside.delta, outside.first_delta)],
            Medium::Texture => {
                let copied = |low: &mut Lowering<'_>, window: Window, first: usize, width: usize| -> Result<_> {
                    let texture = low.in_texture(window, first * width, numbers(width))?;
                    Ok((low.whole(texture), 0))
                };
                [
                    copied(self.low, outside.source, outside.first_source, source_width)?,
                    copied(self.low, outside.delta, outside.first_delta, shaped.width())?,
                ]
            }
        };
        let loads = if outside.apart { Loads::Lane } else { self.low.tuning.loads(self.low.limits) };
        // What a device's loops are trusted with.
        let most = (self.low.limits.loop_iterations as usize).saturating_sub(64).max(1);
        for (index, start) in (0..outside.rows).step_by(most).enumerate() {
            let outer = Outer {
                gates: word(gates),
                after: word(shaped.after),
                first: first && index == 0,
                apart: outside.apart,
                loads,
                medium,
            };
            for panels in self.low.panels_of((slot, shaped.panels, cut), place.first, direction, 1) {
                let params = Params {
                    rows: word(most.min(outside.rows - start)),
                    depth: word(depth),
                    units: word(shaped.width()),
                    source_units: word(outside.width),
                    source_offset: word(outside.column),
                    source_directions: word(shaped.source.parts),
                    features: word(shaped.source.size),
                    count: word(shaped.units),
                    source_0: word(first_source + start),
                    target_0: word(first_delta + start),
                    ..panels.params()
                };
                let [x, y] = outer.grid(params.depth, params.units).map(|n| n as usize);
                let windows =
                    [(Role::Source, Some(source)), (Role::Delta, Some(delta)), (Role::Result, Some(panels.window))];
                self.low.dispatch(Program::Training(Training::Outer(outer)), params, [x, y, 1], &windows)?;
            }
        }
        Ok(())
    }

    /// Where products take the matrices of packed buffer `buffer`, turned: `[matrices][K / 16][P · G · 16 + 1][1][16]`, or each
    /// gate by itself: `[matrices][K / 16][P · 16 + 1][G][16]`.
    fn turned(&mut self, buffer: usize, apart: bool) -> Result<SlotId> {
        if let Some(&slot) = self.turned.get(&(buffer, apart)) {
            return Ok(slot);
        }
        let shaped = self.shaped(buffer)?;
        let (depth, [rows, turned_gates]) = (depth(shaped.source), shaped.turned(apart));
        let name = format!("{}.turned", self.low.layout.buffers[buffer].name);
        let dims = [shaped.matrices, depth / LANES, rows, turned_gates, LANES];
        let slot = self.low.slot(name, SlotKind::Scratch, &dims);
        let (gates, after) = (word(shaped.gates), word(shaped.after));
        let program = Program::Training(Training::Transpose { gates, after, apart });
        let panel = rows * turned_gates * LANES;
        let whole = self.cut_by(slot, 4 * panel as u64).is_none();
        for matrix in 0..shaped.matrices {
            let panels = self.low.packed_panels(Place { buffer, first: matrix }, 0, 1)?;
            let [from] = &panels[..] else { return Err(self.too_large(buffer)) };
            if !whole {
                return Err(self.too_large(buffer));
            }
            let params = Params { depth: word(depth), target_0: word(matrix * (depth / LANES)), ..from.params() };
            let grid = [lanes(panel), depth / LANES, 1];
            let windows = [(Role::Weights, Some(from.window)), (Role::Result, Some(self.low.whole(slot)))];
            self.low.dispatch(program, params, grid, &windows)?;
        }
        let slot = match self.low.medium_for(self.low.plan.slots[slot].bytes) {
            Medium::Buffer => slot,
            Medium::Texture => self.low.all_in_texture(slot)?,
        };
        self.turned.insert((buffer, apart), slot);
        Ok(slot)
    }

    /// Why a matrix is not trained that no binding holds.
    fn too_large(&self, buffer: usize) -> Error {
        let (packed, most) = (&self.low.layout.buffers[buffer], self.low.limits.binding_bytes);
        let bytes = self.low.layout.bytes_of(packed);
        let text = format!(
            "{}: needs a binding of {bytes} bytes to be trained, the device's largest is {most}; try --device cpu",
            packed.name
        );
        Error::new(ErrorKind::Limits, text)
    }

    /// The slot of matrix `place.first + direction` turned, each gate by itself or all as one, and its panels for `directions`
    /// directions.
    pub(super) fn turned_panels(
        &mut self,
        (place, apart): (Place, bool),
        direction: usize,
        directions: usize,
    ) -> Result<(SlotId, Vec<Panels>, Product)> {
        let slot = self.turned(place.buffer, apart)?;
        let shaped = self.shaped(place.buffer)?;
        let (panels, [rows, gates]) = (depth(shaped.source) / LANES, shaped.turned(apart));
        let size = Product { rows: 0, depth: rows - 1, panels: panels * directions, gates };
        Ok((slot, self.low.panels_of((slot, panels, None), place.first, direction, directions), size))
    }

    /// `product` with matrix `place.first + direction` turned, for `directions` directions: each gate by itself, where `product` is
    /// of rows that each gate has of its own.
    pub(super) fn project_turned(
        &mut self,
        (place, direction, directions): (Place, usize, usize),
        product: &HoistedProduct,
    ) -> Result<()> {
        let (turned, panels, size) = self.turned_panels((place, product.apart), direction, directions)?;
        let matrix = self.low.matrix_in(turned);
        self.low.project_panels(matrix, &panels, product, Product { rows: product.rows, ..size })
    }

    /// `rows` rows of a gradient from row `first` of a window on, times matrix `place.first + direction` turned: into the
    /// rows of `chunk` of `target`, or added to them.
    pub(super) fn times_turned(
        &mut self,
        (place, apart, direction): (Place, bool, usize),
        (source, first_source): (Window, usize),
        rows: usize,
        (target, chunk, first): (Sequence, Chunk, bool),
    ) -> Result<()> {
        let written = self.low.row_of(target, chunk, 0);
        let (result, base) = self.low.rows(target, written, chunk.len);
        let result = (result, [(written - base) * self.low.shape.batch; 2]);
        let plain = HoistedProduct::plain(rows, (source, [first_source; 2]), result, depth(target.features));
        let product = HoistedProduct { add: !first, apart, ..plain };
        self.project_turned((place, direction, 1), &product)
    }

    /// The rows of a table's gradient, in as few windows as the binding limit allows.
    pub(super) fn tables(&self, slot: SlotId, rows: usize, width: usize) -> Vec<Table> {
        let panels = self.low.panels_of((slot, rows, self.cut_by(slot, 4 * width as u64)), 0, 0, 1);
        let table = |panels: Panels| Table {
            window: panels.window,
            direction: 0,
            directions: 1,
            token: panels.panel,
            tokens: panels.panels,
            at: panels.at,
            stride: 0,
        };
        panels.into_iter().map(table).collect()
    }

    /// The slots of the rows of what layer `layer` takes of input `input` by token, and of where each token's start.
    pub(super) fn sorted(&mut self, layer: usize, input: usize) -> Result<[SlotId; 2]> {
        let tokens = match self.low.inputs.get(input) {
            Some(Some(HostInput::Tokens(slot))) => *slot,
            _ => return Err(Error::internal(format!("input {input}: expected tokens"))),
        };
        let inputs = self.low.model.all_inputs()?;
        let kind = needed(inputs.get(input), "an input of the model")?.kind;
        let below = needed(kind.flow().and_then(|flow| flow.tokens()), "a number of tokens")?;
        let rows = self.low.plan.slots[tokens].dims.clone();
        let order = self.low.slot(format!("{layer}.order"), SlotKind::Index, &rows);
        let starts = self.low.slot(format!("{layer}.starts"), SlotKind::Index, &[below + 1]);
        self.low.write(Feed::Order(layer), order, 0, rows[0]);
        self.low.write(Feed::Starts(layer), starts, 0, below + 1);
        Ok([order, starts])
    }
}
