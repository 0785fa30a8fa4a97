//! The scan of a corpus: the graph that measures every clip, and what its table says in sum.

mod graph;
mod summary;

pub use graph::{ScanGraph, archives, scan_graph};
pub use summary::{Bar, Clip, Duplicate, Summary};
