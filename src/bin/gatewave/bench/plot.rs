//! A sweep as a picture: both axes logarithmic, so that proportional growth is a line of slope one.

use std::path::Path;

use gatewave::{Error, ErrorKind, Result};
use plotters::prelude::*;

use super::sweep::{Axis, Curve};

/// Points of a fitted line between two sizes.
const LINE_POINTS: u32 = 64;

/// Whether `path` can be written, before anything is measured for it. What is there stays.
///
/// # Errors
///
/// Kind `Io`, where it cannot, or is no name of an SVG file.
pub(super) fn can_be_drawn(path: &Path) -> Result<()> {
    if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("svg")) {
        let text = "expected a name that ends in .svg, which is what is drawn";
        return Err(Error::new(ErrorKind::Io, text).at(path.display()));
    }
    let is_new = !path.exists();
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|_| if is_new { std::fs::remove_file(path) } else { Ok(()) });
    written.map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e).at(path.display()))
}

/// Milliseconds as an axis shows them: as many decimals as tell.
fn label(time: f64) -> String {
    let text = format!("{time:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Draws `curves` with their fits into an SVG file.
///
/// # Errors
///
/// Kind `Io`, where the file cannot be written.
pub(super) fn draw(path: &Path, title: &str, axis: Axis, curves: &[Curve]) -> Result<()> {
    let mut svg = String::new();
    picture(&mut svg, title, axis, curves).map_err(|e| Error::new(ErrorKind::Io, e.to_string()).at(path.display()))?;
    std::fs::write(path, svg).map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e).at(path.display()))
}

type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn picture(svg: &mut String, title: &str, axis: Axis, curves: &[Curve]) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let span = |of: fn(&(f64, f64)) -> f64| {
        points().map(of).fold((f64::INFINITY, 0.0_f64), |(low, high), n| (low.min(n), high.max(n)))
    };
    let ((left, right), (low, high)) = (span(|point| point.0), span(|point| point.1));
    let sizes: Vec<f64> =
        curves.first().map_or_else(Vec::new, |curve| curve.points.iter().map(|point| point.0).collect());
    let root = SVGBackend::with_string(svg, (800, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (left / 1.1..right * 1.1).log_scale().with_key_points(sizes),
            (low / 1.5..high * 1.5).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .x_label_formatter(&|size| format!("{size:.0}"))
        .y_label_formatter(&|time| label(*time))
        .x_desc(axis.to_string())
        .y_desc("shortest ms of a call")
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        chart
            .draw_series(curve.points.iter().map(|&point| Circle::new(point, 4, color.filled())))?
            .label(curve.device.as_str())
            .legend(move |at| Circle::new(at, 4, color.filled()));
        if let Some(fit) = curve.fit {
            let ratio = (right / left).powf(1.0 / f64::from(LINE_POINTS));
            let sizes = (0..=LINE_POINTS).map(|i| left * ratio.powf(f64::from(i)));
            let line = sizes.map(|n| (n, fit.at(n))).filter(|(_, time)| *time > 0.0);
            chart.draw_series(LineSeries::new(line, color))?;
        }
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
