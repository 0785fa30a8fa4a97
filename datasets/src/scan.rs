//! [`Scan`]: what is held, as whoever decoded it found it.

use std::path::Path;

use polars::prelude::*;

use crate::error::DatasetError;
use crate::parquet::read_parquet;

/// A clip that decodes.
pub const OK: &str = "ok";
/// A clip that nobody has decoded yet.
pub const UNCHECKED: &str = "unchecked";

/// Columns of a scan, and whether it is one without them.
fn columns() -> Vec<(&'static str, DataType, bool)> {
    let texts = || DataType::List(Box::new(DataType::String));
    vec![
        ("clip_id", DataType::String, false),
        ("source", DataType::String, true),
        ("offset_s", DataType::Float64, false),
        ("duration_s", DataType::Float64, false),
        ("rate_hz", DataType::UInt32, false),
        ("channels", DataType::UInt32, false),
        ("codec", DataType::String, false),
        ("content_hash", DataType::Binary, false),
        ("fingerprint", DataType::List(Box::new(DataType::UInt32)), false),
        ("peak_db", DataType::Float32, false),
        ("rms_db", DataType::Float32, false),
        ("status", DataType::String, true),
        ("detail", DataType::String, false),
        ("labels", texts(), false),
        ("content_bytes", DataType::UInt64, false),
    ]
}

/// A table with a row per clip that is held, whether it decodes or not.
///
/// `source` (`file`, `tar!member` or `parquet#row`) and `status` (`ok`, `unchecked`, or why it is of no use: `silent`,
/// `too_short`, `empty`, ...) must be there. `clip_id`, `offset_s`, `duration_s`, `rate_hz`, `channels`, `codec`,
/// `content_hash` (bytes: of the samples), `fingerprint` (list of u32), `peak_db`, `rms_db`, `detail`, `labels` and
/// `content_bytes` are null where they are not. All other columns travel along into the manifest.
#[derive(Debug, Clone)]
pub struct Scan {
    frame: DataFrame,
}

impl Scan {
    /// Reads a scan from Parquet.
    ///
    /// # Errors
    /// [`DatasetError`] when it cannot be read, or as [`Self::of`].
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let (frame, _) = read_parquet(path, "", "scan the audio again")?;
        Self::of(frame)
    }

    /// A scan from a table that has its columns.
    ///
    /// # Errors
    /// [`DatasetError`] for a column that is missing or of another type.
    pub fn of(mut frame: DataFrame) -> Result<Self, DatasetError> {
        for (name, kind, required) in columns() {
            let column = match frame.column(name) {
                Ok(column) if *column.dtype() == kind => continue,
                Ok(column) => cast(column, &kind)?,
                Err(_) if required => {
                    let problem = format!("there is no column {name:?}");
                    return Err(DatasetError::unusable("scan", problem, "a scan has a row per clip that is held"));
                }
                Err(_) => Column::full_null(name.into(), frame.height(), &kind),
            };
            frame.with_column(column)?;
        }
        for name in ["source", "status"] {
            if frame.column(name)?.null_count() > 0 {
                let problem = format!("the column {name:?} has rows without a value");
                return Err(DatasetError::unusable("scan", problem, "every clip has a source and a status"));
            }
        }
        frame.rechunk_mut_par();
        Ok(Self { frame })
    }

    /// What a list of files tells without any of them being opened: all are `unchecked`.
    ///
    /// # Errors
    /// [`DatasetError`] never for texts; polars' words if it refuses.
    pub fn of_listing<'a>(sources: impl IntoIterator<Item = &'a str>) -> Result<Self, DatasetError> {
        let source = StringChunked::from_iter_values("source".into(), sources.into_iter());
        let status = Column::new_scalar("status".into(), Scalar::from(PlSmallStr::from(UNCHECKED)), source.len());
        Self::of(DataFrame::new(source.len(), vec![source.into_column(), status])?)
    }

    /// The rows.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    pub(crate) fn texts(&self, name: &str) -> PolarsResult<&StringChunked> {
        self.frame.column(name)?.str()
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.frame.height()
    }

    /// The names of columns beyond those of a scan.
    pub(crate) fn extra(&self) -> Vec<String> {
        let known = columns();
        let names = self.frame.columns().iter().map(|column| column.name().to_string());
        names.filter(|name| known.iter().all(|(known, ..)| known != name)).collect()
    }
}

fn cast(column: &Column, kind: &DataType) -> Result<Column, DatasetError> {
    let numbers = column.dtype().is_primitive_numeric() && kind.is_primitive_numeric();
    let nothing = column.dtype().is_null() || matches!(column.dtype(), DataType::List(inner) if inner.is_null());
    let cast = if numbers || nothing || column.dtype().is_list() { column.strict_cast(kind).ok() } else { None };
    cast.ok_or_else(|| {
        let problem = format!("the column {:?} holds {} where {kind} is wanted", column.name(), column.dtype());
        DatasetError::unusable("scan", problem, "scan the audio again")
    })
}
