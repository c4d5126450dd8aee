//! Weights in 8-bit integers: how a file holds them, and which files of other programs are read.

use gatewave::Precision;
use gatewave::formats::{read, safetensors, write};
use gatewave::weights::{Tensor, Tensors};
use serde_json::{Value, json};

use crate::{Embedding, Linear, Lstm, Model, Weights, file, fs, load, lstm_tensors, refusal, scratch, weights_error};

/// The header of a file.
fn header_of(bytes: &[u8]) -> Value {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    let length = usize::try_from(length).expect("a small file");
    serde_json::from_slice(&bytes[8..8 + length]).expect("the header is JSON")
}

#[test]
fn a_file_of_integers_holds_a_scale_for_each_row_and_biases_as_they_are() {
    let weight = Tensor::new([2, 3], vec![-254.0, 1.0, 3.0, 0.0, 0.0, 0.0]);
    let tensors = Tensors::from_iter([("weight", weight), ("bias", Tensor::new([2], vec![0.1, -7.3]))]);
    let bytes = safetensors::to_bytes(&tensors, None, Precision::I8).unwrap();
    let header = header_of(&bytes);
    let wanted = json!({
        "bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "weight_scale": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        "weight": {"dtype": "I8", "shape": [2, 3], "data_offsets": [16, 22]},
    });
    assert_eq!(header, wanted);
    let floats = [0.1_f32, -7.3, 2.0, 0.0].map(f32::to_le_bytes).concat();
    let integers = [-127_i8, 0, 2, 0, 0, 0].map(i8::cast_unsigned);
    assert_eq!(bytes[bytes.len() - 22..], [floats, integers.to_vec()].concat());
    let read = safetensors::read_bytes(&bytes).unwrap().tensors;
    assert_eq!(read.names().collect::<Vec<_>>(), ["bias", "weight"]);
    assert_eq!(read.get("weight").unwrap().read().unwrap().as_ref(), [-254.0, 0.0, 4.0, 0.0, 0.0, 0.0]);
    assert_eq!(read.get("bias"), tensors.get("bias"));
}

#[test]
fn a_file_of_integers_written_again_is_the_same_file() {
    let model = Model::new()
        .layer(Embedding::new(9, 7))
        .layer(Lstm::new(7, 21).num_layers(2).bidirectional().proj_size(5).peepholes())
        .layer(Linear::new(10, 3));
    let tensors = Weights::random(&model, 3).unwrap().to_tensors(&model).unwrap();
    let paths = ["integers", "again"].map(|name| scratch(&format!("{name}.safetensors")));
    write(&paths[0], &model, tensors.clone(), Precision::I8).unwrap();
    let (again, stored) = read(&paths[0]).unwrap();
    assert_eq!(again, model);
    write(&paths[1], &model, stored.clone(), Precision::I8).unwrap();
    let [first, second] = paths.map(|path| fs::read(path).unwrap());
    assert!(first == second);
    let header = header_of(&first);
    for (name, tensor) in tensors.iter() {
        let (got, want) = (stored.get(name).unwrap().read().unwrap(), tensor.read().unwrap());
        let is_product =
            ["weight_ih", "weight_hh", "weight_hr"].iter().any(|word| name.contains(word)) || name == "2.weight";
        assert_eq!(header[name]["dtype"], if is_product { "I8" } else { "F32" }, "{name}");
        assert_eq!(got == want, !is_product, "{name}");
    }
}

#[test]
fn integers_that_two_layers_share_stay_floats_where_one_of_them_is_an_embedding() {
    let model =
        Model::new().named_layer("tied.", Embedding::new(4, 3)).named_layer("tied.", Linear::new(3, 4).no_bias());
    let tensors = Tensors::from_iter([("tied.weight", crate::tensor(&[4, 3]))]);
    let path = scratch("tied-integers.safetensors");
    write(&path, &model, tensors.clone(), Precision::I8).unwrap();
    assert_eq!(read(&path).unwrap().1, tensors);
}

#[test]
fn integers_without_the_scales_of_their_rows_are_refused_where_the_model_needs_them() {
    let layers = || json!([{"type": "linear", "weights": "fc.", "bias": false}]);
    let with = |scale: Option<Value>| {
        let mut header = json!({"fc.weight": {"dtype": "I8", "shape": [2, 4], "data_offsets": [0, 8]}});
        let bytes = scale.as_ref().map_or(8, |scale| scale["data_offsets"][1].as_u64().unwrap());
        header.as_object_mut().unwrap().extend(scale.map(|scale| ("fc.weight_scale".to_owned(), scale)));
        safetensors::read_bytes(&file(&header, &vec![1; usize::try_from(bytes).unwrap()])).unwrap().tensors
    };
    let message = "layer 0 linear: fc.weight: expected elements of type F32, F16, BF16, F64 or I8 with scales, got I8 \
                   without fc.weight_scale of type F32, [2]; save it as one of them";
    for scale in [
        None,
        Some(json!({"dtype": "F16", "shape": [2], "data_offsets": [8, 12]})),
        Some(json!({"dtype": "F32", "shape": [1], "data_offsets": [8, 12]})),
    ] {
        assert_eq!(refusal(layers(), with(scale)), weights_error(message));
    }
    let scales = json!({"dtype": "F32", "shape": [2], "data_offsets": [8, 16]});
    let tensors = with(Some(scales));
    assert!(!tensors.contains("fc.weight_scale"), "no layer is to miss it");
    load(layers(), tensors).unwrap();
}

#[test]
fn a_number_that_is_not_finite_is_not_written_as_an_integer() {
    let mut tensors = lstm_tensors();
    tensors.insert("a", Tensor::new([1, 2], vec![1.0, f32::NAN]));
    let error = safetensors::to_bytes(&tensors, None, Precision::I8).unwrap_err();
    let message = "tensor a: expected finite numbers for 8-bit integers, got NaN; use 32-bit floats";
    assert_eq!((error.kind(), error.to_string()), weights_error(message));
}
