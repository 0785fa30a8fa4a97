//! JSON documents as tables: run reports, and what checkpoints say of themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, RealFs};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema_from_iterator;
use datafusion::datasource::MemTable;
use serde_json::{Map, Value};

use super::error::CatalogueError;
use super::found::{Found, info};
use crate::corpus::in_order;
use crate::report::RunReport;

/// What a checkpoint says of itself.
pub const CHECKPOINT: &str = "checkpoint.json";
/// What a training is.
pub const RUN: &str = "run.json";

/// Longest document that is read.
const MAX_BYTES: u64 = 256 << 20;

/// Version of the checkpoints that are read.
const CHECKPOINT_FORMAT: u32 = 1;

/// A run report as a row, with `NAME_stages` and `NAME_rejects` beside it; any other list of objects as rows, an object as one.
///
/// # Errors
/// [`CatalogueError::Table`] for what is no such JSON.
pub fn report(name: &str, path: &Path) -> Result<Vec<Found>, CatalogueError> {
    let bad = |problem: String| CatalogueError::table(format!("{}: {problem}", path.display()), "mend the file");
    let bytes = Fs::read(&RealFs, path, MAX_BYTES).map_err(|error| bad(error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let table = |name: &str, kind: &str, rows: Vec<Value>| of_rows(name, path, kind, rows).map_err(bad);
    if serde_json::from_value::<RunReport>(value.clone()).is_ok() {
        let stages = rows_at(&value, "/end/stages");
        let rejects = rows_at(&value, "/first_rejects");
        let mut found = vec![table(name, "run report", vec![value])?];
        for (part, kind, rows) in [("stages", "stages of the run", stages), ("rejects", "its first rejects", rejects)] {
            if !rows.is_empty() {
                found.push(table(&format!("{name}_{part}"), kind, rows)?);
            }
        }
        return Ok(found);
    }
    match value {
        Value::Array(rows) if !rows.is_empty() && rows.iter().all(Value::is_object) => {
            Ok(vec![table(name, "table (JSON)", rows)?])
        }
        Value::Object(_) => Ok(vec![table(name, "document (JSON), one row", vec![value])?]),
        _ => Err(bad("a table is a list of objects, or one object".to_owned())),
    }
}

fn rows_at(value: &Value, pointer: &str) -> Vec<Value> {
    value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A row for each of these checkpoints.
///
/// # Errors
/// [`CatalogueError::Table`] with the path of the one that is torn or damaged.
pub fn checkpoints(name: &str, path: &Path, folders: &[PathBuf]) -> Result<Found, CatalogueError> {
    let rows = folders.iter().map(|folder| card(folder)).collect::<Result<Vec<_>, _>>()?;
    let bad = |problem: String| CatalogueError::table(format!("{}: {problem}", path.display()), "mend the file");
    of_rows(name, path, "checkpoints", rows).map_err(bad)
}

/// What a checkpoint says of itself but for its checksums, its size in their place.
fn card(folder: &Path) -> Result<Value, CatalogueError> {
    let path = folder.join(CHECKPOINT);
    let cure = "`ajepa-pipe verify` says what is damaged";
    let bad = |problem: String| CatalogueError::table(format!("{}: {problem}", path.display()), cure);
    let bytes = Fs::read(&RealFs, &path, MAX_BYTES).map_err(|error| bad(error.to_string()))?;
    let card: Map<String, Value> = ajepa_store::unseal(&bytes, CHECKPOINT_FORMAT).map_err(bad)?;
    let last = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut row = Map::from_iter([("checkpoint".to_owned(), Value::from(last))]);
    for (key, value) in card {
        if key == "files" {
            let sizes = value.as_array().into_iter().flatten().filter_map(|file| file.get("bytes")?.as_u64());
            row.insert("bytes".to_owned(), Value::from(sizes.sum::<u64>()));
        } else if key != "format" {
            row.insert(key, value);
        }
    }
    Ok(Value::Object(row))
}

fn of_rows(name: &str, path: &Path, kind: &str, rows: Vec<Value>) -> Result<Found, String> {
    let rows: Vec<Value> = rows.into_iter().map(uniform).collect();
    // Objects that do not agree on the type of a field are kept as text.
    let batch = batch_of(&rows).or_else(|_| batch_of(&rows.iter().map(flat).collect::<Vec<_>>()))?;
    let info = info(name, path, kind, batch.schema(), Some(batch.num_rows() as u64));
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(|error| error.to_string())?;
    Ok(Found { info, provider: Arc::new(table) })
}

fn batch_of(rows: &[Value]) -> Result<RecordBatch, String> {
    let schema = infer_json_schema_from_iterator(rows.iter().map(Ok)).map_err(|error| error.to_string())?;
    let schema = typed(&schema);
    let decoder = ReaderBuilder::new(Arc::new(in_order(&schema))).with_batch_size(rows.len().max(1)).build_decoder();
    let mut decoder = decoder.map_err(|error| error.to_string())?;
    decoder.serialize(rows).map_err(|error| error.to_string())?;
    let batch = decoder.flush().map_err(|error| error.to_string())?;
    batch.ok_or_else(|| "it has no rows".to_owned())
}

/// What is null in every row is taken for a text that is missing.
fn typed(schema: &ArrowSchema) -> ArrowSchema {
    let kind = |kind: &DataType| if kind.is_null() { DataType::Utf8 } else { kind.clone() };
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_data_type(kind(field.data_type())));
    ArrowSchema::new(fields.collect::<Vec<_>>())
}

/// With lists of mixed kinds, such as `["a", {...}]`, as their JSON: a column has one type. Empty lists and objects have none.
fn uniform(value: Value) -> Value {
    match value {
        Value::Object(fields) if fields.is_empty() => Value::Null,
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(key, value)| (key, uniform(value))).collect()),
        Value::Array(items) => {
            let kinds = items.iter().filter(|item| !item.is_null()).map(std::mem::discriminant);
            let kinds: std::collections::HashSet<_> = kinds.collect();
            if kinds.len() > 1 {
                return Value::from(Value::Array(items).to_string());
            }
            Value::Array(items.into_iter().map(uniform).collect())
        }
        scalar => scalar,
    }
}

/// With everything inside it as JSON text.
fn flat(row: &Value) -> Value {
    let flat = |value: &Value| {
        if value.is_object() || value.is_array() { Value::from(value.to_string()) } else { value.clone() }
    };
    let fields = row.as_object().into_iter().flatten();
    Value::Object(fields.map(|(key, value)| (key.clone(), flat(value))).collect())
}
