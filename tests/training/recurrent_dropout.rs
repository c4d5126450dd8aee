//! Keras' `dropout` and `recurrent_dropout` of a recurrent layer in training: which masks there are, and their effect.

use gatewave::inspect::plan::Limits;
use gatewave::layer::{Bias, Cell, Direction, Dropout, Merge, Recurrent, Reset};
use gatewave::train::{Batch, Gradients, Targets};
use gatewave::weights::LayerWeights;
use gatewave::{Device, Gru, Input, Linear, Lstm, Model, Rnn, Select, States, Weights};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, s};

use crate::devices;
use crate::dropout::{are_true_update_by_update, close, features, in_tiles, on, trainer, truth};

/// Stacks that drop states, and inputs, in every cell and
/// direction; with masks, projections, peepholes and other dropout.
fn models() -> Vec<Model> {
    let before = |inputs, hidden| Gru::new(inputs, hidden).cell(Cell::Gru(Reset::Before));
    let head = |model: Model, size| model.layer(Select::LastStep).layer(Linear::new(size, 3));
    vec![
        Model::new().layer(Rnn::new(6, 9).num_layers(2).bidirectional().recurrent_dropout(0.3)),
        head(Model::new().layer(Lstm::new(6, 19).num_layers(2).recurrent_dropout(0.4).input_dropout(0.2)), 19),
        Model::new().layer(Lstm::new(6, 9).bidirectional().input_dropout(0.5)).layer(Dropout::new(0.2)),
        Model::new().layer(Gru::new(6, 17).bidirectional().merge(Merge::Product).recurrent_dropout(0.25)),
        Model::new().layer(
            Gru::new(6, 18).num_layers(2).bidirectional().recurrent_dropout(0.5).input_dropout(0.3).dropout(0.2),
        ),
        Model::new().layer(before(6, 17).num_layers(2).bidirectional().recurrent_dropout(0.3)),
        head(
            Model::new().layer(before(6, 20).direction(Direction::Reverse).recurrent_dropout(0.3).input_dropout(0.3)),
            20,
        ),
        Model::new().layer(Lstm::new(6, 20).proj_size(5).bidirectional().recurrent_dropout(0.4).input_dropout(0.1)),
        Model::new().layer(Lstm::new(6, 7).peepholes().bidirectional().recurrent_dropout(0.4)),
        Model::new().layer(Gru::new(6, 7).direction(Direction::Backwards).recurrent_dropout(0.4)).layer(Rnn::new(7, 4)),
    ]
}

/// Adds initial states for the stacks of `model`.
fn begun(model: &Model, input: Input<'static>, batch: usize) -> Input<'static> {
    model.stacks().enumerate().fold(input, |input, (stack, r)| {
        let rows = r.num_layers * r.directions();
        let of = |size: usize, by: f32| {
            Array3::from_shape_fn((rows, batch, size), |(l, b, n)| ((l * 5 + b * 3 + n) as f32 * by).sin()).into_dyn()
        };
        let c = (r.cell == Cell::Lstm).then(|| of(r.hidden_size, 0.9));
        input.stack_states(stack, States { h: of(r.state_size(), 0.7), c })
    })
}

#[test]
fn gradients_are_true_with_lengths_and_states_update_by_update() {
    for model in models() {
        let mut batch = features(5, 9, 6);
        batch.input = begun(&model, batch.input.lengths([9, 1, 4, 7, 9]), 5);
        for device in devices() {
            are_true_update_by_update(&model, &batch, &device);
        }
    }
}

#[test]
fn in_tiles_of_a_batch_gradients_are_true() {
    let models = [
        Model::new().layer(Lstm::new(6, 20).num_layers(2).recurrent_dropout(0.5).input_dropout(0.3)),
        Model::new().layer(Gru::new(6, 20).cell(Cell::Gru(Reset::Before)).recurrent_dropout(0.4)),
    ];
    let batch = features(7, 40, 6);
    for (model, device) in models.iter().flat_map(|model| devices().into_iter().map(move |device| (model, device))) {
        // Room for the gates of five rows, and no more.
        let trainer = trainer(model, in_tiles(device.clone(), 5, (41, 128)), Some(2));
        let weights = trainer.weights().expect("weights");
        let got = trainer.gradients(&batch).expect("gradients");
        close(&got, &truth(model, &batch, &weights, 2, 0), &format!("{device:?}: {}", model.summary()));
    }
}

/// Chunks of four steps, and one layer at a time: values that are kept, values that are computed again, and neither.
#[test]
fn in_chunks_what_is_computed_twice_drops_the_same() {
    for model in models() {
        let mut batch = features(3, 14, 6);
        batch.input = begun(&model, batch.input.lengths([14, 5, 11]), 3);
        for device in devices() {
            let found = [None, Some(0)].map(|keep_bytes| {
                let small = Limits { workgroups: 64, ..Limits::WEBGPU };
                let options = on(device.clone()).chunk_bytes(1).limits(small);
                let trainer = trainer(&model, options.keep_bytes(keep_bytes), Some(4));
                let got = trainer.gradients(&batch).expect("gradients");
                let weights = trainer.weights().expect("weights");
                close(&got, &truth(&model, &batch, &weights, 4, 0), &format!("{device:?}: {}", model.summary()));
                got
            });
            assert!(found[0] == found[1], "{device:?}: other bits: {}", model.summary());
        }
    }
}

#[test]
fn carried_states_go_on_under_the_masks_of_each_update() {
    let model = Model::new().layer(Lstm::new(6, 9).recurrent_dropout(0.4)).layer(Linear::new(9, 2));
    for device in devices() {
        let mut trainer = trainer(&model, on(device.clone()), Some(3));
        trainer.carry(true).expect("states to carry");
        let mut losses = Vec::new();
        for _ in 0..3 {
            losses.push(trainer.step(&features(4, 5, 6)).expect("an update").loss);
        }
        trainer.reset_states();
        losses.push(trainer.gradients(&features(4, 5, 6)).expect("gradients").loss);
        assert!(losses.windows(2).all(|two| two[0] != two[1]), "{device:?}: {losses:?}");
    }
}

/// A stack of one layer and a single row, whose gradients show the masks.
/// A column of a gate's matrix has no gradient if its factor is dropped.
fn gradients_of_one_row(stack: &Recurrent, seed: u64) -> Gradients {
    let model = Model::new().layer(stack.clone());
    let x = Array3::from_shape_fn((1, 5, stack.input_size), |(_, t, n)| ((t * 3 + n) as f32).cos() + 1.5);
    let batch = Batch::new(begun(&model, Input::features(x), 1), Targets::none());
    trainer(&model, on(Device::Cpu), Some(seed)).gradients(&batch).expect("gradients")
}

/// Returns which columns of each gate of a stack's matrix have a gradient.
fn kept(found: &Gradients, name: &str, stack: &Recurrent) -> Vec<Vec<bool>> {
    let (numbers, gates, rows) = (&found.weights[&format!("0.{name}")], stack.cell.gates(), stack.hidden_size);
    let matrix = ArrayView2::from_shape((gates * rows, numbers.len() / (gates * rows)), numbers).expect("a matrix");
    let of = |gate: usize| {
        let own = matrix.slice(s![gate * rows..(gate + 1) * rows, ..]);
        own.axis_iter(Axis(1)).map(|column| column.iter().any(|&d| d != 0.0)).collect()
    };
    (0..gates).map(of).collect()
}

const CELLS: [Cell; 4] = [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After), Cell::Gru(Reset::Before)];

#[test]
fn each_gate_and_direction_drops_a_share_of_its_own_the_same_at_every_step() {
    let (size, rate) = (120, 0.3_f32);
    for cell in CELLS {
        let stack = Recurrent::new(cell, size, size).bidirectional().recurrent_dropout(rate).input_dropout(rate);
        let found = gradients_of_one_row(&stack, 5);
        let mut masks = Vec::new();
        for name in ["weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse"] {
            masks.extend(kept(&found, name, &stack));
        }
        let all = (masks.len() * size) as f64;
        let dropped = masks.iter().flatten().filter(|kept| !**kept).count() as f64;
        let (p, bound) = (f64::from(rate), 5.0 * (all * f64::from(rate) * (1.0 - f64::from(rate))).sqrt());
        // If each step had a mask of its own, a column would be dropped at all five steps with probability rate⁵.
        assert!((dropped - p * all).abs() < bound, "{cell}: {dropped} of {all}");
        for (i, mask) in masks.iter().enumerate() {
            assert!(masks[..i].iter().all(|other| other != mask), "{cell}: two masks are one");
        }
    }
}

#[test]
fn without_recurrent_dropout_all_gates_share_the_mask_of_the_input() {
    for cell in CELLS {
        let stack = Recurrent::new(cell, 60, 12).bidirectional().input_dropout(0.4);
        let found = gradients_of_one_row(&stack, 9);
        let of = |name: &str| kept(&found, name, &stack);
        let (forward, reverse) = (of("weight_ih_l0"), of("weight_ih_l0_reverse"));
        for masks in [&forward, &reverse] {
            assert!(masks.iter().all(|mask| *mask == masks[0]), "{cell}");
            assert!(masks[0].iter().any(|kept| *kept) && masks[0].iter().any(|kept| !*kept), "{cell}");
        }
        assert_ne!(forward[0], reverse[0], "{cell}: each direction draws for itself");
        assert!(of("weight_hh_l0").iter().flatten().all(|kept| *kept), "{cell}");
    }
}

/// Keras 3's training with known masks: `call` of `SimpleRNNCell`, `LSTMCell` and `GRUCell` with `implementation` 1,
/// one row, in its words and in f64. Gates are in PyTorch's order. The result is the sum of squares of all outputs.
struct Keras {
    cell: Cell,
    /// One for each gate, divided by `1 − rate` where kept.
    dp_mask: Vec<Array1<f64>>,
    rec_dp_mask: Vec<Array1<f64>>,
    kernel: Vec<Array2<f64>>,
    recurrent_kernel: Vec<Array2<f64>>,
    bias: Vec<Array1<f64>>,
    recurrent_bias: Vec<Array1<f64>>,
}

fn sigmoid(x: &Array1<f64>) -> Array1<f64> {
    x.mapv(|x| 1.0 / (1.0 + (-x).exp()))
}

impl Keras {
    fn x(&self, gate: usize, inputs: &Array1<f64>) -> Array1<f64> {
        self.kernel[gate].dot(&(inputs * &self.dp_mask[gate])) + &self.bias[gate]
    }

    fn h(&self, gate: usize, h_tm1: &Array1<f64>) -> Array1<f64> {
        self.recurrent_kernel[gate].dot(&(h_tm1 * &self.rec_dp_mask[gate])) + &self.recurrent_bias[gate]
    }

    fn loss(&self, inputs: &Array2<f64>, mut h: Array1<f64>, mut c: Array1<f64>) -> f64 {
        let mut loss = 0.0;
        for x in inputs.axis_iter(Axis(0)) {
            let x = x.to_owned();
            let sum = |gate: usize, h: &Array1<f64>| self.x(gate, &x) + self.h(gate, h);
            h = match self.cell {
                Cell::Rnn => sum(0, &h).mapv(f64::tanh),
                Cell::Lstm => {
                    let (i, f) = (sigmoid(&sum(0, &h)), sigmoid(&sum(1, &h)));
                    c = f * &c + i * sum(2, &h).mapv(f64::tanh);
                    sigmoid(&sum(3, &h)) * c.mapv(f64::tanh)
                }
                Cell::Gru(reset) => {
                    let (r, z) = (sigmoid(&sum(0, &h)), sigmoid(&sum(1, &h)));
                    let recurrent_h = match reset {
                        Reset::After => &r * &self.h(2, &h),
                        Reset::Before => {
                            let h_tm1_h = &h * &self.rec_dp_mask[2];
                            self.recurrent_kernel[2].dot(&(r * h_tm1_h)) + &self.recurrent_bias[2]
                        }
                    };
                    let hh = (self.x(2, &x) + recurrent_h).mapv(f64::tanh);
                    &z * &h + (1.0 - &z) * hh
                }
                other => panic!("{other}: Keras has no such cell"),
            };
            loss += h.mapv(|h| h * h).sum();
        }
        loss
    }
}

#[test]
fn keras_equations_with_the_masks_that_show_give_the_same_loss() {
    let (rate, recurrent_rate) = (0.25_f32, 0.4_f32);
    for cell in CELLS {
        let gates = cell.gates();
        let stack = Recurrent::new(cell, 11, 13).bias(Bias::Two);
        let stack = stack.input_dropout(rate).recurrent_dropout(recurrent_rate);
        let model = Model::new().layer(stack.clone());
        let weights = Weights::random(&model, 3).expect("the model is right");
        let LayerWeights::Recurrent(cells) = &weights.layers[0] else { panic!("a stack") };
        let [own] = &cells[..] else { panic!("one cell") };
        for seed in 0..4 {
            let found = gradients_of_one_row(&stack, seed);
            let of_gate = |gate: usize| s![gate * 13..(gate + 1) * 13, ..];
            let matrices = |w: &Array2<f32>| -> Vec<Array2<f64>> {
                (0..gates).map(|gate| w.slice(of_gate(gate)).mapv(f64::from)).collect()
            };
            let biases = |b: &Option<Array1<f32>>| -> Vec<Array1<f64>> {
                let b = b.as_ref().expect("two biases");
                (0..gates).map(|gate| b.slice(s![gate * 13..(gate + 1) * 13]).mapv(f64::from)).collect()
            };
            let masks = |name: &str, rate: f32| -> Vec<Array1<f64>> {
                let kept = kept(&found, name, &stack).into_iter();
                kept.map(|mask| {
                    mask.into_iter().map(|kept| f64::from(u8::from(kept)) / (1.0 - f64::from(rate))).collect()
                })
                .collect()
            };
            let keras = Keras {
                cell,
                dp_mask: masks("weight_ih_l0", rate),
                rec_dp_mask: masks("weight_hh_l0", recurrent_rate),
                kernel: matrices(&own.w_x),
                recurrent_kernel: matrices(&own.w_h),
                bias: biases(&own.b_x),
                recurrent_bias: biases(&own.b_h),
            };
            let inputs = Array2::from_shape_fn((5, 11), |(t, n)| f64::from(((t * 3 + n) as f32).cos() + 1.5));
            let begin = |by: f32| Array1::from_shape_fn(13, |n| f64::from((n as f32 * by).sin()));
            let want = keras.loss(&inputs, begin(0.7), begin(0.9));
            assert!((found.loss - want).abs() < 1e-5 * want, "{cell} {seed}: {} {want}", found.loss);
        }
    }
}
