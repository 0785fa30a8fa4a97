//! Streaming audio pipelines: a YAML graph, typed edges, bounded memory, write-once shards.

pub mod columns;
pub mod corpus;
pub mod engine;
pub mod row;
pub mod schema;
pub mod shard;
pub mod stage;
pub mod stages;
