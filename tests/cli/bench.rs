//! `gatewave bench`: what it prints; not what it measures.

use std::fs;

use serde_json::Value;

use crate::{Folder, gatewave};

#[test]
fn bench_prints_one_object_for_each_shape() {
    let out = gatewave(["bench", "--only", "numpy-100x32x64,vad-lstm", "--runs", "2", "--json"]).done();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["numpy-100x32x64", "vad-lstm"]);
    for line in &lines {
        let expected =
            ["device", "dtype", "id", "kernels", "mode", "ms_max", "ms_median", "ms_min", "peer", "runs", "start_ms"];
        let mut keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(line["peer"], concat!("gatewave ", env!("CARGO_PKG_VERSION"), " cpu"));
        assert_eq!((&line["dtype"], &line["mode"], &line["runs"]), (&"f32".into(), &"forward".into(), &2.into()));
        let times = ["ms_min", "ms_median", "ms_max"].map(|key| line[key].as_f64().unwrap());
        assert!(0.0 < times[0] && times[0] <= times[1] && times[1] <= times[2], "{times:?}");
        assert_eq!(line["kernels"], serde_json::json!(["gemm", "step"]));
        let start = ["device", "weights", "pipelines", "call"].map(|part| line["start_ms"][part].as_f64().unwrap());
        assert!(start[3] > 0.0 && start.iter().all(|&ms| ms >= 0.0), "{start:?}");
    }
}

#[test]
fn bench_takes_one_shape_by_flags_and_prints_a_table() {
    let flags = ["--cell", "gru", "--input-size", "8", "--hidden-size", "20", "--steps", "6", "--bidirectional"];
    let out = gatewave(["bench", "--runs", "1"].into_iter().chain(flags)).done();
    assert!(out.contains("gru-T6-B1-I8-H20-L1-D2") && out.contains("median"), "{out}");
    assert!(out.contains("to the first result of a new engine") && out.contains("compile pipelines"), "{out}");
    // A table must be clear without the manual: unique column names, units, what was timed, and what computed it.
    for header in out.lines().filter(|line| line.contains("shape")) {
        let mut names: Vec<_> = header.split(['│', '┆']).map(str::trim).filter(|name| !name.is_empty()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(count > 5 && names.len() == count, "{header}");
    }
    assert!(
        out.starts_with(
            "Milliseconds of a call of a warm engine, from the input to the output on the host; 1 call after 3"
        ),
        "{out}"
    );
    assert!(out.contains("; weights in f32.\ncpu: ") && out.contains(" thread"), "{out}");
}

#[test]
fn bench_times_a_model_of_a_file() {
    let [model, input] = ["shakespeare", "passages"].map(|name| format!("models/shakespeare/{name}.safetensors"));
    let line = |more: &[&str]| {
        let args = ["bench", &model, "--input", &input, "--runs", "1", "--json"];
        gatewave(args.into_iter().chain(more.iter().copied())).done()
    };
    // The file of the input has the outputs beside it.
    let times: Value = serde_json::from_str(&line(&[])).unwrap();
    assert_eq!((&times["id"], &times["mode"]), (&model.as_str().into(), &"forward".into()));
    assert!(times["ms_median"].as_f64().unwrap() > 0.0, "{times}");
    let kernels = line(&["--kernels", "--device", "cpu"]);
    for kernel in kernels.lines() {
        let kernel: Value = serde_json::from_str(kernel).unwrap();
        assert!(kernel["id"] == model.as_str() && kernel["ms_median"].as_f64().unwrap() > 0.0, "{kernel}");
    }
    let error = gatewave(["bench", &model]).refused();
    assert_eq!(error, "MODEL: expected --input IN, the tensors to run it on, got none");
    let error = gatewave(["bench", &model, "--input", "no.npz"]).refused();
    assert!(error.starts_with("no.npz: "), "{error}");
    let error = gatewave(["bench", "--input", &input]).refused();
    assert!(error.starts_with("the following required arguments"), "{error}");
}

#[test]
fn bench_tells_kernels_apart_and_how_they_stand_to_the_device() {
    let args = ["bench", "--only", "numpy-100x32x64", "--runs", "1", "--device", "cpu", "--kernels"];
    let out = gatewave(args).done();
    for word in ["% of product", "% of copy", "step rnn", "cpu: kernels ", "; peaks: product "] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let out = gatewave(args.into_iter().chain(["--json"])).done();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kernels: Vec<_> = lines.iter().map(|line| line["kernel"].as_str().unwrap()).collect();
    assert!(kernels.len() == 2 && kernels[0].starts_with("gemm rnn") && kernels[1] == "step rnn", "{kernels:?}");
    // T · H · (I, then H) multiplications and as many additions.
    assert_eq!(lines[0]["operations"], 2 * 100 * 64 * 32);
    assert_eq!((&lines[1]["operations"], &lines[1]["dispatches"]), (&(2 * 100 * 64 * 64).into(), &100.into()));
    let share: f64 = lines.iter().map(|line| line["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9 && lines[0]["peak_gb_s"].as_f64().unwrap() > 0.0, "{out}");
}

#[test]
fn bench_refuses_an_unknown_id_with_those_there_are() {
    let error = gatewave(["bench", "--only", "vad"]).refused();
    assert!(
        error.starts_with("--only: no shape vad in bench/shapes.json; it has numpy-100x32x64, imdb-rnn, "),
        "{error}"
    );
}

#[test]
fn bench_stands_beside_the_fastest_peer() {
    let folder = Folder::new("bench-compare");
    let line = |peer: &str, ms: f64| {
        format!(
            r#"{{"peer":"{peer}","device":"cpu","dtype":"f32","id":"numpy-100x32x64","mode":"forward","ms_median":{ms},"ms_min":{ms},"ms_max":{ms},"runs":9}}"#
        )
    };
    let (slow, fast) = (folder.path("slow.jsonl"), folder.path("fast.jsonl"));
    fs::write(&slow, line("slow 1.0", 1e9)).unwrap();
    fs::write(&fast, line("fast 2.0", 1e6)).unwrap();
    let args = ["bench", "--only", "numpy-100x32x64,vad-lstm", "--runs", "1", "--compare", &slow, "--compare", &fast];
    let out = gatewave(args).done();
    assert!(out.contains("slow 1.0") && out.contains("fast 2.0"), "{out}");
    assert!(out.contains("cpu against the fastest peer of 1 shapes: geometric mean of the ratios 0.00"), "{out}");
    assert!(out.trim_end().ends_with("(numpy-100x32x64); no peer's vad-lstm (of the same dtype and mode)"), "{out}");

    fs::write(&fast, "\n{}").unwrap();
    let error = gatewave(args).refused();
    assert!(error.contains("fast.jsonl: line 2: expected an object as --json prints it: missing field"), "{error}");
}

#[test]
fn bench_counts_alike_each_time_and_tells_what_has_changed() {
    let folder = Folder::new("bench-count");
    let file = folder.path("counts.jsonl");
    let counts = gatewave(["bench", "--count", "--json"]).done();
    assert_eq!(counts.lines().count(), 4 * 11);
    fs::write(&file, &counts).unwrap();
    assert!(gatewave(["bench", "--check", &file]).done().starts_with("44 plans count what "));

    let mut lines: Vec<Value> = counts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let place = lines.iter().position(|line| line["id"] == "imdb-rnn" && line["target"] == "software GPU").unwrap();
    lines[place]["dispatches"] = 1.into();
    let changed: Vec<_> = lines.iter().map(Value::to_string).collect();
    fs::write(&file, changed.join("\n")).unwrap();
    let ran = gatewave(["bench", "--check", &file]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.starts_with("imdb-rnn (software GPU, f32): expected 1 dispatches"), "{ran:?}");
    assert!(ran.out.contains("1 of 44 plans count otherwise"), "{ran:?}");
}

#[test]
fn bench_fits_and_draws_how_time_grows() {
    let folder = Folder::new("bench-sweep");
    let drawing = folder.path("sweep.svg");
    let args = ["bench", "--only", "numpy-100x32x64", "--runs", "1", "--sweep", "T=2..10", "--plot", &drawing];
    let out = gatewave(args).done();
    for word in [
        "rnn, 1 layer, batch of 1, 32 features, 64 units (numpy-100x32x64)\n",
        "T ┆",
        "\ncpu: ",
        " thread",
        "cpu: ",
        " ms · T; the largest departure is ",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let svg = fs::read_to_string(&drawing).unwrap();
    assert!(svg.starts_with("<svg width=\"800\" height=\"500\" viewBox=\"0 0 6400 4000\""), "{svg}");
    let title = "rnn, 1 layer, batch of 1, 32 features, 64 units";
    let words = [
        title,
        "weights in f32",
        "T, the steps of the sequence",
        "milliseconds of a call, shortest of 1",
        "cpu: ",
        "fit: ",
    ];
    for word in words {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(!svg.contains("T100") && !svg.contains("100x32"), "the swept size is no part of the title: {svg}");

    let two = gatewave(["bench", "--only", "numpy-100x32x64,vad-lstm", "--sweep", "B=1..4"]).refused();
    assert_eq!(two, "--sweep: expected one shape (--only ID, or --cell and its sizes), got 2");
    let nowhere =
        gatewave(["bench", "--only", "numpy-100x32x64", "--runs", "1", "--sweep", "T=1..2", "--plot", "no/where.svg"]);
    assert_eq!(nowhere.status, 2, "{nowhere:?}");
    assert!(nowhere.err.contains("no/where.svg: "), "{nowhere:?}");
}
