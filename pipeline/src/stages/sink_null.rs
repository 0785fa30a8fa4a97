//! `sink_null`: counts what arrives and keeps nothing.

use arrow::array::{Array, RecordBatch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::Schema;
use crate::stage::{
    BuildCx, BuildError, PlanError, RunInfo, Sink, SinkReport, Stage, StageConfig, StageError, StagePlan, UnitTally,
};

/// Counts rows and bytes and keeps nothing: to measure a graph, or to find its bad clips without writing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkNullConfig {}

impl StageConfig for SinkNullConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        Ok(StagePlan::sink(super::checks::one_input(inputs)?.clone()))
    }

    fn build(&self, _cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Sink(Box::new(SinkNull::default())))
    }
}

#[derive(Default)]
struct SinkNull {
    report: SinkReport,
    n_units: usize,
}

impl Sink for SinkNull {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        self.n_units = run.units.len();
        Ok(vec![false; self.n_units])
    }

    fn write(&mut self, _unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        self.report.rows += rows.num_rows() as u64;
        for column in rows.columns() {
            self.report.bytes += column.to_data().get_slice_memory_size()? as u64;
        }
        Ok(())
    }

    fn end_unit(&mut self, _unit: usize, tally: UnitTally) -> Result<(), StageError> {
        self.report.units += 1;
        self.report.rejects += tally.rejects.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        self.report.complete = self.report.units == self.n_units as u64;
        Ok(self.report.clone())
    }
}
