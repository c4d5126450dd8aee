//! `If`: of shapes, of an input that is set as the file is read, and what is said where neither tells it.

use gatewave::formats::{Format, Reader};
use gatewave::{Model, weights::Tensors};

use crate::build::{Graph, Message, float, graph as inner, gru, reals, wholes};
use crate::inputs::{assert_near, features, run_model};
use crate::refused::refused;

/// A graph that gives its GRU's output times a number, which an `If` chooses by `condition`.
fn chosen(graph: Graph, condition: &str) -> Graph {
    let branch = |name: &str, out: &str, number: f32| {
        let constant = Graph::new().node("Constant", &[], &[&format!("{out} c")], &[float("value_float", number)]);
        inner(name, &constant.node("Mul", &["Y", &format!("{out} c")], &[out], &[]).output(out))
    };
    let branches: [Message; 2] = [branch("then_branch", "twice", 2.0), branch("else_branch", "thrice", 3.0)];
    graph.node("If", &[condition], &["Z"], &branches).output("Z")
}

/// A graph that asks whether its input `sr` is 16000.
fn of_rate(axes: &[&str]) -> Graph {
    let graph = gru().input("sr", 7, axes).initializer(&wholes("16000", &[], &[16_000]));
    chosen(graph.node("Equal", &["sr", "16000"], &["is"], &[]), "is")
}

fn read(graph: &Graph, name: &str, number: f64) -> Result<(Model, Tensors), String> {
    Reader::new().set(name, number).read_bytes(graph.bytes(), Format::Onnx).map_err(|e| e.to_string())
}

#[test]
fn an_input_that_is_set_tells_which_graph_is_meant() {
    let once = crate::inputs::run(&gru().output("Y"), features());
    for axes in [&[][..], &["1"]] {
        for (rate, factor) in [(16_000.0, 2.0), (8000.0, 3.0)] {
            let (model, tensors) = read(&of_rate(axes), "sr", rate).unwrap_or_else(|e| panic!("{e}"));
            assert!(model.all_ports().inputs.iter().all(|port| port.name != "sr"));
            assert_near(&run_model(&model, &tensors, features()), &(&once * factor));
        }
    }
    // A real number, compared, and joined with others.
    let graph = gru()
        .input("level", 1, &[])
        .node("Constant", &[], &["half"], &[float("value_float", 0.5)])
        .node("Greater", &["level", "half"], &["high"], &[])
        .node("LessOrEqual", &["level", "half"], &["low"], &[])
        .node("Not", &["high"], &["not high"], &[])
        .node("And", &["low", "not high"], &["is"], &[]);
    for (level, factor) in [(0.25, 2.0), (0.75, 3.0)] {
        let (model, tensors) = read(&chosen(graph.clone(), "is"), "level", level).unwrap_or_else(|e| panic!("{e}"));
        assert_near(&run_model(&model, &tensors, features()), &(&once * factor));
    }
}

#[test]
fn an_input_that_decides_and_is_not_set_is_named_with_the_way_to_set_it() {
    let error = refused(&of_rate(&[]));
    let wanted = "node \"the If\" (If): which of its graphs is meant depends on the call, on whether the input \"sr\" is \
                  16000; give it a number as the file is read: --set sr=16000, or formats::Reader::set in Rust; a general \
                  runtime such as ONNX Runtime may run this graph";
    assert_eq!(error, wanted);
    let flag = refused(&chosen(gru().input("train", 9, &[]), "train"));
    assert!(
        flag.contains("got the input \"train\"; give it a number as the file is read: --set train=NUMBER"),
        "{flag}"
    );
    let bound = gru().input("n", 7, &["1"]).initializer(&wholes("0", &[1], &[0]));
    let sliced = refused(&bound.node("Slice", &["Y", "0", "n", "0"], &["Z"], &[]).output("Z"));
    assert!(sliced.contains("input 2: expected numbers that the file or shapes tell, got the input \"n\""), "{sliced}");
}

#[test]
fn a_number_that_fits_no_input_is_refused() {
    let error = |name: &str, number: f64| read(&of_rate(&[]), name, number).expect_err("it is refused");
    assert!(error("rate", 1.0).contains("a number for the input \"rate\": expected one of [\"X\", \"sr\"]"));
    assert!(
        error("X", 1.0).contains("a number for the input \"X\": expected an input of one number, got a longer one")
    );
    assert!(error("sr", 0.5).contains("a number for the input \"sr\": expected a whole one, got 0.5"));
    let other = Reader::new().set("sr", 1.0).read("model.keras").expect_err("it is no .onnx file").to_string();
    assert!(other.contains("expected an .onnx file to set its input \"sr\", got a Keras file"), "{other}");
}

#[test]
fn constants_are_computed_as_the_file_is_read() {
    // Weight normalization, g · v / ‖v‖ row by row, and functions of it.
    let graph = gru()
        .initializer(&reals("v", &[3, 2], 1.0))
        .initializer(&reals("g", &[3, 1], 0.5))
        .node("Constant", &[], &["two"], &[float("value_float", 2.0)])
        .node("ReduceL2", &["v"], &["norm"], &[crate::build::ints("axes", &[1])])
        .node("Div", &["v", "norm"], &["unit"], &[])
        .node("Mul", &["g", "unit"], &["w"], &[])
        .node("Abs", &["w"], &["size"], &[])
        .node("Sqrt", &["size"], &["root"], &[])
        .node("Pow", &["root", "two"], &["square"], &[])
        .node("Transpose", &["square"], &["t"], &[])
        .node("MatMul", &["Y", "t"], &["Z"], &[])
        .output("Z");
    let (model, tensors) = Reader::new().read_bytes(graph.bytes(), Format::Onnx).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(model.layers.len(), 2);
    let w = tensors.get("1.weight").expect("a product").read().expect("numbers").into_owned();
    let wanted = [0.0, 0.0, 0.277_35, 0.416_03, 0.624_70, 0.780_87];
    assert!(w.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-5), "{w:?}");
}

#[test]
fn features_are_summed_averaged_and_compared() {
    let y = crate::inputs::run(&gru().output("Y"), features());
    let pairs = || y.rows().into_iter().map(|row| [row[0], row[1]]).collect::<Vec<_>>();
    type Compare = fn([f32; 2]) -> f32;
    let cases: [(&str, Compare); 4] = [
        ("ReduceSum", |[a, b]| a + b),
        ("ReduceMean", |[a, b]| (a + b) / 2.0),
        ("ReduceMax", |[a, b]| a.max(b)),
        ("ReduceMin", |[a, b]| a.min(b)),
    ];
    let mean = gru().node("ReduceMean", &["Y"], &["M"], &[crate::build::ints("axes", &[-1])]);
    let less = crate::inputs::run(&mean.node("Sub", &["Y", "M"], &["Z"], &[]).output("Z"), features());
    let wanted: Vec<f32> = pairs().into_iter().flat_map(|[a, b]| [(a - b) / 2.0, (b - a) / 2.0]).collect();
    assert_near(&less, &ndarray::Array::from_shape_vec(less.raw_dim(), wanted).expect("as many"));
    for (op, of) in cases {
        let graph = gru().initializer(&wholes("last", &[1], &[-1]));
        let graph = match op {
            "ReduceSum" => graph.node(op, &["Y", "last"], &["R"], &[]),
            _ => graph.node(op, &["Y"], &["R"], &[crate::build::ints("axes", &[-1])]),
        };
        let got = crate::inputs::run(&graph.node("Neg", &["R"], &["Z"], &[]).output("Z"), features());
        let wanted: Vec<f32> = pairs().into_iter().map(|pair| -of(pair)).collect();
        assert_near(&got, &ndarray::Array::from_shape_vec(got.raw_dim(), wanted).expect("one for each step"));
    }
}
