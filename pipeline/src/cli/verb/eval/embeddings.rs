//! Embeddings made elsewhere: a file a task, named as the task.

use std::path::{Path, PathBuf};

use super::usage;
use crate::cli::args::ModelArg;
use crate::cli::exit::Exit;
use crate::cli::progress::ProgressMode;
use crate::eval::{Embeddings, Encoded, Kind, Known, Model, Protocol, Row, Settings, Task, read_parted};
use crate::stage::BuildError;

/// The files of a model that are to be judged; of `tasks`, where some are named, those that it has a file of.
pub struct Files<'a> {
    model: &'a ModelArg,
    /// Each with the task whose clips are known.
    judged: Vec<(PathBuf, Option<&'a Task>)>,
    /// Names of files that no task was named for.
    skipped: Vec<String>,
    /// Tasks that there is no file of.
    absent: Vec<&'a Task>,
}

impl<'a> Files<'a> {
    /// Those at the model's path.
    ///
    /// # Errors
    /// [`Exit::Usage`] where there is none, or the one that is named is of none of `tasks`; why is on stderr.
    pub fn of(model: &'a ModelArg, tasks: &'a [Task]) -> Result<Self, Exit> {
        let (mut judged, mut skipped) = (Vec::new(), Vec::new());
        for file in files(&model.path).map_err(|error| usage(&error))? {
            let task = tasks.iter().find(|task| task.name.eq_ignore_ascii_case(&stem(&file)));
            if task.is_some() || tasks.is_empty() {
                judged.push((file, task));
            } else {
                skipped.push(file.file_name().unwrap_or_default().to_string_lossy().into_owned());
            }
        }
        if judged.is_empty() {
            let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            let problem =
                format!("{}: no file of a TASK that was named, but {}", model.path.display(), skipped.join(", "));
            let help = format!(
                "a file is named as its task: {}; where no TASK is named all files are judged",
                names.join(", ")
            );
            return Err(usage(&BuildError::new(problem, help)));
        }
        let has = |task: &Task| judged.iter().any(|(_, of)| of.is_some_and(|of| of.name == task.name));
        let absent = tasks.iter().filter(|task| !has(task)).collect();
        Ok(Self { model, judged, skipped, absent })
    }

    /// Judges the model by them.
    pub fn judge(&self, settings: &Settings, progress: ProgressMode) -> Result<Model, Exit> {
        let name = self.model.shown();
        if !self.skipped.is_empty() {
            super::say(progress, &format!("{name}: no TASK was named for {}: left out", self.skipped.join(", ")));
        }
        let mut rows = Vec::new();
        for (file, task) in &self.judged {
            rows.push(row_of(&name, file, *task, settings, progress)?);
        }
        for task in &self.absent {
            let why = format!("there is no file of it in {}", self.model.path.display());
            rows.push(Row::not_run(&task.name, &why));
        }
        Ok(Model::new(name, None, rows))
    }
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What one file scores; the clips of its `task`, where they are known, are those that are asked about.
fn row_of(
    model: &str,
    file: &Path,
    task: Option<&Task>,
    settings: &Settings,
    progress: ProgressMode,
) -> Result<Row, Exit> {
    let name = task.map_or_else(|| stem(file), |task| task.name.clone());
    let protocol = Protocol::of(&name);
    if let Some(Kind::NotRun(why)) = protocol.kind {
        return Ok(Row::not_run(&name, why));
    }
    let mut splits = read_parted(file).map_err(|error| usage(&error))?;
    let known = task.map(|task| task.keep_known(&mut splits));
    let embeddings = if protocol.asks_frames() {
        of_frames(file, splits, task, known.as_ref()).map_err(|error| usage(&error))?
    } else {
        of_clips(splits)
    };
    let notes = known.map_or_else(Vec::new, |known| known.notes());
    let task = Task { name, protocol, splits: Vec::new(), notes: Vec::new() };
    super::row(model, &task, &embeddings, &notes, settings, progress)
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
fn of_frames(
    file: &Path,
    splits: Vec<Encoded>,
    task: Option<&Task>,
    known: Option<&Known>,
) -> Result<Embeddings, BuildError> {
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
    if let (Some(task), Some(known), Some(_)) = (task, known.filter(|known| known.is_of_none()), &events) {
        // What is heard when is known of the task's clips alone.
        return fault(
            format!("none of its clips is of {}", task.name),
            &format!("name them TAR/KEY, such as {}", known.example),
        );
    }
    Ok(Embeddings { usual: splits, events, ..Embeddings::default() })
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
