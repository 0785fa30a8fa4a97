//! Training in a graph: what a `sink_train` asks for, done with the shards that its rows lie in.

mod fed;
mod probe;
mod telling;

use std::path::{Path, PathBuf};

use ajepa_model::checkpoint::Checkpoint;
use ajepa_model::telemetry::Moment;
use ajepa_model::train::{Batches, Ended, Origin, Probe, RunFolder, TrainConfig, TrainError, Trainer};
use ajepa_model::{Device, Recipe};
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
use crate::shard::{MANIFEST, Manifest, TensorInfo, differences};
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
            TrainError::Checkpoint(_) | TrainError::Damaged { .. } => {
                Self::new(problem, "move that folder away, and the run goes on from the checkpoint before it")
            }
            TrainError::Batch { .. } => Self::new(
                problem,
                "nothing of that step was applied, the last checkpoint is good; a smaller learning rate or a clip_norm where \
                 it diverged, `exclude` in the graph that made the shards where a clip is at fault",
            ),
            TrainError::Store(_) => Self::new(problem, "the last checkpoint is good; the same command goes on from it"),
            _ => Self::new(problem, "the same command goes on from the last checkpoint"),
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
        if self.fresh
            && let Some(aside) = folder.put_aside()?
        {
            notes.push(format!("the run that was here is kept in {}", aside.display()));
        }
        let (origin, tensor) = self.origin()?;
        ajepa_model::keep_pages();
        let mut trainer = Trainer::begin(folder, origin, config.clone(), &Device::default())?;
        let mut fed = Fed(self.feed(&tensor, trainer.place(), &config)?);
        let probe = self.config.probe.as_ref();
        let mut probe = probe.map(|probe| ShardProbe::open(probe, &tensor)).transpose()?;
        let probe = probe.as_mut().map(|probe| -> &mut dyn Probe { probe });
        let mut telling = Telling::new(self, &trainer, config.steps);
        self.draw_first(&mut telling, &tensor, &config);
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
        let report = TrainingReport {
            stage: self.stage.to_owned(),
            path: self.config.path.clone(),
            steps: trainer.learner().steps,
            steps_asked: config.steps,
            best: trainer.best().map(|best| (best.step, best.knn)),
            data_wait: fed.0.metrics().wait_share(),
            notes,
        };
        Ok((report, stopped.filter(|_| ended == Ended::Stopped)))
    }

    /// Shows the clips of the very first batch on the page; whatever is wrong with them, the run will say.
    fn draw_first(&self, telling: &mut Telling<'_>, tensor: &TensorInfo, config: &TrainConfig) {
        let first = self.feed(tensor, &Value::Null, config).ok().map(Fed);
        if let Some(mut fed) = first
            && let Ok(Some(lent)) = fed.next()
        {
            let names = fed.clips(&lent);
            telling.draw(&lent, &names, tensor);
        }
    }

    /// What the run is made from, and the tensor that it is fed.
    fn origin(&self) -> Result<(Origin, TensorInfo), TrainingFault> {
        let unreadable = |problem: String| TrainingFault::new(problem, "run the graph that makes the shards first");
        let manifest = Manifest::read(&self.shards).map_err(|error| unreadable(error.to_string()))?;
        let path = self.shards.join(MANIFEST);
        let bytes = std::fs::read(&path).map_err(|error| unreadable(format!("{}: {error}", path.display())))?;
        let is_picture = |tensor: &&TensorInfo| {
            tensor.shape.len() == 2 && tensor.shape == self.recipe.picture && tensor.axes.iter().any(|a| a == "frames")
        };
        let tensor = manifest.tensors.iter().find(is_picture).cloned().ok_or_else(|| {
            let problem = format!("{}: no pictures of {:?} in it", self.shards.display(), self.recipe.picture);
            unreadable(problem)
        })?;
        let front_end = FrontEnd::new(&manifest, &tensor);
        let from = self.config.from_checkpoint.as_deref().map(find_checkpoint).transpose()?;
        if let Some(from) = &from {
            same_front_end(from, &front_end)?;
        }
        let batches = json!({ "clips": self.config.batch_clips, "mask": self.config.mask });
        let origin = Origin {
            recipe: self.recipe.clone(),
            seed: self.seed,
            front_end: serde_json::to_value(front_end).unwrap_or_default(),
            data_hash: Some(blake3::hash(&bytes).to_hex().to_string()),
            batches,
            from,
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
            buffers: FeedConfig::default().buffers.max(config.accumulate + 2),
            ..FeedConfig::default()
        };
        let place = if place.is_null() { FeedPlace::default() } else { read_place(place)? };
        feed.open_at(&[&self.shards], place, &PageMemory).map_err(|error| {
            TrainingFault::usage(error.to_string(), "`batch_clips` is at most the number of clips in the shards")
        })
    }
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
