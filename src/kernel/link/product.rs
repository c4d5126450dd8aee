//! The parts of a product: those that load its weights and rows, and those that sum.

use crate::kernel::{Loads, Matrix, Medium, Program, Tile};
use crate::precision::Precision;

/// The parts that compute the sums of a product.
pub(super) fn sums(program: &Program, tile: Tile) -> [&'static str; 5] {
    [gates(program), of_panels(tile), multiply(program), rows(tile), "part/product.wgsl"]
}

/// The gates that an invocation computes: those of a panel, or of panels of one gate each.
fn gates_of(program: &Program) -> u32 {
    program.product_gates() * program.tile().map_or(1, |tile| tile.wide)
}

/// The part that says what the gates of a product multiply. The copy of a single gate is a row like any other.
fn multiply(program: &Program) -> &'static str {
    match (gates_of(program), program.is_per_gate()) {
        (2, true) => "multiply/each_2.wgsl",
        (3, true) => "multiply/each_3.wgsl",
        (4, true) => "multiply/each_4.wgsl",
        (1, _) => "multiply/one_1.wgsl",
        (2, false) => "multiply/one_2.wgsl",
        (3, false) => "multiply/one_3.wgsl",
        (4, false) => "multiply/one_4.wgsl",
        (gates, _) => unreachable!("no product has {gates} gates"),
    }
}

/// The source of a step: copies, or what the other programs of its kernel multiply.
pub(super) fn taken(per_gate: bool, others: &'static str) -> &'static str {
    if per_gate { "source/copies.wgsl" } else { others }
}

pub(super) fn weight(matrix: Matrix) -> &'static str {
    match (matrix.medium, matrix.storage) {
        (Medium::Texture, Precision::F32 | Precision::F16) => "part/weight_texture.wgsl",
        (Medium::Texture, Precision::I8) => "part/weight_texture_i8.wgsl",
        (Medium::Buffer, Precision::F32) => "part/weight_f32.wgsl",
        (Medium::Buffer, Precision::F16) => "part/weight_f16.wgsl",
        (Medium::Buffer, Precision::I8) => "part/weight_i8.wgsl",
    }
}

pub(super) fn panel(matrix: Matrix) -> &'static str {
    match matrix.storage {
        Precision::F32 | Precision::F16 => "panel/floats.wgsl",
        Precision::I8 => "panel/integers.wgsl",
    }
}

fn rows(tile: Tile) -> &'static str {
    match (tile.loads, tile.rows) {
        (Loads::Subgroup, _) => "tile/shared_8.wgsl",
        (Loads::Lane, 1) => "tile/rows_1.wgsl",
        (Loads::Lane, 2) => "tile/rows_2.wgsl",
        (Loads::Lane, 4) => "tile/rows_4.wgsl",
        (Loads::Lane, _) => "tile/rows_8.wgsl",
    }
}

fn gates(program: &Program) -> &'static str {
    match gates_of(program) {
        1 => "gates/gates_1.wgsl",
        2 => "gates/gates_2.wgsl",
        3 => "gates/gates_3.wgsl",
        4 => "gates/gates_4.wgsl",
        gates => unreachable!("no product has {gates} gates"),
    }
}

/// The part that says where an invocation's gates are.
fn of_panels(tile: Tile) -> &'static str {
    if tile.wide > 1 { "gates/of_panels.wgsl" } else { "gates/of_panel.wgsl" }
}

/// The part that adds up the slices of a product.
pub(super) fn slices(tile: Tile) -> &'static str {
    if tile.slices == 1 { "reduce/none.wgsl" } else { "reduce/slices.wgsl" }
}

pub(super) fn hold(tile: Tile) -> Vec<&'static str> {
    let file = match tile.held {
        0 => return vec!["hold/none.wgsl"],
        4 => "hold/depth_4.wgsl",
        8 => "hold/depth_8.wgsl",
        16 => "hold/depth_16.wgsl",
        32 => "hold/depth_32.wgsl",
        48 => "hold/depth_48.wgsl",
        _ => "hold/depth_64.wgsl",
    };
    vec!["part/hold.wgsl", file]
}

pub(super) fn peephole(program: &Program) -> &'static str {
    if program.rows_after_depth() > 1 { "peephole/diagonal.wgsl" } else { "peephole/none.wgsl" }
}
