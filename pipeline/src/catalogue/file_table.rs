//! Files that are read from front to back for every statement: CSV, TSV, JSON lines, Arrow.

use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::open_regular;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{FileReader, read_footer_length};
use arrow::ipc::{root_as_footer, root_as_message};
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

/// Most bytes of a block, as stored and when decoded.
const MAX_BYTES: u64 = 1 << 30;

/// Magic and padding at the start of an Arrow file.
const HEAD_BYTES: u64 = 8;

/// Length field and magic at its end.
const TRAILER_BYTES: u64 = 10;

type Rows = Box<dyn Iterator<Item = std::result::Result<RecordBatch, String>> + Send>;

/// A file as a table.
///
/// # Errors
/// [`CatalogueError::Table`] when it is not what its name says.
pub fn of(path: &Path) -> std::result::Result<(SchemaRef, Arc<dyn TableProvider>), CatalogueError> {
    let (schema, _) = open(path)?;
    let file: Arc<dyn PartitionStream> = Arc::new(FileTable { path: path.to_owned(), schema: schema.clone() });
    let table = StreamingTable::try_new(schema.clone(), vec![file]);
    let table: Arc<dyn TableProvider> = Arc::new(table.map_err(|error| CatalogueError::of(&error, "", &[]))?);
    Ok((schema, table))
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
    let schema = table.schema();
    let rows: Rows = Box::new(table.map(|rows| rows.map_err(|error| error.to_string())));
    Ok((schema, rows))
}

/// An Arrow file. A stream is not read: its lengths cannot be looked at before they are believed.
fn open_arrow(path: &Path) -> std::result::Result<(SchemaRef, Rows), String> {
    let file = || open_regular(path).map_err(|error| error.to_string());
    check_blocks(&file()?)?;
    let reader = calm(|| FileReader::try_new(BufReader::new(file()?), None).map_err(|error| error.to_string()))?;
    Ok((reader.schema(), calmed(path.display().to_string(), reader)))
}

/// Looks at every length of a file before Arrow does: its reader takes as much memory as a block, or a compressed buffer, says.
fn check_blocks(file: &File) -> std::result::Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let len = file.metadata().map_err(words)?.len();
    let read = |start: u64, n: u64| {
        let end = start.checked_add(n).filter(|end| *end <= len && n <= MAX_BYTES).ok_or("a length out of range")?;
        let mut bytes = vec![0; (end - start) as usize];
        read_at(file, &mut bytes, start).map_err(words)?;
        Ok::<_, String>(bytes)
    };
    if len < HEAD_BYTES + TRAILER_BYTES || read(0, 6)? != b"ARROW1" {
        return Err("it does not begin as an Arrow file does (a stream is not read)".to_owned());
    }
    let trailer = read(len - TRAILER_BYTES, TRAILER_BYTES)?;
    let trailer: [u8; 10] = trailer.try_into().map_err(|_| "too short")?;
    let n = read_footer_length(trailer).map_err(|error| error.to_string())? as u64;
    let footer = read((len - TRAILER_BYTES).checked_sub(n).ok_or("a footer larger than the file")?, n)?;
    let footer = root_as_footer(&footer).map_err(|error| format!("its footer is malformed: {error}"))?;
    for block in footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten()) {
        let of = |n: i64| u64::try_from(n).map_err(|_| "a negative length");
        let (start, head, body) = (of(block.offset())?, of(block.metaDataLength().into())?, of(block.bodyLength())?);
        let body_start = start.checked_add(head).ok_or("a block outside the file")?;
        body_start.checked_add(body).filter(|end| *end <= len).ok_or("a block outside the file")?;
        check_buffers(&read(start, head)?, body, &|at| read(body_start + at, 8))?;
    }
    Ok(())
}

/// Compressed buffers say how long they are when decoded.
fn check_buffers(
    message: &[u8],
    body: u64,
    prefix: &dyn Fn(u64) -> std::result::Result<Vec<u8>, String>,
) -> std::result::Result<(), String> {
    let message = message.get(8..).ok_or("a block without a message")?;
    let message = root_as_message(message).map_err(|error| format!("malformed message: {error}"))?;
    let dictionary = || message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch = message.header_as_record_batch().or_else(dictionary).ok_or("a block that holds no rows")?;
    let mut declared = 0u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let (start, n) = (u64::try_from(buffer.offset()).ok(), u64::try_from(buffer.length()).ok());
        let range = start.zip(n).and_then(|(start, n)| start.checked_add(n).map(|end| (start, end, n)));
        let (start, _, n) = range.filter(|(_, end, _)| *end <= body).ok_or("a buffer outside its block")?;
        let is_coded = batch.compression().is_some() && n > 0;
        let said = if is_coded { i64::from_le_bytes(prefix(start)?.try_into().unwrap_or_default()) } else { -1 };
        declared = declared.saturating_add(if said == -1 { n } else { u64::try_from(said).unwrap_or(u64::MAX) });
    }
    if declared > MAX_BYTES { Err(format!("a block of {declared} bytes when decoded")) } else { Ok(()) }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, out: &mut [u8], at: u64) -> std::io::Result<()> {
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at))?;
    std::io::Read::read_exact(&mut file, out)
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
