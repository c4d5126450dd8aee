//! `gatewave bench`: what it prints; not what it measures.

use serde_json::Value;

use crate::gatewave;

#[test]
fn bench_prints_one_object_for_each_shape() {
    let out = gatewave(["bench", "--only", "numpy-100x32x64,vad-lstm", "--runs", "2", "--json"]).done();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["numpy-100x32x64", "vad-lstm"]);
    for line in &lines {
        let expected = ["device", "dtype", "id", "mode", "ms_max", "ms_median", "ms_min", "peer", "runs"];
        let mut keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(line["peer"], concat!("gatewave ", env!("CARGO_PKG_VERSION"), " cpu"));
        assert_eq!((&line["dtype"], &line["mode"], &line["runs"]), (&"f32".into(), &"forward".into(), &2.into()));
        let times = ["ms_min", "ms_median", "ms_max"].map(|key| line[key].as_f64().unwrap());
        assert!(0.0 < times[0] && times[0] <= times[1] && times[1] <= times[2], "{times:?}");
    }
}

#[test]
fn bench_takes_one_shape_by_flags_and_prints_a_table() {
    let flags = ["--cell", "gru", "--input-size", "8", "--hidden-size", "20", "--steps", "6", "--bidirectional"];
    let out = gatewave(["bench", "--runs", "1"].into_iter().chain(flags)).done();
    assert!(out.contains("gru-T6-B1-I8-H20-L1-D2") && out.contains("median ms"), "{out}");
}

#[test]
fn bench_refuses_an_unknown_id_with_those_there_are() {
    let error = gatewave(["bench", "--only", "vad"]).refused();
    assert!(
        error.starts_with("--only: no shape vad in bench/shapes.json; it has numpy-100x32x64, imdb-rnn, "),
        "{error}"
    );
}
