//! Which corpora there are, and where each has its lists and its audio.

use std::path::{Path, PathBuf};

use ajepa_datasets::{AudioSet, FolderRules, Fsd50k, TarSample, Wanted, XARES_TASKS, XaresTask, esc50, folder, xares};

use crate::corpus::{TarSamples, audio_extensions, expand};
use crate::stage::BuildError;
use crate::stages::source_folder::{LinkPolicy, SourceFolderConfig};

/// A corpus in its publisher's layout.
#[derive(Debug, Clone, PartialEq)]
pub enum Corpus {
    /// The folder of the segment lists and the ontology.
    AudioSet(PathBuf),
    /// The corpus' folder.
    Fsd50k(PathBuf),
    /// The corpus' folder.
    Esc50(PathBuf),
    /// A task, and its tars or their folders.
    Xares(String, Vec<PathBuf>),
    /// A folder of audio, and what its paths say.
    Folder(PathBuf, FolderRules),
}

impl Corpus {
    /// What the publisher lists; `links` is what is done with symbolic links where it is the folder that says it.
    ///
    /// # Errors
    /// [`BuildError`] for lists that are missing or at fault, line by line.
    pub fn wanted(&self, links: LinkPolicy) -> Result<Wanted, BuildError> {
        match self {
            Self::AudioSet(lists) => Ok(AudioSet::open(lists)?.wanted),
            Self::Fsd50k(dir) => Ok(Fsd50k::open(dir)?.wanted),
            Self::Esc50(dir) => Ok(esc50(dir)?),
            Self::Xares(task, tars) => {
                let task = XaresTask::of(task).ok_or_else(|| no_such_task(task))?;
                Ok(xares(task, &samples(tars)?)?)
            }
            Self::Folder(dir, rules) => {
                let paths = SourceFolderConfig::of(dir, links).list()?;
                let named: Vec<&str> = paths.iter().filter(|(_, odd)| !odd).map(|(path, _)| path.as_str()).collect();
                if named.is_empty() {
                    let problem = format!("{}: no audio files in it", dir.display());
                    return Err(BuildError::new(problem, "name another folder"));
                }
                Ok(folder(dir, named, rules)?)
            }
        }
    }

    /// Where its audio is, unless somebody says otherwise.
    pub fn audio(&self) -> Vec<PathBuf> {
        match self {
            Self::AudioSet(dir) | Self::Fsd50k(dir) | Self::Esc50(dir) | Self::Folder(dir, _) => vec![dir.clone()],
            Self::Xares(_, tars) => tars.clone(),
        }
    }

    /// What is taken off the names of files before they are looked up.
    pub(super) fn root(&self) -> Option<&Path> {
        match self {
            Self::Folder(dir, _) => Some(dir),
            _ => None,
        }
    }
}

fn no_such_task(name: &str) -> BuildError {
    let names: Vec<&str> = XARES_TASKS.iter().map(|task| task.dir).collect();
    BuildError::new(format!("{name:?} is no task of X-ARES"), format!("there are {}", names.join(", ")))
}

/// The samples of all tars, with the JSON of each.
fn samples(tars: &[PathBuf]) -> Result<Vec<TarSample>, BuildError> {
    let mut samples = Vec::new();
    for place in tars {
        let paths = expand(&place.to_string_lossy(), "tar")?;
        let mut scanned = TarSamples::scan(paths, &audio_extensions(), false)?;
        for sample in scanned.parts() {
            let sample = sample?;
            samples.push(TarSample { tar: sample.tar, key: sample.key, audio: sample.audio, json: sample.json });
        }
    }
    Ok(samples)
}
