//! `unpack(pack(w)) == w`, the contents of the padding, and what packing refuses.

mod integers;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use ndarray::{Array1, Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::cell::{Activation, Cell};
use crate::error::ErrorKind;
use crate::layout::{is_folded, vectors};
use crate::model::{Direction, Embedding, Linear, OneHot, Select};
use crate::precision::Precision;
use crate::weights::{CellWeights, LayerWeights, Tensor, Tensors};

/// Reads the weights in `packed` by the formula of each form, one element at a time.
fn unpack(packed: &Packed, layout: &Layout, model: &Model) -> Weights {
    let mut weights = Weights::zeros(model);
    for (_, layer) in weights.layers.iter_mut().enumerate().filter(|(index, _)| is_folded(model, *index)) {
        if let LayerWeights::Embedding(table) = layer {
            unit_vectors(table);
        }
    }
    for (buffer, data) in layout.buffers.iter().zip(&packed.buffers) {
        let data: Vec<f32> = match data {
            PackedBuffer::F32(data) => bytemuck::cast_slice(data).to_vec(),
            PackedBuffer::F16(data) => data.iter().map(|half| half.to_f32()).collect(),
            PackedBuffer::I8 { words, shape } => integers::widened(words, *shape),
        };
        assert_eq!(data.len() as u64, buffer.form.elems(), "{}", buffer.name);
        match (&mut weights.layers[layer_of(layout, buffer.role)], buffer.role) {
            (LayerWeights::Embedding(table), _) => {
                assert!(!is_folded(model, layer_of(layout, buffer.role)));
                let Form::Table { width, .. } = buffer.form else { panic!("a table") };
                table.indexed_iter_mut().for_each(|((v, n), w)| *w = data[v * width + n]);
            }
            (LayerWeights::Linear { w, b }, _) => read(&data, buffer.form, 0, 0, w, b.as_mut()),
            (LayerWeights::Recurrent(_), Role::LayerRun { run }) => {
                for (index, &(layer, stacked)) in layout.layer_runs[run].layers.iter().enumerate() {
                    let LayerWeights::Recurrent(cells) = &mut weights.layers[layer] else { panic!("recurrent") };
                    let cell = &mut cells[stacked];
                    read(&data, buffer.form, 2 * index, 0, &mut cell.w_h, cell.b_h.as_mut());
                    if index > 0 {
                        read(&data, buffer.form, 2 * index - 1, 0, &mut cell.w_x, cell.b_x.as_mut());
                    }
                }
            }
            (LayerWeights::Recurrent(cells), role) => {
                let directions = stack(model, layer_of(layout, role)).directions();
                for d in 0..directions {
                    match role {
                        Role::Input { stacked, .. } => {
                            let cell = &mut cells[stacked * directions + d];
                            read(&data, buffer.form, d, 0, &mut cell.w_x, cell.b_x.as_mut());
                        }
                        Role::InputTable { layer, .. } => {
                            read_tokens(&data, buffer.form, d, stack(model, layer), &mut cells[d]);
                        }
                        Role::Hidden { stacked, gate, .. } => {
                            let cell = &mut cells[stacked * directions + d];
                            read(&data, buffer.form, d, gate, &mut cell.w_h, cell.b_h.as_mut());
                            if let Some(peepholes) = &mut cell.peepholes {
                                read_peepholes(&data, buffer.form, d, peepholes);
                            }
                        }
                        Role::Projection { stacked, .. } => {
                            let cell = &mut cells[stacked * directions + d];
                            read(&data, buffer.form, d, 0, cell.w_r.as_mut().expect("projected"), None);
                        }
                        _ => {
                            panic!("not a recurrent layer's")
                        }
                    }
                }
            }
            (LayerWeights::Conv { .. }, role) => panic!("{role:?}: `matrix` has the tests of convolutions"),
            (LayerWeights::None | LayerWeights::Norm(_), role) => panic!("{role:?} of a layer without weights"),
        }
    }
    weights
}

/// Reads direction `d` of a matrix into the rows of gates `first…` of `w` and `b`.
fn read(data: &[f32], form: Form, d: usize, first: usize, w: &mut Array2<f32>, b: Option<&mut Array1<f32>>) {
    let Form::Matrix { source, gates, units, .. } = form else { panic!("a matrix") };
    let at = |n: usize, k: usize| data[place(form, d, k, n / units - first, n % units)];
    let mine = |n: usize| (first..first + gates).contains(&(n / units));
    for ((n, feature), w) in w.indexed_iter_mut().filter(|((n, _), _)| mine(*n)) {
        let (part, within) = (feature / source.size, feature % source.size);
        *w = at(n, part * source.size.div_ceil(16) * 16 + within);
    }
    for (n, b) in b.into_iter().flatten().enumerate().filter(|(n, _)| mine(*n)) {
        *b = at(n, depth(source));
    }
}

/// The index of row `k` of the depth in a matrix, for one unit of one gate.
fn place(form: Form, d: usize, k: usize, gate: usize, unit: usize) -> usize {
    let Form::Matrix { panels, source, gates, extra, .. } = form else { panic!("a matrix") };
    ((((d * panels + unit / 16) * (depth(source) + 1 + extra) + k) * gates) + gate) * 16 + unit % 16
}

/// Reads the row after the bias: gates input, forget, cell (which has none), output.
fn read_peepholes(data: &[f32], form: Form, d: usize, peepholes: &mut Array2<f32>) {
    let Form::Matrix { source, extra: 1, .. } = form else { panic!("a matrix with peepholes") };
    for ((index, unit), p) in peepholes.indexed_iter_mut() {
        *p = data[place(form, d, depth(source) + 1, [0, 1, 3][index], unit)];
        assert_eq!(data[place(form, d, depth(source) + 1, 2, unit)], 0.0, "gate cell sees no state");
    }
}

/// Reads direction `d` of a token table. It holds `w + b`. The bias is the same for every token, and the test's tokens
/// have a last `W_x` column of zeros, so that the bias can be told from the weights.
fn read_tokens(data: &[f32], form: Form, d: usize, stack: &Recurrent, cell: &mut CellWeights) {
    let Form::Table { rows, width, .. } = form else { panic!("a table") };
    let gates = stack.cell.gates();
    let at = |v: usize, n: usize| {
        let (gate, unit) = (n / stack.hidden_size, n % stack.hidden_size);
        data[(d * rows + v) * width + (unit / 16 * gates + gate) * 16 + unit % 16]
    };
    for ((n, v), w) in cell.w_x.indexed_iter_mut() {
        *w = at(v, n) - at(rows - 1, n);
    }
    for (n, b) in cell.b_x.iter_mut().flatten().enumerate() {
        *b = at(rows - 1, n);
    }
}

/// Weights that halves hold exactly, as well as sums of two: multiples of 1/64 below 2.
fn random(model: &Model) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut weights = Weights::zeros(model);
    let mut fill = |w: &mut f32| *w = f32::from(rng.random_range(-127_i8..=127)) / 64.0;
    for (index, layer) in weights.layers.iter_mut().enumerate() {
        match layer {
            LayerWeights::None | LayerWeights::Norm(_) => {}
            LayerWeights::Conv { w, b } => {
                w.iter_mut().for_each(&mut fill);
                b.iter_mut().flatten().for_each(&mut fill);
            }
            LayerWeights::Embedding(table) if is_folded(model, index) => unit_vectors(table),
            LayerWeights::Embedding(table) => table.iter_mut().for_each(&mut fill),
            LayerWeights::Linear { w, b } => {
                w.iter_mut().chain(b.iter_mut().flatten()).for_each(&mut fill);
                rows(w);
            }
            LayerWeights::Recurrent(cells) => {
                for cell in cells {
                    let matrices =
                        [Some(&mut cell.w_x), Some(&mut cell.w_h), cell.w_r.as_mut(), cell.peepholes.as_mut()];
                    matrices.into_iter().flatten().flatten().for_each(&mut fill);
                    [Some(&mut cell.w_x), Some(&mut cell.w_h), cell.w_r.as_mut()].into_iter().flatten().for_each(rows);
                    let biases = [cell.b_x.as_mut(), cell.b_h.as_mut()];
                    biases.into_iter().flatten().flatten().for_each(&mut fill);
                    if vectors(model, index).is_some() && cell.w_x.ncols() == 5 {
                        cell.w_x.index_axis_mut(Axis(1), 4).fill(0.0);
                    }
                }
            }
        }
    }
    weights
}

/// Makes each row a multiple of its own scale; a 127 among the integers reveals the scale.
fn rows(w: &mut Array2<f32>) {
    for (row, scale) in w.rows_mut().into_iter().zip([1.0, 0.25, 0.5].into_iter().cycle()) {
        let most = (127.0_f32 / 64.0).copysign(row[0]);
        row.into_iter().enumerate().for_each(|(at, w)| *w = scale * if at == 0 { most } else { *w });
    }
}

/// Vectors whose products are columns of `W_x`, and then zeros: the rest of a folded table is the bias.
fn unit_vectors(table: &mut Array2<f32>) {
    table.indexed_iter_mut().for_each(|((v, n), w)| *w = f32::from(u8::from(v == n)));
}

fn parts(form: Form) -> usize {
    let (Form::Matrix { matrices: parts, .. } | Form::Table { directions: parts, .. }) = form;
    parts
}

fn floats(buffer: &PackedBuffer) -> &[f32] {
    let PackedBuffer::F32(data) = buffer else { panic!("packed in f32") };
    bytemuck::cast_slice(data)
}

/// Every cell, direction, bias and depth, at sizes on both sides of a panel's edge.
fn models() -> Vec<Model> {
    let mut models = Vec::new();
    for cell in Cell::ALL {
        for (hidden, layers) in [(3, 1), (16, 2), (17, 3)] {
            for direction in [Direction::Forward, Direction::Both] {
                for bias in [Bias::None, Bias::One, Bias::Two] {
                    for (proj, peepholes) in [
                        (None, Peepholes::None),
                        (Some(2), Peepholes::None),
                        (None, Peepholes::Diagonal),
                        (Some(2), Peepholes::Diagonal),
                    ] {
                        if (proj.is_some() || peepholes != Peepholes::None) && cell != Cell::Lstm {
                            continue;
                        }
                        let mut stack = Recurrent::new(cell, 5, hidden).num_layers(layers).bias(bias);
                        stack.direction = direction;
                        stack.proj_size = proj;
                        stack.peepholes = peepholes;
                        let linear = Linear::new(stack.output().len(), 18).activation(Activation::Softmax);
                        let tail =
                            |model: Model| model.layer(stack.clone()).layer(Select::LastStep).layer(linear.clone());
                        models.push(tail(Model::new()));
                        models.push(tail(Model::new().layer(OneHot::new(5))));
                        models.push(tail(Model::new().layer(Embedding::new(7, 5))));
                        models.push(tail(Model::new().layer(Embedding::new(7, 5)).layer(Activation::Tanh)));
                    }
                }
            }
        }
    }
    models
}

#[test]
fn unpacking_what_was_packed_gives_the_weights_back() {
    let mut cases = 0;
    for model in models() {
        for &storage in Precision::ALL {
            let layout = Layout::of(&model, storage).unwrap();
            let weights = random(&model);
            let packed = pack(&weights, &model, &layout).unwrap();
            assert!(unpack(&packed, &layout, &model) == weights, "{storage:?} {model:?}");
            for (buffer, packed) in layout.buffers.iter().zip(&packed.buffers) {
                assert_eq!(packed.bytes().len() as u64, layout.bytes_of(buffer), "{storage:?} {}", buffer.name);
            }
            cases += 1;
        }
    }
    assert_eq!(cases, (4 + 3) * 3 * 2 * 3 * 4 * 3);
}

/// The contents of a training's layout come back in the way that gradients do.
#[test]
fn what_is_packed_for_training_comes_back() {
    for model in models() {
        let layout = Layout::for_training(&model).unwrap();
        let weights = random(&model);
        let packed = pack(&weights, &model, &layout).unwrap();
        let floats = |buffer: &PackedBuffer| match buffer {
            PackedBuffer::F32(data) => bytemuck::cast_slice(data)[..].to_vec(),
            PackedBuffer::F16(_) | PackedBuffer::I8 { .. } => panic!("32-bit floats"),
        };
        let buffers: Vec<Vec<f32>> = packed.buffers.iter().map(floats).collect();
        assert!(super::unpack(&model, &layout, &buffers, true) == weights, "{model:?}");
    }
}

#[test]
fn all_padding_is_zero() {
    for model in models() {
        let layout = Layout::of(&model, Precision::F32).unwrap();
        let mut ones = random(&model);
        for layer in &mut ones.layers {
            match layer {
                LayerWeights::Recurrent(cells) => cells.iter_mut().for_each(|cell| {
                    let matrices =
                        [Some(&mut cell.w_x), Some(&mut cell.w_h), cell.w_r.as_mut(), cell.peepholes.as_mut()];
                    matrices.into_iter().flatten().for_each(|w| w.fill(1.0));
                    [cell.b_x.as_mut(), cell.b_h.as_mut()].into_iter().flatten().for_each(|b| b.fill(1.0));
                }),
                LayerWeights::Embedding(table) => table.fill(1.0),
                LayerWeights::Linear { w, b } => {
                    w.fill(1.0);
                    b.iter_mut().for_each(|b| b.fill(1.0));
                }
                LayerWeights::Conv { w, b } => {
                    w.fill(1.0);
                    b.iter_mut().for_each(|b| b.fill(1.0));
                }
                LayerWeights::None | LayerWeights::Norm(_) => {}
            }
        }
        let packed = pack(&ones, &model, &layout).unwrap();
        for (buffer, data) in layout.buffers.iter().zip(&packed.buffers) {
            let elems: usize = (0..parts(buffer.form))
                .map(|part| {
                    let content = content(&model, &layout, buffer, part);
                    let rows = content.rows.len();
                    match (buffer.form, buffer.role) {
                        // The bias is in every weight.
                        (Form::Table { rows: vectors, .. }, Role::InputTable { .. }) => rows * vectors,
                        (Form::Table { rows, .. }, _) => rows * 5,
                        (Form::Matrix { source, units, .. }, _) => {
                            let bias = content.bias.map_or(0, |_| rows);
                            rows * source.len() + bias + content.peepholes.map_or(0, |_| 3 * units)
                        }
                    }
                })
                .sum();
            let data = floats(data);
            assert_eq!(data.iter().filter(|&&w| w != 0.0).count(), elems, "{}", buffer.name);
        }
    }
}

#[test]
fn the_first_elements_of_a_panel_are_the_first_feature_of_sixteen_units_gate_by_gate() {
    let model = Model::new().layer(crate::model::Lstm::new(3, 20).bias(Bias::One));
    let layout = Layout::of(&model, Precision::F32).unwrap();
    let mut weights = Weights::zeros(&model);
    let LayerWeights::Recurrent(cells) = &mut weights.layers[0] else { panic!("an lstm") };
    cells[0].w_x.indexed_iter_mut().for_each(|((n, i), w)| *w = (100 * i + n) as f32);
    cells[0].b_x.iter_mut().flatten().enumerate().for_each(|(n, b)| *b = -(n as f32));
    let packed = pack(&weights, &model, &layout).unwrap();
    let data = floats(&packed.buffers[0]);
    assert_eq!(data[..3], [0.0, 1.0, 2.0], "gate 0, units 0 to 2");
    assert_eq!(data[16..19], [20.0, 21.0, 22.0], "gate 1: rows 20 on");
    assert_eq!(data[64..67], [100.0, 101.0, 102.0], "feature 1");
    assert_eq!(data[16 * 64..16 * 64 + 3], [0.0, -1.0, -2.0], "row K: the bias");
    assert_eq!(data[17 * 64..17 * 64 + 5], [16.0, 17.0, 18.0, 19.0, 0.0], "panel 1 has 4 units");
}

#[test]
fn a_folded_table_holds_the_input_product_of_every_vector() {
    let stack = Recurrent::new(Cell::Gru(crate::cell::Reset::After), 37, 18).bidirectional();
    let model = Model::new().layer(Embedding::new(21, 37)).layer(crate::model::Dropout::new(0.5)).layer(stack.clone());
    let layout = Layout::of(&model, Precision::F32).unwrap();
    let weights = Weights::random(&model, 3).unwrap();
    let packed = pack(&weights, &model, &layout).unwrap();
    let LayerWeights::Embedding(table) = &weights.layers[0] else { panic!("an embedding") };
    let LayerWeights::Recurrent(cells) = &weights.layers[2] else { panic!("a gru") };
    assert_eq!(layout.buffers[0].role, Role::InputTable { layer: 2, vectors: Vectors::Embedded { embedding: 0 } });
    for (d, cell) in cells.iter().enumerate() {
        for (v, vector) in table.outer_iter().enumerate() {
            for (n, w) in cell.w_x.outer_iter().enumerate() {
                let product: f64 = vector.iter().zip(w).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                let want = product + f64::from(cell.b_x.as_ref().unwrap()[n]);
                let at = (d * 21 + v) * 96 + lane(3, n / 18, n % 18);
                let got = f64::from(floats(&packed.buffers[0])[at]);
                assert!((got - want).abs() < 1e-6, "{d} {v} {n}: {got}, {want}");
            }
        }
    }
}

#[test]
fn an_embedding_is_folded_where_that_costs_little() {
    let roles = |embedding: Embedding, hidden| {
        let model =
            Model::new().layer(embedding.clone()).layer(crate::model::Lstm::new(embedding.embedding_dim, hidden));
        let first = Layout::of(&model, Precision::F32).unwrap().buffers[0].role;
        matches!(first, Role::InputTable { .. })
    };
    assert!(roles(Embedding::new(96, 64), 512));
    assert!(roles(Embedding::new(20_000, 128), 128), "Keras' IMDB");
    assert!(!roles(Embedding::new(50_000, 512), 512), "400 MB");
    assert!(!roles(Embedding::new(8_000, 2_048), 256), "a second of products");
}

#[test]
fn a_weight_too_large_for_a_half_is_refused_by_name() {
    let model = Model::new().layer(Linear::new(2, 2));
    let mut weights = random(&model);
    let LayerWeights::Linear { w, .. } = &mut weights.layers[0] else { panic!("linear") };
    w[[1, 0]] = 70_000.0;
    let refused = pack(&weights, &model, &Layout::of(&model, Precision::F16).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Weights);
    assert_eq!(
        refused.to_string(),
        "weights 0.w: expected at most 65504 in magnitude for 16-bit floats, got 70000; use 32-bit floats"
    );
    assert!(pack(&weights, &model, &Layout::of(&model, Precision::F32).unwrap()).is_ok());
}

#[test]
fn weights_of_another_model_are_refused() {
    let model = Model::new().layer(crate::model::Gru::new(3, 4)).layer(Linear::new(4, 2));
    let layout = Layout::of(&model, Precision::F32).unwrap();
    let refusal = |weights: &Weights| {
        let refused = pack(weights, &model, &layout).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Weights);
        refused.to_string()
    };
    let lstm = Model::new().layer(crate::model::Lstm::new(3, 4)).layer(Linear::new(4, 2));
    assert_eq!(refusal(&random(&lstm)), "weights of layer 0 gru: cell 0: w_x: expected [12, 3], got [16, 3]");
    let one_bias = Model::new().layer(crate::model::Gru::new(3, 4).bias(Bias::One)).layer(Linear::new(4, 2));
    assert_eq!(refusal(&random(&one_bias)), "weights of layer 0 gru: cell 0: b_h: expected [12], got none");
    let deeper = Model::new().layer(crate::model::Gru::new(3, 4).num_layers(2)).layer(Linear::new(4, 2));
    assert_eq!(refusal(&random(&deeper)), "weights of layer 0 gru: expected 1 cells (layers × directions), got 2");
    let shorter = Weights::new(random(&model).layers[..1].to_vec());
    assert_eq!(refusal(&shorter), "weights: expected 2 layers, got 1");
    let swapped = Weights::new(random(&model).layers.into_iter().rev().collect());
    assert_eq!(refusal(&swapped), "weights of layer 0 gru: expected this layer's weights, got another layer's");
}

#[test]
fn peepholes_that_do_not_fit_are_refused() {
    let model = Model::new().layer(crate::model::Lstm::new(3, 4).peepholes());
    let layout = Layout::of(&model, Precision::F32).unwrap();
    let mut weights = random(&model);
    let LayerWeights::Recurrent(cells) = &mut weights.layers[0] else { panic!("an lstm") };
    cells[0].peepholes = Some(Array2::zeros((4, 3)));
    let refused = pack(&weights, &model, &layout).unwrap_err();
    assert_eq!(refused.to_string(), "weights of layer 0 lstm: cell 0: peepholes: expected [3, 4], got [4, 3]");
    let plain = Model::new().layer(crate::model::Lstm::new(3, 4));
    let refused = pack(&random(&model), &plain, &layout).unwrap_err();
    assert_eq!(refused.to_string(), "weights of layer 0 lstm: cell 0: peepholes: expected none, got [3, 4]");
}

#[test]
fn weights_in_any_order_of_memory_pack_alike() {
    let model = Model::new().layer(crate::model::Lstm::new(3, 20).peepholes()).layer(Linear::new(20, 2));
    let layout = Layout::of(&model, Precision::F32).unwrap();
    let weights = random(&model);
    let column_major = |w: &mut Array2<f32>| *w = w.t().as_standard_layout().into_owned().reversed_axes();
    let mut turned = weights.clone();
    let LayerWeights::Recurrent(cells) = &mut turned.layers[0] else { panic!("an lstm") };
    cells.iter_mut().flat_map(|cell| [&mut cell.w_x, &mut cell.w_h]).for_each(column_major);
    assert!(!cells[0].w_h.is_standard_layout() && turned == weights);
    assert_eq!(pack(&turned, &model, &layout).unwrap(), pack(&weights, &model, &layout).unwrap());
}

/// Which elements of which tensors were read.
type Asked = Vec<(String, Range<usize>)>;

/// Tensors that are read from `given` in parts, and note each read.
fn stored(given: &Tensors, read: &Arc<Mutex<Asked>>) -> Tensors {
    let one = |(name, tensor): (&str, &Tensor)| {
        let (elements, read, name) = (tensor.read().unwrap().into_owned(), Arc::clone(read), name.to_owned());
        let part = {
            let name = name.clone();
            move |range: Range<usize>| {
                read.lock().unwrap().push((name.clone(), range.clone()));
                Ok(elements[range].to_vec())
            }
        };
        (name, Tensor::stored_in_parts(tensor.shape(), part))
    };
    given.iter().map(one).collect()
}

#[test]
fn stored_tensors_pack_as_weights_do_and_each_is_read_once_and_in_order() {
    for model in models() {
        for &storage in Precision::ALL {
            let layout = Layout::of(&model, storage).unwrap();
            let weights = random(&model);
            let (held, read) = (weights.to_tensors(&model).unwrap(), Arc::default());
            let tensors = stored(&held, &read);
            let packing = Packing::new(Source::named(&tensors, &model).unwrap(), &model, &layout);
            assert!(read.lock().unwrap().is_empty(), "shapes are checked without reading");
            let buffers: Vec<_> = packing.collect::<Result<_>>().unwrap();
            assert!(buffers == pack(&weights, &model, &layout).unwrap().buffers, "{storage:?} {model:?}");
            for (name, tensor) in held.iter() {
                let read = read.lock().unwrap();
                let ranges: Vec<_> = read.iter().filter(|(of, _)| of == name).map(|(_, range)| range).collect();
                let ends = ranges.iter().fold(0, |end, range| if range.start == end { range.end } else { usize::MAX });
                assert_eq!(ends, tensor.shape().iter().product::<usize>(), "{name}: {ranges:?}");
            }
        }
    }
}

#[test]
fn a_large_tensor_is_read_in_parts_and_packs_as_a_whole() {
    let model = Model::new()
        .layer(OneHot::new(700))
        .layer(crate::model::Gru::new(700, 600).cell(Cell::Gru(crate::cell::Reset::Before)));
    let layout = Layout::of(&model, Precision::F32).unwrap();
    let weights = Weights::random(&model, 1).unwrap();
    let read = Arc::default();
    let tensors = stored(&weights.to_tensors(&model).unwrap(), &read);
    let packing = Packing::new(Source::named(&tensors, &model).unwrap(), &model, &layout);
    assert!(packing.collect::<Result<Vec<_>>>().unwrap() == pack(&weights, &model, &layout).unwrap().buffers);
    let largest = read.lock().unwrap().iter().map(|(_, range)| range.len()).max().unwrap();
    assert!(largest <= 1 << 20 && read.lock().unwrap().len() > 6, "{largest} elements at once");
}

#[test]
fn a_tensor_that_cannot_be_read_is_an_error_with_its_name() {
    let model = Model::new().layer(Linear::new(2, 2).no_bias());
    let layout = Layout::of(&model, Precision::F32).unwrap();
    let refusal = |tensor: Tensor| {
        let tensors = Tensors::from_iter([("0.weight", tensor)]);
        let mut packing = Packing::new(Source::named(&tensors, &model).unwrap(), &model, &layout);
        packing.next().unwrap().unwrap_err().to_string()
    };
    let gone = Tensor::stored([2, 2], || Err(crate::error::Error::new(ErrorKind::Io, "the disk is gone")));
    assert_eq!(refusal(gone), "weights 0.w: 0.weight: the disk is gone");
    let short = Tensor::stored_in_parts([2, 2], |_| Ok(vec![0.0; 3]));
    assert_eq!(refusal(short), "weights 0.w: 0.weight: expected the elements of [2, 2], got 3");
}
