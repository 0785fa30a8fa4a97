//! `interleave`: one row of each input in turn.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row_merge::{RowMerge, Turn, common_schema};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// One row of each input in turn, in the order of `from`; an input that is over is passed by.
///
/// The inputs must have the same declared columns; further columns of manifests end here, for inputs differ in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterleaveConfig {}

impl StageConfig for InterleaveConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        Ok(StagePlan::new(StageKind::Merge, common_schema(inputs)?))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let n_inputs = cx.inputs.len();
        Ok(Stage::Merge(Box::new(RowMerge::new(RoundRobin { n_inputs, next: 0 }, n_inputs, cx.output))))
    }
}

struct RoundRobin {
    n_inputs: usize,
    next: usize,
}

impl Turn for RoundRobin {
    fn next(&mut self) -> usize {
        let input = self.next;
        self.next = (self.next + 1) % self.n_inputs.max(1);
        input
    }

    fn reset(&mut self) {
        self.next = 0;
    }
}
