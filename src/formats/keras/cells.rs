//! The cells of recurrent layers: configurations → what a cell computes, and where its variables are.
//!
//! A layer has a cell of its own kind, an `RNN` any cell or several of them (`StackedRNNCells`). Knows no direction.

use serde_json::Value;

use super::activations::{self, Version};
use super::config::{Config, short, wrong};
use super::counter::Counter;
use crate::cell::{Cell, Functions, Reset};
use crate::error::Result;
use crate::model::Bias;

/// What a cell computes.
#[derive(Clone, Debug)]
pub(super) struct CellSettings {
    pub(super) cell: Cell,
    pub(super) units: usize,
    pub(super) functions: Functions,
    pub(super) bias: Bias,
    /// The shares of the input and of the state that training drops.
    pub(super) dropouts: [f32; 2],
    /// Whether its variables are those of cuDNN.
    pub(super) of_cudnn: bool,
    /// Whether it, or a layer around it, is not trained. An `.h5` file lists such variables behind the others.
    frozen: bool,
    /// Its group inside that of the layer, in an archive.
    path: String,
}

/// Where a cell is: its group inside that of the layer, and whether a layer around it is not trained.
struct Around {
    path: String,
    frozen: bool,
}

/// Returns the cells of a recurrent layer, each over the one before it. `frozen` says that a layer around it is not trained.
pub(super) fn of(config: &mut Config, version: Version, frozen: bool) -> Result<Vec<CellSettings>> {
    let around = |path: &str| Around { path: path.into(), frozen };
    if config.class() != "RNN" {
        let path = if config.class().starts_with("CuDNN") { "" } else { "cell/" };
        return Ok(vec![CellSettings::of(config, version, around(path))?]);
    }
    let around = around("cell/").inside(config)?;
    let cell = config.take("cell").ok_or_else(|| wrong("cell: expected a cell, got nothing".into()))?;
    let mut cells = Vec::new();
    collect(&cell, version, around, &mut cells).map_err(|e| e.at("cell"))?;
    Ok(cells)
}

impl Around {
    /// Goes into a layer.
    fn inside(self, config: &mut Config) -> Result<Self> {
        Ok(Self { frozen: self.frozen | !config.flag("trainable", true)?, ..self })
    }
}

/// Adds the cell that `value` describes, or those of a stack of cells, which may hold other stacks.
fn collect(value: &Value, version: Version, around: Around, cells: &mut Vec<CellSettings>) -> Result<()> {
    let mut config = Config::of(value)?;
    let at = config.place();
    let read = take(&mut config, version, around, cells);
    read.and_then(|()| config.finish()).map_err(|e| e.at(at))
}

fn take(config: &mut Config, version: Version, around: Around, cells: &mut Vec<CellSettings>) -> Result<()> {
    config.dtype()?;
    match config.class() {
        "SimpleRNNCell" | "LSTMCell" | "GRUCell" => cells.push(CellSettings::of(config, version, around)?),
        "StackedRNNCells" => {
            let inner = match config.take("cells") {
                Some(Value::Array(inner)) if !inner.is_empty() => inner,
                other => {
                    let got = other.as_ref().map_or_else(|| "nothing".to_owned(), short);
                    return Err(wrong(format!("cells: expected a list of cells, got {got}")));
                }
            };
            let (around, mut counter) = (around.inside(config)?, Counter::default());
            for cell in &inner {
                let class = cell.get("class_name").and_then(Value::as_str).unwrap_or_default();
                let path = format!("{}cells/{}/", around.path, counter.path(class));
                collect(cell, version, Around { path, ..around }, cells).map_err(|e| e.at("cells"))?;
            }
        }
        _ => return Err(wrong("expected a SimpleRNNCell, an LSTMCell, a GRUCell or StackedRNNCells".into())),
    }
    Ok(())
}

impl CellSettings {
    fn of(config: &mut Config, version: Version, around: Around) -> Result<Self> {
        let Around { path, frozen } = around.inside(config)?;
        let (cell, of_cudnn) = match config.class() {
            "SimpleRNN" | "SimpleRNNCell" => (Cell::Rnn, false),
            "LSTM" | "LSTMCell" => (Cell::Lstm, false),
            "GRU" | "GRUCell" => {
                // Before this option existed, the gate acted first.
                let after = config.flag("reset_after", version == Version::Three)?;
                (Cell::Gru(if after { Reset::After } else { Reset::Before }), false)
            }
            "CuDNNLSTM" => (Cell::Lstm, true),
            "CuDNNGRU" => (Cell::Gru(Reset::After), true),
            _ => return Err(wrong("expected a SimpleRNN, an LSTM, a GRU or an RNN of cells".into())),
        };
        let biased = config.flag("use_bias", true)?;
        Ok(Self {
            cell,
            units: config.size("units")?,
            functions: functions(config, cell, version)?,
            bias: match (biased, cell) {
                (false, _) => Bias::None,
                (true, Cell::Gru(Reset::After)) => Bias::Two,
                (true, _) if of_cudnn => Bias::Two,
                (true, _) => Bias::One,
            },
            dropouts: [dropped(config, "dropout")?, dropped(config, "recurrent_dropout")?],
            of_cudnn,
            frozen,
            path,
        })
    }

    /// Returns the shape of the bias. cuDNN has both vectors one behind the other.
    pub(super) fn bias_shape(&self) -> Vec<usize> {
        let width = self.cell.gates() * self.units;
        match self.bias {
            Bias::Two if self.of_cudnn => vec![2 * width],
            Bias::Two => vec![2, width],
            _ => vec![width],
        }
    }
}

/// Takes the share that training drops. Keras clamps it to 0 to 1, and drops nothing at 1.
fn dropped(config: &mut Config, key: &str) -> Result<f32> {
    let rate = config.number(key)?.unwrap_or(0.0).clamp(0.0, 1.0);
    Ok(if rate < 1.0 { rate } else { 0.0 })
}

fn functions(config: &mut Config, cell: Cell, version: Version) -> Result<Functions> {
    let plain = cell.functions();
    let functions = match cell {
        Cell::Rnn => Functions { f: activations::take(config, "activation", plain.f, version)?, ..plain },
        Cell::Lstm => {
            let g = activations::take(config, "activation", plain.g, version)?;
            Functions { f: activations::take(config, "recurrent_activation", plain.f, version)?, g, h: g }
        }
        Cell::Gru(_) => {
            let g = activations::take(config, "activation", plain.g, version)?;
            Functions { f: activations::take(config, "recurrent_activation", plain.f, version)?, g, ..plain }
        }
    };
    match functions.each().into_iter().find(|function| !function.is_elementwise()) {
        Some(function) => {
            Err(wrong(format!("activation: expected one of each unit alone, got {function}, which needs all of them")))
        }
        None => Ok(functions),
    }
}

/// Where the variables of a cell are among those of its layer.
#[derive(Debug)]
pub(super) struct CellPlace {
    /// Its group inside that of the layer, in an archive.
    pub(super) path: String,
    /// The kernels before its own in a list of names, and those of the layer.
    pub(super) kernels: [usize; 2],
    /// The biases before its own, and those of the layer.
    pub(super) biases: [usize; 2],
}

impl CellPlace {
    /// Returns the places of the cells of a layer, for each of its directions.
    pub(super) fn of<const D: usize>(directions: [&[CellSettings]; D]) -> [Vec<Self>; D] {
        let biases = |cell: &CellSettings| usize::from(cell.bias != Bias::None);
        // The variables of trained cells, and those of all.
        let (mut trained, mut all) = ([0; 2], [0; 2]);
        for cell in directions.iter().copied().flatten() {
            for (kind, count) in [1, biases(cell)].into_iter().enumerate() {
                (trained[kind], all[kind]) = (trained[kind] + usize::from(!cell.frozen) * count, all[kind] + count);
            }
        }
        let mut next = [[0; 2], trained];
        let mut sides = if D == 1 { [""].iter() } else { ["forward_layer/", "backward_layer/"].iter() };
        directions.map(|cells| {
            let side = sides.next().copied().unwrap_or_default();
            let place = |cell: &CellSettings| {
                let path = format!("{side}{}", cell.path);
                let [kernels, before] = next[usize::from(cell.frozen)];
                next[usize::from(cell.frozen)] = [kernels + 1, before + biases(cell)];
                Self { path, kernels: [kernels, all[0]], biases: [before, all[1]] }
            };
            cells.iter().map(place).collect()
        })
    }
}
