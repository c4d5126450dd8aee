//! Every operator on values of every kind and rank, with valid and invalid axes: an error or a model, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gatewave::formats::onnx::read_bytes;

use crate::build::{Graph, Message, both, int, ints, reals, wholes};

/// A graph with values of every kind, and their names.
fn values() -> (Graph, Vec<String>) {
    let (mut graph, mut names) = (both(), Vec::new());
    let shapes: [&[i64]; 4] = [&[], &[3], &[2, 3], &[1, 2, 3]];
    let words: [&[&str]; 3] = [&[], &["batch", "3"], &["1", "2", "3", "1"]];
    for (i, dims) in shapes.into_iter().enumerate() {
        let count = dims.iter().product::<i64>();
        graph = graph
            .initializer(&reals(&format!("reals{i}"), dims, 0.1))
            .initializer(&wholes(&format!("wholes{i}"), dims, &(0..count).collect::<Vec<_>>()))
            .initializer(&wholes(&format!("shape{i}"), &[i64::try_from(dims.len()).expect("few")], dims))
            .node("ConstantOfShape", &[&format!("shape{i}")], &[&format!("filled{i}")], &[])
            .node("Expand", &["reals1", &format!("shape{i}")], &[&format!("repeated{i}")], &[]);
        names.extend(["reals", "wholes", "shape", "filled"].map(|kind| format!("{kind}{i}")));
    }
    // Values that three elements can be repeated to.
    names.extend([2, 3].map(|i| format!("repeated{i}")));
    for (i, axes) in words.into_iter().enumerate() {
        graph = graph.input(&format!("input{i}"), 1, axes).input(&format!("tokens{i}"), 7, axes);
        names.extend(["input", "tokens"].map(|kind| format!("{kind}{i}")));
    }
    graph = graph.node("Shape", &["X"], &["sizes"], &[]).node("Flatten", &["H"], &["flat"], &[int("axis", 2)]);
    names.extend(["sizes", "X", "Y", "H", "flat"].map(str::to_owned));
    (graph, names)
}

/// Reads the graph, and every weight of it.
fn read(graph: &Graph) {
    if let Ok((_, tensors)) = read_bytes(&graph.clone().output("Z").bytes()) {
        for (_, tensor) in tensors.iter() {
            drop(tensor.read());
        }
    }
}

/// Returns the number of cases that panic, of all that `nodes` makes for each pair of values.
fn sweep(nodes: impl Fn(&Graph, &str, &str) -> Vec<(String, Graph)>) -> usize {
    let (graph, names) = values();
    let (mut count, mut failed) = (0, Vec::new());
    for a in &names {
        for b in &names {
            for (what, graph) in nodes(&graph, a, b) {
                count += 1;
                if catch_unwind(AssertUnwindSafe(|| read(&graph))).is_err() {
                    failed.push(format!("{what} of {a} and {b}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} panic: {:?}", failed.len(), &failed[..failed.len().min(20)]);
    count
}

#[test]
fn an_axis_that_one_value_has_and_another_lacks_never_panics() {
    let count = sweep(|graph, a, b| {
        let mut cases = Vec::new();
        for axis in -5..=4 {
            for op in ["Concat", "Gather", "Split", "OneHot"] {
                let node = graph.clone().node(op, &[a, b], &["Z"], &[int("axis", axis)]);
                cases.push((format!("{op} along {axis}"), node));
            }
            // A joined value is used as a weight, and its elements are read.
            let node = graph.clone().node("Concat", &[a, b], &["W2"], &[int("axis", axis)]);
            let node = node.node("MatMul", &["X", "W2"], &["Z"], &[]);
            cases.push((format!("MatMul with Concat along {axis}"), node));
        }
        cases
    });
    assert!(count > 40_000, "only {count} cases");
}

#[test]
fn values_of_any_two_ranks_never_panic() {
    let three: [&[&str]; 3] = [&[], &["wholes1"], &["shape2", "shape1"]];
    let operators = [
        "Expand",
        "Tile",
        "Reshape",
        "MatMul",
        "Gemm",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Equal",
        "Less",
        "Squeeze",
        "Unsqueeze",
        "ReduceSum",
        "ReduceProd",
        "ReverseSequence",
        "Where",
        "Range",
        "Slice",
        "Clip",
        "Split",
        "Sum",
        "Mean",
        "Max",
        "Min",
        "TopK",
        "Greater",
        "Pow",
        "QuantizeLinear",
        "DequantizeLinear",
        "MatMulInteger",
        "ScatterElements",
        "GRU",
        "LSTM",
    ];
    sweep(|graph, a, b| {
        let each = operators.iter().flat_map(|&op| {
            let one = move |more: &&[&str]| {
                let inputs = [&[a, b], *more].concat();
                let needs: Vec<Message> = if op == "GRU" { vec![int("hidden_size", 1)] } else { Vec::new() };
                (op.to_owned(), graph.clone().node(op, &inputs, &["Z"], &needs))
            };
            three.iter().map(one).collect::<Vec<_>>()
        });
        each.collect()
    });
}

#[test]
fn an_axis_in_an_attribute_never_panics_whatever_the_rank() {
    let operators = ["Squeeze", "Unsqueeze", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceProd"];
    sweep(|graph, a, b| {
        // If there is only one value, the other is unused.
        if a != b {
            return Vec::new();
        }
        let mut cases = Vec::new();
        for axis in (-6..=6).chain([i64::MIN, i64::MAX]) {
            for op in operators {
                let node = graph.clone().opset(11).node(op, &[a], &["Z"], &[ints("axes", &[axis])]);
                cases.push((format!("{op} of axes {axis}"), node));
            }
            for op in ["Flatten", "Softmax", "LogSoftmax", "Split", "ArgMax"] {
                for opset in [11, 17] {
                    let node = graph.clone().opset(opset).node(op, &[a], &["Z"], &[int("axis", axis)]);
                    cases.push((format!("{op} of axis {axis}"), node));
                }
            }
            for perm in [vec![axis], vec![0, axis], vec![axis, 1, 0]] {
                cases.push((
                    format!("Transpose {perm:?}"),
                    graph.clone().node("Transpose", &[a], &["Z"], &[ints("perm", &perm)]),
                ));
            }
            for ends in [[0, 1], [-1, i64::MAX], [i64::MAX, i64::MIN]] {
                let attributes = [ints("starts", &ends[..1]), ints("ends", &ends[1..]), ints("axes", &[axis])];
                cases
                    .push((format!("Slice {ends:?}"), graph.clone().opset(9).node("Slice", &[a], &["Z"], &attributes)));
            }
        }
        cases
    });
}

#[test]
fn values_of_different_rank_are_not_joined() {
    let graph = Graph::new()
        .initializer(&wholes("a", &[2, 2], &[1, 2, 3, 4]))
        .initializer(&wholes("b", &[2], &[5, 6]))
        .node("Concat", &["a", "b"], &["Z"], &[int("axis", 1)])
        .output("Z");
    let error = read_bytes(&graph.bytes()).map(drop).expect_err("it is refused").to_string();
    assert!(error.contains("expected an axis below 1, got 1"), "{error}");
}
