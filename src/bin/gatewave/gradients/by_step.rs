//! `--by-step`: the norm of the loss's gradient with respect to
//! the hidden state after each step, as a table and as a picture.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gatewave::inspect::Replacement;
use gatewave::layer::LayerKind;
use gatewave::oracle;
use gatewave::train::{Batch, Objective};
use gatewave::{Error, ErrorKind, Model, Result, Weights};
use ndarray::Axis;
use plotters::prelude::*;

use crate::files::{fill, spare, unused};

/// The smallest norm that a picture shows, relative to the largest.
const LEAST: f64 = 1e-40;

/// The norms of one layer and direction of a stack, one for each step.
struct Curve {
    name: String,
    norms: Vec<f64>,
}

/// The form of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Picture,
}

/// A file of norms.
pub(super) struct Chart {
    path: PathBuf,
    form: Form,
    file: Replacement,
}

impl Chart {
    /// Opens the file before any work, so that none is wasted.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Io` if its name has no known ending, or if it cannot
    /// be written. It is the same if the file exists and may not be overwritten.
    pub(super) fn open<'a>(path: &Path, read: impl Iterator<Item = &'a Path>, force: bool) -> Result<Self> {
        let form = match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Form::Table,
            Some("svg") => Form::Picture,
            _ => {
                let text = "--by-step: expected a name that ends in .csv or .svg";
                return Err(Error::new(ErrorKind::Io, text).at(path.display()));
            }
        };
        spare("--by-step", read, &[path.to_owned()])?;
        unused(path, force)?;
        Ok(Self { path: path.to_owned(), form, file: Replacement::open(path)? })
    }
}

/// Writes the norms of a batch into each of `charts`, computed in f64 by the textbook's equations.
///
/// # Errors
///
/// Returns the errors of [`oracle::gradients`], or one of kind:
///
/// - `Io` if a file cannot be written;
/// - `Model` if no loss depends on a recurrent layer.
pub(super) fn write(
    charts: Vec<Chart>,
    model: &Model,
    weights: &Weights,
    (objective, batch): (&Objective, &Batch),
) -> Result<()> {
    let truth = oracle::gradients(model, weights, &batch.input, objective, &batch.targets)?;
    let mut curves = Vec::new();
    let stacks = model.layers.iter().enumerate().filter_map(|(index, layer)| match &layer.kind {
        LayerKind::Recurrent(recurrent) => Some((index, recurrent)),
        _ => None,
    });
    for (stack, (layer, recurrent)) in stacks.enumerate() {
        let Some(rows) = truth.hidden.get(&stack) else { continue };
        let directions = recurrent.directions();
        for (row, steps) in rows.outer_iter().enumerate() {
            let reverse = if row % directions == 1 { "_reverse" } else { "" };
            let prefix = match model.layers[layer].prefix.trim_end_matches('.') {
                "" => layer.to_string(),
                name => name.to_owned(),
            };
            let name = format!("{prefix}.l{}{reverse}", row / directions);
            let norm = |step: ndarray::ArrayView2<'_, f64>| step.iter().map(|d| d * d).sum::<f64>().sqrt();
            curves.push(Curve { name, norms: steps.axis_iter(Axis(0)).map(norm).collect() });
        }
    }
    if curves.is_empty() {
        let text = "--by-step: expected a loss that hangs on a recurrent layer, got one that hangs on none";
        return Err(Error::new(ErrorKind::Model, text));
    }
    for Chart { path, form, file } in charts {
        let text = match form {
            Form::Table => table(&curves),
            Form::Picture => {
                let mut svg = String::new();
                picture(&mut svg, &curves)
                    .map_err(|e| Error::new(ErrorKind::Io, format!("cannot be drawn: {e}")).at(path.display()))?;
                svg
            }
        };
        fill(file, &path, text.as_bytes())?;
    }
    Ok(())
}

/// Writes a row for each step, counted from 0.
fn table(curves: &[Curve]) -> String {
    let names: String = curves.iter().map(|curve| format!(",{}", curve.name)).collect();
    let mut text = format!("step{names}\n");
    for step in 0..curves.iter().map(|curve| curve.norms.len()).max().unwrap_or(0) {
        let norm = |curve: &Curve| curve.norms.get(step).map_or_else(|| ",".to_owned(), |norm| format!(",{norm:e}"));
        let norms: String = curves.iter().map(norm).collect();
        writeln!(text, "{step}{norms}").expect("a text takes all");
    }
    text
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Draws norms on a logarithmic axis: a vanishing gradient is a line that falls towards the first steps.
fn picture(svg: &mut String, curves: &[Curve]) -> Drawn {
    let norms = || curves.iter().flat_map(|curve| &curve.norms).copied().filter(|norm| *norm > 0.0);
    let high = norms().fold(f64::MIN_POSITIVE, f64::max);
    let low = norms().fold(high, f64::min).max(high * LEAST);
    let last = curves.iter().map(|curve| curve.norms.len()).max().unwrap_or(1).saturating_sub(1).max(1);
    let root = SVGBackend::with_string(svg, (800, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("gradient of the loss by the hidden state after each step", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(0..last, (low / 2.0..high * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(10)
        .y_label_formatter(&|norm| format!("{norm:.0e}"))
        .x_desc("step")
        .y_desc("norm")
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let points = curve.norms.iter().enumerate().filter(|(_, norm)| **norm >= low).map(|(step, norm)| (step, *norm));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(curve.name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
