//! Shard sets of made-up log-mel pictures: any number of clips in seconds, no audio.

use std::path::Path;
use std::sync::Arc;

use ajepa_pipe::columns::arrow_schema;
use ajepa_pipe::schema::{ColumnType, Dtype, Schema, TensorType};
use ajepa_pipe::shard::{Compression, ShardWriter};
use ajepa_pipe::stage::{RunInfo, Sink, StageError, Unit, UnitTally};
use arrow::array::{ArrayRef, FixedSizeListArray, Float16Array, Float64Array, RecordBatch, StringArray};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::DataType;

/// Clips of one part: the default of `resources.clips_per_shard`.
const CLIPS_PER_PART: usize = 512;

/// Writes `n_clips` pictures of `frames` x `mels` halves into `dir`, unless they are there.
pub fn write(dir: &Path, n_clips: usize, [frames, mels]: [usize; 2]) -> Result<(), StageError> {
    let tensor = TensorType {
        dtype: Dtype::F16,
        shape: vec![frames, mels],
        axes: vec!["frames".into(), "mels".into()],
        front_end: serde_json::Value::Null,
    };
    let schema = Schema::default()
        .with("clip_id", ColumnType::Plain(DataType::Utf8))
        .with("offset_s", ColumnType::Plain(DataType::Float64))
        .with("mel", ColumnType::Tensor(tensor));
    let unit = |first: usize| Unit {
        n_clips: CLIPS_PER_PART.min(n_clips - first) as u64,
        key: (first as u128 + 1).to_le_bytes(),
    };
    let units: Vec<Unit> = (0..n_clips).step_by(CLIPS_PER_PART).map(unit).collect();
    let run = RunInfo {
        pipeline: "mels".into(),
        fingerprint: format!("{n_clips} x {frames} x {mels}"),
        graph: serde_json::Value::Null,
        mine: vec![true; units.len()],
        units,
        piece: false,
        fresh: false,
        quarantine: false,
    };
    let mut sink = ShardWriter::new(dir, schema.clone(), Compression::None)?;
    let done = sink.open(&run)?;
    for (number, unit) in run.units.iter().enumerate().filter(|(number, _)| !done[*number]) {
        let n = unit.n_clips as usize;
        for from in (0..n).step_by(64) {
            let first = number * CLIPS_PER_PART + from;
            sink.write(number, rows(&schema, first..first + 64.min(n - from), frames * mels)?)?;
        }
        sink.end_unit(number, UnitTally { clips: unit.n_clips, filtered: 0, rejects: Vec::new() })?;
    }
    sink.finish()?;
    Ok(())
}

fn rows(schema: &Schema, clips: std::ops::Range<usize>, n_values: usize) -> Result<RecordBatch, StageError> {
    let schema = Arc::new(arrow_schema(schema));
    let DataType::FixedSizeList(item, width) = schema.field(2).data_type().clone() else {
        return Err(StageError::Other("mel is a tensor".into()));
    };
    let mut bytes = Vec::with_capacity(clips.len() * n_values * 2);
    for clip in clips.clone() {
        let mut state = clip as u64 + 1;
        for _ in 0..n_values / 4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Halves between 1/4 and 8, of either sign: nothing that is not finite.
            bytes.extend_from_slice(
                &((state ^ state >> 29) & 0x93FF_93FF_93FF_93FF | 0x3400_3400_3400_3400).to_le_bytes(),
            );
        }
    }
    let values = Float16Array::new(ScalarBuffer::new(Buffer::from_vec(bytes), 0, clips.len() * n_values), None);
    let ids: StringArray = clips.clone().map(|clip| Some(format!("clip-{clip:07}"))).collect();
    let offsets: Float64Array = clips.map(|_| Some(0.0)).collect();
    let pictures = FixedSizeListArray::new(item, width, Arc::new(values), None);
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(offsets), Arc::new(pictures)];
    Ok(RecordBatch::try_new(schema, columns)?)
}
