//! Training in a graph: what a `sink_train` asks for, done with the shards that its rows lie in.

mod fault;
mod fed;
mod memory;
mod probe;
mod telling;

use std::path::{Path, PathBuf};

use ajepa_model::Recipe;
use ajepa_model::checkpoint::Checkpoint;
use ajepa_model::telemetry::Moment;
use ajepa_model::train::{Ended, Origin, Probe, RunFolder, TrainConfig, TrainError, Trainer};
use crossbeam::channel::Receiver;
use serde_json::{Value, json};

pub use fault::TrainingFault;
pub use fed::{Fed, Lent};
pub use memory::available_bytes;
pub use probe::{ProbeConfig, ShardProbe};
pub use telling::PAGE;

use fault::SHOWN_DIFFERENCES;
use telling::Telling;

use crate::engine::StopSignal;
use crate::feed::{Feed, FeedConfig, FeedPlace, PageMemory};
use crate::front_end::FrontEnd;
use crate::plan::Fingerprint;
use crate::report::TrainingReport;
use crate::schema::Schema;
use crate::shard::{Manifest, TensorInfo, differences};
use crate::stages::sink_train::{DATA, SinkTrainConfig};

/// A training that is to be done.
pub struct Training<'a> {
    /// `pipeline:` of the graph.
    pub pipeline: &'a str,
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

impl Training<'_> {
    /// Refuses what cannot be trained here, before the graph has made its pictures: a training that takes more memory than there is,
    /// or one on other pictures than those that the run in its folder has seen. `inputs` is what arrives at its stage, `graph` what
    /// decides its content.
    ///
    /// # Errors
    /// [`TrainingFault`] with the cure.
    pub fn ready(&self, inputs: &[Schema], graph: &Fingerprint) -> Result<(), TrainingFault> {
        // What is wrong with the folder is said when the run is gone on with.
        let newest = RunFolder::new(&self.config.path).newest().ok().flatten().filter(|_| !self.fresh);
        if let Some(newest) = &newest {
            self.same_pictures(newest, graph)?;
        }
        let asked = self.config.train_config(&self.recipe).steps;
        let is_done = newest.as_ref().is_some_and(|newest| newest.card().steps >= asked);
        if !is_done && let Some(available) = available_bytes() {
            memory::fits(self.config, inputs, available)?;
        }
        Ok(())
    }

    /// Refuses a graph that would write other pictures over those that the run of `newest` was made of: into a new generation, but
    /// the run would be refused for them afterwards. Of other files nothing is known before they were read; they may be the same audio.
    fn same_pictures(&self, newest: &Checkpoint, graph: &Fingerprint) -> Result<(), TrainingFault> {
        let data = self.config.path.join(DATA);
        let Ok(manifest) = Manifest::read(&data) else { return Ok(()) };
        let seen = |tensor: &TensorInfo| newest.card().data_hash.as_ref() == Some(&data_hash(&manifest, tensor));
        if self.shards != data || !manifest.tensors.iter().any(seen) {
            return Ok(());
        }
        let [old, new] = [&manifest.graph, &graph.graph].map(deciding);
        if old == new {
            return Ok(());
        }
        let lines = differences(&old, &new, SHOWN_DIFFERENCES);
        let (path, data) = (self.config.path.display(), data.display());
        Err(TrainingFault::usage(
            format!("{path} holds a training on other pictures: {}", lines.join("; ")),
            format!(
                "give the new one another `path`; --fresh puts the old one aside, into a folder `earlier-N`; to go on with the old \
                 pictures as they are, begin the graph with a `source_shards` of {data}"
            ),
        ))
    }

    /// Trains, from the beginning or from where the folder's run is, until all steps are done or `stop` has a message.
    ///
    /// # Errors
    /// [`TrainingFault`]; the last checkpoint, where one was written, is good.
    pub fn run(
        &self,
        stop: &Receiver<StopSignal>,
        observe: &mut dyn FnMut(&Moment<'_>),
    ) -> Result<(TrainingReport, Option<StopSignal>), TrainingFault> {
        let config = self.config.train_config(&self.recipe);
        let folder = RunFolder::new(&self.config.path);
        let mut notes = Vec::new();
        let told = |error: TrainError| self.fault(&error);
        let _lock = folder.lock().map_err(told)?;
        // All that can be at fault is tried before a run that is there is touched.
        let (mut origin, tensor) = self.origin()?;
        let probe = self.config.probe.as_ref();
        let mut probe = probe.map(|probe| ShardProbe::open(probe, &tensor)).transpose()?;
        let first = Fed(self.feed(&tensor, &Value::Null, &config)?);
        if self.fresh
            && let Some(aside) = folder.put_aside().map_err(told)?
        {
            notes.push(format!("the run that was here is kept in {}", aside.display()));
        }
        if let Some(path) = &self.config.from_checkpoint
            && folder.newest().map_err(|error| told(error.into()))?.is_none()
        {
            let from = beginning(path, &origin)?;
            notes.push(begins_with(&from, path));
            origin.from = Some(from);
        }
        ajepa_model::keep_pages();
        let on = self.config.device.open().map_err(|error| TrainingFault::usage(error.problem, error.help))?;
        let mut trainer = Trainer::begin(folder, origin, config.clone(), &on).map_err(told)?;
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
        if trainer.is_done() {
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
        let ran = ran.map_err(told);
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
        feed.open_at(&[&self.shards], place, &PageMemory).map_err(|error| self.feed_fault(error))
    }
}

/// What of a graph surely changes its pictures: not the version of the program, nor the length up to which clips are taken, which
/// most often is the length of none.
fn deciding(graph: &Value) -> Value {
    let mut graph = graph.clone();
    if let Value::Object(fields) = &mut graph {
        fields.retain(|name, _| !["version", "clip_cap_bytes"].contains(&name.as_str()));
    }
    graph
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

/// Where a training that is to begin with another's checkpoint begins; `None` where it begins anew, or goes on.
pub fn beginning_words(config: &SinkTrainConfig, fresh: bool) -> Option<String> {
    let path = config.from_checkpoint.as_ref()?;
    let is_begun = RunFolder::new(&config.path).checkpoints().is_ok_and(|steps| !steps.is_empty());
    // What is wrong with it is said when it is begun with.
    let from = find_checkpoint(path).ok().filter(|_| fresh || !is_begun)?;
    Some(begins_with(&from, path))
}

/// Which step of which run, and what is newer there.
fn begins_with(from: &Checkpoint, path: &Path) -> String {
    let (run, step) = (RunFolder::new(path), from.card().steps);
    let newest = run.checkpoints().ok().and_then(|steps| steps.last().copied());
    let newer = newest.filter(|newest| *newest > step).map_or_else(String::new, |newest| {
        format!(", its best by probe; {} is newer, and can be named instead", run.checkpoint(newest).display())
    });
    format!("begins with step {step} of {}{newer}", from.dir().display())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ajepa_model::checkpoint::About;
    use ajepa_model::{EncoderConfig, Learner, ModelConfig};

    use super::*;

    #[test]
    fn where_it_begins_is_said_and_what_is_newer() {
        let encoder = EncoderConfig { width: 16, depth: 1, n_heads: 1, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 };
        let model = ModelConfig { picture: Some([32, 32]), encoder: Some(encoder), ..ModelConfig::default() };
        let mut learner = Learner::new(model.recipe().unwrap(), 0, &ajepa_model::Device::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::new(dir.path());
        std::fs::create_dir(dir.path().join("checkpoints")).unwrap();
        let fs: Arc<dyn ajepa_store::Fs> = Arc::new(ajepa_store::RealFs);
        for (steps, best) in [(20, 20), (40, 20)] {
            learner.steps = steps;
            let about = About { notes: json!({ "best": { "step": best, "knn": 0.5 } }), ..About::default() };
            learner.save(&fs, &run.checkpoint(steps), about).unwrap();
        }
        let config = |folder: &str, from: &Path| -> SinkTrainConfig {
            let (path, from) = (dir.path().join(folder), from.display());
            serde_saphyr::from_str(&format!("{{ path: {}, from_checkpoint: {from} }}", path.display())).unwrap()
        };
        let words = beginning_words(&config("new", dir.path()), false).unwrap();
        let [begun, newer] = [20, 40].map(|step| run.checkpoint(step).display().to_string());
        assert_eq!(
            words,
            format!("begins with step 20 of {begun}, its best by probe; {newer} is newer, and can be named instead")
        );
        let words = beginning_words(&config("new", &run.checkpoint(40)), false).unwrap();
        assert_eq!(words, format!("begins with step 40 of {newer}"));
        // A run that has steps of its own goes on from those.
        assert_eq!(beginning_words(&config("", dir.path()), false), None);
        assert!(beginning_words(&config("", dir.path()), true).is_some());
    }
}
