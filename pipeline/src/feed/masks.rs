//! The masks of a batch as index tables.

use ajepa_ops::mask::Masker;

/// Rows of numbers, end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ragged {
    values: Vec<u32>,
    ends: Vec<usize>,
}

impl Ragged {
    fn with_capacity(n_rows: usize, row_len: usize) -> Self {
        Self { values: Vec::with_capacity(n_rows * row_len), ends: Vec::with_capacity(n_rows) }
    }

    fn clear(&mut self) {
        self.values.clear();
        self.ends.clear();
    }

    fn push(&mut self, row: &[u32]) {
        self.values.extend_from_slice(row);
        self.ends.push(self.values.len());
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.ends.len()
    }

    /// One row.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &[u32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.values[start..self.ends[row]]
    }

    /// All rows end to end: an [n_rows, width] table where there is a [`Ragged::width`].
    pub fn values(&self) -> &[u32] {
        &self.values
    }

    /// Length of every row, if they have one length.
    pub fn width(&self) -> Option<usize> {
        let first = *self.ends.first()?;
        self.ends.iter().zip(1..).all(|(end, n)| *end == n * first).then_some(first)
    }
}

/// One mask of every clip of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchMask {
    /// Tokens that the context encoder sees; a row per clip, sorted.
    pub context: Ragged,
    /// Tokens that the predictor must guess; a row per clip, sorted.
    pub target: Ragged,
    /// Target blocks, `n_blocks` rows per clip, where a strategy has several (`multi_block`); else empty: `target` is the
    /// only block.
    pub blocks: Ragged,
    /// Target blocks per clip, at least 1.
    pub n_blocks: usize,
}

/// Room for the masks of `n_clips`, one entry per mask of a clip: nothing grows later.
pub(super) fn room(masker: &Masker, n_clips: usize) -> Vec<BatchMask> {
    let counts = masker.counts();
    let n_tokens = masker.grid().n_tokens();
    let mut one = BatchMask {
        context: Ragged::with_capacity(n_clips, *counts.context.end()),
        target: Ragged::with_capacity(n_clips, *counts.target.end()),
        ..BatchMask::default()
    };
    let mut drawer = masker.clone();
    let n_blocks = drawer.draw(0, 0).first().map_or(1, |mask| mask.target_blocks().len());
    if n_blocks > 1 {
        one.blocks = Ragged::with_capacity(n_clips * n_blocks, n_tokens);
    }
    // A clone would keep the numbers, not the room.
    (0..masker.n_masks()).map(|_| one.with_room()).collect()
}

impl BatchMask {
    fn with_room(&self) -> Self {
        let like = |ragged: &Ragged| Ragged {
            values: Vec::with_capacity(ragged.values.capacity()),
            ends: Vec::with_capacity(ragged.ends.capacity()),
        };
        Self { context: like(&self.context), target: like(&self.target), blocks: like(&self.blocks), n_blocks: 1 }
    }

    fn clear(&mut self) {
        self.context.clear();
        self.target.clear();
        self.blocks.clear();
    }
}

/// Draws the masks of the clips in `clip_seeds`.
pub(super) fn draw(masker: &mut Masker, batch_seed: u64, clip_seeds: impl Iterator<Item = u64>, out: &mut [BatchMask]) {
    out.iter_mut().for_each(BatchMask::clear);
    for clip_seed in clip_seeds {
        for (mask, out) in masker.draw(batch_seed, clip_seed).iter().zip(&mut *out) {
            out.context.push(&mask.context);
            out.target.push(&mask.target);
            out.n_blocks = mask.target_blocks().len().max(1);
            if out.n_blocks > 1 {
                mask.target_blocks().for_each(|block| out.blocks.push(block));
            }
        }
    }
}
