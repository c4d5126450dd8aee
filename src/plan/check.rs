//! What must hold for a plan before any executor runs it. Pure: plan and limits in, the first violation out.
//!
//! wgpu does not see most of this: workgroups sized by overrides, grids past the limit, rows out of a window.

use super::{Dispatch, Limits, Plan, Slot, SlotKind, WINDOW_ALIGN};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{
    Access, Draw, Kernel, LANES, MEMORY_UNPROJECTED, MEMORY_UPDATE, Medium, Params, Program, StateKind, WORKGROUP,
};

/// Proves that `plan` can run within `limits`.
///
/// # Errors
///
/// Kind `Limits`: the first dispatch or slot that does not fit, what it needs and what there is.
pub fn check(plan: &Plan, limits: &Limits) -> Result<()> {
    for slot in &plan.slots {
        slot_fits(slot, limits)?;
    }
    let params = plan.params_bytes();
    if params > limits.buffer_bytes {
        return Err(too_large(format!(
            "params: needs a buffer of {params} bytes, the device's largest is {}; try fewer steps a call, or another device",
            limits.buffer_bytes
        )));
    }
    let mut written: Vec<bool> = plan.slots.iter().map(|slot| matches!(slot.kind, SlotKind::Weights(_))).collect();
    for write in &plan.writes {
        written[write.slot] = true;
        inside(plan, write.slot, write.offset, write.bytes, "the host writes")?;
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let name = plan.programs[step.program].kernel.name();
        dispatch(plan, step, limits, &mut written).map_err(|e| e.at(format!("dispatch {index} {name}")))?;
    }
    for read in &plan.reads {
        inside(plan, read.slot, read.offset, read.bytes, "the host reads")?;
        if !written[read.slot] {
            return Err(too_large(format!("{}: read but never written", plan.slots[read.slot].name)));
        }
    }
    Ok(())
}

/// Whether the device has buffers as large as `slot`.
///
/// # Errors
///
/// Kind `Limits`, where it has not.
pub(super) fn slot_fits(slot: &Slot, limits: &Limits) -> Result<()> {
    if slot.bytes <= limits.buffer_bytes {
        return Ok(());
    }
    let hint = match slot.kind {
        SlotKind::Weights(_) => "try smaller weights (--precision f16 or int8), or another device",
        _ => "try a smaller batch, fewer steps a call, or another device",
    };
    let (name, bytes, most) = (&slot.name, slot.bytes, limits.buffer_bytes);
    Err(too_large(format!("{name}: needs a buffer of {bytes} bytes, the device's largest is {most}; {hint}")))
}

fn too_large(message: String) -> Error {
    Error::new(ErrorKind::Limits, message)
}

fn inside(plan: &Plan, slot: usize, offset: u64, bytes: u64, who: &str) -> Result<()> {
    let slot = &plan.slots[slot];
    match offset.checked_add(bytes) {
        Some(end) if end <= slot.bytes && offset.is_multiple_of(4) && bytes.is_multiple_of(4) => Ok(()),
        _ => {
            Err(too_large(format!("{}: {who} {bytes} bytes from {offset} on, the slot has {}", slot.name, slot.bytes)))
        }
    }
}

fn dispatch(plan: &Plan, step: &Dispatch, limits: &Limits, written: &mut [bool]) -> Result<()> {
    let (program, params) = (&plan.programs[step.program], &plan.params[step.params]);
    program_fits(program, params, limits)?;
    if let Some(&groups) = step.grid.iter().find(|&&groups| groups == 0 || groups > limits.workgroups) {
        return Err(too_large(format!("a grid of {groups} workgroups, the device takes 1 to {}", limits.workgroups)));
    }
    if goes_by_direction(program.kernel)
        && u64::from(params.direction) + u64::from(step.grid[2]) > params.directions.into()
    {
        return Err(too_large(format!(
            "a grid of {} directions from {} on, the rows have {}",
            step.grid[2], params.direction, params.directions
        )));
    }
    let groups = step.grid.iter().fold(1_u64, |groups, &n| groups.saturating_mul(n.into()));
    if program.kernel == Kernel::Persistent && groups > limits.resident_workgroups.into() {
        return Err(too_large(format!(
            "{groups} workgroups that wait for each other, {} are known to run side by side",
            limits.resident_workgroups
        )));
    }
    let bindings: Vec<_> = program.bindings().skip(1).collect();
    if bindings.len() != step.windows.len() {
        return Err(too_large(format!("{} bindings declared, {} bound", bindings.len(), step.windows.len())));
    }
    let extents = extents(program, params, step.grid);
    for (index, (binding, window)) in bindings.iter().zip(&step.windows).enumerate() {
        let slot = &plan.slots[window.slot];
        inside(plan, window.slot, window.offset, window.bytes, "a dispatch binds")?;
        if !window.offset.is_multiple_of(WINDOW_ALIGN) {
            return Err(too_large(format!(
                "{}: a window at {}, not a multiple of {WINDOW_ALIGN}",
                slot.name, window.offset
            )));
        }
        let texture = matches!(binding.access, Access::Texture | Access::IntegerTexture);
        if texture {
            let most = Medium::most_bytes(program.storage);
            if window.bytes != slot.bytes || slot.bytes > most {
                return Err(too_large(format!(
                    "{}: binds {} of {} bytes as a texture, which is bound whole and takes {most} at most",
                    slot.name, window.bytes, slot.bytes
                )));
            }
        } else if window.bytes > limits.binding_bytes {
            return Err(too_large(format!(
                "{}: needs a binding of {} bytes, the device's largest is {}; try a smaller batch or another device",
                slot.name, window.bytes, limits.binding_bytes
            )));
        }
        if step.windows[..index].iter().any(|other| other.slot == window.slot) {
            return Err(too_large(format!("{}: bound twice", slot.name)));
        }
        let Some(&(_, elems)) = extents.iter().find(|(name, _)| *name == binding.name) else {
            return Err(too_large(format!("{}: no extent is known", binding.name)));
        };
        let elem_bytes = if binding.name == "weights" { program.storage.bytes() } else { 4 };
        if elems > u64::from(u32::MAX) {
            return Err(too_large(format!(
                "{}: a dispatch reaches {elems} elements of it, kernels count to {}; try a smaller batch or a smaller model",
                slot.name,
                u32::MAX
            )));
        }
        if elems.saturating_mul(elem_bytes) > window.bytes {
            return Err(too_large(format!(
                "{} as {}: touches {elems} elements, {} bytes are bound",
                slot.name, binding.name, window.bytes
            )));
        }
        if !written[window.slot] && (texture || binding.access == Access::Read) {
            return Err(too_large(format!("{}: read before anything wrote it", slot.name)));
        }
        written[window.slot] |= binding.access == Access::ReadWrite;
    }
    Ok(())
}

fn program_fits(program: &Program, params: &Params, limits: &Limits) -> Result<()> {
    let [x, y, z] = program.workgroup_size();
    if x * y * z > limits.invocations {
        return Err(too_large(format!(
            "{} invocations a workgroup, the device takes {}",
            x * y * z,
            limits.invocations
        )));
    }
    let bytes = program.workgroup_bytes();
    if bytes > limits.workgroup_bytes {
        return Err(too_large(format!("{bytes} bytes of workgroup memory, the device has {}", limits.workgroup_bytes)));
    }
    let iterations = program.loop_iterations(params);
    if iterations > u64::from(limits.loop_iterations) {
        // What does not grow with the depth, or with the features of a row where there is no depth.
        let fixed = program.loop_iterations(&Params { depth: 0, units: 0, ..*params });
        let (what, size) = match params.depth {
            0 => ("features", u64::from(params.units) * u64::from(params.directions)),
            depth => ("inputs of a product", u64::from(depth)),
        };
        let room = u64::from(limits.loop_iterations).saturating_sub(fixed);
        let fits = size.saturating_mul(room) / (iterations - fixed).max(1) / LANES as u64 * LANES as u64;
        return Err(too_large(format!(
            "{iterations} iterations of loops an invocation, the device is trusted with {}; {size} {what} are too many for \
             it, {fits} would do; the CPU (--device cpu) takes any number",
            limits.loop_iterations
        )));
    }
    Ok(())
}

/// Whether the grid's z counts directions that stand side by side in a row.
fn goes_by_direction(kernel: Kernel) -> bool {
    kernel.is_step() || matches!(kernel, Kernel::Pick | Kernel::Blank)
}

/// How many elements of each binding a dispatch reaches, from the start of the window.
fn extents(program: &Program, p: &Params, grid: [u32; 3]) -> Vec<(&'static str, u64)> {
    let pairs = grid[2] > 1 && program.kernel != Kernel::Diagonal;
    let last = |first: u32, second: u32| u64::from(if pairs { first.max(second) } else { first });
    let n = u64::from;
    let (rows, batch, directions, depth, units) = (n(p.rows), n(p.batch), n(p.directions), n(p.depth), n(p.units));
    let width = directions * units;
    let (source, target) = (last(p.source_0, p.source_1), last(p.target_0, p.target_1));
    let panels = n(p.weight_panel) + n(grid[2] - 1) * n(p.weight_panels) + n(p.panels);
    let weights = |gates: u64| {
        let panel = program.storage.panel_bytes(depth, n(program.rows_after_depth()), gates);
        ("weights", panels * (panel / program.storage.bytes()))
    };
    let x_gates = program.cell.map_or(1, |cell| cell.gates() as u64);
    let gates = ("gates", (last(p.gates_0, p.gates_1) + 1) * batch * units * x_gates);
    let live = ("live", (last(p.live_0, p.live_1) + 1) * batch);
    let memory = |rows: u64, width: u64| ("memory", rows * batch * width);
    let hidden = |row: u64, width: u64| ("hidden", (row + 1) * batch * width);
    let product = n(program.product_gates());
    match program.kernel {
        Kernel::Project => {
            vec![weights(product), ("source", (source + rows) * depth), ("result", (target + rows) * units)]
        }
        Kernel::Step if program.states == StateKind::Projected => vec![
            weights(product),
            gates,
            live,
            hidden(source, directions * depth),
            memory(n(p.memory_in.max(p.memory_out)).max(MEMORY_UNPROJECTED as u64) + 1, width),
        ],
        Kernel::Step => vec![
            weights(product),
            gates,
            live,
            hidden(source.max(target), width),
            memory(n(p.memory_in.max(p.memory_out)) + 1, width),
        ],
        Kernel::Diagonal => {
            let layers = n(p.direction) + n(grid[2]);
            let states = |name| (name, 2 * layers * batch * units);
            let hoisted = if p.direction == 0 { gates.1 } else { 0 };
            let target = if layers == directions { (n(p.target_0) + 1) * batch * units } else { 0 };
            // The input product of the first layer of the dispatch lies before its recurrent one.
            vec![weights(product), (gates.0, hoisted), live, states("hidden"), states("memory"), ("output", target)]
        }
        Kernel::Scan | Kernel::Persistent => {
            let reach = |first: u32, step: u32| farthest(first, step, p.steps);
            let pair = |a: u64, b: u64| if pairs { a.max(b) } else { a };
            let rows = pair(reach(p.target_0, p.hidden_step_0), reach(p.target_1, p.hidden_step_1));
            let times = pair(reach(p.gates_0, p.time_step_0), reach(p.gates_1, p.time_step_1));
            let lives = pair(reach(p.live_0, p.time_step_0), reach(p.live_1, p.time_step_1));
            vec![
                weights(product),
                ("gates", (times + 1) * batch * units * x_gates),
                ("live", (lives + 1) * batch),
                hidden(source.max(rows), width),
                memory(n(p.memory_in.max(p.memory_out)) + 1, width),
                ("exchange", (1 + n(grid[2]) * n(p.steps) * batch) * units),
            ]
        }
        Kernel::Clear => vec![("exchange", (target + rows) * units)],
        Kernel::StepReset => {
            vec![weights(product), gates, hidden(source, width), memory(MEMORY_UPDATE as u64 + 1, width)]
        }
        Kernel::StepNew => vec![
            weights(product),
            gates,
            live,
            memory(MEMORY_UPDATE as u64 + 1, width),
            hidden(source.max(target), width),
        ],
        Kernel::StepProject => vec![
            weights(product),
            memory(MEMORY_UNPROJECTED as u64 + 1, directions * depth),
            live,
            hidden(source.max(target), width),
        ],
        Kernel::Gather => vec![
            ("weights", (n(p.weight_panel) + n(grid[2] - 1) * n(p.weight_panels) + n(p.tokens)) * units),
            ("tokens", source + rows),
            ("result", (target + rows) * units),
        ],
        Kernel::OneHot => vec![("tokens", source + rows), ("result", (target + rows) * units)],
        Kernel::Pick => vec![("source", (source + 1) * batch * width), ("result", batch * width)],
        Kernel::Blank => vec![
            ("source", (n(p.source_0) + rows) * width),
            ("live", last(p.live_0, p.live_1) + rows),
            ("result", (n(p.target_0) + rows) * width),
        ],
        Kernel::Merge => vec![("source", (source + rows) * 2 * units), ("result", (target + rows) * units)],
        Kernel::Sample => {
            let draw = size_of::<Draw>() as u64 / 4;
            vec![("source", (source + rows) * units), ("draws", batch * draw), ("tokens", target + rows)]
        }
        Kernel::Softmax | Kernel::Activate => {
            vec![("source", (source + rows) * width), ("result", (target + rows) * width)]
        }
    }
}

/// The farthest of `steps` rows from `first` on, by `step` modulo 2³² each: past any slot where one is before the first.
fn farthest(first: u32, step: u32, steps: u32) -> u64 {
    let (step, more) = (i64::from(step.cast_signed()), i64::from(steps) - 1);
    let last = i64::from(first) + step * more;
    u64::try_from(last).map_or(u32::MAX.into(), |last| last.max(first.into()))
}

/// Whether the grid of `step` reaches every row and panel its params speak of. `lower` is tested with it.
pub fn covers(plan: &Plan, step: &Dispatch) -> bool {
    let (program, p) = (&plan.programs[step.program], &plan.params[step.params]);
    let [x, y, z] = step.grid.map(u64::from);
    let columns = |elems: u32| x * u64::from(WORKGROUP) * 4 >= u64::from(elems);
    let tile_rows = u64::from(program.tile.rows);
    match program.kernel {
        Kernel::Project => {
            y * tile_rows * u64::from(program.tile.slices) >= u64::from(p.rows)
                && x * u64::from(program.tile.panels) >= u64::from(p.panels)
        }
        kernel if kernel.is_step() => {
            y * tile_rows >= u64::from(p.batch) && x * u64::from(program.tile.panels) >= u64::from(p.panels)
        }
        Kernel::Pick => y >= u64::from(p.batch) && columns(p.units),
        Kernel::Softmax | Kernel::Sample => y >= u64::from(p.rows),
        Kernel::Blank => y >= u64::from(p.rows) && columns(p.units) && z == u64::from(p.directions),
        Kernel::Gather | Kernel::OneHot | Kernel::Merge | Kernel::Clear => y >= u64::from(p.rows) && columns(p.units),
        _ => y >= u64::from(p.rows) && columns(p.units * p.directions),
    }
}
