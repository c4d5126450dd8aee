//! Random weights and inputs of a case, drawn only from its seed. They
//! are never zero, and steps that must not be read hold invalid values.

use std::collections::BTreeMap;

use ndarray::{Array, Array1, Array2, Array3, ArrayView1, Axis, Dimension, ShapeBuilder, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Case, InitialStates, MaskKind, weights_map};
use crate::call::{Input, States};
use crate::cell::{Activation, Cell, Functions, Peepholes};
use crate::model::{
    Axes, Bias, Clocks, Embedding, Flow, InputKind, Layer, LayerKind, Model, Recurrent, VARIANCE, Value,
};
use crate::precision::Precision;
use crate::weights::{CellWeights, LayerWeights, NormWeights, Weights};

/// The source of all random numbers of a case.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns an integer below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from((u64::from(self.0.next_u32()) * bound as u64) >> 32).expect("below a usize")
    }

    /// Returns true with a probability of one in `of`.
    pub(super) fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// Returns a number from `least` to `most`.
    pub(super) fn between(&mut self, least: f32, most: f32) -> f32 {
        least + (most - least) * self.part()
    }

    /// Returns a number from 0 to 1.
    fn part(&mut self) -> f32 {
        #[allow(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
        let part = (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32;
        part
    }

    /// Returns a number of size `least · scale` to `scale`, of either sign. A zero would hide what multiplies it.
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

    /// Returns the weights of a product, `[rows, depth]`, of variance about `1 / fan_in`.
    fn product(&mut self, shape: (usize, usize), fan_in: usize) -> Array2<f32> {
        #[allow(clippy::cast_precision_loss, reason = "sizes of cases are small")]
        let scale = (3.0 / fan_in as f32).sqrt();
        self.array(shape, 0.1, scale)
    }
}

/// Draws the weights of a case: products that keep the size of their input, and biases large enough to be missed.
pub(super) fn weights(case: &Case) -> Weights {
    let mut draw = Draw::new(case.seed);
    let layers = &case.model.layers;
    let begins_with_one_hot = matches!(layers[0].kind, LayerKind::OneHot(_));
    let mut layer = |(index, layer): (usize, &Layer)| {
        // A unit vector uses only one weight of a row, however long the row is.
        let fan_in = (begins_with_one_hot && index == 1).then_some(4);
        layer_weights(&mut draw, &layer.kind, fan_in)
    };
    let mut drawn: Vec<_> = layers.iter().enumerate().map(&mut layer).collect();
    for later in 1..layers.len() {
        // Layers with the same prefix share their tensors.
        let is_twin = |other: &usize| layers[*other].prefix == layers[later].prefix;
        if let Some(twin) = (0..later).find(is_twin) {
            drawn[later] = drawn[twin].clone();
        }
    }
    let weights = Weights::new(drawn);
    // The engine sums a cell's table of tokens before it rounds the table to half; the oracle's
    // weights are rounded before they are summed. On these grids both are exact, so they must agree.
    let grid = |steps: f32| move |w: f32| (w * steps).round() / steps;
    match case.model.layers[0].kind {
        LayerKind::OneHot(_) if case.precision == Precision::F16 => weights_map(&weights, grid(1024.0)),
        LayerKind::Embedding(_) if case.precision == Precision::F16 => {
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
        LayerKind::Conv1d(c) => {
            let (inputs, taps) = (c.of_group()[0], c.kernel_size);
            let w = draw.product((c.out_features, inputs * taps), inputs * taps);
            LayerWeights::Conv {
                w: w.into_shape_with_order((c.out_features, inputs, taps)).expect("as many weights"),
                b: (c.bias != Bias::None).then(|| draw.array(c.out_features, 0.5, 0.5)),
            }
        }
        LayerKind::Attention(a) if a.weight => LayerWeights::Embedding(draw.product((1, a.features), a.features)),
        // Layers that normalise; others have no parameters.
        kind => NormWeights::of(kind, &mut |name, len| match name {
            VARIANCE => Array1::from_shape_simple_fn(len, || draw.between(0.5, 1.5)),
            // Large weights would hide small errors of a mean.
            _ => draw.array(len, 0.5, 1.0),
        }),
    }
}

fn cell_weights(draw: &mut Draw, r: &Recurrent, depth: usize, fan_in: usize) -> CellWeights {
    let rows = r.cell.gates() * r.hidden_size;
    let mut bias = || {
        let bias = draw.array(rows, 0.5, 0.5);
        // A relu unit that is always off would hide every bug.
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

/// Returns a factor that makes recurrent weights smaller: unbounded functions would let the states grow with each step.
fn feedback(r: &Recurrent) -> f32 {
    let is_tame = |f: Activation| {
        use Activation as A;
        // A product of this size with a relu keeps the size of its input. In a gated cell, the gates would multiply it.
        matches!(f, A::Sigmoid | A::Tanh | A::ScaledTanh { .. } | A::HardSigmoid { .. } | A::Softsign)
            || f == A::Relu && r.cell == Cell::Rnn
    };
    let own = |functions: &Functions| functions.each().into_iter().take(r.cell.function_count());
    if r.functions.iter().flat_map(own).all(is_tame) { 1.0 } else { 0.25 }
}

/// Draws the input of a case, in the axes of its model. Dead steps hold NaN, or tokens outside
/// any table. Steps that the model itself masks hold the value or token that marks padding.
pub(super) fn input(case: &Case) -> Input<'static> {
    let mut draw = Draw::new(case.seed);
    draw.0.set_stream(1);
    let (clocks, main) = (Clocks::of(&case.model), case.model.main_input());
    let live = live(&mut draw, case.mask, case.time, case.batch);
    let mut input = sequence(&mut draw, case, &live);
    let mut axes = BTreeMap::from([(main, live)]);
    let named = case.model.inputs.iter().enumerate().filter(|(index, _)| *index != main);
    for (index, other) in named {
        let leader = clocks.leader(index).unwrap_or(main);
        let time = time_of(case, leader);
        let steps = axes.entry(leader).or_insert_with(|| self::live(&mut draw, case.mask, time, case.batch));
        input = self::other(&mut draw, case, index, &*steps, input);
        input = match case.mask {
            MaskKind::Lengths if leader == index => input.lengths_of(&other.name, lengths(steps)),
            MaskKind::Holes if leader == index => input.mask_of(&other.name, steps.t().to_owned()),
            MaskKind::All | MaskKind::Own | MaskKind::Lengths | MaskKind::Holes => input,
        };
    }
    input = match case.mask {
        MaskKind::All | MaskKind::Own => input,
        MaskKind::Lengths => input.lengths(lengths(&axes[&main])),
        MaskKind::Holes => input.mask(axes[&main].t().to_owned()),
    };
    if case.states == InitialStates::Given {
        for (index, stack) in case.model.stacks().enumerate() {
            let begun = case.model.begun(index);
            if !begun.all(stack) {
                input = input.stack_states(index, states(&mut draw, stack, case.batch).without(begun));
            }
        }
    }
    input
}

/// Draws which steps are live, `[T, B]`. Row 0 has a dead step and a live
/// one if it has two steps. One of three or more rows has no live step.
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

fn sequence(draw: &mut Draw, case: &Case, live: &Array2<bool>) -> Input<'static> {
    let (time, batch) = (case.time, case.batch);
    match case.model.input().expect("the model of a case is right") {
        Flow::Tokens(vocabulary) => {
            let bound = i64::try_from(vocabulary).expect("the vocabulary of a case is small");
            let rubbish = [-1, bound, i64::MAX, i64::MIN];
            let mut drawn = Array2::from_shape_simple_fn((time, batch), || draw.below(vocabulary));
            if let Some(&LayerKind::Embedding(Embedding { mask_token: Some(mask), .. })) =
                masking(&case.model, case.model.main_input())
            {
                put_token(&mut drawn, mask, vocabulary, &own(draw, case));
            }
            let tokens = Array2::from_shape_fn((time, batch), |at| {
                let token = drawn[at];
                if live[at] { i64::try_from(token).expect("below the vocabulary") } else { rubbish[token % 4] }
            });
            Input::tokens(in_axes(&case.model, tokens))
        }
        Flow::Rows(features) => Input::features(draw.array((batch, features.len()), 0.1, 1.0)),
        Flow::Steps(features) => {
            let mut x = draw.array((time, batch, features.len()), 0.1, 1.0);
            if let Some(LayerKind::Masking(masking)) = masking(&case.model, case.model.main_input()) {
                take_out(&mut x, masking.value.get(), &own(draw, case));
            }
            for (at, _) in live.indexed_iter().filter(|(_, live)| !**live) {
                x.slice_mut(s![at.0, at.1, ..]).fill(f32::NAN);
            }
            Input::features(in_axes(&case.model, x))
        }
    }
}

/// Returns the number of steps of the time axis that input `leader` leads. Each axis has another number.
pub(super) fn time_of(case: &Case, leader: usize) -> usize {
    if leader == case.model.main_input() { case.time } else { case.time + 1 + leader }
}

/// Returns the number of steps of each row of `live`.
fn lengths(live: &Array2<bool>) -> Vec<i64> {
    let steps = |row: ArrayView1<'_, bool>| row.iter().map(|&live| i64::from(live)).sum::<i64>();
    live.columns().into_iter().map(steps).collect()
}

/// Adds input `index` of the model to `input`: invalid values at dead steps, but none in a row.
fn other(draw: &mut Draw, case: &Case, index: usize, live: &Array2<bool>, input: Input<'static>) -> Input<'static> {
    let (model, other) = (&case.model, &case.model.inputs[index]);
    let (time, batch) = live.dim();
    let masking = masking(model, index);
    let own = |draw: &mut Draw| {
        let kind = if case.mask == MaskKind::All { MaskKind::All } else { MaskKind::Holes };
        self::live(draw, kind, time, batch)
    };
    match other.kind {
        InputKind::Sequence(size) => {
            let mut x = draw.array((time, batch, size), 0.1, 1.0);
            if let Some(LayerKind::Masking(masking)) = masking {
                take_out(&mut x, masking.value.get(), &own(draw));
            }
            for (at, _) in live.indexed_iter().filter(|(_, live)| !**live) {
                x.slice_mut(s![at.0, at.1, ..]).fill(f32::NAN);
            }
            input.with_features(&other.name, in_axes(model, x))
        }
        InputKind::Tokens(bound) => {
            let mut drawn = Array2::from_shape_simple_fn((time, batch), || draw.below(bound));
            if let Some(&LayerKind::Embedding(Embedding { mask_token: Some(mask), .. })) = masking {
                put_token(&mut drawn, mask, bound, &own(draw));
            }
            let token = |at| if live[at] { i64::try_from(drawn[at]).expect("below the vocabulary") } else { i64::MIN };
            input.with_tokens(&other.name, in_axes(model, Array2::from_shape_fn((time, batch), token)))
        }
        InputKind::Row(size) => input.with_features(&other.name, draw.array((batch, size), 0.1, 1.0)),
        // Those are given by stack.
        InputKind::State(_) => input,
    }
}

/// Puts the token `mask` where `own` has no step, and replaces it elsewhere.
fn put_token(tokens: &mut Array2<usize>, mask: usize, bound: usize, own: &Array2<bool>) {
    let told = |token: usize| if token == mask { (token + 1) % bound } else { token };
    tokens.zip_mut_with(own, |token, &own| *token = if own { told(*token) } else { mask });
}

/// Fills the steps to be masked with `value`, and one feature of the others.
fn take_out(x: &mut Array3<f32>, value: f32, own: &Array2<bool>) {
    let all = x.len_of(Axis(2));
    for (at, &own) in own.indexed_iter() {
        // A single feature with the value does not mask a step: only all features do.
        let features = if own { 1.min(all - 1) } else { all };
        x.slice_mut(s![at.0, at.1, ..features]).fill(value);
    }
}

/// Returns the layer that masks by the contents of input `input`.
fn masking(model: &Model, input: usize) -> Option<&LayerKind> {
    let masks = |layer: &&Layer| {
        let kind =
            matches!(layer.kind, LayerKind::Masking(_) | LayerKind::Embedding(Embedding { mask_token: Some(_), .. }));
        kind && layer.from == [Value::Input(input)]
    };
    model.layers.iter().find(masks).map(|layer| &layer.kind)
}

/// Draws the steps that the model itself must not mask, `[T, B]`.
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

/// Returns `[T, B, …]` in the axes of the model.
fn in_axes<T, D: Dimension>(model: &Model, mut array: Array<T, D>) -> Array<T, D> {
    if model.axes == Axes::BatchFirst {
        array.swap_axes(0, 1);
    }
    array
}
