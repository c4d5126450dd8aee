//! Graphs that are not supported: each error names the node and the reason.

use gatewave::ErrorKind;
use gatewave::formats::onnx::read_bytes;

use crate::build::{
    Graph, Message, both, float, floats, gru, int, ints, reals, sequence, shaped, text, texts, weighted, wholes,
};
use crate::inputs::{assert_near, features, run};

/// Checks that `graph` is refused, and returns the error.
pub(crate) fn refused(graph: &Graph) -> String {
    let error = read_bytes(&graph.bytes()).expect_err("the graph is refused");
    assert_eq!(error.kind(), ErrorKind::Model, "{error}");
    error.to_string()
}

const ELSEWHERE: &str = "; a general runtime such as ONNX Runtime may run this graph";

#[test]
fn an_operator_that_is_not_read_is_named_with_its_node() {
    let graph = gru().node("Einsum", &["Y"], &["Z"], &[]).output("Z");
    assert_eq!(refused(&graph), format!("node \"the Einsum\" (Einsum): the operator is not read{ELSEWHERE}"));
    let error = read_bytes(&graph.bytes()).expect_err("the graph is refused");
    assert_eq!((error.node(), error.layer(), error.tensor()), (Some("the Einsum"), None, None));
    let graph = gru().node_of("com.microsoft", "QAttention", &["Y"], &["Z"], &[]).output("Z");
    let text = "node \"the QAttention\" (QAttention): an operator of com.microsoft, which is not ONNX's own; export the \
                model without it";
    assert_eq!(refused(&graph), format!("{text}{ELSEWHERE}"));
}

#[test]
fn errors_lead_to_what_can_be_done() {
    let with = |name: &str, n: i64| gru().initializer(&wholes(name, &[1], &[n]));
    let flow = |op: &str, inputs: &[&str], attributes: &[Message]| {
        let graph = with("one", 1).initializer(&wholes("first", &[1], &[0])).initializer(&wholes("two", &[1], &[2]));
        let graph = graph
            .initializer(&wholes("back", &[1], &[-2]))
            .initializer(&wholes("far", &[1], &[i64::MAX]))
            .initializer(&reals("row", &[1, 1, 1, 2], 1.0));
        refused(&graph.node(op, inputs, &["Z", "indices"], attributes).output("Z"))
    };
    let cases: [(&str, &[&str], &[Message], &str); 6] = [
        (
            "Concat",
            &["Y", "row"],
            &[int("axis", 0)],
            "input 1: expected what flows, as the others, got constants; make it an input of the graph",
        ),
        (
            "Concat",
            &["Y", "X"],
            &[int("axis", 0)],
            "expected tensors of as many axes, got [time, 1, batch, 2] and [time, batch, 3]",
        ),
        (
            "TopK",
            &["Y", "two"],
            &[],
            "expected the largest feature alone (k = 1, largest = 1), got others: no layer here gives the k largest; let \
             the model give what they are taken of",
        ),
        (
            "Slice",
            &["Y", "first", "far", "first", "back"],
            &[],
            "a step of -2 along an axis whose length, time, is known in a call alone: expected one above 0, or -1 for all \
             of it from its end",
        ),
        (
            "Loop",
            &["one", "", "Y"],
            &[],
            "the operator is refused: loops are not read: export an LSTM, GRU or RNN as ONNX's operator of that name, as \
             torch.onnx and tf2onnx do; of a Keras model give the .keras file itself",
        ),
        (
            "Sin",
            &["Y"],
            &[],
            "expected constants of the file, got a sequence, or what layers make of it, of axes [time, 1, batch, features \
             2]: no layer here computes Sin of it",
        ),
    ];
    for (op, inputs, attributes, text) in cases {
        assert_eq!(flow(op, inputs, attributes), format!("node \"the {op}\" ({op}): {text}{ELSEWHERE}"));
    }
}

#[test]
fn a_node_that_no_output_needs_is_not_looked_at() {
    let graph = gru().node("Einsum", &["Y"], &["Z"], &[]).output("Y");
    assert!(read_bytes(&graph.bytes()).is_ok());
}

#[test]
fn an_attribute_that_is_not_known_is_an_error() {
    let graph = weighted(sequence(Graph::new()), 3, 1);
    let node =
        |attribute: Message| refused(&graph.clone().node("GRU", &["X", "W", "R"], &["Y"], &[attribute]).output("Y"));
    assert!(node(int("dilation", 2)).contains("(GRU): attribute dilation: not known"));
    assert!(node(int("input_forget", 1)).contains("attribute input_forget: not known"));
    assert!(node(int("hidden_size", 3)).contains("hidden_size: expected 2, as R has, got 3"));
    assert!(node(float("hidden_size", 2.0)).contains("attribute hidden_size: expected INT, got FLOAT"));
    assert!(node(int("layout", 2)).contains("attribute layout: expected 0 or 1, got 2"));
    assert!(node(text("direction", "sideways")).contains("direction: expected forward, reverse or bidirectional"));
    assert!(node(text("direction", "bidirectional")).contains("W: expected [2, 6, 3], got [1, 6, 3]"));
    assert!(node(texts("activations", &["Sigmoid"])).contains("activations: expected 2, got 1"));
    assert!(node(texts("activations", &["Sigmoid", "Gelu"])).contains("activations: no function \"Gelu\""));
    let twice = graph.node("GRU", &["X", "W", "R"], &["Y"], &[int("layout", 0), int("layout", 1)]).output("Y");
    assert!(refused(&twice).contains("attribute layout: expected it once, got it twice"));
}

#[test]
fn lengths_of_one_layer_alone_are_an_error() {
    let graph = weighted(sequence(Graph::new()), 3, 1)
        .input("lengths", 6, &["batch"])
        .node("GRU", &["X", "W", "R", "", "lengths"], &["Y"], &[])
        .initializer(&wholes("one", &[1], &[1]))
        .node("Squeeze", &["Y", "one"], &["Z"], &[])
        .initializer(&reals("W2", &[1, 6, 2], 0.1))
        .node("GRU", &["Z", "W2", "R"], &["Y2"], &[])
        .output("Y2");
    assert!(refused(&graph).contains("sequence_lens: expected those of the recurrent node before it"));
}

#[test]
fn graphs_without_a_recurrent_layer_are_read() {
    let none = sequence(Graph::new()).node("Tanh", &["X"], &["Z"], &[]).output("Z");
    assert_near(&run(&none, features()), &features().mapv(f32::tanh));
}

#[test]
fn what_has_no_meaning_is_refused() {
    let mixed = both().initializer(&wholes("shape", &[3], &[0, 2, -1])).node("Reshape", &["Y", "shape"], &["Z"], &[]);
    assert!(refused(&mixed.output("Z")).contains("(Reshape): joins axes 2 to 3"));
    let swapped = gru()
        .node("Squeeze", &["Y"], &["S"], &[])
        .node("Transpose", &["S"], &["T"], &[ints("perm", &[1, 0, 2])])
        .initializer(&reals("W2", &[1, 6, 2], 0.1))
        .node("GRU", &["T", "W2", "R"], &["Z"], &[]);
    assert!(refused(&swapped.output("Z")).contains("are time and batch swapped?"));
    let open = sequence(Graph::new())
        .input("W", 1, &["1", "rows", "3"])
        .initializer(&reals("R", &[1, 6, 2], 0.1))
        .node("GRU", &["X", "W", "R"], &["Y"], &[]);
    assert!(refused(&open.output("Y")).contains("the file leaves their shape open"));
}

#[test]
fn convolutions_that_no_layer_here_computes_are_refused() {
    let steps =
        || gru().node("Squeeze", &["Y"], &["S"], &[]).node("Transpose", &["S"], &["T"], &[ints("perm", &[1, 2, 0])]);
    let conv = |w: &[i64], attributes: &[Message]| {
        let graph = steps().initializer(&reals("K", w, 0.1)).node("Conv", &["T", "K"], &["C"], attributes);
        refused(&graph.output("C"))
    };
    let flat = conv(&[3, 2, 2, 2], &[]);
    assert!(flat.contains("W: expected three axes (a convolution over time), got [3, 2, 2, 2]"), "{flat}");
    let negative = conv(&[3, 2, 2], &[ints("pads", &[-1, 0])]);
    assert!(negative.contains("pads: expected zeros, got -1, 0"), "{negative}");
    let lower = conv(&[3, 2, 2], &[text("auto_pad", "SAME_LOWER"), ints("strides", &[2])]);
    assert!(lower.contains("auto_pad: expected a fixed number of steps, since there is a stride"), "{lower}");
    let pads = wholes("pads", &[6], &[0, 0, 1, 0, 0, 0]);
    let padded = steps().initializer(&pads).node("Pad", &["T", "pads"], &["P"], &[]).output("P");
    assert!(refused(&padded).contains("zeros around steps, but for a Conv"), "{}", refused(&padded));
    let pad = |mode: &str, inputs: &[&str]| {
        let graph =
            steps().initializer(&pads).initializer(&reals("one", &[2], 1.0)).initializer(&floats("fill", &[], &[1.0]));
        refused(&graph.node("Pad", inputs, &["P"], &[text("mode", mode)]).output("P"))
    };
    let filled = pad("constant", &["T", "pads", "fill"]);
    assert!(filled.contains("expected zeros before a convolution (mode constant), got 1"), "{filled}");
    let other = pad("symmetric", &["T", "pads"]);
    assert!(other.contains("mode: expected constant, reflect, edge or wrap, got \"symmetric\""), "{other}");
}

#[test]
fn old_operators_are_refused() {
    assert!(refused(&gru().output("Y").opset(6)).contains("expected version 7 or newer of ONNX's operators, got 6"));
    let error = read_bytes(b"no model").expect_err("no model");
    assert!(error.to_string().contains("is this an ONNX file?"), "{error}");
    assert!(refused(&Graph::new()).contains("expected an output, got none"));
}

#[test]
fn a_tensor_of_a_type_that_is_not_read_is_an_error_where_it_is_used() {
    let graph = sequence(Graph::new())
        .initializer(&shaped("W", 17, &[1, 6, 3]))
        .initializer(&reals("R", &[1, 6, 2], 0.1))
        .node("GRU", &["X", "W", "R"], &["Y"], &[])
        .output("Y");
    assert!(refused(&graph).contains("a tensor of float8e4m3fn, which is not read: convert it to float or float16"));
}
