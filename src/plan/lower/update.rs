//! Updates: the gradients that a training keeps become new weights, and may be clipped by the norms of all of them.
//!
//! First, the gradients of tensors that layers share but lay out differently are
//! added up. Then come the squares of all gradients, their sums, and an update of
//! each packed buffer. [`store`](Lowering::store) reads what is kept to the host.

use std::collections::HashMap;

use super::Lowering;
use super::dispatch::word;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{LANES, Mask, NO_ROLE, Params, Program, Role, Training, WORKGROUP, padded};
use crate::layout::{self, Form, Layout, contents, depth};
use crate::model::{self, LayerKind, Model};
use crate::plan::tune::{SQUARED, Tuning};
use crate::plan::{
    Feed, Fetch, Goal, Limits, Plan, Shape, SlotId, SlotKind, TrainedBuffer, UpdateRule, Window, check, train_state,
};
use crate::rule::Scalars;

/// The classes of rows of a panel: those of the depth, the bias, peepholes.
const CLASSES: usize = 3;

/// What is updated at once: a matrix of a packed buffer, or one class of its rows.
struct Piece {
    buffer: usize,
    matrix: usize,
    /// The role of the rows of each class, or none for rows that are left alone.
    roles: [Option<model::Role>; CLASSES],
    /// The tensor of the rows of each class.
    tensors: [usize; CLASSES],
}

/// Where a tensor is.
#[derive(Clone, Copy)]
struct At {
    buffer: usize,
    matrix: usize,
    class: usize,
}

/// A tensor that several layers share but lay out differently. It is trained at its first place.
struct Tie {
    first: At,
    other: At,
    rows: usize,
    columns: usize,
}

/// The slots of a packed buffer.
struct Trained {
    weights: SlotId,
    gradient: SlotId,
    moments: Vec<SlotId>,
}

/// Rows of a matrix, in windows of equal size of all its slots.
struct Stretch {
    offset: u64,
    bytes: u64,
    /// The first row of the window that belongs to the matrix, and the count.
    first: usize,
    rows: usize,
}

/// Decides how the gradients that a training keeps become new weights. `layout` is one for training.
///
/// # Errors
///
/// Returns an error of kind `Limits` if the weights do not fit `limits`.
pub fn lower_update(
    model: &Model,
    layout: &Layout,
    limits: &Limits,
    tuning: &Tuning,
    update_rule: UpdateRule,
) -> Result<Plan> {
    let mut lowering = Lowering::of_weights(model, layout, limits, tuning);
    lowering.plan.title += " update";
    lowering.update(update_rule)?;
    check::check(&lowering.plan, limits).map_err(check::Violation::into_error)?;
    Ok(lowering.plan)
}

/// Decides how the host reads what a training has on its device. `layout` is one for training.
pub fn lower_store(model: &Model, layout: &Layout, limits: &Limits, tuning: &Tuning, stored: TrainedBuffer) -> Plan {
    let mut lowering = Lowering::of_weights(model, layout, limits, tuning);
    lowering.plan.title += " stored";
    lowering.store(stored);
    lowering.plan
}

impl<'l> Lowering<'l> {
    /// Starts a plan of weights, which has no call.
    fn of_weights(model: &'l Model, layout: &'l Layout, limits: &'l Limits, tuning: &'l Tuning) -> Self {
        Self::new(model, layout, (Shape::new(1, 1, Mask::All), Goal::Outputs), limits, tuning, 1)
    }
}

impl Lowering<'_> {
    /// Emits the update by the gradients that are kept.
    fn update(&mut self, update_rule: UpdateRule) -> Result<()> {
        let buffers = self.layout.buffers.len();
        let (mut pieces, ties) = self.pieces_of(update_rule.by_tensor)?;
        let trained: Vec<Trained> = (0..buffers).map(|buffer| self.trained(buffer, update_rule)).collect();
        let roles = model::Role::ALL.len();
        let scalars = self.slot("scalars", SlotKind::Input, &[roles, size_of::<Scalars>() / 4]);
        self.write(Feed::Scalars, scalars, 0, roles);
        // The sums of a tensor are side by side.
        pieces.sort_by_key(|piece| if update_rule.by_tensor { piece.tensor() } else { 0 });
        let stretches: Vec<Vec<Stretch>> = pieces.iter().map(|piece| self.stretches(&trained, piece)).collect();
        let counts: Vec<usize> = pieces.iter().zip(&stretches).map(|(p, all)| self.groups(p, all).sum()).collect();
        let before = train_state::OF_LOSS + 1;
        let sums = self.slot(
            "sums",
            SlotKind::TrainState(train_state::SUMS),
            &[padded(before + counts.iter().sum::<usize>())],
        );
        self.write(Feed::Squares, sums, train_state::OF_HOST, 1);
        let tensors = pieces.iter().map(|piece| piece.tensor() + 1).max().unwrap_or(0);
        let norms = self.slot("norms", SlotKind::Scratch, &[1 + if update_rule.by_tensor { tensors } else { 0 }]);
        for tie in &ties {
            self.tie(tie, false, |buffer| trained[buffer].gradient)?;
        }
        let mut at = before;
        let mut of_tensor = vec![0..0; tensors];
        for ((piece, stretches), count) in pieces.iter().zip(&stretches).zip(counts) {
            self.squares(piece, stretches, &trained[piece.buffer], (scalars, sums, at))?;
            let range = &mut of_tensor[piece.tensor()];
            *range = if range.end == 0 { at..at + count } else { range.start..at + count };
            at += count;
        }
        self.total(sums, 0..at, (norms, 0))?;
        if update_rule.by_tensor {
            for (tensor, range) in of_tensor.into_iter().enumerate() {
                self.total(sums, range, (norms, 1 + tensor))?;
            }
        }
        for (piece, stretches) in pieces.iter().zip(&stretches) {
            self.moved(update_rule, piece, stretches, (&trained[piece.buffer], scalars, norms))?;
        }
        for tie in &ties {
            self.tie(tie, true, |buffer| trained[buffer].weights)?;
        }
        self.read(Fetch::Norm, norms, 0, 1);
        Ok(())
    }

    /// Adds the reads of what is stored.
    fn store(&mut self, stored: TrainedBuffer) {
        let buffers = self.layout.buffers.len();
        for buffer in 0..buffers {
            let slot = match stored {
                TrainedBuffer::Weights => self.weights(buffer),
                TrainedBuffer::Moment(moment) => {
                    self.kept_like(buffer, "moment", train_state::moment(buffers, buffer, moment))
                }
            };
            let rows = self.plan.slots[slot].dims[0];
            self.read(Fetch::Weights(buffer), slot, 0, rows);
        }
    }

    /// Makes a slot with the form of packed buffer `buffer`.
    fn kept_like(&mut self, buffer: usize, name: &str, index: usize) -> SlotId {
        let like = self.weights_slot(buffer);
        self.slot(format!("{}.{name}", like.name), SlotKind::TrainState(index), &like.dims)
    }

    fn trained(&mut self, buffer: usize, update_rule: UpdateRule) -> Trained {
        let buffers = self.layout.buffers.len();
        let weights = self.weights(buffer);
        let gradient = self.kept_like(buffer, "gradient", train_state::gradient(buffer));
        let moments = update_rule.rule.moments().iter().enumerate();
        let moments = moments
            .map(|(n, moment)| self.kept_like(buffer, moment.name(), train_state::moment(buffers, buffer, n)))
            .collect();
        Trained { weights, gradient, moments }
    }

    /// Returns what is updated: each tensor at its first place, and the ties to its other places.
    fn pieces_of(&self, by_tensor: bool) -> Result<(Vec<Piece>, Vec<Tie>)> {
        let (mut pieces, mut ties) = (Vec::new(), Vec::new());
        let mut tensors: HashMap<String, usize> = HashMap::new();
        let mut firsts: HashMap<(String, usize), At> = HashMap::new();
        for (buffer, packed) in self.layout.buffers.iter().enumerate() {
            for matrix in 0..packed.form.matrices() {
                let held = contents(self.model, packed, matrix)
                    .ok_or_else(|| Error::internal(format!("{}: expected weights that are trained", packed.name)))?;
                let mut piece = Piece { buffer, matrix, roles: [None; CLASSES], tensors: [usize::MAX; CLASSES] };
                for (class, tensor) in held.tensors.into_iter().enumerate() {
                    let Some(tensor) = tensor else { continue };
                    let at = At { buffer, matrix, class };
                    let count = tensors.len();
                    piece.tensors[class] = *tensors.entry(tensor.name.clone()).or_insert(count);
                    match firsts.get(&(tensor.name.clone(), held.rows.start)) {
                        Some(&first) => {
                            self.check_tied(packed.role)?;
                            let columns = if class == 0 { held.columns } else { 1 };
                            ties.push(Tie { first, other: at, rows: held.rows.len(), columns });
                        }
                        None => {
                            firsts.insert((tensor.name, held.rows.start), at);
                            piece.roles[class] = Some(tensor.role);
                        }
                    }
                }
                if by_tensor {
                    pieces.extend((0..CLASSES).map(|class| piece.only(class)).filter(Piece::is_any));
                } else if piece.is_any() {
                    pieces.push(piece);
                }
            }
        }
        Ok((pieces, ties))
    }

    /// Refuses a convolution whose kernel is laid out in two ways. Weights of others have one place for each column.
    fn check_tied(&self, role: layout::Role) -> Result<()> {
        let Some(layer) = role.layer().filter(|&layer| matches!(self.model.layers[layer].kind, LayerKind::Conv1d(_)))
        else {
            return Ok(());
        };
        let place = self.model.place(layer);
        let text = format!("layer {place}: expected convolutions that share tensors to take features in equal parts");
        Err(Error::new(ErrorKind::Model, text).hint("give each its own tensors to train it"))
    }

    /// Returns the rows of a piece, in as few windows as the binding limit allows.
    fn stretches(&self, trained: &[Trained], piece: &Piece) -> Vec<Stretch> {
        let slot = trained[piece.buffer].weights;
        let (_, panels, rows, width) = self.panels_in(piece.buffer);
        let bytes = 4 * (rows * width) as u64;
        let cut = (!self.fit_whole(&[slot])).then_some(bytes);
        let panels = self.panels_of((slot, panels, cut), piece.matrix, 0, 1);
        let stretch = |panels: super::windows::Panels| {
            let Window { offset, bytes, .. } = panels.window;
            Stretch { offset, bytes, first: panels.at * rows, rows: panels.panels * rows }
        };
        panels.into_iter().map(stretch).collect()
    }

    /// Returns the rows of the depth, panels, rows of a panel, and elements
    /// of a row of a packed buffer. A table has one row in each panel.
    fn panels_in(&self, buffer: usize) -> (usize, usize, usize, usize) {
        match self.layout.buffers[buffer].form {
            Form::Matrix { panels, source, gates, extra, .. } => {
                (depth(source), panels, depth(source) + 1 + extra, gates * LANES)
            }
            Form::Table { rows, width, .. } => (usize::MAX, rows, 1, width),
        }
    }

    /// Returns how many sums the squares of each stretch are cut into.
    fn groups(&self, piece: &Piece, stretches: &[Stretch]) -> impl Iterator<Item = usize> {
        let (.., width) = self.panels_in(piece.buffer);
        stretches.iter().map(move |stretch| (stretch.rows * width).div_ceil(SQUARED))
    }

    /// Returns the params of a stretch of a piece.
    fn params_of(&self, piece: &Piece, stretch: &Stretch, by_tensor: bool) -> Params {
        let (depth, _, rows, width) = self.panels_in(piece.buffer);
        let [gates_0, gates_1, live_0] = piece.roles.map(|role| role.map_or(NO_ROLE, |role| role as u32));
        let norm = |class: usize| match piece.roles[class] {
            Some(_) if by_tensor => word(1 + piece.tensors[class]),
            _ => 0,
        };
        let [time_step_0, time_step_1, live_1] = [norm(0), norm(1), norm(2)];
        Params {
            rows: word(stretch.rows),
            units: word(width),
            depth: word(depth),
            count: if depth == usize::MAX { u32::MAX } else { word(rows) },
            source_0: word(stretch.first),
            gates_0,
            gates_1,
            live_0,
            time_step_0,
            time_step_1,
            live_1,
            ..Params::default()
        }
    }

    fn squares(
        &mut self,
        piece: &Piece,
        stretches: &[Stretch],
        trained: &Trained,
        (scalars, sums, mut at): (SlotId, SlotId, usize),
    ) -> Result<()> {
        for (stretch, groups) in stretches.iter().zip(self.groups(piece, stretches).collect::<Vec<_>>()) {
            let params =
                Params { steps: word(SQUARED / 4), target_0: word(at), ..self.params_of(piece, stretch, false) };
            let windows = [
                (Role::Source, Some(stretch.window(trained.weights))),
                (Role::Delta, Some(stretch.window(trained.gradient))),
                (Role::Scalars, Some(self.whole(scalars))),
                (Role::Result, Some(self.whole(sums))),
            ];
            self.dispatch(Program::Training(Training::Squares), params, [groups, 1, 1], &windows)?;
            at += groups;
        }
        Ok(())
    }

    /// Adds up numbers of `sums` into element `at` of a slot.
    fn total(&mut self, sums: SlotId, range: std::ops::Range<usize>, (target, at): (SlotId, usize)) -> Result<()> {
        let params = Params {
            source_0: word(range.start),
            count: word(range.len()),
            target_0: word(at),
            scale: 1.0_f32.to_bits(),
            ..Params::default()
        };
        let windows = [(Role::Source, Some(self.whole(sums))), (Role::Result, Some(self.whole(target)))];
        self.dispatch(Program::Training(Training::Total { first: true }), params, [1, 1, 1], &windows)
    }

    /// Emits the new weights of a piece.
    fn moved(
        &mut self,
        update_rule: UpdateRule,
        piece: &Piece,
        stretches: &[Stretch],
        (trained, scalars, norms): (&Trained, SlotId, SlotId),
    ) -> Result<()> {
        let moments = [Role::Moment, Role::SecondMoment, Role::ThirdMoment];
        for stretch in stretches {
            let (.., width) = self.panels_in(piece.buffer);
            let groups = (stretch.rows * width).div_ceil(4 * WORKGROUP as usize);
            let across = groups.min(self.limits.workgroups as usize);
            let params = Params { steps: word(across), ..self.params_of(piece, stretch, update_rule.by_tensor) };
            let mut windows = vec![
                (Role::Delta, Some(stretch.window(trained.gradient))),
                (Role::Scalars, Some(self.whole(scalars))),
                (Role::Norms, Some(self.whole(norms))),
                (Role::Result, Some(stretch.window(trained.weights))),
            ];
            windows.extend(
                moments.into_iter().zip(&trained.moments).map(|(role, &slot)| (role, Some(stretch.window(slot)))),
            );
            let program = Program::Training(Training::Update(update_rule.rule));
            self.dispatch(program, params, [across, groups.div_ceil(across), 1], &windows)?;
        }
        Ok(())
    }

    /// Emits a tie of two layouts of a tensor. `of` gives the slot of a packed buffer.
    /// The first becomes the sum of both, or with `back`, the other becomes the first.
    fn tie(&mut self, tie: &Tie, back: bool, of: impl Fn(usize) -> SlotId) -> Result<()> {
        let (from, to) = if back { (tie.first, tie.other) } else { (tie.other, tie.first) };
        let (source, result) = (of(from.buffer), of(to.buffer));
        if !self.fit_whole(&[source, result]) {
            let (name, most) = (&self.plan.slots[source].name, self.limits.binding_bytes);
            let text = format!(
                "{name}: needs a binding of {} bytes to be trained, since layers share it, the device's largest is {most}; try \
                 --device cpu",
                self.plan.slots[source].bytes
            );
            return Err(Error::new(ErrorKind::Limits, text));
        }
        let [source_0, source_1, gates_0, source_units, source_features] = self.place_of(from)?;
        let [target_0, target_1, gates_1, units, source_directions] = self.place_of(to)?;
        for (first, rows) in self.pieces(tie.rows, 1) {
            let params = Params {
                rows: word(rows),
                offset: word(first),
                features: word(tie.columns),
                source_0,
                source_1,
                gates_0,
                source_units,
                source_features,
                target_0,
                target_1,
                gates_1,
                units,
                source_directions,
                ..Params::default()
            };
            let windows = [(Role::Source, Some(self.whole(source))), (Role::Result, Some(self.whole(result)))];
            let grid = [tie.columns.div_ceil(WORKGROUP as usize), rows, 1];
            self.dispatch(Program::Training(Training::Tie { first: back }), params, grid, &windows)?;
        }
        Ok(())
    }

    /// Returns where a tensor is in its packed buffer, in the form that [`TIE`](crate::kernel::catalog) takes.
    fn place_of(&self, at: At) -> Result<[u32; 5]> {
        let (rows_of_depth, panels, rows, width) = self.panels_in(at.buffer);
        let packed = &self.layout.buffers[at.buffer];
        let first = at.matrix * panels * rows * width;
        Ok(match (packed.form, at.class) {
            (Form::Table { width, .. }, _) => [first, 0, 1, width, 1],
            (Form::Matrix { source, gates, units, .. }, 0) => [first, rows * width, gates, units, source.size],
            (Form::Matrix { gates, units, .. }, 1) => [first + rows_of_depth * width, rows * width, gates, units, 1],
            // Recurrent matrices of one shape have one layout.
            (Form::Matrix { .. }, _) => {
                return Err(Error::internal(format!("{}: expected peepholes in one layout", packed.name)));
            }
        }
        .map(word))
    }
}

impl Piece {
    /// Returns the piece with the rows of only one class.
    fn only(&self, class: usize) -> Self {
        let mut roles = [None; CLASSES];
        roles[class] = self.roles[class];
        Self { roles, ..*self }
    }

    fn is_any(&self) -> bool {
        self.roles.iter().any(Option::is_some)
    }

    /// Returns the tensor of the first rows that are updated.
    fn tensor(&self) -> usize {
        let class = self.roles.iter().position(Option::is_some).unwrap_or(0);
        self.tensors[class]
    }
}

impl Stretch {
    fn window(&self, slot: SlotId) -> Window {
        Window { slot, offset: self.offset, bytes: self.bytes }
    }
}
