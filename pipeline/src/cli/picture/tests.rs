//! Pictures small enough to know every pixel of.

use super::*;

/// 4 frames x 2 mels: the value is 10 * frame + mel.
const FRAMES_MELS: [f32; 8] = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0];
const MELS_FRAMES: [f32; 8] = [0.0, 10.0, 20.0, 30.0, 1.0, 11.0, 21.0, 31.0];

fn clip(values: &[f32], layout: Layout) -> MelClip<'_> {
    MelClip {
        values,
        n_frames: 4,
        n_mels: 2,
        layout,
        n_valid: 4,
        hop_s: 0.5,
        frequency: FrequencyAxis::Bins,
        title: "dog",
        note: "Animal",
    }
}

fn options(roles: Option<&[PatchRole]>) -> PictureOptions<'_> {
    let patch = roles.map(|_| PatchSize { frames: 2, mels: 1 });
    PictureOptions { scale: 10, range: Some((0.0, 31.0)), patch, roles }
}

/// The colour in the middle of a cell.
fn cell(canvas: &Canvas, frame: usize, mel: usize) -> Rgb {
    canvas.get(LEFT + frame * 10 + 5, TOP + (1 - mel) * 10 + 5).unwrap()
}

#[test]
fn time_goes_right_and_low_bins_lie_below_in_either_layout() {
    let picture = draw(&clip(&FRAMES_MELS, Layout::FramesMels), &options(None)).unwrap();
    for (frame, mel) in (0..4).flat_map(|t| (0..2).map(move |m| (t, m))) {
        assert_eq!(cell(&picture, frame, mel), magma((10 * frame + mel) as f32 / 31.0), "frame {frame}, mel {mel}");
    }
    assert_eq!(picture, draw(&clip(&MELS_FRAMES, Layout::MelsFrames), &options(None)).unwrap());
}

#[test]
fn mask_veils_its_own_patches_in_either_layout() {
    use PatchRole::{Context, Target, Unused};
    // Patches of 2 frames x 1 mel: columns are frames 0-1 and 2-3.
    let by_frames = [Context, Target, Unused, Context];
    let by_mels = [Context, Unused, Target, Context];
    let picture = draw(&clip(&FRAMES_MELS, Layout::FramesMels), &options(Some(&by_frames))).unwrap();
    let plain = draw(&clip(&FRAMES_MELS, Layout::FramesMels), &options(None)).unwrap();
    for frame in [0, 1] {
        assert_eq!(cell(&picture, frame, 0), cell(&plain, frame, 0));
        assert_ne!(cell(&picture, frame, 1), cell(&plain, frame, 1));
    }
    assert_ne!(cell(&picture, 2, 0), cell(&plain, 2, 0));
    assert_eq!(cell(&picture, 2, 1), cell(&plain, 2, 1));
    assert_eq!(picture, draw(&clip(&MELS_FRAMES, Layout::MelsFrames), &options(Some(&by_mels))).unwrap());
}

#[test]
fn what_is_not_finite_shows_and_does_not_set_the_range() {
    let values = [f32::NAN, 1.0, 2.0, 3.0, 4.0, 5.0, f32::INFINITY, f32::NEG_INFINITY];
    let picture = draw(&clip(&values, Layout::FramesMels), &PictureOptions { range: None, ..options(None) }).unwrap();
    assert_eq!([cell(&picture, 0, 0), cell(&picture, 3, 0), cell(&picture, 3, 1)], [NOT_FINITE; 3]);
    assert_eq!(cell(&picture, 0, 1), magma(0.0));
    for values in [[f32::NAN; 8], [3.0; 8]] {
        assert!(draw(&clip(&values, Layout::FramesMels), &PictureOptions { range: None, ..options(None) }).is_ok());
    }
}

#[test]
fn padding_does_not_set_the_range() {
    let values = [1.0, 2.0, 1.0, 2.0, -900.0, -900.0, 900.0, 900.0];
    let padded = MelClip { n_valid: 2, ..clip(&values, Layout::FramesMels) };
    let (low, high) = spread(&padded);
    assert!(low >= 1.0 && high <= 2.0, "{low} to {high}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let short = draw(&clip(&FRAMES_MELS[..7], Layout::FramesMels), &options(None)).unwrap_err();
    assert_eq!(short.to_string(), "values: expected 8, got 7");
    let roles = draw(&clip(&FRAMES_MELS, Layout::FramesMels), &options(Some(&[PatchRole::Context; 5]))).unwrap_err();
    assert_eq!(roles.to_string(), "roles: expected 4, got 5");
    let nothing = MelClip { n_frames: 0, ..clip(&[], Layout::FramesMels) };
    assert!(matches!(draw(&nothing, &options(None)), Err(PictureError::Empty)));
    let huge = draw(&clip(&FRAMES_MELS, Layout::FramesMels), &PictureOptions { scale: usize::MAX, ..options(None) });
    assert!(matches!(huge, Err(PictureError::TooLarge { .. })));
    assert!(matches!(contact_sheet(&[], 3), Err(PictureError::Empty)));
}

#[test]
fn png_reads_back_as_it_was_drawn() {
    let picture = draw(&clip(&FRAMES_MELS, Layout::FramesMels), &options(None)).unwrap();
    let sheet = contact_sheet(&vec![picture; 3], 2).unwrap();
    let png = sheet.to_png().unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!((info.width as usize, info.height as usize), (sheet.width(), sheet.height()));
    for (i, pixel) in bytes.chunks(3).enumerate() {
        assert_eq!(sheet.get(i % sheet.width(), i / sheet.width()).unwrap(), pixel);
    }
}

#[test]
fn every_glyph_is_its_own_and_text_is_cut_to_fit() {
    let glyphs: std::collections::HashSet<_> = ('!'..='~').map(font::glyph).collect();
    assert_eq!(glyphs.len(), 94);
    assert_eq!(text_width("abc", 2), (3 * 6 - 1) * 2);
    assert_eq!(fitted("Y1a2b3c4d5", text_width("Y1a2...", 2), 2), "Y1a2...");
    assert_eq!(fitted("Y1a2", text_width("Y1a2", 2), 2), "Y1a2");
    // Names may be in any script and of any length.
    let odd = MelClip {
        title: "日本語の名前がとても長い場合でも絵は壊れない",
        note: &"x".repeat(9_999),
        ..clip(&FRAMES_MELS, Layout::FramesMels)
    };
    assert!(draw(&odd, &options(Some(&[PatchRole::Target; 4]))).is_ok());
}
