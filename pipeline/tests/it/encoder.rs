//! `encoder`: pictures are encoded together, and each row is what it would be alone; what cannot be encoded is refused by itself.

use std::sync::Arc;

use ajepa_pipe::shard::{Compression, ShardSet, ShardWriter};
use ajepa_pipe::stage::{RunInfo, Sink, Unit, UnitTally};
use ajepa_pipe::stages::builtin;
use arrow::array::{AsArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float32Type};

use crate::embed::{ids, rows, vectors};
use crate::models::place_with_model;
use crate::program::Place;

const FRONT_END: &str = "
stages:
  - { type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: normalize, preset: code-225b816 }
  - { id: mel, type: log_mel, rate_hz: 16000, n_mels: 64, seconds: 2, frames: 128 }
";

/// A place with a model, 24 clips in `audio`, and the stage that fits the model.
fn place() -> (Place, String) {
    let place = place_with_model();
    place.copies(20);
    let shown = place.done("checkpoint show best").out;
    let stage = shown.lines().find_map(|line| line.strip_prefix("as a stage  ")).expect("a stage");
    let stage = stage.trim_start_matches("{ ").trim_end_matches(" }").to_owned();
    (place, stage)
}

fn run(place: &Place, graph: &str, args: &str) {
    place.write("graph.yaml", graph);
    place.done(&format!("run graph.yaml --progress off {args}"));
}

fn bits(rows: &RecordBatch) -> Vec<Vec<u32>> {
    vectors(rows).into_iter().map(|vector| vector.into_iter().map(f32::to_bits).collect()).collect()
}

#[test]
fn a_row_is_the_same_to_the_last_bit_in_any_company() {
    let (place, stage) = place();
    let mut first = None;
    for (clips_per_shard, jobs) in [(256, 1), (256, 4), (1, 2), (7, 3)] {
        let out = format!("{clips_per_shard}_{jobs}.parquet");
        let tail = format!(
            "  - {{ {stage}, output: frames }}\n  - {{ type: sink_embeddings, path: {out} }}\n\
             resources: {{ clips_per_shard: {clips_per_shard} }}\n"
        );
        run(&place, &format!("{FRONT_END}{tail}"), &format!("--jobs {jobs}"));
        let found = rows(&place, &out);
        let found = (ids(&found), bits(&found));
        assert!(found.0.len() == 24 && found.0.is_sorted(), "{:?}", found.0);
        assert!(first.get_or_insert_with(|| found.clone()) == &found, "{out}");
    }
    // Alone in a run, too.
    place.done("embed --checkpoint best --out all.parquet --windows --progress off audio");
    place.done("embed --checkpoint best --out one.parquet --windows --progress off audio/speech/en_1.flac");
    let (all, one) = (rows(&place, "all.parquet"), rows(&place, "one.parquet"));
    let of_one: Vec<Vec<u32>> =
        ids(&all).iter().zip(bits(&all)).filter(|(id, _)| *id == "audio/speech/en_1").map(|(_, v)| v).collect();
    assert!(!of_one.is_empty() && of_one == bits(&one));
}

/// Shards of pictures in f32, of which those of `bad` hold a number that is none; the clips' names.
fn spoilt(place: &Place, bad: &[usize]) -> Vec<String> {
    run(place, &format!("{FRONT_END}  - {{ type: sink_shards, path: plain, dtype: f32 }}\n"), "");
    let set = ShardSet::open(place.path("plain")).expect("shards");
    let batches: Vec<RecordBatch> = set.part(0).expect("a part").batches().map(|batch| batch.expect("rows")).collect();
    let all = concat_batches(&batches[0].schema(), &batches).expect("rows");
    let at = all.schema().index_of("mel").expect("mel");
    let (n, mut numbers) = {
        let lists = all.column(at).as_fixed_size_list();
        (lists.value_length(), lists.values().as_primitive::<Float32Type>().values().to_vec())
    };
    for (k, row) in bad.iter().enumerate() {
        numbers[row * n as usize + 100 * k] = [f32::NAN, f32::INFINITY][k % 2];
    }
    let DataType::FixedSizeList(item, _) = all.column(at).data_type().clone() else { panic!("a tensor") };
    let mut columns = all.columns().to_vec();
    columns[at] = Arc::new(FixedSizeListArray::new(item, n, Arc::new(Float32Array::from(numbers)), None));
    let all = RecordBatch::try_new(all.schema(), columns).expect("as before");

    let registry = builtin();
    let source =
        registry.get("source_shards").expect("known").parse_yaml("{ path: plain, shape: [128, 64], dtype: f32 }");
    let stored = source.expect("YAML").config.plan(&[]).expect("a plan").output.expect("rows");
    let mut writer = ShardWriter::new(place.path("spoilt"), stored, Compression::None).expect("a writer");
    let n_clips = all.num_rows() as u64;
    let info = RunInfo {
        pipeline: "spoilt".into(),
        fingerprint: "0".into(),
        graph: serde_json::Value::Null,
        units: vec![Unit { n_clips, key: [7; 16] }],
        mine: vec![true],
        piece: false,
        fresh: false,
        quarantine: true,
    };
    writer.open(&info).expect("opens");
    let names = ids(&all);
    writer.write(0, all).expect("writes");
    writer.end_unit(0, UnitTally { clips: n_clips, ..UnitTally::default() }).expect("commits");
    writer.finish().expect("finishes");
    names
}

#[test]
fn a_picture_that_is_no_picture_is_refused_and_its_neighbours_are_not() {
    let (place, stage) = place();
    let bad = [0, 5, 6, 23];
    let names = spoilt(&place, &bad);
    let graph = |shards: &str, sink: &str| {
        format!(
            "stages:\n  - {{ type: source_shards, path: {shards}, shape: [128, 64], dtype: f32 }}\n  - {{ id: heard, {stage} }}\n  - {sink}\n\
             on_error: {{ policy: quarantine, max_fraction: 1.0 }}\n"
        )
    };
    run(&place, &graph("plain", "{ type: sink_embeddings, path: plain.parquet }"), "");
    place.write("graph.yaml", graph("spoilt", "{ type: sink_embeddings, path: spoilt.parquet }"));
    let (_, report) = place.report("graph.yaml");
    let (plain, found) = (rows(&place, "plain.parquet"), rows(&place, "spoilt.parquet"));
    let good: Vec<usize> = (0..names.len()).filter(|row| !bad.contains(row)).collect();
    assert_eq!(ids(&found), good.iter().map(|&row| names[row].clone()).collect::<Vec<_>>());
    let (plain, found) = (bits(&plain), bits(&found));
    assert_eq!(found, good.iter().map(|&row| plain[row].clone()).collect::<Vec<_>>());

    assert_eq!(report.reject_counts, [("heard".to_owned(), "non_finite".to_owned(), 4)]);
    let refused: Vec<&String> = report.first_rejects.iter().map(|reject| &reject.clip_id).collect();
    assert_eq!(refused, bad.map(|row| &names[row]).to_vec());
    assert_eq!(ids(&rows(&place, "spoilt.rejects.parquet")), bad.map(|row| names[row].clone()));
    let sink = &report.sinks[0].1;
    assert_eq!((sink.rows, sink.rejects, report.end.clips_done), (20, 4, 24));

    // Shards keep the same count in their records; a run that takes no bad clip says which it was.
    place.write("graph.yaml", graph("spoilt", "{ type: sink_shards, path: heard, dtype: f32 }"));
    let (_, report) = place.report("graph.yaml");
    assert_eq!((report.sinks[0].1.rows, report.sinks[0].1.rejects), (20, 4));
    place.done("verify heard");
    let fails = graph("spoilt", "{ type: sink_shards, path: none, dtype: f32 }").replace("quarantine", "fail");
    place.write("graph.yaml", fails);
    let ended = place.run("run graph.yaml --progress off");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&names[0]) && ended.err.contains("refused by heard: non_finite"), "{}", ended.err);
}

#[test]
fn branches_meet_behind_two_encoders() {
    let (place, stage) = place();
    let graph = format!(
        "{FRONT_END}  - {{ id: a, {stage}, encoder: target }}\n  - {{ id: b, from: mel, {stage}, encoder: context }}\n  \
         - {{ type: zip, from: [a, b] }}\n  - {{ type: sink_shards, path: both, dtype: f32 }}\n\
         resources: {{ clips_per_shard: 7, memory: 64MiB }}\n"
    );
    run(&place, &graph, "--jobs 1");
    let set = ShardSet::open(place.path("both")).expect("shards");
    assert_eq!(set.n_rows(), 24);
    // Untrained, the moving average is the encoder.
    let row = set.row(23).expect("a row");
    assert!(row.tensor("embedding").is_some() && row.tensor("embedding") == row.tensor("embedding_2"));
}
