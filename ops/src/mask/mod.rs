//! Masks: which tokens the context encoder sees, and which the predictor must guess.
//!
//! [`MaskConfig`] names a strategy and is proven against a grid by [`MaskConfig::build`]; the [`Masker`] then draws masks that
//! are functions of two seeds alone. Sizes come from one seed and places from the other, so that clips of a batch can
//! differ in *where* and agree in *how many*, which is what lets them stack into one tensor.
//!
//! | strategy | what is hidden | source |
//! |---|---|---|
//! | [`random`](MaskStrategy::Random) | tokens drawn without replacement | Audio-JEPA (arXiv 2507.02915), MAE (arXiv 2111.06377) |
//! | [`multi_block`](MaskStrategy::MultiBlock) | several rectangles, the context being one large rectangle less them | I-JEPA (Assran 2023, arXiv 2301.08243) |
//! | [`inverse_block`](MaskStrategy::InverseBlock) | all but a few square blocks | data2vec 2.0 (Baevski 2022, arXiv 2212.07525) |
//! | [`time`](MaskStrategy::Time) | spans of time over all mels | after `SpecAugment` (Park 2019, arXiv 1904.08779) |
//! | [`frequency`](MaskStrategy::Frequency) | bands of mels over all time | after `SpecAugment` |
//!
//! Every strategy works in (time, mel) coordinates; [`TimeAxis`](crate::patch::TimeAxis) says how those lie on the grid.
//!
//! # Example: two masks of an 8 x 8 grid, blocks kept as context
//! ```
//! use ajepa_ops::mask::{MaskConfig, MaskStrategy};
//! use ajepa_ops::patch::{PatchGrid, TimeAxis};
//!
//! let grid = PatchGrid { rows: 8, cols: 8 };
//! let config = MaskConfig { strategy: Some(MaskStrategy::InverseBlock), n_masks: Some(2), ..MaskConfig::default() };
//! let mut masker = config.build(grid, TimeAxis::Rows)?;
//! let (batch_seed, clip_seed) = (1, 7);
//! let masks = masker.draw(batch_seed, clip_seed);
//! assert_eq!(masks.len(), 2);
//! assert_eq!(masks[0].context.len(), 12); // floor(64 * (1 - 0.8))
//! print!("{}", masks[0].to_text(grid));
//! # Ok::<(), ajepa_ops::ConfigError>(())
//! ```

mod canvas;
mod config;
mod inverse_block;
mod masker;
mod multi_block;
mod random;
mod spans;
#[cfg(test)]
mod tests;

pub use config::{MaskConfig, MaskPreset, MaskStrategy, Scope};
pub use masker::{BatchCounts, Mask, MaskCounts, Masker};
