//! What a manifest holds, as a page or as data.

use std::ffi::OsStr;
use std::path::Path;

use ajepa_datasets::{Counts, Report};

use super::super::write_text;
use crate::cli::args::{ReportFile, ReportFormat};
use crate::cli::corpus_html::{self, Wanted};
use crate::scan::Summary;
use crate::stage::BuildError;

/// Refuses a name under which the two tables of a manifest cannot be told apart.
pub fn extensions_of(out: &Path) -> Result<(), BuildError> {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let is_plain = out.extension() == Some(OsStr::new("parquet"));
    if is_plain && ![".all.parquet", ".scan.parquet"].iter().any(|end| name.ends_with(end)) {
        return Ok(());
    }
    let problem = format!("{name}: a manifest is written to NAME.parquet, NAME.all.parquet and NAME.scan.parquet");
    Err(BuildError::new(problem, "name it NAME.parquet"))
}

/// Writes `file` of the manifest `all`, which `report` counts.
pub fn write_report(file: &ReportFile, all: &Path, report: &Report) -> Result<(), String> {
    let fault = |error: &dyn std::fmt::Display| format!("cannot write the report {}: {error}", file.path.display());
    let text = match file.format {
        ReportFormat::Json => serde_json::to_string_pretty(report).map_err(|error| fault(&error))?,
        ReportFormat::Html => {
            let summary = Summary::read(all)?;
            let name = all.file_name().unwrap_or_default().to_string_lossy();
            corpus_html::render(&name, &summary, Some(&wanted(report)))
        }
    };
    write_text(&file.path, &text).map_err(|error| fault(&error))
}

fn wanted(report: &Report) -> Wanted {
    let row = |name: &str, counts: &Counts| (name.to_owned(), counts.all().to_vec());
    let mut splits: Vec<_> = report.splits.iter().map(|(split, counts)| row(split, counts)).collect();
    splits.push(row("all", &report.total));
    let labels = report.least_usable();
    Wanted {
        heads: Counts::HEADS.to_vec(),
        splits,
        labels: labels.iter().map(|label| row(&format!("{} / {}", label.name, label.split), &label.counts)).collect(),
        notes: report.notes.clone(),
        dataset_hash: report.dataset_hash.clone(),
    }
}
