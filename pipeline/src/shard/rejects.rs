//! `rejects.parquet`: every clip that could not be used, one row each, ready to be fed back as an exclude list.

use std::path::PathBuf;
use std::sync::Arc;

use ajepa_store::{Fs, commit_bytes};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use parquet::arrow::ArrowWriter;

use super::error::ShardError;
use super::manifest::MAX_JSON_BYTES;
use crate::stage::Reject;

/// Writes the table: `clip_id`, `source`, `stage`, `reason`, `detail`.
pub fn write_rejects(fs: &Arc<dyn Fs>, path: PathBuf, rejects: &[&Reject]) -> Result<(), ShardError> {
    let failed = |what: String| ShardError::manifest(&path, what);
    let column = |of: fn(&Reject) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|reject| of(reject))))
    };
    let columns = vec![
        column(|r| &r.clip_id),
        column(|r| &r.source),
        column(|r| &r.stage),
        column(|r| &r.reason),
        column(|r| &r.detail),
    ];
    let names = ["clip_id", "source", "stage", "reason", "detail"];
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).map_err(|e| failed(e.to_string()))?;
    writer.write(&batch).and_then(|()| writer.close().map(drop)).map_err(|e| failed(e.to_string()))?;
    // A finished set can be run again where nothing can be written.
    if fs.read(&path, MAX_JSON_BYTES).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    Ok(commit_bytes(fs, path, &bytes)?)
}
