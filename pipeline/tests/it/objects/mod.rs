//! Audio and shards in an object store: the real program against a real S3 server on this machine.

mod bucket;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ajepa_pipe::shard::ShardSet;
use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use bucket::{BadLine, Bucket, SKIPPED};
use parquet::arrow::ArrowWriter;

use crate::program::{Place, assert_same, files, wait};
use crate::promises::SEEDED;

macro_rules! bucket {
    () => {
        match Bucket::start() {
            Some(bucket) => bucket,
            None => return println!("{SKIPPED}"),
        }
    };
}

/// The seeded graph over clips of a bucket into a set there.
fn far() -> String {
    SEEDED.replace("path: audio", "path: s3://corpus/audio").replace("path: out", "path: s3://corpus/out")
}

/// The parts of a set, and its rejects.
fn parts(place: &Place, folder: &str) -> BTreeMap<String, Vec<u8>> {
    files(&place.path(folder)).into_iter().filter(|(name, _)| name.starts_with("part-")).collect()
}

/// A bucket's place with `n` clips here and there, and the set that they make here.
fn corpus(bucket: &Bucket, n: usize) -> (Place, BTreeMap<String, Vec<u8>>) {
    let place = bucket.place();
    place.copies(n);
    bucket.put_all(&place.path("audio"), "audio");
    place.write("near.yaml", SEEDED.replace("path: out", "path: near"));
    place.write("far.yaml", far());
    place.done("run near.yaml --progress off");
    let whole = parts(&place, "near");
    (place, whole)
}

#[test]
fn shards_from_and_in_a_bucket_are_those_of_a_disk() {
    let bucket = bucket!();
    let (place, whole) = corpus(&bucket, 90);
    place.done("check far.yaml");
    let ended = place.done("run far.yaml --progress off");
    assert!(ended.out.contains("23 shards"), "{ended:?}");
    // Sets are verified, shown, copied and read by address.
    assert!(place.done("verify s3://corpus/out").out.contains("23 shards with 90 rows"));
    assert!(place.done("inspect s3://corpus/out").out.contains("90 rows in 23 shards"));
    let copied = place.done("copy s3://corpus/out back --progress off");
    assert!(copied.out.contains("23 shards") && copied.out.contains("copied and checked"), "{copied:?}");
    assert_same(&whole, &parts(&place, "back"), "by way of a bucket");
    place.done("verify back");
    assert!(place.done("copy s3://corpus/out back --progress off").out.contains("23 shards there already"));
    // The second run has nothing to do; a changed graph is a new generation beside the old one.
    assert!(place.done("run far.yaml --progress off").out.contains("nothing to do"));
    let changed = place.done("run far.yaml --progress off --set seed=12");
    assert!(changed.out.contains("generation 2") || changed.err.contains("generation 2"), "{changed:?}");
    assert!(place.done("inspect s3://corpus/out").out.contains("generation 2"));
    place.write(
        "read.yaml",
        "
pipeline: read
stages:
  - { type: source_shards, path: s3://corpus/out, shape: [128, 64] }
  - { type: sink_shards, path: s3://corpus/again }
resources: { clips_per_shard: 4 }
",
    );
    place.done("run read.yaml --progress off");
    assert!(place.done("verify s3://corpus/again").out.contains("90 rows"));
}

#[test]
fn the_same_shards_over_a_line_that_breaks() {
    let bucket = bucket!();
    let (mut place, whole) = corpus(&bucket, 60);
    let line = BadLine::to(&bucket.address);
    place.env = Bucket::env(&line.address);
    place.done("run far.yaml --progress off");
    place.env = Bucket::env(&bucket.address);
    assert!(line.broken.load(Ordering::Relaxed) > 20, "the line was good");
    place.done("copy s3://corpus/out back --progress off");
    assert_same(&whole, &parts(&place, "back"), "over a bad line");
}

#[test]
fn a_run_into_a_bucket_that_is_killed_goes_on() {
    let bucket = bucket!();
    let (place, whole) = corpus(&bucket, 200);
    for round in 1..=3 {
        let mut run = place.command("run far.yaml --progress off --jobs 1");
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        units(&bucket, round * 5);
        run.kill().expect("kill -9");
        run.wait().expect("ends");
        assert!(records(&bucket) < 50, "it was done before it was killed");
    }
    place.done("run far.yaml --progress off");
    place.done("copy s3://corpus/out back --progress off");
    assert_same(&whole, &parts(&place, "back"), "after three kills");
}

#[cfg(feature = "cluster")]
#[test]
fn a_cluster_reads_and_writes_a_bucket_and_loses_an_executor() {
    use crate::cluster::lan::{Lan, Process};
    let bucket = bucket!();
    let (place, whole) = corpus(&bucket, 200);
    place.write("graph.yaml", far());
    let mut lan = Lan::new(&place, 2, "");
    let mut client = Process::start(&place, "client", &lan.run(""));
    units(&bucket, 5);
    lan.executors[0].kill();
    let ended = client.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    place.done("copy s3://corpus/out back --progress off");
    assert_same(&whole, &parts(&place, "back"), "by a cluster");
    assert!(place.done(&lan.run("")).out.contains("nothing to do"));
}

/// Waits until the set of the bucket has `n` records.
fn units(bucket: &Bucket, n: usize) {
    wait("a unit", || (records(bucket) >= n).then_some(()), || format!("{} are", records(bucket)));
}

/// Units with a record in the set of the bucket.
fn records(bucket: &Bucket) -> usize {
    let list = bucket.get("?list-type=2&prefix=out/_units/g001/0");
    list.matches("<Key>").count()
}

/// Content hash and picture of every row, in order.
fn rows(place: &Place, folder: &str) -> Vec<(Vec<u8>, Vec<f32>)> {
    let set = ShardSet::open(place.path(folder)).expect("a set");
    let row = |row: u64| {
        let row = set.row(row).expect("a row");
        let hashes = row.batch.column_by_name("content_hash").expect("hashes").as_fixed_size_binary();
        (hashes.value(row.index).to_vec(), row.tensor("mel").expect("a picture"))
    };
    (0..set.n_rows()).map(row).collect()
}

/// A Parquet file with the audio files of a folder in it.
fn audio_parquet(place: &Place, folder: &str) -> Vec<u8> {
    let files = files(&place.path(folder));
    let bytes: BinaryArray = files.values().map(|content| Some(content.as_slice())).collect();
    let paths: StringArray = files.keys().map(|name| Some(name.as_str())).collect();
    let fields = vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)];
    let audio = StructArray::new(fields.into(), vec![Arc::new(bytes), Arc::new(paths)], None);
    let table = RecordBatch::try_from_iter([("audio", Arc::new(audio) as ArrayRef)]).expect("a table");
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, table.schema(), None).expect("a writer");
    writer.write(&table).and_then(|()| writer.close()).expect("written");
    out
}

#[test]
fn tars_tables_and_parquet_of_a_bucket_are_read_as_those_of_a_disk() {
    let bucket = bucket!();
    let place = bucket.place();
    place.copies(40);
    place.write("data/clips.parquet", audio_parquet(&place, "audio"));
    let names: Vec<String> = files(&place.path("audio")).into_keys().collect();
    let lines = |column: &dyn Fn(&String) -> String| names.iter().map(column).collect::<String>();
    place.write("audio/clips.csv", format!("path,labels\n{}", lines(&|name| format!("{name},a;b\n"))));
    // A recording of several clips, which is read once and not for each of them.
    let parts = |name: &String| format!("{name},0,0.05\n{name},0.05,0.1\n");
    place.write("audio/parts.csv", format!("path,start,end\n{}", lines(&parts)));
    place.write("tars.yaml", TARS);
    place.done("run tars.yaml --progress off");
    let stems = names.iter().take(10).map(|name| name.split('.').next().expect("a stem"));
    let members: Vec<String> = stems.map(|stem| format!("{stem},part-00000.tar,{stem}.wav")).collect();
    place.write("tars/members.csv", format!("clip_id,path,member\n{}\n", members.join("\n")));
    for folder in ["audio", "data", "tars"] {
        bucket.put_all(&place.path(folder), folder);
    }
    for source in [
        "{ type: source_folder, path: AT/audio }",
        "{ type: source_manifest, path: AT/audio/clips.csv }",
        "{ type: source_manifest, path: AT/audio/parts.csv }",
        "{ type: source_manifest, path: audio/clips.csv, root: AT/audio, shuffle: true }",
        "{ type: source_manifest, path: AT/tars/members.csv }",
        "{ type: source_files, paths: [AT/audio/clips.csv] }",
        "{ type: source_files, paths: [AT/audio] }",
        "{ type: source_files, paths: [AT/audio/FIRST, AT/audio/SECOND] }",
        "{ type: source_webdataset, path: AT/tars }",
        "{ type: source_webdataset, path: \"AT/tars/part-{00000..00001}.tar\" }",
        "{ type: source_parquet, path: AT/data }",
        "{ type: source_parquet, path: AT/data/clips.parquet, limit: 17 }",
    ] {
        let made = |at: &str, out: &str| {
            let _ = std::fs::remove_dir_all(place.path(out));
            let sink = format!("{{ type: sink_shards, path: {out} }}");
            let source = source.replace("AT/", at).replace("FIRST", &names[0]).replace("SECOND", &names[1]);
            place.write("graph.yaml", FRONT_END.replace("SOURCE", &source).replace("SINK", &sink));
            place.done("run graph.yaml --progress off");
            rows(&place, out)
        };
        let near = made("", "near");
        assert!(near.len() >= 2 && near == made("s3://corpus/", "far"), "{source}");
    }
}

const FRONT_END: &str = "
pipeline: bucket
stages:
  - SOURCE
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: crop, seconds: 2 }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 2, frames: 128, n_mels: 64 }
  - SINK
resources: { clips_per_shard: 16 }
";

const TARS: &str = "
pipeline: tars
stages:
  - { type: source_folder, path: audio }
  - { type: decode }
  - { type: sink_webdataset, path: tars }
resources: { clips_per_shard: 20 }
";

#[test]
fn what_is_not_there_is_its_clip_s_fault_and_a_store_that_is_not_is_said() {
    let bucket = bucket!();
    let mut place = bucket.place();
    place.copies(4);
    bucket.put_all(&place.path("audio"), "audio");
    let names: Vec<String> = files(&place.path("audio")).into_keys().collect();
    let table = names.iter().fold("path\nnowhere.flac\n".to_owned(), |all, name| all + name + "\n");
    place.write("clips.csv", table);
    let source = "{ type: source_manifest, path: clips.csv, root: s3://corpus/audio }";
    let graph = FRONT_END.replace("SOURCE", source).replace("SINK", "{ type: sink_shards, path: s3://corpus/out }");
    place.write("graph.yaml", format!("{graph}on_error: {{ max_fraction: 0.5 }}\n"));
    let (ended, report) = place.report("graph.yaml");
    assert_eq!((ended.code, report.end.clips_done, report.end.rejects), (Some(0), 5, 1), "{ended:?}");
    assert!(report.reject_counts.iter().any(|(_, reason, n)| reason == "missing" && *n == 1), "{report:?}");
    let empty = FRONT_END.replace("SOURCE", "{ type: source_folder, path: s3://corpus/void }");
    place.write("empty.yaml", empty.replace("SINK", "{ type: sink_null }"));
    let ended = place.run("run empty.yaml --progress off");
    assert!(ended.code == Some(2) && ended.err.contains("no file with an extension of"), "{ended:?}");
    let none = place.run("run empty.yaml --progress off --set stages.source_folder.path=s3://none/audio");
    assert!(none.code == Some(2) && none.err.contains("s3://none/audio"), "{none:?}");
    // Other addresses, and stages that write to this machine alone.
    for (set, words) in [
        ("stages.source_folder.path=ftp://host/x", "s3://bucket"),
        ("stages.source_folder.path=s3://", "names no bucket"),
        ("stages.source_folder.path=file://host/x", "three slashes"),
    ] {
        let ended = place.run(&format!("check empty.yaml --set {set}"));
        assert!(ended.code == Some(2) && ended.err.contains(words), "{set}: {ended:?}");
    }
    place.write("tars.yaml", TARS.replace("path: tars", "path: s3://corpus/tars"));
    let ended = place.run("check tars.yaml");
    assert!(ended.code == Some(2) && ended.err.contains("takes paths of this machine"), "{ended:?}");
    // No credentials, and a machine that is not Amazon's: said at once, not after minutes.
    place.env = Vec::new();
    let ended = place.run("run graph.yaml --progress off");
    assert!(ended.code != Some(0) && ended.err.contains("AWS_ACCESS_KEY_ID"), "{ended:?}");
    // A path by its address is that path.
    let url = format!("stages.source_folder.path=file://{}", place.path("audio").display());
    place.done(&format!("run empty.yaml --progress off --set {url}"));
}

#[test]
fn a_copy_goes_on_and_writes_over_nothing() {
    let bucket = bucket!();
    let (place, whole) = corpus(&bucket, 30);
    place.done("copy near s3://corpus/near --progress off");
    let parts = parts(&place, "near");
    let last = parts.keys().next_back().expect("parts").clone();
    // What a copy that was cut off leaves: the claim, some parts, no manifest.
    let manifest = std::fs::read(place.path("near/manifest.json")).expect("a manifest");
    place.write("cut/manifest.copying.json", &manifest);
    place.write(&format!("cut/{last}"), &whole[&last]);
    let ended = place.done("copy s3://corpus/near cut --progress off");
    assert!(ended.out.contains("1 shard there already"), "{ended:?}");
    assert!(!place.path("cut/manifest.copying.json").exists());
    place.done("verify cut");
    // Another set, or parts of one, stay what they are.
    place.done("run near.yaml --progress off --set seed=3 --set stages.sink_shards.path=other");
    for (at, name) in [("other", "manifest.json"), ("bare", "part-00000.arrow")] {
        place.write("bare/part-00000.arrow", b"somebody's");
        let before = std::fs::read(place.path(at).join(name)).expect("a file");
        let ended = place.run(&format!("copy near {at} --progress off"));
        assert!(ended.code == Some(1) && ended.err.contains("another set"), "{ended:?}");
        assert_eq!(std::fs::read(place.path(at).join(name)).expect("a file"), before);
    }
    // A byte that rotted is not copied.
    let mut rotten = whole[&last].clone();
    rotten[1000] ^= 1;
    place.write(&format!("near/{last}"), &rotten);
    let ended = place.run("copy near s3://corpus/rotten --progress off");
    assert!(
        ended.code == Some(1) && ended.err.contains("damaged (checksum)") && ended.err.contains(&last),
        "{ended:?}"
    );
    assert!(place.run("inspect s3://corpus/rotten").err.contains("not a finished shard set"));
}
