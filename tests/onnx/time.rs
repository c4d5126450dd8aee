//! Slices and joins over time: the layers that they become, and where lengths forbid them.

use gatewave::formats::onnx::read_bytes;

use crate::build::{Graph, gru, int, reals, sequence, shaped, weighted, wholes};
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
    assert!(refused(&every_other).contains("expected a part of n0 by whole numbers, got 0..9223372036854775807 by 2"));
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
    assert_eq!(layers(&join(rows, &["U", "V"])), ["tanh", GRU, "concat_steps", GRU]);
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
