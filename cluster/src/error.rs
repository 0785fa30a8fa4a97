//! What can go wrong between machines.

use std::path::PathBuf;

use thiserror::Error;

/// Why a part of the cluster cannot go on.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Nobody answers there.
    #[error("no scheduler answers at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// The system's word.
        why: String,
    },
    /// The scheduler did not accept the token, or there was none.
    #[error("the scheduler at {url} refuses: the token is missing or another one")]
    Unauthorized {
        /// Where.
        url: String,
    },
    /// The scheduler answered that it will not.
    #[error("the scheduler refuses: {0}")]
    Refused(String),
    /// An address that cannot be used.
    #[error("{0}")]
    Address(String),
    /// A file of a token that cannot be used.
    #[error("{}: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A plan that is not one of ours.
    #[error("not a plan of units: {0}")]
    Plan(String),
    /// The system gives no threads, or no place to listen.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// No slot is left that does not hang.
    #[error(
        "each of {0} slots is taken by something that hangs, and a thread cannot be killed: this executor ends. Start it again when the cause \
         is mended"
    )]
    Hung(usize),
    /// Ballista's own word.
    #[error("{0}")]
    Scheduler(String),
}

impl ClusterError {
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// What a call to the scheduler at `url` came to.
    pub(crate) fn of_status(url: &str, status: &tonic::Status) -> Self {
        use tonic::Code;
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Unauthorized { url: url.to_owned() },
            Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => {
                Self::Unreachable { url: url.to_owned(), why: status.message().to_owned() }
            }
            _ => Self::Refused(status.message().to_owned()),
        }
    }
}
