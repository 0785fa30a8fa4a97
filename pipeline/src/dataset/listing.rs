//! What is held, by names alone.

use std::path::{Path, PathBuf};

use ajepa_datasets::Scan;

use crate::corpus::{TarSamples, audio_extensions};
use crate::scan::archives;
use crate::stage::BuildError;
use crate::stages::source_folder::{LinkPolicy, SourceFolderConfig};

/// Everything under `paths` by name, nothing of it opened but the headers of tars: the rows are `unchecked`.
///
/// # Errors
/// [`BuildError`] for what is not there, and for Parquet files, whose rows have no names to go by.
pub fn list(paths: &[PathBuf], links: LinkPolicy) -> Result<Scan, BuildError> {
    let mut sources = Vec::new();
    for path in paths {
        let has = |wanted: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(wanted));
        if path.is_dir() {
            of_folder(path, links, &mut sources)?;
            let (tars, others): (Vec<PathBuf>, Vec<PathBuf>) = archives(path)
                .into_iter()
                .partition(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tar")));
            if let Some(other) = others.first() {
                return Err(rows_are_unknown(other));
            }
            of_tars(tars, &mut sources)?;
        } else if has("tar") {
            of_tars(vec![path.clone()], &mut sources)?;
        } else if has("parquet") || has("pq") {
            return Err(rows_are_unknown(path));
        } else if path.exists() {
            sources.push(path.to_string_lossy().into_owned());
        } else {
            let problem = format!("{}: there is no such file or folder", path.display());
            return Err(BuildError::new(problem, "check the path"));
        }
    }
    Ok(Scan::of_listing(sources.iter().map(String::as_str))?)
}

fn rows_are_unknown(path: &Path) -> BuildError {
    let problem = format!("{}: the rows of a Parquet file are not known without reading them", path.display());
    BuildError::new(problem, "leave out --unchecked")
}

fn of_folder(path: &Path, links: LinkPolicy, sources: &mut Vec<String>) -> Result<(), BuildError> {
    for (name, odd) in SourceFolderConfig::of(path, links).list()? {
        if !odd {
            sources.push(path.join(name).to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn of_tars(tars: Vec<PathBuf>, sources: &mut Vec<String>) -> Result<(), BuildError> {
    sources.extend(TarSamples::scan(tars, &audio_extensions(), false)?.audio_sources());
    Ok(())
}
