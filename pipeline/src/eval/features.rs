//! Embeddings of a task's clips: made by a graph, and kept in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_model::checkpoint::Checkpoint;
use ajepa_model::{DeviceChoice, EncoderChoice};
use ajepa_store::{RealFs, commit_bytes};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::protocol::{Mode, Protocol};
use super::task::{Split, Task};
use crate::embed::{EmbedGraph, ReplayError, Rows, digest, embed_graph};
use crate::plan::Graph;
use crate::stage::BuildError;
use crate::stages::Registry;
use crate::stages::pad_together::PadTogetherConfig;

/// What is between letters of a file's hash and its clips: another layout is another file.
const LAYOUT: &[u8] = b"2";

/// In which form a task's clips are embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What the task asks about: a vector a clip, or one a frame.
    Usual,
    /// A vector a frame.
    Frames,
    /// A vector a layer of the encoder.
    Layers,
}

impl Form {
    /// What is embedded of clips: `frames of `.
    pub fn words(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Frames => "frames of ",
            Self::Layers => "layers of ",
        }
    }
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
    /// Probes that X-ARES has not are given no silence that fills up clips to others' lengths, whatever the mode.
    fn together(&self, protocol: &Protocol, form: Form) -> PadTogetherConfig {
        let (clips, rate_hz) = match (self.mode, form) {
            (Mode::Xares, Form::Usual) => (self.together.unwrap_or(protocol.encode_clips), self.rate_hz()),
            (Mode::Xares, _) => (1, self.rate_hz()),
            (Mode::Clean, _) => (1, None),
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
    pub fn file(&self, task: &Task, split: &Split, form: Form) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        let card = self.checkpoint.card();
        let how =
            serde_json::json!([self.together(&task.protocol, form), self.encoder, rows(task, form), card.front_end]);
        hasher.update(LAYOUT).update(how.to_string().as_bytes()).update(&split.key);
        let key = hasher.finalize().to_hex();
        let folder = format!("{}-{}", task.name, &digest(card)[..12]);
        self.cache.join(folder).join(format!("{}-{}.parquet", split.name, &key[..12]))
    }

    /// The graph that makes that file; `None` where it is there.
    ///
    /// # Errors
    /// [`EncodingError`].
    pub fn graph(
        &self,
        task: &Task,
        split: &Split,
        form: Form,
        registry: &Registry,
    ) -> Result<Option<Graph>, EncodingError> {
        let out = self.file(task, split, form);
        if out.exists() {
            return Ok(None);
        }
        let table = out.with_extension("clips.parquet");
        write(&table, &split.clips)?;
        let wanted = EmbedGraph {
            audio: vec![table],
            out,
            encoder: Some(self.encoder),
            rows: rows(task, form),
            hop_s: None,
            device: self.device,
            together: Some(self.together(&task.protocol, form)),
        };
        Ok(Some(embed_graph(self.checkpoint, &wanted, registry)?))
    }
}

fn rows(task: &Task, form: Form) -> Rows {
    match form {
        Form::Layers => Rows::Layers,
        Form::Usual if !task.protocol.asks_frames() => Rows::Clips,
        Form::Usual | Form::Frames => Rows::Frames,
    }
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
