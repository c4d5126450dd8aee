//! Bytes as an ONNX file.
#![no_main]

use gatewave::formats::onnx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((model, tensors)) = onnx::read_bytes(bytes) {
        gatewave_fuzz::explore(&model, tensors);
    }
});
