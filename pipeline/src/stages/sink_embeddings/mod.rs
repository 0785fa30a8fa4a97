//! `sink_embeddings`: embeddings of a whole run as one file.

mod about;
mod file;
mod npy;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, RealFs, StoreError, sweep};
use arrow::array::RecordBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{ColumnType, Dtype, Schema, TensorType};
use crate::shard::write_rejects;
use crate::stage::{
    BuildCx, BuildError, PlanError, Reject, RunInfo, Sink, SinkReport, Stage, StageConfig, StageError, StagePlan,
    UnitTally,
};
use file::EmbeddingsFile;
use rows::Collected;

pub use about::{About, read as read_about};

/// Writes embeddings to one file, a row per clip, window or frame: Parquet (columns `clip_id`, `source`, `offset_s`,
/// `duration_s`, `labels`, those of a manifest, and `embedding`, a fixed-size list of f32), or .npy with a .csv of
/// the other columns and a .json beside it.
///
/// All or nothing: the file is there once the run is complete, and a run that was stopped begins again. A file that is there
/// is never replaced; running the same graph again finds it and has nothing to do. Clips that cannot be used are in
/// `NAME.rejects.parquet` beside it. For a corpus that takes days, `sink_shards` keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkEmbeddingsConfig {
    /// The file: .parquet or .npy.
    pub path: PathBuf,
    /// What a row is: `window`, as rows arrive; `clip`, the mean over all frames of a clip's windows that hold sound, layer by layer where
    /// `encoder` gives `layers`; `frame`, each such frame with its own time (needs `encoder` to give `frames`). Default: window.
    #[serde(default)]
    pub rows: RowsOf,
    /// The tensor column to write. Default: embedding.
    #[serde(default = "embedding")]
    pub column: String,
}

/// What a row of a file of embeddings is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowsOf {
    /// A window, as it arrives.
    #[default]
    Window,
    /// A clip.
    Clip,
    /// A frame of tokens.
    Frame,
}

/// Whether a row that arrives is a vector per frame, and not one of whatever axes.
fn has_frames(tensor: &TensorType) -> bool {
    tensor.axes.first().is_some_and(|axis| axis == "frames")
}

fn embedding() -> String {
    "embedding".to_owned()
}

/// The form of a file, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Parquet,
    Npy,
}

impl Form {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "npy" => Some(Self::Npy),
            _ => None,
        }
    }
}

impl SinkEmbeddingsConfig {
    /// The column's type as it arrives.
    fn tensor<'a>(&self, input: &'a Schema) -> Result<&'a TensorType, PlanError> {
        input.tensor(&self.column).ok_or_else(|| {
            let help = format!("put `encoder` before it, or name a tensor of {input}");
            PlanError::field("column", format!("no tensor {:?} arrives", self.column), help)
        })
    }

    fn fits(&self, tensor: &TensorType) -> Result<(), PlanError> {
        let axes: Vec<&str> = tensor.axes.iter().map(String::as_str).collect();
        match (self.rows, &axes[..]) {
            (RowsOf::Window, _) | (RowsOf::Clip, [_] | ["frames" | "layers", _]) => Ok(()),
            (RowsOf::Frame, ["frames", _]) if about::hop_s(tensor).is_some() => Ok(()),
            (RowsOf::Clip, _) => Err(PlanError::field(
                "rows",
                format!("{tensor} has no mean over a clip"),
                "let `encoder` give clip, layers or frames",
            )),
            (RowsOf::Frame, ["frames", _]) => Err(PlanError::field(
                "rows",
                "the time of a frame is not known: the front end of its picture is not",
                "let a graph make the picture, or take `rows: window`",
            )),
            (RowsOf::Frame, _) => {
                Err(PlanError::field("rows", format!("{tensor} has no frames"), "let `encoder` give `output: frames`"))
            }
        }
    }
}

impl StageConfig for SinkEmbeddingsConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let input = super::checks::one_input(inputs)?;
        self.validate()?;
        self.fits(self.tensor(input)?)?;
        if input.get("clip_id").is_none() {
            return Err(PlanError::new("rows without a clip_id are nobody's", format!("what comes in: {input}")));
        }
        let mut stored = Schema { columns: Vec::new(), extra: input.extra };
        for column in &input.columns {
            match &column.kind {
                ColumnType::Tensor(tensor) if column.name == self.column => {
                    let tensor = TensorType { dtype: Dtype::F32, ..tensor.clone() };
                    stored = stored.with(&column.name, ColumnType::Tensor(tensor));
                }
                ColumnType::Plain(kind) => stored = stored.with(&column.name, ColumnType::Plain(kind.clone())),
                _ => {}
            }
        }
        Ok(StagePlan::sink(stored))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if Form::of(&self.path).is_some() {
            return Ok(());
        }
        let problem = format!("{:?} is neither .parquet nor .npy", self.path.display().to_string());
        Err(PlanError::field("path", problem, "name a file such as out/embeddings.parquet"))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        if self.path.is_dir() {
            let problem = format!("{} is a folder, and a file is to be written there", self.path.display());
            return Err(BuildError::new(problem, "name a file in it, such as embeddings.parquet"));
        }
        let tensor = self.tensor(cx.output)?.clone();
        Ok(Stage::Sink(Box::new(SinkEmbeddings::new(self.clone(), tensor, Arc::new(RealFs)))))
    }

    fn is_whole(&self) -> bool {
        true
    }
}

/// The sink itself.
struct SinkEmbeddings {
    config: SinkEmbeddingsConfig,
    tensor: TensorType,
    fs: Arc<dyn Fs>,
    about: About,
    collected: Collected,
    file: Option<EmbeddingsFile>,
    rejects: Vec<Reject>,
    quarantine: bool,
    done: Option<(About, u64)>,
}

fn failed(error: StoreError) -> StageError {
    let help = StoreError::help(&error.source, "nothing was written");
    StageError::Io { what: format!("{}{help}", error.what), source: error.source }
}

impl SinkEmbeddings {
    fn new(config: SinkEmbeddingsConfig, tensor: TensorType, fs: Arc<dyn Fs>) -> Self {
        Self {
            collected: Collected::new(&config, &tensor),
            about: About::new(&config, &tensor),
            config,
            tensor,
            fs,
            file: None,
            rejects: Vec::new(),
            quarantine: false,
            done: None,
        }
    }

    fn put(&mut self, rows: &RecordBatch) -> Result<(), StageError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut file = if let Some(file) = self.file.take() {
            file
        } else {
            let shape = self.collected.shape(&self.tensor);
            EmbeddingsFile::create(&self.fs, &self.config.path, rows.schema(), &shape)?
        };
        file.write(rows)?;
        self.file = Some(file);
        self.about.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// What is there under the name, of the same graph over the same audio.
    fn there(&self) -> Option<About> {
        read_about(&self.config.path).ok().flatten().filter(|there| there.is_of(&self.about))
    }

    /// The size of what another process made while this one did: the same file, where it is of the same graph and audio.
    fn made_meanwhile(&self) -> Result<u64, StageError> {
        let path = &self.config.path;
        if self.there().is_some() {
            return Ok(self.fs.len(path).unwrap_or_default());
        }
        let why = "was made by another process meanwhile, from another graph or other audio: it stays as it is";
        Err(StageError::Other(format!("{} {why}", path.display())))
    }

    fn write_rejects(&self) -> Result<(), StageError> {
        let path = self.config.path.with_extension("rejects.parquet");
        if !self.quarantine {
            return Ok(());
        }
        if self.rejects.is_empty() {
            // One of a run before this one that came to nothing would be taken for this one's.
            let _ = self.fs.remove(&path);
            return Ok(());
        }
        let rejects: Vec<&Reject> = self.rejects.iter().collect();
        write_rejects(&self.fs, path, &rejects).map_err(|error| StageError::Other(error.to_string()))
    }
}

impl Sink for SinkEmbeddings {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        let path = &self.config.path;
        let shown = path.display();
        if !run.mine.iter().all(|mine| *mine) {
            let help = "write shards from the parts (`sink_shards`), or run it whole";
            return Err(StageError::Other(format!("{shown} is one file, which parts cannot share: {help}")));
        }
        self.quarantine = run.quarantine;
        self.about.of_run(run);
        if path.exists() {
            if let Some(there) = self.there().filter(|_| !run.fresh) {
                self.done = Some((there, self.fs.len(path).unwrap_or_default()));
                return Ok(vec![true; run.units.len()]);
            }
            let why = if run.fresh { "already" } else { "already, from another graph or other audio" };
            return Err(StageError::Other(format!("{shown} is there {why}: move it away, or name another file")));
        }
        let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
        self.fs.create_dir_all(dir).map_err(|error| failed(StoreError::io("create", dir, error)))?;
        sweep(self.fs.as_ref(), dir);
        Ok(vec![false; run.units.len()])
    }

    fn write(&mut self, _unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        match self.collected.push(&rows)? {
            Some(rows) => self.put(&rows),
            None => Ok(()),
        }
    }

    fn end_unit(&mut self, _unit: usize, tally: UnitTally) -> Result<(), StageError> {
        if let Some(rows) = self.collected.end_unit(&tally)? {
            self.put(&rows)?;
        }
        self.about.clips += tally.clips;
        self.rejects.extend(tally.rejects);
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        let path = Some(self.config.path.clone());
        if let Some((about, bytes)) = self.done.take() {
            let (rows, rejects) = (about.rows, about.rejects);
            return Ok(SinkReport { path, rows, bytes, rejects, complete: true, ..SinkReport::default() });
        }
        self.write_rejects()?;
        let Some(file) = self.file.take() else {
            let first = self.rejects.first();
            let first =
                first.map_or_else(String::new, |r| format!("; the first: {}: {}: {}", r.source, r.reason, r.detail));
            return Err(StageError::Other(format!("there is nothing to write: no clip gave a row{first}")));
        };
        self.about.rejects = self.rejects.len() as u64;
        let bytes = match file.commit(&self.about)? {
            Some(bytes) => bytes,
            None => self.made_meanwhile()?,
        };
        let (rows, rejects) = (self.about.rows, self.about.rejects);
        Ok(SinkReport { path, rows, bytes, rejects, complete: true, ..SinkReport::default() })
    }
}
