//! What made the pictures that a model was trained on: kept in its checkpoints, so that new audio is seen the same way.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shard::{Manifest, TensorInfo};

/// A tensor column of a shard set, and the stages it came through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnd {
    /// The column, its shape, axes and parameters, and the moments of each bin.
    pub tensor: TensorInfo,
    /// The graph that wrote the shards, stages in order: `{ id, type, from, config }` with every default filled in.
    pub stages: Vec<Value>,
}

impl FrontEnd {
    /// What `manifest` says of `tensor`.
    pub fn new(manifest: &Manifest, tensor: &TensorInfo) -> Self {
        let stages = manifest.graph.get("stages").and_then(Value::as_array).cloned().unwrap_or_default();
        Self { tensor: tensor.clone(), stages }
    }
}
