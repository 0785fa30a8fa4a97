//! Why a file of PyTorch's cannot be imported.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::super::CheckpointError;
use crate::ModelError;

/// Names of one kind that are printed; of more the count.
const SHOWN: usize = 12;

/// A fault of the file, or of what it holds.
#[derive(Debug, Error)]
pub enum ImportError {
    /// No archive of PyTorch's and no safetensors file, a damaged one, or one that asks for too much.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Tensors, but not those of a published layout.
    #[error("{}: {problem}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A published layout whose tensors are not all there, or not the right ones.
    #[error("{}: {}", path.display(), words(missing, unexpected, misshapen))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Tensors that should be there.
        missing: Vec<String>,
        /// Tensors that nothing is known of.
        unexpected: Vec<String>,
        /// Tensors of another shape or type, with both.
        misshapen: Vec<String>,
    },
    /// A model that cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl ImportError {
    pub(super) fn unreadable(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unreadable { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn unknown(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unknown { path: path.to_owned(), problem: problem.into() }
    }
}

fn words(missing: &[String], unexpected: &[String], misshapen: &[String]) -> String {
    let kinds = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)];
    let parts = kinds.into_iter().filter(|(_, names)| !names.is_empty());
    parts.map(|(kind, names)| format!("{kind}: {}", some(names))).collect::<Vec<_>>().join("; ")
}

/// The first of them, and how many more there are.
pub(super) fn some(names: &[String]) -> String {
    let first = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
