//! When the system is asked to read ahead: always for what was never touched, else only while the disk is felt.
//!
//! Asking costs about a quarter of what copying a row does, even where the row is in memory already. So rows that were
//! touched before are only asked for after a batch that was copied at the speed of a disk, and as long as asking itself takes
//! as long as starting a read does. What is measured here decides on advice to the system, never on what is delivered.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Copying slower than this is waiting for a disk: memory is ten times as fast.
const COLD_NS_PER_BYTE: f64 = 1.0;

/// Asking for one row takes longer than this when there is something to read.
const COLD_NS_PER_ROW: u64 = 4000;

/// Batches that are asked for after a sign of coldness.
const COLD_BATCHES: u32 = 16;

/// Which batches were asked for, and whether rows that were touched before are asked for too.
pub(super) struct ReadAhead {
    n_batches: u64,
    end: u64,
    next: AtomicU64,
    cold_batches: AtomicU32,
}

impl ReadAhead {
    /// Asks `n_batches` ahead, from batch `start` on, and not behind `end`.
    pub fn new(n_batches: usize, (start, end): (u64, u64)) -> Self {
        Self { n_batches: n_batches as u64, end, next: AtomicU64::new(start), cold_batches: AtomicU32::new(0) }
    }

    /// The next batch to ask for when `number` is about to be filled; each is given once.
    pub fn claim(&self, number: u64) -> Option<u64> {
        let last = number.saturating_add(self.n_batches);
        let may = |next: u64| (next <= last && next < self.end && self.n_batches > 0).then(|| next + 1);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may).ok()
    }

    /// Whether rows that were touched before may have left the memory.
    pub fn is_cold(&self) -> bool {
        self.cold_batches.load(Ordering::Relaxed) > 0
    }

    /// So long did it take to ask for `n_rows` rows that were touched before.
    pub fn was_asked(&self, n_rows: u64, took: Duration) {
        if n_rows > 0 && took.as_nanos() as u64 > n_rows * COLD_NS_PER_ROW {
            self.cold_batches.store(COLD_BATCHES, Ordering::Relaxed);
        } else {
            let fewer = |left: u32| left.checked_sub(1);
            let _ = self.cold_batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        }
    }

    /// So long did it take to copy a batch.
    pub fn was_copied(&self, n_bytes: usize, took: Duration) {
        if took.as_nanos() as f64 > n_bytes as f64 * COLD_NS_PER_BYTE {
            self.cold_batches.store(COLD_BATCHES, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_batch_is_asked_for_once() {
        let ahead = ReadAhead::new(2, (5, 9));
        let asked = |number| std::iter::from_fn(|| ahead.claim(number)).collect::<Vec<_>>();
        assert_eq!((asked(5), asked(6), asked(6), asked(8)), (vec![5, 6, 7], vec![8], vec![], vec![]));
        assert_eq!(ReadAhead::new(0, (0, 9)).claim(0), None);
    }

    #[test]
    fn coldness_passes() {
        let ahead = ReadAhead::new(2, (0, 9));
        ahead.was_copied(1 << 20, Duration::from_micros(100));
        assert!(!ahead.is_cold());
        ahead.was_copied(1 << 20, Duration::from_millis(2));
        for _ in 0..15 {
            ahead.was_asked(256, Duration::from_micros(300));
        }
        assert!(ahead.is_cold());
        ahead.was_asked(256, Duration::from_micros(300));
        assert!(!ahead.is_cold());
    }
}
