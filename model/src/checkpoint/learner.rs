//! A learner to a checkpoint and back, bit for bit.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ajepa_store::Fs;
use burn::tensor::Device;
use serde_json::Value;

use super::card::{Card, FORMAT};
use super::error::CheckpointError;
use super::read::Checkpoint;
use super::write::{FileSource, TensorSource, write};
use crate::config::Recipe;
use crate::step::Learner;

/// The file of each list of parameters but the moments, which share one.
pub(super) const FILES: [(&str, &str); 3] = [
    ("encoder", "encoder.safetensors"),
    ("target_encoder", "target.safetensors"),
    ("predictor", "predictor.safetensors"),
];
const OPTIMISER: &str = "optimiser.safetensors";

/// What a checkpoint says beside what the learner knows of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// The front end that the pictures come from; null when unknown.
    pub front_end: Value,
    /// Hash of the data's manifest.
    pub data_hash: Option<String>,
    /// Where in the data the next batch lies.
    pub place: Value,
    /// What telemetry must know to go on.
    pub notes: Value,
}

/// The file of a list, and what stands before the names in it.
fn place_of(list: &str) -> (&'static str, String) {
    match FILES.iter().find(|(name, _)| *name == list) {
        Some((_, file)) => (file, String::new()),
        None => (OPTIMISER, format!("{list}.")),
    }
}

/// The same in one checkpoint: where it has one encoder, that is both.
fn place_in(checkpoint: &Checkpoint, list: &str) -> (&'static str, String) {
    let (file, prefix) = place_of(list);
    let [(_, context), (_, target), _] = FILES;
    let other = match list {
        "encoder" => target,
        "target_encoder" => context,
        _ => return (file, prefix),
    };
    if is_imported(checkpoint) && !checkpoint.has(file) { (other, prefix) } else { (file, prefix) }
}

/// Whether it came from elsewhere, where optimisers and predictors are others.
fn is_imported(checkpoint: &Checkpoint) -> bool {
    checkpoint.card().notes.get("imported").is_some()
}

fn is_begun_anew(checkpoint: &Checkpoint, file: &str) -> bool {
    let [.., (_, predictor)] = FILES;
    is_imported(checkpoint) && !checkpoint.has(file) && [predictor, OPTIMISER].contains(&file)
}

impl Learner {
    /// Writes the whole state as the folder `dir`, at once; `false` when there is a folder of that name already, which stays.
    ///
    /// # Errors
    /// [`CheckpointError::Store`]; nothing is left then.
    pub fn save(&self, fs: &Arc<dyn Fs>, dir: &Path, about: About) -> Result<bool, CheckpointError> {
        let mut files: Vec<FileSource<'_>> = Vec::new();
        for (list, params) in self.lists() {
            let (name, prefix) = place_of(list);
            let tensors = params.specs().iter().enumerate().map(|(index, spec)| TensorSource {
                name: format!("{prefix}{}", spec.name),
                shape: spec.shape.clone(),
                numbers: Box::new(move || params.read(index)),
            });
            match files.iter_mut().find(|file| file.name == name) {
                Some(file) => file.tensors.extend(tensors),
                None => files.push(FileSource { name, tensors: tensors.collect() }),
            }
        }
        let card = Card {
            format: FORMAT,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            steps: self.steps,
            seed: self.run_seed(),
            recipe: self.model.recipe().clone(),
            front_end: about.front_end,
            data_hash: about.data_hash,
            place: about.place,
            notes: about.notes,
            files: Vec::new(),
        };
        write(fs, dir, card, &files)
    }

    /// The learner that `checkpoint` was written from, every page verified first. It goes on bit for bit as that one would
    /// have, on the same kind of device.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] naming file and bytes; [`CheckpointError::Mismatch`] for tensors of another model.
    pub fn restore(checkpoint: &Checkpoint, device: &Device) -> Result<Self, CheckpointError> {
        let card = checkpoint.card();
        Self::restore_as(checkpoint, card.recipe.clone(), card.seed, device)
    }

    /// The same numbers and steps under another recipe and seed: other schedules, another loss, another mask; sizes and positions must
    /// be the checkpoint's. A cool-down begins so.
    ///
    /// What an imported checkpoint never had begins anew: moments at 0, a predictor as drawn, and of two encoders each with the
    /// other's numbers where it has none.
    ///
    /// # Errors
    /// As [`Learner::restore`].
    pub fn restore_as(
        checkpoint: &Checkpoint,
        recipe: Recipe,
        run_seed: u64,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let (here, there) = (recipe.positions, checkpoint.card().recipe.positions);
        if here != there {
            let problem = format!("its tokens know their place by {there:?}, not by {here:?} (`positions`)");
            return Err(CheckpointError::mismatch(checkpoint.dir(), problem));
        }
        let mut learner = Self::new(recipe, run_seed, device)?;
        // Of each tensor: its name here, its file, its name there, its shape.
        let wanted: Vec<_> = learner
            .lists()
            .flat_map(|(list, params)| {
                let (file, prefix) = place_in(checkpoint, list);
                let spec = params.specs().iter();
                spec.map(move |spec| {
                    (format!("{list}.{}", spec.name), file, format!("{prefix}{}", spec.name), spec.shape.clone())
                })
            })
            .collect();
        let mut files: Vec<&str> = wanted.iter().map(|(_, file, ..)| *file).collect();
        files.dedup();
        for file in files {
            if is_begun_anew(checkpoint, file) {
                continue;
            }
            let tensors = checkpoint.tensors(file)?;
            let of_file = wanted.iter().filter(|(_, of, ..)| *of == file);
            let n_there = tensors.names()?.len();
            // Two lists may be read from one file.
            let n_wanted = of_file.clone().map(|(.., there, _)| there).collect::<BTreeSet<_>>().len();
            if n_there != n_wanted {
                let problem = format!("it has {n_there} tensors, the recipe of its checkpoint {n_wanted}");
                return Err(CheckpointError::mismatch(&checkpoint.dir().join(file), problem));
            }
            for (name, _, there, shape) in of_file {
                learner.write(name, &tensors.numbers(there, shape)?)?;
            }
        }
        learner.steps = checkpoint.card().steps;
        Ok(learner)
    }
}
