//! How a graph uses its inputs before the first layer, and which of them a call must have.

use gatewave::formats::onnx::read_bytes;
use gatewave::interface::{Pin, Value};
use gatewave::weights::Tensors;
use gatewave::{Device, Engine, ErrorKind, Model, NamedTensors, Values};
use ndarray::{ArrayD, IxDyn};

use crate::build::{Graph, Message, both, float, int, ints, reals, sequence, text, weighted, wholes};
use crate::refused::refused;

/// Features of 4 steps and 2 rows.
pub(crate) fn features() -> ArrayD<f32> {
    ArrayD::from_shape_fn(IxDyn(&[4, 2, 3]), |i| 0.7 * i[0] as f32 - 0.4 * i[1] as f32 + 0.3 * i[2] as f32)
}

/// Returns the only output of `graph` for `x`, with lengths if it takes them.
pub(crate) fn run(graph: &Graph, x: ArrayD<f32>) -> ArrayD<f32> {
    let (model, tensors) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    run_model(&model, &tensors, x)
}

/// Returns the first output of `model` for `x`, with lengths if it takes them.
pub(crate) fn run_model(model: &Model, tensors: &Tensors, x: ArrayD<f32>) -> ArrayD<f32> {
    let mut named: NamedTensors = [("X".to_owned(), Values::from(x))].into_iter().collect();
    if model.all_ports().inputs.iter().any(|port| port.name == "lengths") {
        named.insert("lengths".into(), ndarray::arr1(&[4_i64, 2]).into());
    }
    let input = model.named_input(&named).unwrap_or_else(|e| panic!("{e}"));
    let engine = Engine::builder().device(Device::Cpu).load(model, tensors);
    let output = engine.expect("an engine").run(&input).expect("a result");
    model.named_output(&output).expect("outputs").remove(0).1.to_f32().into_owned()
}

/// `(X − [0, 0.5, 1]) / [1, 1.5, 2] · 3` as `S`.
fn scaled() -> Graph {
    sequence(Graph::new())
        .input("lengths", 6, &["batch"])
        .initializer(&reals("mean", &[3], 0.5))
        .initializer(&reals("spread", &[1, 1, 3], 0.5))
        .node("Constant", &[], &["one"], &[float("value_float", 1.0)])
        .node("Add", &["spread", "one"], &["deviation"], &[])
        .node("Sub", &["X", "mean"], &["centred"], &[])
        .node("Div", &["centred", "deviation"], &["normal"], &[])
        .node("Constant", &[], &["three"], &[float("value_float", 3.0)])
        .node("Mul", &["three", "normal"], &["S"], &[])
}

fn by_hand(x: &ArrayD<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_fn(x.raw_dim(), |i| {
        let f = i[2] as f32;
        (x[&i] - 0.5 * f) / (1.0 + 0.5 * f) * 3.0
    })
}

#[track_caller]
pub(crate) fn assert_near(got: &ArrayD<f32>, wanted: &ArrayD<f32>) {
    assert_eq!(got.shape(), wanted.shape());
    for (got, wanted) in got.iter().zip(wanted) {
        assert!((got - wanted).abs() < 1e-5, "got {got}, wanted {wanted}");
    }
}

#[test]
fn an_input_that_is_scaled_is_scaled_by_the_weights_that_take_it() {
    let layer = |graph: Graph, x: &str, bias: &str, attributes: &[Message]| {
        let directions = if attributes.is_empty() { 1 } else { 2 };
        weighted(graph, 3, directions).node("GRU", &[x, "W", "R", bias, "lengths"], &["Y"], attributes).output("Y")
    };
    let plain = || sequence(Graph::new()).input("lengths", 6, &["batch"]);
    for bias in ["B", ""] {
        for attributes in [vec![], vec![text("direction", "bidirectional"), int("linear_before_reset", 1)]] {
            let wanted = run(&layer(plain(), "X", bias, &attributes), by_hand(&features()));
            assert_near(&run(&layer(scaled(), "S", bias, &attributes), features()), &wanted);
        }
    }
    let product = |graph: Graph, x: &str| {
        let graph = graph.initializer(&reals("V", &[3, 3], 0.1)).node("MatMul", &[x, "V"], &["P"], &[]);
        layer(graph.initializer(&reals("b", &[3], 0.2)).node("Add", &["P", "b"], &["Q"], &[]), "Q", "B", &[])
    };
    let wanted = run(&product(plain(), "X"), by_hand(&features()));
    assert_near(&run(&product(scaled(), "S"), features()), &wanted);
}

#[test]
fn a_number_less_the_input_is_scaled_too() {
    let graph = |graph: Graph, x: &str| {
        weighted(graph, 3, 1).node("GRU", &[x, "W", "R", "B"], &["Y"], &[int("hidden_size", 2)]).output("Y")
    };
    let less = sequence(Graph::new()).node("Constant", &[], &["two"], &[float("value_float", 2.0)]).node(
        "Sub",
        &["two", "X"],
        &["S"],
        &[],
    );
    let wanted = run(&graph(sequence(Graph::new()), "X"), features().mapv(|x| 2.0 - x));
    assert_near(&run(&graph(less, "S"), features()), &wanted);
}

#[test]
fn a_function_of_the_input_is_a_layer() {
    let behind =
        |graph: Graph, x: &str| weighted(graph, 3, 1).node("GRU", &[x, "W", "R", "B"], &["Y"], &[]).output("Y");
    let tanh = behind(sequence(Graph::new()).node("Tanh", &["X"], &["S"], &[]), "S");
    let wanted = run(&behind(sequence(Graph::new()), "X"), features().mapv(f32::tanh));
    assert_near(&run(&tanh, features()), &wanted);
    // The same holds for values beside a recurrent layer that need it.
    let skipped =
        behind(scaled(), "S").initializer(&wholes("axis", &[1], &[1])).node("Squeeze", &["Y", "axis"], &["Q"], &[]);
    let skipped = skipped.initializer(&reals("V", &[2, 3], 0.0)).node("MatMul", &["Q", "V"], &["P"], &[]);
    let graph = skipped.node("Add", &["P", "S"], &["Z"], &[]);
    let (model, tensors) = read_bytes(&graph.output("Z").bytes()).unwrap_or_else(|e| panic!("{e}"));
    let engine = Engine::builder().device(Device::Cpu).load(&model, &tensors).expect("an engine");
    let given: NamedTensors = [("X".to_owned(), Values::from(features()))].into_iter().collect();
    let results = engine.run_named(&given).unwrap_or_else(|e| panic!("{e}"));
    assert_near(&results[1].1.to_f32(), &by_hand(&features()));
}

#[test]
fn what_else_is_done_to_an_input_is_refused_at_its_node() {
    let supplied = scaled().input("W", 1, &["1", "6", "3"]).initializer(&reals("R", &[1, 6, 2], 0.1));
    let supplied = refused(&supplied.node("GRU", &["S", "W", "R"], &["Y"], &[]).output("Y"));
    assert!(supplied.contains("(GRU): X: the input times or plus a constant, with weights that a caller supplies"));
    // By itself it is a layer.
    assert_near(&run(&scaled().output("S"), features()), &by_hand(&features()));
}

#[test]
fn a_call_must_bring_every_input_of_the_graph() {
    let graph = weighted(sequence(Graph::new()), 3, 1)
        .input("lengths", 6, &["batch"])
        .input("h", 1, &["1", "batch", "2"])
        .node("GRU", &["X", "W", "R", "B", "lengths", "h"], &["Y"], &[])
        .output("Y");
    let (model, _) = read_bytes(&graph.bytes()).expect("it is read");
    let missing = |left_out: &str| {
        let all = [
            ("X", Values::from(features())),
            ("lengths", ndarray::arr1(&[4_i64, 2]).into()),
            ("h", ArrayD::<f32>::zeros(IxDyn(&[1, 2, 2])).into()),
        ];
        let given: NamedTensors =
            all.into_iter().filter(|(name, _)| *name != left_out).map(|(name, v)| (name.to_owned(), v)).collect();
        let error = model.named_input(&given).map(drop).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    let text = "lengths: expected the lengths of the rows under this name, which the model needs, got X, h";
    assert_eq!(missing("lengths"), text);
    assert!(missing("h").starts_with("h: expected initial hidden states under this name, which the model needs"));
    assert!(missing("X").starts_with("X: expected the input under this name"));
}

#[test]
fn lengths_that_the_file_fixes_are_refused() {
    let graph = weighted(sequence(Graph::new()), 3, 1).initializer(&wholes("lengths", &[2], &[4, 2]));
    let text = refused(&graph.node("GRU", &["X", "W", "R", "", "lengths"], &["Y"], &[]).output("Y"));
    assert!(text.contains("(GRU): sequence_lens: expected an input"), "{text}");
    assert!(text.contains("got 2 lengths of the file; make them an input"), "{text}");
}

#[test]
fn inputs_that_the_operator_has_not_are_refused() {
    let graph = weighted(sequence(Graph::new()), 3, 1).initializer(&reals("P", &[1, 6], 1.0));
    let text = refused(&graph.node("GRU", &["X", "W", "R", "B", "", "", "", "P"], &["Y"], &[]).output("Y"));
    assert!(text.contains("(GRU): expected at most 6 inputs, as the operator has, got 8"), "{text}");
}

#[test]
fn a_sum_or_mean_over_the_directions_merges_them() {
    let merged = |op: &str, of: &str, axis: i64, opset: i64| {
        let keep = int("keepdims", 0);
        let graph = both().opset(opset);
        let graph = match (op, opset) {
            ("ReduceSum", _) | (_, 18..) => {
                graph.initializer(&wholes("axis", &[1], &[axis])).node(op, &[of, "axis"], &["Z"], &[keep])
            }
            _ => graph.node(op, &[of], &["Z"], &[keep, ints("axes", &[axis])]),
        };
        let graph = graph.initializer(&reals("V", &[2, 3], 1.0)).node("MatMul", &["Z", "V"], &["P"], &[]).output("P");
        let (model, _) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
        let layers: Vec<_> = model.layers.iter().map(|layer| layer.kind.to_string()).collect();
        (model.stacks().next().expect("a stack").merge, layers.len())
    };
    use gatewave::layer::Merge::{Average, Sum};
    assert_eq!(merged("ReduceSum", "Y", 1, 17), (Sum, 2));
    assert_eq!(merged("ReduceMean", "Y", 1, 18), (Average, 2));
    assert_eq!(merged("ReduceMean", "H", 0, 17), (Average, 3));
    let smallest = both().node("ReduceMin", &["H"], &["Z"], &[ints("axes", &[0])]).output("Z");
    assert!(refused(&smallest).contains("(ReduceMin): the smallest of several parts: no layer here finds it"));
    let rows = both().node("ReduceMean", &["H"], &["Z"], &[ints("axes", &[1])]).output("Z");
    assert!(refused(&rows).contains("(ReduceMean): expected an axis of steps, features or directions, got axis 1 of"));
    // The units of each direction, apart.
    let units = both().node("ReduceMean", &["Y"], &["Z"], &[ints("axes", &[3])]).output("Z");
    let means = run(&units, features());
    let apart = run(&both().output("Y"), features()).mean_axis(ndarray::Axis(3)).expect("two units");
    assert_near(&means, &apart.insert_axis(ndarray::Axis(3)));
}

#[test]
fn final_hidden_and_cell_states_in_one_tensor_are_joined() {
    let graph = weighted(sequence(Graph::new()), 4, 1)
        .node("LSTM", &["X", "W", "R", "B"], &["Y", "H", "C"], &[])
        .node("Concat", &["H", "C"], &["Z"], &[int("axis", 2)])
        .output("Z");
    let (model, _) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(model.layers[1].from, [Value::Layer(0, Pin::FinalHidden), Value::Layer(0, Pin::FinalCell)]);
}

#[test]
fn tokens_that_are_compared_with_every_class_are_unit_vectors() {
    let graph = Graph::new()
        .input("ids", 7, &["batch", "time"])
        .initializer(&wholes("last", &[1], &[-1]))
        .initializer(&wholes("classes", &[4], &[0, 1, 2, 3]))
        .node("Unsqueeze", &["ids", "last"], &["u"], &[])
        .node("Equal", &["u", "classes"], &["e"], &[])
        .node("Cast", &["e"], &["whole"], &[int("to", 7)])
        .node("Cast", &["whole"], &["x"], &[int("to", 1)])
        .node("Transpose", &["x"], &["X"], &[ints("perm", &[1, 0, 2])])
        .initializer(&reals("W", &[1, 6, 4], 0.1))
        .initializer(&reals("R", &[1, 6, 2], 0.1))
        .node("GRU", &["X", "W", "R"], &["Y"], &[])
        .output("Y");
    let (model, _) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    let layers: Vec<_> = model.layers.iter().map(|layer| layer.kind.to_string()).collect();
    assert_eq!(layers, ["one_hot(4)", "gru reset before(4→2)"]);
}
