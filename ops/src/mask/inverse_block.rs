//! Inverse blocks: a few square blocks are kept, the rest is hidden.
//!
//! data2vec 2.0 draws N (1 - R + A) / B^2 block centres at once and then drops or adds random tokens until (1 - R) N are
//! kept; A = 0.07 makes up for overlaps. Here blocks are laid one after another until enough is kept, and only the last
//! one gives back its surplus: the count is as exact, blocks stay whole, and A is not needed.

use rand_chacha::ChaCha8Rng;

use super::canvas::{Block, CONTEXT, Canvas, TARGET};
use super::masker::MaskCounts;
use super::random::{Ratio, check_both_sides};
use crate::{ConfigError, seed};

/// Keeps blocks of `block_len` x `block_len` tokens, cut at the border.
#[derive(Debug, Clone)]
pub(super) struct InverseBlock {
    ratio: Ratio,
    block_len: usize,
}

impl InverseBlock {
    pub fn new(ratio: Ratio, block_len: u32, [n_time, n_mel]: [usize; 2]) -> Result<Self, ConfigError> {
        check_both_sides(ratio.kept_bounds(n_time * n_mel), n_time * n_mel, "tokens")?;
        let longest = n_time.max(n_mel);
        let block_len = block_len as usize;
        if block_len == 0 || block_len > longest {
            return Err(ConfigError::new(
                "block_len",
                format!("blocks of {block_len} x {block_len} on a grid of {n_time} x {n_mel} tokens (time x mel)"),
                format!("1 to {longest}; data2vec 2.0 uses 3 for pictures"),
            ));
        }
        Ok(Self { ratio, block_len })
    }

    pub fn counts(&self, n_tokens: usize) -> MaskCounts {
        let [min, max] = self.ratio.kept_bounds(n_tokens);
        MaskCounts { context: min..=max, target: n_tokens - max..=n_tokens - min }
    }

    pub fn n_context(&self, n_tokens: usize, size: &mut ChaCha8Rng) -> usize {
        self.ratio.draw_kept(n_tokens, size)
    }

    pub fn draw(&self, size: &mut ChaCha8Rng, place: &mut ChaCha8Rng, canvas: &mut Canvas) {
        let n_context = self.n_context(canvas.n_tokens(), size);
        canvas.fill(TARGET);
        // Centres without replacement: each token is the centre of a block once, so enough is kept before they run out.
        canvas.shuffle_tokens(place);
        let mut left = n_context;
        for i in 0..canvas.n_tokens() {
            if left == 0 {
                break;
            }
            let block = self.block_at(canvas.order[i] as usize, canvas);
            left -= keep(block, left, place, canvas);
        }
    }

    /// The block around the `centre`-th position, cut where it leaves the grid.
    fn block_at(&self, centre: usize, canvas: &Canvas) -> Block {
        let side = |at: usize, n: usize| {
            let start = at.saturating_sub((self.block_len - 1) / 2);
            let end = (at + self.block_len / 2 + 1).min(n);
            (start, end - start)
        };
        let (time, n_time) = side(centre / canvas.n_mel, canvas.n_time);
        let (mel, n_mel) = side(centre % canvas.n_mel, canvas.n_mel);
        Block { time, mel, n_time, n_mel }
    }
}

/// Makes context of those tokens of `block` that are not yet, at most `left`, at random where they are more; says how many.
fn keep(block: Block, left: usize, rng: &mut ChaCha8Rng, canvas: &mut Canvas) -> usize {
    canvas.cuts.clear();
    for time in block.time..block.time + block.n_time {
        for mel in block.mel..block.mel + block.n_mel {
            let token = canvas.token(time, mel);
            if canvas.roles[token] == TARGET {
                canvas.cuts.push(token as u32);
            }
        }
    }
    if canvas.cuts.len() > left {
        seed::shuffle(rng, &mut canvas.cuts);
        canvas.cuts.truncate(left);
    }
    for &token in &canvas.cuts {
        canvas.roles[token as usize] = CONTEXT;
    }
    canvas.cuts.len()
}
