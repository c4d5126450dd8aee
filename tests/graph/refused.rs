//! Edges with wrong names in a description or the builder: every error as text.

use gatewave::interface::State;
use gatewave::layer::Join;
use gatewave::{Linear, Model};
use serde_json::{Value as Json, json};

use crate::{changed, refusal};

#[test]
fn wrong_edges_are_refused_by_name() {
    let from = |layer: usize, from: Json| changed(move |json| json["layers"][layer]["from"] = from.clone());
    let names = "words, facts, embedding, lower, sum, upper, hidden, joined, tags, score";
    let before = "expected a value of a layer before this one, got";
    let cases = [
        (from(3, json!("summ")), format!("layer 3 upper (lstm): from: expected one of {names}, got summ")),
        (
            from(3, json!("sum.hiden")),
            format!(
                "layer 3 upper (lstm): from: expected one of {names}, got sum.hiden; results of a recurrent layer are \
                 .final_hidden, .last_output, .final_cell, .hidden, .cell"
            ),
        ),
        (from(3, json!(2)), "layer 3 upper (lstm): from: expected a name or a list of names, got 2".into()),
        (from(3, json!([2])), "layer 3 upper (lstm): from: expected names, got 2".into()),
        (from(3, json!("upper")), format!("layer 3 upper (lstm): from: {before} its own, upper")),
        (
            from(2, json!(["lower", "hidden"])),
            format!("layer 2 sum (add): from: {before} hidden, which is defined after (layer 4); list it before"),
        ),
        (
            from(2, json!(["embedding", "upper.last_output"])),
            format!("layer 2 sum (add): from: {before} upper.last_output, which itself needs this one: a cycle"),
        ),
        (from(2, json!(["embedding"])), "layer 2 sum (add): from: expected two values or more, got 1".into()),
        (from(3, json!(["sum", "lower"])), "layer 3 upper (lstm): from: expected one value, got 2".into()),
        (from(3, json!([])), "layer 3 upper (lstm): from: expected one value, got 0".into()),
        (
            from(2, json!(["embedding", "words"])),
            "layer 2 sum (add): from: expected features, got words (tokens below 20)".into(),
        ),
        (
            from(7, json!("upper.final_hidden")),
            "layer 7 score (linear): from upper.final_hidden: expected 10 features (in_features), got 6 features without a \
             time axis"
                .into(),
        ),
        (
            from(7, json!("upper.hidden")),
            "layer 7 score (linear): from: expected features, got final states, upper.hidden".into(),
        ),
        (
            from(7, json!("sum.last_output")),
            "layer 7 score (linear): from: expected a recurrent stack, got layer 2 sum (add)".into(),
        ),
        (
            changed(|json| json["layers"][5]["type"] = "multiply".into()),
            "layer 5 joined (multiply): from: expected values of equal features, got upper.final_hidden [B, 6] and hidden \
             [B, 4]"
                .into(),
        ),
        (
            changed(|json| json["layers"][5]["name"] = "sum".into()),
            "layers: expected each name once, got sum of layer 2 and of layer 5".into(),
        ),
        (
            changed(|json| json["layers"][0]["name"] = "words".into()),
            "layers: expected each name once, got words of input 0 and of layer 0".into(),
        ),
        (
            changed(|json| json["layers"][7]["name"] = "tags".into()),
            "layers: expected each name once, got tags of layer 6 and of layer 7".into(),
        ),
        (
            changed(|json| json["inputs"][1]["name"] = "words".into()),
            "inputs: expected each name once, got words of input 0 and of input 1".into(),
        ),
        (
            changed(|json| json["inputs"].as_array_mut().unwrap().push(json!({"name": "z", "type": "row", "size": 2}))),
            "inputs: expected a layer that takes z, got none".into(),
        ),
        (
            changed(|json| json["inputs"].as_array_mut().unwrap().push(json!({"name": "z", "type": "cell", "stack": "sum"}))),
            "inputs: z: stack: expected a recurrent layer, got sum (add)".into(),
        ),
        (
            changed(|json| json["inputs"][1]["type"] = "rows".into()),
            "inputs: facts: type: expected one of \"sequence\", \"tokens\", \"row\", \"hidden\", \"cell\", got \"rows\"".into(),
        ),
        (
            changed(|json| json["layers"][3]["h_0"] = "lower.hidden".into()),
            "layer 3 upper (lstm): h_0: expected [1, B, 6] (layers · directions, B, size), got lower.hidden [1, B, 8]".into(),
        ),
        (
            changed(|json| json["layers"][3]["h_0"] = "lower".into()),
            "layer 3 upper (lstm): h_0: expected 6 features without a time axis, got lower (a sequence of 8 features)".into(),
        ),
        (
            changed(|json| json["outputs"][0]["from"] = "facts".into()),
            "outputs: score: expected what a layer gives, got an input".into(),
        ),
        (
            changed(|json| json["outputs"][1]["name"] = "score".into()),
            "outputs: expected each name once, got score of output 0 and of output 1".into(),
        ),
        (
            changed(|json| json["outputs"][2]["from"] = "sum.cell".into()),
            "outputs: last: expected a state of a stack, got sum.cell".into(),
        ),
        (
            changed(|json| json["outputs"] = json!([])),
            "outputs: expected at least one, got none; leave the key out for the usual ones".into(),
        ),
        (
            changed(|json| json["inputs"] = json!([])),
            "inputs: expected at least one, got none; leave the key out for the usual ones".into(),
        ),
        (
            from(7, json!("#00")),
            "layer 7 score (linear): from: expected one of words, facts, embedding, lower, sum, upper, hidden, joined, tags, \
             score, got #00"
                .into(),
        ),
        (
            from(5, json!(["upper.final_hidden", "#+4"])),
            "layer 5 joined (concat): from: expected one of words, facts, embedding, lower, sum, upper, hidden, joined, tags, \
             score, got #+4"
                .into(),
        ),
        (
            changed(|json| {
                json["layers"][4] = json!({"type": "select", "name": "hidden", "what": "last_output", "from": "upper.final_hidden"});
            }),
            "layer 4 hidden (select): from: expected a layer, got its result upper.final_hidden; select takes upper; whoever \
             takes its result may name upper.final_hidden itself"
                .into(),
        ),
        (
            changed(|json| {
                json["layers"][4] = json!({"type": "select", "name": "hidden", "what": "final_hidden", "from": "facts"});
            }),
            "layer 4 hidden (select): from: expected a recurrent layer, got facts".into(),
        ),
        (
            changed(|json| json["layers"][0]["num_embeddings"] = 10.into()),
            "layer 0 embedding (embedding): from words: expected tokens below 10, got tokens below 20".into(),
        ),
    ];
    for (json, message) in cases {
        assert_eq!(refusal(&json), message);
    }
}

#[test]
fn what_the_builder_cannot_join_is_told_when_it_finishes() {
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let head = g.add("head", Linear::new(3, 2), x);
    g.begin(head, State::Hidden, x);
    let error = g.finish().unwrap_err().to_string();
    assert_eq!(error, "layer 0 head (linear): h_0: expected a recurrent layer of this model");
    let mut other = Model::graph();
    other.sequence("x", 3);
    other.add("sum", Join::Add, [head, head]);
    let error = other.finish().unwrap_err().to_string();
    assert_eq!(error, "layer 0 sum (add): from: expected a layer before this one, got layer 0 sum (add)");
}
