//! `mix`: rows of several inputs, drawn by weight.

use ajepa_ops::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row_merge::{RowMerge, Turn, common_schema};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// Each row comes from an input drawn at random by weight; when an input is over in a unit, the others go on.
///
/// Nothing is repeated and nothing is left out: the weights shape the order, not the amount. The draws are a function of the
/// run's seed and this stage's id, the same in every unit. Inputs as for `interleave`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixConfig {
    /// A weight for each input, in the order of `from`: more than 0, of any sum, none below a thousandth of it. `[3, 1]` draws three rows of four from the
    /// first.
    pub weights: Vec<f64>,
}

/// Once the others are over, an input of a smaller share would be drawn so seldom that the run waits for it.
const MIN_SHARE: f64 = 1e-3;

impl StageConfig for MixConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let output = common_schema(inputs)?;
        if self.weights.len() != inputs.len() {
            let problem = format!("{} weights for {} inputs", self.weights.len(), inputs.len());
            return Err(PlanError::field("weights", problem, "one weight for each name in `from`"));
        }
        let sum: f64 = self.weights.iter().sum();
        if let Some(bad) = self.weights.iter().find(|w| !(w.is_finite() && **w / sum >= MIN_SHARE)) {
            let help = "finite weights, each at least a thousandth of their sum; leave an unwanted input out of `from`";
            return Err(PlanError::field("weights", format!("{bad} cannot be drawn by"), help));
        }
        Ok(StagePlan::new(StageKind::Merge, output))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let sum: f64 = self.weights.iter().sum();
        let mut up_to = 0.0;
        let bounds = self.weights.iter().map(|weight| {
            up_to += weight / sum;
            up_to
        });
        let bounds: Vec<f64> = bounds.collect();
        let seed = seed::derive(&[cx.seed, seed::hash_str(cx.id)]);
        Ok(Stage::Merge(Box::new(RowMerge::new(Draw { bounds, seed, n_drawn: 0 }, cx.inputs.len(), cx.output))))
    }
}

struct Draw {
    /// Upper ends of the inputs' shares of [0, 1).
    bounds: Vec<f64>,
    seed: u64,
    n_drawn: u64,
}

impl Turn for Draw {
    fn next(&mut self) -> usize {
        self.n_drawn += 1;
        let at = seed::unit(&mut seed::rng(seed::derive(&[self.seed, self.n_drawn])));
        self.bounds.iter().position(|&bound| at < bound).unwrap_or(self.bounds.len() - 1)
    }

    fn reset(&mut self) {
        self.n_drawn = 0;
    }
}
