//! Linking: which files under `shaders/` make up a program. Structure is chosen only here.
//!
//! There is no preprocessor. A module is its parts one after the other, each under
//! a marker line that names its file. `programs` lists every program that ships.

mod product;
mod programs;
mod training;

use product::{hold, panel, peephole, slices, sums, taken, weight};

use super::{
    Across, Attend, Convolve, Gemm, Half, Kernel, Mask, Matrix, Norm, Program, ScoresBackOf, Scoring, StateKind, Step,
    StepProject, Tile,
};
use crate::cell::{Activation, Cell, Reset, Variant};
use crate::precision::Precision;

pub use programs::programs;

macro_rules! parts {
    ($($path:literal),* $(,)?) => {
        /// Every file under `shaders/`: its path and its text.
        pub const PARTS: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

parts![
    "back/cell_state.wgsl",
    "back/deltas.wgsl",
    "back/deltas_gru.wgsl",
    "back/gru.wgsl",
    "back/hidden.wgsl",
    "back/lstm.wgsl",
    "back/lstm_general.wgsl",
    "back/no_peephole.wgsl",
    "back/no_states.wgsl",
    "back/peephole.wgsl",
    "back/place.wgsl",
    "back/rnn.wgsl",
    "back/state_direct.wgsl",
    "back/timestep.wgsl",
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
    "gates/of_panel.wgsl",
    "gates/of_panels.wgsl",
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
    "kernel/blend.wgsl",
    "kernel/cell_back.wgsl",
    "kernel/conv.wgsl",
    "kernel/conv_back.wgsl",
    "kernel/conv_outer.wgsl",
    "kernel/drop.wgsl",
    "kernel/final_state.wgsl",
    "kernel/gather.wgsl",
    "kernel/gemm.wgsl",
    "kernel/join.wgsl",
    "kernel/loss.wgsl",
    "kernel/mask_outputs.wgsl",
    "kernel/maximum_back.wgsl",
    "kernel/merge.wgsl",
    "kernel/new_back.wgsl",
    "kernel/normalize.wgsl",
    "kernel/normalize_back.wgsl",
    "kernel/one_hot.wgsl",
    "kernel/outer.wgsl",
    "kernel/peephole_back.wgsl",
    "kernel/persistent.wgsl",
    "kernel/pool.wgsl",
    "kernel/pool_back.wgsl",
    "kernel/rearrange.wgsl",
    "kernel/reset_back.wgsl",
    "kernel/reset_mailbox.wgsl",
    "kernel/reset_rows.wgsl",
    "kernel/sample.wgsl",
    "kernel/scan.wgsl",
    "kernel/scan_back.wgsl",
    "kernel/scatter.wgsl",
    "kernel/scores.wgsl",
    "kernel/scores_back.wgsl",
    "kernel/shares.wgsl",
    "kernel/softmax.wgsl",
    "kernel/softmax_back.wgsl",
    "kernel/spread.wgsl",
    "kernel/spread_back.wgsl",
    "kernel/squares.wgsl",
    "kernel/state_back.wgsl",
    "kernel/step.wgsl",
    "kernel/step_back.wgsl",
    "kernel/step_new.wgsl",
    "kernel/step_project.wgsl",
    "kernel/step_reset.wgsl",
    "kernel/sum_steps.wgsl",
    "kernel/tie.wgsl",
    "kernel/to_texture.wgsl",
    "kernel/total.wgsl",
    "kernel/transpose.wgsl",
    "kernel/update.wgsl",
    "kernel/wavefront.wgsl",
    "kernel/window_back.wgsl",
    "kernel/window_pool.wgsl",
    "kernel/zero.wgsl",
    "loss/classes.wgsl",
    "loss/elementwise.wgsl",
    "loss/even.wgsl",
    "loss/none.wgsl",
    "loss/values.wgsl",
    "loss/weighted.wgsl",
    "multiply/each_2.wgsl",
    "multiply/each_3.wgsl",
    "multiply/each_4.wgsl",
    "multiply/one_1.wgsl",
    "multiply/one_2.wgsl",
    "multiply/one_3.wgsl",
    "multiply/one_4.wgsl",
    "norm/by_feature.wgsl",
    "norm/centred.wgsl",
    "norm/row.wgsl",
    "norm/uncentred.wgsl",
    "outer/buffers.wgsl",
    "outer/lane.wgsl",
    "outer/subgroup.wgsl",
    "outer/textures.wgsl",
    "panel/floats.wgsl",
    "panel/integers.wgsl",
    "part/activation.wgsl",
    "part/band.wgsl",
    "part/copies.wgsl",
    "part/gates.wgsl",
    "part/hold.wgsl",
    "part/lanes.wgsl",
    "part/live_all.wgsl",
    "part/live_mask.wgsl",
    "part/logarithm.wgsl",
    "part/mailbox.wgsl",
    "part/params.wgsl",
    "part/place.wgsl",
    "part/product.wgsl",
    "part/random.wgsl",
    "part/steps.wgsl",
    "part/texel.wgsl",
    "part/walk.wgsl",
    "part/weight_f16.wgsl",
    "part/weight_f32.wgsl",
    "part/weight_i8.wgsl",
    "part/weight_texture.wgsl",
    "part/weight_texture_i8.wgsl",
    "part/windows.wgsl",
    "peephole/diagonal.wgsl",
    "peephole/none.wgsl",
    "reduce/halves.wgsl",
    "reduce/none.wgsl",
    "reduce/slices.wgsl",
    "score/additive.wgsl",
    "score/back_of_given.wgsl",
    "score/back_of_key.wgsl",
    "score/back_of_weight.wgsl",
    "score/dot.wgsl",
    "score/given.wgsl",
    "score/no_weight.wgsl",
    "score/own_weight.wgsl",
    "score/query.wgsl",
    "score/shares.wgsl",
    "score/weighted.wgsl",
    "source/copies.wgsl",
    "source/projected.wgsl",
    "source/reset.wgsl",
    "source/state.wgsl",
    "state/cell.wgsl",
    "state/hidden.wgsl",
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

/// Returns the paths of the parts of `program`, in order.
pub fn parts(program: &Program) -> Vec<&'static str> {
    let mut parts = vec!["part/params.wgsl"];
    if program.bindings().any(|binding| binding.access.is_texture()) {
        parts.push("part/texel.wgsl");
    }
    let kernel = program.kernel();
    match *program {
        Program::Gemm(Gemm { matrix, tile, .. }) => {
            parts.extend([weight(matrix), panel(matrix)]);
            parts.extend(sums(program, tile));
            parts.extend(chosen(program));
        }
        Program::Step(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, slices(step.tile)));
            let source = match step.states {
                StateKind::Projected => "source/projected.wgsl",
                StateKind::Hidden | StateKind::Cell => "source/state.wgsl",
            };
            parts.extend([taken(step.per_gate, source), state(step.states), live(step.mask), keep(step)]);
        }
        Program::Wavefront(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, "reduce/halves.wgsl"));
            parts.extend([state(step.states), live(step.mask)]);
        }
        Program::Scan(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, slices(step.tile)));
            parts.extend(hold(step.tile));
            parts.extend([keep(step), "part/walk.wgsl", "part/steps.wgsl", state(step.states), live(step.mask)]);
        }
        Program::Persistent(step) => {
            parts.extend(product_parts(program, step.matrix, step.tile, slices(step.tile)));
            parts.extend(hold(step.tile));
            let walk = [keep(step), "part/walk.wgsl", "part/mailbox.wgsl"];
            parts.extend(walk.into_iter().chain([state(step.states), live(step.mask)]));
        }
        Program::StepReset(Half { matrix, tile, per_gate, .. }) => {
            parts.extend(product_parts(program, matrix, tile, slices(tile)));
            parts.push(taken(per_gate, "source/state.wgsl"));
        }
        Program::StepNew(Half { matrix, tile, per_gate, .. }, mask) => {
            parts.extend(product_parts(program, matrix, tile, slices(tile)));
            parts.extend([taken(per_gate, "source/reset.wgsl"), live(mask)]);
        }
        Program::StepProject(StepProject { matrix, tile, mask }) => {
            parts.extend(product_parts(program, matrix, tile, slices(tile)));
            parts.push(live(mask));
        }
        Program::Gather(storage) => parts.push(weight(Matrix::buffer(storage))),
        Program::Softmax { .. } => parts.extend(["part/activation.wgsl", "part/logarithm.wgsl", "part/lanes.wgsl"]),
        Program::Join(_) => parts.push("part/activation.wgsl"),
        Program::Activate(_) => parts.extend(chosen(program)),
        Program::Normalize(norm) => parts.extend(norm_parts(norm)),
        Program::Sample => parts.extend(["part/activation.wgsl", "part/logarithm.wgsl", "part/random.wgsl"]),
        Program::ResetMailbox | Program::OneHot | Program::FinalState | Program::MaskOutputs | Program::Merge(_) => {}
        Program::Across(Across::Pool(pool)) => parts.extend(["part/activation.wgsl", live(pool.mask)]),
        Program::Across(Across::PoolBack(_, mask)) => parts.push(live(mask)),
        Program::Across(Across::Rearrange) => {}
        Program::Across(Across::WindowPool(_, mask)) => {
            parts.extend(["part/activation.wgsl", "part/windows.wgsl", live(mask)]);
        }
        Program::Across(Across::WindowBack(_, mask)) => parts.extend(["part/windows.wgsl", live(mask)]),
        Program::Attend(attend) => parts.extend(attention_parts(attend)),
        Program::Convolve(Convolve::Forward { matrix, tile, .. }) => {
            parts.extend([weight(matrix), panel(matrix), "part/band.wgsl"]);
            parts.extend(sums(program, tile));
            parts.extend(chosen(program));
        }
        Program::Convolve(Convolve::Back { .. }) => {
            parts.extend([weight(Matrix::buffer(Precision::F32)), "part/band.wgsl"]);
        }
        Program::Convolve(Convolve::Outer { .. }) => parts.push("part/band.wgsl"),
        Program::Training(training) => parts.extend(training::parts(program, training)),
    }
    parts.push(kernel_file(kernel));
    parts
}

/// The parts of `normalize` and its backward pass: the sums over a row are linked where a norm has them.
fn norm_parts(norm: Norm) -> Vec<&'static str> {
    let sums = match norm {
        Norm::Affine | Norm::Standard | Norm::PRelu => return vec!["norm/by_feature.wgsl", "norm/row.wgsl"],
        Norm::Layer => "norm/centred.wgsl",
        Norm::Rms | Norm::L2 => "norm/uncentred.wgsl",
    };
    vec!["part/lanes.wgsl", sums, "norm/row.wgsl"]
}

/// The parts of a program of attention, without its kernel.
fn attention_parts(attend: Attend) -> Vec<&'static str> {
    match attend {
        Attend::Scores(Scoring::Dot) => vec!["score/query.wgsl", "score/dot.wgsl"],
        Attend::Scores(Scoring::Additive) => {
            vec!["part/activation.wgsl", "score/query.wgsl", "score/additive.wgsl"]
        }
        Attend::Scores(Scoring::Weighted(storage)) => {
            vec!["part/activation.wgsl", weight(Matrix::buffer(storage)), "score/query.wgsl", "score/weighted.wgsl"]
        }
        Attend::Scores(Scoring::Given) => vec!["score/given.wgsl"],
        Attend::Shares { mask, .. } => vec!["part/activation.wgsl", "part/lanes.wgsl", live(mask)],
        Attend::Blend { .. } => vec!["score/shares.wgsl"],
        Attend::ScoresBack { of, weighted, .. } => {
            let mut parts = match weighted {
                true => vec![weight(Matrix::buffer(Precision::F32)), "score/own_weight.wgsl"],
                false => vec!["score/no_weight.wgsl"],
            };
            parts.push("score/shares.wgsl");
            parts.extend(match of {
                ScoresBackOf::Query | ScoresBackOf::Key => ["part/activation.wgsl", "score/back_of_key.wgsl"],
                ScoresBackOf::Weight => ["part/activation.wgsl", "score/back_of_weight.wgsl"],
                ScoresBackOf::Given => return [parts, vec!["score/back_of_given.wgsl"]].concat(),
            });
            parts
        }
    }
}

/// The part that keeps what the backward pass of a step needs.
fn keep(step: Step) -> &'static str {
    match step.cell {
        _ if !step.keeps => "keep/none.wgsl",
        Cell::Rnn | Cell::Lstm => "keep/sums.wgsl",
        Cell::Gru(_) => "keep/gru.wgsl",
    }
}

/// The parts of a step's product, and of its cell if it has one.
fn product_parts(program: &Program, matrix: Matrix, tile: Tile, reduce: &'static str) -> Vec<&'static str> {
    // The constants of tile and cell come before an array whose size depends on them: naga 30 requires it.
    let mut parts = vec![weight(matrix), panel(matrix), "part/place.wgsl"];
    if let Some((cell, variant)) = program.cell() {
        parts.extend(cell_parts(program, cell, variant));
        parts.push("part/gates.wgsl");
    }
    parts.extend(sums(program, tile));
    parts.extend([peephole(program), reduce]);
    parts
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
        StateKind::Cell => "state/cell.wgsl",
        StateKind::Projected => "state/projected.wgsl",
    }
}

/// Returns the WGSL of `program`: its parts, each under a line `// part: PATH`.
pub fn source(program: &Program) -> String {
    let text = |path: &str| {
        let (_, text) = PARTS.iter().find(|(name, _)| *name == path).expect("every part is embedded");
        format!("// part: {path}\n{text}\n")
    };
    parts(program).into_iter().map(text).collect()
}

/// Every elementwise function. An override constant chooses one.
const FUNCTIONS: [&str; 3] = ["part/activation.wgsl", "part/logarithm.wgsl", "function/all.wgsl"];

/// The function of a layer's results.
fn chosen(program: &Program) -> Vec<&'static str> {
    if program.ends_in_function() {
        [&FUNCTIONS[..], &["function/chosen.wgsl"]].concat()
    } else {
        vec!["function/none.wgsl"]
    }
}

/// The equations of a cell, and the functions that they use.
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
