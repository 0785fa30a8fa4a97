//! What a stage is: a config that plans and builds, and the object it builds. The kind of a stage is its threading contract.

use std::borrow::Cow;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use ajepa_ops::{ConfigError, OpError};
use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::engine::{FoldCx, MapCx};
use crate::row::Row;
use crate::schema::Schema;

/// The config of a stage: what YAML says, checked, and able to say what it will do before it does it.
///
/// Implement this and `Serialize + Deserialize + JsonSchema` (with `deny_unknown_fields`), and
/// [`Registry::with`](crate::stages::Registry::with) makes it a YAML `type`.
pub trait StageConfig: Debug + Send + Sync {
    /// Thinks only: from the schemas of the inputs to the schema of the output. Opens no file.
    ///
    /// # Errors
    /// [`PlanError`] naming the field at fault, or the input that does not fit.
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError>;

    /// What can be said of the config alone, whatever comes in: asked of a stage whose inputs are not known, because a stage
    /// before it is at fault. Says nothing that [`StageConfig::plan`] would not say.
    ///
    /// # Errors
    /// [`PlanError`] naming the field at fault.
    fn validate(&self) -> Result<(), PlanError> {
        Ok(())
    }

    /// Makes the stage. Files may be opened here.
    ///
    /// # Errors
    /// [`BuildError`] when something outside the config (a file, a folder) is not as needed.
    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError>;

    /// The folder of shards or tars that a sink writes, or a source reads: no sink may write where another stage of the graph
    /// reads or writes. `bench` measures a sink in a folder beside its own, which it removes; for one that says `None` a
    /// null stands in.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Whether paths of the config may be addresses of object stores.
    fn takes_addresses(&self) -> bool {
        false
    }

    /// Whether a sink commits all that it is given at once, at the end, or nothing: a run that is stopped then begins again.
    fn is_whole(&self) -> bool {
        false
    }

    /// What of the config decides content, of this stage's rows or of what a sink writes; all of it where it says `None`, less a
    /// sink's `path`.
    fn content(&self) -> Option<serde_json::Value> {
        None
    }

    /// Where the stage computes, if it asks for a device of its own: opened before anything else is done.
    #[cfg(feature = "train")]
    fn device(&self) -> Option<ajepa_model::DeviceChoice> {
        None
    }

    /// What to train on the rows that this sink was given, once all of them are there.
    #[cfg(feature = "train")]
    fn training(&self) -> Option<&crate::stages::sink_train::SinkTrainConfig> {
        None
    }

    /// The same sink writing into `folder`; asked of those that named one.
    fn with_folder(&self, folder: PathBuf) -> Option<Box<dyn StageConfig>> {
        let _ = folder;
        None
    }
}

/// What a stage says of itself before it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct StagePlan {
    /// The kind, by which the engine knows where it may run.
    pub kind: StageKind,
    /// What it gives; `None` for a sink.
    pub output: Option<Schema>,
    /// The form in which a sink wants its input's tensors (`f16`): the cast is done by the workers, not by the sink.
    pub stored: Option<Schema>,
}

impl StagePlan {
    /// A plan for a stage of `kind` that gives `output`.
    pub fn new(kind: StageKind, output: Schema) -> Self {
        Self { kind, output: Some(output), stored: None }
    }

    /// A plan for a sink that wants its rows as `stored`.
    pub fn sink(stored: Schema) -> Self {
        Self { kind: StageKind::Sink, output: None, stored: Some(stored) }
    }
}

/// The threading contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// Lists clips, cuts them into units, reads them in order; a thread of its own.
    Source,
    /// Row by row, no state from one row to the next; forked to every worker and fused with its neighbours.
    Map,
    /// One thread, rows in order and a batch at a time, state within a unit (shuffle, batch, encoder).
    Fold,
    /// One thread, several inputs in order.
    Merge,
    /// One thread, rows in order, owns what it writes.
    Sink,
}

/// A stage that is ready to run.
pub enum Stage {
    /// See [`Source`].
    Source(Box<dyn Source>),
    /// See [`Map`].
    Map(Box<dyn Map>),
    /// See [`Fold`].
    Fold(Box<dyn Fold>),
    /// See [`Merge`].
    Merge(Box<dyn Merge>),
    /// See [`Sink`].
    Sink(Box<dyn Sink>),
}

/// What [`StageConfig::build`] may know.
#[derive(Debug)]
pub struct BuildCx<'a> {
    /// The stage's `id`.
    pub id: &'a str,
    /// Schemas of its inputs, as planned.
    pub inputs: &'a [Schema],
    /// Its planned output; for a sink, the stored form of its input.
    pub output: &'a Schema,
    /// Seed of the run.
    pub seed: u64,
    /// Clips that a unit (one shard) is made of.
    pub clips_per_unit: usize,
    /// Bytes that one clip may take in memory in one worker.
    pub clip_cap_bytes: u64,
    /// Whether the first clip that cannot be used ends the run: a source then refuses a list that holds such, where it
    /// would otherwise list them as rejects.
    pub fail: bool,
}

/// What a clip of unknown length counts as, in seconds.
pub const TYPICAL_CLIP_S: f64 = 10.0;

/// Lists what there is to do and reads it, in one order for ever.
pub trait Source: Send {
    /// The units, in order. Unit `k` holds the same rows in every run over the same inputs.
    fn units(&self) -> &[Unit];

    /// Gives the rows of unit `k` in order, in batches of its choice (16 to 256 rows serve well).
    ///
    /// # Errors
    /// [`StageError`] when the listing itself cannot be read; a bad clip is not an error here.
    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError>;

    /// Another reader of the same list, without listing it again; `None` where the list cannot be shared.
    fn fork(&self) -> Option<Box<dyn Source>> {
        None
    }

    /// Names of a few clips of unit `k`, from the `first` on, as far as they are known without reading anything: for people.
    fn names(&mut self, unit: usize, first: usize, n: usize) -> Vec<String> {
        let _ = (unit, first, n);
        Vec::new()
    }

    /// Seconds of audio of unit `k`, as far as they are known or can be guessed: work is shared out by it. No part of what a unit is.
    fn seconds(&self, unit: usize) -> f64 {
        self.units()[unit].n_clips as f64 * TYPICAL_CLIP_S
    }
}

/// A fixed list of clips that becomes one shard: what is committed, skipped on resume, and handed to another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Rows that the source gives for it.
    pub n_clips: u64,
    /// Hash of those rows: ids, places, sizes and times of files. Equal key, equal input.
    pub key: [u8; 16],
}

impl Unit {
    /// A unit whose key is what `hasher` was fed, cut to sixteen bytes.
    pub fn new(n_clips: u64, hasher: &blake3::Hasher) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self { n_clips, key }
    }
}

/// One row in, any number of rows out, no state in between.
///
/// # Contract
/// * The output is a function of the row and of [`MapCx::seed`] alone: any worker may get any row.
/// * Waveforms arrive as streams; a stage that needs the whole clip calls [`MapCx::samples`], which keeps to the memory budget.
pub trait Map: Send {
    /// A copy for another worker. Plans and tables are shared or rebuilt, never state.
    fn fork(&self) -> Box<dyn Map>;

    /// Handles one row; gives rows on by [`MapCx::emit`].
    ///
    /// # Errors
    /// [`MapError::Clip`] rejects this row; the others end the run.
    fn map(&mut self, row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError>;
}

/// Rows in order on one thread, with state that ends at the end of a unit.
///
/// # Contract
/// * Every row that comes is given on or refused ([`FoldCx::reject`]), at the end of its unit at the latest.
/// * A panic ends the run, for the state is half changed: a clip that cannot be used is refused, not panicked over.
pub trait Fold: Send {
    /// Takes a batch; gives what is ready by [`FoldCx::emit`].
    ///
    /// # Errors
    /// [`StageError`] ends the run.
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError>;

    /// The unit is over: gives what is left, and forgets. `unit` seeds whatever is drawn next.
    ///
    /// # Errors
    /// [`StageError`] ends the run.
    fn end_unit(&mut self, unit: usize, cx: &mut FoldCx<'_>) -> Result<(), StageError>;
}

/// Several inputs, one output. The engine asks which input to take next, within one unit.
pub trait Merge: Send {
    /// Index of the input to read next among those still `open` in this unit.
    fn next_input(&mut self, open: &[bool]) -> usize;

    /// Takes a batch of that input; gives what is ready.
    ///
    /// # Errors
    /// [`StageError`] ends the run.
    fn push(
        &mut self,
        input: usize,
        rows: RecordBatch,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError>;

    /// All inputs of the unit are over.
    ///
    /// # Errors
    /// [`StageError`] ends the run, for example when a `zip` has rows left over.
    fn end_unit(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError>;
}

/// The end of the line: gets rows in order, unit by unit.
pub trait Sink: Send {
    /// Before anything is read: which units are already done here, by the same graph over the same input?
    ///
    /// # Errors
    /// [`StageError`] ends the run.
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError>;

    /// Takes rows of `unit`.
    ///
    /// # Errors
    /// [`StageError`] ends the run.
    fn write(&mut self, unit: usize, rows: RecordBatch) -> Result<(), StageError>;

    /// The unit is complete: commit it. Called once for every unit that was not done.
    ///
    /// # Errors
    /// [`StageError`] ends the run; the unit is then absent, not torn.
    fn end_unit(&mut self, unit: usize, tally: UnitTally) -> Result<(), StageError>;

    /// Every unit of this run is committed.
    ///
    /// # Errors
    /// [`StageError`] ends the run.
    fn finish(&mut self) -> Result<SinkReport, StageError>;
}

/// What a sink may know of the run it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// `pipeline:` of the YAML.
    pub pipeline: String,
    /// Hash of everything upstream that decides content: stages with all defaults filled in, seed, format versions.
    pub fingerprint: String,
    /// The same, readable: what [`RunInfo::fingerprint`] was taken over.
    pub graph: serde_json::Value,
    /// All units of the whole job, in order; the key covers every source.
    pub units: Vec<Unit>,
    /// Which of them this process does (`--part I/N`); all when there is one part.
    pub mine: Vec<bool>,
    /// Whether this is a piece of a job that somebody else finishes: the sink looks at no unit but its own, and says nothing of the set.
    #[serde(default)]
    pub piece: bool,
    /// `--fresh`: nothing counts as done.
    pub fresh: bool,
    /// Whether rejects are written to `rejects.parquet`.
    pub quarantine: bool,
}

/// How the clips of a unit ended, as far as they did not arrive as rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitTally {
    /// Clips that the source gave.
    pub clips: u64,
    /// Rows left out on purpose, by `filter`.
    pub filtered: u64,
    /// Clips (or windows) that could not be used, in order.
    pub rejects: Vec<Reject>,
}

/// One clip that could not be used: who, where, why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// The clip.
    pub clip_id: String,
    /// Its file.
    pub source: String,
    /// `id` of the stage that refused it.
    pub stage: String,
    /// One stable word.
    pub reason: String,
    /// The rest, for people.
    pub detail: String,
    /// Its labels, where the source knew them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

impl Reject {
    /// `row` refused by the stage named `stage`.
    pub fn new(row: &Row, stage: &str, error: ClipError) -> Self {
        Self {
            clip_id: row.str("clip_id").to_owned(),
            source: row.str("source").to_owned(),
            stage: stage.to_owned(),
            reason: error.code.into_owned(),
            detail: error.detail,
            labels: row.labels(),
        }
    }
}

/// What a sink made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkReport {
    /// Where it is, when it is somewhere.
    pub path: Option<PathBuf>,
    /// Rows in it, those of earlier runs included.
    pub rows: u64,
    /// Bytes in it, likewise.
    pub bytes: u64,
    /// Units (shards) in it; 0 where it is one file.
    pub units: u64,
    /// Whether every unit of the whole job is there.
    pub complete: bool,
    /// Rejected clips of all its units.
    pub rejects: u64,
    /// Things a person should know: "the graph changed: ...".
    pub notes: Vec<String>,
}

/// A graph that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct PlanError {
    /// The config field to point at; the whole stage when `None`.
    pub field: Option<String>,
    /// What is wrong, in one clause.
    pub problem: String,
    /// What would fit.
    pub help: String,
}

impl PlanError {
    /// A fault of the whole stage, typically of what it is fed.
    pub fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { field: None, problem: problem.into(), help: help.into() }
    }

    /// A fault of one field.
    pub fn field(field: impl Into<String>, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { field: Some(field.into()), problem: problem.into(), help: help.into() }
    }
}

impl From<ConfigError> for PlanError {
    fn from(error: ConfigError) -> Self {
        Self::field(error.field, error.problem, error.help)
    }
}

/// A stage that cannot be made: a file or folder is not as the config says.
#[derive(Debug, Error)]
#[error("{problem}")]
pub struct BuildError {
    /// What is wrong, with the path.
    pub problem: String,
    /// The cure.
    pub help: String,
}

impl BuildError {
    /// `problem` names the path, `help` the cure.
    pub fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), help: help.into() }
    }
}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        Self::new(format!("{}: {}", error.field, error.problem), error.help)
    }
}

/// Why one clip cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {detail}")]
pub struct ClipError {
    /// One stable `snake_case` word, the `reason` of a reject.
    pub code: Cow<'static, str>,
    /// The rest, for people.
    pub detail: String,
}

impl ClipError {
    /// `code` is one stable `snake_case` word.
    pub fn new(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into() }
    }

    /// The row lacks a column that the plan promised.
    pub fn missing_column(name: &str) -> Self {
        Self::new("missing_column", format!("the row has no usable column {name:?}"))
    }
}

impl From<OpError> for ClipError {
    fn from(error: OpError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// How a [`Map`] can end other than well.
#[derive(Debug, Error)]
pub enum MapError {
    /// This row cannot be used; `on_error` decides.
    #[error(transparent)]
    Clip(#[from] ClipError),
    /// The run cannot go on.
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl From<OpError> for MapError {
    fn from(error: OpError) -> Self {
        Self::Clip(error.into())
    }
}

/// Why a stage cannot go on: trouble with the machine or a broken promise, not with one clip.
#[derive(Debug, Error)]
pub enum StageError {
    /// The run is being stopped; not an error of this stage.
    #[error("stopped")]
    Stopped,
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// Anything else, in a sentence, with its cure where there is one.
    #[error("{0}")]
    Other(String),
}

impl StageError {
    /// `what` names the attempt and the path.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

impl From<arrow::error::ArrowError> for StageError {
    fn from(error: arrow::error::ArrowError) -> Self {
        match error {
            arrow::error::ArrowError::IoError(what, source) => Self::Io { what, source },
            other => Self::Other(other.to_string()),
        }
    }
}
