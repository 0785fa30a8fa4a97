//! `metrics.jsonl`: a record a line, appended as it comes, cut back to the checkpoint that training goes on from.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, FsFile, StoreError};

use super::error::TrainError;
use crate::telemetry::Record;

/// Longest log that is read: 1 GiB is two million records.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// The open log.
pub struct Log {
    path: PathBuf,
    file: Box<dyn FsFile>,
}

/// The records of a log up to step `last`, and the bytes up to the last of them. What lies behind, whole or torn, belongs to steps that
/// are done again; a line before it that is no record, or holds a number that JSON has no word for, keeps its place.
fn read(fs: &dyn Fs, path: &Path, last: u64) -> Result<(Vec<Record>, u64), StoreError> {
    let bytes = match fs.read(path, MAX_LOG_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(StoreError::io("read", path, error)),
    };
    let mut records = Vec::new();
    let (mut kept, mut at) = (0, 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        at += line.len() as u64;
        let step = serde_json::from_slice::<serde_json::Value>(line).ok().and_then(|record| record["step"].as_u64());
        if line.ends_with(b"\n") && step.is_some_and(|step| step <= last) {
            kept = at;
            records.extend(serde_json::from_slice::<Record>(line));
        }
    }
    Ok((records, kept))
}

/// The records of the log in `dir`.
///
/// # Errors
/// [`TrainError::Store`]; a log that is not there holds none.
pub fn records(fs: &dyn Fs, path: &Path) -> Result<Vec<Record>, TrainError> {
    Ok(read(fs, path, u64::MAX)?.0)
}

impl Log {
    /// Opens the log behind the records of steps up to `last`.
    pub fn open(fs: &Arc<dyn Fs>, path: PathBuf, last: u64) -> Result<Self, TrainError> {
        let (_, kept) = read(fs.as_ref(), &path, last)?;
        let file = fs.append(&path, kept).map_err(|error| StoreError::io("open", &path, error))?;
        let dir = path.parent().unwrap_or(Path::new("."));
        fs.sync_dir(dir).map_err(|error| StoreError::io("sync", dir, error))?;
        Ok(Self { path, file })
    }

    /// Adds a line, in one write.
    pub fn push(&mut self, record: &Record) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(record)
            .map_err(|error| TrainError::Damaged { path: self.path.clone(), problem: error.to_string() })?;
        line.push(b'\n');
        Ok(self.file.write_all(&line).map_err(|error| StoreError::io("write", &self.path, error))?)
    }

    /// Returns when all lines are on the medium.
    pub fn sync(&mut self) -> Result<(), TrainError> {
        Ok(self.file.sync().map_err(|error| StoreError::io("write", &self.path, error))?)
    }
}
