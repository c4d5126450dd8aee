//! The loss of each epoch, and the metrics, as a picture: `.svg` and `.png`.

use std::path::Path;

use gatewave::inspect::Replacement;
use gatewave::train::Epoch;
use gatewave::{Error, ErrorKind, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::history::Column;
use super::pixels::{Pixels, encoded};
use crate::files::fill;

/// The picture's columns and rows.
const SIZE: (u32, u32) = (800, 500);

/// The size of a legend's letters. It is large enough that the height
/// plotters gives a line has room for the letters of [`Pixels`].
const LEGEND: i32 = 16;

type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Draws both pictures, `curve.svg` and `curve.png`, in `folder`.
///
/// # Errors
///
/// Returns an error of kind `Io` if they cannot be written.
pub(super) fn write(folder: &Path, epochs: &[Epoch]) -> Result<()> {
    let mut svg = String::new();
    let drawn = draw(SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), epochs);
    put(&folder.join("curve.svg"), drawn.map(|()| svg.into_bytes()))?;
    let mut pixels = Vec::new();
    let drawn = draw(Pixels::new(SIZE, &mut pixels).into_drawing_area(), epochs);
    put(&folder.join("curve.png"), drawn.and_then(|()| Ok(encoded(SIZE, &pixels)?)))
}

/// Moves a drawn picture to `path`.
fn put(path: &Path, drawn: Drawn<Vec<u8>>) -> Result<()> {
    let cannot = |e| Error::new(ErrorKind::Io, format!("cannot be drawn: {e}")).at(path.display());
    fill(Replacement::open(path)?, path, &drawn.map_err(cannot)?)
}

fn draw<B: DrawingBackend>(root: DrawingArea<B, Shift>, epochs: &[Epoch]) -> Drawn
where
    B::ErrorType: 'static,
{
    root.fill(&WHITE)?;
    let (losses, metrics): (Vec<_>, Vec<_>) =
        Column::all(epochs).into_iter().partition(|column| matches!(column, Column::Loss | Column::ValidationLoss));
    if metrics.is_empty() {
        panel(&root, &losses, SeriesLabelPosition::UpperRight, epochs)?;
    } else {
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        // A loss falls, and a score grows.
        panel(&left, &losses, SeriesLabelPosition::UpperRight, epochs)?;
        panel(&right, &metrics, SeriesLabelPosition::LowerRight, epochs)?;
    }
    root.present()?;
    Ok(())
}

/// Draws one chart of some columns, with the best epoch marked.
fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    columns: &[Column],
    legend: SeriesLabelPosition,
    epochs: &[Epoch],
) -> Drawn
where
    B::ErrorType: 'static,
{
    let points = |column: &Column| {
        epochs.iter().filter_map(|epoch| Some((epoch.number, column.of(epoch)?))).collect::<Vec<(u64, f64)>>()
    };
    let values = || columns.iter().flat_map(points).map(|(_, value)| value).filter(|value| value.is_finite());
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    let room = if high > low { (high - low) * 0.08 } else { 0.5 };
    let first = epochs.first().map_or(1, |epoch| epoch.number);
    let last = epochs.last().map_or(1, |epoch| epoch.number).max(first + 1);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(first..last, (low - room)..(high + room))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&|epoch| epoch.to_string())
        .y_label_formatter(&|value| format!("{value:.3}"))
        .x_desc("epoch")
        .draw()?;
    if let Some(best) = epochs.iter().rfind(|epoch| epoch.better) {
        // Darker than the lines of the grid.
        let grey = RGBColor(70, 70, 70);
        let line = [(best.number, low - room), (best.number, high + room)];
        chart
            .draw_series(LineSeries::new(line, grey))?
            .label(format!("best: epoch {}", best.number))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], grey));
    }
    for (index, column) in columns.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let points = points(column);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(column.name())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], color.stroke_width(2)));
        // A line of one point would not be visible.
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 2, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(legend)
        .label_font(("sans-serif", LEGEND))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}
