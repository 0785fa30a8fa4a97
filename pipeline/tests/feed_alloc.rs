//! A feed allocates nothing once it has seen its rows; a counting allocator needs a binary of its own.
#![allow(unsafe_code, reason = "an allocator that counts is unsafe by its trait; it only hands on")]

#[path = "../benches/mels/mod.rs"]
mod mels;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use ajepa_pipe::feed::FeedConfig;
use ajepa_pipe::stages::mask::MaskStageConfig;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, n_bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as for this function.
        unsafe { System.realloc(at, layout, n_bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Masks of every kind that a batch can have: one table, several, and blocks beside them.
const MASKS: [&str; 3] = [
    "{}",
    r#"{ "mask": { "n_masks": 4, "size_per": "clip" } }"#,
    r#"{ "mask": { "strategy": "multi_block", "n_context": 20 } }"#,
];

#[test]
fn epochs_after_the_first_allocate_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    mels::write(dir.path(), 1200, [64, 128]).expect("shards");
    for masks in MASKS {
        let masks: MaskStageConfig = serde_json::from_str(masks).expect("masks");
        for workers in [0, 2] {
            let config = FeedConfig { batch_clips: 64, workers, masks: Some(masks.clone()), ..FeedConfig::default() };
            let mut feed = config.open(&[dir.path()]).expect("a feed");
            let per_epoch = feed.steps_per_epoch();
            let mut take = |n_batches: u64| {
                let mut sum = 0u64;
                for _ in 0..n_batches {
                    let batch = feed.next().expect("no end").expect("a batch");
                    sum += batch.rows().iter().sum::<u64>() + u64::from(batch.bytes()[0]);
                }
                sum
            };
            // Two epochs touch every row, bar the few that both left out.
            assert!(take(4 * per_epoch) > 0);
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            assert!(take(3 * per_epoch) > 0);
            let n = ALLOCATIONS.load(Ordering::SeqCst) - before;
            assert_eq!(n, 0, "{n} allocations in {} batches of {workers} workers", 3 * per_epoch);
        }
    }
}
