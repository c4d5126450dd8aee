//! Cases that PyTorch's autograd computed in f64. Each has `ID.model.safetensors` with its description,
//! `ID.batch.safetensors` (the input of `gatewave gradients`) and `ID.want.safetensors` (the loss and `grad.NAME`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gatewave::train::{Loss, Objective, Targets};
use gatewave::{Input, States, formats, oracle};
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A tensor of a file.
enum Tensor {
    Integers(ArrayD<i64>),
    Numbers(ArrayD<f64>),
}

impl Tensor {
    fn integers(&self) -> &ArrayD<i64> {
        match self {
            Self::Integers(x) => x,
            Self::Numbers(_) => panic!("expected integers"),
        }
    }

    fn numbers(&self) -> &ArrayD<f64> {
        match self {
            Self::Numbers(x) => x,
            Self::Integers(_) => panic!("expected numbers"),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the file had them as f32")]
    fn floats(&self) -> ArrayD<f32> {
        self.numbers().mapv(|x| x as f32)
    }
}

/// Compares every case of a folder, and returns their number.
pub(crate) fn each(folder: &Path) -> usize {
    let text = fs::read(folder.join("manifest.json")).expect("the manifest is there");
    let cases: Vec<Value> = serde_json::from_slice(&text).expect("the manifest is a list");
    let cases = cases.iter().filter(|case| case["kind"] == "train.gradients");
    cases.map(|case| compare(folder, case)).count()
}

fn compare(folder: &Path, case: &Value) {
    let id = case["id"].as_str().expect("an id");
    let (model, weights) =
        formats::open(folder.join(format!("{id}.model.safetensors"))).unwrap_or_else(|e| panic!("{id}: {e}"));
    let batch = read(&folder.join(format!("{id}.batch.safetensors")));
    let loss = Loss::of_name(case["loss"].as_str().expect("a loss")).expect("a known loss");
    let targets = match &batch["y"] {
        Tensor::Integers(classes) => Targets::classes(classes.clone()),
        values => Targets::values(values.floats()),
    };
    let truth = oracle::gradients(&model, &weights, &input(&batch), &Objective::new(loss), &[targets])
        .unwrap_or_else(|e| panic!("{id}: {e}"));
    for (name, want) in read(&folder.join(format!("{id}.want.safetensors"))) {
        let want = want.numbers();
        let got = match name.strip_prefix("grad.") {
            None => ArrayD::from_elem(IxDyn(&[1]), truth.loss),
            Some("x") => truth.inputs["x"].clone(),
            Some("h_0") => truth.states[&0].h.clone(),
            Some("c_0") => truth.states[&0].c.clone().expect("an LSTM"),
            Some(name) => truth.weights[name].clone(),
        };
        assert_eq!(got.shape(), want.shape(), "{id}: {name}");
        let most = want.iter().fold(1e-3_f64, |most, x| most.max(x.abs()));
        let off = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max);
        let allowed = case["tolerance"][&name].as_f64().expect("a tolerance") * most;
        // Both are f64, and the tolerance is meant for f32, so a hundredth of it is enough.
        assert!(off <= allowed / 100.0, "{id}: {name} is off by {off:e}, allowed {allowed:e}");
    }
}

fn input(batch: &BTreeMap<String, Tensor>) -> Input<'static> {
    let mut input = match batch.get("x").or(batch.get("ids")).expect("an input") {
        Tensor::Integers(tokens) => Input::tokens(tokens.clone()),
        x => Input::features(x.floats()),
    };
    if let Some(lengths) = batch.get("lengths") {
        input = input.lengths(lengths.integers().iter().copied());
    }
    if let Some(mask) = batch.get("mask") {
        input = input.mask(mask.integers().mapv(|live| live != 0));
    }
    match (batch.get("h_0"), batch.get("c_0")) {
        (Some(h), Some(c)) => input.states(States::with_cell(h.floats(), c.floats())),
        (Some(h), None) => input.states(States::hidden(h.floats())),
        (None, _) => input,
    }
}

fn read(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let (data, shape) = (view.data(), IxDyn(view.shape()));
        let whole =
            |elements: Vec<f64>| Tensor::Numbers(ArrayD::from_shape_vec(shape.clone(), elements).expect("whole"));
        let tensor = match view.dtype() {
            Dtype::F32 => whole(data.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()),
            Dtype::F64 => whole(data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()),
            Dtype::I64 => {
                let elements = data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect();
                Tensor::Integers(ArrayD::from_shape_vec(shape, elements).expect("whole"))
            }
            other => panic!("{name} is {other}"),
        };
        (name.to_owned(), tensor)
    };
    tensors.iter().map(tensor).collect()
}
