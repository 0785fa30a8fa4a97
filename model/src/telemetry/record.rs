//! One line of `metrics.jsonl`.

use serde::{Deserialize, Serialize};

use super::Alarm;

/// What is known after a step. All but [`Record::speed`] is a function of the run and the device alone: a run that was killed and
/// resumed on a CPU writes the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps done, this one included.
    pub step: u64,
    /// The pass over the data that the step's last batch belongs to, from 0.
    pub epoch: u64,
    /// Clips seen since step 0.
    pub clips: u64,
    /// What was minimised: loss and regulariser, mean over the step's batches.
    pub loss: f32,
    /// The regulariser's share of it.
    pub regulariser: f32,
    /// Length of the gradient before it was clipped.
    pub grad_norm: f64,
    /// Learning rate as applied.
    pub lr: f64,
    /// Weight decay as applied.
    pub weight_decay: f64,
    /// Share of the moving average that stayed.
    pub tau: f64,
    /// How healthy the representation is; in the steps that measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What small probes found in the frozen encoder; in the steps that probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeScores>,
    /// What was noticed to be wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
    /// What computed it: `cpu`, `cuda:0 (NVIDIA H100)`. Empty in records of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// How fast it went; differs from run to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
}

/// How much a representation still says, from the latents of the last batch of a step; computed by
/// [`health()`](super::health()).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Standard deviation of a target's dimensions over all tokens, mean over the dimensions. Of codes: how many are in use, the
    /// exponential of their entropy, mean over the books.
    pub target_spread: f64,
    /// The same of the predictions, of codes that of the likeliest ones.
    pub prediction_spread: f64,
    /// Standard deviation of the context latents' dimensions over all tokens, mean over the dimensions.
    pub context_spread: f64,
    /// Share of the context latents' dimensions whose standard deviation is under 1 % of the mean one, or under 1e-5.
    pub dead_dimensions: f64,
    /// Exponential of the entropy of the singular values of the context latents, their mean left in: 1 is one direction, the width is
    /// all of them (RankMe, Garrido 2023, arXiv 2210.02885). At most the number of rows looked at, which is 2048 or fewer.
    pub rank_me: f64,
    /// (Sum of the eigenvalues of the context latents' covariance)^2 over the sum of their squares: in how many directions they vary.
    pub participation_ratio: f64,
    /// What clips differ by, as a share of the variance of the context latents: 0 where every clip looks alike. With
    /// [`Health::between_positions`] an unbiased estimate of variance components (Henderson's first method), whatever positions each clip
    /// was seen at, cut off at 0; 0 where it cannot be told, for a single clip.
    pub between_clips: f64,
    /// What positions differ by, as a share of the variance: near 1 where latents say only where they are.
    pub between_positions: f64,
    /// Share of the targets' variance that predictions explain beyond the mean target, at most 1, and below 0 where the mean target would
    /// be the better answer. Under the cosine loss, which is of directions alone, both are brought to unit length first. Of codes: the
    /// share of their entropy in the batch (corrected by Miller and Madow for its few tokens) that is explained, 1 - cross-entropy /
    /// entropy, mean over the books. 0 where targets do not vary.
    pub r2: f64,
    /// Share of the batch's pictures that do not change over time: silence, mostly.
    #[serde(default)]
    pub flat_pictures: f64,
    /// Share of the batch's pictures that are another one of it once more, number by number.
    #[serde(default)]
    pub repeated_pictures: f64,
    /// There where targets are codes: what the spreads and r2 are then measured against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<CodesHealth>,
}

/// What is known beside where targets are random-projection codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CodesHealth {
    /// Codes in a book.
    pub n_codes: u64,
    /// Share of the targets whose code is the likeliest by the predictions, mean over the books.
    pub accuracy: f64,
}

impl Health {
    /// Every double.
    pub(crate) fn numbers_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        let Self {
            target_spread,
            prediction_spread,
            context_spread,
            dead_dimensions,
            rank_me,
            participation_ratio,
            between_clips,
            between_positions,
            r2,
            flat_pictures,
            repeated_pictures,
            codes,
        } = self;
        let always = [
            target_spread,
            prediction_spread,
            context_spread,
            dead_dimensions,
            rank_me,
            participation_ratio,
            between_clips,
            between_positions,
            r2,
            flat_pictures,
            repeated_pictures,
        ];
        always.into_iter().chain(codes.as_mut().map(|codes| &mut codes.accuracy))
    }
}

/// Scores of probes on a frozen encoder, in [0, 1].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeScores {
    /// k nearest neighbours by cosine: accuracy, or mean average precision where clips have several labels.
    pub knn: f64,
}

/// Where the time went since the record before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Clips trained on a second.
    pub clips_per_s: f64,
    /// Share of the time that the trainer waited for data.
    pub data_wait: f64,
    /// Median seconds of a step.
    pub step_s: f64,
}
