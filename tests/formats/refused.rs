//! Tensors that do not fit the model, and descriptions that are wrong.

use gatewave::formats::description;
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Activation, ErrorKind};
use serde_json::{Value, json};

use crate::{lstm_tensors, model_error, refusal, tensor, tensors, weights_error};

#[test]
fn a_gru_read_as_an_lstm_is_recognised() {
    let mut given = lstm_tensors();
    given.insert("lstm.weight_hh_l1", tensor(&[12, 4]));
    let message = "layer 0 lstm: lstm.weight_hh_l1: expected [16, 4] (4 gates × 4), got [12, 4]; \
                   12 = 3 × 4: is this a GRU?";
    assert_eq!(refusal(json!([{"type": "lstm", "weights": "lstm."}]), given), weights_error(message));
}

#[test]
fn an_lstm_read_as_an_rnn_is_recognised() {
    let message = "layer 0 rnn: lstm.weight_ih_l0: expected [4, 6], got [16, 6]; 16 = 4 × 4: is this an LSTM?";
    assert_eq!(refusal(json!([{"type": "rnn", "weights": "lstm."}]), lstm_tensors()), weights_error(message));
}

#[test]
fn a_transposed_matrix_is_recognised() {
    let mut given = lstm_tensors();
    given.insert("lstm.weight_ih_l1", tensor(&[4, 16]));
    let message = "layer 0 lstm: lstm.weight_ih_l1: expected [16, 4] (4 gates × 4), got [4, 16]; is it transposed?";
    assert_eq!(refusal(json!([{"type": "lstm", "weights": "lstm."}]), given), weights_error(message));
}

#[test]
fn a_bias_of_the_wrong_length_is_refused() {
    let given = tensors(&[("fc.weight", &[2, 3]), ("fc.bias", &[3])]);
    let message = "layer 0 linear: fc.bias: expected [2], got [3]";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), given), weights_error(message));
}

#[test]
fn a_matrix_of_three_axes_is_refused() {
    let given = tensors(&[("fc.weight", &[2, 3, 1])]);
    let message = "layer 0 linear: fc.weight: expected a matrix, got [2, 3, 1]";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), given), weights_error(message));
}

#[test]
fn a_missing_tensors_error_tells_the_prefix_of_the_file() {
    let given: Tensors = lstm_tensors().iter().map(|(name, t)| (format!("module.{name}"), t.clone())).collect();
    let sizes = json!([{"type": "lstm", "input_size": 6, "hidden_size": 4, "num_layers": 2, "weights": "lstm."}]);
    let message = "layer 0 lstm: lstm.weight_ih_l0: expected a tensor of that name, got none; \
                   there is module.lstm.weight_ih_l0; set \"weights\": \"module.lstm.\"";
    assert_eq!(refusal(sizes, given.clone()), weights_error(message));
    let message = "layer 0 lstm: input_size: left out, and there is no weight_ih_l0 to tell it; \
                   there is module.lstm.weight_ih_l0; set \"weights\": \"module.lstm.\"";
    assert_eq!(refusal(json!([{"type": "lstm"}]), given), weights_error(message));
}

#[test]
fn a_missing_tensors_error_lists_the_layers_it_could_be() {
    let given = tensors(&[("a.fc.weight", &[1, 2]), ("b.fc.weight", &[1, 2]), ("c.weight", &[1, 2])]);
    let message = "layer 0 linear: in_features: left out, and there is no fc.weight to tell it; \
                   there is a.fc.weight, b.fc.weight; set \"weights\" to what stands before weight";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), given), weights_error(message));
}

#[test]
fn a_missing_tensors_error_lists_near_names() {
    let shapes: [(&str, &[usize]); 3] = [("r.weight_ih_l0", &[3, 2]), ("r.weight_hh_10", &[3, 3]), ("b", &[3])];
    let layer = json!([{"type": "rnn", "input_size": 2, "hidden_size": 3, "weights": "r."}]);
    let message = "layer 0 rnn: r.weight_hh_l0: expected a tensor of that name, got none; \
                   near it, there is r.weight_hh_10, r.weight_ih_l0";
    assert_eq!(refusal(layer, tensors(&shapes)), weights_error(message));
}

#[test]
fn a_missing_tensors_error_says_what_else_there_is() {
    let layer = json!([{"type": "rnn", "input_size": 2, "hidden_size": 3}]);
    let given = tensors(&[("a", &[1]), ("b", &[1]), ("c", &[1]), ("d", &[1]), ("e", &[1]), ("f", &[1])]);
    let missing = "layer 0 rnn: weight_ih_l0: expected a tensor of that name, got none; ";
    assert_eq!(refusal(layer.clone(), given), weights_error(&format!("{missing}there is a, b, c, d and 2 more")));
    assert_eq!(refusal(layer, Tensors::new()), weights_error(&format!("{missing}the file holds no tensors")));
}

#[test]
fn a_stack_that_lost_a_layer_is_not_read_as_a_shallower_one() {
    let renamed = |name: &str| name.replace("_l1", "_l3");
    let given: Tensors = lstm_tensors().iter().map(|(name, t)| (renamed(name), t.clone())).collect();
    let message = "layer 0 lstm: lstm.weight_ih_l3: expected lstm.weight_ih_l1 before it, got none; \
                   did the file lose a layer?";
    assert_eq!(refusal(json!([{"type": "lstm", "weights": "lstm."}]), given), weights_error(message));
}

#[test]
fn a_missing_recurrent_product_is_named() {
    let given: Tensors = lstm_tensors()
        .iter()
        .filter(|(name, _)| *name != "lstm.weight_hh_l0")
        .map(|(name, t)| (name.to_owned(), t.clone()))
        .collect();
    let (_, message) = refusal(json!([{"type": "lstm", "weights": "lstm."}]), given);
    let start = "layer 0 lstm: hidden_size: left out, and there is no lstm.weight_hh_l0 to tell it; ";
    assert!(message.starts_with(start), "{message}");
}

#[test]
fn a_description_that_contradicts_the_tensors_is_refused() {
    let against = |key: &str, value: Value| {
        let mut layer = json!({"type": "lstm", "weights": "lstm."});
        layer[key] = value;
        refusal(json!([layer]), lstm_tensors())
    };
    let cases = [
        ("hidden_size", json!(5), "5, the tensors say 4 (lstm.weight_hh_l0 [16, 4])"),
        ("input_size", json!(7), "7, the tensors say 6 (lstm.weight_ih_l0 [16, 6])"),
        ("num_layers", json!(3), "3, the tensors say 2 (the last is lstm.weight_ih_l1)"),
        ("num_layers", json!(1), "1, the tensors say 2 (the last is lstm.weight_ih_l1)"),
        ("bidirectional", json!(true), "true, the tensors say false (there is no lstm.weight_ih_l0_reverse)"),
        ("bias", json!(false), "false, the tensors say true (lstm.bias_hh_l0)"),
        ("bias", json!("single"), "\"single\", the tensors say true (lstm.bias_hh_l0)"),
        ("proj_size", json!(2), "2, the tensors say 0 (there is no lstm.weight_hr_l0)"),
    ];
    for (key, value, rest) in cases {
        assert_eq!(against(key, value), model_error(&format!("layer 0 lstm: {key}: the description says {rest}")));
    }
    let linear = json!([{"type": "linear", "in_features": 4, "out_features": 2, "weights": "fc.", "bias": true}]);
    let message = "layer 0 linear: in_features: the description says 4, the tensors say 3 (fc.weight [2, 3])";
    assert_eq!(refusal(linear.clone(), tensors(&[("fc.weight", &[2, 3])])), model_error(message));
    let message = "layer 0 linear: bias: the description says true, the tensors say false (there is no fc.bias)";
    assert_eq!(refusal(linear, tensors(&[("fc.weight", &[2, 4])])), model_error(message));
    let embedding = json!([{"type": "embedding", "num_embeddings": 9}]);
    let message = "layer 0 embedding: num_embeddings: the description says 9, the tensors say 8 (weight [8, 2])";
    assert_eq!(refusal(embedding, tensors(&[("weight", &[8, 2])])), model_error(message));
}

#[test]
fn a_claim_of_more_layers_than_memory_holds_is_refused_at_the_first() {
    let layer = json!([{"type": "rnn", "input_size": 2, "hidden_size": 3, "num_layers": 2_147_483_647}]);
    let message = "layer 0 rnn: weight_ih_l0: expected a tensor of that name, got none; the file holds no tensors";
    assert_eq!(refusal(layer, Tensors::new()), weights_error(message));
}

#[test]
fn a_tensor_with_fewer_elements_than_its_shape_is_refused() {
    let given = Tensors::from_iter([("weight", Tensor::new([1, 2], vec![1.0]))]);
    let message = "layer 0 linear: weight: expected the elements of [1, 2], got 1";
    assert_eq!(refusal(json!([{"type": "linear"}]), given), weights_error(message));
}

#[test]
fn a_wrong_description_is_refused() {
    let refusal = |json: &str| {
        let error = description::from_json(json, &lstm_tensors()).expect_err("this must be refused");
        (error.kind(), error.to_string())
    };
    let cases = [
        ("{", "expected JSON, got EOF while parsing an object at line 1 column 1"),
        ("[]", "expected an object, got []"),
        (r#"{"layers": []}"#, "gatewave: expected 1 (the format's version), got nothing"),
        (r#"{"gatewave": 2, "layers": []}"#, "gatewave: expected 1 (the format's version), got 2"),
        (r#"{"gatewave": 1}"#, "layers: expected a list, got nothing"),
        (r#"{"gatewave": 1, "layers": {}}"#, "layers: expected a list, got {}"),
        (r#"{"gatewave": 1, "layers": []}"#, "the model has no layers"),
        (r#"{"gatewave": 1, "batch_first": 1, "layers": []}"#, "batch_first: expected true or false, got 1"),
        (
            r#"{"gatewave": 1, "layer": [], "layers": []}"#,
            "layer: unknown key; the known ones are gatewave, name, input_layer, batch_size, steps, batch_first, \
             vocabulary, inputs, layers, outputs, ports, interface, encoder",
        ),
        (
            r#"{"gatewave": 1, "vocabulary": "ab", "layers": [{"type": "one_hot", "num_classes": 3}]}"#,
            "vocabulary: expected 3 characters, one for each token, got 2",
        ),
    ];
    for (json, message) in cases {
        assert_eq!(refusal(json), model_error(message), "{json}");
    }
}

#[test]
fn a_wrong_layer_is_refused() {
    let cases = [
        (json!(3), "layer 0: expected an object, got 3"),
        (
            json!({}),
            "layer 0: type: expected one of \"embedding\", \"one_hot\", \"masking\", \"rnn\", \"lstm\", \"gru\", \
             \"select\", \"linear\", \"conv1d\", \"activation\", \"dropout\", \"concat\", \"add\", \"subtract\", \
             \"multiply\", \"average\", \"maximum\", \"concat_steps\", \"slice\", \"slice_steps\", \"pad_steps\", \"batch_norm\", \
             \"layer_norm\", \"rms_norm\", \"l2_norm\", \"prelu\", \"global_pool\", \"window_pool\", \"repeat\", \"flatten\", \
             \"reshape\", \"permute\", \"attention\", got nothing",
        ),
        (
            json!({"type": "lstmm"}),
            "layer 0 lstmm: type: expected one of \"embedding\", \"one_hot\", \"masking\", \"rnn\", \"lstm\", \"gru\", \
             \"select\", \"linear\", \"conv1d\", \"activation\", \"dropout\", \"concat\", \"add\", \"subtract\", \
             \"multiply\", \"average\", \"maximum\", \"concat_steps\", \"slice\", \"slice_steps\", \"pad_steps\", \"batch_norm\", \
             \"layer_norm\", \"rms_norm\", \"l2_norm\", \"prelu\", \"global_pool\", \"window_pool\", \"repeat\", \"flatten\", \
             \"reshape\", \"permute\", \"attention\", got \"lstmm\"",
        ),
        (
            json!({"type": "lstm", "weights": "lstm.", "hiden_size": 4}),
            "layer 0 lstm: hiden_size: unknown key; the known ones are type, weights, name, from, h_0, c_0, \
             input_size, hidden_size, num_layers, proj_size, bidirectional, direction, bias, activations, reverse_activations, peepholes, \
             merge_mode, initial_states, input_forget, clip, padding, stateful, dropout, \
             input_dropout, recurrent_dropout",
        ),
        (
            json!({"type": "lstm", "weights": "lstm.", "nonlinearity": "tanh"}),
            "layer 0 lstm: nonlinearity: unknown key; the known ones are type, weights, name, from, h_0, c_0, \
             input_size, hidden_size, num_layers, proj_size, bidirectional, direction, bias, activations, reverse_activations, peepholes, \
             merge_mode, initial_states, input_forget, clip, padding, stateful, dropout, \
             input_dropout, recurrent_dropout",
        ),
        (json!({"type": "lstm", "hidden_size": "4"}), "layer 0 lstm: hidden_size: expected a whole number, got \"4\""),
        (json!({"type": "lstm", "hidden_size": -4}), "layer 0 lstm: hidden_size: expected a whole number, got -4"),
        (
            json!({"type": "lstm", "bias": "double"}),
            "layer 0 lstm: bias: expected one of true, false, \"single\", got \"double\"",
        ),
        (
            json!({"type": "select", "what": "first"}),
            "layer 0 select: what: expected one of \"all_steps\", \"last_step\", \"final_hidden\", \
             \"last_output\", got \"first\"",
        ),
        (
            json!({"type": "select"}),
            "layer 0 select: what: expected one of \"all_steps\", \"last_step\", \"final_hidden\", \
             \"last_output\", got nothing",
        ),
        (json!({"type": "activation"}), "layer 0 activation: activation: expected the name of a function, got nothing"),
        (json!({"type": "dropout", "p": 1.5}), "layer 0 dropout: p: expected 0 to 1, got 1.5"),
        (json!({"type": "masking", "features": 0}), "layer 0 masking: features: expected at least 1, got 0"),
        (json!({"type": "masking"}), "layer 0 masking: features: left out, and no next layer tells it"),
        (
            json!({"type": "one_hot"}),
            "layer 0 one_hot: num_classes: left out, and neither a vocabulary nor the next layer tells it",
        ),
        (json!({"type": "one_hot", "num_classes": 0}), "layer 0 one_hot: num_classes: expected at least 1, got 0"),
        (
            json!({"type": "gru", "input_size": 2, "hidden_size": 4, "proj_size": 2}),
            "layer 0 gru: proj_size: only an lstm has a projection",
        ),
    ];
    for (layer, message) in cases {
        assert_eq!(refusal(json!([layer]), lstm_tensors()), model_error(message), "{layer}");
    }
}

#[test]
fn functions_are_refused_with_those_that_there_are() {
    let names = Activation::ALL.map(|function| format!("\"{}\"", function.name())).join(", ");
    let cases = [
        (
            json!({"type": "rnn", "nonlinearity": "elu2"}),
            format!("nonlinearity: expected one of {names}, got \"elu2\""),
        ),
        (
            json!({"type": "rnn", "nonlinearity": {"name": "elu", "gamma": 1}}),
            "nonlinearity: gamma: unknown key; the known ones are name, alpha".to_owned(),
        ),
        (
            json!({"type": "rnn", "nonlinearity": {"alpha": 1}}),
            "nonlinearity: name: expected the name of a function, got nothing".to_owned(),
        ),
        (
            json!({"type": "rnn", "nonlinearity": {"name": "elu", "alpha": 1e300}}),
            "nonlinearity: alpha: expected a number, got 1e+300".to_owned(),
        ),
        (
            json!({"type": "lstm", "activations": ["sigmoid", "tanh"]}),
            "activations: expected 3 functions (gates, cell, output), got 2".to_owned(),
        ),
        (
            json!({"type": "gru", "activations": ["sigmoid", "tanh", "tanh"]}),
            "activations: expected 2 functions (gates, new), got 3".to_owned(),
        ),
        (json!({"type": "gru", "activations": "tanh"}), "activations: expected a list, got \"tanh\"".to_owned()),
        (
            json!({"type": "gru", "input_size": 2, "hidden_size": 4, "activations": ["softmax", "tanh"]}),
            "function f: expected one of each unit alone, got softmax, which needs all of them".to_owned(),
        ),
    ];
    for (layer, message) in cases {
        let place = layer["type"].as_str().unwrap().to_owned();
        assert_eq!(refusal(json!([layer]), Tensors::new()), model_error(&format!("layer 0 {place}: {message}")));
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let refused = |more: Value| {
        let mut layer = json!({"type": "lstm", "input_size": 2, "hidden_size": 4});
        layer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (kind, message) = refusal(json!([layer]), Tensors::new());
        assert_eq!(kind, ErrorKind::Model);
        message.strip_prefix("layer 0 lstm: ").unwrap().to_owned()
    };
    let both_ways = refused(json!({"bidirectional": true, "direction": "reverse"}));
    assert_eq!(both_ways, "direction: expected none of a bidirectional stack, which goes both ways");
    let way = "expected a bidirectional stack, got one of one direction";
    assert_eq!(refused(json!({"merge_mode": "sum"})), format!("merge_mode: {way}"));
    let own = json!({"reverse_activations": ["sigmoid", "tanh", "relu"]});
    assert_eq!(refused(own), format!("reverse_activations: {way}"));
    assert_eq!(refused(json!({"clip": 0})), "clip: expected a number above 0, got 0");
    assert_eq!(refused(json!({"clip": "inf"})), "clip: expected a number above 0, got inf");
    let other = refused(json!({"direction": "forward"}));
    assert_eq!(other, "direction: expected one of \"reverse\", \"backwards\", got \"forward\"");
    let gru = json!([{"type": "gru", "input_size": 2, "hidden_size": 4, "peepholes": true}]);
    assert!(refusal(gru, Tensors::new()).1.starts_with("layer 0 gru: peepholes: unknown key; "));
}

#[test]
fn tensors_contradict_a_direction_and_peepholes() {
    let layer = json!([{"type": "lstm", "weights": "lstm.", "peepholes": true}]);
    let message = "layer 0 lstm: peepholes: the description says true, the tensors say false \
                   (there is no lstm.weight_ch_l0)";
    assert_eq!(refusal(layer, lstm_tensors()), model_error(message));
    let mut given = lstm_tensors();
    given.extend(lstm_tensors().iter().map(|(name, tensor)| (format!("{name}_reverse"), tensor.clone())));
    let layer = json!([{"type": "lstm", "weights": "lstm.", "direction": "backwards"}]);
    let message = "layer 0 lstm: bidirectional: the description says false, the tensors say true (lstm.weight_ih_l0)";
    assert_eq!(refusal(layer, given), model_error(message));
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    for json in [
        r#"{"gatewave": 1, "layers": [], "layers": []}"#,
        r#"{"gatewave": 1, "layers": [{"type": "rnn", "bias": true, "bias": false}]}"#,
    ] {
        let error = description::from_json(json, &Tensors::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model);
        assert!(error.to_string().starts_with("expected JSON, got the key \""), "{error}");
        assert!(error.to_string().contains("\" twice at line 1 column "), "{error}");
    }
}

#[test]
fn json_nested_beyond_all_bounds_is_refused() {
    let error = description::from_json(&"[".repeat(100_000), &Tensors::new()).unwrap_err();
    assert!(error.to_string().starts_with("expected JSON, got recursion limit exceeded"), "{error}");
}

/// Returns the error about `ports`, after its place, for a
/// bidirectional LSTM of 3 features and 4 units, and following layers.
fn refused_ports(inputs: Value, outputs: Value) -> String {
    let json = json!({
        "gatewave": 1,
        "layers": [{"type": "lstm", "input_size": 3, "hidden_size": 4, "bidirectional": true}],
        "ports": {"inputs": inputs, "outputs": outputs},
    });
    let error = description::from_json(&json.to_string(), &Tensors::new()).expect_err("this must be refused");
    assert_eq!(error.kind(), ErrorKind::Model);
    error.to_string().strip_prefix("ports: ").expect("the ports are at fault").to_owned()
}

#[test]
fn ports_that_do_not_fit_their_model_are_refused() {
    let x = json!({"name": "X", "value": "sequence", "axes": ["time", "batch", "features"]});
    let lengths = json!({"name": "L", "value": "lengths", "axes": ["batch"]});
    let input = |port: Value| refused_ports(json!([x, port]), json!([]));
    let output = |port: Value| refused_ports(json!([x]), json!([port]));
    let state = |stack: usize, axes: Value| json!({"name": "h", "value": "hidden", "stack": stack, "axes": axes});
    for (got, wanted) in [
        (refused_ports(json!([lengths]), json!([])), "inputs: expected a sequence among them, got none"),
        (
            input(json!({"name": "L", "value": "length", "axes": []})),
            "input 1: value: expected one of \"sequence\", \"input\", \"lengths\", \"mask\", \"hidden\", \"cell\", \"weights\", got \"length\"",
        ),
        (input(json!({"name": "L", "value": "lengths"})), "input 1: axes: expected a list, got nothing"),
        (
            input(json!({"name": "L", "value": "lengths", "axes": ["b"]})),
            "input 1: axes: expected one of \"time\", \"batch\", \"features\", \"directions\", \"layers\", \"one\", got \"b\"",
        ),
        (
            input(json!({"name": "L", "value": "lengths", "axes": ["time"]})),
            "L: axes: expected some of Batch, got Time",
        ),
        (
            input(json!({"name": "X", "value": "lengths", "axes": ["batch"]})),
            "X: expected a name of its own, got another input's",
        ),
        (input(state(1, json!([]))), "h: stack: expected less than 1, got 1"),
        (input(state(0, json!(["batch", "features"]))), "h: axes: expected Layers among them, which is longer than 1"),
        (input(state(0, json!(["layers", "layers"]))), "h: axes: expected each once, got Layers twice"),
        (
            input(json!({"name": "W", "value": "weights", "layer": 1, "part": "input", "axes": []})),
            "W: layer: expected a recurrent one, got 1",
        ),
        (
            input(json!({"name": "P", "value": "weights", "layer": 0, "part": "peepholes", "axes": []})),
            "P: layer 0: expected one with peepholes",
        ),
        (
            output(json!({"name": "Y", "value": "direction", "direction": 2, "axes": ["time", "batch", "features"]})),
            "Y: direction: expected less than 2, got 2",
        ),
        (
            output(json!({"name": "Y", "value": "hidden", "stacks": [], "axes": []})),
            "Y: stacks: expected at least one, got none",
        ),
        (
            output(json!({"name": "Y", "value": "output", "axes": ["batch", "time"]})),
            "Y: axes: expected Features among them, which is longer than 1",
        ),
    ] {
        assert_eq!(got, wanted);
    }
}
