//! Text as the configuration in a `.keras` archive that is well otherwise, and beside its weights alone: zip and HDF5 keep
//! no mutation from it.
#![no_main]

use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;

use gatewave::formats::{self, Format, keras};
use libfuzzer_sys::fuzz_target;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The members beside the configuration.
static MEMBERS: LazyLock<[(&str, Vec<u8>); 2]> = LazyLock::new(|| {
    let archive = include_bytes!("../seeds/keras/layers.keras");
    let mut zip = ZipArchive::new(Cursor::new(archive)).expect("an archive");
    ["metadata.json", "model.weights.h5"].map(|name| {
        let mut member = Vec::new();
        zip.by_name(name).expect("a member").read_to_end(&mut member).expect("its bytes");
        (name, member)
    })
});

fuzz_target!(|text: &str| {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let members = MEMBERS.iter().map(|(name, member)| (*name, member.as_slice()));
    for (name, member) in members.chain([("config.json", text.as_bytes())]) {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(name, options).and_then(|()| Ok(zip.write_all(member)?)).expect("memory");
    }
    let weights = formats::read_bytes(MEMBERS[1].1.clone(), Format::Keras, Some(text));
    let archive = zip.finish().expect("memory").into_inner();
    if let Ok((model, tensors)) = weights {
        gatewave_fuzz::explore(&model, tensors);
    }
    if let Ok((model, tensors)) = keras::read_bytes(&archive) {
        gatewave_fuzz::explore(&model, tensors);
    }
});
