//! `ShardDataset.batches`: the feeder of the trainer, as dicts of arrays.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ajepa_pipe::feed::{self, BatchMask, FeedConfig, FeedPlace, PageMemory, Ragged};
use ajepa_pipe::schema::Dtype;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::{errors, memory};

/// Batches in order.
#[pyclass(frozen, module = "ajepa._ajepa")]
pub struct Feed {
    inner: Arc<Mutex<feed::Feed>>,
    /// The process that its threads are in.
    process: u32,
    column: String,
    shape: Vec<usize>,
    dtype: Dtype,
}

#[pymethods]
impl Feed {
    /// `config`: a feed's settings, as JSON. The first batch is number `step` of `epoch`.
    #[new]
    fn new(py: Python<'_>, config: &str, paths: Vec<PathBuf>, epoch: u64, step: u64) -> PyResult<Self> {
        let config: FeedConfig = errors::parse(config)?;
        let opened = py.detach(|| config.open_at(&paths, FeedPlace { epoch, step }, &PageMemory));
        let feed = opened.map_err(|error| errors::feed(&error))?;
        let (shape, dtype) = (feed.tensor().shape.clone(), feed.tensor().dtype);
        Ok(Self { inner: Arc::new(Mutex::new(feed)), process: std::process::id(), column: config.column, shape, dtype })
    }

    /// The next batch as `{column: array, "rows": ..., "epoch": ..., "step": ...}` and its masks; `None` behind the last.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let batch = match py.detach(|| self.lock().next()) {
            None => return Ok(None),
            Some(batch) => batch.map_err(|error| errors::feed(&error))?,
        };
        let dict = PyDict::new(py);
        let n_clips = batch.n_clips();
        dict.set_item("epoch", batch.epoch())?;
        dict.set_item("step", batch.step())?;
        let rows = batch.rows().iter().map(|row| *row as i64).collect();
        dict.set_item("rows", memory::integers(py, rows, vec![n_clips])?)?;
        for (number, mask) in batch.masks().iter().enumerate() {
            lay(py, &dict, number, mask, n_clips)?;
        }
        let shape = std::iter::once(n_clips).chain(self.shape.iter().copied()).collect();
        let type_word = if self.dtype == Dtype::F16 { "<f2" } else { "<f4" };
        dict.set_item(&self.column, memory::batch(py, batch, shape, type_word)?)?;
        Ok(Some(dict))
    }

    /// (epoch, step) of the next batch.
    fn place(&self, py: Python<'_>) -> (u64, u64) {
        let place = py.detach(|| self.lock().place());
        (place.epoch, place.step)
    }

    #[getter]
    fn steps_per_epoch(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().steps_per_epoch())
    }

    /// What it has done and who waited for whom, as JSON.
    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        serde_json::to_string(&py.detach(|| self.lock().metrics())).map_err(errors::failed)
    }
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, feed::Feed> {
        // Panics of the workers are caught where they happen.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // A forked child has none of its threads, and must not wait for their end: the feed stays.
            std::mem::forget(self.inner.clone());
        }
    }
}

/// Lays mask `number` of every clip into `dict`, under the names that the stage `mask` gives its columns.
fn lay(py: Python<'_>, dict: &Bound<'_, PyDict>, number: usize, mask: &BatchMask, n_clips: usize) -> PyResult<()> {
    let suffix = if number == 0 { String::new() } else { format!("_{number}") };
    dict.set_item(format!("context{suffix}"), indices(py, &mask.context, &[n_clips])?)?;
    dict.set_item(format!("target{suffix}"), indices(py, &mask.target, &[n_clips])?)?;
    if mask.n_blocks > 1 {
        dict.set_item(format!("blocks{suffix}"), indices(py, &mask.blocks, &[n_clips, mask.n_blocks])?)?;
    }
    Ok(())
}

/// [...shape, width] where all rows have one length, else a list of rows.
fn indices<'py>(py: Python<'py>, rows: &Ragged, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let wide = |values: &[u32]| values.iter().map(|index| i64::from(*index)).collect::<Vec<i64>>();
    if let Some(width) = rows.width() {
        let shape = shape.iter().copied().chain([width]).collect();
        return memory::integers(py, wide(rows.values()), shape);
    }
    let row = |row: usize| memory::integers(py, wide(rows.row(row)), vec![rows.row(row).len()]);
    let rows: Vec<Bound<'py, PyAny>> = (0..rows.n_rows()).map(row).collect::<PyResult<_>>()?;
    Ok(PyList::new(py, rows)?.into_any())
}
