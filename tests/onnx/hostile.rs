//! Malicious files: each gives an error, quickly and with little memory.

use std::fs;
use std::path::PathBuf;

use gatewave::formats::onnx::{read, read_bytes};
use gatewave::{Error, ErrorKind, Weights};

use crate::build::{Graph, Message, both, graph as inner, gru, int, ints, reals, sequence, shaped, wholes};

fn refused(bytes: &[u8]) -> Error {
    match read_bytes(bytes) {
        Ok(_) => panic!("the file is refused"),
        Err(error) => error,
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let bytes = both().output("Y").output("H").bytes();
    assert!(read_bytes(&bytes).is_ok());
    for end in 0..bytes.len() {
        // The operators' version comes last: without it there is no model.
        let error = refused(&bytes[..end]);
        assert!([ErrorKind::Model, ErrorKind::Weights].contains(&error.kind()), "{end}: {error}");
    }
}

#[test]
fn a_byte_changed_anywhere_never_panics() {
    let bytes = both().output("Y").output("H").bytes();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            if let Ok((model, tensors)) = read_bytes(&changed) {
                drop(Weights::from_tensors(&model, tensors));
            }
        }
    }
}

#[test]
fn a_field_of_no_number_is_an_error() {
    let bytes = both().output("Y").output("H").bytes();
    // Length-delimited and empty, with field number 0 and with one above the largest.
    for (field, number) in [(&[0x02, 0][..], "0"), (&[0x82, 0x80, 0x80, 0x80, 0x10, 0], "536870912")] {
        let error = refused(&[&bytes, field].concat());
        assert!(error.to_string().contains(&format!("a field of number {number}")), "{error}");
    }
}

#[test]
fn a_tensor_that_claims_more_than_there_is_is_an_error() {
    for dims in [&[1, 1 << 60][..], &[1 << 31, 1 << 31, 1 << 31], &[0, 1 << 60, 1 << 60], &[-1, 6, 3]] {
        let graph = sequence(Graph::new())
            .initializer(&shaped("W", 1, dims).bytes(9, &[0; 8]))
            .initializer(&reals("R", &[1, 6, 2], 0.1))
            .node("GRU", &["X", "W", "R"], &["Y"], &[]);
        let error = refused(&graph.output("Y").bytes());
        assert_eq!(error.kind(), ErrorKind::Weights, "{dims:?}: {error}");
    }
}

#[test]
fn weights_that_a_caller_claims_take_no_memory() {
    let graph = sequence(Graph::new())
        .input("W", 1, &["1", "6442450938", "3"])
        .input("R", 1, &["1", "6442450938", "2147483646"])
        .node("GRU", &["X", "W", "R"], &["Y"], &[]);
    drop(read_bytes(&graph.output("Y").bytes()));
}

#[test]
fn messages_inside_of_messages_do_not_nest() {
    let mut nested = Message::default();
    for _ in 0..20_000 {
        nested = Message::default().message(6, &nested);
    }
    let graph = gru().node("If", &["Y"], &["Z"], &[nested]).output("Z");
    drop(refused(&graph.bytes()));
    let mut innermost = Graph::new().node("Identity", &["Y"], &["Z"], &[]).output("Z");
    for _ in 0..1_000 {
        let both = [inner("then_branch", &innermost), inner("else_branch", &Graph::new().output("Y"))];
        innermost =
            Graph::new().initializer(&wholes("yes", &[1], &[1])).node("If", &["yes"], &["Z"], &both).output("Z");
    }
    let graph =
        gru().node("If", &["yes"], &["Z"], &[inner("then_branch", &innermost), inner("else_branch", &innermost)]);
    let error = refused(&graph.initializer(&wholes("yes", &[1], &[1])).output("Z").bytes()).to_string();
    assert!(error.contains("(If)"), "{error}");
}

#[test]
fn what_doubles_again_and_again_is_an_error() {
    let mut graph = gru().initializer(&wholes("n", &[2], &[2, 2]));
    let (mut features, mut numbers, mut weights) = ("Y".to_owned(), "n".to_owned(), "R".to_owned());
    for i in 0..70 {
        let next = |name: &str| format!("{name}{i}");
        for (name, axis) in [(&mut features, 3), (&mut numbers, 0), (&mut weights, 2)] {
            let doubled = next(name.trim_end_matches(char::is_numeric));
            graph = graph.node("Concat", &[name, name], &[&doubled], &[int("axis", axis)]);
            *name = doubled;
        }
    }
    let of = |graph: Graph, name: &str| refused(&graph.output(name).bytes()).to_string();
    assert!(of(graph.clone(), &features).contains("joins"));
    assert!(of(graph.clone(), &numbers).contains("joins"));
    let graph = graph.node("GRU", &["X", "W", &weights], &["Z"], &[]);
    let error = of(graph, "Z");
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn a_weight_that_is_turned_again_and_again_is_an_error() {
    let mut graph = gru();
    let mut name = "R".to_owned();
    for i in 0..5_000 {
        let next = format!("r{i}");
        graph = graph.node("Transpose", &[&name], &[&next], &[ints("perm", &[0, 2, 1])]);
        name = next;
    }
    let graph = graph.node("GRU", &["X", "W", &name], &["Y2"], &[]).output("Y2");
    assert!(refused(&graph.bytes()).to_string().contains("rearranged more than 32 times"));
}

#[test]
fn sizes_past_64_bits_are_errors() {
    let big = i64::MAX;
    let graph = gru().initializer(&wholes("big", &[1], &[big])).node("Mul", &["big", "big"], &["product"], &[]).node(
        "Reshape",
        &["Y", "product"],
        &["Z"],
        &[],
    );
    assert!(refused(&graph.output("Z").bytes()).to_string().contains("cannot be told of"));
    let graph = gru().initializer(&wholes("big", &[3], &[big, big, -1])).node("Reshape", &["Y", "big"], &["Z"], &[]);
    drop(refused(&graph.output("Z").bytes()));
    let graph = gru()
        .initializer(&wholes("from", &[1], &[i64::MIN]))
        .initializer(&wholes("to", &[1], &[i64::MIN]))
        .initializer(&wholes("axis", &[1], &[3]))
        .node("Slice", &["Y", "from", "to", "axis", "from"], &["Z"], &[]);
    // The first feature: an index before the first element means that element.
    let (model, _) = read_bytes(&graph.output("Z").bytes()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(model.layers[1].kind.to_string(), "slice(0..1)");
}

/// A folder for one test, with a file `outside` beside it.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).join("model");
    fs::create_dir_all(&folder).expect("a folder is made");
    fs::write(folder.parent().expect("a parent").join("outside"), [0; 4096]).expect("a file is written");
    folder
}

/// A model whose W is in `location`, from `offset` on.
fn external(location: &str, offset: &str) -> Vec<u8> {
    let entry = |key, value| Message::default().text(1, key).text(2, value);
    let w = shaped("W", 1, &[1, 6, 3])
        .message(13, &entry("location", location))
        .message(13, &entry("offset", offset))
        .int(14, 1);
    let graph = sequence(Graph::new()).initializer(&w).initializer(&reals("R", &[1, 6, 2], 0.1));
    graph.node("GRU", &["X", "W", "R"], &["Y"], &[]).output("Y").bytes()
}

#[test]
fn external_data_outside_of_the_models_folder_is_refused() {
    let folder = folder("outside");
    let model = folder.join("model.onnx");
    let absolute = folder.parent().expect("a parent").join("outside");
    for location in ["../outside", "..\\outside", "sub/../../outside", absolute.to_str().expect("a name"), "", "."] {
        fs::write(&model, external(location, "0")).expect("a file is written");
        let error = read(&model).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Model, "{location}: {error}");
        assert!(error.to_string().contains("external data"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn external_data_through_a_link_is_refused() {
    let folder = folder("link");
    let (model, link) = (folder.join("model.onnx"), folder.join("weights"));
    drop(fs::remove_file(&link));
    std::os::unix::fs::symlink("../outside", &link).expect("a link is made");
    fs::write(&model, external("weights", "0")).expect("a file is written");
    let error = read(&model).expect_err("refused").to_string();
    assert!(error.contains("expected a file in the model's folder, got a link"), "{error}");
}

#[test]
fn external_data_is_read_where_it_is_and_refused_past_its_end() {
    let folder = folder("inside");
    let model = folder.join("model.onnx");
    let elements: Vec<u8> = (0..20_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    fs::write(folder.join("weights"), elements).expect("a file is written");
    fs::write(&model, external("weights", "8")).expect("a file is written");
    let (_, tensors) = read(&model).expect("read");
    let w = tensors.get("0.weight_ih_l0").expect("W is there").read().expect("W is read").into_owned();
    // Update, reset, new there; reset, update, new here.
    assert_eq!(w[..3], [8.0, 9.0, 10.0]);
    assert_eq!(w[6..9], [2.0, 3.0, 4.0]);
    for offset in ["12", "18446744073709551615", "-1", "much"] {
        fs::write(&model, external("weights", offset)).expect("a file is written");
        let error = read(&model).expect_err("refused");
        assert!([ErrorKind::Model, ErrorKind::Weights].contains(&error.kind()), "{error}");
    }
}

#[test]
fn many_small_messages_are_an_error() {
    let mut graph = Message::default();
    for _ in 0..600_000 {
        graph = graph.message(1, &Message::default());
    }
    let bytes = Message::default().message(7, &graph).message(8, &Message::default().int(2, 17)).0;
    assert!(refused(&bytes).to_string().contains("expected at most"));
}
