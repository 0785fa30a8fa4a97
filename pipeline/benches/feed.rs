//! The feeder against a plain gather: 256 random clips of 256 x 128 halves (64 KiB) a batch, out of 4,096.
//!
//! Divide by 256 for a clip. `gather` is the bound: the same rows by `copy_from_slice` out of memory into reused buffers.

#[path = "mels/mod.rs"]
mod mels;

use std::hint::black_box;

use ajepa_pipe::feed::{FeedConfig, Permutation};
use ajepa_pipe::shard::ShardSet;
use ajepa_pipe::stages::mask::MaskStageConfig;
use criterion::{Criterion, criterion_group, criterion_main};

const N_CLIPS: usize = 4096;
const BATCH_CLIPS: usize = 256;
const ROW_BYTES: usize = 256 * 128 * 2;

fn feed(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    mels::write(dir.path(), N_CLIPS, [256, 128]).expect("shards");
    // Filled by the one who asks: what is measured is the work, not what a second thread hides of it.
    let plain = FeedConfig { workers: 0, ..FeedConfig::default() };
    let masked = FeedConfig { masks: Some(MaskStageConfig::default()), ..plain.clone() };
    for (name, config) in [("feed/256x256x128", &plain), ("feed_masked/256x256x128", &masked)] {
        let mut feed = config.open(&[dir.path()]).expect("a feed");
        let mut next = || drop(black_box(feed.next().expect("no end").expect("a batch")));
        // Two epochs: every page touched and verified.
        (0..2 * N_CLIPS / BATCH_CLIPS).for_each(|_| next());
        c.bench_function(name, |b| b.iter(&mut next));
    }

    let set = ShardSet::open(dir.path()).expect("shards");
    let mut rows = Vec::new();
    for part in 0..set.n_parts() {
        let part = set.part(part).expect("a part");
        for batch in 0..part.n_batches() {
            let (of_batch, _) = part.tensor_rows(batch, "mel", &[]).expect("rows");
            let n_rows = part.info().rows_of_batch(batch as u64);
            rows.extend((0..n_rows).map(|row| part.tensor_row(&of_batch, row).expect("a row")));
        }
    }
    let mut buffers = vec![vec![1u8; BATCH_CLIPS * ROW_BYTES]; 4];
    let mut n_batches = 0;
    c.bench_function("gather/256x256x128", |b| {
        b.iter(|| {
            let order = Permutation::new(n_batches as u64, rows.len() as u64);
            let out = &mut buffers[n_batches % 4];
            for (at, out) in out.chunks_exact_mut(ROW_BYTES).enumerate() {
                out.copy_from_slice(&rows[order.apply(at as u64) as usize]);
            }
            n_batches += 1;
            black_box(out[0]);
        });
    });
}

criterion_group!(benches, feed);
criterion_main!(benches);
