//! The Parquet file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, PendingFile};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::about::{About, KEY};
use super::failed;
use crate::stage::StageError;

/// Numbers that a row group holds at most: it is held in memory until it is full.
const GROUP_NUMBERS: usize = 8 << 20;

/// A Parquet file on its way to its name.
pub struct TableFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    writer: ArrowWriter<PendingFile>,
}

fn fault(path: &Path, error: ParquetError) -> StageError {
    let what = format!("writing {}", path.display());
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => failed(ajepa_store::StoreError { what, source: *source }),
            Err(other) => StageError::Other(format!("{what}: {other}")),
        },
        other => StageError::Other(format!("{what}: {other}")),
    }
}

impl TableFile {
    pub fn create(fs: &Arc<dyn Fs>, path: &Path, schema: SchemaRef, shape: &[usize]) -> Result<Self, StageError> {
        let n_numbers = shape.iter().product::<usize>().max(1);
        let name = schema.fields().last().map_or("", |field| field.name());
        let numbers = ColumnPath::new(vec![name.to_owned(), "list".to_owned(), "item".to_owned()]);
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some((GROUP_NUMBERS / n_numbers).clamp(1, 1 << 20)))
            // No two numbers of an embedding are alike, and nobody looks for one by its size.
            .set_column_dictionary_enabled(numbers.clone(), false)
            .set_column_statistics_enabled(numbers, EnabledStatistics::None)
            .build();
        let file = PendingFile::create(fs, path.to_owned()).map_err(failed)?;
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|error| fault(path, error))?;
        Ok(Self { fs: fs.clone(), path: path.to_owned(), writer })
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), StageError> {
        self.writer.write(rows).map_err(|error| fault(&self.path, error))
    }

    pub fn commit(mut self, about: &About) -> Result<Option<u64>, StageError> {
        let json = serde_json::to_string(about).map_err(|error| StageError::Other(error.to_string()))?;
        self.writer.append_key_value_metadata(KeyValue::new(KEY.to_owned(), json));
        let file = self.writer.into_inner().map_err(|error| fault(&self.path, error))?;
        if !file.commit_new().map_err(failed)? {
            return Ok(None);
        }
        let bytes = self.fs.len(&self.path);
        bytes.map(Some).map_err(|error| failed(ajepa_store::StoreError::io("read", &self.path, error)))
    }
}
