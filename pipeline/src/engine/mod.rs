//! The only place that spawns threads.

mod chain;
pub mod clock;
mod metrics;

pub use chain::{Chain, ChainResult, ChainSettings, Link, MapCx, panic_message};
pub use metrics::{Bottleneck, Metrics, QueueSnapshot, Snapshot, StageCounters, StageSnapshot, resident_bytes};
