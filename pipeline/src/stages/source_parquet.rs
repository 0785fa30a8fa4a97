//! `source_parquet`: Parquet files with encoded audio in a column, as dataset hubs ship them.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::corpus::{ParquetClips, ParquetColumns, expand};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// Parquet files that hold encoded audio, a row per clip: `audio: struct<bytes: binary, path: utf8>`, or a column of bytes.
///
/// Pages are read one after another: a row group may be larger than memory. A row without bytes is read from its `path`, under the
/// folder of the file, where it has one, and is `missing` otherwise. `source` is `name.parquet#row`, rows counted from 0.
/// Columns of other types than bytes travel along, but for those whose names the pipeline uses itself. A row group that is
/// damaged costs its own clips, which `decode` rejects as `corrupt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceParquetConfig {
    /// A .parquet file, a folder of them, or a pattern: `data/train-*.parquet`.
    pub path: String,
    /// Names of columns, where they are not the usual ones.
    #[serde(default)]
    pub columns: ParquetColumns,
    /// At most so many clips, from the first: 1 or more. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl StageConfig for SourceParquetConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::no_input(inputs)?;
        super::checks::limit(self.limit)?;
        Ok(StagePlan::new(StageKind::Source, Schema::of_media(true)))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let clips = ParquetClips::open(expand(&self.path, "parquet")?, &self.columns, self.limit, cx.clips_per_unit)?;
        Ok(Stage::Source(Box::new(clips)))
    }

    /// A pattern or a file is not a folder whose new files would be read.
    fn folder(&self) -> Option<&Path> {
        let path = Path::new(&self.path);
        let is_file = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
        (!is_file && !self.path.contains(['{', '*', '?'])).then_some(path)
    }

    fn takes_addresses(&self) -> bool {
        true
    }
}
