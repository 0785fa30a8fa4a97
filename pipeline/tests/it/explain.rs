//! The renderings of a graph with a branch, a fold and two sinks.

use ajepa_pipe::plan::explain::{dot, explain, mermaid, svg};

use crate::good;

const GRAPH: &str = "
pipeline: audioset-mel
seed: 7
stages:
  - { id: clips, type: source_folder, path: audioset/balanced }
  - { type: decode }
  - { type: resample, rate_hz: 32000 }
  - { type: crop, seconds: 10, position: random }
  - { id: mel, type: log_mel, preset: code-225b816 }
  - { id: shards, type: sink_shards, path: out/mel }
  - { type: mask, from: mel, mask: { ratio: [0.6, 0.6] } }
  - { type: patchify, patch_frames: 16, patch_mels: 16 }
  - { type: shuffle, rows: 4096 }
  - { id: tokens, type: sink_shards, path: out/tokens }
  - { id: waves, type: sink_null, from: clips }
resources: { jobs: 8, memory: 2GiB }
";

#[test]
fn text_mermaid_and_dot() {
    let explained = explain(&good(GRAPH));
    insta::assert_snapshot!("explain_text", explained.text());
    insta::assert_snapshot!("explain_mermaid", mermaid(&explained));
    insta::assert_snapshot!("explain_dot", dot(&explained));
}

#[test]
fn json_names_every_segment_and_edge() {
    let json: serde_json::Value = serde_json::from_str(&explain(&good(GRAPH)).json()).expect("json");
    assert_eq!(json["segments"].as_array().map(Vec::len), Some(8));
    assert_eq!(json["edges"].as_array().map(Vec::len), Some(7));
    let into_shards = json["edges"].as_array().expect("edges").iter().find(|edge| edge["to"] == 2).expect("edge");
    assert_eq!(into_shards["columns"], serde_json::json!(["mel f16[512 frames x 96 mels]"]));
    assert_eq!(into_shards["row_bytes"], 512 * 96 * 2 + 7 * 24);
}

const MERGES: &str = "
pipeline: merges
stages:
  - { id: music, type: source_folder, path: music }
  - { id: speech, type: source_folder, path: speech }
  - { id: third, type: source_folder, path: third }
  - { id: all, type: concat, from: [music, speech] }
  - { type: decode }
  - { id: a, type: crop, seconds: 3 }
  - { id: b, type: crop, seconds: 3, position: random, from: decode }
  - { type: interleave, from: [a, b] }
  - { type: sink_null }
  - { id: late, type: shuffle, rows: 9, from: speech }
  - { id: late_2, type: shuffle, rows: 9 }
  - { id: late_3, type: concat, from: [late_2, third] }
  - { id: other, type: sink_null }
";

#[test]
fn svg_draws_merges_and_edges_that_pass_layers() {
    let drawn = svg(&explain(&good(MERGES)));
    if let Some(path) = option_env!("AJEPA_SVG") {
        std::fs::write(format!("{path}.merges.svg"), &drawn).expect("write");
    }
    assert_eq!(drawn.matches("marker-end").count(), 13);
}

#[test]
fn svg_draws_each_stage_once() {
    let drawn = svg(&explain(&good(GRAPH)));
    if let Some(path) = option_env!("AJEPA_SVG") {
        std::fs::write(path, &drawn).expect("write");
    }
    assert_eq!(drawn.matches("class=\"name\">shuffle<").count(), 1);
    assert_eq!(drawn.matches("marker-end").count(), 7);
    assert_eq!(drawn.matches("<text").count(), drawn.matches("</text>").count());
}

#[test]
fn one_worker_is_one() {
    let explained = explain(&good(&GRAPH.replace("jobs: 8", "jobs: 1")));
    assert!(explained.text().contains("1 worker") && !explained.text().contains("1 workers"), "{}", explained.text());
    assert!(!svg(&explained).contains("1 workers"));
}
