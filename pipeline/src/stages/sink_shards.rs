//! `sink_shards`: rows as memory-mapped Arrow shards, each committed whole or absent.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{ColumnType, Dtype, Schema};
use crate::shard::{Compression, ShardWriter};
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StagePlan};

/// Writes a folder of shards: `manifest.json` and one Arrow file per unit of `clips_per_shard` clips.
///
/// Any Arrow reader opens the files. A run that was cut off goes on where it stopped; a changed graph writes a new
/// generation beside the old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkShardsConfig {
    /// The folder; made if it is not there.
    pub path: PathBuf,
    /// Type of the numbers of tensors. Default `f16`, which is enough for log-mel.
    #[serde(default = "f16")]
    pub dtype: Dtype,
    /// `none` to be read in place, `zstd` for archives (10 to 20 % smaller, decoded when read). Default `none`.
    #[serde(default)]
    pub compression: Compression,
}

fn f16() -> Dtype {
    Dtype::F16
}

impl StageConfig for SinkShardsConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let mut stored = super::checks::one_input(inputs)?.clone();
        if self.path.as_os_str().is_empty() {
            return Err(PlanError::field("path", "the path is empty", "name a folder, such as out/mel"));
        }
        for column in &mut stored.columns {
            match &mut column.kind {
                ColumnType::Tensor(tensor) => tensor.dtype = self.dtype,
                ColumnType::Media => {
                    let problem = "it is given encoded audio, and stores what was made of it";
                    return Err(PlanError::new(problem, "put `decode` and `log_mel` before it"));
                }
                ColumnType::Audio(_) | ColumnType::Plain(_) => {}
            }
        }
        Ok(StagePlan::sink(stored))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let writer = ShardWriter::new(&self.path, cx.output.clone(), self.compression)
            .map_err(|error| BuildError::new(error.to_string(), "name a folder that can be written"))?;
        Ok(Stage::Sink(Box::new(writer)))
    }
}
