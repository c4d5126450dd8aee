//! The product of a few rows with packed panels: the inner loop of every recurrent and input product.
//!
//! A block of R rows and Q panels keeps all its sums in registers while it walks down K. So a panel's row is
//! loaded once for R rows. If the registers only hold the sums of one gate, many rows take a panel gate by
//! gate. Each sum starts at the bias and adds k = 0, 1, … in order. So no bit of a result depends on the
//! batch, on neighbouring rows, or on the number of threads. Knows panels and rows; knows no cell and no plan.
//!
//! Blocks count their registers by index. Such loops are unrolled at every level of optimisation,
//! while arrays of registers that are iterated by value are kept in memory at `opt-level` 1.
#![allow(clippy::needless_range_loop, reason = "counted loops of constant length are unrolled")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::tune::NEAR_ROWS;
use crate::kernel::LANES;

/// The most rows of a block. With four registers for a panel's row
/// there are 24 sums, which leaves AVX-512 room for the operands.
const BLOCK_ROWS: usize = 6;
/// Floats of the largest block of several rows, and of one row.
const TILE: usize = BLOCK_ROWS * 4 * LANES;
const ROW_TILE: usize = 8 * LANES;

/// Rows of a buffer at equal distances. The first one starts where `data` does.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

impl<'a> Rows<'a> {
    /// No rows, for a kernel without such an operand.
    pub(super) const NONE: Self = Self { data: &[], stride: 0 };

    /// Returns `len` elements of row `row` from column `column` on.
    #[inline(always)]
    pub(super) fn part(self, row: usize, column: usize, len: usize) -> &'a [f32] {
        &self.data[row * self.stride + column..][..len]
    }
}

/// `source · panels + bias`.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// `[panels][panel_rows][gates][16]`.
    pub(super) panels: &'a [f32],
    /// G.
    pub(super) gates: usize,
    /// K.
    pub(super) depth: usize,
    /// Rows of a panel: K, the bias, and the rows that a step has after it.
    pub(super) panel_rows: usize,
    /// `[rows][depth]`; per gate `[rows][depth / 16][gates][16]`.
    pub(super) source: Rows<'a>,
    /// Whether each gate multiplies elements of its own.
    pub(super) per_gate: bool,
}

/// What is done with a product.
pub(super) trait Epilogue {
    /// Takes the product of one row and one panel, `[gates][16]`.
    fn take<S: Simd>(&mut self, simd: S, row: usize, panel: usize, product: &[f32]);
}

/// The fewest rows that are worth a copy of the weights.
const MANY_ROWS: usize = 2 * BLOCK_ROWS;
/// Rows of a panel whose gate's columns are copied: they stay in a core's L1 beside those of the source.
const STRETCH: usize = 256;

#[repr(align(64))]
struct Tile<const N: usize>([f32; N]);

impl Product<'_> {
    /// Computes `rows` × `panels` and hands each row of a panel to `epilogue`.
    #[inline(always)]
    pub(super) fn run<S: Simd>(&self, simd: S, rows: Range<usize>, panels: Range<usize>, epilogue: &mut impl Epilogue) {
        // A single row takes a few microseconds or less, and clearing a tile for many rows would take a part of that.
        let (mut one, mut many);
        let tile = if rows.len() == 1 {
            one = Tile([0.0; ROW_TILE]);
            &mut one.0[..]
        } else {
            many = Tile([0.0; TILE]);
            &mut many.0[..]
        };
        let width = self.gates * LANES;
        for near in even(rows, NEAR_ROWS) {
            let shape = Shape::of::<S>(width / S::F32_LANES, near.len());
            if shape.columns * S::F32_LANES < width && near.len() >= MANY_ROWS && !self.per_gate {
                self.by_gates(simd, near, panels.clone(), epilogue);
                continue;
            }
            let (mut panel, mut group) = (panels.start, shape.group);
            while panel < panels.end {
                while panel + group > panels.end {
                    group /= 2;
                }
                for block in even(near.clone(), BLOCK_ROWS) {
                    let tile = &mut tile[..group * block.len() * width];
                    let shape = Shape { group, ..shape };
                    self.block(simd, block.clone(), panel, shape, tile);
                    let products = tile.chunks_exact(width);
                    let places = (panel..panel + group).flat_map(|p| block.clone().map(move |row| (row, p)));
                    for ((row, panel), product) in places.zip(products) {
                        epilogue.take(simd, row, panel, product);
                    }
                }
                panel += group;
            }
        }
    }

    /// Multiplies many rows with one panel at a time, gate by gate. A gate's columns are apart in the
    /// rows of a panel, and so are their cache lines. So they are first copied one after the other.
    #[inline(always)]
    fn by_gates<S: Simd>(&self, simd: S, rows: Range<usize>, panels: Range<usize>, epilogue: &mut impl Epilogue) {
        let mut tile = Tile([0.0; NEAR_ROWS * 4 * LANES]);
        let mut copy = Tile([0.0; STRETCH * LANES]);
        let width = self.gates * LANES;
        let tile = &mut tile.0[..rows.len() * width];
        for panel in panels {
            let (rows, copy) = (rows.clone(), &mut copy.0);
            simd.vectorize(PanelByGates { product: self, rows: rows.clone(), panel, copy, tile: &mut *tile });
            for (row, product) in rows.zip(tile.chunks_exact(width)) {
                epilogue.take(simd, row, panel, product);
            }
        }
    }

    /// Has no instruction set of its own, so that no block is inlined into its caller.
    #[inline(never)]
    fn gate<S: Simd, const R: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        start: usize,
        weights: &[f32],
        tile: &mut [f32],
    ) {
        let mut source = [&self.panels[..0]; R];
        for (r, data) in source.iter_mut().enumerate() {
            *data = self.source.part(rows.start + r, start, weights.len() / LANES);
        }
        let width = self.gates * LANES;
        match LANES / S::F32_LANES {
            1 => simd.vectorize(Gate::<R, 1> { weights, source, width, tile }),
            2 => simd.vectorize(Gate::<R, 2> { weights, source, width, tile }),
            _ => simd.vectorize(Gate::<R, 4> { weights, source, width, tile }),
        }
    }

    /// Returns the rows of a panel after its bias, `[rows][gates][16]`.
    #[inline(always)]
    pub(super) fn after_bias(&self, panel: usize) -> &[f32] {
        let width = self.gates * LANES;
        &self.panels[panel * self.panel_rows * width..][..self.panel_rows * width][(self.depth + 1) * width..]
    }

    /// Chooses the block's code: each choice is a function of its own, with all its sums in registers.
    ///
    /// This choice is a function too, which all epilogues share. It has
    /// no instruction set of its own, so that no block is inlined here.
    #[inline(never)]
    fn block<S: Simd>(&self, simd: S, rows: Range<usize>, panel: usize, shape: Shape, tile: &mut [f32]) {
        if self.per_gate && self.gates > 1 {
            return self.each_gate(simd, rows, panel, tile);
        }
        match (rows.len(), shape.columns, shape.group) {
            (1, 1, 8) => self.fixed::<S, 1, 1, 8>(simd, rows, panel, tile),
            (1, 2, 4) => self.fixed::<S, 1, 2, 4>(simd, rows, panel, tile),
            (1, 3, 2) => self.fixed::<S, 1, 3, 2>(simd, rows, panel, tile),
            (1, 4, 2) => self.fixed::<S, 1, 4, 2>(simd, rows, panel, tile),
            (_, 1, 4) => self.rows::<S, 1, 4>(simd, rows, panel, tile),
            (_, 1, 2) => self.rows::<S, 1, 2>(simd, rows, panel, tile),
            (_, 2, 2) => self.rows::<S, 2, 2>(simd, rows, panel, tile),
            (_, 1, _) => self.rows::<S, 1, 1>(simd, rows, panel, tile),
            (_, 2, _) => self.rows::<S, 2, 1>(simd, rows, panel, tile),
            (_, 3, _) => self.rows::<S, 3, 1>(simd, rows, panel, tile),
            _ => self.rows::<S, 4, 1>(simd, rows, panel, tile),
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const C: usize, const Q: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        panel: usize,
        tile: &mut [f32],
    ) {
        match rows.len() {
            1 => self.fixed::<S, 1, C, Q>(simd, rows, panel, tile),
            2 => self.fixed::<S, 2, C, Q>(simd, rows, panel, tile),
            3 => self.fixed::<S, 3, C, Q>(simd, rows, panel, tile),
            4 => self.fixed::<S, 4, C, Q>(simd, rows, panel, tile),
            5 => self.fixed::<S, 5, C, Q>(simd, rows, panel, tile),
            _ => self.fixed::<S, BLOCK_ROWS, C, Q>(simd, rows, panel, tile),
        }
    }

    /// Chooses the block for gates that each multiply their own elements.
    #[inline(always)]
    fn each_gate<S: Simd>(&self, simd: S, rows: Range<usize>, panel: usize, tile: &mut [f32]) {
        match rows.len() {
            1 => self.per_gate::<S, 1>(simd, rows, panel, tile),
            2 => self.per_gate::<S, 2>(simd, rows, panel, tile),
            3 => self.per_gate::<S, 3>(simd, rows, panel, tile),
            4 => self.per_gate::<S, 4>(simd, rows, panel, tile),
            5 => self.per_gate::<S, 5>(simd, rows, panel, tile),
            _ => self.per_gate::<S, BLOCK_ROWS>(simd, rows, panel, tile),
        }
    }

    #[inline(always)]
    fn per_gate<S: Simd, const R: usize>(&self, simd: S, rows: Range<usize>, panel: usize, tile: &mut [f32]) {
        let width = self.gates * LANES;
        let size = self.panel_rows * width;
        let mut source = [&self.panels[..0]; R];
        for (r, data) in source.iter_mut().enumerate() {
            *data = self.source.part(rows.start + r, 0, self.depth * self.gates);
        }
        for (q, tile) in tile.chunks_exact_mut(R * width).enumerate() {
            let panel = &self.panels[(panel + q) * size..][..size];
            match LANES / S::F32_LANES {
                1 => simd.vectorize(PerGate::<R, 1> { panel, source, width, tile }),
                _ => simd.vectorize(PerGate::<R, 2> { panel, source, width, tile }),
            }
        }
    }

    #[inline(always)]
    fn fixed<S: Simd, const R: usize, const C: usize, const Q: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        panel: usize,
        tile: &mut [f32],
    ) {
        let width = self.gates * LANES;
        let size = self.panel_rows * width;
        // Here and in the block, loops replace closures: those are calls, and a block may be shorter than a few calls.
        let (mut panels, mut source) = ([&self.panels[..0]; Q], [&self.panels[..0]; R]);
        for (q, data) in panels.iter_mut().enumerate() {
            *data = &self.panels[(panel + q) * size..][..size];
        }
        for (r, data) in source.iter_mut().enumerate() {
            *data = self.source.part(rows.start + r, 0, self.depth);
        }
        simd.vectorize(Block::<R, C, Q> { panels, source, width, tile });
    }
}

/// Splits `range` into consecutive parts of at most `most`, whose sizes differ by at most one.
pub(super) fn even(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let parts = range.len().div_ceil(most);
    let len = range.len();
    (0..parts).map(move |i| range.start + i * len / parts..range.start + (i + 1) * len / parts)
}

/// How a block uses the registers.
#[derive(Clone, Copy)]
struct Shape {
    /// Registers of a panel's row that are summed at a time.
    columns: usize,
    /// Panels side by side in a block.
    group: usize,
}

impl Shape {
    /// Returns enough sums to hide the latency of a multiply-add (about eight), but not more than the registers hold.
    #[inline(always)]
    fn of<S: Simd>(registers: usize, rows: usize) -> Self {
        let most = if rows == 1 || S::REGISTER_COUNT >= 32 { 4 } else { 2 };
        let columns = (1..=most).rev().find(|&c| registers.is_multiple_of(c)).unwrap_or(1);
        let group = match (rows, S::REGISTER_COUNT) {
            (1, _) => [8, 4, 2, 2][columns - 1],
            (_, 32..) => 4 / columns,
            _ => 1,
        };
        Self { columns, group }
    }
}

/// Many rows with one panel, gate by gate, before the epilogue.
struct PanelByGates<'a> {
    product: &'a Product<'a>,
    rows: Range<usize>,
    panel: usize,
    /// Room for the columns of a gate.
    copy: &'a mut [f32; STRETCH * LANES],
    /// `[rows][gates][16]`.
    tile: &'a mut [f32],
}

impl WithSimd for PanelByGates<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { product, rows, panel, copy, tile } = self;
        let (width, depth) = (product.gates * LANES, product.depth);
        let size = product.panel_rows * width;
        let weights = &product.panels[panel * size..][..size];
        let bias = &weights[depth * width..][..width];
        tile.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(bias));
        for (gate, start) in
            (0..product.gates).flat_map(|gate| (0..depth).step_by(STRETCH).map(move |start| (gate, start)))
        {
            let len = STRETCH.min(depth - start);
            let copy = &mut copy[..len * LANES];
            let from = weights[start * width..].chunks_exact(width);
            for (to, from) in copy.as_chunks_mut::<LANES>().0.iter_mut().zip(from) {
                to.copy_from_slice(&from[gate * LANES..][..LANES]);
            }
            for block in even(rows.clone(), BLOCK_ROWS) {
                let tile = &mut tile[(block.start - rows.start) * width + gate * LANES..];
                // With so many rows, no smaller block is left over.
                match block.len() {
                    4 => product.gate::<S, 4>(simd, block, start, copy, tile),
                    5 => product.gate::<S, 5>(simd, block, start, copy, tile),
                    _ => product.gate::<S, BLOCK_ROWS>(simd, block, start, copy, tile),
                }
            }
        }
    }
}

/// R rows, C registers at a time, Q panels.
struct Block<'a, const R: usize, const C: usize, const Q: usize> {
    /// Each `[panel_rows][width]`.
    panels: [&'a [f32]; Q],
    /// Each `[depth]`.
    source: [&'a [f32]; R],
    width: usize,
    /// `[Q][R][width]`.
    tile: &'a mut [f32],
}

impl<const R: usize, const C: usize, const Q: usize> WithSimd for Block<'_, R, C, Q> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let registers = self.width / S::F32_LANES;
        let strips = registers / C;
        let depth = self.source[0].len();
        let mut source = self.source;
        for row in &mut source {
            *row = &row[..depth];
        }
        for strip in 0..strips {
            let mut walk: [&[[S::f32s; C]]; Q] = [&[]; Q];
            for q in 0..Q {
                walk[q] = &S::as_simd_f32s(self.panels[q]).0.as_chunks::<C>().0[strip..][..depth * strips + 1];
            }
            let mut sums = [[[simd.splat_f32s(0.0); C]; Q]; R];
            for r in 0..R {
                for q in 0..Q {
                    sums[r][q] = walk[q][depth * strips];
                }
            }
            for k in 0..depth {
                let mut weights = [[simd.splat_f32s(0.0); C]; Q];
                for q in 0..Q {
                    weights[q] = walk[q][k * strips];
                }
                for r in 0..R {
                    let x = simd.splat_f32s(source[r][k]);
                    for q in 0..Q {
                        for c in 0..C {
                            sums[r][q][c] = simd.mul_add_e_f32s(x, weights[q][c], sums[r][q][c]);
                        }
                    }
                }
            }
            let tile = S::as_mut_simd_f32s(self.tile).0;
            for r in 0..R {
                for q in 0..Q {
                    tile[(q * R + r) * registers + strip * C..][..C].copy_from_slice(&sums[r][q]);
                }
            }
        }
    }
}

/// R rows and one gate of a panel, C registers at a time. It goes on from the sums in the tile.
struct Gate<'a, const R: usize, const C: usize> {
    /// `[stretch][16]`.
    weights: &'a [f32],
    /// Each `[stretch]`.
    source: [&'a [f32]; R],
    /// The distance between rows of the tile.
    width: usize,
    tile: &'a mut [f32],
}

impl<const R: usize, const C: usize> WithSimd for Gate<'_, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, mut source, width, tile } = self;
        let weights = weights.as_chunks::<LANES>().0;
        for row in &mut source {
            *row = &row[..weights.len()];
        }
        // A part of 16 columns at a time, if C registers do not hold all of them.
        let each = C * S::F32_LANES;
        for part in (0..LANES).step_by(each) {
            let mut sums = [[simd.splat_f32s(0.0); C]; R];
            for r in 0..R {
                sums[r].copy_from_slice(S::as_simd_f32s(&tile[r * width + part..][..each]).0);
            }
            for (k, row) in weights.iter().enumerate() {
                let weights = &S::as_simd_f32s(&row[part..part + each]).0.as_chunks::<C>().0[0];
                for r in 0..R {
                    let x = simd.splat_f32s(source[r][k]);
                    for c in 0..C {
                        sums[r][c] = simd.mul_add_e_f32s(x, weights[c], sums[r][c]);
                    }
                }
            }
            for r in 0..R {
                S::as_mut_simd_f32s(&mut tile[r * width + part..][..each]).0.copy_from_slice(&sums[r]);
            }
        }
    }
}

/// R rows with one panel, C registers at a time, if each gate multiplies its own elements.
struct PerGate<'a, const R: usize, const C: usize> {
    /// `[panel_rows][width]`.
    panel: &'a [f32],
    /// Each `[depth / 16][gates][16]`.
    source: [&'a [f32]; R],
    width: usize,
    /// `[R][width]`.
    tile: &'a mut [f32],
}

impl<const R: usize, const C: usize> WithSimd for PerGate<'_, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { panel, source, width, tile } = self;
        let registers = width / S::F32_LANES;
        let (strips, gates) = (registers / C, width / LANES);
        let blocks = source[0].len() / width;
        for strip in 0..strips {
            let walk = &S::as_simd_f32s(panel).0.as_chunks::<C>().0[strip..][..blocks * LANES * strips + 1];
            let gate = strip * gates / strips;
            let mut sums = [walk[blocks * LANES * strips]; R];
            for block in 0..blocks {
                let mut rows = [&[0.0; LANES]; R];
                for r in 0..R {
                    rows[r] = &source[r].as_chunks::<LANES>().0[block * gates + gate];
                }
                for k in 0..LANES {
                    let weights = walk[(block * LANES + k) * strips];
                    for r in 0..R {
                        let x = simd.splat_f32s(rows[r][k]);
                        for c in 0..C {
                            sums[r][c] = simd.mul_add_e_f32s(x, weights[c], sums[r][c]);
                        }
                    }
                }
            }
            let tile = S::as_mut_simd_f32s(tile).0;
            for r in 0..R {
                tile[r * registers + strip * C..][..C].copy_from_slice(&sums[r]);
            }
        }
    }
}
