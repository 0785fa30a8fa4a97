//! One part on its way: rows in, record batches of one size out, checksums and moments on the side.

use std::path::Path;
use std::sync::Arc;

use ajepa_store::{Fs, PAGE_BYTES, PageWriter, PendingFile};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::ipc::{CompressionType, MetadataVersion};

use super::decode::{MAX_BATCH_BYTES, footer_start, is_numbers, storable};
use super::error::ShardError;
use super::light::LightWriter;
use super::manifest::{ColumnInfo, Compression, PartInfo};
use super::stats::{Moments, MomentsBuilder};
use crate::columns::arrow_field;
use crate::schema::{Column, ColumnType, Schema};

/// Bytes of rows that a record batch aims at.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes that every buffer of a part is aligned to.
const ALIGNMENT: usize = 64;

/// Columns that stand first in every part, in this order; `None` is where the tensors go.
const FIRST_COLUMNS: [Option<&str>; 8] = [
    Some("clip_id"),
    None,
    Some("n_frames"),
    Some("labels"),
    Some("source"),
    Some("offset_s"),
    Some("duration_s"),
    Some("content_hash"),
];

/// Rows of each record batch: 16 to 256, by the size of a row.
pub fn batch_rows(stored: &Schema) -> usize {
    (BATCH_BYTES / stored.row_bytes().max(1)).clamp(16, 256) / 8 * 8
}

/// Collects the rows of one unit.
pub struct PartWriter {
    name: String,
    stored: Arc<Schema>,
    batch_rows: usize,
    moments: Vec<MomentsBuilder>,
    order: Option<(SchemaRef, Vec<usize>, SchemaRef)>,
    pending: Vec<RecordBatch>,
    n_pending: usize,
    rows: u64,
    file: Option<FileWriter<LightWriter<PageWriter<PendingFile>>>>,
}

/// What a finished unit is made of.
pub struct FinishedPart {
    /// The file, unless there were no rows.
    pub part: Option<PartInfo>,
    /// Its columns; empty without rows.
    pub columns: Vec<ColumnInfo>,
    /// Moments of each picture column.
    pub moments: Vec<(String, Moments)>,
}

impl PartWriter {
    /// For the part `name`.
    pub fn new(name: String, stored: Arc<Schema>) -> Self {
        let picture = |column: &Column| match &column.kind {
            ColumnType::Tensor(tensor) => MomentsBuilder::new(&column.name, tensor),
            _ => None,
        };
        let moments = stored.columns.iter().filter_map(picture).collect();
        let batch_rows = batch_rows(&stored);
        Self { name, stored, batch_rows, moments, order: None, pending: Vec::new(), n_pending: 0, rows: 0, file: None }
    }

    /// Takes rows; writes the record batches that are full.
    pub fn push(
        &mut self,
        rows: &RecordBatch,
        fs: &Arc<dyn Fs>,
        root: &Path,
        compression: Compression,
    ) -> Result<(), ShardError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut rest = self.normalise(rows)?;
        for moments in &mut self.moments {
            moments.push(&rest);
        }
        if self.file.is_none() {
            let out = PageWriter::new(PendingFile::create(fs, root.join(&self.name))?, PAGE_BYTES);
            let options = write_options(compression).map_err(|e| self.failed(e))?;
            let has_tensors = rest.schema_ref().fields().iter().any(|field| is_numbers(field));
            let is_plain = compression == Compression::None;
            let out = LightWriter::new(out, (has_tensors && is_plain).then(|| rest.schema()));
            let file = FileWriter::try_new_with_options(out, rest.schema_ref(), options);
            self.file = Some(file.map_err(|e| self.failed(e))?);
        }
        while self.n_pending + rest.num_rows() >= self.batch_rows {
            let n_now = self.batch_rows - self.n_pending;
            self.pending.push(rest.slice(0, n_now));
            rest = rest.slice(n_now, rest.num_rows() - n_now);
            self.write_pending()?;
        }
        if rest.num_rows() > 0 {
            self.n_pending += rest.num_rows();
            self.pending.push(rest);
        }
        Ok(())
    }

    /// Commits the file.
    pub fn finish(mut self, unit: usize, key: String) -> Result<FinishedPart, ShardError> {
        self.write_pending()?;
        let moments = std::mem::take(&mut self.moments).into_iter();
        let moments = moments.map(|builder| (builder.column().to_owned(), builder.finish())).collect();
        let Some(mut file) = self.file.take() else {
            return Ok(FinishedPart { part: None, columns: Vec::new(), moments });
        };
        file.get_mut().begin_end();
        file.finish().map_err(|e| self.failed(e))?;
        let columns = ColumnInfo::all(file.schema());
        let out = file.into_inner().map_err(|e| self.failed(e))?;
        let (out, light) = out.finish(|end| footer_start(&self.name, end, end.len() as u64))?;
        let (pending, bytes, pages) = out.finish();
        pending.commit()?;
        let batch_rows = self.rows.min(self.batch_rows as u64);
        let (unit, rows) = (unit as u64, self.rows);
        let part = PartInfo { file: self.name, unit, key, bytes, rows, batch_rows, pages, light };
        Ok(FinishedPart { part: Some(part), columns, moments })
    }

    fn write_pending(&mut self) -> Result<(), ShardError> {
        let (Some(first), Some(file)) = (self.pending.first(), &mut self.file) else { return Ok(()) };
        let schema = first.schema();
        // An empty slice at the end makes the rows be copied always: then the bytes of a part, unused bits of its
        // bitmaps included, do not depend on how its rows arrived.
        let empty = first.slice(0, 0);
        let rows = concat_batches(&schema, self.pending.iter().chain([&empty]));
        let written = rows.and_then(|rows| {
            let bytes = rows.get_array_memory_size() as u64;
            if bytes > MAX_BATCH_BYTES {
                let what = format!("{} rows take {bytes} bytes: store pictures or short windows", rows.num_rows());
                return Err(ArrowError::InvalidArgumentError(what));
            }
            file.get_mut().begin_batch(rows.num_rows() as u64);
            file.write(&rows)?;
            file.get_mut().end_batch();
            Ok(rows.num_rows() as u64)
        });
        self.rows += written.map_err(|e| self.failed(e))?;
        self.pending.clear();
        self.n_pending = 0;
        Ok(())
    }

    /// Columns in the order of the format, plain types only.
    fn normalise(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ShardError> {
        let (order, schema) = match &self.order {
            Some((seen, order, schema)) if seen == rows.schema_ref() => (order, schema),
            Some((_, _, schema)) => {
                let (order, new) = column_order(&self.name, &self.stored, rows.schema_ref())?;
                check_same(&self.name, &ColumnInfo::all(schema), &ColumnInfo::all(&new), "earlier rows of this part")?;
                let kept = self.order.insert((rows.schema(), order, new));
                (&kept.1, &kept.2)
            }
            None => {
                let (order, schema) = column_order(&self.name, &self.stored, rows.schema_ref())?;
                let kept = self.order.insert((rows.schema(), order, schema));
                (&kept.1, &kept.2)
            }
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(order.len());
        for (at, field) in order.iter().zip(schema.fields()) {
            let column = plain(rows.column(*at), field.data_type());
            columns.push(column.map_err(|e| ShardError::column(&self.name, field.name(), e.to_string()))?);
        }
        RecordBatch::try_new(schema.clone(), columns).map_err(|e| self.failed(e))
    }

    fn failed(&self, error: ArrowError) -> ShardError {
        match error {
            ArrowError::IoError(_, source) => ShardError::Io { what: format!("cannot write {}", self.name), source },
            other => ShardError::format(&self.name, other.to_string()),
        }
    }
}

fn write_options(compression: Compression) -> Result<IpcWriteOptions, ArrowError> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    match compression {
        Compression::None => Ok(options),
        Compression::Zstd => {
            options.try_with_compression(Some(CompressionType::ZSTD))?.try_with_compression_level(Some(1))
        }
    }
}

/// Where each stored column comes from, and the schema they make.
fn column_order(part: &str, stored: &Schema, rows: &ArrowSchema) -> Result<(Vec<usize>, SchemaRef), ShardError> {
    let is_tensor = |name: &str| stored.tensor(name).is_some();
    let rank = |name: &String| {
        let first = FIRST_COLUMNS.iter().position(|first| match first {
            Some(first) => first == name,
            None => is_tensor(name),
        });
        let declared = stored.columns.iter().position(|column| column.name == *name);
        // Declared columns in the order of the graph, then those of manifests by name.
        (first.unwrap_or(FIRST_COLUMNS.len()), declared.unwrap_or(usize::MAX))
    };
    let mut order: Vec<usize> = (0..rows.fields().len()).collect();
    order.sort_by_key(|i| (rank(rows.field(*i).name()), rows.field(*i).name().clone()));
    let mut fields = Vec::with_capacity(order.len());
    for i in &order {
        fields.push(stored_field(part, stored, rows.field(*i))?);
    }
    for column in &stored.columns {
        if rows.column_with_name(&column.name).is_none() {
            return Err(ShardError::column(part, &column.name, "the plan promised it, the rows lack it"));
        }
    }
    Ok((order, Arc::new(ArrowSchema::new(fields))))
}

fn stored_field(part: &str, stored: &Schema, field: &Field) -> Result<Field, ShardError> {
    let name = field.name();
    if let Some(column) = stored.get(name) {
        let wanted = arrow_field(column);
        let arrives = plain_type(field.data_type());
        if arrives != *wanted.data_type() {
            let problem = format!("it arrives as {arrives}, the plan promised {}", wanted.data_type());
            return Err(ShardError::column(part, name, problem));
        }
        return Ok(wanted);
    }
    let kind = plain_type(field.data_type());
    if !storable(&kind) {
        return Err(ShardError::column(
            part,
            name,
            format!("shards cannot hold the type {kind}; leave the column out"),
        ));
    }
    // Field metadata of foreign files stays behind, but for what names an extension type.
    let metadata = field.metadata().iter().filter(|(key, _)| key.starts_with("ARROW:extension:"));
    let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Field::new(name, kind, true).with_metadata(metadata))
}

/// The type without dictionaries and views, which files of several batches hold badly.
fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => {
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(plain_type(item.data_type()))))
        }
        other => other.clone(),
    }
}

fn plain(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == kind {
        return Ok(column.clone());
    }
    // Fields of a struct may differ in metadata alone: then the arrays are as they should be.
    if let (Some(old), DataType::Struct(fields)) = (column.as_struct_opt(), kind) {
        return Ok(Arc::new(StructArray::try_new(fields.clone(), old.columns().to_vec(), old.nulls().cloned())?));
    }
    cast(column, kind)
}

/// Compares columns, and names the first that differs.
pub fn check_same(part: &str, expected: &[ColumnInfo], found: &[ColumnInfo], whose: &str) -> Result<(), ShardError> {
    let find = |list: &[ColumnInfo], name: &str| list.iter().find(|c| c.name == name).map(|c| c.arrow.clone());
    for column in expected.iter().chain(found) {
        let (old, new) = (find(expected, &column.name), find(found, &column.name));
        if old != new {
            let says = |kind: Option<String>| kind.map_or("absent".to_owned(), |kind| kind);
            let problem = format!("{} here, {} in {whose}; all parts must have the same columns", says(new), says(old));
            return Err(ShardError::column(part, &column.name, problem));
        }
    }
    if expected != found {
        let name = found.first().map_or("", |column| &column.name);
        return Err(ShardError::column(part, name, format!("the columns are in another order than in {whose}")));
    }
    Ok(())
}
