//! A graph as a person wants to see it: what is fused, what travels on each edge, what it takes in memory.

mod diagram;
mod svg;

use std::fmt::Write as _;

use bytesize::ByteSize;
use serde::Serialize;

pub use diagram::{dot, mermaid};
pub use svg::svg;

use super::{Graph, Node, Segment, brief};
use crate::plan::describe::kind_word;
use crate::schema::Schema;
use crate::stage::StageKind;

/// Fields of a stage that are shown with it.
const MAX_PARAMS: usize = 4;

/// Everything that the renderers show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explain {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Seed of the run.
    pub seed: u64,
    /// Worker threads; as many as there are cores when `None`.
    pub jobs: Option<usize>,
    /// What everything queued and in work may take.
    pub memory_bytes: u64,
    /// Clips of one unit.
    pub clips_per_shard: u64,
    /// What runs together.
    pub segments: Vec<ExplainSegment>,
    /// The queues.
    pub edges: Vec<ExplainEdge>,
    /// What is trained once the graph has run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trainings: Vec<ExplainTraining>,
}

/// A training, and what it takes in memory: beside `memory_bytes`, which is the graph's while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainTraining {
    /// `id` of its stage.
    pub stage: String,
    /// Numbers that are trained.
    pub parameters: u64,
    /// Clips of a batch.
    pub batch_clips: u64,
    /// Bytes for parameters, moments and moving average, as long as it goes on.
    pub lasting_bytes: u64,
    /// Bytes for a step beside them.
    pub step_bytes: u64,
    /// Steps that are asked for.
    pub steps: u64,
    /// What is predicted.
    pub target: String,
    /// How far a prediction is from it.
    pub loss: String,
    /// What keeps latents from collapsing.
    pub regulariser: String,
}

/// What runs together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainSegment {
    /// The threading contract.
    pub kind: StageKind,
    /// Its stages in order; none for a chain that only casts.
    pub stages: Vec<ExplainStage>,
    /// Bytes that one clip takes at most while it passes: what a stage reads and gives, at the stage where that is most. An
    /// estimate from the schemas.
    pub clip_bytes: usize,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainStage {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its first plain fields, as `key: value`.
    pub params: Vec<String>,
    /// What it gives.
    pub output: Option<String>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainEdge {
    /// Segment that fills it.
    pub from: usize,
    /// Segment that empties it.
    pub to: usize,
    /// All columns.
    pub schema: String,
    /// The columns that stages work on, one each.
    pub columns: Vec<String>,
    /// Bytes of one row, estimated from the schema.
    pub row_bytes: usize,
}

/// Looks at a graph.
pub fn explain(graph: &Graph) -> Explain {
    let segments = graph.segments();
    let edge = |edge: &super::Edge| ExplainEdge {
        from: edge.from,
        to: edge.to,
        schema: edge.schema.to_string(),
        columns: brief(&edge.schema).split("], ").map(closed).collect(),
        row_bytes: edge.schema.row_bytes(),
    };
    Explain {
        pipeline: graph.pipeline.clone(),
        seed: graph.seed,
        jobs: graph.resources.jobs,
        memory_bytes: graph.resources.memory_bytes,
        clips_per_shard: graph.resources.clips_per_shard,
        segments: segments.segments.iter().map(|segment| explain_segment(graph, segment)).collect(),
        edges: segments.edges.iter().map(edge).collect(),
        trainings: graph.nodes.iter().filter_map(explain_training).collect(),
    }
}

#[cfg(feature = "train")]
fn explain_training(node: &Node) -> Option<ExplainTraining> {
    let config = node.config.training()?;
    let memory = config.memory(&node.inputs).ok()?;
    let recipe = config.recipe(&node.inputs).ok()?;
    let parameters = recipe.n_parameters().ok()?;
    Some(ExplainTraining {
        stage: node.id.clone(),
        parameters: parameters.iter().sum::<usize>() as u64,
        batch_clips: config.batch_clips as u64,
        lasting_bytes: memory.lasting_bytes,
        step_bytes: memory.step_bytes,
        steps: config.train_config(&recipe).steps,
        target: choice(&recipe.target),
        loss: choice(&recipe.loss),
        regulariser: choice(&recipe.regulariser),
    })
}

/// Which of the choices that a part of the recipe has, as in YAML.
#[cfg(feature = "train")]
fn choice(part: &impl Serialize) -> String {
    let value = serde_json::to_value(part).unwrap_or_default();
    let name = value.as_object().and_then(|of| of.keys().next()).map(String::as_str);
    name.or(value.as_str()).unwrap_or_default().to_owned()
}

#[cfg(not(feature = "train"))]
fn explain_training(_: &Node) -> Option<ExplainTraining> {
    None
}

impl ExplainTraining {
    /// What it takes, in a line.
    pub fn text(&self) -> String {
        format!(
            "{}: training takes about {}: {} for {:.1} million parameters, {} for a batch of {} clips; {} steps, \
             target {}, loss {}, regulariser {}",
            self.stage,
            ByteSize::b(self.lasting_bytes + self.step_bytes),
            ByteSize::b(self.lasting_bytes),
            self.parameters as f64 / 1e6,
            ByteSize::b(self.step_bytes),
            self.batch_clips,
            self.steps,
            self.target,
            self.loss,
            self.regulariser
        )
    }
}

/// A column without the bracket that it was split at.
fn closed(column: &str) -> String {
    if column.contains('[') && !column.ends_with(']') { format!("{column}]") } else { column.to_owned() }
}

fn explain_segment(graph: &Graph, segment: &Segment) -> ExplainSegment {
    let nodes: Vec<&Node> = segment.nodes.iter().map(|&i| &graph.nodes[i]).collect();
    let passing = |node: &&Node| {
        let given = node.plan.output.as_ref().map_or(0, Schema::row_bytes);
        node.inputs.iter().map(Schema::row_bytes).sum::<usize>() + given
    };
    let stage = |node: &&Node| ExplainStage {
        id: node.id.clone(),
        type_name: node.type_name.clone(),
        params: params(&node.json),
        output: node.plan.output.as_ref().map(brief),
    };
    ExplainSegment {
        kind: segment.kind,
        stages: nodes.iter().map(stage).collect(),
        clip_bytes: nodes.iter().map(passing).max().unwrap_or(0),
    }
}

fn params(json: &serde_json::Value) -> Vec<String> {
    let fields = json.as_object().into_iter().flatten();
    let shown = fields.filter_map(|(key, value)| {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
            _ => return None,
        };
        let cut: String = text.chars().take(28).collect();
        let dots = if cut.len() < text.len() { ".." } else { "" };
        Some(format!("{key}: {cut}{dots}"))
    });
    shown.take(MAX_PARAMS).collect()
}

impl Explain {
    /// The report for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}  (seed {})\n\n", self.pipeline, self.seed);
        for (i, segment) in self.segments.iter().enumerate() {
            for (n, edge) in self.edges.iter().enumerate().filter(|(_, edge)| edge.to == i) {
                let from = self.name(edge.from);
                let _ =
                    writeln!(out, "   | {}    {} a row, from {from}", edge.columns.join(", "), size(edge.row_bytes));
                let last = self.edges.iter().skip(n + 1).all(|edge| edge.to != i);
                out.push_str(if last { "   v\n" } else { "" });
            }
            let _ = writeln!(out, "{}", self.headline(i));
            for stage in &segment.stages {
                let _ = writeln!(out, "   {}", stage_line(stage));
            }
        }
        let jobs = self.jobs.map_or_else(
            || "one worker per core".to_owned(),
            |jobs| format!("{jobs} worker{}", if jobs == 1 { "" } else { "s" }),
        );
        let memory = ByteSize::b(self.memory_bytes);
        let _ = writeln!(out, "\n{jobs}, {memory} of memory, {} clips per shard", self.clips_per_shard);
        for training in &self.trainings {
            let _ = writeln!(out, "{}", training.text());
        }
        out
    }

    /// The same as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// What a segment is and how it runs.
    fn headline(&self, i: usize) -> String {
        let segment = &self.segments[i];
        match (segment.kind, segment.stages.len()) {
            (StageKind::Map, 0) => "[cast] on every worker: to the form that the sink stores".to_owned(),
            (StageKind::Map, n) => {
                let fused = if n > 1 { format!("{n} stages fused, ") } else { String::new() };
                format!("[map] {fused}on every worker, {} a clip at most", size(segment.clip_bytes))
            }
            (kind, _) => format!("[{}] one thread", kind_word(kind)),
        }
    }

    /// The last stage of a segment, for what it gives.
    fn name(&self, i: usize) -> &str {
        self.segments[i].stages.last().map_or("cast", |stage| &stage.id)
    }
}

fn stage_line(stage: &ExplainStage) -> String {
    let name =
        if stage.id == stage.type_name { stage.id.clone() } else { format!("{} ({})", stage.id, stage.type_name) };
    let params = if stage.params.is_empty() { String::new() } else { format!(" {{ {} }}", stage.params.join(", ")) };
    let output = stage.output.as_ref().map_or_else(String::new, |output| format!(" -> {output}"));
    format!("{name}{params}{output}")
}

/// Bytes for people: `1.3 MiB`.
fn size(bytes: usize) -> String {
    ByteSize::b(bytes as u64).to_string()
}
