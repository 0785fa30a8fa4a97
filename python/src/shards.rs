//! `ShardDataset`: rows of a shard set by their number, and columns of many rows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ajepa_pipe::shard::{Access, ReadOptions, ShardError, ShardSet};
use arrow::array::{Array, RecordBatch};
use arrow::compute::interleave;
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{convert, errors};

/// Record batch `.1` of part `.0`.
type Place = (usize, usize);

/// An open shard set.
#[pyclass(frozen, module = "ajepa._ajepa")]
pub struct Shards {
    set: ShardSet,
    /// Columns beside the tensors, of record batches that were asked for.
    beside: Mutex<HashMap<Place, RecordBatch>>,
    names: Vec<String>,
}

#[pymethods]
impl Shards {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, verify: bool, mapped: bool) -> PyResult<Self> {
        let access = if mapped { Access::Mapped } else { Access::Copied };
        let options = ReadOptions { verify, access, ..ReadOptions::default() };
        let set = py.detach(|| ShardSet::open_with(&path, options)).map_err(errors::failed)?;
        let names = set.manifest().columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self { set, beside: Mutex::default(), names })
    }

    fn __len__(&self) -> usize {
        self.set.n_rows() as usize
    }

    #[getter]
    fn columns(&self) -> Vec<String> {
        self.names.clone()
    }

    /// The manifest without its parts' checksums, as JSON.
    fn manifest(&self) -> PyResult<String> {
        let mut json = serde_json::to_value(self.set.manifest()).map_err(errors::failed)?;
        let parts = json["parts"].as_array_mut().into_iter().flatten();
        for part in parts.filter_map(|part| part.as_object_mut()) {
            part.retain(|field, _| !["pages", "light"].contains(&field.as_str()));
        }
        Ok(json.to_string())
    }

    /// One row as `{column: value}`, its tensors in place.
    fn row<'py>(&self, py: Python<'py>, row: i64, columns: Option<Vec<String>>) -> PyResult<Bound<'py, PyDict>> {
        let n_rows = self.set.n_rows() as i64;
        let at = if row < 0 { row + n_rows } else { row };
        if !(0..n_rows).contains(&at) {
            return Err(PyIndexError::new_err(format!("row {row} of {n_rows}")));
        }
        let found = py.detach(|| self.set.row(at as u64)).map_err(errors::failed)?;
        let dict = PyDict::new(py);
        for name in columns.as_ref().unwrap_or(&self.names) {
            let index = found.batch.schema().index_of(name).map_err(|_| self.no_column(name))?;
            let (schema, array) = (found.batch.schema(), found.batch.column(index));
            dict.set_item(name, convert::cell(py, schema.field(index), array, found.index)?)?;
        }
        Ok(dict)
    }

    /// Columns of many rows as `{column: values}`, in the order of `rows`; no page of a tensor is touched.
    fn gather<'py>(&self, py: Python<'py>, rows: Vec<u64>, columns: Vec<String>) -> PyResult<Bound<'py, PyDict>> {
        if let Some(name) = columns.iter().find(|name| !self.names.contains(name)) {
            return Err(self.no_column(name));
        }
        if let Some(name) = columns.iter().find(|name| self.set.tensor(name).is_some()) {
            let problem = format!("{name:?} is a tensor: a batch has the one of its `column` already");
            return Err(errors::value(problem));
        }
        let dict = PyDict::new(py);
        if rows.is_empty() {
            return Ok(dict);
        }
        let (batches, places) = py.detach(|| self.batches_of(&rows)).map_err(errors::failed)?;
        for name in &columns {
            let arrays: Vec<&dyn Array> =
                batches.iter().filter_map(|batch| batch.column_by_name(name)).map(AsRef::as_ref).collect();
            let gathered = interleave(&arrays, &places).map_err(errors::failed)?;
            let field = batches[0].schema().field_with_name(name).map_err(errors::failed)?.clone();
            dict.set_item(name, convert::column(py, &field, &gathered)?)?;
        }
        Ok(dict)
    }
}

impl Shards {
    fn no_column(&self, name: &str) -> PyErr {
        PyKeyError::new_err(format!("no column {name:?}; there are {}", self.names.join(", ")))
    }

    /// The record batches that hold `rows`, without their tensors, and where each row is among them.
    fn batches_of(&self, rows: &[u64]) -> Result<(Vec<RecordBatch>, Vec<Place>), ShardError> {
        let mut numbers: HashMap<Place, usize> = HashMap::new();
        let mut batches = Vec::new();
        let mut places = Vec::with_capacity(rows.len());
        for &row in rows {
            let (place, in_batch) = self.find(row)?;
            let number = if let Some(number) = numbers.get(&place) {
                *number
            } else {
                batches.push(self.beside(place)?);
                numbers.insert(place, batches.len() - 1);
                batches.len() - 1
            };
            places.push((number, in_batch));
        }
        Ok((batches, places))
    }

    fn find(&self, row: u64) -> Result<(Place, usize), ShardError> {
        let (part, in_part) = self.set.locate(row)?;
        let each = self.set.parts()[part].batch_rows;
        Ok(((part, (in_part / each) as usize), (in_part % each) as usize))
    }

    /// One record batch without its tensors; read once.
    fn beside(&self, place: Place) -> Result<RecordBatch, ShardError> {
        let held = || self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held().get(&place) {
            return Ok(known.clone());
        }
        let part = self.set.part(place.0)?;
        let tensors = &self.set.manifest().tensors;
        let plain: Vec<&str> =
            self.names.iter().map(String::as_str).filter(|name| self.set.tensor(name).is_none()).collect();
        let rows = match tensors.first() {
            Some(tensor) if self.set.manifest().compression == ajepa_pipe::shard::Compression::None => {
                part.tensor_rows(place.1, &tensor.column, &plain)?.1
            }
            _ => part.batch(place.1)?,
        };
        held().insert(place, rows.clone());
        Ok(rows)
    }
}
