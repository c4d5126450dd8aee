//! The forms of an input: owned arrays, views and slices, of the types that a model computes with and of others.

use gatewave::layer::Join;
use gatewave::train::{Batch, Targets};
use gatewave::{Device, Embedding, Engine, Gru, Input, Linear, Model, OneHot, Select, Weights};
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayView2, Axis, array};

fn engine(model: &Model) -> Engine {
    let weights = Weights::random(model, 7).expect("weights of a small model");
    Engine::new(model.clone(), &weights, Device::Cpu).expect("the CPU takes it")
}

/// Runs a model of three features on each input.
fn of_features<const N: usize>(inputs: [Input<'_>; N]) -> [ArrayD<f32>; N] {
    let engine = engine(&Model::new().layer(Gru::new(3, 4)));
    inputs.map(|input| engine.run(&input).expect("features fit").output)
}

/// Runs a model of tokens on each input.
fn of_tokens<const N: usize>(inputs: [Input<'_>; N]) -> [ArrayD<f32>; N] {
    let engine = engine(&Model::new().layer(Embedding::new(9, 3)).layer(Gru::new(3, 4)));
    inputs.map(|input| engine.run(&input).expect("tokens fit").output)
}

fn alike<const N: usize>(outputs: &[ArrayD<f32>; N]) {
    for (place, output) in outputs.iter().enumerate() {
        assert_eq!(*output, outputs[0], "form {place}");
    }
}

/// Returns the error of running a model of three features.
fn refused(input: &Input<'_>) -> String {
    engine(&Model::new().layer(Gru::new(3, 4))).run(input).expect_err("it does not fit").to_string()
}

#[test]
fn features_come_owned_or_borrowed() {
    let x = Array3::from_shape_fn((2, 5, 3), |(b, t, i)| (b * 15 + t * 3 + i) as f32 / 8.0 - 1.0);
    let numbers: Vec<f32> = x.iter().copied().collect();
    let shared = x.to_shared();
    let turned = x.t().as_standard_layout().into_owned();
    alike(&of_features([
        Input::features(x.clone()),
        Input::features(x.clone().into_dyn()),
        Input::features(x.clone().into_shared()),
        Input::features(&x),
        Input::features(&shared),
        Input::features(x.view()),
        Input::features(x.view().into_dyn()),
        // Not in the order of memory.
        Input::features(turned.t()),
        Input::features((&numbers[..], [2, 5, 3])),
        Input::features((&numbers, [2, 5, 3])),
        Input::features((numbers.clone(), [2, 5, 3])),
        Input::features(&x).into_owned(),
    ]));
    let one = x.index_axis(Axis(0), 1);
    alike(&of_features([Input::features(one), Input::features((&numbers[15..], [5, 3]))]));
}

#[test]
fn features_of_other_types_are_converted() {
    let x = array![[0_u8, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]];
    let doubles = x.mapv(f64::from);
    alike(&of_features([
        Input::features(x.mapv(f32::from)),
        Input::features(&x),
        Input::features(x.view()),
        Input::features(&x.mapv(|x| i8::try_from(x).expect("it is small"))),
        Input::features(&x.mapv(i16::from)),
        Input::features(&x.mapv(u16::from)),
        Input::features(&doubles),
        Input::features((doubles.as_slice().expect("it is contiguous"), [4, 3])),
    ]));
    let [third] = of_features([Input::features(&array![[1.0_f64 / 3.0, 0.0, 0.0]])]);
    assert_eq!([third], of_features([Input::features(array![[1.0_f32 / 3.0, 0.0, 0.0]])]), "rounded to the nearest");
}

#[test]
fn tokens_of_any_integer_type() {
    let ids = array![[1_i64, 8, 0], [3, 3, 2]];
    let narrow = ids.mapv(|id| u8::try_from(id).expect("it is small"));
    let list: Vec<u32> = narrow.iter().map(|&id| id.into()).collect();
    alike(&of_tokens([
        Input::tokens(ids.clone()),
        Input::tokens(array![[1, 8, 0], [3, 3, 2]]),
        Input::tokens(&ids),
        Input::tokens(ids.view()),
        Input::tokens(&narrow),
        Input::tokens(&narrow.mapv(u16::from)),
        Input::tokens(&narrow.mapv(u32::from)),
        Input::tokens(&narrow.mapv(u64::from)),
        Input::tokens(&narrow.mapv(usize::from)),
        Input::tokens(&narrow.mapv(i16::from)),
        Input::tokens(&narrow.mapv(i32::from)),
        Input::tokens(&narrow.mapv(|id| i8::try_from(id).expect("it is small"))),
        Input::tokens(&narrow.mapv(isize::from)),
        Input::tokens((&list, [2, 3])),
        Input::tokens((&list[..], [2, 3])),
        Input::tokens((ids.iter().copied().collect::<Vec<_>>(), [2, 3])),
    ]));
    // One sequence needs no shape.
    alike(&of_tokens([
        Input::tokens(array![1, 8, 0]),
        Input::tokens(vec![1, 8, 0]),
        Input::tokens(&vec![1_u32, 8, 0]),
        Input::tokens(&[1_u16, 8, 0]),
        Input::tokens(&[1, 8, 0]),
        Input::tokens(&list[..3]),
    ]));
}

#[test]
fn lengths_and_masks_are_borrowed_or_of_other_types() {
    let x = Array3::from_shape_fn((2, 4, 3), |(b, t, i)| (b + t + i) as f32 / 4.0);
    let mask = array![[true, true, true, false], [true, false, false, false]];
    let flags: Vec<bool> = mask.iter().copied().collect();
    let sizes: Vec<usize> = vec![3, 1];
    let input = || Input::features(&x);
    alike(&of_features([
        input().lengths([3, 1]),
        input().lengths([3_i64, 1]),
        input().lengths(&sizes),
        input().lengths([3_u32, 1]),
        input().lengths(sizes.clone()),
        input().mask(mask.clone()),
        input().mask(&mask),
        input().mask(mask.view()),
        input().mask((&flags, [2, 4])),
    ]));
}

#[test]
fn other_inputs_are_borrowed_too() {
    let mut g = Model::graph();
    let (x, words) = (g.sequence("x", 3), g.tokens("words", 5));
    let hot = g.add("hot", OneHot::new(5), words);
    let joined = g.add("joined", Join::Concat, [x, hot.y()]);
    let gru = g.add("gru", Gru::new(8, 4), joined);
    g.output("y", gru);
    let engine = engine(&g.finish().expect("a graph of two inputs"));
    let (x, words) = (Array3::<f32>::ones((1, 2, 3)), array![[4_u16, 1]]);
    let got = engine.run(&Input::features(&x).with_tokens("words", &words)).expect("both fit");
    let ids = array![[4, 1]];
    assert_eq!(got, engine.run(&Input::features(x.clone()).with_tokens("words", ids)).expect("both fit"));
    let short = Input::features(&x).with_tokens("words", (&[4_u16][..], [1, 2]));
    let error = engine.run(&short).expect_err("a number is missing");
    assert_eq!(error.to_string(), "words: expected 2 numbers for the shape [1, 2], got 1");
}

#[test]
fn a_slice_that_does_not_fill_its_shape_is_refused_by_the_run() {
    let numbers = [0.5_f32; 28];
    let input = Input::features((&numbers[..], [2, 5, 3]));
    assert_eq!(refused(&input), "input: expected 30 numbers for the shape [2, 5, 3], got 28");
    assert_eq!(refused(&input.into_owned()), "input: expected 30 numbers for the shape [2, 5, 3], got 28");
    let owned = Input::features((vec![0.5; 31], [2, 5, 3]));
    assert_eq!(refused(&owned), "input: expected 30 numbers for the shape [2, 5, 3], got 31");
    let endless = Input::features((&numbers[..], [usize::MAX, 5, 3]));
    assert_eq!(refused(&endless), format!("input: expected a shape that memory can hold, got [{}, 5, 3]", usize::MAX));
    let mask = Input::features((&numbers[..27], [3, 3, 3])).mask((vec![true], [3, 3]));
    assert_eq!(refused(&mask), "mask: expected 9 numbers for the shape [3, 3], got 1");
}

#[test]
fn a_token_that_no_i64_holds_is_refused_as_one_that_no_vocabulary_has() {
    let engine = engine(&Model::new().layer(Embedding::new(9, 3)).layer(Gru::new(3, 4)));
    let error = engine.run(&Input::tokens(&[3, u64::MAX])).expect_err("it is too large");
    assert_eq!(error.to_string(), format!("input: expected tokens from 0 to 8, got {} at [1]", i64::MAX));
}

#[test]
fn a_view_is_read_where_it_is_and_an_owned_input_outlives_what_it_was_made_of() {
    let model = Model::new().layer(Gru::new(3, 4)).layer(Select::FinalHidden).layer(Linear::new(4, 1));
    let engine = engine(&model);
    let kept: Input<'static> = {
        let x = Array2::<f32>::ones((4, 3));
        Input::features(&x).lengths([3]).into_owned()
    };
    let ones = Array2::ones((4, 3));
    assert_eq!(engine.run(&kept).unwrap(), engine.run(&Input::features(ones).lengths([3])).unwrap());
}

#[test]
fn a_batch_keeps_a_copy_of_what_its_input_borrows() {
    let targets = || Targets::values(Array3::zeros((1, 4, 4)));
    let batch = {
        let x = vec![0.25_f32; 12];
        Batch::new(
            Input::features(ArrayView2::from_shape((4, 3), &x).expect("it fits").insert_axis(Axis(0))),
            targets(),
        )
    };
    let owned = Batch::new(Input::features(Array3::from_elem((1, 4, 3), 0.25)), targets());
    assert_eq!(of_features([batch.input]), of_features([owned.input]));
}

#[test]
fn named_tensors_are_borrowed() {
    let model = Model::new().layer(Gru::new(3, 4));
    let tensors = [("x".to_owned(), Array3::<f32>::ones((1, 2, 3)).into())].into();
    let input = model.named_input(&tensors).expect("features by their name");
    assert_eq!(of_features([input]), of_features([Input::features(Array3::ones((1, 2, 3)))]));
    let empty = Array1::<i64>::zeros(0);
    assert!(engine(&model).run(&Input::tokens(&empty)).is_err());
}
