//! Why a training did not end well, and what cures it where it was.

use ajepa_model::ModelError;
use ajepa_model::checkpoint::CheckpointError;
use ajepa_model::train::{RunFolder, TrainError};

use super::Training;
use crate::feed::FeedError;
use crate::shard::differences;
use crate::stages::sink_train::DATA;

/// Differences between two runs that are shown.
pub(super) const SHOWN_DIFFERENCES: usize = 12;

/// Why a training did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct TrainingFault {
    /// What is wrong.
    pub problem: String,
    /// What would cure it.
    pub help: String,
    /// Whether nothing was begun, because what was asked for does not fit.
    pub is_usage: bool,
}

impl TrainingFault {
    pub(super) fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), help: help.into(), is_usage: false }
    }

    pub(super) fn usage(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { is_usage: true, ..Self::new(problem, help) }
    }
}

impl Training<'_> {
    /// What is wrong, with the cure: that depends on the checkpoints that are there, and on whose the shards are.
    pub(super) fn fault(&self, error: &TrainError) -> TrainingFault {
        let problem = error.to_string();
        let n_kept = RunFolder::new(&self.config.path).checkpoints().map_or(0, |steps| steps.len());
        let goes_on = if n_kept > 0 {
            "the last checkpoint is good, and the same command goes on from it"
        } else {
            "there is no checkpoint yet, and the same command begins again"
        };
        let new = |help: String| TrainingFault::new(problem.clone(), help);
        let usage = |help: &str| TrainingFault::usage(problem.clone(), help);
        match error {
            TrainError::Changed { old, new, .. } => {
                let lines = differences(old, new, SHOWN_DIFFERENCES);
                TrainingFault::usage(
                    format!("{problem}: {}", lines.join("; ")),
                    "give the new one another `path`; --fresh puts the old one aside, into a folder `earlier-N`",
                )
            }
            TrainError::Model(_) => usage("see `ajepa-pipe stages sink_train`"),
            TrainError::Busy { .. } => usage("wait for it, or give this one another `path`"),
            TrainError::Checkpoint(CheckpointError::Mismatch { .. } | CheckpointError::Model(_)) => {
                usage("sizes and target of `model` must be those of the checkpoint that is gone on from")
            }
            TrainError::Checkpoint(CheckpointError::Store(_)) | TrainError::Store(_) => {
                new(format!("see to the disk (space, rights); {goes_on}"))
            }
            TrainError::Checkpoint(CheckpointError::NotACheckpoint { dir: path, .. } | CheckpointError::Damaged { path, .. })
                if !path.starts_with(&self.config.path) =>
            {
                new("what is damaged cannot be mended: name another checkpoint as `from_checkpoint`".to_owned())
            }
            TrainError::Checkpoint(_) => {
                let then = if n_kept > 1 { "the run goes on from the one before it" } else { "the run begins again" };
                new(format!("move the folder of that checkpoint away, and {then}"))
            }
            TrainError::Damaged { .. } => new(
                "move it away: a run without that file is known by its newest checkpoint, without that checkpoint it goes on \
                 from the one before it"
                    .to_owned(),
            ),
            TrainError::Batch { source: ModelError::Picture { .. }, .. } => new(format!(
                "leave the clip out with `exclude` in the graph that made the shards, or mend what makes its numbers so; {goes_on}"
            )),
            TrainError::Batch { source: ModelError::Device { .. }, .. } => new(format!(
                "where its memory is full, a smaller `batch_clips` with more to `accumulate` is the same step; {goes_on}"
            )),
            TrainError::Batch { .. } => {
                let [kept, from] = match n_kept {
                    0 => [""; 2],
                    _ => [" and the last checkpoint is good", ", from that checkpoint (`from_checkpoint`)"],
                };
                new(format!(
                    "nothing of that step was applied{kept}; begin again under another `path`, with a smaller learning rate or a \
                     clip_norm{from}"
                ))
            }
            TrainError::Data(_) => new(self.data_help()),
            TrainError::Probe(_) => new(format!("see to `probe`; {goes_on}")),
        }
    }

    /// What cures shards that cannot be read.
    fn data_help(&self) -> String {
        if self.shards == self.config.path.join(DATA) {
            return "a damaged part under `data` is made again once it is deleted; the same command then goes on"
                .to_owned();
        }
        format!(
            "`ajepa-pipe verify {}` names all that is damaged: delete those parts, and run the graph that made them once more; the \
             same command then goes on",
            self.shards.display()
        )
    }

    /// What is wrong with a feed that cannot be opened.
    pub(super) fn feed_fault(&self, error: FeedError) -> TrainingFault {
        match error {
            FeedError::Config(fault) => {
                let field = fault.field.as_ref().map_or_else(String::new, |field| format!("{field}: "));
                let is_large = fault.field.as_deref() == Some("batch_clips");
                let help =
                    if is_large { "at most as many as there are rows in the shards".to_owned() } else { fault.help };
                TrainingFault::usage(format!("{field}{}", fault.problem), help)
            }
            FeedError::Set { .. } | FeedError::Rows { .. } => TrainingFault::usage(error.to_string(), self.data_help()),
            FeedError::Memory { .. } | FeedError::Ring(_) => {
                TrainingFault::usage(error.to_string(), "fewer `batch_clips`, or fewer `workers`")
            }
        }
    }
}
