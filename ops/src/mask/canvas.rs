//! Where a strategy paints: one role per token, plus the scratch that spares allocations.

use rand_chacha::ChaCha8Rng;

use super::masker::Mask;
use crate::patch::{PatchGrid, TimeAxis};
use crate::seed;

/// Seen by the context encoder.
pub(super) const CONTEXT: u8 = 1;
/// Hidden, and to be predicted.
pub(super) const TARGET: u8 = 2;

/// A rectangle of tokens in (time, mel) coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub time: usize,
    pub mel: usize,
    pub n_time: usize,
    pub n_mel: usize,
}

/// The roles of all tokens of one mask while it is being drawn.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    cols: usize,
    time_axis: TimeAxis,
    /// Extents of the grid in tokens.
    pub n_time: usize,
    pub n_mel: usize,
    /// Bits of [`CONTEXT`] and [`TARGET`] by token.
    pub roles: Vec<u8>,
    /// Scratch for permutations and cut points.
    pub order: Vec<u32>,
    pub cuts: Vec<u32>,
    pub starts: Vec<u32>,
    /// Target blocks of the mask, where the strategy has several.
    pub blocks: Vec<Block>,
}

impl Canvas {
    pub fn new(grid: PatchGrid, time_axis: TimeAxis) -> Self {
        let [n_time, n_mel] = time_axis.time_mel([grid.rows, grid.cols]);
        let n = grid.n_tokens();
        Self {
            cols: grid.cols,
            time_axis,
            n_time,
            n_mel,
            roles: vec![0; n],
            order: Vec::with_capacity(n),
            cuts: Vec::new(),
            starts: Vec::new(),
            blocks: Vec::new(),
        }
    }

    pub fn n_tokens(&self) -> usize {
        self.roles.len()
    }

    /// Gives every token the same role and forgets the blocks.
    pub fn fill(&mut self, role: u8) {
        self.roles.fill(role);
        self.blocks.clear();
    }

    /// The token at a time and a mel position.
    pub fn token(&self, time: usize, mel: usize) -> usize {
        let [row, col] = self.time_axis.rows_cols([time, mel]);
        row * self.cols + col
    }

    /// Sets the roles of a rectangle by `change`.
    pub fn paint(&mut self, block: Block, change: impl Fn(u8) -> u8) {
        for time in block.time..block.time + block.n_time {
            for mel in block.mel..block.mel + block.n_mel {
                let token = self.token(time, mel);
                self.roles[token] = change(self.roles[token]);
            }
        }
    }

    pub fn count(&self, role: u8) -> usize {
        self.roles.iter().filter(|&&r| r & role != 0).count()
    }

    /// `self.order` becomes all tokens in random order.
    pub fn shuffle_tokens(&mut self, rng: &mut ChaCha8Rng) {
        let n = self.n_tokens() as u32;
        self.order.clear();
        self.order.extend(0..n);
        seed::shuffle(rng, &mut self.order);
    }

    /// Writes the roles out as sorted token lists.
    pub fn write(&mut self, mask: &mut Mask) {
        let n_tokens = self.n_tokens();
        mask.context.resize(n_tokens, 0);
        mask.target.resize(n_tokens, 0);
        let (mut n_context, mut n_target) = (0, 0);
        // Written always, counted where it belongs: a branch on random roles is guessed wrong half of the time.
        for (token, role) in (0_u32..).zip(&self.roles) {
            mask.context[n_context] = token;
            mask.target[n_target] = token;
            n_context += usize::from(role & CONTEXT != 0);
            n_target += usize::from(role & TARGET != 0);
        }
        mask.context.truncate(n_context);
        mask.target.truncate(n_target);
        mask.block_tokens.clear();
        mask.block_len = 0;
        for &block in &self.blocks {
            mask.block_len = block.n_time * block.n_mel;
            let start = mask.block_tokens.len();
            for time in block.time..block.time + block.n_time {
                let row = (block.mel..block.mel + block.n_mel).map(|mel| self.token(time, mel) as u32);
                mask.block_tokens.extend(row);
            }
            mask.block_tokens[start..].sort_unstable();
        }
    }
}

/// Draws `k` distinct numbers below `n` into `out`, sorted; each such set is equally likely. `pool` is scratch.
pub(super) fn choose_sorted(rng: &mut ChaCha8Rng, n: usize, k: usize, pool: &mut Vec<u32>, out: &mut Vec<u32>) {
    pool.clear();
    pool.extend(0..n as u32);
    for i in 0..k {
        let pick = i + seed::below(rng, (n - i) as u64) as usize;
        pool.swap(i, pick);
    }
    out.clear();
    out.extend_from_slice(&pool[..k]);
    out.sort_unstable();
}
