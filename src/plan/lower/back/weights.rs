//! The end of gradients: in matrices, their biases and tables, laid out as the packed
//! weights are. Also the transposed matrices that gradients are multiplied with.

use super::Back;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{LANES, Loads, Medium, Outer, Params, Program, Role, Training};
use crate::layout::{Form, MatrixRef, depth};
use crate::model::Features;
use crate::plan::lower::dispatch::{InputGemm, lanes, word};
use crate::plan::lower::needed;
use crate::plan::lower::ops::Sequence;
use crate::plan::lower::windows::{Panels, Table};
use crate::plan::lower::{Chunk, HostInput, Lowering};
use crate::plan::tune::Product;
use crate::plan::{Feed, Fetch, GradientSink, SlotId, SlotKind, Window, train_state};

/// Rows of a value and of a gradient, whose products are the gradient of a matrix.
pub(super) struct Outside {
    /// The number of rows.
    pub(super) rows: usize,
    pub(super) source: Window,
    pub(super) first_source: usize,
    /// Elements of a row of the source, and the first that is taken.
    pub(super) width: usize,
    pub(super) column: usize,
    pub(super) delta: Window,
    pub(super) first_delta: usize,
    /// Whether each gate takes its own rows of the source, which
    /// are copies. A row's elements then count within one copy.
    pub(super) per_gate: bool,
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
    /// Returns the elements of a row of the product's result.
    pub(super) fn width(self) -> usize {
        self.panels * self.gates * LANES
    }

    /// Returns the bytes of a panel.
    fn panel_bytes(self) -> u64 {
        4 * ((depth(self.source) + self.after) * self.gates * LANES) as u64
    }

    /// Returns the rows of a panel of the transposed matrix, and their gates: one for all, or each by itself.
    fn transposed(self, per_gate: bool) -> [usize; 2] {
        if per_gate { [self.panels * LANES + 1, self.gates] } else { [self.width() + 1, 1] }
    }
}

impl Back<'_, '_> {
    /// Returns the form of the matrices in packed buffer `buffer`.
    pub(super) fn shaped(&self, buffer: usize) -> Result<Shaped> {
        let packed = &self.low.layout.buffers[buffer];
        match packed.form {
            Form::Matrix { matrices, panels, source, gates, extra, units } => {
                Ok(Shaped { matrices, panels, source, gates, after: 1 + extra, units })
            }
            Form::Table { .. } => Err(Error::internal(format!("{}: expected a matrix", packed.name))),
        }
    }

    /// Returns the slot of the gradient of packed buffer `buffer`,
    /// and whether this is the first write to its matrix `matrix`.
    pub(super) fn gradient_of(&mut self, buffer: usize, matrix: usize) -> (SlotId, bool) {
        let (low, sink) = (&mut *self.low, self.wants.sink);
        let (slot, begun) = self.weights.entry(buffer).or_insert_with(|| {
            let like = low.weights_slot(buffer);
            let matrices = like.dims[0];
            let (kind, begun) = match sink {
                GradientSink::Read | GradientSink::Discard => (SlotKind::Scratch, false),
                GradientSink::Accumulate { first } => (SlotKind::TrainState(train_state::gradient(buffer)), !first),
            };
            let slot = low.slot(format!("{}.gradient", like.name), kind, &like.dims);
            (slot, vec![begun; matrices])
        });
        (*slot, !std::mem::replace(&mut begun[matrix], true))
    }

    /// Returns the slot of the gradient of packed buffer `buffer`, and whether
    /// this is the first write to the peepholes of its matrix `matrix`.
    pub(super) fn peepholes_of(&mut self, buffer: usize, matrix: usize) -> (SlotId, bool) {
        let (slot, _) = self.gradient_of(buffer, matrix);
        let first = self.peepholes.insert((buffer, matrix));
        (slot, first && self.wants.sink != GradientSink::Accumulate { first: false })
    }

    /// Writes zeros to matrices that no operation has added to, and
    /// adds the read of the gradient of packed buffer `buffer`.
    pub(super) fn finish_weights(&mut self, buffer: usize) -> Result<()> {
        let dims = self.low.weights_slot(buffer).dims;
        for matrix in 0..dims[0] {
            let (slot, untouched) = self.gradient_of(buffer, matrix);
            if untouched {
                // A panel may be wider than a grid. So its rows are zeroed, each as wide as its gates.
                let (rows, width) = (dims[1], dims[dims.len().saturating_sub(2).max(2)..].iter().product::<usize>());
                let each = dims[2..].iter().product::<usize>() / width.max(1);
                let bytes = 4 * (each * width) as u64;
                let panels = self.low.panels_of((slot, rows, self.cut_by(slot, bytes)), 0, matrix, 1);
                for Panels { window, at, panels, .. } in panels {
                    self.zero_rows(window, at * each..(at + panels) * each, width)?;
                }
            }
        }
        if self.wants.sink == GradientSink::Read {
            let (slot, _) = self.gradient_of(buffer, 0);
            self.low.read(Fetch::Weights(buffer), slot, 0, dims[0]);
        }
        Ok(())
    }

    /// Returns the size that windows of `slot` are cut by, if it cannot be bound whole.
    pub(super) fn cut_by(&self, slot: SlotId, bytes: u64) -> Option<u64> {
        (!self.low.fit_whole(&[slot])).then_some(bytes)
    }

    /// Adds the products of `outside` to the gradient of matrix
    /// `place.first + direction` of a packed buffer, including its bias.
    pub(super) fn outer(&mut self, place: MatrixRef, direction: usize, outside: &Outside) -> Result<()> {
        let shaped = self.shaped(place.buffer)?;
        let (slot, first) = self.gradient_of(place.buffer, place.first + direction);
        let cut = self.cut_by(slot, shaped.panel_bytes());
        let (depth, gates) = (depth(shaped.source), shaped.gates);
        // Copies are side by side in a row.
        let source_width = outside.width * if outside.per_gate { gates } else { 1 };
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
        let loads = if outside.per_gate { Loads::Lane } else { self.low.tuning.loads(self.low.limits) };
        // The device's limit of loop iterations.
        let most = self.low.most_iterations(64);
        for (index, start) in (0..outside.rows).step_by(most).enumerate() {
            let outer = Outer {
                gates: word(gates),
                after: word(shaped.after),
                first: first && index == 0,
                per_gate: outside.per_gate,
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

    /// Returns the slot where products read the transposed matrices of packed buffer `buffer`:
    /// `[matrices][K / 16][P · G · 16 + 1][1][16]`, or each gate by itself: `[matrices][K / 16][P · 16 + 1][G][16]`.
    fn transposed(&mut self, buffer: usize, per_gate: bool) -> Result<SlotId> {
        if let Some(&slot) = self.transposed.get(&(buffer, per_gate)) {
            return Ok(slot);
        }
        let shaped = self.shaped(buffer)?;
        let (depth, [rows, transposed_gates]) = (depth(shaped.source), shaped.transposed(per_gate));
        let name = format!("{}.transposed", self.low.layout.buffers[buffer].name);
        let dims = [shaped.matrices, depth / LANES, rows, transposed_gates, LANES];
        let slot = self.low.slot(name, SlotKind::Scratch, &dims);
        let (gates, after) = (word(shaped.gates), word(shaped.after));
        let program = Program::Training(Training::Transpose { gates, after, per_gate });
        let panel = rows * transposed_gates * LANES;
        let whole = self.cut_by(slot, 4 * panel as u64).is_none();
        for matrix in 0..shaped.matrices {
            let panels = self.low.packed_panels(MatrixRef { buffer, first: matrix }, 0, 1)?;
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
        self.transposed.insert((buffer, per_gate), slot);
        Ok(slot)
    }

    /// Returns the error for a matrix that no binding holds, and that cannot be trained.
    pub(super) fn too_large(&self, buffer: usize) -> Error {
        let (packed, most) = (&self.low.layout.buffers[buffer], self.low.limits.binding_bytes);
        let bytes = self.low.layout.bytes_of(packed);
        let text = format!(
            "{}: needs a binding of {bytes} bytes to be trained, the device's largest is {most}; try --device cpu",
            packed.name
        );
        Error::new(ErrorKind::Limits, text)
    }

    /// Returns the slot of matrix `place.first + direction` transposed, each
    /// gate by itself or all as one, and its panels for `directions` directions.
    pub(super) fn transposed_panels(
        &mut self,
        (place, per_gate): (MatrixRef, bool),
        direction: usize,
        directions: usize,
    ) -> Result<(SlotId, Vec<Panels>, Product)> {
        let slot = self.transposed(place.buffer, per_gate)?;
        let shaped = self.shaped(place.buffer)?;
        let (panels, [rows, gates]) = (depth(shaped.source) / LANES, shaped.transposed(per_gate));
        let size = Product { rows: 0, depth: rows - 1, panels: panels * directions, gates };
        Ok((slot, self.low.panels_of((slot, panels, None), place.first, direction, directions), size))
    }

    /// Emits `product` with matrix `place.first + direction` transposed, for `directions`
    /// directions. Each gate is transposed by itself if each multiplies its own rows.
    pub(super) fn gemm_transposed(
        &mut self,
        (place, direction, directions): (MatrixRef, usize, usize),
        product: &InputGemm,
    ) -> Result<()> {
        let (transposed, panels, size) = self.transposed_panels((place, product.per_gate), direction, directions)?;
        let matrix = self.low.matrix_in(transposed);
        self.low.project_panels(matrix, &panels, product, Product { rows: product.rows, ..size })
    }

    /// Emits `rows` rows of a gradient, from row `first` of a window on, times matrix `place.first + direction`
    /// transposed. The result goes into the rows of `chunk` of `target`, or is added to them.
    pub(super) fn times_transposed(
        &mut self,
        (place, per_gate, direction): (MatrixRef, bool, usize),
        (source, first_source): (Window, usize),
        rows: usize,
        (target, chunk, first): (Sequence, Chunk, bool),
    ) -> Result<()> {
        let (result, first_target) = self.low.rows_of_chunk(target, chunk);
        let (source, result) = ((source, [first_source; 2]), (result, [first_target; 2]));
        let plain = InputGemm::plain(rows, source, result, depth(target.features));
        let product = InputGemm { add: !first, per_gate, ..plain };
        self.gemm_transposed((place, direction, 1), &product)
    }

    /// Returns the rows of a table's gradient, in as few windows as the binding limit allows.
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

    /// Returns two slots for what layer `layer` takes of input `input`:
    /// rows ordered by token, and where each token's rows start.
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
