//! Training: the loop, and the folder that a run lives in.
//!
//! [`Trainer::begin`] starts a run in a folder, or goes on with the one that is there; [`Trainer::run`] makes steps until there are
//! as many as were asked for, or until it is told to stop. A run that was killed at any step and begun again ends with the same
//! bytes as one that was not, on a CPU.
//!
//! Batches come from whoever implements [`Batches`]; probes from whoever implements [`Probe`].

mod batches;
mod config;
mod error;
mod folder;
mod log;
mod meter;
mod trainer;
mod unasked;

pub use batches::{Batches, FedBatch};
pub use config::TrainConfig;
pub use error::TrainError;
pub use folder::{CHECKPOINTS, METRICS, RUN, RunFolder, find_checkpoint};
pub use trainer::{Ended, Origin, Probe, Trainer};
