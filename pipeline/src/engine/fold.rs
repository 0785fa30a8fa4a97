//! What a [`Fold`](crate::stage::Fold) may do with the rows it was given.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::row::Row;
use crate::stage::{ClipError, Reject, StageError};

/// Takes what a fold gives on, and what it refuses.
pub struct FoldCx<'a> {
    stage: &'a str,
    rejects: &'a mut Vec<Reject>,
    emit: &'a mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
}

impl<'a> FoldCx<'a> {
    /// For the stage named `stage`: rows go to `emit` at once, what is refused is added to `rejects`.
    pub fn new(
        stage: &'a str,
        rejects: &'a mut Vec<Reject>,
        emit: &'a mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Self {
        Self { stage, rejects, emit }
    }

    /// Gives rows on; waits where there is no room for them.
    ///
    /// # Errors
    /// Only what ends the run: pass it on with `?`.
    pub fn emit(&mut self, rows: RecordBatch) -> Result<(), StageError> {
        (self.emit)(rows)
    }

    /// Row `row` of `rows`, which came into the unit that is open, cannot be used: it is not to be given on, and `on_error`
    /// decides. The reject reaches the sink before the unit is committed.
    ///
    /// # Panics
    /// When `rows` has no such row.
    pub fn reject(&mut self, rows: &Arc<RecordBatch>, row: usize, error: ClipError) {
        self.rejects.push(Reject::new(&Row::new(rows.clone(), row), self.stage, error));
    }
}
