//! Linking: which files under `shaders/` make up a program. Structure is chosen here and nowhere else.
//!
//! No preprocessor: a module is its parts one after the other, each under a marker line that names its file.

use super::{
    CellBack, Combine, Half, Join, JoinOp, Kernel, Loads, Mask, Matrix, Medium, Outer, Program, Project, RELU, Role,
    RowLoss, StateKind, Step, StepProject, Storage, Tile, Training,
};
use crate::cell::{Activation, Cell, Constant, Coupling, Functions, Peepholes, Reset, Variant};

macro_rules! parts {
    ($($path:literal),* $(,)?) => {
        /// Every file under `shaders/`: its path and its text.
        pub const PARTS: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

parts![
    "back/gru.wgsl",
    "back/lstm.wgsl",
    "back/lstm_general.wgsl",
    "back/no_peephole.wgsl",
    "back/peephole.wgsl",
    "back/rnn.wgsl",
    "back/state.wgsl",
    "back/state_direct.wgsl",
    "back/state_projected.wgsl",
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
    "kernel/state_back.wgsl",
    "kernel/step.wgsl",
    "kernel/step_new.wgsl",
    "kernel/step_project.wgsl",
    "kernel/step_reset.wgsl",
    "kernel/sum_steps.wgsl",
    "kernel/transpose.wgsl",
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
            parts.extend([state(step.states), live(step.mask)]);
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
        Training::CellBack(back) => {
            let mut parts = curve_parts(program, back.cell, back.variant);
            parts.extend(["back/unit.wgsl", live(back.mask), state_back(program, back)]);
            match back.cell {
                Cell::Rnn => parts.push("back/rnn.wgsl"),
                Cell::Gru(_) => parts.push("back/gru.wgsl"),
                Cell::Lstm if program.is_plain() => parts.push("back/lstm.wgsl"),
                Cell::Lstm => parts.extend([
                    match back.variant.peepholes {
                        Peepholes::None => "back/no_peephole.wgsl",
                        Peepholes::Diagonal => "back/peephole.wgsl",
                    },
                    "back/lstm_general.wgsl",
                ]),
            }
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
        | Training::Zero => Vec::new(),
    }
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

/// Where the gradient of a state comes from, on the way back through a cell.
fn state_back(program: &Program, back: CellBack) -> &'static str {
    let is_direct = program.bindings().any(|binding| binding.role == Role::Direct);
    match back.states {
        StateKind::Projected => "back/state_projected.wgsl",
        StateKind::Hidden | StateKind::Memory if is_direct => "back/state_direct.wgsl",
        StateKind::Hidden | StateKind::Memory => "back/state.wgsl",
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

/// Every program that can be chosen, with representative tiles, functions and variants: what tests prove.
pub fn programs() -> Vec<Program> {
    let mut programs = Vec::new();
    for storage in Storage::ALL {
        if storage == storage.of_tables() {
            programs.push(Program::Gather(storage));
        }
        let matrix = Matrix::buffer(storage);
        for tile in tiles() {
            let product =
                Project { cell: None, gates: 1, after: 1, activation: Activation::Linear, matrix, tile, add: false };
            for activation in [Activation::Linear, Activation::Sigmoid] {
                programs.push(Program::Project(Project { activation, ..product }));
            }
            programs.extend([1, 2, 3, 4].map(|gates| Program::Project(Project { add: true, gates, ..product })));
            for cell in Cell::ALL {
                let gates = u32::try_from(cell.gates()).expect("a cell has at most four gates");
                programs.push(Program::Project(Project { cell: Some(cell), gates, ..product }));
            }
            programs.extend(step_programs(matrix, tile));
            if tile.loads == Loads::Lane {
                programs.extend(step_programs(matrix, Tile { slices: 4, ..tile }));
                programs.extend(diagonals(matrix, Tile { slices: 4, ..tile }).map(Program::Diagonal));
                programs.extend(scans(matrix, tile).into_iter().map(Program::Scan));
                if storage == Storage::F32 && tile.rows < 4 {
                    programs.extend(shared(tile).map(Program::Persistent));
                }
            }
        }
    }
    // What a panel is made of meets peepholes, and neither masks nor functions; and rows do not meet what a texture holds.
    programs.retain(|p| {
        let peepholes = p.cell().is_some_and(|(_, variant)| variant.peepholes == Peepholes::Diagonal);
        let is_simple = p.mask() == Mask::All && p.activation() == Activation::Linear;
        p.storage() != Some(Storage::I8) || is_simple && (p.is_plain() || peepholes)
    });
    // Of a texture a program cannot tell which floats it holds.
    let of_texture = |p: &Program| {
        let (Matrix { storage, .. }, tile) = p.matrix().zip(p.tile())?;
        let is_there = match storage {
            Storage::F32 => true,
            Storage::F16 => false,
            Storage::I8 => tile.rows == 1 || tile.loads == Loads::Subgroup,
        };
        is_there.then(|| p.with_matrix(Matrix { storage, medium: Medium::Texture }))
    };
    let textures: Vec<_> = programs.iter().filter_map(of_texture).collect();
    programs.extend(textures);
    programs.extend([Program::OneHot, Program::Pick, Program::Blank, Program::Clear, Program::Sample]);
    programs.extend([Combine::Sum, Combine::Average, Combine::Product].map(Program::Merge));
    programs.extend(joins().map(Program::Join));
    programs.extend(Activation::ALL.map(Program::of_activation));
    programs.extend(training_programs().into_iter().map(Program::Training));
    programs.extend(steps_back().into_iter().map(Program::Training));
    let elementwise = Activation::ALL.into_iter().filter(|f| f.is_elementwise());
    programs.extend(elementwise.map(|f| Program::Training(Training::ActivateBack(f))));
    programs.extend([false, true].map(|first| Program::Training(Training::PeepholeBack { first })));
    programs
}

/// Those of training.
fn training_programs() -> Vec<Training> {
    let mut programs = vec![Training::MaximumBack, Training::Drop, Training::Zero];
    for first in [false, true] {
        programs.extend([(1, 1), (3, 1), (4, 2)].map(|(gates, after)| Training::Outer(Outer { gates, after, first })));
        programs.extend([Training::SumSteps { first }, Training::Scatter { first }]);
    }
    programs.extend([(1, 1), (3, 1), (4, 2)].map(|(gates, after)| Training::Transpose { gates, after }));
    programs.extend([false, true].map(|log| Training::SoftmaxBack { log }));
    programs.extend(row_losses().into_iter().map(Training::Loss));
    programs
}

/// Every loss, with and without what it may have.
fn row_losses() -> Vec<RowLoss> {
    let some = [0.0, 0.1].map(Constant::new);
    let mut losses = vec![RowLoss::Squared, RowLoss::Absolute, RowLoss::SumOfSquares];
    losses.push(RowLoss::Huber { delta: Constant::new(1.0) });
    losses.extend(some.map(|smoothing| RowLoss::BinaryCrossEntropy { smoothing }));
    for weighted in [false, true] {
        losses.extend(some.map(|smoothing| RowLoss::CrossEntropy { smoothing, weighted }));
    }
    losses
}

/// The way back through every step, by plain and general cells.
fn steps_back() -> Vec<Training> {
    let masks = [Mask::All, Mask::Live];
    let mut back: Vec<_> = masks.map(Training::StateBack).to_vec();
    for step in steps(Matrix::buffer(Storage::F32), Tile::NONE) {
        let Step { cell, variant, states, mask, .. } = step;
        back.push(Training::CellBack(CellBack { cell, variant, states, mask }));
    }
    for variant in variants(Cell::Gru(Reset::Before), Tile::NONE) {
        back.extend(masks.map(|mask| Training::NewBack(variant, mask)));
        back.extend([Training::ResetRows(variant), Training::ResetBack(variant)]);
    }
    back
}

/// Every way to join.
fn joins() -> impl Iterator<Item = Join> {
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    let of = move |combine| flags.map(|(first, broadcast)| Join { combine, first, broadcast });
    JoinOp::ALL.into_iter().flat_map(of)
}

/// Every tile that is a part.
fn tiles() -> impl Iterator<Item = Tile> {
    let of = |loads: Loads| loads.rows().iter().map(move |&rows| Tile { rows, loads, ..Tile::NONE });
    [Loads::Lane, Loads::Subgroup].into_iter().flat_map(of)
}

/// The programs of a step: those of general cells with one tile of rows alone, which is no part of them.
fn step_programs(matrix: Matrix, tile: Tile) -> Vec<Program> {
    let mut programs: Vec<_> = steps(matrix, tile).into_iter().map(Program::Step).collect();
    for variant in variants(Cell::Gru(Reset::Before), tile) {
        let half = Half { variant, matrix, tile };
        programs.extend([Mask::All, Mask::Live].map(|mask| Program::StepNew(half, mask)));
        programs.push(Program::StepReset(half));
    }
    programs.extend([Mask::All, Mask::Live].map(|mask| Program::StepProject(StepProject { mask, matrix, tile })));
    programs
}

/// The steps of the cells whose step is one product, likewise.
fn steps(matrix: Matrix, tile: Tile) -> Vec<Step> {
    let mut steps = Vec::new();
    for cell in Cell::ALL {
        let states: &[StateKind] = match cell {
            Cell::Rnn | Cell::Gru(Reset::After) => &[StateKind::Hidden],
            Cell::Lstm => &[StateKind::Memory, StateKind::Projected],
            Cell::Gru(Reset::Before) => &[],
        };
        for variant in variants(cell, tile) {
            for (mask, &states) in
                [Mask::All, Mask::Live].into_iter().flat_map(|mask| states.iter().map(move |s| (mask, s)))
            {
                steps.push(Step { cell, variant, states, mask, matrix, tile });
            }
        }
    }
    steps
}

/// The variants of a cell that are proved with `tile`.
fn variants(cell: Cell, tile: Tile) -> Vec<Variant> {
    let mut variants = plain_variants(cell);
    if tile.rows == 1 {
        variants.extend(general_variants(cell));
    }
    variants
}

/// The steps of the layers of a run, likewise.
fn diagonals(matrix: Matrix, tile: Tile) -> impl Iterator<Item = Step> {
    unprojected(matrix, tile).filter(|step| step.variant.peepholes == Peepholes::None)
}

/// The steps that write the hidden state themselves.
fn unprojected(matrix: Matrix, tile: Tile) -> impl Iterator<Item = Step> {
    steps(matrix, tile).into_iter().filter(|step| step.states != StateKind::Projected)
}

/// The steps of a scan: of one row with weights that are loaded, of more with some that are held, and of each cell alone
/// with each number that can be held.
fn scans(matrix: Matrix, tile: Tile) -> Vec<Step> {
    if tile.rows > 1 {
        return unprojected(matrix, Tile { slices: 4, held: 8, ..tile }).collect();
    }
    let plain = |step: &Step| step.mask == Mask::All && step.variant == Variant::plain(step.cell);
    let held = Tile::HELD.map(|held| Tile { panels: held.div_ceil(16), held, ..tile });
    let of_held = held.into_iter().flat_map(|tile| unprojected(matrix, tile).filter(plain));
    unprojected(matrix, tile).chain(of_held).collect()
}

/// The steps of workgroups that share a layer: those of a scan, whose parts they are linked from besides their own, with
/// one number of rows that are held.
fn shared(tile: Tile) -> impl Iterator<Item = Step> {
    let scans = scans(Matrix::buffer(Storage::F32), tile).into_iter().filter(|scan| matches!(scan.tile.held, 0 | 8));
    scans.map(|scan| Step { tile: Tile { layer: 3, ..scan.tile }, ..scan })
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
