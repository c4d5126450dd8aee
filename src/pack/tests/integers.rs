//! Panels of 8-bit integers, read by the formula of their form and not by the code that packs and widens them.

use crate::kernel::LANES;
use crate::pack::PanelShape;

/// The floats that panels of integers represent, one element at a time: a byte times the scale of its column.
pub(super) fn widened(words: &[u32], shape: PanelShape) -> Vec<f32> {
    let (width, rows) = (shape.gates * LANES, shape.depth + shape.after);
    let (bytes, panel_words) =
        (bytemuck::cast_slice::<u32, i8>(words), shape.depth * width / 4 + width * (1 + shape.after));
    let element = |panel: usize, row: usize, column: usize| {
        let float =
            |row: usize| f32::from_bits(words[panel * panel_words + shape.depth * width / 4 + row * width + column]);
        match row.checked_sub(shape.depth) {
            Some(after) => float(1 + after),
            None => float(0) * f32::from(bytes[4 * panel * panel_words + row * width + column]),
        }
    };
    let places = (0..words.len() / panel_words).flat_map(|panel| (0..rows * width).map(move |at| (panel, at)));
    places.map(|(panel, at)| element(panel, at / width, at % width)).collect()
}
