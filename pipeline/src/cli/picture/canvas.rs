//! Pixels: fill, mix, write, and save as PNG.

use super::colormap::{Rgb, mix};
use super::{PictureError, font};

/// A picture of 8-bit RGB pixels, row by row from the top left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// The most pixels a picture may have: 64 million, 192 MB.
    pub const MAX_PIXELS: usize = 64_000_000;

    /// All of one colour.
    ///
    /// # Errors
    /// [`PictureError::TooLarge`] beyond [`Canvas::MAX_PIXELS`], [`PictureError::Empty`] without any.
    pub fn new(width: usize, height: usize, colour: Rgb) -> Result<Self, PictureError> {
        let n_pixels = width.checked_mul(height).filter(|n| *n <= Self::MAX_PIXELS);
        match n_pixels.ok_or(PictureError::TooLarge { width, height })? {
            0 => Err(PictureError::Empty),
            n => Ok(Self { width, height, pixels: vec![colour; n] }),
        }
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The colour at a place inside.
    pub fn get(&self, x: usize, y: usize) -> Option<Rgb> {
        (x < self.width && y < self.height).then(|| self.pixels[y * self.width + x])
    }

    /// Mixes `share` of a colour into a rectangle; what lies outside is left out.
    pub(super) fn blend(&mut self, at: (usize, usize), size: (usize, usize), colour: Rgb, share: f32) {
        let (to_x, to_y) = ((at.0 + size.0).min(self.width), (at.1 + size.1).min(self.height));
        for y in at.1..to_y {
            for pixel in &mut self.pixels[y * self.width..][at.0.min(to_x)..to_x] {
                *pixel = mix(*pixel, colour, share);
            }
        }
    }

    pub(super) fn fill(&mut self, at: (usize, usize), size: (usize, usize), colour: Rgb) {
        self.blend(at, size, colour, 1.0);
    }

    /// Copies another picture in; what does not fit is cut off.
    pub(super) fn paste(&mut self, at: (usize, usize), other: &Self) {
        let n = other.width.min(self.width.saturating_sub(at.0));
        for y in 0..other.height.min(self.height.saturating_sub(at.1)) {
            let from = &other.pixels[y * other.width..][..n];
            self.pixels[(at.1 + y) * self.width + at.0..][..n].copy_from_slice(from);
        }
    }

    /// Writes one line of text, its top left corner at `at`, each pixel of the font `scale` pixels wide.
    pub(super) fn text(&mut self, at: (usize, usize), text: &str, colour: Rgb, scale: usize) {
        for (i, c) in text.chars().enumerate() {
            let (rows, tail) = font::glyph(c);
            for (row, bits) in rows.iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| bits >> (font::WIDTH - 1 - column) & 1 == 1) {
                    let x = at.0 + (i * (font::WIDTH + 1) + column) * scale;
                    self.fill((x, at.1 + (row + tail) * scale), (scale, scale), colour);
                }
            }
        }
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// [`PictureError::Png`] when the encoder refuses.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// Pixels across a line of text.
pub(super) fn text_width(text: &str, scale: usize) -> usize {
    (text.chars().count() * (font::WIDTH + 1)).saturating_sub(1) * scale
}

/// Cut to what fits into so many pixels, with three dots where something is gone.
pub(super) fn fitted(text: &str, width: usize, scale: usize) -> String {
    if text_width(text, scale) <= width {
        return text.to_owned();
    }
    let room = (width / scale + 1) / (font::WIDTH + 1);
    match room {
        0..4 => String::new(),
        _ => text.chars().take(room - 3).chain("...".chars()).collect(),
    }
}
