//! `source_files`: files, folders and tables by name, one after another.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ajepa_store::{about, is_url};
use arrow::array::{Array, StringArray};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source_folder::{LinkPolicy, SourceFolderConfig};
use crate::corpus::{
    ClipTable, Condition, Listed, ManifestColumns, Selection, Stamps, audio_extensions, check_condition, clip_ids,
    clips_of_table, first_repeated, has_extension, read_table,
};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// Extensions that are taken for tables of clips.
const TABLES: [&str; 6] = ["csv", "tsv", "parquet", "pq", "jsonl", "ndjson"];

/// The clips that are named: audio files, folders of them (as `source_folder` reads one), and tables with a row per clip (as
/// `source_manifest` reads one), in the order they are named in.
///
/// `clip_id` is the path as it is written here, without its extension, or the table's. Further columns of a table travel along
/// when it is the only thing named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFilesConfig {
    /// Files, folders and tables (.csv, .tsv, .parquet, .jsonl); one or more.
    pub paths: Vec<PathBuf>,
    /// What to do with symbolic links in the folders, as in `source_folder`. Default: `refuse`.
    #[serde(default)]
    pub links: LinkPolicy,
    /// Which clips are taken: a condition in SQL over the columns clip_id, source, offset_s, duration_s, labels and
    /// those of a table that is the only thing named, such as "array_has(labels, 'Music')"; counted before
    /// shuffle and limit. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
}

impl StageConfig for SourceFilesConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::no_input(inputs)?;
        self.validate()?;
        check_condition(self.r#where.as_deref(), true)?;
        Ok(StagePlan::new(StageKind::Source, Schema::of_media(true)))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if self.paths.iter().any(|path| path.as_os_str().is_empty()) {
            return Err(PlanError::field("paths", "one is empty", "name files, folders or tables"));
        }
        super::checks::at_least_one("paths", self.paths.len())
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let mut tables = self.paths.iter().map(|path| clips_of(path, self.links)).collect::<Result<Vec<_>, _>>()?;
        let clips = if tables.len() == 1 { tables.remove(0) } else { joined(&tables)? };
        if let Some((_, again)) = first_repeated(&clips.clip_id) {
            let problem = format!("two clips are named {:?}", clips.clip_id.value(again));
            return Err(BuildError::new(
                problem,
                "name each file once, or list them in one table with a column clip_id",
            ));
        }
        let condition = Condition::new(self.r#where.as_deref(), self.paths.first().map(PathBuf::as_path));
        Ok(Stage::Source(Box::new(Listed::new(clips, &Selection { condition, ..Selection::default() }, cx)?)))
    }

    fn takes_addresses(&self) -> bool {
        true
    }
}

fn joined(tables: &[ClipTable]) -> Result<ClipTable, BuildError> {
    ClipTable::concat(tables).map_err(|error| BuildError::new(error.to_string(), "name fewer files at once"))
}

fn clips_of(path: &Path, links: LinkPolicy) -> Result<ClipTable, BuildError> {
    let shown = path.display().to_string();
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let is_table = TABLES.contains(&extension.as_str());
    // A store has no folders to be asked: what ends like neither a table nor audio is one.
    let is_far_folder = is_url(path) && !is_table && !has_extension(&shown, &audio_extensions());
    if path.is_dir() || is_far_folder {
        let folder = SourceFolderConfig::of(path, links);
        let (paths, stamps) = if is_far_folder { folder.list_objects()? } else { (folder.list()?, Stamps::default()) };
        if paths.is_empty() {
            return Err(BuildError::new(format!("{shown}: no audio files in it"), "name another folder"));
        }
        let under = |name: &String| path.join(name).to_string_lossy().into_owned();
        let clips = of_files(paths.iter().map(|(name, _)| under(name)).collect());
        return Ok(ClipTable { stamps, ..clips });
    }
    if is_table {
        let root = path.parent().unwrap_or(Path::new("")).to_owned();
        let clips = clips_of_table(&shown, &read_table(path)?, &ManifestColumns::default(), ";", root)?;
        if clips.clip_id.is_empty() {
            return Err(BuildError::new(format!("{shown}: no clips"), "check the table"));
        }
        return Ok(clips);
    }
    // A name with a typing error is the user's to mend before anything runs; what is in a file is a matter of its clip.
    let there = if is_url(path) {
        about(std::slice::from_ref(&shown)).remove(0).map(|_| ())
    } else {
        path.metadata().map(|_| ())
    };
    match there {
        Err(error) if error.kind() == ErrorKind::NotFound || !is_url(path) => {
            Err(BuildError::new(format!("{shown}: there is no such file or folder"), "check the path"))
        }
        Err(error) => Err(BuildError::new(format!("{shown}: {error}"), "check the address and the network")),
        Ok(()) => Ok(of_files(vec![shown])),
    }
}

fn of_files(paths: Vec<String>) -> ClipTable {
    let paths = StringArray::from(paths);
    ClipTable::of_files(PathBuf::new(), clip_ids(&paths, None), paths)
}
