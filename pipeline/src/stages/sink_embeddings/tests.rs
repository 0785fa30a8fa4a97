//! The sink alone: whole or absent whatever fails, and what windows become.

use std::path::Path;

use arrow::array::{Float64Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use super::*;
use crate::shard::tests::faults::FaultyFs;
use crate::stage::Unit;
use arrow::array::{FixedSizeListArray, Float32Array};

const WIDTH: usize = 3;

fn tensor() -> TensorType {
    let front_end = serde_json::json!({ "hop_s": 0.5, "window_s": 1.0 });
    let axes = vec!["frames".to_owned(), "width".to_owned()];
    TensorType { dtype: Dtype::F32, shape: vec![2, WIDTH], axes, front_end }
}

fn config(path: &Path, rows: RowsOf) -> SinkEmbeddingsConfig {
    SinkEmbeddingsConfig { path: path.to_owned(), rows, column: embedding() }
}

/// Windows of one second with two frames, of clip `a` from 0 s, and so on: (clip, offset, frames that hold sound, first number).
fn windows(rows: &[(&str, f64, u32, f32)]) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list = DataType::FixedSizeList(item.clone(), 2 * WIDTH as i32);
    let schema = ArrowSchema::new(vec![
        Field::new("clip_id", DataType::Utf8, true),
        Field::new("offset_s", DataType::Float64, true),
        Field::new("duration_s", DataType::Float64, true),
        Field::new("embedding", list, false),
        Field::new("n_frames", DataType::UInt32, true),
    ]);
    let numbers = rows.iter().flat_map(|row| [row.3, 0.0, 1.0, row.3 + 2.0, 0.0, 1.0]).collect::<Float32Array>();
    let numbers = FixedSizeListArray::try_new(item, 2 * WIDTH as i32, Arc::new(numbers), None).unwrap();
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| Some(f64::from(row.2) * 0.5)).collect::<Float64Array>()),
        Arc::new(numbers),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<UInt32Array>()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn job(n: usize) -> RunInfo {
    let units = (0..n).map(|i| Unit { n_clips: 2, key: [i as u8; 16] }).collect();
    RunInfo {
        pipeline: "test".to_owned(),
        fingerprint: "f".to_owned(),
        graph: serde_json::Value::Null,
        units,
        mine: vec![true; n],
        piece: false,
        fresh: false,
        quarantine: true,
    }
}

fn refused(clip_id: &str) -> Reject {
    let text = |text: &str| text.to_owned();
    Reject {
        clip_id: text(clip_id),
        source: text("x.wav"),
        stage: text("decode"),
        reason: text("truncated"),
        detail: text("cut"),
        labels: Vec::new(),
    }
}

/// Two units; of the second, clip `c` turns out to be torn after its first window.
fn drive(config: &SinkEmbeddingsConfig, fs: Arc<dyn Fs>) -> Result<SinkReport, StageError> {
    let mut sink = SinkEmbeddings::new(config.clone(), tensor(), fs);
    let run = job(2);
    if sink.open(&run)?.iter().all(|done| *done) {
        return sink.finish();
    }
    fill(&mut sink)
}

fn fill(sink: &mut SinkEmbeddings) -> Result<SinkReport, StageError> {
    sink.write(0, windows(&[("a", 0.0, 2, 0.0), ("a", 1.0, 2, 4.0)]))?;
    sink.write(0, windows(&[("a", 2.0, 1, 100.0), ("b", 5.0, 1, 7.0)]))?;
    sink.end_unit(0, UnitTally { clips: 2, filtered: 0, rejects: Vec::new() })?;
    sink.write(1, windows(&[("c", 0.0, 2, 1.0), ("d", 0.0, 2, 8.0)]))?;
    sink.end_unit(1, UnitTally { clips: 2, filtered: 0, rejects: vec![refused("c")] })?;
    sink.finish()
}

fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap();
    let mut reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.next().unwrap().unwrap()
}

#[test]
fn clips_are_the_mean_of_their_frames_and_torn_ones_are_left_out() {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float32Type, Float64Type};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.parquet");
    let report = drive(&config(&path, RowsOf::Clip), Arc::new(RealFs)).unwrap();
    assert_eq!((report.rows, report.rejects, report.complete), (3, 1, true));
    let rows = read(&path);
    let ids: Vec<_> = rows.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(ids, ["a", "b", "d"]);
    let numbers = rows.column_by_name("embedding").unwrap().as_fixed_size_list().values().as_primitive::<Float32Type>();
    // Of a: frames 0, 2, 4, 6 and 100; of b the first of two.
    assert_eq!([0, 3, 6].map(|at| numbers.value(at)), [112.0 / 5.0, 7.0, 9.0]);
    let lengths = rows.column_by_name("duration_s").unwrap().as_primitive::<Float64Type>();
    assert_eq!(lengths.values(), &[2.5, 0.5, 1.0]);
    let about = read_about(&path).unwrap().unwrap();
    assert_eq!((about.rows, about.clips, about.rejects, about.shape), (3, 4, 1, vec![WIDTH]));
    assert!(dir.path().join("e.rejects.parquet").exists());
}

/// A window's layers are weighed by its frames, and a clip's are a row.
#[test]
fn layers_of_a_clip_are_the_mean_over_its_windows_each_for_itself() {
    use arrow::array::AsArray;
    use arrow::datatypes::Float32Type;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.parquet");
    let axes = vec!["layers".to_owned(), "width".to_owned()];
    let mut sink = SinkEmbeddings::new(config(&path, RowsOf::Clip), TensorType { axes, ..tensor() }, Arc::new(RealFs));
    sink.open(&job(1)).unwrap();
    sink.write(0, windows(&[("a", 0.0, 2, 0.0), ("a", 1.0, 1, 9.0), ("b", 0.0, 1, 7.0)])).unwrap();
    sink.end_unit(0, UnitTally { clips: 2, filtered: 0, rejects: Vec::new() }).unwrap();
    assert_eq!(sink.finish().unwrap().rows, 2);
    let rows = read(&path);
    let lists = rows.column_by_name("embedding").unwrap().as_fixed_size_list();
    let numbers = lists.values().as_primitive::<Float32Type>();
    // First numbers of the layers: 0 and 2 twice, 9 and 11 once.
    assert_eq!([0, 3, 6, 9].map(|at| numbers.value(at)), [3.0, 5.0, 7.0, 9.0]);
    let about = read_about(&path).unwrap().unwrap();
    assert_eq!((about.shape, about.axes[0].as_str()), (vec![2, WIDTH], "layers"));
    let refused =
        config(&path, RowsOf::Frame).fits(&TensorType { axes: vec!["layers".into(), "width".into()], ..tensor() });
    assert!(refused.is_err());
}

#[test]
fn whatever_fails_the_file_is_whole_or_absent_and_the_next_run_makes_it() {
    for (name, rows) in [("e.parquet", RowsOf::Window), ("e.parquet", RowsOf::Clip), ("e.npy", RowsOf::Frame)] {
        let whole = tempfile::tempdir().unwrap();
        drive(&config(&whole.path().join(name), rows), Arc::new(RealFs)).unwrap();
        let expected = std::fs::read(whole.path().join(name)).unwrap();
        let mut n_failed = 0;
        for fail_at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            let failing: Arc<dyn Fs> = Arc::new(FaultyFs::full_from(fail_at));
            let made = drive(&config(&path, rows), failing);
            if path.exists() {
                assert_eq!(std::fs::read(&path).unwrap(), expected, "{name} {fail_at}");
            }
            if made.is_ok() {
                break;
            }
            n_failed += 1;
            drive(&config(&path, rows), Arc::new(RealFs)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), expected, "{name} {fail_at}");
        }
        assert!(n_failed > 5, "{name}: {n_failed} operations");
    }
}

#[test]
fn of_two_that_make_one_file_at_once_the_second_takes_what_the_first_made() {
    let dir = tempfile::tempdir().unwrap();
    let opened = |name: &str, fingerprint: &str| {
        let config = config(&dir.path().join(name), RowsOf::Clip);
        let mut sink = SinkEmbeddings::new(config, tensor(), Arc::new(RealFs));
        let run = RunInfo { fingerprint: fingerprint.to_owned(), ..job(2) };
        assert_eq!(sink.open(&run).unwrap(), [false, false]);
        sink
    };
    for name in ["e.parquet", "e.npy"] {
        let (mut one, mut other) = (opened(name, "f"), opened(name, "f"));
        let (first, second) = (fill(&mut one).unwrap(), fill(&mut other).unwrap());
        assert!(second.complete && first.rows == 3, "{name}");
        assert_eq!((first.rows, first.rejects, first.bytes), (second.rows, second.rejects, second.bytes), "{name}");
    }
    let (mut one, mut other) = (opened("of_two.parquet", "f"), opened("of_two.parquet", "g"));
    fill(&mut one).unwrap();
    let error = fill(&mut other).unwrap_err().to_string();
    assert!(error.contains("by another process meanwhile, from another graph"), "{error}");
}

#[test]
fn a_file_of_something_else_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.parquet");
    std::fs::write(&path, "somebody's").unwrap();
    let error = drive(&config(&path, RowsOf::Clip), Arc::new(RealFs)).unwrap_err().to_string();
    assert!(error.contains("move it away"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
    let mut run = job(2);
    run.mine[1] = false;
    let mut sink = SinkEmbeddings::new(config(&dir.path().join("p.parquet"), RowsOf::Clip), tensor(), Arc::new(RealFs));
    assert!(sink.open(&run).unwrap_err().to_string().contains("parts cannot share"));
}
