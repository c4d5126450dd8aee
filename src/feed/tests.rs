//! Both ways of each feed and fetch: what goes in padded and time-major comes out as it was given.

use ndarray::{Array, Array2, Dimension};

use super::*;
use crate::call::Input;
use crate::model::{Gru, Lstm, OneHot, Select};

/// An array of 1, 2, 3, … so that no two elements are alike and none is the padding's zero.
fn counted<Sh: ndarray::ShapeBuilder<Dim = D>, D: Dimension>(shape: Sh) -> Array<f32, D> {
    let mut n = 0.0;
    Array::from_shape_simple_fn(shape, || {
        n += 1.0;
        n
    })
}

/// What `feed` lays out: every word of it, whatever was there.
fn indices(call: &Call<'_>, model: &Model, rows: Range<usize>, feed: Feed) -> Vec<u32> {
    let (steps, stack) = (call.form.time * rows.len(), model.stacks().next().unwrap());
    let state = |size| rows.len() * stack.directions() * padded(size);
    let len = match feed {
        Feed::Features => steps * padded(model.input().unwrap().features().len()),
        Feed::Started(0) => 2 * steps,
        Feed::Hidden { .. } => state(stack.state_size()),
        Feed::Cell { .. } => state(stack.hidden_size),
        _ => steps,
    };
    let mut words = vec![u32::MAX; len];
    encode(call, model, rows, feed, &mut words);
    words
}

fn floats(call: &Call<'_>, model: &Model, rows: Range<usize>, feed: Feed) -> Vec<f32> {
    indices(call, model, rows, feed).into_iter().map(f32::from_bits).collect()
}

fn decode(decoder: &mut Decoder<'_>, fetch: Fetch, rows: Range<usize>, data: &[f32]) {
    decoder.decode(Read { fetch, slot: 0, offset: 0, bytes: 4 * data.len() as u64 }, &rows, data);
}

fn decoder<'a>(model: &'a Model, call: &Call<'_>) -> Decoder<'a> {
    // Tests make few decoders.
    let flows = Vec::leak(model.output_flows().unwrap());
    let clock = |value| call.clocks().of_value(value);
    let clocks = Vec::leak(model.feature_outputs().into_iter().map(clock).collect());
    Decoder::new(model, (flows, clocks), call).unwrap()
}

#[test]
fn features_become_time_major_and_padded() {
    let model = Model::new().layer(Lstm::new(3, 4));
    let input = Input::features(counted((4, 2, 3)));
    let call = input.check(&model).unwrap();
    let data = floats(&call, &model, 1..3, Feed::Features);
    assert_eq!(data.len(), 2 * 2 * 16);
    assert_eq!(data[..4], [7.0, 8.0, 9.0, 0.0], "step 0 of row 1");
    assert_eq!(data[16..20], [13.0, 14.0, 15.0, 0.0], "step 0 of row 2");
    assert_eq!(data[32..36], [10.0, 11.0, 12.0, 0.0], "step 1 of row 1");
}

#[test]
fn large_features_take_the_same_road_on_all_cores() {
    let model = Model::new().layer(Lstm::new(20, 4));
    let input = Input::features(counted((40, 101, 20)));
    let call = input.check(&model).unwrap();
    let data = floats(&call, &model, 0..40, Feed::Features);
    assert!(data.len() > PARALLEL_ELEMS);
    for (t, b) in (0..101).flat_map(|t| (0..40).map(move |b| (t, b))) {
        let x = call.features(0, t, b).unwrap();
        assert_eq!(data[(t * 40 + b) * 32..][..20], x.to_vec());
        assert!(x.iter().all(|&x| x != 0.0));
    }
    assert_eq!(data.iter().filter(|&&x| x != 0.0).count(), 40 * 101 * 20);
}

#[test]
fn tokens_and_the_mask_become_time_major() {
    let model = Model::new().layer(OneHot::new(9)).layer(Gru::new(9, 4));
    let tokens = Array2::from_shape_vec((3, 2), vec![1, 2, 3, -7, 5, 6]).unwrap();
    let input = Input::tokens(tokens).lengths([2, 1, 2]);
    let call = input.check(&model).unwrap();
    assert_eq!(indices(&call, &model, 0..3, Feed::Tokens), [1, 3, 5, 2, 0, 6]);
    assert_eq!(indices(&call, &model, 0..3, Feed::Live(0)), [1, 1, 1, 1, 0, 1]);
    assert_eq!(indices(&call, &model, 1..2, Feed::Live(0)), [1, 0]);
}

#[test]
fn what_a_blank_goes_by_comes_in_the_order_of_the_outputs() {
    let model = Model::new().layer(Gru::new(1, 4));
    let mask = ndarray::array![[true, true, true], [false, true, false], [false, false, false]];
    let input = Input::features(counted((3, 3, 1))).mask(mask);
    let call = input.check(&model).unwrap();
    let of = |rows, feed| indices(&call, &model, rows, feed);
    assert_eq!(of(0..3, Feed::Live(0)), [1, 0, 0, 1, 1, 0, 1, 0, 0]);
    assert_eq!(of(0..2, Feed::Live(0)), [1, 0, 1, 1, 1, 0]);
    assert_eq!(of(0..2, Feed::Started(0)), [1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], "forward, then reverse");
    assert_eq!(of(0..2, Feed::StartedReversed(0)), [1, 0, 1, 1, 1, 1], "the last step first");
    assert_eq!(of(2..3, Feed::Started(0)), [0; 6], "a row without steps");
    let mask = ndarray::array![[true, false, false], [true, true, false]];
    let input = Input::features(counted((2, 3, 1))).mask(mask);
    let call = input.check(&model).unwrap();
    assert_eq!(indices(&call, &model, 0..2, Feed::LiveBackwards(0)), [0, 0, 0, 1, 1, 1]);
}

#[test]
fn without_a_mask_all_steps_are_live_and_seen() {
    let model = Model::new().layer(Gru::new(1, 4));
    let input = Input::features(counted((3, 2, 1)));
    let call = input.check(&model).unwrap();
    for (feed, len) in
        [(Feed::Live(0), 6), (Feed::LiveBackwards(0), 6), (Feed::Started(0), 12), (Feed::StartedReversed(0), 6)]
    {
        assert_eq!(indices(&call, &model, 0..3, feed), vec![1; len], "{feed}");
    }
}

#[test]
fn a_merged_output_has_one_part_and_its_states_have_two() {
    let model = Model::new().layer(Gru::new(3, 2).bidirectional().merge(crate::model::Merge::Sum));
    let input = Input::features(counted((5, 4, 3)));
    let call = input.check(&model).unwrap();
    let mut decoder = decoder(&model, &call);
    let (steps, states) = (vec![1.0; 4 * 5 * 16], vec![2.0; 5 * 32]);
    let fetches = [Fetch::Output, Fetch::Hidden { stack: 0, layer: 0 }];
    for (fetch, data) in fetches.into_iter().zip([steps, states]) {
        decode(&mut decoder, fetch, 0..5, &data);
    }
    let output = decoder.finish();
    assert_eq!((output.output.shape(), output.states[0].h.shape()), (&[5, 4, 2][..], &[2, 5, 2][..]));
    assert!(output.output.iter().all(|&y| y == 1.0) && output.states[0].h.iter().all(|&h| h == 2.0));
}

#[test]
fn the_state_of_a_direction_is_its_part_of_a_row() {
    let model = Model::new().layer(Gru::new(3, 2).bidirectional());
    let input = Input::features(counted((1, 4, 3)));
    let call = input.check(&model).unwrap();
    let mut decoder = decoder(&model, &call);
    for (direction, first) in [(0, 0), (1, 100)] {
        let row: Vec<_> = (first..first + 32).map(|n| n as f32).collect();
        decode(&mut decoder, Fetch::HiddenPart { stack: 0, layer: 0, direction }, 0..1, &row);
    }
    let h = decoder.finish().states.remove(0).h;
    assert_eq!(h.iter().copied().collect::<Vec<_>>(), [0.0, 1.0, 116.0, 117.0]);
}

#[test]
fn states_come_back_from_any_tiles_as_they_went_in() {
    let model = Model::new().layer(Lstm::new(3, 18).num_layers(3).bidirectional().proj_size(5));
    let states = States::with_cell(counted((6, 7, 5)), counted((6, 7, 18)));
    let input = Input::features(counted((7, 2, 3))).states(states.clone());
    let call = input.check(&model).unwrap();
    for tile in [7, 3, 1] {
        let mut decoder = decoder(&model, &call);
        for first in (0..7).step_by(tile) {
            let rows = first..(first + tile).min(7);
            for layer in 0..3 {
                let h = floats(&call, &model, rows.clone(), Feed::Hidden { stack: 0, layer });
                decode(&mut decoder, Fetch::Hidden { stack: 0, layer }, rows.clone(), &h);
                let c = floats(&call, &model, rows.clone(), Feed::Cell { stack: 0, layer });
                decode(&mut decoder, Fetch::Cell { stack: 0, layer }, rows.clone(), &c);
            }
        }
        assert_eq!(decoder.finish().states, std::slice::from_ref(&states), "tiles of {tile}");
    }
}

#[test]
fn outputs_lose_their_padding_and_come_back_in_the_users_axes() {
    let (time, batch) = (4, 5);
    for axes in [Axes::BatchFirst, Axes::TimeMajor] {
        let model = Model::new().layer(Lstm::new(3, 2).bidirectional()).axes(axes);
        let dims = if axes == Axes::BatchFirst { (batch, time, 3) } else { (time, batch, 3) };
        let input = Input::features(Array3::zeros(dims));
        let call = input.check(&model).unwrap();
        let mut decoder = decoder(&model, &call);
        for rows in [0..2, 2..4, 4..5] {
            let mut data = Vec::new();
            for t in 0..time {
                for b in rows.clone() {
                    for part in 0..2 {
                        let value = |n: usize| if n < 2 { (t * 1000 + b * 100 + part * 10 + n) as f32 } else { -1.0 };
                        data.extend((0..16).map(value));
                    }
                }
            }
            decode(&mut decoder, Fetch::Output, rows, &data);
        }
        let output = decoder.finish().output.into_dimensionality::<ndarray::Ix3>().unwrap();
        assert_eq!(output.len(), time * batch * 4);
        for ((outer, inner, n), &value) in output.indexed_iter() {
            let (t, b) = if axes == Axes::BatchFirst { (inner, outer) } else { (outer, inner) };
            assert_eq!(value, (t * 1000 + b * 100 + n / 2 * 10 + n % 2) as f32);
        }
    }
}

#[test]
fn one_sequence_without_a_batch_comes_back_without_one() {
    let steps = Model::new().layer(Gru::new(3, 2));
    let input = Input::features(counted((4, 3)));
    let call = input.check(&steps).unwrap();
    let output = decoder(&steps, &call).finish();
    assert_eq!((output.output.shape(), output.states[0].h.shape()), (&[4, 2][..], &[1, 2][..]));
    let row = steps.layer(Select::FinalHidden);
    let call = input.check(&row).unwrap();
    assert_eq!(decoder(&row, &call).finish().output.shape(), [2]);
}
