//! Rows as lines of text: CSV, where lists and structs are JSON, and JSON, an object a line.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder as JsonBuilder;
use arrow::json::writer::LineDelimited;

/// Turns batches into text.
pub struct Lines {
    schema: SchemaRef,
    csv: bool,
}

impl Lines {
    /// For rows of `schema`.
    pub fn new(schema: SchemaRef, csv: bool) -> Self {
        Self { schema, csv }
    }

    /// What comes before the first row.
    pub fn head(&self) -> Result<Vec<u8>, String> {
        if !self.csv {
            return Ok(Vec::new());
        }
        csv(&plain(&RecordBatch::new_empty(self.schema.clone())).map_err(|error| error.to_string())?, true)
            .map_err(|error| error.to_string())
    }

    /// The rows of a batch.
    pub fn of(&self, batch: &RecordBatch) -> Result<Vec<u8>, String> {
        if self.csv {
            plain(batch).and_then(|batch| csv(&batch, false)).map_err(|error| error.to_string())
        } else {
            json(batch).map_err(|error| error.to_string())
        }
    }
}

fn json(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut out = Vec::new();
    let mut writer = JsonBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut out);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(out)
}

fn csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut out = Vec::new();
    CsvBuilder::new().with_header(header).build(&mut out).write(batch)?;
    Ok(out)
}

/// With a text in place of what no field of a CSV can hold.
fn plain(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if is_nested(field.data_type()) {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(as_json(column)?);
        } else {
            fields.push(field.as_ref().clone());
            columns.push(column.clone());
        }
    }
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}

fn is_nested(kind: &DataType) -> bool {
    kind.is_nested() || matches!(kind, DataType::Null)
}

/// Each value as JSON; null stays null.
fn as_json(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if *column.data_type() == DataType::Null {
        return Ok(arrow::array::new_null_array(&DataType::Utf8, column.len()));
    }
    let alone = RecordBatch::try_from_iter_with_nullable([("v", column.clone(), true)])?;
    let text = String::from_utf8(json(&alone)?).map_err(|error| ArrowError::JsonError(error.to_string()))?;
    // Every line is `{"v":...}`.
    let value =
        |line: &str| line.get(5..line.len().saturating_sub(1)).filter(|value| *value != "null").map(str::to_owned);
    Ok(Arc::new(text.lines().map(value).collect::<StringArray>()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float16Array, Int64Array, ListArray, ListBuilder, StringBuilder};
    use half::f16;

    use super::*;

    fn batch() -> RecordBatch {
        let mut labels = ListBuilder::new(StringBuilder::new());
        labels.append_value([Some("a, b"), Some("say \"hi\"")]);
        labels.append_null();
        let labels: ListArray = labels.finish();
        RecordBatch::try_from_iter_with_nullable([
            ("n", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef, true),
            ("labels", Arc::new(labels) as ArrayRef, true),
            ("h", Arc::new(Float16Array::from(vec![f16::from_f32(1.5), f16::from_f32(-2.0)])) as ArrayRef, true),
        ])
        .unwrap()
    }

    fn text(csv: bool) -> String {
        let batch = batch();
        let lines = Lines::new(batch.schema(), csv);
        let all = [lines.head().unwrap(), lines.of(&batch).unwrap()].concat();
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn lists_are_json_in_csv() {
        assert_eq!(text(true), "n,labels,h\n1,\"[\"\"a, b\"\",\"\"say \\\"\"hi\\\"\"\"\"]\",1.5\n,,-2\n");
    }

    #[test]
    fn nulls_are_there_in_json() {
        let wanted =
            "{\"n\":1,\"labels\":[\"a, b\",\"say \\\"hi\\\"\"],\"h\":1.5}\n{\"n\":null,\"labels\":null,\"h\":-2.0}\n";
        assert_eq!(text(false), wanted);
    }
}
