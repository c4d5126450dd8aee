//! Bytes as an ONNX file, read whole and in parts.
#![no_main]

use gatewave::formats::{Format, Reader, onnx};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((model, tensors)) = onnx::read_bytes(bytes) {
        gatewave_fuzz::explore(&model, tensors);
    }
    let _ = Reader::new().cut_bytes(bytes, Format::Onnx);
});
