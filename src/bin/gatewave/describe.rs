//! `gatewave describe`: the tensors of a file, and a description of the model that they belong to.
//!
//! If a file describes itself, its own description is shown. For tensors alone the library makes a draft.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fmt, iter, slice};

use comfy_table::{Table, presets};
use gatewave::formats::{self, safetensors};
use gatewave::inspect::Replacement;
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Model, Result, Values};

use crate::args::has_extension;
use crate::files::{fill, spare, unused};
use crate::messages::note;
use crate::{Outcome, Verdict, tensors};

/// Prints the tensors of a file, and a description (model.json) of the model that they belong to
///
/// For tensors alone, as PyTorch saves them, the description is a draft: layers by names, their order by sizes.
/// What the tensors do not show is assumed and noted on standard error. A tensor that belongs to no layer is marked
/// in the table. A file that describes itself (Keras, ONNX, a converted model) has its own description printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file: .safetensors, .npz, .keras, .h5 or .onnx
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the description to this file instead of printing it
    #[arg(short, long, value_name = "model.json")]
    output: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

/// A tensor of the file: its name, its type and its shape.
struct Row {
    name: String,
    dtype: String,
    shape: Vec<usize>,
}

/// A description, and where each tensor belongs.
struct Described {
    json: String,
    /// The layer of a tensor, or why it has none.
    places: BTreeMap<String, String>,
    notes: Vec<String>,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    if let Some(output) = &args.output {
        spare("--output", iter::once(args.file.as_path()), slice::from_ref(output))?;
        unused(output, args.force)?;
    }
    let (rows, described) = read(&args.file)?;
    // The tensors can be listed, whether or not they make a model.
    let places = described.as_ref().map(|described| described.places.clone()).unwrap_or_default();
    writeln!(out, "{}", table(&rows, &places))?;
    let Described { json, notes, .. } = described.map_err(|e| e.at(args.file.display()))?;
    notes.iter().for_each(|text| note(format_args!("note: {text}")));
    match &args.output {
        None => write!(out, "{json}")?,
        Some(path) => {
            let file = Replacement::open(path)?;
            fill(file, path, json.as_bytes())?;
            writeln!(out, "{}: {} bytes", path.display(), json.len())?;
        }
    }
    Ok(Verdict::Done)
}

/// Returns the tensors of the file, and its description or why there can be none.
fn read(path: &Path) -> Result<(Vec<Row>, Result<Described>)> {
    if has_extension(path, "npz") || has_extension(path, "npy") {
        let mut held = Tensors::new();
        let mut rows = Vec::new();
        for (name, values) in tensors::read(path, "array")? {
            let dtype = if let Values::I64(_) = values { "integer" } else { "float" };
            let shape = values.shape().to_vec();
            rows.push(Row { name: name.clone(), dtype: dtype.into(), shape: shape.clone() });
            match values {
                Values::I64(_) => held.insert_unread(name, dtype, shape),
                // A draft reads no element.
                _ => held.insert(name, Tensor::stored(shape, || Ok(Vec::new()))),
            }
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let drafted = drafted(&held).map(|mut described| {
            let text = "weights are read from .safetensors files: save these tensors as one, under the same names";
            described.notes.push(text.into());
            described
        });
        return Ok((rows, drafted));
    }
    if has_extension(path, "safetensors") {
        let listed = safetensors::list(path)?;
        let rows = listed.into_iter().map(|tensor| Row { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape });
        let contents = safetensors::read(path)?;
        let described = match contents.description {
            None => drafted(&contents.tensors),
            Some(_) => formats::read(path).map(|(model, tensors)| of_itself(&model, &tensors)),
        };
        return Ok((rows.collect(), described));
    }
    let (model, tensors) = formats::read(path)?;
    let row = |name: &str| Row {
        name: name.to_owned(),
        dtype: "F32".into(),
        shape: tensors.shape(name).unwrap_or_default().to_vec(),
    };
    Ok((tensors.names().map(row).collect(), Ok(of_itself(&model, &tensors))))
}

fn drafted(tensors: &Tensors) -> Result<Described> {
    let draft = formats::describe(tensors)?;
    let layer = |index: usize| draft.model.layers.get(index).map(|layer| layer.kind.to_string()).unwrap_or_default();
    let placed = draft.placed.iter().map(|(name, &index)| (name.clone(), format!("{index} {}", layer(index))));
    let unplaced = draft.unplaced.iter().map(|tensor| (tensor.name.clone(), format!("none: {}", tensor.why)));
    let places = placed.chain(unplaced).collect();
    Ok(Described { json: draft.json, places, notes: draft.notes })
}

fn of_itself(model: &Model, tensors: &Tensors) -> Described {
    let places = formats::places(model, tensors).unwrap_or_default();
    let layer = |index: usize| model.layers.get(index).map(|layer| layer.kind.to_string()).unwrap_or_default();
    let places = places.into_iter().map(|(name, index)| (name, format!("{index} {}", layer(index)))).collect();
    let notes = vec!["the file describes itself: this is its description, and no other is needed beside it".to_owned()];
    Described { json: formats::description::to_json_by_lines(model), places, notes }
}

/// Returns the tensors as a table.
fn table(rows: &[Row], places: &BTreeMap<String, String>) -> impl fmt::Display {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["tensor", "type", "shape", "layer"]);
    for row in rows {
        let place = places.get(&row.name).map_or("", String::as_str);
        table.add_row([&row.name, &row.dtype, &format!("{:?}", row.shape), place]);
    }
    table
}
