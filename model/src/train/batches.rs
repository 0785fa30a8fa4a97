//! What a trainer is fed by, whoever feeds it.

use serde_json::Value;

use crate::batch::TrainBatch;

/// A batch on loan: its buffer goes back to whoever lent it when it is dropped.
pub trait FedBatch {
    /// Pictures and masks.
    fn batch(&self) -> TrainBatch<'_>;

    /// The pass over the data that it belongs to, from 0.
    fn epoch(&self) -> u64;
}

/// Batches in an order that is a function of a seed and a place.
pub trait Batches {
    /// What is lent.
    type Batch: FedBatch;

    /// The next batch; waits for it. `None` when there are no more.
    ///
    /// # Errors
    /// A sentence that names the file and the clip.
    fn next(&mut self) -> Result<Option<Self::Batch>, String>;

    /// Names of the clips of a batch, in order; asked for when something is wrong with one of them.
    fn clips(&self, batch: &Self::Batch) -> Vec<String>;

    /// Where the next batch lies: what a checkpoint keeps, and what batches are opened at when training goes on.
    fn place(&self) -> Value;

    /// Seconds that [`Batches::next`] has waited so far.
    fn waited_s(&self) -> f64;
}
