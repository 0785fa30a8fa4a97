//! Which generation of a folder a run writes: the one of the same graph over the same inputs, else a new one.
//!
//! A generation belongs to the job in its `job.json`, claimed by a hard link that only one process can make. Nothing of
//! another generation is ever changed. Units that a new generation has in common with an earlier one of the same graph
//! (same number, same key) are taken over by a record that names the earlier part.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diff::differences;
use super::error::ShardError;
use super::foreign::is_absence;
use super::layout;
use super::manifest::{FORMAT, Job, MAX_JSON_BYTES, Manifest, UnitRecord};
use crate::stage::{RunInfo, Unit};
use ajepa_store::{Fs, PAGE_BYTES, commit_bytes, commit_bytes_new, to_hex};

/// Lines about a changed graph that a report shows.
const SHOWN_DIFFERENCES: usize = 12;

/// Records that are held in memory to be judged.
const READ_AT_ONCE: usize = 512;

/// Fields of the sink's own that no YAML has.
const INTERNAL: [&str; 2] = ["batch_rows", "page_bytes"];

/// One generation of a shard set, as one job sees it.
#[derive(Debug)]
pub(super) struct Generation {
    pub number: u32,
    pub job: Job,
    root: PathBuf,
    fs: Arc<dyn Fs>,
}

/// What became of a unit's record.
pub(super) enum RecordState {
    Done(Box<UnitRecord>),
    Absent,
    /// There is a file, but it proves nothing; the reason.
    Unusable(String),
}

impl Job {
    /// The job of `run` with a sink that stores as `sink` says.
    pub fn new(run: &RunInfo, sink: serde_json::Value) -> Self {
        let mut inputs = blake3::Hasher::new();
        for unit in &run.units {
            inputs.update(&unit.n_clips.to_le_bytes()).update(&unit.key);
        }
        let content = blake3::hash(format!("{FORMAT}\n{}\n{sink}", run.fingerprint).as_bytes());
        Self {
            format: FORMAT,
            pipeline: run.pipeline.clone(),
            fingerprint: run.fingerprint.clone(),
            content: to_hex(&content.as_bytes()[..16]),
            inputs: to_hex(&inputs.finalize().as_bytes()[..16]),
            units: run.units.len() as u64,
            graph: run.graph.clone(),
            sink,
            fresh: run.fresh,
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        self.content == other.content && self.inputs == other.inputs
    }
}

/// Finds or claims the generation of `job` in `root`, takes over what is the same, and says what changed.
pub(super) fn choose(
    fs: &Arc<dyn Fs>,
    root: &Path,
    job: &Job,
    run: &RunInfo,
    notes: &mut Vec<String>,
) -> Result<Generation, ShardError> {
    loop {
        let known = jobs(fs.as_ref(), root)?;
        for (number, problem) in known.iter().filter_map(|(number, found)| Some((number, found.as_ref().err()?))) {
            let file = layout::generation_dir(root, *number).join(layout::JOB);
            notes.push(format!("{}: {problem}; generation {number} is left as it is", file.display()));
        }
        let mut earlier = claims(fs, root, &known);
        if let Some(at) = latest_of(&earlier, job)
            && (!run.fresh || !earlier[at].has_any_of(run)?)
        {
            let chosen = earlier.swap_remove(at);
            chosen.take_over(&earlier, run, notes)?;
            return Ok(chosen);
        }
        let number = next_number(fs.as_ref(), root, &known)?;
        let chosen = Generation { number, job: job.clone(), root: root.to_owned(), fs: fs.clone() };
        if chosen.claim()? {
            if let Some(last) = earlier.last() {
                notes.extend(what_changed(last, job, number));
            }
            chosen.take_over(&earlier, run, notes)?;
            return Ok(chosen);
        }
        // Another process was quicker: it may have claimed the number for this very job.
    }
}

/// The generation of `job` that somebody has claimed who shares the job out.
pub(super) fn claimed(
    fs: &Arc<dyn Fs>,
    root: &Path,
    job: &Job,
    run: &RunInfo,
    notes: &mut Vec<String>,
) -> Result<Generation, ShardError> {
    let known = match jobs(fs.as_ref(), root) {
        Err(ShardError::Io { source, .. }) if is_absence(&source) => Vec::new(),
        known => known?,
    };
    let mut claimed = claims(fs, root, &known);
    let Some(at) = latest_of(&claimed, job) else {
        return Err(ShardError::NotClaimed { dir: root.to_owned() });
    };
    let chosen = claimed.swap_remove(at);
    chosen.take_over(&claimed, run, notes)?;
    Ok(chosen)
}

/// The generations that somebody has claimed.
fn claims(fs: &Arc<dyn Fs>, root: &Path, known: &[Known]) -> Vec<Generation> {
    let claimed = known.iter().filter_map(|(number, job)| Some((*number, job.as_ref().ok()?.clone()?)));
    claimed.map(|(number, job)| Generation { number, job, root: root.to_owned(), fs: fs.clone() }).collect()
}

/// The last of them that is of the same job.
fn latest_of(claimed: &[Generation], job: &Job) -> Option<usize> {
    claimed.iter().rposition(|generation| generation.job.same_as(job))
}

/// A generation by number: its job, `None` where a folder has no claim yet, or what is wrong with the claim.
type Known = (u32, Result<Option<Job>, String>);

/// The jobs under `_units`.
fn jobs(fs: &dyn Fs, root: &Path) -> Result<Vec<Known>, ShardError> {
    let dir = layout::units_dir(root);
    let names = fs.list(&dir).map_err(|e| ShardError::io("list", &dir, e))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| layout::parse_generation(name)).collect();
    numbers.sort_unstable();
    let read = |number: u32| {
        let path = layout::generation_dir(root, number).join(layout::JOB);
        match fs.read(&path, MAX_JSON_BYTES) {
            Ok(bytes) => Ok((number, ajepa_store::unseal(&bytes, FORMAT).map(Some))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((number, Ok(None))),
            Err(error) => Err(ShardError::io("read", &path, error)),
        }
    };
    numbers.into_iter().map(read).collect()
}

/// The first number that nothing in the folder belongs to.
fn next_number(fs: &dyn Fs, root: &Path, known: &[Known]) -> Result<u32, ShardError> {
    let names = fs.list(root).map_err(|e| ShardError::io("list", root, e))?;
    // Parts without a claim (a set copied without `_units`) are somebody's too.
    let parts = names.iter().filter_map(|name| layout::generation_of_part(name)).max().unwrap_or(0);
    let manifest = match Manifest::read(root) {
        Ok(manifest) => manifest.generation,
        Err(error @ ShardError::Io { .. }) => return Err(error),
        Err(_) => 0,
    };
    let claimed =
        known.iter().filter(|(_, job)| !matches!(job, Ok(None))).map(|(number, _)| *number).max().unwrap_or(0);
    Ok(parts.max(manifest).max(claimed).saturating_add(1))
}

fn what_changed(last: &Generation, job: &Job, number: u32) -> Vec<String> {
    let old = &last.job;
    let mut lines = differences(&old.graph, &job.graph, SHOWN_DIFFERENCES);
    let sink = differences(&old.sink, &job.sink, SHOWN_DIFFERENCES);
    // What follows from the columns, or from the version of the program, is nothing that anybody has set.
    let is_set = |line: &String| !INTERNAL.iter().any(|name| line.starts_with(name));
    lines.extend(sink.iter().filter(|line| is_set(line)).map(|line| format!("sink.{line}")));
    if lines.is_empty() && !sink.is_empty() {
        lines.push("the program lays out its parts in another way".to_owned());
    }
    if lines.is_empty() && old.fingerprint != job.fingerprint {
        lines.push(format!("fingerprint: {} -> {}", old.fingerprint, job.fingerprint));
    }
    let mut notes = Vec::new();
    if !lines.is_empty() {
        notes.push(format!("the graph changed since generation {}: {}", last.number, lines.join("; ")));
    }
    if old.inputs != job.inputs {
        notes.push(format!(
            "the inputs changed since generation {} ({} units, now {})",
            last.number, old.units, job.units
        ));
    }
    if notes.is_empty() {
        notes.push("everything is made afresh, as asked".to_owned());
    }
    notes.push(format!("this run writes generation {number}; generation {} is kept beside it", last.number));
    notes
}

impl Generation {
    /// Folder of the records.
    pub fn dir(&self) -> PathBuf {
        layout::generation_dir(&self.root, self.number)
    }

    /// Writes `job.json`, unless another process has.
    fn claim(&self) -> Result<bool, ShardError> {
        let dir = self.dir();
        self.fs.create_dir_all(&dir).map_err(|e| ShardError::io("create", &dir, e))?;
        let path = dir.join(layout::JOB);
        let bytes = ajepa_store::seal(&self.job).map_err(|e| ShardError::manifest(&path, e.to_string()))?;
        Ok(commit_bytes_new(&self.fs, path, &bytes)?)
    }

    /// Whether a unit of this process has a record here.
    fn has_any_of(&self, run: &RunInfo) -> Result<bool, ShardError> {
        let dir = self.dir();
        let there = self.fs.list(&dir).map_err(|e| ShardError::io("list", &dir, e))?;
        let there: HashSet<String> = there.into_iter().collect();
        let mut mine = run.mine.iter().enumerate().filter(|(_, mine)| **mine);
        Ok(mine.any(|(unit, _)| there.contains(&layout::record_name(unit))))
    }

    /// Reads and judges the records of `units` and tells of each, in order: of this job, and its part is there with the right length.
    pub fn each_record<'a>(
        &self,
        units: impl Iterator<Item = (usize, &'a Unit)>,
        tell: &mut dyn FnMut(usize, RecordState) -> Result<(), ShardError>,
    ) -> Result<(), ShardError> {
        let units: Vec<(usize, &Unit)> = units.collect();
        for some in units.chunks(READ_AT_ONCE) {
            let paths: Vec<PathBuf> =
                some.iter().map(|(unit, _)| self.dir().join(layout::record_name(*unit))).collect();
            let mut read = Vec::with_capacity(some.len());
            for (path, bytes) in paths.iter().zip(self.fs.read_all(&paths, MAX_JSON_BYTES)) {
                read.push(match bytes {
                    Ok(bytes) => Some(ajepa_store::unseal::<UnitRecord>(&bytes, FORMAT)),
                    Err(error) if error.kind() == ErrorKind::NotFound => None,
                    Err(error) => return Err(ShardError::io("read", path, error)),
                });
            }
            let part = |record: &UnitRecord| Some(self.root.join(&record.part.as_ref()?.file));
            let parts: Vec<PathBuf> = read.iter().flatten().filter_map(|record| part(record.as_ref().ok()?)).collect();
            let lens = self.fs.len_all(&parts);
            for (part, len) in parts.iter().zip(&lens) {
                // A part that is gone is made again; one that cannot be asked for may be well.
                if let Err(error) = len
                    && !is_absence(error)
                {
                    return Err(ShardError::io("look at", part, io::Error::new(error.kind(), error.to_string())));
                }
            }
            let mut lens = lens.into_iter();
            for (((unit, wanted), path), record) in some.iter().zip(paths).zip(read) {
                let len = record.as_ref().and_then(|r| r.as_ref().ok()).and_then(part).and_then(|_| lens.next());
                let state = match record.map(|record| record.and_then(|record| self.judge(record, *unit, wanted, len)))
                {
                    None => RecordState::Absent,
                    Some(Ok(record)) => RecordState::Done(Box::new(record)),
                    Some(Err(problem)) => RecordState::Unusable(format!("{}: {problem}", path.display())),
                };
                tell(*unit, state)?;
            }
        }
        Ok(())
    }

    /// `len` is what its part has.
    fn judge(
        &self,
        record: UnitRecord,
        unit: usize,
        wanted: &Unit,
        len: Option<io::Result<u64>>,
    ) -> Result<UnitRecord, String> {
        if record.content != self.job.content || record.unit != unit as u64 || record.key != to_hex(&wanted.key) {
            return Err("it is of another graph or other inputs".to_owned());
        }
        let Some(part) = &record.part else { return Ok(record) };
        part.check(PAGE_BYTES)?;
        match len {
            Some(Ok(bytes)) if bytes == part.bytes => Ok(record),
            Some(Ok(bytes)) => Err(format!("{} has {bytes} bytes instead of {}", part.file, part.bytes)),
            Some(Err(error)) => Err(format!("{}: {error}", part.file)),
            None => Ok(record),
        }
    }

    /// Commits the record of a unit; a file in its place that proves nothing is kept under another name.
    pub fn commit(&self, record: &UnitRecord) -> Result<(), ShardError> {
        let path = self.dir().join(layout::record_name(record.unit as usize));
        keep_aside(self.fs.as_ref(), &path)?;
        let bytes = ajepa_store::seal(record).map_err(|e| ShardError::manifest(&path, e.to_string()))?;
        Ok(commit_bytes(&self.fs, path, &bytes)?)
    }

    /// Takes over units of `earlier` generations of the same graph whose inputs are the same.
    fn take_over(&self, earlier: &[Self], run: &RunInfo, notes: &mut Vec<String>) -> Result<(), ShardError> {
        if self.job.fresh {
            return Ok(());
        }
        let same = || earlier.iter().rev().filter(|generation| generation.job.content == self.job.content);
        if same().next().is_none() {
            return Ok(());
        }
        let mut missing = run.mine.clone();
        let of = |missing: &[bool]| {
            let missing = missing.to_vec();
            run.units.iter().enumerate().filter(move |(unit, _)| missing[*unit])
        };
        self.each_record(of(&missing.clone()), &mut |unit, state| {
            missing[unit] &= !matches!(state, RecordState::Done(_));
            Ok(())
        })?;
        let mut n_taken = 0;
        for generation in same() {
            generation.each_record(of(&missing.clone()), &mut |unit, state| {
                let RecordState::Done(record) = state else { return Ok(()) };
                missing[unit] = false;
                n_taken += 1;
                self.commit(&record)
            })?;
        }
        if n_taken > 0 {
            notes.push(format!("{n_taken} of {} units are unchanged and were taken over", run.units.len()));
        }
        Ok(())
    }
}

/// Gives a file that is about to be replaced, and that cannot be proved worthless, a second name.
pub(super) fn keep_aside(fs: &dyn Fs, path: &Path) -> Result<(), ShardError> {
    let bytes = match fs.read(path, MAX_JSON_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if is_absence(&error) => return Ok(()),
        Err(error) => return Err(ShardError::io("read", path, error)),
    };
    if ajepa_store::unseal::<serde_json::Value>(&bytes, FORMAT).is_ok() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = path.with_file_name(format!("{name}.torn-{}", &to_hex(blake3::hash(&bytes).as_bytes())[..8]));
    match fs.hard_link(path, &aside) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(ShardError::io("keep", &aside, error)),
        _ => Ok(()),
    }
}
