//! From records to the points of curves.

use ajepa_model::telemetry::{Health, Record, Speed};

use crate::cli::page::chart::Curve;

/// The records as they are drawn: one for each step, steps rising. Of a step that was done twice the later record counts, and
/// what was recorded of later steps before it is forgotten.
pub(super) fn of_one_run(records: &[Record]) -> Vec<&Record> {
    let mut run: Vec<&Record> = Vec::with_capacity(records.len());
    for record in records {
        let keep = run.partition_point(|earlier| earlier.step < record.step);
        run.truncate(keep);
        run.push(record);
    }
    run
}

/// A value of the records that have it, by step.
pub(super) fn by_step(name: &'static str, run: &[&Record], value: impl Fn(&Record) -> Option<f64>) -> Curve {
    let points = run.iter().filter_map(|record| Some((record.step as f64, value(record)?))).collect();
    Curve { name, points }
}

/// A value of health, by step.
pub(super) fn health(name: &'static str, run: &[&Record], value: impl Fn(&Health) -> f64) -> Curve {
    by_step(name, run, |record| record.health.as_ref().map(&value))
}

/// The pace of a training over its time, pauses between processes left out.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Clips trained on a second.
    pub(super) clips_per_s: Vec<(f64, f64)>,
    /// Share of the time that the trainer waited for data.
    pub(super) data_wait: Vec<(f64, f64)>,
    /// Seconds of training.
    pub(super) end_s: f64,
    /// Seconds of it that the trainer waited.
    pub(super) waited_s: f64,
}

impl Feed {
    /// Records know no clock; the time between two is the clips between them over their pace.
    pub(super) fn of(run: &[&Record]) -> Self {
        let mut feed = Self::default();
        let mut clips = 0;
        for record in run {
            let new = record.clips.saturating_sub(clips);
            clips = record.clips;
            let Some(Speed { clips_per_s, data_wait, .. }) = record.speed else { continue };
            let seconds = new as f64 / clips_per_s;
            if !(seconds > 0.0 && seconds < 1e9) {
                continue;
            }
            let wait = if data_wait.is_finite() { data_wait.clamp(0.0, 1.0) } else { 0.0 };
            let middle_s = feed.end_s + seconds / 2.0;
            feed.end_s += seconds;
            feed.waited_s += seconds * wait;
            feed.clips_per_s.push((middle_s, clips_per_s));
            feed.data_wait.push((middle_s, data_wait));
        }
        feed
    }
}

/// Where probing found most.
pub(super) fn best_probe(run: &[&Record]) -> Option<(u64, f64)> {
    let scores = run.iter().filter_map(|record| Some((record.step, record.probe?.knn)));
    // The latest of equals: that is the checkpoint that was kept.
    scores.filter(|score| score.1.is_finite()).reduce(|best, score| if score.1 >= best.1 { score } else { best })
}
