//! The bytes of a set depend on the job alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Int32Type, Schema as ArrowSchema};
use half::slice::HalfFloatSliceExt;

use super::*;
use crate::shard::{Manifest, ShardSet};

const UNITS: [usize; 4] = [100, 0, 37, 256];

#[test]
fn what_is_written_is_read_back_in_the_order_of_the_format() {
    let dir = tempfile::tempdir().unwrap();
    let report = write_set(dir.path(), &job(&UNITS));
    assert_eq!((report.rows, report.units, report.rejects, report.complete), (393, 4, 4, true));
    let names: Vec<String> = files(dir.path()).into_keys().filter(|name| !name.starts_with('_')).collect();
    assert_eq!(names, ["manifest.json", "part-00000.arrow", "part-00002.arrow", "part-00003.arrow", "rejects.parquet"]);
    let set = ShardSet::open(dir.path()).unwrap();
    let schema = set.schema().unwrap();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let expected =
        ["clip_id", "mel", "n_frames", "labels", "source", "offset_s", "duration_s", "content_hash", "split"];
    assert_eq!(columns, expected);
    let mut row = 0;
    for (unit, n_rows) in UNITS.iter().enumerate() {
        let original = rows(unit, 0, (*n_rows).max(1), Dtype::F16);
        for i in 0..*n_rows {
            let found = set.row(row).unwrap();
            for name in expected {
                let (a, b) = (found.batch.column_by_name(name).unwrap(), original.column_by_name(name).unwrap());
                assert_eq!(&a.slice(found.index, 1), &b.slice(i, 1), "{name} of row {i} of unit {unit}");
            }
            row += 1;
        }
    }
    assert_eq!(row, set.n_rows());
}

#[test]
fn bytes_do_not_depend_on_batches_processes_or_order() {
    let whole = tempfile::tempdir().unwrap();
    let run = job(&UNITS);
    write_set(whole.path(), &run);
    let expected = files(whole.path());
    for step in [1, 7, 64, 256] {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
        drive(&mut sink, &run, step, Dtype::F16).unwrap();
        assert!(files(dir.path()) == expected, "batches of {step}");
    }
    // Four processes at once, as far as the sink can tell: each does every fourth unit.
    let dir = tempfile::tempdir().unwrap();
    let reports: Vec<SinkReport> = std::thread::scope(|scope| {
        let part = |i: usize| {
            let mut run = run.clone();
            run.mine = (0..UNITS.len()).map(|unit| unit % 4 == i).collect();
            let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
            drive(&mut sink, &run, 33, Dtype::F16).unwrap()
        };
        let handles: Vec<_> = (0..4).map(|i| scope.spawn(move || part(i))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert!(reports.iter().any(|report| report.complete));
    assert!(files(dir.path()) == expected);
}

#[test]
fn moments_are_those_of_the_frames_before_padding() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&UNITS));
    let manifest = Manifest::read(dir.path()).unwrap();
    let tensor = &manifest.tensors[0];
    // The plain formula, in two passes over all valid frames.
    let mut by_bin: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (unit, n_rows) in UNITS.iter().enumerate() {
        for row in 0..*n_rows {
            let n_valid = SHAPE[0] - (clip(unit, row) % 7) as usize;
            for at in 0..n_valid * SHAPE[1] {
                by_bin.entry(at % SHAPE[1]).or_default().push(f64::from(mel_value(clip(unit, row), at)));
            }
        }
    }
    assert_eq!(tensor.n_frames, by_bin[&0].len() as u64);
    for (bin, values) in by_bin {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((tensor.mean[bin] - mean).abs() < 1e-10, "mean of bin {bin}");
        assert!((tensor.variance[bin] - variance).abs() < 1e-9, "variance of bin {bin}");
    }
    assert_eq!((manifest.clips, manifest.rejects, manifest.units), (397, 4, 4));
    assert_eq!(tensor.front_end["n_mels"], 96);
}

#[test]
fn single_floats_and_zstd_come_back_the_same() {
    for (dtype, compression) in
        [(Dtype::F32, Compression::None), (Dtype::F16, Compression::Zstd), (Dtype::F32, Compression::Zstd)]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = ShardWriter::new(dir.path(), stored(dtype), compression).unwrap();
        drive(&mut sink, &job(&[70]), 70, dtype).unwrap();
        let set = ShardSet::open(dir.path()).unwrap();
        let found = set.row(69).unwrap();
        let mel = found.batch.column_by_name("mel").unwrap().as_fixed_size_list().value(found.index);
        let values = match dtype {
            Dtype::F16 => mel.as_primitive::<Float16Type>().values().to_f32_vec(),
            Dtype::F32 => mel.as_primitive::<Float32Type>().values().to_vec(),
        };
        assert!(
            values.iter().enumerate().all(|(at, value)| *value == mel_value(clip(0, 69), at)),
            "{dtype:?} {compression:?}"
        );
    }
}

#[test]
fn buffers_are_read_in_place_and_aligned() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[300]));
    let set = ShardSet::open(dir.path()).unwrap();
    let part = set.part(0).unwrap();
    assert!(part.is_mapped());
    assert_eq!(part.n_batches(), 2, "256 rows of 12 KiB");
    for batch in part.batches() {
        let batch = batch.unwrap();
        let mel = batch.column(1).as_fixed_size_list();
        let start = mel.values().as_primitive::<Float16Type>().values().as_ptr() as usize;
        assert_eq!(start % 64, 0);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let in_map = |line: &str| {
            let (from, to) = line.split(' ').next()?.split_once('-')?;
            let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
            (range.contains(&start) && line.ends_with("part-00000.arrow")).then_some(())
        };
        assert!(maps.lines().any(|line| in_map(line).is_some()), "the tensor lies in the map of its part");
    }
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = job(&[10, 10]);
    let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
    sink.open(&run).unwrap();
    let single = sink.write(0, rows(0, 0, 10, Dtype::F32)).unwrap_err().to_string();
    assert!(single.contains("\"mel\"") && single.contains("Float16"), "{single}");
    let without = rows(0, 0, 10, Dtype::F16).project(&[0, 1, 2, 3, 4, 6, 7]).unwrap();
    let missing = sink.write(0, without).unwrap_err().to_string();
    assert!(missing.contains("\"n_frames\"") && missing.contains("lack"), "{missing}");
    sink.write(0, rows(0, 0, 10, Dtype::F16)).unwrap();
    sink.end_unit(0, tally(0, 10)).unwrap();
    let lacks_split = rows(1, 0, 10, Dtype::F16).project(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    sink.write(1, lacks_split).unwrap();
    let other = sink.end_unit(1, tally(1, 10)).unwrap_err().to_string();
    assert!(other.contains("\"split\"") && other.contains("absent here"), "{other}");
    let media = Schema::of_media(false);
    let error = ShardWriter::new(dir.path(), media, Compression::None).unwrap_err().to_string();
    assert!(error.contains("\"media\"") && error.contains("decode"), "{error}");
}

#[test]
fn dictionaries_of_manifests_are_stored_plain() {
    let dir = tempfile::tempdir().unwrap();
    let batch = rows(0, 0, 6, Dtype::F16);
    let keys = Int32Array::from(vec![0, 1, 0, 1, 1, 0]);
    let values: ArrayRef = Arc::new(StringArray::from(vec!["train", "test"]));
    let fold: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, values));
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("fold", fold.data_type().clone(), true));
    let columns = batch.columns().iter().cloned().chain([fold]).collect();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap();
    let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
    sink.open(&job(&[6])).unwrap();
    sink.write(0, batch).unwrap();
    sink.end_unit(0, tally(0, 6)).unwrap();
    sink.finish().unwrap();
    let found = ShardSet::open(dir.path()).unwrap().row(4).unwrap();
    let fold = found.batch.column_by_name("fold").unwrap();
    assert_eq!(fold.data_type(), &DataType::Utf8);
    assert_eq!(fold.as_string::<i32>().value(found.index), "test");
}

#[test]
fn rejects_of_all_units_are_one_table() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&UNITS));
    let file = std::fs::File::open(dir.path().join("rejects.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 100).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let ids: Vec<&str> = batches.iter().flat_map(|b| b.column(0).as_string::<i32>().iter().flatten()).collect();
    assert_eq!(ids, ["bad-0", "bad-1", "bad-2", "bad-3"]);
    let names: Vec<String> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["clip_id", "source", "stage", "reason", "detail"]);
}
