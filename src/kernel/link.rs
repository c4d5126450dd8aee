//! Linking: which files under `shaders/` make up a program. Structure is chosen here and nowhere else.
//!
//! No preprocessor: a module is its parts one after the other, each under a marker line that names its file. `programs` lists
//! every program that ships.

mod programs;

use super::{
    Half, Kernel, Loads, Mask, Matrix, Medium, Program, Project, RowLoss, StateKind, Step, StepProject, Storage, Tile,
    Training,
};
use crate::cell::{Activation, Cell, Peepholes, Reset, Variant};
use crate::rule::{Method, Rule};

pub use programs::programs;

macro_rules! parts {
    ($($path:literal),* $(,)?) => {
        /// Every file under `shaders/`: its path and its text.
        pub const PARTS: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

parts![
    "back/deltas.wgsl",
    "back/deltas_gru.wgsl",
    "back/gru.wgsl",
    "back/hidden.wgsl",
    "back/lstm.wgsl",
    "back/lstm_general.wgsl",
    "back/memory.wgsl",
    "back/no_peephole.wgsl",
    "back/no_states.wgsl",
    "back/peephole.wgsl",
    "back/place.wgsl",
    "back/rnn.wgsl",
    "back/state_direct.wgsl",
    "back/unit.wgsl",
    "cell/gru.wgsl",
    "cell/gru_before.wgsl",
    "cell/gru_general.wgsl",
    "cell/lstm.wgsl",
    "cell/lstm_general.wgsl",
    "cell/rnn_general.wgsl",
    "cell/rnn_relu.wgsl",
    "cell/rnn_tanh.wgsl",
    "curve/clip.wgsl",
    "curve/curve.wgsl",
    "curve/f.wgsl",
    "curve/g.wgsl",
    "curve/h.wgsl",
    "curve/plain.wgsl",
    "curve/relu.wgsl",
    "curve/tanh.wgsl",
    "function/all.wgsl",
    "function/chosen.wgsl",
    "function/chosen_slope.wgsl",
    "function/clip.wgsl",
    "function/derivative.wgsl",
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
    "keep/gru.wgsl",
    "keep/none.wgsl",
    "keep/sums.wgsl",
    "kernel/activate.wgsl",
    "kernel/activate_back.wgsl",
    "kernel/blank.wgsl",
    "kernel/cell_back.wgsl",
    "kernel/clear.wgsl",
    "kernel/diagonal.wgsl",
    "kernel/drop.wgsl",
    "kernel/gather.wgsl",
    "kernel/join.wgsl",
    "kernel/loss.wgsl",
    "kernel/maximum_back.wgsl",
    "kernel/merge.wgsl",
    "kernel/new_back.wgsl",
    "kernel/one_hot.wgsl",
    "kernel/outer.wgsl",
    "kernel/peephole_back.wgsl",
    "kernel/persistent.wgsl",
    "kernel/pick.wgsl",
    "kernel/project.wgsl",
    "kernel/reset_back.wgsl",
    "kernel/reset_rows.wgsl",
    "kernel/sample.wgsl",
    "kernel/scan.wgsl",
    "kernel/scatter.wgsl",
    "kernel/softmax.wgsl",
    "kernel/softmax_back.wgsl",
    "kernel/squares.wgsl",
    "kernel/state_back.wgsl",
    "kernel/step.wgsl",
    "kernel/step_back.wgsl",
    "kernel/step_new.wgsl",
    "kernel/step_project.wgsl",
    "kernel/step_reset.wgsl",
    "kernel/sum_steps.wgsl",
    "kernel/tie.wgsl",
    "kernel/total.wgsl",
    "kernel/transpose.wgsl",
    "kernel/update.wgsl",
    "kernel/zero.wgsl",
    "loss/classes.wgsl",
    "loss/elementwise.wgsl",
    "loss/even.wgsl",
    "loss/none.wgsl",
    "loss/values.wgsl",
    "loss/weighted.wgsl",
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
    "update/adam.wgsl",
    "update/amsgrad.wgsl",
    "update/gradient.wgsl",
    "update/moved.wgsl",
    "update/over_deviation.wgsl",
    "update/over_root.wgsl",
    "update/place.wgsl",
    "update/pushed.wgsl",
    "update/pushed_second.wgsl",
    "update/pushed_third.wgsl",
    "update/scalars.wgsl",
];

/// The paths of the parts of `program`, in order.
pub fn parts(program: &Program) -> Vec<&'static str> {
    let mut parts = vec!["part/params.wgsl"];
    let kernel = program.kernel();
    match *program {
        Program::Project(Project { matrix, tile, .. }) => {
            parts.extend([weight(matrix), panel(matrix), gates(program), rows(tile), "part/product.wgsl"]);
            parts.extend(chosen(program));
        }
        Program::Step(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, slices(step.tile)));
            parts.extend([state(step.states), live(step.mask), keep(step)]);
        }
        Program::Diagonal(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, "reduce/halves.wgsl"));
            parts.extend([state(step.states), live(step.mask)]);
        }
        Program::Scan(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, slices(step.tile)));
            parts.extend(hold(step.tile));
            parts.extend(["part/walk.wgsl", state(step.states), live(step.mask)]);
        }
        Program::Persistent(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, slices(step.tile)));
            parts.extend(hold(step.tile));
            parts.extend(["part/walk.wgsl", "part/exchange.wgsl", state(step.states), live(step.mask)]);
        }
        Program::StepReset(Half { matrix, tile, .. }) => {
            parts.extend(product_parts(program, matrix, tile, slices(tile)));
        }
        Program::StepNew(Half { matrix, tile, .. }, mask)
        | Program::StepProject(StepProject { matrix, tile, mask }) => {
            parts.extend(product_parts(program, matrix, tile, slices(tile)));
            parts.push(live(mask));
        }
        Program::Gather(storage) => parts.push(weight(Matrix::buffer(storage))),
        Program::Softmax { .. } => parts.extend(["part/activation.wgsl", "part/logarithm.wgsl"]),
        Program::Join(_) => parts.push("part/activation.wgsl"),
        Program::Activate(_) => parts.extend(chosen(program)),
        Program::Sample => parts.extend(["part/activation.wgsl", "part/logarithm.wgsl", "part/random.wgsl"]),
        Program::Clear | Program::OneHot | Program::Pick | Program::Blank | Program::Merge(_) => {}
        Program::Training(training) => parts.extend(training_parts(program, training)),
    }
    parts.push(kernel_file(kernel));
    parts
}

/// The parts of a training program but its kernel.
fn training_parts(program: &Program, training: Training) -> Vec<&'static str> {
    match training {
        Training::StepBack(back) => {
            let tile = back.tile;
            let mut parts =
                vec![weight(back.matrix), panel(back.matrix), "part/place.wgsl", gates(program), rows(tile)];
            parts.extend(["part/product.wgsl", "peephole/none.wgsl", slices(tile)]);
            parts.extend(curve_parts(program, back.cell, back.variant));
            parts.extend(["back/place.wgsl", live(back.mask), peephole_back(back.variant)]);
            parts.push(cell_back(program, back.cell));
            parts.extend(match back.cell {
                Cell::Rnn => ["back/deltas.wgsl", "back/no_states.wgsl"],
                Cell::Lstm => ["back/deltas.wgsl", "back/memory.wgsl"],
                Cell::Gru(_) => ["back/deltas_gru.wgsl", "back/hidden.wgsl"],
            });
            parts
        }
        Training::CellBack(back) => {
            let mut parts = curve_parts(program, Cell::Lstm, back.variant);
            parts.extend(["back/unit.wgsl", live(back.mask), peephole_back(back.variant)]);
            parts.push(cell_back(program, Cell::Lstm));
            parts
        }
        Training::ResetRows(_) if program.is_plain() => vec!["part/activation.wgsl", "function/plain.wgsl"],
        Training::ResetRows(_) => {
            [&FUNCTIONS[..], &["function/clip.wgsl", "function/f.wgsl", "function/g.wgsl"]].concat()
        }
        Training::NewBack(variant, mask) => {
            let mut parts = curve_parts(program, Cell::Gru(Reset::Before), variant);
            parts.extend(["back/unit.wgsl", live(mask), "back/state_direct.wgsl"]);
            parts
        }
        Training::ResetBack(variant) => {
            let mut parts = curve_parts(program, Cell::Gru(Reset::Before), variant);
            parts.extend(["back/unit.wgsl", live(Mask::All)]);
            parts
        }
        Training::StateBack(mask) => vec!["back/unit.wgsl", live(mask), "back/state_direct.wgsl"],
        Training::ActivateBack(_) => {
            [&FUNCTIONS[..], &["function/derivative.wgsl", "function/chosen_slope.wgsl"]].concat()
        }
        Training::SoftmaxBack { .. } => vec!["part/activation.wgsl"],
        Training::Drop => vec!["part/activation.wgsl", "part/logarithm.wgsl", "part/random.wgsl"],
        Training::Loss(loss) => loss_parts(loss),
        Training::Outer(_)
        | Training::PeepholeBack { .. }
        | Training::Transpose { .. }
        | Training::MaximumBack
        | Training::SumSteps { .. }
        | Training::Scatter { .. }
        | Training::Zero
        | Training::Total { .. } => Vec::new(),
        Training::Tie { .. } => vec!["update/place.wgsl"],
        Training::Squares => vec!["update/scalars.wgsl"],
        Training::Update(rule) => rule_parts(rule),
    }
}

/// The equations of an update: which way weights go, and how they are moved.
fn rule_parts(rule: Rule) -> Vec<&'static str> {
    let (way, moments) = match rule.method {
        Method::Gradient => ("update/gradient.wgsl", 0),
        Method::RmsProp { centered: false } => ("update/over_root.wgsl", 1),
        Method::RmsProp { centered: true } => ("update/over_deviation.wgsl", 2),
        Method::Adam { amsgrad: false } => ("update/adam.wgsl", 2),
        Method::Adam { amsgrad: true } => ("update/amsgrad.wgsl", 3),
    };
    let moved = match moments {
        _ if !rule.momentum => "update/moved.wgsl",
        0 => "update/pushed.wgsl",
        1 => "update/pushed_second.wgsl",
        _ => "update/pushed_third.wgsl",
    };
    vec!["update/scalars.wgsl", way, moved]
}

fn loss_parts(loss: RowLoss) -> Vec<&'static str> {
    let [kind, of_target] = match loss {
        RowLoss::CrossEntropy { weighted: true, .. } => ["loss/classes.wgsl", "loss/weighted.wgsl"],
        RowLoss::CrossEntropy { .. } => ["loss/classes.wgsl", "loss/even.wgsl"],
        RowLoss::SumOfSquares => ["loss/elementwise.wgsl", "loss/none.wgsl"],
        RowLoss::BinaryCrossEntropy { .. } | RowLoss::Squared | RowLoss::Absolute | RowLoss::Huber { .. } => {
            ["loss/elementwise.wgsl", "loss/values.wgsl"]
        }
    };
    vec!["part/activation.wgsl", "part/logarithm.wgsl", of_target, kind]
}

/// The functions of a cell with their derivatives.
fn curve_parts(program: &Program, cell: Cell, variant: Variant) -> Vec<&'static str> {
    if program.is_plain() {
        let file = match cell {
            Cell::Rnn if variant.functions.f == Activation::Relu => "curve/relu.wgsl",
            Cell::Rnn => "curve/tanh.wgsl",
            Cell::Lstm | Cell::Gru(_) => "curve/plain.wgsl",
        };
        return vec!["part/activation.wgsl", "curve/curve.wgsl", file];
    }
    let letters = ["function/f.wgsl", "function/g.wgsl", "function/h.wgsl"];
    let curves = ["curve/f.wgsl", "curve/g.wgsl", "curve/h.wgsl"];
    let count = cell.function_count();
    let shared = ["function/derivative.wgsl", "function/clip.wgsl", "curve/curve.wgsl", "curve/clip.wgsl"];
    [&FUNCTIONS[..], &shared, &letters[..count], &curves[..count]].concat()
}

/// The equations of a cell's way back.
fn cell_back(program: &Program, cell: Cell) -> &'static str {
    match cell {
        Cell::Rnn => "back/rnn.wgsl",
        Cell::Gru(_) => "back/gru.wgsl",
        Cell::Lstm if program.is_plain() => "back/lstm.wgsl",
        Cell::Lstm => "back/lstm_general.wgsl",
    }
}

fn peephole_back(variant: Variant) -> &'static str {
    match variant.peepholes {
        Peepholes::None => "back/no_peephole.wgsl",
        Peepholes::Diagonal => "back/peephole.wgsl",
    }
}

/// What a step keeps for its way back.
fn keep(step: Step) -> &'static str {
    match step.cell {
        _ if !step.keeps => "keep/none.wgsl",
        Cell::Rnn | Cell::Lstm => "keep/sums.wgsl",
        Cell::Gru(_) => "keep/gru.wgsl",
    }
}

/// The parts of a step's product, and of its cell where it has one.
fn product_parts(program: &Program, matrix: Matrix, tile: Tile, reduce: &'static str) -> Vec<&'static str> {
    // The constants of tile and cell come before an array that has its size by some of them: naga 30 wants it so.
    let mut parts = vec![weight(matrix), panel(matrix), "part/place.wgsl"];
    if let Some((cell, variant)) = program.cell() {
        parts.extend(cell_parts(program, cell, variant));
        parts.push("part/gates.wgsl");
    }
    parts.extend([gates(program), rows(tile), "part/product.wgsl", peephole(program), reduce]);
    parts
}

fn weight(matrix: Matrix) -> &'static str {
    match (matrix.medium, matrix.storage) {
        (Medium::Texture, Storage::F32 | Storage::F16) => "part/weight_texture.wgsl",
        (Medium::Texture, Storage::I8) => "part/weight_texture_i8.wgsl",
        (Medium::Buffer, Storage::F32) => "part/weight_f32.wgsl",
        (Medium::Buffer, Storage::F16) => "part/weight_f16.wgsl",
        (Medium::Buffer, Storage::I8) => "part/weight_i8.wgsl",
    }
}

fn panel(matrix: Matrix) -> &'static str {
    match matrix.storage {
        Storage::F32 | Storage::F16 => "panel/floats.wgsl",
        Storage::I8 => "panel/integers.wgsl",
    }
}

fn live(mask: Mask) -> &'static str {
    match mask {
        Mask::All => "part/live_all.wgsl",
        Mask::Live => "part/live_mask.wgsl",
    }
}

fn state(states: StateKind) -> &'static str {
    match states {
        StateKind::Hidden => "state/hidden.wgsl",
        StateKind::Memory => "state/memory.wgsl",
        StateKind::Projected => "state/projected.wgsl",
    }
}

/// The WGSL of `program`: its parts, each under a line `// part: PATH`.
pub fn source(program: &Program) -> String {
    let text = |path: &str| {
        let (_, text) = PARTS.iter().find(|(name, _)| *name == path).expect("every part is embedded");
        format!("// part: {path}\n{text}\n")
    };
    parts(program).into_iter().map(text).collect()
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
        4 => "gates/gates_4.wgsl",
        gates => unreachable!("no product has {gates} gates"),
    }
}

/// How the slices of a product meet.
fn slices(tile: Tile) -> &'static str {
    if tile.slices == 1 { "reduce/none.wgsl" } else { "reduce/slices.wgsl" }
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
fn cell_parts(program: &Program, cell: Cell, variant: Variant) -> Vec<&'static str> {
    if program.is_plain() {
        let file = match cell {
            Cell::Rnn if variant.functions.f == Activation::Relu => "cell/rnn_relu.wgsl",
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
