//! `gatewave describe`: the tensors of a file, and a description of the model that they belong to.
//!
//! If a file describes itself, its own description is shown. For tensors alone the library makes a draft.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fmt, iter, slice};

use comfy_table::{Table, presets};
use gatewave::formats::safetensors::Contents;
use gatewave::formats::{self, Content, Format};
use gatewave::inspect::Replacement;
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Model, Result, Values};

use crate::args::{self, has_extension};
use crate::chosen::Chosen;
use crate::files::{fill, is_standard_output, name, spare, streamed, unused};
use crate::messages::{note, tell};
use crate::{Outcome, Verdict, tensors};

/// Prints the tensors of a file, and a description (model.json) of the model that they belong to
///
/// For tensors alone, as PyTorch saves them, the description is a draft: layers by names, their order by sizes.
/// What the tensors do not show is assumed and noted on standard error. A tensor that belongs to no layer is marked
/// in the table. A file that describes itself (Keras, ONNX, a converted model) has its own description printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file: .safetensors, .pt, .pth, .ckpt, .npz, .keras, .h5 or .onnx, or `-` for standard input
    #[arg(id = "path", value_name = "FILE")]
    file: PathBuf,
    /// A description of the model, if FILE holds tensors alone: the places of the tensors are then those in it
    #[arg(long = "model", value_name = "model.json")]
    description: Option<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
    /// Write the description to this file; `-` prints it alone, with the tensors on standard error
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
    let (rows, described) = read(args)?;
    // The tensors can be listed, whether or not they make a model.
    let places = described.as_ref().map(|described| described.places.clone()).unwrap_or_default();
    tell(table(&rows, &places), args.output.as_deref().is_some_and(is_standard_output), out)?;
    let Described { json, notes, .. } = described.map_err(|e| e.at(name(&args.file)))?;
    notes.iter().for_each(|text| note(format_args!("note: {text}")));
    match &args.output {
        Some(path) if !is_standard_output(path) => {
            let file = Replacement::open(path)?;
            fill(file, path, json.as_bytes())?;
            writeln!(out, "{}: {} bytes", path.display(), json.len())?;
        }
        _ => write!(out, "{json}")?,
    }
    Ok(Verdict::Done)
}

/// Returns the tensors of the file, and its description or why there can be none.
fn read(args: &Args) -> Result<(Vec<Row>, Result<Described>)> {
    let Args { file, description, chosen, .. } = args;
    let path: &Path = file;
    if description.is_some() || chosen.given().is_some() {
        let (model, tensors) = args::read_chosen(path, description.as_deref(), chosen)?;
        let row = |name: &str| row_of(&tensors, name, "F32");
        let mut described = of_itself(&model, &tensors);
        if description.is_some() {
            described.notes.clear();
        }
        return Ok((tensors.names().map(row).collect(), Ok(described)));
    }
    let bytes = streamed(path)?;
    let is_array = match &bytes {
        Some(bytes) => Content::of(bytes) == Some(Content::Npy),
        None => has_extension(path, "npy"),
    };
    if is_array {
        let arrays = tensors::read(path, "array")?.into_iter();
        // A draft reads no element.
        let held = |(name, values): (String, Values)| (name, Tensor::stored(values.shape(), || Ok(Vec::new())));
        let held: Tensors = arrays.map(held).collect();
        let row = |name: &str| row_of(&held, name, "F32");
        return Ok((held.names().map(row).collect(), drafted(&held)));
    }
    let format = match &bytes {
        Some(bytes) => Format::of_bytes(bytes).map_err(|e| e.at(name(path)))?,
        None => Format::of(path)?,
    };
    if matches!(format, Format::Safetensors | Format::Torch | Format::Npz) {
        return Ok(of_tensors(match bytes {
            Some(bytes) => formats::contents_shared(bytes, format).map_err(|e| e.at(name(path)))?,
            None => formats::contents(path)?,
        }));
    }
    let (model, tensors) = args::read(path, None)?;
    let row = |name: &str| row_of(&tensors, name, "F32");
    Ok((tensors.names().map(row).collect(), Ok(of_itself(&model, &tensors))))
}

/// Returns the tensors of a file that holds them by name, and its own description or a draft.
fn of_tensors(contents: Contents) -> (Vec<Row>, Result<Described>) {
    let (listed, held) = (contents.listed.clone(), contents.tensors.clone());
    let rows = listed.iter().map(|tensor| {
        let (name, dtype, shape) = (tensor.name.clone(), tensor.dtype.clone(), tensor.shape.clone());
        Row { name, dtype, shape }
    });
    if contents.description.is_some() {
        let described = formats::of_contents(contents, None).map(|(model, tensors)| of_itself(&model, &tensors));
        return (rows.collect(), described);
    }
    let names: HashSet<_> = listed.iter().map(|tensor| tensor.name.as_str()).collect();
    // What weights are computed from is no tensor of the model.
    let parts: Vec<_> = names.iter().filter(|name| !held.contains(name)).map(|name| (*name).to_owned()).collect();
    // Names that the file lacks: those weights, and tied names.
    let computed = held.names().filter(|name| !names.contains(name) && !parts.is_empty());
    let rows = rows.chain(computed.map(|name| row_of(&held, name, "computed"))).collect();
    let described = drafted(&held).map(|mut described| {
        described.places.extend(parts.into_iter().map(|name| (name, "a weight is computed from it".to_owned())));
        described
    });
    (rows, described)
}

fn row_of(tensors: &Tensors, name: &str, dtype: &str) -> Row {
    Row { name: name.to_owned(), dtype: dtype.to_owned(), shape: tensors.shape(name).unwrap_or_default().to_vec() }
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
