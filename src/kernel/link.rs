//! Linking: which files under `shaders/` make up a program. Structure is chosen here and nowhere else.
//!
//! No preprocessor: a module is its parts one after the other, each under a marker line that names its file.

use super::{Kernel, Mask, Program, StateKind, Storage, Tile};
use crate::cell::{Activation, Cell, Functions, Reset, Variant};

macro_rules! parts {
    ($($path:literal),* $(,)?) => {
        /// Every file under `shaders/`: its path and its text.
        pub const PARTS: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

parts![
    "cell/gru.wgsl",
    "cell/gru_before.wgsl",
    "cell/lstm.wgsl",
    "cell/rnn_relu.wgsl",
    "cell/rnn_tanh.wgsl",
    "gates/gates_1.wgsl",
    "gates/gates_2.wgsl",
    "gates/gates_3.wgsl",
    "gates/gates_4.wgsl",
    "kernel/activate.wgsl",
    "kernel/blank.wgsl",
    "kernel/gather.wgsl",
    "kernel/merge.wgsl",
    "kernel/one_hot.wgsl",
    "kernel/pick.wgsl",
    "kernel/project.wgsl",
    "kernel/softmax.wgsl",
    "kernel/step.wgsl",
    "kernel/step_new.wgsl",
    "kernel/step_project.wgsl",
    "kernel/step_reset.wgsl",
    "part/activation.wgsl",
    "part/activation_choice.wgsl",
    "part/gates.wgsl",
    "part/live_all.wgsl",
    "part/live_mask.wgsl",
    "part/params.wgsl",
    "part/place.wgsl",
    "part/product.wgsl",
    "part/weight_f16.wgsl",
    "part/weight_f32.wgsl",
    "reduce/none.wgsl",
    "reduce/slices.wgsl",
    "state/hidden.wgsl",
    "state/memory.wgsl",
    "state/projected.wgsl",
    "tile/rows_1.wgsl",
    "tile/rows_2.wgsl",
    "tile/rows_4.wgsl",
    "tile/rows_8.wgsl",
];

/// The paths of the parts of `program`, in order.
pub fn parts(program: &Program) -> Vec<&'static str> {
    let mut parts = vec!["part/params.wgsl"];
    let weight = match program.storage {
        Storage::F32 => "part/weight_f32.wgsl",
        Storage::F16 => "part/weight_f16.wgsl",
    };
    let live = match program.mask {
        Mask::All => "part/live_all.wgsl",
        Mask::Live => "part/live_mask.wgsl",
    };
    match program.kernel {
        Kernel::Project => {
            parts.extend([weight, gates(program), rows(program.tile), "part/product.wgsl"]);
            parts.extend(["part/activation.wgsl", "part/activation_choice.wgsl"]);
        }
        Kernel::Step | Kernel::StepReset | Kernel::StepNew | Kernel::StepProject => {
            parts.extend([weight, gates(program), rows(program.tile), "part/place.wgsl", "part/product.wgsl"]);
            parts.push(reduce(program.tile));
            if let Some(cell) = program.cell {
                parts.extend(["part/activation.wgsl", cell_file(cell, program.variant), "part/gates.wgsl"]);
            }
            if program.kernel == Kernel::Step {
                parts.push(match program.states {
                    StateKind::Hidden => "state/hidden.wgsl",
                    StateKind::Memory => "state/memory.wgsl",
                    StateKind::Projected => "state/projected.wgsl",
                });
            }
            if program.kernel != Kernel::StepReset {
                parts.push(live);
            }
        }
        Kernel::Gather => parts.push(weight),
        Kernel::Softmax => parts.push("part/activation.wgsl"),
        Kernel::Activate => parts.extend(["part/activation.wgsl", "part/activation_choice.wgsl"]),
        Kernel::OneHot | Kernel::Pick | Kernel::Blank | Kernel::Merge => {}
    }
    parts.push(kernel_file(program.kernel));
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

/// Every program that can be chosen, with representative tiles: what tests prove.
pub fn programs() -> Vec<Program> {
    let mut programs = Vec::new();
    for storage in [Storage::F32, Storage::F16] {
        programs.push(Program { storage, ..Program::plain(Kernel::Gather) });
        for tile in Tile::ROWS.map(|rows| Tile { rows, ..Tile::NONE }) {
            for activation in [Activation::Linear, Activation::Sigmoid, Activation::Tanh, Activation::Relu] {
                programs.push(Program { storage, tile, activation, ..Program::plain(Kernel::Project) });
            }
            for cell in Cell::ALL {
                programs.push(Program { storage, tile, cell: Some(cell), ..Program::plain(Kernel::Project) });
            }
            for slices in [1, 4] {
                let tile = Tile { slices, ..tile };
                programs.extend(step_programs(storage, tile));
            }
        }
    }
    for kernel in [Kernel::OneHot, Kernel::Pick, Kernel::Blank, Kernel::Merge] {
        programs.push(Program::plain(kernel));
    }
    for activation in [Activation::Softmax, Activation::LogSoftmax] {
        programs.push(Program { activation, ..Program::plain(Kernel::Softmax) });
    }
    for activation in [Activation::Linear, Activation::Sigmoid, Activation::Tanh, Activation::Relu] {
        programs.push(Program { activation, ..Program::plain(Kernel::Activate) });
    }
    programs
}

fn step_programs(storage: Storage, tile: Tile) -> Vec<Program> {
    let mut programs = Vec::new();
    let mut add = |kernel, cell: Option<Cell>, states, mask| {
        let variant = cell.map_or(Variant::NONE, Variant::plain);
        programs.push(Program { cell, variant, states, storage, mask, tile, ..Program::plain(kernel) });
    };
    for mask in [Mask::All, Mask::Live] {
        for cell in [Cell::Rnn, Cell::Gru(Reset::After)] {
            add(Kernel::Step, Some(cell), StateKind::Hidden, mask);
        }
        add(Kernel::Step, Some(Cell::Lstm), StateKind::Memory, mask);
        add(Kernel::Step, Some(Cell::Lstm), StateKind::Projected, mask);
        add(Kernel::StepProject, None, StateKind::Hidden, mask);
        add(Kernel::StepNew, Some(Cell::Gru(Reset::Before)), StateKind::Hidden, mask);
    }
    add(Kernel::StepReset, Some(Cell::Gru(Reset::Before)), StateKind::Hidden, Mask::All);
    programs
}

fn rows(tile: Tile) -> &'static str {
    match tile.rows {
        1 => "tile/rows_1.wgsl",
        2 => "tile/rows_2.wgsl",
        4 => "tile/rows_4.wgsl",
        _ => "tile/rows_8.wgsl",
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

fn reduce(tile: Tile) -> &'static str {
    if tile.slices == 1 { "reduce/none.wgsl" } else { "reduce/slices.wgsl" }
}

fn cell_file(cell: Cell, variant: Variant) -> &'static str {
    match cell {
        Cell::Rnn if variant.functions == RELU => "cell/rnn_relu.wgsl",
        Cell::Rnn => "cell/rnn_tanh.wgsl",
        Cell::Lstm => "cell/lstm.wgsl",
        Cell::Gru(Reset::After) => "cell/gru.wgsl",
        Cell::Gru(Reset::Before) => "cell/gru_before.wgsl",
    }
}

/// The functions of an RNN that has a file of its own.
const RELU: Functions = Functions { f: Activation::Relu, ..Functions::NONE };

fn kernel_file(kernel: Kernel) -> &'static str {
    PARTS
        .iter()
        .map(|(path, _)| *path)
        .find(|path| path.strip_prefix("kernel/").and_then(|name| name.strip_suffix(".wgsl")) == Some(kernel.name()))
        .expect("every kernel has a file of its name")
}
