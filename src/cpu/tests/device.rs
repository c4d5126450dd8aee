//! The same cases on a device, where `GATEWAVE_ADAPTER` names one: the WGSL of a kernel against its sentence.

use std::env;
use std::sync::{Arc, OnceLock};

use super::*;
use crate::gpu::{Choice, Gpu, Loaded};
use crate::kernel::{Medium, Training, WORKGROUP};
use crate::platform::block_on;

/// The device that is named, opened once.
fn device() -> Option<&'static Gpu> {
    static DEVICE: OnceLock<Option<Gpu>> = OnceLock::new();
    let open = || {
        let name = env::var("GATEWAVE_ADAPTER").ok().filter(|name| !name.is_empty())?;
        Some(block_on(Gpu::open(Choice::Named(name))).unwrap().expect("it was named"))
    };
    DEVICE.get_or_init(open).as_ref()
}

/// The workgroups of a kernel of training.
fn grid(case: &Case, training: Training) -> [u32; 3] {
    let p = &case.params;
    let width = p.units * p.directions;
    // Invocations of four units each.
    let columns = |elems: u32| elems.div_ceil(4 * WORKGROUP);
    let (sides, lanes) = (u32::try_from(case.sides).unwrap(), u32::try_from(LANES).unwrap());
    match training {
        Training::StepBack(back) => [p.panels.div_ceil(back.tile.panels), p.batch.div_ceil(back.tile.rows), sides],
        Training::CellBack(_) | Training::NewBack(..) | Training::ResetBack(_) | Training::StateBack(_) => {
            [columns(p.units), p.batch, sides]
        }
        Training::ResetRows(_) | Training::Zero => [columns(p.units), p.rows, 1],
        // Tiles of 16 rows by 64 columns, the bias in one of its own.
        Training::Outer(_) => [p.depth / lanes + 1, p.units.div_ceil(4 * lanes), 1],
        Training::PeepholeBack { .. } => [columns(p.panels * lanes), 1, 1],
        Training::Transpose { gates, .. } => {
            [columns((p.panels * gates * lanes + 1) * lanes), p.depth.div_ceil(lanes), 1]
        }
        Training::ActivateBack(_) | Training::MaximumBack | Training::Drop => [columns(width), p.rows, 1],
        Training::SumSteps { .. } => [columns(width), p.batch, 1],
        Training::Scatter { .. } => [columns(p.units), p.tokens, 1],
        // A workgroup a row.
        Training::SoftmaxBack { .. } | Training::Loss(_) => [1, p.rows, 1],
        Training::Tie { .. } => [p.features.div_ceil(WORKGROUP), p.rows, 1],
        Training::Squares => [(p.rows * p.units).div_ceil(4 * p.steps), 1, 1],
        Training::Total { .. } => [1, 1, 1],
        Training::Update(_) => [p.steps, (p.rows * p.units).div_ceil(4 * WORKGROUP).div_ceil(p.steps), 1],
    }
}

impl Case {
    /// Runs it on the device, if there is one and the kernel is one of training, and compares as [`check`](Self::check).
    pub(super) fn check_on_device(&self, expected: &[(&str, usize, f64)]) {
        let grid = self.program.training().map(|training| grid(self, training));
        let (Some(grid), Some(gpu)) = (grid, device()) else { return };
        let (mut plan, feeds, packed) = self.plan();
        plan.steps[0].grid = grid;
        let mut loaded = Loaded::default();
        for buffer in packed.buffers {
            block_on(gpu.add(&mut loaded, buffer, Medium::Buffer)).unwrap();
        }
        let plan = Arc::new(plan);
        let mut caller = Listed::of(&plan, &feeds).unwrap();
        let traced = block_on(gpu.trace(&loaded, &plan, &mut caller)).unwrap().expect("nobody waits");
        // Functions are less exact there.
        self.compare(&plan, expected, traced, 2e-5);
    }
}
