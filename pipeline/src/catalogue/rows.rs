//! The rows of an answer, as they come.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use crossbeam::channel::{Receiver, never, select};
use tokio::task::AbortHandle;

use super::error::CatalogueError;
use crate::engine::StopSignal;

/// What the task that works on an answer says.
pub(super) enum Message {
    /// The statement is sound; these columns will come.
    Begin(SchemaRef),
    /// Some rows.
    Rows(RecordBatch),
    /// It failed.
    Fault(CatalogueError),
    /// That was all.
    End,
}

/// The rows of an answer: an iterator of record batches. They are reckoned as they are asked for, one batch ahead.
///
/// Dropped before its end, the statement is given up.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    messages: Receiver<Message>,
    stop: Receiver<StopSignal>,
    task: AbortHandle,
    is_over: bool,
}

impl Rows {
    /// Waits until the statement is planned.
    pub(super) fn begin(
        messages: Receiver<Message>,
        stop: Option<&Receiver<StopSignal>>,
        task: AbortHandle,
    ) -> Result<Self, CatalogueError> {
        let stop = stop.map_or_else(never, Clone::clone);
        let schema = SchemaRef::new(arrow::datatypes::Schema::empty());
        let mut rows = Self { schema, messages, stop, task, is_over: false };
        match rows.wait() {
            Message::Begin(schema) => rows.schema = schema,
            Message::Fault(error) => return Err(error),
            Message::Rows(_) | Message::End => return Err(vanished()),
        }
        Ok(rows)
    }

    /// Columns of the answer.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn wait(&self) -> Message {
        select! {
            recv(self.stop) -> signal => match signal {
                Ok(signal) => Message::Fault(CatalogueError::Stopped(signal)),
                // Nobody is left who could stop it.
                Err(_) => self.messages.recv().unwrap_or_else(|_| Message::Fault(vanished())),
            },
            recv(self.messages) -> message => message.unwrap_or_else(|_| Message::Fault(vanished())),
        }
    }
}

/// The task went without a word: it has panicked, and the panic is on stderr.
fn vanished() -> CatalogueError {
    CatalogueError::Failed("the SQL engine gave up on this statement: this is a mistake in the program".to_owned())
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, CatalogueError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.wait() {
            Message::Rows(batch) => Some(Ok(batch)),
            Message::Fault(error) => {
                self.is_over = true;
                Some(Err(error))
            }
            Message::Begin(_) | Message::End => {
                self.is_over = true;
                None
            }
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.task.abort();
    }
}
