//! Work to plan or to time: a recurrent stack described by flags, or a list of shapes from a file.
//!
//! Knows the format of `bench/shapes.json`; times nothing.

use std::fs;
use std::path::Path;

use clap::ValueEnum;
use gatewave::inspect::kernel::Mask;
use gatewave::inspect::plan::Shape;
use gatewave::interface::Axes;
use gatewave::layer::{Cell, Recurrent, Reset};
use gatewave::{Activation, Error, ErrorKind, Model, Result};
use serde::Deserialize;

use crate::messages::counted;

/// The work list behind every quoted figure.
const EMBEDDED: &str = include_str!("../../../bench/shapes.json");

/// A cell, as flags and work lists name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CellName {
    /// Simple RNN with tanh
    Rnn,
    /// Simple RNN with relu
    RnnRelu,
    /// LSTM
    Lstm,
    /// GRU, reset after the product
    Gru,
    /// GRU, reset before the product
    GruBefore,
}

impl From<CellName> for Cell {
    fn from(name: CellName) -> Self {
        match name {
            CellName::Rnn | CellName::RnnRelu => Self::Rnn,
            CellName::Lstm => Self::Lstm,
            CellName::Gru => Self::Gru(Reset::After),
            CellName::GruBefore => Self::Gru(Reset::Before),
        }
    }
}

/// A recurrent stack by flags.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StackArgs {
    /// A recurrent stack of this cell, described by the flags below
    #[arg(long, value_enum, requires_all = ["input_size", "hidden_size"])]
    cell: Option<CellName>,
    /// Features of the input
    #[arg(long, value_name = "I", requires = "cell", allow_negative_numbers = true)]
    input_size: Option<usize>,
    /// Units of each layer
    #[arg(long, value_name = "H", requires = "cell", allow_negative_numbers = true)]
    hidden_size: Option<usize>,
    /// Layers of the stack
    #[arg(long, value_name = "L", default_value_t = 1, requires = "cell", allow_negative_numbers = true)]
    layers: usize,
    /// Both directions
    #[arg(long, requires = "cell")]
    bidirectional: bool,
}

impl StackArgs {
    /// Returns whether flags of a stack were given.
    pub(crate) fn is_given(&self) -> bool {
        self.cell.is_some()
    }

    /// Returns the stack as a shape of a work list, if it was asked for.
    pub(crate) fn work(&self, steps: usize, batch: usize) -> Option<Work> {
        let (cell, input, hidden) = (self.cell?, self.input_size?, self.hidden_size?);
        let name = cell.to_possible_value().expect("no cell is skipped").get_name().to_owned();
        let directions = if self.bidirectional { 2 } else { 1 };
        let id = format!("{name}-T{steps}-B{batch}-I{input}-H{hidden}-L{}-D{directions}", self.layers);
        Some(Work { id, cell, steps, batch, input, hidden, layers: self.layers, directions })
    }
}

/// One shape of a work list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Work {
    /// Its name in figures.
    pub(crate) id: String,
    /// The cell.
    pub(crate) cell: CellName,
    /// T, the timesteps.
    #[serde(rename = "T")]
    pub(crate) steps: usize,
    /// B, the batch.
    #[serde(rename = "B")]
    pub(crate) batch: usize,
    /// I, the features of the input.
    #[serde(rename = "I")]
    pub(crate) input: usize,
    /// H, the units of each layer.
    #[serde(rename = "H")]
    pub(crate) hidden: usize,
    /// L, the layers.
    #[serde(rename = "L")]
    pub(crate) layers: usize,
    /// D, the directions: 1 or 2.
    #[serde(rename = "D")]
    pub(crate) directions: usize,
}

#[derive(Deserialize)]
struct List {
    shapes: Vec<Work>,
}

impl Work {
    /// Returns the cell and the sizes in words, without the size of this letter.
    pub(crate) fn words_without(&self, letter: &str) -> String {
        let cell = self.cell.to_possible_value().expect("no cell is skipped").get_name().to_owned();
        let both = if self.directions == 2 { "both directions" } else { "" };
        let sizes = [
            ("", cell),
            ("L", counted(self.layers, "layer")),
            ("D", both.to_owned()),
            ("T", counted(self.steps, "step")),
            ("B", format!("batch of {}", self.batch)),
            ("I", counted(self.input, "feature")),
            ("H", counted(self.hidden, "unit")),
        ];
        let told = sizes.into_iter().filter(|(own, words)| *own != letter && !words.is_empty());
        told.map(|(_, words)| words).collect::<Vec<_>>().join(", ")
    }

    /// Returns the shape that a call of it is planned for.
    pub(crate) fn shape(&self) -> Shape {
        Shape::new(self.steps, self.batch, Mask::All)
    }

    /// Makes a model of the stack alone, time-major as the peers run it.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Model` if a size is zero, or of kind `Shape` if the call is empty.
    pub(crate) fn model(&self) -> Result<Model> {
        let mut stack = Recurrent::new(self.cell.into(), self.input, self.hidden).num_layers(self.layers);
        if self.cell == CellName::RnnRelu {
            stack = stack.nonlinearity(Activation::Relu);
        }
        let stack = match self.directions {
            1 => stack,
            2 => stack.bidirectional(),
            other => return Err(Error::new(ErrorKind::Model, format!("D: expected 1 or 2, got {other}")).at(&self.id)),
        };
        if self.steps == 0 || self.batch == 0 {
            let got = format!("expected at least one step and one row, got T={} B={}", self.steps, self.batch);
            return Err(Error::new(ErrorKind::Shape, got).at(&self.id));
        }
        let model = Model::new().axes(Axes::TimeMajor).layer(stack);
        model.check().map_err(|e| e.at(&self.id))?;
        Ok(model)
    }

    /// Returns the multiplications of a run, saturating at 128 bits.
    pub(crate) fn products(&self) -> u128 {
        let [steps, batch, input, hidden, layers, directions] =
            [self.steps, self.batch, self.input, self.hidden, self.layers, self.directions].map(|n| n as u128);
        let gates = Cell::from(self.cell).gates() as u128;
        let deeper = (layers - layers.min(1)) * (directions * hidden + hidden);
        let factors = [steps, batch, directions, gates, hidden, input + hidden + deeper];
        factors.into_iter().fold(1, u128::saturating_mul)
    }
}

/// Returns the work list of `file`, or the embedded one; if `only` is not empty, the shapes that it names.
///
/// # Errors
///
/// Returns an error of kind:
///
/// - `Io` if the file cannot be read or is no work list;
/// - `Shape` if `only` names an unknown shape.
pub(crate) fn list(file: Option<&Path>, only: &[String]) -> Result<Vec<Work>> {
    let (place, text) = match file {
        None => ("bench/shapes.json".to_owned(), EMBEDDED.to_owned()),
        Some(path) => {
            let place = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|e| Error::new(ErrorKind::Io, format!("{place}: {e}")))?;
            (place, text)
        }
    };
    let mut shapes = serde_json::from_str::<List>(&text)
        .map_err(|e| Error::new(ErrorKind::Io, format!("{place}: expected a work list: {e}")))?
        .shapes;
    let known = || shapes.iter().map(|work| work.id.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = only.iter().find(|id| !shapes.iter().any(|work| work.id == **id)) {
        return Err(Error::new(ErrorKind::Shape, format!("--only: no shape {unknown} in {place}; it has {}", known())));
    }
    if !only.is_empty() {
        shapes.retain(|work| only.contains(&work.id));
    }
    if shapes.is_empty() {
        return Err(Error::new(ErrorKind::Shape, format!("{place}: expected at least one shape, got none")));
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_shape_is_a_model() {
        let work = list(None, &[]).unwrap();
        assert_eq!(work.len(), 11);
        for shape in work {
            shape.model().unwrap();
        }
    }

    #[test]
    fn an_unknown_id_is_refused_with_those_there_are() {
        let error = list(None, &["vad-lstm".into(), "vad".into()]).unwrap_err().to_string();
        assert!(error.starts_with("--only: no shape vad in bench/shapes.json; it has numpy-100x32x64, "), "{error}");
    }

    #[test]
    fn products_count_every_layer_and_direction() {
        let work = |layers, directions| Work {
            id: "counted".into(),
            cell: CellName::Lstm,
            steps: 2,
            batch: 3,
            input: 5,
            hidden: 7,
            layers,
            directions,
        };
        assert_eq!(work(1, 1).words_without("T"), "lstm, 1 layer, batch of 3, 5 features, 7 units");
        assert_eq!(work(2, 2).words_without("H"), "lstm, 2 layers, both directions, 2 steps, batch of 3, 5 features");
        assert_eq!(work(1, 1).products(), 2 * 3 * 4 * 7 * (5 + 7));
        assert_eq!(work(2, 2).products(), 2 * 3 * 2 * 4 * 7 * ((5 + 7) + (14 + 7)));
        let vast = Work { steps: usize::MAX, batch: usize::MAX, ..work(1, 1) };
        assert_eq!(vast.products(), u128::MAX);
    }
}
