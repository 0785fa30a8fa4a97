//! Who waited for whom.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::engine::ring::RingTimes;

/// What a feed has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedMetrics {
    /// Since the feed was opened.
    pub elapsed_s: f64,
    /// Batches handed out.
    pub batches: u64,
    /// Their clips.
    pub clips: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The consumer waited for a batch.
    pub consumer_wait_s: f64,
    /// Workers waited for a free buffer, all of them together.
    pub worker_wait_s: f64,
    /// Filling buffers took, all workers together.
    pub fill_s: f64,
}

impl FeedMetrics {
    /// Clips handed out a second.
    pub fn clips_per_s(&self) -> f64 {
        self.clips as f64 / self.elapsed_s.max(1e-9)
    }

    /// Share of the time that the consumer waited for data.
    pub fn wait_share(&self) -> f64 {
        self.consumer_wait_s / self.elapsed_s.max(1e-9)
    }

    /// What happened after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            elapsed_s: self.elapsed_s - earlier.elapsed_s,
            batches: self.batches - earlier.batches,
            clips: self.clips - earlier.clips,
            bytes: self.bytes - earlier.bytes,
            consumer_wait_s: self.consumer_wait_s - earlier.consumer_wait_s,
            worker_wait_s: self.worker_wait_s - earlier.worker_wait_s,
            fill_s: self.fill_s - earlier.fill_s,
        }
    }
}

/// Counts what is handed out.
pub(super) struct Meter {
    started: Instant,
    batches: u64,
    clips: u64,
    bytes: u64,
}

impl Meter {
    pub fn new() -> Self {
        Self { started: Instant::now(), batches: 0, clips: 0, bytes: 0 }
    }

    pub fn count(&mut self, n_clips: usize, n_bytes: usize) {
        self.batches += 1;
        self.clips += n_clips as u64;
        self.bytes += n_bytes as u64;
    }

    pub fn read(&self, times: RingTimes) -> FeedMetrics {
        FeedMetrics {
            elapsed_s: self.started.elapsed().as_secs_f64(),
            batches: self.batches,
            clips: self.clips,
            bytes: self.bytes,
            consumer_wait_s: times.consumer_wait_s,
            worker_wait_s: times.worker_wait_s,
            fill_s: times.fill_s,
        }
    }
}
