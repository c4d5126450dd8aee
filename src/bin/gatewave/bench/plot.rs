//! A sweep as a picture: both axes are logarithmic, so that proportional growth is a line of slope one.

use std::path::{Path, PathBuf};

use gatewave::inspect::Replacement;
use gatewave::{Error, ErrorKind, Result};
use plotters::prelude::*;

use super::sweep::{Axis, Curve};
use crate::args::has_extension;
use crate::files::{fill, unused};

/// Columns and rows of the picture.
const SIZE: (u32, u32) = (800, 500);

/// Fractions of a pixel in which lines are drawn: plotters rounds
/// each coordinate to a whole number, which shows in a flat line.
const FINE: u32 = 8;

/// Points of a fitted line.
const LINE_POINTS: u32 = 64;

/// Ticks within a decade, coarse ones first.
const TICKS: [&[f64]; 4] = [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0]];

/// The fewest ticks of a readable axis.
const FEW: usize = 4;

/// A file that a picture goes to.
pub(super) struct Picture {
    path: PathBuf,
    file: Replacement,
}

/// The contents of a picture.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    /// A line for each curve: what computes.
    pub(super) devices: &'a [String],
    /// The number of calls; the shortest is drawn.
    pub(super) runs: u32,
    pub(super) axis: Axis,
    pub(super) curves: &'a [Curve],
}

impl Picture {
    /// Opens the file before any measurement.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`] if its name is not that of an SVG file, or
    /// if it cannot be written. It is the same if the file exists and may not be overwritten.
    pub(super) fn open(path: &Path, force: bool) -> Result<Self> {
        if !has_extension(path, "svg") {
            let text = "expected a name that ends in .svg, which is what is drawn";
            return Err(Error::new(ErrorKind::Io, text).at(path.display()));
        }
        unused(path, force)?;
        Ok(Self { path: path.to_owned(), file: Replacement::open(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Draws `chart`, and moves the file to its path.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`] if the file cannot be written.
    pub(super) fn draw(self, chart: &Chart<'_>) -> Result<()> {
        let mut svg = String::new();
        let drawn = picture(&mut svg, chart);
        drawn.map_err(|e| Error::new(ErrorKind::Io, format!("cannot be drawn: {e}")).at(self.path.display()))?;
        fill(self.file, &self.path, resized(&svg).as_bytes())
    }
}

/// Returns the picture in its own size, with coordinates in fractions of a pixel.
fn resized(svg: &str) -> String {
    let size = |(width, height): (u32, u32)| format!("width=\"{width}\" height=\"{height}\"");
    svg.replacen(&size(fine_size()), &size(SIZE), 1)
}

fn fine_size() -> (u32, u32) {
    (SIZE.0 * FINE, SIZE.1 * FINE)
}

/// Formats milliseconds for an axis, with as many decimals as matter.
fn label(time: f64) -> String {
    let text = format!("{time:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns round numbers from `low` to `high`: as few as a readable axis needs.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let within = |steps: &[f64]| -> Vec<f64> {
        let decades = -9..9_i32;
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|tick| (low..=high).contains(tick)).collect()
    };
    let mut all = TICKS.map(within).into_iter();
    all.find(|ticks| ticks.len() >= FEW).unwrap_or_else(|| within(TICKS[TICKS.len() - 1]))
}

type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[expect(clippy::cast_possible_wrap, reason = "a small number")]
fn picture(svg: &mut String, chart: &Chart<'_>) -> Drawn {
    let Chart { title, subtitle, devices, runs, axis, curves } = *chart;
    let fine = FINE as i32;
    let font = |pixels: i32| ("sans-serif", pixels * fine);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let span = |of: fn(&(f64, f64)) -> f64| {
        points().map(of).fold((f64::INFINITY, 0.0_f64), |(low, high), n| (low.min(n), high.max(n)))
    };
    let ((left, right), (low, high)) = (span(|point| point.0), span(|point| point.1));
    let sizes: Vec<f64> =
        curves.first().map_or_else(Vec::new, |curve| curve.points.iter().map(|point| point.0).collect());
    // Room for the legend above the highest point.
    let (bottom, top) = (low / 1.5, high * 1.5 * (high / low).powf(0.3));
    let root = SVGBackend::with_string(svg, fine_size()).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.margin(12 * fine, 0, 0, 0).titled(title, font(18))?.titled(subtitle, font(13))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12 * fine)
        .x_label_area_size(44 * fine)
        .y_label_area_size(72 * fine)
        .build_cartesian_2d(
            (left / 1.1..right * 1.1).log_scale().with_key_points(sizes),
            (bottom..top).log_scale().with_key_points(ticks(bottom, top)),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(215, 215, 215).stroke_width(FINE))
        .axis_style(BLACK.stroke_width(FINE))
        .set_all_tick_mark_size(5 * fine)
        .label_style(font(13))
        .axis_desc_style(font(15))
        .x_label_formatter(&|size| format!("{size:.0}"))
        .y_label_formatter(&|time| label(*time))
        .x_desc(axis.words())
        .y_desc(format!("milliseconds of a call, shortest of {runs}"))
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let name = devices.get(index).map_or(curve.device.as_str(), String::as_str);
        chart
            .draw_series(curve.points.iter().map(|&point| Circle::new(point, 4 * fine, color.filled())))?
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 10 * fine, y), 4 * fine, color.filled()));
        if let Some(fit) = curve.fit {
            let ratio = (right / left).powf(1.0 / f64::from(LINE_POINTS));
            let sizes = (0..=LINE_POINTS).map(|i| left * ratio.powf(f64::from(i)));
            let line = sizes.map(|n| (n, fit.at(n))).filter(|(_, time)| *time >= bottom);
            let style = color.stroke_width(2 * FINE);
            chart
                .draw_series(LineSeries::new(line, style))?
                .label(format!("fit: {}", fit.words(axis)))
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20 * fine, y)], style));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::Coordinate(14 * fine, 10 * fine))
        .margin(8 * fine)
        .legend_area_size(28 * fine)
        .label_font(font(13))
        .background_style(WHITE)
        .border_style(BLACK.stroke_width(FINE))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_ticks_as_few_as_can_be_read() {
        assert_eq!(ticks(0.01, 20.0), [0.01, 0.1, 1.0, 10.0]);
        assert_eq!(ticks(0.5, 6.0), [0.5, 1.0, 2.0, 5.0]);
        assert_eq!(ticks(2.1, 4.9), [2.5, 3.0, 4.0]);
        assert_eq!(ticks(1.0, 100.0), [1.0, 3.0, 10.0, 30.0, 100.0]);
    }

    #[test]
    fn a_picture_keeps_its_size_and_its_fine_places() {
        let svg = resized("<svg width=\"6400\" height=\"4000\" viewBox=\"0 0 6400 4000\">");
        assert_eq!(svg, "<svg width=\"800\" height=\"500\" viewBox=\"0 0 6400 4000\">");
    }
}
