//! The places of a layer's variables in a file, and their conversion to tensors in canonical order and shape.
//!
//! There are two dialects: paths that count layers by class (`.keras`), and lists of names
//! by layer (`.h5`). Knows the shapes that a layer asks for; knows no configuration.

use std::collections::BTreeSet;

use super::cells::CellPlace;
use super::hdf5::{Hdf5, Stored};
use crate::cell::Cell;
use crate::error::{Error, ErrorKind, Result, SMALLER_MODEL, some_of, zeros};
use crate::weights::Tensor;

/// The place of a layer's variables in each dialect: its own name after those of the models around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct VariablePath {
    /// Names, as in `.h5` files.
    pub(super) names: Vec<String>,
    /// Classes and numbers, as in `.keras` archives: `lstm_1`.
    path: Vec<String>,
}

impl VariablePath {
    /// Returns the place of a layer inside the model at this place.
    pub(super) fn inner(&self, name: &str, path: &str) -> Self {
        let mut place = self.clone();
        place.names.push(name.into());
        place.path.push(path.into());
        place
    }

    /// Moves to the layer that a wrapper applies to each step.
    pub(super) fn wrapped(&mut self) {
        if let Some(path) = self.path.last_mut() {
            path.push_str("/layer");
        }
    }
}

/// The part of a layer that holds a variable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Within<'a> {
    /// The layer itself.
    Layer,
    /// One of its cells.
    Cell(&'a CellPlace),
    /// The layer that a wrapper applies to each step.
    Wrapped,
}

/// A variable of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Embeddings,
    Kernel,
    RecurrentKernel,
    Bias,
    /// One of several of a layer, by its name and its number in an archive.
    Numbered {
        name: &'static str,
        number: usize,
    },
    /// The scale of an attention's scores.
    Scale,
    /// The factor of an attention's sums, which comes after this many variables.
    ConcatWeight {
        after: usize,
    },
}

/// The variables of a file.
pub(super) struct Variables {
    pub(super) hdf5: Hdf5,
    pub(super) dialect: Dialect,
    /// The group of the model's layers.
    pub(super) group: &'static str,
    /// Whether the file has nothing but them: then all of them must be those of the model.
    pub(super) alone: bool,
    /// The datasets that layers have taken.
    pub(super) taken: BTreeSet<String>,
}

/// How a file finds variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// By paths of classes and numbers.
    Paths,
    /// By lists of names.
    Names,
}

/// The hint if a layer has no variables at all.
const UNBUILT: &str = "was the model built? call model.build(input_shape) or fit it, then save it again";

/// The groups of layers: in Keras 3 and late Keras 2, and in the first archives.
const LAYERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];

/// The attributes of a file with lists of names: of its layers, and of the variables of each.
pub(super) const LAYER_NAMES: &str = "layer_names";
const WEIGHT_NAMES: &str = "weight_names";

impl Variables {
    /// Creates the variables of an archive.
    pub(super) fn by_path(hdf5: Hdf5) -> Result<Self> {
        for group in LAYERS {
            if hdf5.has_group(group)? {
                return Ok(Self::new(hdf5, Dialect::Paths, group));
            }
        }
        Err(wrong(format!("expected a group {}, got none", LAYERS.join(" or "))))
    }

    /// Creates the variables of an `.h5` file.
    pub(super) fn by_name(hdf5: Hdf5) -> Result<Self> {
        let group = if hdf5.has_group("model_weights")? { "model_weights" } else { "" };
        Ok(Self::new(hdf5, Dialect::Names, group))
    }

    /// Creates the variables of a file that has nothing else, in either dialect.
    pub(super) fn alone(hdf5: Hdf5) -> Result<Self> {
        let by_name = list(&hdf5, "", LAYER_NAMES)?.is_some();
        let variables = if by_name { Self::by_name(hdf5)? } else { Self::by_path(hdf5)? };
        Ok(Self { alone: true, ..variables })
    }

    fn new(hdf5: Hdf5, dialect: Dialect, group: &'static str) -> Self {
        Self { hdf5, dialect, group, alone: false, taken: BTreeSet::new() }
    }

    /// Reads a variable of shape `shape`. An axis of 0 may have any length.
    pub(super) fn read(
        &mut self,
        place: &VariablePath,
        within: Within,
        variable: Variable,
        shape: &[usize],
    ) -> Result<Stored> {
        let path = match self.dialect {
            Dialect::Paths => path(self.group, place, within, variable),
            Dialect::Names => listed(&self.hdf5, self.group, place, within, variable)?,
        };
        let Some(stored) = self.hdf5.dataset(&path)? else {
            let error = wrong("expected a dataset, got none".into()).at_tensor(&path);
            // Keras writes the group of a layer's variables before the layer has any.
            let group = path.strip_suffix("/vars/0").map(|layer| format!("{layer}/vars"));
            let is_empty = group.map(|group| self.hdf5.has_group(&group)).transpose()?.unwrap_or(false);
            return Err(if is_empty { error.hint(UNBUILT) } else { error });
        };
        if self.alone {
            self.taken.insert(path.clone());
        }
        let got = stored.shape();
        let fits =
            got.len() == shape.len() && got.iter().zip(shape).all(|(got, &wanted)| wanted == 0 || *got == wanted);
        if !fits {
            let wanted: Vec<_> = shape.iter().map(|n| if *n == 0 { "any".into() } else { n.to_string() }).collect();
            return Err(wrong(format!("expected [{}], got {got:?}", wanted.join(", "))).at_tensor(&path));
        }
        Ok(stored)
    }
}

/// Returns the path of a variable in an archive.
fn path(group: &str, place: &VariablePath, within: Within, variable: Variable) -> String {
    let inside = match within {
        Within::Layer => "",
        Within::Cell(cell) => &cell.path,
        Within::Wrapped => "layer/",
    };
    let in_cell = matches!(within, Within::Cell(_));
    let number = match variable {
        Variable::Embeddings | Variable::Kernel | Variable::Scale => 0,
        Variable::ConcatWeight { after } => after,
        Variable::RecurrentKernel => 1,
        Variable::Bias if in_cell => 2,
        Variable::Bias => 1,
        Variable::Numbered { number, .. } => number,
    };
    // An inner model has a group of layers of its own.
    let layer = place.path.join(&format!("/{group}/"));
    format!("{group}/{layer}/{inside}vars/{number}")
}

/// Returns the path of a variable in an `.h5` file. Each layer of the outermost model has a list of
/// names, which end with the kind of variable. The name of an inner layer is in the middle of the path.
fn listed(hdf5: &Hdf5, group: &str, place: &VariablePath, within: Within, variable: Variable) -> Result<String> {
    let (outer, inner) = place.names.split_first().ok_or_else(|| wrong("expected a layer, got none".into()))?;
    let layer = if group.is_empty() { outer.clone() } else { format!("{group}/{outer}") };
    let names = names(hdf5, &layer)?;
    let leaf =
        |name: &str| name.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    if let Some(name) = names.iter().find(|name| leaf(name).starts_with("lora_")) {
        return Err(wrong(format!("{layer}: {name}: a kernel in parts is not read; merge it, or save a .keras file")));
    }
    let wanted = match variable {
        Variable::Embeddings => "embeddings",
        Variable::Kernel => "kernel",
        Variable::RecurrentKernel => "recurrent_kernel",
        Variable::Bias => "bias",
        Variable::Numbered { name, .. } => name,
        Variable::Scale => "scale",
        Variable::ConcatWeight { .. } => "concat_score_weight",
    };
    let [before, most] = match within {
        Within::Cell(cell) if variable == Variable::Bias => cell.biases,
        Within::Cell(cell) => cell.kernels,
        _ => [0, 1],
    };
    let mut fits: Vec<&String> = names.iter().filter(|name| leaf(name) == wanted).collect();
    if let Some((own, around)) = inner.split_last() {
        // The path contains the layer's own name, after those of the models around it, as far as Keras writes them.
        let is_on_the_way = |name: &str, part: &String| name.split('/').any(|of| of == part);
        fits.retain(|name| is_on_the_way(name, own));
        if fits.len() > most {
            fits.retain(|name| around.iter().all(|part| is_on_the_way(name, part)) && !around.is_empty());
        }
        if fits.len() > most {
            let of = inner.join("/");
            return Err(wrong(format!(
                "{layer}: weight_names: expected {most} named {wanted} in {of}, got {fits:?}; save a .keras file"
            )));
        }
    }
    let name = fits.get(before).ok_or_else(|| {
        let of = if inner.is_empty() { String::new() } else { format!(" in {}", inner.join("/")) };
        let error = wrong(format!("{layer}: weight_names: expected {} named {wanted}{of}, got {names:?}", before + 1));
        if names.is_empty() { error.hint(UNBUILT) } else { error }
    })?;
    Ok(format!("{layer}/{name}"))
}

/// Returns the names of a layer's variables.
pub(super) fn names(hdf5: &Hdf5, layer: &str) -> Result<Vec<String>> {
    if let Some(names) = list(hdf5, layer, WEIGHT_NAMES)? {
        return Ok(names);
    }
    let mut error = wrong(format!("{layer}: expected an attribute {WEIGHT_NAMES}, got none"));
    if !hdf5.has_group(layer)? {
        let (group, _) = layer.rsplit_once('/').unwrap_or_default();
        let layers = list(hdf5, group, LAYER_NAMES)?.unwrap_or_default();
        error = error.hint(format!("the file has the layers {}", some_of(layers.iter(), 6)));
    }
    Err(error)
}

/// Returns the names in an attribute, or in several if one would be too long: `weight_names`, or `weight_names0` and so on.
pub(super) fn list(hdf5: &Hdf5, group: &str, attribute: &str) -> Result<Option<Vec<String>>> {
    if let Some(names) = hdf5.texts(group, attribute)? {
        return Ok(Some(names));
    }
    let mut names = Vec::new();
    while let Some(more) = hdf5.texts(group, &format!("{attribute}{}", names.len()))? {
        names.push(more);
    }
    Ok((!names.is_empty()).then(|| names.concat()))
}

/// Returns the index in canonical order of each of Keras' gates.
fn gates(cell: Cell) -> &'static [usize] {
    match cell {
        Cell::Rnn => &[0],
        // Input, forget, cell, output.
        Cell::Lstm => &[0, 1, 2, 3],
        // Update, reset, new.
        Cell::Gru(_) => &[1, 0, 2],
    }
}

/// Returns the new index of each of Keras' columns.
fn columns(cell: Cell, hidden: usize) -> Vec<usize> {
    gates(cell).iter().flat_map(|gate| (0..hidden).map(move |unit| gate * hidden + unit)).collect()
}

/// Reads a table or a vector unchanged.
pub(super) fn table(stored: Stored) -> Tensor {
    Tensor::stored(stored.shape().to_vec(), move || stored.elements())
}

/// Reads a single number.
pub(super) fn number(stored: &Stored) -> Result<f32> {
    stored.elements()?.first().copied().ok_or_else(|| wrong("expected a number, got none".into()))
}

/// Reads a kernel `[in, out]` as `[out, in]`.
pub(super) fn kernel(stored: Stored) -> Tensor {
    let (rows, columns) = (stored.shape()[0], stored.shape()[1]);
    Tensor::stored([columns, rows], move || stored.transposed(&(0..columns).collect::<Vec<_>>()))
}

/// Reads a cell's kernel `[in, gates · hidden]` as `[gates · hidden, in]`, with gates in canonical order.
pub(super) fn cell_kernel(stored: Stored, cell: Cell, hidden: usize) -> Tensor {
    let (rows, width) = (stored.shape()[0], stored.shape()[1]);
    Tensor::stored([width, rows], move || stored.transposed(&columns(cell, hidden)))
}

/// Reads a kernel of cuDNN as `[gates · hidden, in]`, with gates in canonical order.
///
/// Keras writes the matrix of a gate, `[hidden, in]`, into a block `[in, hidden]`, row by row.
pub(super) fn cudnn_kernel(stored: Stored, cell: Cell, hidden: usize) -> Tensor {
    let (rows, width) = (stored.shape()[0], stored.shape()[1]);
    Tensor::stored([width, rows], move || {
        let elements = stored.elements()?;
        let mut kernel: Vec<f32> = zeros("a kernel of cuDNN", &[width, rows], SMALLER_MODEL)?;
        for (from, &to) in gates(cell).iter().enumerate() {
            let matrix = &mut kernel[to * hidden * rows..][..hidden * rows];
            for (part, row) in matrix.chunks_exact_mut(hidden).zip(elements.chunks_exact(width)) {
                part.copy_from_slice(&row[from * hidden..][..hidden]);
            }
        }
        Ok(kernel)
    })
}

/// Reads row `row` of a cell's bias, with gates in canonical order.
pub(super) fn cell_bias(stored: Stored, cell: Cell, hidden: usize, row: usize) -> Tensor {
    let width = gates(cell).len() * hidden;
    Tensor::stored([width], move || {
        let elements = stored.elements()?;
        let mut bias = vec![0.0; width];
        for (&to, &element) in columns(cell, hidden).iter().zip(&elements[row * width..]) {
            bias[to] = element;
        }
        Ok(bias)
    })
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Weights, message)
}
