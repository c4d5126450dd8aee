//! Linking: which files under `shaders/` make up a program. Structure is chosen here and nowhere else.
//!
//! No preprocessor: a module is its parts one after the other, each under a marker line that names its file.

use super::{Combine, Kernel, Loads, Mask, Medium, Program, RELU, StateKind, Storage, Tile};
use crate::cell::{Activation, Cell, Constant, Coupling, Functions, Peepholes, Reset, Variant};

macro_rules! parts {
    ($($path:literal),* $(,)?) => {
        /// Every file under `shaders/`: its path and its text.
        pub const PARTS: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

parts![
    "cell/gru.wgsl",
    "cell/gru_before.wgsl",
    "cell/gru_general.wgsl",
    "cell/lstm.wgsl",
    "cell/lstm_general.wgsl",
    "cell/rnn_general.wgsl",
    "cell/rnn_relu.wgsl",
    "cell/rnn_tanh.wgsl",
    "function/all.wgsl",
    "function/chosen.wgsl",
    "function/clip.wgsl",
    "function/f.wgsl",
    "function/g.wgsl",
    "function/h.wgsl",
    "function/none.wgsl",
    "function/plain.wgsl",
    "gates/gates_1.wgsl",
    "gates/gates_2.wgsl",
    "gates/gates_3.wgsl",
    "gates/gates_4.wgsl",
    "hold/depth_16.wgsl",
    "hold/depth_32.wgsl",
    "hold/depth_4.wgsl",
    "hold/depth_48.wgsl",
    "hold/depth_64.wgsl",
    "hold/depth_8.wgsl",
    "hold/none.wgsl",
    "kernel/activate.wgsl",
    "kernel/blank.wgsl",
    "kernel/clear.wgsl",
    "kernel/diagonal.wgsl",
    "kernel/gather.wgsl",
    "kernel/merge.wgsl",
    "kernel/one_hot.wgsl",
    "kernel/persistent.wgsl",
    "kernel/pick.wgsl",
    "kernel/project.wgsl",
    "kernel/sample.wgsl",
    "kernel/scan.wgsl",
    "kernel/softmax.wgsl",
    "kernel/step.wgsl",
    "kernel/step_new.wgsl",
    "kernel/step_project.wgsl",
    "kernel/step_reset.wgsl",
    "panel/floats.wgsl",
    "panel/integers.wgsl",
    "part/activation.wgsl",
    "part/exchange.wgsl",
    "part/gates.wgsl",
    "part/hold.wgsl",
    "part/live_all.wgsl",
    "part/live_mask.wgsl",
    "part/logarithm.wgsl",
    "part/params.wgsl",
    "part/place.wgsl",
    "part/product.wgsl",
    "part/random.wgsl",
    "part/walk.wgsl",
    "part/weight_f16.wgsl",
    "part/weight_f32.wgsl",
    "part/weight_i8.wgsl",
    "part/weight_texture.wgsl",
    "part/weight_texture_i8.wgsl",
    "peephole/diagonal.wgsl",
    "peephole/none.wgsl",
    "reduce/halves.wgsl",
    "reduce/none.wgsl",
    "reduce/slices.wgsl",
    "state/hidden.wgsl",
    "state/memory.wgsl",
    "state/projected.wgsl",
    "tile/rows_1.wgsl",
    "tile/rows_2.wgsl",
    "tile/rows_4.wgsl",
    "tile/rows_8.wgsl",
    "tile/shared_8.wgsl",
];

/// The paths of the parts of `program`, in order.
pub fn parts(program: &Program) -> Vec<&'static str> {
    let mut parts = vec!["part/params.wgsl"];
    let weight = match (program.medium, program.storage) {
        (Medium::Texture, Storage::F32 | Storage::F16) => "part/weight_texture.wgsl",
        (Medium::Texture, Storage::I8) => "part/weight_texture_i8.wgsl",
        (Medium::Buffer, Storage::F32) => "part/weight_f32.wgsl",
        (Medium::Buffer, Storage::F16) => "part/weight_f16.wgsl",
        (Medium::Buffer, Storage::I8) => "part/weight_i8.wgsl",
    };
    let panel = match program.storage {
        Storage::F32 | Storage::F16 => "panel/floats.wgsl",
        Storage::I8 => "panel/integers.wgsl",
    };
    let live = match program.mask {
        Mask::All => "part/live_all.wgsl",
        Mask::Live => "part/live_mask.wgsl",
    };
    let kernel = program.kernel;
    match kernel {
        Kernel::Project => {
            parts.extend([weight, panel, gates(program), rows(program.tile), "part/product.wgsl"]);
            parts.extend(chosen(program));
        }
        Kernel::Step
        | Kernel::Diagonal
        | Kernel::Scan
        | Kernel::Persistent
        | Kernel::StepReset
        | Kernel::StepNew
        | Kernel::StepProject => {
            // The constants of tile and cell come before an array that has its size by some of them: naga 30 wants it so.
            parts.extend([weight, panel, "part/place.wgsl"]);
            if let Some(cell) = program.cell {
                parts.extend(cell_parts(program, cell));
                parts.push("part/gates.wgsl");
            }
            parts.extend([gates(program), rows(program.tile), "part/product.wgsl"]);
            parts.extend([peephole(program), reduce(program)]);
            if kernel.is_walk() {
                parts.extend(hold(program.tile));
                parts.push("part/walk.wgsl");
            }
            if kernel == Kernel::Persistent {
                parts.push("part/exchange.wgsl");
            }
            if kernel.is_walk() || matches!(kernel, Kernel::Step | Kernel::Diagonal) {
                parts.push(match program.states {
                    StateKind::Hidden => "state/hidden.wgsl",
                    StateKind::Memory => "state/memory.wgsl",
                    StateKind::Projected => "state/projected.wgsl",
                });
            }
            if kernel != Kernel::StepReset {
                parts.push(live);
            }
        }
        Kernel::Gather => parts.push(weight),
        Kernel::Softmax => parts.extend(["part/activation.wgsl", "part/logarithm.wgsl"]),
        Kernel::Activate => parts.extend(chosen(program)),
        Kernel::Sample => parts.extend(["part/activation.wgsl", "part/logarithm.wgsl", "part/random.wgsl"]),
        Kernel::Clear | Kernel::OneHot | Kernel::Pick | Kernel::Blank | Kernel::Merge => {}
    }
    parts.push(kernel_file(kernel));
    parts
}

/// The WGSL of `program`: its parts, each under a line `// part: PATH`.
pub fn source(program: &Program) -> String {
    let text = |path: &str| {
        let (_, text) = PARTS.iter().find(|(name, _)| *name == path).expect("every part is embedded");
        format!("// part: {path}\n{text}\n")
    };
    parts(program).into_iter().map(text).collect()
}

/// Every program that can be chosen, with representative tiles, functions and variants: what tests prove.
pub fn programs() -> Vec<Program> {
    let mut programs = Vec::new();
    for storage in Storage::ALL {
        if storage == storage.of_tables() {
            programs.push(Program { storage, ..Program::plain(Kernel::Gather) });
        }
        for tile in tiles() {
            for activation in [Activation::Linear, Activation::Sigmoid] {
                programs.push(Program { storage, tile, activation, ..Program::plain(Kernel::Project) });
            }
            for cell in Cell::ALL {
                programs.push(Program { storage, tile, cell: Some(cell), ..Program::plain(Kernel::Project) });
            }
            programs.extend(step_programs(storage, tile));
            if tile.loads == Loads::Lane {
                programs.extend(step_programs(storage, Tile { slices: 4, ..tile }));
                programs.extend(diagonal_programs(storage, Tile { slices: 4, ..tile }));
                programs.extend(scan_programs(storage, tile));
                if storage == Storage::F32 && tile.rows < 4 {
                    programs.extend(persistent_programs(tile));
                }
            }
        }
    }
    // What a panel is made of meets peepholes, and neither masks nor functions; and rows do not meet what a texture holds.
    programs.retain(|p| {
        let is_simple = p.mask == Mask::All && p.activation == Activation::Linear;
        p.storage != Storage::I8 || is_simple && (p.is_plain() || p.variant.peepholes == Peepholes::Diagonal)
    });
    // Of a texture a program cannot tell which floats it holds.
    let is_texture = |p: &&Program| match p.storage {
        Storage::F32 => p.kernel.is_product(),
        Storage::F16 => false,
        Storage::I8 => p.tile.rows == 1 || p.tile.loads == Loads::Subgroup,
    };
    let products: Vec<_> = programs.iter().filter(is_texture).copied().collect();
    programs.extend(products.into_iter().map(|program| Program { medium: Medium::Texture, ..program }));
    for kernel in [Kernel::OneHot, Kernel::Pick, Kernel::Blank, Kernel::Clear, Kernel::Sample] {
        programs.push(Program::plain(kernel));
    }
    for combine in [Combine::Sum, Combine::Average, Combine::Product] {
        programs.push(Program { combine, ..Program::plain(Kernel::Merge) });
    }
    for activation in Activation::ALL {
        let kernel = if activation.is_elementwise() { Kernel::Activate } else { Kernel::Softmax };
        programs.push(Program { activation, ..Program::plain(kernel) });
    }
    programs
}

/// Every tile that is a part.
fn tiles() -> impl Iterator<Item = Tile> {
    let of = |loads: Loads| loads.rows().iter().map(move |&rows| Tile { rows, loads, ..Tile::NONE });
    [Loads::Lane, Loads::Subgroup].into_iter().flat_map(of)
}

/// The programs of a step: those of general cells with one tile of rows alone, which is no part of them.
fn step_programs(storage: Storage, tile: Tile) -> Vec<Program> {
    let mut programs = Vec::new();
    for cell in Cell::ALL {
        let mut variants = plain_variants(cell);
        if tile.rows == 1 {
            variants.extend(general_variants(cell));
        }
        for variant in variants {
            for mask in [Mask::All, Mask::Live] {
                let program =
                    Program { cell: Some(cell), variant, storage, mask, tile, ..Program::plain(Kernel::Step) };
                let step = |states| Program { states, ..program };
                programs.extend(match cell {
                    Cell::Rnn | Cell::Gru(Reset::After) => vec![step(StateKind::Hidden)],
                    Cell::Lstm => vec![step(StateKind::Memory), step(StateKind::Projected)],
                    Cell::Gru(Reset::Before) => vec![Program { kernel: Kernel::StepNew, ..program }],
                });
            }
            if cell == Cell::Gru(Reset::Before) {
                programs.push(Program {
                    cell: Some(cell),
                    variant,
                    storage,
                    tile,
                    ..Program::plain(Kernel::StepReset)
                });
            }
        }
    }
    for mask in [Mask::All, Mask::Live] {
        programs.push(Program { storage, mask, tile, ..Program::plain(Kernel::StepProject) });
    }
    programs
}

/// The programs of the layers of a run, likewise.
fn diagonal_programs(storage: Storage, tile: Tile) -> Vec<Program> {
    let steps = step_programs(storage, tile).into_iter();
    let alone = steps.filter(|program| {
        program.kernel == Kernel::Step
            && program.states != StateKind::Projected
            && program.variant.peepholes == Peepholes::None
    });
    alone.map(|program| Program { kernel: Kernel::Diagonal, ..program }).collect()
}

/// The programs of a scan: of one row with weights that are loaded, of more with some that are held, and of each cell alone
/// with each number that can be held.
fn scan_programs(storage: Storage, tile: Tile) -> Vec<Program> {
    let of = |tile| {
        let steps = step_programs(storage, tile).into_iter();
        let alone = steps.filter(|program| program.kernel == Kernel::Step && program.states != StateKind::Projected);
        alone.map(|program| Program { kernel: Kernel::Scan, ..program })
    };
    if tile.rows > 1 {
        return of(Tile { slices: 4, held: 8, ..tile }).collect();
    }
    let plain = |program: &Program| {
        program.mask == Mask::All && program.cell.is_some_and(|cell| program.variant == Variant::plain(cell))
    };
    let held = Tile::HELD.map(|held| Tile { panels: held.div_ceil(16), held, ..tile });
    of(tile).chain(held.into_iter().flat_map(|tile| of(tile).filter(plain))).collect()
}

/// The programs of workgroups that share a layer: those of a scan, whose parts they are linked from besides their own, with
/// one number of rows that are held.
fn persistent_programs(tile: Tile) -> Vec<Program> {
    let scans = scan_programs(Storage::F32, tile).into_iter().filter(|scan| matches!(scan.tile.held, 0 | 8));
    let shared = |scan: Program| Program { kernel: Kernel::Persistent, tile: Tile { layer: 3, ..scan.tile }, ..scan };
    scans.map(shared).collect()
}

/// The variants of a cell that have parts of their own.
fn plain_variants(cell: Cell) -> Vec<Variant> {
    let plain = Variant::plain(cell);
    let relu = Variant { functions: RELU, ..plain };
    if cell == Cell::Rnn { vec![plain, relu] } else { vec![plain] }
}

/// Two variants of each cell that are linked from the general parts: other functions, and all that there is besides.
fn general_variants(cell: Cell) -> Vec<Variant> {
    let plain = Variant::plain(cell);
    let first = |f| Variant { functions: Functions { f, ..plain.functions }, ..plain };
    let (coupling, peepholes) = match cell {
        Cell::Lstm => (Coupling::InputForget, Peepholes::Diagonal),
        Cell::Rnn | Cell::Gru(_) => (Coupling::Apart, Peepholes::None),
    };
    let all = Variant { clip: Some(Constant::new(2.0)), coupling, peepholes, ..first(Activation::Softplus) };
    vec![first(Activation::HardSigmoid { alpha: Constant::new(0.2), beta: Constant::new(0.5) }), all]
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
    match program.product_gates() {
        1 => "gates/gates_1.wgsl",
        2 => "gates/gates_2.wgsl",
        3 => "gates/gates_3.wgsl",
        _ => "gates/gates_4.wgsl",
    }
}

fn reduce(program: &Program) -> &'static str {
    match (program.kernel, program.tile.slices) {
        (Kernel::Diagonal, _) => "reduce/halves.wgsl",
        (_, 1) => "reduce/none.wgsl",
        _ => "reduce/slices.wgsl",
    }
}

fn hold(tile: Tile) -> Vec<&'static str> {
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

fn peephole(program: &Program) -> &'static str {
    if program.rows_after_depth() > 1 { "peephole/diagonal.wgsl" } else { "peephole/none.wgsl" }
}

/// Every elementwise function, for an override constant to choose from.
const FUNCTIONS: [&str; 3] = ["part/activation.wgsl", "part/logarithm.wgsl", "function/all.wgsl"];

/// The function that a layer's results go through.
fn chosen(program: &Program) -> Vec<&'static str> {
    if program.ends_in_function() {
        [&FUNCTIONS[..], &["function/chosen.wgsl"]].concat()
    } else {
        vec!["function/none.wgsl"]
    }
}

/// The equations of a cell, and the functions in them.
fn cell_parts(program: &Program, cell: Cell) -> Vec<&'static str> {
    if program.is_plain() {
        let file = match cell {
            Cell::Rnn if program.variant.functions.f == Activation::Relu => "cell/rnn_relu.wgsl",
            Cell::Rnn => "cell/rnn_tanh.wgsl",
            Cell::Lstm => "cell/lstm.wgsl",
            Cell::Gru(Reset::After) => "cell/gru.wgsl",
            Cell::Gru(Reset::Before) => {
                return vec!["part/activation.wgsl", "function/plain.wgsl", "cell/gru_before.wgsl"];
            }
        };
        return vec!["part/activation.wgsl", file];
    }
    let file = match cell {
        Cell::Rnn => "cell/rnn_general.wgsl",
        Cell::Lstm => "cell/lstm_general.wgsl",
        Cell::Gru(Reset::After) => "cell/gru_general.wgsl",
        Cell::Gru(Reset::Before) => "cell/gru_before.wgsl",
    };
    let letters = ["function/f.wgsl", "function/g.wgsl", "function/h.wgsl"];
    [&FUNCTIONS[..], &["function/clip.wgsl"], &letters[..cell.function_count()], &[file]].concat()
}

fn kernel_file(kernel: Kernel) -> &'static str {
    PARTS
        .iter()
        .map(|(path, _)| *path)
        .find(|path| path.strip_prefix("kernel/").and_then(|name| name.strip_suffix(".wgsl")) == Some(kernel.name()))
        .expect("every kernel has a file of its name")
}
