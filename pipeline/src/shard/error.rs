//! What can be wrong with a shard set, each fault with the part it is in.

use std::io;
use std::path::{Path, PathBuf};

use ajepa_store::StoreError;
use thiserror::Error;

use crate::stage::StageError;

/// Why a shard set, or one part of it, cannot be read or written.
#[derive(Debug, Error)]
pub enum ShardError {
    /// No `manifest.json`: another kind of folder, or a run that has not finished.
    #[error("{} is not a finished shard set: {problem}", dir.display())]
    NotAShardSet {
        /// The folder.
        dir: PathBuf,
        /// What is missing, and what to do.
        problem: String,
    },
    /// A folder that holds somebody else's files under the names of a shard set.
    #[error("{} holds {files}: give another path", dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// The files, and why they are not taken for ours.
        files: String,
    },
    /// A piece of a job came to a folder where nobody has begun that job.
    #[error(
        "{}: the job has not been begun here: is it the same folder on every machine, and does the program see the same files?",
        dir.display()
    )]
    NotClaimed {
        /// The folder.
        dir: PathBuf,
    },
    /// A set in an object store, where only a map of a file will do.
    #[error("{}: batches at random are read from files of this machine: copy the set first, `ajepa-pipe copy {} FOLDER`", dir.display(), dir.display())]
    Far {
        /// The address.
        dir: PathBuf,
    },
    /// A manifest or a unit record that is torn, edited, or contradicts itself.
    #[error("{}: {problem}", path.display())]
    Manifest {
        /// The JSON file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// The system's word.
        source: io::Error,
    },
    /// A part is not as long as the manifest says.
    #[error("{part}: {found} bytes, the manifest says {expected}: it was cut short or replaced")]
    Size {
        /// File name of the part.
        part: String,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes on disk.
        found: u64,
    },
    /// A page does not have the checksum it was written with.
    #[error("{part}: bytes {start}..{end} are damaged (checksum)")]
    Checksum {
        /// File name of the part.
        part: String,
        /// First byte of the damaged page.
        start: u64,
        /// Byte behind it.
        end: u64,
    },
    /// A part is no longer what it was when it was opened.
    #[error("{part} changed while it was being read: {problem}")]
    Changed {
        /// File name of the part.
        part: String,
        /// What differs.
        problem: String,
    },
    /// The bytes of a part contradict the Arrow IPC format or the manifest.
    #[error("{part}: {problem}")]
    Format {
        /// File name of the part.
        part: String,
        /// What was found.
        problem: String,
    },
    /// Columns that do not fit together, or that shards cannot hold.
    #[error("{part}: column {column:?}: {problem}")]
    Column {
        /// File name of the part, or of the set.
        part: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A row or part beyond the end.
    #[error("{what} {index} of {len}")]
    OutOfRange {
        /// "row" or "part".
        what: &'static str,
        /// What was asked for.
        index: u64,
        /// How many there are.
        len: u64,
    },
}

impl ShardError {
    /// Reading or writing failed: `what` was tried on `path`.
    pub(super) fn io(what: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("cannot {what} {}", path.display()), source }
    }

    pub(super) fn format(part: &str, problem: impl Into<String>) -> Self {
        Self::Format { part: part.to_owned(), problem: problem.into() }
    }

    pub(super) fn manifest(path: &Path, problem: impl Into<String>) -> Self {
        Self::Manifest { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn column(part: &str, column: &str, problem: impl Into<String>) -> Self {
        Self::Column { part: part.to_owned(), column: column.to_owned(), problem: problem.into() }
    }
}

impl From<StoreError> for ShardError {
    fn from(StoreError { what, source }: StoreError) -> Self {
        Self::Io { what, source }
    }
}

impl From<ShardError> for StageError {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::Io { what, source } => {
                let help = StoreError::help(&source, "finished shards are kept");
                Self::Io { what: format!("{what}{help}"), source }
            }
            // It may be on its way: a shared folder shows what others have made a while later.
            ShardError::NotClaimed { .. } => {
                Self::Io { what: error.to_string(), source: io::Error::from(io::ErrorKind::NotFound) }
            }
            other => Self::Other(other.to_string()),
        }
    }
}
