//! From a checkpoint's front end to a graph that embeds new audio: its own stages, over windows as long as a training picture.

use std::path::PathBuf;

use ajepa_model::checkpoint::Checkpoint;
use ajepa_model::{DeviceChoice, EncoderChoice};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::digest;
use crate::config::{ConfigErrors, load_str};
use crate::front_end::FrontEnd;
use crate::plan::Graph;
use crate::stages::Registry;
use crate::stages::pad_together::PadTogetherConfig;

/// Stages that make the sound or the picture what it is, one clip in and one clip out.
const KEPT: [&str; 6] = ["decode", "downmix", "resample", "normalize", "log_mel", "standardize"];

/// Stages that only training has: they choose, order, vary or cut clips.
const DROPPED: [&str; 10] =
    ["crop", "trim_silence", "gain", "mix_noise", "filter", "shuffle", "batch", "mask", "sink_shards", "sink_train"];

/// Merges of clips from several places.
const MERGES: [&str; 3] = ["interleave", "concat", "mix"];

/// Stages that need no whole clip: windows are cut behind them.
const STREAMING: [&str; 3] = ["decode", "downmix", "resample"];

/// Clips of a unit: what is held together where rows are clips.
const CLIPS_PER_UNIT: u64 = 256;

/// The same where what is filled up together is told by the order of all clips.
const ALL_CLIPS: u64 = 1_000_000;

/// What a file of embeddings is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// A vector per clip.
    #[default]
    Clips,
    /// A vector per clip and layer of the encoder, a row per clip.
    Layers,
    /// A vector per window.
    Windows,
    /// A vector per frame of tokens.
    Frames,
    /// All tokens of a window, a row per window.
    Tokens,
}

/// What to embed, and how.
#[derive(Debug, Clone)]
pub struct EmbedGraph {
    /// Audio files, folders and tables.
    pub audio: Vec<PathBuf>,
    /// The file to write.
    pub out: PathBuf,
    /// Which encoder; the moving average where there is one when `None`.
    pub encoder: Option<EncoderChoice>,
    /// What a row is.
    pub rows: Rows,
    /// Seconds from the start of one window to the start of the next; a window's length when `None`.
    pub hop_s: Option<f64>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Clips that are cut and filled up together before they are cut into windows; as they are when `None`.
    pub together: Option<PadTogetherConfig>,
}

/// Why a checkpoint's front end cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The checkpoint does not say enough.
    #[error("{}: {problem}", checkpoint.display())]
    Unknown {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// What is not known, and what to do.
        problem: String,
    },
    /// The graph that came of it does not fit together.
    #[error("{0}")]
    Config(ConfigErrors),
}

/// The graph that embeds audio as `checkpoint` was trained to hear it.
///
/// Its stages are those that made the training pictures, without what varies or chooses clips; before the first that needs a
/// whole clip, the sound is cut into windows as long as a training picture, one after another, the last filled up with silence.
///
/// # Errors
/// [`ReplayError`] for a checkpoint that does not say what made its pictures.
pub fn embed_graph(checkpoint: &Checkpoint, wanted: &EmbedGraph, registry: &Registry) -> Result<Graph, ReplayError> {
    let card = checkpoint.card();
    let unknown = |problem: String| ReplayError::Unknown { checkpoint: checkpoint.dir().to_owned(), problem };
    let front_end = serde_json::from_value::<FrontEnd>(card.front_end.clone()).map_err(|_| {
        unknown(
            "it does not say what made its pictures; end a graph of your own in `encoder` and `sink_embeddings`".into(),
        )
    })?;
    let (stages, crop_s) = chain(&front_end).map_err(unknown)?;
    let picture_s =
        picture_s(&front_end).ok_or_else(|| unknown("the length of its pictures is not known".to_owned()))?;
    let window_s = crop_s.map_or(picture_s, |crop_s| crop_s.min(picture_s));
    let at = stages.iter().position(|stage| !STREAMING.contains(&type_of(stage))).unwrap_or(stages.len());
    let mut all = vec![json!({ "type": "source_files", "paths": wanted.audio })];
    let resamples = wanted.together.as_ref().is_some_and(|together| together.rate_hz.is_some());
    let before = stages[..at].iter().filter(|stage| !(resamples && type_of(stage) == "resample"));
    all.extend(before.map(as_written));
    if let Some(together) = &wanted.together {
        let mut stage = serde_json::to_value(together).unwrap_or_default();
        stage["type"] = json!("pad_together");
        all.push(stage);
    }
    all.push(json!({
        "id": "windows", "type": "crop", "seconds": window_s, "position": "sliding", "hop_seconds": wanted.hop_s,
    }));
    all.extend(stages[at..].iter().map(as_written));
    let (output, rows) = match wanted.rows {
        Rows::Clips => ("frames", "clip"),
        Rows::Layers => ("layers", "clip"),
        Rows::Windows => ("clip", "window"),
        Rows::Frames => ("frames", "frame"),
        Rows::Tokens => ("tokens", "window"),
    };
    let mut encoder = json!({
        "type": "encoder", "checkpoint": checkpoint.dir(), "width": card.recipe.encoder.width, "patch": card.recipe.patch,
        "encoder": wanted.encoder.unwrap_or_else(|| EncoderChoice::usual(checkpoint)), "output": output,
        "digest": digest(card), "device": wanted.device,
    });
    if wanted.rows == Rows::Layers {
        encoder["depth"] = json!(card.recipe.encoder.depth);
    }
    all.push(encoder);
    all.push(json!({ "type": "sink_embeddings", "path": wanted.out, "rows": rows }));
    let fills_up = wanted.together.as_ref().is_some_and(|together| together.clips > 1);
    let document = json!({
        "pipeline": "embed",
        "stages": all,
        "on_error": { "policy": "quarantine", "max_fraction": 1.0 },
        "resources": { "clips_per_shard": if fills_up { ALL_CLIPS } else { CLIPS_PER_UNIT } },
    });
    // JSON is YAML: the graph is read, proven and told of as one that somebody wrote.
    load_str("embed", &format!("{document:#}"), &[], registry).map_err(ReplayError::Config)
}

/// Seconds of sound that a training picture holds.
fn picture_s(front_end: &FrontEnd) -> Option<f64> {
    let frames = front_end.tensor.axes.iter().position(|axis| axis == "frames")?;
    Some(front_end.frame_s()? * *front_end.tensor.shape.get(frames)? as f64)
}

fn type_of(stage: &Value) -> &str {
    stage.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// `{ id, type, from, config }` as a stage is written in a graph.
fn as_written(stage: &Value) -> Value {
    let mut fields = serde_json::Map::from_iter([("type".to_owned(), json!(type_of(stage)))]);
    let config = stage.get("config").and_then(Value::as_object);
    fields.extend(
        config.into_iter().flatten().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())),
    );
    Value::Object(fields)
}

/// The stages that make a picture of a decoded clip, in order; why they are not known is said in words.
///
/// # Errors
/// What of the front end cannot be replayed.
pub fn picture_stages(front_end: &FrontEnd) -> Result<Vec<Value>, String> {
    let (mut stages, _) = chain(front_end)?;
    stages.retain(|stage| !["decode", "downmix"].contains(&type_of(stage)));
    Ok(stages)
}

/// The stages to replay, in order, and the seconds that a crop left of a clip.
fn chain(front_end: &FrontEnd) -> Result<(Vec<Value>, Option<f64>), String> {
    let last = front_end.stages.last().ok_or("it does not say which stages made its pictures")?;
    if !front_end.tensor.axes.iter().any(|axis| axis == "frames") {
        return Err(format!("its column {} is no picture but {:?}", front_end.tensor.column, front_end.tensor.axes));
    }
    let mut chain = upwards(&front_end.stages, last, 0)?;
    chain.reverse();
    let rate_hz = front_end.tensor.front_end.get("rate_hz").and_then(Value::as_f64);
    let seconds = |crop: &Value| {
        let config = &crop["config"];
        config["seconds"].as_f64().or_else(|| Some(config["samples"].as_f64()? / rate_hz?))
    };
    let crops = chain.iter().filter(|stage| type_of(stage) == "crop");
    let crop_s = crops.filter_map(seconds).reduce(f64::min);
    chain.retain(|stage| !DROPPED.contains(&type_of(stage)) || is_fixed_gain(stage));
    Ok((chain, crop_s))
}

/// A gain of one level is part of what the sound is; a drawn one varies it.
fn is_fixed_gain(stage: &Value) -> bool {
    type_of(stage) == "gain" && stage["config"]["db"].is_number()
}

/// From `stage` up to the source, which is left out; `depth` ends what goes round in a circle.
fn upwards(stages: &[Value], stage: &Value, depth: usize) -> Result<Vec<Value>, String> {
    let name = type_of(stage);
    if depth > stages.len() {
        return Err("its stages feed each other in a circle".to_owned());
    }
    if name == "source_shards" {
        return Err(
            "its pictures came from shards that were made of other shards; what made those is not known".to_owned()
        );
    }
    let above: Vec<&Value> = stage.get("from").and_then(Value::as_array).into_iter().flatten().collect();
    if above.is_empty() {
        return Ok(Vec::new());
    }
    let mut branches = Vec::new();
    for id in above {
        let found = stages.iter().find(|stage| stage.get("id") == Some(id));
        let found = found.ok_or_else(|| format!("its stage {id} is not in the checkpoint"))?;
        branches.push(upwards(stages, found, depth + 1)?);
    }
    let first = branches.swap_remove(0);
    let kept = |branch: &[Value]| -> Vec<Value> {
        let kept = branch.iter().filter(|stage| !DROPPED.contains(&type_of(stage)) || is_fixed_gain(stage));
        kept.map(as_written).collect()
    };
    if branches.iter().any(|branch| kept(branch) != kept(&first)) {
        return Err(format!("`{name}` merged clips of different front ends: embed with a graph of your own"));
    }
    if MERGES.contains(&name) {
        return Ok(first);
    }
    if !KEPT.contains(&name) && !DROPPED.contains(&name) {
        return Err(format!(
            "its pictures came through `{name}`: end a graph of your own in `encoder` and `sink_embeddings`"
        ));
    }
    let mut chain = vec![stage.clone()];
    chain.extend(first);
    Ok(chain)
}
