//! Bytes as an `.h5` file.
#![no_main]

use gatewave::formats::keras;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // What is a zip is for the target of archives.
    if bytes.starts_with(b"PK") {
        return Corpus::Reject;
    }
    if let Ok((model, tensors)) = keras::read_bytes(bytes) {
        gatewave_fuzz::explore(&model, tensors);
    }
    Corpus::Keep
});
