//! `source_shards`: rows of a finished shard set, as they lie in its maps.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::arrow_schema;
use crate::schema::{ColumnType, Dtype, Schema, TensorType, list_of_utf8};
use crate::shard::{Access, ColumnInfo, PartInfo, ReadOptions, ShardSet, TensorInfo};
use crate::stage::{
    BuildCx, BuildError, PlanError, Source, Stage, StageConfig, StageError, StageKind, StagePlan, Unit,
};

/// Reads a shard set that `sink_shards` has finished: one unit per part, rows in the order in which they were written.
///
/// The plan of a graph opens no file, so the picture that the shards hold is said here; before the first row is read, it is
/// compared with the manifest. Columns that are not named below travel along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceShardsConfig {
    /// The folder with `manifest.json`.
    pub path: PathBuf,
    /// Lengths of the tensor, outermost first, as `ajepa-pipe inspect` shows them: [512, 96] is 512 frames of 96 bins.
    pub shape: Vec<usize>,
    /// The tensor column. Default: mel.
    #[serde(default = "mel")]
    pub column: String,
    /// Type of its numbers in the shards. Default: f16.
    #[serde(default = "half")]
    pub dtype: Dtype,
    /// A name per axis. Default: [frames, mels].
    #[serde(default = "frames_mels")]
    pub axes: Vec<String>,
    /// Whether checksums are verified when pages are first read. Default: true.
    #[serde(default = "yes")]
    pub verify: bool,
    /// `mapped` reads in place; `copied` reads into own memory and verifies that, for folders that others may write to
    /// while they are read. Default: mapped.
    #[serde(default)]
    pub access: Access,
}

fn mel() -> String {
    "mel".to_owned()
}

fn half() -> Dtype {
    Dtype::F16
}

fn frames_mels() -> Vec<String> {
    vec!["frames".to_owned(), "mels".to_owned()]
}

fn yes() -> bool {
    true
}

impl SourceShardsConfig {
    fn schema(&self) -> Result<Schema, PlanError> {
        if self.shape.is_empty() || self.shape.contains(&0) {
            let help = "lengths of one row's tensor, such as [512, 96]; `ajepa-pipe inspect` shows them";
            return Err(PlanError::field("shape", format!("{:?} holds no number", self.shape), help));
        }
        if self.shape.iter().try_fold(1usize, |n, len| n.checked_mul(*len)).is_none_or(|n| n > i32::MAX as usize) {
            return Err(PlanError::field(
                "shape",
                format!("{:?} is too large", self.shape),
                "at most 2^31 - 1 numbers",
            ));
        }
        if self.axes.len() != self.shape.len() {
            let problem = format!("{} names for {} axes", self.axes.len(), self.shape.len());
            return Err(PlanError::field("axes", problem, "one name per length in `shape`"));
        }
        let tensor = TensorType {
            dtype: self.dtype,
            shape: self.shape.clone(),
            axes: self.axes.clone(),
            front_end: serde_json::Value::Null,
        };
        let schema = Schema { columns: Vec::new(), extra: true }
            .with("clip_id", ColumnType::Plain(DataType::Utf8))
            .with(&self.column, ColumnType::Tensor(tensor))
            .with("labels", ColumnType::Plain(list_of_utf8()))
            .with("source", ColumnType::Plain(DataType::Utf8))
            .with("offset_s", ColumnType::Plain(DataType::Float64))
            .with("duration_s", ColumnType::Plain(DataType::Float64));
        if self.axes.iter().any(|axis| axis == "frames") {
            return Ok(schema.with("n_frames", ColumnType::Plain(DataType::UInt32)));
        }
        Ok(schema)
    }

    fn open(&self) -> Result<ShardSet, BuildError> {
        // A part is read from front to back and not again: two are enough.
        let options = ReadOptions { verify: self.verify, access: self.access, max_open: 2 };
        let help = "`path` is the folder that a `sink_shards` has finished; run that graph first";
        let set = ShardSet::open_with(&self.path, options).map_err(|e| BuildError::new(e.to_string(), help))?;
        let path = self.path.display();
        if let Some(found) = set.tensor(&self.column)
            && !self.describes(found)
        {
            let problem = format!(
                "{path}: {} is {:?}{:?} with axes {:?}, not {:?}{:?} with axes {:?}",
                self.column, found.dtype, found.shape, found.axes, self.dtype, self.shape, self.axes
            );
            let dtype = if found.dtype == Dtype::F16 { "f16" } else { "f32" };
            let help = format!("shape: {:?}, dtype: {dtype}, axes: [{}]", found.shape, found.axes.join(", "));
            return Err(BuildError::new(problem, help));
        }
        let columns = &set.manifest().columns;
        let schema = self.schema().map_err(|e| BuildError::new(e.to_string(), e.help))?;
        // A set without rows has no columns either, and nothing to read.
        let wanted = ColumnInfo::all(&arrow_schema(&schema));
        if let Some(missing) = wanted.iter().find(|column| !columns.is_empty() && !columns.contains(column)) {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let problem = format!("{path}: no column {:?} of type {}", missing.name, missing.arrow);
            return Err(BuildError::new(problem, format!("the shards have {}", names.join(", "))));
        }
        Ok(set)
    }

    fn describes(&self, found: &TensorInfo) -> bool {
        (found.dtype, &found.shape, &found.axes) == (self.dtype, &self.shape, &self.axes)
    }
}

impl StageConfig for SourceShardsConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::no_input(inputs)?;
        Ok(StagePlan::new(StageKind::Source, self.schema()?))
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let set = self.open()?;
        let units = set.parts().iter().map(unit).collect();
        Ok(Stage::Source(Box::new(SourceShards { set, units })))
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn takes_addresses(&self) -> bool {
        true
    }
}

/// The key of a part is what is in it, not where it lies: copied shards are the same input.
fn unit(part: &PartInfo) -> Unit {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&part.bytes.to_le_bytes());
    for page in &part.pages.0 {
        hasher.update(&page.to_le_bytes());
    }
    Unit::new(part.rows, &hasher)
}

struct SourceShards {
    set: ShardSet,
    units: Vec<Unit>,
}

impl Source for SourceShards {
    fn units(&self) -> &[Unit] {
        &self.units
    }

    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let part = self.set.part(unit)?;
        for batch in part.batches() {
            emit(batch?)?;
        }
        // A unit whose part changed while its rows were on their way must not be committed.
        Ok(part.check()?)
    }
}
