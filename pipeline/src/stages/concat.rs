//! `concat`: all rows of one input, then all of the next.

use arrow::array::RecordBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row_merge::{Projection, common_schema};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, Merge, PlanError, Stage, StageConfig, StageError, StageKind, StagePlan};

/// All rows of the first input of `from`, then all of the second, and so on; no shard holds rows of two.
///
/// The inputs must have the same declared columns; further columns of manifests end here, for inputs differ in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConcatConfig {}

impl StageConfig for ConcatConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        Ok(StagePlan::new(StageKind::Merge, common_schema(inputs)?))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Merge(Box::new(Concat { project: Projection::new(cx.output) })))
    }
}

struct Concat {
    project: Projection,
}

impl Merge for Concat {
    fn next_input(&mut self, open: &[bool]) -> usize {
        open.iter().position(|&open| open).unwrap_or(0)
    }

    fn push(
        &mut self,
        _input: usize,
        rows: RecordBatch,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        emit(self.project.apply(&rows)?)
    }

    fn end_unit(
        &mut self,
        _unit: usize,
        _emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}
