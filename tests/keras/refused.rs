//! What is refused, and in which words: fixtures with one change each.

use std::io::{Cursor, Read, Write};

use gatewave::formats::keras;
use gatewave::interface::Axes;
use gatewave::layer::Padding;
use gatewave::{Device, Engine, Error, ErrorKind, Input, Model, Weights};
use ndarray::{array, s};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::files::folder;

/// The members of an archive.
pub(crate) struct Archive {
    pub(crate) config: Value,
    metadata: String,
    pub(crate) weights: Vec<u8>,
}

pub(crate) fn archive(id: &str) -> Archive {
    let bytes = std::fs::read(folder().join(format!("keras/{id}.keras"))).expect("a fixture");
    let mut zip = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
    let mut member = |name: &str| {
        let mut bytes = Vec::new();
        zip.by_name(name).expect("a member").read_to_end(&mut bytes).expect("its bytes");
        bytes
    };
    let config = serde_json::from_slice(&member("config.json")).expect("JSON");
    let metadata = String::from_utf8(member("metadata.json")).expect("text");
    Archive { config, metadata, weights: member("model.weights.h5") }
}

impl Archive {
    fn bytes(&self, method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        let members = [
            ("config.json", self.config.to_string().into_bytes()),
            ("metadata.json", self.metadata.clone().into_bytes()),
            ("model.weights.h5", self.weights.clone()),
        ];
        for (name, bytes) in members {
            zip.start_file(name, options).expect("a member begins");
            zip.write_all(&bytes).expect("a member is written");
        }
        zip.finish().expect("an archive ends").into_inner()
    }

    pub(crate) fn read(&self) -> Result<Model, Error> {
        keras::read_bytes(&self.bytes(CompressionMethod::Stored)).map(|(model, _)| model)
    }

    /// Returns the configuration of layer `index`, counted from the `InputLayer`.
    pub(crate) fn layer(&mut self, index: usize) -> &mut Value {
        &mut self.config["config"]["layers"][index]["config"]
    }

    pub(crate) fn refused(&self, kind: ErrorKind, words: &[&str]) {
        let error = self.read().map(|model| model.summary().to_string()).expect_err("it is refused");
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        for word in words {
            assert!(text.contains(word), "expected {word:?} in: {text}");
        }
    }
}

#[test]
fn a_key_that_nobody_knows_is_an_error_that_names_layer_and_key() {
    let mut lstm = archive("k3_o_lstm_seq");
    lstm.layer(1)["forget_twice"] = json!(true);
    lstm.refused(ErrorKind::Model, &["config.json: layer lstm (LSTM): forget_twice: unknown key", "true"]);
    let error = lstm.read().map(drop).expect_err("it is refused");
    assert_eq!((error.layer(), error.node(), error.tensor()), (Some("lstm"), None, None));
}

#[test]
fn no_layer_of_any_fixture_takes_a_key_that_the_table_does_not_have() {
    let mut layers = 0;
    for path in crate::support::files::files(&folder().join("keras"), &["keras"]) {
        let id = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let count = archive(&id).config["config"]["layers"].as_array().expect("layers").len();
        for index in 0..count {
            let mut changed = archive(&id);
            changed.layer(index)["forget_twice"] = Value::Null;
            changed.refused(ErrorKind::Model, &["forget_twice: unknown key"]);
            layers += 1;
        }
    }
    assert!(layers > 60, "only {layers} layers seen");
}

#[test]
fn a_layer_of_another_field_is_an_error_that_names_it() {
    let mut lstm = archive("k3_o_lstm_seq");
    lstm.config["config"]["layers"][1]["class_name"] = json!("Conv3D");
    lstm.refused(ErrorKind::Model, &["layer lstm (Conv3D)", "docs/formats.md", "general runtime"]);
    let mut own = archive("k3_o_lstm_seq");
    own.config["config"]["layers"][1]["registered_name"] = json!("mine>LSTM");
    own.refused(ErrorKind::Model, &["layer lstm (LSTM)", "registered_name", "mine>LSTM"]);
}

#[test]
fn a_layer_begins_with_as_many_states_as_it_has_and_of_their_size() {
    let begun = |change: &dyn Fn(&mut Vec<Value>), words: &str| {
        let mut decoder = archive("k3_o_enc_dec");
        let call = &mut decoder.config["config"]["layers"][3]["inbound_nodes"][0];
        change(call["kwargs"]["initial_state"].as_array_mut().expect("two states"));
        let at = "config.json: layer decoder (LSTM): initial_state: ";
        match words {
            "" => drop(decoder.read().expect("it is read")),
            words => {
                decoder.refused(ErrorKind::Model, &[&format!("{}{words}", at.trim_start_matches("config.json: "))])
            }
        }
    };
    begun(&|_| (), "");
    // Either state may begin either.
    begun(&|states| states.reverse(), "");
    begun(&|states| drop(states.pop()), "expected 2 tensors (states of each cell and direction), got 1");
    begun(
        &|states| states[0]["config"]["keras_history"] = json!(["dec", 0, 0]),
        "expected [B, 8], got [B, 4, 4] of layer dec (InputLayer)",
    );
    begun(
        &|states| states[0]["config"]["keras_history"] = json!(["encoder", 0, 3]),
        "expected one of 3 tensors of layer encoder (LSTM), got tensor 3",
    );
    let mut stateful = archive("k3_o_enc_dec");
    stateful.layer(3)["stateful"] = json!(true);
    stateful.refused(ErrorKind::Model, &["layer decoder (LSTM): initial_state: expected none in a stateful layer"]);
}

#[test]
fn a_layer_that_makes_one_axis_of_two_is_refused() {
    let layers = |archive: &mut Archive, more: Value| {
        archive.config["config"]["layers"]
            .as_array_mut()
            .expect("layers")
            .extend(more.as_array().expect("layers").clone());
    };
    let flatten = json!({"class_name": "Flatten", "config": {"name": "flat"}});
    let softmax = json!({"class_name": "Activation", "config": {"name": "top", "activation": "softmax"}});
    for more in [json!([flatten]), json!([flatten, softmax])] {
        let mut lstm = archive("k3_o_lstm_seq");
        layers(&mut lstm, more);
        lstm.config["config"]["layers"][0]["config"]["batch_shape"][1] = Value::Null;
        let words = [
            "layer flat (Flatten): expected a sequence whose steps and features the model fixes (Input((steps, features)))",
            "got [B, any, ",
        ];
        lstm.refused(ErrorKind::Model, &words);
    }
}

#[test]
fn a_function_of_somebodys_own_is_refused_whatever_its_name() {
    let own = json!({"module": "builtins", "class_name": "function", "config": "swish", "registered_name": "function"});
    let mut lstm = archive("k3_o_lstm_seq");
    lstm.layer(1)["activation"] = own;
    lstm.refused(ErrorKind::Model, &["activation: expected a function of Keras, got \"swish\", which is Python code"]);
    let mut relu = archive("k3_o_lstm_seq");
    relu.layer(1)["activation"] = json!({"class_name": "relu", "config": null, "registered_name": "mine>relu"});
    relu.refused(ErrorKind::Model, &["layer lstm (LSTM): activation: "]);
}

#[test]
fn a_file_of_neither_kind_is_told_so() {
    for bytes in [&b""[..], b"name: a model", &[0; 4096]] {
        let error = keras::read_bytes(bytes).expect_err("it is refused").to_string();
        assert!(error.starts_with("expected a .keras archive or an .h5 file, got neither"), "{error}");
    }
}

#[test]
fn a_weight_of_another_shape_is_an_error_that_names_layer_and_dataset() {
    let mut lstm = archive("k3_o_lstm_seq");
    lstm.layer(1)["units"] = json!(13);
    let words = ["layer lstm (LSTM): layers/lstm/cell/vars/0: expected [4, 52], got [4, 48]"];
    lstm.refused(ErrorKind::Weights, &words);
    let mut more = archive("k3_o_lstm_seq");
    let layer = more.config["config"]["layers"][1].clone();
    more.config["config"]["layers"].as_array_mut().expect("layers").push(layer);
    more.layer(2)["name"] = json!("second");
    more.refused(ErrorKind::Weights, &["layer second (LSTM): layers/lstm_1/cell/vars/0: expected a dataset, got none"]);
}

#[test]
fn a_model_that_was_never_built_is_told_how_to_be() {
    let hint = "was the model built? call model.build(input_shape) or fit it, then save it again";
    for (file, words) in [
        ("unbuilt.keras", "layer embedding (Embedding): layers/embedding/vars/0: expected a dataset, got none"),
        ("unbuilt.h5", "layer lstm_1 (LSTM): model_weights/lstm_1: weight_names: expected 1 named kernel, got []"),
    ] {
        let error = keras::read(folder().join("hostile").join(file)).expect_err("it has no weights");
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Weights, "{text}");
        assert!(text.ends_with(&format!("{words}; {hint}")), "{text}");
    }
    let mut more = archive("k3_o_lstm_seq");
    let layer = more.config["config"]["layers"][1].clone();
    more.config["config"]["layers"].as_array_mut().expect("layers").push(layer);
    more.layer(2)["name"] = json!("second");
    let error = more.read().expect_err("it has no second layer").to_string();
    assert!(!error.contains("built"), "a layer that the weights lack is another matter: {error}");
}

#[test]
fn values_that_make_no_sense_are_errors() {
    let refused = |key: &str, value: Value, words: &[&str]| {
        let mut lstm = archive("k3_o_lstm_seq");
        lstm.layer(1)[key] = value;
        lstm.refused(ErrorKind::Model, words);
    };
    refused("units", json!(0), &["units: expected a whole number from 1"]);
    refused("units", json!(1_u64 << 60), &["units: expected a whole number from 1"]);
    refused("units", json!(-3), &["units"]);
    refused("activation", json!("swosh"), &["activation: expected one of linear", "swosh"]);
    refused("activation", json!("softmax"), &["expected one of each unit alone, got softmax"]);
    refused("use_bias", json!("yes"), &["use_bias: expected true or false, got \"yes\""]);
    refused("dtype", json!("int8_from_float32"), &["dtype", "int8_from_float32"]);
    refused("name", json!(7), &["name: expected text, got 7"]);
}

#[test]
fn more_layers_than_any_model_has_are_refused() {
    let mut many = archive("k3_o_dropout_clf");
    let layer = many.config["config"]["layers"][4].clone();
    many.config["config"]["layers"] = std::iter::repeat_n(layer, 5000).collect();
    many.refused(ErrorKind::Model, &["config.json: layers: expected at most 4096, got 5000"]);
}

#[test]
fn a_rate_of_dropout_that_is_no_share_is_refused() {
    let mut model = archive("k3_o_dropout_clf");
    let layers = model.config["config"]["layers"].as_array_mut().expect("layers");
    let dropout = layers.iter_mut().find(|layer| layer["class_name"] == "Dropout").expect("a Dropout");
    dropout["config"]["rate"] = json!(1.1);
    model.refused(ErrorKind::Model, &["dropout (dropout): rate: expected 0 to 1, got 1.1"]);
}

#[test]
fn a_version_before_two_is_refused() {
    let mut lstm = archive("k3_o_lstm_seq");
    lstm.metadata = json!({"keras_version": "1.2.2"}).to_string();
    lstm.refused(ErrorKind::Model, &["keras_version: expected 2 or 3, got 1.2.2"]);
}

#[test]
fn hard_sigmoid_is_the_one_of_the_version_that_wrote_the_file() {
    let mut lstm = archive("k3_o_lstm_hardsig");
    let slope =
        |archive: &Archive| archive.read().unwrap().stacks().next().unwrap().functions[0].f.constants()[0].1.get();
    assert_eq!(slope(&lstm), 1.0 / 6.0);
    lstm.metadata = json!({"keras_version": "2.15.0"}).to_string();
    assert_eq!(slope(&lstm), 0.2);
}

#[test]
fn what_a_dead_step_gives_is_said_by_mask_and_wrapper() {
    let padding = |archive: &Archive| archive.read().unwrap().stacks().next().unwrap().padding;
    let mut gru = archive("k3_o_mask_embed_gru_seq");
    assert_eq!(padding(&gru), Padding::Held);
    gru.layer(2)["zero_output_for_mask"] = json!(true);
    assert_eq!(padding(&gru), Padding::Zero);
    gru.layer(2)["zero_output_for_mask"] = json!(false);
    // A call may have a mask for a model that makes none.
    gru.layer(1)["mask_zero"] = json!(false);
    assert_eq!(padding(&gru), Padding::Held);
    gru.layer(2)["return_sequences"] = json!(false);
    assert_eq!(padding(&gru), Padding::Held);
    let mut both = archive("k3_o_bi_gru_concat");
    assert_eq!(padding(&both), Padding::Zero);
    for layer in ["layer", "backward_layer"] {
        both.layer(1)[layer]["config"]["return_sequences"] = json!(false);
    }
    assert_eq!(padding(&both), Padding::Held);
}

#[test]
fn a_mask_that_only_the_call_brings_holds_outputs_as_one_of_the_model_does() {
    let mut gru = archive("k3_o_mask_embed_gru_seq");
    let tokens = array![[3, 5, 2, 0, 0, 0], [4, 0, 0, 0, 0, 0]];
    let run = |archive: &Archive, input: Input| {
        let (model, tensors) = keras::read_bytes(&archive.bytes(CompressionMethod::Stored)).expect("a model");
        let weights = Weights::from_tensors(&model, tensors).expect("its weights");
        let engine = Engine::new(model, &weights, Device::Cpu).expect("an engine");
        engine.run(&input).expect("outputs").output
    };
    let by_model = run(&gru, Input::tokens(tokens.clone()));
    gru.layer(1)["mask_zero"] = json!(false);
    let lengths = run(&gru, Input::tokens(tokens.clone()).lengths([3, 1]));
    let mask = run(&gru, Input::tokens(tokens.clone()).mask(tokens.mapv(|token| token > 0)));
    assert_eq!(lengths, by_model);
    assert_eq!(mask, by_model);
    let step = |row: usize, t: usize| by_model.slice(s![row, t, ..]).to_owned();
    assert_eq!(step(0, 5), step(0, 2), "the last output is held");
    assert!(step(0, 2).iter().any(|x| *x != 0.0));
}

#[test]
fn an_unrolled_layer_that_goes_backwards_gives_no_zeros_under_a_mask() {
    let words = ["unroll: expected false with go_backwards and zeros under a mask"];
    let mut gru = archive("k3_o_mask_embed_gru_seq");
    for (key, value) in [("unroll", true), ("go_backwards", true), ("zero_output_for_mask", true)] {
        gru.read().expect("it is read until all three stand together");
        gru.layer(2)[key] = json!(value);
    }
    gru.refused(ErrorKind::Model, &words);
    gru.layer(1)["mask_zero"] = json!(false);
    gru.read().expect("without a mask it is read");

    // With a backward layer of its own, and with it left out, as in Keras 2.
    let inner = gru.layer(2).clone();
    for own in [true, false] {
        let mut both = archive("k3_o_mask_embed_gru_seq");
        let one = |backwards: bool| {
            let mut layer = json!({"class_name": "GRU", "config": inner.clone()});
            layer["config"]["go_backwards"] = json!(backwards);
            layer
        };
        let mut config = json!({"name": "both", "layer": one(false), "merge_mode": "concat"});
        if own {
            config["backward_layer"] = one(true);
        }
        both.config["config"]["layers"][2] = json!({"class_name": "Bidirectional", "config": config});
        both.refused(ErrorKind::Model, &words);
    }
}

#[test]
fn a_mask_that_a_layer_does_not_hand_on_is_not_laid_over_the_next_recurrent_layer() {
    let mut gru = archive("k3_o_mask_embed_gru_seq");
    let reshape = json!({"class_name": "Reshape", "config": {"name": "r", "target_shape": [-1, 6]}});
    let layers = gru.config["config"]["layers"].as_array_mut().expect("layers");
    layers.insert(2, reshape.clone());
    let mut plain = archive("k3_o_mask_embed_gru_seq");
    plain.layer(1)["mask_zero"] = json!(false);
    assert_eq!(gru.read().expect("a chain").layers, plain.read().expect("a chain").layers);

    // After a layer under the mask, the masked steps are lost.
    let layers = gru.config["config"]["layers"].as_array_mut().expect("layers");
    let mut first = layers[3].clone();
    first["config"]["name"] = json!("first");
    layers.insert(2, first);
    layers[3]["config"]["target_shape"] = json!([-1, 9]);
    gru.refused(ErrorKind::Model, &["layer gru (GRU): expected no mask, which Keras lays not over this layer"]);
}

#[test]
fn a_graph_as_keras_2_writes_it_is_the_sequence_that_it_is() {
    let sequential = archive("k3_o_dropout_clf");
    let mut graph = archive("k3_o_dropout_clf");
    let config = graph.config["config"].as_object_mut().expect("a configuration");
    config.remove("build_input_shape");
    let layers = config["layers"].as_array_mut().expect("layers");
    let mut before: Option<String> = None;
    for layer in layers.iter_mut() {
        layer["inbound_nodes"] = before.iter().map(|name| json!([[name, 0, 0, {}]])).collect();
        before = layer["config"]["name"].as_str().map(str::to_owned);
    }
    layers.reverse();
    config.insert("input_layers".into(), json!([["input_layer", 0, 0]]));
    config.insert("output_layers".into(), json!([[before, 0, 0]]));
    graph.config["class_name"] = json!("Functional");
    // In reverse, the first Dense of the file is the last of the chain: the archive counts by the file's order.
    graph.refused(ErrorKind::Weights, &["layer dense (Dense): layers/dense_1/vars/0: expected [20, 6], got [6, 4]"]);
    graph.config["config"]["layers"].as_array_mut().expect("layers").reverse();
    let mut sequence = sequential.read().expect("a sequence");
    sequence.input_layer = Some("input_layer".into());
    assert_eq!(graph.read().expect("a chain"), sequence, "but for the input, which Keras then has a layer for");

    // A layer that no output needs is left out.
    graph.config["config"]["layers"][4]["inbound_nodes"] = json!([[["embedding", 0, 0, {}]]]);
    let before = graph.config["config"]["layers"][3]["config"]["name"].clone();
    graph.config["config"]["layers"][5]["inbound_nodes"] = json!([[[before, 0, 0, {}]]]);
    let with = sequential.read().expect("a sequence").layers.len();
    assert_eq!(graph.read().expect("a chain").layers.len(), with - 1);
}

#[test]
fn time_goes_first_where_all_recurrent_layers_say_so() {
    let mut rnns = archive("k3_o_stack2_rnn");
    rnns.layer(1)["time_major"] = json!(true);
    rnns.refused(ErrorKind::Model, &["time_major: expected the same in all recurrent layers"]);
    rnns.layer(2)["time_major"] = json!(true);
    assert_eq!(rnns.read().expect("both do").axes, Axes::TimeMajor);
}

#[test]
fn a_backward_layer_of_another_shape_is_refused() {
    for (key, value, words) in [("stateful", json!(true), "stateful"), ("go_backwards", json!(false), "go_backwards")] {
        let mut both = archive("k3_o_bi_lstm_concat");
        both.layer(1)["backward_layer"]["config"][key] = value;
        both.refused(ErrorKind::Model, &["layer bidirectional (Bidirectional)", words]);
    }
}

#[test]
fn a_compressed_archive_is_read_and_one_that_expands_a_thousandfold_is_refused() {
    let mut lstm = archive("k3_o_lstm_seq");
    let plain = keras::read_bytes(&lstm.bytes(CompressionMethod::Stored)).expect("stored");
    assert!(keras::read_bytes(&lstm.bytes(CompressionMethod::Deflated)).expect("deflated") == plain);
    lstm.weights.resize(200 << 20, 0);
    let error = keras::read_bytes(&lstm.bytes(CompressionMethod::Deflated)).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Weights);
    assert!(error.to_string().contains("model.weights.h5: expected at most"), "{error}");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_error() {
    for name in ["k3_o_td_dense.keras", "k3_o_td_dense.h5"] {
        let bytes = std::fs::read(folder().join("keras").join(name)).expect("a fixture");
        for end in (0..bytes.len()).step_by(61) {
            // The part that is cut off may be unused. All other elements must then still be there.
            if let Ok((_, tensors)) = keras::read_bytes(&bytes[..end]) {
                let all: Result<Vec<_>, _> = tensors.iter().map(|(_, tensor)| tensor.read()).collect();
                assert!(all.is_ok() || all.is_err_and(|e| e.kind() == ErrorKind::Weights), "{name} {end}");
            }
        }
    }
}

#[test]
fn a_file_with_any_byte_changed_is_read_or_refused() {
    let bytes = std::fs::read(folder().join("keras/k3_o_rnn3_42params.h5")).expect("a fixture");
    for at in (0..bytes.len()).step_by(7) {
        for value in [0x00, 0xff, 0x80] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            if let Ok((_, tensors)) = keras::read_bytes(&bytes) {
                tensors.iter().for_each(|(_, tensor)| drop(tensor.read()));
            }
        }
    }
}

#[test]
fn weights_alone_are_refused_with_what_to_do() {
    let error = keras::read_bytes(&archive("k3_o_lstm_seq").weights).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Model);
    assert!(error.to_string().contains("this file holds weights alone: save the whole model"), "{error}");
}
