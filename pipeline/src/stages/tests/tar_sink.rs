use super::flow::audio_rows;
use super::*;
use crate::schema::{Dtype, TensorType};
use crate::stage::{Reject, RunInfo, Sink, Unit, UnitTally};

fn sink(root: &Path, more: &str, schema: &Schema) -> Box<dyn Sink> {
    let yaml = format!("path: {}/out\n{more}", root.display());
    match build("sink_webdataset", &yaml, std::slice::from_ref(schema), 7, 4) {
        Ok(Stage::Sink(sink)) => sink,
        other => panic!("{:?}", other.err()),
    }
}

fn run_of(fingerprint: &str, n_units: u8) -> RunInfo {
    RunInfo {
        pipeline: "p".to_owned(),
        fingerprint: fingerprint.to_owned(),
        graph: serde_json::Value::Null,
        units: (0..n_units).map(|n| Unit { n_clips: 3, key: [n; 16] }).collect(),
        mine: vec![true; n_units.into()],
        piece: false,
        fresh: false,
        quarantine: true,
    }
}

fn clips() -> (Schema, RecordBatch) {
    audio_rows(&[("a/b.c", vec![0.0, 0.5, -1.0, 1.0]), ("../up", vec![0.25; 9]), ("a/b.c", vec![2.0, f32::NAN])])
}

fn members(path: &Path) -> Vec<(String, Vec<u8>)> {
    use std::io::Read;
    let mut tar = tar::Archive::new(std::fs::File::open(path).unwrap());
    let read = |entry: Result<tar::Entry<'_, std::fs::File>, std::io::Error>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), bytes)
    };
    tar.entries().unwrap().map(read).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let (schema, rows) = clips();
    let mut sink = sink(root.path(), "", &schema);
    assert_eq!(sink.open(&run_of("f", 1)).unwrap(), [false]);
    sink.write(0, rows.slice(0, 2)).unwrap();
    sink.write(0, rows.slice(2, 1)).unwrap();
    let reject = Reject {
        clip_id: "bad".to_owned(),
        source: "bad.wav".to_owned(),
        stage: "decode".to_owned(),
        reason: "corrupt".to_owned(),
        detail: "no frames".to_owned(),
        labels: Vec::new(),
    };
    sink.end_unit(0, UnitTally { clips: 4, filtered: 0, rejects: vec![reject] }).unwrap();
    let report = sink.finish().unwrap();
    assert_eq!((report.rows, report.units, report.rejects, report.complete), (3, 1, 1, true));

    let tar = root.path().join("out/part-00000.tar");
    let members = members(&tar);
    let names: Vec<&str> = members.iter().map(|member| member.0.as_str()).collect();
    assert_eq!(names, ["a/b_c.wav", "a/b_c.json", "__/up.wav", "__/up.json", "a/b_c~2.wav", "a/b_c~2.json"]);
    assert_eq!(members[0].1[44..], [0, 0, 0, 64, 0, 128, 255, 127]);
    assert_eq!(members[0].1[..44], wav_bytes(4)[..44]);
    assert_eq!(members[4].1[44..], [255, 127, 0, 0]);
    let json: serde_json::Value = serde_json::from_slice(&members[1].1).unwrap();
    assert_eq!(json, serde_json::json!({ "clip_id": "a/b.c", "labels": ["l0"] }));

    let back = read_all(source("source_webdataset", &format!("path: {}", tar.display()), 9).as_mut());
    assert_eq!(texts(&back, "clip_id"), ["a/b_c", "__/up", "a/b_c~2"]);
    assert_eq!(texts(&back, "labels"), ["[l0]", "[l1]", "[l2]"]);
    let yaml = format!("path: {0}/m.csv\nexclude: {0}/out/rejects.parquet", root.path().display());
    put(root.path(), "m.csv", b"clip_id,path\nbad,bad.wav\ngood,good.wav\n");
    assert_eq!(texts(&read_all(source("source_manifest", &yaml, 9).as_mut()), "clip_id"), ["good"]);
}

#[test]
fn floats_and_tensors_are_written_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let (schema, rows) = clips();
    let mut floats = sink(root.path(), "sample_format: float32", &schema);
    floats.open(&run_of("f", 1)).unwrap();
    floats.write(0, rows).unwrap();
    floats.end_unit(0, UnitTally::default()).unwrap();
    let wav = members(&root.path().join("out/part-00000.tar")).remove(0).1;
    assert_eq!(wav[20..22], [3, 0]);
    assert_eq!(wav.len() - 8, u32::from_le_bytes(wav[4..8].try_into().unwrap()) as usize);
    assert_eq!(wav[wav.len() - 4..], 1.0_f32.to_le_bytes());

    let tensor = TensorType {
        dtype: Dtype::F16,
        shape: vec![2, 3],
        axes: vec!["frames".to_owned(), "mels".to_owned()],
        front_end: serde_json::Value::Null,
    };
    let schema = plain_schema().with("mel", ColumnType::Tensor(tensor));
    let origin = Arc::new(plain_rows("a", 0..1));
    let mut builder = crate::columns::RowBuilder::new(&plain_schema(), &schema);
    let mut row = crate::row::Row::new(origin.clone(), 0);
    row.set("mel", crate::row::Cell::Tensor(vec![0.0, 1.0, -2.0, 0.5, 4.0, 8.0]));
    builder.push(row, 1 << 20, &mut |_| ()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut tensors = sink(other.path(), "content: tensors", &schema);
    tensors.open(&run_of("f", 1)).unwrap();
    tensors.write(0, builder.finish(&origin).unwrap()).unwrap();
    tensors.end_unit(0, UnitTally::default()).unwrap();
    let (name, npy) = members(&other.path().join("out/part-00000.tar")).remove(0);
    assert_eq!(name, "a0.mel.npy");
    assert_eq!(npy.len(), 128 + 12);
    assert_eq!(&npy[..10], b"\x93NUMPY\x01\x00\x76\x00");
    let header = String::from_utf8(npy[10..128].to_vec()).unwrap();
    assert!(
        header.starts_with("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3,), }") && header.ends_with('\n')
    );
    assert_eq!(npy[130..134], [0x00, 0x3C, 0x00, 0xC0]);
    let refused = build("sink_webdataset", "{ path: x, content: tensors }", &[plain_schema()], 7, 4).err().unwrap();
    assert!(refused.contains("no tensor comes in"), "{refused}");
}

#[test]
fn a_run_goes_on_where_it_stopped_and_writes_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let (schema, rows) = clips();
    let write = |units: &[usize], run: &RunInfo, finish: bool| {
        let mut sink = sink(root.path(), "", &schema);
        let done = sink.open(run)?;
        for &unit in units {
            sink.write(unit, rows.clone())?;
            sink.end_unit(unit, UnitTally::default())?;
        }
        if finish {
            assert!(sink.finish()?.complete);
        } else {
            // Killed in the midst of a unit.
            sink.write(units.len(), rows.clone())?;
        }
        Ok::<_, crate::stage::StageError>(done)
    };
    let tar = |unit: usize| root.path().join(format!("out/part-{unit:05}.tar"));
    let run = run_of("f", 3);
    assert_eq!(write(&[0, 1], &run, false).unwrap(), [false; 3]);
    assert!(tar(1).exists() && !tar(2).exists());
    let first = std::fs::read(tar(0)).unwrap();
    // A tar that was cut short behind our back is no longer done; one whose clips changed neither.
    std::fs::write(tar(1), &first[..512]).unwrap();
    let mut changed = run.clone();
    changed.units[0].key = [99; 16];
    assert_eq!(sink(root.path(), "", &schema).open(&changed).unwrap(), [false; 3]);
    assert_eq!(write(&[1, 2], &run, true).unwrap(), [true, false, false]);
    assert_eq!(std::fs::read(tar(1)).unwrap(), first);
    assert_eq!(sink(root.path(), "", &schema).open(&run).unwrap(), [true; 3]);

    let error = sink(root.path(), "", &schema).open(&run_of("g", 3)).unwrap_err().to_string();
    assert!(error.contains("made by another graph") && error.contains("another path"), "{error}");
    let error = sink(root.path(), "", &schema).open(&run_of("f", 2)).unwrap_err().to_string();
    assert!(error.contains("of a longer list"), "{error}");
    let fresh = RunInfo { fresh: true, ..run_of("g", 2) };
    let error = sink(root.path(), "", &schema).open(&fresh).unwrap_err().to_string();
    assert!(error.contains("another path"), "{error}");
    let fresh = RunInfo { fresh: true, ..run.clone() };
    let error = sink(root.path(), "", &schema).open(&fresh).unwrap_err().to_string();
    assert!(error.contains("one by one"), "{error}");
    assert!((0..3).all(|unit| tar(unit).exists()), "a finished tar is never taken away");
}

#[test]
fn tars_of_someone_else_are_not_overwritten() {
    let root = tempfile::tempdir().unwrap();
    for name in ["part-00002.tar", "rejects.parquet", "manifest.json"] {
        put(root.path(), &format!("{name}/{name}"), b"precious");
        let yaml = format!("path: {}/{name}", root.path().display());
        let Ok(Stage::Sink(mut sink)) = build("sink_webdataset", &yaml, &[clips().0], 7, 4) else { panic!("a sink") };
        let error = sink.open(&run_of("f", 3)).unwrap_err().to_string();
        assert!(error.contains("did not write: give another path"), "{error}");
        assert!(!root.path().join(format!("{name}/_units")).exists());
    }
}

#[test]
fn a_null_sink_counts() {
    let Ok(Stage::Sink(mut sink)) = build("sink_null", "{}", &[plain_schema()], 7, 4) else { panic!("a sink") };
    assert_eq!(sink.open(&run_of("f", 2)).unwrap(), [false; 2]);
    sink.write(0, plain_rows("a", 0..10).slice(2, 3)).unwrap();
    sink.end_unit(0, UnitTally::default()).unwrap();
    let report = sink.finish().unwrap();
    assert_eq!((report.rows, report.units, report.complete), (3, 1, false));
    // Three ids of two letters with their offsets (i32), three doubles, three u32.
    assert_eq!(report.bytes, 3 * 2 + 4 * 4 + 3 * 8 + 3 * 4);
}
