//! Checkpoints: one folder, committed at once, every page of it under a checksum.
//!
//! ```text
//! step-00001000/
//!   checkpoint.json         config, front end, step, place in the data, seeds, hashes, checksums of the rest
//!   encoder.safetensors     the context encoder, names as in PyTorch (`blocks.0.attn.Wqkv.weight`, [out, in])
//!   target.safetensors      its moving average
//!   predictor.safetensors
//!   optimiser.safetensors   first and second moments: `first_moment.encoder.NAME` and so on
//! ```
//! A folder that is there is whole: it is written under another name, synced, and renamed. safetensors readers open the
//! files as they are; a bit that flips later is found by our checksums, which safetensors has none of.

mod card;
mod error;
mod learner;
pub mod pytorch;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use card::{Card, FORMAT, FileCard};
pub use error::CheckpointError;
pub use learner::About;
pub use read::{Checkpoint, Tensors};
pub use write::{FileSource, TensorSource, write};

/// File name of the JSON.
pub const CARD: &str = "checkpoint.json";
