//! The folder of a training: what it was begun with, its log, its checkpoints.
//!
//! ```text
//! run.json             what the run is: recipe, seed, data, batches; a run of another kind is refused
//! metrics.jsonl        a record a line
//! checkpoints/step-00001000/
//! events.out.tfevents.* the same for TensorBoard, and report.html, where whoever trains writes them
//! earlier-1/           what `fresh` put aside
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{
    FolderLock, Fs, RealFs, StoreError, commit_bytes, commit_bytes_new, discard_folder, seal, sweep, unseal,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TrainError;
use super::log::{self, Log};
use crate::checkpoint::{About, Checkpoint, CheckpointError};
use crate::step::Learner;
use crate::telemetry::Record;

/// File name of what the run is.
pub const RUN: &str = "run.json";
/// File name of the log.
pub const METRICS: &str = "metrics.jsonl";
/// Held by the process that trains.
const LOCK: &str = "lock";
/// Folder of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

/// What the name of a checkpoint ends in while another takes its place.
const REPLACED: &str = ".replaced";

const FORMAT: u32 = 1;
const MAX_RUN_BYTES: u64 = 64 << 20;

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunCard {
    format: u32,
    identity: Value,
}

/// The folder of one training.
#[derive(Debug, Clone)]
pub struct RunFolder {
    dir: PathBuf,
    fs: Arc<dyn Fs>,
}

impl RunFolder {
    /// The folder `dir`, which need not be there yet.
    pub fn new(dir: &Path) -> Self {
        Self::with_fs(dir, Arc::new(RealFs))
    }

    /// The same on other files.
    pub fn with_fs(dir: &Path, fs: Arc<dyn Fs>) -> Self {
        Self { dir: dir.to_owned(), fs }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps other processes out of the folder, as long as what it returns lives.
    ///
    /// # Errors
    /// [`TrainError::Busy`] when another process trains here.
    pub fn lock(&self) -> Result<FolderLock, TrainError> {
        self.fs.create_dir_all(&self.dir).map_err(|error| StoreError::io("create", &self.dir, error))?;
        FolderLock::take(&self.dir.join(LOCK))?.ok_or_else(|| TrainError::Busy { dir: self.dir.clone() })
    }

    /// Claims the folder for the run that `identity` describes: everything that decides what a step does. A run that never came to
    /// a checkpoint gives way.
    ///
    /// # Errors
    /// [`TrainError::Changed`] when it holds a run of another kind.
    pub fn claim(&self, identity: &Value) -> Result<(), TrainError> {
        let checkpoints = self.dir.join(CHECKPOINTS);
        self.fs.create_dir_all(&checkpoints).map_err(|error| StoreError::io("create", &checkpoints, error))?;
        sweep(self.fs.as_ref(), &self.dir);
        sweep(self.fs.as_ref(), &checkpoints);
        self.settle(&checkpoints)?;
        let path = self.dir.join(RUN);
        let damaged = |problem: String| TrainError::Damaged { path: path.clone(), problem };
        let card = RunCard { format: FORMAT, identity: identity.clone() };
        let json = seal(&card).map_err(|error| damaged(error.to_string()))?;
        if commit_bytes_new(&self.fs, path.clone(), &json)? {
            return Ok(());
        }
        let bytes = self.fs.read(&path, MAX_RUN_BYTES).map_err(|error| StoreError::io("read", &path, error))?;
        let found = unseal::<RunCard>(&bytes, FORMAT).map_err(damaged)?.identity;
        // Both through JSON, which may lose the last bit of a number.
        if found == unseal::<RunCard>(&json, FORMAT).map_err(damaged)?.identity {
            return Ok(());
        }
        if self.checkpoints()?.is_empty() {
            return Ok(commit_bytes(&self.fs, path, &json)?);
        }
        Err(TrainError::Changed { dir: self.dir.clone(), old: Box::new(found), new: Box::new(identity.clone()) })
    }

    /// Puts a run that is there aside as `earlier-N`, with its checkpoints; returns where to, if there was one. Nothing is lost.
    ///
    /// # Errors
    /// [`TrainError::Store`]; the run is then found again by the next try.
    pub fn put_aside(&self) -> Result<Option<PathBuf>, TrainError> {
        let names = match self.fs.list(&self.dir) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("list", &self.dir, error).into()),
        };
        let is_of_run = |name: &&String| {
            [METRICS, CHECKPOINTS, "report.html", RUN].contains(&name.as_str()) || name.starts_with("events.out.")
        };
        // `run.json` is the last to leave: what is put aside only in part is still this run's.
        let mut leaving: Vec<&String> = names.iter().filter(is_of_run).collect();
        leaving.sort_by_key(|name| (*name == RUN, *name));
        if leaving.is_empty() {
            return Ok(None);
        }
        let taken = |n: &usize| names.contains(&format!("earlier-{n}"));
        let aside = self.dir.join(format!("earlier-{}", (1..=names.len() + 1).find(|n| !taken(n)).unwrap_or(1)));
        self.fs.create_dir_all(&aside).map_err(|error| StoreError::io("create", &aside, error))?;
        for name in leaving {
            let to = aside.join(name);
            self.fs.rename(&self.dir.join(name), &to).map_err(|error| StoreError::io("rename to", &to, error))?;
        }
        self.fs.sync_dir(&self.dir).map_err(|error| StoreError::io("sync", &self.dir, error))?;
        Ok(Some(aside))
    }

    /// Steps of the checkpoints that are there, ascending.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn checkpoints(&self) -> Result<Vec<u64>, StoreError> {
        let dir = self.dir.join(CHECKPOINTS);
        let names = match self.fs.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            // A file, of which nothing is in it either.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Vec::new(),
            Err(error) => return Err(StoreError::io("list", &dir, error)),
        };
        let mut steps: Vec<u64> = names.iter().filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Where the checkpoint of `step` is, or will be.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.dir.join(CHECKPOINTS).join(format!("step-{step:08}"))
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] when it cannot be read; it is not passed over in silence.
    pub fn newest(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        match self.checkpoints()?.last() {
            Some(&step) => Checkpoint::open(&self.checkpoint(step)).map(Some),
            None => Ok(None),
        }
    }

    /// Writes a checkpoint, unless one of that step is there.
    pub(super) fn save(&self, learner: &Learner, about: About) -> Result<(), TrainError> {
        learner.save(&self.fs, &self.checkpoint(learner.steps), about)?;
        Ok(())
    }

    /// Writes a checkpoint in the place of the one of the same step. Whenever it is cut off, [`RunFolder::claim`] finds one of the two.
    pub(super) fn replace(&self, learner: &Learner, about: About) -> Result<(), TrainError> {
        let here = self.checkpoint(learner.steps);
        let aside = self.dir.join(CHECKPOINTS).join(format!("step-{:08}{REPLACED}", learner.steps));
        self.fs.rename(&here, &aside).map_err(|error| StoreError::io("rename to", &aside, error))?;
        self.save(learner, about)?;
        Ok(discard_folder(self.fs.as_ref(), &aside)?)
    }

    /// Ends what [`RunFolder::replace`] was cut off from: where there is no new checkpoint, the old one takes its place again.
    fn settle(&self, checkpoints: &Path) -> Result<(), TrainError> {
        let names = self.fs.list(checkpoints).map_err(|error| StoreError::io("list", checkpoints, error))?;
        for (old, name) in names.iter().filter_map(|old| Some((old, old.strip_suffix(REPLACED)?))) {
            let (old, here) = (checkpoints.join(old), checkpoints.join(name));
            if names.iter().any(|there| there == name) {
                discard_folder(self.fs.as_ref(), &old)?;
            } else {
                self.fs.rename(&old, &here).map_err(|error| StoreError::io("rename to", &here, error))?;
            }
        }
        Ok(())
    }

    /// Takes away the checkpoints that need not stay.
    pub(super) fn prune(&self, stays: impl Fn(&[u64], u64) -> bool) -> Result<(), TrainError> {
        let steps = self.checkpoints()?;
        for &step in steps.iter().filter(|step| !stays(&steps, **step)) {
            discard_folder(self.fs.as_ref(), &self.checkpoint(step))?;
        }
        Ok(())
    }

    /// The log, behind the records of steps up to `last`.
    pub(super) fn log(&self, last: u64) -> Result<Log, TrainError> {
        Log::open(&self.fs, self.dir.join(METRICS), last)
    }

    /// All records.
    ///
    /// # Errors
    /// [`TrainError::Store`].
    pub fn records(&self) -> Result<Vec<Record>, TrainError> {
        log::records(self.fs.as_ref(), &self.dir.join(METRICS))
    }
}

/// The checkpoint `path`, or of the run `path` the best one, or the newest where none was probed.
///
/// # Errors
/// [`CheckpointError`] when there is none, or it cannot be read.
pub fn find_checkpoint(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let folder = RunFolder::new(path);
    let Some(newest) = folder.newest()? else { return Checkpoint::open(path) };
    match newest.card().notes["best"]["step"].as_u64() {
        Some(best) if best != newest.card().steps => Checkpoint::open(&folder.checkpoint(best)),
        _ => Ok(newest),
    }
}
