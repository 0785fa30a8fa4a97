//! `batch`: batches of exactly N rows.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::FoldCx;
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, Fold, PlanError, Stage, StageConfig, StageError, StageKind, StagePlan};

/// Makes batches of exactly `rows` rows; the last of a unit (one shard) may be smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Rows of a batch: 1 or more. Default: 256.
    #[serde(default = "default_rows")]
    pub rows: usize,
}

fn default_rows() -> usize {
    256
}

impl StageConfig for BatchConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::at_least_one("rows", self.rows)?;
        Ok(StagePlan::new(StageKind::Fold, super::checks::one_input(inputs)?.clone()))
    }

    fn validate(&self) -> Result<(), PlanError> {
        super::checks::at_least_one("rows", self.rows)
    }

    fn build(&self, _cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Fold(Box::new(Batch { rows: self.rows, held: Vec::new(), n_held: 0 })))
    }
}

struct Batch {
    rows: usize,
    held: Vec<RecordBatch>,
    n_held: usize,
}

impl Batch {
    fn flush(&mut self, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let held = std::mem::take(&mut self.held);
        self.n_held = 0;
        match held.as_slice() {
            [] => Ok(()),
            [one] => cx.emit(one.clone()),
            [first, ..] => cx.emit(concat_batches(first.schema_ref(), &held)?),
        }
    }
}

impl Fold for Batch {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let mut at = 0;
        while at < rows.num_rows() {
            let n = (self.rows - self.n_held).min(rows.num_rows() - at);
            self.held.push(rows.slice(at, n));
            self.n_held += n;
            at += n;
            if self.n_held == self.rows {
                self.flush(cx)?;
            }
        }
        Ok(())
    }

    fn end_unit(&mut self, _unit: usize, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        self.flush(cx)
    }
}
