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
        let name = env::var("GATEWAVE_ADAPTER").ok()?;
        Some(block_on(Gpu::open(Choice::Named(name))).unwrap().expect("it was named"))
    };
    DEVICE.get_or_init(open).as_ref()
}

/// The workgroups of a kernel of training, where a row is computed by invocations of four units each.
fn grid(case: &Case, training: Training) -> Option<[u32; 3]> {
    let p = &case.params;
    let columns = |elems: u32| elems.div_ceil(4 * WORKGROUP);
    let sides = u32::try_from(case.sides).unwrap();
    match training {
        Training::CellBack(_) | Training::NewBack(..) | Training::ResetBack(_) | Training::StateBack(_) => {
            Some([columns(p.units), p.batch, sides])
        }
        Training::ResetRows(_) => Some([columns(p.units), p.rows, 1]),
        Training::ActivateBack(_) => Some([columns(p.units * p.directions), p.rows, 1]),
        Training::PeepholeBack { .. } => Some([columns(p.panels * 16), 1, 1]),
        _ => None,
    }
}

impl Case {
    /// Runs it on the device, if there is one and the kernel is one of training, and compares as [`check`](Self::check).
    pub(super) fn check_on_device(&self, expected: &[(&str, usize, f64)]) {
        let grid = self.program.training().and_then(|training| grid(self, training));
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
