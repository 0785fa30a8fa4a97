//! `sink_shards`: write-once Arrow shards, the end of a preprocessing graph.

use std::path::{Path, PathBuf};

use ajepa_store::is_url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{ColumnType, Dtype, Schema};
use crate::shard::{Compression, ShardError, ShardWriter};
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StagePlan};

/// Writes rows as memory-mapped shards: `manifest.json` and `part-*.arrow` files, each committed whole or absent.
///
/// A folder can be run again: finished shards are kept, the rest is done. A changed graph, changed inputs, or `--fresh`
/// are written as a new generation beside the old one; nothing is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkShardsConfig {
    /// The folder; made if it is not there. It may lie in an object store: `s3://bucket/mel`.
    pub path: PathBuf,
    /// Type of the numbers in tensor columns. Half floats hold log-mel to 2^-6 or better and need half the space and
    /// bandwidth; `DuckDB` reads single floats only. Default: f16.
    #[serde(default = "half")]
    pub dtype: Dtype,
    /// How buffers are stored: `none` is read in place, `zstd` saves 10 to 20 % and is decoded on read. Default: none.
    #[serde(default)]
    pub compression: Compression,
    /// The tensor columns to keep, by name; one or more. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Vec<String>>,
}

fn half() -> Dtype {
    Dtype::F16
}

impl SinkShardsConfig {
    /// The input as it is stored.
    fn stored(&self, input: &Schema) -> Result<Schema, PlanError> {
        self.validate()?;
        let is_tensor = |name: &String| input.tensor(name).is_some();
        if let Some(wanted) = &self.tensors {
            let unknown = wanted.iter().find(|name| !is_tensor(name));
            if let Some(unknown) = unknown {
                let names: Vec<&str> = input.columns.iter().map(|c| c.name.as_str()).collect();
                let help = format!("the columns that arrive are {}", names.join(", "));
                return Err(PlanError::field("tensors", format!("no tensor {unknown:?} arrives"), help));
            }
            if wanted.is_empty() {
                return Err(PlanError::field("tensors", "it names none", "leave it out to keep all tensors"));
            }
        }
        let mut stored = Schema { columns: Vec::new(), extra: input.extra };
        for column in &input.columns {
            let kind = match &column.kind {
                ColumnType::Media => {
                    let help = "put { type: decode } and what makes features, such as { type: log_mel }, before it";
                    return Err(PlanError::new("shards hold features or audio, and encoded audio arrives", help));
                }
                ColumnType::Tensor(_) if self.tensors.as_ref().is_some_and(|kept| !kept.contains(&column.name)) => {
                    continue;
                }
                ColumnType::Tensor(tensor) => {
                    let mut tensor = tensor.clone();
                    tensor.dtype = self.dtype;
                    ColumnType::Tensor(tensor)
                }
                other => other.clone(),
            };
            stored = stored.with(&column.name, kind);
        }
        Ok(stored)
    }
}

impl StageConfig for SinkShardsConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        Ok(StagePlan::sink(self.stored(super::checks::one_input(inputs)?)?))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if !self.path.as_os_str().is_empty() {
            return Ok(());
        }
        Err(PlanError::field("path", "it is empty", "name a folder, such as out/mel"))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        super::checks::folder_to_write(&self.path)?;
        let writer = ShardWriter::new(&self.path, cx.output.clone(), self.compression);
        let cure = |error: &ShardError| match error {
            ShardError::Io { .. } => "check the address and the credentials",
            _ => "leave the column out",
        };
        let writer = writer.map_err(|error| BuildError::new(error.to_string(), cure(&error)))?;
        Ok(Stage::Sink(Box::new(writer)))
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn with_folder(&self, folder: PathBuf) -> Option<Box<dyn StageConfig>> {
        // Whoever removes a folder when a measurement is over knows those of this machine alone.
        (!is_url(&self.path)).then(|| Box::new(Self { path: folder, ..self.clone() }) as Box<dyn StageConfig>)
    }

    fn takes_addresses(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{AudioType, TensorType};
    use arrow::datatypes::DataType;

    fn mel() -> ColumnType {
        ColumnType::Tensor(TensorType {
            dtype: Dtype::F32,
            shape: vec![512, 96],
            axes: vec!["frames".into(), "mels".into()],
            front_end: serde_json::Value::Null,
        })
    }

    fn config(yaml: &str) -> SinkShardsConfig {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn tensors_are_stored_as_half_floats_unless_said_otherwise() {
        let input = Schema::default().with("clip_id", ColumnType::Plain(DataType::Utf8)).with("mel", mel());
        let plan = |yaml: &str| config(yaml).plan(std::slice::from_ref(&input)).unwrap().stored.unwrap().to_string();
        assert_eq!(plan("{ path: out }"), "clip_id utf8, mel f16[512 frames x 96 mels]");
        assert_eq!(plan("{ path: out, dtype: f32 }"), "clip_id utf8, mel f32[512 frames x 96 mels]");
        let two = input.clone().with("coarse", mel());
        let kept = config("{ path: out, tensors: [coarse] }").plan(&[two]).unwrap().stored.unwrap();
        assert_eq!(kept.to_string(), "clip_id utf8, coarse f16[512 frames x 96 mels]");
    }

    #[test]
    fn what_cannot_be_stored_is_refused_with_a_cure() {
        let media = config("{ path: out }").plan(&[Schema::of_media(false)]).unwrap_err();
        assert!(media.help.contains("decode"), "{media:?}");
        let audio = AudioType { rate_hz: Some(32_000), channels: Some(1), max_s: Some(10.0) };
        let audio = Schema::default().with("audio", ColumnType::Audio(audio));
        assert!(config("{ path: out }").plan(std::slice::from_ref(&audio)).is_ok());
        let missing = config("{ path: out, tensors: [mel] }").plan(&[audio]).unwrap_err();
        assert_eq!((missing.field.as_deref(), missing.help.contains("audio")), (Some("tensors"), true));
    }
}
