//! Models that are no chains: several inputs and outputs, joins, models in models, states and masks as values. Each
//! file in `tests/golden/keras-graphs` comes with inputs and Keras' results for them in float64. Also what is refused.

use std::path::{Path, PathBuf};

use gatewave::conformance::{Tolerance, compare};
use gatewave::formats::keras;
use gatewave::interface::Value as Edge;
use gatewave::layer::LayerKind;
use gatewave::{Device, Engine, ErrorKind, Model, Weights, oracle};
use serde_json::{Value, json};

use crate::files::folder;
use crate::refused::{Archive, archive};
use crate::support::fixtures::{named, read_io};

/// The number of model files.
const COUNT: usize = 43;

fn files() -> Vec<PathBuf> {
    let files = crate::support::files::files(&folder().join("keras-graphs"), &["h5", "keras"]);
    assert_eq!(files.len(), COUNT, "model files in tests/golden/keras-graphs");
    files
}

#[test]
fn every_graph_gives_what_keras_gives() {
    let wrong: Vec<_> =
        files().iter().filter_map(|path| run(path).err().map(|e| format!("{}: {e}", path.display()))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(crate) fn run(path: &Path) -> Result<(), String> {
    let (inputs, wanted) = read_io(&path.with_extension("io.safetensors"));
    let inputs = named(&inputs);
    let (model, tensors) = keras::read(path).map_err(|e| e.to_string())?;
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.to_string())?;
    let input = model.named_input(&inputs).map_err(|e| e.to_string())?;
    let engine = Engine::new(&model, &weights, Device::Cpu).map_err(|e| e.to_string())?;
    let got = engine.run(&input).map_err(|e| e.to_string())?;
    let truth = oracle::run(&model, &weights, &input).map_err(|e| e.to_string())?;
    let tolerance = Tolerance { abs: 1e-5, rel: 1e-5 };
    let compared = compare(got.output.view(), truth.output.view(), tolerance).map_err(|e| e.to_string())?;
    if !compared.passed() {
        return Err(format!("the oracle: {compared}"));
    }
    let named: std::collections::BTreeMap<_, _> =
        model.named_output(&got).map_err(|e| e.to_string())?.into_iter().collect();
    for (name, wanted) in wanted {
        let got = named.get(&name).ok_or_else(|| format!("{name}: expected an output, got {:?}", named.keys()))?;
        let compared = compare(got.to_f32().view(), wanted.view(), tolerance).map_err(|e| format!("{name}: {e}"))?;
        if !compared.passed() {
            return Err(format!("{name}: {compared}"));
        }
    }
    Ok(())
}

fn graph(name: &str) -> Archive {
    archive(&format!("../keras-graphs/{name}"))
}

/// Returns the layer with the name `name`.
fn layer<'a>(archive: &'a mut Archive, name: &str) -> &'a mut Value {
    let layers = archive.config["config"]["layers"].as_array_mut().expect("layers");
    layers.iter_mut().find(|layer| layer["config"]["name"] == name).unwrap_or_else(|| panic!("no layer {name}"))
}

/// Makes the output of layer `from` argument `argument` of the first call of layer `name`.
fn connect(archive: &mut Archive, name: &str, argument: usize, from: &str) {
    let call = &mut layer(archive, name)["inbound_nodes"][0]["args"];
    let arguments = if call[0].is_array() { &mut call[0] } else { call };
    arguments[argument]["config"]["keras_history"] = json!([from, 0, 0]);
}

fn model(name: &str) -> Model {
    graph(name).read().unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn layers_that_are_applied_twice_share_their_weights() {
    let model = model("siamese-3");
    let prefixes: Vec<_> = model.layers.iter().map(|layer| layer.prefix.as_str()).filter(|w| w.contains('.')).collect();
    assert_eq!(prefixes, ["tower.lstm.", "tower.gru.", "tower.lstm.", "tower.gru.", "dense."]);
    assert_eq!(model.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn states_of_two_directions_begin_a_layer_without_a_copy() {
    let model = model("seq2seq-bi-3");
    let copies = |layer: &&gatewave::layer::Layer| matches!(layer.kind, LayerKind::Slice(_) | LayerKind::Select(_));
    // Those of the first decoder come whole. The sum and one cell state of the second are sliced.
    assert_eq!(model.layers.iter().filter(copies).count(), 3);
    assert_eq!(model.inputs[0].name, "dec", "the output has the decoder's steps");
}

#[test]
fn an_embedding_whose_mask_one_of_two_layers_takes_is_there_twice() {
    let model = model("seq2seq-decoder-twice-3");
    let tables = model.layers.iter().filter_map(|layer| match &layer.kind {
        LayerKind::Embedding(table) => Some((layer.prefix.as_str(), table.mask_token, layer.from[0])),
        _ => None,
    });
    let tables: Vec<_> = tables.collect();
    let (dec, enc) = (Edge::Input(0), Edge::Input(1));
    let wanted = [("embedding.", Some(0), enc), ("embedding_1.", Some(0), dec), ("embedding_1.", None, dec)];
    assert_eq!(tables.len(), wanted.len());
    assert!(wanted.iter().all(|table| tables.contains(table)), "{tables:?}");
}

#[test]
fn a_cycle_an_unknown_name_and_a_call_that_is_not_there_are_errors() {
    let mut cycle = graph("eight-3");
    connect(&mut cycle, "s", 0, "d");
    cycle.refused(ErrorKind::Model, &["expected layers that come before this one, got a cycle"]);
    let mut unknown = graph("eight-3");
    connect(&mut unknown, "s", 0, "nobody");
    unknown.refused(ErrorKind::Model, &["layer s (Add): expected a layer named nobody, got none"]);
    let mut call = graph("eight-3");
    layer(&mut call, "d")["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = json!(["s", 7, 0]);
    call.refused(ErrorKind::Model, &["layer d (Dense): expected one of 1 calls of s, got call 7"]);
    let mut twice = graph("eight-3");
    layer(&mut twice, "d")["config"]["name"] = json!("o");
    twice.refused(ErrorKind::Model, &["layer o (Dense): name: another layer has the same"]);
    let mut output = graph("eight-3");
    output.config["config"]["output_layers"] = json!([["x", 0, 0]]);
    output.refused(ErrorKind::Model, &["output_layers: expected what layers give"]);
}

#[test]
fn masked_steps_that_a_product_leaves_out_do_not_show() {
    let mut shown = graph("masked-gate-3");
    shown.config["config"]["output_layers"] = json!(["multiply", 0, 0]);
    let text =
        "output_layers: expected a recurrent layer under the mask between it and layer multiply (Multiply), got none";
    shown.refused(ErrorKind::Model, &[text]);
    let mut joined = graph("masked-gate-3");
    joined.config["config"]["output_layers"] = json!(["maximum", 0, 0]);
    joined.refused(ErrorKind::Model, &["expected a recurrent layer under the mask between it and layer m"]);
}

#[test]
fn tensors_that_do_not_fit_are_errors_that_name_both() {
    let mut features = graph("eight-3");
    connect(&mut features, "s", 1, "x");
    features.refused(
        ErrorKind::Model,
        &["layer s (Add): expected inputs of equal features, got [B, any, 4] of layer l (LSTM) and [B, any, 3] of layer x"],
    );
    let mut rank = graph("eight-3");
    connect(&mut rank, "k", 0, "s");
    rank.refused(
        ErrorKind::Model,
        &["layer k (Concatenate): expected inputs of as many axes, got [B, any, 4] of layer s"],
    );
    let mut axis = graph("eight-3");
    layer(&mut axis, "k")["config"]["axis"] = json!(0);
    axis.refused(ErrorKind::Model, &["layer k (Concatenate): axis: expected -1 (the features), got 0"]);
    let mut kinds = graph("words-and-facts-3");
    connect(&mut kinds, "embedding", 0, "facts");
    layer(&mut kinds, "embedding")["config"]["mask_zero"] = json!(false);
    layer(&mut kinds, "lstm")["inbound_nodes"][0]["kwargs"] = json!({});
    let words = ["expected facts as tokens, as another layer takes it, got 3 features without time"];
    kinds.refused(ErrorKind::Model, &words);
}

#[test]
fn models_that_double_in_models_are_refused_before_they_fill_memory() {
    let mut model = graph("nested-deep-3");
    let input =
        json!({"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [null, 5, 3]}, "inbound_nodes": []});
    let dense = json!({"class_name": "Dropout", "config": {"name": "d", "rate": 0.5}});
    let mut inner = json!({"class_name": "Sequential", "config": {"name": "m", "layers": [input, dense, dense]}});
    inner["config"]["layers"][2]["config"]["name"] = json!("e");
    for _ in 0..18 {
        let node = |name: &str, from: &str| {
            let mut node = inner.clone();
            node["config"]["name"] = json!(name);
            node["inbound_nodes"] = json!([[[from, 0, 0, {}]], [[name, 0, 0, {}]]]);
            node
        };
        let layers = json!([input, node("m", "i")]);
        // The second call: outputs number the calls of a functional model from 1.
        let second = if inner["class_name"] == "Functional" { 2 } else { 1 };
        let config =
            json!({"name": "m", "layers": layers, "input_layers": [["i", 0, 0]], "output_layers": [["m", second, 0]]});
        inner = json!({"class_name": "Functional", "config": config});
    }
    model.config = inner;
    model.refused(ErrorKind::Model, &["expected at most 4096 calls of layers in all, got more"]);
}

#[test]
fn steps_that_no_slice_leaves_are_errors() {
    let mut bounds = graph("time-slices-3");
    layer(&mut bounds, "crop")["config"]["cropping"] = json!([1, -2]);
    bounds.refused(ErrorKind::Model, &["layer crop (Cropping1D): cropping: expected two whole numbers, got [1,-2]"]);
    let mut every_other = graph("time-slices-3");
    let item = "get_item";
    layer(&mut every_other, item)["inbound_nodes"][0]["args"][1][1]["config"]["step"] = json!(-2);
    every_other
        .refused(ErrorKind::Model, &["layer get_item (GetItem): expected steps of a sequence (x[:, a:b:n], x[:, -1])"]);
    let mut axis = graph("time-concat-3");
    layer(&mut axis, "k")["config"]["axis"] = json!(0);
    axis.refused(ErrorKind::Model, &["layer k (Concatenate): axis: expected -1 (the features) or 1 (time), got 0"]);
    let mut short = graph("time-split-3");
    layer(&mut short, "split")["config"]["indices_or_sections"] = json!([4, 4]);
    short.refused(ErrorKind::Model, &["indices_or_sections: expected places among the steps of [B, 6, 3], got [4,4]"]);
    let mut step = graph("time-first-step-3");
    step.config["config"]["output_layers"] = json!([["r", 0, 0]]);
    step.refused(
        ErrorKind::Model,
        &["expected a sequence, or features without time, got [B, 1, 3] of layer r (Reshape)"],
    );
}
