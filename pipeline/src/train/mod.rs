//! Training in a graph: what a `sink_train` asks for, done with the shards that its rows lie in.

mod fed;
mod probe;
mod telling;

use std::path::{Path, PathBuf};

use ajepa_model::checkpoint::{Checkpoint, CheckpointError};
use ajepa_model::telemetry::Moment;
use ajepa_model::train::{Ended, Origin, Probe, RunFolder, TrainConfig, TrainError, Trainer};
use ajepa_model::{ModelError, Recipe};
use crossbeam::channel::Receiver;
use serde_json::{Value, json};

pub use fed::{Fed, Lent};
pub use probe::{ProbeConfig, ShardProbe};
pub use telling::PAGE;

use telling::Telling;

use crate::engine::StopSignal;
use crate::feed::{Feed, FeedConfig, FeedPlace, PageMemory};
use crate::front_end::FrontEnd;
use crate::report::TrainingReport;
use crate::shard::{Manifest, TensorInfo, differences};
use crate::stages::sink_train::SinkTrainConfig;

/// Differences between two runs that are shown.
const SHOWN_DIFFERENCES: usize = 12;

/// A training that is to be done.
pub struct Training<'a> {
    /// `id` of its stage.
    pub stage: &'a str,
    /// What is asked for.
    pub config: &'a SinkTrainConfig,
    /// What is trained, for the pictures of the shards.
    pub recipe: Recipe,
    /// The shards.
    pub shards: PathBuf,
    /// Seed of the run.
    pub seed: u64,
    /// Whether a run that is there is put aside.
    pub fresh: bool,
}

/// Why a training did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct TrainingFault {
    /// What is wrong.
    pub problem: String,
    /// What would cure it.
    pub help: String,
    /// Whether nothing was begun, because what was asked for does not fit.
    pub is_usage: bool,
}

impl TrainingFault {
    fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), help: help.into(), is_usage: false }
    }

    fn usage(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { is_usage: true, ..Self::new(problem, help) }
    }
}

impl From<TrainError> for TrainingFault {
    fn from(error: TrainError) -> Self {
        let problem = error.to_string();
        match &error {
            TrainError::Changed { old, new, .. } => {
                let lines = differences(old, new, SHOWN_DIFFERENCES);
                Self::usage(
                    format!("{problem}: {}", lines.join("; ")),
                    "give the new one another `path`; --fresh puts the old one aside, into a folder `earlier-N`",
                )
            }
            TrainError::Model(_) => Self::usage(problem, "see `ajepa-pipe stages sink_train`"),
            TrainError::Busy { .. } => Self::usage(problem, "wait for it, or give this one another `path`"),
            TrainError::Checkpoint(CheckpointError::Mismatch { .. } | CheckpointError::Model(_)) => {
                Self::usage(problem, "sizes and target of `model` must be those of the checkpoint that is gone on from")
            }
            TrainError::Checkpoint(CheckpointError::Store(_)) | TrainError::Store(_) => Self::new(
                problem,
                "see to the disk (space, rights); the last checkpoint is good, and the same command goes on from it",
            ),
            TrainError::Checkpoint(_) => {
                Self::new(problem, "move that checkpoint away, and the run goes on from the one before it")
            }
            TrainError::Damaged { .. } => Self::new(
                problem,
                "move it away: a run without that file is known by its newest checkpoint, without that checkpoint it goes on \
                 from the one before it",
            ),
            TrainError::Batch { source: ModelError::Picture { .. }, .. } => Self::new(
                problem,
                "leave the clip out with `exclude` in the graph that made the shards; numbers beyond 65,504 are infinite in \
                 half floats. The last checkpoint is good",
            ),
            TrainError::Batch { source: ModelError::Device { .. }, .. } => Self::new(
                problem,
                "where its memory is full, a smaller `batch_clips` with more to `accumulate` is the same step; the last checkpoint is \
                 good, and the same command goes on from it",
            ),
            TrainError::Batch { .. } => Self::new(
                problem,
                "nothing of that step was applied and the last checkpoint is good; begin again under another `path`, with a \
                 smaller learning rate or a clip_norm, from that checkpoint (`from_checkpoint`) where there is one",
            ),
            TrainError::Data(_) => Self::new(
                problem,
                "a damaged part under `data` is made again once it is deleted; the same command then goes on from the last \
                 checkpoint",
            ),
            TrainError::Probe(_) => Self::new(problem, "see to `probe`; the last checkpoint is good"),
        }
    }
}

impl Training<'_> {
    /// Trains, from the beginning or from where the folder's run is, until all steps are done or `stop` has a message.
    ///
    /// # Errors
    /// [`TrainingFault`]; the last checkpoint is there and good.
    pub fn run(
        &self,
        stop: &Receiver<StopSignal>,
        observe: &mut dyn FnMut(&Moment<'_>),
    ) -> Result<(TrainingReport, Option<StopSignal>), TrainingFault> {
        let config = self.config.train_config(&self.recipe);
        let folder = RunFolder::new(&self.config.path);
        let mut notes = Vec::new();
        let _lock = folder.lock()?;
        // All that can be at fault is tried before a run that is there is touched.
        let (mut origin, tensor) = self.origin()?;
        let probe = self.config.probe.as_ref();
        let mut probe = probe.map(|probe| ShardProbe::open(probe, &tensor)).transpose()?;
        let first = Fed(self.feed(&tensor, &Value::Null, &config)?);
        if self.fresh
            && let Some(aside) = folder.put_aside()?
        {
            notes.push(format!("the run that was here is kept in {}", aside.display()));
        }
        if let Some(path) = &self.config.from_checkpoint
            && folder.newest().map_err(TrainError::from)?.is_none()
        {
            let from = beginning(path, &origin)?;
            notes.push(format!("begins with step {} of {}", from.card().steps, from.dir().display()));
            origin.from = Some(from);
        }
        ajepa_model::keep_pages();
        let on = self.config.device.open().map_err(|error| TrainingFault::usage(error.problem, error.help))?;
        let mut trainer = Trainer::begin(folder, origin, config.clone(), &on)?;
        let steps = trainer.learner().steps;
        if steps > config.steps {
            let problem = format!("{steps} steps are done, and `steps` asks for {} in all", config.steps);
            return Err(TrainingFault::usage(problem, format!("steps: {} or more", steps + 1)));
        }
        let report = |trainer: &Trainer, data_wait, notes| TrainingReport {
            stage: self.stage.to_owned(),
            path: self.config.path.clone(),
            steps: trainer.learner().steps,
            steps_asked: config.steps,
            best: trainer.best().map(|best| (best.step, best.knn)),
            device: on.name.clone(),
            data_wait,
            notes,
        };
        if steps == config.steps {
            return Ok((report(&trainer, 0.0, notes), None));
        }
        let mut computed_on = on.name.clone();
        if let Some(before) = trainer.device_before().filter(|before| *before != on.name) {
            let words = "the steps that follow are not to the bit those it would have made there";
            notes.push(format!("goes on on {}, begun on {before}: {words}", on.name));
            computed_on = format!("{}, begun on {before}", on.name);
        }
        let mut fed = Fed(self.feed(&tensor, trainer.place(), &config)?);
        let probe = probe.as_mut().map(|probe| -> &mut dyn Probe { probe });
        let mut telling = Telling::new(self, &trainer, config.steps, computed_on);
        telling.draw_first(first, &tensor);
        let mut stopped = None;
        let ran = trainer.run(&mut fed, probe, &mut |moment| {
            telling.see(moment);
            observe(moment);
            stopped = stopped.or_else(|| stop.try_recv().ok());
            stopped.is_none()
        });
        let ran = ran.map_err(TrainingFault::from);
        telling.page(outcome(&ran), ran.as_ref().err());
        notes.append(&mut telling.notes);
        let ended = ran?;
        let done = report(&trainer, fed.0.metrics().wait_share(), notes);
        Ok((done, stopped.filter(|_| ended == Ended::Stopped)))
    }

    /// What the run is made from, and the tensor that it is fed.
    fn origin(&self) -> Result<(Origin, TensorInfo), TrainingFault> {
        let unreadable = |problem: String| TrainingFault::new(problem, "run the graph that makes the shards first");
        let manifest = Manifest::read(&self.shards).map_err(|error| unreadable(error.to_string()))?;
        let is_picture = |tensor: &&TensorInfo| {
            tensor.shape.len() == 2 && tensor.shape == self.recipe.picture && tensor.axes.iter().any(|a| a == "frames")
        };
        let tensor = manifest.tensors.iter().find(is_picture).cloned().ok_or_else(|| {
            let problem = format!("{}: no pictures of {:?} in it", self.shards.display(), self.recipe.picture);
            unreadable(problem)
        })?;
        let front_end = FrontEnd::new(&manifest, &tensor);
        let batches = json!({ "clips": self.config.batch_clips, "mask": self.config.mask });
        let origin = Origin {
            recipe: self.recipe.clone(),
            seed: self.seed,
            front_end: serde_json::to_value(front_end).unwrap_or_default(),
            data_hash: Some(data_hash(&manifest, &tensor)),
            batches,
            from: None,
            from_name: self.config.from_checkpoint.as_ref().map(|path| path.display().to_string()),
        };
        Ok((origin, tensor))
    }

    /// The feed, from `place` on.
    fn feed(&self, tensor: &TensorInfo, place: &Value, config: &TrainConfig) -> Result<Feed, TrainingFault> {
        let feed = FeedConfig {
            column: tensor.column.clone(),
            batch_clips: self.config.batch_clips,
            seed: self.seed,
            masks: Some(self.config.masks(&self.recipe)),
            workers: self.config.workers,
            buffers: FeedConfig::default().buffers.max(2 * config.accumulate + 2),
            ..FeedConfig::default()
        };
        let place = if place.is_null() { FeedPlace::default() } else { read_place(place)? };
        feed.open_at(&[&self.shards], place, &PageMemory).map_err(|error| {
            TrainingFault::usage(error.to_string(), "`batch_clips` is at most the number of rows in the shards")
        })
    }
}

/// Names what is trained on: the pictures and what lies with them, whenever and wherever they were written.
fn data_hash(manifest: &Manifest, tensor: &TensorInfo) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{} {:?} {:?} {:?}", tensor.column, tensor.dtype, tensor.shape, tensor.axes).as_bytes());
    for part in &manifest.parts {
        hasher.update(&part.rows.to_le_bytes());
        part.pages.0.iter().for_each(|page| {
            hasher.update(&page.to_le_bytes());
        });
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn outcome(ran: &Result<Ended, TrainingFault>) -> &'static str {
    match ran {
        Ok(Ended::Done | Ended::OutOfData) => "done",
        Ok(Ended::Stopped) => "stopped",
        Err(_) => "failed",
    }
}

fn read_place(place: &Value) -> Result<FeedPlace, TrainingFault> {
    serde_json::from_value(place.clone()).map_err(|error| {
        TrainingFault::new(
            format!("the checkpoint's place in the data: {error}"),
            "move that checkpoint away, and the run goes on from the one before it",
        )
    })
}

/// The checkpoint `path`, or of the run `path` the best one, or the newest where none was probed.
///
/// # Errors
/// [`TrainingFault`] naming what is there instead.
pub fn find_checkpoint(path: &Path) -> Result<Checkpoint, TrainingFault> {
    let help = "name a folder with checkpoint.json, or the folder of a run";
    ajepa_model::train::find_checkpoint(path).map_err(|error| TrainingFault::usage(error.to_string(), help))
}

/// The checkpoint to begin with.
fn beginning(path: &Path, origin: &Origin) -> Result<Checkpoint, TrainingFault> {
    let from = find_checkpoint(path)?;
    if let Ok(here) = serde_json::from_value(origin.front_end.clone()) {
        same_front_end(&from, &here)?;
    }
    Ok(from)
}

/// Refuses to go on from a checkpoint that saw other pictures.
fn same_front_end(from: &Checkpoint, here: &FrontEnd) -> Result<(), TrainingFault> {
    let Ok(there) = serde_json::from_value::<FrontEnd>(from.card().front_end.clone()) else { return Ok(()) };
    let differences = there.differences(&here.tensor.tensor_type());
    if differences.is_empty() {
        return Ok(());
    }
    Err(TrainingFault::usage(
        format!("{} was trained on pictures of another front end: {}", from.dir().display(), differences.join("; ")),
        "make shards with the checkpoint's front end; `ajepa-pipe checkpoint show` prints it",
    ))
}
