//! What several functions ask of their arguments.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::ColumnarValue;
use half::slice::HalfFloatSliceExt;

use crate::columns::FixedShape;

/// Lists of numbers, a row each; a scalar is one row that stands for all.
pub struct Lists {
    numbers: Numbers,
    starts: Starts,
    nulls: Option<NullBuffer>,
    is_scalar: bool,
}

/// The numbers of all rows, one after another.
enum Numbers {
    F32(Float32Array),
    F64(Float64Array),
}

/// Where the rows begin.
enum Starts {
    /// Every row has so many numbers.
    Every(usize),
    /// Row `i` goes from `[i]` to `[i + 1]`.
    At(Vec<usize>),
}

/// The numbers of one row.
#[derive(Clone, Copy)]
pub enum Slice<'a> {
    /// Singles (halves were widened).
    F32(&'a [f32]),
    /// Doubles.
    F64(&'a [f64]),
}

impl Slice<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F64(numbers) => numbers.len(),
        }
    }
}

/// The type that a list of numbers is taken as: itself where it holds floats, else doubles.
pub fn list_type(function: &str, kind: &DataType) -> Result<DataType> {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => match item.data_type() {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Ok(kind.clone()),
            item if item.is_numeric() || item.is_null() => Ok(DataType::new_list(DataType::Float64, true)),
            other => plan_err!("{function} takes lists of numbers, not of {other}"),
        },
        DataType::ListView(_) | DataType::LargeListView(_) | DataType::Null => {
            Ok(DataType::new_list(DataType::Float64, true))
        }
        other => plan_err!("{function} takes lists of numbers (an embedding, a picture), not {other}"),
    }
}

impl Lists {
    /// The lists in an argument.
    ///
    /// # Errors
    /// When it holds none.
    pub fn of(value: &ColumnarValue) -> Result<Self> {
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let array = value.to_array(1)?;
        let (starts, values) = match array.data_type() {
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                (Starts::At(lists.value_offsets().iter().map(|at| *at as usize).collect()), lists.values().clone())
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                (Starts::At(lists.value_offsets().iter().map(|at| *at as usize).collect()), lists.values().clone())
            }
            DataType::FixedSizeList(_, width) => {
                (Starts::Every(*width as usize), array.as_fixed_size_list().values().clone())
            }
            other => return exec_err!("a list of numbers was expected, not {other}"),
        };
        Ok(Self { numbers: numbers(&values)?, starts, nulls: array.nulls().cloned(), is_scalar })
    }

    /// The numbers of row `row`; `None` where the list is null or holds a null.
    pub fn row(&self, row: usize) -> Option<Slice<'_>> {
        let row = if self.is_scalar { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let (start, end) = match &self.starts {
            Starts::Every(width) => (row * width, (row + 1) * width),
            Starts::At(starts) => (starts[row], starts[row + 1]),
        };
        match &self.numbers {
            Numbers::F32(numbers) => {
                whole(numbers.nulls(), start, end).then(|| Slice::F32(&numbers.values()[start..end]))
            }
            Numbers::F64(numbers) => {
                whole(numbers.nulls(), start, end).then(|| Slice::F64(&numbers.values()[start..end]))
            }
        }
    }
}

fn whole(nulls: Option<&NullBuffer>, start: usize, end: usize) -> bool {
    nulls.is_none_or(|nulls| nulls.slice(start, end - start).null_count() == 0)
}

fn numbers(values: &ArrayRef) -> Result<Numbers> {
    Ok(match values.data_type() {
        DataType::Float32 => Numbers::F32(values.as_primitive::<Float32Type>().clone()),
        DataType::Float16 => {
            let halves = values.as_primitive::<Float16Type>();
            let mut singles = vec![0.0; halves.len()];
            halves.values().convert_to_f32_slice(&mut singles);
            Numbers::F32(Float32Array::new(singles.into(), halves.nulls().cloned()))
        }
        _ => Numbers::F64(cast(values, &DataType::Float64)?.as_primitive::<Float64Type>().clone()),
    })
}

/// An argument as texts; a scalar as one row.
///
/// # Errors
/// When it is none.
pub fn texts(value: &ColumnarValue) -> Result<StringArray> {
    let array = cast(&value.to_array(1)?, &DataType::Utf8)?;
    Ok(array.as_string::<i32>().clone())
}

/// Whether a function takes this for a text.
pub fn text_type(function: &str, kind: &DataType) -> Result<DataType> {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Ok(DataType::Utf8),
        other => plan_err!("{function} takes a text, not {other}"),
    }
}

/// Frames and bins of a picture, by the extension type of its column.
pub fn picture_shape(field: &Field) -> Option<Picture> {
    let shape = FixedShape::of(field)?;
    let [outer, inner] = shape.lengths[..] else { return None };
    match shape.dim_names?.iter().position(|axis| axis == "frames")? {
        0 => Some(Picture { n_frames: outer, n_bins: inner, bins_first: false }),
        _ => Some(Picture { n_frames: inner, n_bins: outer, bins_first: true }),
    }
}

/// How a picture lies in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Frames.
    pub n_frames: usize,
    /// Mel bins.
    pub n_bins: usize,
    /// Whether it is stored bin by bin.
    pub bins_first: bool,
}

/// An error in words.
pub fn fault(words: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(words.into())
}
