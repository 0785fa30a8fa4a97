//! The run report: everything a run can say of itself afterwards, as JSON; `cli` draws the page from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::{
    Bottleneck, Outcome, PARTS_OF_RUN, PARTS_OF_WORK, RunError, Snapshot, Timeline, peak_resident_bytes,
};
use crate::job::JobError;
use crate::plan::Graph;
use crate::stage::{Reject, SinkReport, StageKind};
use crate::units::UnitRow;

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
    /// What was trained on what the sinks made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trainings: Vec<TrainingReport>,
    /// Units that a cluster did in this run: where, how long, what came of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitRow>,
    /// Rejects of this run by (stage, reason, count).
    pub reject_counts: Vec<(String, String, u64)>,
    /// The first of them, at most 100.
    pub first_rejects: Vec<Reject>,
    /// The graph as it ran: `explain --format svg`.
    pub graph_svg: Option<String>,
}

/// How a training went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// `id` of its stage.
    pub stage: String,
    /// The folder of the run.
    pub path: PathBuf,
    /// Steps done, those of earlier processes included.
    pub steps: u64,
    /// Steps asked for.
    pub steps_asked: u64,
    /// The best probe so far: its step and score.
    pub best: Option<(u64, f64)>,
    /// What it was computed on.
    #[serde(default)]
    pub device: String,
    /// Share of the time that the trainer waited for data.
    pub data_wait: f64,
    /// Things a person should know.
    pub notes: Vec<String>,
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
            bottleneck: end.bottleneck().map(|found| without_parts(with_dtype(found, graph), graph)),
            end,
            timeline: points,
            peak_rss_bytes: timeline.peak_rss_bytes().max(peak_resident_bytes()),
            sinks,
            trainings: Vec::new(),
            units: Vec::new(),
            reject_counts: counts,
            first_rejects: outcome.rejects.first,
            graph_svg: None,
        }
    }
}

/// Adds the one thing that makes a sink write less, where the sink has it and does not use it.
fn with_dtype(mut found: Bottleneck, graph: &Graph) -> Bottleneck {
    let node = graph.nodes.iter().find(|node| node.id == found.stage && node.kind() == StageKind::Sink);
    let is_single = node.is_some_and(|node| node.json.get("dtype").is_some_and(|dtype| dtype == "f32"));
    if is_single {
        found.advice.push_str("; `dtype: f16` writes half as much");
    }
    found
}

/// Takes back the advice to share the work, where one file is written at the end.
fn without_parts(mut found: Bottleneck, graph: &Graph) -> Bottleneck {
    if graph.is_whole() {
        found.advice = found.advice.replace(PARTS_OF_WORK, "").replace(PARTS_OF_RUN, "");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_advised_only_where_they_can_be() {
        let advice = |sink: &str| {
            let source = "{ type: source_shards, path: a, shape: [8], column: embedding, axes: [width] }";
            let text = format!("stages: [{source}, {{ id: out, {sink} }}]");
            let graph = crate::config::load_str("test", &text, &[], &crate::stages::builtin()).unwrap();
            [PARTS_OF_WORK, PARTS_OF_RUN].map(|parts| {
                let found =
                    Bottleneck { stage: "out".to_owned(), share: 0.9, advice: format!("more cores{parts} scale it") };
                without_parts(found, &graph).advice
            })
        };
        assert!(advice("type: sink_shards, path: o").iter().all(|advice| advice.contains("--part I/N")));
        assert_eq!(advice("type: sink_embeddings, path: o.parquet"), ["more cores scale it", "more cores scale it"]);
    }

    #[test]
    fn half_floats_are_advised_only_where_there_are_single_ones() {
        let advice = |sink: &str| {
            let mel = "{ type: log_mel, preset: base-2026 }";
            let text = format!(
                "stages: [{{ type: source_folder, path: a }}, {{ type: decode }}, {{ type: resample, rate_hz: 16000 }}, {mel}, {{ id: out, {sink} }}]"
            );
            let graph = crate::config::load_str("test", &text, &[], &crate::stages::builtin()).unwrap();
            let found = Bottleneck { stage: "out".to_owned(), share: 0.9, advice: "a faster disk".to_owned() };
            with_dtype(found, &graph).advice
        };
        assert!(advice("type: sink_shards, path: o, dtype: f32").contains("`dtype: f16`"));
        assert_eq!(advice("type: sink_shards, path: o"), "a faster disk");
        assert_eq!(advice("type: sink_webdataset, path: o, content: tensors"), "a faster disk");
    }
}
