//! `dataset audioset|fsd50k|esc50|xares|folder|refine|show`: manifests, and what they hold.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use ajepa_datasets::{FolderRules, Joined, Manifest, Report, Scan, Written};

use super::super::run::execute;
use super::super::verify::verify;
use super::super::{fail, load, print};
use super::report::{extensions_of, write_report};
use crate::cli::args::{
    DatasetVerb, FolderArgs, GraphArgs, MakeArgs, Override, RefineArgs, RefineOptions, ReportFile, ShowManifestArgs,
    VerifyArgs,
};
use crate::cli::exit::Exit;
use crate::cli::format::{count, counted};
use crate::cli::progress::ProgressMode;
use crate::dataset::{Corpus, Making, Refining, list, writable};
use crate::job::JobOptions;
use crate::scan::{ScanGraph, scan_graph};
use crate::stage::BuildError;
use crate::stages::Registry;

/// Makes the manifest of a corpus; exits as `run` does.
///
/// # Errors
/// The exit, with what is wrong on stderr.
pub fn make(verb: &DatasetVerb, registry: &Registry) -> Result<Exit, Exit> {
    let (corpus, splits, args) = match verb {
        DatasetVerb::Audioset(args) => (Corpus::AudioSet(args.lists.clone()), &args.splits[..], &args.make),
        DatasetVerb::Fsd50k(args) => (Corpus::Fsd50k(args.dir.clone()), &args.splits[..], &args.make),
        DatasetVerb::Esc50(args) => (Corpus::Esc50(args.dir.clone()), &[][..], &args.make),
        DatasetVerb::Xares(args) => (Corpus::Xares(args.task.clone(), args.tars.clone()), &[][..], &args.make),
        DatasetVerb::Folder(args) => (Corpus::Folder(args.dir.clone(), rules(args)), &[][..], &args.make),
        DatasetVerb::Scan(_) | DatasetVerb::Refine(_) | DatasetVerb::Show(_) => return Err(Exit::Usage),
    };
    extensions_of(&args.out).and_then(|()| writable(&args.out, &[])).map_err(|why| usage(&why))?;
    // Lists and the graph that is run at last come first: what is wrong with them is said before hours of decoding.
    let next = args.then.as_ref().map(|file| next_graph(file, args));
    if let Some(next) = &next {
        load(next, registry)?;
    }
    let mut wanted = corpus.wanted(args.links.into()).map_err(|error| usage(&error))?;
    if !splits.is_empty() {
        let known = wanted.splits().map_err(|error| usage(&error.into()))?;
        if let Some(other) = splits.iter().find(|split| !known.contains(split)) {
            let problem = format!("there is no split {other:?}");
            return Err(usage(&BuildError::new(problem, format!("there are {}", known.join(", ")))));
        }
        let named: Vec<&str> = splits.iter().map(String::as_str).collect();
        wanted = wanted.of_splits(&named).map_err(fail)?;
    }
    if args.progress != ProgressMode::Off {
        eprintln!("{} in the lists", counted(wanted.frame().height() as u64, "clip"));
    }
    let making = Making {
        audio: if args.audio.is_empty() { corpus.audio() } else { args.audio.clone() },
        corpus,
        out: args.out.clone(),
        min_seconds: args.min_seconds,
        near: (args.near > 0.0 && !args.unchecked).then_some(args.near),
    };
    let scan = held(args, &making, registry)?;
    let joined = making.manifest(&wanted, &scan).map_err(|error| usage(&error))?;
    let manifest = refining(&args.refine).refine(joined.manifest).map_err(|error| usage(&error))?;
    let refined = Joined { manifest, held: joined.held };
    let mut report = Report::of_join(&refined, wanted.notes()).map_err(fail)?;
    report.notes.extend(Refining::leaks(&refined.manifest).map_err(|error| usage(&error))?);
    conclude(&refined.manifest, &report, &args.out, &args.reports)?;
    match next {
        Some(next) => run_next(&next, args, registry),
        None => Ok(Exit::Done),
    }
}

/// Makes a manifest of another.
///
/// # Errors
/// As [`make`].
pub fn refine(args: &RefineArgs) -> Result<Exit, Exit> {
    let place = extensions_of(&args.out).and_then(|()| writable(&args.out, &[&args.manifest]));
    place.map_err(|why| usage(&why))?;
    let refining = refining(&args.refine);
    if refining.is_nothing() {
        let help = "such as --exclude, --drop-duplicates, --sample, --balanced, --into, --folds";
        return Err(usage(&BuildError::new("nothing is to be done to it", help)));
    }
    let manifest = read(&args.manifest)?;
    let moved = crate::dataset::moved(manifest, &args.manifest, &args.out).map_err(|error| usage(&error))?;
    let manifest = refining.refine(moved).map_err(|error| usage(&error))?;
    let mut report = Report::of(&manifest).map_err(fail)?;
    report.notes = Refining::leaks(&manifest).map_err(|error| usage(&error))?;
    conclude(&manifest, &report, &args.out, &args.reports)?;
    Ok(Exit::Done)
}

/// Says what a manifest holds.
///
/// # Errors
/// As [`make`].
pub fn show(args: &ShowManifestArgs) -> Result<Exit, Exit> {
    let manifest = read(&args.manifest)?;
    let mut report = Report::of(&manifest).map_err(fail)?;
    report.notes = Refining::leaks(&manifest).map_err(|error| usage(&error))?;
    for file in &args.reports {
        write_report(file, &args.manifest, &report).map_err(fail)?;
    }
    Ok(print(&report.to_string()))
}

fn read(path: &Path) -> Result<Manifest, Exit> {
    Manifest::read(path).map_err(|error| usage(&error.into()))
}

fn usage(error: &BuildError) -> Exit {
    eprintln!("error: {}\n  help: {}", error.problem, error.help);
    Exit::Usage
}

fn rules(args: &FolderArgs) -> FolderRules {
    let part = |n: &NonZero<usize>| n.get() - 1;
    FolderRules {
        labels: args.labels.iter().map(part).collect(),
        split: args.split.as_ref().map(part),
        group: args.group.as_ref().map(part),
        side_files: args.side_files,
    }
}

fn refining(options: &RefineOptions) -> Refining {
    Refining {
        exclude: options.exclude.clone(),
        drop_duplicates: options.drop_duplicates,
        drop_near_duplicates: options.drop_near_duplicates,
        sample: options.sample.map(NonZero::get),
        balanced: options.balanced,
        split: options.into.as_ref().map(|shares| shares.0.clone()),
        folds: options.folds.map(NonZero::get),
        of: options.of.clone(),
        seed: options.seed,
    }
}

/// What is held: by names, by a table of an earlier scan, or scanned now.
fn held(args: &MakeArgs, making: &Making, registry: &Registry) -> Result<Scan, Exit> {
    if args.unchecked {
        return list(&making.audio, args.links.into()).map_err(|error| usage(&error));
    }
    let table = args.scan.clone().unwrap_or_else(|| args.out.with_extension("scan.parquet"));
    if args.scan.is_none() {
        let wanted = ScanGraph {
            paths: making.audio.clone(),
            links: args.links.into(),
            out: table.clone(),
            silent_below_db: args.silent_below,
            min_seconds: args.min_seconds,
            id_column: None,
            label_column: None,
        };
        let graph = scan_graph(&wanted, registry).map_err(|errors| {
            eprintln!("error: {errors}");
            Exit::Usage
        })?;
        let options = JobOptions { jobs: args.jobs.map(NonZero::get), ..JobOptions::default() };
        match execute(&graph, options, args.progress, &[]) {
            Exit::Done => {}
            other => return Err(other),
        }
    }
    Scan::read(&table).map_err(|error| usage(&error.into()))
}

/// Writes the manifest and what is said of it.
fn conclude(manifest: &Manifest, report: &Report, out: &Path, reports: &[ReportFile]) -> Result<(), Exit> {
    let Written { usable, all, n_usable, n_all } = manifest.write(out).map_err(fail)?;
    for file in reports {
        write_report(file, &all, report).map_err(fail)?;
    }
    let wrote = format!(
        "\n{}: {} that can be used; {}: all {}\n",
        usable.display(),
        counted(n_usable as u64, "clip"),
        all.display(),
        count(n_all as u64)
    );
    match print(&format!("{report}{wrote}")) {
        Exit::Done => Ok(()),
        other => Err(other),
    }
}

/// The graph that is run over the manifest.
fn next_graph(file: &Path, args: &MakeArgs) -> GraphArgs {
    let path = ["stages", "clips", "path"].map(str::to_owned).to_vec();
    let value = serde_json::json!(args.out).to_string();
    let mut overrides = vec![Override { path, value }];
    overrides.extend(args.overrides.iter().cloned());
    GraphArgs { file: file.to_owned(), overrides }
}

/// Runs it, and verifies what it wrote.
fn run_next(next: &GraphArgs, args: &MakeArgs, registry: &Registry) -> Result<Exit, Exit> {
    let graph = load(next, registry)?;
    let options = JobOptions { jobs: args.jobs.map(NonZero::get), ..JobOptions::default() };
    match execute(&graph, options, args.progress, &[]) {
        Exit::Done => {}
        other => return Err(other),
    }
    let sinks = graph.nodes.iter().filter(|node| node.type_name == "sink_shards");
    for path in sinks.filter_map(|node| node.json.get("path")?.as_str().map(PathBuf::from)) {
        match verify(&VerifyArgs { path }) {
            Exit::Done => {}
            other => return Err(other),
        }
    }
    Ok(Exit::Done)
}
