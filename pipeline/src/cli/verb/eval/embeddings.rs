//! Embeddings made elsewhere: a file a task, named as the task.

use std::path::{Path, PathBuf};

use super::usage;
use crate::cli::args::ModelArg;
use crate::cli::exit::Exit;
use crate::cli::progress::ProgressMode;
use crate::eval::{Embeddings, Encoded, Kind, Model, Protocol, Row, Settings, Task, read_parted};
use crate::stage::BuildError;

/// Judges a model by its files; `tasks` are those whose clips are known.
pub fn judged(model: &ModelArg, tasks: &[Task], settings: &Settings, progress: ProgressMode) -> Result<Model, Exit> {
    let mut rows = Vec::new();
    for file in files(&model.path).map_err(|error| usage(&error))? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let protocol = Protocol::of(&name);
        if let Some(Kind::NotRun(why)) = protocol.kind {
            rows.push(Row::not_run(&name, why));
            continue;
        }
        let splits = read_parted(&file).map_err(|error| usage(&error))?;
        let (embeddings, notes) = if protocol.asks_frames() {
            of_frames(&file, splits, tasks.iter().find(|task| task.name == name)).map_err(|error| usage(&error))?
        } else {
            (of_clips(splits), Vec::new())
        };
        let task = Task { name, protocol, splits: Vec::new(), notes: Vec::new() };
        rows.push(super::row(&model.shown(), &task, &embeddings, &notes, settings, progress)?);
    }
    Ok(Model::new(model.shown(), None, rows))
}

/// For a task about clips: frames where a clip has several rows, and their mean.
fn of_clips(splits: Vec<Encoded>) -> Embeddings {
    if !splits.iter().any(|split| split.vectors.has_several()) {
        return Embeddings { usual: splits, ..Embeddings::default() };
    }
    let mean = |split: &Encoded| Encoded { vectors: split.vectors.means(), ..split.clone() };
    Embeddings { usual: splits.iter().map(mean).collect(), frames: splits, ..Embeddings::default() }
}

/// For a task about frames, with the events of the `task` that they are of, where it is known.
fn of_frames(file: &Path, splits: Vec<Encoded>, task: Option<&Task>) -> Result<(Embeddings, Vec<String>), BuildError> {
    let fault = |problem: String, help: &str| Err(BuildError::new(format!("{}: {problem}", file.display()), help));
    if !splits.iter().any(|split| split.vectors.has_several()) {
        let problem = "it has a vector a clip, and the task asks about frames".to_owned();
        return fault(problem, "put a row a frame into it, those of a clip one after another");
    }
    let hops: Vec<Option<f64>> = splits.iter().map(|split| split.vectors.hop_s).collect();
    if hops.iter().any(|hop_s| hop_s.is_none() || *hop_s != hops[0]) {
        let problem = "how far its rows are apart is not known, or not the same everywhere".to_owned();
        return fault(problem, "add a column `hop_s`: seconds from one row of a clip to the next");
    }
    let events = task.map(Task::events).filter(|events| !events.is_empty());
    let mut notes = Vec::new();
    if let (Some(events), Some(task)) = (&events, task) {
        let clips = || {
            splits
                .iter()
                .flat_map(|split| split.vectors.clips().into_iter().rev().skip(1).map(move |at| &split.vectors.ids[at]))
        };
        let (n, n_unknown) = (clips().count(), clips().filter(|id| !events.contains_key(*id)).count());
        if n == n_unknown {
            let example = events.keys().next().map_or_else(String::new, |id| format!(", such as {id}"));
            return fault(format!("none of its clips is of {}", task.name), &format!("name them TAR/KEY{example}"));
        }
        if n_unknown > 0 {
            notes.push(format!("{n_unknown} of {n} clips are not in the task: they count as silent"));
        }
    }
    Ok((Embeddings { usual: splits, events, ..Embeddings::default() }, notes))
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
