//! Embeddings made elsewhere: a file a task, named as the task.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::usage;
use crate::cli::args::ModelArg;
use crate::cli::exit::Exit;
use crate::cli::progress::ProgressMode;
use crate::eval::{Kind, Model, Protocol, Row, Settings, Task, read_parted};
use crate::stage::BuildError;

/// Judges a model by its files.
pub fn judged(model: &ModelArg, settings: &Settings, progress: ProgressMode) -> Result<Model, Exit> {
    let mut rows = Vec::new();
    for file in files(&model.path).map_err(|error| usage(&error))? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let protocol = Protocol::of(&name);
        if matches!(protocol.kind, Some(Kind::Frames { .. } | Kind::NotRun(_))) {
            rows.push(Row::not_run(
                &name,
                "embeddings made elsewhere are a vector a clip, and this task asks about frames or texts",
            ));
            continue;
        }
        let splits = read_parted(&file).map_err(|error| usage(&error))?;
        let task = Task { name, protocol, splits: Vec::new(), notes: Vec::new() };
        rows.push(super::row(&model.shown(), &task, &splits, &BTreeMap::new(), &[], settings, progress)?);
    }
    Ok(Model::new(model.shown(), None, rows))
}

fn files(path: &Path) -> Result<Vec<PathBuf>, BuildError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let there = std::fs::read_dir(path);
    let there = there.map_err(|error| BuildError::new(format!("{}: {error}", path.display()), "check the path"))?;
    let is_one = |file: &PathBuf| file.extension().is_some_and(|e| e == "parquet" || e == "pq" || e == "npy");
    let mut files: Vec<PathBuf> = there.filter_map(|entry| Some(entry.ok()?.path())).filter(is_one).collect();
    files.sort();
    if files.is_empty() {
        let problem = format!("{}: there is no file of embeddings in it", path.display());
        return Err(BuildError::new(
            problem,
            "a file a task, named as the task: esc50.parquet, or esc50.npy beside esc50.csv",
        ));
    }
    Ok(files)
}
