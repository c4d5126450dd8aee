//! The backward pass of timesteps in two kernels: a projected state, and a GRU with the reset before its product.

use pulp::{Arch, Simd, WithSimd};

use super::back::{Panel, Rule, run};
use super::cells::{NEW, RESET, UPDATE};
use super::curves::Curves;
use crate::cell::{Cell, Reset, Variant};
use crate::cpu::buffers::Bound;
use crate::cpu::functions::{General, Plain};
use crate::cpu::rows::{by_rows, span, span_mut};
use crate::kernel::{LANES, Role};

/// Gates of `recurrent`: reset and update.
const RECURRENT: usize = 2;

fn is_plain(variant: Variant) -> bool {
    variant == Variant::plain(Cell::Gru(Reset::Before))
}

/// Runs a dispatch of `state_back`.
pub(super) fn state_back(arch: Arch, bound: &mut Bound<'_>) {
    run(arch, bound, State);
}

/// Runs a dispatch of `new_back`.
pub(super) fn new_back(arch: Arch, bound: &mut Bound<'_>, variant: Variant) {
    if is_plain(variant) { run(arch, bound, New(Plain)) } else { run(arch, bound, New(General(variant))) }
}

/// Runs a dispatch of `reset_back`.
pub(super) fn reset_back(arch: Arch, bound: &mut Bound<'_>, variant: Variant) {
    if is_plain(variant) { run(arch, bound, Back(Plain)) } else { run(arch, bound, Back(General(variant))) }
}

/// Runs a dispatch of `reset_rows`.
pub(super) fn reset_rows(arch: Arch, bound: &mut Bound<'_>, variant: Variant) {
    if is_plain(variant) { many_rows(arch, bound, Plain) } else { many_rows(arch, bound, General(variant)) }
}

/// The gradient of a projected state.
#[derive(Clone, Copy)]
struct State;

impl Rule for State {
    const GATES: [usize; 2] = [0, 0];

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>) {
        for at in 0..LANES / S::F32_LANES {
            S::as_mut_simd_f32s(panel.result).0[at] = panel.dh(simd, at);
        }
        panel.direct.fill(0.0);
    }
}

/// The second half of the step.
#[derive(Clone, Copy)]
struct New<F>(F);

impl<F: Curves> Rule for New<F> {
    const GATES: [usize; 2] = [3, RECURRENT];

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>) {
        let registers = LANES / S::F32_LANES;
        for at in 0..registers {
            let dh = panel.dh(simd, at);
            let hidden = S::as_simd_f32s(panel.hidden).0[at];
            let gates = S::as_mut_simd_f32s(panel.gates).0;
            let recurrent = S::as_mut_simd_f32s(panel.recurrent).0;
            let place = [RESET, UPDATE, NEW].map(|gate| gate * registers + at);
            let given = &mut S::as_mut_simd_f32s(panel.new).0[at];
            let update = simd.add_f32s(gates[place[UPDATE]], recurrent[place[UPDATE]]);
            let [update, update_slope] = self.0.f_at(simd, update);
            let [new, new_slope] = self.0.g_at(simd, simd.add_f32s(gates[place[NEW]], *given));

            let rest = simd.sub_f32s(simd.splat_f32s(1.0), update);
            let d_new = simd.mul_f32s(simd.mul_f32s(dh, rest), new_slope);
            let d_update = simd.mul_f32s(simd.mul_f32s(dh, simd.sub_f32s(hidden, new)), update_slope);
            gates[place[NEW]] = d_new;
            *given = d_new;
            gates[place[UPDATE]] = d_update;
            recurrent[place[UPDATE]] = d_update;
            S::as_mut_simd_f32s(panel.direct).0[at] = simd.mul_f32s(update, dh);
        }
    }
}

/// The first half of the step.
#[derive(Clone, Copy)]
struct Back<F>(F);

impl<F: Curves> Rule for Back<F> {
    const GATES: [usize; 2] = [3, RECURRENT];
    const WRITES: usize = 1;

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>) {
        let registers = LANES / S::F32_LANES;
        for at in 0..registers {
            let hidden = S::as_simd_f32s(panel.hidden).0[at];
            let dq = S::as_simd_f32s(panel.product).0[at];
            let gate = &mut S::as_mut_simd_f32s(panel.gates).0[RESET * registers + at];
            let recurrent = &mut S::as_mut_simd_f32s(panel.recurrent).0[RESET * registers + at];
            let [reset, slope] = self.0.f_at(simd, simd.add_f32s(*gate, *recurrent));
            let d_reset = simd.mul_f32s(simd.mul_f32s(dq, hidden), slope);
            *gate = d_reset;
            *recurrent = d_reset;
            let direct = &mut S::as_mut_simd_f32s(panel.direct).0[at];
            *direct = simd.mul_add_e_f32s(dq, reset, *direct);
        }
    }
}

/// `r ∘ h` of many rows.
fn many_rows(arch: Arch, bound: &mut Bound<'_>, functions: impl Curves) {
    let p = *bound.params;
    let [rows, units, directions] = [p.rows, p.units, p.directions].map(|n| n as usize);
    bound.write(Role::Result, |bound, result| {
        let gates = span(bound.floats(Role::Gates), p.target_0, rows, 3 * units);
        let recurrent = span(bound.floats(Role::Recurrent), p.target_0, rows, RECURRENT * units);
        let width = directions * units;
        let hidden = &span(bound.floats(Role::Hidden), p.source_0, rows, width)[p.direction as usize * units..];
        by_rows(span_mut(result, p.target_0, rows, units), units, |from, target| {
            for (row, target) in (from..).zip(target.chunks_exact_mut(units)) {
                let gates = &gates[row * 3 * units..][..3 * units];
                let recurrent = &recurrent[row * RECURRENT * units..][..RECURRENT * units];
                let hidden = &hidden[row * width..][..units];
                arch.dispatch(ResetRow { functions, gates, recurrent, hidden, target });
                target[p.features as usize..].fill(0.0);
            }
        });
    });
}

/// `r ∘ h` of one row.
struct ResetRow<'a, F> {
    functions: F,
    gates: &'a [f32],
    recurrent: &'a [f32],
    hidden: &'a [f32],
    target: &'a mut [f32],
}

impl<F: Curves> WithSimd for ResetRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let panels = self.gates.chunks_exact(3 * LANES).zip(self.recurrent.chunks_exact(RECURRENT * LANES));
        let units = self.hidden.chunks_exact(LANES).zip(self.target.chunks_exact_mut(LANES));
        for ((gates, recurrent), (hidden, target)) in panels.zip(units) {
            let (gates, recurrent) = (S::as_simd_f32s(gates).0, S::as_simd_f32s(recurrent).0);
            let (hidden, target) = (S::as_simd_f32s(hidden).0, S::as_mut_simd_f32s(target).0);
            let registers = LANES / S::F32_LANES;
            for at in 0..registers {
                let sum = simd.add_f32s(gates[RESET * registers + at], recurrent[RESET * registers + at]);
                target[at] = simd.mul_f32s(self.functions.f(simd, sum), hidden[at]);
            }
        }
    }
}
