//! Tables people keep their clips in: CSV, TSV, Parquet, JSON lines.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchReader, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::stage::BuildError;

/// Rows read at once; the whole table is held, in columns.
const CHUNK_ROWS: usize = 65_536;

/// Reads the whole table. The kind is told by the extension: csv, tsv, parquet (pq), jsonl (ndjson).
///
/// Every column of a CSV is text: an id of eleven zeros stays eleven zeros. An empty field is null.
///
/// # Errors
/// [`BuildError`] when the file cannot be opened or is not what its extension says, or two columns have one name.
pub fn read_table(path: &Path) -> Result<RecordBatch, BuildError> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let shown = path.display();
    if path.is_dir() {
        let problem = format!("{shown}: this is a folder, not a table");
        return Err(BuildError::new(problem, "name the table in it; a folder of audio is read by `source_folder`"));
    }
    let file = File::open(path)
        .map_err(|error| BuildError::new(format!("{shown}: {error}"), "check the path and its permissions"))?;
    if file.metadata().is_ok_and(|about| about.is_file() && about.len() == 0) {
        let problem = format!("{shown}: the file is empty, without even a header");
        return Err(BuildError::new(problem, "write the table again: a line of column names, then a row per clip"));
    }
    let table = match extension.as_str() {
        "csv" => read_csv(file, b','),
        "tsv" => read_csv(file, b'\t'),
        "jsonl" | "ndjson" => read_jsonl(file).map_err(|error| bad_line(path).unwrap_or(error)),
        "parquet" | "pq" => read_parquet(file),
        _ => {
            let problem = format!("{shown}: a table of kind {extension:?} is not read");
            return Err(BuildError::new(problem, "give a .csv, .tsv, .parquet or .jsonl file, not compressed"));
        }
    };
    let wrong = |error: ArrowError| {
        BuildError::new(format!("{shown}: not readable as {extension}: {error}"), "mend the file, or write it anew")
    };
    let table = table.map_err(wrong)?;
    let mut names = HashSet::new();
    if let Some(field) = table.schema_ref().fields().iter().find(|field| !names.insert(field.name().clone())) {
        let problem = format!("{shown}: two columns are named {:?}", field.name());
        return Err(BuildError::new(problem, "rename one of them"));
    }
    in_plain_types(&table).map_err(wrong)
}

/// The columns in the types that shards can hold. One that is null in every row has no type of its own (JSONL, Parquet); as
/// text it can be stored and filled later. Views and 64-bit offsets, which polars writes, are the same texts and lists.
fn in_plain_types(table: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in table.schema_ref().fields().iter().zip(table.columns()) {
        let plain = plain_type(field.data_type());
        if *field.data_type() == DataType::Null {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(new_null_array(&DataType::Utf8, table.num_rows()));
        } else if plain == *field.data_type() {
            fields.push(field.as_ref().clone());
            columns.push(column.clone());
        } else {
            columns.push(cast(column, &plain)?);
            fields.push(field.as_ref().clone().with_data_type(plain));
        }
    }
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
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

fn read_csv(mut file: File, delimiter: u8) -> Result<RecordBatch, ArrowError> {
    let format = arrow::csv::reader::Format::default().with_header(true).with_delimiter(delimiter);
    let (header, _) = format.infer_schema(&mut file, Some(0))?;
    file.rewind()?;
    let text = |name: &str| Field::new(name.trim(), DataType::Utf8, true);
    let schema = Arc::new(ArrowSchema::new(header.fields().iter().map(|f| text(f.name())).collect::<Vec<_>>()));
    let builder = arrow::csv::ReaderBuilder::new(schema).with_format(format).with_batch_size(CHUNK_ROWS);
    collect(builder.build(file)?)
}

fn read_jsonl(file: File) -> Result<RecordBatch, ArrowError> {
    let mut reader = BufReader::new(file);
    let (schema, _) = arrow::json::reader::infer_json_schema_from_seekable(&mut reader, None)?;
    let builder = arrow::json::ReaderBuilder::new(Arc::new(schema)).with_batch_size(CHUNK_ROWS);
    collect(builder.build(reader)?)
}

/// The first line that is no JSON object, by its number in the file: the reader counts within what it happened to hold.
fn bad_line(path: &Path) -> Option<ArrowError> {
    let lines = BufReader::new(File::open(path).ok()?).split(b'\n').enumerate();
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

fn read_parquet(file: File) -> Result<RecordBatch, ArrowError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(CHUNK_ROWS);
    collect(builder.build()?)
}

fn collect(reader: impl RecordBatchReader) -> Result<RecordBatch, ArrowError> {
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
    concat_batches(&schema, &batches)
}
