//! The loop, top to bottom.

use ajepa_store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::batches::{Batches, FedBatch};
use super::config::TrainConfig;
use super::error::TrainError;
use super::folder::RunFolder;
use super::log::Log;
use super::meter::Meter;
use super::unasked::Unasked;
use crate::ModelError;
use crate::batch::TrainBatch;
use crate::checkpoint::{About, Checkpoint};
use crate::config::Recipe;
use crate::device::OpenDevice;
use crate::jepa::{Jepa, Uploaded, Uploader};
use crate::step::{Learner, StepReport};
use crate::telemetry::{Alarm, AlarmKind, Alarms, Moment, Phase, ProbeScores, Record, health};

/// Asks small questions of the frozen encoder.
pub trait Probe {
    /// Scores of `model` as it is now; a function of the model alone. `goes_on` is asked every second or two: once it says `false` the
    /// probe is given up, and there are none.
    ///
    /// # Errors
    /// A sentence.
    fn score(&mut self, model: &Jepa, goes_on: &mut dyn FnMut() -> bool) -> Result<Option<ProbeScores>, String>;
}

/// What a run is made from: all that decides what its steps do.
#[derive(Debug, Clone)]
pub struct Origin {
    /// What is trained and how.
    pub recipe: Recipe,
    /// Seed of everything random.
    pub seed: u64,
    /// The front end that the pictures come from; null when unknown.
    pub front_end: Value,
    /// Hash of the data's manifest.
    pub data_hash: Option<String>,
    /// How batches are drawn, in the words of whoever draws them: sizes, masks.
    pub batches: Value,
    /// A checkpoint whose numbers and steps the run begins with; it may have been trained by another recipe, on other data. Looked
    /// at once: a run that has a checkpoint of its own goes on from that, whatever became of this one.
    pub from: Option<Checkpoint>,
    /// What the user called `from`.
    pub from_name: Option<String>,
}

/// Why [`Trainer::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Done,
    /// It was told to stop; a checkpoint of the last step is there.
    Stopped,
    /// There are no more batches; a checkpoint of the last step is there.
    OutOfData,
}

/// Where a checkpoint goes.
#[derive(Debug, Clone, Copy)]
enum Save {
    /// To the others; one of the same step stays.
    Beside,
    /// In the place of the one of the same step.
    InPlaceOf,
}

/// What telemetry keeps in a checkpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Notes {
    /// Clips seen.
    clips: u64,
    /// The best probe so far; of equals the latest.
    best: Option<Best>,
    alarms: Alarms,
    /// The record of the last step, where its probe was given up: it is asked again before the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    unasked: Option<Unasked>,
    /// What it was computed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

/// The best probe so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done then.
    pub step: u64,
    /// Its score.
    pub knn: f64,
}

/// A run in its folder.
pub struct Trainer {
    folder: RunFolder,
    config: TrainConfig,
    learner: Learner,
    front_end: Value,
    data_hash: Option<String>,
    /// Where batches go on, by the checkpoint.
    place: Value,
    notes: Notes,
    log: Log,
    steps_before: u64,
    /// What the checkpoint was computed on that training goes on from.
    device_before: Option<String>,
}

/// The batches of a step: on loan, the first of them on the device, and where the next ones lie.
struct Fetched<B> {
    lent: Vec<B>,
    first: Result<Uploaded, ModelError>,
    place: Value,
}

impl Trainer {
    /// Begins a run in `folder`, or goes on from its newest checkpoint.
    ///
    /// # Errors
    /// [`TrainError`]: a config that does not fit, a folder that holds another run, a checkpoint that is damaged.
    pub fn begin(folder: RunFolder, origin: Origin, config: TrainConfig, on: &OpenDevice) -> Result<Self, TrainError> {
        let device = &on.device;
        config.check()?;
        folder.claim(&identity(&origin, config.accumulate))?;
        let (mut place, mut notes) = (Value::Null, Notes::default());
        let learner = if let Some(newest) = folder.newest()? {
            same_run(&folder, &newest, &origin)?;
            place = newest.card().place.clone();
            notes = serde_json::from_value(newest.card().notes.clone()).map_err(|error| TrainError::Damaged {
                path: newest.dir().to_owned(),
                problem: format!("its notes: {error}"),
            })?;
            // The recipe as asked for, which is the checkpoint's: JSON may have lost the last bit of a number.
            Learner::restore_as(&newest, origin.recipe.clone(), origin.seed, device)?
        } else if let Some(from) = &origin.from {
            Learner::restore_as(from, origin.recipe.clone(), origin.seed, device)?
        } else {
            Learner::new(origin.recipe.clone(), origin.seed, device)?
        };
        // A record whose probe is still to be asked is written once more.
        let log = folder.log(learner.steps - u64::from(notes.unasked.is_some()))?;
        let Origin { front_end, data_hash, .. } = origin;
        let steps_before = learner.steps;
        let device_before = notes.device.replace(on.name.clone());
        Ok(Self { folder, config, learner, front_end, data_hash, place, notes, log, steps_before, device_before })
    }

    /// What is trained, as far as it has come.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// Where the next batch lies, as [`Batches::place`] said it; null at the very beginning.
    pub fn place(&self) -> &Value {
        &self.place
    }

    /// The folder of the run.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// What the checkpoint was computed on that training goes on from, where it says so.
    pub fn device_before(&self) -> Option<&str> {
        self.device_before.as_deref()
    }

    /// The best probe so far.
    pub fn best(&self) -> Option<Best> {
        self.notes.best
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.learner.steps >= self.config.steps && self.notes.unasked.is_none()
    }

    /// Makes steps until there are as many as were asked for, or `watch` says `false`. It is told after every step, whenever something
    /// else than a step begins, and every second or two of a probe, which is given up when training is to stop: the next process asks
    /// it again, so that the log is the same.
    ///
    /// # Errors
    /// [`TrainError`]; the last checkpoint is there and good. Of a step that diverged or met a bad picture nothing was applied,
    /// and its clips are named.
    pub fn run<B: Batches>(
        &mut self,
        batches: &mut B,
        mut probe: Option<&mut dyn Probe>,
        watch: &mut dyn FnMut(&Moment<'_>) -> bool,
    ) -> Result<Ended, TrainError> {
        let mut meter = Meter::new();
        let mut loss = 0.0;
        let mut ended = Ended::Done;
        self.place = batches.place();
        if let Some(unasked) = self.notes.unasked.take() {
            let (seen, goes_on) = self.ask(unasked.into_record(), &mut probe, &mut meter, watch)?;
            if let Some((record, alarms)) = &seen {
                loss = record.loss;
                self.tell(watch, Phase::Saving, loss, &meter);
                self.save(Save::InPlaceOf)?;
                let moment = self.moment(Phase::Training, loss, &meter);
                watch(&Moment { record: Some(record), alarms, ..moment });
            }
            if seen.is_none() || !goes_on {
                ended = Ended::Stopped;
            }
        }
        let uploader = self.learner.model.uploader().clone();
        let mut waited_s = batches.waited_s();
        let mut next = None;
        while ended == Ended::Done && self.learner.steps < self.config.steps {
            let fetched = next.take().unwrap_or_else(|| fetch(batches, self.config.accumulate, &uploader))?;
            let Some(Fetched { lent, first, place }) = fetched else {
                ended = Ended::OutOfData;
                break;
            };
            let parts: Vec<TrainBatch<'_>> = lent.iter().map(FedBatch::batch).collect();
            let more = self.learner.steps + 1 < self.config.steps;
            let report = first.and_then(|first| {
                self.learner.step_from(first, &parts, || {
                    next = more.then(|| fetch(batches, self.config.accumulate, &uploader));
                })
            });
            let report = report.map_err(|source| self.fault(source, batches, &lent))?;
            self.place = place;
            let clips = parts.iter().map(|part| part.n_clips as u64).sum();
            self.notes.clips += clips;
            meter.step(clips, batches.waited_s() - waited_s);
            waited_s = batches.waited_s();
            loss = report.loss;

            let (last, epoch) = (parts[parts.len() - 1], lent[lent.len() - 1].epoch());
            let is_last = self.learner.steps == self.config.steps;
            let record =
                (is_last || self.is_due(self.config.log_every)).then(|| self.record(&report, &last, epoch, is_last));
            drop(parts);
            drop((lent, report));
            let best_before = self.notes.best;
            let (seen, goes_on) = match record {
                Some(record) => self.ask(record, &mut probe, &mut meter, watch)?,
                None => (None, true),
            };
            let (record, alarms) = seen.unzip();
            let moment = self.moment(Phase::Training, loss, &meter);
            let alarms = alarms.as_deref().unwrap_or_default();
            let goes_on = watch(&Moment { record: record.as_ref(), alarms, ..moment }) && goes_on;
            if self.notes.best != best_before || self.is_due(self.config.save_every) || !goes_on || is_last {
                self.tell(watch, Phase::Saving, loss, &meter);
                self.save(Save::Beside)?;
                meter.skip();
            }
            if self.notes.unasked.is_some() || (!goes_on && !is_last) {
                ended = Ended::Stopped;
            }
        }
        if ended == Ended::OutOfData {
            self.save(Save::Beside)?;
        }
        self.tell(watch, Phase::Ended, loss, &meter);
        Ok(ended)
    }

    fn is_due(&self, every: u64) -> bool {
        self.learner.steps.is_multiple_of(every)
    }

    /// What a step says of itself, and of the representation where that is due or there is no later look.
    fn record(&self, report: &StepReport, last: &TrainBatch<'_>, epoch: u64, is_last: bool) -> Record {
        let StepReport { loss, regulariser, grad_norm, lr, weight_decay, tau, .. } = *report;
        let (step, clips) = (self.learner.steps, self.notes.clips);
        let looks = is_last || self.is_due(self.config.health_every);
        let device = self.notes.device.clone().unwrap_or_default();
        let health = looks.then(|| health(self.learner.model.recipe(), report, last));
        let speeds = Record { lr, weight_decay, tau, device, ..Record::default() };
        Record { step, epoch, clips, loss, regulariser, grad_norm, health, ..speeds }
    }

    /// Completes a record by what the probe says, where it is due, and by alarms; writes it to the log. Where the probe is given up the
    /// record is kept in the notes instead, for the next process to complete. Says also whether training goes on.
    #[allow(clippy::type_complexity)]
    fn ask(
        &mut self,
        mut record: Record,
        probe: &mut Option<&mut dyn Probe>,
        meter: &mut Meter,
        watch: &mut dyn FnMut(&Moment<'_>) -> bool,
    ) -> Result<(Option<(Record, Vec<Alarm>)>, bool), TrainError> {
        let mut goes_on = true;
        if let Some(probe) = probe.as_deref_mut().filter(|_| self.is_due(self.config.probe_every)) {
            let moment = self.moment(Phase::Probing, record.loss, meter);
            let mut hears = || {
                goes_on &= watch(&moment);
                goes_on
            };
            let scores = if hears() { probe.score(&self.learner.model, &mut hears) } else { Ok(None) };
            let Some(scores) = scores.map_err(TrainError::Probe)? else {
                self.notes.unasked = Some(Unasked::new(record));
                return Ok((None, false));
            };
            // Of equals the latest, which has learnt the most.
            if self.notes.best.is_none_or(|best| scores.knn >= best.knn) {
                self.notes.best = Some(Best { step: record.step, knn: scores.knn });
            }
            record.probe = Some(scores);
            meter.skip();
        }
        record.speed = meter.record();
        let alarms = self.notes.alarms.see(&record);
        // Waiting for data is a matter of this process; the log is the run's.
        record.alarms = alarms.iter().filter(|alarm| alarm.kind != AlarmKind::DataWait).cloned().collect();
        self.log.push(&record)?;
        Ok((Some((record, alarms)), goes_on))
    }

    fn moment(&self, phase: Phase, loss: f32, meter: &Meter) -> Moment<'static> {
        let (clips_per_s, data_wait) = meter.recent();
        let (step, steps) = (self.learner.steps, self.config.steps);
        let steps_before = self.steps_before;
        Moment { phase, steps_before, step, steps, loss, clips_per_s, data_wait, record: None, alarms: &[] }
    }

    fn tell(&self, watch: &mut dyn FnMut(&Moment<'_>) -> bool, phase: Phase, loss: f32, meter: &Meter) {
        watch(&self.moment(phase, loss, meter));
    }

    /// A checkpoint of now; those that need not stay go.
    fn save(&mut self, how: Save) -> Result<(), TrainError> {
        self.log.sync()?;
        let (front_end, data_hash, place) = (self.front_end.clone(), self.data_hash.clone(), self.place.clone());
        let notes = serde_json::to_value(&self.notes).map_err(|error| {
            let path = self.folder.checkpoint(self.learner.steps);
            StoreError::io("write", &path, std::io::Error::other(error))
        })?;
        let about = About { front_end, data_hash, place, notes };
        match how {
            Save::Beside => self.folder.save(&self.learner, about)?,
            Save::InPlaceOf => self.folder.replace(&self.learner, about)?,
        }
        let TrainConfig { keep, keep_every, .. } = self.config;
        let best = self.notes.best.map(|best| best.step);
        // What cannot be taken away now is tried again at the next checkpoint: this one is good.
        let _ = self.folder.prune(|steps, step| {
            let is_new = steps.iter().rev().take(keep).any(|newest| *newest == step);
            is_new || best == Some(step) || keep_every.is_some_and(|every| step.is_multiple_of(every))
        });
        Ok(())
    }

    /// Names the clips that a step failed on.
    fn fault<B: Batches>(&self, source: ModelError, batches: &B, lent: &[B::Batch]) -> TrainError {
        let clips: Vec<Vec<String>> = lent.iter().map(|batch| batches.clips(batch)).collect();
        let at_fault = |clip: usize| clips.iter().filter_map(|names| names.get(clip).cloned()).collect();
        let clips = match &source {
            ModelError::Picture { clip } | ModelError::Token { clip, .. } => at_fault(*clip),
            ModelError::Diverged { .. } => clips.concat(),
            _ => Vec::new(),
        };
        TrainError::Batch { step: self.learner.steps, source, clips }
    }
}

/// The batches of the next step; `None` when there are not enough any more.
fn fetch<B: Batches>(
    batches: &mut B,
    accumulate: usize,
    uploader: &Uploader,
) -> Result<Option<Fetched<B::Batch>>, TrainError> {
    let lent: Result<Option<Vec<_>>, _> = (0..accumulate).map(|_| batches.next().map_err(TrainError::Data)).collect();
    let place = batches.place();
    // What is wrong with it is said when its turn comes: the step before is whole.
    Ok(lent?.map(|lent| Fetched { first: uploader.upload(&lent[0].batch()), lent, place }))
}

/// Refuses to go on from a checkpoint of another run, in a folder that does not say what its run is.
fn same_run(folder: &RunFolder, newest: &Checkpoint, origin: &Origin) -> Result<(), TrainError> {
    let card = newest.card();
    // Through text, as the card came, which may lose the last bit of a number.
    let text = serde_json::to_string(&origin.recipe).unwrap_or_default();
    let recipe = serde_json::from_str(&text).unwrap_or_else(|_| origin.recipe.clone());
    if (&card.recipe, card.seed, &card.data_hash) == (&recipe, origin.seed, &origin.data_hash) {
        return Ok(());
    }
    let of = |recipe: &Recipe, seed: u64, data: &Option<String>| serde_json::json!({ "model": recipe, "seed": seed, "data": data });
    let (old, new) = (of(&card.recipe, card.seed, &card.data_hash), of(&recipe, origin.seed, &origin.data_hash));
    Err(TrainError::Changed { dir: folder.dir().to_owned(), old: Box::new(old), new: Box::new(new) })
}

/// What must be the same for a run to go on.
fn identity(origin: &Origin, accumulate: usize) -> Value {
    serde_json::json!({
        "model": origin.recipe,
        "seed": origin.seed,
        "data": origin.data_hash,
        "batches": origin.batches,
        "accumulate": accumulate,
        "from": origin.from_name,
    })
}
