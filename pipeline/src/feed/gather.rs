//! Rows out of the maps and into a batch buffer, with everything that is checked on the way.
//!
//! Rows are copied in the order in which they lie on disk: so a part is looked up once a batch, and looked at
//! ([`Part::check`]) before the first and after the last of its rows, not at every row. What was copied counts only if the
//! part was the same at both ends; a page is verified when it is touched for the first time in this process.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ajepa_ops::seed;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;

use super::ahead::ReadAhead;
use super::batch::Slot;
use super::error::{FeedError, RowsOf};
use super::masks;
use super::order::Order;
use crate::shard::{Part, ShardError, ShardSet, TensorRows};

/// All parts of all sets, and how their rows become batches.
pub(super) struct Gather {
    pub sets: Vec<ShardSet>,
    pub parts: Vec<FedPart>,
    pub column: String,
    pub row_bytes: usize,
    pub order: Order,
    pub ahead: ReadAhead,
    /// Record batches that were never touched.
    pub n_untouched: AtomicUsize,
}

/// A part among all parts of a feed.
pub(super) struct FedPart {
    pub set: usize,
    pub number: usize,
    /// Its first row among all rows of the feed.
    pub first_row: u64,
    pub n_rows: u64,
    batch_rows: u64,
    /// Its record batches, each found when it is touched for the first time, and kept when the part is closed.
    blocks: Vec<OnceLock<Block>>,
}

/// One record batch: where its tensor lies, and who its rows are.
struct Block {
    rows: TensorRows,
    clip_ids: Option<StringArray>,
    /// What each row's masks are drawn by: its clip and its place in the recording.
    keys: Box<[u64]>,
}

impl Gather {
    /// Lists the parts of `sets`, whose rows are numbered one set behind the other.
    pub fn parts_of(sets: &[ShardSet]) -> Vec<FedPart> {
        let mut parts = Vec::new();
        let mut first_row = 0;
        for (set, shards) in sets.iter().enumerate() {
            for (number, info) in shards.parts().iter().enumerate() {
                let blocks = (0..info.n_batches()).map(|_| OnceLock::new()).collect();
                let (n_rows, batch_rows) = (info.rows, info.batch_rows);
                parts.push(FedPart { set, number, first_row, n_rows, batch_rows, blocks });
                first_row += n_rows;
            }
        }
        parts
    }

    /// Fills the slot with batch `number`, counted through all epochs.
    pub fn fill(&self, number: u64, slot: &mut Slot) -> Result<(), FeedError> {
        let (epoch, step) = self.place(number);
        slot.number = number;
        slot.rows.clear();
        slot.rows.extend(self.order.rows(epoch, step));
        self.read_ahead(number, &mut slot.ahead);
        slot.n_bytes = slot.rows.len() * self.row_bytes;
        slot.keys.clear();
        slot.keys.resize(slot.rows.len(), 0);
        slot.sorted.clear();
        slot.sorted.extend(slot.rows.iter().copied().zip(0..));
        slot.sorted.sort_unstable();
        let started = Instant::now();
        let Slot { sorted, memory, keys, .. } = slot;
        let mut rest = sorted.as_slice();
        while let Some((row, _)) = rest.first() {
            let part = self.part_of(*row);
            let (now, later) = rest.split_at(rest.partition_point(|(row, _)| *row < part.first_row + part.n_rows));
            self.copy(part, now, memory.bytes_mut(), keys)?;
            rest = later;
        }
        self.ahead.was_copied(slot.n_bytes, started.elapsed());
        self.draw_masks((epoch, step), slot);
        Ok(())
    }

    /// Epoch and step of a batch.
    pub fn place(&self, number: u64) -> (u64, u64) {
        let steps = self.order.steps_per_epoch();
        (number / steps, number % steps)
    }

    /// Copies `rows` of one part to their places in `out`.
    fn copy(&self, fed: &FedPart, rows: &[(u64, u32)], out: &mut [u8], keys: &mut [u64]) -> Result<(), FeedError> {
        let all = |source| self.failed(fed, rows, source);
        let part = self.sets[fed.set].part(fed.number).map_err(all)?;
        part.check().map_err(all)?;
        for row in rows {
            let one = |source| self.failed(fed, std::slice::from_ref(row), source);
            let (batch, in_batch) = fed.find(row.0);
            let block = self.block(fed, &part, batch).map_err(one)?;
            let numbers = part.tensor_row(&block.rows, in_batch).map_err(one)?;
            let at = row.1 as usize;
            out[at * self.row_bytes..][..self.row_bytes].copy_from_slice(&numbers);
            keys[at] = block.keys[in_batch as usize];
        }
        part.check().map_err(all)
    }

    fn draw_masks(&self, (epoch, step): (u64, u64), slot: &mut Slot) {
        let Some(masker) = &mut slot.masker else { return };
        let base = seed::derive(&[self.order.seed, seed::hash_str("feed.masks"), epoch]);
        let clip_seeds = slot.keys.iter().map(|key| seed::derive(&[base, *key]));
        masks::draw(masker, seed::derive(&[base, seed::hash_str("batch"), step]), clip_seeds, &mut slot.masks);
    }

    /// Asks for the rows of batches to come, each batch once.
    fn read_ahead(&self, number: u64, rows: &mut Vec<u64>) {
        while let Some(number) = self.ahead.claim(number) {
            let is_cold = self.ahead.is_cold();
            if !is_cold && self.n_untouched.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let (epoch, step) = self.place(number);
            rows.clear();
            rows.extend(self.order.rows(epoch, step));
            rows.sort_unstable();
            let started = Instant::now();
            let mut n_asked = 0;
            let mut asked_batch = None;
            for row in rows.iter() {
                let fed = self.part_of(*row);
                let (batch, in_batch) = fed.find(*row);
                let block = fed.blocks[batch].get();
                if block.is_some() && !is_cold || asked_batch == Some((fed.first_row, batch)) {
                    continue;
                }
                // What is wrong with a part is said when its rows are wanted.
                let Ok(part) = self.sets[fed.set].part(fed.number) else { continue };
                if let Some(block) = block {
                    part.will_need_row(&block.rows, in_batch);
                    n_asked += 1;
                } else {
                    part.will_need_batch(batch);
                    asked_batch = Some((fed.first_row, batch));
                }
            }
            self.ahead.was_asked(n_asked, started.elapsed());
        }
    }

    fn part_of(&self, row: u64) -> &FedPart {
        &self.parts[self.parts.partition_point(|part| part.first_row <= row) - 1]
    }

    /// The clip of a row, read if it is not known yet.
    pub fn clip_id(&self, row: u64) -> Result<Option<String>, FeedError> {
        let fed = self.part_of(row);
        let failed = |source| self.failed(fed, &[(row, 0)], source);
        let part = self.sets[fed.set].part(fed.number).map_err(failed)?;
        let (batch, in_batch) = fed.find(row);
        Ok(self.block(fed, &part, batch).map_err(failed)?.clip_id(in_batch))
    }

    /// Where a record batch's rows are; found once.
    fn block<'a>(&self, fed: &'a FedPart, part: &Part, batch: usize) -> Result<&'a Block, ShardError> {
        if let Some(block) = fed.blocks[batch].get() {
            return Ok(block);
        }
        let (rows, columns) = part.tensor_rows(batch, &self.column, &["clip_id", "offset_s"])?;
        let n_rows = part.info().rows_of_batch(batch as u64) as usize;
        let block = Block::new(rows, &columns, n_rows, fed.first_row + batch as u64 * fed.batch_rows);
        if fed.blocks[batch].set(block).is_ok() {
            self.n_untouched.fetch_sub(1, Ordering::Relaxed);
        }
        // Whoever was first: both found the same.
        fed.blocks[batch].get().ok_or(ShardError::OutOfRange { what: "batch", index: batch as u64, len: 0 })
    }

    fn failed(&self, fed: &FedPart, rows: &[(u64, u32)], source: ShardError) -> FeedError {
        let set = &self.sets[fed.set];
        let row = rows.first().map_or(fed.first_row, |(row, _)| *row);
        let (batch, in_batch) = fed.find(row);
        // Known from an earlier batch, or still to be read: a damaged page elsewhere does not hide the name.
        let read = || {
            let part = set.part(fed.number).ok()?;
            self.block(fed, &part, batch).ok()?.clip_id(in_batch)
        };
        let known = fed.blocks[batch].get().and_then(|block| block.clip_id(in_batch));
        let rows = RowsOf {
            dir: set.dir().to_owned(),
            part: set.parts()[fed.number].file.clone(),
            row,
            clip_id: known.or_else(read),
            n_rows: rows.len(),
        };
        FeedError::Rows { rows: Box::new(rows), source }
    }

    /// The folder of the first set: what messages about all of them name.
    pub fn dir(&self) -> &Path {
        self.sets.first().map_or(Path::new(""), ShardSet::dir)
    }
}

impl FedPart {
    /// Its record batches.
    pub fn n_batches(&self) -> usize {
        self.blocks.len()
    }

    /// Record batch of a row, and its place there.
    fn find(&self, row: u64) -> (usize, u64) {
        let in_part = row - self.first_row;
        ((in_part / self.batch_rows) as usize, in_part % self.batch_rows)
    }
}

impl Block {
    fn new(rows: TensorRows, columns: &RecordBatch, n_rows: usize, first_row: u64) -> Self {
        let clip_ids = columns.column_by_name("clip_id").and_then(|ids| ids.as_string_opt::<i32>()).cloned();
        let offsets = columns.column_by_name("offset_s").and_then(|column| column.as_primitive_opt::<Float64Type>());
        let key = |i: usize| {
            let offset = offsets.filter(|offsets| offsets.is_valid(i)).map_or(0.0, |offsets| offsets.value(i));
            match clip_ids.as_ref().filter(|ids| ids.is_valid(i)) {
                Some(ids) => seed::derive(&[seed::hash_str(ids.value(i)), offset.to_bits()]),
                // Rows without a name are told apart by their number.
                None => seed::derive(&[first_row + i as u64]),
            }
        };
        let keys = (0..n_rows).map(key).collect();
        Self { rows, clip_ids, keys }
    }

    fn clip_id(&self, row: u64) -> Option<String> {
        let ids = self.clip_ids.as_ref()?;
        ids.is_valid(row as usize).then(|| ids.value(row as usize).to_owned())
    }
}
