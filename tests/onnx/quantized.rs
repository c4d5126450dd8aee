//! Quantized graphs: the same layers as those of the real weights, and the bounds of what is rounded.

use gatewave::formats::onnx::read_bytes;

use crate::build::{Graph, floats, gru, int, int8, ints, sequence, shaped, uint8, wholes};
use crate::inputs::{assert_near, features, run};
use crate::refused::refused;

/// Returns the layers in a few words each.
fn layers(graph: &Graph) -> Vec<String> {
    let (model, _) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
    model.layers.iter().map(|layer| layer.kind.to_string()).collect()
}

/// Returns `count` whole numbers of eight bits.
fn drawn(count: usize) -> Vec<i8> {
    (0..count).map(|i| i8::try_from((i * 37 + 11) % 121).expect("below 121") - 60).collect()
}

/// Returns real numbers that `of` stands for, with the scale and the zero point that each place has.
fn real(of: &[i8], at: impl Fn(usize) -> (f32, f32)) -> Vec<f32> {
    of.iter().enumerate().map(|(i, &q)| (f32::from(q) - at(i).1) * at(i).0).collect()
}

/// An LSTM of 4 units and 3 features, and a product behind it, as onnxruntime's `quantize_dynamic` writes them, and of
/// the real weights. Scales are one for each tensor, or with `each` one for each gate's row and each column.
fn lstm_and_product(each: bool) -> [Graph; 2] {
    let (w, r, v) = (drawn(48), drawn(64), drawn(8));
    let of_rows: Vec<f32> = (0..16).map(|i| 0.002 + 0.0005 * i as f32).collect();
    let (scales, zeros): (&[f32], Vec<i8>) = if each { (&of_rows, (0..16).collect()) } else { (&[0.004], vec![3]) };
    let dims: &[i64] = if each { &[1, 16] } else { &[1] };
    let of_row = |row: usize| if each { (scales[row], row as f32) } else { (scales[0], 3.0) };
    let (columns, column_zeros): (&[f32], &[i8]) = if each { (&[0.01, 0.02], &[5, -7]) } else { (&[0.01], &[5]) };
    let of_column = |i: usize| if each { (columns[i % 2], f32::from(column_zeros[i % 2])) } else { (columns[0], 5.0) };
    let column_dims: &[i64] = if each { &[2] } else { &[] };
    let bias: Vec<f32> = (0..32).map(|i| 0.03 * i as f32 - 0.4).collect();
    let base = || {
        let graph = sequence(Graph::new()).initializer(&floats("B", &[1, 32], &bias));
        graph.initializer(&floats("b", &[2], &[0.25, -0.5])).initializer(&wholes("one", &[1], &[1]))
    };
    let hidden = [int("hidden_size", 4)];
    let lstm = ["X", "W", "R", "B", "", "", "", "", "W scale", "W zero", "R scale", "R zero"];
    let quantized = base()
        .initializer(&int8("W", &[1, 3, 16], &w))
        .initializer(&int8("R", &[1, 4, 16], &r))
        .initializer(&floats("W scale", dims, scales))
        .initializer(&int8("W zero", dims, &zeros))
        .initializer(&floats("R scale", dims, scales))
        .initializer(&int8("R zero", dims, &zeros))
        .initializer(&int8("V", &[4, 2], &v))
        .initializer(&floats("V scale", column_dims, columns))
        .initializer(&int8("V zero", column_dims, column_zeros))
        .node_of("com.microsoft", "DynamicQuantizeLSTM", &lstm, &["Y"], &hidden)
        .node("Squeeze", &["Y", "one"], &["S"], &[])
        .node("DynamicQuantizeLinear", &["S"], &["q", "q scale", "q zero"], &[])
        .node("Mul", &["q scale", "V scale"], &["scales"], &[])
        .node("MatMulInteger", &["q", "V", "q zero", "V zero"], &["p"], &[])
        .node("Cast", &["p"], &["c"], &[int("to", 1)])
        .node("Mul", &["c", "scales"], &["m"], &[])
        .node("Add", &["b", "m"], &["Z"], &[])
        .output("Z");
    let turned = |of: &[i8], inputs: usize| -> Vec<f32> {
        let real = real(of, |i| of_row(i % 16));
        (0..16).flat_map(|row| (0..inputs).map(move |i| (row, i))).map(|(row, i)| real[i * 16 + row]).collect()
    };
    let plain = base()
        .initializer(&floats("W", &[1, 16, 3], &turned(&w, 3)))
        .initializer(&floats("R", &[1, 16, 4], &turned(&r, 4)))
        .initializer(&floats("V", &[4, 2], &real(&v, of_column)))
        .node("LSTM", &["X", "W", "R", "B"], &["Y"], &hidden)
        .node("Squeeze", &["Y", "one"], &["S"], &[])
        .node("MatMul", &["S", "V"], &["m"], &[])
        .node("Add", &["m", "b"], &["Z"], &[])
        .output("Z");
    [quantized, plain]
}

#[test]
fn a_dynamically_quantized_model_is_that_of_the_weights_it_stands_for() {
    for each in [false, true] {
        let [quantized, plain] = lstm_and_product(each);
        assert_eq!(layers(&quantized), ["lstm(3→4)", "linear(4→2)"]);
        assert_near(&run(&quantized, features()), &run(&plain, features()));
    }
}

#[test]
fn products_with_their_scales_are_those_of_the_real_weights() {
    let v = drawn(8);
    let weights = || gru().initializer(&int8("V", &[2, 4], &v)).initializer(&floats("s", &[], &[0.02]));
    let weights =
        || weights().initializer(&int8("z", &[], &[9])).initializer(&floats("b", &[4], &[1.0, 2.0, 3.0, 4.0]));
    let plain = gru().initializer(&floats("V", &[2, 4], &real(&v, |_| (0.02, 9.0))));
    let plain = plain.initializer(&floats("b", &[4], &[1.0, 2.0, 3.0, 4.0]));
    let plain = plain.node("MatMul", &["Y", "V"], &["m"], &[]).node("Add", &["m", "b"], &["Z"], &[]).output("Z");
    let by_call = weights().node_of("com.microsoft", "DynamicQuantizeMatMul", &["Y", "V", "s", "z", "b"], &["Z"], &[]);
    let to_reals = ["q", "V", "qs", "s", "qz", "z", "b"];
    let fused = weights().node("DynamicQuantizeLinear", &["Y"], &["q", "qs", "qz"], &[]).node_of(
        "com.microsoft",
        "MatMulIntegerToFloat",
        &to_reals,
        &["Z"],
        &[],
    );
    let pair = weights()
        .node("DequantizeLinear", &["V", "s", "z"], &["W2"], &[])
        .node("MatMul", &["Y", "W2"], &["m"], &[])
        .node("Add", &["m", "b"], &["Z"], &[]);
    for graph in [by_call, fused, pair] {
        let graph = graph.output("Z");
        assert_eq!(layers(&graph), ["gru reset before(3→2)", "linear(2→4)"]);
        assert_near(&run(&graph, features()), &run(&plain, features()));
    }
}

/// A graph with the scale and the zero point of what flows: 256 numbers from `-zero` hundredths on.
fn grid(zero: u8) -> Graph {
    gru().initializer(&floats("s", &[], &[0.01])).initializer(&uint8("z", &[], &[zero]))
}

#[test]
fn what_is_quantized_by_a_fixed_scale_is_bounded_as_its_type_is() {
    let y = run(&gru().node("Neg", &["Y"], &["N"], &[]).output("N"), features());
    assert!(y.iter().any(|&x| x < -0.2) && y.iter().any(|&x| x > -0.2), "the bounds are met: {y}");
    for (zero, least) in [(0_u8, 0.0), (20, -0.2)] {
        let there = grid(zero).node("Neg", &["Y"], &["N"], &[]);
        let there = there.node("QuantizeLinear", &["N", "s", "z"], &["q"], &[]);
        let back = there.clone().node("DequantizeLinear", &["q", "s", "z"], &["Z"], &[]).output("Z");
        assert_near(&run(&back, features()), &y.mapv(|x| x.max(least)));
        // A quantized product gives what a product of reals gives, between its own bounds.
        let v = [10, -20, 30, 40];
        let product = there
            .initializer(&int8("V", &[2, 2], &v))
            .initializer(&floats("vs", &[2], &[0.1, 0.2]))
            .initializer(&int8("vz", &[2], &[0, 0]))
            .initializer(&floats("ys", &[], &[0.02]))
            .initializer(&uint8("yz", &[], &[128]))
            .node("QLinearMatMul", &["q", "s", "z", "V", "vs", "vz", "ys", "yz"], &["p"], &[])
            .node("DequantizeLinear", &["p", "ys", "yz"], &["Z"], &[])
            .output("Z");
        let wanted = crate::inputs::run(&product, features());
        let mut expected = y.mapv(|x| x.max(least));
        for mut row in expected.rows_mut() {
            let (a, b) = (row[0], row[1]);
            row[0] = (a * 1.0 + b * 3.0).clamp(-2.56, 2.54);
            row[1] = (a * -4.0 + b * 8.0).clamp(-2.56, 2.54);
        }
        assert_near(&wanted, &expected);
    }
}

#[test]
fn weights_are_quantized_and_dequantized_by_axis_and_by_block() {
    let read = |graph: Graph| {
        let graph = graph.node("MatMul", &["Y", "w"], &["Z"], &[]).output("Z");
        let (_, tensors) = read_bytes(&graph.bytes()).unwrap_or_else(|e| panic!("{e}"));
        tensors.get("1.weight").expect("a product").read().expect("numbers").into_owned()
    };
    let v = || gru().initializer(&int8("V", &[2, 4], &[1, 2, 3, 4, 5, 6, 7, 8]));
    let rows = v().initializer(&floats("s", &[2], &[1.0, 10.0])).initializer(&int8("z", &[2], &[0, 1]));
    let rows = rows.node("DequantizeLinear", &["V", "s", "z"], &["w"], &[int("axis", 0)]);
    assert_eq!(read(rows), [1.0, 40.0, 2.0, 50.0, 3.0, 60.0, 4.0, 70.0]);
    let blocks = v().opset(21).initializer(&floats("s", &[2, 2], &[1.0, 10.0, 100.0, 1000.0]));
    let blocks = blocks.node("DequantizeLinear", &["V", "s"], &["w"], &[int("axis", 1), int("block_size", 2)]);
    assert_eq!(read(blocks), [1.0, 500.0, 2.0, 600.0, 30.0, 7000.0, 40.0, 8000.0]);
    // Training aware of quantization leaves real weights behind both operators: 0.25 is rounded to the even number.
    let both = gru().initializer(&floats("V", &[2, 2], &[0.25, 0.75, -9.0, 300.0]));
    let both = both.initializer(&floats("s", &[], &[0.5])).initializer(&int8("z", &[], &[1]));
    let both = both.node("QuantizeLinear", &["V", "s", "z"], &["q"], &[]);
    assert_eq!(read(both.node("DequantizeLinear", &["q", "s", "z"], &["w"], &[])), [0.0, -9.0, 1.0, 63.0]);
    // A table of more numbers than shapes have, looked up before its numbers are real.
    let table = Graph::new()
        .input("ids", 7, &["time", "batch"])
        .initializer(&int8("V", &[2000, 3], &drawn(6000)))
        .initializer(&floats("s", &[], &[0.125]))
        .initializer(&int8("z", &[], &[4]))
        .node("Gather", &["V", "ids"], &["rows"], &[])
        .node("DequantizeLinear", &["rows", "s", "z"], &["X"], &[]);
    let graph = crate::build::weighted(table, 3, 1).node("GRU", &["X", "W", "R"], &["Z"], &[]).output("Z");
    assert_eq!(layers(&graph), ["embedding(2000→3)", "gru reset before(3→2)"]);
    let (_, tensors) = read_bytes(&graph.bytes()).expect("it is read");
    let got = tensors.get("0.weight").expect("a table").read().expect("numbers").into_owned();
    assert_eq!(got, real(&drawn(6000), |_| (0.125, 4.0)));
}

#[test]
fn a_model_of_float16_throughout_is_one_of_the_same_numbers() {
    let pattern = [(0x3400_u16, 0.25_f32), (0x3800, 0.5), (0xb800, -0.5), (0x3c00, 1.0)];
    let each = |count: usize| (0..count).map(|i| pattern[i * 7 % 4]);
    let tensors: [(&str, &[i64]); 3] = [("W", &[1, 6, 3]), ("R", &[1, 6, 2]), ("B", &[1, 12])];
    let graph = |data_type: i64| {
        let graph = Graph::new().input("X", data_type, &["time", "batch", "3"]);
        let graph = tensors.iter().fold(graph, |graph, (name, dims)| {
            let count = usize::try_from(dims.iter().product::<i64>()).expect("a few");
            let halves: Vec<u8> = each(count).flat_map(|(bits, _)| bits.to_le_bytes()).collect();
            let reals: Vec<f32> = each(count).map(|(_, x)| x).collect();
            graph.initializer(&match data_type {
                10 => shaped(name, 10, dims).bytes(9, &halves),
                _ => floats(name, dims, &reals),
            })
        });
        let graph = graph.node("GRU", &["X", "W", "R", "B"], &["Y"], &[]);
        graph.node("Cast", &["Y"], &["Z"], &[int("to", data_type)]).output("Z")
    };
    assert_near(&run(&graph(10), features()), &run(&graph(1), features()));
}

#[test]
fn what_no_layer_makes_of_quantized_numbers_is_refused() {
    let quantized = || grid(0).node("QuantizeLinear", &["Y", "s", "z"], &["q"], &[]);
    let cases: [(Graph, &str); 5] = [
        (quantized().node("Tanh", &["q"], &["Z"], &[]), "(Tanh): quantized numbers, but for DequantizeLinear"),
        (
            grid(0).node("DequantizeLinear", &["Y", "s", "z"], &["Z"], &[]),
            "(DequantizeLinear): expected what a QuantizeLinear gives, got [time, 1, batch, features 2]",
        ),
        (
            grid(0)
                .initializer(&floats("two", &[2], &[0.1, 0.2]))
                .node("QuantizeLinear", &["Y", "two", "z"], &["q"], &[])
                .node("DequantizeLinear", &["q", "two", "z"], &["Z"], &[]),
            "(QuantizeLinear): y_scale: expected one number above 0 for what flows, got [2]",
        ),
        (
            gru()
                .initializer(&int8("V", &[2, 4], &drawn(8)))
                .initializer(&floats("three", &[3], &[1.0, 2.0, 3.0]))
                .node("DequantizeLinear", &["V", "three"], &["w"], &[])
                .node("MatMul", &["Y", "w"], &["Z"], &[]),
            "(DequantizeLinear): x_scale: expected one number, or one for each of 4 along axis 1, got [3]",
        ),
        (
            Graph::new().input("X", 2, &["time", "batch", "3"]).initializer(&floats("s", &[], &[0.01])).node(
                "DequantizeLinear",
                &["X", "s"],
                &["Z"],
                &[],
            ),
            "x: the input \"X\" holds quantized numbers; export the model with real inputs",
        ),
    ];
    for (graph, text) in cases {
        let error = refused(&graph.output("Z"));
        assert!(error.contains(text), "{error}");
    }
}

/// A convolution of an input of batch, features and time, before the GRU of its steps. `by` makes C of X.
fn convolved(by: impl FnOnce(Graph) -> Graph) -> Graph {
    let graph = by(Graph::new().input("X", 1, &["batch", "2", "time"]).initializer(&floats(
        "b",
        &[1, 3, 1],
        &[0.5, -0.25, 1.0],
    )));
    let graph = graph.node("Transpose", &["C"], &["T"], &[ints("perm", &[2, 0, 1])]);
    crate::build::weighted(graph, 3, 1).node("GRU", &["T", "W", "R", "B"], &["Y"], &[]).output("Y")
}

#[test]
fn convolutions_of_quantized_values_are_those_of_the_real_weights() {
    let k = drawn(12);
    let scales = |i: usize| ([0.02, 0.025, 0.01][i / 4], 0.0);
    let plain = |bounds: Option<[f32; 2]>| {
        convolved(|graph| {
            let graph = graph.initializer(&floats("K", &[3, 2, 2], &real(&k, scales)));
            let graph = match bounds {
                None => graph.node("Identity", &["X"], &["x"], &[]),
                Some([low, high]) => {
                    let graph =
                        graph.initializer(&floats("low", &[], &[low])).initializer(&floats("high", &[], &[high]));
                    graph.node("Clip", &["X", "low", "high"], &["x"], &[])
                }
            };
            graph.node("Conv", &["x", "K"], &["c"], &[ints("pads", &[1, 0])]).node("Add", &["c", "b"], &["C"], &[])
        })
    };
    let whole = |graph: Graph| graph.initializer(&int8("K", &[3, 2, 2], &k)).initializer(&int8("kz", &[3], &[0; 3]));
    let by_call = convolved(|graph| {
        whole(graph)
            .initializer(&floats("ks", &[1, 3, 1], &[0.02, 0.025, 0.01]))
            .node("DynamicQuantizeLinear", &["X"], &["q", "qs", "qz"], &[])
            .node("ConvInteger", &["q", "K", "qz", "kz"], &["i"], &[ints("pads", &[1, 0])])
            .node("Cast", &["i"], &["f"], &[int("to", 1)])
            .node("Mul", &["qs", "ks"], &["s"], &[])
            .node("Mul", &["f", "s"], &["c"], &[])
            .node("Add", &["c", "b"], &["C"], &[])
    });
    let x = ndarray::ArrayD::from_shape_fn(ndarray::IxDyn(&[2, 2, 5]), |i| {
        0.9 * i[1] as f32 - 0.3 * i[2] as f32 + 0.1 * i[0] as f32
    });
    assert_eq!(layers(&by_call), ["conv1d(2→3, 2, causal)", "gru reset before(3→2)"]);
    assert_near(&run(&by_call, x.clone()), &run(&plain(None), x.clone()));
    // Numbers of eight bits by hundredths, from −0.5 on, meet their bounds.
    let fixed = convolved(|graph| {
        whole(graph)
            .initializer(&floats("ks", &[3], &[0.02, 0.025, 0.01]))
            .initializer(&floats("qs", &[], &[0.01]))
            .initializer(&uint8("qz", &[], &[50]))
            .initializer(&floats("ys", &[], &[0.5]))
            .initializer(&int8("yz", &[], &[0]))
            .initializer(&shaped("KB", 6, &[3]).bytes(9, &[2500_i32, -1000, 10000].map(i32::to_le_bytes).concat()))
            .node("QuantizeLinear", &["X", "qs", "qz"], &["q"], &[])
            .node(
                "QLinearConv",
                &["q", "qs", "qz", "K", "ks", "kz", "ys", "yz", "KB"],
                &["p"],
                &[ints("pads", &[1, 0])],
            )
            .node("DequantizeLinear", &["p", "ys", "yz"], &["C"], &[])
    });
    assert_near(&run(&fixed, x.clone()), &run(&plain(Some([-0.5, 2.05])), x.clone()));
    let wrong = convolved(|graph| whole(graph).node("ConvInteger", &["X", "K", "", "kz"], &["C"], &[]));
    let wrong = refused(&wrong);
    assert!(
        wrong.contains("(ConvInteger): x: expected what a QuantizeLinear gives, got an input of the graph"),
        "{wrong}"
    );
}
