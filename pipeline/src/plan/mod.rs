//! Pure thinking about a graph: what feeds what, which schemas, which segments, which fingerprint. Opens nothing.
//!
//! A [`Draft`] is what somebody asked for; [`check`] makes a [`Graph`] of it or says everything that is wrong.

mod check;
pub mod describe;
mod draft;
pub mod explain;
mod fingerprint;
mod nearest;
mod segments;
mod topology;

pub use check::{brief, check};
pub use draft::{Draft, DraftFault, DraftStage, From, Where};
pub use fingerprint::Fingerprint;
pub use nearest::{nearest, suggest};
pub use segments::{Edge, Segment, Segments};

use serde::{Deserialize, Serialize};

use crate::schema::Schema;
use crate::stage::{StageConfig, StageKind, StagePlan};

/// A graph that fits together.
#[derive(Debug)]
pub struct Graph {
    /// `pipeline:` of the YAML.
    pub pipeline: String,
    /// Seed of the run.
    pub seed: u64,
    /// The stages; each comes after all it reads from.
    pub nodes: Vec<Node>,
    /// What happens to clips that cannot be used.
    pub on_error: OnError,
    /// What the run may take.
    pub resources: Resources,
}

/// A stage in its place.
#[derive(Debug)]
pub struct Node {
    /// Unique in the graph; enters the seeds of what the stage draws.
    pub id: String,
    /// `type` in the YAML.
    pub type_name: String,
    /// Indices of the nodes it reads, in order.
    pub from: Vec<usize>,
    /// The config.
    pub config: Box<dyn StageConfig>,
    /// The config with all defaults filled in.
    pub json: serde_json::Value,
    /// What the config says it will do.
    pub plan: StagePlan,
    /// What it is fed, in the order of `from`.
    pub inputs: Vec<Schema>,
    /// Line of the document, from 1, when it came from one.
    pub line: Option<usize>,
}

impl Node {
    /// The threading contract.
    pub fn kind(&self) -> StageKind {
        self.plan.kind
    }
}

impl Graph {
    /// Indices of the nodes that read node `i`, ascending.
    pub fn consumers(&self, i: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&j| self.nodes[j].from.contains(&i)).collect()
    }

    /// Indices of the sinks.
    pub fn sinks(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&i| self.nodes[i].kind() == StageKind::Sink).collect()
    }

    /// Whether every sink commits all at once, at the end, or nothing.
    pub fn is_whole(&self) -> bool {
        self.sinks().into_iter().all(|sink| self.nodes[sink].config.is_whole())
    }

    /// The node of that id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// For every node whether it is above node `j`, or is it.
    fn upstream(&self, j: usize) -> Vec<bool> {
        let mut above = vec![false; self.nodes.len()];
        above[j] = true;
        for i in (0..=j).rev() {
            if above[i] {
                self.nodes[i].from.iter().for_each(|&k| above[k] = true);
            }
        }
        above
    }
}

/// `on_error:` of the YAML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnError {
    /// What happens to the clip.
    pub policy: Policy,
    /// The run fails when more than this share of the clips is rejected; in [0, 1], default 0.01.
    pub max_fraction: f64,
    /// The run fails when more clips than this are rejected; no limit by default.
    pub max_count: Option<u64>,
}

impl Default for OnError {
    fn default() -> Self {
        Self { policy: Policy::Quarantine, max_fraction: 0.01, max_count: None }
    }
}

/// What happens to a clip that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The run fails at the first one.
    Fail,
    /// It is counted and left out.
    Skip,
    /// It is left out and written to `rejects.parquet` with its reason.
    Quarantine,
}

/// `resources:` of the YAML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Worker threads; as many as the machine has cores when `None` (`auto`).
    pub jobs: Option<usize>,
    /// Bytes that everything queued and in work may take; default 4 GiB.
    pub memory_bytes: u64,
    /// Clips that make one unit, which becomes one shard; default 512.
    pub clips_per_shard: u64,
}

impl Resources {
    /// Bytes that one clip may take when a stage holds it whole: a quarter of the memory, at most 256 MiB (35 minutes at
    /// 32 kHz). It decides which clips are too long, so it is a function of the graph, whatever the number of workers.
    pub fn clip_cap_bytes(&self) -> u64 {
        (self.memory_bytes / 4).min(256 << 20)
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self { jobs: None, memory_bytes: 4 << 30, clips_per_shard: 512 }
    }
}
