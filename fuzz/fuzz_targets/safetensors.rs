//! Bytes as a `.safetensors` file, and the description in it.
#![no_main]

use gatewave::formats::{description, safetensors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(contents) = safetensors::read_bytes(bytes) else { return };
    let Some(text) = contents.description else { return };
    if let Ok(model) = description::from_json(&text, &contents.tensors) {
        gatewave_fuzz::explore(&model, contents.tensors);
    }
});
