//! Checks that several stages make of their configs and inputs.

use std::path::Path;

use crate::schema::Schema;
use crate::stage::{BuildError, PlanError};

/// A source takes nothing.
pub fn no_input(inputs: &[Schema]) -> Result<(), PlanError> {
    if inputs.is_empty() {
        return Ok(());
    }
    Err(PlanError::field("from", "a source has no input", "take `from` away, or put the source first"))
}

/// A fold, a map, a sink takes one.
pub fn one_input(inputs: &[Schema]) -> Result<&Schema, PlanError> {
    if let [input] = inputs {
        return Ok(input);
    }
    let problem = format!("it takes one input, not {}", inputs.len());
    Err(PlanError::field("from", problem, "put a merge (interleave, concat, zip, mix) between"))
}

/// A merge takes two or more.
pub fn several_inputs(inputs: &[Schema]) -> Result<(), PlanError> {
    if inputs.len() >= 2 {
        return Ok(());
    }
    let problem = format!("it merges two or more inputs, not {}", inputs.len());
    Err(PlanError::field("from", problem, "name them: from: [a, b]"))
}

/// A sink writes into a folder, which may not be there yet.
pub fn folder_to_write(path: &Path) -> Result<(), BuildError> {
    if path.exists() && !path.is_dir() {
        let problem = format!("{} is a file, and a folder is to be written there", path.display());
        return Err(BuildError::new(problem, "name another path, or move the file away"));
    }
    Ok(())
}

/// A count must be 1 or more.
pub fn limit(limit: Option<u64>) -> Result<(), PlanError> {
    if limit != Some(0) {
        return Ok(());
    }
    Err(PlanError::field("limit", "0 clips", "1 or more; leave it away for all"))
}

/// A count must be 1 or more.
pub fn at_least_one(field: &'static str, value: usize) -> Result<(), PlanError> {
    if value > 0 { Ok(()) } else { Err(PlanError::field(field, "0", "1 or more")) }
}

/// At least one, without dots.
pub fn extensions(extensions: &[String]) -> Result<(), PlanError> {
    let bad = extensions.iter().find(|e| e.is_empty() || e.contains(['.', '/']));
    match bad {
        Some(bad) => Err(PlanError::field("extensions", format!("{bad:?}"), "without dots: [wav, flac]")),
        None if extensions.is_empty() => Err(PlanError::field("extensions", "none", "at least one: [wav, flac]")),
        None => Ok(()),
    }
}
