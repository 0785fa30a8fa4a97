//! Random tokens: a permutation of all, the first part kept.

use rand_chacha::ChaCha8Rng;

use super::canvas::{CONTEXT, Canvas, TARGET};
use super::masker::MaskCounts;
use crate::{ConfigError, seed};

/// A share to hide, drawn uniformly from a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ratio {
    min: f64,
    max: f64,
    /// Where the visible part is rounded: half a unit up for the nearest number, the last bit alone for down.
    round: f64,
}

impl Ratio {
    /// Checks a [min, max] of hidden shares, both within the open interval (0, 1).
    pub fn new([min, max]: [f64; 2]) -> Result<Self, ConfigError> {
        let fault = |problem: String| Err(ConfigError::new("ratio", problem, "[min, max] with 0 < min <= max < 1"));
        if !(min.is_finite() && max.is_finite()) || min > max {
            return fault(format!("[{min}, {max}] is not a range"));
        }
        if min <= 0.0 {
            return fault(format!("a ratio of {min} hides nothing, so there is no target"));
        }
        if max >= 1.0 {
            return fault(format!("a ratio of {max} hides everything, so there is no context"));
        }
        // Forgives the last bit: 5 (1 - 0.8) is 1, not 0.
        Ok(Self { min, max, round: 1e-9 })
    }

    /// Rounds to the nearest number: where there are few of them, down would hide far more than asked.
    pub fn nearest(self) -> Self {
        Self { round: 0.5, ..self }
    }

    /// How many of `n` stay visible, drawn: floor(n (1 - ratio)), as I-JEPA's and Audio-JEPA's own code counts.
    pub fn draw_kept(self, n: usize, rng: &mut ChaCha8Rng) -> usize {
        self.kept(n, self.min + (self.max - self.min) * seed::unit(rng))
    }

    /// Fewest and most of `n` that stay visible.
    pub fn kept_bounds(self, n: usize) -> [usize; 2] {
        [self.kept(n, self.max), self.kept(n, self.min)]
    }

    fn kept(self, n: usize, ratio: f64) -> usize {
        (n as f64 * (1.0 - ratio) + self.round).floor() as usize
    }
}

/// Hides tokens drawn without replacement.
#[derive(Debug, Clone)]
pub(super) struct Random {
    ratio: Ratio,
}

impl Random {
    pub fn new(ratio: Ratio, n_tokens: usize) -> Result<Self, ConfigError> {
        check_both_sides(ratio.kept_bounds(n_tokens), n_tokens, "tokens")?;
        Ok(Self { ratio })
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
        canvas.shuffle_tokens(place);
        for &token in &canvas.order[..n_context] {
            canvas.roles[token as usize] = CONTEXT;
        }
    }
}

/// Refuses ratios that, at either end of their range, leave `n` things without a visible or a hidden one.
pub(super) fn check_both_sides([fewest, most]: [usize; 2], n: usize, unit: &str) -> Result<(), ConfigError> {
    let fault = |what: &str, help: String| {
        Err(ConfigError::new("ratio", format!("this range can leave no {what} among {n} {unit}"), help))
    };
    if n < 2 {
        return fault("target or no context", format!("at least 2 {unit}: smaller patches or a larger picture"));
    }
    if fewest == 0 {
        // Rounded down, and up below, so that the figures do what they say.
        let max = (1000.0 * (1.0 - 1.0 / n as f64)).floor() / 1000.0;
        return fault("context", format!("a max of at most {max}"));
    }
    if most >= n {
        return fault("target", format!("a min of at least {}", (1000.0 / n as f64).ceil() / 1000.0));
    }
    Ok(())
}
