//! From what somebody names on a command line to a graph that scans it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::{ConfigErrors, load_str};
use crate::corpus::has_audio;
use crate::plan::Graph;
use crate::stages::Registry;
use crate::stages::source_folder::LinkPolicy;

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
    for path in &wanted.paths {
        match place(path) {
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

fn place(path: &Path) -> Place {
    let text = || path.to_string_lossy().into_owned();
    let has = |path: &Path, wanted: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(wanted));
    let is_parquet = |path: &Path| (has(path, "parquet") || has(path, "pq")) && has_audio(path);
    if path.is_dir() {
        let children = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<PathBuf> = children.map(|child| child.path()).filter(|child| child.is_file()).collect();
        names.sort();
        return match names.iter().find(|name| has(name, "tar") || has(name, "parquet")) {
            Some(tar) if has(tar, "tar") => Place::Tars(text()),
            Some(parquet) if is_parquet(parquet) => Place::Parquet(text()),
            _ => Place::Files(path.to_owned()),
        };
    }
    match () {
        () if has(path, "tar") => Place::Tars(text()),
        () if is_parquet(path) => Place::Parquet(text()),
        () => Place::Files(path.to_owned()),
    }
}
