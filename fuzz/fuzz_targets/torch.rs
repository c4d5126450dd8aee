//! Bytes as a file of `torch.save`, and an archive also as one of NumPy; the draft of a description of the tensors.
#![no_main]

use gatewave::formats::{self, numpy, torch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let arrays = bytes.starts_with(b"PK").then(|| numpy::read_shared(bytes.into()));
    let read = [Some(torch::read_bytes(bytes)), arrays].into_iter().flatten().flatten();
    for tensors in read.map(|contents| contents.tensors) {
        if let Ok(draft) = formats::describe(&tensors) {
            gatewave_fuzz::explore(&draft.model, tensors);
        }
    }
});
