//! Parquet files of others: whatever is wrong with one is an error.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::*;

use crate::error::DatasetError;

/// Reads a table, and what its metadata have under `key`. `help` says what to do about a file that is none.
///
/// # Errors
/// [`DatasetError`] when it cannot be opened or read.
pub(crate) fn read_parquet(path: &Path, key: &str, help: &str) -> Result<(DataFrame, Option<String>), DatasetError> {
    let file = File::open(path).map_err(|error| DatasetError::io(path, error))?;
    let read = || -> PolarsResult<(DataFrame, Option<String>)> {
        let mut reader = ParquetReader::new(file);
        let metadata = reader.get_metadata()?.clone();
        let mut pairs = metadata.key_value_metadata().iter().flatten();
        let value = pairs.find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
        Ok((reader.finish()?, value))
    };
    // The reader trusts lengths that a damaged file states, and panics at some of them.
    let outcome = catch_unwind(AssertUnwindSafe(read));
    let problem = match outcome {
        Ok(Ok(read)) => return Ok(read),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the file is damaged".to_owned(),
    };
    Err(DatasetError::unusable(path.display(), problem, help))
}
