//! `source_manifest`: a table with a row per clip.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::corpus::{
    ClipTable, Condition, Listed, Listing, ManifestColumns, Selection, check_condition, clips_of_table, read_table,
};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// A table with a row per clip: CSV, TSV, Parquet or JSON lines, told by the extension, not compressed.
///
/// The column `path` must be there; `clip_id`, `start`, `end`, `duration_s`, `labels` and `source` are used when they are;
/// all others travel along with their type. In CSV and TSV every column is text, but for start, end and duration. Rows at
/// fault (no path, a name twice, an end before its start) are named, and nothing runs. A file that is not there is not such
/// a fault: `decode` rejects its clip. Nor is an end beyond the end of the file: the clip is what is there, and its
/// `duration_s` says how long that is; a start beyond the end of the file is rejected as `truncated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceManifestConfig {
    /// The table: .csv, .tsv, .parquet (.pq) or .jsonl (.ndjson).
    pub path: PathBuf,
    /// The folder that relative paths of the table are under. Default: the folder of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Names of columns, where they are not the usual ones.
    #[serde(default)]
    pub columns: ManifestColumns,
    /// What parts the labels in a column of texts. Active only if the labels are texts, not lists. Default: ";".
    #[serde(default = "semicolon")]
    pub label_separator: String,
    /// A table (as `path`) whose column `clip_id` names clips to leave out, such as a `rejects.parquet`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<PathBuf>,
    /// Which clips are taken: a condition in SQL over the columns clip_id, source, offset_s, duration_s, labels and
    /// all others of the table, such as "array_has(labels, 'Music')"; counted before
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

fn semicolon() -> String {
    ";".to_owned()
}

impl StageConfig for SourceManifestConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::no_input(inputs)?;
        super::checks::limit(self.limit)?;
        check_condition(self.r#where.as_deref(), true)?;
        if self.label_separator.is_empty() {
            return Err(PlanError::field("label_separator", "nothing", "a text of one letter or more, such as \";\""));
        }
        Ok(StagePlan::new(StageKind::Source, Schema::of_media(true)))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let shown = self.path.display().to_string();
        let root = self.root.clone().unwrap_or_else(|| self.path.parent().unwrap_or(Path::new("")).to_owned());
        let mut clips = clips_of_table(&shown, &read_table(&self.path)?, &self.columns, &self.label_separator, root)?;
        if let Some(exclude) = &self.exclude {
            // Only now, for ids that are made of paths depend on all rows.
            clips = without(&clips, exclude)?;
        }
        if clips.n_clips() == 0 {
            return Err(BuildError::new(format!("{shown}: no clips"), "check the table, and `exclude`"));
        }
        let condition = Condition::new(self.r#where.as_deref(), Some(&self.path));
        let selection = Selection { condition, shuffle: self.shuffle, limit: self.limit };
        Ok(Stage::Source(Box::new(Listed::new(clips, &selection, cx)?)))
    }

    fn takes_addresses(&self) -> bool {
        true
    }
}

/// The clips that `exclude` does not name.
fn without(clips: &ClipTable, exclude: &Path) -> Result<ClipTable, BuildError> {
    let table = read_table(exclude)?;
    let unusable = |why: &str| {
        let problem = format!("{}: {why}", exclude.display());
        BuildError::new(problem, "a list of clips to leave out has a column `clip_id` of texts, as rejects.parquet has")
    };
    let ids = table.column_by_name("clip_id").ok_or_else(|| unusable("there is no column `clip_id`"))?;
    let ids = cast(ids, &DataType::Utf8).map_err(|error| unusable(&error.to_string()))?;
    let named: HashSet<&str> = ids.as_string::<i32>().iter().flatten().collect();
    let keep: BooleanArray = clips.clip_id.iter().map(|id| Some(id.is_none_or(|id| !named.contains(id)))).collect();
    clips.filter(&keep).map_err(|error| unusable(&error.to_string()))
}
