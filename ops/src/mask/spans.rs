//! Spans along one axis: stretches of time over all mels, or bands of mels over all time.
//!
//! `SpecAugment` draws m spans of U(0, T) columns each and lets them overlap, so the hidden share is a matter of luck. Here the
//! share is drawn first and cut into exactly `n_spans` separate spans: the ways to cut hidden columns into spans are
//! equally likely, and so are the ways to spread the visible ones between, before and after them.

use rand_chacha::ChaCha8Rng;

use super::canvas::{Block, CONTEXT, Canvas, TARGET, choose_sorted};
use super::masker::MaskCounts;
use super::random::{Ratio, check_both_sides};
use crate::ConfigError;

/// Along which axis spans lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Along {
    Time,
    Mel,
}

/// Hides `n_spans` whole stretches of one axis.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "named as in the config")]
pub(super) struct Spans {
    along: Along,
    ratio: Ratio,
    n_spans: usize,
    /// Tokens along the axis, and across it.
    n: usize,
    across: usize,
}

impl Spans {
    pub fn new(along: Along, ratio: Ratio, n_spans: u32, [n_time, n_mel]: [usize; 2]) -> Result<Self, ConfigError> {
        let (n, across, unit) = match along {
            Along::Time => (n_time, n_mel, "columns of time"),
            Along::Mel => (n_mel, n_time, "bands of mels"),
        };
        let ratio = ratio.nearest();
        let [fewest, most] = ratio.kept_bounds(n);
        check_both_sides([fewest, most], n, unit)?;
        let n_spans = n_spans as usize;
        // Each span hides a column at least, and between two of them one must stay visible.
        let max_spans = (n - most).min(fewest + 1);
        if n_spans == 0 || n_spans > max_spans {
            return Err(ConfigError::new(
                "n_spans",
                format!("{n_spans} separate spans among {n} {unit} at this ratio"),
                format!("n_spans from 1 to {max_spans}, or another ratio"),
            ));
        }
        Ok(Self { along, ratio, n_spans, n, across })
    }

    pub fn counts(&self) -> MaskCounts {
        let [min, max] = self.ratio.kept_bounds(self.n).map(|kept| kept * self.across);
        let n_tokens = self.n * self.across;
        MaskCounts { context: min..=max, target: n_tokens - max..=n_tokens - min }
    }

    pub fn n_context(&self, size: &mut ChaCha8Rng) -> usize {
        self.ratio.draw_kept(self.n, size) * self.across
    }

    pub fn draw(&self, size: &mut ChaCha8Rng, place: &mut ChaCha8Rng, canvas: &mut Canvas) {
        let visible = self.ratio.draw_kept(self.n, size);
        let hidden = self.n - visible;
        canvas.fill(CONTEXT);
        // Lengths: n_spans - 1 cuts between the hidden columns. `ends[i]` is the number hidden in the spans up to i.
        let mut ends = std::mem::take(&mut canvas.cuts);
        choose_sorted(place, hidden - 1, self.n_spans - 1, &mut canvas.order, &mut ends);
        for end in &mut ends {
            *end += 1;
        }
        ends.push(hidden as u32);
        // Places: n_spans bars among the visible columns that are not held back as the gap between two spans.
        let free = visible - (self.n_spans - 1);
        let mut bars = std::mem::take(&mut canvas.starts);
        choose_sorted(place, free + self.n_spans, self.n_spans, &mut canvas.order, &mut bars);
        let mut before = 0;
        for (&end, &bar) in ends.iter().zip(&bars) {
            // Before the i-th bar lie `bar - i` free columns, i gap columns and what earlier spans hide.
            let start = bar as usize + before;
            let len = end as usize - before;
            canvas.paint(self.block(start, len), |_| TARGET);
            before = end as usize;
        }
        canvas.cuts = ends;
        canvas.starts = bars;
    }

    fn block(&self, start: usize, len: usize) -> Block {
        match self.along {
            Along::Time => Block { time: start, mel: 0, n_time: len, n_mel: self.across },
            Along::Mel => Block { time: 0, mel: start, n_time: self.across, n_mel: len },
        }
    }
}
