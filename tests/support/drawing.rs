//! A naive generator of tokens: the random generator and the choice in f64, and models with
//! prescribed logits. `tests/cpu.rs` and `tests/gpu.rs` compare a device's draws with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use gatewave::layer::{Cell, Recurrent, Reset};
use gatewave::stream::{Sampling, StreamId};
use gatewave::weights::LayerWeights;
use gatewave::{
    Activation, Device, Embedding, Engine, Gru, Linear, Lstm, Model, OneHot, Precision, Results, Rnn, Select, Streams,
    Weights,
};
use ndarray::Array2;

use super::executor::engine;

/// Both words of Threefry-2x32-20.
pub fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let keys = [key[0], key[1], 0x1bd1_1bda ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for round in 0..20 {
        x[0] = x[0].wrapping_add(x[1]);
        x[1] = x[1].rotate_left([13, 15, 26, 6, 17, 29, 16, 24][round % 8]) ^ x[0];
        if round % 4 == 3 {
            let group = round / 4 + 1;
            x[0] = x[0].wrapping_add(keys[group % 3]);
            x[1] = x[1].wrapping_add(keys[(group + 1) % 3]).wrapping_add(u32::try_from(group).unwrap());
        }
    }
    x
}

/// Returns the token that `sampling` draws from `logits` for a stream with `position` tokens before.
pub fn draw(logits: &[f32], sampling: Sampling, position: u32) -> i64 {
    let key = [sampling.seed & 0xffff_ffff, sampling.seed >> 32].map(|half| u32::try_from(half).expect("a half"));
    let mut sorted = logits.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let least = sampling.top_k.map_or(f32::NEG_INFINITY, |k| sorted[k.min(sorted.len()) - 1]);
    let mut best = (f64::NEG_INFINITY, -1);
    for (index, &logit) in (0_u32..).zip(logits) {
        let w = (f64::from(threefry(key, [position, index])[0]) + 0.5) / 2.0_f64.powi(32);
        let less = if logit == sorted[0] { 0.0 } else { f64::from(logit) - f64::from(sorted[0]) };
        let score = less - f64::from(sampling.temperature) * (-(-w).ln_1p()).ln();
        if logit >= least && score > best.0 {
            best = (score, i64::from(index));
        }
    }
    best.1
}

/// Samplings that are worth a test in a vocabulary of `tokens`.
fn ways(tokens: usize) -> Vec<Sampling> {
    let seed = 0x0123_4567_89ab_cdef;
    let mut ways = Vec::new();
    for temperature in [0.0, 1e-6, 0.7, 1.0, 3.0, 1e20] {
        for top_k in [None, Some(1), Some(2), Some(tokens.div_ceil(2)), Some(tokens), Some(tokens + 1)] {
            ways.push(Sampling::default().temperature(temperature).top_k(top_k).seed(seed + ways.len() as u64));
        }
    }
    ways
}

/// Logits of a vocabulary by token: noise, with some that are equal, some zeros of either sign, some −∞ and one +∞.
fn prescribed(tokens: usize) -> Array2<f32> {
    let mut state = 1_u32;
    let mut table = Array2::from_shape_simple_fn((tokens, tokens), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 20) as f32 - 8.0
    });
    if tokens > 8 {
        table.row_mut(1).fill(-2.5);
        table.row_mut(2).iter_mut().step_by(2).for_each(|x| *x = f32::NEG_INFINITY);
        table.row_mut(3).mapv_inplace(|x| (x / 4.0).round() * 4.0);
        table.row_mut(4).iter_mut().zip([0.0, -0.0].into_iter().cycle()).for_each(|(x, zero)| *x = zero);
        table[[5, 7]] = f32::INFINITY;
        table.row_mut(6).iter_mut().enumerate().for_each(|(i, x)| *x = -3e38 + i as f32);
    }
    table
}

/// Chains of tokens whose logits are rows of a table draw the tokens
/// of the naive generator, in vocabularies that fill no tile.
pub fn chains_are_those_drawn_by_hand(device: &Device) {
    let mut compared = 0;
    for tokens in [1, 2, 63, 65, 1000] {
        let model = Model::new().layer(Embedding::new(tokens, tokens));
        let table = prescribed(tokens);
        let weights = Weights::new(vec![LayerWeights::Embedding(table.clone())]);
        let engine = engine(device, Precision::F32, &model, &weights).expect("the engine opens");
        let mut streams = Streams::new(&engine, 1).unwrap();
        let ways = ways(tokens);
        let ids: Vec<StreamId> = ways.iter().map(|_| streams.join()).collect();
        for (turn, steps) in [7, 2].into_iter().enumerate() {
            let given: Vec<_> =
                ids.iter().zip(&ways).zip(0..).map(|((&id, &way), n)| (id, n % tokens as i64, way)).collect();
            let drawn = streams.generate(&given, steps).unwrap().to_owned();
            for ((_, token, way), drawn) in given.iter().zip(drawn.outer_iter()) {
                let (mut token, position) = (*token, [0, 7][turn]);
                for (step, &drawn) in (0..).zip(drawn) {
                    let row = table.row(usize::try_from(token).unwrap()).to_vec();
                    token = draw(&row, *way, position + step);
                    assert_eq!(drawn, token, "{tokens} tokens, step {step} of turn {turn}, {way:?}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1_000, "only {compared} draws");
}

/// Models of every kind of layer that can generate.
pub fn models() -> Vec<Model> {
    let cells = [
        Lstm::new(9, 20).num_layers(3),
        Lstm::new(9, 33).proj_size(5),
        Gru::new(9, 17),
        Recurrent::new(Cell::Gru(Reset::Before), 9, 20).num_layers(2),
        Rnn::new(9, 130),
    ];
    let mut models = Vec::new();
    for (index, stack) in cells.into_iter().enumerate() {
        let (features, hidden) = (stack.output().len(), stack.clone());
        let embedded = Model::new().layer(Embedding::new(65, 9)).layer(hidden);
        let mut one_hot = Model::new().layer(OneHot::new(9)).layer(stack);
        if index % 2 == 0 {
            one_hot = one_hot.layer(Activation::Tanh).layer([Select::LastStep, Select::FinalHidden][index / 2 % 2]);
        }
        models.push(embedded.layer(Linear::new(features, 65).activation(Activation::Softmax)));
        models.push(one_hot.layer(Linear::new(features, 9)).layer(Activation::LogSoftmax));
    }
    models.push(Model::new().layer(OneHot::new(70)).layer(Linear::new(70, 40)));
    models.push(Model::new().layer(Embedding::new(20, 8)).layer(Activation::Relu).layer(Gru::new(8, 20)));
    models
}

/// Streams that generate draw the same tokens as the naive generator does from the outputs of streams that
/// are pushed one token at a time. The batch may have any other streams, and a call any number of steps.
pub fn streams_go_on_as_if_they_were_pushed(device: &Device, models: impl IntoIterator<Item = Model>) {
    for model in models {
        let weights = Weights::random(&model, 3).expect("the model is right");
        let engine = engine(device, Precision::F32, &model, &weights).expect("the engine opens");
        let is_of_probabilities = matches!(&model.layers.last().expect("layers").kind,
            gatewave::layer::LayerKind::Linear(linear) if linear.activation == Activation::Softmax);
        let (mut going, mut pushed) = (Streams::new(&engine, 4).unwrap(), Streams::new(&engine, 1).unwrap());
        let ids: Vec<StreamId> = (0..3).map(|_| going.join()).collect();
        let beginning = [(ids[0], 3), (ids[1], 1), (ids[0], 8), (ids[2], 2)];
        going.push_tokens(&beginning, Results::Unwanted).unwrap();
        let way = |n: usize| {
            Sampling::default().temperature([2.0, 0.0, 1.0][n]).top_k([None, None, Some(5)][n]).seed(n as u64)
        };
        let mut texts: Vec<Vec<i64>> = vec![vec![4], vec![0], vec![7]];
        // All together, some, one alone.
        for (who, steps) in [(vec![0, 1, 2], 6), (vec![2, 0], 1), (vec![1], 5), (vec![0, 1, 2], 3)] {
            let given: Vec<_> = who.iter().map(|&n| (ids[n], *texts[n].last().unwrap(), way(n))).collect();
            let drawn = going.generate(&given, steps).unwrap();
            assert_eq!(drawn.shape(), [who.len(), steps]);
            who.iter().zip(drawn.outer_iter()).for_each(|(&n, drawn)| texts[n].extend(drawn));
        }
        for (n, text) in texts.iter().enumerate() {
            let id = pushed.join();
            let begun: Vec<_> =
                beginning.iter().filter(|(id, _)| *id == ids[n]).map(|&(_, token)| (id, token)).collect();
            pushed.push_tokens(&begun, Results::Unwanted).unwrap();
            for (index, pair) in text.windows(2).enumerate() {
                let output = pushed.push_tokens(&[(id, pair[0])], Results::Wanted).unwrap().row(0).to_vec();
                let logits: Vec<f32> = output.iter().map(|&x| if is_of_probabilities { x.ln() } else { x }).collect();
                let token = draw(&logits, way(n), u32::try_from(begun.len() + index).unwrap());
                assert_eq!(token, pair[1], "stream {n}, token {index}: {:?}", model.layers);
            }
        }
    }
}

/// If the logits of a step are no numbers, or all −∞, the error names the step, and no token is drawn.
pub fn a_draw_from_nothing_is_an_error(device: &Device) {
    let model = Model::new().layer(Embedding::new(20, 20));
    for (spoil, name) in [(f32::NAN, "NaN"), (-f32::NAN, "NaN"), (f32::NEG_INFINITY, "nothing")] {
        // Token 0 is followed by 1, that by 2, and so on. The logits
        // after 2 are invalid, only one of them if NaN is enough.
        let mut table = Array2::from_shape_fn((20, 20), |(from, to)| if to == (from + 1) % 20 { 50.0 } else { 0.0 });
        if spoil.is_nan() {
            table[[2, 17]] = spoil
        } else {
            table.row_mut(2).fill(spoil)
        }
        let weights = Weights::new(vec![LayerWeights::Embedding(table)]);
        let engine = engine(device, Precision::F32, &model, &weights).expect("the engine opens");
        for way in [Sampling::default(), Sampling::default().temperature(0.0), Sampling::default().top_k(3)] {
            let mut streams = Streams::new(&engine, 2).unwrap();
            let (sound, ill) = (streams.join(), streams.join());
            assert_eq!(streams.generate(&[(ill, 0, way)], 2).unwrap().as_slice().unwrap(), [1, 2]);
            let error = streams.generate(&[(sound, 9, way), (ill, 1, way)], 4).unwrap_err();
            assert_eq!(error.kind(), gatewave::ErrorKind::Numeric, "{name}");
            let text = "stream 1.0, step 1: the output: expected numbers to draw from, got NaN, or −∞ for every token; are \
                        the weights sound?";
            assert_eq!(error.to_string(), text, "{name}");
            assert_eq!(streams.generate(&[(sound, 13, way)], 2).unwrap().as_slice().unwrap(), [14, 15]);
        }
    }
}

/// A vocabulary of 50,000 tokens.
pub fn a_large_vocabulary_is_drawn_from(device: &Device) {
    const TOKENS: usize = 50_000;
    let model = Model::new().layer(Embedding::new(TOKENS, 4)).layer(Linear::new(4, TOKENS));
    let mut weights = Weights::random(&model, 8).expect("the model is right");
    let LayerWeights::Linear { w, .. } = &mut weights.layers[1] else { panic!("a linear layer") };
    w.mapv_inplace(|w| w * 8.0);
    let engine = engine(device, Precision::F32, &model, &weights).expect("the engine opens");
    let (mut going, mut pushed) = (Streams::new(&engine, 1).unwrap(), Streams::new(&engine, 1).unwrap());
    let (a, b) = (going.join(), pushed.join());
    let mut token = 49_999;
    for (position, top_k) in (0..).zip([None, Some(3), Some(25_000)]) {
        let way = Sampling::default().top_k(top_k).seed(11);
        let logits = pushed.push_tokens(&[(b, token)], Results::Wanted).unwrap().row(0).to_vec();
        let drawn = going.generate(&[(a, token, way)], 1).unwrap()[[0, 0]];
        assert_eq!(drawn, draw(&logits, way, position), "{top_k:?}");
        token = drawn;
    }
}

/// A repeated generation makes no object on a GPU.
pub fn repeated_draws_make_no_object(engine: &Engine) {
    let mut streams = Streams::new(engine, 3).unwrap();
    let ids = [streams.join(), streams.join()];
    let mut made = Vec::new();
    let mut tokens = [1, 2];
    for _ in 0..6 {
        let given = [0, 1].map(|n| (ids[n], tokens[n], Sampling::default().seed(n as u64)));
        let drawn = streams.generate(&given, 5).unwrap();
        tokens = [drawn[[0, 4]], drawn[[1, 4]]];
        made.push(engine.gpu_objects());
    }
    assert_eq!(made[1], made[5], "{made:?}");
}
