//! SQL over manifests, shards, embeddings, run reports and trainings, by DataFusion.
//!
//! A [`Catalogue`] knows the tables that were named to it and nothing else: no statement reads another file, and none writes
//! one. Its runtime is its own; whoever asks gets an iterator of record batches.
//!
//! # Example: which labels the shards hold
//! ```no_run
//! use ajepa_pipe::catalogue::{Catalogue, CatalogueError, CatalogueOptions};
//! let mut catalogue = Catalogue::new(CatalogueOptions::default())?;
//! catalogue.add("out/mel".as_ref())?;
//! for batch in catalogue.query("SELECT unnest(labels) AS label, count(*) AS clips FROM mel GROUP BY label")? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok::<(), CatalogueError>(())
//! ```

mod admit;
pub(crate) mod condition;
mod document;
mod error;
mod file_table;
mod found;
mod functions;
mod rows;
mod session;
mod shard_scan;
mod shard_table;

pub use error::{CatalogueError, SqlFault};
pub use functions::{FunctionDoc, documented};
pub use rows::Rows;
pub use session::{Catalogue, CatalogueOptions, TableInfo};
