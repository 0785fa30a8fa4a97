//! Faults as Python exceptions: `ValueError` for what the caller can mend, `AjepaError` for the rest, each with its cure.

use std::fmt::Display;

use ajepa_ops::{ConfigError, OpError};
use ajepa_pipe::feed::FeedError;
use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};

create_exception!(
    ajepa,
    AjepaError,
    PyRuntimeError,
    "Files that cannot be read, or a run that failed; says which, and the cure."
);

/// A fault that is the caller's to mend.
pub fn value(error: impl Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A fault of files, devices or a run.
pub fn failed(error: impl Display) -> PyErr {
    AjepaError::new_err(error.to_string())
}

/// A config that cannot be built.
pub fn config(error: &ConfigError) -> PyErr {
    value(format!("{error} ({})", error.help))
}

/// Audio that an op refuses.
pub fn op(error: &OpError) -> PyErr {
    value(error)
}

/// A feed that cannot be, or a batch that cannot be read.
pub fn feed(error: &FeedError) -> PyErr {
    match error {
        FeedError::Config(_) => value(error),
        _ => failed(error),
    }
}

/// Reads JSON that the Python side wrote from its arguments.
pub fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, PyErr> {
    serde_json::from_str(json).map_err(|error| {
        // The place in a text that the caller never saw says nothing to them.
        let words = error.to_string();
        value(words.split(" at line ").next().unwrap_or(&words))
    })
}
