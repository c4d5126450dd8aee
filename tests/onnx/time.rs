//! Slices and joins over time: the layers that they become, and where lengths forbid them.

use gatewave::formats::onnx::read_bytes;

use gatewave::layer::{PoolPadding, Reduce, WindowPool};

use crate::build::{Graph, Message, floats, gru, int, ints, reals, sequence, shaped, text, weighted, wholes};
use crate::inputs::{assert_near, features, run};
use crate::refused::refused;

/// Returns the layers in a few words each.
fn layers(graph: &Graph) -> Vec<String> {
    let (model, _) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    model.layers.iter().map(|layer| layer.kind.to_string()).collect()
}

const GRU: &str = "gru reset before(3→2)";

/// Adds to `graph` a slice of `from` over its first axis.
fn sliced(graph: Graph, from: &str, [start, end, step]: [i64; 3], to: &str) -> Graph {
    let name = |what: &str| format!("{to} {what}");
    let numbers = [("start", start), ("end", end), ("axis", 0), ("step", step)];
    let graph = numbers.iter().fold(graph, |graph, (what, n)| graph.initializer(&wholes(&name(what), &[1], &[*n])));
    let inputs = ["start", "end", "axis", "step"].map(name);
    let inputs: Vec<&str> = std::iter::once(from).chain(inputs.iter().map(String::as_str)).collect();
    graph.node("Slice", &inputs, &[to], &[])
}

/// Adds a GRU over `x`, with lengths if they have a name.
fn gru_over(graph: Graph, x: &str, lengths: &str, to: &str) -> Graph {
    graph.node("GRU", &[x, "W", "R", "", lengths], &[to], &[])
}

fn weights() -> Graph {
    weighted(sequence(Graph::new()), 3, 1)
}

#[test]
fn a_slice_counts_steps_as_the_graph_does() {
    for (bounds, words) in [
        ([1, i64::MAX, 1], "slice_steps(1..)"),
        ([1, -1, 1], "slice_steps(1..-1)"),
        ([-3, i64::from(i32::MAX), 1], "slice_steps(-3..)"),
        ([0, 3, 1], "slice_steps(0..3)"),
        ([-4, -2, 1], "slice_steps(-4..-2)"),
    ] {
        let graph = gru_over(sliced(weights(), "X", bounds, "S"), "S", "", "Y");
        assert_eq!(layers(&graph.output("Y")), [words, GRU], "{bounds:?}");
    }
    let one = sliced(gru(), "Y", [1, 2, 1], "Z").output("Z");
    assert_eq!(layers(&one), [GRU, "slice_steps(1..2)", "last_step"]);
    let whole = sliced(gru(), "Y", [0, i64::MAX, 1], "Z").output("Z");
    assert_eq!(layers(&whole), [GRU]);
    let every_other = sliced(gru(), "Y", [0, i64::MAX, 2], "Z").output("Z");
    assert_eq!(layers(&every_other), [GRU, "slice_steps(0.. by 2)"]);
    let third = gru_over(sliced(weights(), "X", [1, -1, 3], "S"), "S", "", "Y").output("Y");
    assert_eq!(layers(&third), ["slice_steps(1..-1 by 3)", GRU]);
    let backwards = sliced(gru(), "Y", [-1, i64::MIN, -2], "Z").output("Z");
    assert!(refused(&backwards).contains("a step of -2 along an axis whose length, time, is known in a call alone"));
}

#[test]
fn windows_of_time_are_pools() {
    let of = |op: &str, attributes: &[Message]| {
        let graph = weights().node("Transpose", &["X"], &["N"], &[ints("perm", &[1, 2, 0])]);
        let graph = graph.node(op, &["N"], &["P", "places"], attributes);
        graph.node("Transpose", &["P"], &["S"], &[ints("perm", &[2, 0, 1])])
    };
    let size = ints("kernel_shape", &[3]);
    let (model, _) = read_bytes(
        &gru_over(of("AveragePool", &[size.clone(), ints("pads", &[1, 0]), int("ceil_mode", 1)]), "S", "", "Y")
            .output("Y")
            .bytes(),
    )
    .expect("a pool");
    let padding = PoolPadding::Around { before: 1, after: 0 };
    let pool = WindowPool::new(Reduce::Mean, 3).stride(1).padding(padding).ceil().all_steps();
    assert_eq!(model.layers[0].kind, pool.into());
    let words = layers(&gru_over(of("MaxPool", &[size.clone(), ints("strides", &[2])]), "S", "", "Y").output("Y"));
    assert_eq!(words, ["max of 3 steps by 2", GRU]);
    for (attributes, error) in [
        (vec![ints("kernel_shape", &[3, 3])], "(MaxPool): kernel_shape: expected one number, for time, got 2"),
        (vec![], "(MaxPool): kernel_shape: expected one number, got none"),
        (vec![size.clone(), ints("pads", &[-1, 0])], "(MaxPool): pads: expected no negative number, got -1"),
        (
            vec![size.clone(), ints("strides", &[0])],
            "(MaxPool): kernel_shape, strides, dilations: expected numbers above 0",
        ),
        (
            vec![size.clone(), ints("strides", &[4]), text("auto_pad", "SAME_UPPER")],
            "(MaxPool): auto_pad: expected windows without gaps (dilations 1, strides at most kernel_shape), got others",
        ),
        (vec![size.clone(), ints("pads", &[3, 0])], "before: expected fewer steps than a window spans, 3, got 3"),
    ] {
        let found = refused(&gru_over(of("MaxPool", &attributes), "S", "", "Y").output("Y"));
        assert!(found.contains(error), "{found}");
    }
    let places = gru_over(of("MaxPool", std::slice::from_ref(&size)), "S", "", "Y").output("Y").output("places");
    let places = refused(&places);
    assert!(places.contains("the places of the largest steps"), "{places}");
    let lengths = of("MaxPool", &[size]).input("lengths", 6, &["batch"]);
    let lengths = refused(&gru_over(lengths, "S", "lengths", "Y").output("Y"));
    assert!(lengths.contains("sequence_lens: expected none of steps that are sliced or joined"), "{lengths}");
}

#[test]
fn values_are_joined_step_after_step() {
    let join = |graph: Graph, parts: &[&str]| {
        gru_over(graph.node("Concat", parts, &["C"], &[int("axis", 0)]), "C", "", "Y").output("Y")
    };
    let two = join(weights().input("X2", 1, &["more", "batch", "3"]), &["X", "X2", "X"]);
    assert_eq!(layers(&two), ["concat_steps", GRU]);
    let features = join(weights().input("X2", 1, &["more", "batch", "4"]), &["X", "X2"]);
    assert!(refused(&features).contains("(Concat): values that do not fit: features 3 meets features 4"));
    let row = || weights().input("C0", 1, &["batch", "3"]).initializer(&wholes("0", &[1], &[0]));
    let first = row().node("Unsqueeze", &["C0", "0"], &["U"], &[]);
    assert_eq!(layers(&join(first, &["U", "X"])), ["concat_steps", GRU]);
    let rows = row().node("Unsqueeze", &["C0", "0"], &["U"], &[]).node("Tanh", &["U"], &["V"], &[]);
    let rows = rows.node("GRU", &["X", "W", "R"], &["Y0"], &[]).output("Y0");
    assert_eq!(layers(&join(rows, &["U", "V"])), [GRU, "tanh", "concat_steps", GRU]);
    let repeated = row().initializer(&wholes("five", &[3], &[5, 1, 1]));
    let repeated = repeated.node("Unsqueeze", &["C0", "0"], &["U"], &[]).node("Expand", &["U", "five"], &["E"], &[]);
    assert!(refused(&join(repeated, &["E", "X"])).contains("a row that stands 5 times"));
}

#[test]
fn parts_of_a_split_of_steps_are_slices() {
    let split = |axis: &str| {
        weighted(Graph::new().input("X", 1, &[axis, "batch", "3"]), 3, 1)
            .initializer(&wholes("parts", &[2], &[2, 3]))
            .node("Split", &["X", "parts"], &["A", "B"], &[int("axis", 0)])
    };
    for axis in ["time", "5"] {
        let graph = gru_over(gru_over(split(axis), "A", "", "Y"), "B", "", "Z").output("Y").output("Z");
        assert_eq!(layers(&graph), ["slice_steps(0..2)", GRU, "slice_steps(2..)", GRU], "{axis}");
    }
    assert!(refused(&gru_over(split("6"), "A", "", "Y").output("Y")).contains("expected 2 lengths of together 6"));
}

#[test]
fn lengths_do_not_reach_over_a_slice() {
    let lengths = || weights().input("lengths", 6, &["batch"]);
    let squeezed = |graph: Graph, of: &str, to: &str| {
        graph.initializer(&wholes("one", &[1], &[1])).node("Squeeze", &[of, "one"], &[to], &[])
    };
    let second = |graph: Graph, lengths: &str| {
        let graph = graph.initializer(&reals("W2", &[1, 6, 2], 0.1));
        graph.node("GRU", &["P", "W2", "R", "", lengths], &["Z"], &[]).output("Z")
    };
    // The second would run over steps that the first does not have.
    let before = second(sliced(squeezed(gru_over(lengths(), "X", "lengths", "Y"), "Y", "S"), "S", [1, -1, 1], "P"), "");
    let text = "sequence_lens: expected none of steps that are sliced or joined before another recurrent node";
    assert!(refused(&before).contains(text), "{}", refused(&before));
    let own = second(sliced(squeezed(gru_over(lengths(), "X", "", "Y"), "Y", "S"), "S", [1, -1, 1], "P"), "lengths");
    assert!(
        refused(&own).contains("sequence_lens: expected none of steps that are sliced or joined, which no input has")
    );
    // The lengths come after the slice.
    let after = gru_over(sliced(lengths(), "X", [1, -1, 1], "P"), "P", "", "Y");
    let after = gru_over(after, "X", "lengths", "Z").output("Y").output("Z");
    assert!(refused(&after).contains("sequence_lens: expected those of the recurrent node before it"));
    // If no recurrent node follows the slice, the values after the end of a row are 0, as in ONNX.
    let read = sliced(squeezed(gru_over(lengths(), "X", "lengths", "Y"), "Y", "S"), "S", [1, -1, 1], "P").output("P");
    assert_eq!(layers(&read), [GRU, "slice_steps(1..-1)"]);
}

#[test]
fn a_quotient_of_a_value_and_a_number_is_read_and_that_of_two_values_is_refused() {
    let two = shaped("two", 1, &[1]).bytes(9, &2.0_f32.to_le_bytes());
    let graph = gru().initializer(&two).node("Div", &["Y", "two"], &["Z"], &[]).output("Z");
    assert_eq!(layers(&graph).len(), 2);
    let graph = gru().node("Tanh", &["Y"], &["T"], &[]).node("Div", &["Y", "T"], &["Z"], &[]).output("Z");
    assert!(refused(&graph).contains("(Div): "));
}

#[test]
fn a_node_between_two_flips_is_one_direction_of_a_layer() {
    let part = |name: &str, dims: &[i64], from: usize, step: f32| {
        let count = usize::try_from(dims.iter().product::<i64>()).expect("a few");
        floats(name, dims, &(from..from + count).map(|i| i as f32 * step).collect::<Vec<_>>())
    };
    let axes = [int("time_axis", 0), int("batch_axis", 1)];
    let flipped = |lengths: &str| {
        let graph = weights()
            .input("lengths", 7, &["batch"])
            .initializer(&part("W2", &[1, 6, 3], 18, 0.01))
            .initializer(&part("R2", &[1, 6, 2], 12, 0.02))
            .initializer(&part("B2", &[1, 12], 12, 0.03))
            .initializer(&wholes("one", &[1], &[1]))
            .node("Cast", &["lengths"], &["short"], &[int("to", 6)])
            .node("GRU", &["X", "W", "R", "B", "short"], &["Yf", "Hf"], &[])
            .node("ReverseSequence", &["X", "lengths"], &["Xr"], &axes)
            .node("GRU", &["Xr", "W2", "R2", "B2", lengths], &["Yb", "Hb"], &[])
            .node("Squeeze", &["Yf", "one"], &["Sf"], &[])
            .node("Squeeze", &["Yb", "one"], &["Sb"], &[]);
        graph.node("ReverseSequence", &["Sb", "lengths"], &["Rb"], &axes)
    };
    let whole = both_with_lengths()
        .node("Transpose", &["Y"], &["T"], &[ints("perm", &[0, 2, 1, 3])])
        .initializer(&wholes("flat", &[3], &[0, 0, -1]))
        .node("Reshape", &["T", "flat"], &["Z"], &[]);
    let joined = flipped("short").node("Concat", &["Sf", "Rb"], &["Z"], &[int("axis", 2)]);
    assert_eq!(layers(&joined.clone().output("Z")), layers(&whole.clone().output("Z")));
    assert_near(&run(&joined.clone().output("Z"), features()), &run(&whole.output("Z"), features()));
    // The final states are those of the same layer.
    let states = joined.node("Concat", &["Hf", "Hb"], &["H"], &[int("axis", 0)]).output("H").output("Z");
    assert_eq!(layers(&states), ["gru reset before(3→2) bidirectional"]);
    assert_near(&run(&states, features()), &run(&both_with_lengths().output("H"), features()));
    let error = refused(&flipped("").output("Rb"));
    assert!(
        error.contains("sequence_lens: expected the lengths by which X is reversed, got others or none"),
        "{error}"
    );
}

/// A GRU of X in both directions, with lengths.
fn both_with_lengths() -> Graph {
    weighted(sequence(Graph::new()), 3, 2).input("lengths", 6, &["batch"]).node(
        "GRU",
        &["X", "W", "R", "B", "lengths"],
        &["Y", "H"],
        &[text("direction", "bidirectional")],
    )
}

#[test]
fn lengths_behind_a_convolution_of_what_layers_give_are_refused() {
    // A convolution with a GRU behind it, whose lengths the graph takes.
    let behind = |graph: Graph, x: &str, features: i64| {
        let graph = graph.initializer(&reals("K", &[3, features, 3], 0.1));
        let graph = graph.node("Transpose", &[x], &["N"], &[ints("perm", &[1, 2, 0])]);
        let graph = graph.node("Conv", &["N", "K"], &["C"], &[ints("pads", &[1, 1])]);
        gru_over(graph.node("Transpose", &["C"], &["S"], &[ints("perm", &[2, 0, 1])]), "S", "lens", "Z").output("Z")
    };
    let lens = || weights().input("lens", 6, &["batch"]);
    assert_eq!(layers(&behind(lens(), "X", 3)).len(), 2, "an input holds zeros behind the end of a row");
    let first = lens().initializer(&reals("M", &[3, 2], 0.5)).node("MatMul", &["X", "M"], &["F"], &[]);
    let text =
        "sequence_lens: expected none behind a convolution of what layers give, whose steps behind the end of a row";
    let error = refused(&behind(first, "F", 2));
    assert!(error.contains(text), "{error}");
}
