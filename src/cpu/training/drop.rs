//! `drop`: elements dropped at random, and the others scaled up.

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffers::Bound;
use crate::cpu::rows::{by_rows, span, span_mut};
use crate::cpu::threads;
use crate::kernel::{LANES, Params, Role};
use crate::random::threefry;

/// Returns the words that decide whether features `first`, `first + 1`, … of the row of `counter` are dropped.
#[inline(always)]
pub(super) fn draw(key: [u32; 2], counter: u32, first: u32) -> [u32; LANES] {
    let mut features = [first; LANES];
    features.iter_mut().zip(0..).for_each(|(feature, lane)| *feature += lane);
    let [bits, _] = threefry::<LANES>(key, counter, features);
    bits
}

/// Returns how long one thread takes for a dispatch: a draw takes some 80 additions and rotations.
pub(super) fn ns(p: &Params) -> usize {
    threads::copy_ns(8 * p.rows as usize * p.units as usize * p.directions as usize)
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>) {
    let p = *bound.params;
    let width = p.units as usize * p.directions as usize;
    bound.write(Role::Result, |bound, result| {
        let source = span(bound.floats(Role::Source), p.source_0, p.rows as usize, width);
        let draws = bound.indices(Role::Draws);
        by_rows(span_mut(result, p.target_0, p.rows as usize, width), width, |from, target| {
            let source = &source[from * width..][..target.len()];
            arch.dispatch(Rows { p, draws, from, source, target });
        });
    });
}

/// Rows of a dispatch, from row `from` on.
struct Rows<'a> {
    p: Params,
    draws: &'a [u32],
    from: usize,
    source: &'a [f32],
    target: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { p, draws, from, source, target } = self;
        let [units, directions] = [p.units, p.directions].map(|n| n as usize);
        let width = units * directions;
        let (key, scale) = ([draws[0], draws[1]], f32::from_bits(p.scale));
        let rows = (p.source_1..).skip(from).zip(source.chunks_exact(width)).zip(target.chunks_exact_mut(width));
        for ((row, source), target) in rows {
            let step = (row / p.batch).wrapping_mul(p.time_step_0).wrapping_mul(draws[2]);
            let counter = step.wrapping_add(draws[3]).wrapping_add(row % p.batch);
            let parts = (0..p.directions).zip(source.chunks_exact(units)).zip(target.chunks_exact_mut(units));
            for ((part, source), target) in parts {
                let firsts = (0..p.features).step_by(LANES);
                for ((first, source), target) in firsts.zip(source.chunks(LANES)).zip(target.chunks_mut(LANES)) {
                    let bits = draw(key, counter, part * p.features + first);
                    for ((y, x), bits) in target.iter_mut().zip(source).zip(bits) {
                        *y = if bits >= p.token { x * scale } else { 0.0 };
                    }
                }
                target[p.features as usize..].fill(0.0);
            }
        }
    }
}
