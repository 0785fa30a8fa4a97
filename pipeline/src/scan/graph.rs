//! From what somebody names on a command line to a graph that scans it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use walkdir::{DirEntry, WalkDir};

use crate::config::{ConfigErrors, load_str};
use crate::corpus::{audio_extensions, expand, has_audio, has_extension};
use crate::plan::Graph;
use crate::stages::Registry;
use crate::stages::source_folder::{LinkPolicy, is_hidden};

/// Clips of a unit: what is lost at most when a scan is killed.
const CLIPS_PER_UNIT: u64 = 512;

/// What to scan, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanGraph {
    /// Files, folders, tables, tars, Parquet files with audio.
    pub paths: Vec<PathBuf>,
    /// What to do with symbolic links in folders.
    pub links: LinkPolicy,
    /// The table.
    pub out: PathBuf,
    /// A clip whose peak stays below is silent, in dB.
    pub silent_below_db: f32,
    /// A clip that is shorter is too short.
    pub min_seconds: f64,
    /// Names of columns in Parquet files with audio: that of the clips' names, and that of their labels.
    pub id_column: Option<String>,
    /// See above.
    pub label_column: Option<String>,
}

/// One source of the graph.
enum Place {
    Tars(String),
    Parquet(String),
    Files(PathBuf),
}

/// The graph: sources, `decode`, `measure`, `sink_scan`.
///
/// # Errors
/// Those of a graph, such as a name of a table that is none.
pub fn scan_graph(wanted: &ScanGraph, registry: &Registry) -> Result<Graph, ConfigErrors> {
    let mut sources: Vec<Value> = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for place in wanted.paths.iter().flat_map(|path| places(path)) {
        match place {
            Place::Files(path) => files.push(path),
            other => {
                // What is named side by side stays one source: its clips get names that differ.
                flush(&mut files, wanted.links, &mut sources);
                sources.push(match other {
                    Place::Tars(path) => json!({ "type": "source_webdataset", "path": path }),
                    Place::Parquet(path) => json!({
                        "type": "source_parquet", "path": path,
                        "columns": { "clip_id": wanted.id_column, "labels": wanted.label_column },
                    }),
                    Place::Files(path) => json!({ "type": "source_files", "paths": [path] }),
                });
            }
        }
    }
    flush(&mut files, wanted.links, &mut sources);
    let mut stages = Vec::new();
    let ids: Vec<String> = (1..=sources.len()).map(|n| format!("clips{n}")).collect();
    for (mut source, id) in sources.into_iter().zip(&ids) {
        source["id"] = json!(id);
        stages.push(source);
    }
    if ids.len() > 1 {
        stages.push(json!({ "id": "all", "type": "concat", "from": ids }));
    }
    stages.push(json!({ "type": "decode" }));
    stages.push(json!({
        "type": "measure", "silent_below_db": wanted.silent_below_db, "min_seconds": wanted.min_seconds,
    }));
    stages.push(json!({ "type": "sink_scan", "path": wanted.out }));
    let document = json!({
        "pipeline": "scan",
        "stages": stages,
        "on_error": { "policy": "quarantine", "max_fraction": 1.0 },
        "resources": { "clips_per_shard": CLIPS_PER_UNIT },
    });
    // JSON is YAML: the graph is read, proven and told of as one that somebody wrote.
    load_str("scan", &format!("{document:#}"), &[], registry)
}

fn flush(files: &mut Vec<PathBuf>, links: LinkPolicy, sources: &mut Vec<Value>) {
    if !files.is_empty() {
        sources.push(json!({ "type": "source_files", "paths": std::mem::take(files), "links": links }));
    }
}

/// What of a path is read how: of a folder its loose files, and wherever below it they lie its tars and Parquet files with audio.
fn places(path: &Path) -> Vec<Place> {
    if !path.is_dir() {
        return vec![match () {
            () if has(path, "tar") => Place::Tars(text(path)),
            () if is_parquet(path) => Place::Parquet(text(path)),
            () => Place::Files(path.to_owned()),
        }];
    }
    let archives = archives(path);
    let mut places = Vec::new();
    if archives.is_empty() || has_loose(path) {
        places.push(Place::Files(path.to_owned()));
    }
    // Those of one folder are one source: their clips get names that differ.
    let folders: BTreeSet<&Path> = archives.iter().filter_map(|path| path.parent()).collect();
    for folder in folders {
        let here = archives.iter().filter(|path| path.parent() == Some(folder));
        let (tars, parquet): (Vec<&PathBuf>, Vec<&PathBuf>) = here.partition(|path| has(path, "tar"));
        if !tars.is_empty() {
            places.push(Place::Tars(text(folder)));
        }
        // A table that is no audio may lie beside them.
        let n_all = expand(&text(folder), "parquet").map_or(0, |all| all.len());
        if parquet.len() > 1 && parquet.len() == n_all {
            places.push(Place::Parquet(text(folder)));
        } else {
            places.extend(parquet.into_iter().map(|path| Place::Parquet(text(path))));
        }
    }
    places
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn has(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn is_parquet(path: &Path) -> bool {
    (has(path, "parquet") || has(path, "pq")) && has_audio(path)
}

fn below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let walk = WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(|entry| !is_hidden(entry));
    walk.flatten().filter(|entry| entry.file_type().is_file()).map(DirEntry::into_path)
}

/// Tars and Parquet files with audio at `path` or below it, sorted by name.
pub fn archives(path: &Path) -> Vec<PathBuf> {
    below(path).filter(|path| has(path, "tar") || is_parquet(path)).collect()
}

/// Whether audio lies below `folder` that is in no archive.
fn has_loose(folder: &Path) -> bool {
    let extensions = audio_extensions();
    below(folder).any(|path| has_extension(&path.to_string_lossy(), &extensions))
}
