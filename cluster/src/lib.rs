//! Work on several machines: Apache DataFusion Ballista's scheduler hands out items of text, executors do them.
//!
//! A **job** is a text that every executor understands and a list of **tasks**, each a few items. What an item is, and what doing it
//! means, is the business of whoever implements [`Work`]; here are membership, retries, lost machines, and who may speak to whom.
//!
//! ```text
//! client --(a plan: our node over a scan of items)--> scheduler <--(asks for tasks, tells of ended ones)-- executors
//! ```
//! * The scheduler is Ballista's, with a gate before it: a token on every request, and no plan but ours.
//! * An executor listens on nothing. It asks for tasks (Ballista's `PollWork`), does them, and tells what came of them; what it
//!   told is repeated until the scheduler has heard it.
//! * Results are not fetched. A task's lines of report travel with the word that it has ended; what the work makes lies where the
//!   work puts it. So a job is one stage, and nothing is lost with the machine that did a task.

mod client;
mod error;
mod executor;
mod gate;
mod plan;
mod registration;
mod scheduler;
mod task;
mod token;

pub use client::{Client, ExecutorInfo, JobId, JobState, Room};
pub use error::ClusterError;
pub use executor::{ExecutorOptions, execute};
pub use scheduler::{SchedulerOptions, schedule};
pub use task::{Free, Trouble, Work};
pub use token::{MIN_TOKEN_BYTES, Token};

/// Bytes of a message at most: a job of 100,000 items is a tenth of it.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
