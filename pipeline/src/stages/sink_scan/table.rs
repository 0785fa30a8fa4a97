//! The table of a scan: its columns, and the Parquet file on its way to its name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, PendingFile, StoreError};
use arrow::array::{Array, ArrayRef, ListBuilder, RecordBatch, StringArray, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use super::failed;
use crate::corpus::footer_text;
use crate::schema::list_of_utf8;
use crate::stage::{Reject, RunInfo, StageError};

/// Key of the JSON in the file's footer.
const KEY: &str = "ajepa.scan";
/// Version of the table.
const FORMAT: u32 = 1;
/// Rows of a row group, which is held in memory: 30 MB of ten-second clips.
const GROUP_ROWS: usize = 1 << 16;

/// What the table says of itself, in its footer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanAbout {
    /// Version of the table.
    pub format: u32,
    /// Version of the program.
    pub program: String,
    /// Words of a fingerprint for each second of sound.
    pub words_per_s: usize,
    /// Clips that the sources gave.
    pub clips: u64,
    /// Those that could not be used.
    pub rejects: u64,
    /// Hash of everything that decides content: limits, decoder, versions.
    pub fingerprint: String,
    /// Hash of the keys of all units: which files, of which size and time.
    pub inputs: String,
    /// What the fingerprint was taken over.
    pub graph: serde_json::Value,
}

impl ScanAbout {
    pub(super) fn of_run(run: &RunInfo) -> Self {
        let mut inputs = blake3::Hasher::new();
        run.units.iter().for_each(|unit| {
            inputs.update(&unit.key);
        });
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            words_per_s: ajepa_ops::fingerprint::WORDS_PER_S,
            clips: 0,
            rejects: 0,
            fingerprint: run.fingerprint.clone(),
            inputs: inputs.finalize().to_hex().to_string(),
            graph: run.graph.clone(),
        }
    }

    /// Whether both are of the same graph over the same audio.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        (&self.fingerprint, &self.inputs, self.format) == (&other.fingerprint, &other.inputs, other.format)
    }
}

/// What the table at `path` says of itself; `None` for whatever is no table of a scan.
pub fn read_about(path: &Path) -> Option<ScanAbout> {
    serde_json::from_str(&footer_text(File::open(path).ok()?, KEY).ok()??).ok()
}

/// The columns that every table of a scan has, in order.
pub fn scan_fields() -> Vec<Field> {
    let words = DataType::List(Arc::new(Field::new("item", DataType::UInt32, true)));
    let columns = [
        ("clip_id", DataType::Utf8),
        ("source", DataType::Utf8),
        ("offset_s", DataType::Float64),
        ("duration_s", DataType::Float64),
        ("rate_hz", DataType::UInt32),
        ("channels", DataType::UInt32),
        ("codec", DataType::Utf8),
        ("content_hash", DataType::FixedSizeBinary(16)),
        ("fingerprint", words),
        ("peak_db", DataType::Float32),
        ("rms_db", DataType::Float32),
        ("status", DataType::Utf8),
        ("detail", DataType::Utf8),
        ("labels", list_of_utf8()),
        ("content_bytes", DataType::UInt64),
    ];
    let is_known = |name: &str| matches!(name, "clip_id" | "source" | "status");
    columns.into_iter().map(|(name, kind)| Field::new(name, kind, !is_known(name))).collect()
}

/// The columns of `parts` that are not of every scan.
pub(super) fn extra_fields(parts: &ArrowSchema) -> Vec<FieldRef> {
    let fixed = scan_fields();
    let is_extra = |field: &&FieldRef| !fixed.iter().any(|fixed| fixed.name() == field.name());
    parts.fields().iter().filter(is_extra).cloned().collect()
}

/// A table on its way to its name.
pub(super) struct TableFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<PendingFile>,
}

fn fault(path: &Path, error: ParquetError) -> StageError {
    let what = format!("writing {}", path.display());
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => failed(StoreError { what, source: *source }),
            Err(other) => StageError::Other(format!("{what}: {other}")),
        },
        other => StageError::Other(format!("{what}: {other}")),
    }
}

impl TableFile {
    pub fn create(fs: &Arc<dyn Fs>, path: &Path, extra: &[FieldRef]) -> Result<Self, StageError> {
        // A clip that could not be used has no value in the columns of a manifest.
        let extra = extra.iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(ArrowSchema::new(scan_fields().into_iter().chain(extra).collect::<Vec<_>>()));
        let words = ColumnPath::new(["fingerprint", "list", "item"].map(str::to_owned).to_vec());
        let hash = ColumnPath::new(vec!["content_hash".to_owned()]);
        let level = ZstdLevel::try_new(1).map_err(|error| fault(path, error))?;
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_compression(Compression::ZSTD(level))
            // No two of them are alike, and nobody looks for one by its size.
            .set_column_dictionary_enabled(words.clone(), false)
            .set_column_statistics_enabled(words, EnabledStatistics::None)
            .set_column_dictionary_enabled(hash, false)
            .build();
        let file = PendingFile::create(fs, path.to_owned()).map_err(failed)?;
        let writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|error| fault(path, error))?;
        Ok(Self { fs: fs.clone(), path: path.to_owned(), schema, writer })
    }

    /// Appends clips that were measured.
    pub fn rows(&mut self, rows: &RecordBatch) -> Result<(), StageError> {
        self.write(rows.num_rows(), |name| rows.column_by_name(name).cloned())
    }

    /// Appends clips that could not be used.
    pub fn rejects(&mut self, rejects: &[Reject]) -> Result<(), StageError> {
        let texts = |of: fn(&Reject) -> &String| -> Option<ArrayRef> {
            Some(Arc::new(StringArray::from_iter_values(rejects.iter().map(of))))
        };
        let labels = || -> Option<ArrayRef> {
            let mut labels = ListBuilder::new(StringBuilder::new());
            for reject in rejects {
                match &reject.labels[..] {
                    [] => labels.append_null(),
                    some => labels.append_value(some.iter().map(Some)),
                }
            }
            Some(Arc::new(labels.finish()))
        };
        self.write(rejects.len(), |name| match name {
            "clip_id" => texts(|r| &r.clip_id),
            "source" => texts(|r| &r.source),
            "status" => texts(|r| &r.reason),
            "detail" => texts(|r| &r.detail),
            "labels" => labels(),
            _ => None,
        })
    }

    fn write(&mut self, n_rows: usize, column: impl Fn(&str) -> Option<ArrayRef>) -> Result<(), StageError> {
        if n_rows == 0 {
            return Ok(());
        }
        let of_field = |field: &FieldRef| {
            let there = column(field.name()).filter(|column| column.data_type() == field.data_type());
            there.unwrap_or_else(|| new_null_array(field.data_type(), n_rows))
        };
        let columns = self.schema.fields().iter().map(of_field).collect();
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.writer.write(&rows).map_err(|error| fault(&self.path, error))
    }

    /// Gives the table its name, in the place of an earlier one; its size.
    pub fn commit(mut self, about: &ScanAbout) -> Result<u64, StageError> {
        let json = serde_json::to_string(about).map_err(|error| StageError::Other(error.to_string()))?;
        self.writer.append_key_value_metadata(KeyValue::new(KEY.to_owned(), json));
        let file = self.writer.into_inner().map_err(|error| fault(&self.path, error))?;
        file.commit().map_err(failed)?;
        self.fs.len(&self.path).map_err(|error| failed(StoreError::io("read", &self.path, error)))
    }
}
