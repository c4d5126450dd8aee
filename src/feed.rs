//! Call → the bytes a plan asks for, and the bytes it gives → Output: padding, tiles of the batch, the user's axes.
//!
//! The two ends of the road around an executor. Knows calls, models and what a plan writes and reads; knows no
//! device, and not how anything is computed.

use std::ops::Range;

use ndarray::{Array3, ArrayD, ArrayView, ArrayView3, ArrayViewMut3, Axis, Dimension, s};
use rayon::prelude::*;

use crate::call::{Batching, Call, Form, Output, Sequence, States, initial};
use crate::error::{Result, SMALLER_CALL, zeros};
use crate::kernel::padded;
use crate::model::{Axes, Features, Flow, Model};
use crate::plan::{Feed, FeedData, Fetch, Plan};

/// Below this many elements, waking other threads costs more than they save.
const PARALLEL_ELEMS: usize = 1 << 16;

/// What a plan for rows `rows` of `call` takes in the place of `feed`.
///
/// # Shapes
///
/// As [`Feed`] says, B being the length of `rows`.
///
/// # Errors
///
/// Kind `Limits`, where there is no memory for it.
pub(crate) fn encode(call: &Call, model: &Model, rows: Range<usize>, feed: Feed) -> Result<FeedData> {
    let state = |stack: usize, layer: usize, state: &Array3<f32>| {
        let directions = model.stacks().nth(stack).expect("a plan of this model").directions();
        let part = s![layer * directions..(layer + 1) * directions, rows.clone(), ..];
        pad_state(state.slice(part)).map(FeedData::F32)
    };
    Ok(match (feed, &call.sequence) {
        (Feed::Features, Sequence::Features(x)) => FeedData::F32(pad_features(x.slice(s![.., rows, ..]))?),
        (Feed::Tokens, Sequence::Tokens(tokens)) => FeedData::U32(tokens.slice(s![.., rows]).iter().copied().collect()),
        (Feed::Features | Feed::Tokens, _) => unreachable!("a call carries what its model begins with"),
        (Feed::Live | Feed::LiveBackwards, _) => FeedData::U32(match (&call.live, feed) {
            (Some(live), Feed::Live) => flags(live.slice(s![.., rows])),
            (Some(live), _) => flags(live.slice(s![..;-1, rows])),
            (None, _) => vec![1; time(call) * rows.len()],
        }),
        (Feed::Seen, _) => FeedData::U32(flags(call.seen().slice(s![.., .., rows]))),
        (Feed::SeenBackwards, _) => FeedData::U32(flags(call.seen().slice(s![1, ..;-1, rows]))),
        (Feed::Hidden { stack, layer }, _) => state(stack, layer, &call.states[stack].0)?,
        (Feed::Memory { stack, layer }, _) => {
            state(stack, layer, call.states[stack].1.as_ref().expect("only an LSTM's plan has a memory"))?
        }
    })
}

/// 1 where there is something, else 0.
fn flags<D: Dimension>(flags: ArrayView<'_, bool, D>) -> Vec<u32> {
    flags.iter().map(|&flag| u32::from(flag)).collect()
}

fn time(call: &Call) -> usize {
    match &call.sequence {
        Sequence::Features(x) => x.len_of(Axis(0)),
        Sequence::Tokens(tokens) => tokens.nrows(),
    }
}

/// `[T, B, I]` → `[T][B][padded I]`.
fn pad_features(x: ArrayView3<'_, f32>) -> Result<Vec<f32>> {
    let (time, batch, size) = x.dim();
    let width = padded(size);
    let mut data = zeros("the padded input", &[time, batch, width], SMALLER_CALL)?;
    for_rows(&mut data, width, |row, target| {
        let source = x.slice(s![row / batch, row % batch, ..]);
        match source.to_slice() {
            Some(source) => target[..size].copy_from_slice(source),
            None => target.iter_mut().zip(source).for_each(|(to, from)| *to = *from),
        }
    });
    Ok(data)
}

/// `[D, B, S]` → `[B][D · padded S]`.
fn pad_state(state: ArrayView3<'_, f32>) -> Result<Vec<f32>> {
    let (directions, batch, size) = state.dim();
    let width = padded(size);
    let mut data = zeros("the padded states", &[batch, directions, width], SMALLER_CALL)?;
    let mut padded = ArrayViewMut3::from_shape((batch, directions, width), &mut data).expect("as many as the dims say");
    padded.slice_mut(s![.., .., ..size]).assign(&state.permuted_axes([1, 0, 2]));
    Ok(data)
}

/// An output being filled, one batch tile after the other.
pub(crate) struct Decoder<'a> {
    model: &'a Model,
    form: Form,
    flow: Flow,
    output: Vec<f32>,
    states: Vec<(Array3<f32>, Option<Array3<f32>>)>,
}

impl<'a> Decoder<'a> {
    /// An output of `model` for a call of `form`, all zero.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where the model's layers do not fit each other; `Limits`, where there is no memory for it.
    pub(crate) fn new(model: &'a Model, form: Form) -> Result<Self> {
        let flow = *model.flows()?.last().expect("flows refuses a model without layers");
        let time = if matches!(flow, Flow::Rows(_)) { 1 } else { form.time };
        let output = zeros("the output", &[time, form.batch, features(flow).len()], SMALLER_CALL)?;
        let states = model.stacks().map(|stack| initial(stack, form)).collect::<Result<_>>()?;
        Ok(Self { model, form, flow, output, states })
    }

    /// Takes in what `plan`, run on rows `rows` of the call, gave for its reads.
    ///
    /// # Shapes
    ///
    /// As [`Fetch`] says, B being the length of `rows`.
    pub(crate) fn decode(&mut self, plan: &Plan, rows: &Range<usize>, data: &[Vec<f32>]) {
        for (read, data) in plan.reads.iter().zip(data) {
            let directions = |stack| self.model.stacks().nth(stack).expect("a plan of this model").directions();
            let part = |layer, directions| s![layer * directions..(layer + 1) * directions, rows.clone(), ..];
            match read.fetch {
                Fetch::Output => self.output(rows, data),
                Fetch::Hidden { stack, layer } => {
                    unpad_state(data, self.states[stack].0.slice_mut(part(layer, directions(stack))));
                }
                Fetch::HiddenPart { stack, layer, direction } => {
                    let directions = directions(stack);
                    let row = layer * directions + direction;
                    let state = self.states[stack].0.slice_mut(s![row..=row, rows.clone(), ..]);
                    unpad_part(data, direction, directions, state);
                }
                Fetch::Memory { stack, layer } => {
                    let c = self.states[stack].1.as_mut().expect("only an LSTM's plan has a memory");
                    unpad_state(data, c.slice_mut(part(layer, directions(stack))));
                }
            }
        }
    }

    /// `[T][B][padded]` or `[B][padded]` of the tile → its rows of the output, in the user's axes.
    fn output(&mut self, rows: &Range<usize>, data: &[f32]) {
        let (features, Form { axes, time, batch, .. }) = (features(self.flow), self.form);
        let (first, tile) = (rows.start, rows.len());
        let (size, width) = (features.size, padded(features.size));
        let gone = matches!(self.flow, Flow::Rows(_));
        for_rows(&mut self.output, features.len(), |row, target| {
            let (t, b) = match axes {
                _ if gone => (0, row),
                Axes::BatchFirst => (row % time, row / time),
                Axes::TimeMajor => (row / batch, row % batch),
            };
            if !rows.contains(&b) {
                return;
            }
            let source = &data[(t * tile + b - first) * features.parts * width..];
            for (to, from) in target.chunks_exact_mut(size).zip(source.chunks_exact(width)) {
                to.copy_from_slice(&from[..size]);
            }
        });
    }

    /// The output, in the user's axes.
    pub(crate) fn finish(self) -> Output {
        let Form { axes, batching, time, batch } = self.form;
        let features = features(self.flow).len();
        let dims = match (self.flow, batching, axes) {
            (Flow::Rows(_), Batching::Batch, _) => vec![batch, features],
            (Flow::Rows(_), Batching::Single, _) => vec![features],
            (_, Batching::Single, _) => vec![time, features],
            (_, Batching::Batch, Axes::BatchFirst) => vec![batch, time, features],
            (_, Batching::Batch, Axes::TimeMajor) => vec![time, batch, features],
        };
        let state = |state: Array3<f32>| match batching {
            Batching::Batch => state.into_dyn(),
            Batching::Single => state.index_axis_move(Axis(1), 0).into_dyn(),
        };
        Output {
            output: ArrayD::from_shape_vec(dims, self.output).expect("as many elements as the dims say"),
            states: self.states.into_iter().map(|(h, c)| States { h: state(h), c: c.map(state) }).collect(),
        }
    }
}

fn features(flow: Flow) -> Features {
    match flow {
        Flow::Steps(features) | Flow::Rows(features) => features,
        Flow::Tokens(tokens) => Features::one(tokens),
    }
}

/// `[B][D · padded S]` → `[D, B, S]`.
fn unpad_state(data: &[f32], mut state: ArrayViewMut3<'_, f32>) {
    let (directions, batch, size) = state.dim();
    let data = ArrayView3::from_shape((batch, directions, padded(size)), data).expect("a plan reads whole states");
    state.assign(&data.slice(s![.., .., ..size]).permuted_axes([1, 0, 2]));
}

/// Of `[B][D · padded S]` what is `direction`'s → `[1, B, S]`.
fn unpad_part(data: &[f32], direction: usize, directions: usize, mut state: ArrayViewMut3<'_, f32>) {
    let (_, batch, size) = state.dim();
    let data = ArrayView3::from_shape((batch, directions, padded(size)), data).expect("a plan reads whole rows");
    state.assign(&data.slice(s![.., direction..=direction, ..size]).permuted_axes([1, 0, 2]));
}

/// Calls `each` with the index and the elements of each row of `width`, on all cores where that pays.
fn for_rows(data: &mut [f32], width: usize, each: impl Fn(usize, &mut [f32]) + Sync) {
    if data.len() < PARALLEL_ELEMS {
        data.chunks_exact_mut(width).enumerate().for_each(|(row, data)| each(row, data));
    } else {
        let rows = (PARALLEL_ELEMS / 4 / width).max(1);
        data.par_chunks_exact_mut(width).with_min_len(rows).enumerate().for_each(|(row, data)| each(row, data));
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Array2};

    use super::*;
    use crate::call::Input;
    use crate::kernel::Mask;
    use crate::model::{Gru, Lstm, OneHot, Select};
    use crate::plan::{Read, Shape};

    /// An array of 1, 2, 3, … so that no two elements are alike and none is the padding's zero.
    fn counted<Sh: ndarray::ShapeBuilder<Dim = D>, D: Dimension>(shape: Sh) -> Array<f32, D> {
        let mut n = 0.0;
        Array::from_shape_simple_fn(shape, || {
            n += 1.0;
            n
        })
    }

    fn floats(data: FeedData) -> Vec<f32> {
        match data {
            FeedData::F32(data) => data,
            FeedData::U32(_) => panic!("expected floats"),
        }
    }

    fn indices(data: FeedData) -> Vec<u32> {
        match data {
            FeedData::U32(data) => data,
            FeedData::F32(_) => panic!("expected indices"),
        }
    }

    fn plan(fetches: impl IntoIterator<Item = Fetch>, time: usize, batch: usize) -> Plan {
        let read = |fetch| Read { fetch, slot: 0, offset: 0, bytes: 0 };
        Plan {
            title: String::new(),
            shape: Shape { time, batch, mask: Mask::All },
            slots: Vec::new(),
            programs: Vec::new(),
            params: Vec::new(),
            writes: Vec::new(),
            steps: Vec::new(),
            reads: fetches.into_iter().map(read).collect(),
        }
    }

    #[test]
    fn features_become_time_major_and_padded() {
        let model = Model::new().layer(Lstm::new(3, 4));
        let (call, _) = Input::features(counted((4, 2, 3))).check(&model).unwrap();
        let data = floats(encode(&call, &model, 1..3, Feed::Features).unwrap());
        assert_eq!(data.len(), 2 * 2 * 16);
        assert_eq!(data[..4], [7.0, 8.0, 9.0, 0.0], "step 0 of row 1");
        assert_eq!(data[16..20], [13.0, 14.0, 15.0, 0.0], "step 0 of row 2");
        assert_eq!(data[32..36], [10.0, 11.0, 12.0, 0.0], "step 1 of row 1");
    }

    #[test]
    fn large_features_take_the_same_road_on_all_cores() {
        let model = Model::new().layer(Lstm::new(20, 4));
        let (call, _) = Input::features(counted((40, 101, 20))).check(&model).unwrap();
        let data = floats(encode(&call, &model, 0..40, Feed::Features).unwrap());
        assert!(data.len() > PARALLEL_ELEMS);
        let Sequence::Features(x) = &call.sequence else { panic!("features") };
        for ((t, b, i), &x) in x.indexed_iter() {
            assert_eq!(data[(t * 40 + b) * 32 + i], x);
        }
        assert_eq!(data.iter().filter(|&&x| x != 0.0).count(), x.len());
    }

    #[test]
    fn tokens_and_the_mask_become_time_major() {
        let model = Model::new().layer(OneHot::new(9)).layer(Gru::new(9, 4));
        let tokens = Array2::from_shape_vec((3, 2), vec![1, 2, 3, -7, 5, 6]).unwrap();
        let (call, _) = Input::tokens(tokens).lengths([2, 1, 2]).check(&model).unwrap();
        assert_eq!(indices(encode(&call, &model, 0..3, Feed::Tokens).unwrap()), [1, 3, 5, 2, 0, 6]);
        assert_eq!(indices(encode(&call, &model, 0..3, Feed::Live).unwrap()), [1, 1, 1, 1, 0, 1]);
        assert_eq!(indices(encode(&call, &model, 1..2, Feed::Live).unwrap()), [1, 0]);
    }

    #[test]
    fn what_a_blank_goes_by_comes_in_the_order_of_the_outputs() {
        let model = Model::new().layer(Gru::new(1, 4));
        let mask = ndarray::array![[true, true, true], [false, true, false], [false, false, false]];
        let (call, _) = Input::features(counted((3, 3, 1))).mask(mask).check(&model).unwrap();
        let of = |rows, feed| indices(encode(&call, &model, rows, feed).unwrap());
        assert_eq!(of(0..3, Feed::Live), [1, 0, 0, 1, 1, 0, 1, 0, 0]);
        assert_eq!(of(0..2, Feed::Live), [1, 0, 1, 1, 1, 0]);
        assert_eq!(of(0..2, Feed::Seen), [1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], "forward, then reverse");
        assert_eq!(of(0..2, Feed::SeenBackwards), [1, 0, 1, 1, 1, 1], "the last step first");
        assert_eq!(of(2..3, Feed::Seen), [0; 6], "a row without steps");
        let mask = ndarray::array![[true, false, false], [true, true, false]];
        let (call, _) = Input::features(counted((2, 3, 1))).mask(mask).check(&model).unwrap();
        assert_eq!(indices(encode(&call, &model, 0..2, Feed::LiveBackwards).unwrap()), [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn without_a_mask_all_steps_are_live_and_seen() {
        let model = Model::new().layer(Gru::new(1, 4));
        let (call, _) = Input::features(counted((3, 2, 1))).check(&model).unwrap();
        for (feed, len) in [(Feed::Live, 6), (Feed::LiveBackwards, 6), (Feed::Seen, 12), (Feed::SeenBackwards, 6)] {
            assert_eq!(indices(encode(&call, &model, 0..3, feed).unwrap()), vec![1; len], "{feed}");
        }
    }

    #[test]
    fn a_merged_output_has_one_part_and_its_states_have_two() {
        let model = Model::new().layer(Gru::new(3, 2).bidirectional().merge(crate::model::Merge::Sum));
        let (_, form) = Input::features(counted((5, 4, 3))).check(&model).unwrap();
        let mut decoder = Decoder::new(&model, form).unwrap();
        let (steps, states) = (vec![1.0; 4 * 5 * 16], vec![2.0; 5 * 32]);
        let fetches = [Fetch::Output, Fetch::Hidden { stack: 0, layer: 0 }];
        decoder.decode(&plan(fetches, 4, 5), &(0..5), &[steps, states]);
        let output = decoder.finish();
        assert_eq!((output.output.shape(), output.states[0].h.shape()), (&[5, 4, 2][..], &[2, 5, 2][..]));
        assert!(output.output.iter().all(|&y| y == 1.0) && output.states[0].h.iter().all(|&h| h == 2.0));
    }

    #[test]
    fn the_state_of_a_direction_is_its_part_of_a_row() {
        let model = Model::new().layer(Gru::new(3, 2).bidirectional());
        let (_, form) = Input::features(counted((1, 4, 3))).check(&model).unwrap();
        let mut decoder = Decoder::new(&model, form).unwrap();
        let fetches = [0, 1].map(|direction| Fetch::HiddenPart { stack: 0, layer: 0, direction });
        let rows = [0, 100].map(|row| (0..32).map(|n| (row + n) as f32).collect());
        decoder.decode(&plan(fetches, 4, 1), &(0..1), &rows);
        let h = decoder.finish().states.remove(0).h;
        assert_eq!(h.iter().copied().collect::<Vec<_>>(), [0.0, 1.0, 116.0, 117.0]);
    }

    #[test]
    fn states_come_back_from_any_tiles_as_they_went_in() {
        let model = Model::new().layer(Lstm::new(3, 18).num_layers(3).bidirectional().proj_size(5));
        let states = States::with_cell(counted((6, 7, 5)), counted((6, 7, 18)));
        let input = Input::features(counted((7, 2, 3))).states(states.clone());
        let (call, form) = input.check(&model).unwrap();
        for tile in [7, 3, 1] {
            let mut decoder = Decoder::new(&model, form).unwrap();
            for first in (0..7).step_by(tile) {
                let rows = first..(first + tile).min(7);
                let (mut fetches, mut data) = (Vec::new(), Vec::new());
                for layer in 0..3 {
                    fetches.push(Fetch::Hidden { stack: 0, layer });
                    data.push(floats(encode(&call, &model, rows.clone(), Feed::Hidden { stack: 0, layer }).unwrap()));
                    fetches.push(Fetch::Memory { stack: 0, layer });
                    data.push(floats(encode(&call, &model, rows.clone(), Feed::Memory { stack: 0, layer }).unwrap()));
                }
                assert_eq!((data[0].len(), data[1].len()), (rows.len() * 32, rows.len() * 64));
                decoder.decode(&plan(fetches, 2, rows.len()), &rows, &data);
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
            let (_, form) = Input::features(Array3::zeros(dims)).check(&model).unwrap();
            let mut decoder = Decoder::new(&model, form).unwrap();
            for rows in [0..2, 2..4, 4..5] {
                let mut data = Vec::new();
                for t in 0..time {
                    for b in rows.clone() {
                        for part in 0..2 {
                            let value =
                                |n: usize| if n < 2 { (t * 1000 + b * 100 + part * 10 + n) as f32 } else { -1.0 };
                            data.extend((0..16).map(value));
                        }
                    }
                }
                decoder.decode(&plan([Fetch::Output], time, rows.len()), &rows, &[data]);
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
        let (_, form) = Input::features(counted((4, 3))).check(&steps).unwrap();
        let output = Decoder::new(&steps, form).unwrap().finish();
        assert_eq!((output.output.shape(), output.states[0].h.shape()), (&[4, 2][..], &[1, 2][..]));
        let row = steps.layer(Select::FinalHidden);
        assert_eq!(Decoder::new(&row, form).unwrap().finish().output.shape(), [2]);
    }
}
