//! Engines with tensors that stay in a file: the same results, what is reported, and what is refused.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gatewave::device::Loading;
use gatewave::formats::{read, safetensors, save};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{
    Device, Embedding, Engine, EngineBuilder, ErrorKind, Gru, Input, Linear, Lstm, Model, Precision, Select, Weights,
};
use ndarray::array;

use crate::random;

/// Returns a path for one test alone.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("api-{name}.safetensors"))
}

fn on_cpu() -> EngineBuilder {
    Engine::builder().device(Device::Cpu)
}

fn model() -> Model {
    Model::new()
        .layer(Embedding::new(50, 16))
        .layer(Lstm::new(16, 20).num_layers(2).bidirectional().peepholes())
        .layer(Select::FinalHidden)
        .layer(Linear::new(40, 3))
}

#[test]
fn an_engine_of_a_file_gives_what_an_engine_of_its_weights_gives() {
    let (path, weights) = (scratch("same"), Weights::random(&plain(), 1).unwrap());
    save(&path, &plain(), &weights).unwrap();
    let (model, tensors) = read(&path).unwrap();
    let input = Input::tokens(array![[4_i64, 49, 7, 0], [9, 0, 3, 8]]).lengths([3, 4]);
    for precision in [Precision::F32, Precision::F16, Precision::I8] {
        let options = on_cpu().precision(precision);
        let held = options.clone().build(&model, &weights).unwrap();
        let stored = options.clone().load(&model, &tensors).unwrap();
        let later = pollster::block_on(options.load_async(&model, &tensors)).unwrap();
        let expected = held.run(&input).unwrap();
        assert_eq!(stored.run(&input).unwrap(), expected, "{precision:?}");
        assert_eq!(later.run(&input).unwrap(), expected, "{precision:?}");
    }
}

/// A model with only what a description has a word for.
fn plain() -> Model {
    Model::new()
        .layer(Embedding::new(50, 16))
        .layer(Gru::new(16, 20).num_layers(2).bidirectional())
        .layer(Select::FinalHidden)
        .layer(Linear::new(40, 3))
}

#[test]
fn halves_in_a_file_are_the_halves_of_an_engine() {
    // Without tokens, because a cell's table of tokens is summed before it is rounded.
    let model =
        Model::new().layer(Lstm::new(6, 20).bidirectional()).layer(Select::FinalHidden).layer(Linear::new(40, 3));
    let path = scratch("halves");
    let weights = Weights::random(&model, 1).unwrap();
    let tensors = weights.to_tensors(&model).unwrap();
    safetensors::write(&path, &tensors, None, Precision::F16).unwrap();
    let elements: usize = tensors.iter().map(|(_, tensor)| tensor.read().unwrap().len()).sum();
    let bytes = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    assert!(bytes > 2 * elements && bytes < 2 * elements + 4096, "{bytes} bytes of {elements} halves");
    let halves = safetensors::read(&path).unwrap().tensors;
    let input = Input::features(ndarray::Array3::from_shape_fn((1, 4, 6), |(_, t, i)| (t * 6 + i) as f32 / 10.0 - 1.0));
    let of_file = on_cpu().load(&model, &halves).unwrap();
    let rounded = on_cpu().precision(Precision::F16).build(model, &weights).unwrap();
    assert_eq!(of_file.run(&input).unwrap(), rounded.run(&input).unwrap());
}

#[test]
fn a_weight_too_large_for_a_half_is_not_written_and_the_old_file_stays() {
    let path = scratch("too-large");
    fs::write(&path, b"before").unwrap();
    let large = Tensor::new([2, 1], vec![1.0, -70_000.0]);
    let tensors = Tensors::from_iter([("a", Tensor::new([1], vec![f32::INFINITY])), ("b", large)]);
    let error = safetensors::write(&path, &tensors, None, Precision::F16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Weights);
    let message = "tensor b: expected at most 65504 in magnitude for 16-bit floats, got -70000; use 32-bit floats";
    assert_eq!(error.to_string(), format!("{}: {message}", path.display()));
    assert_eq!(fs::read(&path).unwrap(), b"before");
}

#[test]
fn loading_tells_how_far_it_is_from_nothing_to_all() {
    let model = model();
    let tensors = Weights::random(&model, 1).unwrap().to_tensors(&model).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let options = on_cpu().progress({
        let told = Arc::clone(&told);
        move |loading: Loading| told.lock().unwrap().push(loading)
    });
    options.load(model, &tensors).unwrap();
    let told = told.lock().unwrap();
    let total = told[0].total_bytes;
    assert!(told.iter().all(|loading| loading.total_bytes == total) && total > 0);
    assert!(told.windows(2).all(|pair| pair[0].done_bytes < pair[1].done_bytes), "{told:?}");
    assert_eq!((told[0].done_bytes, told.last().unwrap().done_bytes), (0, total));
    assert_eq!(told.len(), 1 + 5, "the beginning, two products of each layer, the first a table, and a linear one");
}

#[test]
fn tensors_that_do_not_fit_are_refused_before_any_is_read() {
    let model = Model::new().named_layer("rnn.", Gru::new(3, 4)).named_layer("fc.", Linear::new(4, 2).no_bias());
    let refusal = |model: &Model, change: &dyn Fn(&mut Tensors)| {
        let whole = Weights::random(model, 1).unwrap().to_tensors(model).unwrap();
        let unreadable = |shape: &[usize]| Tensor::stored(shape, || panic!("nothing is to be read"));
        let mut tensors: Tensors = whole.iter().map(|(name, tensor)| (name, unreadable(tensor.shape()))).collect();
        change(&mut tensors);
        let error = on_cpu().load(model, &tensors).unwrap_err();
        (error.kind(), error.to_string())
    };
    let wrong = |text: &str| (ErrorKind::Weights, text.to_owned());
    assert_eq!(
        refusal(&model, &|tensors| tensors.insert("fc.weight", Tensor::new([4, 2], vec![0.0; 8]))),
        wrong("layer 1 linear: fc.weight: expected [2, 4], got [4, 2]; is it transposed?")
    );
    assert_eq!(
        refusal(&model, &|tensors| tensors.insert_unread("fc.weight", "I64", vec![2, 4])),
        wrong(
            "layer 1 linear: fc.weight: expected elements of type F32, F16, BF16, F64 or I8 with scales, got I64; save it as one of them"
        )
    );
    let unsound = Model::new().layer(Gru::new(3, 4)).layer(Linear::new(5, 2));
    let error = on_cpu().load(unsound, &Tensors::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Model);
}

/// A file of one linear layer, opened; then what `change` makes of it.
fn opened_and_changed(name: &str, change: impl FnOnce(&File)) -> (Model, Tensors, PathBuf) {
    let (path, model) = (scratch(name), Model::new().layer(Linear::new(8, 4)));
    save(&path, &model, &Weights::random(&model, 1).unwrap()).unwrap();
    let (model, tensors) = read(&path).unwrap();
    change(&OpenOptions::new().write(true).open(&path).unwrap());
    (model, tensors, path)
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
    let shrink = |file: &File| file.set_len(file.metadata().unwrap().len() - 16).unwrap();
    let (model, tensors, path) = opened_and_changed("shrunk", shrink);
    let error = on_cpu().load(&model, &tensors).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let path = path.display();
    let message =
        format!("weights 0.w: 0.weight: {path}: the file could not be read to its end: failed to fill whole buffer");
    assert_eq!(error.to_string(), message);
    let error = Weights::from_tensors(&model, tensors.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let copy = scratch("shrunk-copy");
    fs::write(&copy, b"before").unwrap();
    let error = safetensors::write(&copy, &tensors, None, Precision::F32).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with(&format!("{}: tensor 0.weight: {path}: ", copy.display())), "{error}");
    assert_eq!(fs::read(&copy).unwrap(), b"before");
}

#[test]
fn a_model_may_be_written_over_the_file_that_it_is_read_from() {
    let (path, model) = (scratch("over"), Model::new().layer(Linear::new(8, 4)));
    let weights = Weights::random(&model, 1).unwrap();
    save(&path, &model, &weights).unwrap();
    let tensors = read(&path).unwrap().1;
    safetensors::write(&path, &tensors, None, Precision::F32).unwrap();
    assert_eq!(safetensors::read(&path).unwrap().tensors, weights.to_tensors(&model).unwrap());
}

#[test]
fn threads_may_read_one_file() {
    let (path, model) = (scratch("threads"), Model::new().layer(Lstm::new(64, 64).num_layers(2)));
    let weights = Weights::random(&model, 1).unwrap();
    save(&path, &model, &weights).unwrap();
    let tensors = read(&path).unwrap().1;
    let input = Input::features(random((1, 2, 64), 1));
    let expected = Engine::new(&model, &weights, Device::Cpu).unwrap().run(&input).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let engine = on_cpu().load(&model, &tensors).unwrap();
                assert_eq!(engine.run(&input).unwrap(), expected);
            });
        }
    });
}
