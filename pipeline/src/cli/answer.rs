//! Answers in the forms that people and programs want: an aligned table, CSV, JSON lines, Parquet.

mod cell;
mod lines;
mod table;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, PendingFile, RealFs};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::args::AnswerFormat;
use crate::catalogue::{CatalogueError, Rows};
use lines::Lines;
pub use table::to_table;

/// Why an answer did not arrive.
#[derive(Debug)]
pub enum AnswerError {
    /// There is none.
    Catalogue(CatalogueError),
    /// It cannot be written: in words.
    Output(String),
    /// The reader of stdout went away (`| head`): no fault.
    Unheard,
}

impl From<CatalogueError> for AnswerError {
    fn from(error: CatalogueError) -> Self {
        Self::Catalogue(error)
    }
}

/// Writes the rows to stdout, as CSV or JSON lines; gives their number.
pub fn to_stdout(rows: Rows, format: AnswerFormat) -> Result<u64, AnswerError> {
    let out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => AnswerError::Unheard,
        _ => AnswerError::Output(format!("cannot write to stdout: {error}")),
    };
    let (mut out, n_rows) = in_lines(rows, format, out, &failed)?;
    out.flush().map_err(failed)?;
    Ok(n_rows)
}

/// Writes the rows to a file, which gets its name when all are there; gives their number.
pub fn to_file(rows: Rows, format: AnswerFormat, path: &Path) -> Result<u64, AnswerError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let store = |error: ajepa_store::StoreError| AnswerError::Output(error.to_string());
    let file = PendingFile::create(&fs, PathBuf::from(path)).map_err(store)?;
    let failed = |error: io::Error| AnswerError::Output(format!("writing {}: {error}", path.display()));
    let (file, n_rows) = if format == AnswerFormat::Parquet {
        in_parquet(rows, file, path)?
    } else {
        let (out, n_rows) = in_lines(rows, format, io::BufWriter::with_capacity(1 << 16, file), &failed)?;
        (out.into_inner().map_err(|error| failed(error.into_error()))?, n_rows)
    };
    file.commit().map_err(store)?;
    Ok(n_rows)
}

fn in_lines<W: Write>(
    rows: Rows,
    format: AnswerFormat,
    mut out: W,
    failed: &dyn Fn(io::Error) -> AnswerError,
) -> Result<(W, u64), AnswerError> {
    let lines = Lines::new(rows.schema(), format == AnswerFormat::Csv);
    let mut n_rows = 0;
    out.write_all(&lines.head().map_err(AnswerError::Output)?).map_err(failed)?;
    for batch in rows {
        let batch = batch?;
        n_rows += batch.num_rows() as u64;
        out.write_all(&lines.of(&batch).map_err(AnswerError::Output)?).map_err(failed)?;
    }
    Ok((out, n_rows))
}

fn in_parquet(rows: Rows, file: PendingFile, path: &Path) -> Result<(PendingFile, u64), AnswerError> {
    let failed =
        |error: parquet::errors::ParquetError| AnswerError::Output(format!("writing {}: {error}", path.display()));
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).map_err(failed)?;
    let mut n_rows = 0;
    for batch in rows {
        let batch = batch?;
        n_rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(failed)?;
    }
    Ok((writer.into_inner().map_err(failed)?, n_rows))
}
