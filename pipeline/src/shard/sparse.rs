//! Some columns of a record batch, each from its own buffers: for readers that ask for labels and not for pictures.
//!
//! What is not asked for is not fetched: no page of it is touched, but where it shares one with what is. What steers a reader
//! (offsets, texts, bitmaps) is copied first and checked in the copy, as everywhere in this folder.

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, FixedSizeListArray, make_array};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::ipc::FieldNode;

use super::decode::{self, BlockPlace, Body, is_numbers};
use super::error::ShardError;
use super::light;
use super::reader::Part;
use super::rows::{TensorRows, row_bytes};

/// Columns of one record batch.
#[derive(Debug)]
pub struct Sparse {
    /// Those that were asked for and are no tensors, in the order of the schema; in memory of their own.
    pub columns: Vec<ArrayRef>,
    /// Where the rows of the tensors that were asked for lie, in the order of the schema; nothing of them is read yet.
    pub tensors: Vec<TensorRows>,
}

impl Part {
    /// Tells the system that of this part only some columns will be read. Only advice.
    pub fn will_be_sparse(&self) {
        self.file().will_jump(true);
    }

    /// Reads the columns `wanted` (ascending) of record batch `batch`, tensors apart, of which it says only where they lie.
    /// Verifies them by the batch's own checksum, for which all columns that are no tensors are read; or by their pages, where
    /// the manifest has none. A compressed part is decoded whole by [`Part::batch`] instead.
    ///
    /// # Errors
    /// [`ShardError::Changed`] before the file's memory is touched; [`ShardError::Checksum`], [`ShardError::Format`].
    pub fn sparse(&self, batch: usize, wanted: &[usize]) -> Result<Sparse, ShardError> {
        let block = self.place(batch)?;
        self.check()?;
        let n_rows = self.info().rows_of_batch(batch as u64);
        let expected = self.light_checksum(batch);
        let read = self.read_sparse(block, n_rows, wanted, expected);
        let read = read.map_err(|error| self.located(expected, block.start, block.end(), error));
        let sparse = read.map_err(|error| self.check().err().unwrap_or(error))?;
        // What was verified and copied counts only if the file was the same before and after.
        self.check()?;
        Ok(sparse)
    }

    fn read_sparse(
        &self,
        block: BlockPlace,
        n_rows: u64,
        wanted: &[usize],
        expected: Option<u64>,
    ) -> Result<Sparse, ShardError> {
        let part = &self.info().file;
        let bad = |problem: String| ShardError::format(part, problem);
        let fetch = |start, end| self.bytes_by(expected, start, end);
        let body = block.start + block.message_bytes;
        let message = decode::checked_message(&fetch(block.start, body)?).map_err(bad)?;
        let batch = decode::parse(&message).map_err(bad)?;
        if batch.compression().is_some() {
            return Err(bad("its record batches are compressed, the manifest says they are not".to_owned()));
        }
        let schema = self.schema();
        let places = decode::check_batch(&schema, &batch, &Body::Plain(block.body_bytes), n_rows).map_err(bad)?;
        let mut buffers = Vec::with_capacity(places.len());
        for (i, (field, places)) in schema.fields().iter().zip(&places).enumerate() {
            let is_read = !is_numbers(field) && (expected.is_some() || wanted.contains(&i));
            let copies = places.iter().filter(|_| is_read).map(|(start, end)| copy(&fetch, body + start, body + end));
            buffers.push(copies.collect::<Result<Vec<Buffer>, ShardError>>()?);
        }
        if let Some(expected) = expected
            && expected != light::checksum(&message, buffers.iter().flatten().map(Buffer::as_slice))
        {
            return Err(bad("its columns are not those that the manifest has a checksum of".to_owned()));
        }
        let mut nodes = batch.nodes().into_iter().flatten().copied();
        let mut sparse = Sparse { columns: Vec::new(), tensors: Vec::new() };
        for (i, field) in schema.fields().iter().enumerate() {
            if !wanted.contains(&i) {
                skip(field.data_type(), &mut nodes);
            } else if is_numbers(field) {
                skip(field.data_type(), &mut nodes);
                let (start, _) = places[i].last().copied().unwrap_or_default();
                let row_bytes =
                    row_bytes(field).ok_or_else(|| bad(format!("column {:?} is too large", field.name())))?;
                sparse.tensors.push(TensorRows::new(body + start, row_bytes, n_rows));
            } else {
                let mut copies = Copies { part, nodes: &mut nodes, buffers: buffers[i].drain(..) };
                let column = decode::guarded(part, || copies.column(field).map(make_array))?;
                sparse.columns.push(column);
            }
        }
        Ok(sparse)
    }

    /// The rows `rows` of a tensor column as an array, all when `None`: all in place where the part is mapped, some copied.
    /// Verifies the pages that these rows are in, and no other.
    ///
    /// # Errors
    /// As [`Part::sparse`]; [`ShardError::OutOfRange`].
    pub fn tensor_array(
        &self,
        field: &Field,
        place: &TensorRows,
        rows: Option<&[u32]>,
    ) -> Result<ArrayRef, ShardError> {
        let bad = |problem: String| ShardError::format(&self.info().file, problem);
        let DataType::FixedSizeList(item, width) = field.data_type() else {
            return Err(bad(format!("column {:?} is no tensor", field.name())));
        };
        self.check()?;
        let row_bytes = place.row_bytes();
        let (n_rows, bytes) = match rows {
            None => (place.n_rows(), self.bytes(place.start(), place.start() + place.n_rows() * row_bytes)?),
            Some(rows) => {
                for row in rows {
                    self.will_need_row(place, u64::from(*row));
                }
                let mut copy = MutableBuffer::with_capacity(rows.len() * row_bytes as usize);
                for row in rows {
                    copy.extend_from_slice(self.tensor_row(place, u64::from(*row))?.as_slice());
                }
                (rows.len() as u64, copy.into())
            }
        };
        self.check()?;
        let n_values = n_rows as usize * *width as usize;
        // Arrow panics on numbers that are not aligned, as those of a forged part may be.
        decode::guarded(&self.info().file, || {
            let values = ArrayData::builder(item.data_type().clone()).len(n_values).add_buffer(bytes).build();
            let values = make_array(values.map_err(|error| bad(error.to_string()))?);
            let list = FixedSizeListArray::try_new_with_length(item.clone(), *width, values, None, n_rows as usize);
            Ok(Arc::new(list.map_err(|error| bad(error.to_string()))?) as ArrayRef)
        })
    }
}

/// Bytes in memory of their own.
fn copy(fetch: &impl Fn(u64, u64) -> Result<Buffer, ShardError>, start: u64, end: u64) -> Result<Buffer, ShardError> {
    if start == end {
        return Ok(MutableBuffer::new(0).into());
    }
    Ok(Buffer::from_slice_ref(fetch(start, end)?.as_slice()))
}

/// Passes the nodes of a column that nobody asked for.
fn skip(kind: &DataType, nodes: &mut impl Iterator<Item = FieldNode>) {
    nodes.next();
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            skip(item.data_type(), nodes);
        }
        DataType::Struct(fields) => fields.iter().for_each(|field| skip(field.data_type(), nodes)),
        _ => {}
    }
}

/// One column of the copies of its buffers, in the order in which Arrow writes them; lengths are checked already.
struct Copies<'a, N> {
    part: &'a str,
    nodes: &'a mut N,
    buffers: std::vec::Drain<'a, Buffer>,
}

impl<N: Iterator<Item = FieldNode>> Copies<'_, N> {
    fn column(&mut self, field: &Field) -> Result<ArrayData, ShardError> {
        let node = self.nodes.next().ok_or_else(|| self.short(field))?;
        let kind = field.data_type();
        let (len, nulls) = (node.length() as usize, node.null_count() > 0);
        let validity = self.buffer(field)?;
        let mut data = ArrayData::builder(kind.clone()).len(len).null_bit_buffer(nulls.then_some(validity));
        match kind {
            DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
                data = data.add_buffer(self.buffer(field)?).add_buffer(self.buffer(field)?);
            }
            DataType::List(item) | DataType::LargeList(item) => {
                data = data.add_buffer(self.buffer(field)?).add_child_data(self.column(item)?);
            }
            DataType::FixedSizeList(item, _) => data = data.add_child_data(self.column(item)?),
            DataType::Struct(fields) => {
                for field in fields {
                    data = data.add_child_data(self.column(field)?);
                }
            }
            _ => data = data.add_buffer(self.buffer(field)?),
        }
        // Checks offsets, texts and lengths, in the copy.
        data.build().map_err(|error| ShardError::format(self.part, error.to_string()))
    }

    fn buffer(&mut self, field: &Field) -> Result<Buffer, ShardError> {
        self.buffers.next().ok_or_else(|| self.short(field))
    }

    fn short(&self, field: &Field) -> ShardError {
        ShardError::format(self.part, format!("column {:?} lacks a buffer", field.name()))
    }
}
