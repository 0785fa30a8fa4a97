//! Pictures of clips: a log-mel with its axes, its patches and what a mask hides.

mod axis;
mod canvas;
mod colormap;
mod font;

use thiserror::Error;

pub use self::axis::FrequencyAxis;
pub use self::canvas::Canvas;
use self::canvas::{fitted, text_width};
pub use self::colormap::{Rgb, magma};
use super::args::PatchSize;

const PAPER: Rgb = [255, 255, 255];
const INK: Rgb = [28, 32, 38];
const SOFT: Rgb = [112, 120, 130];
const HIDDEN: Rgb = [214, 221, 229];
const UNUSED: Rgb = [92, 100, 110];
const OUTLINE: Rgb = [0, 190, 214];
/// For values that are none: a colour that the map does not have.
const NOT_FINITE: Rgb = [0, 220, 90];

/// Font pixels are this wide.
const TEXT: usize = 2;
const LEFT: usize = 102;
const TOP: usize = 40;
const RIGHT: usize = 100;
const BOTTOM: usize = 40;
/// Added at the bottom where a mask is explained.
const LEGEND: usize = 26;

/// Why a picture cannot be drawn.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The numbers do not fit the shape.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// Which length.
        what: &'static str,
        /// The length the shape asks for.
        expected: usize,
        /// The length given.
        got: usize,
    },
    /// There is nothing to draw.
    #[error("the picture has no pixels")]
    Empty,
    /// More pixels than [`Canvas::MAX_PIXELS`].
    #[error("the picture would be {width} x {height} pixels: draw fewer clips, or at a smaller scale")]
    TooLarge {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
    /// The PNG encoder refused.
    #[error("cannot write the PNG: {0}")]
    Png(#[from] png::EncodingError),
}

/// Which axis comes first in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// A row is a frame: `values[frame * n_mels + mel]`.
    #[default]
    FramesMels,
    /// A row is a mel bin: `values[mel * n_frames + frame]`.
    MelsFrames,
}

/// A clip's log-mel, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct MelClip<'a> {
    /// `n_frames * n_mels` numbers in the given layout.
    pub values: &'a [f32],
    /// Frames, padding included.
    pub n_frames: usize,
    /// Mel bins.
    pub n_mels: usize,
    /// Which axis comes first.
    pub layout: Layout,
    /// Frames before the padding; a dashed line stands behind them.
    pub n_valid: usize,
    /// Seconds from one frame to the next.
    pub hop_s: f64,
    /// What the bins mean.
    pub frequency: FrequencyAxis,
    /// Who it is: the clip's id.
    pub title: &'a str,
    /// What else to say: its labels.
    pub note: &'a str,
}

/// What a mask makes of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchRole {
    /// The context encoder sees it.
    Context,
    /// It is hidden, and to be predicted.
    Target,
    /// It is neither seen nor predicted.
    Unused,
}

/// How to draw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PictureOptions<'a> {
    /// Pixels for each value; when 0, so many that the picture is about 1000 wide.
    pub scale: usize,
    /// Values of the darkest and the lightest colour; when `None`, the 1st and 99.8th percentile of the valid frames.
    pub range: Option<(f32, f32)>,
    /// Draws the grid of patches of this size.
    pub patch: Option<PatchSize>,
    /// One role for each patch of that grid, row by row of the layout; hidden patches are veiled and outlined.
    pub roles: Option<&'a [PatchRole]>,
}

/// Draws one clip: time to the right, low frequencies at the bottom, a colour bar beside it.
///
/// # Errors
/// [`PictureError::Shape`] when values or roles do not fit, [`PictureError::TooLarge`].
pub fn draw(clip: &MelClip<'_>, options: &PictureOptions<'_>) -> Result<Canvas, PictureError> {
    let n_values = clip.n_frames.saturating_mul(clip.n_mels);
    expect("values", n_values, clip.values.len())?;
    let scale = if options.scale > 0 { options.scale } else { (1_100 / clip.n_frames.max(1)).clamp(1, 8) };
    let (width, height) = (clip.n_frames.saturating_mul(scale), clip.n_mels.saturating_mul(scale));
    let bottom = if options.roles.is_some() { BOTTOM + LEGEND } else { BOTTOM };
    let range = options.range.unwrap_or_else(|| spread(clip));
    let legend = legend(options.roles.unwrap_or_default());
    let least = LEFT + legend.iter().map(|(_, text)| legend_step(text)).sum::<usize>();
    let across = width.saturating_add(LEFT + RIGHT).max(420).max(least);
    let mut canvas = Canvas::new(across, height.saturating_add(TOP + bottom), PAPER)?;
    if n_values == 0 {
        return Err(PictureError::Empty);
    }
    cells(&mut canvas, clip, scale, range);
    if let Some(patch) = options.patch {
        patches(&mut canvas, clip, scale, patch, options.roles)?;
    }
    if clip.n_valid < clip.n_frames {
        for y in (0..height).step_by(8) {
            canvas.fill((LEFT + clip.n_valid * scale, TOP + y), (2, 5), PAPER);
        }
    }
    caption(&mut canvas, clip);
    draw_legend(&mut canvas, TOP + height + BOTTOM, &legend);
    axes(&mut canvas, clip, scale);
    colour_bar(&mut canvas, LEFT + width + 16, height, range);
    Ok(canvas)
}

/// Puts pictures side by side on one sheet, row by row.
///
/// # Errors
/// [`PictureError::Empty`] without pictures, [`PictureError::TooLarge`].
pub fn contact_sheet(pictures: &[Canvas], columns: usize) -> Result<Canvas, PictureError> {
    const GAP: usize = 12;
    let columns = columns.clamp(1, pictures.len().max(1));
    let cell_w = pictures.iter().map(Canvas::width).max().ok_or(PictureError::Empty)? + GAP;
    let cell_h = pictures.iter().map(Canvas::height).max().ok_or(PictureError::Empty)? + GAP;
    let rows = pictures.len().div_ceil(columns);
    let mut sheet = Canvas::new(cell_w.saturating_mul(columns) + GAP, cell_h.saturating_mul(rows) + GAP, PAPER)?;
    for (i, picture) in pictures.iter().enumerate() {
        sheet.paste((GAP + i % columns * cell_w, GAP + i / columns * cell_h), picture);
    }
    Ok(sheet)
}

fn expect(what: &'static str, expected: usize, got: usize) -> Result<(), PictureError> {
    if expected == got { Ok(()) } else { Err(PictureError::Shape { what, expected, got }) }
}

fn value(clip: &MelClip<'_>, frame: usize, mel: usize) -> f32 {
    match clip.layout {
        Layout::FramesMels => clip.values[frame * clip.n_mels + mel],
        Layout::MelsFrames => clip.values[mel * clip.n_frames + frame],
    }
}

/// The 1st and 99.8th percentile of the finite values before the padding: one click or one hole does not set the colours.
fn spread(clip: &MelClip<'_>) -> (f32, f32) {
    let frames = 0..clip.n_valid.min(clip.n_frames);
    let mut finite: Vec<f32> =
        frames.flat_map(|t| (0..clip.n_mels).map(move |m| value(clip, t, m))).filter(|v| v.is_finite()).collect();
    if finite.is_empty() {
        return (0.0, 1.0);
    }
    let last = finite.len() - 1;
    let mut percentile = |share: f64| *finite.select_nth_unstable_by((last as f64 * share) as usize, f32::total_cmp).1;
    let (low, high) = (percentile(0.01), percentile(0.998));
    if high > low { (low, high) } else { (low - 0.5, low + 0.5) }
}

fn cells(canvas: &mut Canvas, clip: &MelClip<'_>, scale: usize, (low, high): (f32, f32)) {
    for mel in 0..clip.n_mels {
        let y = TOP + (clip.n_mels - 1 - mel) * scale;
        for frame in 0..clip.n_frames {
            let v = value(clip, frame, mel);
            let colour = if v.is_finite() { magma((v - low) / (high - low)) } else { NOT_FINITE };
            canvas.fill((LEFT + frame * scale, y), (scale, scale), colour);
        }
    }
}

/// The grid; where roles are known, a veil over what is hidden and an outline where the role changes.
fn patches(
    canvas: &mut Canvas,
    clip: &MelClip<'_>,
    scale: usize,
    patch: PatchSize,
    roles: Option<&[PatchRole]>,
) -> Result<(), PictureError> {
    let (columns, rows) = (clip.n_frames / patch.frames.max(1), clip.n_mels / patch.mels.max(1));
    let (w, h) = (patch.frames * scale, patch.mels * scale);
    // Rows of patches are counted from the lowest frequency, the picture from its top.
    let corner = |column: usize, row: usize| (LEFT + column * w, TOP + clip.n_mels * scale - (row + 1) * h);
    for (column, row) in (0..columns).flat_map(|c| (0..rows).map(move |r| (c, r))) {
        let (x, y) = corner(column, row);
        canvas.blend((x, y), (1, h), PAPER, 0.3);
        canvas.blend((x, y), (w, 1), PAPER, 0.3);
    }
    let Some(roles) = roles else { return Ok(()) };
    expect("roles", columns * rows, roles.len())?;
    let role = |column: usize, row: usize| match clip.layout {
        Layout::FramesMels => roles[column * rows + row],
        Layout::MelsFrames => roles[row * columns + column],
    };
    for (column, row) in (0..columns).flat_map(|c| (0..rows).map(move |r| (c, r))) {
        if let Some((colour, share)) = veil(role(column, row)) {
            canvas.blend(corner(column, row), (w, h), colour, share);
        }
    }
    for (column, row) in (0..columns).flat_map(|c| (0..rows).map(move |r| (c, r))) {
        let ((x, y), own) = (corner(column, row), role(column, row));
        if column > 0 && role(column - 1, row) != own {
            canvas.fill((x - 1, y), (2, h), OUTLINE);
        }
        if row > 0 && role(column, row - 1) != own {
            canvas.fill((x, y + h - 1), (w, 2), OUTLINE);
        }
    }
    Ok(())
}

/// Colour and share of what lies over the patches of a role; nothing lies over the context.
fn veil(role: PatchRole) -> Option<(Rgb, f32)> {
    match role {
        PatchRole::Context => None,
        PatchRole::Target => Some((HIDDEN, 0.8)),
        PatchRole::Unused => Some((UNUSED, 0.85)),
    }
}

/// The title, and behind it the note as far as it fits.
fn caption(canvas: &mut Canvas, clip: &MelClip<'_>) {
    let (y, room) = (TOP - 26, canvas.width() - LEFT - 10);
    let title = fitted(clip.title, room, TEXT);
    canvas.text((LEFT, y), &title, INK, TEXT);
    let used = text_width(&title, TEXT) + 16;
    canvas.text((LEFT + used, y), &fitted(clip.note, room.saturating_sub(used), TEXT), SOFT, TEXT);
}

/// What the mask's colours mean, and how many patches have each.
fn legend(roles: &[PatchRole]) -> Vec<(PatchRole, String)> {
    let kinds = [(PatchRole::Context, "context"), (PatchRole::Target, "target"), (PatchRole::Unused, "unused")];
    let entry = |(role, name)| {
        let n = roles.iter().filter(|r| **r == role).count();
        (n > 0).then(|| (role, format!("{name} {n}/{}", roles.len())))
    };
    kinds.into_iter().filter_map(entry).collect()
}

/// Pixels from one entry of the legend to the next.
fn legend_step(text: &str) -> usize {
    20 + text_width(text, TEXT) + 24
}

fn draw_legend(canvas: &mut Canvas, y: usize, entries: &[(PatchRole, String)]) {
    let mut x = LEFT;
    for (role, text) in entries {
        // As in the picture: all colours of the map, seen through the veil of the role.
        for at in 0..14 {
            canvas.fill((x + at, y), (1, 14), magma((at as f32 + 0.5) / 14.0));
        }
        if let Some((colour, share)) = veil(*role) {
            canvas.blend((x, y), (14, 14), colour, share);
        }
        canvas.text((x + 20, y), text, SOFT, TEXT);
        x += legend_step(text);
    }
}

fn axes(canvas: &mut Canvas, clip: &MelClip<'_>, scale: usize) {
    let (width, height) = (clip.n_frames * scale, clip.n_mels * scale);
    let pixels_per_s = scale as f64 / clip.hop_s;
    if pixels_per_s.is_finite() && pixels_per_s > 0.0 {
        for (s, label) in axis::time_ticks(clip.n_frames as f64 * clip.hop_s, 110.0 / pixels_per_s) {
            let x = LEFT + (s * pixels_per_s).round() as usize;
            canvas.fill((x.min(LEFT + width - 1), TOP + height), (2, 6), SOFT);
            let half = text_width(&label, TEXT) / 2;
            canvas.text((x.saturating_sub(half), TOP + height + 12), &label, SOFT, TEXT);
        }
    }
    let mut taken: Vec<usize> = Vec::new();
    for (bin, label) in clip.frequency.ticks(clip.n_mels) {
        let y = TOP + ((clip.n_mels as f64 - 0.5 - bin) * scale as f64).round() as usize;
        if taken.iter().any(|other| other.abs_diff(y) < 20) {
            continue;
        }
        taken.push(y);
        canvas.fill((LEFT - 6, y.saturating_sub(1)), (6, 2), SOFT);
        canvas.text((LEFT - 16 - text_width(&label, TEXT).min(LEFT - 16), y.saturating_sub(7)), &label, SOFT, TEXT);
    }
}

fn colour_bar(canvas: &mut Canvas, x: usize, height: usize, (low, high): (f32, f32)) {
    for y in 0..height {
        let share = 1.0 - (y as f32 + 0.5) / height as f32;
        canvas.fill((x, TOP + y), (14, 1), magma(share));
    }
    let middle = f32::midpoint(low, high);
    for (v, y) in [(high, 0), (middle, (height / 2).saturating_sub(7)), (low, height.saturating_sub(14))] {
        if v != middle || height > 60 {
            canvas.text((x + 20, TOP + y), &format!("{v:.1}"), SOFT, TEXT);
        }
    }
}

#[cfg(test)]
mod tests;
