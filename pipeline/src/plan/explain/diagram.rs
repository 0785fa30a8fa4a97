//! Mermaid and Graphviz: the layout is theirs.

use std::fmt::Write as _;

use super::{Explain, ExplainStage, size};
use crate::stage::StageKind;

/// A Mermaid flowchart, which GitHub draws.
pub fn mermaid(explain: &Explain) -> String {
    let mut out = String::from("flowchart TD\n");
    for (i, segment) in explain.segments.iter().enumerate() {
        let fused = segment.stages.len() > 1;
        if fused {
            let _ = writeln!(out, "  subgraph s{i}[\"fused, on every worker\"]");
        }
        if segment.stages.is_empty() {
            let _ = writeln!(out, "  n{i}_0[\"cast\"]");
        }
        for (n, stage) in segment.stages.iter().enumerate() {
            let label = mermaid_text(&lines(stage).join("\n"));
            let (open, close) = match segment.kind {
                StageKind::Source | StageKind::Sink => ("([\"", "\"])"),
                _ => ("[\"", "\"]"),
            };
            let _ = writeln!(out, "  n{i}_{n}{open}{label}{close}");
        }
        for n in 1..segment.stages.len() {
            let _ = writeln!(out, "  n{i}_{} --> n{i}_{n}", n - 1);
        }
        if fused {
            out.push_str("  end\n");
        }
    }
    for edge in &explain.edges {
        let from = explain.segments[edge.from].stages.len().max(1) - 1;
        let label = mermaid_text(&edge_lines(&edge.columns, edge.row_bytes).join("\n"));
        let _ = writeln!(out, "  n{}_{from} -- \"{label}\" --> n{}_0", edge.from, edge.to);
    }
    out
}

/// A Graphviz digraph.
pub fn dot(explain: &Explain) -> String {
    let mut out = String::from(
        "digraph pipeline {\n  node [shape=box, style=rounded, fontname=\"Helvetica\"];\n  edge [fontname=\"Helvetica\", fontsize=10];\n",
    );
    for (i, segment) in explain.segments.iter().enumerate() {
        let fused = segment.stages.len() > 1;
        if fused {
            let _ = writeln!(
                out,
                "  subgraph cluster_{i} {{\n  label=\"fused, on every worker\"; style=dashed; fontname=\"Helvetica\";"
            );
        }
        if segment.stages.is_empty() {
            let _ = writeln!(out, "  n{i}_0 [label=\"cast\"];");
        }
        for (n, stage) in segment.stages.iter().enumerate() {
            let _ = writeln!(out, "  n{i}_{n} [label=\"{}\"];", dot_text(&lines(stage).join("\n")));
        }
        for n in 1..segment.stages.len() {
            let _ = writeln!(out, "  n{i}_{} -> n{i}_{n};", n - 1);
        }
        if fused {
            out.push_str("  }\n");
        }
    }
    for edge in &explain.edges {
        let from = explain.segments[edge.from].stages.len().max(1) - 1;
        let label = dot_text(&edge_lines(&edge.columns, edge.row_bytes).join("\n"));
        let _ = writeln!(out, "  n{}_{from} -> n{}_0 [label=\"{label}\"];", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

/// Name, type and fields of a stage, a line each.
pub(super) fn lines(stage: &ExplainStage) -> Vec<String> {
    let mut lines = vec![stage.id.clone()];
    if stage.type_name != stage.id {
        lines.push(stage.type_name.clone());
    }
    lines.extend(stage.params.iter().cloned());
    lines
}

/// What travels on an edge, a line each.
pub(super) fn edge_lines(columns: &[String], row_bytes: usize) -> Vec<String> {
    columns.iter().cloned().chain([format!("{} a row", size(row_bytes))]).collect()
}

fn mermaid_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\n', "<br/>")
}

fn dot_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
