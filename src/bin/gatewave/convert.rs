//! `gatewave convert`: a model of any readable format, as a native file that gives the same results.
//!
//! Decides what may be overwritten; the library decides what is written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::slice;

use gatewave::formats::{self, safetensors::TRAINING_KEY};
use gatewave::{Error, ErrorKind, Precision, Result};

use crate::args::{ModelArgs, has_extension, precision};
use crate::files::{is_standard_output, no_terminal, spare, temporary_folder, unused};
use crate::messages::{tell, written};
use crate::{Outcome, Verdict};

/// Writes a model as a .safetensors file with its description
///
/// The file runs as MODEL does, bit for bit, and needs no other file. With --precision
/// f16 or int8 it runs as MODEL with its weights rounded to 16 or 8 bits. Weights that
/// the caller of a model brings are left out; the caller must still bring them.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Where the model goes: a .safetensors file, or `-` for standard output
    #[arg(value_name = "OUT.safetensors")]
    out: PathBuf,
    /// How the file stores weights
    #[arg(long, value_parser = precision(), default_value_t)]
    precision: Precision,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let path = args.out.as_path();
    let is_standard = is_standard_output(path);
    if !is_standard && !has_extension(path, "safetensors") {
        return Err(io_error(path, "expected a name that ends in .safetensors").into());
    }
    spare("OUT", args.model.files(), slice::from_ref(&args.out))?;
    unused(path, args.force)?;
    if is_standard {
        no_terminal("a model")?;
    }
    let (model, tensors) = args.model.read_alone()?;
    let mut metadata = args.model.metadata()?;
    // Without the tensors of a training it cannot go on.
    metadata.remove(TRAINING_KEY);
    let write = |path: &Path| -> Result<u64> {
        formats::write_with(path, &model, tensors, args.precision, &metadata)?;
        Ok(fs::metadata(path).map_err(|e| io_error(path, &e.to_string()))?.len())
    };
    let bytes = if is_standard { through_a_file(write, out)? } else { write(path)? };
    let place = if is_standard { "standard output".to_owned() } else { path.display().to_string() };
    tell(written(place, &model, args.precision, bytes), is_standard, out)?;
    Ok(Verdict::Done)
}

/// Writes a temporary file, and copies it to `out` when it is whole.
fn through_a_file(write: impl FnOnce(&Path) -> Result<u64>, out: &mut impl Write) -> Outcome<u64> {
    let path = temporary_folder()?.join("model.safetensors");
    write(&path)?;
    let mut file = File::open(&path).map_err(|e| io_error(&path, &e.to_string()))?;
    Ok(io::copy(&mut file, out)?)
}

fn io_error(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Io, what).at(path.display())
}
