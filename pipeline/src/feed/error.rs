//! What can go wrong while feeding, each fault with the part and the clip.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::engine::ring::RingError;
use crate::shard::ShardError;
use crate::stage::PlanError;

/// Why there is no feed, or no next batch.
#[derive(Debug, Error)]
pub enum FeedError {
    /// A setting that does not fit, alone or to these shards.
    #[error("{}{} ({})", field(.0), .0.problem, .0.help)]
    Config(#[from] PlanError),
    /// A shard set that cannot be opened, or cannot be fed.
    #[error("{}: {source}", dir.display())]
    Set {
        /// Its folder.
        dir: PathBuf,
        /// What is wrong.
        source: ShardError,
    },
    /// Rows of one part that cannot be read. The batch is lost; the next call goes on behind it.
    #[error("{source}; wanted for {rows}")]
    Rows {
        /// Which rows.
        rows: Box<RowsOf>,
        /// What is wrong, with the name of the part.
        source: ShardError,
    },
    /// No memory for the batch buffers.
    #[error("cannot have a batch buffer of {n_bytes} bytes: {source}")]
    Memory {
        /// Bytes of one buffer.
        n_bytes: usize,
        /// The system's word.
        source: std::io::Error,
    },
    /// Threads or buffers.
    #[error("{0}")]
    Ring(String),
}

fn field(error: &PlanError) -> String {
    error.field.as_ref().map_or_else(String::new, |field| format!("{field}: "))
}

/// The rows of one part in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsOf {
    /// Folder of the set.
    pub dir: PathBuf,
    /// File name of the part.
    pub part: String,
    /// Number of the row in the feed: that of the first, where all rows of the part are hit.
    pub row: u64,
    /// Its clip, where that can still be read.
    pub clip_id: Option<String>,
    /// Rows of the batch that are hit.
    pub n_rows: usize,
}

impl fmt::Display for RowsOf {
    /// `clip "a" and 3 more (row 17, part-00000.arrow of out/mel)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.clip_id {
            Some(clip_id) => write!(f, "clip {clip_id:?}")?,
            None => f.write_str("a clip whose name is lost")?,
        }
        if self.n_rows > 1 {
            write!(f, " and {} more", self.n_rows - 1)?;
        }
        write!(f, " (row {}, {} of {})", self.row, self.part, self.dir.display())
    }
}

impl From<RingError<FeedError>> for FeedError {
    fn from(error: RingError<FeedError>) -> Self {
        match error {
            RingError::Fill(error) => error,
            other => Self::Ring(other.to_string()),
        }
    }
}
