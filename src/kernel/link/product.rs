//! The parts of a product: what its weights and rows are loaded by, and what sums them.

use crate::kernel::{Loads, Matrix, Medium, Program, Storage, Tile};

/// The sums of a product.
pub(super) fn sums(program: &Program, tile: Tile) -> [&'static str; 5] {
    [gates(program), of_panels(tile), multiply(program), rows(tile), "part/product.wgsl"]
}

/// The gates that an invocation computes: those of a panel, or of panels of one gate each.
fn gates_of(program: &Program) -> u32 {
    program.product_gates() * program.tile().map_or(1, |tile| tile.wide)
}

/// What of a row the gates of a product multiply. The copy of a lone gate is a row like any other.
fn multiply(program: &Program) -> &'static str {
    match (gates_of(program), program.is_apart()) {
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

/// What a step multiplies: copies, or what the others of its kernel do.
pub(super) fn taken(apart: bool, others: &'static str) -> &'static str {
    if apart { "source/copies.wgsl" } else { others }
}

pub(super) fn weight(matrix: Matrix) -> &'static str {
    match (matrix.medium, matrix.storage) {
        (Medium::Texture, Storage::F32 | Storage::F16) => "part/weight_texture.wgsl",
        (Medium::Texture, Storage::I8) => "part/weight_texture_i8.wgsl",
        (Medium::Buffer, Storage::F32) => "part/weight_f32.wgsl",
        (Medium::Buffer, Storage::F16) => "part/weight_f16.wgsl",
        (Medium::Buffer, Storage::I8) => "part/weight_i8.wgsl",
    }
}

pub(super) fn panel(matrix: Matrix) -> &'static str {
    match matrix.storage {
        Storage::F32 | Storage::F16 => "panel/floats.wgsl",
        Storage::I8 => "panel/integers.wgsl",
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

/// Where the gates are that an invocation computes.
fn of_panels(tile: Tile) -> &'static str {
    if tile.wide > 1 { "gates/of_panels.wgsl" } else { "gates/of_panel.wgsl" }
}

/// How the slices of a product meet.
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
