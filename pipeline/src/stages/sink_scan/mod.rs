//! `sink_scan`: what is known of every clip, as one Parquet table.

mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, RealFs, StoreError};
use arrow::array::RecordBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{ColumnType, Schema};
use crate::shard::{Compression, ReadOptions, ShardSet, ShardWriter};
use crate::stage::{
    BuildCx, BuildError, PlanError, RunInfo, Sink, SinkReport, Stage, StageConfig, StageError, StagePlan, UnitTally,
};
use table::TableFile;

pub use table::{ScanAbout, read_about, scan_fields};

/// Writes what `measure` found out of every clip as one Parquet table, those that could not be used among them: `status` is
/// then the reason. Columns: `clip_id`, `source`, `offset_s`, `duration_s`, `rate_hz`, `channels`, `codec`, `content_hash`,
/// `fingerprint`, `peak_db`, `rms_db`, `status`, `detail`, `labels`, `content_bytes`, and those that the source brought.
///
/// A scan can be stopped and run again: what is measured lies in `PATH.parts`, a folder of small shards, and is not measured
/// again, not even when files were added behind. The table is written when all clips are there, whole or not at all; a table
/// of an earlier scan is replaced, any other file is not. Clips stand in the order of the source, shard by shard; in each those
/// that could not be used are last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkScanConfig {
    /// The table: .parquet.
    pub path: PathBuf,
}

impl SinkScanConfig {
    /// Where the finished units lie.
    pub fn parts(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".parts");
        name.into()
    }
}

impl StageConfig for SinkScanConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let input = super::checks::one_input(inputs)?;
        self.validate()?;
        if input.get("status").is_none() || input.get("fingerprint").is_none() {
            return Err(PlanError::new(
                format!("nobody has measured what arrives: {input}"),
                "put `measure` before it",
            ));
        }
        let mut stored = Schema { columns: Vec::new(), extra: input.extra };
        for column in input.columns.iter().filter(|column| matches!(column.kind, ColumnType::Plain(_))) {
            stored = stored.with(&column.name, column.kind.clone());
        }
        Ok(StagePlan::sink(stored))
    }

    fn validate(&self) -> Result<(), PlanError> {
        let extension = self.path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        if matches!(extension.as_deref(), Some("parquet" | "pq")) {
            return Ok(());
        }
        let problem = format!("{:?} does not end in .parquet", self.path.display().to_string());
        Err(PlanError::field("path", problem, "name a file such as out/scan.parquet"))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let refuse = |problem| Err(BuildError::new(problem, "move it away, or name another file"));
        let shown = self.path.display();
        if self.path.is_dir() {
            return refuse(format!("{shown} is a folder, and a table is to be written there"));
        }
        // Told before hours of work, not after.
        if self.path.exists() && read_about(&self.path).is_none() {
            return refuse(format!("{shown} is there already, and is no table of a scan"));
        }
        let parts = self.parts();
        super::checks::folder_to_write(&parts)?;
        let writer = ShardWriter::new(parts, cx.output.clone(), Compression::None);
        let writer = writer.map_err(|error| BuildError::new(error.to_string(), "leave the column out"))?;
        let path = self.path.clone();
        Ok(Stage::Sink(Box::new(SinkScan { path, writer, fs: Arc::new(RealFs), about: ScanAbout::default() })))
    }
}

struct SinkScan {
    path: PathBuf,
    writer: ShardWriter,
    fs: Arc<dyn Fs>,
    about: ScanAbout,
}

fn failed(error: StoreError) -> StageError {
    let help = StoreError::help(&error.source, "the measured parts are kept");
    StageError::Io { what: format!("{}{help}", error.what), source: error.source }
}

impl SinkScan {
    /// Puts the finished units together; the size of the table.
    fn write_table(&mut self) -> Result<u64, StageError> {
        // One part is read at a time, and only once.
        let options = ReadOptions { max_open: 1, ..ReadOptions::default() };
        let set = ShardSet::open_with(self.writer.root(), options)?;
        let extra = match set.n_parts() {
            0 => Vec::new(),
            _ => table::extra_fields(set.schema()?.as_ref()),
        };
        let mut file = TableFile::create(&self.fs, &self.path, &extra)?;
        let mut about = self.about.clone();
        let mut next = 0;
        self.writer.each_unit(&mut |part, tally| {
            if part.is_some() {
                for batch in set.part(next)?.batches() {
                    file.rows(&batch?)?;
                }
                next += 1;
            }
            about.clips += tally.clips;
            about.rejects += tally.rejects.len() as u64;
            file.rejects(&tally.rejects)
        })?;
        file.commit(&about)
    }
}

impl Sink for SinkScan {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        self.about = ScanAbout::of_run(run);
        let folder = self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        self.fs.create_dir_all(folder).map_err(|error| failed(StoreError::io("create", folder, error)))?;
        self.writer.open(run)
    }

    fn write(&mut self, unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        self.writer.write(unit, rows)
    }

    fn end_unit(&mut self, unit: usize, tally: UnitTally) -> Result<(), StageError> {
        self.writer.end_unit(unit, tally)
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        let mut report = self.writer.finish()?;
        if !report.complete {
            return Ok(report);
        }
        report.path = Some(self.path.clone());
        report.units = 0;
        report.bytes = match read_about(&self.path) {
            Some(there) if there.is_of(&self.about) => {
                self.fs.len(&self.path).map_err(|error| failed(StoreError::io("read", &self.path, error)))?
            }
            _ => self.write_table()?,
        };
        Ok(report)
    }
}
