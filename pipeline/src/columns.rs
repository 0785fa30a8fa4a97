//! Rows to Arrow columns and back: the one place that knows how each [`ColumnType`] lies in memory.
//!
//! | type | Arrow |
//! |---|---|
//! | media | struct { path utf8, `byte_offset` u64?, `byte_len` u64?, `start_s` f64?, `end_s` f64?, fault utf8?, bytes binary? } |
//! | audio | struct { samples `large_list<f32>`, `rate_hz` u32, channels u16 } |
//! | tensor | `fixed_size_list<f16>` or `<f32>` with the extension `arrow.fixed_shape_tensor` |

mod media;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, FixedSizeBinaryBuilder, FixedSizeListArray, Float16Array, Float32Array,
    LargeListArray, ListBuilder, PrimitiveBuilder, RecordBatch, RecordBatchOptions, StringBuilder, StructArray,
    UInt16Array, UInt32Array, UInt32Builder, new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Field, Fields, Float16Type, Float32Type, Float64Type, Schema as ArrowSchema, UInt32Type, UInt64Type,
};
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::Deserialize;

pub use media::{CarriedBytes, MediaPlace, media_array, media_fields, media_with_bytes};

use crate::row::{Audio, Cell, Row};
use crate::schema::{Column, ColumnType, Dtype, Schema, TensorType};
use crate::stage::{ClipError, StageError};

/// From here on a number is rounded to an infinity in half precision, whose largest is 65,504.
const HALF_INFINITE: f32 = 65_520.0;

/// The Arrow field of a column.
pub fn arrow_field(column: &Column) -> Field {
    match &column.kind {
        ColumnType::Media => Field::new(&column.name, DataType::Struct(media_fields()), false),
        ColumnType::Audio(_) => Field::new(&column.name, DataType::Struct(audio_fields()), false),
        ColumnType::Tensor(tensor) => tensor_field(&column.name, tensor),
        ColumnType::Plain(kind) => Field::new(&column.name, kind.clone(), true),
    }
}

/// The Arrow schema of the declared columns.
pub fn arrow_schema(schema: &Schema) -> ArrowSchema {
    ArrowSchema::new(schema.columns.iter().map(arrow_field).collect::<Vec<_>>())
}

fn audio_fields() -> Fields {
    Fields::from(vec![
        Field::new("samples", DataType::LargeList(sample_field()), false),
        Field::new("rate_hz", DataType::UInt32, false),
        Field::new("channels", DataType::UInt16, false),
    ])
}

fn sample_field() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

fn tensor_item(dtype: Dtype) -> Arc<Field> {
    let kind = match dtype {
        Dtype::F16 => DataType::Float16,
        Dtype::F32 => DataType::Float32,
    };
    Arc::new(Field::new("item", kind, false))
}

fn tensor_field(name: &str, tensor: &TensorType) -> Field {
    let kind = DataType::FixedSizeList(tensor_item(tensor.dtype), tensor.n_values() as i32);
    let shape = serde_json::json!({ "shape": tensor.shape, "dim_names": tensor.axes }).to_string();
    Field::new(name, kind, false).with_metadata(HashMap::from([
        ("ARROW:extension:name".to_owned(), "arrow.fixed_shape_tensor".to_owned()),
        ("ARROW:extension:metadata".to_owned(), shape),
    ]))
}

/// What the field of a tensor column says of its shape.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FixedShape {
    /// Lengths, outermost first.
    #[serde(rename = "shape")]
    pub lengths: Vec<usize>,
    /// A name per axis, where they are said.
    pub dim_names: Option<Vec<String>>,
}

impl FixedShape {
    /// Of a column of the extension type `arrow.fixed_shape_tensor`; `None` for others.
    pub fn of(field: &Field) -> Option<Self> {
        serde_json::from_str(field.metadata().get("ARROW:extension:metadata")?).ok()
    }
}

/// The numbers of one tensor value, widened to `f32`; `None` when they are not half or single floats.
pub fn tensor_values(value: &dyn Array) -> Option<Vec<f32>> {
    if let Some(singles) = value.as_primitive_opt::<Float32Type>() {
        return Some(singles.values().to_vec());
    }
    let halves = value.as_primitive_opt::<Float16Type>()?;
    Some(halves.values().to_f32_vec())
}

/// Bytes of the values that `array` shows: a slice of a large table counts as the slice.
pub fn array_bytes(array: &dyn Array) -> u64 {
    let list = |first: i64, last: i64, values: &ArrayRef| {
        let (first, last) = (first as usize, last as usize);
        array_bytes(values.slice(first, last - first).as_ref()) + array.len() as u64 * 8
    };
    match array.data_type() {
        DataType::Utf8 => {
            let offsets = array.as_string::<i32>().value_offsets();
            (offsets[array.len()] - offsets[0]) as u64 + array.len() as u64 * 4
        }
        DataType::Binary => {
            let offsets = array.as_binary::<i32>().value_offsets();
            (offsets[array.len()] - offsets[0]) as u64 + array.len() as u64 * 4
        }
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            list(array.value_offsets()[0].into(), array.value_offsets()[array.len()].into(), array.values())
        }
        DataType::LargeList(_) => {
            let array = array.as_list::<i64>();
            list(array.value_offsets()[0], array.value_offsets()[array.len()], array.values())
        }
        DataType::FixedSizeList(..) => array_bytes(array.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| array_bytes(column)).sum(),
        kind => {
            kind.primitive_width().map_or(array.get_array_memory_size() as u64, |width| (width * array.len()) as u64)
        }
    }
}

/// Collects the rows that leave a chain into one batch of the edge's schema.
///
/// Carried columns are taken from the incoming batch (as they are, when every row passed); tensors are converted to the
/// edge's dtype straight into the column's buffer.
pub struct RowBuilder {
    columns: Vec<ColumnBuilder>,
    input_names: Vec<String>,
    indices: Vec<u32>,
    bytes: usize,
}

struct ColumnBuilder {
    column: Column,
    field: Field,
    values: Values,
}

enum Values {
    Half(Vec<f16>),
    Single(Vec<f32>),
    Audio { samples: Vec<f32>, ends: Vec<i64>, rate_hz: Vec<u32>, channels: Vec<u16> },
    Plain(Vec<Option<Cell>>),
}

impl RowBuilder {
    /// For rows that came in as `input` and leave as `output`. Columns of the batch that `input` does not declare travel along.
    pub fn new(input: &Schema, output: &Schema) -> Self {
        let builder = |column: &Column| ColumnBuilder {
            column: column.clone(),
            field: arrow_field(column),
            values: Values::empty(&column.kind),
        };
        Self {
            columns: output.columns.iter().map(builder).collect(),
            input_names: input.columns.iter().map(|c| c.name.clone()).collect(),
            indices: Vec::new(),
            bytes: 0,
        }
    }

    /// Bytes collected so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows collected so far.
    pub fn n_rows(&self) -> usize {
        self.indices.len()
    }

    /// Adds a row. Tensor buffers that were copied out of are handed to `recycle`.
    ///
    /// # Errors
    /// `missing_column` or `shape` when the row is not as the plan promised, `out_of_range` for numbers that the column's precision
    /// cannot hold, `too_long` from a stream; the builder is unchanged then.
    pub fn push(
        &mut self,
        mut row: Row,
        clip_cap_bytes: u64,
        recycle: &mut dyn FnMut(Vec<f32>),
    ) -> Result<(), ClipError> {
        let mut heavy = Vec::new();
        for builder in &self.columns {
            match &builder.column.kind {
                ColumnType::Tensor(tensor) => {
                    let values = row.take_tensor(&builder.column.name)?;
                    if values.len() != tensor.n_values() {
                        let detail = format!("{}: {} values for {tensor}", builder.column.name, values.len());
                        return Err(ClipError::new("shape", detail));
                    }
                    in_range(&builder.column.name, tensor.dtype, &values)?;
                    heavy.push(Heavy::Tensor(values));
                }
                ColumnType::Audio(_) => {
                    let audio = row.take_audio()?;
                    let max_frames = clip_cap_bytes / 4 / audio.channels().max(1) as u64;
                    heavy.push(Heavy::Audio(Audio::into_samples(audio, Vec::new(), max_frames)?));
                }
                ColumnType::Media | ColumnType::Plain(_) => {}
            }
        }
        let (index, mut cells) = row.into_cells();
        let mut heavy = heavy.into_iter();
        for builder in &mut self.columns {
            self.bytes += builder.push(&mut heavy, &mut cells, recycle);
        }
        self.indices.push(index as u32);
        Ok(())
    }

    /// The batch of all rows since the last call, which came from `origin`.
    ///
    /// # Errors
    /// Only if a stage laid a cell of another type than it planned.
    pub fn finish(&mut self, origin: &RecordBatch) -> Result<RecordBatch, StageError> {
        let n_rows = self.indices.len();
        let indices = UInt32Array::from(std::mem::take(&mut self.indices));
        let whole = n_rows == origin.num_rows() && indices.values().iter().enumerate().all(|(i, &at)| i == at as usize);
        let carry = |column: &ArrayRef| -> Result<ArrayRef, StageError> {
            if whole { Ok(column.clone()) } else { Ok(take(column, &indices, None)?) }
        };
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut arrays = Vec::with_capacity(self.columns.len());
        for builder in &mut self.columns {
            let carried = origin.column_by_name(&builder.column.name).map(carry).transpose()?;
            arrays.push(builder.finish(carried, n_rows)?);
            fields.push(builder.field.clone());
        }
        for (field, column) in origin.schema_ref().fields().iter().zip(origin.columns()) {
            let declared = self.columns.iter().any(|b| b.column.name == *field.name());
            if !declared && !self.input_names.contains(field.name()) {
                fields.push(field.as_ref().clone());
                arrays.push(carry(column)?);
            }
        }
        self.bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)?)
    }
}

/// Refuses numbers that would silently become infinite, or are. What is no number at all is let through: a reader that minds
/// finds it.
fn in_range(column: &str, dtype: Dtype, values: &[f32]) -> Result<(), ClipError> {
    let infinite = if dtype == Dtype::F16 { HALF_INFINITE } else { f32::INFINITY };
    // Without a branch, so that it runs in lanes.
    let n_beyond = values.iter().map(|x| u32::from(x.abs() >= infinite)).sum::<u32>();
    if n_beyond == 0 {
        return Ok(());
    }
    let all = values.len();
    let cause = "what makes it so large, such as a `std` near 0 of `standardize`";
    let detail = if dtype == Dtype::F32 {
        format!("{column}: {n_beyond} of {all} numbers are infinite: mend {cause}")
    } else {
        let largest = values.iter().map(|x| x.abs()).fold(0.0, f32::max);
        format!(
            "{column}: {n_beyond} of {all} numbers are beyond 65504, the largest that f16 holds (up to {largest:e}): store the column \
             as `dtype: f32`, or mend {cause}"
        )
    };
    Err(ClipError::new("out_of_range", detail))
}

enum Heavy {
    Tensor(Vec<f32>),
    Audio(crate::row::Samples),
}

impl Values {
    fn empty(kind: &ColumnType) -> Self {
        match kind {
            ColumnType::Tensor(tensor) if tensor.dtype == Dtype::F16 => Self::Half(Vec::new()),
            ColumnType::Tensor(_) => Self::Single(Vec::new()),
            ColumnType::Audio(_) => {
                Self::Audio { samples: Vec::new(), ends: vec![0], rate_hz: Vec::new(), channels: Vec::new() }
            }
            ColumnType::Media | ColumnType::Plain(_) => Self::Plain(Vec::new()),
        }
    }
}

impl ColumnBuilder {
    /// Returns the bytes added.
    fn push(
        &mut self,
        heavy: &mut impl Iterator<Item = Heavy>,
        cells: &mut Vec<(Cow<'static, str>, Cell)>,
        recycle: &mut dyn FnMut(Vec<f32>),
    ) -> usize {
        match &mut self.values {
            Values::Plain(values) => {
                let at = cells.iter().position(|(name, _)| *name == self.column.name);
                values.push(at.map(|at| cells.swap_remove(at).1));
                24
            }
            Values::Half(halves) => match heavy.next() {
                Some(Heavy::Tensor(values)) => {
                    let at = halves.len();
                    halves.resize(at + values.len(), f16::ZERO);
                    halves[at..].convert_from_f32_slice(&values);
                    let bytes = values.len() * 2;
                    recycle(values);
                    bytes
                }
                _ => 0,
            },
            Values::Single(singles) => match heavy.next() {
                Some(Heavy::Tensor(values)) => {
                    singles.extend_from_slice(&values);
                    let bytes = values.len() * 4;
                    recycle(values);
                    bytes
                }
                _ => 0,
            },
            Values::Audio { samples, ends, rate_hz, channels } => match heavy.next() {
                Some(Heavy::Audio(audio)) => {
                    let bytes = audio.values.len() * 4;
                    if samples.is_empty() {
                        *samples = audio.values;
                    } else {
                        samples.extend_from_slice(&audio.values);
                    }
                    ends.push(samples.len() as i64);
                    rate_hz.push(audio.rate_hz);
                    channels.push(audio.channels as u16);
                    bytes
                }
                _ => 0,
            },
        }
    }

    fn finish(&mut self, carried: Option<ArrayRef>, n_rows: usize) -> Result<ArrayRef, StageError> {
        let values = std::mem::replace(&mut self.values, Values::empty(&self.column.kind));
        match (values, &self.column.kind) {
            (Values::Half(halves), ColumnType::Tensor(tensor)) => {
                let inner = Arc::new(Float16Array::new(ScalarBuffer::from(halves), None));
                tensor_array(tensor, inner, n_rows)
            }
            (Values::Single(singles), ColumnType::Tensor(tensor)) => {
                let inner = Arc::new(Float32Array::new(ScalarBuffer::from(singles), None));
                tensor_array(tensor, inner, n_rows)
            }
            (Values::Audio { samples, ends, rate_hz, channels }, _) => audio_array(samples, ends, rate_hz, channels),
            (Values::Plain(cells), ColumnType::Plain(kind)) if cells.iter().any(Option::is_some) => {
                plain_array(&self.column.name, kind, &cells, carried.as_deref())
            }
            (Values::Plain(_), _) => match carried {
                Some(carried) => Ok(carried),
                None => Ok(new_null_array(self.field.data_type(), n_rows)),
            },
            _ => Err(StageError::Other(format!("column {} changed its type", self.column.name))),
        }
    }
}

fn tensor_array(tensor: &TensorType, inner: ArrayRef, n_rows: usize) -> Result<ArrayRef, StageError> {
    let item = tensor_item(tensor.dtype);
    let width = tensor.n_values() as i32;
    Ok(Arc::new(FixedSizeListArray::try_new_with_length(item, width, inner, None, n_rows)?))
}

fn audio_array(
    samples: Vec<f32>,
    ends: Vec<i64>,
    rate_hz: Vec<u32>,
    channels: Vec<u16>,
) -> Result<ArrayRef, StageError> {
    let inner = Arc::new(Float32Array::new(ScalarBuffer::from(samples), None));
    let lists = LargeListArray::try_new(sample_field(), OffsetBuffer::new(ScalarBuffer::from(ends)), inner, None)?;
    let columns: Vec<ArrayRef> =
        vec![Arc::new(lists), Arc::new(UInt32Array::from(rate_hz)), Arc::new(UInt16Array::from(channels))];
    Ok(Arc::new(StructArray::try_new(audio_fields(), columns, None)?))
}

/// Builds a plain column: the cell where one was laid, else what the batch carried.
fn plain_array(
    name: &str,
    kind: &DataType,
    cells: &[Option<Cell>],
    carried: Option<&dyn Array>,
) -> Result<ArrayRef, StageError> {
    let wrong = || StageError::Other(format!("column {name}: a stage laid a value that is not {kind:?}"));
    let old = carried.filter(|old| old.data_type() == kind);
    let valid = |i: usize| old.filter(|old| old.is_valid(i));
    Ok(match kind {
        DataType::Utf8 => {
            let mut out = StringBuilder::new();
            for (i, cell) in cells.iter().enumerate() {
                match cell {
                    Some(Cell::Str(text)) => out.append_value(text),
                    Some(_) => return Err(wrong()),
                    None => out.append_option(valid(i).map(|old| old.as_string::<i32>().value(i))),
                }
            }
            Arc::new(out.finish())
        }
        DataType::Float64 => primitive::<Float64Type>(cells, old, |cell| match cell {
            Cell::F64(value) => Some(*value),
            _ => None,
        })
        .ok_or_else(wrong)?,
        DataType::Float32 => primitive::<Float32Type>(cells, old, |cell| match cell {
            Cell::F32(value) => Some(*value),
            _ => None,
        })
        .ok_or_else(wrong)?,
        DataType::UInt32 => primitive::<UInt32Type>(cells, old, |cell| match cell {
            Cell::U32(value) => Some(*value),
            _ => None,
        })
        .ok_or_else(wrong)?,
        DataType::UInt64 => primitive::<UInt64Type>(cells, old, |cell| match cell {
            Cell::U64(value) => Some(*value),
            _ => None,
        })
        .ok_or_else(wrong)?,
        DataType::Boolean => {
            let mut out = BooleanBuilder::new();
            for (i, cell) in cells.iter().enumerate() {
                match cell {
                    Some(Cell::Bool(value)) => out.append_value(*value),
                    Some(_) => return Err(wrong()),
                    None => out.append_option(valid(i).map(|old| old.as_boolean().value(i))),
                }
            }
            Arc::new(out.finish())
        }
        DataType::FixedSizeBinary(16) => {
            let mut out = FixedSizeBinaryBuilder::new(16);
            for (i, cell) in cells.iter().enumerate() {
                match (cell, valid(i)) {
                    (Some(Cell::Hash(bytes)), _) => out.append_value(bytes)?,
                    (Some(_), _) => return Err(wrong()),
                    (None, Some(old)) => out.append_value(old.as_fixed_size_binary().value(i))?,
                    (None, None) => out.append_null(),
                }
            }
            Arc::new(out.finish())
        }
        DataType::List(item) if *item.data_type() == DataType::Utf8 => {
            let mut out = ListBuilder::new(StringBuilder::new()).with_field(item.clone());
            for (i, cell) in cells.iter().enumerate() {
                match (cell, valid(i)) {
                    (Some(Cell::Strs(texts)), _) => out.append_value(texts.iter().map(Some)),
                    (Some(_), _) => return Err(wrong()),
                    (None, Some(old)) => out.append_value(old.as_list::<i32>().value(i).as_string::<i32>()),
                    (None, None) => out.append_null(),
                }
            }
            Arc::new(out.finish())
        }
        DataType::List(item) if *item.data_type() == DataType::UInt32 => {
            let mut out = ListBuilder::new(UInt32Builder::new()).with_field(item.clone());
            for (i, cell) in cells.iter().enumerate() {
                match (cell, valid(i)) {
                    (Some(Cell::U32s(numbers)), _) => out.append_value(numbers.iter().copied().map(Some)),
                    (Some(_), _) => return Err(wrong()),
                    (None, Some(old)) => {
                        out.append_value(old.as_list::<i32>().value(i).as_primitive::<UInt32Type>());
                    }
                    (None, None) => out.append_null(),
                }
            }
            Arc::new(out.finish())
        }
        _ => return Err(StageError::Other(format!("column {name}: stages cannot lay values of type {kind:?}"))),
    })
}

fn primitive<T: arrow::datatypes::ArrowPrimitiveType>(
    cells: &[Option<Cell>],
    old: Option<&dyn Array>,
    value: impl Fn(&Cell) -> Option<T::Native>,
) -> Option<ArrayRef> {
    let mut out = PrimitiveBuilder::<T>::with_capacity(cells.len());
    for (i, cell) in cells.iter().enumerate() {
        match cell {
            Some(cell) => out.append_value(value(cell)?),
            None => out.append_option(old.filter(|old| old.is_valid(i)).map(|old| old.as_primitive::<T>().value(i))),
        }
    }
    Some(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_cannot_hold_is_refused_in_both_precisions() {
        let detail = |dtype, x: f32| in_range("mel", dtype, &[0.0, x]).err().map(|error| error.detail);
        for dtype in [Dtype::F16, Dtype::F32] {
            assert_eq!([65_504.0, -1.0, f32::NAN].map(|x| detail(dtype, x)), [None, None, None], "{dtype:?}");
        }
        assert_eq!(detail(Dtype::F32, f32::MAX), None);
        for x in [f32::INFINITY, f32::NEG_INFINITY] {
            assert!(detail(Dtype::F32, x).unwrap().starts_with("mel: 1 of 2 numbers are infinite: mend "));
            assert!(detail(Dtype::F16, x).unwrap().contains("beyond 65504"));
        }
    }
}
