//! Graphs of which only parts are models: where they are cut, what they give, and what is said where that fails.

use std::path::{Path, PathBuf};

use gatewave::formats::{Format, Reader};
use gatewave::parts::{Cut, Parts};
use gatewave::{Device, Engine, Error, ErrorKind, NamedTensors, Result, Values};
use ndarray::{ArrayD, IxDyn};

use crate::build::{Graph, gru, int, reals, wholes};
use crate::inputs::{assert_near, features, run};
use crate::support::fixtures::{named, read_io};

/// Graphs around one or two cores, with what ONNX Runtime 1.31 gives for them.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parts").join(name)
}

fn cut(graph: &Graph) -> Result<Cut> {
    Reader::new().cut_bytes(graph.bytes(), Format::Onnx)
}

fn ready(cut: Cut) -> Result<Parts> {
    fn may_be_shared<T: Send + Sync>(_: &T) {}

    let parts = Parts::new(cut, &Engine::builder().device(Device::Cpu))?;
    may_be_shared(&parts);
    Ok(parts)
}

/// Returns what the parts of `graph` give for the features X.
fn given(graph: &Graph) -> Vec<(String, Values)> {
    let tensors = NamedTensors::from([("X".to_owned(), features().into())]);
    ready(cut(graph).expect("parts")).and_then(|parts| parts.run(&tensors)).unwrap_or_else(|e| panic!("{e}"))
}

/// Returns who runs each part (own or foreign), what it takes, and what it gives.
fn told(cut: &Cut) -> Vec<String> {
    let one = |part: &gatewave::parts::Part| {
        let who = if part.is_foreign() { "foreign" } else { "own" };
        format!("{who}: {} → {}", part.takes().join(" "), part.gives().join(" "))
    };
    cut.parts().iter().map(one).collect()
}

/// An operator that no model here has, of the elements of `x`.
fn odd(graph: Graph, x: &str, y: &str) -> Graph {
    graph.node("Sinh", &[x], &[y], &[])
}

#[test]
fn what_stands_around_a_core_is_run_and_gives_what_onnx_runtime_gives() {
    let expected = [
        ("image", vec!["foreign: image → x", "own: x → scores", "foreign: scores → best places"]),
        ("between", vec!["own: x lengths → h img", "foreign: img h → m hs", "own: m → z", "foreign: z → total"]),
        ("beside", vec!["foreign: image → seen", "own: words → heard", "foreign: seen heard → logits classes"]),
    ];
    let mut calls = 0;
    for (name, parts) in expected {
        let cut = Reader::new().cut(golden(&format!("{name}.onnx"))).expect("parts");
        assert_eq!(told(&cut), parts, "{name}");
        let parts = ready(cut).unwrap_or_else(|e| panic!("{name}: {e}"));
        for io in (0..).map(|i| golden(&format!("{name}.io{i}.safetensors"))).take_while(|path| path.exists()) {
            let (inputs, outputs) = read_io(&io);
            // Twice: nothing is left of a call.
            for _ in 0..2 {
                let results = parts.run(&named(&inputs)).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(results.len(), outputs.len(), "{name}");
                for (output, values) in results {
                    #[expect(clippy::cast_possible_truncation, reason = "they are f32 in the file")]
                    assert_near(&values.to_f32(), &outputs[&output].mapv(|x| x as f32));
                }
            }
            calls += 1;
        }
    }
    assert_eq!(calls, 4);
}

#[test]
fn a_convolution_of_whole_numbers_is_refused_by_its_node() {
    let error = ready(Reader::new().cut(golden("whole.onnx")).expect("parts")).expect_err("a ConvInteger");
    assert!(error.to_string().contains("computes this ConvInteger otherwise than ONNX says"), "{error}");
}

#[test]
fn a_core_takes_nothing_that_depends_on_what_it_gives() {
    // Y flows around the core and back, so that the sum is behind it and no part of it.
    let graph = odd(gru(), "Y", "S").node("Add", &["Y", "S"], &["Z"], &[]).output("Z");
    assert_eq!(told(&cut(&graph).expect("parts")), ["own: X → Y", "foreign: Y → Z"]);
    let y = run(&gru().output("Y"), features());
    assert_near(&given(&graph)[0].1.to_f32(), &y.mapv(|x| x + x.sinh()));
    // Sizes too: steps of Y decide what is added to it.
    let graph = gru()
        .initializer(&wholes("0", &[], &[0]))
        .node("Shape", &["Y"], &["all"], &[])
        .node("Gather", &["all", "0"], &["steps"], &[int("axis", 0)])
        .node("Cast", &["steps"], &["steps as reals"], &[int("to", 1)]);
    let graph = odd(odd(graph, "steps as reals", "S"), "Y", "Q").node("Mul", &["Q", "S"], &["Z"], &[]).output("Z");
    assert_near(&given(&graph)[0].1.to_f32(), &y.mapv(|x| x.sinh() * 4.0_f32.sinh()));
}

#[test]
fn outputs_may_be_inputs_and_weights_and_be_given_twice() {
    let graph = odd(gru(), "Y", "Z").initializer(&reals("w", &[2], 0.5)).node("Neg", &["w"], &["v"], &[]);
    let results = given(&graph.output("X").output("Z").output("v").output("Z"));
    assert_eq!(results.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["X", "Z", "v", "Z"]);
    assert_near(&results[0].1.to_f32(), &features());
    assert_near(&results[2].1.to_f32(), &ndarray::arr1(&[0.0_f32, -0.5]).into_dyn());
    assert_eq!(results[1].1, results[3].1);
}

#[test]
fn the_reader_says_which_part_it_would_read_and_who_runs_the_rest() {
    let graph = odd(gru(), "Y", "Z").output("Z");
    let error = Reader::new().read_bytes(graph.bytes(), Format::Onnx).expect_err("it is refused").to_string();
    let wanted = "an .onnx file in memory: node \"the Sinh\" (Sinh): the operator is not read; a general runtime such as \
                  ONNX Runtime may run this graph; its recurrent part (X → Y) is read by itself, and what stands around it \
                  (Sinh) runs by another runtime: gatewave run, or gatewave::parts::Parts in Rust, with the feature `foreign`";
    assert!(error.ends_with(wanted.strip_prefix("an .onnx file in memory: ").expect("it begins so")), "{error}");
    // Without a core there is nothing to say.
    let graph = odd(Graph::new().input("X", 1, &["2"]), "X", "Z").output("Z");
    let error = Reader::new().read_bytes(graph.bytes(), Format::Onnx).expect_err("it is refused").to_string();
    assert!(error.ends_with("a general runtime such as ONNX Runtime may run this graph"), "{error}");
    let error = cut(&graph).expect_err("there is no core").to_string();
    assert_eq!(error, "expected an RNN, LSTM or GRU that is read by itself, got none");
}

#[test]
fn a_part_of_a_graph_is_read_from_its_tensors_to_others() {
    let path = golden("image.onnx");
    let whole = Reader::new().cut(&path).and_then(ready).expect("parts");
    let (inputs, outputs) = read_io(&golden("image.io0.safetensors"));
    let front = Reader::new().end_at("x").cut(&path).expect_err("nothing of it is recurrent").to_string();
    assert!(front.contains("expected an RNN, LSTM or GRU"), "{front}");
    let (model, tensors) = Reader::new().begin_at("x").end_at("scores").read(&path).expect("a model");
    let ports = model.all_ports();
    assert_eq!((ports.inputs[0].name.as_str(), ports.outputs[0].name.as_str()), ("x", "scores"));
    // What is before it, and what is behind: the whole is the same.
    let core = Engine::builder().device(Device::Cpu).load(model.clone(), &tensors).expect("an engine");
    assert_eq!(whole.engines().map(|engine| engine.model().clone()).collect::<Vec<_>>(), [core.model().clone()]);
    let x = NamedTensors::from([("x".to_owned(), ArrayD::<f32>::zeros(IxDyn(&[4, 1, 12])).into())]);
    let scores = core.run_named(&x).expect("scores").remove(0).1;
    let behind = Reader::new().begin_at("x").cut(&path).and_then(ready).expect("parts").run(&x).expect("results");
    let Values::F32(best) = &behind[0].1 else { panic!("reals") };
    let scores = scores.to_f32();
    for (step, best) in best.rows().into_iter().enumerate() {
        let largest = scores.rows().into_iter().nth(step).expect("a step").fold(f32::MIN, |a, &b| a.max(b));
        assert!((best[0] - largest).abs() < 1e-6);
    }
    assert_eq!(whole.run(&named(&inputs)).expect("results").len(), outputs.len());
}

#[test]
fn a_part_that_is_not_there_is_told_with_what_is() {
    let refused = |from: &[&str], to: &[&str]| {
        let reader = from.iter().fold(Reader::new(), |reader, name| reader.begin_at(*name));
        let reader = to.iter().fold(reader, |reader, name| reader.end_at(*name));
        let graph = gru().node("Relu", &["Y"], &["Z"], &[]).node("Tanh", &["H"], &["T"], &[]).output("Z").output("T");
        let error = reader.read_bytes(graph.bytes(), Format::Onnx).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Model);
        error.to_string().split_once(": ").expect("the file comes first").1.to_owned()
    };
    assert_eq!(refused(&["y"], &[]), "the graph has no tensor \"y\"; nearest: \"H\", \"T\", \"X\"");
    assert_eq!(refused(&[], &["W"]), "\"W\" is a weight of the file: expected a tensor that is computed");
    let other = "; name a tensor before it with --from, or one behind with --to";
    assert_eq!(refused(&["Y"], &["T"]), format!("\"T\" is not computed from \"Y\"{other}"));
    assert_eq!(refused(&["X", "Z"], &["T"]), "\"T\" is not computed from \"Z\"");
    assert_eq!(refused(&["Y"], &["Y"]), "\"Y\": expected another tensor as the end than as the begin");
    let keras = Reader::new().begin_at("Y").read("model.keras").expect_err("no graph").to_string();
    assert!(keras.ends_with("expected an .onnx file, a part of which ends at \"Y\", got a Keras file"), "{keras}");
}

#[test]
fn a_call_that_does_not_fit_the_graph_is_told_by_the_names_of_its_inputs() {
    let parts = Reader::new().cut(golden("beside.onnx")).and_then(ready).expect("parts");
    let image = || Values::from(ArrayD::<f32>::zeros(IxDyn(&[2, 1, 4, 5])));
    let words = |rows: usize| Values::from(ArrayD::<i64>::zeros(IxDyn(&[rows, 3])));
    let refused = |tensors: &[(&str, Values)]| {
        let tensors = tensors.iter().map(|(name, values)| ((*name).to_owned(), values.clone())).collect();
        let error = parts.run(&tensors).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Shape, "{error}");
        error.to_string()
    };
    assert_eq!(refused(&[("image", image())]), "words: expected a tensor under this name, got none");
    let other = refused(&[("image", image()), ("words", words(2)), ("more", words(2))]);
    assert_eq!(other, "more: expected one of [\"image\", \"words\"]");
    let floats = refused(&[("image", image()), ("words", image())]);
    assert_eq!(floats, "words: expected integers, got floats [2, 1, 4, 5]");
    let rows = refused(&[("image", image()), ("words", words(3))]);
    assert!(rows.starts_with("the part seen, heard → logits, classes: rten: ") && rows.contains("(Concat)"), "{rows}");
    let flat = Values::from(ArrayD::<f32>::zeros(IxDyn(&[2, 1, 3, 5])));
    let shape = refused(&[("image", flat), ("words", words(2))]);
    assert_eq!(shape, "image: expected [batch, 1, 4, width], got [2, 1, 3, 5]");
    // It fits what the file says of the input, and not the kernel of the convolution.
    let narrow = Values::from(ArrayD::<f32>::zeros(IxDyn(&[2, 1, 4, 1])));
    let inside = refused(&[("image", narrow), ("words", words(2))]);
    assert!(inside.starts_with("the part image → seen: rten: ") && inside.contains("(Conv)"), "{inside}");
    // rten has whole numbers of 32 bits.
    let graph = gru().input("n", 7, &["1"]).node("Sinh", &["Y"], &["S"], &[]).node("Add", &["n", "n"], &["m"], &[]);
    let parts = cut(&graph.output("S").output("m")).and_then(ready).expect("parts");
    let n = |n: i64| {
        NamedTensors::from([("X".to_owned(), features().into()), ("n".to_owned(), ndarray::arr1(&[n]).into())])
    };
    assert_eq!(parts.run(&n(-4)).expect("results")[1].1, Values::from(ndarray::arr1(&[-8_i64])));
    let error = parts.run(&n(1 << 40)).expect_err("too large").to_string();
    assert!(error.contains("n: expected whole numbers of 32 bits, got 1099511627776"), "{error}");
}

#[test]
fn broken_graphs_are_errors() {
    let refused = |graph: &Graph| {
        let error = cut(graph).and_then(ready).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Model, "{error}");
        error.to_string()
    };
    let unknown = refused(&gru().node("Bogus", &["Y"], &["Z"], &[]).output("Z"));
    let begin = "the part Y → Z: node \"the Bogus\" (Bogus): neither gatewave nor rten, which runs what it does not, reads \
                 this Bogus: ";
    assert!(unknown.starts_with(begin), "{unknown}");
    let circle = gru().node("Sinh", &["B2"], &["A2"], &[]).node("Add", &["Y", "A2"], &["B2"], &[]).output("B2");
    let wanted = "node \"the Sinh\" (Sinh): \"B2\" is neither an input nor computed before";
    assert_eq!(refused(&circle), wanted);
    let twice = gru().node("Sinh", &["X"], &["Y"], &[]).output("Y");
    assert_eq!(refused(&twice), "node \"the Sinh\" (Sinh): \"Y\" is given twice");
    let huge = gru()
        .initializer(&wholes("shape", &[3], &[1 << 31, 1 << 31, 1 << 31]))
        .node("ConstantOfShape", &["shape"], &["much"], &[])
        .node("Sinh", &["much"], &["S"], &[]);
    let huge = refused(&huge.node("Add", &["Y", "S"], &["Z"], &[]).output("Z"));
    let place = "node \"the ConstantOfShape\" (ConstantOfShape): expected at most 2147483648 elements, got ";
    assert!(huge.starts_with(place), "{huge}");
    assert_eq!(refused(&gru().output("nowhere")), "the output \"nowhere\" is neither an input nor computed");
    // What rten finds is not left to panic.
    let axes = gru().node("Softmax", &["Y"], &["P"], &[int("axis", 9)]).node("Sinh", &["P"], &["Z"], &[]).output("Z");
    let tensors = NamedTensors::from([("X".to_owned(), features().into())]);
    let ran: Result<Vec<_>, Error> = cut(&axes).and_then(ready).and_then(|parts| parts.run(&tensors));
    assert!(ran.is_err());
}

#[test]
fn a_byte_changed_anywhere_leaves_parts_or_an_error() {
    let bytes = std::fs::read(golden("between.onnx")).expect("it is there");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= [0x01, 0x80, 0xff][at % 3];
        if let Ok(cut) = Reader::new().cut_bytes(changed, Format::Onnx) {
            assert!(!cut.to_string().is_empty() && cut.parts().iter().any(|part| !part.is_foreign()));
        }
    }
}
