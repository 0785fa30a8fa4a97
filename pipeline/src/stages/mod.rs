//! The registry: a line per stage, then one thin file per stage.

pub mod batch;
mod checks;
pub mod concat;
mod crop;
mod decode;
mod downmix;
#[cfg(feature = "train")]
pub mod encoder;
pub mod filter;
mod gain;
pub mod interleave;
mod log_mel;
pub mod mask;
mod measure;
pub mod mix;
mod mix_noise;
mod normalize;
pub mod pad_together;
mod patchify;
mod picture;
mod resample;
mod row_merge;
pub mod shuffle;
pub mod sink_embeddings;
pub mod sink_null;
pub mod sink_scan;
pub mod sink_shards;
#[cfg(feature = "train")]
pub mod sink_train;
pub mod sink_webdataset;
pub mod source_files;
pub mod source_folder;
pub mod source_manifest;
pub mod source_parquet;
pub mod source_shards;
pub mod source_webdataset;
mod standardize;
mod trim_silence;
mod waveform;
pub mod zip;

#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{ConfigErrors, Node, ReadError, parse_stage, read_all};
use crate::stage::{StageConfig, StageKind};

/// The stages a graph may name.
#[derive(Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

/// One YAML `type`.
#[derive(Clone)]
pub struct Entry {
    /// The tag, in `snake_case`.
    pub name: &'static str,
    /// Its threading contract.
    pub kind: StageKind,
    /// A stage of a graph, as people would write it.
    pub example: &'static str,
    /// JSON Schema of the config: titles, units, ranges and defaults come from the struct's doc comments.
    pub schema: fn() -> schemars::Schema,
    /// Reads the config from the mapping of a stage (`id`, `type` and `from` taken out), naming every fault it can.
    pub parse: fn(&Node) -> Result<Parsed, Vec<ReadError>>,
}

/// A config as read, and the same with all defaults filled in.
#[derive(Debug)]
pub struct Parsed {
    /// The config.
    pub config: Box<dyn StageConfig>,
    /// What the fingerprint is taken over.
    pub json: serde_json::Value,
}

impl Entry {
    /// Reads the config from YAML text, outside of any document: `{ rate_hz: 32000 }`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse_yaml(&self, yaml: &str) -> Result<Parsed, ConfigErrors> {
        parse_stage(self, yaml)
    }
}

impl Registry {
    /// No stage at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the stage `name`; a later one of the same name takes its place.
    #[must_use]
    pub fn with<C>(mut self, name: &'static str, kind: StageKind, example: &'static str) -> Self
    where
        C: StageConfig + Serialize + DeserializeOwned + JsonSchema + 'static,
    {
        self.entries.retain(|entry| entry.name != name);
        self.entries.push(Entry {
            name,
            kind,
            example,
            schema: || schemars::SchemaGenerator::default().into_root_schema_for::<C>(),
            parse: |node| {
                let config: C = read_all(node)?;
                let json = serde_json::to_value(&config).unwrap_or_default();
                Ok(Parsed { config: Box::new(config), json })
            },
        });
        self
    }

    /// The stage of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// All stages, in the order they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| entry.name)).finish()
    }
}

/// Every stage this build knows.
pub fn builtin() -> Registry {
    let registry = of_data();
    #[cfg(feature = "train")]
    let registry = registry
        .with::<encoder::EncoderStageConfig>(
            "encoder",
            StageKind::Fold,
            "{ type: encoder, checkpoint: out/model, width: 192, output: frames }",
        )
        .with::<sink_train::SinkTrainConfig>(
            "sink_train",
            StageKind::Sink,
            "{ type: sink_train, path: out/model, model: { preset: tiny }, steps: 2000, batch_clips: 16 }",
        );
    registry
}

/// The stages that prepare data.
fn of_data() -> Registry {
    use StageKind::{Fold, Map, Merge, Sink, Source};
    Registry::new()
        .with::<source_folder::SourceFolderConfig>(
            "source_folder",
            Source,
            "{ id: clips, type: source_folder, path: esc50/audio, labels: parent_dir }",
        )
        .with::<source_manifest::SourceManifestConfig>(
            "source_manifest",
            Source,
            "{ id: clips, type: source_manifest, path: audioset/balanced.parquet, root: /data/audioset }",
        )
        .with::<source_files::SourceFilesConfig>(
            "source_files",
            Source,
            "{ id: clips, type: source_files, paths: [a.wav, b.flac, field/recordings, more.csv] }",
        )
        .with::<source_webdataset::SourceWebdatasetConfig>(
            "source_webdataset",
            Source,
            "{ id: clips, type: source_webdataset, path: \"fsd/train-{000..039}.tar\" }",
        )
        .with::<source_parquet::SourceParquetConfig>(
            "source_parquet",
            Source,
            "{ id: clips, type: source_parquet, path: \"esc50/data/*.parquet\", columns: { clip_id: filename } }",
        )
        .with::<source_shards::SourceShardsConfig>(
            "source_shards",
            Source,
            "{ id: shards, type: source_shards, path: out/mel, shape: [512, 96] }",
        )
        .with::<ajepa_ops::decode::DecodeConfig>("decode", Map, "{ type: decode }")
        .with::<ajepa_ops::mix::DownmixConfig>("downmix", Map, "{ type: downmix, channels: mean }")
        .with::<ajepa_ops::resample::ResampleConfig>("resample", Map, "{ type: resample, rate_hz: 32000 }")
        .with::<ajepa_ops::normalize::NormalizeConfig>("normalize", Map, "{ type: normalize, preset: code-225b816 }")
        .with::<ajepa_ops::crop::TrimSilenceConfig>("trim_silence", Map, "{ type: trim_silence, threshold_dbfs: -60 }")
        .with::<ajepa_ops::crop::CropConfig>(
            "crop",
            Map,
            "{ type: crop, seconds: 10, position: sliding, hop_seconds: 5 }",
        )
        .with::<ajepa_ops::mix::GainConfig>("gain", Map, "{ type: gain, min_db: -6, max_db: 6 }")
        .with::<ajepa_ops::mix::MixNoiseConfig>("mix_noise", Map, "{ type: mix_noise, snr_db: 20, kind: pink }")
        .with::<ajepa_ops::mel::LogMelConfig>("log_mel", Map, "{ id: mel, type: log_mel, preset: code-225b816 }")
        .with::<ajepa_ops::mel::StandardizeConfig>("standardize", Map, "{ type: standardize, mode: clip }")
        .with::<ajepa_ops::patch::PatchifyConfig>(
            "patchify",
            Map,
            "{ type: patchify, patch_frames: 16, patch_mels: 16 }",
        )
        .with::<mask::MaskStageConfig>("mask", Map, "{ type: mask, mask: { strategy: random, ratio: [0.4, 0.6] } }")
        .with::<measure::MeasureConfig>("measure", Map, "{ type: measure, silent_below_db: -60 }")
        .with::<filter::FilterConfig>("filter", Map, "{ type: filter, labels_none: [Silence], min_duration_s: 1 }")
        .with::<shuffle::ShuffleConfig>("shuffle", Fold, "{ type: shuffle, rows: 1000 }")
        .with::<batch::BatchConfig>("batch", Fold, "{ type: batch, rows: 256 }")
        .with::<pad_together::PadTogetherConfig>("pad_together", Fold, "{ type: pad_together, clips: 16 }")
        .with::<interleave::InterleaveConfig>(
            "interleave",
            Merge,
            "{ id: both, type: interleave, from: [speech, music] }",
        )
        .with::<concat::ConcatConfig>("concat", Merge, "{ id: all, type: concat, from: [speech, music] }")
        .with::<zip::ZipConfig>("zip", Merge, "{ id: pair, type: zip, from: [fine, coarse], suffix: _coarse }")
        .with::<mix::MixConfig>("mix", Merge, "{ id: mixed, type: mix, from: [speech, music], weights: [3, 1] }")
        .with::<sink_shards::SinkShardsConfig>("sink_shards", Sink, "{ type: sink_shards, path: out/mel, dtype: f16 }")
        .with::<sink_webdataset::SinkWebdatasetConfig>(
            "sink_webdataset",
            Sink,
            "{ type: sink_webdataset, path: out/tars, content: audio, sample_format: int16 }",
        )
        .with::<sink_embeddings::SinkEmbeddingsConfig>(
            "sink_embeddings",
            Sink,
            "{ type: sink_embeddings, path: out/embeddings.parquet, rows: clip }",
        )
        .with::<sink_scan::SinkScanConfig>("sink_scan", Sink, "{ type: sink_scan, path: out/scan.parquet }")
        .with::<sink_null::SinkNullConfig>("sink_null", Sink, "{ type: sink_null }")
}
