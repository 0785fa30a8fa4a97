//! `source_folder`: every audio file under a folder is a clip.

use std::path::{Path, PathBuf};

use ajepa_store::{is_url, walk};
use arrow::array::{ArrayRef, ListBuilder, StringArray, StringBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use walkdir::{DirEntry, WalkDir};

use crate::corpus::{
    ClipTable, Condition, Faults, Listed, Selection, Stamps, audio_extensions, check_condition, clip_ids, has_extension,
};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// Every audio file under a folder, in the byte order of its path under that folder; the same order on every machine.
///
/// `clip_id` is that path without its extension; the extension stays where two files differ in it alone. Names that begin
/// with a dot are left out. The folder may be one of an object store, `s3://bucket/audio`. A name that is not UTF-8 stays in the list with its odd bytes written as `\\xNN`, and `decode`
/// rejects it (`name_not_utf8`): rename the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFolderConfig {
    /// The folder.
    pub path: PathBuf,
    /// File name extensions to take, without the dot, in any case. Default: aac, aif, aifc, aiff, caf, flac, m4a, m4b, mka,
    /// mkv, mp1, mp2, mp3, mp4, oga, ogg, opus, wav, wave, webm.
    #[serde(default = "audio_extensions")]
    pub extensions: Vec<String>,
    /// Whether folders inside the folder are searched too. Default: true.
    #[serde(default = "yes")]
    pub recursive: bool,
    /// Where `labels` come from. Default: none.
    #[serde(default)]
    pub labels: FolderLabels,
    /// What to do with symbolic links. Default: refuse.
    #[serde(default)]
    pub links: LinkPolicy,
    /// Which clips are taken: a condition in SQL over the columns clip_id, source, labels, such as "array_has(labels, 'Music')"; counted before
    /// shuffle and limit. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
    /// Whether the clips come in one random order, a function of the run's seed and this stage's id. Default: false.
    #[serde(default)]
    pub shuffle: bool,
    /// At most so many clips, counted after the shuffle: 1 or more. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Where the labels of a clip in a folder come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FolderLabels {
    /// No labels.
    #[default]
    None,
    /// One label: the name of the folder the file is in. Files of the top folder have none.
    ParentDir,
}

/// What to do with symbolic links to folders and audio files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkPolicy {
    /// Stop and name them, so that nothing is left out, or read from elsewhere, unseen.
    #[default]
    Refuse,
    /// Leave them out.
    Skip,
    /// Follow them, also out of the folder. A loop is an error.
    Follow,
}

const NOT_UTF8: &str = "name_not_utf8: the name of the file is not UTF-8, so it cannot be written down: rename it";

fn yes() -> bool {
    true
}

impl StageConfig for SourceFolderConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::no_input(inputs)?;
        super::checks::limit(self.limit)?;
        check_condition(self.r#where.as_deref(), false)?;
        super::checks::extensions(&self.extensions)?;
        Ok(StagePlan::new(StageKind::Source, Schema::of_media(false)))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let (paths, stamps) = if is_url(&self.path) { self.list_objects()? } else { (self.list()?, Stamps::default()) };
        if paths.is_empty() {
            let problem =
                format!("{}: no file with an extension of {}", self.path.display(), self.extensions.join(", "));
            return Err(BuildError::new(problem, "check the path, `extensions` and `recursive`"));
        }
        let fault = |odd: &bool| odd.then_some(NOT_UTF8);
        let faults = paths.iter().any(|(_, odd)| *odd).then(|| paths.iter().map(|(_, odd)| fault(odd)).collect());
        let paths = StringArray::from_iter_values(paths.iter().map(|(path, _)| path));
        let ids = clip_ids(&paths, None);
        let labels = (self.labels == FolderLabels::ParentDir).then(|| parent_labels(&paths));
        let table = ClipTable { labels, faults, stamps, ..ClipTable::of_files(self.path.clone(), ids, paths) };
        let condition = Condition::new(self.r#where.as_deref(), Some(&self.path));
        let selection = Selection { condition, shuffle: self.shuffle, limit: self.limit };
        Ok(Stage::Source(Box::new(Listed::new(table, &selection, cx)?)))
    }

    fn takes_addresses(&self) -> bool {
        true
    }
}

impl SourceFolderConfig {
    /// All of a folder, everything else by default.
    pub(crate) fn of(path: &Path, links: LinkPolicy) -> Self {
        let labels = FolderLabels::None;
        let (extensions, path) = (audio_extensions(), path.to_owned());
        Self { path, extensions, recursive: true, labels, links, r#where: None, shuffle: false, limit: None }
    }

    /// The same of an object store, where nothing is a link; with the sizes that the list has.
    pub(crate) fn list_objects(&self) -> Result<(Vec<(String, bool)>, Stamps), BuildError> {
        let unreachable = |error: std::io::Error| {
            let problem = format!("{}: {error}", self.path.display());
            BuildError::new(problem, "check the address, the credentials and the network")
        };
        let found = if self.recursive { walk(&self.path) } else { ajepa_store::list(&self.path, usize::MAX) };
        let mut found = found.map_err(unreachable)?;
        let is_hidden = |path: &str| path.split('/').any(|part| part.starts_with('.'));
        found.retain(|(path, _)| has_extension(path, &self.extensions) && !is_hidden(path));
        let stamps = Stamps::of_objects(&self.path, &found);
        Ok((found.into_iter().map(|(path, _)| (path, false)).collect(), stamps))
    }

    /// Paths under the folder, parted by `/`, in byte order; each with whether it is not UTF-8.
    pub(crate) fn list(&self) -> Result<Vec<(String, bool)>, BuildError> {
        if !self.path.is_dir() {
            let problem = format!("{}: not a folder that can be read", self.path.display());
            return Err(BuildError::new(problem, "check `path`; a list of files is read by `source_manifest`"));
        }
        let depth = if self.recursive { usize::MAX } else { 1 };
        let walk = WalkDir::new(&self.path)
            .min_depth(1)
            .max_depth(depth)
            .sort_by_file_name()
            .follow_links(self.links == LinkPolicy::Follow);
        let mut paths: Vec<Vec<u8>> = Vec::new();
        let (mut links, mut unreadable) = (Faults::default(), Faults::default());
        for entry in walk.into_iter().filter_entry(|entry| !is_hidden(entry)) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    unreadable.push(|| error.to_string());
                    continue;
                }
            };
            let wanted = has_extension(&entry.file_name().to_string_lossy(), &self.extensions);
            if entry.path_is_symlink() && self.links != LinkPolicy::Follow {
                if self.links == LinkPolicy::Refuse && (wanted || entry.path().is_dir()) {
                    links.push(|| entry.path().display().to_string());
                }
            } else if wanted && !entry.file_type().is_dir() {
                paths.push(relative(entry.path(), &self.path));
            }
        }
        let root = self.path.display();
        unreadable
            .into_result(&format!("{root}: cannot be listed whole"), "mend the permissions, or move these away")?;
        let help = "`links: follow` reads them, `links: skip` leaves them out (`--links` of `dataset`)";
        links.into_result(&format!("{root}: holds symbolic links"), help)?;
        paths.sort_unstable();
        Ok(paths.iter().map(|path| (readable(path), std::str::from_utf8(path).is_err())).collect())
    }
}

/// Whether its name begins with a dot; the folder that was named may.
pub(crate) fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// The path under `root`, parted by `/`, in the bytes of the file system.
fn relative(path: &Path, root: &Path) -> Vec<u8> {
    let parts = path.strip_prefix(root).unwrap_or(path).iter();
    parts.map(std::ffi::OsStr::as_encoded_bytes).collect::<Vec<_>>().join(&b'/')
}

/// The path as text, bytes that are not UTF-8 written out: two names that differ in them alone stay two.
fn readable(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.extend([format!("\\x{byte:02x}")]));
    }
    text
}

fn parent_labels(paths: &StringArray) -> ArrayRef {
    let mut labels = ListBuilder::new(StringBuilder::new());
    for path in paths.iter().flatten() {
        let parent = path.rsplit('/').nth(1);
        labels.append_value(parent.map(Some));
    }
    std::sync::Arc::new(labels.finish())
}
