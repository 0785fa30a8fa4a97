//! One encoder as `checkpoint export` wrote it, into a checkpoint again: its tensors have their names, and `config.json` says the rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, RealFs};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::card::{Card, FORMAT};
use super::error::ImportError;
use super::import::{Fit, List, Lists, save};
use super::source::Source;
use crate::config::Recipe;
use crate::frozen::EncoderChoice;

/// The file of an export that holds the tensors.
const TENSORS: &str = "model.safetensors";

/// The file that says what they are.
const CONFIG: &str = "config.json";

/// Its `model_type`, which tells it from the `config.json` of others.
pub const EXPORTED_TYPE: &str = "audio-jepa-encoder";

/// Longest `config.json` that is read.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// An export that was found whole, every name and shape compared; its numbers are read when it is saved.
pub struct Exported {
    path: PathBuf,
    source: Source,
    said: Said,
    config: Value,
    lists: Lists,
}

/// What of `config.json` makes a checkpoint.
#[derive(Deserialize)]
struct Said {
    encoder: EncoderChoice,
    recipe: Recipe,
    steps: u64,
    data_hash: Option<String>,
}

impl Exported {
    /// The export in the folder `path`, or whose tensors `path` are; `None` where no `config.json` says that it is one.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] for a file that is damaged or hostile; [`ImportError::Unknown`] for a `config.json` that does not say
    /// enough; [`ImportError::Mismatch`] with the names that are missing, unexpected or of another shape.
    pub fn find(path: &Path) -> Result<Option<Self>, ImportError> {
        let file = if path.is_dir() { path.join(TENSORS) } else { path.to_owned() };
        let about = file.with_file_name(CONFIG);
        let text = RealFs.read(&about, MAX_CONFIG_BYTES).unwrap_or_default();
        let Ok(config) = serde_json::from_slice::<Value>(&text) else { return Ok(None) };
        if config["model_type"] != EXPORTED_TYPE || file.extension().is_none_or(|extension| extension != "safetensors")
        {
            return Ok(None);
        }
        let said = Said::deserialize(&config).map_err(|error| ImportError::unknown(&about, error.to_string()))?;
        said.recipe.check()?;
        let source = Source::open(&file)?;
        let (depth, n_there) = (said.recipe.encoder.depth, source.described().len());
        if depth > n_there {
            // Names of blocks are made of that number: a hostile one would fill the memory.
            return Err(ImportError::unknown(
                &about,
                format!("it says {depth} blocks, and there are {n_there} tensors"),
            ));
        }
        let list = match said.encoder {
            EncoderChoice::Context => List::Context,
            EncoderChoice::Target => List::Target,
        };
        let mut fit = Fit::default();
        let names = source.described().keys().map(|name| (name.clone(), name.clone())).collect();
        let taken = fit.take(list, &names, &source, &said.recipe)?;
        fit.into_result(&file)?;
        source.check_size(taken.iter().map(|(_, theirs)| theirs.as_str()))?;
        Ok(Some(Self { path: file, source, said, config, lists: Lists::from([(list, taken)]) }))
    }

    /// What was trained.
    pub fn recipe(&self) -> &Recipe {
        &self.said.recipe
    }

    /// Steps that it was trained for.
    pub fn steps(&self) -> u64 {
        self.said.steps
    }

    /// Which encoder it is.
    pub fn encoder(&self) -> EncoderChoice {
        self.said.encoder
    }

    /// How many tensors it has.
    pub fn n_tensors(&self) -> usize {
        self.lists.values().map(Vec::len).sum()
    }

    /// All that `config.json` says.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Writes the checkpoint `dir`: the encoder, no predictor, no optimiser. `false` when there is a folder of that name already, which
    /// stays.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] for numbers that cannot be read or are not finite; nothing is left then.
    pub fn save(&self, fs: &Arc<dyn Fs>, dir: &Path, front_end: Value) -> Result<bool, ImportError> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let card = Card {
            format: FORMAT,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            steps: self.said.steps,
            seed: 0,
            recipe: self.said.recipe.clone(),
            front_end,
            data_hash: self.said.data_hash.clone(),
            place: Value::Null,
            notes: json!({ "imported": { "file": name, "layout": "of `checkpoint export`" } }),
            files: Vec::new(),
        };
        save(&self.source, &self.lists, fs, dir, card)
    }
}
