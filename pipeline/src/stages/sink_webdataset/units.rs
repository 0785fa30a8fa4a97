//! Which tars are there and complete: a record per unit beside them, written after the tar it speaks of.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};

use crate::stage::{Reject, RunInfo, SinkReport, StageError};

/// Name of the table of rejected clips.
const REJECTS: &str = "rejects.parquet";

/// What is known of a unit whose tar is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Of the graph that made it.
    pub fingerprint: String,
    /// Of the clips it was made from.
    pub key: String,
    /// Samples in the tar.
    pub rows: u64,
    /// Bytes of the tar.
    pub bytes: u64,
    /// Clips that the source gave.
    pub clips: u64,
    /// Rows left out on purpose.
    pub filtered: u64,
    /// Clips that could not be used.
    pub rejects: Vec<Reject>,
}

/// The folder of tars.
pub struct Units {
    root: PathBuf,
}

/// A key as text.
pub fn hex(key: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*key))
}

fn io<'a>(what: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> StageError + 'a {
    move |error| StageError::io(format!("{what} {}", path.display()), error)
}

impl Units {
    /// Nothing is made or opened yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the folder where it is not there. `_units` comes before the first tar: a folder that holds files of our names
    /// and no `_units` is someone else's.
    fn claim(&self, n_units: usize) -> Result<(), StageError> {
        let units = self.root.join("_units");
        let refuse = |what: &str| {
            let root = self.root.display();
            Err(StageError::Other(format!("{root} holds {what} that this sink did not write: give another path")))
        };
        if self.root.join("manifest.json").exists() || units.join("g001").exists() {
            return refuse("a shard set");
        }
        if units.is_dir() {
            return Ok(());
        }
        if (0..n_units).any(|unit| self.tar(unit).exists()) {
            return refuse("part-*.tar files");
        }
        if self.root.join(REJECTS).exists() {
            return refuse("a rejects.parquet");
        }
        std::fs::create_dir_all(&units).map_err(io("creating", &units))?;
        File::open(&self.root).and_then(|folder| folder.sync_all()).map_err(io("syncing", &self.root))
    }

    fn tar(&self, unit: usize) -> PathBuf {
        self.root.join(format!("part-{unit:05}.tar"))
    }

    fn record_path(&self, unit: usize) -> PathBuf {
        self.root.join(format!("_units/{unit:05}.json"))
    }

    /// The record of a unit, when it parses and its tar is there in that size.
    fn known(&self, unit: usize) -> Option<Record> {
        let record: Record = serde_json::from_slice(&std::fs::read(self.record_path(unit)).ok()?).ok()?;
        (std::fs::metadata(self.tar(unit)).ok()?.len() == record.bytes).then_some(record)
    }

    fn done_by(&self, unit: usize, run: &RunInfo) -> Option<Record> {
        let key = hex(&run.units.get(unit)?.key);
        self.known(unit).filter(|record| record.fingerprint == run.fingerprint && record.key == key)
    }

    /// Which units are done by this graph over these clips.
    ///
    /// # Errors
    /// [`StageError`] when tars of another graph, or of more units, are here, or any with `--fresh`: a finished tar is never replaced.
    pub fn done(&self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        self.claim(run.units.len())?;
        for unit in self.recorded()? {
            let Some(record) = self.known(unit) else { continue };
            let beyond = unit >= run.units.len();
            let why = match () {
                () if beyond => "of a longer list of clips",
                () if record.fingerprint != run.fingerprint => "made by another graph",
                () if run.fresh => "already, and --fresh would replace them one by one",
                () => continue,
            };
            return Err(StageError::Other(format!(
                "{} holds tars {why}: give another path, or remove the folder first",
                self.root.display()
            )));
        }
        Ok((0..run.units.len()).map(|unit| self.done_by(unit, run).is_some()).collect())
    }

    /// Units that have a record, in order.
    fn recorded(&self) -> Result<Vec<usize>, StageError> {
        let folder = self.root.join("_units");
        let mut units = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(io("listing", &folder))? {
            let name = entry.map_err(io("listing", &folder))?.file_name().to_string_lossy().into_owned();
            units.extend(name.strip_suffix(".json").and_then(|number| number.parse::<usize>().ok()));
        }
        units.sort_unstable();
        Ok(units)
    }

    /// A file to write the tar of `unit` into; what an interrupted run left of it is overwritten.
    pub fn create(&self, unit: usize) -> Result<File, StageError> {
        let path = temporary(&self.tar(unit));
        File::create(&path).map_err(io("creating", &path))
    }

    /// Puts the finished tar in its place; returns its size.
    pub fn commit(&self, unit: usize, file: File) -> Result<u64, StageError> {
        let path = self.tar(unit);
        let bytes = file.metadata().map_err(io("closing", &path))?.len();
        commit(file, &path)?;
        Ok(bytes)
    }

    /// Writes the record of a unit whose tar is in its place.
    pub fn record(&self, unit: usize, record: &Record) -> Result<(), StageError> {
        let path = self.record_path(unit);
        let text = serde_json::to_vec_pretty(record).map_err(|error| StageError::Other(error.to_string()))?;
        let temporary = temporary(&path);
        let mut file = File::create(&temporary).map_err(io("creating", &temporary))?;
        file.write_all(&text).map_err(io("writing", &temporary))?;
        commit(file, &path)
    }

    /// Everything that is here by this graph, of this run and earlier ones; writes `rejects.parquet` where it is wanted.
    pub fn report(&self, run: &RunInfo) -> Result<SinkReport, StageError> {
        let mut report = SinkReport { path: Some(self.root.clone()), ..SinkReport::default() };
        let mut rejects = Vec::new();
        for unit in 0..run.units.len() {
            let Some(record) = self.done_by(unit, run) else { continue };
            report.rows += record.rows;
            report.bytes += record.bytes;
            report.units += 1;
            report.rejects += record.rejects.len() as u64;
            rejects.extend(record.rejects);
        }
        report.complete = report.units == run.units.len() as u64;
        if run.quarantine {
            self.write_rejects(&rejects)?;
        }
        Ok(report)
    }

    fn write_rejects(&self, rejects: &[Reject]) -> Result<(), StageError> {
        let texts =
            |of: fn(&Reject) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rejects.iter().map(of))) };
        let table = RecordBatch::try_from_iter([
            ("clip_id", texts(|reject| &reject.clip_id)),
            ("source", texts(|reject| &reject.source)),
            ("stage", texts(|reject| &reject.stage)),
            ("reason", texts(|reject| &reject.reason)),
            ("detail", texts(|reject| &reject.detail)),
        ])?;
        let path = self.root.join(REJECTS);
        let temporary = temporary(&path);
        let file = File::create(&temporary).map_err(io("creating", &temporary))?;
        let failed =
            |error: parquet::errors::ParquetError| StageError::Other(format!("writing {}: {error}", path.display()));
        let mut writer = ArrowWriter::try_new(file, table.schema(), None).map_err(failed)?;
        writer.write(&table).map_err(failed)?;
        commit(writer.into_inner().map_err(failed)?, &path)
    }
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// From the temporary name to the final one: bytes on the disk, then the name, then the folder that holds the name.
fn commit(file: File, path: &Path) -> Result<(), StageError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    file.sync_all().map_err(io("syncing", path))?;
    drop(file);
    std::fs::rename(temporary(path), path).map_err(io("renaming to", path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("syncing", folder))
}
