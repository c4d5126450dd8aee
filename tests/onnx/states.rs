//! Initial states from the file: how graphs write them, and that they act like states from a caller.

use gatewave::formats::description;
use gatewave::formats::onnx::read_bytes;
use gatewave::layer::Initial;
use gatewave::weights::Tensors;
use gatewave::{Device, Engine, NamedTensors, Output, Values};
use ndarray::{ArrayD, IxDyn};

use crate::build::{Graph, Message, int, ints, reals, text, wholes};
use crate::refused::refused;

/// X `[time, batch, 3]` and W, R, B of an LSTM of 2 units in both directions.
fn lstm() -> Graph {
    Graph::new()
        .input("X", 1, &["time", "batch", "3"])
        .input("lengths", 6, &["batch"])
        .initializer(&reals("W", &[2, 8, 3], 0.01))
        .initializer(&reals("R", &[2, 8, 2], 0.02))
        .initializer(&reals("B", &[2, 16], 0.03))
}

/// Adds to `graph` the LSTM that begins at `h` and `c`.
fn begun(graph: Graph, h: &str, c: &str, attributes: &[Message]) -> Graph {
    let attributes = [&[int("hidden_size", 2), text("direction", "bidirectional")], attributes].concat();
    graph
        .node("LSTM", &["X", "W", "R", "B", "lengths", h, c], &["Y", "H", "C"], &attributes)
        .output("Y")
        .output("H")
        .output("C")
}

/// Returns the results of `graph` for `more`, and 3 rows of at most 4 steps; one row has none.
fn run(graph: &Graph, more: &[(&str, &ArrayD<f32>)]) -> Output {
    let (model, tensors) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    let native = description::from_json(&description::to_json(&model), &tensors).expect("a description is read");
    assert_eq!(native, model);
    let x = ArrayD::from_shape_fn(IxDyn(&[4, 3, 3]), |i| (i[0] as f32 - i[1] as f32) * 0.3 + i[2] as f32 * 0.1);
    let lengths = ndarray::arr1(&[4_i64, 0, 2]);
    let mut named: NamedTensors =
        [("X".to_owned(), Values::from(x)), ("lengths".to_owned(), lengths.into())].into_iter().collect();
    named.extend(more.iter().map(|(name, states)| ((*name).to_owned(), Values::from((*states).clone()))));
    let input = model.named_input(&named).unwrap_or_else(|e| panic!("{e}"));
    let engine = Engine::builder().device(Device::Cpu).load(model, &tensors).expect("an engine");
    engine.run(&input).expect("a result")
}

/// The states `[2, 2]` of `reals(…, step)` for each of 3 rows.
fn for_each_row(step: f32) -> ArrayD<f32> {
    ArrayD::from_shape_fn(IxDyn(&[2, 3, 2]), |i| (2 * i[0] + i[2]) as f32 * step)
}

/// Returns the results if the caller gives the states.
fn brought(h: f32, c: f32) -> Output {
    let graph = lstm().input("h", 1, &["2", "batch", "2"]).input("c", 1, &["2", "batch", "2"]);
    run(&begun(graph, "h", "c", &[]), &[("h", &for_each_row(h)), ("c", &for_each_row(c))])
}

/// The size of the batch as a shape: `[2, batch, 2]`.
fn with_shape(graph: Graph) -> Graph {
    graph
        .initializer(&wholes("one", &[1], &[1]))
        .initializer(&wholes("two", &[1], &[2]))
        .node("Shape", &["X"], &["shape"], &[])
        .node("Gather", &["shape", "one"], &["batch"], &[])
        .node("Concat", &["two", "batch", "two"], &["states"], &[int("axis", 0)])
        .node("Concat", &["one", "batch", "one"], &["times"], &[int("axis", 0)])
}

#[test]
fn constants_are_the_states_that_each_row_begins_at() {
    let expected = brought(0.25, -0.5);
    let one =
        |graph: Graph| graph.initializer(&reals("h", &[2, 1, 2], 0.25)).initializer(&reals("c", &[2, 1, 2], -0.5));
    assert_eq!(run(&begun(one(lstm()), "h", "c", &[]), &[]), expected, "a batch of one is every row's");
    let repeated = |op: &str, by: &str| {
        let graph = one(with_shape(lstm())).node(op, &["h", by], &["hs"], &[]).node(op, &["c", by], &["cs"], &[]);
        run(&begun(graph, "hs", "cs", &[]), &[])
    };
    assert_eq!(repeated("Expand", "states"), expected);
    assert_eq!(repeated("Tile", "times"), expected);
    assert!(expected.states[0].h.iter().any(|&x| x != 0.0));
}

#[test]
fn a_row_without_a_step_ends_with_zeros_wherever_the_states_come_from() {
    let graph = begun(lstm().initializer(&reals("h", &[2, 1, 2], 0.25)), "h", "", &[]);
    let output = run(&graph, &[]);
    assert_eq!(output, brought(0.25, 0.0), "cell states that are left out are zero");
    let states = &output.states[0];
    for state in [Some(&states.h), states.c.as_ref()].into_iter().flatten() {
        let row = |row| state.index_axis(ndarray::Axis(1), row);
        assert!(row(1).iter().all(|&x| x == 0.0) && row(0).iter().all(|&x| x != 0.0));
    }
}

#[test]
fn states_are_weights_under_the_names_of_a_call() {
    let graph = begun(lstm().initializer(&reals("h", &[2, 1, 2], 0.25)), "h", "h", &[]);
    let (model, tensors) = read_bytes(&graph.bytes()).expect("it is read");
    assert_eq!(model.stacks().next().expect("a stack").initial, Initial::Learned);
    let read = |name: &str, tensors: &Tensors| {
        let tensor = tensors.get(name).expect("it is there");
        (tensor.shape().to_vec(), tensor.read().expect("it is read").into_owned())
    };
    for name in ["0.h_0", "0.c_0"] {
        assert_eq!(read(name, &tensors), (vec![2, 2], vec![0.0, 0.25, 0.5, 0.75]));
    }
    let names: Vec<_> = model.all_ports().inputs.iter().map(|port| port.name.clone()).collect();
    assert_eq!(names, ["X", "lengths"]);
    let cells = 2 * 8 * (3 + 2 + 2);
    assert_eq!(model.parameters(), cells + 2 * 2 * 2);
}

#[test]
fn rows_of_a_fixed_batch_must_begin_alike() {
    let rows = |h: &[f32]| {
        let raw: Vec<u8> = h.iter().flat_map(|x| x.to_le_bytes()).collect();
        let h = crate::build::shaped("h", 1, &[2, 2, 2]).bytes(9, &raw);
        begun(lstm().initializer(&h), "h", "", &[])
    };
    let alike = rows(&[0.0, 0.25, 0.0, 0.25, 0.5, 0.75, 0.5, 0.75]);
    assert_eq!(run(&alike, &[]), brought(0.25, 0.0));
    let text = refused(&rows(&[0.0, 0.25, 0.0, 0.25, 0.5, 0.75, 0.5, 0.8]));
    assert!(
        text.contains("(LSTM): initial_h: expected one state for all rows of the batch, got 2 that differ"),
        "{text}"
    );
}

#[test]
fn batch_major_states_have_the_batch_first() {
    let graph = lstm().initializer(&reals("h", &[1, 2, 2], 0.25));
    let (_, tensors) = read_bytes(&begun(graph.clone(), "h", "", &[int("layout", 1)]).bytes()).expect("it is read");
    assert_eq!(tensors.shape("0.h_0"), Some(&[2, 2][..]));
    let text = refused(&begun(graph, "h", "", &[]));
    assert!(text.contains("initial_h: expected [2, batch, 2], got [1, 2, 2]"), "{text}");
}

#[test]
fn states_are_all_of_the_file_or_all_of_the_caller() {
    let graph = lstm().initializer(&reals("h", &[2, 1, 2], 0.25)).input("c", 1, &["2", "batch", "2"]);
    let text = refused(&begun(graph, "h", "c", &[]));
    assert!(text.contains("expected both from the caller or both of the file"), "{text}");
}

/// A GRU of 3 units on `X`, `[2, 4, 3]` of any or of fixed sizes,
/// that begins at `h`. The nodes of `graph` come before it.
fn gru_at(graph: Graph, h: &str, sizes: &[&str]) -> Graph {
    graph
        .input("X", 1, sizes)
        .initializer(&reals("W", &[1, 9, 3], 0.01))
        .initializer(&reals("R", &[1, 9, 3], 0.02))
        .node("Transpose", &["X"], &["steps"], &[ints("perm", &[1, 0, 2])])
        .node(
            "GRU",
            &["steps", "W", "R", "", "", h],
            &["Y", "H"],
            &[int("hidden_size", 3), int("linear_before_reset", 1)],
        )
}

/// Returns the results of `graph` on the CPU for inputs with these names.
fn outputs(graph: &Graph, inputs: &[(&str, &ArrayD<f32>)]) -> Vec<(String, Values)> {
    let (model, tensors) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    let native = description::from_json(&description::to_json(&model), &tensors).expect("a description is read");
    assert_eq!(native, model);
    let engine = Engine::builder().device(Device::Cpu).load(model, &tensors).expect("an engine");
    let named = inputs.iter().map(|(name, array)| ((*name).to_owned(), Values::from((*array).clone()))).collect();
    engine.run_named(&named).unwrap_or_else(|e| panic!("{e}"))
}

fn wave(shape: &[usize], step: f32) -> ArrayD<f32> {
    let mut n = 0.0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        n += step;
        f32::sin(n)
    })
}

#[test]
fn a_step_of_the_sequence_begins_its_own_node() {
    for sizes in [["2", "4", "3"], ["batch", "time", "3"]] {
        for step in [0, 2, 3] {
            let x = wave(&[2, 4, 3], 0.7);
            let brought = gru_at(Graph::new().input("h", 1, &["1", "batch", "3"]), "h", &sizes).output("H");
            let h = x.index_axis(ndarray::Axis(1), step).insert_axis(ndarray::Axis(0)).to_owned();
            let want = outputs(&brought, &[("X", &x), ("h", &h)]);
            let step = i64::try_from(step).unwrap();
            let graph = Graph::new()
                .initializer(&wholes("step", &[], &[step]))
                .initializer(&wholes("front", &[1], &[0]))
                .node("Gather", &["X", "step"], &["one"], &[int("axis", 1)])
                .node("Unsqueeze", &["one", "front"], &["h"], &[]);
            assert_eq!(outputs(&gru_at(graph, "h", &sizes).output("H"), &[("X", &x)]), want);
        }
    }
}

#[test]
fn a_row_begins_a_node_and_flows_into_another() {
    let (x, row) = (wave(&[2, 4, 3], 0.7), wave(&[2, 3], 0.4));
    let brought = gru_at(Graph::new().input("h", 1, &["1", "batch", "3"]), "h", &["batch", "time", "3"]).output("H");
    let h = row.clone().insert_axis(ndarray::Axis(0));
    let want = outputs(&brought, &[("X", &x), ("h", &h)]).remove(0).1;
    for (sizes, rows) in [(["2", "4", "3"], ["2", "3"]), (["batch", "time", "3"], ["batch", "3"])] {
        // The state is used first, and then the features; and the other way round.
        for first in [true, false] {
            let graph = Graph::new().input("row", 1, &rows).initializer(&wholes("front", &[1], &[0])).node(
                "Unsqueeze",
                &["row", "front"],
                &["h"],
                &[],
            );
            let tanh = |graph: Graph| graph.node("Tanh", &["row"], &["other"], &[]);
            let graph = if first { tanh(gru_at(graph, "h", &sizes)) } else { gru_at(tanh(graph), "h", &sizes) };
            let got = outputs(&graph.output("H").output("other"), &[("X", &x), ("row", &row)]);
            assert_eq!(got[0].1, want);
            let Values::F32(other) = &got[1].1 else { panic!("{got:?}") };
            assert!(other.iter().zip(&row).all(|(got, x)| (got - x.tanh()).abs() < 1e-6), "{other}");
        }
    }
}
