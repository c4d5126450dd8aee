//! The models of one file: an ONNX graph is another model for each number of an input that decides what it computes.
//!
//! The numbers are those of `--set`, and then those that the tensors of a call have.

use std::path::Path;

use gatewave::weights::Tensors;
use gatewave::{Error, ErrorKind, Model, NamedTensors, Result, Values};

use crate::args::ModelArgs;
use crate::tensors;

/// Numbers of inputs, by their names.
pub(super) type Numbers = Vec<(String, f64)>;

/// A model of the file, for some numbers.
pub(super) struct Read {
    pub(super) model: Model,
    pub(super) tensors: Tensors,
    numbers: Numbers,
}

/// The models that calls have asked for so far.
pub(super) struct Models<'a> {
    args: &'a ModelArgs,
    pub(super) all: Vec<Read>,
    /// The numbers for which no model could be read.
    pub(super) refused: Numbers,
}

impl<'a> Models<'a> {
    pub(super) fn new(args: &'a ModelArgs) -> Self {
        Self { args, all: Vec::new(), refused: Numbers::new() }
    }

    /// Returns the index of the model for the tensors in the file at `path`, which is read when it is first needed.
    pub(super) fn of_call(&mut self, path: &Path) -> Result<usize> {
        let mut numbers = self.args.set().to_vec();
        loop {
            if let Some(known) = self.all.iter().position(|read| read.numbers == numbers) {
                return Ok(known);
            }
            let error = match self.args.read_for(&numbers) {
                Ok((model, tensors)) => {
                    self.all.push(Read { model, tensors, numbers });
                    return Ok(self.all.len() - 1);
                }
                Err(error) => error,
            };
            self.refused.clone_from(&numbers);
            let Some(name) = error.input().map(str::to_owned) else { return Err(error) };
            let number = tensors::read(path, "x").ok().and_then(|given| given.get(&name).and_then(number));
            match number {
                Some(number) if numbers.iter().all(|(other, _)| *other != name) => numbers.push((name, number)),
                _ => return Err(error),
            }
        }
    }
}

impl Read {
    /// Takes the inputs whose numbers are known out of the tensors of a call. They must have those numbers.
    pub(super) fn take_numbers(&self, given: &mut NamedTensors) -> Result<()> {
        take_numbers(&self.numbers, given)
    }
}

/// Takes the inputs of these `numbers` out of the tensors of a call. They must have those numbers.
pub(super) fn take_numbers(numbers: &[(String, f64)], given: &mut NamedTensors) -> Result<()> {
    for (name, wanted) in numbers {
        let Some(values) = given.remove(name) else { continue };
        // A file may hold the nearest 32-bit float.
        #[expect(clippy::cast_possible_truncation, reason = "as a file would round it")]
        let nearest = f64::from(*wanted as f32);
        if number(&values).is_none_or(|got| got != *wanted && got != nearest) {
            let got = number(&values).map_or_else(|| "several".to_owned(), |got| got.to_string());
            let text = format!("{name}: expected {wanted}, as --set has it, got {got}");
            return Err(Error::new(ErrorKind::Shape, text));
        }
    }
    Ok(())
}

/// Returns the number that `values` are, if there is only one.
fn number(values: &Values) -> Option<f64> {
    match values {
        Values::I64(array) if array.len() == 1 => {
            #[expect(clippy::cast_precision_loss, reason = "a rate or a flag is small")]
            let number = *array.first()? as f64;
            Some(number)
        }
        other => {
            let array = other.to_f32();
            array.first().copied().filter(|_| array.len() == 1).map(f64::from)
        }
    }
}
