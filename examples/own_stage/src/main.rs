//! A stage of one's own: `loudness` measures each clip, writes a column, and leaves out what is too soft.
//!
//! The graph names it like any other stage, `check` proves it, and it runs fused with its neighbours on every worker.

use std::error::Error;

use ajepa_pipe::config;
use ajepa_pipe::engine::MapCx;
use ajepa_pipe::job::{self, JobOptions};
use ajepa_pipe::row::{Audio, Cell, Row};
use ajepa_pipe::schema::{ColumnType, Schema};
use ajepa_pipe::shard::ShardSet;
use ajepa_pipe::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};
use ajepa_pipe::stages::builtin;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const GRAPH: &str = "
pipeline: loud-clips
stages:
  - { type: source_folder, path: datasets/sample, labels: parent_dir }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: loudness, min_dbfs: -30 }
  - { type: log_mel, preset: base-2026 }
  - { type: sink_shards, path: out/own_stage }
";

/// Root mean square of a clip in dB of full scale, as a column `rms_dbfs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoudnessConfig {
    /// Softer clips are left out, in dBFS; all are kept by default.
    #[serde(default)]
    min_dbfs: Option<f64>,
}

impl StageConfig for LoudnessConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        if inputs.first().and_then(Schema::audio).is_none() {
            return Err(PlanError::new("it measures a waveform, and is given none", "put `decode` before it"));
        }
        let output = inputs[0].clone().with("rms_dbfs", ColumnType::Plain(DataType::Float64));
        Ok(StagePlan::new(StageKind::Map, output))
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(Loudness { min_dbfs: self.min_dbfs })))
    }
}

#[derive(Clone)]
struct Loudness {
    min_dbfs: Option<f64>,
}

impl Map for Loudness {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let samples = cx.samples(&mut row)?;
        let power: f64 = samples.values.iter().map(|&x| f64::from(x).powi(2)).sum();
        let rms_dbfs = 10.0 * (power / samples.values.len().max(1) as f64).max(1e-20).log10();
        row.set("rms_dbfs", Cell::F64(rms_dbfs));
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        if self.min_dbfs.is_some_and(|min| rms_dbfs < min) {
            // A row that is not given on is counted as filtered.
            return Ok(());
        }
        cx.emit(row)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let example = "{ type: loudness, min_dbfs: -30 }";
    let registry = builtin().with::<LoudnessConfig>("loudness", StageKind::Map, example);
    let graph = config::load_str("loud-clips", GRAPH, &[], &registry)?;
    let (_, result) = job::run(&graph, JobOptions::default(), &crossbeam::channel::never(), &mut |_| ());
    result?;

    let shards = ShardSet::open("out/own_stage")?;
    println!("{} clips are louder than -30 dBFS; the first five:", shards.n_rows());
    for row in 0..shards.n_rows().min(5) {
        let row = shards.row(row)?;
        let text = |name: &str| row.batch.column_by_name(name).map(|column| column.as_string::<i32>().value(row.index));
        let rms =
            row.batch.column_by_name("rms_dbfs").map(|column| column.as_primitive::<Float64Type>().value(row.index));
        println!("  {:<28} {:>6.1} dBFS", text("clip_id").unwrap_or("?"), rms.unwrap_or(f64::NAN));
    }
    Ok(())
}
