//! `sink_train`: trains Audio-JEPA on the pictures that arrive.

use std::path::{Path, PathBuf};

use ajepa_model::train::{RUN, TrainConfig};
use ajepa_model::{BatchSizes, DeviceChoice, ModelConfig, ModelError, Recipe, TrainMemory};
use ajepa_ops::mask::MaskConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mask::MaskStageConfig;
use super::picture::picture;
use super::sink_shards::SinkShardsConfig;
use crate::schema::{Dtype, Schema};
use crate::shard::{Compression, Manifest};
use crate::stage::{
    BuildCx, BuildError, PlanError, RunInfo, Sink, SinkReport, Stage, StageConfig, StageError, StagePlan, UnitTally,
};
use crate::train::ProbeConfig;

/// Trains Audio-JEPA on the log-mel pictures that arrive, and keeps checkpoints, metrics and a report in a folder.
///
/// Behind a `source_shards` alone it is fed from those shards. Otherwise the pictures are written first, to `data` in the
/// folder, once: every epoch is then read from memory-mapped shards, so that the arithmetic never waits for audio.
/// The same command goes on where it was stopped or killed, step for step the same on a CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkTrainConfig {
    /// The folder of the run; made if it is not there.
    pub path: PathBuf,
    /// What is trained: a preset, and the parts of it that are to be others; a part that is written here is whole, with the part's
    /// own defaults and not the preset's. `picture` and `time_axis` are taken from what arrives.
    #[serde(default)]
    pub model: ModelConfig,
    /// Where to train: `cpu`; `cuda`, `cuda:1`, `vulkan`, ... in a program built with GPUs; `auto` is the first CUDA device where there is
    /// one, else the CPU. A run may go on on another device than it began on; only on a CPU it does so bit for bit. Default: auto.
    #[serde(default, skip_serializing_if = "DeviceChoice::is_auto")]
    pub device: DeviceChoice,
    /// What is hidden from the encoder; the reference's random 40 to 60 % by default.
    #[serde(default)]
    pub mask: MaskConfig,
    /// Steps to train; schedules that are the preset's are stretched to it. Default: the preset's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Clips of a batch. Default 64.
    #[serde(default = "batch_clips")]
    pub batch_clips: usize,
    /// Batches whose gradients are averaged into one step: as a batch so many times larger, in the memory of one. Default 1.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// A checkpoint, or the folder of a run (its best checkpoint by probe, else its newest), whose numbers, moments and steps to begin
    /// with, under this config's schedules: a cool-down, or other data. `steps` and schedules count its steps too. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_checkpoint: Option<PathBuf>,
    /// Labelled clips whose neighbours are asked for while training; the best checkpoint is chosen by them, never by loss. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeConfig>,
    /// Threads that fill batches beside the arithmetic; with 0 it fills them itself. Default 1.
    #[serde(default = "one")]
    pub workers: usize,
    /// Steps between two lines of `metrics.jsonl`. Default 10.
    #[serde(default = "log_every")]
    pub log_every: u64,
    /// Steps between two looks at the health of the representation; a multiple of `log_every`. Default 50.
    #[serde(default = "health_every")]
    pub health_every: u64,
    /// Steps between two checkpoints. Default 1000.
    #[serde(default = "save_every")]
    pub save_every: u64,
    /// The newest so many checkpoints stay, beside the best by probe. Default 2.
    #[serde(default = "keep")]
    pub keep: usize,
    /// Checkpoints at multiples of this step stay for ever. Default: none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
}

fn batch_clips() -> usize {
    64
}

fn one() -> usize {
    1
}

fn log_every() -> u64 {
    TrainConfig::default().log_every
}

fn health_every() -> u64 {
    TrainConfig::default().health_every
}

fn save_every() -> u64 {
    TrainConfig::default().save_every
}

fn keep() -> usize {
    TrainConfig::default().keep
}

impl SinkTrainConfig {
    /// The recipe for pictures as they arrive.
    ///
    /// # Errors
    /// [`PlanError`] naming the field.
    pub fn recipe(&self, inputs: &[Schema]) -> Result<Recipe, PlanError> {
        let arrives = picture(inputs)?;
        for (name, differs) in [
            ("model.picture", self.model.picture.is_some_and(|shape| shape != arrives.shape())),
            ("model.time_axis", self.model.time_axis.is_some_and(|axis| axis != arrives.time_axis())),
        ] {
            if differs {
                let problem = format!("pictures of {:?} arrive, time along {:?}", arrives.shape(), arrives.time_axis());
                return Err(PlanError::field(name, problem, "leave it out"));
            }
        }
        let model =
            ModelConfig { picture: Some(arrives.shape()), time_axis: Some(arrives.time_axis()), ..self.model.clone() };
        let recipe = match self.steps {
            Some(steps) => model.recipe_of(steps),
            None => model.recipe(),
        };
        recipe.map_err(in_plan)
    }

    /// How long is trained by `recipe`, and what is done on the way.
    pub fn train_config(&self, recipe: &Recipe) -> TrainConfig {
        TrainConfig {
            steps: self.steps.unwrap_or(recipe.steps()),
            accumulate: self.accumulate,
            log_every: self.log_every,
            health_every: self.health_every,
            probe_every: self.probe.as_ref().map_or(self.log_every, |probe| probe.every),
            save_every: self.save_every,
            keep: self.keep,
            keep_every: self.keep_every,
        }
    }

    /// Masks over the patches of `recipe`.
    pub fn masks(&self, recipe: &Recipe) -> MaskStageConfig {
        MaskStageConfig { patch: recipe.patch.clone(), mask: self.mask.clone() }
    }

    /// What training on pictures as they arrive takes in memory; of masks whose size varies, those that take most.
    ///
    /// # Errors
    /// [`PlanError`] for a config that does not prove.
    pub fn memory(&self, inputs: &[Schema]) -> Result<TrainMemory, PlanError> {
        let recipe = self.recipe(inputs)?;
        let mut masker = self.masks(&recipe).masker(inputs)?;
        let n_masks = masker.n_masks();
        let n_blocks = masker.draw(0, 0).first().map_or(1, |mask| mask.target_blocks().len().max(1));
        let of_batch = |seed: u64| {
            let counts = masker.batch_counts(seed);
            let (n_context, n_target) = (counts.context?, counts.target_block.or(counts.target)?);
            let sizes = BatchSizes { n_clips: self.batch_clips, n_masks, n_blocks, n_context, n_target };
            recipe.memory(sizes, self.accumulate).ok()
        };
        let most = (0..BATCHES_TRIED).filter_map(of_batch).max_by_key(TrainMemory::total_bytes);
        most.ok_or_else(|| {
            PlanError::field("mask", "the sizes of its masks are not known", "leave `size_per` at `batch`")
        })
    }

    /// How pictures that do not come from shards are stored first.
    fn data(&self, inputs: &[Schema]) -> Result<SinkShardsConfig, PlanError> {
        let column = picture(inputs)?.column;
        let path = self.path.join(DATA);
        Ok(SinkShardsConfig { path, dtype: Dtype::F16, compression: Compression::None, tensors: Some(vec![column]) })
    }
}

/// Batches whose masks are looked at for the size that takes most: sizes are drawn evenly.
const BATCHES_TRIED: u64 = 32;

/// More batches than this for one step are a typing error.
const MAX_ACCUMULATE: usize = 1000;

/// Folder, in that of the run, of pictures that do not come from shards.
pub const DATA: &str = "data";

fn in_plan(error: ModelError) -> PlanError {
    match error {
        ModelError::Config { faults } if !faults.is_empty() => {
            let mut first = PlanError::from(faults[0].clone());
            let part = |field: &str| if field.starts_with("patch_") { "model.patch" } else { "model" };
            first.field = first.field.map(|field| format!("{}.{field}", part(&field)));
            first
        }
        other => PlanError::new(other.to_string(), "see `ajepa-pipe stages sink_train`"),
    }
}

impl StageConfig for SinkTrainConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        self.validate()?;
        super::checks::one_input(inputs)?;
        let recipe = self.recipe(inputs)?;
        self.train_config(&recipe).check().map_err(|error| {
            let mut error = in_plan(error);
            error.field =
                error.field.map(|field| field.trim_start_matches("model.").replace("probe_every", "probe.every"));
            error
        })?;
        let masker = self.masks(&recipe).masker(inputs)?;
        let counts = masker.batch_counts(0);
        if counts.context.is_none() || counts.target_block.or(counts.target).is_none() {
            let problem = "the clips of a batch would have masks of different sizes, which do not stack";
            let help = "leave `size_per` at `batch`; for `multi_block` give `n_context`, such as half the tokens";
            return Err(PlanError::field("mask", problem, help));
        }
        self.data(inputs)?.plan(inputs)
    }

    fn validate(&self) -> Result<(), PlanError> {
        if self.path.as_os_str().is_empty() {
            return Err(PlanError::field("path", "it is empty", "name a folder, such as out/model"));
        }
        if self.accumulate > MAX_ACCUMULATE {
            let problem = format!("{} batches for one step", self.accumulate);
            return Err(PlanError::field("accumulate", problem, format!("1 to {MAX_ACCUMULATE}")));
        }
        if let Some(ProbeConfig { k, max_rows, .. }) = &self.probe
            && (*k == 0 || *max_rows == 0)
        {
            return Err(PlanError::field("probe", "it has nobody to ask", "`k` and `max_rows` of 1 or more"));
        }
        if self.batch_clips == 0 {
            return Err(PlanError::field("batch_clips", "0 is too few", "1 or more; 16 to 256 are usual"));
        }
        Ok(())
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        super::checks::folder_to_write(&self.path)?;
        no_shards(&self.path)?;
        let data = self.data(cx.inputs)?;
        let Stage::Sink(shards) = data.build(cx)? else {
            return Err(BuildError::new("sink_shards built no sink", "this is a bug"));
        };
        Ok(Stage::Sink(Box::new(TrainSink { path: self.path.clone(), shards, n_rows: None })))
    }

    fn content(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "dtype": Dtype::F16 }))
    }

    fn device(&self) -> Option<DeviceChoice> {
        Some(self.device)
    }

    fn training(&self) -> Option<&SinkTrainConfig> {
        Some(self)
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn with_folder(&self, folder: PathBuf) -> Option<Box<dyn StageConfig>> {
        Some(Box::new(Self { path: folder, ..self.clone() }))
    }
}

/// Refuses a folder of shards in which no training was begun.
fn no_shards(path: &Path) -> Result<(), BuildError> {
    if Manifest::read(path).is_err() || path.join(RUN).exists() {
        return Ok(());
    }
    let problem = format!("{} holds shards, and a training is to be kept there", path.display());
    Err(BuildError::new(problem, "give it another `path`, such as one beside them"))
}

/// Whether a graph, as its fingerprint has it, is a set of shards and nothing else.
fn is_shards_alone(graph: &serde_json::Value) -> bool {
    let stages = graph["stages"].as_array().map_or(&[][..], Vec::as_slice);
    stages.len() == 2 && stages[0]["type"] == "source_shards"
}

/// Stores the rows, unless they lie in shards already.
struct TrainSink {
    path: PathBuf,
    shards: Box<dyn Sink>,
    /// Rows that lie in shards already.
    n_rows: Option<(u64, u64)>,
}

impl Sink for TrainSink {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        if !is_shards_alone(&run.graph) {
            return self.shards.open(run);
        }
        self.n_rows = Some((run.units.iter().map(|unit| unit.n_clips).sum(), run.units.len() as u64));
        Ok(vec![true; run.units.len()])
    }

    fn write(&mut self, unit: usize, rows: arrow::array::RecordBatch) -> Result<(), StageError> {
        self.shards.write(unit, rows)
    }

    fn end_unit(&mut self, unit: usize, tally: UnitTally) -> Result<(), StageError> {
        self.shards.end_unit(unit, tally)
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        let Some((rows, units)) = self.n_rows else { return self.shards.finish() };
        Ok(SinkReport { path: Some(self.path.clone()), rows, units, complete: true, ..SinkReport::default() })
    }
}
