//! Random weights and inputs of a case, from its seed alone: never zero, and rubbish wherever nobody may look.

use ndarray::{Array, Array2, ArrayView1, Dimension, ShapeBuilder, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Case, InitialStates, MaskKind, weights_map};
use crate::call::{Input, States};
use crate::cell::{Activation, Cell, Functions, Peepholes};
use crate::kernel::Storage;
use crate::model::{Axes, Bias, Embedding, Flow, InputKind, Layer, LayerKind, Model, Recurrent};
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

    /// The weights of a product, `[rows, depth]`, of variance about `1 / fan_in`.
    fn product(&mut self, shape: (usize, usize), fan_in: usize) -> Array2<f32> {
        #[allow(clippy::cast_precision_loss, reason = "sizes of cases are small")]
        let scale = (3.0 / fan_in as f32).sqrt();
        self.array(shape, 0.1, scale)
    }
}

/// The random weights of a case: products that keep the size of what they are given, and biases that are missed.
pub(super) fn weights(case: &Case) -> Weights {
    let mut draw = Draw::new(case.seed);
    let layers = &case.model.layers;
    let begins_with_one_hot = matches!(layers[0].kind, LayerKind::OneHot(_));
    let mut layer = |(index, layer): (usize, &Layer)| {
        // A unit vector brings one weight of a row to bear, however long the row.
        let fan_in = (begins_with_one_hot && index == 1).then_some(4);
        layer_weights(&mut draw, &layer.kind, fan_in)
    };
    let mut drawn: Vec<_> = layers.iter().enumerate().map(&mut layer).collect();
    for later in 1..layers.len() {
        // Layers of one prefix share their tensors.
        let is_twin = |other: &usize| layers[*other].weights == layers[later].weights;
        if let Some(twin) = (0..later).find(is_twin) {
            drawn[later] = drawn[twin].clone();
        }
    }
    let encoder = encoder(case).map(|case| Box::new(weights(&case)));
    let weights = Weights { encoder, ..Weights::new(drawn) };
    // The table of what tokens give a cell is summed before it is rounded to half, the oracle's weights are rounded before
    // they are summed. On these grids both are exact, so that they must agree.
    let grid = |steps: f32| move |w: f32| (w * steps).round() / steps;
    match case.model.layers[0].kind {
        LayerKind::OneHot(_) if case.storage == Storage::F16 => weights_map(&weights, grid(1024.0)),
        LayerKind::Embedding(_) if case.storage == Storage::F16 => {
            let mut weights = weights_map(&weights, grid(64.0));
            if let LayerWeights::Embedding(table) = &mut weights.layers[0] {
                table.mapv_inplace(grid(8.0));
            }
            weights
        }
        _ => weights,
    }
}

fn layer_weights(draw: &mut Draw, layer: &LayerKind, fan_in: Option<usize>) -> LayerWeights {
    match layer {
        LayerKind::Embedding(e) => LayerWeights::Embedding(draw.array((e.num_embeddings, e.embedding_dim), 0.1, 1.0)),
        LayerKind::Recurrent(r) => LayerWeights::Recurrent(
            (0..r.num_layers * r.directions())
                .map(|row| {
                    let layer = row / r.directions();
                    let depth = r.layer_input(layer).len();
                    cell_weights(draw, r, depth, fan_in.filter(|_| layer == 0).unwrap_or(depth))
                })
                .collect(),
        ),
        LayerKind::Linear(l) => LayerWeights::Linear {
            w: draw.product((l.out_features, l.in_features), fan_in.unwrap_or(l.in_features)),
            b: (l.bias != Bias::None).then(|| draw.array(l.out_features, 0.5, 0.5)),
        },
        // Those without parameters.
        _ => LayerWeights::None,
    }
}

fn cell_weights(draw: &mut Draw, r: &Recurrent, depth: usize, fan_in: usize) -> CellWeights {
    let rows = r.cell.gates() * r.hidden_size;
    let mut bias = || {
        let bias = draw.array(rows, 0.5, 0.5);
        // A unit of a relu that is always off would hide every bug.
        if r.functions[0].f == Activation::Relu { bias.mapv(f32::abs) } else { bias }
    };
    let b_x = (r.bias != Bias::None).then(&mut bias);
    let b_h = (r.bias == Bias::Two).then(&mut bias);
    CellWeights {
        w_x: draw.product((rows, depth), fan_in),
        w_h: draw.product((rows, r.state_size()), r.state_size()) * feedback(r),
        b_x,
        b_h,
        peepholes: (r.peepholes != Peepholes::None).then(|| draw.array((3, r.hidden_size), 0.25, 1.0)),
        w_r: r.proj_size.map(|p| draw.product((p, r.hidden_size), r.hidden_size)),
    }
}

/// What recurrent weights are made smaller by: functions without a bound would drive states up, step by step.
fn feedback(r: &Recurrent) -> f32 {
    let is_tame = |f: Activation| {
        use Activation as A;
        // A product of this size with a relu keeps the size of what it is given; gates multiply it.
        matches!(f, A::Sigmoid | A::Tanh | A::ScaledTanh { .. } | A::HardSigmoid { .. } | A::Softsign)
            || f == A::Relu && r.cell == Cell::Rnn
    };
    let own = |functions: &Functions| functions.each().into_iter().take(r.cell.function_count());
    if r.functions.iter().flat_map(own).all(is_tame) { 1.0 } else { 0.25 }
}

/// The random input of a case, in the axes of its model. Dead steps hold NaN, or tokens that no table has; steps that
/// the model itself takes out hold what it takes them out for.
pub(super) fn input(case: &Case) -> Input {
    let mut draw = Draw::new(case.seed);
    draw.0.set_stream(1);
    let live = live(&mut draw, case.mask, case.time, case.batch);
    let mut input = sequence(&mut draw, case, &live);
    input = others(&mut draw, case, &live, input);
    match case.mask {
        MaskKind::All | MaskKind::Own => {}
        MaskKind::Lengths => {
            let steps = |row: ArrayView1<'_, bool>| row.iter().map(|&live| i64::from(live)).sum::<i64>();
            input = input.lengths(live.columns().into_iter().map(steps));
        }
        MaskKind::Holes => input = input.mask(live.reversed_axes()),
    }
    if case.states == InitialStates::Given {
        let begun = |index: usize| case.model.is_linked(index) || case.model.is_begun(index);
        let linked = |(index, _): &(usize, &Recurrent)| begun(*index);
        for (index, stack) in case.model.stacks().enumerate().filter(|stack| !linked(stack)) {
            input = input.stack_states(index, states(&mut draw, stack, case.batch));
        }
    }
    match encoder(case) {
        Some(case) => input.encoder(self::input(&case)),
        None => input,
    }
}

/// The same case of the model's encoder, with other steps.
fn encoder(case: &Case) -> Option<Case> {
    let model = case.model.encoder.as_ref()?.model.clone();
    Some(Case { model, time: case.time + 2, seed: case.seed.wrapping_add(1), ..case.clone() })
}

/// `[T, B]`. Row 0 has a dead step and a live one, where it has two; of three rows or more, one has no step at all.
fn live(draw: &mut Draw, mask: MaskKind, time: usize, batch: usize) -> Array2<bool> {
    let mut live = Array2::from_elem((time, batch), true);
    for (b, mut row) in live.columns_mut().into_iter().enumerate() {
        let nothing = batch >= 3 && b == batch / 2;
        match mask {
            MaskKind::All | MaskKind::Own => {}
            MaskKind::Lengths => {
                let steps = match b {
                    _ if nothing => 0,
                    0 => time / 2 + 1,
                    _ => 1 + draw.below(time),
                };
                row.slice_mut(s![steps..]).fill(false);
            }
            MaskKind::Holes => {
                row.mapv_inplace(|_| !nothing && draw.below(4) > 0);
                if b == 0 {
                    row[time / 2] = false;
                    row[(time / 2 + 1) % time] = true;
                }
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
            let mut drawn = Array2::from_shape_simple_fn((time, batch), || draw.below(vocabulary));
            if let Some(&LayerKind::Embedding(Embedding { mask_token: Some(mask), .. })) = masking(&case.model) {
                let own = own(draw, case);
                let told = |token: usize| if token == mask { (token + 1) % vocabulary } else { token };
                drawn.zip_mut_with(&own, |token, &own| *token = if own { told(*token) } else { mask });
            }
            let tokens = Array2::from_shape_fn((time, batch), |at| {
                let token = drawn[at];
                if live[at] { i64::try_from(token).expect("below the vocabulary") } else { rubbish[token % 4] }
            });
            Input::tokens(in_axes(&case.model, tokens))
        }
        Flow::Steps(features) | Flow::Rows(features) => {
            let mut x = draw.array((time, batch, features.len()), 0.1, 1.0);
            if let Some(LayerKind::Masking(masking)) = masking(&case.model) {
                for (at, &own) in own(draw, case).indexed_iter() {
                    // One feature of the value does not take a step out: all of them do.
                    let features = if own { 1.min(features.len() - 1) } else { features.len() };
                    x.slice_mut(s![at.0, at.1, ..features]).fill(masking.value.get());
                }
            }
            for (at, _) in live.indexed_iter().filter(|(_, live)| !**live) {
                x.slice_mut(s![at.0, at.1, ..]).fill(f32::NAN);
            }
            Input::features(in_axes(&case.model, x))
        }
    }
}

/// `input` with the model's other inputs: rubbish at dead steps, and none in a row.
fn others(draw: &mut Draw, case: &Case, live: &Array2<bool>, mut input: Input) -> Input {
    let (time, batch, model) = (case.time, case.batch, &case.model);
    for (_, other) in model.inputs.iter().enumerate().filter(|(index, _)| *index != model.main_input()) {
        input = match other.kind {
            InputKind::Sequence(size) => {
                let mut x = draw.array((time, batch, size), 0.1, 1.0);
                for (at, _) in live.indexed_iter().filter(|(_, live)| !**live) {
                    x.slice_mut(s![at.0, at.1, ..]).fill(f32::NAN);
                }
                input.with_features(&other.name, in_axes(model, x))
            }
            InputKind::Tokens(bound) => {
                let drawn = Array2::from_shape_simple_fn((time, batch), || draw.below(bound));
                let token =
                    |at| if live[at] { i64::try_from(drawn[at]).expect("below the vocabulary") } else { i64::MIN };
                input.with_tokens(&other.name, in_axes(model, Array2::from_shape_fn((time, batch), token)))
            }
            InputKind::Row(size) => input.with_features(&other.name, draw.array((batch, size), 0.1, 1.0)),
            // Those are given by stack.
            InputKind::State(_) => input,
        };
    }
    input
}

/// The layer that takes steps out by what the input holds.
fn masking(model: &Model) -> Option<&LayerKind> {
    let masks = |kind: &&LayerKind| {
        matches!(kind, LayerKind::Masking(_) | LayerKind::Embedding(Embedding { mask_token: Some(_), .. }))
    };
    model.layers.iter().map(|layer| &layer.kind).find(masks)
}

/// `[T, B]`: the steps that the model is not to take out, where it takes out any.
fn own(draw: &mut Draw, case: &Case) -> Array2<bool> {
    let kind = if case.mask == MaskKind::All { MaskKind::All } else { MaskKind::Holes };
    live(draw, kind, case.time, case.batch)
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
