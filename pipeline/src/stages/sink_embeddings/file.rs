//! The one file, whatever its form.

use std::path::Path;
use std::sync::Arc;

use ajepa_store::Fs;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::Form;
use super::about::About;
use super::npy::NpyFile;
use super::table::TableFile;
use crate::stage::StageError;

/// A file of embeddings on its way to its name.
pub enum EmbeddingsFile {
    Table(TableFile),
    Npy(NpyFile),
}

impl EmbeddingsFile {
    /// Starts the file that will be `path`, for rows of `schema` whose numbers have `shape`.
    pub fn create(fs: &Arc<dyn Fs>, path: &Path, schema: SchemaRef, shape: &[usize]) -> Result<Self, StageError> {
        match Form::of(path) {
            Some(Form::Npy) => NpyFile::create(fs, path, shape).map(Self::Npy),
            _ => TableFile::create(fs, path, schema, shape).map(Self::Table),
        }
    }

    /// Appends rows; `embedding` is their last column.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), StageError> {
        match self {
            Self::Table(file) => file.write(rows),
            Self::Npy(file) => file.write(rows),
        }
    }

    /// Gives it its name; returns its size. `None` when another process had the name first: that one's file stays.
    pub fn commit(self, about: &About) -> Result<Option<u64>, StageError> {
        match self {
            Self::Table(file) => file.commit(about),
            Self::Npy(file) => file.commit(about),
        }
    }
}
