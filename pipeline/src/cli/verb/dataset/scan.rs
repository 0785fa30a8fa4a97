//! `dataset scan`: runs the graph that measures every clip, and says what it found.

use std::fmt::Write as _;
use std::path::Path;

use super::super::run::execute;
use super::super::{fail, print, write_text};
use crate::cli::args::{ReportFile, ReportFormat, ScanArgs};
use crate::cli::corpus_html;
use crate::cli::exit::Exit;
use crate::cli::format::{count, counted, duration, percent};
use crate::job::JobOptions;
use crate::scan::{Bar, ScanGraph, Summary, scan_graph};
use crate::stages::Registry;

/// Rows of a list that are printed.
const SHOWN: usize = 12;

pub fn scan(args: &ScanArgs, registry: &Registry) -> Exit {
    let wanted = ScanGraph {
        paths: args.paths.clone(),
        links: args.links.into(),
        out: args.out.clone(),
        silent_below_db: args.silent_below,
        min_seconds: args.min_seconds,
        id_column: args.id_column.clone(),
        label_column: args.label_column.clone(),
    };
    let graph = match scan_graph(&wanted, registry) {
        Ok(graph) => graph,
        Err(errors) => {
            eprintln!("error: {errors}");
            return Exit::Usage;
        }
    };
    let options =
        JobOptions { jobs: args.jobs.map(std::num::NonZero::get), fresh: args.fresh, ..JobOptions::default() };
    match execute(&graph, options, args.progress, &[]) {
        Exit::Done => tell(args),
        other => other,
    }
}

fn tell(args: &ScanArgs) -> Exit {
    let summary = match Summary::read(&args.out) {
        Ok(summary) => summary,
        Err(error) => return fail(error),
    };
    for file in &args.reports {
        if let Err(error) = write_report(file, &args.out, &summary) {
            return fail(format!("cannot write the report {}: {error}", file.path.display()));
        }
    }
    print(&words(&summary))
}

fn write_report(file: &ReportFile, table: &Path, summary: &Summary) -> std::io::Result<()> {
    let text = match file.format {
        ReportFormat::Json => serde_json::to_string_pretty(summary).map_err(std::io::Error::other)?,
        ReportFormat::Html => {
            let name = table.file_name().unwrap_or(table.as_os_str()).to_string_lossy();
            corpus_html::render(&name, summary, None)
        }
    };
    write_text(&file.path, &text)
}

/// The report for the terminal.
fn words(scan: &Summary) -> String {
    let mut out = String::new();
    let usable = scan.usable();
    let share = percent(usable as f64 / scan.clips.max(1) as f64);
    let sound = duration(scan.hours * 3_600.0);
    let _ =
        writeln!(out, "\n{} of {} can be used ({share}): {sound} of sound", count(usable), counted(scan.clips, "clip"));
    for bar in scan.statuses.iter().filter(|bar| bar.name != "ok") {
        let _ = writeln!(out, "  {:>9} {}", count(bar.count), bar.name);
    }
    if scan.duplicates > 0 {
        let _ = writeln!(out, "{} the samples of a clip before:", of_usable(scan.duplicates, "has", "have"));
        for one in scan.first_duplicates.iter().take(3) {
            let _ = writeln!(out, "  {} = {}", one.clip_id, one.of);
        }
    }
    if scan.wrong_extension > 0 {
        let _ =
            writeln!(out, "{} not what the name says (wrong_extension)", of_usable(scan.wrong_extension, "is", "are"));
    }
    let _ = writeln!(out, "rates: {}", list(&scan.rates));
    let _ = writeln!(out, "codecs: {}", list(&scan.codecs));
    if !scan.labels.is_empty() {
        let n = counted(scan.labels.len() as u64, "label");
        let _ = writeln!(out, "{n}: {}", list(&scan.labels));
    }
    if let Some(name) = &scan.repeated_name {
        let _ = writeln!(out, "two clips are named {name:?}: what joins by clip_id will not tell them apart");
    }
    out
}

fn of_usable(n: u64, one: &str, many: &str) -> String {
    format!("{} of these {}", count(n), if n == 1 { one } else { many })
}

fn list(bars: &[Bar]) -> String {
    let mut words: Vec<String> =
        bars.iter().take(SHOWN).map(|bar| format!("{} ({})", bar.name, count(bar.count))).collect();
    if bars.len() > SHOWN {
        words.push(format!("{} more", count((bars.len() - SHOWN) as u64)));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
