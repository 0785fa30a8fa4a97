//! The run report as one page.
//!
//! The drawing of the graph is shown as an image, in which a browser runs no script, whoever wrote it.

mod sections;
mod series;

use super::page;
use crate::report::RunReport;

/// Writes the page.
///
/// # Example: from the JSON of a run to a page
/// ```no_run
/// let report: ajepa_pipe::report::RunReport = serde_json::from_str(&std::fs::read_to_string("run.json")?)?;
/// std::fs::write("run.html", ajepa_pipe::cli::report_html::render(&report))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn render(report: &RunReport) -> String {
    page::document(&format!("{}: run report", report.pipeline), &sections::all(report), &report.program)
}

#[cfg(test)]
mod tests;
