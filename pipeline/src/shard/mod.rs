//! Write-once shards of Arrow record batches: written whole or not at all, checked before they are read, mapped in place.

mod commit;
mod decode;
mod diff;
mod error;
pub mod fs;
mod generation;
mod layout;
mod manifest;
mod map;
mod page;
mod part_writer;
mod reader;
mod rejects;
mod rows;
mod sealed;
mod stats;
mod verify;
mod writer;

pub use error::ShardError;
pub use manifest::{ColumnInfo, Compression, FORMAT, Manifest, PartInfo, TensorInfo};
pub use map::{Access, allow_open_files};
pub use page::PageHashes;
pub use reader::{Part, ReadOptions, RowRef, ShardSet};
pub use rows::TensorRows;
pub use stats::Moments;
pub use verify::{Damage, VerifyReport, verify};
pub use writer::ShardWriter;

#[cfg(test)]
pub(crate) mod tests;
