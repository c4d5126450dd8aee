//! Random weights and inputs of a case, from its seed alone: never zero, and rubbish wherever nobody may look.

use ndarray::{Array, Array2, Dimension, ShapeBuilder};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Case, InitialStates, MaskKind, weights_map};
use crate::call::{Input, States};
use crate::kernel::Storage;
use crate::model::{Axes, Bias, Flow, LayerKind, Model, Recurrent};
use crate::weights::{CellWeights, LayerWeights, Weights};

/// The source of all random numbers of a case.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// An integer below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from((u64::from(self.0.next_u32()) * bound as u64) >> 32).expect("below a usize")
    }

    /// A number of size `least · scale` to `scale`, of either sign: a zero would hide what multiplies it.
    fn number(&mut self, least: f32, scale: f32) -> f32 {
        let bits = self.0.next_u32();
        #[allow(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
        let part = (bits >> 8) as f32 / (1 << 24) as f32;
        let size = scale * (least + (1.0 - least) * part);
        if bits & 1 == 0 { size } else { -size }
    }

    fn array<D: Dimension, S: ShapeBuilder<Dim = D>>(&mut self, shape: S, least: f32, scale: f32) -> Array<f32, D> {
        Array::from_shape_simple_fn(shape, || self.number(least, scale))
    }
}

/// The random weights of a case: uniform within `1 / √H` as PyTorch begins, but never near zero.
pub(super) fn weights(case: &Case) -> Weights {
    let mut draw = Draw::new(case.seed);
    let layers = case.model.layers.iter().map(|layer| layer_weights(&mut draw, &layer.kind)).collect();
    let weights = Weights { layers };
    let has_one_hot = case.model.layers.iter().any(|layer| matches!(layer.kind, LayerKind::OneHot(_)));
    if has_one_hot && case.storage == Storage::F16 {
        // The table of `W_x` and its bias is summed before it is rounded to half, the oracle's weights are rounded
        // before they are summed. On this grid both are exact, so that they must agree.
        return weights_map(&weights, |w| (w / 4.0 * 1024.0).round() / 1024.0);
    }
    weights
}

fn layer_weights(draw: &mut Draw, layer: &LayerKind) -> LayerWeights {
    match layer {
        LayerKind::Embedding(e) => LayerWeights::Embedding(draw.array((e.num_embeddings, e.embedding_dim), 0.1, 1.0)),
        LayerKind::Recurrent(r) => LayerWeights::Recurrent(
            (0..r.num_layers * r.directions()).map(|row| cell_weights(draw, r, row / r.directions())).collect(),
        ),
        LayerKind::Linear(l) => LayerWeights::Linear {
            w: draw.array((l.out_features, l.in_features), 0.1, scale(l.in_features)),
            b: (l.bias != Bias::None).then(|| draw.array(l.out_features, 0.5, scale(l.in_features))),
        },
        LayerKind::OneHot(_) | LayerKind::Select(_) | LayerKind::Activation(_) => LayerWeights::None,
    }
}

fn cell_weights(draw: &mut Draw, r: &Recurrent, layer: usize) -> CellWeights {
    let rows = r.cell.gates() * r.hidden_size;
    let scale = scale(r.hidden_size);
    CellWeights {
        w_x: draw.array((rows, r.layer_input(layer).len()), 0.1, scale),
        w_h: draw.array((rows, r.state_size()), 0.1, scale),
        b_x: (r.bias != Bias::None).then(|| draw.array(rows, 0.5, scale)),
        b_h: (r.bias == Bias::Two).then(|| draw.array(rows, 0.5, scale)),
        w_r: r.proj_size.map(|p| draw.array((p, r.hidden_size), 0.1, scale)),
    }
}

fn scale(depth: usize) -> f32 {
    #[allow(clippy::cast_precision_loss, reason = "sizes of cases are small")]
    let depth = depth as f32;
    depth.sqrt().recip()
}

/// The random input of a case, in the axes of its model. Dead steps hold NaN, or tokens that no table has.
pub(super) fn input(case: &Case) -> Input {
    let mut draw = Draw::new(case.seed);
    draw.0.set_stream(1);
    let live = live(&mut draw, case);
    let mut input = sequence(&mut draw, case, &live);
    match case.mask {
        MaskKind::All => {}
        MaskKind::Lengths => {
            let steps = |row: ndarray::ArrayView1<'_, bool>| row.iter().map(|&live| i64::from(live)).sum::<i64>();
            input = input.lengths(live.columns().into_iter().map(steps));
        }
        MaskKind::Holes => input = input.mask(in_axes(&case.model, live)),
    }
    if case.states == InitialStates::Given {
        for (index, stack) in case.model.stacks().enumerate() {
            input = input.stack_states(index, states(&mut draw, stack, case.batch));
        }
    }
    input
}

/// `[T, B]`. Where there are three rows or more, one of them has no step at all.
fn live(draw: &mut Draw, case: &Case) -> Array2<bool> {
    let (time, batch) = (case.time, case.batch);
    let mut live = Array2::from_elem((time, batch), true);
    for (b, mut row) in live.columns_mut().into_iter().enumerate() {
        let nothing = batch >= 3 && b == batch / 2;
        match case.mask {
            MaskKind::All => {}
            MaskKind::Lengths => {
                let steps = if nothing { 0 } else { 1 + draw.below(time) };
                row.slice_mut(ndarray::s![steps..]).fill(false);
            }
            MaskKind::Holes => {
                row.mapv_inplace(|_| !nothing && draw.below(4) > 0);
                row[time / 2] &= b > 0;
            }
        }
    }
    live
}

fn sequence(draw: &mut Draw, case: &Case, live: &Array2<bool>) -> Input {
    let (time, batch) = (case.time, case.batch);
    match case.model.input().expect("the model of a case is right") {
        Flow::Tokens(vocabulary) => {
            let bound = i64::try_from(vocabulary).expect("the vocabulary of a case is small");
            let rubbish = [-1, bound, i64::MAX, i64::MIN];
            let tokens = Array2::from_shape_fn((time, batch), |at| {
                let token = draw.below(vocabulary);
                if live[at] { i64::try_from(token).expect("below the vocabulary") } else { rubbish[token % 4] }
            });
            Input::tokens(in_axes(&case.model, tokens))
        }
        Flow::Steps(features) | Flow::Rows(features) => {
            let mut x = draw.array((time, batch, features.len()), 0.1, 1.0);
            for (at, _) in live.indexed_iter().filter(|(_, live)| !**live) {
                x.slice_mut(ndarray::s![at.0, at.1, ..]).fill(f32::NAN);
            }
            Input::features(in_axes(&case.model, x))
        }
    }
}

fn states(draw: &mut Draw, r: &Recurrent, batch: usize) -> States {
    let rows = r.num_layers * r.directions();
    let h = draw.array((rows, batch, r.state_size()), 0.1, 1.0);
    match r.cell.states() {
        1 => States::hidden(h),
        _ => States::with_cell(h, draw.array((rows, batch, r.hidden_size), 0.1, 1.0)),
    }
}

/// `[T, B, …]` in the axes of the model.
fn in_axes<T, D: Dimension>(model: &Model, mut array: Array<T, D>) -> Array<T, D> {
    if model.axes == Axes::BatchFirst {
        array.swap_axes(0, 1);
    }
    array
}
