//! What a user says about a feed, and the proof that it fits the shards.

use std::path::Path;

use ajepa_ops::mask::Masker;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::FeedError;
use super::memory::{Allocate, PageMemory};
use super::order::Order;
use super::{Feed, FeedPlace};
use crate::schema::{ColumnType, Schema, TensorType};
use crate::shard::{Access, TensorInfo};
use crate::stage::PlanError;
use crate::stages::mask::MaskStageConfig;

/// Most buffers, workers and batches of read-ahead: beyond that it is a typing error.
const MOST: usize = 1024;

/// How rows of shard sets become batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FeedConfig {
    /// The tensor column. Default: mel.
    pub column: String,
    /// Clips of a global batch, over all ranks; a multiple of `ranks`. Default: 256.
    pub batch_clips: usize,
    /// Seed of the order and of the masks. Default: 0.
    pub seed: u64,
    /// Whether every epoch has an order of its own over all rows. Default: true; else the order of the shards.
    pub shuffle: bool,
    /// Whether the rows behind the last whole batch of an epoch make a shorter one. Default: false; they are left out then,
    /// other ones in every epoch.
    pub keep_last: bool,
    /// Epochs, after which the feed ends. Default: no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// This process among `ranks`, from 0. Default: 0.
    pub rank: usize,
    /// Processes that share each global batch. Default: 1.
    pub ranks: usize,
    /// Masks to draw for every clip. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<MaskStageConfig>,
    /// Batch buffers; those that the consumer holds are not filled meanwhile. 2 to 1024, default 4.
    pub buffers: usize,
    /// Threads that fill them. Default: 1; with 0 the consumer fills when it asks.
    pub workers: usize,
    /// Batches beyond the one being filled that the system is asked to read from disk. 0 to 1024, default 2.
    pub read_ahead: usize,
    /// Whether checksums are verified when pages are first touched. Default: true.
    pub verify: bool,
    /// `mapped` or `copied`, as for `source_shards`. Default: mapped.
    pub access: Access,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            column: "mel".to_owned(),
            batch_clips: 256,
            seed: 0,
            shuffle: true,
            keep_last: false,
            epochs: None,
            rank: 0,
            ranks: 1,
            masks: None,
            buffers: 4,
            workers: 1,
            read_ahead: 2,
            verify: true,
            access: Access::Mapped,
        }
    }
}

impl FeedConfig {
    /// Opens the shard sets in `dirs`, one behind the other, and begins with the first batch of the first epoch.
    ///
    /// # Errors
    /// [`FeedError`] for settings that do not fit, sets that differ or cannot be opened, and missing memory.
    pub fn open(&self, dirs: &[impl AsRef<Path>]) -> Result<Feed, FeedError> {
        self.open_at(dirs, FeedPlace::default(), &PageMemory)
    }

    /// The same from another place on, in buffers that `memory` makes.
    ///
    /// # Errors
    /// As [`FeedConfig::open`].
    pub fn open_at(
        &self,
        dirs: &[impl AsRef<Path>],
        place: FeedPlace,
        memory: &dyn Allocate,
    ) -> Result<Feed, FeedError> {
        self.check()?;
        let dirs: Vec<&Path> = dirs.iter().map(AsRef::as_ref).collect();
        Feed::start(self, &dirs, place, memory)
    }

    fn check(&self) -> Result<(), PlanError> {
        let fault = |field: &str, problem: String, help: &str| Err(PlanError::field(field, problem, help));
        if self.ranks == 0 || self.rank >= self.ranks {
            return fault("rank", format!("rank {} of {}", self.rank, self.ranks), "0 to ranks - 1");
        }
        if self.batch_clips == 0 || !self.batch_clips.is_multiple_of(self.ranks) {
            let problem = format!("{} clips cannot be shared evenly by {} ranks", self.batch_clips, self.ranks);
            return fault("batch_clips", problem, "a multiple of `ranks`");
        }
        if self.batch_clips > u32::MAX as usize {
            return fault("batch_clips", format!("{} clips", self.batch_clips), "at most 2^32 - 1");
        }
        if !(2..=MOST).contains(&self.buffers) {
            return fault("buffers", format!("{} buffers", self.buffers), "2 to 1024; one is used while one is filled");
        }
        if self.workers > MOST {
            return fault("workers", format!("{} threads", self.workers), "0 to 1024");
        }
        if self.read_ahead > MOST {
            return fault("read_ahead", format!("{} batches", self.read_ahead), "0 to 1024");
        }
        Ok(())
    }

    /// The order of the rows.
    pub(super) fn order(&self, n_rows: u64) -> Result<Order, PlanError> {
        let order = Order {
            seed: self.seed,
            n_rows,
            shuffle: self.shuffle,
            batch_clips: self.batch_clips as u64,
            keep_last: self.keep_last,
            rank: (self.rank as u64, self.ranks as u64),
        };
        if order.steps_per_epoch() == 0 {
            let problem = format!("{n_rows} rows do not make one batch of {}", self.batch_clips);
            return Err(PlanError::field("batch_clips", problem, "fewer clips, or keep_last: true"));
        }
        Ok(order)
    }

    /// Draws the masks of such tensors.
    pub(super) fn masker(&self, tensor: &TensorInfo) -> Result<Option<Masker>, PlanError> {
        let Some(masks) = &self.masks else { return Ok(None) };
        let picture = TensorType {
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            axes: tensor.axes.clone(),
            front_end: tensor.front_end.clone(),
        };
        let schema = Schema::default().with(&tensor.column, ColumnType::Tensor(picture));
        masks.masker(&[schema]).map(Some).map_err(|mut error| {
            error.field = error.field.map(|field| format!("masks.{field}"));
            error
        })
    }
}
