//! `bench`: what each stage costs alone, what the graph does fused, and where the time goes; of a folder of shards, how fast
//! it feeds a trainer. Nothing is written.

use std::fmt::Write as _;

use arrow::array::RecordBatch;

use super::run::build_fault;
use super::{bench_feed, fail, load, print};
use crate::cli::args::BenchArgs;
use crate::cli::exit::{Exit, StopWatch};
use crate::cli::format::{bytes, counted, duration, percent, rate};
use crate::engine::{Network, RunError, SegmentWork, Snapshot};
use crate::job::{self, JobError, JobOptions};
use crate::plan::Graph;
use crate::report::RunReport;
use crate::stage::{Source, StageError, Unit};
use crate::stages::Registry;
use crate::stages::sink_null::SinkNull;

/// Runs the first clips twice, on one worker and on all, and prints a table.
pub fn bench(args: &BenchArgs, registry: &Registry) -> Exit {
    if args.graph.file.is_dir() {
        return bench_feed::bench(args);
    }
    let graph = match load(&args.graph, registry) {
        Ok(graph) => graph,
        Err(exit) => return exit,
    };
    let watch = match StopWatch::start() {
        Ok(watch) => watch,
        Err(error) => return fail(format!("cannot listen for signals: {error}")),
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or(cores, std::num::NonZero::get);
    let n_clips = args.clips.get() as u64;
    let mut reports = Vec::new();
    for jobs in if jobs == 1 { vec![1] } else { vec![1, jobs] } {
        eprintln!("running {} on {} ...", counted(n_clips, "clip"), counted(jobs as u64, "worker"));
        let options = JobOptions { jobs: Some(jobs), ..JobOptions::default() };
        let change = |network: &mut Network| shorten(network, n_clips);
        let (report, result) = job::run_changed(&graph, options, &change, watch.stops(), &mut |_| ());
        match result {
            Ok(()) => reports.push(report),
            Err(JobError::Run(RunError::Interrupted(signal))) => return Exit::Stopped(signal),
            Err(JobError::Build { stage, line, source }) => return build_fault(&stage, line, &source),
            Err(error) => return fail(error),
        }
    }
    print(&table(&graph, &reports))
}

/// The first `n_clips` of each source, and sinks that forget.
fn shorten(network: &mut Network, n_clips: u64) {
    for segment in &mut network.segments {
        let work = std::mem::replace(&mut segment.work, SegmentWork::Sink(Box::new(SinkNull::default())));
        segment.work = match work {
            SegmentWork::Sink(_) => continue,
            SegmentWork::Source { source, first_unit } => {
                SegmentWork::Source { source: Box::new(First::new(source, n_clips)), first_unit }
            }
            other => other,
        };
    }
}

/// The first clips of a source.
struct First {
    inner: Box<dyn Source>,
    units: Vec<Unit>,
}

impl First {
    fn new(inner: Box<dyn Source>, n_clips: u64) -> Self {
        let mut left = n_clips;
        let mut units = Vec::new();
        for unit in inner.units() {
            if left == 0 {
                break;
            }
            let n_clips = unit.n_clips.min(left);
            left -= n_clips;
            units.push(Unit { n_clips, key: unit.key });
        }
        Self { inner, units }
    }
}

impl Source for First {
    fn units(&self) -> &[Unit] {
        &self.units
    }

    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let mut left = self.units[unit].n_clips as usize;
        self.inner.read(unit, &mut |rows| {
            let n = rows.num_rows().min(left);
            left -= n;
            if n > 0 { emit(rows.slice(0, n)) } else { Ok(()) }
        })
    }
}

fn table(graph: &Graph, reports: &[RunReport]) -> String {
    let mut out = String::new();
    let Some(one) = reports.first() else { return out };
    let _ = writeln!(out, "{}: {}\n", graph.pipeline, counted(one.end.clips_done, "clip"));
    let _ = writeln!(
        out,
        "{:<20} {:<16} {:>9} {:>12} {:>12} {:>7}",
        "stage", "type", "rows in", "ms a row", "alone, /s", "share"
    );
    let busy_s: f64 = one.end.stages.iter().map(|stage| stage.busy_s).sum();
    for stage in &one.end.stages {
        let rows = stage.rows_in.max(stage.rows_out);
        let ms = stage.busy_s * 1e3 / rows.max(1) as f64;
        let alone = if stage.busy_s > 0.0 { rate(rows as f64 / stage.busy_s) } else { "-".to_owned() };
        let share = percent(stage.busy_s / busy_s.max(1e-9));
        let _ = writeln!(out, "{:<20} {:<16} {rows:>9} {ms:>12.3} {alone:>12} {share:>7}", stage.id, stage.type_name);
    }
    let overhead_us = (one.end.elapsed_s - busy_s).max(0.0) * 1e6 / one.end.clips_done.max(1) as f64;
    let _ = writeln!(out, "\nfused, on one worker the engine itself and waiting took {overhead_us:.0} us a clip");
    for report in reports {
        let _ = writeln!(out, "{}", fused(&report.end, report.peak_rss_bytes));
    }
    if let [first, .., last] = reports {
        let speed_up = clips_per_s(&last.end) / clips_per_s(&first.end).max(1e-9);
        let _ = writeln!(out, "{speed_up:.2} times as fast with {}", counted(last.end.jobs, "worker"));
    }
    if let Some(bottleneck) = reports.last().and_then(|report| report.bottleneck.as_ref()) {
        let share = percent(bottleneck.share);
        let _ = writeln!(
            out,
            "bottleneck: {} ({share} of the capacity it can use); {}",
            bottleneck.stage, bottleneck.advice
        );
    }
    if one.end.rejects > 0 {
        let _ = writeln!(out, "{} refused", counted(one.end.rejects, "clip"));
    }
    out
}

fn clips_per_s(end: &Snapshot) -> f64 {
    end.clips_done as f64 / end.elapsed_s.max(1e-9)
}

fn fused(end: &Snapshot, peak_rss_bytes: u64) -> String {
    format!(
        "{}: {}, {}, peak memory {}",
        counted(end.jobs, "worker"),
        rate(clips_per_s(end)),
        duration(end.elapsed_s),
        bytes(peak_rss_bytes)
    )
}
