//! What can be wrong with a corpus, each with the cure.

use std::io;
use std::path::{Path, PathBuf};

use ajepa_store::StoreError;
use polars::prelude::PolarsError;

/// Faults of one file that are told in words; the rest is counted.
const SHOWN: usize = 10;

/// Why a corpus cannot be read, joined or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Lines of a publisher's table that are not what they should be.
    #[error("{}: {}", path.display(), shown_lines(shown, *n))]
    Lines {
        /// The file.
        path: PathBuf,
        /// How many lines are at fault.
        n: usize,
        /// The first ten of them, `line 17: what is wrong`.
        shown: Vec<String>,
    },
    /// A file or a table is not what it is taken for.
    #[error("{place}: {problem}")]
    Unusable {
        /// The file or table.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// An argument has no meaning.
    #[error("{field}: {got} is not {wanted}")]
    Argument {
        /// The argument.
        field: &'static str,
        /// What was given.
        got: String,
        /// What it must be.
        wanted: String,
    },
    /// polars refused.
    #[error(transparent)]
    Polars(#[from] PolarsError),
    /// A file could not be put in its place.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DatasetError {
    /// What to do about it, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("check the path; the publisher's files are expected under their own names")
            }
            Self::Lines { .. } => Some("mend these lines, or fetch the file from its publisher again"),
            Self::Unusable { help, .. } => Some(help),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn unusable(place: impl std::fmt::Display, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Unusable { place: place.to_string(), problem: problem.into(), help: help.into() }
    }

    pub(crate) fn argument(field: &'static str, got: impl std::fmt::Display, wanted: impl Into<String>) -> Self {
        Self::Argument { field, got: got.to_string(), wanted: wanted.into() }
    }
}

fn shown_lines(shown: &[String], n: usize) -> String {
    let head = if n == 1 { "1 line is at fault".to_owned() } else { format!("{n} lines are at fault") };
    let more = n - shown.len();
    let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
    format!("{head}\n  {}{more}", shown.join("\n  "))
}

/// Collects the lines of one file that are at fault.
#[derive(Debug, Default)]
pub(crate) struct LineFaults {
    shown: Vec<String>,
    n: usize,
}

impl LineFaults {
    /// Counts a fault; `words` is called only while there is room to show it.
    pub fn push(&mut self, line: usize, words: impl FnOnce() -> String) {
        self.n += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(format!("line {line}: {}", words()));
        }
    }

    /// `Ok` when nothing was at fault.
    pub fn into_result(self, path: &Path) -> Result<(), DatasetError> {
        match self.n {
            0 => Ok(()),
            n => Err(DatasetError::Lines { path: path.to_owned(), n, shown: self.shown }),
        }
    }
}
