//! What people see and type: verbs and their help, progress, exit codes, the pages of runs and trainings, pictures of clips.
//!
//! Results go to stdout, talk goes to stderr. Everything here reads plain types; nothing of it is needed to run a graph.

#[cfg(feature = "sql")]
mod answer;
pub mod args;
pub mod corpus_html;
#[cfg(all(feature = "train", feature = "datasets"))]
pub mod eval_html;
pub mod exit;
pub mod format;
#[cfg(feature = "train")]
pub mod live;
mod page;
pub mod picture;
pub mod progress;
pub mod report_html;
pub mod shown;
#[cfg(feature = "train")]
pub mod train_html;
pub mod verb;
