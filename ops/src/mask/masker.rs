//! Drawing masks from seeds.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;

use super::canvas::{CONTEXT, Canvas, TARGET};
use super::config::Scope;
use super::inverse_block::InverseBlock;
use super::multi_block::MultiBlock;
use super::random::Random;
use super::spans::Spans;
use crate::patch::{PatchGrid, TimeAxis};
use crate::seed;

/// One mask of one clip: token indices, sorted, all below the grid's token count.
///
/// Neither list is ever empty. They are disjoint, but for `multi_block` with `allow_overlap`. Tokens in neither are neither
/// seen nor predicted (outside I-JEPA's context block, say).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// Tokens the context encoder sees.
    pub context: Vec<u32>,
    /// Tokens the predictor must guess; for `multi_block` the union of the target blocks.
    pub target: Vec<u32>,
    /// Target blocks end to end, each sorted; empty where `target` is the only one.
    pub(super) block_tokens: Vec<u32>,
    pub(super) block_len: usize,
}

impl Mask {
    /// The target blocks, all of one length, each sorted. Those of `multi_block` may share tokens; elsewhere `target` is the
    /// only block.
    pub fn target_blocks(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        let (tokens, len) = match self.block_tokens.as_slice() {
            [] => (&self.target[..], self.target.len()),
            blocks => (blocks, self.block_len),
        };
        tokens.chunks_exact(len.max(1))
    }

    /// The mask as a picture, a line per row of `grid`: `.` context, `#` target, `+` both, blank neither.
    ///
    /// # Example: bands hidden on a grid whose columns are mels
    /// ```
    /// use ajepa_ops::mask::{MaskConfig, MaskStrategy};
    /// use ajepa_ops::patch::{PatchGrid, TimeAxis};
    /// let grid = PatchGrid { rows: 2, cols: 6 };
    /// let config = MaskConfig {
    ///     strategy: Some(MaskStrategy::Frequency),
    ///     ratio: Some([0.5, 0.5]),
    ///     n_spans: Some(1),
    ///     ..MaskConfig::default()
    /// };
    /// let mut masker = config.build(grid, TimeAxis::Rows)?;
    /// assert_eq!(masker.draw(0, 0)[0].to_text(grid), "###...\n###...\n");
    /// # Ok::<(), ajepa_ops::ConfigError>(())
    /// ```
    pub fn to_text(&self, grid: PatchGrid) -> String {
        let holds = |tokens: &[u32], token: usize| tokens.binary_search(&(token as u32)).is_ok();
        let mut text = String::with_capacity((grid.cols + 1) * grid.rows);
        for row in 0..grid.rows {
            for token in row * grid.cols..(row + 1) * grid.cols {
                text.push(match (holds(&self.context, token), holds(&self.target, token)) {
                    (true, true) => '+',
                    (true, false) => '.',
                    (false, true) => '#',
                    (false, false) => ' ',
                });
            }
            text.push('\n');
        }
        text
    }
}

/// How many tokens a mask can have, over all seeds. What `explain` prints and buffers are sized by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskCounts {
    /// Fewest and most context tokens; never 0.
    pub context: RangeInclusive<usize>,
    /// Fewest and most target tokens; never 0.
    pub target: RangeInclusive<usize>,
}

/// How many tokens each mask of one batch has; `None` where that differs between clips or masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchCounts {
    /// Context tokens.
    pub context: Option<usize>,
    /// Target tokens, over all blocks.
    pub target: Option<usize>,
    /// Tokens of one target block; see [`Mask::target_blocks`].
    pub target_block: Option<usize>,
}

impl BatchCounts {
    const VARYING: Self = Self { context: None, target: None, target_block: None };
}

/// A strategy with its checked parameters.
#[derive(Debug, Clone)]
pub(super) enum Strategy {
    Random(Random),
    MultiBlock(MultiBlock),
    InverseBlock(InverseBlock),
    Spans(Spans),
}

/// Draws the masks of clips; see [`MaskConfig`](super::MaskConfig). Nothing is allocated once each mask has been as large as
/// it gets.
#[derive(Debug, Clone)]
pub struct Masker {
    pub(super) strategy: Strategy,
    pub(super) size_per: Scope,
    pub(super) layout_per: Scope,
    pub(super) grid: PatchGrid,
    pub(super) time_axis: TimeAxis,
    pub(super) canvas: Canvas,
    pub(super) masks: Vec<Mask>,
}

impl Masker {
    /// The grid that is masked.
    pub fn grid(&self) -> PatchGrid {
        self.grid
    }

    /// Which axis of the grid is time.
    pub fn time_axis(&self) -> TimeAxis {
        self.time_axis
    }

    /// Masks that a draw yields.
    pub fn n_masks(&self) -> usize {
        self.masks.len()
    }

    /// Fewest and most tokens of any mask, over all seeds.
    pub fn counts(&self) -> MaskCounts {
        let n_tokens = self.grid.n_tokens();
        match &self.strategy {
            Strategy::Random(random) => random.counts(n_tokens),
            Strategy::MultiBlock(blocks) => blocks.counts(),
            Strategy::InverseBlock(blocks) => blocks.counts(n_tokens),
            Strategy::Spans(spans) => spans.counts(),
        }
    }

    /// What all masks of the batch of `batch_seed` have in common, known without drawing one.
    pub fn batch_counts(&self, batch_seed: u64) -> BatchCounts {
        let n_tokens = self.grid.n_tokens();
        let mut size = size_rng(batch_seed);
        let fixed = self.size_per == Scope::Batch;
        let n_context = match &self.strategy {
            Strategy::MultiBlock(blocks) => {
                let counts = blocks.batch_counts(&mut size);
                // The context may be thinned to a number from the config, which then holds for sizes of any scope.
                return if fixed { counts } else { BatchCounts { context: counts.context, ..BatchCounts::VARYING } };
            }
            Strategy::Random(random) => random.n_context(n_tokens, &mut size),
            Strategy::InverseBlock(blocks) => blocks.n_context(n_tokens, &mut size),
            Strategy::Spans(spans) => spans.n_context(&mut size),
        };
        let n_target = Some(n_tokens - n_context);
        if fixed {
            BatchCounts { context: Some(n_context), target: n_target, target_block: n_target }
        } else {
            BatchCounts::VARYING
        }
    }

    /// Draws the masks of one clip: a function of the config and the two seeds alone.
    ///
    /// `batch_seed` is shared by the clips of a batch and decides what the config says is drawn per batch; `clip_seed` decides
    /// the rest. The masks of one clip agree in size and differ in place. They are valid until the next draw.
    pub fn draw(&mut self, batch_seed: u64, clip_seed: u64) -> &[Mask] {
        let seed_of = |scope| if scope == Scope::Batch { batch_seed } else { clip_seed };
        let (size_seed, layout_seed) = (seed_of(self.size_per), seed_of(self.layout_per));
        for (i, mask) in (0_u64..).zip(&mut self.masks) {
            // The same sizes for each mask: the generator starts anew.
            let mut size = size_rng(size_seed);
            let mut place = seed::rng(seed::derive(&[layout_seed, seed::hash_str("mask.layout"), i]));
            let canvas = &mut self.canvas;
            match &self.strategy {
                Strategy::Random(random) => random.draw(&mut size, &mut place, canvas),
                Strategy::MultiBlock(blocks) => blocks.draw(&mut size, &mut place, canvas),
                Strategy::InverseBlock(blocks) => blocks.draw(&mut size, &mut place, canvas),
                Strategy::Spans(spans) => spans.draw(&mut size, &mut place, canvas),
            }
            debug_assert!(canvas.count(CONTEXT) > 0 && canvas.count(TARGET) > 0, "build() proved both");
            canvas.write(mask);
        }
        &self.masks
    }
}

fn size_rng(seed: u64) -> ChaCha8Rng {
    seed::rng(seed::derive(&[seed, seed::hash_str("mask.size")]))
}
