//! `run`: does what the graph says, shows how it goes, and says what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{fail, load, print, write_text};
use crate::cli::args::{ReportFile, ReportFormat, RunArgs};
use crate::cli::exit::{Exit, STOPPING, STOPPING_WHOLE, StopWatch};
use crate::cli::format::{bytes, count, counted, duration, percent, rate};
use crate::cli::progress::ProgressMode;
use crate::cli::report_html;
use crate::cli::shown::Shown;
use crate::engine::RunError;
use crate::job::{self, JobError, JobOptions};
use crate::plan::{Graph, explain};
use crate::report::{RunReport, TrainingReport};
use crate::stage::BuildError;
use crate::stages::Registry;

/// Runs the graph; exit 0, 1, 2, 129, 130 or 143.
pub fn run(args: &RunArgs, registry: &Registry) -> Exit {
    let graph = match load(&args.graph, registry) {
        Ok(graph) => graph,
        Err(exit) => return exit,
    };
    if let Some(url) = &args.cluster {
        return super::cluster::run(args, url, graph);
    }
    let options = JobOptions {
        jobs: args.jobs.map(std::num::NonZero::get),
        part: args.part.map(|part| (part.index, part.of)),
        fresh: args.fresh,
    };
    execute(&graph, options, args.progress, &args.reports)
}

/// Runs a graph that is proven, with everything around it: signals, progress, reports, the last word.
pub(super) fn execute(graph: &Graph, options: JobOptions, progress: ProgressMode, reports: &[ReportFile]) -> Exit {
    // As fast with two workers, and 2,000 clips take the process to 52 to 55 MB instead of 61 to 71.
    #[cfg(feature = "train")]
    ajepa_model::share_heaps(job::run_options(graph, options).jobs.div_ceil(2));
    let words = if graph.is_whole() { STOPPING_WHOLE } else { STOPPING };
    let watch = match StopWatch::start_saying(words) {
        Ok(watch) => watch,
        Err(error) => return fail(format!("cannot listen for signals: {error}")),
    };
    quiet_workers();
    if progress != ProgressMode::Off {
        explain::explain(graph).trainings.iter().for_each(|training| eprintln!("{}", training.text()));
        #[cfg(feature = "train")]
        say_beginnings(graph, options.fresh);
    }
    let mut shown = Shown::new(progress);
    let (report, result) = job::run(graph, options, watch.stops(), &mut |event| shown.update(event));
    shown.finish();
    conclude_run(graph, report, result, reports, options.fresh)
}

/// The last word on a run, and its reports.
pub(super) fn conclude_run(
    graph: &Graph,
    mut report: RunReport,
    result: Result<(), JobError>,
    reports: &[ReportFile],
    fresh: bool,
) -> Exit {
    report.graph_svg = Some(explain::svg(&explain::explain(graph)));
    let kept = if graph.is_whole() { NOTHING_KEPT.to_owned() } else { done_so_far(&report, fresh) };
    let exit = conclude(&report, result, &kept, fresh);
    for file in reports {
        if let Err(error) = write_report(file, &report) {
            return fail(format!("cannot write the report {}: {error}", file.path.display()));
        }
    }
    exit
}

/// The same with nothing on stdout, for a verb that has a result of its own.
///
/// # Errors
/// How it ended, where it is not done; why is on stderr.
#[cfg(all(feature = "train", feature = "datasets"))]
pub(super) fn run_quietly(graph: &Graph, options: JobOptions, progress: ProgressMode) -> Result<(), Exit> {
    let watch = StopWatch::start_saying(STOPPING_WHOLE);
    let watch = watch.map_err(|error| fail(format!("cannot listen for signals: {error}")))?;
    quiet_workers();
    let mut shown = Shown::new(progress);
    let (report, result) = job::run(graph, options, watch.stops(), &mut |event| shown.update(event));
    shown.finish();
    match result {
        Ok(()) => Ok(()),
        result => Err(conclude(&report, result, NOTHING_KEPT, options.fresh)),
    }
}

/// Says of trainings that begin with another's checkpoint which one that is.
#[cfg(feature = "train")]
fn say_beginnings(graph: &Graph, fresh: bool) {
    for node in &graph.nodes {
        let words = node.config.training().and_then(|config| crate::train::beginning_words(config, fresh));
        if let Some(words) = words {
            eprintln!("{}: {words}", node.id);
        }
    }
}

/// What is left of a run that writes one file at its end and did not come to it.
const NOTHING_KEPT: &str = "nothing was written; the same command begins again";

/// A panic in a worker is reported as the reject it becomes; its trace would only tear the progress line.
pub(super) fn quiet_workers() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some(crate::engine::WORKER_NAME) {
            loud(info);
        }
    }));
}

fn conclude(report: &RunReport, result: Result<(), JobError>, kept: &str, fresh: bool) -> Exit {
    match result {
        Ok(()) => print(&summary(report)),
        Err(JobError::Build { stage, line, source }) => build_fault(&stage, line, &source),
        #[cfg(feature = "train")]
        Err(JobError::Training { stage, line, source }) => {
            let exit = build_fault(&stage, line, &BuildError::new(source.problem, source.help));
            if source.is_usage { exit } else { Exit::Failed }
        }
        #[cfg(feature = "cluster")]
        Err(JobError::Cluster(error)) => {
            let exit = fail(&error);
            eprintln!("  {kept}");
            exit
        }
        Err(JobError::Run(RunError::Interrupted(signal))) => {
            match report.trainings.last() {
                Some(training) => eprintln!("stopped; {}; {}", trained(training), goes_on(fresh)),
                None => eprintln!("stopped; {kept}"),
            }
            Exit::Stopped(signal)
        }
        Err(JobError::Run(error)) => {
            let exit = fail(&error);
            if let RunError::TooManyRejects { limit, .. } = &error {
                for (stage, reason, n) in &report.reject_counts {
                    eprintln!("  {}: {stage}: {reason}", count(*n));
                }
                let field = limit.split(" =").next().unwrap_or("on_error");
                eprintln!("  help: mend the clips, raise {field}, or leave them out with `exclude`");
            }
            if matches!(error, RunError::BadClip(_)) {
                eprintln!("  help: on_error: {{ policy: quarantine }} would put it aside and go on");
            }
            eprintln!("  {kept}");
            exit
        }
    }
}

/// Says what a stage found wrong outside the config when it was built.
pub(super) fn build_fault(stage: &str, line: Option<usize>, fault: &BuildError) -> Exit {
    let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
    eprintln!("error: stage {stage}{place}: {}\n  help: {}", fault.problem, fault.help);
    Exit::Usage
}

fn done_so_far(report: &RunReport, fresh: bool) -> String {
    let end = &report.end;
    let (done, total) = (count(end.units_done), counted(end.units_total, "shard"));
    format!("{done} of {total} committed and kept; {}", goes_on(fresh))
}

/// How to go on; `--fresh` would begin once more.
fn goes_on(fresh: bool) -> &'static str {
    if fresh { "the same command without --fresh goes on from there" } else { "the same command goes on from there" }
}

/// How far a training is, in a clause.
fn trained(training: &TrainingReport) -> String {
    let (steps, asked) = (count(training.steps), counted(training.steps_asked, "step"));
    let wait = percent(training.data_wait);
    let best = training
        .best
        .map_or_else(String::new, |(step, score)| format!(", best probe {} at step {}", percent(score), count(step)));
    format!("{steps} of {asked} done{best}, {wait} of the time spent waiting for data")
}

/// What came of it, on stdout.
fn summary(report: &RunReport) -> String {
    let mut out = String::new();
    let end = &report.end;
    for (id, sink) in &report.sinks {
        let place = sink.path.as_deref().map_or_else(|| id.clone(), |path| path.display().to_string());
        let state = if sink.complete { "complete" } else { "not complete: other parts are to come" };
        let (rows, size) = (counted(sink.rows, "row"), bytes(sink.bytes));
        let _ = match sink.units {
            0 => writeln!(out, "{place}: {rows}, {size}, {state}"),
            n => writeln!(out, "{place}: {rows} in {}, {size}, {state}", counted(n, "shard")),
        };
        for note in &sink.notes {
            let _ = writeln!(out, "  {note}");
        }
    }
    for training in &report.trainings {
        let _ = writeln!(out, "{}: {}", training.path.display(), trained(training));
        for note in &training.notes {
            let _ = writeln!(out, "  {note}");
        }
    }
    if end.clips_done == 0 && !report.trainings.is_empty() {
        return out;
    }
    if end.clips_done == 0 {
        let _ = writeln!(out, "nothing to do: {} done by earlier runs", counted(end.clips_kept, "clip"));
        if let Some(path) = report.sinks.iter().find_map(|(_, sink)| sink.path.as_ref().filter(|_| sink.units > 0)) {
            let _ =
                writeln!(out, "their sizes were checked, not their bits: ajepa-pipe verify {} does", path.display());
        }
        return out;
    }
    let per_s = end.clips_done as f64 / end.elapsed_s.max(1e-9);
    let _ = writeln!(
        out,
        "{} in {} with {}: {}, peak memory {}",
        counted(end.clips_done, "clip"),
        duration(end.elapsed_s),
        counted(end.jobs, "worker"),
        rate(per_s),
        bytes(report.peak_rss_bytes)
    );
    by_host(report, &mut out);
    if end.rejects > 0 {
        let _ = writeln!(out, "{} refused:", counted(end.rejects, "clip"));
        for (stage, reason, n) in &report.reject_counts {
            let _ = writeln!(out, "  {} by {stage}: {reason}", count(*n));
        }
    }
    if let Some(bottleneck) = &report.bottleneck {
        let share = percent(bottleneck.share);
        let _ = writeln!(
            out,
            "pace set by {} ({share} of the capacity it can use): {}",
            bottleneck.stage, bottleneck.advice
        );
    }
    out
}

/// Machines that are listed; of more it is said how many.
const SHOWN_HOSTS: usize = 8;

/// Which machines of a cluster did how much.
fn by_host(report: &RunReport, out: &mut String) {
    let mut hosts: BTreeMap<&str, (u64, u64, f64)> = BTreeMap::new();
    for row in &report.units {
        let (units, clips, seconds) = hosts.entry(&row.host).or_default();
        *units += 1;
        *clips += row.clips;
        *seconds += row.seconds;
    }
    for (host, (units, clips, seconds)) in hosts.iter().take(SHOWN_HOSTS) {
        let (units, clips, per_s) =
            (counted(*units, "shard"), counted(*clips, "clip"), *clips as f64 / seconds.max(1e-9));
        let _ = writeln!(out, "  {host}: {units}, {clips}, {} on each thread", rate(per_s));
    }
    if hosts.len() > SHOWN_HOSTS {
        let _ = writeln!(out, "  and {} more machines", hosts.len() - SHOWN_HOSTS);
    }
}

fn write_report(file: &ReportFile, report: &RunReport) -> std::io::Result<()> {
    let text = match file.format {
        ReportFormat::Json => serde_json::to_string_pretty(report).map_err(std::io::Error::other)?,
        ReportFormat::Html => report_html::render(report),
    };
    write_text(&file.path, &text)
}
