//! Run again, changed graphs, changed inputs, torn records: nothing of before is lost (R2).

use super::*;
use crate::shard::{Manifest, ShardSet, verify};

type Tear<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

fn has_all_of(dir: &Path, before: &BTreeMap<String, Vec<u8>>) {
    let now = files(dir);
    for (name, bytes) in before.iter().filter(|(name, _)| !matches!(name.as_str(), "manifest.json" | "rejects.parquet"))
    {
        assert!(now.get(name) == Some(bytes), "{name} is gone or changed");
    }
}

#[test]
fn a_second_run_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = job(&[20, 30]);
    write_set(dir.path(), &run);
    let before = files(dir.path());
    let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
    assert_eq!(sink.open(&run).unwrap(), [true, true]);
    let report = sink.finish().unwrap();
    assert_eq!((report.rows, report.complete, report.notes.len()), (50, true, 0));
    assert!(files(dir.path()) == before);
}

#[test]
fn a_changed_graph_is_a_new_generation_and_says_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = job(&[20, 30]);
    write_set(dir.path(), &run);
    let before = files(dir.path());
    let old_manifest = before["manifest.json"].clone();
    run.fingerprint = "f-2".into();
    run.graph["stages"][0]["n_mels"] = json!(128);
    let report = write_set(dir.path(), &run);
    assert!(report.notes[0].contains("stages.mel.n_mels: 96 -> 128"), "{:?}", report.notes);
    has_all_of(dir.path(), &before);
    let now = files(dir.path());
    assert!(now["manifest.g001.json"] == old_manifest);
    assert!(now.contains_key("part-g002-00001.arrow"));
    assert_eq!(Manifest::read(dir.path()).unwrap().generation, 2);
    assert!(verify(dir.path()).unwrap().is_whole());
    // And back: generation 1 is whole, so nothing is written but the manifest.
    let report = write_set(dir.path(), &job(&[20, 30]));
    assert_eq!((report.rows, report.notes.len()), (50, 0));
    let now = files(dir.path());
    assert!(now["manifest.json"] == old_manifest && now.contains_key("manifest.g002.json"));
    // Another dtype is another content too.
    let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F32), Compression::None).unwrap();
    let report = drive(&mut sink, &job(&[20, 30]), 9, Dtype::F32).unwrap();
    assert!(report.notes[0].contains("sink.columns"), "{:?}", report.notes);
    assert_eq!(Manifest::read(dir.path()).unwrap().generation, 3);
}

#[test]
fn changed_inputs_take_over_the_units_that_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = job(&[20, 30, 40]);
    write_set(dir.path(), &run);
    let before = files(dir.path());
    run.units[1].key = [99; 16];
    run.units.push(Unit { n_clips: 6, key: [4; 16] });
    run.mine = vec![true; 4];
    let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
    assert_eq!(sink.open(&run).unwrap(), [true, false, true, false]);
    drop(sink);
    let report = write_set(dir.path(), &run);
    has_all_of(dir.path(), &before);
    assert!(report.complete);
    let manifest = Manifest::read(dir.path()).unwrap();
    let names: Vec<&str> = manifest.parts.iter().map(|part| part.file.as_str()).collect();
    assert_eq!(names, ["part-00000.arrow", "part-g002-00001.arrow", "part-00002.arrow", "part-g002-00003.arrow"]);
    assert!(verify(dir.path()).unwrap().is_whole());
    // The same rows as a run that never saw the earlier inputs.
    let other = tempfile::tempdir().unwrap();
    write_set(other.path(), &run);
    let (a, b) = (ShardSet::open(dir.path()).unwrap(), ShardSet::open(other.path()).unwrap());
    assert_eq!(a.n_rows(), b.n_rows());
    for row in 0..a.n_rows() {
        let (a, b) = (a.row(row).unwrap(), b.row(row).unwrap());
        assert_eq!(a.batch.slice(a.index, 1), b.batch.slice(b.index, 1));
    }
    assert_eq!(a.manifest().tensors, b.manifest().tensors);
}

#[test]
fn fresh_makes_everything_again_beside_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = job(&[20, 30]);
    write_set(dir.path(), &run);
    let before = files(dir.path());
    run.fresh = true;
    // Two processes of one `--fresh` run share the new generation.
    for i in 0..2 {
        run.mine = vec![i == 0, i == 1];
        let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
        assert!(!sink.open(&run).unwrap()[i]);
        let n_rows = run.units[i].n_clips as usize - 1;
        sink.write(i, rows(i, 0, n_rows, Dtype::F16)).unwrap();
        sink.end_unit(i, tally(i, n_rows)).unwrap();
        assert_eq!(sink.finish().unwrap().complete, i == 1);
    }
    has_all_of(dir.path(), &before);
    let now = files(dir.path());
    assert!(now["part-g002-00001.arrow"] == now["part-00001.arrow"]);
    assert_eq!(Manifest::read(dir.path()).unwrap().generation, 2);
}

#[test]
fn torn_records_and_parts_are_done_again_and_kept() {
    let whole = tempfile::tempdir().unwrap();
    let run = job(&[20, 30]);
    write_set(whole.path(), &run);
    let expected = files(whole.path());
    let record = "_units/g001/00001.json";
    let cases: [(&str, &str, Tear<'_>); 6] = [
        ("empty record", record, &|_| Vec::new()),
        ("cut record", record, &|bytes| bytes[..bytes.len() / 2].to_vec()),
        ("flipped record", record, &|bytes| {
            bytes.iter().enumerate().map(|(i, b)| if i == 200 { b ^ 4 } else { *b }).collect()
        }),
        ("record of zeros", record, &|bytes| vec![0; bytes.len()]),
        ("cut part", "part-00001.arrow", &|bytes| bytes[..bytes.len() - 1].to_vec()),
        ("torn manifest", "manifest.json", &|bytes| bytes[..bytes.len() - 9].to_vec()),
    ];
    for (what, name, tear) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy_set(whole.path(), dir.path());
        let torn = tear(&expected[name]);
        std::fs::write(dir.path().join(name), &torn).unwrap();
        let report = write_set(dir.path(), &run);
        assert!(report.complete, "{what}");
        let mut now = files(dir.path());
        if name != "part-00001.arrow" {
            let kept: Vec<String> = now.keys().filter(|key| key.contains(".torn-")).cloned().collect();
            assert_eq!(kept.len(), 1, "{what}: {:?}", now.keys());
            assert!(now.remove(&kept[0]).unwrap() == torn, "{what}");
        }
        assert!(now == expected, "{what}");
        assert_eq!(report.notes.len(), usize::from(name != "manifest.json"), "{what}: {:?}", report.notes);
    }
}

#[test]
fn a_set_without_its_records_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let run = job(&[20]);
    write_set(dir.path(), &run);
    std::fs::remove_dir_all(dir.path().join("_units")).unwrap();
    let before = files(dir.path());
    write_set(dir.path(), &run);
    has_all_of(dir.path(), &before);
    assert_eq!(Manifest::read(dir.path()).unwrap().generation, 2);
    // A torn claim is somebody's generation: it is left alone, and said.
    std::fs::write(dir.path().join("_units/g002/job.json"), b"{").unwrap();
    let report = write_set(dir.path(), &run);
    assert_eq!(Manifest::read(dir.path()).unwrap().generation, 3);
    assert!(report.notes[0].contains("generation 2 is left as it is"), "{:?}", report.notes);
}

#[test]
fn files_of_somebody_else_are_not_written_over() {
    let run = job(&[20]);
    for name in ["rejects.parquet", "manifest.json", "manifest.g001.json", "part-00007.arrow"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), b"precious").unwrap();
        // A folder that happens to be called as ours, without a claim in it, vouches for nothing.
        std::fs::create_dir_all(dir.path().join("_units/g001")).unwrap();
        let before = files(dir.path());
        let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
        let error = sink.open(&run).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("give another path"), "{error}");
        assert!(files(dir.path()) == before, "{name}");
    }
    // Records of the other sink, whose rejects would be replaced.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("_units")).unwrap();
    std::fs::write(dir.path().join("_units/00000.json"), b"{}").unwrap();
    let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
    assert!(sink.open(&run).unwrap_err().to_string().contains("sink_webdataset"));
    // What is no file of a set is nobody's business.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), b"precious").unwrap();
    assert!(write_set(dir.path(), &run).complete);
}
