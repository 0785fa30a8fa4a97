//! Integration tests of the pipeline crate: one binary.

mod apart;
mod bad;
mod bottleneck;
#[cfg(feature = "train")]
mod checkpoint;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "datasets")]
mod dataset;
mod describe;
#[cfg(feature = "train")]
mod device;
#[cfg(feature = "train")]
mod embed;
#[cfg(feature = "train")]
mod encoder;
#[cfg(all(feature = "train", feature = "datasets"))]
mod eval;
mod explain;
mod feed;
mod graph;
mod inspect;
mod memory;
#[cfg(feature = "train")]
mod models;
mod mutate;
#[cfg(feature = "objects")]
mod objects;
mod overrides;
mod program;
mod promises;
#[cfg(feature = "train")]
mod published;
#[cfg(feature = "sql")]
mod query;
mod run;
mod scan;
mod tidy;
#[cfg(feature = "train")]
mod train;
mod units;

use ajepa_pipe::config::{self, ConfigErrors};
use ajepa_pipe::plan::Graph;
use ajepa_pipe::stages::builtin;

/// A text as a pipeline, without overrides.
fn load(text: &str) -> Result<Graph, ConfigErrors> {
    load_with(text, &[])
}

/// A text as a pipeline, with overrides.
fn load_with(text: &str, overrides: &[&str]) -> Result<Graph, ConfigErrors> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    config::load_str("test.yaml", text, &overrides, &builtin())
}

/// A graph that fits together, or the test's end with the rendered report.
fn good(text: &str) -> Graph {
    load(text).unwrap_or_else(|errors| panic!("{errors}"))
}
