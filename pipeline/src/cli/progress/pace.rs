//! How fast it goes now: over the last half minute, not since the start.

use std::collections::VecDeque;

use crate::engine::{Bottleneck, Snapshot};

/// Seconds that "now" spans.
const WINDOW_S: f64 = 30.0;
/// Snapshots closer than this to the last kept one take its place.
const STEP_S: f64 = 0.5;

/// The last half minute of a run.
///
/// Clips count as done when a shard takes them, so the count moves in steps. The rate is therefore taken between the moments
/// at which it moved: a window that happens to end just before a step would say too little, just behind one too much.
#[derive(Debug, Default)]
pub(super) struct Pace {
    recent: VecDeque<Snapshot>,
    /// (elapsed, clips done) at the moments the count moved, from the last one before the window on.
    moves: VecDeque<(f64, u64)>,
    elapsed_s: f64,
}

impl Pace {
    /// Takes the next snapshot; one without a usable clock, or from the past, is left out.
    pub(super) fn push(&mut self, now: &Snapshot) {
        if !(now.elapsed_s >= self.elapsed_s && now.elapsed_s.is_finite()) {
            return;
        }
        self.elapsed_s = now.elapsed_s;
        if self.moves.back().is_none_or(|(_, done)| *done != now.clips_done) {
            self.moves.push_back((now.elapsed_s, now.clips_done));
        }
        let from_s = now.elapsed_s - WINDOW_S;
        while self.moves.len() > 3 && self.moves[1].0 < from_s {
            self.moves.pop_front();
        }
        let n = self.recent.len();
        if n >= 2 && now.elapsed_s - self.recent[n - 2].elapsed_s < STEP_S {
            self.recent.pop_back();
        }
        self.recent.push_back(now.clone());
        while self.recent.len() > 2 && self.recent[1].elapsed_s < from_s {
            self.recent.pop_front();
        }
    }

    /// Clips per second; `None` before the count has moved twice.
    pub(super) fn clips_per_s(&self) -> Option<f64> {
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

    /// What limits now: [`Snapshot::bottleneck`] of the counters' growth over the window.
    pub(super) fn bottleneck(&self) -> Option<Bottleneck> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let mut grown = last.clone();
        if self.recent.len() > 1 && first.stages.len() == last.stages.len() {
            grown.elapsed_s -= first.elapsed_s;
            for (stage, before) in grown.stages.iter_mut().zip(&first.stages) {
                stage.busy_s = (stage.busy_s - before.busy_s).max(0.0);
            }
        }
        grown.bottleneck()
    }
}
