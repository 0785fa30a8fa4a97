//! A corpus from the publisher's files to a manifest and back, through the public door.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use ajepa_datasets::{
    AudioSet, JoinConfig, Joined, Manifest, Ontology, Report, Scan, balanced_weights, having_any, join, read_rejects,
    sample,
};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Float64Array, ListArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::UInt32Type;
use parquet::arrow::ArrowWriter;

const LINES: &str = "# Segments csv created by hand\n# num_ytids=6\n# YTID, start_seconds, end_seconds, positive_labels\n\
    aaaaaaaaaaa, 30.000, 40.000, \"/m/rare,/m/often\"\nbbbbbbbbbbb, 0.000, 10.000, \"/m/often\"\n\
    ccccccccccc, 0.000, 10.000, \"/m/often\"\nddddddddddd, 0.000, 10.000, \"/m/often\"\n\
    eeeeeeeeeee, 0.000, 10.000, \"/m/rare\"\nfffffffffff, 0.000, 10.000, \"/m/often\"\n";

const ONTOLOGY: &str = r#"[{"id": "/m/all", "name": "All", "child_ids": ["/m/rare", "/m/often"]},
    {"id": "/m/rare", "name": "Rare", "child_ids": []}, {"id": "/m/often", "name": "Often", "child_ids": []}]"#;

/// A scan in the form in which a decoder writes it: with another library, and hashes of fixed length.
fn write_scan(path: &Path) {
    let names = ["a", "b", "c", "d", "e"].map(|letter| format!("audio/{}.m4a", letter.repeat(11)));
    let hashes = [1_u8, 2, 2, 3, 4].map(|hash| Some([hash; 16]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("source", Arc::new(StringArray::from_iter_values(&names))),
        ("duration_s", Arc::new(Float64Array::from(vec![10.0; 5]))),
        ("rate_hz", Arc::new(UInt32Array::from(vec![44_100, 44_100, 48_000, 44_100, 44_100]))),
        (
            "content_hash",
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(hashes.into_iter(), 16).unwrap()),
        ),
        (
            "fingerprint",
            Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(vec![None::<Vec<Option<u32>>>; 5])),
        ),
        ("status", Arc::new(StringArray::from(vec!["ok", "ok", "ok", "silent", "ok"]))),
        ("detail", Arc::new(StringArray::from(vec![None, None, None, Some("peak -90 dB"), None]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn joined(dir: &Path) -> (Joined, Ontology) {
    std::fs::write(dir.join("eval_segments.csv"), LINES).unwrap();
    std::fs::write(dir.join("ontology.json"), ONTOLOGY).unwrap();
    write_scan(&dir.join("scan.parquet"));
    let audioset = AudioSet::open(dir).unwrap();
    let scan = Scan::read(&dir.join("scan.parquet")).unwrap();
    (join(&audioset.wanted, &scan, &JoinConfig::default()).unwrap(), audioset.ontology)
}

fn texts(manifest: &Manifest, column: &str) -> Vec<String> {
    let column = manifest.frame().column(column).unwrap().str().unwrap();
    column.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
}

#[test]
fn a_manifest_is_written_twice_and_read_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, _) = joined(dir.path());
    let written = joined.manifest.write(&dir.path().join("eval.parquet")).unwrap();
    assert_eq!((written.n_usable, written.n_all), (4, 6));
    assert_eq!(written.all, dir.path().join("eval.all.parquet"));
    let all = Manifest::read(&written.all).unwrap();
    assert!(all.frame().equals_missing(joined.manifest.frame()));
    assert_eq!(texts(&all, "status"), ["ok", "ok", "ok", "silent", "ok", "missing"]);
    assert_eq!(texts(&all, "duplicate_of"), ["-", "-", "bbbbbbbbbbb", "-", "-", "-"]);
    assert_eq!(texts(&all, "detail")[3], "peak -90 dB");
    let usable = Manifest::read(&written.usable).unwrap();
    assert_eq!(texts(&usable, "path").len(), 4);
    assert!(texts(&usable, "path").iter().all(|path| path != "-"));
    assert!(joined.manifest.write(&dir.path().join("eval.csv")).is_err());
}

#[test]
fn the_hash_knows_contents_and_neither_order_nor_places() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, _) = joined(dir.path());
    let hash = joined.manifest.hash().unwrap();
    let mut frame = joined.manifest.frame().reverse();
    assert_eq!(Manifest::of(frame.clone()).unwrap().hash().unwrap(), hash);
    let path = frame.column("path").unwrap().shift(1);
    frame.with_column(path).unwrap();
    assert_eq!(Manifest::of(frame.clone()).unwrap().hash().unwrap(), hash);
    let content = frame.column("content_hash").unwrap().shift(1);
    frame.with_column(content).unwrap();
    assert_ne!(Manifest::of(frame).unwrap().hash().unwrap(), hash);
}

#[test]
fn what_rotted_or_is_something_else_is_no_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, _) = joined(dir.path());
    let written = joined.manifest.write(&dir.path().join("eval.parquet")).unwrap();
    let bytes = std::fs::read(&written.all).unwrap();
    let rotten = dir.path().join("rotten.parquet");
    let mut told = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&rotten, bytes).unwrap();
        match Manifest::read(&rotten) {
            Err(_) => told += 1,
            Ok(read) => assert_eq!(read.hash().unwrap(), joined.manifest.hash().unwrap(), "byte {at}"),
        }
    }
    assert!(told > 0);
    for cut in [0, 3, 100, bytes.len() - 1] {
        std::fs::write(&rotten, &bytes[..cut]).unwrap();
        assert!(Manifest::read(&rotten).is_err(), "{cut} bytes");
    }
    assert!(Manifest::read(&dir.path().join("scan.parquet")).unwrap_err().to_string().contains("\"clip_id\""));
    assert!(Scan::read(&written.all).unwrap_err().to_string().contains("\"source\""));
    assert!(Manifest::read(Path::new("nowhere.parquet")).unwrap_err().help().is_some());
}

#[test]
fn the_report_counts_every_clip_once() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, _) = joined(dir.path());
    let report = Report::of_join(&joined, &["odd".to_owned()]).unwrap();
    let total = report.total;
    assert_eq!((total.wanted, total.found, total.usable, total.missing, total.silent), (6, 5, 4, 1, 1));
    assert_eq!((total.duplicate, total.near_duplicate), (1, 0));
    let rare = report.labels.iter().find(|label| label.name == "Rare").unwrap();
    assert_eq!((rare.counts.wanted, rare.counts.usable, rare.split.as_str()), (2, 2, "eval"));
    assert_eq!(report.reasons.into_iter().collect::<Vec<_>>(), [("not_held".to_owned(), 1), ("silent".to_owned(), 1)]);
    assert_eq!(report.sound.rates.into_iter().collect::<Vec<_>>(), [(44_100, 3), (48_000, 1)]);
    assert_eq!(report.sound.duration_s.bars.iter().sum::<usize>(), 4);
    assert!((report.sound.hours - 40.0 / 3600.0).abs() < 1e-12);

    let report = Report::of_join(&joined, &["odd".to_owned()]).unwrap();
    let printed = report.to_string();
    assert!(printed.contains("note: odd") && printed.contains("not_held 1, silent 1"), "{printed}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["labels"][0]["wanted"], 5);
    assert_eq!(json["held"]["matched"], 5);
}

#[test]
fn weights_sum_to_the_number_of_labels() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, _) = joined(dir.path());
    let weights: Vec<f64> =
        balanced_weights(&joined.manifest).unwrap().f64().unwrap().iter().map(Option::unwrap_or_default).collect();
    // Rare: a, e. Often: a, b, c; the silent and the missing one do not count.
    let (rare, often) = (0.5, 1.0 / 3.0);
    assert_eq!(weights, [rare + often, often, often, 0.0, rare, 0.0]);
    assert!((weights.iter().sum::<f64>() - 2.0).abs() < 1e-12);
}

#[test]
fn samples_grow_by_adding_and_heed_weights() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = joined(dir.path()).0.manifest;
    for seed in 0..20 {
        let two = texts(&sample(&manifest, 2, seed, None).unwrap(), "clip_id");
        let three = texts(&sample(&manifest, 3, seed, None).unwrap(), "clip_id");
        assert!(two.len() == 2 && three.len() == 3 && two.iter().all(|id| three.contains(id)));
    }
    assert_eq!(sample(&manifest, 99, 0, None).unwrap().frame().height(), 4);
    let weights = balanced_weights(&manifest).unwrap();
    let first = |seed| texts(&sample(&manifest, 1, seed, Some(&weights)).unwrap(), "clip_id").remove(0);
    let n_first = (0..2000).filter(|&seed| first(seed) == "aaaaaaaaaaa").count() as f64;
    // Its share of the weights is 5/12; five standard deviations of 2,000 draws are 0.055.
    assert!((n_first / 2000.0 - 5.0 / 12.0).abs() < 0.055, "{n_first}");
    assert!(sample(&manifest, 1, 0, Some(&weights.slice(0, 3))).is_err());
}

#[test]
fn labels_are_asked_for_by_what_they_are_under() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, ontology) = joined(dir.path());
    let rare = having_any(&joined.manifest, &ontology.under("rare")).unwrap();
    assert_eq!(texts(&rare, "clip_id"), ["aaaaaaaaaaa", "eeeeeeeeeee"]);
    assert_eq!(having_any(&joined.manifest, &ontology.under("All")).unwrap().frame().height(), 6);
    assert_eq!(having_any(&joined.manifest, &ontology.under("Zither")).unwrap().frame().height(), 0);
}

#[test]
fn rejects_of_a_run_are_left_out_and_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, _) = joined(dir.path());
    let path = dir.path().join("rejects.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("clip_id", Arc::new(StringArray::from(vec!["bbbbbbbbbbb", "ddddddddddd", "nobody"]))),
        ("reason", Arc::new(StringArray::from(vec!["clipped", "clipped", "clipped"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let left = joined.manifest.excluding(&read_rejects(&path).unwrap()).unwrap();
    assert_eq!(texts(&left, "status"), ["ok", "excluded", "ok", "silent", "ok", "missing"]);
    assert_eq!(texts(&left, "reason"), ["-", "clipped", "-", "silent", "-", "not_held"]);
    assert_eq!(Report::of(&left).unwrap().total.excluded, 1);
}
