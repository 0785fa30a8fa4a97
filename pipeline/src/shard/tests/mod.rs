//! Promises R1, R2, R3, R4, R6 and R9 on real folders, with rows like those of a log-mel front end.

pub mod faults;
mod figures;
mod generations;
mod hostile;
mod killed;
#[cfg(all(feature = "objects", feature = "sql"))]
mod objects;
mod readers;
mod reading;
mod stages;
mod writing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array, ListBuilder,
    RecordBatch, StringArray, StringBuilder, UInt32Array,
};
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use half::f16;
use serde_json::json;

use super::{Compression, ShardWriter};
use crate::columns::arrow_field;
use crate::schema::{ColumnType, Dtype, Schema, TensorType, list_of_utf8};
use crate::stage::{Reject, RunInfo, Sink, SinkReport, Unit, UnitTally};

/// Frames and bins of the tests' pictures.
pub const SHAPE: [usize; 2] = [64, 96];

/// The edge before the sink.
pub fn stored(dtype: Dtype) -> Schema {
    let tensor = TensorType {
        dtype,
        shape: SHAPE.to_vec(),
        axes: vec!["frames".into(), "mels".into()],
        front_end: json!({ "n_mels": 96, "rate_hz": 32000 }),
    };
    Schema { columns: Vec::new(), extra: true }
        .with("source", ColumnType::Plain(DataType::Utf8))
        .with("clip_id", ColumnType::Plain(DataType::Utf8))
        .with("offset_s", ColumnType::Plain(DataType::Float64))
        .with("duration_s", ColumnType::Plain(DataType::Float64))
        .with("labels", ColumnType::Plain(list_of_utf8()))
        .with("n_frames", ColumnType::Plain(DataType::UInt32))
        .with("mel", ColumnType::Tensor(tensor))
        .with("content_hash", ColumnType::Plain(DataType::FixedSizeBinary(16)))
}

/// The value of a bin: like the log of an energy, another for every clip, frame and bin.
pub fn mel_value(clip: u64, at: usize) -> f32 {
    let mut z = (clip << 20 | at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let noise = (z >> 40) as f32 / (1 << 24) as f32;
    f16::from_f32(-8.0 + 6.0 * noise + (at % SHAPE[1]) as f32 / 48.0).to_f32()
}

/// Number of clip `row` of unit `unit`.
pub fn clip(unit: usize, row: usize) -> u64 {
    (unit * 1000 + row) as u64
}

/// Rows `from..to` of a unit, in the column order of [`stored`], with one column more.
pub fn rows(unit: usize, from: usize, to: usize, dtype: Dtype) -> RecordBatch {
    let n_values: usize = SHAPE.iter().product();
    let clips: Vec<u64> = (from..to).map(|row| clip(unit, row)).collect();
    let values = clips.iter().flat_map(|clip| (0..n_values).map(|at| mel_value(*clip, at)));
    let inner: ArrayRef = match dtype {
        Dtype::F16 => {
            Arc::new(values.map(f16::from_f32).collect::<Vec<_>>().into_iter().map(Some).collect::<Float16Array>())
        }
        Dtype::F32 => Arc::new(Float32Array::from(values.collect::<Vec<_>>())),
    };
    let schema = stored(dtype);
    let mut fields: Vec<_> = schema.columns.iter().map(arrow_field).collect();
    let DataType::FixedSizeList(item, width) = fields[6].data_type().clone() else { panic!("mel is a tensor") };
    let mut labels = ListBuilder::new(StringBuilder::new());
    for clip in &clips {
        match clip % 3 {
            0 => labels.append_null(),
            n => labels.append_value((0..n).map(|i| Some(format!("label {i}")))),
        }
    }
    let texts = |of: &dyn Fn(u64) -> Option<String>| -> ArrayRef {
        Arc::new(clips.iter().map(|c| of(*c)).collect::<StringArray>())
    };
    let hashes = FixedSizeBinaryArray::try_from_iter(clips.iter().map(|clip| u128::from(*clip).to_be_bytes())).unwrap();
    let columns: Vec<ArrayRef> = vec![
        texts(&|clip| Some(format!("audio/{clip:06}.flac"))),
        texts(&|clip| Some(format!("clip-{clip:06}"))),
        Arc::new(clips.iter().map(|_| Some(0.0)).collect::<Float64Array>()),
        Arc::new(clips.iter().map(|c| (c % 5 != 0).then_some(10.0 - *c as f64 / 1e3)).collect::<Float64Array>()),
        Arc::new(labels.finish()),
        Arc::new(clips.iter().map(|clip| Some(SHAPE[0] as u32 - (*clip % 7) as u32)).collect::<UInt32Array>()),
        Arc::new(FixedSizeListArray::new(item, width, inner, None)),
        Arc::new(hashes),
        texts(&|clip| (clip % 4 != 1).then(|| format!("fold {}", clip % 4))),
    ];
    fields.push(arrow::datatypes::Field::new("split", DataType::Utf8, true));
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()
}

/// A job of units of so many rows.
pub fn job(rows_of_units: &[usize]) -> RunInfo {
    let unit = |(i, n): (usize, &usize)| Unit { n_clips: *n as u64 + 1, key: [i as u8 + 1; 16] };
    RunInfo {
        pipeline: "test".into(),
        fingerprint: "f-1".into(),
        graph: json!({ "seed": 0, "stages": [{ "id": "mel", "n_mels": 96 }] }),
        units: rows_of_units.iter().enumerate().map(unit).collect(),
        mine: vec![true; rows_of_units.len()],
        piece: false,
        fresh: false,
        quarantine: true,
    }
}

/// One reject per unit.
pub fn tally(unit: usize, n_rows: usize) -> UnitTally {
    let reject = Reject {
        clip_id: format!("bad-{unit}"),
        source: format!("audio/bad-{unit}.mp3"),
        stage: "decode".into(),
        reason: "corrupt".into(),
        detail: "no frame in 4096 bytes".into(),
        labels: Vec::new(),
    };
    UnitTally { clips: n_rows as u64 + 1, filtered: 0, rejects: vec![reject] }
}

/// Does what an engine does: every unit that is mine and not done, its rows in batches of `step`.
pub fn drive(
    sink: &mut ShardWriter,
    run: &RunInfo,
    step: usize,
    dtype: Dtype,
) -> Result<SinkReport, crate::stage::StageError> {
    let done = sink.open(run)?;
    for (unit, wanted) in run.units.iter().enumerate() {
        if done[unit] || !run.mine[unit] {
            continue;
        }
        let n_rows = wanted.n_clips as usize - 1;
        for from in (0..n_rows).step_by(step) {
            sink.write(unit, rows(unit, from, n_rows.min(from + step), dtype))?;
        }
        sink.end_unit(unit, tally(unit, n_rows))?;
    }
    sink.finish()
}

/// Writes a whole f16 set.
pub fn write_set(dir: &Path, run: &RunInfo) -> SinkReport {
    let mut sink = ShardWriter::new(dir, stored(Dtype::F16), Compression::None).unwrap();
    drive(&mut sink, run, 50, Dtype::F16).unwrap()
}

/// Every file below `dir` with its bytes.
pub fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries =
        walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let name = |path: &Path| path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
    entries.map(|entry| (name(entry.path()), std::fs::read(entry.path()).unwrap())).collect()
}

/// Copies a set.
pub fn copy_set(from: &Path, to: &Path) {
    for (name, bytes) in files(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
