//! What can go wrong with a file.

use std::io;
use std::path::Path;

use thiserror::Error;

/// Reading or writing failed.
#[derive(Debug, Error)]
#[error("{what}: {source}")]
pub struct StoreError {
    /// What was tried, with the path.
    pub what: String,
    /// The system's word.
    pub source: io::Error,
}

impl StoreError {
    /// `what` was tried on `path`.
    pub fn io(what: &str, path: &Path, source: io::Error) -> Self {
        Self { what: format!("cannot {what} {}", path.display()), source }
    }

    /// What a person can do about full and closed disks; empty for anything else. `kept` says what is not lost.
    pub fn help(source: &io::Error, kept: &str) -> String {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!(" (free space, then run again: {kept})")
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                format!(" (the output folder must be writable; {kept})")
            }
            io::ErrorKind::IsADirectory => {
                format!(" (a folder lies where a file of this name belongs: move it away, then run again; {kept})")
            }
            _ => String::new(),
        }
    }
}
