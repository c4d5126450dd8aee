//! What is refused of Keras' attention, and in which words.

use gatewave::ErrorKind;
use gatewave::layer::{Attention, LayerKind};
use serde_json::json;

use crate::refused::{Archive, archive};

fn concat() -> Archive {
    archive("../attention/concat-causal")
}

/// Returns the layer of class `class`.
fn layer<'a>(archive: &'a mut Archive, class: &str) -> &'a mut serde_json::Value {
    let layers = archive.config["config"]["layers"].as_array_mut().expect("layers");
    layers.iter_mut().find(|layer| layer["class_name"] == class).expect("a layer of that class")
}

#[test]
fn what_a_call_of_attention_says_is_read_or_refused() {
    let causal = |archive: &Archive| {
        let model = archive.read().unwrap_or_else(|e| panic!("{e}"));
        model.layers.iter().any(|l| matches!(&l.kind, LayerKind::Attention(Attention { causal: true, .. })))
    };
    let mut model = concat();
    assert!(causal(&model));
    layer(&mut model, "Attention")["inbound_nodes"][0]["kwargs"]["use_causal_mask"] = json!(false);
    assert!(!causal(&model));
    layer(&mut model, "Attention")["inbound_nodes"][0]["kwargs"]["return_attention_scores"] = json!(true);
    model.refused(
        ErrorKind::Model,
        &["(Attention): return_attention_scores: expected false, got true; the weights of steps are no output here"],
    );
}

#[test]
fn other_scores_and_other_inputs_are_refused() {
    let mut model = concat();
    layer(&mut model, "Attention")["config"]["score_mode"] = json!("cosine");
    model.refused(ErrorKind::Model, &["(Attention): score_mode: expected dot or concat, got \"cosine\""]);
    let mut model = concat();
    let arguments = layer(&mut model, "Attention")["inbound_nodes"][0]["args"][0].as_array_mut().expect("a list");
    arguments.pop();
    model.refused(ErrorKind::Model, &["(Attention): expected query and value, or query, value and key, got 1 inputs"]);
}

#[test]
fn products_that_are_no_attention_are_refused_where_they_stand() {
    let dots = || archive("../attention/dots");
    let mut axes = dots();
    layer(&mut axes, "Dot")["config"]["axes"] = json!([1, 1]);
    axes.refused(
        ErrorKind::Model,
        &[
            "layer dot (Dot): expected the features of a query and of a key, or the softmax of their scores and the steps of a \
             value, got [B, any, 5] of layer gru (GRU) and [B, any, 5] of layer lstm (LSTM) over the axes [1,1]",
        ],
    );
    let mut normal = dots();
    layer(&mut normal, "Dot")["config"]["normalize"] = json!(true);
    normal.refused(ErrorKind::Model, &["layer dot (Dot): normalize: expected false, got true"]);
    let mut other = dots();
    layer(&mut other, "Activation")["config"]["activation"] = json!("sigmoid");
    let words = ["layer activation (Activation): expected a softmax of scores, got sigmoid of scores of steps"];
    other.refused(ErrorKind::Model, &words);
    let mut shown = dots();
    shown.config["config"]["output_layers"] = json!(["activation", 0, 0]);
    let words = ["expected a sequence or features, got the weights of steps of layer activation (Activation)"];
    shown.refused(ErrorKind::Model, &words);
    let mut axis = archive("../attention/dots-over-steps");
    layer(&mut axis, "Softmax")["config"]["axis"] = json!(0);
    axis.refused(ErrorKind::Model, &["(Softmax): axis: expected -1 (the features), got 0"]);
}
