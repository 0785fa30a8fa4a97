//! What can go wrong in an op: a bad configuration (the user's to mend) or a bad clip (data).
//!
//! Neither knows of paths or YAML; the layer above adds the clip, the stage, the line.

use thiserror::Error;

/// A configuration that cannot be built: which field, why, and what would do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    /// The config field at fault, as written in Rust and in YAML.
    pub field: &'static str,
    /// What is wrong with its value, in one clause, with the value.
    pub problem: String,
    /// What would be accepted.
    pub help: String,
}

impl ConfigError {
    /// A fault of `field`: `problem` says what is wrong, `help` what would do.
    pub fn new(field: &'static str, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { field, problem: problem.into(), help: help.into() }
    }
}

/// A clip that an op refuses. [`OpError::code`] is the stable word for reports.
#[derive(Debug, Error)]
pub enum OpError {
    /// The bytes are of no container this build reads.
    #[error("unknown or unsupported container: {detail}")]
    UnsupportedContainer {
        /// What was recognised, if anything.
        detail: String,
    },
    /// The container is known, the codec inside is not decoded.
    #[error("unsupported codec: {codec}")]
    UnsupportedCodec {
        /// The codec by its usual name, with what to do where something can be done.
        codec: String,
    },
    /// The bytes contradict their own format.
    #[error("corrupt audio: {detail}")]
    Corrupt {
        /// What was found.
        detail: String,
    },
    /// The file ends before its header says it should.
    #[error("truncated audio: {detail}")]
    Truncated {
        /// How much is there, how much was promised.
        detail: String,
    },
    /// No sample at all.
    #[error("the clip holds no samples")]
    Empty,
    /// Longer than the budget of decoded seconds.
    #[error("the clip is longer than {max_s} s")]
    TooLong {
        /// The budget in seconds.
        max_s: f64,
    },
    /// Shorter than the op needs.
    #[error("the clip has {n_samples} samples, {needed} are needed")]
    TooShort {
        /// Samples in the clip.
        n_samples: usize,
        /// Samples the op needs at least.
        needed: usize,
    },
    /// A NaN or an infinity among the samples.
    #[error("sample {index} is not finite")]
    NonFinite {
        /// Index of the first such sample.
        index: usize,
    },
    /// Input or output of another size than the op was built for.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// Which length.
        what: &'static str,
        /// The length the op works with.
        expected: usize,
        /// The length it was given.
        got: usize,
    },
    /// The decoder library panicked; the clip is lost, the process is not.
    #[error("the decoder panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// Reading the bytes failed.
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
}

impl OpError {
    /// One stable `snake_case` word for this kind of fault: the `reason` of a rejected clip.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnsupportedContainer { .. } => "unsupported_container",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::Corrupt { .. } => "corrupt",
            Self::Truncated { .. } => "truncated",
            Self::Empty => "empty",
            Self::TooLong { .. } => "too_long",
            Self::TooShort { .. } => "too_short",
            Self::NonFinite { .. } => "non_finite",
            Self::Shape { .. } => "shape",
            Self::Panicked { .. } => "panicked",
            Self::Io(_) => "io",
        }
    }
}
