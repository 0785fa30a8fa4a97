//! How fast a count grows.

use std::collections::VecDeque;

/// Seconds that "now" spans.
pub(super) const WINDOW_S: f64 = 30.0;

/// The growth of a count over the last half minute.
///
/// A count may move in steps: clips count as done when a shard takes them, and optimiser steps take seconds. The rate is therefore
/// taken between the moments at which it moved: a window that happens to end just before a step would say too little, just behind
/// one too much.
#[derive(Debug, Default)]
pub(in crate::cli) struct Rate {
    /// (elapsed, count) at the moments the count moved, from the last one before the window on.
    moves: VecDeque<(f64, u64)>,
    elapsed_s: f64,
}

impl Rate {
    /// Takes the next count; one without a usable clock, or from the past, is left out, and the answer is `false`.
    pub(in crate::cli) fn push(&mut self, elapsed_s: f64, count: u64) -> bool {
        if !(elapsed_s >= self.elapsed_s && elapsed_s.is_finite()) {
            return false;
        }
        self.elapsed_s = elapsed_s;
        if self.moves.back().is_none_or(|(_, before)| *before != count) {
            self.moves.push_back((elapsed_s, count));
        }
        while self.moves.len() > 3 && self.moves[1].0 < elapsed_s - WINDOW_S {
            self.moves.pop_front();
        }
        true
    }

    /// Growth a second; `None` before the count has moved twice.
    pub(in crate::cli) fn per_s(&self) -> Option<f64> {
        let (first, last) = (self.moves.front()?, self.moves.back()?);
        let steps = self.moves.len() - 1;
        if steps == 0 {
            return None;
        }
        // One step's time may have gone by since the last step without meaning anything; more means that it slows down.
        let step_s = (last.0 - first.0) / steps as f64;
        let span_s = last.0.max(self.elapsed_s - step_s) - first.0;
        (span_s > 0.0).then(|| last.1.saturating_sub(first.1) as f64 / span_s)
    }
}
