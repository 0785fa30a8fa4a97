//! Streaming audio pipelines: a YAML graph, typed edges, bounded memory, write-once shards.

pub mod columns;
pub mod config;
pub mod engine;
pub mod plan;
pub mod row;
pub mod schema;
pub mod stage;
pub mod stages;
