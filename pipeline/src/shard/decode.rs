//! Arrow IPC bytes to record batches, with every length looked at before Arrow does: its decoder trusts footers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{RecordBatchDecoder, read_footer_length};
use arrow::ipc::{Block, CompressionType, FieldNode, MetadataVersion, root_as_footer, root_as_message};

use super::error::ShardError;
use crate::engine::panic_message;

/// Most bytes of one decoded record batch.
pub const MAX_BATCH_BYTES: u64 = 1 << 30;

/// Length field and magic at the end of a file.
pub(super) const TRAILER_BYTES: u64 = 10;

/// Magic and padding at the start.
const HEAD_BYTES: u64 = 8;

/// Continuation marker and length in front of a message.
pub(super) const PREFIX_BYTES: usize = 8;

/// Deepest nesting of a column's type.
const MAX_DEPTH: usize = 6;

const NO_BATCH: &str = "a record batch does not begin where the footer says";

/// What the footer of a part says.
#[derive(Debug)]
pub struct Footer {
    /// Columns of the part.
    pub schema: SchemaRef,
    /// Place of each record batch.
    pub blocks: Vec<BlockPlace>,
}

/// Where a record batch lies.
#[derive(Debug, Clone, Copy)]
pub struct BlockPlace {
    /// First byte in the file.
    pub start: u64,
    /// Bytes of the message with its prefix and padding.
    pub message_bytes: u64,
    /// Bytes of the buffers.
    pub body_bytes: u64,
}

impl BlockPlace {
    /// Byte behind the record batch.
    pub fn end(&self) -> u64 {
        self.start + self.message_bytes + self.body_bytes
    }
}

/// Whether shards hold columns of this type: numbers, texts, bytes, and lists and structs of them.
pub fn storable(kind: &DataType) -> bool {
    storable_at(kind, 0)
}

fn storable_at(kind: &DataType, depth: usize) -> bool {
    match kind {
        DataType::List(item) | DataType::LargeList(item) => {
            depth < MAX_DEPTH && storable_at(item.data_type(), depth + 1)
        }
        DataType::FixedSizeList(item, n) => *n >= 0 && depth < MAX_DEPTH && storable_at(item.data_type(), depth + 1),
        DataType::Struct(fields) => {
            !fields.is_empty() && depth < MAX_DEPTH && fields.iter().all(|f| storable_at(f.data_type(), depth + 1))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary | DataType::Boolean => true,
        DataType::FixedSizeBinary(n) => *n >= 0,
        other => other.primitive_width().is_some(),
    }
}

/// Where the footer begins, by the last bytes of a file of `file_bytes`.
pub fn footer_start(part: &str, tail: &[u8], file_bytes: u64) -> Result<u64, ShardError> {
    let trailer = tail.last_chunk::<10>().ok_or_else(|| ShardError::format(part, "too short for an Arrow file"))?;
    let footer_bytes = read_footer_length(*trailer).map_err(|e| ShardError::format(part, e.to_string()))? as u64;
    let start = (file_bytes - TRAILER_BYTES).checked_sub(footer_bytes).filter(|start| *start >= HEAD_BYTES);
    start.ok_or_else(|| ShardError::format(part, format!("a footer of {footer_bytes} bytes in a file of {file_bytes}")))
}

/// Reads the footer from its bytes (without the trailer).
pub fn read_footer(part: &str, bytes: &[u8], start: u64) -> Result<Footer, ShardError> {
    let bad = |problem: String| ShardError::format(part, problem);
    guarded(part, || {
        let footer = root_as_footer(bytes).map_err(|e| bad(format!("its footer is malformed: {e}")))?;
        if footer.version() != MetadataVersion::V5 {
            return Err(bad(format!("metadata version {:?}, V5 is read", footer.version())));
        }
        let fields = footer.schema().ok_or_else(|| bad("its footer has no schema".to_owned()))?;
        if footer.dictionaries().is_some_and(|dictionaries| !dictionaries.is_empty()) {
            return Err(bad("it has dictionaries, shards have none".to_owned()));
        }
        let schema = fb_to_schema(fields);
        for field in schema.fields() {
            if !storable(field.data_type()) {
                return Err(ShardError::column(part, field.name(), format!("shards hold no {}", field.data_type())));
            }
        }
        let blocks = footer.recordBatches().ok_or_else(|| bad("its footer lists no record batches".to_owned()))?;
        let places: Option<Vec<BlockPlace>> = blocks.iter().map(|block| place(block, start)).collect();
        let blocks = places.ok_or_else(|| bad("a record batch lies outside the file".to_owned()))?;
        Ok(Footer { schema: Arc::new(schema), blocks })
    })
}

fn place(block: &Block, footer_start: u64) -> Option<BlockPlace> {
    let place = BlockPlace {
        start: u64::try_from(block.offset()).ok()?,
        message_bytes: u64::try_from(block.metaDataLength()).ok()?,
        body_bytes: u64::try_from(block.bodyLength()).ok()?,
    };
    let end = place.start.checked_add(place.message_bytes)?.checked_add(place.body_bytes)?;
    let aligned = place.start.is_multiple_of(8) && place.message_bytes.is_multiple_of(8);
    (aligned && place.message_bytes > PREFIX_BYTES as u64 && place.start >= HEAD_BYTES && end <= footer_start)
        .then_some(place)
}

/// Decodes the record batch at `block`, whose bytes are `bytes`; it must have `n_rows`.
///
/// With `mapped` bytes, which others may change at any moment, only the numbers of tensor columns stay where they are: any
/// bits are a number. What steers a reader (messages, offsets, texts, bitmaps, compressed buffers) is copied first and
/// checked in the copy.
pub fn read_batch(
    part: &str,
    schema: &SchemaRef,
    block: &BlockPlace,
    bytes: &Buffer,
    n_rows: u64,
    mapped: bool,
) -> Result<RecordBatch, ShardError> {
    let bad = |problem: String| ShardError::format(part, problem);
    guarded(part, || {
        let message = message_of(block, bytes).map_err(bad)?;
        let batch = parse(&message).map_err(bad)?;
        let mut body = bytes.slice(message.len());
        let steered = mapped && batch.compression().is_none();
        if mapped && !steered {
            body = Buffer::from_slice_ref(body.as_slice());
        }
        let places = check_batch(schema, &batch, &Body::of(&batch, &body), n_rows).map_err(bad)?;
        let decode = |body: &Buffer, columns: Option<&[usize]>| {
            let none = HashMap::new();
            let decoder = RecordBatchDecoder::try_new(body, batch, schema.clone(), &none, &MetadataVersion::V5)?;
            decoder.with_projection(columns).with_require_alignment(true).read_record_batch()
        };
        if !steered {
            return decode(&body, None).map_err(|e| bad(e.to_string()));
        }
        let (numbers, others): (Vec<usize>, Vec<usize>) =
            (0..schema.fields().len()).partition(|column| is_numbers(schema.field(*column)));
        // As long as the body, so that places fit; it goes when the columns have been moved out of it.
        let mut copy = MutableBuffer::from_len_zeroed(body.len());
        for (start, end) in others.iter().flat_map(|column| &places[*column]) {
            let range = *start as usize..*end as usize;
            copy[range.clone()].copy_from_slice(&body[range]);
        }
        let in_place = decode(&body, Some(&numbers)).map_err(|e| bad(e.to_string()))?;
        let copied = decode(&copy.into(), Some(&others)).map_err(|e| bad(e.to_string()))?;
        let column = |i: usize| match numbers.binary_search(&i) {
            Ok(at) => Ok(in_place.column(at).clone()),
            Err(at) => compact(copied.column(i - at)),
        };
        let columns: Result<Vec<ArrayRef>, ArrowError> = (0..schema.fields().len()).map(column).collect();
        columns.and_then(|columns| RecordBatch::try_new(schema.clone(), columns)).map_err(|e| bad(e.to_string()))
    })
}

/// The column in buffers of its own size.
fn compact(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    // A second array makes `concat` copy.
    concat(&[column.as_ref(), column.slice(0, 0).as_ref()])
}

/// Whether every value of the column is a number, none of them null: then no bit of it steers a reader.
pub fn is_numbers(field: &Field) -> bool {
    match field.data_type() {
        DataType::FixedSizeList(item, _) => {
            !field.is_nullable() && !item.is_nullable() && item.data_type().primitive_width().is_some()
        }
        _ => false,
    }
}

/// For each column the byte range, within the block, of its largest buffer.
pub fn column_buffers(
    schema: &SchemaRef,
    block: &BlockPlace,
    bytes: &Buffer,
    n_rows: u64,
) -> Result<Vec<(u64, u64)>, String> {
    let message = message_of(block, bytes)?;
    let batch = parse(&message)?;
    let places = check_batch(schema, &batch, &Body::of(&batch, &bytes.slice(message.len())), n_rows)?;
    let largest = |of_column: Vec<(u64, u64)>| of_column.into_iter().max_by_key(|(start, end)| end - start);
    let in_block = |(start, end)| (start + block.message_bytes, end + block.message_bytes);
    Ok(places.into_iter().map(|of_column| largest(of_column).map(in_block).unwrap_or_default()).collect())
}

/// A copy of the message in front of the buffers, prefix included.
fn message_of(block: &BlockPlace, bytes: &Buffer) -> Result<Vec<u8>, String> {
    if bytes.len() as u64 != block.message_bytes + block.body_bytes {
        return Err(NO_BATCH.to_owned());
    }
    checked_message(&bytes[..block.message_bytes as usize])
}

/// Bytes of a message with its prefix, of which these are the first; `None` while the prefix is not whole.
pub(super) fn message_bytes(start: &[u8]) -> Option<usize> {
    let prefix = start.first_chunk::<PREFIX_BYTES>()?;
    let len = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
    Some(PREFIX_BYTES + len as usize)
}

pub(super) fn checked_message(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() <= PREFIX_BYTES || bytes[..4] != [0xff; 4] { Err(NO_BATCH.to_owned()) } else { Ok(bytes.to_vec()) }
}

pub(super) fn parse(message: &[u8]) -> Result<arrow::ipc::RecordBatch<'_>, String> {
    let message = root_as_message(&message[PREFIX_BYTES..]).map_err(|e| format!("malformed message: {e}"))?;
    if message.version() != MetadataVersion::V5 {
        return Err(format!("a message of version {:?}", message.version()));
    }
    message.header_as_record_batch().ok_or_else(|| "a message that is no record batch".to_owned())
}

/// A panic inside Arrow is a malformed file, not the end of the process.
pub(super) fn guarded<T>(part: &str, work: impl FnOnce() -> Result<T, ShardError>) -> Result<T, ShardError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let problem = format!("malformed Arrow data: {}", panic_message(panic.as_ref()));
        Err(ShardError::format(part, problem))
    })
}

/// Checks all lengths of a batch against the schema and the bytes there are, compressed buffers by what they declare.
/// Gives the places in the body of each column's buffers.
pub(super) fn check_batch(
    schema: &SchemaRef,
    batch: &arrow::ipc::RecordBatch<'_>,
    body: &Body,
    n_rows: u64,
) -> Result<Vec<Vec<(u64, u64)>>, String> {
    if u64::try_from(batch.length()) != Ok(n_rows) {
        return Err(format!("a batch of {} rows, the manifest says {n_rows}", batch.length()));
    }
    if let Some(how) = batch.compression().filter(|how| how.codec() != CompressionType::ZSTD) {
        return Err(format!("compressed by {:?}, only zstd is read", how.codec()));
    }
    if batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
        return Err("view buffers where none can be".to_owned());
    }
    let nodes: Vec<FieldNode> = batch.nodes().into_iter().flatten().copied().collect();
    let mut places = Vec::new();
    let mut declared = Vec::new();
    for buffer in batch.buffers().into_iter().flatten() {
        let (start, len) = (u64::try_from(buffer.offset()).ok(), u64::try_from(buffer.length()).ok());
        let range = start.zip(len).and_then(|(start, len)| Some((start, start.checked_add(len)?)));
        let (start, end) = range.filter(|(_, end)| *end <= body.len()).ok_or("a buffer outside its batch")?;
        declared.push(body.declared(start, end)?);
        places.push((start, end));
    }
    if declared.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)).is_none_or(|sum| sum > MAX_BATCH_BYTES) {
        return Err(format!("a record batch of more than {MAX_BATCH_BYTES} bytes"));
    }
    let mut walk = Walk { nodes: nodes.iter(), declared: declared.iter(), n_buffers: 0 };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let first = walk.n_buffers;
        walk.column(field, n_rows)?;
        columns.push(places.get(first..walk.n_buffers).unwrap_or_default().to_vec());
    }
    Ok(columns)
}

/// The buffers of a batch, as far as their lengths need them.
pub(super) enum Body {
    /// Not compressed, of so many bytes: the lengths in the message are those of the buffers.
    Plain(u64),
    /// Each buffer says itself how long it is when decoded.
    Compressed(Buffer),
}

impl Body {
    fn of(batch: &arrow::ipc::RecordBatch<'_>, body: &Buffer) -> Self {
        if batch.compression().is_some() { Self::Compressed(body.clone()) } else { Self::Plain(body.len() as u64) }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Plain(len) => *len,
            Self::Compressed(bytes) => bytes.len() as u64,
        }
    }

    /// Bytes that the buffer at `start..end` has when decoded.
    fn declared(&self, start: u64, end: u64) -> Result<u64, String> {
        match self {
            Self::Plain(_) => Ok(end - start),
            Self::Compressed(bytes) => declared_bytes(&bytes[start as usize..end as usize]),
        }
    }
}

/// Bytes that a compressed buffer has when decoded.
fn declared_bytes(stored: &[u8]) -> Result<u64, String> {
    if stored.is_empty() {
        return Ok(0);
    }
    let prefix = stored.first_chunk::<8>().ok_or("a compressed buffer without its length")?;
    match i64::from_le_bytes(*prefix) {
        -1 => Ok(stored.len() as u64 - 8),
        n => u64::try_from(n).map_err(|_| format!("a compressed buffer of {n} bytes")),
    }
}

/// Goes through nodes and buffers in the order in which Arrow will.
struct Walk<'a> {
    nodes: std::slice::Iter<'a, FieldNode>,
    declared: std::slice::Iter<'a, u64>,
    n_buffers: usize,
}

impl Walk<'_> {
    fn column(&mut self, field: &Field, n_values: u64) -> Result<(), String> {
        let name = field.name();
        let n = self.node(name)?;
        if n.0 != n_values {
            return Err(format!("column {name:?} has {} values instead of {n_values}", n.0));
        }
        self.values(field, n)
    }

    fn node(&mut self, name: &str) -> Result<(u64, u64), String> {
        let node = self.nodes.next().ok_or_else(|| format!("column {name:?} is missing"))?;
        let (n, nulls) = (u64::try_from(node.length()), u64::try_from(node.null_count()));
        match (n, nulls) {
            (Ok(n), Ok(nulls)) if nulls <= n && n <= MAX_BATCH_BYTES * 8 => Ok((n, nulls)),
            _ => Err(format!("column {name:?} has {} values, {} of them null", node.length(), node.null_count())),
        }
    }

    fn buffer(&mut self, name: &str, at_least: u64) -> Result<(), String> {
        let declared = self.declared.next().ok_or_else(|| format!("column {name:?} lacks a buffer"))?;
        self.n_buffers += 1;
        if *declared < at_least {
            return Err(format!("column {name:?}: a buffer of {declared} bytes where {at_least} are needed"));
        }
        Ok(())
    }

    fn values(&mut self, field: &Field, (n, nulls): (u64, u64)) -> Result<(), String> {
        let name = field.name();
        self.buffer(name, if nulls > 0 { n.div_ceil(8) } else { 0 })?;
        let offsets = |width: u64| if n == 0 { 0 } else { (n + 1) * width };
        let product = |a: u64, b: i32| {
            u64::try_from(b).ok().and_then(|b| a.checked_mul(b)).ok_or_else(|| format!("column {name:?} is too large"))
        };
        match field.data_type() {
            DataType::Utf8 | DataType::Binary => self.buffer(name, offsets(4)).and_then(|()| self.buffer(name, 0)),
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.buffer(name, offsets(8)).and_then(|()| self.buffer(name, 0))
            }
            DataType::List(item) | DataType::LargeList(item) => {
                let wide = matches!(field.data_type(), DataType::LargeList(_));
                self.buffer(name, offsets(if wide { 8 } else { 4 }))?;
                let inner = self.node(name)?;
                self.values(item, inner)
            }
            DataType::FixedSizeList(item, width) => self.column(item, product(n, *width)?),
            DataType::Struct(fields) => fields.iter().try_for_each(|field| self.column(field, n)),
            DataType::Boolean => self.buffer(name, n.div_ceil(8)),
            DataType::FixedSizeBinary(width) => self.buffer(name, product(n, *width)?),
            other => self.buffer(name, product(n, other.primitive_width().unwrap_or(0) as i32)?),
        }
    }
}
