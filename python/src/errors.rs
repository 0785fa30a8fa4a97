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

/// Reads JSON that the Python side wrote from its arguments; every field of `T` has a default.
pub fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, PyErr> {
    serde_json::from_str(json).map_err(|error| {
        // The place in a text that the caller never saw says nothing to them; the argument does.
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or(&words);
        match argument::<T>(json).filter(|name| !words.contains(&format!("`{name}`"))) {
            Some(name) => value(format!("{name}: {words}")),
            None => value(words),
        }
    })
}

/// The first field that cannot be read, not even by itself.
fn argument<T: serde::de::DeserializeOwned>(json: &str) -> Option<String> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let is_wrong = |(name, value): &(String, serde_json::Value)| {
        let alone = serde_json::Map::from_iter([(name.clone(), value.clone())]);
        serde_json::from_value::<T>(alone.into()).is_err()
    };
    fields.into_iter().find(is_wrong).map(|(name, _)| name)
}
