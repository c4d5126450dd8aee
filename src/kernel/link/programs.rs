//! Every program that ships: the tests prove each of them.
//!
//! Knows which programs exist; knows no file.

use crate::cell::{Activation, Cell, Constant, Coupling, Functions, Peepholes, Reset, Variant};
use crate::kernel::{
    Across, Attend, CellBack, Combine, Convolve, Gemm, Half, Join, JoinOp, Loads, Mask, Matrix, Medium, Norm, Outer,
    Program, RELU, RowLoss, ScoresBackOf, Scoring, StateKind, Step, StepBack, StepProject, Tile, Training,
};
use crate::precision::Precision;
use crate::rule::{Method, Rule};

/// Returns every program that can be chosen, with representative tiles, functions and variants. Tests prove them.
pub fn programs() -> Vec<Program> {
    let mut programs = Vec::new();
    for &storage in Precision::ALL {
        if storage == storage.of_tables() {
            programs.push(Program::Gather(storage));
        }
        let matrix = Matrix::buffer(storage);
        for tile in tiles() {
            let product = Gemm {
                cell: None,
                gates: 1,
                after: 1,
                activation: Activation::Linear,
                matrix,
                tile,
                add: false,
                per_gate: false,
            };
            for activation in [Activation::Linear, Activation::Sigmoid] {
                programs.push(Program::Gemm(Gemm { activation, ..product }));
            }
            let functions = [Activation::Linear, Activation::Sigmoid];
            programs
                .extend(functions.map(|activation| Program::Convolve(Convolve::Forward { activation, matrix, tile })));
            if storage != Precision::I8 {
                let tile = Tile { wide: Tile::WIDE, ..tile };
                programs.extend(
                    functions.map(|activation| Program::Convolve(Convolve::Forward { activation, matrix, tile })),
                );
                let wide = Gemm { tile, ..product };
                programs.extend(functions.map(|activation| Program::Gemm(Gemm { activation, ..wide })));
                programs.push(Program::Gemm(Gemm { add: true, ..wide }));
            }
            programs.extend([1, 2, 3, 4].map(|gates| Program::Gemm(Gemm { add: true, gates, ..product })));
            for cell in Cell::ALL {
                let gates = u32::try_from(cell.gates()).expect("a cell has at most four gates");
                programs.push(Program::Gemm(Gemm { cell: Some(cell), gates, ..product }));
            }
            programs.extend(step_programs(matrix, tile));
            if tile.loads == Loads::Lane && storage == Precision::F32 {
                let flags = [false, true].into_iter().flat_map(|add| [1, 2, 3, 4].map(|gates| (gates, add)));
                programs
                    .extend(flags.map(|(gates, add)| Program::Gemm(Gemm { per_gate: true, add, gates, ..product })));
                if tile.rows == 1 {
                    programs.extend(per_gate_programs(matrix, tile));
                }
            }
            if tile.loads == Loads::Lane {
                programs.extend(step_programs(matrix, Tile { slices: 4, ..tile }));
                programs.extend(wavefronts(matrix, Tile { slices: 4, ..tile }).map(Program::Wavefront));
                programs.extend(scans(matrix, tile).into_iter().map(Program::Scan));
                if matrix == Matrix::buffer(Precision::F32) {
                    let keeping = scans(matrix, tile).into_iter().map(|scan| Step { keeps: true, ..scan });
                    programs.extend(keeping.map(Program::Scan));
                }
                if storage == Precision::F32 && tile.rows < 4 {
                    programs.extend(shared(tile).map(Program::Persistent));
                }
            }
        }
    }
    // The format of a panel matters to peepholes, but not to
    // masks or functions: integers meet only what they matter to.
    programs.retain(|p| {
        let peepholes = p.cell().is_some_and(|(_, variant)| variant.peepholes == Peepholes::Diagonal);
        let is_simple = p.mask() == Mask::All && p.activation() == Activation::Linear;
        p.storage() != Some(Precision::I8) || is_simple && (p.is_plain() || peepholes)
    });
    // A program cannot tell which floats a texture holds, and the rows of a tile do not matter to what a texture holds.
    let of_texture = |p: &Program| {
        let (Matrix { storage, .. }, tile) = p.matrix().zip(p.tile())?;
        let is_there = match storage {
            Precision::F32 => true,
            Precision::F16 => false,
            Precision::I8 => tile.rows == 1 || tile.loads == Loads::Subgroup,
        };
        is_there.then(|| p.with_matrix(Matrix { storage, medium: Medium::Texture }))
    };
    let textures: Vec<_> = programs.iter().filter_map(of_texture).collect();
    programs.extend(textures);
    programs.extend([
        Program::OneHot,
        Program::FinalState,
        Program::MaskOutputs,
        Program::ResetMailbox,
        Program::Sample,
    ]);
    programs.extend([Combine::Sum, Combine::Average, Combine::Product].map(Program::Merge));
    programs.extend(joins().map(Program::Join));
    programs.extend(Across::all().into_iter().map(Program::Across));
    programs.extend(attention().into_iter().map(Program::Attend));
    let back = |first| [Convolve::Back { first }, Convolve::Outer { first }];
    programs.extend([false, true].into_iter().flat_map(back).map(Program::Convolve));
    programs.extend(Activation::ALL.map(Program::of_activation));
    programs.extend(Norm::ALL.map(Program::Normalize));
    programs.extend(training_programs().into_iter().map(Program::Training));
    programs.extend(steps_back().into_iter().map(Program::Training));
    let elementwise = Activation::ALL.into_iter().filter(|f| f.is_elementwise());
    programs.extend(elementwise.map(|f| Program::Training(Training::ActivateBack(f))));
    programs.extend([false, true].map(|first| Program::Training(Training::PeepholeBack { first })));
    programs
}

/// What can hold a matrix.
const MEDIA: [Medium; 2] = [Medium::Buffer, Medium::Texture];

/// The programs of training.
fn training_programs() -> Vec<Training> {
    let mut programs = vec![Training::MaximumBack, Training::Drop, Training::Zero, Training::ToTexture];
    let flags = || {
        [false, true].into_iter().flat_map(|flag| [(1, 1), (3, 1), (4, 2)].map(|(gates, after)| (flag, gates, after)))
    };
    for first in [false, true] {
        for (loads, medium) in
            [Loads::Lane, Loads::Subgroup].into_iter().flat_map(|loads| MEDIA.map(|medium| (loads, medium)))
        {
            // If gates have rows of their own, no lanes load them together.
            let is_there = |&(per_gate, ..): &(bool, u32, u32)| !per_gate || loads == Loads::Lane;
            let of = |(per_gate, gates, after)| Training::Outer(Outer { gates, after, first, per_gate, loads, medium });
            programs.extend(flags().filter(is_there).map(of));
        }
        programs.extend([1, 2, 3, 4].map(|gates| Training::SpreadBack { gates, first }));
        programs.extend([Training::SumSteps { first }, Training::Scatter { first }]);
    }
    programs.extend(flags().map(|(per_gate, gates, after)| Training::Transpose { gates, after, per_gate }));
    programs.extend([1, 2, 3, 4].map(|gates| Training::Spread { gates }));
    programs.extend([false, true].map(|log| Training::SoftmaxBack { log }));
    programs.extend(Norm::ALL.map(Training::NormalizeBack));
    programs.extend(row_losses().into_iter().map(Training::Loss));
    programs.push(Training::Squares);
    programs.extend([false, true].map(|first| Training::Tie { first }));
    programs.extend([false, true].map(|first| Training::Total { first }));
    programs.extend(rules().map(Training::Update));
    programs
}

/// Every rule that makes new weights.
fn rules() -> impl Iterator<Item = Rule> {
    let plain = [Method::Gradient, Method::RmsProp { centered: false }, Method::RmsProp { centered: true }];
    let pushed = plain.into_iter().flat_map(|method| [(method, false), (method, true)]);
    let adam = [false, true].map(|amsgrad| (Method::Adam { amsgrad }, false));
    let of = |(method, momentum)| [false, true].map(|clips_value| Rule { method, momentum, clips_value });
    pushed.chain(adam).flat_map(of)
}

/// Every loss, with and without its options.
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

/// The backward passes of every step, by plain and general cells.
fn steps_back() -> Vec<Training> {
    let masks = [Mask::All, Mask::Live];
    let mut back: Vec<_> = masks.map(Training::StateBack).to_vec();
    let cut = tiles().flat_map(|tile| [tile, Tile { slices: 4, ..tile }, Tile { wide: Tile::WIDE, ..tile }]);
    for (tile, medium) in cut.flat_map(|tile| MEDIA.map(|medium| (tile, medium))) {
        let matrix = Matrix { storage: Precision::F32, medium };
        for Step { cell, variant, states, mask, matrix, tile, .. } in steps(matrix, tile) {
            back.push(match states {
                StateKind::Hidden | StateKind::Cell => {
                    Training::StepBack(StepBack { cell, variant, mask, matrix, tile })
                }
                StateKind::Projected if tile == Tile::NONE && medium == Medium::Buffer => {
                    Training::CellBack(CellBack { variant, mask })
                }
                StateKind::Projected => continue,
            });
        }
    }
    for (tile, medium) in tiles().flat_map(|tile| MEDIA.map(|medium| (tile, medium))) {
        let matrix = Matrix { storage: Precision::F32, medium };
        let scans = if tile.loads == Loads::Lane { scans(matrix, tile) } else { Vec::new() };
        let of = |Step { cell, variant, mask, tile, .. }| StepBack { cell, variant, mask, matrix, tile };
        back.extend(scans.into_iter().map(of).map(Training::ScanBack));
    }
    for variant in variants(Cell::Gru(Reset::Before), Tile::NONE) {
        back.extend(masks.map(|mask| Training::NewBack(variant, mask)));
        back.extend([Training::ResetRows(variant), Training::ResetBack(variant)]);
    }
    back
}

/// Every program of attention.
fn attention() -> Vec<Attend> {
    let mut programs = vec![Scoring::Dot, Scoring::Additive, Scoring::Given];
    let tables = Precision::ALL.iter().filter(|storage| **storage == storage.of_tables());
    programs.extend(tables.map(|&storage| Scoring::Weighted(storage)));
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    let shares = [Mask::All, Mask::Live].into_iter().flat_map(|mask| [false, true].map(|causal| (mask, causal)));
    let shares = shares.map(|(mask, causal)| Attend::Shares { mask, causal });
    let blends = flags.map(|(transposed, first)| Attend::Blend { transposed, first });
    let back = flags.into_iter().flat_map(|(weighted, first)| {
        // The gradient of a weight is multiplied by none, and given scores have none.
        let alone = [ScoresBackOf::Weight, ScoresBackOf::Given].into_iter().filter(move |_| !weighted);
        let of = [ScoresBackOf::Query, ScoresBackOf::Key].into_iter().chain(alone);
        of.map(move |of| Attend::ScoresBack { of, weighted, first })
    });
    programs.into_iter().map(Attend::Scores).chain(shares).chain(blends).chain(back).collect()
}

/// Every way to join.
fn joins() -> impl Iterator<Item = Join> {
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    let of = move |combine| flags.map(|(first, broadcast)| Join { combine, first, broadcast });
    JoinOp::ALL.into_iter().flat_map(of)
}

/// Every tile that has a part.
fn tiles() -> impl Iterator<Item = Tile> {
    let of = |loads: Loads| loads.rows().iter().map(move |&rows| Tile { rows, loads, ..Tile::NONE });
    [Loads::Lane, Loads::Subgroup].into_iter().flat_map(of)
}

/// The programs of a step. General cells appear with only one number of rows: none of their parts depends on it.
fn step_programs(matrix: Matrix, tile: Tile) -> Vec<Program> {
    let mut programs: Vec<_> = steps(matrix, tile).into_iter().map(Program::Step).collect();
    // Training has no numbers but floats.
    if matrix == Matrix::buffer(Precision::F32) {
        programs.extend(steps(matrix, tile).into_iter().map(|step| Program::Step(Step { keeps: true, ..step })));
    }
    for variant in variants(Cell::Gru(Reset::Before), tile) {
        let half = Half { variant, per_gate: false, matrix, tile };
        programs.extend([Mask::All, Mask::Live].map(|mask| Program::StepNew(half, mask)));
        programs.push(Program::StepReset(half));
    }
    programs.extend([Mask::All, Mask::Live].map(|mask| Program::StepProject(StepProject { mask, matrix, tile })));
    programs
}

/// The steps whose gates multiply copies of the state. Only training has them.
fn per_gate_programs(matrix: Matrix, tile: Tile) -> Vec<Program> {
    let mut programs = step_programs(matrix, tile);
    programs.retain_mut(|program| {
        let (Program::Step(Step { per_gate, .. })
        | Program::StepReset(Half { per_gate, .. })
        | Program::StepNew(Half { per_gate, .. }, _)) = program
        else {
            return false;
        };
        *per_gate = true;
        true
    });
    programs
}

/// The steps of the cells whose step is one product.
fn steps(matrix: Matrix, tile: Tile) -> Vec<Step> {
    let mut steps = Vec::new();
    for cell in Cell::ALL {
        let states: &[StateKind] = match cell {
            Cell::Rnn | Cell::Gru(Reset::After) => &[StateKind::Hidden],
            Cell::Lstm => &[StateKind::Cell, StateKind::Projected],
            Cell::Gru(Reset::Before) => &[],
        };
        for variant in variants(cell, tile) {
            for (mask, &states) in
                [Mask::All, Mask::Live].into_iter().flat_map(|mask| states.iter().map(move |s| (mask, s)))
            {
                steps.push(Step { cell, variant, states, mask, keeps: false, per_gate: false, matrix, tile });
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

/// The steps of the layers of a wavefront.
fn wavefronts(matrix: Matrix, tile: Tile) -> impl Iterator<Item = Step> {
    unprojected(matrix, tile).filter(|step| step.variant.peepholes == Peepholes::None)
}

/// The steps that write the hidden state themselves.
fn unprojected(matrix: Matrix, tile: Tile) -> impl Iterator<Item = Step> {
    steps(matrix, tile).into_iter().filter(|step| step.states != StateKind::Projected)
}

/// The steps of a scan. They have one row with loaded weights, or more rows
/// with some held weights. Each plain cell has each number of held rows.
fn scans(matrix: Matrix, tile: Tile) -> Vec<Step> {
    if tile.rows > 1 {
        return unprojected(matrix, Tile { slices: 4, held: 8, ..tile }).collect();
    }
    let plain = |step: &Step| step.mask == Mask::All && step.variant == Variant::plain(step.cell);
    let held = Tile::HELD.map(|held| Tile { panels: held.div_ceil(16), held, ..tile });
    let of_held = held.into_iter().flat_map(|tile| unprojected(matrix, tile).filter(plain));
    unprojected(matrix, tile).chain(of_held).collect()
}

/// The steps of workgroups that share a layer: those of a scan, with one number of
/// held rows. They are linked from the parts of a scan and from some of their own.
fn shared(tile: Tile) -> impl Iterator<Item = Step> {
    let scans = scans(Matrix::buffer(Precision::F32), tile).into_iter().filter(|scan| matches!(scan.tile.held, 0 | 8));
    scans.map(|scan| Step { tile: Tile { layer: 3, ..scan.tile }, ..scan })
}

/// The variants of a cell that have parts of their own.
fn plain_variants(cell: Cell) -> Vec<Variant> {
    let plain = Variant::plain(cell);
    let relu = Variant { functions: RELU, ..plain };
    if cell == Cell::Rnn { vec![plain, relu] } else { vec![plain] }
}

/// Two variants of each cell that are linked from the general parts: other functions, and all options at once.
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
