//! `checkpoint`: what one is, where two differ, one of PyTorch's, and one encoder for other programs.

mod diff;
mod export;
mod import;
mod show;

use std::path::Path;

use ajepa_model::checkpoint::{CARD, Checkpoint, CheckpointError};
use ajepa_model::train::{RUN, RunFolder, find_checkpoint};
use serde_json::Value;

use super::fail;
use crate::cli::args::{CheckpointArgs, CheckpointVerb, ShowArgs};
use crate::cli::exit::Exit;
use crate::stages::Registry;
use crate::stages::sink_train::DATA;

/// Does what is asked.
pub fn checkpoint(args: &CheckpointArgs, registry: &Registry) -> Exit {
    match &args.verb {
        CheckpointVerb::Show(args) => show::show(args),
        CheckpointVerb::Diff(args) => diff::diff(args),
        CheckpointVerb::Import(args) => import::import(args, registry),
        CheckpointVerb::Export(args) => export::export(args),
    }
}

/// `inspect` of a checkpoint; `None` for what is none.
pub fn inspect(path: &Path) -> Option<Exit> {
    let args = ShowArgs { path: path.to_owned(), json: false, verify: false };
    is_one(path).then(|| show::show(&args))
}

/// `verify` of a checkpoint, or of all of a run's; `None` for what is neither.
pub fn verify(path: &Path) -> Option<Exit> {
    if path.join(CARD).exists() {
        return Some(verify_one(path));
    }
    if !path.join(RUN).exists() {
        return None;
    }
    let folder = RunFolder::new(path);
    let steps = match folder.checkpoints() {
        Ok(steps) => steps,
        Err(error) => return Some(fail(error)),
    };
    let ends: Vec<Exit> = steps.iter().map(|&step| verify_one(&folder.checkpoint(step))).collect();
    let data = path.join(DATA);
    if data.exists() {
        eprintln!("the pictures have checksums of their own: ajepa-pipe verify {}", data.display());
    }
    Some(ends.into_iter().find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done))
}

fn verify_one(path: &Path) -> Exit {
    match open(path) {
        Ok(checkpoint) => show::verify(&checkpoint),
        Err(exit) => exit,
    }
}

/// Whether it is a checkpoint, or the folder of a training.
fn is_one(path: &Path) -> bool {
    path.join(CARD).exists() || path.join(RUN).exists()
}

/// The checkpoint at `path`; why there is none is on stderr.
pub(super) fn open(path: &Path) -> Result<Checkpoint, Exit> {
    find_checkpoint(path).map_err(|error| {
        let help = match &error {
            CheckpointError::NotACheckpoint { .. } if path.join("model.safetensors").exists() => {
                "`ajepa-pipe checkpoint import` makes a checkpoint of what `checkpoint export` wrote"
            }
            CheckpointError::Damaged { .. } => {
                "what is damaged cannot be mended: take another checkpoint of the run, or a copy"
            }
            _ => "name the folder of a run or of a checkpoint",
        };
        let exit = fail(error);
        eprintln!("  help: {help}");
        exit
    })
}

/// Every value that differs between two documents, by its path.
fn differences<'a>(key: &str, one: &'a Value, other: &'a Value, found: &mut Vec<(String, &'a Value, &'a Value)>) {
    match (one, other) {
        (one, other) if one == other => {}
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                differences(&inner, a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null), found);
            }
        }
        _ => found.push((key.to_owned(), one, other)),
    }
}
