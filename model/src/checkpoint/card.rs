//! `checkpoint.json`: what a checkpoint says of itself.

use ajepa_store::Checksums;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Recipe;

/// Version of the layout that this build writes and reads.
pub const FORMAT: u32 = 1;

/// Everything about a checkpoint but its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that wrote it.
    pub code_version: String,
    /// Steps that were done.
    pub steps: u64,
    /// Seed that everything random is derived from.
    pub seed: u64,
    /// What was trained and how, nothing left to be filled in.
    pub recipe: Recipe,
    /// The front end that the pictures come from, as their manifest has it; null when unknown.
    pub front_end: Value,
    /// Hash of the data's manifest; null when there is none.
    pub data_hash: Option<String>,
    /// Where in the data the next batch lies, in the words of whoever delivers it.
    pub place: Value,
    /// What telemetry must know to go on, such as the best probe so far.
    pub notes: Value,
    /// The tensor files.
    pub files: Vec<FileCard>,
}

/// One tensor file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCard {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Bytes that one checksum is over.
    pub page_bytes: u64,
    /// The checksum of each page, header included.
    pub pages: Checksums,
}
