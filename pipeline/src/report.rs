//! The run report: everything a run can say of itself afterwards, as JSON; `cli` draws the page from it.

use serde::{Deserialize, Serialize};

use crate::cli::progress::Timeline;
use crate::engine::{Bottleneck, Outcome, RunError, Snapshot, peak_resident_bytes};
use crate::job::JobError;
use crate::plan::Graph;
use crate::stage::{Reject, SinkReport};

/// How a run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of this layout.
    pub format: u32,
    /// Version of the program.
    pub program: String,
    /// `pipeline:` of the YAML.
    pub pipeline: String,
    /// Start, RFC 3339.
    pub started_at: String,
    /// `done`, `failed` or `interrupted`.
    pub outcome: String,
    /// Why it failed, when it did.
    pub error: Option<String>,
    /// The counters at the end.
    pub end: Snapshot,
    /// The counters over time; at most 600 points, evenly thinned.
    pub timeline: Vec<Snapshot>,
    /// The most resident memory that the process had.
    pub peak_rss_bytes: u64,
    /// What set the pace.
    pub bottleneck: Option<Bottleneck>,
    /// What each sink made: (id, report).
    pub sinks: Vec<(String, SinkReport)>,
    /// Rejects of this run by (stage, reason, count).
    pub reject_counts: Vec<(String, String, u64)>,
    /// The first of them, at most 100.
    pub first_rejects: Vec<Reject>,
    /// The graph as it ran: `explain --format svg`.
    pub graph_svg: Option<String>,
}

impl RunReport {
    /// The report of a run of `graph` that ended in `result`.
    pub fn new(
        graph: &Graph,
        started_at: String,
        timeline: &Timeline,
        outcome: Outcome,
        result: &Result<(), JobError>,
    ) -> Self {
        let points = timeline.points();
        let end = points.last().cloned().unwrap_or_default();
        let (ended, error) = match result {
            Ok(()) => ("done", None),
            Err(JobError::Run(RunError::Interrupted(_))) => ("interrupted", None),
            Err(error) => ("failed", Some(error.to_string())),
        };
        let sinks = outcome.sinks.into_iter().map(|(stage, sink)| (graph.nodes[stage].id.clone(), sink)).collect();
        let counts = outcome.rejects.counts.into_iter().map(|((stage, reason), n)| (stage, reason, n)).collect();
        Self {
            format: 1,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pipeline: graph.pipeline.clone(),
            started_at,
            outcome: ended.to_owned(),
            error,
            bottleneck: end.bottleneck(),
            end,
            timeline: points,
            peak_rss_bytes: timeline.peak_rss_bytes().max(peak_resident_bytes()),
            sinks,
            reject_counts: counts,
            first_rejects: outcome.rejects.first,
            graph_svg: None,
        }
    }
}
