//! Streaming audio pipelines: a YAML graph, typed edges, bounded memory, write-once shards.
//!
//! [`config::load`] reads a graph and proves it, [`job::run`] runs it, [`shard::ShardSet`] reads what it made. A stage of
//! one's own implements [`stage::StageConfig`] and is added to [`stages::builtin`].

#[cfg(feature = "sql")]
pub mod catalogue;
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod columns;
pub mod config;
pub mod corpus;
#[cfg(feature = "datasets")]
pub mod dataset;
#[cfg(feature = "train")]
pub mod embed;
pub mod engine;
#[cfg(all(feature = "train", feature = "datasets"))]
pub mod eval;
pub mod feed;
pub mod front_end;
pub mod job;
pub mod plan;
pub mod report;
pub mod row;
pub mod scan;
pub mod schema;
pub mod shard;
pub mod stage;
pub mod stages;
#[cfg(feature = "train")]
pub mod train;
pub mod units;
