//! Write-once shards of Arrow record batches: written whole or not at all, checked before they are read, mapped in place.

mod copy;
mod decode;
mod diff;
mod error;
mod foreign;
mod generation;
mod layout;
mod light;
mod manifest;
mod map;
mod part_writer;
mod reader;
mod rejects;
mod rows;
mod sparse;
mod stats;
mod verify;
mod writer;

pub use ajepa_store::Checksums;
pub use copy::{Copied, copy};
#[cfg(feature = "sql")]
pub(crate) use decode::is_numbers as is_tensor;
pub use diff::differences;
pub use error::ShardError;
pub use manifest::{ColumnInfo, Compression, FORMAT, Manifest, PartBeside, PartInfo, TensorInfo};
pub use map::{Access, allow_open_files};
pub use reader::{Part, ReadOptions, RowRef, ShardSet};
pub(crate) use rejects::write_rejects;
pub use rows::TensorRows;
pub use sparse::Sparse;
pub use stats::Moments;
pub use verify::{Damage, VerifyReport, verify};
pub use writer::ShardWriter;

#[cfg(test)]
pub(crate) mod tests;
