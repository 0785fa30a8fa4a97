//! Embeddings of a split: made by a graph and kept in a file, or made elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_model::checkpoint::Checkpoint;
use ajepa_model::{DeviceChoice, EncoderChoice};
use ajepa_store::{RealFs, commit_bytes};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type};
use parquet::arrow::ArrowWriter;

use super::protocol::{Kind, Mode, Protocol};
use super::task::{Role, Split, Task, parted};
use crate::corpus::read_table;
use crate::embed::{EmbedGraph, ReplayError, Rows, digest, embed_graph};
use crate::plan::Graph;
use crate::stage::BuildError;
use crate::stages::Registry;
use crate::stages::pad_together::PadTogetherConfig;
use crate::stages::sink_embeddings::read_about;

/// What is between letters of a file's hash and its clips: another layout is another file.
const LAYOUT: &[u8] = b"1";

/// Vectors of the clips, or crops, or frames of a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    /// Whose they are, a name a row.
    pub ids: Vec<String>,
    /// Numbers in one.
    pub width: usize,
    /// All of them, row by row.
    pub values: Vec<f32>,
    /// Labels of the clips, row by row.
    pub labels: Vec<Vec<String>>,
    /// Seconds from one frame to the next, where rows are frames.
    pub hop_s: Option<f64>,
}

impl Vectors {
    /// Rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A split with its vectors.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its vectors.
    pub vectors: Vectors,
}

/// How the clips of tasks are encoded by a checkpoint.
#[derive(Debug)]
pub struct Encoding<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Which of its encoders.
    pub encoder: EncoderChoice,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Whose rules.
    pub mode: Mode,
    /// Clips that are filled up together, where it is not the protocol's to say.
    pub together: Option<usize>,
    /// The folder of what is kept.
    pub cache: &'a Path,
}

impl Encoding<'_> {
    fn together(&self, protocol: &Protocol) -> PadTogetherConfig {
        let (clips, rate_hz) = match self.mode {
            Mode::Xares => (self.together.unwrap_or(protocol.encode_clips), self.rate_hz()),
            Mode::Clean => (1, None),
        };
        PadTogetherConfig { clips, crop_seconds: protocol.crop_s, rate_hz }
    }

    /// The rate that the checkpoint hears at, where it resamples.
    fn rate_hz(&self) -> Option<u32> {
        let stages = self.checkpoint.card().front_end["stages"].as_array()?;
        let resample = stages.iter().find(|stage| stage["type"] == "resample")?;
        resample["config"]["rate_hz"].as_u64().and_then(|rate_hz| u32::try_from(rate_hz).ok())
    }

    /// Where the embeddings of a split are kept: named after the encoder's numbers, the clips and what is done to them.
    pub fn file(&self, task: &Task, split: &Split) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        let card = self.checkpoint.card();
        let how = serde_json::json!([self.together(&task.protocol), self.encoder, is_framed(task), card.front_end]);
        hasher.update(LAYOUT).update(how.to_string().as_bytes()).update(&split.bytes.to_le_bytes());
        let texts =
            ["clip_id", "path", "member", "start", "start_s", "offset_s", "end", "end_s", "duration_s", "labels"];
        for column in texts.iter().filter_map(|name| split.clips.column_by_name(name)) {
            hash(&mut hasher, column);
        }
        let key = hasher.finalize().to_hex();
        let folder = format!("{}-{}", task.name, &digest(card)[..12]);
        self.cache.join(folder).join(format!("{}-{}.parquet", split.name, &key[..12]))
    }

    /// The graph that makes that file; `None` where it is there.
    ///
    /// # Errors
    /// [`EncodingError`].
    pub fn graph(&self, task: &Task, split: &Split, registry: &Registry) -> Result<Option<Graph>, EncodingError> {
        let out = self.file(task, split);
        if out.exists() {
            return Ok(None);
        }
        let table = out.with_extension("clips.parquet");
        write(&table, &split.clips)?;
        let wanted = EmbedGraph {
            audio: vec![table],
            out,
            encoder: Some(self.encoder),
            rows: if is_framed(task) { Rows::Frames } else { Rows::Clips },
            hop_s: None,
            device: self.device,
            together: Some(self.together(&task.protocol)),
        };
        Ok(Some(embed_graph(self.checkpoint, &wanted, registry)?))
    }
}

fn is_framed(task: &Task) -> bool {
    matches!(task.protocol.kind, Some(Kind::Frames { .. }))
}

/// Why a split cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodingError {
    /// The checkpoint does not say how.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A file cannot be written or read.
    #[error("{}", .0.problem)]
    File(BuildError),
}

fn hash(hasher: &mut blake3::Hasher, column: &ArrayRef) {
    hasher.update(&(column.len() as u64).to_le_bytes());
    for row in 0..column.len() {
        let text = arrow::util::display::array_value_to_string(column, row).unwrap_or_default();
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
}

/// Writes a table, whole or not at all.
fn write(path: &Path, rows: &RecordBatch) -> Result<(), EncodingError> {
    let fault = |error: &dyn std::fmt::Display| {
        let help = "name another folder by --cache";
        EncodingError::File(BuildError::new(format!("writing {}: {error}", path.display()), help))
    };
    let mut bytes = Vec::new();
    let written = ArrowWriter::try_new(&mut bytes, rows.schema(), None).and_then(|mut writer| {
        writer.write(rows)?;
        writer.close()
    });
    written.map_err(|error| fault(&error))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| fault(&error))?;
    let fs: Arc<dyn ajepa_store::Fs> = Arc::new(RealFs);
    commit_bytes(&fs, path.to_owned(), &bytes).map_err(|error| fault(&error))
}

/// The embeddings in a file: Parquet, or .npy with a table beside it.
///
/// # Errors
/// [`BuildError`] for a file that is not such.
pub fn read(path: &Path) -> Result<Vectors, BuildError> {
    let table = table_of(path)?;
    let shown = path.display().to_string();
    let about = read_about(path).ok().flatten();
    Ok(Vectors { hop_s: about.and_then(|about| about.hop_s), ..vectors(&shown, &table)? })
}

/// Embeddings that were made elsewhere, split by split.
///
/// # Errors
/// As [`read`], and for a file without splits.
pub fn read_parted(path: &Path) -> Result<Vec<Encoded>, BuildError> {
    let shown = path.display().to_string();
    let parts = parted(&shown, &table_of(path)?)?;
    let encoded = |(name, role, rows): (String, Role, RecordBatch)| {
        vectors(&shown, &rows).map(|vectors| Encoded { name, role, vectors })
    };
    parts.into_iter().map(encoded).collect()
}

fn table_of(path: &Path) -> Result<RecordBatch, BuildError> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        super::npy::read(path)
    } else {
        read_table(path)
    }
}

fn vectors(shown: &str, table: &RecordBatch) -> Result<Vectors, BuildError> {
    let help = "a file of embeddings has the columns clip_id, embedding (lists of one length), labels or label, and split or fold";
    let fault = |problem: &str| BuildError::new(format!("{shown}: {problem}"), help);
    let column = |name: &str| table.column_by_name(name);
    let embedding = column("embedding").ok_or_else(|| fault("there is no column `embedding`"))?;
    let (width, values) =
        numbers(embedding).ok_or_else(|| fault("its column `embedding` holds no lists of one length"))?;
    let ids: Vec<String> = match column("clip_id").map(|ids| cast(ids, &DataType::Utf8)) {
        Some(Ok(ids)) => ids.as_string::<i32>().iter().map(|id| id.unwrap_or_default().to_owned()).collect(),
        _ => (0..table.num_rows()).map(|row| row.to_string()).collect(),
    };
    let labels = column("labels")
        .or_else(|| column("label"))
        .ok_or_else(|| fault("there is no column `labels` and none `label`"))?;
    let labels = texts(labels).ok_or_else(|| fault("its labels are neither texts nor lists of texts"))?;
    Ok(Vectors { ids, width, values, labels, hop_s: None })
}

/// The numbers of a column of lists of one length, and that length.
fn numbers(column: &ArrayRef) -> Option<(usize, Vec<f32>)> {
    let n_rows = column.len();
    let values = match column.data_type() {
        DataType::FixedSizeList(_, width) => {
            let width = *width as usize;
            let lists = column.as_fixed_size_list();
            lists.values().slice(lists.value_offset(0) as usize, n_rows * width)
        }
        DataType::List(item) | DataType::LargeList(item) => {
            let large =
                cast(column, &DataType::LargeList(Arc::new(Field::new("item", item.data_type().clone(), true))))
                    .ok()?;
            let lists = large.as_list::<i64>();
            let offsets = lists.value_offsets();
            let width = offsets.get(1)? - offsets.first()?;
            if offsets.windows(2).any(|pair| pair[1] - pair[0] != width) {
                return None;
            }
            lists.values().slice(offsets[0] as usize, n_rows * width as usize)
        }
        _ => return None,
    };
    let values = cast(&values, &DataType::Float32).ok().filter(|values| values.null_count() == 0)?;
    let width = values.len().checked_div(n_rows).unwrap_or(0);
    Some((width, values.as_primitive::<Float32Type>().values().to_vec()))
}

/// Labels row by row: lists of texts, or texts with `;` between labels.
fn texts(column: &ArrayRef) -> Option<Vec<Vec<String>>> {
    let lists = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    if column.data_type().is_nested() {
        let column = cast(column, &lists).ok()?;
        let row = |list: Option<ArrayRef>| -> Vec<String> {
            list.map_or_else(Vec::new, |list| list.as_string::<i32>().iter().flatten().map(str::to_owned).collect())
        };
        return Some(column.as_list::<i32>().iter().map(row).collect());
    }
    let column = cast(column, &DataType::Utf8).ok()?;
    let row = |text: Option<&str>| -> Vec<String> {
        text.into_iter().flat_map(|text| text.split(';')).filter(|label| !label.is_empty()).map(str::to_owned).collect()
    };
    Some(column.as_string::<i32>().iter().map(row).collect())
}
