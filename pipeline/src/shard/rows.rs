//! Single rows of a tensor column, in place: for readers that jump about and want nothing else of a batch.
//!
//! [`Part::batch`] decodes and holds whole record batches. A feeder of random rows keeps, for each batch, where the numbers
//! lie and who the rows are ([`TensorRows`]), and verifies only the pages that its rows are in.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::decode::is_numbers;
use super::error::ShardError;
use super::reader::Part;

/// Where the rows of one record batch's tensor lie in the file.
#[derive(Debug, Clone, Copy)]
pub struct TensorRows {
    start: u64,
    row_bytes: u64,
    n_rows: u64,
}

impl Part {
    /// Finds the rows of the tensor `column` in record batch `batch`, and reads the columns named in `beside` (those that
    /// there are, and are no tensors) into memory of their own; verified as by [`Part::sparse`], the tensor not yet.
    ///
    /// # Errors
    /// [`ShardError::Changed`] before the file's memory is touched; [`ShardError::Checksum`], [`ShardError::Format`];
    /// [`ShardError::Column`] when the column is no tensor.
    pub fn tensor_rows(
        &self,
        batch: usize,
        column: &str,
        beside: &[&str],
    ) -> Result<(TensorRows, RecordBatch), ShardError> {
        let part = &self.info().file;
        let schema = self.schema();
        let tensor = schema.index_of(column).ok().filter(|i| is_numbers(schema.field(*i)));
        let no_tensor = || ShardError::column(part, column, "it is no tensor of this part");
        let tensor = tensor.ok_or_else(no_tensor)?;
        let mut columns: Vec<usize> = beside.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        columns.retain(|i| !is_numbers(schema.field(*i)));
        columns.sort_unstable();
        columns.dedup();
        let mut wanted = columns.clone();
        wanted.insert(wanted.partition_point(|i| *i < tensor), tensor);
        let read = self.sparse(batch, &wanted)?;
        let rows = *read.tensors.first().ok_or_else(no_tensor)?;
        let bad = |error: ArrowError| ShardError::format(part, error.to_string());
        let schema = Arc::new(schema.project(&columns).map_err(bad)?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.n_rows as usize));
        Ok((rows, RecordBatch::try_new_with_options(schema, read.columns, &options).map_err(bad)?))
    }

    /// The numbers of row `row` of the batch that `rows` is of, as they lie in the file: little-endian, verified when their
    /// page is touched for the first time, in place where the part is mapped.
    ///
    /// It does not look whether the file has changed: call [`Part::check`] before the first and after the last use of the
    /// bytes, once for many rows, and let them count only if both are well.
    ///
    /// # Errors
    /// [`ShardError::Checksum`]; [`ShardError::OutOfRange`].
    pub fn tensor_row(&self, rows: &TensorRows, row: u64) -> Result<Buffer, ShardError> {
        if row >= rows.n_rows {
            return Err(ShardError::OutOfRange { what: "row", index: row, len: rows.n_rows });
        }
        let start = rows.start + row * rows.row_bytes;
        self.bytes(start, start + rows.row_bytes)
    }

    /// Asks the system to read this row soon, without waiting.
    pub fn will_need_row(&self, rows: &TensorRows, row: u64) {
        let start = rows.start + row * rows.row_bytes;
        self.file().will_need(start, start + rows.row_bytes);
    }

    /// Asks the system to read the whole of record batch `batch` soon, without waiting.
    pub fn will_need_batch(&self, batch: usize) {
        if let Ok(block) = self.place(batch) {
            self.file().will_need(block.start, block.end());
        }
    }
}

/// Bytes of one row of a tensor column.
pub(super) fn row_bytes(field: &Field) -> Option<u64> {
    let DataType::FixedSizeList(item, n) = field.data_type() else { return None };
    Some(u64::try_from(*n).ok()? * item.data_type().primitive_width()? as u64)
}

impl TensorRows {
    pub(super) fn new(start: u64, row_bytes: u64, n_rows: u64) -> Self {
        Self { start, row_bytes, n_rows }
    }

    /// Byte of the file where the first row begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Rows of the record batch.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        self.row_bytes
    }
}
