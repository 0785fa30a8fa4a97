//! From what is wanted and what was scanned to a manifest that can be run.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use ajepa_datasets::{HASH_KEY, JoinConfig, Joined, Manifest, NearConfig, Scan, Wanted, join};

use super::corpus::Corpus;
use crate::corpus::footer_text;
use crate::scan::archives;
use crate::stage::BuildError;

/// How a manifest is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Making {
    /// The corpus.
    pub corpus: Corpus,
    /// Where its audio is: files, folders, tars, Parquet files.
    pub audio: Vec<PathBuf>,
    /// The manifest: .parquet.
    pub out: PathBuf,
    /// A clip that is shorter is too short, in seconds.
    pub min_seconds: f64,
    /// Share of a fingerprint's bits that near duplicates may differ in; `None` looks for none.
    pub near: Option<f64>,
}

impl Making {
    /// Joins the two. Paths in the manifest are relative to its folder where the audio lies under that, and whole where not: it is run
    /// from anywhere, and moves with the audio.
    ///
    /// # Errors
    /// [`BuildError`] for an argument without a meaning, and for two archives of one name.
    pub fn manifest(&self, wanted: &Wanted, scan: &Scan) -> Result<Joined, BuildError> {
        let config = JoinConfig {
            root: self.corpus.root().map(Path::to_owned),
            min_duration_s: self.min_seconds,
            near: self.near.map(|max_bit_error| NearConfig { max_bit_error, ..NearConfig::default() }),
        };
        let archives = archives_of(&self.audio)?;
        let folder = whole(&folder_of(&self.out));
        let put = |path: &str| {
            let path = whole(archives.get(path).map_or(Path::new(path), PathBuf::as_path));
            path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy().into_owned()
        };
        let joined = join(wanted, scan, &config)?;
        Ok(Joined { manifest: joined.manifest.with_paths(put)?, ..joined })
    }
}

/// A manifest that lay at `from`, to be written to `out`: its paths, which were relative to the one folder, to the other.
///
/// # Errors
/// [`BuildError`] when its column of paths is not one.
pub fn moved(manifest: Manifest, from: &Path, out: &Path) -> Result<Manifest, BuildError> {
    let [from, to] = [from, out].map(|file| whole(&folder_of(file)));
    if from == to {
        return Ok(manifest);
    }
    let put = |path: &str| {
        let path = from.join(path);
        path.strip_prefix(&to).unwrap_or(&path).to_string_lossy().into_owned()
    };
    Ok(manifest.with_paths(put)?)
}

/// Refuses a name for a manifest under which something else lies: a folder, a file that is no manifest, or one of `inputs`.
///
/// # Errors
/// [`BuildError`] naming it.
pub fn writable(out: &Path, inputs: &[&Path]) -> Result<(), BuildError> {
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    for path in [out.to_owned(), out.with_extension("all.parquet")] {
        let shown = path.display();
        let refuse = |why: &str| Err(BuildError::new(format!("{shown} {why}"), "name another file"));
        if path.is_dir() {
            return refuse("is a folder");
        }
        if whole(&path).is_some_and(|path| inputs.iter().any(|input| whole(input).as_ref() == Some(&path))) {
            return refuse("is what is read");
        }
        if path.exists() && !is_manifest(&path) {
            return refuse("is there already, and is no manifest");
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(footer_text(file, HASH_KEY), Ok(Some(_))))
}

fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    if folder == Path::new("") { PathBuf::from(".") } else { folder.to_owned() }
}

fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Tars and Parquet files by their names, which are all that their clips say of them.
fn archives_of(audio: &[PathBuf]) -> Result<HashMap<String, PathBuf>, BuildError> {
    let mut found: HashMap<String, PathBuf> = HashMap::new();
    for place in audio {
        for path in archives(place) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(other) = found.insert(name, path.clone())
                && other != path
            {
                let problem = format!("{} and {} have one name", other.display(), path.display());
                return Err(BuildError::new(problem, "rename one: clips are known by the name of their archive"));
            }
        }
    }
    Ok(found)
}
