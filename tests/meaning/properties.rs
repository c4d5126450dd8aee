//! Properties of all weights: rows are independent, padding changes
//! nothing, two halves make a whole, reverse is forward with time reversed.

use gatewave::interface::Axes;
use gatewave::layer::{Cell, Direction, Functions, Recurrent};
use gatewave::oracle::{self, Truth};
use gatewave::weights::LayerWeights;
use gatewave::{Activation, Gru, Input, Lstm, Model, Rnn, States, Weights};
use ndarray::{Array2, ArrayD, Axis, IxDyn, Slice, concatenate, s};

use crate::support::noise::noise;
use crate::{as_output, assert_near};

const TIME: usize = 7;
const BATCH: usize = 5;

/// Every cell and its variants in a stack of two layers, forward
/// and in both directions, and one in reverse; with weights.
fn stacks() -> Vec<(Recurrent, Weights)> {
    let mut stacks = Cell::ALL.map(|cell| Recurrent::new(cell, 6, 9).num_layers(2)).to_vec();
    let elu = Functions { f: Activation::Softsign, g: Activation::Elu { alpha: 0.5.into() }, ..Functions::NONE };
    stacks.push(Rnn::new(6, 9).num_layers(2).nonlinearity(Activation::Relu));
    stacks.push(Gru::new(6, 9).num_layers(2).functions(elu).clip(0.5));
    stacks.push(Lstm::new(6, 9).num_layers(2).proj_size(4));
    stacks.push(Lstm::new(6, 9).num_layers(2).peepholes().coupled());
    stacks.extend(stacks.clone().into_iter().map(Recurrent::bidirectional));
    stacks.push(Lstm::new(6, 9).num_layers(2).direction(Direction::Reverse));
    assert_eq!(stacks.len(), 17);
    stacks.into_iter().map(|stack| (stack.clone(), Weights::random(&model(&stack), 3).unwrap())).collect()
}

fn model(stack: &Recurrent) -> Model {
    Model::new().layer(stack.clone()).axes(Axes::TimeMajor)
}

fn states_for(stack: &Recurrent, batch: usize) -> States {
    let rows = stack.num_layers * stack.directions();
    let c = (stack.cell == Cell::Lstm).then(|| noise(&[rows, batch, stack.hidden_size], 2));
    States { h: noise(&[rows, batch, stack.state_size()], 1), c }
}

/// Returns row `b` of the batch axis, which is the second axis of a sequence and of a state.
fn row<T: Clone>(array: &ArrayD<T>, b: usize) -> ArrayD<T> {
    array.index_axis(Axis(1), b).to_owned()
}

fn row_states(states: &States, b: usize) -> States {
    States { h: row(&states.h, b), c: states.c.as_ref().map(|c| row(c, b)) }
}

/// Compares a row of a batch with the results of the row alone, at the steps in `steps`.
#[track_caller]
fn assert_row(batch: &Truth, b: usize, alone: &Truth, steps: &[usize]) {
    let of_row = row(&batch.output, b).select(Axis(0), steps);
    assert_near(of_row.view(), alone.output.as_standard_layout().as_slice().unwrap(), "output");
    let (states, own) = (&batch.states[0], &alone.states[0]);
    assert_near(row(&states.h, b).view(), own.h.as_standard_layout().as_slice().unwrap(), "h");
    assert_eq!(states.c.is_some(), own.c.is_some());
    if let (Some(c), Some(own)) = (&states.c, &own.c) {
        assert_near(row(c, b).view(), own.as_standard_layout().as_slice().unwrap(), "c");
    }
}

#[test]
fn rows_of_a_batch_are_independent() {
    let x = noise(&[TIME, BATCH, 6], 0);
    for (stack, weights) in stacks() {
        let states = states_for(&stack, BATCH);
        let input = Input::features(x.clone()).states(states.clone());
        let all = oracle::run(&model(&stack), &weights, &input).unwrap();
        for b in 0..BATCH {
            let input = Input::features(row(&x, b)).states(row_states(&states, b));
            let alone = oracle::run(&model(&stack), &weights, &input).unwrap();
            assert_row(&all, b, &alone, &(0..TIME).collect::<Vec<_>>());
        }
    }
}

#[test]
fn padding_and_holes_change_no_live_step() {
    let mut x = noise(&[TIME, BATCH, 6], 0);
    let live = Array2::from_shape_fn((BATCH, TIME), |(b, t)| match b {
        0 => t < 3,
        1 => t >= 2,
        2 => t % 2 == 0,
        3 => t != 4,
        _ => true,
    });
    for ((b, t), _) in live.indexed_iter().filter(|(_, live)| !**live) {
        x.slice_mut(s![t, b, ..]).fill(f32::NAN);
    }
    for (stack, weights) in stacks() {
        let states = states_for(&stack, BATCH);
        let input = Input::features(x.clone()).mask(live.clone()).states(states.clone());
        let all = oracle::run(&model(&stack), &weights, &input).unwrap();
        for b in 0..BATCH {
            let steps: Vec<usize> = (0..TIME).filter(|&t| live[[b, t]]).collect();
            let own = row(&x, b).select(Axis(0), &steps);
            let input = Input::features(own).states(row_states(&states, b));
            let alone = oracle::run(&model(&stack), &weights, &input).unwrap();
            assert_row(&all, b, &alone, &steps);
            for t in (0..TIME).filter(|&t| !live[[b, t]]) {
                assert!(all.output.slice(s![t, b, ..]).iter().all(|&y| y == 0.0));
            }
        }
    }
}

#[test]
fn lengths_are_the_mask_of_each_rows_first_steps() {
    let x = noise(&[TIME, BATCH, 6], 0);
    let lengths = [3, 7, 0, 1, 5];
    let live = Array2::from_shape_fn((BATCH, TIME), |(b, t)| t < lengths[b]);
    for (stack, weights) in stacks() {
        let run =
            |input: Input| oracle::run(&model(&stack), &weights, &input.states(states_for(&stack, BATCH))).unwrap();
        let by_length = run(Input::features(x.clone()).lengths(lengths.map(|n| i64::try_from(n).unwrap())));
        assert_eq!(by_length, run(Input::features(x.clone()).mask(live.clone())));
        assert_ne!(by_length, run(Input::features(x.clone())));
    }
}

#[test]
fn a_sequence_in_two_halves_with_the_state_carried_equals_the_whole() {
    let x = noise(&[TIME, BATCH, 6], 0);
    for (stack, weights) in stacks().into_iter().filter(|(stack, _)| stack.direction == Direction::Forward) {
        let run = |x: &ArrayD<f32>, from: usize, to: usize, states: States| {
            let part = x.slice_axis(Axis(0), Slice::from(from..to)).to_owned();
            oracle::run(&model(&stack), &weights, &Input::features(part).states(states)).unwrap()
        };
        let whole = run(&x, 0, TIME, states_for(&stack, BATCH));
        let first = run(&x, 0, 3, states_for(&stack, BATCH));
        let carried = as_output(&first).states.remove(0);
        let second = run(&x, 3, TIME, carried);
        // The state is carried as f32, as every executor carries it.
        let output = concatenate(Axis(0), &[first.output.view(), second.output.view()]).unwrap();
        let near = |a: &ArrayD<f64>, b: &ArrayD<f64>| (a - b).iter().all(|x| x.abs() < 2e-7);
        assert!(near(&output, &whole.output), "{}", stack.cell);
        assert!(near(&second.states[0].h, &whole.states[0].h), "{}", stack.cell);
    }
}

#[test]
fn reverse_is_flip_forward_flip() {
    let x = noise(&[TIME, BATCH, 6], 0);
    let mut reversed = x.clone();
    reversed.invert_axis(Axis(0));
    for cell in Cell::ALL {
        let both = Recurrent::new(cell, 6, 9).bidirectional();
        let weights = Weights::random(&model(&both), 3).unwrap();
        let LayerWeights::Recurrent(cells) = &weights.layers[0] else { panic!("a recurrent layer") };
        let reverse = Weights::new(vec![LayerWeights::Recurrent(vec![cells[1].clone()])]);
        let truth = oracle::run(&model(&both), &weights, &Input::features(x.clone())).unwrap();
        let mut alone =
            oracle::run(&model(&Recurrent::new(cell, 6, 9)), &reverse, &Input::features(reversed.clone())).unwrap();
        alone.output.invert_axis(Axis(0));
        assert_eq!(truth.output.slice(s![.., .., 9..]), alone.output.view().into_dimensionality().unwrap(), "{cell}");
        assert_eq!(truth.states[0].h.index_axis(Axis(0), 1), alone.states[0].h.index_axis(Axis(0), 0), "{cell}");
    }
}

#[test]
fn axes_change_where_numbers_stand_and_not_what_they_are() {
    let x = noise(&[TIME, BATCH, 6], 0);
    for (stack, weights) in stacks() {
        let time_major = oracle::run(&model(&stack), &weights, &Input::features(x.clone())).unwrap();
        let swapped = x.view().permuted_axes(IxDyn(&[1, 0, 2])).to_owned();
        let batch_first =
            oracle::run(&model(&stack).axes(Axes::BatchFirst), &weights, &Input::features(swapped)).unwrap();
        assert_eq!(batch_first.output, time_major.output.permuted_axes(IxDyn(&[1, 0, 2])));
        assert_eq!(batch_first.states, time_major.states);
    }
}
