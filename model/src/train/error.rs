//! Why a training cannot begin or go on.

use std::path::PathBuf;

use ajepa_store::StoreError;
use serde_json::Value;
use thiserror::Error;

use crate::ModelError;
use crate::checkpoint::CheckpointError;

/// Why a training cannot begin or go on. The last checkpoint is as good as before.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A config that does not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A folder that holds a run of another config.
    #[error("{} holds a training with another config", dir.display())]
    Changed {
        /// The folder.
        dir: PathBuf,
        /// What it was begun with.
        old: Box<Value>,
        /// What is asked for now.
        new: Box<Value>,
    },
    /// A folder that another process trains in.
    #[error("another process trains in {}", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// A checkpoint that cannot be written, or gone on from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of the run that cannot be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the run that is not what was written.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Batches that cannot be had.
    #[error("{0}")]
    Data(String),
    /// A batch that cannot be trained on.
    #[error("step {step}: {source}; clips of the batch: {}", names(clips))]
    Batch {
        /// The step, counted from 0.
        step: u64,
        /// What is wrong.
        source: ModelError,
        /// The clip at fault, or all of the step's where it can be any.
        clips: Vec<String>,
    },
    /// The probe cannot be asked.
    #[error("the probe: {0}")]
    Probe(String),
}

/// At most this many clips are named.
const SHOWN: usize = 300;

fn names(clips: &[String]) -> String {
    let shown = clips[..clips.len().min(SHOWN)].join(", ");
    if clips.len() > SHOWN { format!("{shown} and {} more", clips.len() - SHOWN) } else { shown }
}
