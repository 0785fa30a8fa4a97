//! Reading a shard set: parts are opened when asked for, verified when touched, and read in place.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ajepa_store::{Checksums, is_url};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef, UInt32Type};

use super::decode::{BlockPlace, Footer, TRAILER_BYTES, footer_start, read_batch, read_footer};
use super::error::ShardError;
use super::manifest::{ColumnInfo, Manifest, PartInfo, TensorInfo};
use super::map::{Access, PartFile, Stamp};
use super::part_writer::check_same;
use crate::columns::tensor_values;

/// Parts of a set in an object store that are there as copies at once.
const MAX_COPIES: usize = 4;

/// How a shard set is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether checksums are verified: once per page and process when mapped, at every read when copied.
    pub verify: bool,
    /// Mapped or copied.
    pub access: Access,
    /// Parts that are held open, with their decoded batches; the one opened longest ago goes first.
    pub max_open: usize,
}

impl Default for ReadOptions {
    /// Verified, mapped, 256 parts open: a quarter of the usual limit of open files.
    fn default() -> Self {
        Self { verify: true, access: Access::Mapped, max_open: 256 }
    }
}

/// A finished shard set.
///
/// # Example: the rows of all parts in order
/// ```no_run
/// use ajepa_pipe::shard::{ShardError, ShardSet};
/// let set = ShardSet::open("out/mel")?;
/// for i in 0..set.n_parts() {
///     for batch in set.part(i)?.batches() {
///         println!("{} rows", batch?.num_rows());
///     }
/// }
/// # Ok::<(), ShardError>(())
/// ```
#[derive(Debug)]
pub struct ShardSet {
    dir: PathBuf,
    manifest: Arc<Manifest>,
    options: ReadOptions,
    slots: Vec<Slot>,
    /// First row of each part, and the number of all rows.
    starts: Vec<u64>,
    open_order: Mutex<VecDeque<usize>>,
    schema: OnceLock<SchemaRef>,
}

#[derive(Debug, Default)]
struct Slot {
    part: Mutex<Option<Arc<Part>>>,
    /// Outlives the part: a page is verified once, however often its part is opened.
    seen: OnceLock<Arc<Seen>>,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    verified: Vec<AtomicBool>,
}

/// One row: where it is, without a copy.
#[derive(Debug, Clone)]
pub struct RowRef {
    /// The record batch it is in.
    pub batch: RecordBatch,
    /// Its place there.
    pub index: usize,
}

impl RowRef {
    /// What a text column says of the row; `None` where it says nothing.
    pub fn text(&self, column: &str) -> Option<&str> {
        let texts = self.batch.column_by_name(column)?.as_string_opt::<i32>()?;
        texts.is_valid(self.index).then(|| texts.value(self.index))
    }

    /// A whole number of the row, such as `n_frames`.
    pub fn u32(&self, column: &str) -> Option<u32> {
        let numbers = self.batch.column_by_name(column)?.as_primitive_opt::<UInt32Type>()?;
        numbers.is_valid(self.index).then(|| numbers.value(self.index))
    }

    /// Its labels.
    pub fn labels(&self) -> Vec<String> {
        let lists = self.batch.column_by_name("labels").and_then(|column| column.as_list_opt::<i32>());
        let list = lists.filter(|lists| lists.is_valid(self.index)).map(|lists| lists.value(self.index));
        let texts = list.as_ref().and_then(|list| list.as_string_opt::<i32>());
        texts.map_or_else(Vec::new, |texts| texts.iter().flatten().map(str::to_owned).collect())
    }

    /// The numbers of a tensor column, widened; `None` where it is no tensor.
    pub fn tensor(&self, column: &str) -> Option<Vec<f32>> {
        let rows = self.batch.column_by_name(column)?.as_fixed_size_list_opt()?;
        tensor_values(rows.value(self.index).as_ref())
    }
}

impl ShardSet {
    /// Reads the manifest of `dir`; opens no part.
    ///
    /// # Errors
    /// [`ShardError::NotAShardSet`], [`ShardError::Manifest`], [`ShardError::Io`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ShardError> {
        Self::open_with(dir, ReadOptions::default())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// As [`ShardSet::open`].
    pub fn open_with(dir: impl AsRef<Path>, options: ReadOptions) -> Result<Self, ShardError> {
        let dir = dir.as_ref().to_owned();
        let manifest = Manifest::read(&dir)?;
        // Each open part of an object store is a copy on a disk of this machine.
        let max_open = if is_url(&dir) { options.max_open.min(MAX_COPIES) } else { options.max_open };
        let options = ReadOptions { max_open, ..options };
        let mut starts = vec![0];
        for part in &manifest.parts {
            starts.push(starts[starts.len() - 1] + part.rows);
        }
        Ok(Self {
            dir,
            slots: manifest.parts.iter().map(|_| Slot::default()).collect(),
            manifest: Arc::new(manifest),
            options,
            starts,
            open_order: Mutex::default(),
            schema: OnceLock::new(),
        })
    }

    /// What the set says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Rows in all parts.
    pub fn n_rows(&self) -> u64 {
        self.manifest.rows
    }

    /// Parts.
    pub fn n_parts(&self) -> usize {
        self.slots.len()
    }

    /// What the manifest says of the parts.
    pub fn parts(&self) -> &[PartInfo] {
        &self.manifest.parts
    }

    /// Number of the first row of part `part`.
    pub fn first_row(&self, part: usize) -> u64 {
        self.starts.get(part).copied().unwrap_or(self.manifest.rows)
    }

    /// What the manifest says of a tensor column.
    pub fn tensor(&self, column: &str) -> Option<&TensorInfo> {
        self.manifest.tensors.iter().find(|tensor| tensor.column == column)
    }

    /// Columns of every part; none when the set has no rows. Opens the first part.
    ///
    /// # Errors
    /// As [`ShardSet::part`].
    pub fn schema(&self) -> Result<SchemaRef, ShardError> {
        if let Some(schema) = self.schema.get() {
            return Ok(schema.clone());
        }
        let schema = if self.slots.is_empty() { Arc::new(ArrowSchema::empty()) } else { self.part(0)?.schema() };
        Ok(self.schema.get_or_init(|| schema).clone())
    }

    /// Opens part `part`, or gives the one that is open.
    ///
    /// # Errors
    /// Whatever is wrong with its size, its footer, or the pages these are in.
    pub fn part(&self, part: usize) -> Result<Arc<Part>, ShardError> {
        let out_of_range = ShardError::OutOfRange { what: "part", index: part as u64, len: self.slots.len() as u64 };
        let slot = self.slots.get(part).ok_or(out_of_range)?;
        let opened = {
            let mut held = lock(&slot.part);
            if let Some(held) = held.as_ref() {
                return Ok(held.clone());
            }
            let opened = Arc::new(Part::open(self, part, slot)?);
            *held = Some(opened.clone());
            opened
        };
        let mut order = lock(&self.open_order);
        order.push_back(part);
        while order.len() > self.options.max_open.max(1) {
            if let Some(oldest) = order.pop_front() {
                lock(&self.slots[oldest].part).take();
            }
        }
        Ok(opened)
    }

    /// Row `row` of the set, in the order of the parts.
    ///
    /// # Errors
    /// [`ShardError::OutOfRange`], or as [`Part::batch`].
    pub fn row(&self, row: u64) -> Result<RowRef, ShardError> {
        let (part, row) = self.locate(row)?;
        self.part(part)?.row(row)
    }

    /// The part that row `row` of the set is in, and its place there.
    ///
    /// # Errors
    /// [`ShardError::OutOfRange`].
    pub fn locate(&self, row: u64) -> Result<(usize, u64), ShardError> {
        if row >= self.n_rows() {
            return Err(ShardError::OutOfRange { what: "row", index: row, len: self.n_rows() });
        }
        let part = self.starts.partition_point(|start| *start <= row) - 1;
        Ok((part, row - self.starts[part]))
    }
}

/// One open part.
#[derive(Debug)]
pub struct Part {
    manifest: Arc<Manifest>,
    number: usize,
    file: PartFile,
    footer: Footer,
    verify: bool,
    seen: Arc<Seen>,
    /// Decoded batches that point into the map.
    held: Vec<OnceLock<RecordBatch>>,
    /// Of a copied part: the batch read last.
    last: Mutex<Option<(usize, RecordBatch)>>,
}

impl Part {
    fn open(set: &ShardSet, number: usize, slot: &Slot) -> Result<Self, ShardError> {
        let info = &set.manifest.parts[number];
        let file = PartFile::open(&set.dir, &info.file, info.bytes, set.options.access)?;
        let stamp = file.stamp();
        let fresh =
            || Arc::new(Seen { stamp, verified: info.pages.0.iter().map(|_| AtomicBool::new(false)).collect() });
        let seen = slot.seen.get_or_init(fresh).clone();
        if seen.stamp != stamp {
            let problem = "it is not the file that was opened before".to_owned();
            return Err(ShardError::Changed { part: info.file.clone(), problem });
        }
        let footer = Footer { schema: Arc::new(ArrowSchema::empty()), blocks: Vec::new() };
        let (manifest, verify) = (set.manifest.clone(), set.options.verify);
        let mut part = Self { manifest, number, file, footer, verify, seen, held: Vec::new(), last: Mutex::default() };
        part.file.will_jump(true);
        part.footer = part.read_footer().map_err(|error| part.file.check().err().unwrap_or(error))?;
        part.file.will_jump(false);
        part.held = part.footer.blocks.iter().map(|_| OnceLock::new()).collect();
        Ok(part)
    }

    fn read_footer(&self) -> Result<Footer, ShardError> {
        let info = self.info();
        let light = self.light_checksum(info.n_batches() as usize);
        let last_page = info.bytes.saturating_sub(self.manifest.page_bytes) / 64 * 64;
        let read = self.footer_bytes(light);
        let (start, bytes) = read.map_err(|error| self.located(light, last_page, info.bytes, error))?;
        let footer = read_footer(&info.file, &bytes[..bytes.len() - TRAILER_BYTES as usize], start)?;
        check_same(&info.file, &self.manifest.columns, &ColumnInfo::all(&footer.schema), "the manifest")?;
        if footer.blocks.len() as u64 != info.n_batches() {
            let problem = format!("{} record batches, the manifest says {}", footer.blocks.len(), info.n_batches());
            return Err(ShardError::format(&info.file, problem));
        }
        self.file.check()?;
        Ok(footer)
    }

    /// Where the footer begins, and a copy of all bytes from there on: what is checked must be what is followed.
    fn footer_bytes(&self, light: Option<u64>) -> Result<(u64, Vec<u8>), ShardError> {
        let info = self.info();
        let tail = self.bytes_by(light, info.bytes.saturating_sub(64) / 64 * 64, info.bytes)?.to_vec();
        let start = footer_start(&info.file, &tail, info.bytes)?;
        let aligned = start / 64 * 64;
        let bytes = self.bytes_by(light, aligned, info.bytes)?[(start - aligned) as usize..].to_vec();
        match light {
            Some(expected) if expected != Checksums::of(&bytes) => Err(ShardError::format(
                &info.file,
                "its footer is not that which the manifest has a checksum of".to_owned(),
            )),
            _ => Ok((start, bytes)),
        }
    }

    /// What the manifest says of it.
    pub fn info(&self) -> &PartInfo {
        &self.manifest.parts[self.number]
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        self.footer.schema.clone()
    }

    /// Its rows.
    pub fn n_rows(&self) -> u64 {
        self.info().rows
    }

    /// Its record batches.
    pub fn n_batches(&self) -> usize {
        self.footer.blocks.len()
    }

    /// Whether its batches are read in place.
    pub fn is_mapped(&self) -> bool {
        self.file.is_mapped()
    }

    /// Whether the file is still what it was when it was opened. Ask after the last use of a batch where rows that
    /// changed under way must not count.
    ///
    /// # Errors
    /// [`ShardError::Changed`].
    pub fn check(&self) -> Result<(), ShardError> {
        self.file.check()
    }

    /// Record batch `batch`: its pages are verified when they are touched for the first time.
    ///
    /// # Errors
    /// [`ShardError::Changed`] before the file's memory is touched; [`ShardError::Checksum`], [`ShardError::Format`].
    pub fn batch(&self, batch: usize) -> Result<RecordBatch, ShardError> {
        let block = self.place(batch)?;
        self.file.check()?;
        if !self.file.is_mapped() {
            return self.copied_batch(batch, &block);
        }
        if let Some(held) = self.held[batch].get() {
            return Ok(held.clone());
        }
        let decoded = self.decode(batch, &block)?;
        // What was verified and decoded counts only if the file was the same before and after.
        self.file.check()?;
        Ok(self.held[batch].get_or_init(|| decoded).clone())
    }

    /// All record batches in order.
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch, ShardError>> + '_ {
        (0..self.n_batches()).map(|batch| self.batch(batch))
    }

    /// Row `row` of the part.
    ///
    /// # Errors
    /// [`ShardError::OutOfRange`], or as [`Part::batch`].
    pub fn row(&self, row: u64) -> Result<RowRef, ShardError> {
        if row >= self.n_rows() {
            return Err(ShardError::OutOfRange { what: "row", index: row, len: self.n_rows() });
        }
        let per_batch = self.info().batch_rows;
        Ok(RowRef { batch: self.batch((row / per_batch) as usize)?, index: (row % per_batch) as usize })
    }

    fn copied_batch(&self, batch: usize, block: &BlockPlace) -> Result<RecordBatch, ShardError> {
        if let Some((number, held)) = lock(&self.last).as_ref()
            && *number == batch
        {
            return Ok(held.clone());
        }
        let decoded = self.decode(batch, block)?;
        *lock(&self.last) = Some((batch, decoded.clone()));
        Ok(decoded)
    }

    fn decode(&self, batch: usize, block: &BlockPlace) -> Result<RecordBatch, ShardError> {
        let info = self.info();
        let n_rows = info.rows_of_batch(batch as u64);
        let bytes = self.bytes(block.start, block.end())?;
        let decoded = read_batch(&info.file, &self.footer.schema, block, &bytes, n_rows, self.file.is_mapped());
        // Verified bytes that do not decode were changed in between, or forged: the file says which.
        decoded.map_err(|error| self.file.check().err().unwrap_or(error))
    }

    /// The block of a batch as it lies in the file, unverified, with its bytes.
    pub(super) fn block(&self, batch: usize) -> Result<(BlockPlace, Buffer), ShardError> {
        let block = self.footer.blocks[batch];
        Ok((block, self.file.bytes(block.start, block.end())?))
    }

    /// Where record batch `batch` lies.
    pub(super) fn place(&self, batch: usize) -> Result<BlockPlace, ShardError> {
        let len = self.footer.blocks.len() as u64;
        let out_of_range = ShardError::OutOfRange { what: "batch", index: batch as u64, len };
        self.footer.blocks.get(batch).copied().ok_or(out_of_range)
    }

    /// The bytes `start..end`: of pages that are verified, unless a checksum `light` is to be compared with what is read.
    pub(super) fn bytes_by(&self, light: Option<u64>, start: u64, end: u64) -> Result<Buffer, ShardError> {
        if light.is_some() { self.file.bytes(start, end) } else { self.bytes(start, end) }
    }

    /// `error`, or what is wrong with the pages of `start..end`, which tells where: of what a checksum `light` has not been compared
    /// with, nothing that is said counts but that it is damaged.
    pub(super) fn located(&self, light: Option<u64>, start: u64, end: u64, error: ShardError) -> ShardError {
        light.and_then(|_| self.bytes(start, end).err()).unwrap_or(error)
    }

    /// The bytes `start..end`, of pages that are verified.
    pub(super) fn bytes(&self, start: u64, end: u64) -> Result<Buffer, ShardError> {
        if !self.verify {
            return self.file.bytes(start, end);
        }
        let page_bytes = self.manifest.page_bytes;
        let first = start / page_bytes;
        let pages_end = end.div_ceil(page_bytes).saturating_mul(page_bytes).min(self.info().bytes);
        let buffer = self.file.bytes(first * page_bytes, pages_end)?;
        for (i, page) in buffer.chunks(page_bytes as usize).enumerate() {
            self.verify_page(first as usize + i, page)?;
        }
        Ok(buffer.slice_with_length((start - first * page_bytes) as usize, (end - start) as usize))
    }

    /// What record batch `batch` without its tensors is verified by, behind the last the footer; `None` where pages are, or nothing is.
    pub(super) fn light_checksum(&self, batch: usize) -> Option<u64> {
        self.info().light.0.get(batch).copied().filter(|_| self.verify)
    }

    /// The map or file beneath.
    pub(super) fn file(&self) -> &PartFile {
        &self.file
    }

    fn verify_page(&self, number: usize, page: &[u8]) -> Result<(), ShardError> {
        let once = self.file.is_mapped();
        let seen = &self.seen.verified[number];
        if once && seen.load(Ordering::Acquire) {
            return Ok(());
        }
        let info = self.info();
        if Checksums::of(page) != info.pages.0[number] {
            // A file that was changed under way reads as something else: say that, not "damaged".
            self.file.check()?;
            let start = number as u64 * self.manifest.page_bytes;
            return Err(ShardError::Checksum { part: info.file.clone(), start, end: start + page.len() as u64 });
        }
        seen.store(true, Ordering::Release);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in another thread leaves a slot empty or full, never half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
