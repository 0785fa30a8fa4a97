//! [`ShardWriter`]: the sink that makes a shard set, unit by unit, each committed whole or absent.
//!
//! # Protocol
//! 1. [`Sink::open`] finds or claims the generation of the job, and reads which units have a valid record.
//! 2. A unit's rows go to a temporary file in the same folder. At its end: fsync, rename to `part-*.arrow`, fsync of the
//!    folder; then its record in the same way. A unit is done when its record is.
//! 3. [`Sink::finish`] reads all records back. When none is missing, `rejects.parquet` and then `manifest.json` are
//!    written. Processes that each do some of the units need no other agreement: whoever is last finds all records, and
//!    two that are last together write the same bytes.
//!
//! A run that does a piece of a job ([`RunInfo::piece`]) finds its generation claimed already, looks at its own records alone, and
//! leaves the last step to whoever handed the piece out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, PAGE_BYTES, commit_bytes, fs_of, sweep, to_hex};
use arrow::array::RecordBatch;
use serde_json::json;

use super::error::ShardError;
use super::foreign::refuse_foreign;
use super::generation::{self, Generation, RecordState, keep_aside};
use super::layout;
use super::manifest::{ColumnInfo, Compression, FORMAT, Job, MAX_JSON_BYTES, Manifest, TensorInfo, UnitRecord};
use super::part_writer::{PartWriter, batch_rows, check_same};
use super::rejects::write_rejects;
use super::stats::Moments;
use crate::schema::{Column, ColumnType, Schema};
use crate::stage::{Reject, RunInfo, Sink, SinkReport, StageError, Unit, UnitTally};

/// Of so many pieces of a job one looks for what others have left when they died.
const PIECES_PER_SWEEP: usize = 64;

/// Notes on records that cannot be used; the rest is counted.
const SHOWN_RECORDS: usize = 5;

/// Writes a shard set.
#[derive(Debug)]
pub struct ShardWriter {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    stored: Arc<Schema>,
    compression: Compression,
    open: Option<Open>,
}

struct Open {
    run: RunInfo,
    generation: Generation,
    /// Columns of the set, and the part that set them.
    columns: Option<(String, Vec<ColumnInfo>)>,
    current: Option<(usize, PartWriter)>,
    notes: Vec<String>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("generation", &self.generation.number).finish_non_exhaustive()
    }
}

impl ShardWriter {
    /// A writer into the folder `root` of rows whose columns are at least those of `stored`.
    ///
    /// # Errors
    /// [`ShardError::Column`] for columns that are places of encoded audio, [`ShardError::Io`] for an address that cannot be reached.
    pub fn new(root: impl Into<PathBuf>, stored: Schema, compression: Compression) -> Result<Self, ShardError> {
        let root = root.into();
        let fs = fs_of(&root)?;
        Self::with_fs(root, stored, compression, fs)
    }

    /// The same over other file operations.
    ///
    /// # Errors
    /// As [`ShardWriter::new`].
    pub fn with_fs(
        root: impl Into<PathBuf>,
        stored: Schema,
        compression: Compression,
        fs: Arc<dyn Fs>,
    ) -> Result<Self, ShardError> {
        let root = root.into();
        if let Some(media) = stored.columns.iter().find(|column| column.kind == ColumnType::Media) {
            let problem = "it says where encoded audio lies; decode it before it is stored";
            return Err(ShardError::column(&root.display().to_string(), &media.name, problem));
        }
        Ok(Self { fs, root, stored: Arc::new(stored), compression, open: None })
    }

    /// The part of the sink's settings that decides what is in the files.
    fn sink_json(&self) -> serde_json::Value {
        let columns: Vec<String> = self.stored.columns.iter().map(|c| format!("{} {}", c.name, c.kind)).collect();
        let batch_rows = batch_rows(&self.stored);
        json!({ "compression": self.compression, "columns": columns, "page_bytes": PAGE_BYTES, "batch_rows": batch_rows })
    }

    fn begin(&mut self, run: &RunInfo) -> Result<Vec<bool>, ShardError> {
        // Whoever shares a job out has looked at the folder; each piece would list thousands of files once more.
        if !run.piece {
            refuse_foreign(self.fs.as_ref(), &self.root)?;
            let units = layout::units_dir(&self.root);
            self.fs.create_dir_all(&units).map_err(|e| ShardError::io("create", &units, e))?;
        }
        let mut notes = Vec::new();
        let job = Job::new(run, self.sink_json());
        let generation = if run.piece {
            generation::claimed(&self.fs, &self.root, &job, run, &mut notes)?
        } else {
            generation::choose(&self.fs, &self.root, &job, run, &mut notes)?
        };
        // What died on this machine can be removed here alone, but not by every piece.
        let sweeps =
            !run.piece || run.mine.iter().position(|mine| *mine).is_some_and(|unit| unit % PIECES_PER_SWEEP == 0);
        let left =
            if sweeps { sweep(self.fs.as_ref(), &self.root) + sweep(self.fs.as_ref(), &generation.dir()) } else { 0 };
        if left > 0 {
            let root = self.root.display();
            notes.push(format!(
                "{left} temporary files in {root} are of other machines or earlier boots, whose runs may be alive: left as they are"
            ));
        }
        let mut columns = None;
        let mut done = vec![false; run.units.len()];
        let mut unusable = Vec::new();
        generation.each_record(of_interest(run), &mut |unit, state| {
            done[unit] = matches!(state, RecordState::Done(_));
            match state {
                RecordState::Done(record) => columns = columns.take().or_else(|| columns_of(&record)),
                RecordState::Unusable(problem) => unusable.push(problem),
                RecordState::Absent => {}
            }
            Ok(())
        })?;
        let more = unusable.len().saturating_sub(SHOWN_RECORDS);
        notes.extend(
            unusable.into_iter().take(SHOWN_RECORDS).map(|problem| format!("{problem}; the unit is done again")),
        );
        if more > 0 {
            notes.push(format!("and {more} more records like these"));
        }
        self.open = Some(Open { run: run.clone(), generation, columns, current: None, notes });
        Ok(done)
    }

    fn opened(&mut self) -> Result<&mut Open, ShardError> {
        self.open.as_mut().ok_or_else(|| ShardError::format("shards", "the sink was not opened"))
    }

    fn push(&mut self, unit: usize, rows: &RecordBatch) -> Result<(), ShardError> {
        let Self { fs, root, stored, compression, .. } = self;
        let (fs, root, stored, compression) = (fs.clone(), root.clone(), stored.clone(), *compression);
        let open = self.opened()?;
        let part = open.part(unit, stored)?;
        part.push(rows, &fs, &root, compression)
    }

    fn commit_unit(&mut self, unit: usize, tally: UnitTally) -> Result<(), ShardError> {
        let stored = self.stored.clone();
        let open = self.opened()?;
        open.part(unit, stored)?;
        let Some((_, part)) = open.current.take() else { return Ok(()) };
        let key = to_hex(&open.run.units[unit].key);
        let finished = part.finish(unit, key.clone())?;
        let record = UnitRecord {
            format: FORMAT,
            content: open.generation.job.content.clone(),
            unit: unit as u64,
            key,
            part: finished.part,
            columns: finished.columns,
            moments: finished.moments,
            tally,
        };
        match (&open.columns, columns_of(&record)) {
            (Some((whose, expected)), Some((name, found))) => check_same(&name, expected, &found, whose)?,
            (None, found) => open.columns = found,
            (Some(_), None) => {}
        }
        open.generation.commit(&record)
    }

    fn close(&mut self) -> Result<SinkReport, ShardError> {
        let open = self.opened()?;
        let piece = open.run.piece;
        let mut records = Vec::new();
        open.generation.each_record(of_interest(&open.run), &mut |_, state| {
            if let RecordState::Done(record) = state {
                records.push(*record);
            }
            Ok(())
        })?;
        let complete = !piece && records.len() == open.run.units.len();
        let (run, number, job) = (open.run.clone(), open.generation.number, open.generation.job.clone());
        let mut notes = std::mem::take(&mut open.notes);
        if complete {
            if run.quarantine {
                let rejects: Vec<&Reject> = records.iter().flat_map(|record| &record.tally.rejects).collect();
                write_rejects(&self.fs, self.root.join(layout::REJECTS), &rejects)?;
            }
            let manifest = self.manifest(&records, &job, number)?;
            self.commit_manifest(&manifest)?;
        } else if !piece {
            let missing = run.units.len() - records.len();
            notes.push(format!("{missing} of {} units are not there yet: no manifest is written", run.units.len()));
        }
        let sum = |of: &dyn Fn(&UnitRecord) -> u64| records.iter().map(of).sum();
        Ok(SinkReport {
            path: Some(self.root.clone()),
            rows: sum(&|record| record.part.as_ref().map_or(0, |part| part.rows)),
            bytes: sum(&|record| record.part.as_ref().map_or(0, |part| part.bytes)),
            units: records.len() as u64,
            complete,
            rejects: sum(&|record| record.tally.rejects.len() as u64),
            notes,
        })
    }

    fn manifest(&self, records: &[UnitRecord], job: &Job, generation: u32) -> Result<Manifest, ShardError> {
        let mut columns: Option<(String, Vec<ColumnInfo>)> = None;
        for (name, found) in records.iter().filter_map(columns_of) {
            match &columns {
                Some((whose, expected)) => check_same(&name, expected, &found, whose)?,
                None => columns = Some((name, found)),
            }
        }
        let parts: Vec<_> = records.iter().filter_map(|record| record.part.clone()).collect();
        Ok(Manifest {
            format: FORMAT,
            generation,
            pipeline: job.pipeline.clone(),
            fingerprint: job.fingerprint.clone(),
            graph: job.graph.clone(),
            rows: parts.iter().map(|part| part.rows).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
            clips: records.iter().map(|record| record.tally.clips).sum(),
            filtered: records.iter().map(|record| record.tally.filtered).sum(),
            rejects: records.iter().map(|record| record.tally.rejects.len() as u64).sum(),
            columns: columns.map(|(_, columns)| columns).unwrap_or_default(),
            tensors: self.stored.columns.iter().filter_map(|column| tensor_info(column, records)).collect(),
            compression: self.compression,
            page_bytes: PAGE_BYTES,
            units: records.len() as u64,
            parts,
        })
    }

    /// Writes the manifest last of all; the manifest of another generation is kept under its number.
    fn commit_manifest(&self, manifest: &Manifest) -> Result<(), ShardError> {
        let path = self.root.join(layout::MANIFEST);
        let bytes = ajepa_store::seal(manifest).map_err(|e| ShardError::manifest(&path, e.to_string()))?;
        let there = self.fs.read(&path, MAX_JSON_BYTES);
        if there.is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        match Manifest::read(&self.root) {
            Ok(old) if old.generation != manifest.generation => {
                let old_bytes = self.fs.read(&path, MAX_JSON_BYTES);
                let old_bytes = old_bytes.map_err(|e| ShardError::io("read", &path, e))?;
                let kept = self.root.join(layout::old_manifest_name(old.generation));
                if self.fs.len(&kept).is_err() {
                    commit_bytes(&self.fs, kept, &old_bytes)?;
                }
            }
            Ok(_) => {}
            Err(_) => keep_aside(self.fs.as_ref(), &path)?,
        }
        Ok(commit_bytes(&self.fs, path, &bytes)?)
    }

    /// Tells of every unit that is there, in order: the file of its rows, where it has some, and how its clips ended.
    pub(crate) fn each_unit(
        &mut self,
        tell: &mut dyn FnMut(Option<String>, UnitTally) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let open = self.opened()?;
        // What whoever is told says is not of a shard: it is kept until the walk is over.
        let mut refused = Ok(());
        open.generation.each_record(open.run.units.iter().enumerate(), &mut |_, state| {
            if let (RecordState::Done(record), Ok(())) = (state, &refused) {
                refused = tell(record.part.map(|part| part.file), record.tally);
            }
            Ok(())
        })?;
        refused
    }

    /// The folder that is written.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Open {
    fn part(&mut self, unit: usize, stored: Arc<Schema>) -> Result<&mut PartWriter, ShardError> {
        if unit >= self.run.units.len() {
            let len = self.run.units.len() as u64;
            return Err(ShardError::OutOfRange { what: "unit", index: unit as u64, len });
        }
        let number = self.generation.number;
        let new = || (unit, PartWriter::new(layout::part_name(number, unit), stored));
        let (current, part) = self.current.get_or_insert_with(new);
        if *current != unit {
            return Err(ShardError::format("shards", format!("rows of unit {unit} before unit {current} has ended")));
        }
        Ok(part)
    }
}

/// The units whose records a run looks at: all, or its own where it does a piece.
fn of_interest(run: &RunInfo) -> impl Iterator<Item = (usize, &Unit)> {
    run.units.iter().enumerate().filter(|(unit, _)| !run.piece || run.mine[*unit])
}

fn columns_of(record: &UnitRecord) -> Option<(String, Vec<ColumnInfo>)> {
    record.part.as_ref().map(|part| (part.file.clone(), record.columns.clone()))
}

fn tensor_info(column: &Column, records: &[UnitRecord]) -> Option<TensorInfo> {
    let ColumnType::Tensor(tensor) = &column.kind else { return None };
    let mut moments = Moments::default();
    // In the order of units, from what is on disk: every process that adds these up gets the same last bit.
    for (_, of_unit) in records.iter().flat_map(|record| &record.moments).filter(|(name, _)| *name == column.name) {
        moments.merge(of_unit);
    }
    let variance = moments.variance();
    Some(TensorInfo {
        column: column.name.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        axes: tensor.axes.clone(),
        front_end: tensor.front_end.clone(),
        n_frames: moments.n_frames,
        n_non_finite: moments.n_non_finite,
        mean: moments.mean,
        variance,
    })
}

impl Sink for ShardWriter {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        Ok(self.begin(run)?)
    }

    fn write(&mut self, unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        Ok(self.push(unit, &rows)?)
    }

    fn end_unit(&mut self, unit: usize, tally: UnitTally) -> Result<(), StageError> {
        Ok(self.commit_unit(unit, tally)?)
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        Ok(self.close()?)
    }
}
