//! `spread`, `spread_back`: copies of rows for each gate of a product, each with its own elements dropped.

use pulp::{Arch, Simd, WithSimd};

use super::drop::draw;
use crate::cpu::buffers::Bound;
use crate::cpu::rows::{by_rows, span, span_mut};
use crate::cpu::threads;
use crate::kernel::{LANES, Params, Role};

/// Returns how long one thread takes for a dispatch, as in `drop`.
pub(super) fn ns(p: &Params, gates: u32, sides: usize) -> usize {
    threads::copy_ns(8 * p.rows as usize * p.units as usize * gates as usize * sides)
}

/// Runs a dispatch of `spread`.
pub(super) fn forward(arch: Arch, bound: &mut Bound<'_>, gates: u32) {
    run(arch, bound, Way { gates: gates as usize, back: None });
}

/// Runs a dispatch of `spread_back`.
pub(super) fn back(arch: Arch, bound: &mut Bound<'_>, (gates, first): (u32, bool)) {
    run(arch, bound, Way { gates: gates as usize, back: Some(first) });
}

/// The direction: backward if `back` says whether the target is taken for zeros.
#[derive(Clone, Copy)]
struct Way {
    gates: usize,
    back: Option<bool>,
}

fn run(arch: Arch, bound: &mut Bound<'_>, way: Way) {
    let p = *bound.params;
    let sides = bound.sides;
    bound.write(Role::Result, |bound, result| {
        let draws = bound.indices(Role::Draws);
        // Copies make a part that many times as long.
        let [read, written] =
            if way.back.is_some() { [way.gates, 1] } else { [1, way.gates] }.map(|n| n * p.units as usize);
        let (width, rows) = (p.source_directions as usize * read, p.rows as usize);
        for (z, part) in (0..sides).zip(p.direction..) {
            let source = span(bound.floats(Role::Source), [p.source_0, p.source_1][z.min(1)], rows, width);
            let from = (part % p.source_directions) as usize * read;
            let (width, to) = (p.tokens as usize * written, (part % p.tokens) as usize * written);
            let target = span_mut(result, [p.target_0, p.target_1][z.min(1)], rows, width);
            by_rows(target, width, |first, target| {
                let sources = source.chunks_exact(source.len() / rows).skip(first);
                for ((m, source), target) in (first..).zip(sources).zip(target.chunks_exact_mut(width)) {
                    let row = (p.offset as usize + m) % p.batch as usize;
                    arch.dispatch(Part {
                        p: &p,
                        way,
                        key: [draws[0], draws[1]],
                        counter: draws[3].wrapping_add(u32::try_from(row).unwrap_or(0)),
                        part,
                        source: &source[from..][..read],
                        target: &mut target[to..][..written],
                    });
                }
            });
        }
    });
}

/// A part of a row.
struct Part<'a> {
    p: &'a Params,
    way: Way,
    key: [u32; 2],
    counter: u32,
    part: u32,
    source: &'a [f32],
    target: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { p, way: Way { gates, back }, key, counter, part, source, target } = self;
        let (threshold, scale) = (p.token, f32::from_bits(p.scale));
        let [read, written] = if back.is_some() { [gates, 1] } else { [1, gates] };
        let sources = source.as_chunks::<LANES>().0.chunks_exact(read);
        let targets = target.as_chunks_mut::<LANES>().0.chunks_exact_mut(written);
        for ((first, source), target) in (0..p.units).step_by(LANES).zip(sources).zip(targets) {
            if back == Some(true) {
                target[0] = [0.0; LANES];
            }
            for (gate, g) in (0..gates).zip(0..) {
                let bits = draw(key, counter, p.source_offset + (g * p.directions + part) * p.features + first);
                let true_units = p.features.saturating_sub(first) as usize;
                let kept = |lane: usize, x: f32| {
                    if bits[lane] >= threshold && lane < true_units { x * scale } else { 0.0 }
                };
                match back {
                    None => (0..LANES).for_each(|lane| target[gate][lane] = kept(lane, source[0][lane])),
                    Some(_) => (0..LANES).for_each(|lane| target[0][lane] += kept(lane, source[gate][lane])),
                }
            }
        }
    }
}
