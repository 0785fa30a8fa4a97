//! Pictures to patches: a log-mel picture is cut into equal tiles, each a token for the encoder.
//!
//! A *picture* is a row-major matrix of which one axis is time (frames) and the other mel bands; [`TimeAxis`] says which.
//! Tokens are numbered row-major over the grid of patches, and the numbers within a token are row-major over its patch: the
//! order in which a stride-equals-kernel convolution (`ViT`'s patch embedding, Dosovitskiy 2021, arXiv 2010.11929) sees them,
//! so that published convolution weights apply as one matrix product.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, OpError};

/// Most tokens a grid may have; attention over more is out of reach, and a mistyped size should not eat the memory.
pub const MAX_TOKENS: usize = 1 << 16;

/// Which axis of a picture, and so of its patch grid, is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeAxis {
    /// A row is a frame: time x mel, as Kaldi log-mel writes it (presets `paper-2025`, `code-225b816`).
    #[default]
    Rows,
    /// A column is a frame: mel x time, as STFT pictures are drawn (preset `base-2026`).
    Cols,
}

/// Cuts a picture into patches. Default 16 x 16.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PatchifyConfig {
    /// Extent of a patch in time, in frames; must divide the picture's frames. Default 16.
    pub patch_frames: usize,
    /// Extent of a patch in frequency, in mel bands; must divide the picture's bands. Default 16.
    pub patch_mels: usize,
}

impl Default for PatchifyConfig {
    fn default() -> Self {
        Self { patch_frames: 16, patch_mels: 16 }
    }
}

impl PatchifyConfig {
    /// Plans patches over pictures of `picture` = [rows, cols], of which `time_axis` is time.
    ///
    /// # Errors
    /// A patch of no extent; a picture that does not divide, with the nearest sizes that do; more than [`MAX_TOKENS`].
    ///
    /// # Example: 512 frames of 96 mels make 32 x 6 tokens
    /// ```
    /// use ajepa_ops::patch::{PatchifyConfig, TimeAxis};
    /// let patchify = PatchifyConfig::default().build([512, 96], TimeAxis::Rows)?;
    /// assert_eq!((patchify.n_tokens(), patchify.token_len()), (192, 256));
    ///
    /// let refused = PatchifyConfig::default().build([510, 96], TimeAxis::Rows).unwrap_err();
    /// assert_eq!(refused.help, "496 or 512 frames would fit, or a patch_frames that divides 510");
    /// # Ok::<(), ajepa_ops::ConfigError>(())
    /// ```
    pub fn build(&self, picture: [usize; 2], time_axis: TimeAxis) -> Result<Patchify, ConfigError> {
        let [n_frames, n_mels] = time_axis.time_mel(picture);
        let time = tiles("patch_frames", "frames", n_frames, self.patch_frames)?;
        let mel = tiles("patch_mels", "mels", n_mels, self.patch_mels)?;
        let [rows, cols] = time_axis.rows_cols([time, mel]);
        let fits = rows.checked_mul(cols).is_some_and(|n| n <= MAX_TOKENS);
        let countable = picture[0].checked_mul(picture[1]).is_some();
        if !fits || !countable {
            return Err(ConfigError::new(
                "patch_frames",
                format!("{time} x {mel} patches are more than {MAX_TOKENS} tokens"),
                "larger patches, or a smaller picture",
            ));
        }
        Ok(Patchify {
            grid: PatchGrid { rows, cols },
            patch: time_axis.rows_cols([self.patch_frames, self.patch_mels]),
            time_axis,
        })
    }
}

/// How many patches of `patch` fill `extent`, or which extents would do.
fn tiles(field: &'static str, unit: &str, extent: usize, patch: usize) -> Result<usize, ConfigError> {
    if patch == 0 {
        return Err(ConfigError::new(field, "a patch of extent 0 covers nothing", "1 or more; the presets use 16"));
    }
    if extent > 0 && extent.is_multiple_of(patch) {
        return Ok(extent / patch);
    }
    let below = extent / patch * patch;
    let sizes = match (below, below.checked_add(patch)) {
        (0, Some(above)) => above.to_string(),
        (_, Some(above)) => format!("{below} or {above}"),
        (_, None) => below.to_string(),
    };
    Err(ConfigError::new(
        field,
        format!("{extent} {unit} do not divide into patches of {patch}"),
        format!("{sizes} {unit} would fit, or a {field} that divides {extent}"),
    ))
}

impl TimeAxis {
    /// [time, mel] extents of a [rows, cols] shape.
    pub fn time_mel(self, [rows, cols]: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Rows => [rows, cols],
            Self::Cols => [cols, rows],
        }
    }

    /// [rows, cols] shape of [time, mel] extents; the inverse of [`TimeAxis::time_mel`].
    pub fn rows_cols(self, time_mel: [usize; 2]) -> [usize; 2] {
        // Swapping two things twice gives them back, so the inverse is the function itself.
        self.time_mel(time_mel)
    }
}

/// The grid of patches over a picture; tokens are numbered row-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchGrid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

impl PatchGrid {
    /// Tokens of a picture: rows x cols.
    pub fn n_tokens(self) -> usize {
        self.rows * self.cols
    }

    /// Row and column of `token`: the two indices that 2-D positions are made of.
    pub fn row_col(self, token: usize) -> [usize; 2] {
        [token / self.cols, token % self.cols]
    }
}

/// Cuts pictures of one size into patches and puts them together again; see [`PatchifyConfig`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patchify {
    grid: PatchGrid,
    /// Rows and columns of one patch.
    patch: [usize; 2],
    time_axis: TimeAxis,
}

impl Patchify {
    /// The grid of patches.
    pub fn grid(&self) -> PatchGrid {
        self.grid
    }

    /// Which axis of picture and grid is time.
    pub fn time_axis(&self) -> TimeAxis {
        self.time_axis
    }

    /// Shape of a picture: [rows, cols].
    pub fn picture_shape(&self) -> [usize; 2] {
        [self.grid.rows * self.patch[0], self.grid.cols * self.patch[1]]
    }

    /// Shape of one patch: [rows, cols].
    pub fn patch_shape(&self) -> [usize; 2] {
        self.patch
    }

    /// Tokens of a picture.
    pub fn n_tokens(&self) -> usize {
        self.grid.n_tokens()
    }

    /// Numbers in a token: patch rows x patch columns.
    pub fn token_len(&self) -> usize {
        self.patch[0] * self.patch[1]
    }

    /// Copies a picture out as tokens. Works on `f32`, `f16` and whatever else is copied; allocates nothing.
    ///
    /// # Shapes
    /// `picture` [rows, cols] -> `out` [tokens, patch rows * patch cols], both row-major.
    ///
    /// # Errors
    /// [`OpError::Shape`] when either slice has another length than rows x cols.
    pub fn patchify<T: Copy>(&self, picture: &[T], out: &mut [T]) -> Result<(), OpError> {
        self.check("picture", picture.len())?;
        self.check("tokens", out.len())?;
        let width = self.patch[1];
        for (tile_row, out) in out.chunks_exact_mut(width).enumerate() {
            let at = self.picture_offset(tile_row);
            out.copy_from_slice(&picture[at..at + width]);
        }
        Ok(())
    }

    /// Puts tokens back into a picture: the exact inverse of [`Patchify::patchify`].
    ///
    /// # Shapes
    /// `tokens` [tokens, patch rows * patch cols] -> `picture` [rows, cols], both row-major.
    ///
    /// # Errors
    /// [`OpError::Shape`] when either slice has another length than rows x cols.
    pub fn unpatchify<T: Copy>(&self, tokens: &[T], picture: &mut [T]) -> Result<(), OpError> {
        self.check("tokens", tokens.len())?;
        self.check("picture", picture.len())?;
        let width = self.patch[1];
        for (tile_row, row) in tokens.chunks_exact(width).enumerate() {
            let at = self.picture_offset(tile_row);
            picture[at..at + width].copy_from_slice(row);
        }
        Ok(())
    }

    /// Where in the picture the `tile_row`-th row of a patch begins, counting through all tokens in order.
    fn picture_offset(&self, tile_row: usize) -> usize {
        let [height, width] = self.patch;
        let [row, col] = self.grid.row_col(tile_row / height);
        (row * height + tile_row % height) * (self.grid.cols * width) + col * width
    }

    fn check(&self, what: &'static str, got: usize) -> Result<(), OpError> {
        let expected = self.n_tokens() * self.token_len();
        if got == expected { Ok(()) } else { Err(OpError::Shape { what, expected, got }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(patch_frames: usize, patch_mels: usize) -> PatchifyConfig {
        PatchifyConfig { patch_frames, patch_mels }
    }

    #[test]
    fn four_by_four_in_quarters() {
        let patchify = config(2, 2).build([4, 4], TimeAxis::Rows).unwrap();
        let picture: Vec<u8> = (0..16).collect();
        let mut tokens = [0; 16];
        patchify.patchify(&picture, &mut tokens).unwrap();
        assert_eq!(tokens, [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
    }

    #[test]
    fn a_flat_patch_follows_the_time_axis() {
        // One frame by two mels: along a row where rows are frames, down a column where columns are.
        let picture: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let mut tokens = [0.0; 8];
        let kaldi = config(1, 2).build([2, 4], TimeAxis::Rows).unwrap();
        kaldi.patchify(&picture, &mut tokens).unwrap();
        assert_eq!(tokens, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(kaldi.grid(), PatchGrid { rows: 2, cols: 2 });
        let stft = config(1, 2).build([2, 4], TimeAxis::Cols).unwrap();
        stft.patchify(&picture, &mut tokens).unwrap();
        assert_eq!(tokens, [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        assert_eq!(stft.grid(), PatchGrid { rows: 1, cols: 4 });
    }

    #[test]
    fn presets_have_the_published_token_counts() {
        let tokens = |picture, axis| config(16, 16).build(picture, axis).unwrap().n_tokens();
        assert_eq!(tokens([256, 128], TimeAxis::Rows), 128);
        assert_eq!(tokens([512, 96], TimeAxis::Rows), 192);
        assert_eq!(tokens([128, 256], TimeAxis::Cols), 128);
        let strip = config(4, 64).build([128, 256], TimeAxis::Cols).unwrap();
        assert_eq!((strip.grid(), strip.patch_shape()), (PatchGrid { rows: 2, cols: 64 }, [64, 4]));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let error = config(16, 16).build([512, 100], TimeAxis::Rows).unwrap_err();
        assert_eq!(error.to_string(), "patch_mels: 100 mels do not divide into patches of 16");
        assert_eq!(error.help, "96 or 112 mels would fit, or a patch_mels that divides 100");
        let error = config(16, 16).build([128, 10], TimeAxis::Cols).unwrap_err();
        assert_eq!(error.help, "16 frames would fit, or a patch_frames that divides 10");
        assert_eq!(config(0, 16).build([512, 96], TimeAxis::Rows).unwrap_err().field, "patch_frames");
        assert_eq!(config(16, 16).build([0, 96], TimeAxis::Rows).unwrap_err().field, "patch_frames");
        assert!(config(1, 1).build([usize::MAX, usize::MAX], TimeAxis::Rows).is_err());
        assert!(config(2, 2).build([usize::MAX, 2], TimeAxis::Rows).is_err());
    }

    #[test]
    fn a_slice_of_another_length_is_refused() {
        let patchify = config(2, 2).build([4, 4], TimeAxis::Rows).unwrap();
        let error = patchify.patchify(&[0.0; 15], &mut [0.0; 16]).unwrap_err();
        assert_eq!(error.to_string(), "picture: expected 16, got 15");
        assert_eq!(patchify.unpatchify(&[0.0; 16], &mut [0.0; 17]).unwrap_err().code(), "shape");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let parsed: PatchifyConfig = serde_json::from_str(r#"{"patch_frames": 8}"#).unwrap();
        assert_eq!(parsed, config(8, 16));
        assert!(serde_json::from_str::<PatchifyConfig>(r#"{"patch_len": 8}"#).is_err());
    }

    proptest! {
        #[test]
        fn each_number_lands_in_its_tile_and_comes_back(
            rows in 1_usize..9, cols in 1_usize..9, frames in 1_usize..9, mels in 1_usize..9, swapped: bool,
        ) {
            let axis = if swapped { TimeAxis::Cols } else { TimeAxis::Rows };
            let [height, width] = axis.rows_cols([frames, mels]);
            let patchify = config(frames, mels).build([rows * height, cols * width], axis).unwrap();
            let picture: Vec<u32> = (0..(rows * height * cols * width) as u32).collect();
            let mut tokens = vec![0; picture.len()];
            patchify.patchify(&picture, &mut tokens).unwrap();
            for (i, &value) in tokens.iter().enumerate() {
                let [row, col] = [value as usize / (cols * width), value as usize % (cols * width)];
                let [tile_row, tile_col] = patchify.grid().row_col(i / patchify.token_len());
                let within = i % patchify.token_len();
                prop_assert_eq!([row, col], [tile_row * height + within / width, tile_col * width + within % width]);
            }
            let mut back = vec![0; picture.len()];
            patchify.unpatchify(&tokens, &mut back).unwrap();
            prop_assert_eq!(back, picture);
        }
    }
}
