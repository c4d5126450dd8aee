//! What must hold for a plan before an executor runs it. A pure function: plan and limits in, the first violation out.
//!
//! wgpu does not see most of this: workgroups whose size is an override, grids past the limit, rows outside a window.

mod across;
mod attention;
mod convolve;
mod training;
mod violation;

pub use violation::Violation;

use super::{Dispatch, Limits, Plan, Slot, SlotKind, WINDOW_ALIGN, Window};
use crate::kernel::{
    Access, Binding, CELL_UNPROJECTED, Convolve, Draw, Gemm, Half, Join, Kernel, LANES, Medium, Params, Program, Role,
    SCRATCH_UPDATE, StateKind, Step, StepProject, Tile, WORKGROUP, kept_gates,
};
use crate::precision::Precision;

type Result<T, E = Violation> = std::result::Result<T, E>;

/// Proves that `plan` can run within `limits`.
///
/// # Errors
///
/// Returns the violation of the first dispatch or slot that does not fit the limits, or that contradicts the others.
pub fn check(plan: &Plan, limits: &Limits) -> Result<()> {
    for slot in &plan.slots {
        slot_fits(slot, limits)?;
    }
    let params = plan.params_bytes();
    if params > limits.buffer_bytes {
        return Err(Violation::Exceeds(format!(
            "params: needs a buffer of {params} bytes, the device's largest is {}; try fewer steps a call, or another device",
            limits.buffer_bytes
        )));
    }
    let mut written: Vec<bool> = plan.slots.iter().map(|slot| !slot.kind.is_own()).collect();
    for write in &plan.writes {
        written[write.slot] = true;
        in_buffer(plan, write.slot, "the host writes")?;
        inside(plan, write.slot, write.offset, write.bytes, "the host writes")?;
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let name = plan.programs[step.program].kernel().name();
        dispatch(plan, step, limits, &mut written).map_err(|e| e.at(format!("dispatch {index} {name}")))?;
    }
    for read in &plan.reads {
        in_buffer(plan, read.slot, "the host reads")?;
        inside(plan, read.slot, read.offset, read.bytes, "the host reads")?;
        if !written[read.slot] {
            return Err(Violation::Malformed(format!("{}: read but never written", plan.slots[read.slot].name)));
        }
    }
    Ok(())
}

/// Checks that the device has buffers as large as `slot`.
///
/// # Errors
///
/// Returns `Exceeds` if it does not.
pub(super) fn slot_fits(slot: &Slot, limits: &Limits) -> Result<()> {
    if slot.kind == SlotKind::Texture && slot.bytes > Medium::most_bytes(Precision::F32) {
        let most = Medium::most_bytes(Precision::F32);
        return Err(Violation::Malformed(format!("{}: {} bytes, a texture takes {most}", slot.name, slot.bytes)));
    }
    if slot.bytes <= limits.buffer_bytes {
        return Ok(());
    }
    let hint = match slot.kind {
        SlotKind::Weights(_) => "try smaller weights (--precision f16 or int8), or another device",
        SlotKind::TrainState(_) => "try a smaller model, or another device",
        SlotKind::Input
        | SlotKind::Index
        | SlotKind::Mailbox
        | SlotKind::Scratch
        | SlotKind::Texture
        | SlotKind::Output => "try a smaller batch, fewer steps a call, or another device",
    };
    let (name, bytes, most) = (&slot.name, slot.bytes, limits.buffer_bytes);
    Err(Violation::Exceeds(format!("{name}: needs a buffer of {bytes} bytes, the device's largest is {most}; {hint}")))
}

fn in_buffer(plan: &Plan, slot: usize, who: &str) -> Result<()> {
    let slot = &plan.slots[slot];
    match slot.kind.medium() {
        Medium::Texture => Err(Violation::Malformed(format!("{}: {who} a texture", slot.name))),
        Medium::Buffer => Ok(()),
    }
}

fn inside(plan: &Plan, slot: usize, offset: u64, bytes: u64, who: &str) -> Result<()> {
    let slot = &plan.slots[slot];
    match offset.checked_add(bytes) {
        Some(end) if end <= slot.bytes && offset.is_multiple_of(4) && bytes.is_multiple_of(4) => Ok(()),
        _ => Err(Violation::Malformed(format!(
            "{}: {who} {bytes} bytes from {offset} on, the slot has {}",
            slot.name, slot.bytes
        ))),
    }
}

fn dispatch(plan: &Plan, step: &Dispatch, limits: &Limits, written: &mut [bool]) -> Result<()> {
    let (program, params) = (&plan.programs[step.program], &plan.params[step.params]);
    program_fits(program, params, limits)?;
    if step.grid.contains(&0) {
        return Err(Violation::Malformed(format!("a grid of {:?} workgroups, expected 1 or more each", step.grid)));
    }
    if let Some(&groups) = step.grid.iter().find(|&&groups| groups > limits.workgroups) {
        return Err(Violation::Exceeds(format!(
            "a grid of {groups} workgroups, the device takes 1 to {}",
            limits.workgroups
        )));
    }
    if goes_by_direction(program) && u64::from(params.direction) + u64::from(step.grid[2]) > params.directions.into() {
        return Err(Violation::Malformed(format!(
            "a grid of {} directions from {} on, the rows have {}",
            step.grid[2], params.direction, params.directions
        )));
    }
    let groups = step.grid.iter().fold(1_u64, |groups, &n| groups.saturating_mul(n.into()));
    if program.kernel() == Kernel::Persistent && groups > limits.co_resident_workgroups.into() {
        return Err(Violation::Exceeds(format!(
            "{groups} workgroups that wait for each other, {} are known to run side by side",
            limits.co_resident_workgroups
        )));
    }
    let bindings: Vec<_> = program.bindings().skip(1).collect();
    if bindings.len() != step.windows.len() {
        return Err(Violation::Malformed(format!(
            "{} bindings declared, {} bound",
            bindings.len(),
            step.windows.len()
        )));
    }
    let extents = extents(program, params, step.grid);
    // Anything that is not a weight has four bytes.
    let storage = program.storage().unwrap_or(Precision::F32);
    for (index, (binding, window)) in bindings.iter().zip(&step.windows).enumerate() {
        let slot = &plan.slots[window.slot];
        inside(plan, window.slot, window.offset, window.bytes, "a dispatch binds")?;
        if !window.offset.is_multiple_of(WINDOW_ALIGN) {
            return Err(Violation::Malformed(format!(
                "{}: a window at {}, not a multiple of {WINDOW_ALIGN}",
                slot.name, window.offset
            )));
        }
        let texture = binding.access.is_texture();
        // The layout says where a model's weights are.
        let is_there = if matches!(slot.kind, SlotKind::Weights(_)) {
            binding.access != Access::WriteTexture
        } else {
            texture == (slot.kind.medium() == Medium::Texture)
        };
        if !is_there {
            let text = format!("{} as {}: bound as {:?}", slot.name, binding.role.name(), binding.access);
            return Err(Violation::Malformed(text));
        }
        if texture {
            let most = Medium::most_bytes(storage);
            if window.bytes != slot.bytes || slot.bytes > most {
                return Err(Violation::Malformed(format!(
                    "{}: binds {} of {} bytes as a texture, which is bound whole and takes {most} at most",
                    slot.name, window.bytes, slot.bytes
                )));
            }
        } else if window.bytes > limits.binding_bytes {
            return Err(Violation::Exceeds(format!(
                "{}: needs a binding of {} bytes, the device's largest is {}; try a smaller batch or another device",
                slot.name, window.bytes, limits.binding_bytes
            )));
        }
        // The query and the key of an attention may be one value, which is only read.
        let reads_twice = |other: &Binding| {
            matches!(program, Program::Attend(_)) && !other.access.is_write() && !binding.access.is_write()
        };
        let is_twin = |(other, at): (&Binding, &Window)| at.slot == window.slot && !reads_twice(other);
        if bindings.iter().zip(&step.windows[..index]).any(is_twin) {
            return Err(Violation::Malformed(format!("{}: bound twice", slot.name)));
        }
        let Some(elems) = extents.get(binding.role) else {
            return Err(Violation::Malformed(format!("{}: no extent is known", binding.role.name())));
        };
        let elem_bytes = if binding.role == Role::Weights { storage.bytes() } else { 4 };
        // A size past 32 bits saturates in `Params`: a dispatch may then touch less than is bound, never more.
        if elems.saturating_mul(elem_bytes) > window.bytes {
            return Err(Violation::Malformed(format!(
                "{} as {}: touches {elems} elements, {} bytes are bound",
                slot.name,
                binding.role.name(),
                window.bytes
            )));
        }
        if elems > u64::from(u32::MAX) {
            return Err(Violation::Exceeds(format!(
                "{}: a dispatch reaches {elems} elements of it, kernels count to {}; try a smaller batch or a smaller model",
                slot.name,
                u32::MAX
            )));
        }
        if !written[window.slot] && !binding.access.is_write() {
            return Err(Violation::Malformed(format!("{}: read before anything wrote it", slot.name)));
        }
        written[window.slot] |= binding.access.is_write();
    }
    Ok(())
}

fn program_fits(program: &Program, params: &Params, limits: &Limits) -> Result<()> {
    let [x, y, z] = program.workgroup_size();
    if x * y * z > limits.invocations {
        return Err(Violation::Exceeds(format!(
            "{} invocations a workgroup, the device takes {}",
            x * y * z,
            limits.invocations
        )));
    }
    let bytes = program.workgroup_bytes();
    if bytes > limits.workgroup_bytes {
        return Err(Violation::Exceeds(format!(
            "{bytes} bytes of workgroup memory, the device has {}",
            limits.workgroup_bytes
        )));
    }
    let iterations = program.loop_iterations(params);
    if iterations > u64::from(limits.loop_iterations) {
        // The part that grows neither with the depth nor, if there is no depth, with the features of a row.
        let fixed = program.loop_iterations(&Params { depth: 0, units: 0, ..*params });
        let (what, size) = match params.depth {
            0 => ("features", u64::from(params.units) * u64::from(params.directions)),
            depth => ("inputs of a product", u64::from(depth)),
        };
        let room = u64::from(limits.loop_iterations).saturating_sub(fixed);
        let fits = size.saturating_mul(room) / (iterations - fixed).max(1) / LANES as u64 * LANES as u64;
        return Err(Violation::Exceeds(format!(
            "{iterations} iterations of loops an invocation, the device is trusted with {}; {size} {what} are too many for \
             it, {fits} would do; the CPU (--device cpu) takes any number",
            limits.loop_iterations
        )));
    }
    Ok(())
}

/// Whether the grid's z counts directions that are side by side in a row.
fn goes_by_direction(program: &Program) -> bool {
    match program {
        Program::Step(_)
        | Program::Wavefront(_)
        | Program::Scan(_)
        | Program::Persistent(_)
        | Program::StepReset(_)
        | Program::StepNew(..)
        | Program::StepProject(_)
        | Program::FinalState
        | Program::MaskOutputs => true,
        Program::Gemm(_)
        | Program::ResetMailbox
        | Program::Gather(_)
        | Program::OneHot
        | Program::Merge(_)
        | Program::Join(_)
        | Program::Softmax { .. }
        | Program::Activate(_)
        | Program::Normalize(_)
        | Program::Sample
        | Program::Across(_)
        | Program::Attend(_)
        | Program::Convolve(_) => false,
        Program::Training(training) => training::goes_by_direction(training),
    }
}

fn n(word: u32) -> u64 {
    word.into()
}

/// How many elements of each binding a dispatch reaches, from the start of the window.
struct Extents([Option<u64>; Role::COUNT]);

impl Extents {
    fn of(all: &[(Role, u64)]) -> Self {
        let mut extents = Self([None; Role::COUNT]);
        for &(role, elems) in all {
            extents.0[role as usize] = Some(elems);
        }
        extents
    }

    fn get(&self, role: Role) -> Option<u64> {
        self.0[role as usize]
    }
}

fn extents(program: &Program, p: &Params, grid: [u32; 3]) -> Extents {
    let pairs = grid[2] > 1 && program.kernel() != Kernel::Wavefront;
    let last = |first: u32, second: u32| u64::from(if pairs { first.max(second) } else { first });
    let (rows, batch, directions, depth, units) = (n(p.rows), n(p.batch), n(p.directions), n(p.depth), n(p.units));
    let width = directions * units;
    let (source, target) = (last(p.source_0, p.source_1), last(p.target_0, p.target_1));
    let panels = n(p.weight_panel) + n(grid[2] - 1) * n(p.weight_panels) + n(p.panels);
    let weights = |storage: Precision| {
        let panel = storage.panel_bytes(depth, n(program.rows_after_depth()), n(program.product_gates()));
        (Role::Weights, panels * (panel / storage.bytes()))
    };
    let x_gates = program.cell().map_or(1, |(cell, _)| cell.gates() as u64);
    let gates = (Role::Gates, (last(p.gates_0, p.gates_1) + 1) * batch * units * x_gates);
    let kept_gates = program.cell().map_or(1, |(cell, _)| n(kept_gates(cell)));
    let kept = (Role::Kept, (last(p.kept_0, p.kept_1) + 1) * batch * units * kept_gates);
    let live = (Role::Live, (last(p.live_0, p.live_1) + 1) * batch);
    let cell_rows = |rows: u64, width: u64| (Role::CellState, rows * batch * width);
    let scratch = (Role::Scratch, (SCRATCH_UPDATE as u64 + 1) * batch * width);
    let cell_states = cell_rows(n(p.cell_in.max(p.cell_out)) + 1, width);
    let hidden = |row: u64, width: u64| (Role::Hidden, (row + 1) * batch * width);
    // A row with a copy for each gate is that many times as long.
    let copies = if program.is_per_gate() { n(program.product_gates()) } else { 1 };
    let copied = (Role::Source, (n(p.direction) + n(grid[2])) * batch * depth * copies);
    match program {
        Program::Gemm(Gemm { matrix, .. }) => Extents::of(&[
            weights(matrix.storage),
            // No element past the depth of the last row is taken.
            (Role::Source, (source + rows) * n(p.source_units).max(depth) * copies),
            (Role::Result, (target + rows) * units),
        ]),
        Program::Step(Step { matrix, states: StateKind::Projected, .. }) => {
            let rows = n(p.cell_in.max(p.cell_out)).max(CELL_UNPROJECTED as u64) + 1;
            let states = [hidden(source, directions * depth), cell_rows(rows, width)];
            Extents::of(&[weights(matrix.storage), gates, live, states[0], states[1], kept, copied])
        }
        Program::Step(Step { matrix, states: StateKind::Hidden | StateKind::Cell, .. }) => {
            let hidden = hidden(source.max(target), width);
            Extents::of(&[weights(matrix.storage), gates, live, hidden, cell_states, kept, copied])
        }
        Program::Wavefront(Step { matrix, .. }) => {
            let layers = n(p.direction) + n(grid[2]);
            let states = 2 * layers * batch * units;
            let hoisted = if p.direction == 0 { gates.1 } else { 0 };
            let target = if layers == directions { (n(p.target_0) + 1) * batch * units } else { 0 };
            // The input product of the dispatch's first layer is before its recurrent one.
            Extents::of(&[
                weights(matrix.storage),
                (Role::Gates, hoisted),
                live,
                (Role::Hidden, states),
                (Role::CellState, states),
                (Role::Output, target),
            ])
        }
        Program::Scan(step) | Program::Persistent(step) => {
            let reach = |first: u32, step: u32| farthest(first, step, p.steps);
            let pair = |a: u64, b: u64| if pairs { a.max(b) } else { a };
            let rows = pair(reach(p.target_0, p.hidden_step_0), reach(p.target_1, p.hidden_step_1));
            let times = pair(reach(p.gates_0, p.time_step_0), reach(p.gates_1, p.time_step_1));
            let lives = pair(reach(p.live_0, p.time_step_0), reach(p.live_1, p.time_step_1));
            let kept = pair(reach(p.kept_0, p.time_step_0), reach(p.kept_1, p.time_step_1));
            // A program that keeps writes the cell states of each step.
            let cell_states = match step.keeps {
                true => cell_rows(n(p.cell_in).max(reach(p.cell_out, 1)) + 1, width),
                false => cell_states,
            };
            Extents::of(&[
                weights(step.matrix.storage),
                (Role::Gates, (times + 1) * batch * units * x_gates),
                (Role::Live, (lives + 1) * batch),
                (Role::Kept, (kept + 1) * batch * units * kept_gates),
                hidden(source.max(rows), width),
                cell_states,
                (Role::Mailbox, (1 + n(grid[2]) * n(p.steps) * batch) * units),
            ])
        }
        Program::ResetMailbox => Extents::of(&[(Role::Mailbox, (target + rows) * units)]),
        Program::StepReset(Half { matrix, .. }) => {
            Extents::of(&[weights(matrix.storage), gates, hidden(source, width), scratch, copied])
        }
        Program::StepNew(Half { matrix, .. }, _) => {
            Extents::of(&[weights(matrix.storage), gates, live, scratch, hidden(source.max(target), width), copied])
        }
        Program::StepProject(StepProject { matrix, .. }) => Extents::of(&[
            weights(matrix.storage),
            cell_rows(CELL_UNPROJECTED as u64 + 1, directions * depth),
            live,
            hidden(source.max(target), width),
        ]),
        Program::Gather(_) => Extents::of(&[
            (Role::Weights, (n(p.weight_panel) + n(grid[2] - 1) * n(p.weight_panels) + n(p.tokens)) * units),
            (Role::Tokens, source + rows),
            (Role::Result, (target + rows) * units),
        ]),
        Program::OneHot => Extents::of(&[(Role::Tokens, source + rows), (Role::Result, (target + rows) * units)]),
        Program::FinalState => {
            Extents::of(&[(Role::Source, (source + 1) * batch * width), (Role::Result, batch * width)])
        }
        Program::MaskOutputs => Extents::of(&[
            (Role::Source, (n(p.source_0) + rows) * width),
            (Role::Live, last(p.live_0, p.live_1) + rows),
            (Role::Result, (n(p.target_0) + rows) * width),
        ]),
        Program::Merge(_) => {
            Extents::of(&[(Role::Source, (source + rows) * 2 * units), (Role::Result, (target + rows) * units)])
        }
        Program::Join(join) => Extents::of(&[
            (Role::Source, joined(*join, p).unwrap_or(u64::MAX)),
            (Role::Result, (target + rows) * width),
        ]),
        Program::Sample => {
            let draw = size_of::<Draw>() as u64 / 4;
            Extents::of(&[
                (Role::Source, (source + rows) * units),
                (Role::Draws, batch * draw),
                (Role::Tokens, target + rows),
            ])
        }
        Program::Convolve(convolve) => convolve::extents(*convolve, p),
        Program::Across(across) => across::extents(*across, p),
        Program::Attend(attend) => attention::extents(*attend, p),
        Program::Training(training) => training::extents(*training, p, grid),
        Program::Normalize(_) => Extents::of(&[
            (Role::Weights, 2 * n(p.source_units)),
            (Role::Source, (source + rows) * width),
            (Role::Result, (target + rows) * width),
        ]),
        Program::Softmax { .. } | Program::Activate(_) => {
            Extents::of(&[(Role::Source, (source + rows) * width), (Role::Result, (target + rows) * width)])
        }
    }
}

/// Returns the elements of its source that a join reaches, or `None` if its params contradict each other.
fn joined(join: Join, p: &Params) -> Option<u64> {
    let fits = |first: u32, parts: u32, features: u32| n(first) + n(p.count) <= n(parts) * n(features);
    let parts_fit = p.features <= p.units && p.source_features <= p.source_units;
    let columns_fit =
        fits(p.offset, p.directions, p.features) && fits(p.source_offset, p.source_directions, p.source_features);
    let rows = if join.broadcast { p.batch } else { p.rows };
    let is_some = p.units > 0 && p.source_features > 0 && rows > 0;
    let width = n(p.source_units) * n(p.source_directions);
    (parts_fit && columns_fit && is_some).then(|| (n(p.source_0) + n(rows)).saturating_mul(width))
}

/// Returns the farthest of `steps` rows from `first` on, each `step`
/// apart, modulo 2³². If one is before row 0, the result is past any slot.
fn farthest(first: u32, step: u32, steps: u32) -> u64 {
    let (step, more) = (i64::from(step.cast_signed()), i64::from(steps) - 1);
    let last = i64::from(first) + step * more;
    u64::try_from(last).map_or(u32::MAX.into(), |last| last.max(first.into()))
}

/// Whether the grid of `step` reaches every row and panel that its params name. Tests of `lower` use it.
pub fn covers(plan: &Plan, step: &Dispatch) -> bool {
    let (program, p) = (&plan.programs[step.program], &plan.params[step.params]);
    let [x, y, z] = step.grid.map(u64::from);
    let columns = |elems: u32| x * u64::from(WORKGROUP) * 4 >= u64::from(elems);
    let tiles = |tile: Tile, slices: u32, rows: u32| {
        y * u64::from(tile.rows) * u64::from(slices) >= u64::from(rows)
            && x * u64::from(tile.panels * tile.wide) >= u64::from(p.panels)
    };
    match program {
        Program::Gemm(Gemm { tile, .. }) => tiles(*tile, tile.slices, p.rows),
        Program::Step(Step { tile, .. })
        | Program::Wavefront(Step { tile, .. })
        | Program::Scan(Step { tile, .. })
        | Program::Persistent(Step { tile, .. })
        | Program::StepReset(Half { tile, .. })
        | Program::StepNew(Half { tile, .. }, _)
        | Program::StepProject(StepProject { tile, .. }) => tiles(*tile, 1, p.batch),
        Program::Across(_) => across::covers(p, step.grid),
        Program::Convolve(Convolve::Forward { tile, .. }) => tiles(*tile, tile.slices, p.rows),
        Program::Convolve(convolve) => convolve::covers(*convolve, p, step.grid),
        Program::Attend(attend) => attention::covers(*attend, p, step.grid),
        Program::Training(training) => training::covers(*training, p, step.grid),
        Program::FinalState => y >= u64::from(p.batch) && columns(p.units),
        Program::Softmax { .. } | Program::Normalize(_) | Program::Sample => y >= u64::from(p.rows),
        Program::MaskOutputs => y >= u64::from(p.rows) && columns(p.units) && z == u64::from(p.directions),
        Program::Gather(_) | Program::OneHot | Program::Merge(_) | Program::ResetMailbox => {
            y >= u64::from(p.rows) && columns(p.units)
        }
        Program::Join(_) | Program::Activate(_) => y >= u64::from(p.rows) && columns(p.units * p.directions),
    }
}
