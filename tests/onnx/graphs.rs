//! Graphs that express the same thing in many ways, and how they are read.

use gatewave::Model;
use gatewave::formats::onnx::read_bytes;
use gatewave::interface::OutputValue;
use gatewave::layer::{Direction, LayerKind, Merge, Recurrent};
use gatewave::weights::Tensors;

use crate::build::{Graph, both, gru, int, ints, reals, sequence, text, weighted, wholes};

fn read(graph: &Graph) -> (Model, Tensors) {
    read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"))
}

/// Returns the layers in a few words each.
fn layers(graph: &Graph) -> Vec<String> {
    read(graph).0.layers.iter().map(|layer| layer.kind.to_string()).collect()
}

fn stack(model: &Model) -> Recurrent {
    model.stacks().next().expect("a stack").clone()
}

/// Adds constants for slices and reshapes.
fn numbers(graph: Graph) -> Graph {
    let graph = [-1, 0, 1, 2, 3].iter().fold(graph, |graph, &n| graph.initializer(&wholes(&n.to_string(), &[1], &[n])));
    graph.initializer(&wholes("end", &[1], &[i64::MAX]))
}

/// Adds a product with `inputs` features after `of`.
fn product(graph: Graph, of: &str, inputs: i64) -> Graph {
    graph.initializer(&reals("V", &[inputs, 3], 1.0)).node("MatMul", &[of, "V"], &["Z"], &[]).output("Z")
}

#[test]
fn directions_side_by_side_in_another_order_turn_the_product() {
    let graph = |first: &str, second: &str| {
        let graph = both().node("Split", &["H"], &["f", "r"], &[int("axis", 0)]);
        let graph = graph.node("Concat", &[first, second], &["c"], &[int("axis", 2)]);
        product(numbers(graph).node("Squeeze", &["c", "0"], &["s"], &[]), "s", 4)
    };
    let ((model, straight), (other, turned)) = (read(&graph("f", "r")), read(&graph("r", "f")));
    assert_eq!(model, other);
    assert_eq!(layers(&graph("f", "r")), ["gru reset before(3→2) bidirectional", "final_hidden", "linear(4→3)"]);
    let row = |tensors: &Tensors| tensors.get("2.weight").expect("there").read().expect("read")[..4].to_vec();
    assert_eq!(row(&straight), [0.0, 3.0, 6.0, 9.0]);
    assert_eq!(row(&turned), [6.0, 9.0, 0.0, 3.0]);
}

#[test]
fn one_direction_of_two_is_a_product_with_zeros() {
    let graph = both().initializer(&wholes("i", &[], &[1])).node("Gather", &["H", "i"], &["r"], &[]);
    let (model, tensors) = read(&product(graph, "r", 2));
    assert_eq!(model.layers.len(), 3);
    let w = tensors.get("2.weight").expect("there").read().expect("read").into_owned();
    assert_eq!(w[..4], [0.0, 0.0, 0.0, 3.0]);
}

#[test]
fn the_last_step_is_taken_in_many_ways() {
    let squeezed = || numbers(gru()).node("Squeeze", &["Y", "1"], &["S"], &[]);
    let sliced =
        squeezed().node("Slice", &["S", "-1", "end", "0"], &["l"], &[]).node("Squeeze", &["l", "0"], &["L"], &[]);
    let gathered = squeezed().initializer(&wholes("i", &[], &[-1])).node("Gather", &["S", "i"], &["L"], &[]);
    let counted = squeezed()
        .node("Shape", &["S"], &["shape"], &[])
        .node("Gather", &["shape", "0"], &["T"], &[])
        .node("Sub", &["T", "1"], &["i"], &[])
        .node("Gather", &["S", "i"], &["l"], &[])
        .node("Squeeze", &["l", "0"], &["L"], &[]);
    for graph in [sliced, gathered, counted] {
        assert_eq!(layers(&product(graph, "L", 2)), ["gru reset before(3→2)", "last_step", "linear(2→3)"]);
    }
    assert_eq!(
        layers(&product(numbers(gru()).node("Squeeze", &["H", "0"], &["L"], &[]), "L", 2)),
        ["gru reset before(3→2)", "final_hidden", "linear(2→3)"]
    );
}

#[test]
fn what_each_direction_computes_last_is_the_last_output() {
    let graph = numbers(both())
        .node("Split", &["Y"], &["f", "r"], &[int("axis", 1)])
        .node("Slice", &["f", "-1", "end", "0"], &["last"], &[])
        .node("Slice", &["r", "0", "1", "0"], &["first"], &[])
        .node("Concat", &["last", "first"], &["c"], &[int("axis", -1)])
        .initializer(&wholes("01", &[2], &[0, 1]))
        .node("Squeeze", &["c", "01"], &["s"], &[]);
    assert_eq!(layers(&product(graph, "s", 4))[1], "last_output");
}

#[test]
fn directions_are_merged() {
    let halves = || numbers(both()).node("Split", &["Y"], &["f", "r"], &[int("axis", 1)]);
    let merged = |graph: Graph| stack(&read(&graph.output("Z")).0).merge;
    assert_eq!(merged(halves().node("Add", &["f", "r"], &["Z"], &[])), Merge::Sum);
    assert_eq!(merged(halves().node("Mul", &["r", "f"], &["Z"], &[])), Merge::Product);
    let sum = halves().node("Add", &["f", "r"], &["s"], &[]).initializer(&reals("half", &[1], 0.0));
    let half = sum.node("Constant", &[], &["h"], &[crate::build::float("value_float", 0.5)]);
    assert_eq!(merged(half.node("Mul", &["s", "h"], &["Z"], &[])), Merge::Average);
}

#[test]
fn time_and_batch_are_joined_and_parted_around_a_product() {
    let graph = numbers(gru())
        .node("Shape", &["X"], &["shape"], &[])
        .initializer(&wholes("flat", &[2], &[-1, 2]))
        .node("Reshape", &["Y", "flat"], &["F"], &[])
        .initializer(&reals("V", &[2, 5], 1.0))
        .node("MatMul", &["F", "V"], &["P"], &[])
        .node("Slice", &["shape", "0", "2"], &["TB"], &[])
        .initializer(&wholes("5", &[1], &[5]))
        .node("Concat", &["TB", "5"], &["back"], &[int("axis", 0)])
        .node("Reshape", &["P", "back"], &["Z"], &[])
        .output("Z");
    assert_eq!(layers(&graph), ["gru reset before(3→2)", "linear(2→5)"]);
}

#[test]
fn a_reverse_layers_output_is_of_one_direction() {
    let graph = weighted(sequence(Graph::new()), 4, 1)
        .node("LSTM", &["X", "W", "R", "B"], &["Y", "H", "C"], &[text("direction", "reverse"), int("layout", 0)])
        .output("Y")
        .output("C");
    let (model, tensors) = read(&graph);
    assert_eq!(stack(&model).direction, Direction::Reverse);
    assert!(tensors.get("0.weight_ih_l0_reverse").is_some());
}

#[test]
fn a_direction_can_be_an_output() {
    let graph = both().node("Split", &["Y"], &["f", "r"], &[int("axis", 1)]).output("r");
    let (model, _) = read(&graph);
    let outputs = &model.ports.outputs;
    assert_eq!(outputs[0].value, OutputValue::Direction(1));
}

#[test]
fn biases_and_activations_join_their_product() {
    let graph = numbers(gru()).node("Squeeze", &["Y", "1"], &["S"], &[]).initializer(&reals("V", &[2, 5], 1.0));
    let graph = graph
        .node("MatMul", &["S", "V"], &["P"], &[])
        .initializer(&reals("b", &[5], 1.0))
        .node("Add", &["b", "P"], &["Q"], &[])
        .node("Sigmoid", &["Q"], &["G"], &[])
        .node("Mul", &["Q", "G"], &["Z"], &[])
        .output("Z");
    assert_eq!(layers(&graph), ["gru reset before(3→2)", "linear(2→5) silu"]);
    assert!(read(&graph).1.get("1.bias").is_some());
}

#[test]
fn tokens_are_looked_up_or_set_to_one() {
    let tokens = || Graph::new().input("ids", 7, &["batch", "time"]).initializer(&reals("W", &[1, 6, 4], 0.1));
    let behind = |graph: Graph| {
        graph
            .initializer(&reals("R", &[1, 6, 2], 0.1))
            .node("Transpose", &["E"], &["X"], &[ints("perm", &[1, 0, 2])])
            .node("GRU", &["X", "W", "R"], &["Y"], &[int("linear_before_reset", 1)])
            .output("Y")
    };
    let table = tokens().initializer(&reals("table", &[7, 4], 0.1)).node("Gather", &["table", "ids"], &["E"], &[]);
    assert_eq!(layers(&behind(table)), ["embedding(7→4)", "gru(4→2)"]);
    let hot = tokens().initializer(&wholes("depth", &[], &[4])).initializer(&reals("values", &[2], 1.0));
    let hot = hot.node("OneHot", &["ids", "depth", "values"], &["E"], &[]);
    assert_eq!(layers(&behind(hot)), ["one_hot(4)", "gru(4→2)"]);
}

#[test]
fn a_stack_knows_its_layers_as_the_graph_has_them() {
    let graph = numbers(gru())
        .node("Squeeze", &["Y", "1"], &["S"], &[])
        .initializer(&reals("W2", &[1, 6, 2], 0.1))
        .node("GRU", &["S", "W2", "R"], &["Y2", "H2"], &[])
        .node("Concat", &["H", "H2"], &["hn"], &[int("axis", 0)])
        .output("Y2")
        .output("hn");
    let (model, _) = read(&graph);
    let recurrent = |layer: &gatewave::layer::Layer| matches!(layer.kind, LayerKind::Recurrent(_));
    assert_eq!(model.layers.iter().filter(|layer| recurrent(layer)).count(), 2);
    let last = &model.ports.outputs[1];
    assert!(matches!(&last.value, OutputValue::States { stacks, .. } if stacks[..] == [0, 1]));
}
