//! Tables people keep their clips in: CSV, TSV, Parquet, JSON lines.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchReader, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::stage::BuildError;

/// Rows read at once.
const CHUNK_ROWS: usize = 65_536;

/// Reads the whole table. The kind is told by the extension: csv, tsv, parquet (pq), jsonl (ndjson).
///
/// Every column of a CSV is text: an id of eleven zeros stays eleven zeros. An empty field is null.
///
/// # Errors
/// [`BuildError`] when the file cannot be opened or is not what its extension says, or two columns have one name.
pub fn read_table(path: &Path) -> Result<RecordBatch, BuildError> {
    let mut table = open_table(path)?;
    let batches: Vec<RecordBatch> = table.by_ref().collect::<Result<_, _>>()?;
    concat_batches(&table.schema, &batches).map_err(|error| table.wrong(error))
}

/// A table that is read bit by bit, some ten thousand rows at once.
pub struct TableReader {
    path: PathBuf,
    extension: String,
    schema: SchemaRef,
    rows: Rows,
}

impl TableReader {
    /// Columns of the table.
    #[cfg(feature = "sql")]
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn wrong(&self, error: ArrowError) -> BuildError {
        wrong(&self.path, &self.extension, error)
    }
}

impl Iterator for TableReader {
    type Item = Result<RecordBatch, BuildError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.next()?.and_then(|rows| as_plain_types(&rows, &self.schema));
        Some(rows.map_err(|error| self.wrong(error)))
    }
}

fn wrong(path: &Path, extension: &str, error: ArrowError) -> BuildError {
    let error = if matches!(extension, "jsonl" | "ndjson") { bad_line(path).unwrap_or(error) } else { error };
    let problem = format!("{}: not readable as {extension}: {error}", path.display());
    BuildError::new(problem, "mend the file, or write it anew")
}

/// Opens a table, as [`read_table`] reads it.
///
/// # Errors
/// As [`read_table`], as far as the head of the file shows it.
pub fn open_table(path: &Path) -> Result<TableReader, BuildError> {
    open(path, None)
}

/// The same with those of `columns` alone that are there, of a Parquet file; nothing else of it is read.
///
/// # Errors
/// As [`open_table`].
pub fn open_columns(path: &Path, columns: &[&str]) -> Result<TableReader, BuildError> {
    open(path, Some(columns))
}

fn open(path: &Path, columns: Option<&[&str]>) -> Result<TableReader, BuildError> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let shown = path.display();
    if path.is_dir() {
        let problem = format!("{shown}: this is a folder, not a table");
        return Err(BuildError::new(problem, "name the table in it; a folder of audio is read by `source_folder`"));
    }
    let file = ajepa_store::open_local(path)
        .map_err(|error| BuildError::new(format!("{shown}: {error}"), "check the path and its permissions"))?;
    if file.metadata().is_ok_and(|about| about.is_file() && about.len() == 0) {
        let problem = format!("{shown}: the file is empty, without even a header");
        return Err(BuildError::new(problem, "write the table again: a line of column names, then a row per clip"));
    }
    let rows = match extension.as_str() {
        "csv" => open_csv(file, b','),
        "tsv" => open_csv(file, b'\t'),
        "jsonl" | "ndjson" => open_jsonl(file),
        "parquet" | "pq" => open_parquet(file, columns),
        _ => {
            let problem = format!("{shown}: a table of kind {extension:?} is not read");
            return Err(BuildError::new(problem, "give a .csv, .tsv, .parquet or .jsonl file, not compressed"));
        }
    };
    let rows = rows.map_err(|error| wrong(path, &extension, error))?;
    let mut names = HashSet::new();
    if let Some(field) = rows.schema().fields().iter().find(|field| !names.insert(field.name().clone())) {
        let problem = format!("{shown}: two columns are named {:?}", field.name());
        return Err(BuildError::new(problem, "rename one of them"));
    }
    let schema = in_plain_types(&rows.schema());
    Ok(TableReader { path: path.to_owned(), extension, schema, rows })
}

/// The columns in the types that shards can hold. One that is null in every row has no type of its own (JSONL, Parquet); as
/// text it can be stored and filled later. Views and 64-bit offsets, which polars writes, are the same texts and lists.
fn in_plain_types(schema: &ArrowSchema) -> SchemaRef {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Null => Field::new(field.name(), DataType::Utf8, true),
        kind => field.as_ref().clone().with_data_type(plain_type(kind)),
    };
    Arc::new(ArrowSchema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::LargeList(item) => {
            let plain = item.as_ref().clone().with_data_type(plain_type(item.data_type()));
            DataType::List(Arc::new(plain))
        }
        other => other.clone(),
    }
}

fn as_plain_types(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |(column, field): (&ArrayRef, &FieldRef)| match column.data_type() {
        DataType::Null => Ok(new_null_array(field.data_type(), rows.num_rows())),
        kind if kind == field.data_type() => Ok(column.clone()),
        _ => cast(column, field.data_type()),
    };
    let columns = rows.columns().iter().zip(schema.fields()).map(column).collect::<Result<_, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

/// What the footer of a Parquet file has under `key`.
///
/// # Errors
/// When it is no Parquet.
pub fn footer_text(file: File, key: &str) -> Result<Option<String>, ParquetError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    Ok(pairs.into_iter().flatten().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()))
}

type Rows = Box<dyn RecordBatchReader + Send>;

fn open_csv(mut file: File, delimiter: u8) -> Result<Rows, ArrowError> {
    let format = arrow::csv::reader::Format::default().with_header(true).with_delimiter(delimiter);
    let (header, _) = format.infer_schema(&mut file, Some(0))?;
    file.rewind()?;
    let text = |name: &str| Field::new(name.trim(), DataType::Utf8, true);
    let schema = Arc::new(ArrowSchema::new(header.fields().iter().map(|f| text(f.name())).collect::<Vec<_>>()));
    let builder = arrow::csv::ReaderBuilder::new(schema).with_format(format).with_batch_size(CHUNK_ROWS);
    Ok(Box::new(builder.build(file)?))
}

fn open_jsonl(file: File) -> Result<Rows, ArrowError> {
    let mut reader = BufReader::new(file);
    let (schema, _) = arrow::json::reader::infer_json_schema_from_seekable(&mut reader, None)?;
    let builder = arrow::json::ReaderBuilder::new(Arc::new(in_order(&schema))).with_batch_size(CHUNK_ROWS);
    Ok(Box::new(builder.build(reader)?))
}

/// Columns by their names, those inside of others too: Arrow gives the columns of JSON in another order every time.
pub fn in_order(schema: &ArrowSchema) -> ArrowSchema {
    ArrowSchema::new(fields_in_order(schema.fields()))
}

fn fields_in_order(fields: &Fields) -> Fields {
    let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(kind_in_order(field.data_type())));
    let mut fields: Vec<FieldRef> = fields.iter().map(field).collect();
    fields.sort_by(|a, b| a.name().cmp(b.name()));
    fields.into()
}

fn kind_in_order(kind: &DataType) -> DataType {
    match kind {
        DataType::Struct(fields) => DataType::Struct(fields_in_order(fields)),
        DataType::List(item) => {
            let kind = kind_in_order(item.data_type());
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(kind)))
        }
        other => other.clone(),
    }
}

/// The first line that is no JSON object, by its number in the file: the reader counts within what it happened to hold.
fn bad_line(path: &Path) -> Option<ArrowError> {
    let lines = BufReader::new(ajepa_store::open_local(path).ok()?).split(b'\n').enumerate();
    for (at, line) in lines {
        let line = line.ok()?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let problem = match serde_json::from_slice::<serde_json::Value>(&line) {
            Ok(value) if value.is_object() => continue,
            Ok(_) => "not an object, as {\"path\": \"a.wav\"} is".to_owned(),
            // Its own place is within the line, where only the column means something.
            Err(error) => {
                let words = error.to_string();
                let clause = words.split(" at line ").next().unwrap_or_default();
                format!("{clause}, at column {}", error.column())
            }
        };
        return Some(ArrowError::JsonError(format!("line {}: {problem}", at + 1)));
    }
    None
}

fn open_parquet(file: File, columns: Option<&[&str]>) -> Result<Rows, ArrowError> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(CHUNK_ROWS);
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    Ok(Box::new(builder.build()?))
}
