//! The backward pass of the cell of a timestep of an LSTM that projects its state.

use pulp::{Arch, Simd};

use super::back::{Panel, Rule, run};
use super::cells::{Cell as _, Known, Lstm};
use super::curves::Curves;
use crate::cell::{Cell, Variant};
use crate::cpu::buffers::Bound;
use crate::cpu::functions::{General, Plain};
use crate::kernel::{CellBack, LANES};

/// Gates of an LSTM.
const GATES: usize = 4;

/// Runs a dispatch.
pub(super) fn cell_back(arch: Arch, bound: &mut Bound<'_>, back: CellBack) {
    if back.variant == Variant::plain(Cell::Lstm) {
        run(arch, bound, Projected(Plain));
    } else {
        run(arch, bound, Projected(General(back.variant)));
    }
}

#[derive(Clone, Copy)]
struct Projected<F>(F);

impl<F: Curves> Rule for Projected<F> {
    const GATES: [usize; 2] = [GATES, 0];

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>) {
        let registers = LANES / S::F32_LANES;
        for at in 0..registers {
            let of_gates = |data: &[f32]| {
                let data = S::as_simd_f32s(data).0;
                std::array::from_fn(|gate| data.get(gate * registers + at).copied().unwrap_or(simd.splat_f32s(0.0)))
            };
            let found = Lstm(self.0).back(
                simd,
                Known {
                    kept: of_gates(panel.gates),
                    states: panel.cell_state.map(|cell_state| S::as_simd_f32s(cell_state).0[at]),
                    peepholes: of_gates(panel.peepholes),
                    dh: panel.dh(simd, at),
                    carried: S::as_simd_f32s(panel.carry).0[at],
                },
            );
            for (gate, delta) in found.delta.into_iter().enumerate() {
                S::as_mut_simd_f32s(panel.gates).0[gate * registers + at] = delta;
            }
            S::as_mut_simd_f32s(panel.carry).0[at] = found.past[1];
            S::as_mut_simd_f32s(panel.result).0[at] = found.shown;
        }
    }
}
