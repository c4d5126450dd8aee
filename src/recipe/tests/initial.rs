//! Initial weights: ranges, fans, orthogonality, seeds, and their bits.

use ndarray::{Array1, Array2, ArrayBase, Data, Dimension};

use super::super::Convention;
use crate::cell::{Cell, Reset};
use crate::model::{Bias, Embedding, Gru, LayerKind, Linear, Lstm, Model, Recurrent, Rnn};
use crate::weights::{CellWeights, LayerWeights, Weights};

fn initial(layer: impl Into<LayerKind>, like: Convention, seed: u64) -> Weights {
    Weights::initial(&Model::new().layer(layer), like, seed).unwrap()
}

fn cells(weights: &Weights) -> &[CellWeights] {
    match &weights.layers[0] {
        LayerWeights::Recurrent(cells) => cells,
        other => panic!("{other:?}"),
    }
}

/// Checks that numbers are uniform between ±`bound`: the largest is near it, and the variance is its square over 3.
fn is_even<S: Data<Elem = f32>, D: Dimension>(array: &ArrayBase<S, D>, bound: f64) {
    let n = array.len();
    assert!(n >= 60, "{n}: too few to tell");
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let n = n as f64;
    let largest = array.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    let variance = array.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
    let mean = array.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    assert!(largest <= bound * 1.000_000_1 && largest > bound * (1.0 - 12.0 / n), "{largest} of {bound}");
    assert!((variance * 3.0 / bound.powi(2) - 1.0).abs() < 5.0 / n.sqrt(), "{variance} of {bound}");
    assert!(mean.abs() < 3.0 * bound / n.sqrt(), "{mean} of {bound}");
}

fn is_zero<S: Data<Elem = f32>, D: Dimension>(array: &ArrayBase<S, D>) {
    assert!(array.iter().all(|&x| x == 0.0));
}

/// Checks that the columns have length 1 and are at right angles.
fn is_orthogonal(w: &Array2<f32>) {
    let w = w.mapv(f64::from);
    let product = w.t().dot(&w);
    for ((i, j), x) in product.indexed_iter() {
        assert!((x - if i == j { 1.0 } else { 0.0 }).abs() < 1e-6, "{i}, {j}: {x}");
    }
}

#[test]
fn recurrent_layers_begin_as_in_pytorch() {
    let stacks: [Recurrent; 4] = [
        Rnn::new(7, 64).num_layers(2).bidirectional(),
        Lstm::new(7, 64).proj_size(20).peepholes(),
        Gru::new(7, 64),
        Gru::new(7, 64).cell(Cell::Gru(Reset::Before)).bias(Bias::One),
    ];
    for stack in stacks {
        for cell in cells(&initial(stack, Convention::Torch, 1)) {
            // The bound depends on H, also if states are projected.
            let bound = 1.0 / 8.0;
            is_even(&cell.w_x, bound);
            is_even(&cell.w_h, bound);
            [&cell.b_x, &cell.b_h].into_iter().flatten().for_each(|b| is_even(b, bound));
            [&cell.w_r, &cell.peepholes].into_iter().flatten().for_each(|w| is_even(w, bound));
        }
    }
}

#[test]
fn recurrent_layers_begin_as_in_keras() {
    let stacks: [Recurrent; 5] = [
        Rnn::new(7, 64).num_layers(2).bidirectional(),
        Lstm::new(7, 64).num_layers(2),
        Lstm::new(7, 64).bias(Bias::One),
        Gru::new(7, 64),
        Gru::new(7, 64).cell(Cell::Gru(Reset::Before)).bias(Bias::None),
    ];
    for stack in stacks {
        let (gates, lstm) = (stack.cell.gates(), stack.cell == Cell::Lstm);
        for cell in cells(&initial(stack, Convention::Keras, 2)) {
            #[expect(clippy::cast_precision_loss, reason = "a count")]
            let fans = (cell.w_x.ncols() + gates * 64) as f64;
            is_even(&cell.w_x, (6.0 / fans).sqrt());
            is_orthogonal(&cell.w_h);
            if let Some(bias) = &cell.b_x {
                let forget: Array1<f32> = (0..gates * 64).map(|at| f32::from(u8::from(lstm && at / 64 == 1))).collect();
                assert_eq!(bias, forget);
            }
            cell.b_h.iter().for_each(is_zero);
        }
    }
}

#[test]
fn what_a_framework_does_not_have_begins_as_is_said() {
    let stack = || Lstm::new(5, 64).peepholes().proj_size(16);
    let weights = initial(stack().learned_states(), Convention::Keras, 3);
    let cell = &cells(&weights)[0];
    is_even(cell.w_r.as_ref().unwrap(), (6.0_f64 / 80.0).sqrt());
    is_even(cell.peepholes.as_ref().unwrap(), (3.0_f64 / 64.0).sqrt());
    is_orthogonal(&cell.w_h);
    for like in [Convention::Torch, Convention::Keras] {
        let weights = initial(stack().learned_states(), like, 3);
        is_zero(&weights.initial[&0].h);
        is_zero(weights.initial[&0].c.as_ref().unwrap());
    }
    is_zero(cells(&initial(Lstm::new(5, 64).coupled(), Convention::Keras, 3))[0].b_x.as_ref().unwrap());
}

#[test]
fn linear_layers_and_embeddings_begin_as_in_the_frameworks() {
    let linear = |like| match initial(Linear::new(25, 100), like, 4).layers.remove(0) {
        LayerWeights::Linear { w, b: Some(b) } => (w, b),
        other => panic!("{other:?}"),
    };
    let (w, b) = linear(Convention::Torch);
    is_even(&w, 0.2);
    is_even(&b, 0.2);
    let (w, b) = linear(Convention::Keras);
    is_even(&w, (6.0_f64 / 125.0).sqrt());
    is_zero(&b);

    let padded = Embedding { padding_idx: Some(3), ..Embedding::new(50, 40) };
    let table = |embedding: Embedding, like| match initial(embedding, like, 4).layers.remove(0) {
        LayerWeights::Embedding(table) => table,
        other => panic!("{other:?}"),
    };
    for like in [Convention::Torch, Convention::Keras] {
        let table = table(padded.clone(), like);
        is_zero(&table.row(3));
        assert!(table.row(2).iter().all(|&x| x != 0.0));
    }
    is_even(&table(Embedding::new(50, 40).mask_token(0), Convention::Keras), 0.05);
    assert!(table(Embedding::new(50, 40).mask_token(0), Convention::Keras).row(0).iter().all(|&x| x != 0.0));
    let normal = table(Embedding::new(50, 40), Convention::Torch);
    let variance = normal.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 2000.0;
    assert!((variance - 1.0).abs() < 0.1 && normal.iter().any(|&x| x.abs() > 2.5), "{variance}");
}

fn model() -> Model {
    Model::new()
        .layer(Embedding { padding_idx: Some(0), ..Embedding::new(30, 10) })
        .layer(Lstm::new(10, 24).num_layers(2).bidirectional().peepholes())
        .layer(Gru::new(48, 33).learned_states())
        .layer(Rnn::new(33, 17).bias(Bias::One))
        .layer(Linear::new(17, 5))
}

#[test]
fn a_seed_tells_all() {
    let weights = |like, seed| Weights::initial(&model(), like, seed).unwrap();
    assert_eq!(weights(Convention::Torch, 5), weights(Convention::Torch, 5));
    assert_ne!(weights(Convention::Torch, 5), weights(Convention::Torch, 6));
    assert_ne!(weights(Convention::Torch, 5), weights(Convention::Torch, 5 + (1 << 32)));
    assert_ne!(weights(Convention::Torch, 5), weights(Convention::Keras, 5));
    // No two tensors of a model are drawn alike.
    let LayerWeights::Recurrent(cells) = &weights(Convention::Torch, 5).layers[1] else { panic!() };
    assert_ne!(cells[0].w_h, cells[1].w_h);
}

#[test]
fn the_bits_are_those_of_every_machine() {
    let hash = |like| {
        let tensors = Weights::initial(&model(), like, 1234).unwrap().to_tensors(&model()).unwrap();
        let mut names: Vec<_> = tensors.names().collect();
        names.sort_unstable();
        // FNV-1a.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for name in names {
            for byte in tensors.get(name).unwrap().read().unwrap().iter().flat_map(|x| x.to_bits().to_le_bytes()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        hash
    };
    // The same as tests/golden/optimizers/initial.py computes.
    assert_eq!(hash(Convention::Torch), 0x510d_917e_771d_674f);
    assert_eq!(hash(Convention::Keras), 0x06fa_2190_2bec_6e08);
}

#[test]
fn layers_that_share_tensors_begin_alike() {
    let model = Model::new().named_layer("a.", Linear::new(8, 8)).named_layer("a.", Linear::new(8, 8));
    let weights = Weights::initial(&model, Convention::Keras, 0).unwrap();
    assert_eq!(weights.layers[0], weights.layers[1]);
}
