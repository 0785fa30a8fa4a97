//! Files that are read from front to back for every statement: CSV, TSV, JSON lines, Arrow.

use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::open_regular;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{FileReader, StreamReader};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;

use super::error::CatalogueError;
use crate::corpus::open_table;
use crate::engine::panic_message;

type Rows = Box<dyn Iterator<Item = std::result::Result<RecordBatch, String>> + Send>;

/// A file as a table.
///
/// # Errors
/// [`CatalogueError::Table`] when it is not what its name says.
pub fn of(path: &Path) -> std::result::Result<(SchemaRef, Arc<dyn TableProvider>), CatalogueError> {
    let (schema, _) = open(path)?;
    let file = Arc::new(FileTable { path: path.to_owned(), schema: schema.clone() });
    let table = StreamingTable::try_new(schema.clone(), vec![file]);
    let table = table.map_err(|error| CatalogueError::of(&error, "", &[]))?;
    Ok((schema, Arc::new(table)))
}

#[derive(Debug)]
struct FileTable {
    path: PathBuf,
    schema: SchemaRef,
}

impl PartitionStream for FileTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let failed = |words: String| DataFusionError::External(words.into());
        let rows: Box<dyn Iterator<Item = Result<RecordBatch>> + Send> = match open(&self.path) {
            Ok((schema, _)) if schema != self.schema => {
                let words = format!("{}: its columns have changed since it was opened", self.path.display());
                Box::new(std::iter::once(Err(failed(words))))
            }
            Ok((_, rows)) => Box::new(rows.map(move |rows| rows.map_err(failed))),
            Err(error) => Box::new(std::iter::once(Err(failed(error.to_string())))),
        };
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(rows)))
    }
}

fn open(path: &Path) -> std::result::Result<(SchemaRef, Rows), CatalogueError> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if ["arrow", "ipc", "feather"].contains(&extension.as_str()) {
        let words = |problem: String| format!("{}: not readable as Arrow: {problem}", path.display());
        let cure = "give a file as pyarrow.ipc or polars.write_ipc write it";
        return open_arrow(path).map_err(|problem| CatalogueError::table(words(problem), cure));
    }
    let table = open_table(path).map_err(|error| CatalogueError::table(error.problem, error.help))?;
    Ok((table.schema(), Box::new(table.map(|rows| rows.map_err(|error| error.to_string())))))
}

/// An Arrow file, or what was written as a stream.
fn open_arrow(path: &Path) -> std::result::Result<(SchemaRef, Rows), String> {
    let file = || open_regular(path).map(BufReader::new).map_err(|error| error.to_string());
    let shown = path.display().to_string();
    if starts_with_magic(file()?.into_inner()) {
        let reader = calm(|| FileReader::try_new(file()?, None).map_err(|error| error.to_string()))?;
        return Ok((reader.schema(), calmed(shown, reader)));
    }
    let reader = calm(|| StreamReader::try_new(file()?, None).map_err(|error| error.to_string()))?;
    Ok((reader.schema(), calmed(shown, reader)))
}

fn starts_with_magic(mut file: File) -> bool {
    let mut magic = [0; 6];
    std::io::Read::read_exact(&mut file, &mut magic).is_ok() && &magic == b"ARROW1"
}

/// The rows of a reader that panics on some malformed files.
fn calmed(
    shown: String,
    mut reader: impl Iterator<Item = std::result::Result<RecordBatch, arrow::error::ArrowError>> + Send + 'static,
) -> Rows {
    Box::new(std::iter::from_fn(move || {
        let rows = calm(|| reader.next().transpose().map_err(|error| error.to_string()));
        rows.map_err(|problem| format!("{shown}: not readable as Arrow: {problem}")).transpose()
    }))
}

fn calm<T>(work: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panic_message(panic.as_ref())))
}
