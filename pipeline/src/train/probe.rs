//! What the neighbours of labelled clips say, asked while training: the score by which the best checkpoint is chosen.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ajepa_model::probe::{Features, KnnConfig, Labelled, Labels};
use ajepa_model::telemetry::ProbeScores;
use ajepa_model::train::{Probe, TrainConfig};
use ajepa_model::{EncoderChoice, FrozenEncoder, Jepa, Pictures};
use half::f16;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TrainingFault;
use crate::embed::Pooling;
use crate::front_end::FrontEnd;
use crate::shard::{ShardError, ShardSet, TensorInfo};

/// Pictures that are encoded at a time: few, for a wish to stop is heard between two batches.
const BATCH: usize = 8;

/// Labelled clips to ask about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Shards of labelled clips, made by the same front end as the pictures that are trained on. Windows of one clip are
    /// taken together.
    pub shards: PathBuf,
    /// Shards of the clips to be asked about, while those of `shards` are the neighbours. Default: each clip of `shards` is
    /// asked about, all others being its neighbours; choose other recordings for `test_shards` where clips are cut from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_shards: Option<PathBuf>,
    /// Steps between two probes; a multiple of `log_every`. Default 500.
    #[serde(default = "every")]
    pub every: u64,
    /// Neighbours that vote. Default 10.
    #[serde(default = "neighbours")]
    pub k: usize,
    /// At most this many rows of each set are looked at, evenly chosen. Default 2000.
    #[serde(default = "max_rows")]
    pub max_rows: u64,
}

fn every() -> u64 {
    TrainConfig::default().probe_every
}

fn neighbours() -> usize {
    KnnConfig::default().k
}

fn max_rows() -> u64 {
    2000
}

/// Pictures of labelled clips, kept in memory.
struct Clips {
    /// Halves, end to end.
    pictures: Vec<f16>,
    /// Of each picture the clip it belongs to, and the share of it that holds sound.
    rows: Vec<(usize, f64)>,
    /// Labels of each clip.
    labels: Vec<Vec<String>>,
}

/// Asks the neighbours.
pub struct ShardProbe {
    clips: Clips,
    test: Option<Clips>,
    /// [rows, cols].
    picture: [usize; 2],
    knn: KnnConfig,
}

impl ShardProbe {
    /// Reads what `config` names; its pictures must be as `tensor`.
    ///
    /// # Errors
    /// [`TrainingFault`] for shards that cannot be read, hold other pictures or no labels.
    pub fn open(config: &ProbeConfig, tensor: &TensorInfo) -> Result<Self, TrainingFault> {
        let clips = Clips::read(&config.shards, tensor, config.max_rows)?;
        let test = config.test_shards.as_ref().map(|dir| Clips::read(dir, tensor, config.max_rows)).transpose()?;
        let knn = KnnConfig { k: config.k, ..KnnConfig::default() };
        let [rows, cols] = tensor.shape[..] else {
            return Err(TrainingFault::usage("the pictures have not two axes", "see `ajepa-pipe inspect`"));
        };
        Ok(Self { clips, test, picture: [rows, cols], knn })
    }
}

impl Clips {
    fn read(dir: &std::path::Path, like: &TensorInfo, max_rows: u64) -> Result<Self, TrainingFault> {
        let shown = dir.display();
        let unreadable = |error: ShardError| {
            TrainingFault::usage(format!("probe: {shown}: {error}"), "name a folder that a `sink_shards` has finished")
        };
        let set = ShardSet::open(dir).map_err(unreadable)?;
        let same = set.manifest().tensors.iter().find(|there| there.shape == like.shape && there.axes == like.axes);
        let differs = |what: &str| {
            let problem = format!("probe: {shown}: its pictures are other ones than those that are trained on: {what}");
            TrainingFault::usage(problem, "make them with the same stages, from the manifest of the labelled clips")
        };
        let tensor = same.ok_or_else(|| differs("there is no tensor of that shape"))?;
        let differences = FrontEnd::new(set.manifest(), like).differences(&tensor.tensor_type());
        if !differences.is_empty() {
            return Err(differs(&differences.join("; ")));
        }
        let step = set.n_rows().div_ceil(max_rows.max(1)).max(1);
        let n_frames = tensor.axes.iter().position(|axis| axis == "frames").map_or(1, |at| tensor.shape[at]);
        let mut clips = Self { pictures: Vec::new(), rows: Vec::new(), labels: Vec::new() };
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for number in (0..set.n_rows()).step_by(step as usize) {
            let row = set.row(number).map_err(unreadable)?;
            let picture = row.tensor(&tensor.column).ok_or_else(|| differs("it holds no numbers"))?;
            clips.pictures.extend(picture.into_iter().map(f16::from_f32));
            let id = row.text("clip_id").map_or_else(|| format!("row {number}"), str::to_owned);
            let clip = *known.entry(id).or_insert_with(|| {
                clips.labels.push(row.labels());
                clips.labels.len() - 1
            });
            let share = row.u32("n_frames").map_or(1.0, |valid| f64::from(valid) / n_frames as f64);
            clips.rows.push((clip, share));
        }
        if clips.labels.iter().all(Vec::is_empty) {
            let problem = format!("probe: {shown}: none of its clips has a label");
            return Err(TrainingFault::usage(problem, "give the source of those shards labels"));
        }
        Ok(clips)
    }

    /// A vector for each clip: the mean over all its frames that hold sound. `None` as soon as it is not to go on.
    fn features(
        &self,
        encoder: &FrozenEncoder,
        len: usize,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<f32>>, String> {
        let width = encoder.width();
        let pooling = Pooling::new(encoder.patchify(), width);
        let mut sums = vec![0.0_f64; self.labels.len() * width];
        let mut counts = vec![0_usize; self.labels.len()];
        for (pictures, rows) in self.pictures.chunks(BATCH * len).zip(self.rows.chunks(BATCH)) {
            if !goes_on() {
                return Ok(None);
            }
            let tokens = encoder.embed(Pictures::F16(pictures)).map_err(|error| error.to_string())?;
            for (tokens, &(clip, share)) in tokens.chunks_exact(tokens.len() / rows.len()).zip(rows) {
                let n_valid = pooling.n_valid(share);
                let frames = pooling.frames(tokens);
                for frame in frames.chunks_exact(width).take(n_valid) {
                    let sum = &mut sums[clip * width..(clip + 1) * width];
                    sum.iter_mut().zip(frame).for_each(|(sum, &x)| *sum += f64::from(x));
                }
                counts[clip] += n_valid;
            }
        }
        let mean = |(i, sum): (usize, f64)| (sum / counts[i / width].max(1) as f64) as f32;
        Ok(Some(sums.into_iter().enumerate().map(mean).collect()))
    }
}

impl Probe for ShardProbe {
    fn score(&mut self, model: &Jepa, goes_on: &mut dyn FnMut() -> bool) -> Result<Option<ProbeScores>, String> {
        let which = if model.average.is_some() { EncoderChoice::Target } else { EncoderChoice::Context };
        let encoder = FrozenEncoder::of(model, which, self.picture).map_err(|error| error.to_string())?;
        let len = self.picture[0] * self.picture[1];
        let words = |error: ajepa_model::probe::ProbeError| error.to_string();
        let all: Vec<Vec<String>> =
            self.clips.labels.iter().chain(self.test.iter().flat_map(|test| &test.labels)).cloned().collect();
        let (mut labels, _) = Labels::by_name(&all);
        let test_labels = labels.split_off(self.clips.labels.len());
        let width = encoder.width();
        let Some(train) = self.clips.features(&encoder, len, goes_on)? else { return Ok(None) };
        let train = Labelled::new(Features::new(width, &train).map_err(words)?, &labels).map_err(words)?;
        let scores = match &self.test {
            None => self.knn.leave_one_out(train),
            Some(test) => {
                let Some(test) = test.features(&encoder, len, goes_on)? else { return Ok(None) };
                let test = Labelled::new(Features::new(width, &test).map_err(words)?, &test_labels).map_err(words)?;
                self.knn.score(train, test)
            }
        };
        Ok(Some(ProbeScores { knn: scores.map_err(words)?.main() }))
    }
}
