//! Stages with the names and shapes of the real ones that plan and build nothing: the tests here are of YAML and graphs.

use ajepa_pipe::schema::{AudioType, ColumnType, Dtype, Schema, TensorType};
use ajepa_pipe::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};
use ajepa_pipe::stages::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The stages that the tests of this folder may name.
pub fn registry() -> Registry {
    use StageKind::{Fold, Map, Merge, Sink, Source};
    Registry::new()
        .with::<SourceFolder>("source_folder", Source, "- { type: source_folder, path: audio }")
        .with::<Decode>("decode", Map, "- { type: decode }")
        .with::<Resample>("resample", Map, "- { type: resample, rate_hz: 32000 }")
        .with::<Crop>("crop", Map, "- { type: crop, seconds: 10 }")
        .with::<LogMel>("log_mel", Map, "- { type: log_mel, preset: code-225b816 }")
        .with::<Patchify>("patchify", Map, "- { type: patchify, patch: { n_frames: 16, n_mels: 16 } }")
        .with::<Mask>("mask", Map, "- { type: mask, ratio: 0.6 }")
        .with::<Shuffle>("shuffle", Fold, "- { type: shuffle, n_rows: 1000 }")
        .with::<Interleave>("interleave", Merge, "- { type: interleave, from: [a, b] }")
        .with::<Concat>("concat", Merge, "- { type: concat, from: [a, b] }")
        .with::<SinkShards>("sink_shards", Sink, "- { type: sink_shards, path: out }")
        .with::<SinkNull>("sink_null", Sink, "- { type: sink_null }")
}

macro_rules! config {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)* }, |$me:ident, $inputs:ident| $plan:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$meta])* pub $field: $kind,)* }

        impl StageConfig for $name {
            fn plan(&self, $inputs: &[Schema]) -> Result<StagePlan, PlanError> {
                let $me = self;
                $plan
            }

            fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
                Err(BuildError::new("this stage only plans", "use the real one"))
            }
        }
    };
}

fn audio(inputs: &[Schema]) -> Result<&AudioType, PlanError> {
    inputs[0].audio().ok_or_else(|| PlanError::new("there is no waveform to read", "put `type: decode` before it"))
}

fn with_audio(inputs: &[Schema], change: impl FnOnce(&mut AudioType)) -> Result<StagePlan, PlanError> {
    let mut kind = audio(inputs)?.clone();
    change(&mut kind);
    Ok(StagePlan::new(StageKind::Map, inputs[0].clone().with("audio", ColumnType::Audio(kind))))
}

fn tensor<'a>(inputs: &'a [Schema], name: &str) -> Result<&'a TensorType, PlanError> {
    let help = "put `type: log_mel` before it";
    inputs[0].tensor(name).ok_or_else(|| PlanError::new(format!("there is no column `{name}`"), help))
}

config! {
    /// Audio files of a folder, in the order of their paths.
    SourceFolder {
        /// Folder to walk.
        path: String,
        /// Endings to take, without the dot; all that can be decoded by default.
        #[serde(default)]
        extensions: Vec<String>,
    }, |_me, _inputs| Ok(StagePlan::new(StageKind::Source, Schema::of_media(false)))
}

config! {
    /// Encoded audio to a waveform.
    Decode {}, |_me, inputs| {
        if inputs[0].get("media").is_none() {
            return Err(PlanError::new("there is no encoded audio to decode", "put a source before it"));
        }
        let kind = ColumnType::Audio(AudioType { rate_hz: None, channels: Some(1), max_s: None });
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone().without("media").with("audio", kind)))
    }
}

config! {
    /// Another sample rate, delay 0.
    Resample {
        /// Rate of the output in Hz; 8000 to 192000.
        rate_hz: u32,
    }, |me, inputs| {
        if !(8_000..=192_000).contains(&me.rate_hz) {
            return Err(PlanError::field("rate_hz", format!("{} Hz is out of range", me.rate_hz), "from 8000 to 192000"));
        }
        with_audio(inputs, |audio| audio.rate_hz = Some(me.rate_hz))
    }
}

/// Which part of a clip is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CropMode {
    /// The first seconds.
    Head,
    /// The middle.
    Center,
    /// Anywhere, by seed.
    Random,
}

fn head() -> CropMode {
    CropMode::Head
}

config! {
    /// One window of a fixed length.
    Crop {
        /// Length in seconds, above 0.
        seconds: f64,
        /// Which part is kept.
        #[serde(default = "head")]
        mode: CropMode,
    }, |me, inputs| {
        if me.seconds <= 0.0 {
            return Err(PlanError::field("seconds", format!("{} s is not a length", me.seconds), "above 0"));
        }
        with_audio(inputs, |audio| audio.max_s = Some(me.seconds))
    }
}

fn n_mels() -> usize {
    128
}

config! {
    /// Log-mel spectrogram.
    LogMel {
        /// Front end to reproduce: `code-225b816` (32000 Hz).
        preset: String,
        /// Mel bands, 1 to 256.
        #[serde(default = "n_mels")]
        n_mels: usize,
    }, |me, inputs| {
        let input = audio(inputs)?;
        let resample = "put `{ type: resample, rate_hz: 32000 }` before it";
        match input.rate_hz {
            Some(32_000) => {}
            Some(rate_hz) => {
                return Err(PlanError::field("preset", format!("{} is made for 32000 Hz, not {rate_hz}", me.preset), resample));
            }
            None => return Err(PlanError::new("the sample rate is known only when a file is opened", resample)),
        }
        let Some(max_s) = input.max_s else {
            return Err(PlanError::new("the length of a clip is not bounded", "put `{ type: crop, seconds: 10 }` before it"));
        };
        let shape = vec![(max_s * 25.6) as usize, me.n_mels];
        let axes = vec!["frames".to_owned(), "mels".to_owned()];
        let front_end = serde_json::json!({ "preset": me.preset });
        let mel = TensorType { dtype: Dtype::F32, shape, axes, front_end };
        let output = inputs[0].clone().without("audio").with("mel", ColumnType::Tensor(mel));
        Ok(StagePlan::new(StageKind::Map, output))
    }
}

/// Size of one patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchSize {
    /// Frames of one patch, at least 1.
    pub n_frames: usize,
    /// Mel bands of one patch, at least 1.
    pub n_mels: usize,
}

config! {
    /// The picture cut into patches.
    Patchify {
        /// Size of a patch.
        patch: PatchSize,
    }, |me, inputs| {
        let mel = tensor(inputs, "mel")?;
        for (name, size, len) in [("n_frames", me.patch.n_frames, mel.shape[0]), ("n_mels", me.patch.n_mels, mel.shape[1])] {
            if size == 0 || !len.is_multiple_of(size) {
                let problem = format!("{len} does not divide into patches of {size}");
                return Err(PlanError::field(format!("patch.{name}"), problem, "16 divides 128, 256 and 512"));
            }
        }
        let n_tokens = mel.n_values() / me.patch.n_frames / me.patch.n_mels;
        let tokens = TensorType {
            shape: vec![n_tokens, me.patch.n_frames * me.patch.n_mels],
            axes: vec!["tokens".to_owned(), "values".to_owned()],
            ..mel.clone()
        };
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone().without("mel").with("tokens", ColumnType::Tensor(tokens))))
    }
}

config! {
    /// Tokens to predict, by seed.
    Mask {
        /// Share of the tokens that are targets, in (0, 1).
        ratio: f64,
    }, |me, inputs| {
        let tokens = tensor(inputs, "tokens")?.shape[0] as f64;
        if (tokens * (1.0 - me.ratio)).floor() < 1.0 {
            return Err(PlanError::field("ratio", format!("{} leaves no context", me.ratio), "below 1"));
        }
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone()))
    }
}

config! {
    /// Rows of a unit in another order, by seed.
    Shuffle {
        /// Rows held; at least 2.
        n_rows: usize,
    }, |me, inputs| {
        if me.n_rows < 2 {
            return Err(PlanError::field("n_rows", "one row cannot be shuffled", "2 or more"));
        }
        Ok(StagePlan::new(StageKind::Fold, inputs[0].clone()))
    }
}

config! {
    /// One row of each input in turn.
    Interleave {}, |_me, inputs| Ok(StagePlan::new(StageKind::Merge, inputs[0].clone()))
}

config! {
    /// One input after the other.
    Concat {}, |_me, inputs| Ok(StagePlan::new(StageKind::Merge, inputs[0].clone()))
}

fn half() -> Dtype {
    Dtype::F16
}

config! {
    /// Write-once shards in a folder.
    SinkShards {
        /// Folder to write to.
        path: String,
        /// Type of a stored number.
        #[serde(default = "half")]
        dtype: Dtype,
    }, |me, inputs| {
        let mut stored = inputs[0].clone();
        let mut tensors = 0;
        for column in &mut stored.columns {
            if let ColumnType::Tensor(tensor) = &mut column.kind {
                tensor.dtype = me.dtype;
                tensors += 1;
            }
        }
        if tensors == 0 {
            return Err(PlanError::new("there is no tensor to store", "put `type: log_mel` before it"));
        }
        Ok(StagePlan::sink(stored))
    }
}

config! {
    /// Counts rows and forgets them.
    SinkNull {}, |_me, inputs| Ok(StagePlan::sink(inputs[0].clone()))
}
