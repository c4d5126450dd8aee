//! The sizes that can be inferred from tensors, and their agreement with those of a description.
//!
//! Knows names and shapes; reads no element.

use std::fmt::Display;

use crate::cell::Peepholes;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Bias, Direction, Initial};
use crate::weights::Tensors;
use crate::weights::dialect::{BIAS, INITIAL_HIDDEN, Part, WEIGHT, Way, cell_tensor};
use crate::weights::spelling::Spelling;

/// A size, and the tensor that it comes from.
#[derive(Clone, Debug)]
pub(super) struct Inferred<T> {
    pub(super) value: T,
    pub(super) told_by: String,
}

/// The tensors under a prefix.
pub(super) struct Under<'a> {
    pub(super) tensors: &'a Tensors,
    pub(super) prefix: &'a str,
}

/// The sizes and options of a stack of recurrent layers, inferred from its tensors.
pub(super) struct InferredStack {
    pub(super) input_size: Inferred<usize>,
    pub(super) hidden_size: Inferred<usize>,
    pub(super) num_layers: Inferred<usize>,
    pub(super) direction: Inferred<Direction>,
    pub(super) bias: Inferred<Bias>,
    /// 0 if the stack is not projected.
    pub(super) proj_size: Inferred<usize>,
    pub(super) peepholes: Inferred<Peepholes>,
    pub(super) initial: Inferred<Initial>,
}

impl<T> Inferred<T> {
    fn new(value: T, told_by: impl Into<String>) -> Self {
        Self { value, told_by: told_by.into() }
    }
}

impl Under<'_> {
    /// Returns the rows and columns of a matrix, if it is there.
    pub(super) fn matrix(&self, local: &str) -> Result<Option<[Inferred<usize>; 2]>> {
        let name = format!("{}{local}", self.prefix);
        match self.tensors.shape(&name) {
            None => self.has(local).map(|_| None),
            Some(&[rows, columns]) => {
                let told_by = format!("{name} [{rows}, {columns}]");
                Ok(Some([rows, columns].map(|n| Inferred::new(n, told_by.clone()))))
            }
            Some(shape) => Err(Error::new(ErrorKind::Weights, format!("{name}: expected a matrix, got {shape:?}"))),
        }
    }

    /// Returns the three sizes of a convolution's kernel, if it is there.
    pub(super) fn kernel(&self, local: &str) -> Result<Option<[Inferred<usize>; 3]>> {
        let name = format!("{}{local}", self.prefix);
        match self.tensors.shape(&name) {
            None => self.has(local).map(|_| None),
            Some(&[units, inputs, taps]) => {
                let told_by = format!("{name} [{units}, {inputs}, {taps}]");
                Ok(Some([units, inputs, taps].map(|n| Inferred::new(n, told_by.clone()))))
            }
            Some(shape) => Err(Error::new(
                ErrorKind::Weights,
                format!("{name}: expected a kernel of three axes (output, input, taps), got {shape:?}"),
            )),
        }
    }

    /// Returns the length of a vector, if it is there.
    pub(super) fn vector(&self, local: &str) -> Result<Option<Inferred<usize>>> {
        let name = format!("{}{local}", self.prefix);
        match self.tensors.shape(&name) {
            None => self.has(local).map(|_| None),
            Some(&[len]) => Ok(Some(Inferred::new(len, format!("{name} [{len}]")))),
            Some(shape) => Err(Error::new(ErrorKind::Weights, format!("{name}: expected a vector, got {shape:?}"))),
        }
    }

    /// Infers whether the tensor is there.
    pub(super) fn there(&self, local: &str) -> Result<Inferred<bool>> {
        self.either(local, true, false)
    }

    /// Infers a stack from its tensors, if it is there. For a stack in one direction, `said`
    /// gives the direction: no tensor distinguishes a reverse stack from one that goes backwards.
    pub(super) fn stack(&self, said: Option<Direction>) -> Result<Option<InferredStack>> {
        let (way, other) = match said {
            Some(Direction::Reverse | Direction::Backwards) => (Way::Reverse, Way::Forward),
            Some(Direction::Forward | Direction::Both) | None => (Way::Forward, Way::Reverse),
        };
        let one_way = said.filter(|&said| said != Direction::Both).unwrap_or(Direction::Forward);
        let spelling = Spelling::under(self.prefix, self.tensors)?;
        let name = |part| spelling.of(&cell_tensor(part, 0, way)).to_owned();
        let (Some([_, input_size]), Some([_, state_size])) =
            (self.matrix(&name(Part::WX))?, self.matrix(&name(Part::WH))?)
        else {
            return Ok(None);
        };
        let (hidden_size, proj_size) = match self.matrix(&name(Part::WR))? {
            Some([rows, columns]) => (columns, rows),
            None => (state_size, Inferred::new(0, self.absent(&name(Part::WR)))),
        };
        let mut layers = 1;
        while self.has(&cell_tensor(Part::WX, layers, way))? {
            layers += 1;
        }
        self.no_layer_past(layers)?;
        let last = cell_tensor(Part::WX, layers - 1, way);
        let last = spelling.of(&last);
        let direction = match spelling {
            Spelling::Stack => self.either(&cell_tensor(Part::WX, 0, other), Direction::Both, one_way)?,
            Spelling::Cell => Inferred::new(one_way, format!("{}{last} is a cell's", self.prefix)),
        };
        let bias = match (self.has(&name(Part::BX))?, self.has(&name(Part::BH))?) {
            (false, _) => Inferred::new(Bias::None, self.absent(&name(Part::BX))),
            (true, false) => Inferred::new(Bias::One, self.absent(&name(Part::BH))),
            (true, true) => Inferred::new(Bias::Two, format!("{}{}", self.prefix, name(Part::BH))),
        };
        Ok(Some(InferredStack {
            input_size,
            hidden_size,
            num_layers: Inferred::new(layers, format!("the last is {}{last}", self.prefix)),
            direction,
            bias,
            proj_size,
            peepholes: self.either(&name(Part::Peepholes), Peepholes::Diagonal, Peepholes::None)?,
            initial: self.either(INITIAL_HIDDEN, Initial::Learned, Initial::Zero)?,
        }))
    }

    /// Refuses tensors of a layer after the first gap. A file that lost a layer must not be read as a shallower stack.
    fn no_layer_past(&self, layers: usize) -> Result<()> {
        let stem = format!("{}weight_ih_l", self.prefix);
        let index = |name: &str| name.strip_prefix(&stem)?.trim_end_matches("_reverse").parse::<usize>().ok();
        match self.tensors.names_that_begin(&stem).find(|name| index(name).is_some_and(|layer| layer >= layers)) {
            None => Ok(()),
            Some(stray) => Err(Error::new(
                ErrorKind::Weights,
                format!("{stray}: expected {stem}{layers} before it, got none; did the file lose a layer?"),
            )),
        }
    }

    /// Returns which product of the first layer is missing, and
    /// its name: the recurrent one if the input product is there.
    pub(super) fn lacking(&self, way: Way) -> Result<(Part, String)> {
        let spelling = Spelling::under(self.prefix, self.tensors)?;
        let name = |part| spelling.of(&cell_tensor(part, 0, way)).to_owned();
        let part = if self.has(&name(Part::WX))? { Part::WH } else { Part::WX };
        Ok((part, name(part)))
    }

    /// Infers the bias of a linear layer.
    pub(super) fn linear_bias(&self) -> Result<Inferred<Bias>> {
        self.either(BIAS, Bias::One, Bias::None)
    }

    /// Returns the error if a size is left out and cannot be inferred, because tensor `local` is missing.
    pub(super) fn untold(&self, key: &str, local: &str) -> Error {
        self.untold_of(key, local, 2)
    }

    /// Returns the error if a size is left out and cannot be inferred, because there is no kernel.
    pub(super) fn untold_kernel(&self, key: &str) -> Error {
        self.untold_of(key, WEIGHT, 3)
    }

    fn untold_of(&self, key: &str, local: &str, axes: usize) -> Error {
        // The length of a bias with the same name would be the number of rows.
        let bias = self.tensors.shape(&format!("{}{}", self.prefix, local.replacen("weight", "bias", 1)));
        let fits = |shape: &[usize]| shape.len() == axes && bias.is_none_or(|bias| bias == &shape[..1]);
        let hint = self.tensors.hint(self.prefix, local, fits);
        let message = format!("{key}: left out, and there is no {}{local} to tell it; {hint}", self.prefix);
        Error::new(ErrorKind::Weights, message)
    }

    /// Returns the error if a size is left out and cannot be inferred, because `weight` is missing.
    pub(super) fn untold_by_weight(&self, key: &str) -> Error {
        self.untold(key, WEIGHT)
    }

    /// Whether the tensor is there. It is an error if the file lists the name without having the tensor.
    fn has(&self, local: &str) -> Result<bool> {
        let name = format!("{}{local}", self.prefix);
        match self.tensors.trouble(&name) {
            None => Ok(self.tensors.contains(&name)),
            Some(trouble) => Err(Error::new(
                ErrorKind::Weights,
                format!("{name}: expected a tensor of that name, got none; {trouble}"),
            )),
        }
    }

    fn absent(&self, local: &str) -> String {
        format!("there is no {}{local}", self.prefix)
    }

    fn either<T>(&self, local: &str, there: T, absent: T) -> Result<Inferred<T>> {
        Ok(match self.has(local)? {
            true => Inferred::new(there, format!("{}{local}", self.prefix)),
            false => Inferred::new(absent, self.absent(local)),
        })
    }
}

/// Returns the description's value, or else the one inferred from the tensors. If there are both, they must agree.
pub(super) fn agree<T: PartialEq, W: Display>(
    key: &str,
    said: Option<T>,
    seen: Option<Inferred<T>>,
    word: impl Fn(&T) -> W,
) -> Result<Option<T>> {
    match (said, seen) {
        (Some(said), Some(seen)) if said != seen.value => Err(Error::new(
            ErrorKind::Model,
            format!(
                "{key}: the description says {}, the tensors say {} ({})",
                word(&said),
                word(&seen.value),
                seen.told_by
            ),
        )),
        (said, seen) => Ok(said.or(seen.map(|seen| seen.value))),
    }
}
