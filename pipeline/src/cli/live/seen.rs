//! What has been seen of a training so far, and how it is said.

use ajepa_model::telemetry::{Health, Moment, Phase};

use crate::cli::format;
use crate::cli::progress::Rate;

/// Seconds between two counts of steps: a fast model makes thousands a second.
const COUNT_EVERY_S: f64 = 0.1;

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) phase: Phase,
    pub(super) steps_before: u64,
    pub(super) step: u64,
    pub(super) steps: u64,
    pub(super) loss: f32,
    pub(super) clips_per_s: f64,
    pub(super) data_wait: f64,
    pub(super) health: Option<Health>,
    /// Step and score.
    pub(super) probe: Option<(u64, f64)>,
    pub(super) best: Option<(u64, f64)>,
    /// The last alarm, and how many there were.
    pub(super) alarm: Option<(u64, String)>,
    pub(super) n_alarms: u64,
    pub(super) losses: Losses,
    pace: Rate,
    counted_s: Option<f64>,
    elapsed_s: f64,
}

impl Seen {
    pub(super) fn take(&mut self, now: &Moment<'_>, elapsed_s: f64) {
        if now.step > self.step && now.phase == Phase::Training {
            self.losses.push(now.loss);
        }
        self.phase = now.phase;
        (self.steps_before, self.step, self.steps) = (now.steps_before, now.step, now.steps);
        (self.loss, self.clips_per_s, self.data_wait) = (now.loss, now.clips_per_s, now.data_wait);
        self.elapsed_s = elapsed_s;
        if let Some(record) = now.record {
            self.health = record.health.or(self.health);
            if let Some(probe) = record.probe {
                self.probe = Some((record.step, probe.knn));
                if probe.knn.is_finite() && self.best.is_none_or(|best| probe.knn > best.1) {
                    self.best = self.probe;
                }
            }
        }
        if let Some(alarm) = now.alarms.last() {
            self.alarm = Some((alarm.step, alarm.text.clone()));
            self.n_alarms += now.alarms.len() as u64;
        }
        if self.counted_s.is_none_or(|s| elapsed_s - s >= COUNT_EVERY_S) {
            self.counted_s = Some(elapsed_s);
            self.pace.push(elapsed_s, now.step);
        }
    }

    /// Share of the steps that are done.
    pub(super) fn share(&self) -> f64 {
        (self.step as f64 / self.steps.max(1) as f64).min(1.0)
    }

    /// `3 min 20 s left`.
    pub(super) fn left(&self) -> Option<String> {
        let steps = self.steps.saturating_sub(self.step);
        let per_s = self.pace.per_s().filter(|per_s| *per_s > 0.0 && steps > 0)?;
        Some(format!("{} left", format::duration(steps as f64 / per_s)))
    }

    /// `1,240/5,000`.
    pub(super) fn steps_of(&self) -> String {
        format!("{}/{}", format::count(self.step), format::count(self.steps))
    }

    /// What it is at, where that is not making steps.
    pub(super) fn doing(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Training => None,
            Phase::Probing => Some("probing"),
            Phase::Saving => Some("saving a checkpoint"),
            Phase::Ended => Some("ended"),
        }
    }

    /// `spread 0.95 of targets, 0.74 of predictions`, `RankMe 130`, `r² 0.60`; of codes `codes 12 % right, 310 of 1,024 in use`,
    /// `160 in predictions`, `RankMe 130`.
    pub(super) fn health_words(&self) -> Vec<String> {
        let Some(health) = &self.health else { return Vec::new() };
        if let Some(codes) = health.codes {
            let (in_use, all) = (format::quantity(health.target_spread), format::count(codes.n_codes));
            return vec![
                format!("codes {} right, {in_use} of {all} in use", format::percent(codes.accuracy)),
                format!("{} in predictions", format::quantity(health.prediction_spread)),
                format!("RankMe {}", format::quantity(health.rank_me)),
            ];
        }
        vec![
            format!(
                "spread {} of targets, {} of predictions",
                format::quantity(health.target_spread),
                format::quantity(health.prediction_spread)
            ),
            format!("RankMe {}", format::quantity(health.rank_me)),
            format!("r\u{b2} {}", signed(health.r2)),
        ]
    }

    /// `0.436 at step 12,000`, `best 0.464 at step 9,500`.
    pub(super) fn probe_words(&self) -> Vec<String> {
        let words = |(step, score)| format!("{} at step {}", format::quantity(score), format::count(step));
        let Some(probe) = self.probe else { return Vec::new() };
        let best = self.best.filter(|best| best.0 != probe.0);
        [words(probe)].into_iter().chain(best.map(|best| format!("best {}", words(best)))).collect()
    }

    /// All of it in one line.
    pub(super) fn plain_line(&self) -> String {
        let mut parts = vec![
            format!("step {}", self.steps_of()),
            format!("loss {}", format::quantity(f64::from(self.loss))),
            format::rate(self.clips_per_s),
            format!("data wait {}", format::percent(self.data_wait)),
        ];
        parts.extend(self.left());
        parts.extend(self.health_words());
        parts.extend(self.probe_words().first().map(|words| format!("probe {words}")));
        parts.extend(self.probe_words().get(1).cloned());
        parts.extend(self.doing().map(str::to_owned));
        format!("[{}] {}  {}", format::duration(self.elapsed_s), format::percent(self.share()), parts.join(", "))
    }

    /// `5,000 steps in 1 h 32 min, loss 0.412, best probe 0.464 at step 4,500, 2 alarms`.
    pub(super) fn last_line(&self, elapsed_s: f64) -> String {
        let done = format::counted(self.step.saturating_sub(self.steps_before), "step");
        let mut parts = vec![format!("{done} in {}", format::duration(elapsed_s))];
        if self.step < self.steps {
            parts.push(format!("stopped at step {} of {}", format::count(self.step), format::count(self.steps)));
        } else if self.steps_before > 0 {
            parts.push(format!("{} in all", format::count(self.steps)));
        }
        parts.push(format!("loss {}", format::quantity(f64::from(self.loss))));
        let best = |(step, score)| format!("best probe {} at step {}", format::quantity(score), format::count(step));
        parts.extend(self.best.map(best));
        if self.n_alarms > 0 {
            parts.push(format::counted(self.n_alarms, "alarm"));
        }
        parts.join(", ")
    }
}

/// The alarms that have just been raised, a line each.
pub(super) fn alarm_lines(now: &Moment<'_>) -> impl Iterator<Item = String> {
    now.alarms.iter().map(|alarm| format!("alarm at step {}: {}", format::count(alarm.step), alarm.text))
}

fn signed(x: f64) -> String {
    if x < 0.0 { format!("\u{2212}{}", format::quantity(-x)) } else { format::quantity(x) }
}

/// The losses of a whole training in few numbers: each is a mean over as many steps as the others.
#[derive(Debug)]
pub(super) struct Losses {
    means: Vec<f32>,
    /// Steps of a mean.
    per_mean: u32,
    sum: f32,
    n: u32,
}

impl Default for Losses {
    fn default() -> Self {
        Self { means: Vec::new(), per_mean: 1, sum: 0.0, n: 0 }
    }
}

impl Losses {
    const MOST: usize = 512;

    fn push(&mut self, loss: f32) {
        if !loss.is_finite() {
            return;
        }
        self.sum += loss;
        self.n += 1;
        if self.n < self.per_mean {
            return;
        }
        self.means.push(self.sum / self.n as f32);
        (self.sum, self.n) = (0.0, 0);
        if self.means.len() == Self::MOST {
            self.means = self.means.chunks(2).map(|pair| f32::midpoint(pair[0], pair[1])).collect();
            self.per_mean = self.per_mean.saturating_mul(2);
        }
    }

    /// In `width` columns, from 0 for the lowest to `top` for the highest.
    pub(super) fn columns(&self, width: usize, top: u64) -> Vec<u64> {
        let size = self.means.len().div_ceil(width.max(1)).max(1);
        let means: Vec<f32> = self.means.chunks(size).map(|c| c.iter().sum::<f32>() / c.len() as f32).collect();
        let (low, high) = means.iter().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        let span = (high - low).max(f32::MIN_POSITIVE);
        means.iter().map(|v| (f64::from((v - low) / span) * top as f64).round() as u64).collect()
    }
}
