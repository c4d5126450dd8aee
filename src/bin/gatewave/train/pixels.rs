//! A bitmap for a chart whose words need no font of the system.

use std::convert::Infallible;
use std::io;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontTransform};

/// The width and the height of a letter.
const LETTER: u32 = 8;

/// Red, green and blue, row by row.
pub(super) struct Pixels<'a> {
    size: (u32, u32),
    bytes: &'a mut Vec<u8>,
}

impl<'a> Pixels<'a> {
    /// Makes a picture of `size` columns and rows, drawn into `bytes`.
    pub(super) fn new(size: (u32, u32), bytes: &'a mut Vec<u8>) -> Self {
        *bytes = vec![u8::MAX; 3 * size.0 as usize * size.1 as usize];
        Self { size, bytes }
    }
}

/// Returns the picture as a PNG file.
pub(super) fn encoded((width, height): (u32, u32), bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(bytes)?;
    Ok(file)
}

impl DrawingBackend for Pixels<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Result<(), DrawingErrorKind<Infallible>> {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return Ok(()) };
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        if x < width && y < height {
            let place = 3 * (y * width + x);
            let (r, g, b) = color.rgb;
            for (byte, ink) in self.bytes[place..place + 3].iter_mut().zip([r, g, b]) {
                let mixed = f64::from(*byte) * (1.0 - color.alpha) + f64::from(ink) * color.alpha;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
                let mixed = mixed.round() as u8;
                *byte = mixed;
            }
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        at: BackendCoord,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let scale = scale(style.size());
        let (width, height) = size(text, scale);
        let (width, height) = (width.cast_signed(), height.cast_signed());
        let dx = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Right => -width,
            HPos::Center => -width / 2,
        };
        let dy = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -height / 2,
            VPos::Bottom => -height,
        };
        let turn = |x: i32, y: i32| match style.transform() {
            FontTransform::None => (x, y),
            FontTransform::Rotate90 => (-y, x),
            FontTransform::Rotate180 => (-x, -y),
            FontTransform::Rotate270 => (y, -x),
        };
        let step = scale.cast_signed();
        for (letter, left) in text.chars().zip((0_i32..).step_by((LETTER * scale) as usize)) {
            for (row, bits) in (0_i32..).zip(glyph(letter)) {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    for (x, y) in (0..step * step).map(|dot| (dot % step, dot / step)) {
                        let (x, y) = turn(dx + left + step * column + x, dy + step * row + y);
                        self.draw_pixel((at.0 + x, at.1 + y), style.color())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok(size(text, scale(style.size())))
    }
}

/// Returns the dots of a letter, row by row, its left edge in the lowest bit.
fn glyph(letter: char) -> [u8; 8] {
    let plain = u8::try_from(letter).ok().and_then(|byte| font8x8::legacy::BASIC_LEGACY.get(usize::from(byte)));
    plain.copied().unwrap_or([u8::MAX; 8])
}

/// Returns how many pixels wide and high a dot of a letter is.
fn scale(size: f64) -> u32 {
    if size < 20.0 { 1 } else { 2 }
}

#[expect(clippy::cast_possible_truncation, reason = "a line of a chart")]
fn size(text: &str, scale: u32) -> (u32, u32) {
    (LETTER * scale * text.chars().count() as u32, LETTER * scale)
}
