//! The run over time, in a bounded number of evenly spaced points.

use super::metrics::Snapshot;

/// Collects snapshots; never holds more than [`Timeline::MAX_POINTS`], however long the run.
///
/// When it is full every second point goes, and from then on points are taken half as often: what is left is evenly spaced
/// over the whole run, and the cost does not grow with it.
#[derive(Debug, Default)]
pub struct Timeline {
    points: Vec<Snapshot>,
    /// Seconds that must lie between two points.
    step_s: f64,
    last: Option<Snapshot>,
    peak_rss_bytes: u64,
}

impl Timeline {
    /// The most points kept.
    pub const MAX_POINTS: usize = 600;

    /// No points.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next snapshot, or remembers it only as the last one when it comes too early.
    pub fn push(&mut self, now: Snapshot) {
        self.peak_rss_bytes = self.peak_rss_bytes.max(now.rss_bytes);
        if self.points.last().is_some_and(|p| now.elapsed_s < p.elapsed_s + self.step_s) {
            self.last = Some(now);
            return;
        }
        self.last = None;
        self.points.push(now);
        // One place stays free for the last snapshot.
        if self.points.len() == Self::MAX_POINTS {
            self.last = self.points.pop();
            self.thin();
        }
    }

    fn thin(&mut self) {
        let mut index = 0;
        self.points.retain(|_| {
            index += 1;
            index % 2 == 1
        });
        let span_s = self.points.last().map_or(0.0, |p| p.elapsed_s) - self.points[0].elapsed_s;
        self.step_s = span_s / (self.points.len() - 1) as f64;
    }

    /// The points in order, the newest snapshot always the last of them.
    pub fn points(&self) -> Vec<Snapshot> {
        self.points.iter().chain(&self.last).cloned().collect()
    }

    /// The most resident memory seen in any snapshot, those thinned out included, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.peak_rss_bytes
    }
}
