//! The feeder: random rows of mapped shard sets as contiguous batches, for a trainer that must not wait.
//!
//! ```no_run
//! use ajepa_pipe::feed::{FeedConfig, FeedError};
//! let feed = FeedConfig { batch_clips: 256, seed: 7, epochs: Some(2), ..FeedConfig::default() }.open(&["out/mel"])?;
//! for batch in feed {
//!     let batch = batch?;
//!     println!("epoch {} step {}: {} bytes", batch.epoch(), batch.step(), batch.bytes().len());
//! }
//! # Ok::<(), FeedError>(())
//! ```
//!
//! # What it promises
//! * Batch n is a function of (shards, seed, batch size): the same for any number of workers, of buffers and of ranks, from
//!   the first batch or from any [`FeedPlace`] on. Epochs follow each other without a pause.
//! * Masks are a function of (seed, epoch, clip, offset); what a strategy draws per batch, of (seed, epoch, step).
//! * A page's checksum is verified before a number of it is handed out, once a process. A part that was cut short, rewritten
//!   or replaced since it was opened costs the batch: a typed error that names part and clip, and the next call goes on. An
//!   unlinked part stays readable.
//! * Nothing is allocated once every record batch was touched and every buffer was used.
//!
//! # What it costs
//! A clip of 256 x 128 halves is 64 KiB, read once and written once: memory speed is the floor, and `benches/feed.rs` measures
//! it beside. What comes on top: drawing a mask, finding a row (an order computed, not stored), and looking at each part of
//! a batch twice; the ring itself is nothing that can be measured. Seen on two busy cores, processor time a clip: 7.5 us with
//! masks, where a gather by memcpy in C takes 6.6 (`bench/feed.sh`; rows in the order of the disk and huge pages win back most
//! of what the checks cost). The first epoch takes 24 to 43 us: reading, verifying, and the faults of a new map.
//!
//! Memory: `buffers` x `batch_clips` / `ranks` x bytes of a clip; 8 bytes and the name of each clip; and page tables, 8 bytes
//! for each 4 KiB of the maps that were touched. The maps themselves are page cache, which the system takes back as it needs.
//!
//! Disk: a record batch (about 4 MiB) is read whole when it is first touched, because that is what its checksums are over;
//! later a row is read alone. So an epoch that does not fit into memory reads the set at most twice the first time, once
//! afterwards. Files and maps stay open, one of each per part; beyond the limit of open files the oldest are closed.

mod ahead;
mod batch;
mod config;
mod error;
mod gather;
mod masks;
mod memory;
mod metrics;
mod order;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use batch::Batch;
pub use config::FeedConfig;
pub use error::{FeedError, RowsOf};
pub use masks::{BatchMask, Ragged};
pub use memory::{Allocate, BatchMemory, PageMemory};
pub use metrics::FeedMetrics;
pub use order::{BatchRows, Order, Permutation};

use ahead::ReadAhead;
use batch::Slot;
use gather::{FedPart, Gather};
use metrics::Meter;

use crate::engine::ring::Ring;
use crate::shard::{Compression, ReadOptions, ShardError, ShardSet, TensorInfo, allow_open_files};
use crate::stage::PlanError;

/// Files that the rest of the process may have open.
const OTHER_FILES: u64 = 256;

/// Most parts held open: as many maps as can be guarded, less some for other readers.
const MOST_OPEN: u64 = 4000;

/// A place between two batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedPlace {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The batch in it, from 0.
    pub step: u64,
}

/// Batches in order; see the module. Dropping it ends its threads, batches that were handed out stay valid.
pub struct Feed {
    ring: Ring<Slot, FeedError>,
    gather: Arc<Gather>,
    tensor: TensorInfo,
    n_rows: u64,
    buffer_bytes: usize,
    meter: Meter,
}

impl Feed {
    fn start(config: &FeedConfig, dirs: &[&Path], place: FeedPlace, memory: &dyn Allocate) -> Result<Self, FeedError> {
        let sets = open_sets(config, dirs)?;
        let tensor = one_tensor(config, &sets)?;
        let row_bytes = tensor.shape.iter().product::<usize>() * tensor.dtype.size_bytes();
        let n_rows = sets.iter().map(ShardSet::n_rows).sum();
        let order = config.order(n_rows)?;
        let masker = config.masker(&tensor)?;
        let steps = order.steps_per_epoch();
        let range = (
            place.epoch.saturating_mul(steps).saturating_add(place.step),
            config.epochs.map_or(u64::MAX, |epochs| epochs.saturating_mul(steps)),
        );
        let range = (range.0.min(range.1), range.1);
        let n_clips = config.batch_clips / config.ranks;
        let buffer_bytes = n_clips.checked_mul(row_bytes).ok_or_else(|| {
            PlanError::field("batch_clips", format!("{n_clips} clips of {row_bytes} bytes"), "fewer clips")
        })?;
        let mut slots = Vec::with_capacity(config.buffers);
        for _ in 0..config.buffers {
            let buffer = memory.allocate(buffer_bytes);
            let buffer = buffer.map_err(|source| FeedError::Memory { n_bytes: buffer_bytes, source })?;
            slots.push(Slot {
                memory: buffer,
                rows: Vec::with_capacity(n_clips),
                sorted: Vec::with_capacity(n_clips),
                ahead: Vec::with_capacity(n_clips),
                keys: Vec::with_capacity(n_clips),
                masks: masker.as_ref().map(|masker| masks::room(masker, n_clips)).unwrap_or_default(),
                masker: masker.clone(),
                ..Slot::default()
            });
        }
        let parts = Gather::parts_of(&sets);
        let ahead = ReadAhead::new(config.read_ahead, range);
        let n_untouched = parts.iter().map(FedPart::n_batches).sum::<usize>().into();
        let gather = Gather { sets, parts, column: config.column.clone(), row_bytes, order, ahead, n_untouched };
        let gather = Arc::new(gather);
        let filler = gather.clone();
        let fill = Box::new(move |number: u64, slot: &mut Slot| filler.fill(number, slot));
        let ring = Ring::start("feed", slots, config.workers, range, fill)?;
        Ok(Self { ring, gather, tensor, n_rows, buffer_bytes: buffer_bytes * config.buffers, meter: Meter::new() })
    }

    /// Where the next batch lies: what a checkpoint keeps. [`FeedConfig::open_at`] goes on from there.
    pub fn place(&self) -> FeedPlace {
        let (epoch, step) = self.gather.place(self.ring.position());
        FeedPlace { epoch, step }
    }

    /// Batches of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.gather.order.steps_per_epoch()
    }

    /// Rows of all sets.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// What a clip is, by the manifest of the first set.
    pub fn tensor(&self) -> &TensorInfo {
        &self.tensor
    }

    /// Bytes of all batch buffers.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// `clip_id` of a row, `None` where it has none.
    ///
    /// # Errors
    /// [`FeedError::Config`] for a row that there is not; [`FeedError::Rows`].
    pub fn clip_id(&self, row: u64) -> Result<Option<String>, FeedError> {
        if row >= self.n_rows {
            let problem = format!("there is no row {row} in {}", self.gather.dir().display());
            return Err(PlanError::new(problem, format!("rows are numbered from 0 to {}", self.n_rows - 1)).into());
        }
        self.gather.clip_id(row)
    }

    /// What the feed has done so far, and who waited for whom.
    pub fn metrics(&self) -> FeedMetrics {
        self.meter.read(self.ring.times())
    }
}

impl Iterator for Feed {
    type Item = Result<Batch, FeedError>;

    /// The next batch. An error costs one batch: the call after it goes on.
    fn next(&mut self) -> Option<Self::Item> {
        let slot = match self.ring.next()? {
            Ok(slot) => slot,
            Err(error) => return Some(Err(error.into())),
        };
        let (epoch, step) = self.gather.place(slot.number);
        self.meter.count(slot.rows.len(), slot.n_bytes);
        Some(Ok(Batch { slot, epoch, step, dtype: self.tensor.dtype }))
    }
}

fn open_sets(config: &FeedConfig, dirs: &[&Path]) -> Result<Vec<ShardSet>, FeedError> {
    let open = |dir: &Path, max_open: usize| {
        let options = ReadOptions { verify: config.verify, access: config.access, max_open };
        let far = || ShardError::Far { dir: dir.to_owned() };
        let opened = if ajepa_store::is_url(dir) { Err(far()) } else { ShardSet::open_with(dir, options) };
        opened.map_err(|source| FeedError::Set { dir: dir.to_owned(), source })
    };
    let mut n_parts = 0;
    for dir in dirs {
        n_parts += open(dir, 1)?.n_parts() as u64;
    }
    // All parts at once, if the system lets them; each set its share where it does not.
    let wanted = n_parts.min(MOST_OPEN) + OTHER_FILES;
    let may = allow_open_files(wanted).min(wanted).saturating_sub(OTHER_FILES).max(1);
    let share = |set: &ShardSet| (may * set.n_parts() as u64 / n_parts.max(1)).max(1) as usize;
    dirs.iter().map(|dir| open(dir, 1).and_then(|set| open(dir, share(&set)))).collect()
}

/// The tensor that all sets hold alike.
fn one_tensor(config: &FeedConfig, sets: &[ShardSet]) -> Result<TensorInfo, FeedError> {
    let mut first: Option<(&ShardSet, &TensorInfo)> = None;
    for set in sets {
        let fault = |problem: String| {
            let source = ShardError::Column { part: "manifest".into(), column: config.column.clone(), problem };
            FeedError::Set { dir: set.dir().to_owned(), source }
        };
        let names = || set.manifest().tensors.iter().map(|t| t.column.clone()).collect::<Vec<_>>().join(", ");
        let found = set.tensor(&config.column).ok_or_else(|| fault(format!("no such tensor; it has: {}", names())))?;
        if set.manifest().compression != Compression::None {
            let problem = "its rows are compressed, which is for archives; write the set with `compression: none`";
            return Err(fault(problem.to_owned()));
        }
        let Some((other, wanted)) = first.replace((set, found)) else { continue };
        if (wanted.dtype, &wanted.shape, &wanted.axes) != (found.dtype, &found.shape, &found.axes) {
            let (a, b) = (&found.shape, &wanted.shape);
            let problem = format!("{:?}{a:?}, but {:?}{b:?} in {}", found.dtype, wanted.dtype, other.dir().display());
            return Err(fault(problem));
        }
        if wanted.front_end != found.front_end {
            return Err(fault(format!("made by another front end than {}", other.dir().display())));
        }
    }
    let (_, tensor) = first.ok_or_else(|| PlanError::new("no shard set was named", "name a folder of shards"))?;
    Ok(tensor.clone())
}
