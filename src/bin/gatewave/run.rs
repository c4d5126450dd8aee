//! `gatewave run`: runs a model on the tensors of a file, and writes its outputs into another file.
//!
//! It also runs texts, whose labels it prints (`text`), and series, whose next steps
//! it prints (`series`). A graph that is no model as a whole runs in parts (`parts`). Outputs may be compared with reference outputs (`compare`).
//! The library decides which tensor is which, and how its axes are ordered.

mod compare;
mod models;
mod parts;
mod series;
mod text;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use gatewave::inspect::non_finite_warning;
use gatewave::weights::Tensors;
use gatewave::{Engine, Error, ErrorKind, Input, Model, NamedTensors, Precision, Result, Values};

use crate::args::{DeviceArgs, ModelArgs, precision, tensors_for};
use crate::files::{self, once, spare, unused};
use crate::messages::tell;
use crate::tensors::{Destination, Format};
use crate::{Outcome, Verdict};
use compare::{Reference, names, take_reference};
use models::{Models, Read};
use series::SeriesArgs;
use text::TextArgs;

/// Runs a model on the tensors of a file
///
/// Reads x (features, or integer tokens), and optionally lengths, mask (always `[B, T]`), `h_0` and `c_0`. Gives
/// output, `h_n` and `c_n`. The states of the second recurrent stack are `h_0.1`, `c_0.1`, `h_n.1`, `c_n.1`, and so
/// on. A model that names its inputs and outputs uses those names, and takes `NAME_lengths` or `NAME_mask` for its
/// sequence NAME. An ONNX model has the names and axes of its graph. A Keras model gives `y` besides output. If it
/// has several inputs, they have the names of their layers.
///
/// An ONNX graph of which only a recurrent part is a model runs too: rten runs the rest of it on the host.
///
/// A model that `gatewave train` made from labelled text takes `--text` or `--text-file`
/// instead, and prints the label of each text with its probability. A model that was made
/// from a time series takes `--series`, and prints its forecast in the units of the columns.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Tensors to run on: .safetensors, .npz or .npy (which is x, or the sequence of an
    /// ONNX model), or `-` for standard input; repeat it for successive calls of one engine
    #[arg(short, long, required_unless_present_any = ["text", "text_file", "series"], value_name = "IN")]
    input: Vec<PathBuf>,
    /// Where the results go, one for each input: .safetensors, .npz, or .npy (which takes the
    /// first output alone), or `-` for standard output. Without it a short form is printed
    #[arg(short, long, value_name = "OUT")]
    output: Vec<PathBuf>,
    /// The format of OUT [default: that of its name; safetensors for `-` and pipes]
    #[arg(long, value_enum, requires = "output")]
    format: Option<Format>,
    /// Overwrite existing files
    #[arg(long, requires = "output")]
    force: bool,
    /// Check the outputs against expected outputs, which IN stores by the names of the
    /// outputs. Exit status 1 if a number is further off than TOL times 1 + its size
    #[arg(long, value_name = "TOL", num_args = 0..=1, require_equals = true, default_missing_value = "1e-4", requires = "input", value_parser = compare::tolerance)]
    compare: Option<f64>,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    series: SeriesArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// How weights are stored
    #[arg(long, value_parser = precision(), default_value_t)]
    precision: Precision,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    if args.text.given() {
        return text::run(args, out);
    }
    if let Some(path) = &args.series.series {
        return series::run(args, path, out);
    }
    let read = || args.model.files().chain(args.input.iter().map(PathBuf::as_path));
    once(read())?;
    spare("--output", read(), &args.output)?;
    let destinations = destinations(args)?;
    let device = args.device.device()?;
    // Before a device is opened, since errors of an input need none.
    let (compares, mut models) = (args.compare.is_some(), Models::new(&args.model));
    let calls = args.input.iter().map(|path| Call::read(path, &mut models, compares)).collect::<Result<Vec<_>>>();
    let calls = match calls {
        Ok(calls) => calls,
        Err(error) => {
            let numbers = models.refused;
            let cut = args.model.cut_instead(error, &numbers)?;
            return parts::run(args, (cut, &numbers), device, destinations, out);
        }
    };
    let mut verdict = Verdict::Done;
    let mut destinations = destinations.into_iter();
    let mut engines: Vec<Option<(Engine, &Tensors)>> = models.all.iter().map(|_| None).collect();
    for (path, call) in args.input.iter().zip(&calls) {
        let (Read { model, tensors, .. }, engine) = (&mut models.all[call.model], &mut engines[call.model]);
        let (engine, _) = match engine.take_if(|(_, weights)| **weights == call.weights) {
            Some(same) => engine.insert(same),
            None => {
                tensors.extend([call.weights.clone()]);
                let new = args.model.engine(model.clone(), tensors, device.clone(), args.precision)?;
                engine.insert((new, &call.weights))
            }
        };
        let results = engine.run(&call.input).and_then(|output| model.named_output(&output));
        let results = results.map_err(|e| e.at(files::name(path)))?;
        let left_out = left_out(model, &results);
        let is_alike = give(args, (path, &results), left_out, &call.reference, destinations.next(), out)?;
        if !is_alike {
            verdict = Verdict::Different;
        }
    }
    Ok(verdict)
}

/// Writes or prints the results of the call in the file at `path`, and returns whether they are the expected ones.
/// `left_out` are those that a file of one array does not hold.
fn give(
    args: &Args,
    (path, results): (&Path, &[(String, Values)]),
    left_out: Option<String>,
    reference: &Reference,
    destination: Option<Destination>,
    out: &mut impl Write,
) -> Outcome<bool> {
    match destination {
        Some(destination) => {
            if let Some(left_out) = left_out.filter(|_| destination.takes_one()) {
                let name = &results[0].0;
                log::warn!("{}: holds {name} alone; .npz holds {left_out} too", destination.path().display());
            }
            destination.write(results, out)?;
        }
        None if args.compare.is_none() => preview(results, out)?,
        None => {}
    }
    let Some(tolerance) = args.compare else { return Ok(true) };
    let compared = reference.compare(results, tolerance).map_err(|e| e.at(files::name(path)))?;
    tell(compared.text, args.output.iter().any(|path| files::is_standard_output(path)), out)?;
    Ok(compared.is_alike)
}

/// What a file of tensors asks for.
pub(crate) struct Call {
    /// The index of its model.
    model: usize,
    pub(crate) input: Input<'static>,
    /// The weights in the file, if the model takes some with a call.
    weights: Tensors,
    /// The outputs that the call should have.
    reference: Reference,
}

impl Call {
    /// Reads a file of inputs of the one model that is read, in which there may be outputs and the numbers of `set`.
    pub(crate) fn beside_outputs(path: &Path, model: &Model, set: &[(String, f64)]) -> Result<Self> {
        let mut tensors = tensors_for(model, path)?;
        set.iter().for_each(|(name, _)| drop(tensors.remove(name)));
        let reference = Reference::take(&names(model), &mut tensors);
        Self::of(path, (0, model), &tensors, reference)
    }

    fn read(path: &Path, models: &mut Models<'_>, compares: bool) -> Result<Self> {
        let index = models.of_call(path)?;
        let (read, model) = (&models.all[index], &models.all[index].model);
        let mut tensors = tensors_for(model, path)?;
        read.take_numbers(&mut tensors).map_err(|e| e.at(files::name(path)))?;
        let reference = take_reference(&names(model), &mut tensors, compares).map_err(|e| e.at(files::name(path)))?;
        Self::of(path, (index, model), &tensors, reference)
    }

    fn of(path: &Path, (index, model): (usize, &Model), tensors: &NamedTensors, reference: Reference) -> Result<Self> {
        warn_of_not_finite(path, tensors);
        let call = || {
            Ok(Self {
                model: index,
                input: model.named_input(tensors)?.into_owned(),
                weights: model.named_weights(tensors)?,
                reference,
            })
        };
        call().map_err(|e: Error| e.at(files::name(path)))
    }
}

/// Warns of tensors of the file at `path` that hold a NaN or an infinity.
fn warn_of_not_finite(path: &Path, tensors: &NamedTensors) {
    for warning in tensors.iter().filter_map(|(name, values)| not_finite(name, values)) {
        log::warn!("{}: {warning}", files::name(path));
    }
}

/// Returns the warning of a tensor that holds a NaN or an infinity.
fn not_finite(name: &str, values: &Values) -> Option<String> {
    let Values::F32(array) = values else { return None };
    non_finite_warning(name, array.iter().filter(|number| !number.is_finite()).count(), array.len())
}

/// Returns the outputs that `model` names itself and that a file of one array leaves out.
fn left_out(model: &Model, results: &[(String, Values)]) -> Option<String> {
    let usual = model.outputs.is_empty() && model.ports.outputs.is_empty();
    if usual { None } else { all_but_one(results) }
}

/// Returns the names behind the first. A second name for the same numbers is no other output.
fn all_but_one(results: &[(String, Values)]) -> Option<String> {
    let [(_, first), others @ ..] = results else { return None };
    let others: Vec<_> = others.iter().filter(|(_, other)| other != first).map(|(name, _)| name.as_str()).collect();
    (!others.is_empty()).then(|| others.join(", "))
}

/// Opens every output before any work, so that none is wasted.
fn destinations(args: &Args) -> Result<Vec<Destination>> {
    let (inputs, outputs) = (&args.input, &args.output);
    let unpaired = |what| Err(Error::new(ErrorKind::Io, format!("--output: {what}")));
    if !outputs.is_empty() && outputs.len() != inputs.len() {
        return unpaired(format!("expected one for each --input ({}), got {}", inputs.len(), outputs.len()));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = outputs.iter().find(|path| !seen.insert(path.as_path())) {
        return unpaired(format!("{} is given twice", twice.display()));
    }
    let open = |path: &PathBuf| {
        unused(path, args.force)?;
        Destination::open(path, args.format)
    };
    outputs.iter().map(open).collect()
}

/// Prints a line for each result: name, shape, the first few numbers.
fn preview(arrays: &[(String, Values)], out: &mut impl Write) -> Outcome<()> {
    const FEW: usize = 6;
    for (name, array) in arrays {
        let few: Vec<String> = match array {
            Values::I64(array) => array.iter().take(FEW).map(ToString::to_string).collect(),
            reals => reals.to_f32().iter().take(FEW).map(|value| format!("{value:.6}")).collect(),
        };
        let few = few.join(" ");
        let more = if array.shape().iter().product::<usize>() > FEW { " …" } else { "" };
        writeln!(out, "{name} {:?}: {few}{more}", array.shape())?;
    }
    Ok(())
}
