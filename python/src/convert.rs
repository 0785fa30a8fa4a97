//! Arrow columns as Python has them: numbers as arrays in place, everything else as lists.

use ajepa_pipe::columns::FixedShape;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, UInt64Type};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::{errors, memory};

/// A column of all rows.
///
/// Tensors become [rows, ...shape], numbers [rows] (floats that are missing are NaN), lists of numbers of one length [rows, length];
/// the rest lists of Python's own objects, `None` for what is missing.
pub fn column<'py>(py: Python<'py>, field: &Field, array: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    if let Some(numbers) = numbers(py, field, array, true)? {
        return Ok(numbers);
    }
    if array.data_type() == &DataType::Float64 {
        let filled: Float64Array =
            array.as_primitive::<Float64Type>().iter().map(|x| Some(x.unwrap_or(f64::NAN))).collect();
        let filled: ArrayRef = std::sync::Arc::new(filled);
        return numbers(py, field, &filled, true)?.ok_or_else(|| errors::failed("no numbers"));
    }
    if let Some(table) = table(py, array)? {
        return Ok(table);
    }
    let cells: Vec<Bound<'py, PyAny>> =
        (0..array.len()).map(|row| cell(py, field, array, row)).collect::<PyResult<_>>()?;
    Ok(PyList::new(py, cells)?.into_any())
}

/// The value of one row.
pub fn cell<'py>(py: Python<'py>, field: &Field, array: &ArrayRef, row: usize) -> PyResult<Bound<'py, PyAny>> {
    if array.is_null(row) {
        return Ok(py.None().into_bound(py));
    }
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).into_bound_py_any(py),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into_bound_py_any(py),
        DataType::Binary => Ok(PyBytes::new(py, array.as_binary::<i32>().value(row)).into_any()),
        DataType::LargeBinary => Ok(PyBytes::new(py, array.as_binary::<i64>().value(row)).into_any()),
        DataType::FixedSizeBinary(_) => Ok(PyBytes::new(py, array.as_fixed_size_binary().value(row)).into_any()),
        DataType::Boolean => array.as_boolean().value(row).into_bound_py_any(py),
        DataType::List(item) => column(py, item, &array.as_list::<i32>().value(row)),
        DataType::LargeList(item) => column(py, item, &array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => {
            let one = array.slice(row, 1);
            numbers(py, field, &one, false)?.ok_or_else(|| unknown(field))
        }
        DataType::Struct(fields) => {
            let dict = PyDict::new(py);
            for (inner, values) in fields.iter().zip(array.as_struct().columns()) {
                dict.set_item(inner.name(), cell(py, inner, values, row)?)?;
            }
            Ok(dict.into_any())
        }
        kind if kind.is_floating() => one::<Float64Type>(array, row, &DataType::Float64)?.into_bound_py_any(py),
        kind if kind.is_unsigned_integer() => one::<UInt64Type>(array, row, &DataType::UInt64)?.into_bound_py_any(py),
        kind if kind.is_signed_integer() => one::<Int64Type>(array, row, &DataType::Int64)?.into_bound_py_any(py),
        _ => Err(unknown(field)),
    }
}

/// All columns of a batch.
pub fn batch<'py>(py: Python<'py>, rows: &RecordBatch) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (field, array) in rows.schema().fields().iter().zip(rows.columns()) {
        dict.set_item(field.name(), column(py, field, array)?)?;
    }
    Ok(dict)
}

fn one<T: arrow::datatypes::ArrowPrimitiveType>(array: &ArrayRef, row: usize, kind: &DataType) -> PyResult<T::Native> {
    let wide = cast(&array.slice(row, 1), kind).map_err(errors::failed)?;
    Ok(wide.as_primitive::<T>().value(0))
}

fn unknown(field: &Field) -> PyErr {
    let (name, kind) = (field.name(), field.data_type());
    errors::value(format!("column {name:?} is {kind}, which has no form in numpy (take it through pyarrow)"))
}

/// Numbers without a missing one among them, where they lie; [rows, ...], or without the axis of rows.
fn numbers<'py>(
    py: Python<'py>,
    field: &Field,
    array: &ArrayRef,
    with_rows: bool,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if array.null_count() > 0 {
        return Ok(None);
    }
    let (values, mut shape) = match array.data_type() {
        DataType::FixedSizeList(_, n) => {
            let list = array.as_fixed_size_list();
            let n = *n as usize;
            let first = list.value_offset(0) as usize;
            (list.values().slice(first, list.len() * n), tensor_shape(field, n))
        }
        _ => (array.clone(), Vec::new()),
    };
    let Some(type_word) = type_word(values.data_type()).filter(|_| values.null_count() == 0) else { return Ok(None) };
    if with_rows {
        shape.insert(0, array.len());
    }
    memory::buffer(py, bytes(&values), shape, type_word).map(Some)
}

/// Lists of numbers that all have one length.
fn table<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Option<Bound<'py, PyAny>>> {
    let DataType::List(_) = array.data_type() else { return Ok(None) };
    let lists = array.as_list::<i32>();
    let (n_rows, offsets) = (lists.len(), lists.value_offsets());
    if n_rows == 0 || lists.null_count() > 0 {
        return Ok(None);
    }
    let width = (offsets[1] - offsets[0]) as usize;
    let values = lists.values().slice(offsets[0] as usize, (offsets[n_rows] - offsets[0]) as usize);
    let even = offsets.windows(2).all(|pair| (pair[1] - pair[0]) as usize == width);
    let Some(type_word) = type_word(values.data_type()).filter(|_| even && values.null_count() == 0) else {
        return Ok(None);
    };
    memory::buffer(py, bytes(&values), vec![n_rows, width], type_word).map(Some)
}

/// Lengths of one row of a tensor column; a column that does not say them is a vector.
fn tensor_shape(field: &Field, n: usize) -> Vec<usize> {
    let shape = FixedShape::of(field).map(|shape| shape.lengths);
    shape.filter(|shape| shape.iter().product::<usize>() == n).unwrap_or_else(|| vec![n])
}

fn bytes(values: &ArrayRef) -> Buffer {
    let data = values.to_data();
    let width = values.data_type().primitive_width().unwrap_or(1);
    data.buffers()[0].slice_with_length(data.offset() * width, values.len() * width)
}

fn type_word(kind: &DataType) -> Option<&'static str> {
    Some(match kind {
        DataType::Float16 => "<f2",
        DataType::Float32 => "<f4",
        DataType::Float64 => "<f8",
        DataType::Int8 => "|i1",
        DataType::Int16 => "<i2",
        DataType::Int32 => "<i4",
        DataType::Int64 => "<i8",
        DataType::UInt8 => "|u1",
        DataType::UInt16 => "<u2",
        DataType::UInt32 => "<u4",
        DataType::UInt64 => "<u8",
        _ => return None,
    })
}
