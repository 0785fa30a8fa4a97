//! `--set`.

use serde_json::json;

use crate::load_with;

const BASE: &str = "
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 32000 }
  - { type: crop, seconds: 10 }
  - { id: mel, type: log_mel, preset: code-225b816 }
  - { type: sink_shards, path: out }
";

#[test]
fn lays_values_over_the_document() {
    let sets = [
        "stages.mel.n_mels=96",
        "stages.crop.seconds=5",
        "stages.2.rate_hz=32e3",
        "seed=3",
        "pipeline=p",
        "resources.jobs=2",
        "on_error.policy=skip",
        "stages.clips.extensions=[wav, flac]",
        "stages.clips.path=a=b.c",
    ];
    let graph = load_with(BASE, &sets).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((graph.seed, graph.pipeline.as_str(), graph.resources.jobs), (3, "p", Some(2)));
    assert_eq!(graph.on_error.policy, ajepa_pipe::plan::Policy::Skip);
    let json = |id: &str| graph.node(id).expect("node").json.clone();
    assert_eq!([&json("mel")["preset"], &json("mel")["n_mels"]], [&json!("code-225b816"), &json!(96)]);
    assert_eq!(json("crop")["seconds"], json!(5.0));
    assert_eq!(json("resample")["rate_hz"], json!(32000));
    assert_eq!(json("clips")["path"], json!("a=b.c"));
    assert_eq!(json("clips")["extensions"], json!(["wav", "flac"]));
}

#[test]
fn the_last_one_wins() {
    let graph = load_with(BASE, &["seed=3", "seed=4"]).expect("good");
    assert_eq!(graph.seed, 4);
}

#[test]
fn a_bad_one_is_named() {
    let cases = [
        ("seed", "no `=`"),
        ("sead=3", "did you mean `seed`"),
        ("seed=[", "not YAML"),
        ("seed=-1", "`seed`: expected a whole number"),
        ("stages.mel=3", "ends before a field"),
        ("stages.mell.n_mels=3", "did you mean `mel`"),
        ("stages.mel.n_mel=3", "did you mean `n_mels`"),
        ("stages.17.n_mels=3", "no stage number 17"),
        ("stages..n_mels=3", "empty"),
        ("resources.jobs.x=3", "too deep"),
        ("stages.crop.seconds.x=3", "not a mapping"),
        ("stages.crop.seconds=-1", "is not a length"),
    ];
    for (set, expected) in cases {
        let errors = load_with(BASE, &[set]).expect_err(set);
        let shown = errors.to_string();
        assert!(shown.contains(expected), "{set}: {shown}");
        assert!(shown.contains("--set") && shown.contains(set), "{set}: {shown}");
    }
}

#[test]
fn a_type_that_two_stages_have_is_ambiguous() {
    let text = BASE.replace(
        "  - { type: crop, seconds: 10 }\n",
        "  - { type: crop, seconds: 20 }\n  - { type: crop, seconds: 10 }\n",
    );
    let shown = load_with(&text, &["stages.crop.seconds=5"]).expect_err("ambiguous").to_string();
    assert!(shown.contains("2 stages are of the type `crop`") && shown.contains("3, 4"), "{shown}");
    let graph = load_with(&text, &["stages.crop_2.seconds=5"]).expect("by the id it got");
    assert_eq!(graph.node("crop_2").expect("node").json["seconds"], 5.0);
    assert_eq!(graph.node("crop").expect("node").json["seconds"], 20.0);
}
