//! A graph as asked for: stages in any order, named inputs, nothing proven.

use super::{OnError, Resources};
use crate::stage::StageKind;
use crate::stages::Parsed;

/// What somebody asked for.
#[derive(Debug, Default)]
pub struct Draft {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Seed of the run.
    pub seed: u64,
    /// The stages, in the order of the document.
    pub stages: Vec<DraftStage>,
    /// What happens to clips that cannot be used.
    pub on_error: OnError,
    /// What the run may take.
    pub resources: Resources,
}

/// One stage as asked for.
#[derive(Debug)]
pub struct DraftStage {
    /// Unique, or [`check`](super::check) says so.
    pub id: String,
    /// `type` in the YAML.
    pub type_name: String,
    /// The kind the registry knows; `None` when the type is unknown (which was already told).
    pub kind: Option<StageKind>,
    /// What it reads.
    pub from: From,
    /// The config; `None` when it is faulty (which was already told): the rest is still checked.
    pub parsed: Option<Parsed>,
    /// Line of the document, from 1, when it came from one.
    pub line: Option<usize>,
}

/// What a stage reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum From {
    /// The stage above; nothing for a source.
    #[default]
    Above,
    /// These, by id.
    Ids(Vec<String>),
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftFault {
    /// Index of the stage in the draft; the whole graph when `None`.
    pub stage: Option<usize>,
    /// What of the stage to point at.
    pub at: Where,
    /// What is wrong, in one clause.
    pub problem: String,
    /// What would fit.
    pub help: String,
}

/// What of a stage a fault points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// The stage.
    Stage,
    /// Its id.
    Id,
    /// Entry `i` of its `from`.
    From(usize),
    /// A field of its config; dots lead into nested ones.
    Field(String),
}

impl DraftFault {
    pub(super) fn stage(stage: usize, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { stage: Some(stage), at: Where::Stage, problem: problem.into(), help: help.into() }
    }

    pub(super) fn graph(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { stage: None, at: Where::Stage, problem: problem.into(), help: help.into() }
    }

    pub(super) fn at(mut self, at: Where) -> Self {
        self.at = at;
        self
    }
}
