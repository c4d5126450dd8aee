//! `outer`: rows of a source times rows of δ, summed over all rows: the gradient of a matrix.
//!
//! A block of R rows of the target and some groups of 16 columns walks down a stretch of the rows.
//! It keeps its sums in registers, and starts from the values in the target. So each sum adds m =
//! 0, 1, … in order, on any number of threads. Threads share panels, or rows of the target if
//! there are few panels. Source and δ of a stretch are copied so that a walk reads them one after
//! the other. Rows whose width is a power of two would otherwise share a few sets of the caches.

#![allow(clippy::needless_range_loop, reason = "counted loops of constant length are unrolled")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffers::Bound;
use crate::cpu::product::even;
use crate::cpu::threads;
use crate::kernel::{LANES, Outer, Params, Role};
use crate::platform::parallel::*;

/// The most rows of a block, as in a product.
const BLOCK_ROWS: usize = 6;
/// Rows of source and δ of a stretch: their copies stay in a core's L2.
const STRETCH: usize = 256;
/// Groups of 16 columns of δ that are copied together.
const GROUPS: usize = 8;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(p: &Params) -> usize {
    threads::product_ns(p.rows as usize, (true_rows(p) + 1) * p.units as usize)
}

fn true_rows(p: &Params) -> usize {
    (p.features * p.source_directions) as usize
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, outer: Outer) {
    let p = *bound.params;
    let (width, rows, panels) = (outer.gates as usize * LANES, true_rows(&p) + 1, p.panels as usize);
    let size = (p.depth + outer.after) as usize * width;
    let copies_of = if outer.per_gate { outer.gates as usize } else { 1 };
    let threads = threads::worth(ns(&p));
    let mut scratch = std::mem::take(&mut bound.buffers.scratch);
    bound.write(Role::Result, |bound, result| {
        let job = Job {
            p: &p,
            first: outer.first,
            width,
            size,
            gate: None,
            source: &bound.floats(Role::Source)[p.source_0 as usize * p.source_units as usize * copies_of..],
            delta: &bound.floats(Role::Delta)[p.target_0 as usize * p.units as usize..],
        };
        let target = &mut result[p.weight_panel as usize * size..][..panels * size];
        // If each gate has its own elements, one gate comes after the other.
        for gate in 0..copies_of {
            let job = Job { gate: outer.per_gate.then_some(gate), ..job };
            if threads == 1 {
                let copies = scratch.reserve(copies(rows));
                let target = &mut [&mut *target];
                arch.dispatch(Part { job, rows: 0..rows, panels: 0..panels, target, start: 0, copies });
            } else if is_by_panels(panels, rows, threads) {
                job.by_panels(arch, target, threads, scratch.reserve(threads * copies(rows)));
            } else {
                let each = rows.div_ceil(threads);
                job.by_rows(arch, target, each, scratch.reserve(threads * copies(each)));
            }
        }
        job.clear_padding(target, outer.after as usize);
    });
    bound.buffers.scratch = scratch;
}

/// Whether threads share panels: if each gets equally many or several, or if there are too few rows to share.
fn is_by_panels(panels: usize, rows: usize, threads: usize) -> bool {
    panels.is_multiple_of(threads) || panels >= 4 * threads || (panels > 1 && rows < 2 * BLOCK_ROWS * threads)
}

/// Returns the floats of the copies for `rows` rows of the target.
fn copies(rows: usize) -> usize {
    STRETCH * (rows + GROUPS * LANES).next_multiple_of(LANES)
}

/// A dispatch, without its target.
#[derive(Clone, Copy)]
struct Job<'a> {
    p: &'a Params,
    /// Whether the target is taken for zeros.
    first: bool,
    /// G · 16.
    width: usize,
    /// Floats of a panel of the target.
    size: usize,
    /// The single gate that is computed, if each gate has its own elements of the source.
    gate: Option<usize>,
    /// The source from the first row on.
    source: &'a [f32],
    delta: &'a [f32],
}

impl Job<'_> {
    fn by_panels(self, arch: Arch, target: &mut [f32], threads: usize, copied: &mut [f32]) {
        let (panels, rows) = (self.p.panels as usize, true_rows(self.p) + 1);
        let each = panels.div_ceil(threads);
        let parts = target.par_chunks_mut(each * self.size).zip(copied.par_chunks_mut(copies(rows)));
        parts.enumerate().with_max_len(1).for_each(|(i, (target, copies))| {
            let panels = i * each..i * each + target.len() / self.size;
            arch.dispatch(Part { job: self, rows: 0..rows, panels, target: &mut [target], start: 0, copies });
        });
    }

    fn by_rows(self, arch: Arch, target: &mut [f32], each: usize, copied: &mut [f32]) {
        let rows = true_rows(self.p) + 1;
        let mut parts: Vec<_> = (0..rows.div_ceil(each)).map(|_| Vec::new()).collect();
        for mut panel in target.chunks_exact_mut(self.size) {
            let mut start = 0;
            for (i, part) in parts.iter_mut().enumerate() {
                let next = (i + 1) * each;
                let end = if next < rows { self.place(next) } else { self.size / self.width };
                let (own, rest) = panel.split_at_mut((end - start) * self.width);
                part.push(own);
                (panel, start) = (rest, end);
            }
        }
        let parts = parts.par_iter_mut().zip(copied.par_chunks_mut(copies(each)));
        parts.enumerate().with_max_len(1).for_each(|(i, (target, copies))| {
            let (panels, rows) = (0..target.len(), i * each..rows.min((i + 1) * each));
            let start = if i == 0 { 0 } else { self.place(rows.start) };
            arch.dispatch(Part { job: self, rows, panels, target, start, copies });
        });
    }

    /// Returns the place in a panel of the j-th row that is not padding. The last one is the bias.
    fn place(&self, j: usize) -> usize {
        let (features, parts) = (self.p.features as usize, self.p.source_directions as usize);
        if j == features * parts {
            return self.p.depth as usize;
        }
        j / features * (self.p.depth as usize / parts) + j % features
    }

    /// Returns the column of the source that a row of the target takes.
    fn column(&self, j: usize) -> usize {
        let k = self.p.source_offset as usize + self.place(j);
        self.gate.map_or(k, |gate| (k / LANES * (self.width / LANES) + gate) * LANES + k % LANES)
    }

    /// Returns the elements from one row of the source to the next.
    fn stride(&self) -> usize {
        self.p.source_units as usize * self.gate.map_or(1, |_| self.width / LANES)
    }

    /// Returns the groups of 16 columns that are computed: how many each panel has, their distance, and the first.
    fn groups(&self) -> (usize, usize, usize) {
        let gates = self.width / LANES;
        self.gate.map_or((gates, 1, 0), |gate| (1, gates, gate))
    }

    /// Writes zeros to padded rows and units.
    fn clear_padding(&self, target: &mut [f32], after: usize) {
        let Params { depth, features, source_directions: parts, .. } = *self.p;
        let (depth, features) = (depth as usize, features as usize);
        let part = if parts == 0 { depth } else { depth / parts as usize };
        for (i, panel) in target.chunks_exact_mut(self.size).enumerate() {
            let panel = &mut panel[..self.size - (after - 1) * self.width];
            let (weights, _) = panel.split_at_mut(depth * self.width);
            if features < part {
                weights.chunks_mut(part * self.width).for_each(|part| part[features * self.width..].fill(0.0));
            }
            let units = (self.p.count as usize).saturating_sub(i * LANES);
            if units < LANES {
                panel.chunks_exact_mut(LANES).for_each(|group| group[units..].fill(0.0));
            }
        }
    }
}

/// The share of one thread: some rows of some panels.
struct Part<'a, 'b> {
    job: Job<'a>,
    /// Rows, counted without padding.
    rows: Range<usize>,
    panels: Range<usize>,
    /// All panels in one piece, or a piece for each, from row `start` of it on.
    target: &'a mut [&'b mut [f32]],
    start: usize,
    /// Room for copies.
    copies: &'a mut [f32],
}

impl WithSimd for Part<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { job, rows, panels, target, start, copies } = self;
        let all = job.p.rows as usize;
        let (columns, source_units) = (job.p.units as usize, job.stride());
        let (gates, each, own) = job.groups();
        let one_piece = target.len() == 1;
        if all == 0 && job.first {
            for piece in target.iter_mut() {
                // The rows after the bias belong to another kernel.
                let panels = if one_piece { panels.len() } else { 1 };
                let len = piece.len() / panels;
                piece.chunks_exact_mut(len).for_each(|panel| {
                    let own = ((job.p.depth as usize + 1).saturating_sub(start) * job.width).min(len);
                    panel[..own].fill(0.0);
                });
            }
        }
        let most = if S::REGISTER_COUNT >= 32 && S::F32_LANES == LANES { 4 } else { 1 };
        let (source_copy, delta_copy) = copies.split_at_mut(STRETCH * rows.len().next_multiple_of(LANES));
        for stretch in even(0..all, STRETCH) {
            let (len, is_first) = (stretch.len(), job.first && stretch.start == 0);
            let mut at = 0;
            for block in even(rows.clone(), BLOCK_ROWS) {
                let to = &mut source_copy[at..][..len * block.len()];
                copy_source(&job, &job.source[stretch.start * source_units..], block.clone(), to);
                at += len * block.len();
            }
            for groups in even(panels.start * gates..panels.end * gates, GROUPS) {
                let delta = &job.delta[stretch.start * columns + (groups.start * each + own) * LANES..];
                copy_delta(delta, (columns, each), len, groups.len(), delta_copy);
                let mut done = 0;
                while done < groups.len() {
                    let mut several = most;
                    while several > groups.len() - done {
                        several /= 2;
                    }
                    let delta = &delta_copy[done * len * LANES..][..several * len * LANES];
                    // The place of each group in its piece, and the piece: a piece of many panels has them all.
                    let mut at_column = [0; 4];
                    let first = groups.start + done;
                    for (q, at) in at_column.iter_mut().enumerate().take(several) {
                        let (panel, gate) = ((first + q) / gates - panels.start, (first + q) % gates);
                        let piece = if one_piece { panel * job.size } else { 0 };
                        *at = piece + (gate + own) * LANES;
                    }
                    let mut at = 0;
                    for block in even(rows.clone(), BLOCK_ROWS) {
                        let source = &source_copy[at..][..len * block.len()];
                        at += source.len();
                        let mut at_row = [0; BLOCK_ROWS];
                        for (at, j) in at_row.iter_mut().zip(block.clone()) {
                            *at = (job.place(j) - start) * job.width;
                        }
                        // If panels have their own pieces, they are taken one at a time.
                        let mut taken = 0;
                        while taken < several {
                            let (q, piece) = if one_piece { (several, 0) } else { (1, (first + taken) / gates) };
                            let work = Work {
                                source,
                                delta: &delta[taken * len * LANES..][..q * len * LANES],
                                target: &mut *target[piece],
                                at_row,
                                at_column: std::array::from_fn(|i| at_column[(taken + i).min(3)]),
                                is_first,
                            };
                            work.run(simd, block.len(), q);
                            taken += q;
                        }
                    }
                    done += several;
                }
            }
        }
    }
}

/// Copies columns of the source, `[rows][block]`, with 1 for the bias.
#[inline(always)]
fn copy_source(job: &Job<'_>, source: &[f32], block: Range<usize>, to: &mut [f32]) {
    let (bias, stride) = (true_rows(job.p), job.stride());
    let together = block.end <= bias && job.column(block.end - 1) - job.column(block.start) == block.len() - 1;
    if together {
        let source = &source[job.column(block.start)..];
        match block.len() {
            1 => copy_columns::<1>(source, stride, to),
            2 => copy_columns::<2>(source, stride, to),
            3 => copy_columns::<3>(source, stride, to),
            4 => copy_columns::<4>(source, stride, to),
            5 => copy_columns::<5>(source, stride, to),
            _ => copy_columns::<BLOCK_ROWS>(source, stride, to),
        }
        return;
    }
    for (r, j) in block.clone().enumerate() {
        let to = to.iter_mut().skip(r).step_by(block.len());
        if j == bias {
            to.for_each(|to| *to = 1.0);
        } else {
            let column = source[job.column(j)..].iter().step_by(stride);
            to.zip(column).for_each(|(to, x)| *to = *x);
        }
    }
}

#[inline(always)]
fn copy_columns<const R: usize>(source: &[f32], stride: usize, to: &mut [f32]) {
    for (to, row) in to.as_chunks_mut::<R>().0.iter_mut().zip(source.chunks(stride)) {
        to.copy_from_slice(&row[..R]);
    }
}

/// Copies groups of columns of δ, every `each`-th one, as `[groups][rows][16]`.
#[inline(always)]
fn copy_delta(delta: &[f32], (stride, each): (usize, usize), rows: usize, groups: usize, to: &mut [f32]) {
    let to = to.as_chunks_mut::<LANES>().0;
    for (m, row) in delta.chunks(stride).take(rows).enumerate() {
        for (q, group) in row.as_chunks::<LANES>().0.iter().step_by(each).take(groups).enumerate() {
            to[q * rows + m] = *group;
        }
    }
}

/// R rows and Q groups of columns of the target.
struct Work<'a> {
    /// `[rows][R]`.
    source: &'a [f32],
    /// `[Q][rows][16]`.
    delta: &'a [f32],
    target: &'a mut [f32],
    /// The place of each row in the target, and of each group in a row.
    at_row: [usize; BLOCK_ROWS],
    at_column: [usize; 4],
    /// Whether the target is taken for zeros.
    is_first: bool,
}

impl Work<'_> {
    /// Chooses the block's code: each choice is a function of its own, with all its sums in
    /// registers. This function has no instruction set of its own, so that no block is inlined here.
    #[inline(never)]
    fn run<S: Simd>(self, simd: S, rows: usize, groups: usize) {
        match (LANES / S::F32_LANES, groups) {
            (1, 4) => self.rows::<S, 1, 4>(simd, rows),
            (1, 2) => self.rows::<S, 1, 2>(simd, rows),
            (1, _) => self.rows::<S, 1, 1>(simd, rows),
            (4, _) if S::REGISTER_COUNT >= 32 => self.rows::<S, 4, 1>(simd, rows),
            _ => self.rows::<S, 2, 1>(simd, rows),
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const C: usize, const Q: usize>(self, simd: S, rows: usize) {
        match rows {
            1 => simd.vectorize(Block::<1, C, Q>(self)),
            2 => simd.vectorize(Block::<2, C, Q>(self)),
            3 => simd.vectorize(Block::<3, C, Q>(self)),
            4 => simd.vectorize(Block::<4, C, Q>(self)),
            5 => simd.vectorize(Block::<5, C, Q>(self)),
            _ => simd.vectorize(Block::<BLOCK_ROWS, C, Q>(self)),
        }
    }
}

/// R rows and Q groups, with C registers of each at a time.
struct Block<'a, const R: usize, const C: usize, const Q: usize>(Work<'a>);

impl<const R: usize, const C: usize, const Q: usize> WithSimd for Block<'_, R, C, Q> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Work { source, delta, target, at_row, at_column, is_first } = self.0;
        let source = source.as_chunks::<R>().0;
        let (len, strips) = (source.len(), LANES / S::F32_LANES / C);
        for strip in 0..strips {
            let mut walk: [&[[S::f32s; C]]; Q] = [&[]; Q];
            for q in 0..Q {
                let delta = &delta[q * len * LANES..][..len * LANES];
                walk[q] = &S::as_simd_f32s(delta).0.as_chunks::<C>().0[strip..][..(len - 1) * strips + 1];
            }
            let mut sums = [[[simd.splat_f32s(0.0); C]; Q]; R];
            if !is_first {
                for r in 0..R {
                    for q in 0..Q {
                        let group = &target[at_row[r] + at_column[q]..][..LANES];
                        sums[r][q].copy_from_slice(&S::as_simd_f32s(group).0[strip * C..][..C]);
                    }
                }
            }
            for (m, source) in source.iter().enumerate() {
                let mut row = [[simd.splat_f32s(0.0); C]; Q];
                for q in 0..Q {
                    row[q] = walk[q][m * strips];
                }
                for r in 0..R {
                    let x = simd.splat_f32s(source[r]);
                    for q in 0..Q {
                        for c in 0..C {
                            sums[r][q][c] = simd.mul_add_e_f32s(x, row[q][c], sums[r][q][c]);
                        }
                    }
                }
            }
            for r in 0..R {
                for q in 0..Q {
                    let group = &mut target[at_row[r] + at_column[q]..][..LANES];
                    S::as_mut_simd_f32s(group).0[strip * C..][..C].copy_from_slice(&sums[r][q]);
                }
            }
        }
    }
}
