//! What a file of embeddings says of itself: in the footer of a Parquet file, in the JSON beside an .npy.

use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RowsOf, SinkEmbeddingsConfig};
use crate::corpus::footer_text;
use crate::schema::TensorType;
use crate::stage::RunInfo;

/// Key of the JSON in a Parquet file's footer.
pub const KEY: &str = "ajepa.embeddings";

/// Version of the layout.
const FORMAT: u32 = 1;

/// What a file of embeddings says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of this layout.
    pub format: u32,
    /// Version of the program.
    pub program: String,
    /// What a row is.
    pub rows_of: RowsOf,
    /// Lengths of one row's numbers, outermost first.
    pub shape: Vec<usize>,
    /// A name per axis.
    pub axes: Vec<String>,
    /// Seconds from one frame of a window to the next, where they are known.
    pub hop_s: Option<f64>,
    /// Seconds of sound that fill a window, where they are known.
    pub window_s: Option<f64>,
    /// The encoder, as its stage's config has it, and the pictures it was given.
    pub made_by: Value,
    /// Rows in the file.
    pub rows: u64,
    /// Clips that the sources gave.
    pub clips: u64,
    /// Clips that could not be used.
    pub rejects: u64,
    /// Hash of everything upstream that decides content.
    pub fingerprint: String,
    /// Hash of the keys of all units: which audio, of which size and time.
    pub inputs: String,
    /// What the fingerprint was taken over.
    pub graph: Value,
}

/// Seconds from one frame of a window to the next, where the column's maker says them.
pub fn hop_s(tensor: &TensorType) -> Option<f64> {
    tensor.front_end.get("hop_s").and_then(Value::as_f64)
}

impl About {
    pub(super) fn new(config: &SinkEmbeddingsConfig, tensor: &TensorType) -> Self {
        let inner = usize::from(config.rows != RowsOf::Window && super::has_frames(tensor));
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            rows_of: config.rows,
            shape: tensor.shape[inner..].to_vec(),
            axes: tensor.axes[inner..].to_vec(),
            hop_s: hop_s(tensor),
            window_s: tensor.front_end.get("window_s").and_then(Value::as_f64),
            made_by: tensor.front_end.clone(),
            rows: 0,
            clips: 0,
            rejects: 0,
            fingerprint: String::new(),
            inputs: String::new(),
            graph: Value::Null,
        }
    }

    pub(super) fn of_run(&mut self, run: &RunInfo) {
        let mut hasher = blake3::Hasher::new();
        run.units.iter().for_each(|unit| {
            hasher.update(&unit.key);
        });
        self.inputs = hasher.finalize().to_hex().to_string();
        self.fingerprint.clone_from(&run.fingerprint);
        self.graph.clone_from(&run.graph);
    }

    /// Whether both say that they are of the same graph over the same audio.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        (&self.fingerprint, &self.inputs, self.format) == (&other.fingerprint, &other.inputs, other.format)
    }
}

/// What the file at `path` says of itself; `None` for one that says nothing of the kind.
///
/// # Errors
/// In words, for a file that cannot be read.
pub fn read(path: &Path) -> Result<Option<About>, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    if super::Form::of(path) == Some(super::Form::Npy) {
        let json = path.with_extension("json");
        let text = std::fs::read(&json).map_err(|error| format!("{}: {error}", json.display()))?;
        return Ok(serde_json::from_slice(&text).ok());
    }
    let file = File::open(path).map_err(|error| fault(&error))?;
    let found = footer_text(file, KEY).map_err(|error| fault(&error))?;
    Ok(found.and_then(|text| serde_json::from_str(&text).ok()))
}
