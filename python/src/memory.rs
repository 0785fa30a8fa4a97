//! Numbers of ours as numpy arrays, in place.
//!
//! numpy's array interface needs an address, a shape and somebody who keeps the memory: `numpy.asarray` makes the [`Memory`]
//! the array's base, and what it owns is given back when the last view of the array is gone.

use ajepa_pipe::feed::Batch;
use arrow::buffer::Buffer;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

/// Whose the numbers are.
enum Owner {
    Singles(#[expect(dead_code, reason = "held, not read")] Vec<f32>),
    Integers(#[expect(dead_code, reason = "held, not read")] Vec<i64>),
    Batch(#[expect(dead_code, reason = "goes back to its feed when it is dropped")] Box<Batch>),
    Buffer(#[expect(dead_code, reason = "keeps the map it lies in")] Buffer),
}

/// Numbers that numpy reads in place: `numpy.asarray(it)` copies nothing.
#[pyclass(frozen, module = "ajepa._ajepa")]
pub struct Memory {
    address: usize,
    shape: Vec<usize>,
    /// As numpy spells it: `<f2`.
    type_word: &'static str,
    read_only: bool,
    _owner: Owner,
}

#[pymethods]
impl Memory {
    #[getter(__array_interface__)]
    fn array_interface<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", self.type_word)?;
        interface.set_item("shape", PyTuple::new(py, &self.shape)?)?;
        interface.set_item("data", (self.address, self.read_only))?;
        Ok(interface)
    }
}

impl Memory {
    fn into_array(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        AS_ARRAY.import(py, "numpy", "asarray")?.call1((self,))
    }
}

/// A writable array of its own.
pub fn singles(py: Python<'_>, mut values: Vec<f32>, shape: Vec<usize>) -> PyResult<Bound<'_, PyAny>> {
    let address = values.as_mut_ptr() as usize;
    Memory { address, shape, type_word: "<f4", read_only: false, _owner: Owner::Singles(values) }.into_array(py)
}

/// A writable array of indices.
pub fn integers(py: Python<'_>, mut values: Vec<i64>, shape: Vec<usize>) -> PyResult<Bound<'_, PyAny>> {
    let address = values.as_mut_ptr() as usize;
    Memory { address, shape, type_word: "<i8", read_only: false, _owner: Owner::Integers(values) }.into_array(py)
}

/// A batch in its buffer, writable: it is filled anew before it is seen again.
pub fn batch<'py>(
    py: Python<'py>,
    mut batch: Batch,
    shape: Vec<usize>,
    type_word: &'static str,
) -> PyResult<Bound<'py, PyAny>> {
    let address = batch.bytes_mut().as_mut_ptr() as usize;
    Memory { address, shape, type_word, read_only: false, _owner: Owner::Batch(Box::new(batch)) }.into_array(py)
}

/// Numbers of an Arrow column; not to be written to, for they may lie in a file.
pub fn buffer<'py>(
    py: Python<'py>,
    buffer: Buffer,
    shape: Vec<usize>,
    type_word: &'static str,
) -> PyResult<Bound<'py, PyAny>> {
    let address = buffer.as_ptr() as usize;
    Memory { address, shape, type_word, read_only: true, _owner: Owner::Buffer(buffer) }.into_array(py)
}
