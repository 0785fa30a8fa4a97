//! A folder of one's own: labels from the folders' names, or from files beside the clips.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::StringChunked;
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;
use crate::names::{NameRule, stem};
use crate::wanted::{Wanted, WantedBuilder, WantedRow};

/// The largest file beside a clip.
const MAX_SIDE_BYTES: u64 = 1 << 20;

/// What the names in a path stand for. Folders are counted from the corpus' folder on: `train/dogs/rex/1.wav` has
/// `train` as part 0, `dogs` as part 1, `rex` as part 2.
///
/// # Example: speakers kept apart
/// ```
/// use ajepa_datasets::{FolderRules, folder};
///
/// let rules = FolderRules { labels: vec![1], split: Some(0), group: Some(2), ..FolderRules::default() };
/// let wanted = folder(".".as_ref(), ["train/dogs/rex/1.wav", "test/cats/tom/1.wav"], &rules)?;
/// assert_eq!(wanted.frame().height(), 2);
/// # Ok::<(), ajepa_datasets::DatasetError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FolderRules {
    /// The parts that are labels. Default: none.
    pub labels: Vec<usize>,
    /// The part that is the split. Default: none.
    pub split: Option<usize>,
    /// The part that must not be on two sides of a split: a speaker, a recording. Default: none.
    pub group: Option<usize>,
    /// Whether `x.txt` (a label a line) and `x.json` (`labels` or `label`, `split`, `group`) beside `x.wav` are read.
    /// What they say is added to the labels of the path, and stands in the place of its split and group. Default:
    /// false.
    pub side_files: bool,
}

/// What files beside a clip say.
#[derive(Default, Deserialize)]
struct Beside {
    #[serde(default)]
    labels: Vec<String>,
    label: Option<String>,
    split: Option<String>,
    group: Option<String>,
}

/// The clips of a folder, by their `paths` from `root` on.
///
/// A clip's name is its path without the extension; the extension stays where two files differ in it alone.
///
/// # Errors
/// [`DatasetError`] for a file beside a clip that cannot be read, is larger than 1 MiB, or is not what its extension
/// says.
pub fn folder<'a>(
    root: &Path,
    paths: impl IntoIterator<Item = &'a str>,
    rules: &FolderRules,
) -> Result<Wanted, DatasetError> {
    let paths: Vec<&str> = paths.into_iter().collect();
    let mut uses: HashMap<&str, u32> = HashMap::with_capacity(paths.len());
    for path in &paths {
        *uses.entry(stem_of_path(path)).or_default() += 1;
    }
    let mut rows = WantedBuilder::with_capacity(paths.len());
    for path in &paths {
        let beside = if rules.side_files { beside(root, path)? } else { Beside::default() };
        let parts: Vec<&str> = path.split('/').collect();
        let part = |number: usize| parts[..parts.len() - 1].get(number).copied();
        let mut labels: Vec<&str> = rules.labels.iter().filter_map(|&number| part(number)).collect();
        for label in beside.labels.iter().chain(&beside.label) {
            if !labels.contains(&label.as_str()) {
                labels.push(label);
            }
        }
        let short = stem_of_path(path);
        rows.push(
            WantedRow {
                clip_id: if uses.get(short) == Some(&1) { short } else { path },
                split: beside.split.as_deref().or_else(|| rules.split.and_then(part)),
                group: beside.group.as_deref().or_else(|| rules.group.and_then(part)),
                ..WantedRow::default()
            },
            labels.iter().copied(),
            labels.iter().copied(),
        );
    }
    let keys: StringChunked = paths.iter().map(|path| Some(*path)).collect();
    Ok(rows.finish(NameRule::Path, Some(keys), Vec::new())?)
}

fn stem_of_path(path: &str) -> &str {
    let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
    &path[..name_at + stem(&path[name_at..]).len()]
}

fn beside(root: &Path, path: &str) -> Result<Beside, DatasetError> {
    let audio = root.join(path);
    let json = audio.with_extension("json");
    let mut beside = match read_small(&json)? {
        Some(text) => serde_json::from_str(&text).map_err(|error| {
            let help = r#"it holds an object such as {"labels": ["dog"], "split": "train", "group": "rex"}"#;
            DatasetError::unusable(json.display(), error.to_string(), help)
        })?,
        None => Beside::default(),
    };
    if let Some(text) = read_small(&audio.with_extension("txt"))? {
        let lines = text.trim_start_matches('\u{FEFF}').lines().map(str::trim).filter(|line| !line.is_empty());
        beside.labels.extend(lines.map(str::to_owned));
    }
    Ok(beside)
}

fn read_small(path: &Path) -> Result<Option<String>, DatasetError> {
    let io = |error| DatasetError::io(path, error);
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => Ok(None),
        Ok(about) if about.len() > MAX_SIDE_BYTES => {
            let problem = format!("{} bytes beside a clip", about.len());
            Err(DatasetError::unusable(path.display(), problem, "labels take at most 1 MiB; move other files away"))
        }
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(io),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(wanted: &Wanted, column: &str) -> Vec<Option<String>> {
        wanted.frame().column(column).unwrap().str().unwrap().iter().map(|t| t.map(str::to_owned)).collect()
    }

    fn labels(wanted: &Wanted, row: usize) -> Vec<String> {
        let lists = crate::columns::TextLists::of(wanted.frame().column("labels").unwrap()).unwrap();
        lists.row(row).map(str::to_owned).collect()
    }

    #[test]
    fn parts_of_paths_are_labels_splits_and_groups() {
        let rules = FolderRules { labels: vec![1], split: Some(0), group: Some(2), side_files: false };
        let paths = ["train/dog/rex/1.wav", "train/dog/rex/1.flac", "test/cat/2.wav", "3.wav"];
        let wanted = folder(Path::new("nowhere"), paths, &rules).unwrap();
        let some = |text: &str| Some(text.to_owned());
        let ids = [some("train/dog/rex/1.wav"), some("train/dog/rex/1.flac"), some("test/cat/2"), some("3")];
        assert_eq!(texts(&wanted, "clip_id"), ids);
        assert_eq!(texts(&wanted, "split"), [some("train"), some("train"), some("test"), None]);
        assert_eq!(texts(&wanted, "group"), [some("rex"), some("rex"), None, None]);
        assert_eq!((labels(&wanted, 2), labels(&wanted, 3).len()), (vec!["cat".to_owned()], 0));
    }

    #[test]
    fn files_beside_clips_add_labels_and_correct_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dog")).unwrap();
        std::fs::write(dir.path().join("dog/1.txt"), "\u{FEFF}bark\r\n\r\ndog\n").unwrap();
        std::fs::write(dir.path().join("dog/1.json"), r#"{"label": "loud", "group": "rex", "more": 1}"#).unwrap();
        std::fs::write(dir.path().join("dog/2.json"), "[").unwrap();
        let rules = FolderRules { labels: vec![0], side_files: true, ..FolderRules::default() };
        let wanted = folder(dir.path(), ["dog/1.wav"], &rules).unwrap();
        assert_eq!(labels(&wanted, 0), ["dog", "bark", "loud"]);
        assert_eq!(texts(&wanted, "group"), [Some("rex".to_owned())]);
        let error = folder(dir.path(), ["dog/2.wav"], &rules).unwrap_err();
        assert!(error.to_string().contains("2.json") && error.help().is_some());
    }
}
