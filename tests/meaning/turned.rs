//! Properties of a stack's options with any weights: each equals a
//! plain stack that is reversed, merged, padded or given other weights.

use gatewave::interface::Axes;
use gatewave::layer::{Cell, Direction, Functions, Masking, Merge, Padding, Recurrent};
use gatewave::oracle::{self, Truth};
use gatewave::weights::{CellWeights, LayerWeights};
use gatewave::{Activation, Embedding, Input, Lstm, Model, Select, Weights};
use ndarray::{Array2, ArrayD, Axis, Ix3, s};

use crate::assert_near;
use crate::support::noise::noise;

const TIME: usize = 6;
const BATCH: usize = 4;
const INPUT: usize = 5;
const HIDDEN: usize = 7;

/// One layer of each cell, and an LSTM with all its options.
fn layers() -> Vec<Recurrent> {
    let mut layers = Cell::ALL.map(|cell| Recurrent::new(cell, INPUT, HIDDEN)).to_vec();
    layers.push(Lstm::new(INPUT, HIDDEN).peepholes().coupled().clip(0.5).proj_size(3));
    layers
}

fn model(stack: &Recurrent) -> Model {
    Model::new().layer(stack.clone()).axes(Axes::TimeMajor)
}

/// `[B, T]`: rows with holes, with dead steps at the beginning or the end, and one without a live step.
fn live() -> Array2<bool> {
    Array2::from_shape_fn((BATCH, TIME), |(b, t)| [t % 3 != 1, t >= 2, t < 4, false][b])
}

fn weights_of(stack: &Recurrent) -> Weights {
    Weights::random(&model(stack), 5).unwrap()
}

fn cells(weights: &Weights) -> &[CellWeights] {
    match &weights.layers[0] {
        LayerWeights::Recurrent(cells) => cells,
        _ => panic!("a recurrent layer"),
    }
}

fn weights(cells: impl Into<Vec<CellWeights>>) -> Weights {
    Weights::new(vec![LayerWeights::Recurrent(cells.into())])
}

/// Runs from states that are not zero, with holes.
fn run(stack: &Recurrent, weights: &Weights, x: &ArrayD<f32>, live: &Array2<bool>) -> Truth {
    let rows = stack.num_layers * stack.directions();
    let c = (stack.cell == Cell::Lstm).then(|| noise(&[rows, BATCH, stack.hidden_size], 2));
    let states = gatewave::States { h: noise(&[rows, BATCH, stack.state_size()], 1), c };
    oracle::run(&model(stack), weights, &Input::features(x.clone()).mask(live.clone()).states(states)).unwrap()
}

fn x() -> ArrayD<f32> {
    noise(&[TIME, BATCH, INPUT], 0)
}

/// Returns the same array, with `axis` reversed.
fn turned<T: Clone>(x: &ArrayD<T>, axis: usize) -> ArrayD<T> {
    let mut x = x.clone();
    x.invert_axis(Axis(axis));
    x
}

#[test]
fn a_reverse_layer_is_flip_forward_flip_and_backwards_leaves_out_the_second() {
    let reversed_live = turned(&live().into_dyn(), 1).into_dimensionality().unwrap();
    for forward in layers() {
        for padding in [Padding::Zero, Padding::Held] {
            let forward = forward.clone().padding(padding);
            let weights = weights_of(&forward);
            let walk = |direction| run(&forward.clone().direction(direction), &weights, &x(), &live());
            let (reverse, backwards) = (walk(Direction::Reverse), walk(Direction::Backwards));
            let reversed = run(&forward, &weights, &turned(&x(), 0), &reversed_live);
            assert_eq!(backwards, reversed, "{}", forward.cell);
            assert_eq!(reverse.output, turned(&reversed.output, 0), "{}", forward.cell);
            assert_eq!(reverse.states, reversed.states, "{}", forward.cell);
            assert_ne!(reverse.output, walk(Direction::Forward).output);
        }
    }
}

#[test]
fn each_direction_of_both_is_a_layer_of_its_own() {
    for forward in layers() {
        let mut both = forward.clone().bidirectional().padding(Padding::Held);
        let count = forward.cell.function_count();
        both.functions[1] = Functions { f: Activation::Softsign, ..both.functions[1] };
        if count > 1 {
            both.functions[1].g = Activation::Elu { alpha: 0.5.into() };
        }
        let all = weights_of(&both);
        let truth = run(&both, &all, &x(), &live());
        let width = both.state_size();
        for (index, direction) in [Direction::Forward, Direction::Reverse].into_iter().enumerate() {
            let one = both.clone().direction(direction).functions(both.functions[index]);
            let own = weights([cells(&all)[index].clone()]);
            // The states of both directions. A stack of one direction takes its own.
            let states = gatewave::States {
                h: noise(&[2, BATCH, width], 1).slice(s![index..=index, .., ..]).to_owned().into_dyn(),
                c: (both.cell == Cell::Lstm)
                    .then(|| noise(&[2, BATCH, HIDDEN], 2).slice(s![index..=index, .., ..]).to_owned().into_dyn()),
            };
            let input = Input::features(x()).mask(live()).states(states);
            let alone = oracle::run(&model(&one), &own, &input).unwrap();
            let part = truth.output.slice(s![.., .., index * width..(index + 1) * width]).to_owned();
            assert_eq!(part.into_dyn(), alone.output, "{} {direction:?}", both.cell);
            assert_eq!(truth.states[0].h.index_axis(Axis(0), index), alone.states[0].h.index_axis(Axis(0), 0));
        }
    }
}

#[test]
fn merged_outputs_are_those_side_by_side_merged() {
    for layer in layers() {
        let both = layer.bidirectional().padding(Padding::Held);
        let weights = weights_of(&both);
        let apart = run(&both, &weights, &x(), &live());
        let halves = apart.output.clone().into_dimensionality::<Ix3>().unwrap();
        let (a, b) = halves.view().split_at(Axis(2), both.state_size());
        for (merge, want) in [(Merge::Sum, &a + &b), (Merge::Average, (&a + &b) / 2.0), (Merge::Product, &a * &b)] {
            let merged = run(&both.clone().merge(merge), &weights, &x(), &live());
            assert_eq!(merged.output, want.into_dyn(), "{merge:?}");
            assert_eq!(merged.states, apart.states);
        }
    }
}

#[test]
fn held_outputs_are_the_others_at_live_steps_and_repeat_between_them() {
    for layer in layers() {
        for (direction, order) in
            [(Direction::Forward, (0..TIME).collect::<Vec<_>>()), (Direction::Reverse, (0..TIME).rev().collect())]
        {
            let layer = layer.clone().direction(direction);
            let weights = weights_of(&layer);
            let zero = run(&layer, &weights, &x(), &live());
            let held = run(&layer.clone().padding(Padding::Held), &weights, &x(), &live());
            assert_eq!(zero.states, held.states);
            for b in 0..BATCH {
                let mut before = ndarray::Array1::zeros(layer.state_size());
                for &t in &order {
                    if live()[[b, t]] {
                        before = zero.output.slice(s![t, b, ..]).to_owned();
                    } else {
                        assert!(zero.output.slice(s![t, b, ..]).iter().all(|&y| y == 0.0));
                    }
                    assert_eq!(held.output.slice(s![t, b, ..]), before, "row {b} step {t}");
                }
            }
        }
    }
}

#[test]
fn the_last_output_is_a_step_of_each_direction() {
    for layer in layers() {
        for padding in [Padding::Zero, Padding::Held] {
            let both = layer.clone().bidirectional().num_layers(2).padding(padding);
            let weights = weights_of(&both);
            let steps = run(&both, &weights, &x(), &live()).output;
            let mut all = weights.clone();
            all.layers.push(LayerWeights::None);
            let select = model(&both).layer(Select::LastOutput);
            let rows = 2 * both.directions();
            let c = (both.cell == Cell::Lstm).then(|| noise(&[rows, BATCH, HIDDEN], 2));
            let states = gatewave::States { h: noise(&[rows, BATCH, both.state_size()], 1), c };
            let last = oracle::run(&select, &all, &Input::features(x()).mask(live()).states(states)).unwrap().output;
            let width = both.state_size();
            assert_eq!(last.slice(s![.., ..width]), steps.slice(s![TIME - 1, .., ..width]), "forward");
            assert_eq!(last.slice(s![.., width..]), steps.slice(s![0, .., width..]), "reverse");
        }
    }
}

#[test]
fn a_coupled_gate_is_a_forget_gate_of_the_input_gates_weights_turned() {
    // 1 − σ(z) = σ(−z).
    let coupled = Lstm::new(INPUT, HIDDEN).peepholes().coupled();
    let weights_coupled = weights_of(&coupled);
    let mut cell = cells(&weights_coupled)[0].clone();
    let rows = |a: &mut Array2<f32>, size: usize| {
        let input = a.slice(s![..size, ..]).mapv(|w| -w);
        a.slice_mut(s![size..2 * size, ..]).assign(&input);
    };
    rows(&mut cell.w_x, HIDDEN);
    rows(&mut cell.w_h, HIDDEN);
    rows(cell.peepholes.as_mut().unwrap(), 1);
    for bias in [&mut cell.b_x, &mut cell.b_h].into_iter().flatten() {
        let input = bias.slice(s![..HIDDEN]).mapv(|b| -b);
        bias.slice_mut(s![HIDDEN..2 * HIDDEN]).assign(&input);
    }
    let apart = Lstm::new(INPUT, HIDDEN).peepholes();
    let want = run(&apart, &weights([cell]), &x(), &live());
    let got = run(&coupled, &weights_coupled, &x(), &live());
    assert_near(got.output.view(), &want.output.iter().copied().collect::<Vec<_>>(), "output");
    assert_ne!(got.output, run(&apart, &weights_coupled, &x(), &live()).output);
}

#[test]
fn a_clip_that_nothing_reaches_changes_nothing_and_a_small_one_does() {
    for layer in layers().into_iter().filter(|layer| layer.clip.is_none()) {
        let weights = weights_of(&layer);
        let plain = run(&layer, &weights, &x(), &live());
        assert_eq!(run(&layer.clone().clip(1e6), &weights, &x(), &live()), plain);
        assert_ne!(run(&layer.clone().clip(0.1), &weights, &x(), &live()), plain);
    }
}

#[test]
fn peepholes_of_zero_are_none() {
    let peeping = Lstm::new(INPUT, HIDDEN).peepholes();
    let mut cell = cells(&weights_of(&peeping))[0].clone();
    let full = run(&peeping, &weights([cell.clone()]), &x(), &live());
    cell.peepholes = Some(Array2::zeros((3, HIDDEN)));
    let zero = run(&peeping, &weights([cell.clone()]), &x(), &live());
    cell.peepholes = None;
    assert_eq!(zero, run(&Lstm::new(INPUT, HIDDEN), &weights([cell]), &x(), &live()));
    assert_ne!(zero, full);
}

#[test]
fn functions_that_are_the_cells_own_written_out_change_nothing() {
    let affine = |alpha: f32, beta: f32| Activation::Affine { alpha: alpha.into(), beta: beta.into() };
    let layer = Recurrent::new(Cell::Rnn, INPUT, HIDDEN);
    let weights = weights_of(&layer);
    let with = |f| run(&layer.clone().nonlinearity(f), &weights, &x(), &live());
    assert_eq!(with(affine(1.0, 0.0)), with(Activation::Linear));
    let scaled = Activation::ScaledTanh { alpha: 1.0.into(), beta: 1.0.into() };
    assert_eq!(with(scaled), with(Activation::Tanh));
    assert_eq!(with(Activation::LeakyRelu { alpha: 0.0.into() }), with(Activation::Relu));
}

#[test]
fn a_model_that_masks_gives_what_the_callers_mask_gives() {
    let stack = Lstm::new(INPUT, HIDDEN).bidirectional().padding(Padding::Held);
    let own = weights_of(&stack).layers.remove(0);
    let tokens = Array2::from_shape_fn((BATCH, TIME), |(b, t)| if live()[[b, t]] { (b + t) as i64 % 4 + 1 } else { 0 });
    let table = LayerWeights::Embedding(noise(&[6, INPUT], 3).into_dimensionality().unwrap());
    let embedded = |embedding: Embedding, input: Input| {
        let model = Model::new().layer(embedding).layer(stack.clone());
        oracle::run(&model, &Weights::new(vec![table.clone(), own.clone()]), &input).unwrap()
    };
    let by_token = embedded(Embedding::new(6, INPUT).mask_token(0), Input::tokens(tokens.clone()));
    let by_mask = embedded(Embedding::new(6, INPUT), Input::tokens(tokens.clone()).mask(live()));
    assert_eq!(by_token, by_mask);
    assert_ne!(by_token, embedded(Embedding::new(6, INPUT), Input::tokens(tokens)));

    let mut x = noise(&[BATCH, TIME, INPUT], 0);
    for ((b, t), _) in live().indexed_iter().filter(|(_, live)| !**live) {
        x.slice_mut(s![b, t, ..]).fill(0.25);
    }
    let masked = Model::new().layer(Masking::new(INPUT, 0.25)).layer(stack.clone());
    let layers = vec![LayerWeights::None, own.clone()];
    let by_value = oracle::run(&masked, &Weights::new(layers), &Input::features(x.clone())).unwrap();
    let plain = Model::new().layer(stack);
    let by_mask = oracle::run(&plain, &Weights::new(vec![own]), &Input::features(x).mask(live())).unwrap();
    assert_eq!(by_value, by_mask);
}
