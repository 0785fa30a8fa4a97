//! Why a checkpoint cannot be written or read.

use std::path::{Path, PathBuf};

use ajepa_store::StoreError;
use thiserror::Error;

use crate::ModelError;

/// A fault of a checkpoint, with the file that it is in.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Another kind of folder, or one that was never finished.
    #[error("{} is no checkpoint: {problem}", dir.display())]
    NotACheckpoint {
        /// The folder.
        dir: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// Bytes that are not the ones that were written.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        problem: String,
    },
    /// Tensors of another model.
    #[error("{}: {problem}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A recipe that this build cannot build.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl CheckpointError {
    pub(super) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn mismatch(path: &Path, problem: impl Into<String>) -> Self {
        Self::Mismatch { path: path.to_owned(), problem: problem.into() }
    }
}
