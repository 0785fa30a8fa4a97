//! What a training leaves for people while it runs: TensorBoard events, and a page.

use std::path::Path;
use std::time::{Duration, Instant};

use ajepa_model::telemetry::{Alarm, EventWriter, Moment, Phase, Record};
use ajepa_model::train::{Batches, FedBatch, RunFolder, Trainer};
use ajepa_model::{Pictures, Recipe};
use ajepa_ops::patch::TimeAxis;

use super::{Fed, Lent, Training, TrainingFault};
use crate::cli::args::PatchSize;
use crate::cli::picture::{FrequencyAxis, Layout, MelClip, PatchRole};
use crate::cli::train_html::{Picture, TrainPage, render};
use crate::front_end::frame_s;
use crate::shard::TensorInfo;

/// File name of the page.
pub const PAGE: &str = "report.html";
/// The page is written anew not more often than this, and at the end.
const PAGE_EVERY: Duration = Duration::from_secs(30);
/// Clips that are shown with their masks.
const SHOWN_CLIPS: usize = 4;

/// Keeps events and page up to date.
pub struct Telling<'a> {
    training: &'a Training<'a>,
    folder: RunFolder,
    steps: u64,
    parameters: u64,
    started_at: String,
    device: String,
    pictures: Vec<Picture>,
    events: Option<EventWriter>,
    written: Option<Instant>,
    /// What could not be written; training goes on without.
    pub notes: Vec<String>,
}

impl<'a> Telling<'a> {
    /// Begins to tell of `trainer`'s run.
    pub fn new(training: &'a Training<'a>, trainer: &Trainer, steps: u64, device: String) -> Self {
        let (folder, learner) = (trainer.folder().clone(), trainer.learner());
        let mut notes = Vec::new();
        let events = EventWriter::create(folder.dir(), now_s(), learner.steps + 1);
        let events = events.map_err(|error| notes.push(format!("no TensorBoard events: {error}"))).ok();
        Self {
            training,
            steps,
            parameters: learner.model.weights.n_numbers() as u64,
            started_at: crate::job::now(),
            device,
            pictures: Vec::new(),
            events,
            written: None,
            notes,
            folder,
        }
    }

    /// Shows the clips of the very first batch as the model sees them; whatever is wrong with them, the run will say.
    pub fn draw_first(&mut self, mut first: Fed, tensor: &TensorInfo) {
        if let Ok(Some(lent)) = first.next() {
            let drawn = pictures(&lent, &first.clips(&lent), tensor, &self.training.recipe);
            self.pictures = drawn.unwrap_or_default();
        }
    }

    /// Takes in what the trainer says.
    pub fn see(&mut self, moment: &Moment<'_>) {
        if let (Some(record), Some(events)) = (moment.record, &mut self.events)
            && let Err(error) = events.record(now_s(), record)
        {
            self.notes.push(format!("no more TensorBoard events: {error}"));
            self.events = None;
        }
        let is_due = self.written.is_none_or(|written| written.elapsed() > PAGE_EVERY);
        if moment.phase == Phase::Saving && is_due {
            self.page("running", None);
        }
    }

    /// Writes the page: `outcome` is `running`, `done`, `stopped` or `failed`.
    pub fn page(&mut self, outcome: &str, error: Option<&TrainingFault>) {
        self.written = Some(Instant::now());
        let records = self.folder.records().unwrap_or_default();
        let alarms: Vec<Alarm> = records.iter().flat_map(|record: &Record| record.alarms.clone()).collect();
        let facts = facts(self.training, &self.device);
        let error = error.map(ToString::to_string);
        let preset = serde_json::to_value(self.training.config.model.preset).unwrap_or_default();
        let title = format!("{}: {}", self.training.pipeline, self.folder.dir().display());
        let page = TrainPage {
            title: &title,
            outcome,
            error: error.as_deref(),
            started_at: &self.started_at,
            preset: preset.as_str().unwrap_or_default(),
            parameters: self.parameters,
            steps: self.steps,
            records: &records,
            alarms: &alarms,
            pictures: &self.pictures,
            facts: &facts,
            program: env!("CARGO_PKG_VERSION"),
        };
        if let Err(error) = write(&self.folder.dir().join(PAGE), &render(&page)) {
            self.notes.push(format!("no {PAGE}: {error}"));
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), ajepa_store::StoreError> {
    let fs: std::sync::Arc<dyn ajepa_store::Fs> = std::sync::Arc::new(ajepa_store::RealFs);
    ajepa_store::commit_bytes(&fs, path.to_owned(), text.as_bytes())
}

fn now_s() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

/// The config as names and values: what a person would compare.
fn facts(training: &Training<'_>, device: &str) -> Vec<(String, String)> {
    let mut facts = vec![
        ("computed on".to_owned(), device.to_owned()),
        ("shards".to_owned(), training.shards.display().to_string()),
        ("seed".to_owned(), training.seed.to_string()),
        ("clips of a batch".to_owned(), training.config.batch_clips.to_string()),
        ("batches of a step".to_owned(), training.config.accumulate.to_string()),
    ];
    let recipe = serde_json::to_value(&training.recipe).unwrap_or_default();
    let mask = serde_json::to_value(&training.config.mask).unwrap_or_default();
    for (name, value) in recipe.as_object().into_iter().flatten().chain([(&"mask".to_owned(), &mask)]) {
        facts.push((name.replace('_', " "), words(value)));
    }
    facts
}

/// A value in the words of the YAML, without quotes.
fn words(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "none".to_owned(),
        other => other.to_string().replace('"', "").replace(':', ": ").replace(',', ", "),
    }
}

fn pictures(lent: &Lent, names: &[String], tensor: &TensorInfo, recipe: &Recipe) -> Option<Vec<Picture>> {
    let patchify = recipe.patchify().ok()?;
    let batch = lent.batch();
    let [n_frames, n_mels] = recipe.time_axis.time_mel(recipe.picture);
    let len = n_frames * n_mels;
    let [context, target] = [batch.context, batch.target].map(|tokens| tokens.len() / (batch.n_clips * batch.n_masks));
    let layout = if recipe.time_axis == TimeAxis::Rows { Layout::FramesMels } else { Layout::MelsFrames };
    let patch = PatchSize { frames: recipe.patch.patch_frames, mels: recipe.patch.patch_mels };
    let picture = |clip: usize| {
        let values: Vec<f32> = match batch.pictures {
            Pictures::F32(data) => data[clip * len..(clip + 1) * len].to_vec(),
            Pictures::F16(data) => data[clip * len..(clip + 1) * len].iter().map(|x| x.to_f32()).collect(),
        };
        let mut roles = vec![PatchRole::Unused; patchify.n_tokens()];
        let first = clip * batch.n_masks;
        for (tokens, n, role) in
            [(batch.target, target, PatchRole::Target), (batch.context, context, PatchRole::Context)]
        {
            tokens[first * n..(first + 1) * n].iter().for_each(|&token| roles[token as usize] = role);
        }
        let clip = MelClip {
            values: &values,
            n_frames,
            n_mels,
            layout,
            n_valid: n_frames,
            hop_s: frame_s(&tensor.front_end).unwrap_or(1.0),
            frequency: FrequencyAxis::of_front_end(&tensor.front_end),
            title: names.get(clip).map_or("", String::as_str),
            note: "",
        };
        Picture::of(&clip, patch, &roles).ok()
    };
    (0..batch.n_clips.min(SHOWN_CLIPS)).map(picture).collect()
}
