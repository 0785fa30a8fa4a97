//! Corpora as tables: what a publisher lists, what is held of it, and how it is shared out.
//!
//! ```text
//! publisher's files --AudioSet, Fsd50k, esc50, xares, folder--> Wanted --+
//!                                                                        +--join--> Manifest --> Parquet, Report
//! audio --whoever decodes it--> scan table ------------Scan--------------+             |
//!                                                    balanced_weights, split, sample <-+
//! ```
//!
//! A [`Manifest`] is a polars `DataFrame` with known columns: whatever polars can do with it is not done again here.
//! Rows that were wanted and not found stay in it, with the status `missing`. [`Manifest::write`] makes two tables of
//! it: `NAME.parquet` has the clips that can be used and is run as it is, `NAME.all.parquet` has all rows and is the
//! whole truth.
//!
//! No audio is decoded here, no thread is started (polars has its own pool), and nothing is known of pipelines.

mod audioset;
mod columns;
mod error;
mod esc50;
mod folder;
mod fsd50k;
mod groups;
mod hash;
mod index;
mod join;
mod lines;
mod manifest;
mod names;
mod near;
mod ontology;
mod parquet;
mod report;
mod sampling;
mod scan;
mod seed;
mod split;
mod wanted;
mod xares;

pub use audioset::AudioSet;
pub use error::DatasetError;
pub use esc50::esc50;
pub use folder::{FolderRules, folder};
pub use fsd50k::Fsd50k;
pub use join::{Held, JoinConfig, Joined, join};
pub use manifest::{EXCLUDED, HASH_KEY, MISSING, Manifest, Written, read_rejects};
pub use names::NameRule;
pub use near::{NearConfig, bit_error};
pub use ontology::{Class, Ontology};
pub use report::{Counts, Histogram, LabelCounts, Report, Sound};
pub use sampling::{balanced_weights, having_any, sample};
pub use scan::{OK, Scan, UNCHECKED};
pub use split::{Leak, SplitConfig, leaks, split};
pub use wanted::Wanted;
pub use xares::{TarSample, XARES_TASKS, XaresEvent, XaresLabels, XaresSplits, XaresTask, xares};
