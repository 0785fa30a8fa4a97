//! What people see and type: verbs and their help, progress, exit codes, the report page, pictures of clips.
//!
//! Results go to stdout, talk goes to stderr. Everything here reads plain types; nothing of it is needed to run a graph.

pub mod args;
pub mod exit;
pub mod format;
pub mod picture;
pub mod progress;
pub mod report_html;
pub mod verb;
