//! `zip`: the columns of two inputs side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema as ArrowSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::arrow_schema;
use crate::schema::{Column, Schema};
use crate::stage::{BuildCx, BuildError, Merge, PlanError, Stage, StageConfig, StageError, StageKind, StagePlan};

/// Puts the columns of two inputs side by side, row by row: two pictures of one clip.
///
/// Row for row both must have the same `clip_id` and `offset_s`: two branches of one source, with the same rows left. What
/// tells of the clip (`clip_id`, `source`, `offset_s`, `duration_s`, `labels`, `media`) is taken from the first; another
/// column that both have gets `suffix` in the second. For three inputs zip twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZipConfig {
    /// Put behind the name of a column of the second input that the first has too. Default: "_2".
    #[serde(default = "second")]
    pub suffix: String,
}

fn second() -> String {
    "_2".to_owned()
}

impl ZipConfig {
    /// What becomes of a column of the second input; `None` when the first says it already.
    fn name(&self, first: &Schema, column: &str) -> Option<String> {
        if first.get(column).is_none() {
            return Some(column.to_owned());
        }
        Schema::of_media(false).get(column).is_none().then(|| format!("{column}{}", self.suffix))
    }
}

impl StageConfig for ZipConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::several_inputs(inputs)?;
        let [first, other] = inputs else {
            let problem = format!("it takes two inputs, not {}", inputs.len());
            return Err(PlanError::field("from", problem, "zip two, then zip the result with the third"));
        };
        if first.audio().is_some() && other.audio().is_some() {
            let help = "zip behind the front ends, where the waveforms have become tensors";
            return Err(PlanError::field("from", "both inputs have a waveform, and a row holds one", help));
        }
        if first.get("clip_id").is_none() || other.get("clip_id").is_none() {
            return Err(PlanError::field(
                "from",
                "an input has no clip_id to match rows by",
                "zip branches of one source",
            ));
        }
        let mut output = Schema { columns: first.columns.clone(), extra: first.extra || other.extra };
        for Column { name, kind } in &other.columns {
            let Some(name) = self.name(first, name) else { continue };
            if output.get(&name).is_some() {
                let problem = format!("there is a column {name:?} already");
                return Err(PlanError::field("suffix", problem, "another suffix"));
            }
            output = output.with(&name, kind.clone());
        }
        Ok(StagePlan::new(StageKind::Merge, output))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let zip = Zip {
            config: self.clone(),
            id: cx.id.to_owned(),
            first: cx.inputs.first().cloned().unwrap_or_default(),
            second: cx.inputs.get(1).cloned().unwrap_or_default(),
            declared: arrow_schema(cx.output),
            held: Default::default(),
        };
        Ok(Stage::Merge(Box::new(zip)))
    }
}

struct Zip {
    config: ZipConfig,
    id: String,
    first: Schema,
    second: Schema,
    declared: ArrowSchema,
    held: [VecDeque<RecordBatch>; 2],
}

impl Zip {
    fn join(&self, first: &RecordBatch, second: &RecordBatch) -> Result<RecordBatch, StageError> {
        for name in ["clip_id", "offset_s"] {
            let columns = first.column_by_name(name).zip(second.column_by_name(name));
            if let Some((a, b)) = columns.filter(|(a, b)| a != b) {
                return Err(self.mismatch(name, a, b));
            }
        }
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for column in &self.first.columns {
            self.add(&column.name, first.column_by_name(&column.name), &mut fields, &mut columns)?;
        }
        for column in &self.second.columns {
            if let Some(name) = self.config.name(&self.first, &column.name) {
                self.add(&name, second.column_by_name(&column.name), &mut fields, &mut columns)?;
            }
        }
        // Columns of manifests: those of the first, then those that only the second has.
        for (rows, schema) in [(first, &self.first), (second, &self.second)] {
            for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
                if schema.get(field.name()).is_none() && fields.iter().all(|known| known.name() != field.name()) {
                    fields.push(field.clone());
                    columns.push(column.clone());
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(first.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)?)
    }

    fn add(
        &self,
        name: &str,
        column: Option<&ArrayRef>,
        fields: &mut Vec<FieldRef>,
        columns: &mut Vec<ArrayRef>,
    ) -> Result<(), StageError> {
        let missing = || StageError::Other(format!("{}: a batch comes without its column {name}", self.id));
        fields.push(Arc::new(self.declared.field_with_name(name)?.clone()));
        columns.push(column.ok_or_else(missing)?.clone());
        Ok(())
    }

    fn mismatch(&self, name: &str, a: &dyn Array, b: &dyn Array) -> StageError {
        let text = |column: &dyn Array, row: usize| arrow::util::display::array_value_to_string(column, row);
        let row = (0..a.len()).find(|&row| a.slice(row, 1).to_data() != b.slice(row, 1).to_data()).unwrap_or(0);
        let (a, b) = (text(a, row).unwrap_or_default(), text(b, row).unwrap_or_default());
        StageError::Other(format!(
            "{}: the inputs are out of step: {name} {a} and {b} stand side by side; let both branches keep the same rows \
             (filter and crop before they part)",
            self.id
        ))
    }
}

impl Merge for Zip {
    fn next_input(&mut self, open: &[bool]) -> usize {
        // The one that has fewer rows here; so that neither runs ahead by more than a batch.
        let rows = |input: usize| self.held[input].iter().map(RecordBatch::num_rows).sum::<usize>();
        match open {
            [true, true] => usize::from(rows(1) < rows(0)),
            _ => open.iter().position(|&open| open).unwrap_or(0),
        }
    }

    fn push(
        &mut self,
        input: usize,
        rows: RecordBatch,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        if rows.num_rows() > 0 {
            self.held[input].push_back(rows);
        }
        while let (Some(a), Some(b)) = (self.held[0].front(), self.held[1].front()) {
            let n = a.num_rows().min(b.num_rows());
            let joined = self.join(&a.slice(0, n), &b.slice(0, n))?;
            for held in &mut self.held {
                if let Some(rows) = held.pop_front().filter(|rows| rows.num_rows() > n) {
                    held.push_front(rows.slice(n, rows.num_rows() - n));
                }
            }
            emit(joined)?;
        }
        Ok(())
    }

    fn end_unit(
        &mut self,
        unit: usize,
        _emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let [first, second] =
            std::mem::take(&mut self.held).map(|held| held.iter().map(RecordBatch::num_rows).sum::<usize>());
        if first + second == 0 {
            return Ok(());
        }
        Err(StageError::Other(format!(
            "{}: unit {unit} ends with {first} rows of the first input and {second} of the second left over; let both \
             branches keep the same rows (filter and crop before they part)",
            self.id
        )))
    }
}
