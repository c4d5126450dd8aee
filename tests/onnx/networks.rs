//! Graphs that are no chain: branches, heads, several inputs, states that nodes compute, nested graphs.

use gatewave::Model;
use gatewave::formats::description;
use gatewave::formats::onnx::read_bytes;
use gatewave::interface::{Dim, InputValue, OutputValue, Pin, Value};
use gatewave::layer::{Join, LayerKind};
use gatewave::weights::Tensors;

use crate::build::{Graph, Message, both, graph as inner, gru, int, ints, reals, sequence, weighted, wholes};
use crate::refused::refused;

fn read(graph: &Graph) -> (Model, Tensors) {
    let (model, tensors) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    let native = description::from_json(&description::to_json(&model), &tensors).expect("a description is read");
    assert_eq!(native, model);
    (model, tensors)
}

/// Returns the layers in a few words each.
fn layers(graph: &Graph) -> Vec<String> {
    read(graph).0.layers.iter().map(|layer| layer.kind.to_string()).collect()
}

const GRU: &str = "gru reset before(3→2)";

#[test]
fn layers_side_by_side_are_added_and_share_their_weights() {
    let graph = gru().node("GRU", &["X", "W", "R", "B"], &["Y2"], &[]).node("Add", &["Y", "Y2"], &["Z"], &[]);
    let (model, tensors) = read(&graph.output("Z"));
    let kinds: Vec<_> = model.layers.iter().map(|layer| layer.kind.to_string()).collect();
    assert_eq!(kinds, [GRU, GRU, "add"]);
    assert_eq!(model.layers[0].prefix, model.layers[1].prefix);
    assert!(tensors.iter().all(|(name, _)| name.starts_with("0.")));
    assert_eq!(model.layers[2].from, [Value::Layer(0, Pin::Output), Value::Layer(1, Pin::Output)]);
}

#[test]
fn other_weights_are_not_shared() {
    let graph = gru().node("GRU", &["X", "W", "R"], &["Y2"], &[]).node("Mul", &["Y", "Y2"], &["Z"], &[]).output("Z");
    let (model, _) = read(&graph);
    assert_ne!(model.layers[0].prefix, model.layers[1].prefix);
    assert_eq!(model.layers[2].kind, LayerKind::Join(Join::Multiply));
}

#[test]
fn a_chain_names_no_inputs_and_no_outputs() {
    let (model, _) = read(&gru().output("Y").output("H"));
    assert!(model.is_chain());
    let (model, _) = read(&gru().node("Tanh", &["Y"], &["Z"], &[]).output("Y").output("Z"));
    let names: Vec<_> = model.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!((model.inputs[0].name.as_str(), &names[..]), ("X", &["Y", "Z"][..]));
    let values: Vec<_> = model.ports.outputs.into_iter().map(|port| port.value).collect();
    assert_eq!(values, [OutputValue::Output, OutputValue::Another(1)]);
}

#[test]
fn inputs_that_meet_step_by_step_are_told_together() {
    let graph = gru()
        .input("X2", 1, &["t2", "b2", "3"])
        .node("GRU", &["X2", "W", "R", "B"], &["Y2"], &[])
        .node("Concat", &["Y", "Y2"], &["Z"], &[int("axis", 3)])
        .output("Z");
    let (model, _) = read(&graph);
    assert_eq!(layers(&graph), [GRU, GRU, "concat"]);
    let ports = model.ports.inputs;
    assert_eq!(ports[1].value, InputValue::Input(1));
    assert_eq!(ports[0].axes, ports[1].axes);
    // If axes cannot be the same, the error names the node.
    let graph = gru()
        .input("X2", 1, &["7", "batch", "3"])
        .input("X3", 1, &["5", "batch", "3"])
        .node("GRU", &["X2", "W", "R", "B"], &["Y2"], &[])
        .node("GRU", &["X3", "W", "R", "B"], &["Y3"], &[])
        .node("Sub", &["Y2", "Y3"], &["Z"], &[])
        .output("Z");
    let text = refused(&graph);
    assert!(text.contains("(Sub): values that do not fit: time meets time"), "{text}");
}

#[test]
fn a_row_meets_every_step() {
    let row = || gru().input("C", 1, &["batch", "2"]).initializer(&wholes("0", &[1], &[0]));
    let graph = row().node("Unsqueeze", &["C", "0"], &["U"], &[]).node("Unsqueeze", &["U", "0"], &["V"], &[]);
    let gated = graph.node("Mul", &["Y", "V"], &["Z"], &[]).output("Z");
    let (model, _) = read(&gated);
    let axes = &model.ports.inputs[1].axes;
    assert_eq!(axes, &[Dim::Batch, Dim::Features]);
    assert_eq!(layers(&gated), [GRU, "multiply"]);
    let swapped = row().node("Mul", &["Y", "C"], &["Z"], &[]).output("Z");
    assert_eq!(layers(&swapped), [GRU, "multiply"]);
    let repeated = row().node("Unsqueeze", &["C", "0"], &["U"], &[]).initializer(&wholes("five", &[3], &[5, 1, 1]));
    let repeated = repeated.node("Expand", &["U", "five"], &["E"], &[]);
    let repeated = repeated.node("GRU", &["E", "W2", "R"], &["Z"], &[]).initializer(&reals("W2", &[1, 6, 2], 0.1));
    assert_eq!(layers(&repeated.output("Z")), ["repeat(5)", "gru reset before(2→2)"]);
}

#[test]
fn states_come_from_what_other_nodes_give() {
    let graph = gru().node("GRU", &["X", "W", "R", "B", "", "H"], &["Y2"], &[]).output("Y2");
    let (model, _) = read(&graph);
    assert_eq!(model.layers[1].initial, [Some(Value::Layer(0, Pin::FinalHidden)), None]);
    let both = both()
        .initializer(&reals("W2", &[2, 6, 3], 0.1))
        .node("GRU", &["X", "W2", "R", "B", "", "Y"], &["Z"], &[crate::build::text("direction", "bidirectional")])
        .output("Z");
    assert!(refused(&both).contains("(GRU): initial_h: expected directions, batch and features"));
}

#[test]
fn the_first_step_is_a_row_like_any_other() {
    let graph = gru()
        .initializer(&wholes("i", &[], &[0]))
        .node("Gather", &["Y", "i"], &["F"], &[])
        .node("Add", &["F", "H"], &["Z"], &[])
        .output("Z");
    assert_eq!(layers(&graph), [GRU, "slice_steps(0..1)", "last_step", "add"]);
}

/// A graph that squeezes axis 1 of `of`, and one that leaves it unchanged.
fn branches(of: &str) -> [Message; 2] {
    let squeeze = Graph::new().initializer(&wholes("one", &[1], &[1])).node("Squeeze", &[of, "one"], &["S"], &[]);
    let kept = Graph::new().node("Identity", &[of], &["K"], &[]);
    [inner("then_branch", &squeeze.output("S")), inner("else_branch", &kept.output("K"))]
}

/// An input of four axes; the second one may be 1.
fn maybe_one(axis: &str) -> Graph {
    weighted(Graph::new().input("X", 1, &["time", axis, "batch", "3"]), 3, 1)
        .initializer(&wholes("place", &[1], &[1]))
        .initializer(&wholes("1", &[1], &[1]))
        .node("Shape", &["X"], &["shape"], &[])
        .node("Gather", &["shape", "place"], &["size"], &[])
        .node("Equal", &["size", "1"], &["is one"], &[])
        .node("If", &["is one"], &["Q"], &branches("X"))
        .node("GRU", &["Q", "W", "R", "B"], &["Y"], &[])
        .output("Y")
}

#[test]
fn an_axis_that_must_be_1_is_told_by_the_port() {
    for axis in ["one", "1"] {
        let (model, _) = read(&maybe_one(axis));
        assert!(model.is_chain());
        let axes = &model.ports.inputs[0].axes[..];
        assert_eq!(axes, [Dim::Time, Dim::One, Dim::Batch, Dim::Features]);
    }
    let text = refused(&maybe_one("2"));
    assert!(text.contains("(GRU): X: expected time, batch and features"), "{text}");
}

#[test]
fn a_condition_that_depends_on_the_call_is_refused() {
    let graph = gru()
        .initializer(&wholes("place", &[1], &[0]))
        .initializer(&wholes("7", &[1], &[7]))
        .node("Shape", &["X"], &["shape"], &[])
        .node("Gather", &["shape", "place"], &["size"], &[])
        .node("Equal", &["size", "7"], &["is seven"], &[])
        .node("If", &["is seven"], &["Z"], &branches("Y"))
        .output("Z");
    let text = refused(&graph);
    assert!(
        text.contains("(If): which of its graphs is meant depends on the sizes of a call, on whether time is 7"),
        "{text}"
    );
}

/// Sorts the rows of X by lengths, and undoes it.
fn sorted(graph: Graph) -> Graph {
    graph
        .input("lengths", 7, &["batch"])
        .node("Shape", &["lengths"], &["rows"], &[])
        .node("TopK", &["lengths", "rows"], &["sorted", "order"], &[])
        .node("Gather", &["X", "order"], &["S"], &[int("axis", 1)])
        .node("Cast", &["sorted"], &["small"], &[int("to", 6)])
        .node("TopK", &["order", "rows"], &["", "back"], &[int("largest", 0)])
}

#[test]
fn rows_that_are_sorted_by_length_are_put_back() {
    let graph = || sorted(weighted(sequence(Graph::new()), 3, 1));
    let node = |lengths: &str, x: &str| graph().node("GRU", &[x, "W", "R", "B", lengths], &["Y", "H"], &[]);
    let whole = node("small", "S").node("Gather", &["H", "back"], &["Z"], &[int("axis", 1)]).output("Z");
    let (model, _) = read(&whole);
    assert!(model.is_chain());
    assert_eq!(model.ports.inputs[1].value, InputValue::Lengths(0));
    assert!(refused(&node("small", "S").output("H")).contains("rows in the order of their lengths"));
    assert!(refused(&node("small", "X").output("H")).contains("expected the lengths in the order of the rows of X"));
    assert!(refused(&node("lengths", "S").output("H")).contains("expected the lengths in the order of the rows of X"));
    let mixed = graph().node("Add", &["S", "X"], &["M"], &[]).node("GRU", &["M", "W", "R", "B"], &["Y"], &[]);
    let mixed = refused(&mixed.output("Y"));
    assert!(mixed.contains("(Add): rows in the order of their lengths, and rows as they come in"), "{mixed}");
}

#[test]
fn what_stands_after_the_end_of_a_row_is_not_given() {
    let graph = weighted(sequence(Graph::new()), 3, 1)
        .input("lengths", 6, &["batch"])
        .node("GRU", &["X", "W", "R", "B", "lengths"], &["Y"], &[])
        .initializer(&wholes("one", &[1], &[1]))
        .node("Squeeze", &["Y", "one"], &["S"], &[])
        .node("Concat", &["S", "X"], &["Z"], &[int("axis", 2)])
        .output("Z");
    let text = refused(&graph);
    assert!(text.contains("output \"Z\": an input without a recurrent layer on the way"), "{text}");
}

#[test]
fn the_place_of_the_largest_feature_is_an_output_alone() {
    let graph = gru().node("ArgMax", &["Y"], &["Z"], &[int("axis", 3), int("keepdims", 0)]);
    let (model, _) = read(&graph.clone().output("Z"));
    assert!(model.is_chain());
    let port = &model.ports.outputs[0];
    assert_eq!((&port.value, &port.axes[..]), (&OutputValue::Largest(0), &[Dim::Time, Dim::One, Dim::Batch][..]));
    let text = refused(&graph.node("Tanh", &["Z"], &["T"], &[]).output("T"));
    assert!(text.contains("(Tanh): the place of the largest feature, but for an output"), "{text}");
    let steps = gru().node("ArgMax", &["Y"], &["Z"], &[int("axis", 0)]).output("Z");
    assert!(refused(&steps).contains("(ArgMax): expected the features, got axis 0"));
    // The place of one is that of the largest, also as PyTorch's `topk(1)` has it.
    let top = |k: i64, largest: i64| {
        let attributes = [int("axis", -1), int("largest", largest)];
        gru().initializer(&wholes("k", &[1], &[k])).node("TopK", &["Y", "k"], &["best", "Z"], &attributes)
    };
    let (model, _) = read(&top(1, 1).output("Z"));
    assert_eq!(model.ports.outputs[0].value, OutputValue::Largest(0));
    let unread = "the largest feature itself, of which only the place is read";
    assert!(refused(&top(1, 1).output("best")).contains(unread));
    for wrong in [top(2, 1), top(1, 0)] {
        let text = refused(&wrong.output("Z"));
        assert!(text.contains("(TopK): expected the largest feature alone (k = 1, largest = 1), got others"), "{text}");
    }
}

#[test]
fn parts_of_an_input_are_slices() {
    let graph = Graph::new()
        .input("X", 1, &["time", "batch", "5"])
        .node("Split", &["X"], &["a", "b"], &[int("axis", 2)])
        .initializer(&reals("W", &[1, 6, 3], 0.1))
        .initializer(&reals("W2", &[1, 6, 2], 0.1))
        .initializer(&reals("R", &[1, 6, 2], 0.1))
        .node("GRU", &["a", "W", "R"], &["Y"], &[])
        .node("GRU", &["b", "W2", "R"], &["Y2"], &[])
        .output("Y")
        .output("Y2");
    assert_eq!(layers(&graph), ["slice(0..3)", GRU, "slice(3..5)", "gru reset before(2→2)"]);
    let wrong =
        refused(&sequence(Graph::new()).node("Transpose", &["X"], &["Z"], &[ints("perm", &[0, 1])]).output("Z"));
    assert!(wrong.contains("(Transpose)"), "{wrong}");
}

#[test]
fn two_ways_through_time_are_read_where_each_is_turned_back() {
    let all = |name: &str, n: i64| wholes(name, &[1], &[n]);
    let turned = |graph: Graph, from: &str, to: &str| graph.node("Slice", &[from, "-1", "far", "0", "-1"], &[to], &[]);
    let graph = gru().initializer(&all("-1", -1)).initializer(&all("far", i64::MIN)).initializer(&all("0", 0));
    let graph = turned(graph, "X", "turned").node("GRU", &["turned", "W", "R", "B"], &["back"], &[]);
    let graph = turned(graph, "back", "own");
    let (model, _) = read(&graph.clone().node("Add", &["Y", "own"], &["Z"], &[]).output("Z"));
    let directions: Vec<_> = model.stacks().map(|stack| stack.direction).collect();
    assert_eq!(directions, [gatewave::layer::Direction::Forward, gatewave::layer::Direction::Reverse]);
    // Side by side they are one layer.
    let joined = graph.clone().node("Concat", &["Y", "own"], &["Z"], &[int("axis", 3)]).output("Z");
    assert_eq!(layers(&joined), ["gru reset before(3→2) bidirectional"]);
    let text = refused(&graph.node("Tanh", &["turned"], &["T"], &[]).output("T"));
    assert!(text.contains("steps in reverse, but for an RNN, LSTM or GRU"), "{text}");
}

#[test]
fn states_that_flow_elsewhere_are_rows_of_features() {
    let graph = weighted(sequence(Graph::new()), 3, 1)
        .input("h", 1, &["1", "batch", "2"])
        .node("GRU", &["X", "W", "R", "B", "", "h"], &["Y"], &[])
        .node("Mul", &["Y", "h"], &["Z"], &[])
        .output("Z");
    let (model, _) = read(&graph);
    assert_eq!(model.layers[0].initial, [Some(Value::Input(1)), None]);
    assert_eq!(model.layers[1].from, [Value::Layer(0, Pin::Output), Value::Input(1)]);
}

#[test]
fn a_product_of_layers_apart_is_one_of_each() {
    let graph = both()
        .initializer(&reals("V", &[2, 2], 0.1))
        .initializer(&reals("b", &[2], 0.1))
        .node("MatMul", &["H", "V"], &["P"], &[])
        .node("Add", &["P", "b"], &["Q"], &[])
        .node("GRU", &["X", "W", "R", "B", "", "Q"], &["Z"], &[crate::build::text("direction", "bidirectional")])
        .output("Z");
    let (model, _) = read(&graph);
    let products = model.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Linear(_))).count();
    assert_eq!(products, 2);
}
