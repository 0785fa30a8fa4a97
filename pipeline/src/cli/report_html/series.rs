//! From snapshots to the lines of the plots.

use crate::engine::Snapshot;
use crate::report::RunReport;

/// Most points of a line: beyond that a plot of this width shows no more.
const MAX_BINS: usize = 160;

/// The timeline as it can be drawn: times finite and rising, the end included.
pub(super) fn timeline(report: &RunReport) -> Vec<&Snapshot> {
    let mut points: Vec<&Snapshot> = Vec::with_capacity(report.timeline.len() + 1);
    for snapshot in report.timeline.iter().chain([&report.end]) {
        let after = points.last().is_none_or(|last| snapshot.elapsed_s > last.elapsed_s);
        if after && snapshot.elapsed_s.is_finite() && snapshot.elapsed_s >= 0.0 {
            points.push(snapshot);
        }
    }
    points
}

/// Clips per second over time.
///
/// Clips count when a shard takes them, in steps. Between two steps they are taken to have come evenly; the rate of a bin is
/// what came in it. So the area under the line is the number of clips, and a shard's size makes no spikes.
pub(super) fn throughput(timeline: &[&Snapshot]) -> Vec<(f64, f64)> {
    let Some(last) = timeline.last() else { return Vec::new() };
    let mut steps = vec![(0.0, 0.0)];
    for snapshot in timeline {
        let done = snapshot.clips_done as f64;
        if done > steps[steps.len() - 1].1 && snapshot.elapsed_s > steps[steps.len() - 1].0 {
            steps.push((snapshot.elapsed_s, done));
        }
    }
    let done_at = |s: f64| -> f64 {
        let next = steps.partition_point(|step| step.0 <= s);
        match (steps.get(next.wrapping_sub(1)), steps.get(next)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (s - a.0) / (b.0 - a.0),
            (Some(a), None) => a.1,
            _ => 0.0,
        }
    };
    // Two steps to a bin: shards finish unevenly, and one alone would draw that and not the pace.
    let n_bins = (steps.len() / 2).min(MAX_BINS);
    let width_s = last.elapsed_s / n_bins.max(1) as f64;
    if n_bins == 0 || width_s <= 0.0 {
        return Vec::new();
    }
    let bin = |i: usize| {
        let (from_s, to_s) = (i as f64 * width_s, (i + 1) as f64 * width_s);
        (f64::midpoint(from_s, to_s), (done_at(to_s) - done_at(from_s)) / width_s)
    };
    (0..n_bins).map(bin).collect()
}

/// Any reading over time; where there are too many points the highest of each group is kept, so that peaks stay.
pub(super) fn reading(timeline: &[&Snapshot], value: impl Fn(&Snapshot) -> Option<f64>) -> Vec<(f64, f64)> {
    let all: Vec<(f64, f64)> =
        timeline.iter().filter_map(|s| Some((s.elapsed_s, value(s).filter(|v| v.is_finite())?))).collect();
    let group = all.len().div_ceil(MAX_BINS).max(1);
    all.chunks(group).filter_map(|c| c.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}
