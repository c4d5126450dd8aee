//! `gatewave run`: tensors of a file through a model, and what comes out into another file.
//!
//! Or texts, whose labels are printed (`text`), or a series, of which is told what comes next (`series`). Which tensor is what, and how its axes stand, is the library's business.

mod series;
mod text;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use gatewave::weights::{Tensors, non_finite_warning};
use gatewave::{Engine, Error, ErrorKind, Input, Model, Result, Values};

use crate::args::{DeviceArgs, ModelArgs, Precision, spare, tensors_for};
use crate::tensors::Destination;
use crate::{Outcome, Verdict};
use series::SeriesArgs;
use text::TextArgs;

/// Runs a model on the tensors of a file
///
/// Reads x (features, or integer tokens), and optionally lengths, mask (`[B, T]` whatever the model's axes), `h_0` and
/// `c_0`; gives output, `h_n` and `c_n`. The second recurrent stack's states are named `h_0.1`, `c_0.1`, `h_n.1`, `c_n.1`,
/// and so on. A model that names its inputs and outputs has those names: it
/// takes `NAME_lengths` or `NAME_mask` of its sequence NAME as well. An ONNX model has its graph's own names and axes, a Keras model `y` beside output,
/// and an encoder and a decoder the names of their input layers.
///
/// A model that `gatewave train` made from labelled text takes `--text` or `--text-file` instead, and prints the label of each
/// text with its probability. One that was made from a series takes `--series`, and prints what it foresees, in the columns' own units.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Tensors to run on: .safetensors, .npz or .npy (which is x, or the sequence of an ONNX model); repeat it for
    /// successive calls of one engine
    #[arg(short, long, required_unless_present_any = ["text", "text_file", "series"], value_name = "IN")]
    input: Vec<PathBuf>,
    /// Where the results go, one for each input: .safetensors, .npz, or .npy (which takes the first output alone); to
    /// standard output in brief where there is none. A file of that name is replaced
    #[arg(short, long, value_name = "OUT")]
    output: Vec<PathBuf>,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    series: SeriesArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// How weights are stored
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    if args.text.given() {
        return text::run(args, out);
    }
    if let Some(path) = &args.series.series {
        return series::run(args, path, out);
    }
    let read = args.model.files().chain(args.input.iter().map(PathBuf::as_path));
    spare("--output", read, &args.output)?;
    let destinations = destinations(&args.input, &args.output)?;
    let device = args.device.device()?;
    let (model, mut tensors) = args.model.read()?;
    // Before a device is opened: what is wrong with an input needs none.
    let calls = args.input.iter().map(|path| Call::read(path, &model)).collect::<Result<Vec<_>>>()?;
    let mut destinations = destinations.into_iter();
    let mut engine: Option<(Engine, &Tensors)> = None;
    for (path, call) in args.input.iter().zip(&calls) {
        let (engine, _) = match engine.take_if(|(_, weights)| **weights == call.weights) {
            Some(same) => engine.insert(same),
            None => {
                tensors.extend([call.weights.clone()]);
                let new = args.model.engine(model.clone(), &tensors, device.clone(), args.precision)?;
                engine.insert((new, &call.weights))
            }
        };
        let results = engine.run(&call.input).and_then(|output| model.named_output(&output));
        let results = results.map_err(|e| e.at(path.display()))?;
        match destinations.next() {
            Some(destination) => {
                let left_out = if destination.takes_one() { left_out(&model, &results) } else { None };
                if let Some(left_out) = left_out {
                    log::warn!(
                        "{}: holds {} alone; .npz holds {left_out} too",
                        destination.path().display(),
                        results[0].0
                    );
                }
                destination.write(&results)?;
            }
            None => preview(&results, out)?,
        }
    }
    Ok(Verdict::Done)
}

/// What a file of tensors asks for.
struct Call {
    input: Input,
    /// The weights that it brings, where the model takes some with a call.
    weights: Tensors,
}

impl Call {
    fn read(path: &Path, model: &Model) -> Result<Self> {
        let tensors = tensors_for(model, path)?;
        for warning in tensors.iter().filter_map(|(name, values)| not_finite(name, values)) {
            log::warn!("{}: {warning}", path.display());
        }
        let call = || Ok(Self { input: model.named_input(&tensors)?, weights: model.named_weights(&tensors)? });
        call().map_err(|e: Error| e.at(path.display()))
    }
}

/// The warning of a tensor that holds a NaN or an infinity.
fn not_finite(name: &str, values: &Values) -> Option<String> {
    let Values::Real(array) = values else { return None };
    non_finite_warning(name, array.iter().filter(|number| !number.is_finite()).count(), array.len())
}

/// The outputs that `model` names itself and a file of one array leaves out. A name for the same numbers is no other
/// output.
fn left_out(model: &Model, results: &[(String, Values)]) -> Option<String> {
    let usual = model.outputs.is_empty() && model.ports.outputs.is_empty();
    let [(_, first), others @ ..] = results else { return None };
    let others: Vec<_> = others.iter().filter(|(_, other)| other != first).map(|(name, _)| name.as_str()).collect();
    (!usual && !others.is_empty()).then(|| others.join(", "))
}

/// Opens every output before any work, so that none is done in vain.
fn destinations(inputs: &[PathBuf], outputs: &[PathBuf]) -> Result<Vec<Destination>> {
    let unpaired = |what| Err(Error::new(ErrorKind::Io, format!("--output: {what}")));
    if !outputs.is_empty() && outputs.len() != inputs.len() {
        return unpaired(format!("expected one for each --input ({}), got {}", inputs.len(), outputs.len()));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = outputs.iter().find(|path| !seen.insert(path.as_path())) {
        return unpaired(format!("{} is given twice", twice.display()));
    }
    outputs.iter().map(|path| Destination::open(path)).collect()
}

/// A line for each result: name, shape, the first few numbers.
fn preview(arrays: &[(String, Values)], out: &mut impl Write) -> Outcome<()> {
    const FEW: usize = 6;
    for (name, array) in arrays {
        let few: Vec<String> = match array {
            Values::Real(array) => array.iter().take(FEW).map(|value| format!("{value:.6}")).collect(),
            Values::Whole(array) => array.iter().take(FEW).map(ToString::to_string).collect(),
        };
        let few = few.join(" ");
        let more = if array.shape().iter().product::<usize>() > FEW { " …" } else { "" };
        writeln!(out, "{name} {:?}: {few}{more}", array.shape())?;
    }
    Ok(())
}
