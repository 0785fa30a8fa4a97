//! What a shard set says of itself: the manifest, and the commit record of each unit that it is made from.

use std::path::Path;

use ajepa_store::{Checksums, fs_of};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ShardError;
use super::layout;
use super::stats::Moments;
use crate::schema::{Dtype, TensorType};
use crate::stage::UnitTally;

/// Version of the manifest, the records and the parts.
pub const FORMAT: u32 = 1;

/// Longest manifest or record that is read.
pub const MAX_JSON_BYTES: u64 = 1 << 30;

/// `manifest.json`: everything a reader needs to know before it opens a part. Two runs of one job write the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Counts the times that a changed graph or changed inputs were written into this folder, from 1.
    pub generation: u32,
    /// `pipeline:` of the YAML.
    pub pipeline: String,
    /// Hash of everything upstream that decides content.
    pub fingerprint: String,
    /// The same, readable.
    pub graph: serde_json::Value,
    /// Rows in all parts.
    pub rows: u64,
    /// Bytes of all parts.
    pub bytes: u64,
    /// Clips that the sources gave.
    pub clips: u64,
    /// Rows left out on purpose.
    pub filtered: u64,
    /// Clips that could not be used.
    pub rejects: u64,
    /// Columns of every part, in order.
    pub columns: Vec<ColumnInfo>,
    /// Shape, front end and moments of every tensor column.
    pub tensors: Vec<TensorInfo>,
    /// How the buffers of the parts are stored.
    pub compression: Compression,
    /// Bytes of a page; the last page of a part may be shorter.
    pub page_bytes: u64,
    /// Units of the job; those without rows have no part.
    pub units: u64,
    /// The parts in order.
    pub parts: Vec<PartInfo>,
}

/// One column of the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its Arrow type and field metadata.
    pub arrow: String,
}

/// One tensor column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorInfo {
    /// The column.
    pub column: String,
    /// Type of one number.
    pub dtype: Dtype,
    /// Lengths, outermost first.
    pub shape: Vec<usize>,
    /// A name per axis.
    pub axes: Vec<String>,
    /// Parameters of the front end that made it.
    pub front_end: serde_json::Value,
    /// Frames behind `mean` and `variance`: the first `n_frames` of each row, which are those that see a sample of the clip,
    /// without padding; of these the ones that are finite.
    pub n_frames: u64,
    /// Frames with a value that is not finite.
    pub n_non_finite: u64,
    /// Mean of each bin; empty where there are no frames.
    pub mean: Vec<f64>,
    /// Population variance of each bin.
    pub variance: Vec<f64>,
}

impl TensorInfo {
    /// What an edge of a graph would say of it.
    pub fn tensor_type(&self) -> TensorType {
        let Self { dtype, shape, axes, front_end, .. } = self.clone();
        TensorType { dtype, shape, axes, front_end }
    }
}

/// One part file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartInfo {
    /// File name.
    pub file: String,
    /// Number of its unit.
    pub unit: u64,
    /// Key of its unit, hex.
    pub key: String,
    /// Length of the file.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Rows of each record batch; the last may have fewer.
    pub batch_rows: u64,
    /// XXH3-64 of each page.
    pub pages: Checksums,
    /// XXH3-64 of each record batch without the numbers of its tensors, and of the footer: who asks for labels has them verified
    /// and touches no picture. None where there are no tensors, or the buffers are compressed.
    #[serde(default)]
    pub light: Checksums,
}

/// A part file that a manifest does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartBeside {
    /// File name.
    pub file: String,
    /// Its generation.
    pub generation: u32,
    /// Length of the file.
    pub bytes: u64,
}

/// How the buffers of a part are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are in memory: a mapped batch is read in place.
    #[default]
    None,
    /// zstd level 1, decoded on read: saves 10 to 20 % on log-mel, for archives.
    Zstd,
}

/// `_units/gNNN/NNNNN.json`: says that a unit is done, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitRecord {
    pub format: u32,
    /// Hash of the graph's fingerprint and of how the sink stores.
    pub content: String,
    pub unit: u64,
    pub key: String,
    /// `None` when the unit has no rows.
    pub part: Option<PartInfo>,
    pub columns: Vec<ColumnInfo>,
    pub moments: Vec<(String, Moments)>,
    pub tally: UnitTally,
}

/// `_units/gNNN/job.json`: whose generation it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub format: u32,
    pub pipeline: String,
    pub fingerprint: String,
    /// Hash of the fingerprint and of how the sink stores.
    pub content: String,
    /// Hash of the keys of all units.
    pub inputs: String,
    pub units: u64,
    pub graph: serde_json::Value,
    /// How the sink stores.
    pub sink: serde_json::Value,
    /// Begun by `--fresh`: takes nothing over from earlier generations.
    pub fresh: bool,
}

impl Manifest {
    /// Reads and checks the manifest of a folder.
    ///
    /// # Errors
    /// [`ShardError::NotAShardSet`] when there is none, [`ShardError::Manifest`] when it is torn or contradicts itself.
    pub fn read(dir: &Path) -> Result<Self, ShardError> {
        let path = dir.join(layout::MANIFEST);
        let bytes = match fs_of(dir)?.read(&path, MAX_JSON_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let problem = if dir.join("part-00000.tar").exists() {
                    "it holds WebDataset tars, which carry no checksums and no manifest: read them with any tar reader"
                } else if layout::units_dir(dir).is_dir() {
                    "it has shards but no manifest yet; run the pipeline again to finish it"
                } else {
                    "there is no manifest.json"
                };
                return Err(ShardError::NotAShardSet { dir: dir.to_owned(), problem: problem.to_owned() });
            }
            Err(error) => return Err(ShardError::io("read", &path, error)),
        };
        let manifest: Self =
            ajepa_store::unseal(&bytes, FORMAT).map_err(|problem| ShardError::manifest(&path, problem))?;
        manifest.check().map_err(|problem| ShardError::manifest(&path, problem))?;
        Ok(manifest)
    }

    /// Parts in `dir` that this manifest does not name, by name: of earlier generations, or of one that is not finished. A reader
    /// that takes every `part-*.arrow` would take these too.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn parts_beside(&self, dir: &Path) -> Result<Vec<PartBeside>, ShardError> {
        let named: std::collections::HashSet<&str> = self.parts.iter().map(|part| part.file.as_str()).collect();
        let fs = fs_of(dir)?;
        let mut beside = Vec::new();
        for name in fs.list(dir).map_err(|e| ShardError::io("list", dir, e))? {
            if let Some(generation) = layout::generation_of_part(&name).filter(|_| !named.contains(name.as_str())) {
                let bytes = fs.len(&dir.join(&name)).map_err(|e| ShardError::io("look at", &dir.join(&name), e))?;
                beside.push(PartBeside { file: name, generation, bytes });
            }
        }
        Ok(beside)
    }

    /// Refuses what would make a reader trust a lie: paths out of the folder, sums that overflow, counts that do not fit.
    fn check(&self) -> Result<(), String> {
        if !self.page_bytes.is_power_of_two() || !(1 << 12..=1 << 28).contains(&self.page_bytes) {
            return Err(format!("page_bytes is {}", self.page_bytes));
        }
        for part in &self.parts {
            part.check(self.page_bytes).map_err(|problem| format!("{}: {problem}", part.file))?;
        }
        let sum = |of: fn(&PartInfo) -> u64| self.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(of(part)));
        if sum(|part| part.rows) != Some(self.rows) || sum(|part| part.bytes) != Some(self.bytes) {
            return Err("rows or bytes are not the sum over the parts".to_owned());
        }
        Ok(())
    }
}

impl PartInfo {
    /// Whether name, counts and page hashes fit together.
    pub(super) fn check(&self, page_bytes: u64) -> Result<(), String> {
        if !layout::is_part_name(&self.file) {
            return Err("this is no name of a part".to_owned());
        }
        if self.rows == 0 || self.batch_rows == 0 || self.rows > u64::from(u32::MAX) || self.batch_rows > self.rows {
            return Err(format!("{} rows in batches of {}", self.rows, self.batch_rows));
        }
        if self.pages.0.len() as u64 != self.bytes.div_ceil(page_bytes) {
            return Err(format!("{} page hashes for {} bytes", self.pages.0.len(), self.bytes));
        }
        if !self.light.0.is_empty() && self.light.0.len() as u64 != self.n_batches() + 1 {
            return Err(format!(
                "{} checksums for {} record batches and a footer",
                self.light.0.len(),
                self.n_batches()
            ));
        }
        Ok(())
    }

    /// Record batches in the part.
    pub fn n_batches(&self) -> u64 {
        self.rows.div_ceil(self.batch_rows.max(1))
    }

    /// Rows of record batch `batch`.
    pub fn rows_of_batch(&self, batch: u64) -> u64 {
        self.batch_rows.min(self.rows.saturating_sub(batch.saturating_mul(self.batch_rows)))
    }
}

impl ColumnInfo {
    /// Of an Arrow field: type, nullability and metadata, in a text that is equal when they are.
    pub fn of(field: &Field) -> Self {
        Self { name: field.name().clone(), arrow: describe(field) }
    }

    /// Of all fields of a schema.
    pub fn all(schema: &ArrowSchema) -> Vec<Self> {
        schema.fields().iter().map(|field| Self::of(field)).collect()
    }
}

fn named(field: &Field) -> String {
    format!("{}: {}", field.name(), describe(field))
}

fn describe(field: &Field) -> String {
    let kind = match field.data_type() {
        DataType::List(item) => format!("list<{}>", named(item)),
        DataType::LargeList(item) => format!("large_list<{}>", named(item)),
        DataType::FixedSizeList(item, n) => format!("fixed_size_list<{}>[{n}]", named(item)),
        DataType::Struct(fields) => {
            let inner: Vec<String> = fields.iter().map(|field| named(field)).collect();
            format!("struct<{}>", inner.join(", "))
        }
        other => format!("{other}").to_lowercase(),
    };
    let null = if field.is_nullable() { "?" } else { "" };
    let mut metadata: Vec<String> = field.metadata().iter().map(|(key, value)| format!(" {key}={value}")).collect();
    metadata.sort_unstable();
    format!("{kind}{null}{}", metadata.concat())
}
