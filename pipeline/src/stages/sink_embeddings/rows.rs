//! From the windows that arrive to the rows that are written: as they are, one per clip, or one per frame.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, RecordBatch, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema as ArrowSchema, UInt32Type};

use super::{RowsOf, SinkEmbeddingsConfig, about};
use crate::schema::TensorType;
use crate::stage::{StageError, UnitTally};

/// What has arrived and is not written yet.
pub struct Collected {
    rows_of: RowsOf,
    column: String,
    /// Numbers in one row that arrives.
    n_numbers: usize,
    /// Numbers in what is summed up, or is a row: a frame's, where rows that arrive have frames; else all of a row's.
    width: usize,
    hop_s: f64,
    /// The clips of this unit, where rows are clips.
    clips: Vec<Clip>,
}

/// The windows of one clip, summed up.
struct Clip {
    id: String,
    /// The other columns of its first window.
    first: RecordBatch,
    sum: Vec<f64>,
    n_frames: u64,
    end_s: Option<f64>,
}

/// One batch as it arrived, taken apart.
struct Arrived {
    plain: RecordBatch,
    numbers: Float32Array,
    n_numbers: usize,
}

impl Arrived {
    fn values(&self, row: usize) -> &[f32] {
        &self.numbers.values()[row * self.n_numbers..(row + 1) * self.n_numbers]
    }

    fn f64(&self, name: &str, row: usize) -> Option<f64> {
        let column = self.plain.column_by_name(name)?.as_primitive_opt::<Float64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    /// Frames of the window that hold sound, where the row says it.
    fn n_valid(&self, row: usize) -> Option<usize> {
        let column = self.plain.column_by_name("n_frames").and_then(|column| column.as_primitive_opt::<UInt32Type>());
        column.filter(|column| column.is_valid(row)).map(|column| column.value(row) as usize)
    }

    fn clip_id(&self, row: usize) -> &str {
        let column = self.plain.column_by_name("clip_id").and_then(|column| column.as_string_opt::<i32>());
        column.filter(|column| column.is_valid(row)).map_or("", |column| column.value(row))
    }
}

impl Collected {
    pub fn new(config: &SinkEmbeddingsConfig, tensor: &TensorType) -> Self {
        Self {
            rows_of: config.rows,
            column: config.column.clone(),
            n_numbers: tensor.n_values(),
            width: if super::has_frames(tensor) { tensor.shape[1..].iter().product() } else { tensor.n_values() },
            hop_s: about::hop_s(tensor).unwrap_or(0.0),
            clips: Vec::new(),
        }
    }

    /// Lengths of one row's numbers as they are written.
    pub fn shape(&self, tensor: &TensorType) -> Vec<usize> {
        let inner = usize::from(self.rows_of != RowsOf::Window && super::has_frames(tensor));
        tensor.shape[inner..].to_vec()
    }

    /// Takes a batch; gives the rows that can be written.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<Option<RecordBatch>, StageError> {
        let arrived = self.apart(rows)?;
        match self.rows_of {
            RowsOf::Window => {
                let numbers = arrived.numbers.clone();
                self.together(arrived.plain, numbers, self.n_numbers).map(Some)
            }
            RowsOf::Frame => self.frames(&arrived).map(Some),
            RowsOf::Clip => {
                self.sum_up(&arrived);
                Ok(None)
            }
        }
    }

    /// The clips of the unit, without those of which a later window could not be used.
    pub fn end_unit(&mut self, tally: &UnitTally) -> Result<Option<RecordBatch>, StageError> {
        let refused: HashSet<&str> = tally.rejects.iter().map(|reject| reject.clip_id.as_str()).collect();
        let clips: Vec<Clip> = std::mem::take(&mut self.clips);
        let clips: Vec<Clip> = clips.into_iter().filter(|clip| !refused.contains(clip.id.as_str())).collect();
        let Some(one) = clips.first() else { return Ok(None) };
        let plain = concat_batches(&one.first.schema(), clips.iter().map(|clip| &clip.first))?;
        let starts = plain.column_by_name("offset_s").and_then(|column| column.as_primitive_opt::<Float64Type>());
        let starts: Vec<Option<f64>> = match starts {
            Some(starts) => starts.iter().collect(),
            None => vec![None; clips.len()],
        };
        let lengths = clips.iter().zip(starts).map(|(clip, start)| Some(clip.end_s? - start.unwrap_or(0.0)));
        let lengths: ArrayRef = Arc::new(lengths.collect::<Float64Array>());
        let n_frames = clips.iter().map(|clip| u32::try_from(clip.n_frames).unwrap_or(u32::MAX));
        let n_frames: ArrayRef = Arc::new(n_frames.collect::<UInt32Array>());
        let plain = replaced(&replaced(&plain, "duration_s", &lengths)?, "n_frames", &n_frames)?;
        let mean = |clip: &Clip| clip.sum.iter().map(|sum| (sum / clip.n_frames as f64) as f32).collect::<Vec<_>>();
        let numbers: Vec<f32> = clips.iter().flat_map(mean).collect();
        self.together(plain, Float32Array::from(numbers), self.width).map(Some)
    }

    fn sum_up(&mut self, arrived: &Arrived) {
        for row in 0..arrived.plain.num_rows() {
            let id = arrived.clip_id(row);
            if self.clips.last().is_none_or(|clip| clip.id != id) {
                let (id, first) = (id.to_owned(), arrived.plain.slice(row, 1));
                self.clips.push(Clip { id, first, sum: vec![0.0; self.width], n_frames: 0, end_s: None });
            }
            let values = arrived.values(row);
            let n_rows = values.len() / self.width;
            // One vector stands for all frames of its window that hold sound.
            let (kept, weight) = match arrived.n_valid(row) {
                Some(n) if n_rows == 1 => (1, n.max(1)),
                said => (said.unwrap_or(n_rows).clamp(1, n_rows), 1),
            };
            let Some(clip) = self.clips.last_mut() else { continue };
            for vector in values.chunks_exact(self.width).take(kept) {
                clip.sum.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += f64::from(x) * weight as f64);
            }
            clip.n_frames += (kept * weight) as u64;
            let end_s = arrived.f64("duration_s", row).map(|s| s + arrived.f64("offset_s", row).unwrap_or(0.0));
            clip.end_s = clip.end_s.map_or(end_s, |known| Some(end_s?.max(known)));
        }
    }

    /// A row per frame that holds sound, each with its own time.
    fn frames(&self, arrived: &Arrived) -> Result<RecordBatch, StageError> {
        let (mut rows, mut starts, mut lengths, mut numbers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in 0..arrived.plain.num_rows() {
            let n = self.n_numbers / self.width;
            let n = arrived.n_valid(row).unwrap_or(n).min(n);
            let (start_s, length_s) = (arrived.f64("offset_s", row), arrived.f64("duration_s", row));
            for frame in 0..n {
                let at_s = frame as f64 * self.hop_s;
                rows.push(row as u32);
                starts.push(Some(start_s.unwrap_or(0.0) + at_s));
                lengths.push(length_s.map(|length_s| (length_s - at_s).clamp(0.0, self.hop_s)));
            }
            numbers.extend_from_slice(&arrived.values(row)[..n * self.width]);
        }
        let plain = take_record_batch(&arrived.plain, &UInt32Array::from(rows))?;
        let (starts, lengths): (ArrayRef, ArrayRef) =
            (Arc::new(Float64Array::from(starts)), Arc::new(Float64Array::from(lengths)));
        let plain = replaced(&replaced(&plain, "offset_s", &starts)?, "duration_s", &lengths)?;
        // It says how many frames a window has, which a frame is not.
        self.together(without(&plain, "n_frames")?, Float32Array::from(numbers), self.width)
    }

    fn apart(&self, rows: &RecordBatch) -> Result<Arrived, StageError> {
        let lost = || StageError::Other(format!("a batch comes without its column {}", self.column));
        let lists = rows.column_by_name(&self.column).and_then(|column| column.as_fixed_size_list_opt());
        let lists = lists.ok_or_else(lost)?;
        let first = lists.value_offset(0) as usize;
        let numbers = lists.values().as_primitive_opt::<Float32Type>().ok_or_else(lost)?;
        let numbers = numbers.slice(first, rows.num_rows() * self.n_numbers);
        Ok(Arrived { plain: without(rows, &self.column)?, numbers, n_numbers: self.n_numbers })
    }

    /// The other columns with the numbers behind them, `n` to a row.
    fn together(&self, plain: RecordBatch, numbers: Float32Array, n: usize) -> Result<RecordBatch, StageError> {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let lists = FixedSizeListArray::try_new(item.clone(), n as i32, Arc::new(numbers), None)?;
        let field = Field::new(&self.column, DataType::FixedSizeList(item, n as i32), false);
        let (schema, mut columns, _) = plain.into_parts();
        let fields = schema.fields().iter().cloned().chain([Arc::new(field)]);
        let schema = ArrowSchema::new(fields.collect::<Vec<_>>());
        columns.push(Arc::new(lists));
        Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
    }
}

fn without(rows: &RecordBatch, name: &str) -> Result<RecordBatch, StageError> {
    let schema = rows.schema();
    let kept: Vec<usize> = (0..rows.num_columns()).filter(|&i| schema.field(i).name() != name).collect();
    Ok(rows.project(&kept)?)
}

/// With other values in the column `name`, where there is one of their type.
fn replaced(rows: &RecordBatch, name: &str, values: &ArrayRef) -> Result<RecordBatch, StageError> {
    let Ok(at) = rows.schema().index_of(name) else { return Ok(rows.clone()) };
    let mut columns = rows.columns().to_vec();
    if columns[at].data_type() == values.data_type() {
        columns[at] = values.clone();
    }
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}
