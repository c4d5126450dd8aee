//! The same cases on a device, if `GATEWAVE_ADAPTER` names one: the WGSL of a kernel against its description.

use std::env;
use std::sync::{Arc, OnceLock};

use super::*;
use crate::gpu::{Choice, Gpu, Loaded};
use crate::kernel::{Access, Convolve, Loads, Medium, Training, WORKGROUP};
use crate::platform::block_on;

/// Returns the device with that name, opened once.
fn device() -> Option<&'static Gpu> {
    static DEVICE: OnceLock<Option<Gpu>> = OnceLock::new();
    let open = || {
        let name = env::var("GATEWAVE_ADAPTER").ok().filter(|name| !name.is_empty())?;
        Some(block_on(Gpu::open(Choice::Named(name))).unwrap().expect("it was named"))
    };
    DEVICE.get_or_init(open).as_ref()
}

/// Returns the workgroups of a kernel of training.
fn grid(case: &Case, training: Training) -> [u32; 3] {
    let p = &case.params;
    let width = p.units * p.directions;
    // Invocations of four units each.
    let columns = |elems: u32| elems.div_ceil(4 * WORKGROUP);
    let (sides, lanes) = (u32::try_from(case.sides).unwrap(), u32::try_from(LANES).unwrap());
    match training {
        Training::StepBack(back) | Training::ScanBack(back) => {
            [p.panels.div_ceil(back.tile.panels * back.tile.wide), p.batch.div_ceil(back.tile.rows), sides]
        }
        Training::CellBack(_) | Training::NewBack(..) | Training::ResetBack(_) | Training::StateBack(_) => {
            [columns(p.units), p.batch, sides]
        }
        Training::ResetRows(_) | Training::Zero => [columns(p.units), p.rows, 1],
        Training::Spread { .. } | Training::SpreadBack { .. } => [columns(p.units), p.rows, sides],
        Training::Outer(outer) => {
            let [x, y] = outer.grid(p.depth, p.units);
            [x, y, 1]
        }
        Training::ToTexture => unreachable!("what it writes cannot be read"),
        Training::PeepholeBack { .. } => [columns(p.panels * lanes), 1, 1],
        Training::Transpose { gates, per_gate, .. } => {
            let biases = if per_gate { gates } else { 1 };
            [columns((p.panels * gates * lanes + biases) * lanes), p.depth.div_ceil(lanes), 1]
        }
        Training::ActivateBack(_) | Training::MaximumBack | Training::Drop => [columns(width), p.rows, 1],
        Training::SumSteps { .. } => [columns(width), p.batch, 1],
        Training::Scatter { .. } => [columns(p.units), p.tokens, 1],
        // One workgroup for each row.
        Training::SoftmaxBack { .. } | Training::NormalizeBack(_) | Training::Loss(_) => [1, p.rows, 1],
        Training::Tie { .. } => [p.features.div_ceil(WORKGROUP), p.rows, 1],
        Training::Squares => [(p.rows * p.units).div_ceil(4 * p.steps), 1, 1],
        Training::Total { .. } => [1, 1, 1],
        Training::Update(_) => [p.steps, (p.rows * p.units).div_ceil(4 * WORKGROUP).div_ceil(p.steps), 1],
    }
}

/// Makes textures of the slots that the dispatch of `plan` reads as textures, and copies the data there first.
fn into_textures(plan: &mut Plan) {
    let bindings: Vec<_> = plan.programs[0].bindings().skip(1).collect();
    for (index, _) in bindings.iter().enumerate().filter(|(_, binding)| binding.access == Access::Texture) {
        let last = plan.steps.len() - 1;
        let window = plan.steps[last].windows[index];
        let name = &plan.slots[window.slot].name;
        let (texels, dims) = (plan.slots.len(), vec![usize::try_from(window.bytes / 4).unwrap()]);
        let slot = Slot { name: format!("{name}.texels"), dims, bytes: window.bytes, kind: SlotKind::Texture };
        plan.slots.push(slot);
        let count = u32::try_from(window.bytes / 4).unwrap();
        plan.params.push(Params { count, ..Params::default() });
        plan.programs.push(Program::Training(Training::ToTexture));
        let into = Window { slot: texels, offset: 0, bytes: window.bytes };
        let [x, y] = Medium::grid(count);
        let (program, params) = (plan.programs.len() - 1, plan.params.len() - 1);
        plan.steps[last].windows[index] = into;
        plan.steps.insert(last, Dispatch { program, params, grid: [x, y, 1], windows: vec![window, into] });
    }
}

/// Returns the program with other tiles and from textures, as on a software GPU with subgroups of
/// `lanes` lanes. Only plain cells without a mask have them, since drivers take seconds to compile some.
fn ways(program: Program, p: &Params, lanes: u32) -> Vec<Program> {
    let mut ways = vec![program];
    let plain = program.is_plain() && program.mask() == Mask::All;
    if let Some((matrix, tile)) = program.matrix().zip(program.tile()).filter(|_| plain) {
        let program = program.with_matrix(Matrix { medium: Medium::Texture, ..matrix });
        if program.kernel().is_walk() {
            // A workgroup has all panels, and no lanes load together.
            ways.push(program);
            return ways;
        }
        let wide = if p.panels.is_multiple_of(Tile::WIDE) { Tile::WIDE } else { 1 };
        ways.push(program.with_tile(Tile { wide, ..tile }));
        ways.push(program.with_tile(Tile { rows: 8, loads: Loads::Subgroup, panels: 2, wide, ..Tile::NONE }));
    }
    ways.retain(|way| way.loads() != Some(Loads::Subgroup) || lanes >= Loads::LANES);
    ways
}

impl Case {
    /// Runs the case on the device, if there is one and the kernel is
    /// one of training or across steps, and compares as [`check`](Self::check) does.
    pub(super) fn check_on_device(&self, expected: &[(&str, usize, f64)]) {
        let gradient = self.program.convolve().is_some_and(|convolve| !matches!(convolve, Convolve::Forward { .. }));
        let is_compared = gradient || self.program.training().is_some() || self.program.across().is_some();
        let Some(gpu) = device().filter(|_| is_compared) else { return };
        for way in ways(self.program, &self.params, gpu.limits().subgroup_lanes) {
            let (mut plan, feeds, packed) = self.plan();
            plan.programs[0] = way;
            let p = &self.params;
            plan.steps[0].grid = match (way.training(), way.convolve()) {
                (Some(training), _) => grid(self, training),
                (_, Some(Convolve::Back { .. })) => [p.source_units.div_ceil(4 * WORKGROUP), p.rows.div_ceil(4), 1],
                (_, Some(Convolve::Outer { .. })) => [(p.depth + 4).div_ceil(WORKGROUP), p.panels, 1],
                (None, _) => [(p.units * p.directions).div_ceil(4 * WORKGROUP), p.rows, 1],
            };
            into_textures(&mut plan);
            let mut loaded = Loaded::default();
            for buffer in packed.buffers {
                block_on(gpu.add(&mut loaded, buffer, Medium::Buffer)).unwrap();
            }
            let plan = Arc::new(plan);
            let mut io = ListedIo::of(&plan, &feeds).unwrap();
            let traced = block_on(gpu.trace(&loaded, &plan, &mut io)).unwrap().expect("nobody waits");
            // Functions are less exact there.
            self.compare(&plan, expected, traced, 2e-5);
        }
    }
}
