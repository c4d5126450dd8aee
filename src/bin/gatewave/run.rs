//! `gatewave run`: tensors of a file through a model, and what comes out into another file.
//!
//! Knows the names that interfaces fix (`x`, `lengths`, `h_0`, `output`, `h_n` …); shapes are the library's business.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use gatewave::{Cell, Error, ErrorKind, Input, Model, Output, Result, States};
use ndarray::ArrayD;

use crate::args::{DeviceArgs, ModelArgs, Precision};
use crate::tensors::{self, Destination, Tensor, Tensors};
use crate::{Outcome, Verdict};

/// Runs a model on the tensors of a file
///
/// Reads x (features, or integer tokens), and optionally lengths, mask (`[B, T]` whatever the model's axes), `h_0` and
/// `c_0`; gives output, `h_n` and `c_n`. The second recurrent stack's states are named `h_0.1`, `c_0.1`, `h_n.1`, `c_n.1`, and so on.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Tensors to run on: .safetensors, .npz or .npy (which is x); repeat it for successive calls
    #[arg(short, long, required = true, value_name = "IN")]
    input: Vec<PathBuf>,
    /// Where the results go, one for each input: .safetensors, .npz, or .npy (which takes the output alone); to
    /// standard output in brief where there is none
    #[arg(short, long, value_name = "OUT")]
    output: Vec<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// How weights are stored
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    spare(args.model.files().chain(args.input.iter().map(PathBuf::as_path)), &args.output)?;
    let destinations = destinations(&args.input, &args.output)?;
    let device = args.device.device()?;
    let (model, tensors) = args.model.read()?;
    let inputs = args
        .input
        .iter()
        .map(|path| input(tensors::read(path)?, &model).map_err(|e| e.at(path.display())))
        .collect::<Result<Vec<_>>>()?;
    let engine = args.model.engine(model, &tensors, device, args.precision)?;
    let mut destinations = destinations.into_iter();
    for (path, input) in args.input.iter().zip(&inputs) {
        let results = named(engine.run(input).map_err(|e| e.at(path.display()))?);
        match destinations.next() {
            Some(destination) => destination.write(&results)?,
            None => preview(&results, out)?,
        }
    }
    Ok(Verdict::Done)
}

/// Refuses an output that is one of the files that are read: trained weights are not to be written over.
fn spare<'a>(read: impl Iterator<Item = &'a Path>, outputs: &[PathBuf]) -> Result<()> {
    let read: HashSet<_> = read.filter_map(|path| path.canonicalize().ok()).collect();
    match outputs.iter().find(|output| output.canonicalize().is_ok_and(|path| read.contains(&path))) {
        None => Ok(()),
        Some(output) => Err(Error::new(
            ErrorKind::Io,
            format!("--output: expected a file of its own, got {}, which is read in this call", output.display()),
        )),
    }
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

/// The name of a state of stack `stack`: `h_0`, `h_0.1`, `h_0.2` …
fn state_name(name: &str, stack: usize) -> String {
    if stack == 0 { name.to_owned() } else { format!("{name}.{stack}") }
}

fn shape_error(message: String) -> Error {
    Error::new(ErrorKind::Shape, message)
}

/// The call that `tensors` describe.
fn input(mut tensors: Tensors, model: &Model) -> Result<Input> {
    let sequence = match (tensors.remove("x"), tensors.remove("ids")) {
        (Some(_), Some(_)) => return Err(shape_error("x and ids: expected one of them, got both".into())),
        (Some(sequence), None) | (None, Some(sequence)) => sequence,
        (None, None) => {
            let got = tensors.into_keys().collect::<Vec<_>>().join(", ");
            let got = if got.is_empty() { "nothing".to_owned() } else { got };
            return Err(shape_error(format!("x: expected the input under this name (or ids), got {got}")));
        }
    };
    let mut input = match sequence {
        Tensor::Real(features) => Input::features(features),
        Tensor::Whole(tokens) => Input::tokens(tokens),
    };
    let mut known = vec!["x".to_owned(), "ids".to_owned(), "lengths".to_owned(), "mask".to_owned()];
    if let Some(lengths) = tensors.remove("lengths") {
        input = input.lengths(whole_vector("lengths", lengths)?);
    }
    if let Some(mask) = tensors.remove("mask") {
        input = input.mask(mask.real().mapv(|live| live != 0.0));
    }
    for (stack, layer) in model.stacks().enumerate() {
        let (h_name, c_name) = (state_name("h_0", stack), state_name("c_0", stack));
        let h = tensors.remove(&h_name).map(Tensor::real);
        let c = if layer.cell == Cell::Lstm { tensors.remove(&c_name).map(Tensor::real) } else { None };
        known.push(h_name.clone());
        if layer.cell == Cell::Lstm {
            known.push(c_name.clone());
        }
        input = match (h, c) {
            (Some(h), c) => input.stack_states(stack, States { h, c }),
            (None, None) => input,
            (None, Some(_)) => return Err(shape_error(format!("{c_name}: expected {h_name} beside it, got none"))),
        };
    }
    match tensors.into_keys().next() {
        Some(unknown) => Err(shape_error(format!("{unknown}: unknown tensor; this model takes {}", known.join(", ")))),
        None => Ok(input),
    }
}

fn whole_vector(name: &str, tensor: Tensor) -> Result<Vec<i64>> {
    match tensor {
        Tensor::Whole(array) if array.ndim() <= 1 => Ok(array.into_iter().collect()),
        Tensor::Whole(array) => Err(shape_error(format!("{name}: expected [B] integers, got {:?}", array.shape()))),
        Tensor::Real(array) => {
            Err(shape_error(format!("{name}: expected [B] integers, got floats {:?}", array.shape())))
        }
    }
}

/// The results under their names, the output first.
fn named(result: Output) -> Vec<(String, ArrayD<f32>)> {
    let mut arrays = vec![("output".to_owned(), result.output)];
    for (stack, States { h, c }) in result.states.into_iter().enumerate() {
        arrays.push((state_name("h_n", stack), h));
        arrays.extend(c.map(|c| (state_name("c_n", stack), c)));
    }
    arrays
}

/// A line for each result: name, shape, the first few numbers.
fn preview(arrays: &[(String, ArrayD<f32>)], out: &mut impl Write) -> Outcome<()> {
    const FEW: usize = 6;
    for (name, array) in arrays {
        let few = array.iter().take(FEW).map(|value| format!("{value:.6}")).collect::<Vec<_>>().join(" ");
        let more = if array.len() > FEW { " …" } else { "" };
        writeln!(out, "{name} {:?}: {few}{more}", array.shape())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gatewave::{Gru, Lstm};

    use super::*;

    fn zeros(names: &[&str]) -> Tensors {
        names.iter().map(|name| ((*name).to_owned(), Tensor::Real(ArrayD::zeros(vec![1, 2, 3])))).collect()
    }

    #[test]
    fn unknown_tensors_are_refused_with_the_names_that_the_model_takes() {
        let model = Model::new().layer(Lstm::new(3, 4)).layer(Gru::new(4, 5));
        let error = input(zeros(&["x", "hx"]), &model).unwrap_err();
        assert_eq!(error.to_string(), "hx: unknown tensor; this model takes x, ids, lengths, mask, h_0, c_0, h_0.1");
    }

    #[test]
    fn a_cell_state_needs_its_hidden_state() {
        let model = Model::new().layer(Lstm::new(3, 4));
        let error = input(zeros(&["x", "c_0"]), &model).unwrap_err();
        assert_eq!(error.to_string(), "c_0: expected h_0 beside it, got none");
    }

    #[test]
    fn an_input_without_a_sequence_says_what_it_has() {
        let error = input(zeros(&["y"]), &Model::new().layer(Gru::new(3, 4))).unwrap_err();
        assert_eq!(error.to_string(), "x: expected the input under this name (or ids), got y");
    }
}
