//! Checkpoints for tests: untrained models of the shipped clips' own shards.

use std::path::Path;
use std::sync::Arc;

use ajepa_model::checkpoint::About;
use ajepa_model::{Device, EncoderConfig, Learner, ModelConfig, PredictorConfig};
use ajepa_ops::patch::TimeAxis;
use ajepa_pipe::front_end::FrontEnd;
use ajepa_pipe::shard::ShardSet;
use ajepa_store::{Fs, RealFs};

use crate::program::{Place, files, sample};

/// Shards as somebody would train on: two seconds, level, noise and silence as in training.
pub const GRAPH: &str = "
pipeline: training
stages:
  - { id: clips, type: source_folder, path: audio, shuffle: true }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: trim_silence, threshold_dbfs: -60 }
  - { type: normalize, preset: code-225b816 }
  - { type: crop, seconds: 2, position: random }
  - { type: gain, min_db: -6, max_db: 6 }
  - { id: mel, type: log_mel, rate_hz: 16000, n_mels: 64, seconds: 2, frames: 128, frame_shift_ms: 15.625 }
  - { type: shuffle, rows: 4 }
  - { type: sink_shards, path: shards }
";

/// The encoder's width.
pub const WIDTH: usize = 32;

/// A place with some of the shipped clips in `audio`, shards of them in `shards`, and the checkpoint `best`.
pub fn place_with_model() -> Place {
    let place = Place::new();
    let clips = files(&sample());
    for name in ["speech/en_1.flac", "notes/bass.flac", "animals/sheep.mp3", "drums/tom.wav"] {
        place.write(&format!("audio/{name}"), &clips[name]);
    }
    place.write("training.yaml", GRAPH);
    place.done("run training.yaml --progress off");
    save(&place.path("shards"), &place.path("best"), &config(), 3);
    place
}

/// A small model of two-second pictures.
pub fn config() -> ModelConfig {
    let sizes = EncoderConfig { width: WIDTH, depth: 2, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 };
    ModelConfig {
        picture: Some([128, 64]),
        time_axis: Some(TimeAxis::Rows),
        encoder: Some(sizes),
        predictor: Some(PredictorConfig { width: 16, depth: 1, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5 }),
        ..ModelConfig::default()
    }
}

/// An untrained model of `config` that says that it was trained on `shards`.
pub fn save(shards: &Path, to: &Path, config: &ModelConfig, seed: u64) -> Learner {
    let set = ShardSet::open(shards).expect("shards");
    let tensor = set.tensor("mel").expect("mel");
    let front_end = serde_json::to_value(FrontEnd::new(set.manifest(), tensor)).expect("JSON");
    let learner = Learner::new(config.recipe().expect("a recipe"), seed, &Device::default()).expect("a learner");
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let about = About { front_end, notes: serde_json::json!({ "best_probe": 0.5 }), ..About::default() };
    assert!(learner.save(&fs, to, about).expect("saved"));
    learner
}
