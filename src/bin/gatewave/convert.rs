//! `gatewave convert`: a model of any format that is read, as a native file that runs alike.
//!
//! Decides what may be written over; what is written is the library's business.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::slice;

use gatewave::formats::{self, safetensors::TRAINING_KEY};
use gatewave::{Error, ErrorKind};

use crate::args::{ModelArgs, Precision, spare, unused};
use crate::{Outcome, Verdict};

/// Writes a model as a .safetensors file with its description
///
/// The file runs as MODEL does, bit for bit, without any other beside it. With --precision f16 or int8 it runs as MODEL with
/// its weights rounded to 16 or 8 bits. Weights that the caller of a model brings are left out, and still to be brought.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Where the model goes: a .safetensors file
    #[arg(value_name = "OUT.safetensors")]
    out: PathBuf,
    /// How the file stores weights
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Write over a file that is there already
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let path = args.out.as_path();
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
        return Err(io_error(path, "expected a name that ends in .safetensors").into());
    }
    spare("OUT", args.model.files(), slice::from_ref(&args.out))?;
    unused(path, args.force)?;
    let (model, tensors) = args.model.read_alone()?;
    let mut metadata = formats::metadata(args.model.file())?;
    // Without the tensors of a training there is nothing to go on from.
    metadata.remove(TRAINING_KEY);
    formats::write_with(path, &model, tensors, args.precision.into(), &metadata)?;
    let bytes = fs::metadata(path).map_err(|e| io_error(path, &e.to_string()))?.len();
    let (layers, parameters, precision) = (model.layers.len(), model.parameters(), args.precision.name());
    writeln!(out, "{}: {layers} layers, {parameters} parameters, {precision}, {bytes} bytes", path.display())?;
    Ok(Verdict::Done)
}

fn io_error(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Io, what).at(path.display())
}
