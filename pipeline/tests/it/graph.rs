//! Graphs: order, schemas, segments, fingerprints, branches.

use ajepa_pipe::schema::Dtype;
use ajepa_pipe::stage::StageKind::{self, Fold, Map, Sink, Source};

use crate::{good, load};

const MEL: &str = "
pipeline: mel
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 32000 }
  - { type: crop, seconds: 10 }
  - { id: mel, type: log_mel, preset: code-225b816 }
  - { type: sink_shards, path: out }
";

#[test]
fn a_line_of_stages_is_three_segments() {
    let graph = good(MEL);
    let segments = graph.segments();
    let shape: Vec<_> = segments.segments.iter().map(|segment| (segment.kind, segment.nodes.clone())).collect();
    assert_eq!(shape, [(StageKind::Source, vec![0]), (StageKind::Map, vec![1, 2, 3, 4]), (StageKind::Sink, vec![5])]);
    let stored = segments.edges[1].schema.tensor("mel").expect("mel");
    assert_eq!((stored.dtype, stored.shape.clone()), (Dtype::F16, vec![512, 96]));
    assert_eq!(graph.nodes[5].inputs[0].tensor("mel").expect("mel").dtype, Dtype::F32);
}

#[test]
fn a_fold_before_a_sink_is_followed_by_a_cast() {
    let text = MEL.replace("  - { type: sink_shards", "  - { type: shuffle, rows: 100 }\n  - { type: sink_shards");
    let segments = good(&text).segments();
    let shape: Vec<_> = segments.segments.iter().map(|segment| (segment.kind, segment.nodes.len())).collect();
    assert_eq!(shape, [(Source, 1), (Map, 4), (Fold, 1), (Map, 0), (Sink, 1)]);
    let dtypes: Vec<_> =
        segments.edges.iter().skip(1).map(|edge| edge.schema.tensor("mel").map(|mel| mel.dtype)).collect();
    assert_eq!(dtypes, [Some(Dtype::F32), Some(Dtype::F32), Some(Dtype::F16)]);
}

#[test]
fn two_sinks_on_one_chain_each_get_their_own_dtype() {
    let text = format!("{MEL}  - {{ id: wide, type: sink_shards, path: wide, dtype: f32, from: mel }}\n");
    let segments = good(&text).segments();
    let chain = &segments.segments[1];
    assert_eq!(chain.outputs.len(), 2);
    let dtype = |edge: usize| segments.edges[edge].schema.tensor("mel").map(|mel| mel.dtype);
    assert_eq!([dtype(chain.outputs[0]), dtype(chain.outputs[1])], [Some(Dtype::F16), Some(Dtype::F32)]);
}

#[test]
fn a_stage_that_two_read_ends_its_chain() {
    let text = "
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { id: a, type: resample, rate_hz: 32000 }
  - { id: b, type: resample, rate_hz: 16000, from: decode }
  - { id: to_a, type: sink_null, from: a }
  - { id: to_b, type: sink_null, from: b }
";
    let segments = good(text).segments();
    let nodes: Vec<_> = segments.segments.iter().map(|segment| segment.nodes.clone()).collect();
    assert_eq!(nodes, [vec![0], vec![1], vec![2], vec![3], vec![4], vec![5]]);
    assert_eq!(segments.segments[1].outputs.len(), 2);
}

#[test]
fn stages_may_stand_in_any_order() {
    let text = "
stages:
  - { id: out, type: sink_null, from: wave }
  - { id: wave, type: decode, from: clips }
  - { id: clips, type: source_folder, path: audio }
";
    let graph = good(text);
    let ids: Vec<_> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["clips", "wave", "out"]);
    assert_eq!(graph.nodes.iter().map(|node| node.from.clone()).collect::<Vec<_>>(), [vec![], vec![0], vec![1]]);
    assert_eq!(graph.nodes.iter().map(|node| node.line).collect::<Vec<_>>(), [Some(5), Some(4), Some(3)]);
}

const BRANCHES: &str = "
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { id: a, type: crop, seconds: 3 }
  - { id: b, type: crop, seconds: 3, position: random, from: decode }
  - { type: interleave, from: [a, b] }
  - { type: sink_null }
";

#[test]
fn branches_of_one_stage_meet_only_where_they_are_read_in_step() {
    good(BRANCHES);
    let concat = load(&BRANCHES.replace("interleave", "concat")).expect_err("concat").to_string();
    assert!(concat.contains("both come from `decode`") && concat.contains("interleave or zip"), "{concat}");
    let held = BRANCHES
        .replace("  - { id: b, ", "  - { type: shuffle, rows: 9 }\n  - { id: b, ")
        .replace("[a, b]", "[shuffle, b]");
    let held = load(&held).expect_err("shuffle between").to_string();
    assert!(held.contains("`shuffle` lies between"), "{held}");
}

#[test]
fn two_merges_that_wait_for_each_other_are_refused() {
    let text = "
stages:
  - { id: a, type: source_folder, path: a }
  - { id: b, type: source_folder, path: b }
  - { id: ab, type: concat, from: [a, b] }
  - { id: one, type: sink_null, from: ab }
  - { id: ba, type: concat, from: [b, a] }
  - { id: two, type: sink_null, from: ba }
";
    let shown = load(text).expect_err("crossing").to_string();
    assert!(shown.contains("by another merge") && shown.contains("`ba`"), "{shown}");
}

#[test]
fn two_sources_may_be_put_end_to_end() {
    let text = "
stages:
  - { id: a, type: source_folder, path: a }
  - { id: b, type: source_folder, path: b }
  - { type: concat, from: [a, b] }
  - { type: decode }
  - { type: sink_null }
";
    assert_eq!(good(text).segments().segments.len(), 5);
}

fn fingerprint(text: &str) -> String {
    let graph = good(text);
    graph.fingerprint(*graph.sinks().last().expect("sink")).hex
}

#[test]
fn the_fingerprint_holds_what_decides_content_and_nothing_else() {
    let base = fingerprint(MEL);
    assert_eq!(base.len(), 64);
    let same = [
        MEL.replace("path: out", "path: elsewhere"),
        MEL.replace(
            "pipeline: mel",
            "pipeline: other\nresources: { jobs: 3, memory: 1GiB }\non_error: { policy: fail }",
        ),
        MEL.replace("preset: code-225b816", "n_mels: null, preset: 'code-225b816'"),
        MEL.replace("{ type: sink_shards,", "{ id: out, type: sink_shards,"),
        MEL.replace("seconds: 10", "seconds: 10.0, position: head"),
        format!("{MEL}  - {{ type: sink_null, from: decode }}\n").replace("  - { type: sink_shards, path: out }\n", "")
            + "  - { type: sink_shards, path: out, from: mel }\n",
    ];
    for text in &same {
        assert_eq!(fingerprint(text), base, "{text}");
    }
    let other = [
        MEL.replace("path: audio", "path: radio"),
        MEL.replace("stages:", "seed: 1\nstages:"),
        MEL.replace("stages:", "resources: { clips_per_shard: 100 }\nstages:"),
        MEL.replace("seconds: 10", "seconds: 5"),
        MEL.replace("id: clips", "id: clip"),
        MEL.replace("path: out", "path: out, dtype: f32"),
        MEL.replace("seconds: 10", "seconds: 10, position: random"),
    ];
    for text in &other {
        assert_ne!(fingerprint(text), base, "{text}");
    }
}

#[test]
fn nothing_is_opened() {
    // The folder does not exist, and neither does the place to write to.
    let text = MEL.replace("path: audio", "path: /nowhere/at/all").replace("path: out", "path: /nowhere/else");
    good(&text);
}
