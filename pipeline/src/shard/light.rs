//! Checksums of record batches without the numbers of their tensors: what they are of, and how they are taken of what a file
//! gets, as it gets it. Pictures pass through; only the message and the light columns, some kilobytes, are held.

use std::io::{self, Write};

use ajepa_store::Checksums;
use arrow::datatypes::SchemaRef;

use super::decode::{Body, PREFIX_BYTES, check_batch, is_numbers, message_bytes, parse};
use super::error::ShardError;

/// The checksum: of the message, and of the buffers of the columns that are no tensors, in the order of the schema.
pub fn checksum<'a>(message: &'a [u8], buffers: impl Iterator<Item = &'a [u8]>) -> u64 {
    Checksums::of_pieces(std::iter::once(message).chain(buffers))
}

/// Passes bytes on to a part's file, and takes such checksums of them.
pub struct LightWriter<W> {
    inner: W,
    /// Columns of the part; `None` where no checksums are taken.
    schema: Option<SchemaRef>,
    /// Rows of the record batch that is being written.
    n_rows: u64,
    /// Its message, as far as it has come.
    message: Vec<u8>,
    /// What is kept of the bytes behind the message; `None` before it is whole.
    ranges: Option<Vec<(u64, u64)>>,
    /// Bytes behind the message so far.
    at: u64,
    kept: Vec<u8>,
    checksums: Checksums,
}

impl<W: Write> LightWriter<W> {
    /// Over `inner`; `schema` of parts that have checksums.
    pub fn new(inner: W, schema: Option<SchemaRef>) -> Self {
        // Nothing is kept of the schema in front.
        let (message, kept, ranges) = (Vec::new(), Vec::new(), Some(Vec::new()));
        Self { inner, schema, n_rows: 0, message, ranges, at: 0, kept, checksums: Checksums::default() }
    }

    /// What comes now is a record batch of `n_rows`.
    pub fn begin_batch(&mut self, n_rows: u64) {
        self.n_rows = n_rows;
        self.begin(None);
    }

    /// The record batch has been written.
    pub fn end_batch(&mut self) {
        if self.schema.is_some() {
            self.checksums.0.push(checksum(&self.message, std::iter::once(&self.kept[..])));
        }
    }

    /// What comes now is the end of the file.
    pub fn begin_end(&mut self) {
        self.begin(Some(vec![(0, u64::MAX)]));
    }

    /// The inner writer; a checksum for each record batch, and one of the footer, which begins where `start` finds it in the end of
    /// the file.
    pub fn finish(mut self, start: impl Fn(&[u8]) -> Result<u64, ShardError>) -> Result<(W, Checksums), ShardError> {
        if self.schema.is_some() {
            let start = start(&self.kept)?;
            self.checksums.0.push(Checksums::of(&self.kept[start as usize..]));
        }
        Ok((self.inner, self.checksums))
    }

    fn begin(&mut self, ranges: Option<Vec<(u64, u64)>>) {
        self.message.clear();
        self.kept.clear();
        (self.at, self.ranges) = (0, ranges);
    }

    /// Takes what is part of the message; gives the rest.
    fn take_message<'a>(&mut self, schema: &SchemaRef, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let mut rest = bytes;
        while self.ranges.is_none() && !rest.is_empty() {
            // The prefix says how long it is.
            let wanted = message_bytes(&self.message).unwrap_or(PREFIX_BYTES);
            let (now, later) = rest.split_at(rest.len().min(wanted - self.message.len()));
            self.message.extend_from_slice(now);
            rest = later;
            if message_bytes(&self.message) == Some(self.message.len()) {
                self.ranges = Some(ranges(schema, &self.message, self.n_rows)?);
            }
        }
        Ok(rest)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(schema) = self.schema.clone() else { return Ok(()) };
        let rest = self.take_message(&schema, bytes)?;
        let (from, to) = (self.at, self.at + rest.len() as u64);
        for &(start, end) in self.ranges.iter().flatten() {
            let (start, end) = (start.clamp(from, to), end.clamp(from, to));
            self.kept.extend_from_slice(&rest[(start - from) as usize..(end - from) as usize]);
        }
        self.at = to;
        Ok(())
    }
}

/// Where, behind the message, the buffers of the columns lie that are no tensors.
fn ranges(schema: &SchemaRef, message: &[u8], n_rows: u64) -> Result<Vec<(u64, u64)>, String> {
    // How long the body is, the message does not have to say: it is our own.
    let places = check_batch(schema, &parse(message)?, &Body::Plain(u64::MAX), n_rows)?;
    let light = schema.fields().iter().zip(places).filter(|(field, _)| !is_numbers(field));
    Ok(light.flat_map(|(_, places)| places).collect())
}

impl<W: Write> Write for LightWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.take(&bytes[..n]).map_err(io::Error::other)?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
