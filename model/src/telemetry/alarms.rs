//! What is noticed about a run that goes wrong, from its records alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Record;

/// What can be wrong with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The representation says less and less: latents become the same whatever is heard.
    Collapse,
    /// Predictions are no better than the mean target (of codes: than their frequencies), though the loss has fallen.
    ConstantPredictions,
    /// Dimensions that vary no more.
    DeadDimensions,
    /// The loss is as good as 0: there is nothing left to predict.
    ZeroLoss,
    /// The gradient is many times as long as usual.
    Gradient,
    /// The trainer waits for data.
    DataWait,
    /// Pictures that say nothing: silence, or the same again and again.
    Pictures,
}

/// Something wrong, told once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// What is wrong.
    pub kind: AlarmKind,
    /// The step of the record that raised it.
    pub step: u64,
    /// What was seen, since when, and what usually cures it.
    pub text: String,
}

/// Watches the records of a run and raises each [`AlarmKind`] once.
///
/// A symptom must be there in several records in a row, over some steps, before it is believed: healthy runs dip, too. What
/// [`Alarms`] knows goes into a checkpoint, so that a resumed run raises the alarms that it would have raised; data wait
/// excepted, which is a matter of the process and not of the run, and is watched anew in each.
///
/// # Example: a loss that has fallen to nothing
/// ```
/// use ajepa_model::telemetry::{AlarmKind, Alarms, Record};
/// let mut alarms = Alarms::default();
/// let record = |step| Record { step, loss: if step < 10 { 1.0 } else { 1e-4 }, grad_norm: 1.0, ..Record::default() };
/// let raised: Vec<_> = (0..300).step_by(10).flat_map(|step| alarms.see(&record(step))).collect();
/// assert_eq!((raised.len(), raised[0].kind, raised[0].step), (1, AlarmKind::ZeroLoss, 110));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Alarms {
    // Single precision: JSON readers may be off by the last bit of a double, and resuming is to change nothing.
    /// Of the first record.
    first_loss: Option<f32>,
    largest: Option<Largest>,
    /// Dead dimensions at the first measurement.
    first_dead: f32,
    /// Running mean of the gradient's logarithm, and records in it.
    log_gradient: f32,
    n_gradients: u64,
    run: Watch,
    #[serde(skip)]
    process: Watch,
}

/// The largest numbers that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Largest {
    target_spread: f32,
    context_spread: f32,
    rank_me: f32,
    between_clips: f32,
}

/// How long which symptoms have been there, and what was said about them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Watch {
    streaks: BTreeMap<Symptom, Streak>,
    raised: BTreeSet<AlarmKind>,
}

/// Records in a row that show a symptom.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Streak {
    since: u64,
    n_records: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Symptom {
    TargetSpread,
    ContextSpread,
    Rank,
    ClipsAlike,
    ConstantPredictions,
    DeadDimensions,
    ZeroLoss,
    Gradient,
    DataWait,
    FlatPictures,
    RepeatedPictures,
    NothingThere,
}

/// Target spread, as a share of the largest, that is too small; and what is too small where predictions explain less than
/// [`FUTILE`]. Healthy runs of small models stayed over 0.27 with the highest learning rate, over 0.44 with usual ones, and explained a
/// third and more by the time their targets were that narrow; collapsing ones fell to 0.05 to 0.3 and explained nothing.
const TARGET_SPREAD: [f64; 2] = [0.25, 0.4];
const FUTILE: f64 = 0.05;
/// The same of the context latents, which in healthy runs dip as low for some tens of steps.
const CONTEXT_SPREAD: f64 = 0.1;
/// RankMe under which there is one direction and little else, and the least it must have been before.
const RANK: [f64; 2] = [1.5, 3.0];
/// Share of the variance between clips that is as good as none, and the least it must have been before. Healthy runs stayed over 0.04.
const BETWEEN_CLIPS: [f64; 2] = [0.02, 0.05];
const R2: f64 = 0.01;
/// Share of the first loss from which on the loss is said to have fallen.
const FALLEN: f64 = 0.9;
/// Share of dimensions, beyond those dead from the start.
const DEAD: f64 = 0.1;
/// Of latents that say nothing, whatever they said before: the share of dimensions that are dead, RankMe, and how far latents spread.
/// RankMe is under [`RANK`], which narrow models may come near to.
const NOTHING_DEAD: f64 = 0.9;
const NOTHING_RANK: f64 = 1.1;
const NOTHING_SPREAD: f64 = 1e-6;
/// Share of the first loss.
const ZERO_LOSS: f64 = 0.01;
/// Times the usual gradient.
const GRADIENT: f64 = 10.0;
/// Records before a gradient is called usual, and the weight of each further one.
const GRADIENT_RECORDS: u64 = 20;
const GRADIENT_WEIGHT: f32 = 0.02;
/// Share of the pictures of a batch. A corpus has some silence in it.
const PICTURES: f64 = 0.5;
/// Share of the time.
const DATA_WAIT: f64 = 0.05;

impl Alarms {
    /// Takes in a record, in the order of steps; returns what it raises, mostly nothing.
    pub fn see(&mut self, record: &Record) -> Vec<Alarm> {
        self.remember(record);
        let mut alarms = Vec::new();
        for symptom in Symptom::ALL {
            let Some(there) = self.shows(symptom, record) else { continue };
            let watch = if symptom == Symptom::DataWait { &mut self.process } else { &mut self.run };
            if let Some(since) = watch.note(symptom, there, record.step) {
                let text = format!("{}, since step {since}: {}", self.says(symptom, record), symptom.cure(record));
                alarms.push(Alarm { kind: symptom.kind(), step: record.step, text });
            }
        }
        alarms
    }

    /// What was raised so far, in this process and, data wait excepted, before it.
    pub fn raised(&self) -> impl Iterator<Item = AlarmKind> {
        self.run.raised.iter().chain(&self.process.raised).copied()
    }

    fn remember(&mut self, record: &Record) {
        self.first_loss.get_or_insert(loss(record) as f32);
        if let Some(health) = &record.health {
            if self.largest.is_none() {
                self.first_dead = health.dead_dimensions as f32;
            }
            let largest = self.largest.get_or_insert_default();
            largest.target_spread = largest.target_spread.max(health.target_spread as f32);
            largest.context_spread = largest.context_spread.max(health.context_spread as f32);
            largest.rank_me = largest.rank_me.max(health.rank_me as f32);
            largest.between_clips = largest.between_clips.max(health.between_clips as f32);
        }
        if record.grad_norm > 0.0 {
            self.n_gradients += 1;
            let weight = GRADIENT_WEIGHT.max(1.0 / self.n_gradients as f32);
            self.log_gradient += weight * (record.grad_norm.ln() as f32 - self.log_gradient);
        }
    }

    /// Whether a record shows a symptom; none where it does not tell.
    fn shows(&self, symptom: Symptom, record: &Record) -> Option<bool> {
        let fell = |share: f64| self.first_loss.is_some_and(|first| loss(record) < share * f64::from(first));
        match symptom {
            Symptom::ZeroLoss => return Some(fell(ZERO_LOSS)),
            Symptom::Gradient => {
                let known = self.n_gradients > GRADIENT_RECORDS;
                return Some(known && record.grad_norm > GRADIENT * f64::from(self.log_gradient).exp());
            }
            Symptom::DataWait => return Some(record.speed?.data_wait > DATA_WAIT),
            _ => {}
        }
        let (health, largest) = (record.health?, self.largest?);
        Some(match symptom {
            // Codes are drawn once: they spread as the pictures do.
            Symptom::TargetSpread if health.codes.is_some() => return None,
            Symptom::TargetSpread => {
                let share = if health.r2 < FUTILE { TARGET_SPREAD[1] } else { TARGET_SPREAD[0] };
                health.target_spread < share * f64::from(largest.target_spread)
            }
            Symptom::ContextSpread => health.context_spread < CONTEXT_SPREAD * f64::from(largest.context_spread),
            Symptom::Rank => health.rank_me < RANK[0] && f64::from(largest.rank_me) > RANK[1],
            Symptom::ClipsAlike => {
                health.between_clips < BETWEEN_CLIPS[0] && f64::from(largest.between_clips) > BETWEEN_CLIPS[1]
            }
            Symptom::ConstantPredictions => health.r2 < R2 && fell(FALLEN),
            Symptom::FlatPictures => health.flat_pictures > PICTURES,
            Symptom::RepeatedPictures => health.repeated_pictures > PICTURES,
            Symptom::NothingThere => {
                health.dead_dimensions >= NOTHING_DEAD
                    || health.rank_me < NOTHING_RANK
                    || health.context_spread < NOTHING_SPREAD
            }
            _ => health.dead_dimensions > f64::from(self.first_dead) + DEAD,
        })
    }

    /// What was seen, in words.
    fn says(&self, symptom: Symptom, record: &Record) -> String {
        let (health, largest) = (record.health.unwrap_or_default(), self.largest.unwrap_or_default());
        let of_largest =
            |now: f64, largest: f32| format!("{now:.3}, {:.0} % of the largest seen", 100.0 * now / f64::from(largest));
        match symptom {
            Symptom::TargetSpread => {
                format!("targets spread by {}", of_largest(health.target_spread, largest.target_spread))
            }
            Symptom::ContextSpread => {
                format!("context latents spread by {}", of_largest(health.context_spread, largest.context_spread))
            }
            Symptom::Rank => {
                format!("context latents have an effective rank of {:.2}, once {:.2}", health.rank_me, largest.rank_me)
            }
            Symptom::ClipsAlike => format!(
                "{:.1} % of the variance of context latents is between clips, once {:.1} %",
                100.0 * health.between_clips,
                100.0 * largest.between_clips
            ),
            Symptom::ConstantPredictions => format!(
                "predictions explain {:.1} % of the {}, though the loss has fallen from {:.3} to {:.3}",
                100.0 * health.r2,
                if health.codes.is_some() { "codes' entropy" } else { "targets' variance" },
                self.first_loss.unwrap_or_default(),
                loss(record)
            ),
            Symptom::DeadDimensions => format!(
                "{:.0} % of the context latents' dimensions are dead, {:.0} % were at first",
                100.0 * health.dead_dimensions,
                100.0 * self.first_dead
            ),
            Symptom::ZeroLoss => {
                format!("the loss is {:.2e}, at first {:.3}", loss(record), self.first_loss.unwrap_or_default())
            }
            Symptom::Gradient => {
                format!(
                    "the gradient's length is {:.3e}, usually {:.3e}",
                    record.grad_norm,
                    f64::from(self.log_gradient).exp()
                )
            }
            Symptom::DataWait => {
                let wait = record.speed.unwrap_or_default().data_wait;
                format!("the trainer waited for data in {:.0} % of the time", 100.0 * wait)
            }
            Symptom::FlatPictures => {
                format!("{:.0} % of the pictures do not change over time", 100.0 * health.flat_pictures)
            }
            Symptom::RepeatedPictures => {
                format!("{:.0} % of a batch's pictures are others of it once more", 100.0 * health.repeated_pictures)
            }
            Symptom::NothingThere => format!(
                "context latents spread by {:.1e}, have an effective rank of {:.2}, and {:.0} % of their dimensions are dead",
                health.context_spread,
                health.rank_me,
                100.0 * health.dead_dimensions
            ),
        }
    }
}

impl Watch {
    /// The step since which a symptom has been there, if that is now long enough to raise an alarm that was not raised before.
    fn note(&mut self, symptom: Symptom, there: bool, step: u64) -> Option<u64> {
        if !there {
            self.streaks.remove(&symptom);
            return None;
        }
        let streak = self.streaks.entry(symptom).or_insert(Streak { since: step, n_records: 0 });
        streak.n_records += 1;
        let (records, steps) = symptom.patience();
        let believed = streak.n_records >= records && step - streak.since >= steps;
        (believed && self.raised.insert(symptom.kind())).then_some(streak.since)
    }
}

impl Symptom {
    const ALL: [Self; 12] = [
        Self::TargetSpread,
        Self::ContextSpread,
        Self::Rank,
        Self::ClipsAlike,
        Self::ConstantPredictions,
        Self::DeadDimensions,
        Self::ZeroLoss,
        Self::Gradient,
        Self::DataWait,
        Self::FlatPictures,
        Self::RepeatedPictures,
        // What has become so, the others say better.
        Self::NothingThere,
    ];

    fn kind(self) -> AlarmKind {
        match self {
            Self::TargetSpread | Self::ContextSpread | Self::Rank | Self::ClipsAlike | Self::NothingThere => {
                AlarmKind::Collapse
            }
            Self::ConstantPredictions => AlarmKind::ConstantPredictions,
            Self::DeadDimensions => AlarmKind::DeadDimensions,
            Self::ZeroLoss => AlarmKind::ZeroLoss,
            Self::Gradient => AlarmKind::Gradient,
            Self::DataWait => AlarmKind::DataWait,
            Self::FlatPictures | Self::RepeatedPictures => AlarmKind::Pictures,
        }
    }

    /// Records in a row, and steps from the first of them, until it is believed.
    fn patience(self) -> (u64, u64) {
        match self {
            Self::TargetSpread => (3, 40),
            Self::ContextSpread | Self::Rank | Self::ClipsAlike | Self::DeadDimensions | Self::NothingThere => (4, 60),
            // First the mean target is learnt, which takes its time.
            Self::ConstantPredictions => (10, 1000),
            Self::ZeroLoss => (5, 100),
            Self::Gradient => (3, 0),
            Self::DataWait => (5, 0),
            Self::FlatPictures | Self::RepeatedPictures => (2, 0),
        }
    }

    fn cure(self, record: &Record) -> &'static str {
        let is_of_codes = record.health.is_some_and(|health| health.codes.is_some());
        match self {
            Self::TargetSpread | Self::ContextSpread | Self::Rank | Self::NothingThere if is_of_codes => {
                "latents become the same whatever is heard, though codes are not; usually cured by a lower or longer warmed-up learning \
                 rate, codes that the loss can be about (`n_codes`, pictures that are standardised), or a regulariser"
            }
            Self::TargetSpread | Self::ContextSpread | Self::Rank | Self::NothingThere => {
                "latents become the same whatever is heard; usually cured by a moving average that follows more slowly (tau nearer 1), \
                 a lower or longer warmed-up learning rate, or a regulariser"
            }
            Self::ClipsAlike => {
                "latents say where in the picture they are and not what is there; usually cured by larger or more hidden blocks, a \
                 regulariser, or pictures whose level differs less from place to place (standardised by mel)"
            }
            Self::ConstantPredictions => {
                "the predictor says the same everywhere; usually cured by a higher learning rate, a larger predictor, or a mask that \
                 leaves more context"
            }
            Self::DeadDimensions => {
                "a part of the width is not used; usually cured by a lower learning rate, less weight decay, or a \
                 variance-covariance regulariser"
            }
            Self::ZeroLoss if is_of_codes => {
                "there is nothing left to predict: pictures are constant, or few codes are in use; look at how many are, and at pictures \
                 with their masks"
            }
            Self::ZeroLoss => {
                "there is nothing left to predict: targets are constant, pictures are, or targets can be copied from the context; look at \
                 the targets' spread and at pictures with their masks"
            }
            Self::Gradient => {
                "the step is too large for where the run is; usually cured by going back to the last good checkpoint with a lower \
                 learning rate, or by clipping the gradient (clip_norm: 1)"
            }
            Self::DataWait => {
                "data comes too slowly; usually cured by more workers, shards on a faster disk, or f16 shards without compression"
            }
            Self::FlatPictures => {
                "they are silence, or the front end makes nothing of the sound; look at the clips and their masks on the page, listen to the \
                 files of some, and leave silent ones out (`trim_silence`, `filter`, `exclude`)"
            }
            Self::RepeatedPictures => {
                "they are silence, or one recording under many names; look at the clips and their masks on the page, listen to the files of \
                 some, and mend the list that the source reads"
            }
        }
    }
}

impl AlarmKind {
    /// As in records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collapse => "collapse",
            Self::ConstantPredictions => "constant_predictions",
            Self::DeadDimensions => "dead_dimensions",
            Self::ZeroLoss => "zero_loss",
            Self::Gradient => "gradient",
            Self::DataWait => "data_wait",
            Self::Pictures => "pictures",
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.text)
    }
}

/// The objective's part of what was minimised.
fn loss(record: &Record) -> f64 {
    f64::from(record.loss) - f64::from(record.regulariser)
}
