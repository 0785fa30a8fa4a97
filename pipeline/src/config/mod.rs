//! The only place that knows YAML: a document and its overrides become a [`Graph`](crate::plan::Graph), or every fault with
//! its line, column and a way out.
//!
//! ```yaml
//! pipeline: audioset-mel             # default: the file's name
//! seed: 0
//! stages:                            # `from` is the stage above, unless said; `id` is the type, unless said
//!   - { id: clips, type: source_folder, path: audio }
//!   - { type: decode }
//!   - { type: sink_null, from: decode }
//! on_error: { policy: quarantine, max_fraction: 0.01 }
//! resources: { jobs: auto, memory: 4GiB, clips_per_shard: 512 }
//! ```
//!
//! The n-th stage of a type without an `id` gets the type as its id, then `type_2`, `type_3`: the next one that is free.
//! Nothing is read from the environment.

mod document;
mod fault;
mod load;
mod overrides;
mod read;
mod schema;
mod tree;

pub use fault::{ConfigErrors, Fault};
pub use load::{load, load_str, parse_stage};
pub use read::{ReadError, ReadErrorKind, read_all};
pub use schema::json_schema;
pub use tree::{Key, Node, Place, Value};
