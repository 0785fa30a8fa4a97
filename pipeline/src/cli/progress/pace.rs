//! How fast it goes now: over the last half minute, not since the start.

use std::collections::VecDeque;

use super::rate::{Rate, WINDOW_S};
use crate::engine::{Bottleneck, Snapshot};

/// Snapshots closer than this to the last kept one take its place.
const STEP_S: f64 = 0.5;

/// The last half minute of a run.
#[derive(Debug, Default)]
pub(super) struct Pace {
    recent: VecDeque<Snapshot>,
    clips: Rate,
}

impl Pace {
    /// Takes the next snapshot; one without a usable clock, or from the past, is left out.
    pub(super) fn push(&mut self, now: &Snapshot) {
        if !self.clips.push(now.elapsed_s, now.clips_done) {
            return;
        }
        let n = self.recent.len();
        if n >= 2 && now.elapsed_s - self.recent[n - 2].elapsed_s < STEP_S {
            self.recent.pop_back();
        }
        self.recent.push_back(now.clone());
        while self.recent.len() > 2 && self.recent[1].elapsed_s < now.elapsed_s - WINDOW_S {
            self.recent.pop_front();
        }
    }

    /// Clips per second; `None` before the count has moved twice.
    pub(super) fn clips_per_s(&self) -> Option<f64> {
        self.clips.per_s()
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
