//! Files of our names that nothing of ours vouches for: they are somebody's, and are not written over.

use std::io::ErrorKind;
use std::path::Path;

use ajepa_store::Fs;

use super::error::ShardError;
use super::layout;
use super::manifest::{FORMAT, MAX_JSON_BYTES};

/// Names that an error shows; of the rest it says that there are more.
const SHOWN: usize = 3;

/// The folder of a training's checkpoints, and the files beside it; the pictures that it makes lie in a folder of their own.
const CHECKPOINTS: &str = "checkpoints";
const OF_TRAINING: [&str; 2] = ["run.json", "metrics.jsonl"];

/// Refuses a folder that holds files a set would be made of, when no run of this program can have written them.
///
/// A run claims its generation under `_units` before it writes anything else, so what a crash left has a claim beside it.
/// A set that was copied without `_units` is vouched for by the seal of its manifest.
///
/// # Errors
/// [`ShardError::Foreign`] with the names; [`ShardError::Io`] when the folder cannot be listed.
pub(super) fn refuse_foreign(fs: &dyn Fs, root: &Path) -> Result<(), ShardError> {
    let in_units = list(fs, &layout::units_dir(root))?;
    let refuse = |files| Err(ShardError::Foreign { dir: root.to_owned(), files });
    if in_units.iter().any(|name| layout::is_record_name(name)) {
        return refuse("tars of a sink_webdataset".to_owned());
    }
    let names = list(fs, root)?;
    let holds = |name: &str| names.iter().any(|there| there == name);
    if holds(CHECKPOINTS) && OF_TRAINING.into_iter().any(holds) {
        return refuse("a training of a sink_train".to_owned());
    }
    let ours: Vec<String> = names.into_iter().filter(|name| layout::is_file_of_a_set(name)).collect();
    if ours.is_empty() || is_claimed(fs, root, &in_units)? || is_sealed(fs, root)? {
        return Ok(());
    }
    let more = if ours.len() > SHOWN { " and more" } else { "" };
    refuse(format!("{}{more}, which no run of this program wrote", ours[..ours.len().min(SHOWN)].join(", ")))
}

/// The names in a folder, sorted; none where there is no folder.
fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>, ShardError> {
    match fs.list(dir) {
        Ok(mut names) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ShardError::io("list", dir, error)),
    }
}

/// A store that cannot be asked has not said no.
fn unless_absent<T>(answer: std::io::Result<T>, path: &Path) -> Result<Option<T>, ShardError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(ShardError::io("read", path, error)),
    }
}

/// Whether the system says that there is no such file, and not that it cannot tell.
pub(super) fn is_absence(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidInput
    )
}

fn is_claimed(fs: &dyn Fs, root: &Path, in_units: &[String]) -> Result<bool, ShardError> {
    for number in in_units.iter().filter_map(|name| layout::parse_generation(name)) {
        let path = layout::generation_dir(root, number).join(layout::JOB);
        if unless_absent(fs.len(&path), &path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_sealed(fs: &dyn Fs, root: &Path) -> Result<bool, ShardError> {
    let path = root.join(layout::MANIFEST);
    let bytes = unless_absent(fs.read(&path, MAX_JSON_BYTES), &path)?;
    Ok(bytes.is_some_and(|bytes| ajepa_store::unseal::<serde_json::Value>(&bytes, FORMAT).is_ok()))
}
