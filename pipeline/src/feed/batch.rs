//! One batch, lent out of the ring.

use ajepa_ops::mask::Masker;
use half::f16;
use zerocopy::FromBytes;

use super::error::FeedError;
use super::masks::BatchMask;
use super::memory::{BatchMemory, NoMemory};
use crate::engine::ring::Lent;
use crate::schema::Dtype;

/// What a ring's slot holds: the buffer, and the room that filling it needs.
pub(super) struct Slot {
    pub memory: Box<dyn BatchMemory>,
    /// Bytes of the buffer that are filled.
    pub n_bytes: usize,
    pub number: u64,
    pub rows: Vec<u64>,
    /// Rows with their places in the batch, in the order in which they lie on disk.
    pub sorted: Vec<(u64, u32)>,
    /// Rows of a later batch, to be read ahead.
    pub ahead: Vec<u64>,
    /// What each clip is drawn by.
    pub keys: Vec<u64>,
    pub masker: Option<Masker>,
    pub masks: Vec<BatchMask>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            memory: Box::new(NoMemory),
            n_bytes: 0,
            number: 0,
            rows: Vec::new(),
            sorted: Vec::new(),
            ahead: Vec::new(),
            keys: Vec::new(),
            masker: None,
            masks: Vec::new(),
        }
    }
}

/// The clips of one rank in one global batch. Its buffer goes back to the feed when it is dropped, on any thread.
pub struct Batch {
    pub(super) slot: Lent<Slot, FeedError>,
    pub(super) epoch: u64,
    pub(super) step: u64,
    pub(super) dtype: Dtype,
}

impl Batch {
    /// The epoch it belongs to, from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Its place in the epoch, from 0; the same for every rank.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Clips.
    pub fn n_clips(&self) -> usize {
        self.slot.rows.len()
    }

    /// Number of each clip's row, counted through all sets in the order in which they were given; see
    /// [`Feed::clip_id`](super::Feed::clip_id).
    pub fn rows(&self) -> &[u64] {
        &self.slot.rows
    }

    /// The tensors, one behind the other, little-endian as stored: [n_clips, ...shape].
    pub fn bytes(&self) -> &[u8] {
        &self.slot.memory.bytes()[..self.slot.n_bytes]
    }

    /// The same, to be changed in place before a trainer sees it: the buffer is filled anew before it is lent again.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let n_bytes = self.slot.n_bytes;
        &mut self.slot.memory.bytes_mut()[..n_bytes]
    }

    /// The same as halves; `None` when the shards hold something else.
    pub fn f16s(&self) -> Option<&[f16]> {
        (self.dtype == Dtype::F16).then(|| <[f16]>::ref_from_bytes(self.bytes()).ok())?
    }

    /// The same as singles; `None` when the shards hold something else.
    pub fn f32s(&self) -> Option<&[f32]> {
        (self.dtype == Dtype::F32).then(|| <[f32]>::ref_from_bytes(self.bytes()).ok())?
    }

    /// The masks, one entry per mask of a clip; empty when none are drawn.
    pub fn masks(&self) -> &[BatchMask] {
        &self.slot.masks
    }
}
