//! The only place that spawns threads.
//!
//! A [`Network`] is segments with queues between them. [`run`] gives a thread to every source, fold, merge and sink, and
//! a pool of `jobs` workers to all [`Chain`]s together: a worker takes whatever work lies furthest downstream, so cores
//! flow to the bottleneck by themselves. The [`board::Board`] decides, under one lock.
//!
//! A [`ring::Ring`] is the other way round: few threads fill slots ahead of one consumer, such as a trainer.

pub mod board;
mod chain;
pub mod clock;
mod fold;
mod gate;
mod metrics;
mod network;
pub mod ring;
mod run;
mod segments;
mod timeline;

pub use chain::{Chain, ChainResult, ChainSettings, Link, MapCx, StagedReject, panic_message};
pub use fold::FoldCx;
pub use gate::{Gate, Pass};
pub use metrics::{
    Bottleneck, Metrics, QueueSnapshot, Snapshot, StageCounters, StageSnapshot, cpu_s, peak_resident_bytes,
    resident_bytes,
};
pub(crate) use metrics::{PARTS_OF_RUN, PARTS_OF_WORK};
pub use network::{Network, QueueSpec, Segment, SegmentWork};
pub(crate) use run::all_units;
pub use run::{ErrorPolicy, Outcome, RejectLog, RunError, RunOptions, Share, StopSignal, WORKER_NAME, run};
pub use timeline::Timeline;

#[cfg(test)]
mod tests;
