//! `join`: features of one value, placed among those of another or combined with them.

use super::buffers::Bound;
use super::rows::{by_rows, span, span_mut};
use crate::kernel::{Join, JoinOp, Params, Role};

/// Runs the kernel.
pub(super) fn run(bound: &mut Bound<'_>, join: Join) {
    let p = *bound.params;
    let (rows, width) = (p.rows as usize, p.directions as usize * p.units as usize);
    let source_width = p.source_directions as usize * p.source_units as usize;
    bound.write(Role::Result, |bound, result| {
        let source_rows = if join.broadcast { p.batch } else { p.rows };
        let source = span(bound.floats(Role::Source), p.source_0, source_rows as usize, source_width);
        by_rows(span_mut(result, p.target_0, rows, width), width, |from, target| {
            for (row, target) in (from..).zip(target.chunks_exact_mut(width)) {
                let row = if join.broadcast { (p.target_0 as usize + row) % p.batch as usize } else { row };
                if join.first {
                    target.fill(0.0);
                }
                for run in runs(&p) {
                    let source = &source[row * source_width + run.source..][..run.len];
                    combine(join.combine, &mut target[run.target..][..run.len], source, f32::from_bits(p.scale));
                }
            }
        });
    });
}

/// Columns that are side by side in both rows.
struct Run {
    target: usize,
    source: usize,
    len: usize,
}

/// Returns all columns that are joined, ascending.
fn runs(p: &Params) -> impl Iterator<Item = Run> + use<> {
    let p = *p;
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = p.count.checked_sub(done).filter(|&left| left > 0)?;
        let (target, room) = place(p.offset + done, p.features, p.units);
        let (source, there) = place(p.source_offset + done, p.source_features, p.source_units);
        let len = left.min(room).min(there);
        done += len;
        Some(Run { target, source, len: len as usize })
    })
}

/// Returns the column of a feature, and how many features its part has from there on.
pub(super) fn place(feature: u32, features: u32, units: u32) -> (usize, u32) {
    let (part, within) = (feature / features, feature % features);
    (part as usize * units as usize + within as usize, features - within)
}

fn combine(combine: JoinOp, target: &mut [f32], source: &[f32], scale: f32) {
    let pairs = target.iter_mut().zip(source);
    match combine {
        JoinOp::Set => pairs.for_each(|(y, x)| *y = x * scale),
        JoinOp::Add => pairs.for_each(|(y, x)| *y = (*y + x) * scale),
        JoinOp::Subtract => pairs.for_each(|(y, x)| *y = (*y - x) * scale),
        JoinOp::Multiply => pairs.for_each(|(y, x)| *y = *y * x * scale),
        JoinOp::Maximum => pairs.for_each(|(y, &x)| *y = larger(*y, x) * scale),
    }
}

/// Returns the larger one, or NaN if either is NaN.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}
