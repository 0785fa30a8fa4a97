//! An encoder alone gives what the model it came from gives, and is read from its own file alone.

use std::sync::Arc;

use ajepa_model::checkpoint::{About, Checkpoint};
use ajepa_model::{
    EncoderChoice, EncoderConfig, FrozenEncoder, Learner, LossConfig, ModelConfig, Pictures, PredictorConfig,
    TargetConfig,
};
use ajepa_store::{Fs, RealFs};
use burn::tensor::Device;

use crate::fixture::noise;

fn learner() -> Learner {
    let config = ModelConfig {
        picture: Some([64, 32]),
        encoder: Some(EncoderConfig { width: 32, depth: 2, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.2 }),
        predictor: Some(PredictorConfig { width: 16, depth: 1, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5 }),
        ..ModelConfig::default()
    };
    Learner::new(config.recipe().unwrap(), 11, &Device::default()).unwrap()
}

#[test]
fn of_codes_there_is_the_context_encoder_alone() {
    let target = Some(TargetConfig::RandomProjection(ajepa_model::objective::CodesConfig::default()));
    let config = ModelConfig { target, loss: Some(LossConfig::CrossEntropy), ..crate::health::config([32, 1]) };
    let learner = Learner::new(config.recipe().unwrap(), 0, &Device::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    learner.save(&fs, &dir.path().join("c"), About::default()).unwrap();
    let checkpoint = Checkpoint::open(&dir.path().join("c")).unwrap();
    let picture = checkpoint.card().recipe.picture;
    let load = |choice| FrozenEncoder::load(&checkpoint, choice, picture, &Device::default()).map(drop);
    load(EncoderChoice::Context).unwrap();
    let error = load(EncoderChoice::Target).unwrap_err().to_string();
    assert!(error.ends_with("its targets are random-projection codes: it has only the context encoder"), "{error}");
}

#[test]
fn it_is_the_models_encoder_from_its_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let mut learner = learner();
    // So that the two encoders are not one.
    let norm = vec![0.5; 32];
    learner.write("target_encoder.norm.weight", &norm).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    learner.save(&fs, &path, About::default()).unwrap();
    for file in ["predictor.safetensors", "optimiser.safetensors"] {
        std::fs::remove_file(path.join(file)).unwrap();
    }
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(EncoderChoice::usual(&checkpoint), EncoderChoice::Target);
    let picture = [48, 32];
    let pictures = noise("frozen", 3 * 48 * 32);
    for choice in [EncoderChoice::Target, EncoderChoice::Context] {
        let params = match choice {
            EncoderChoice::Target => learner.model.average.as_ref().unwrap(),
            EncoderChoice::Context => &learner.model.weights.encoder,
        };
        let (expected, grid) = learner.model.latents(params, &pictures, picture).unwrap();
        let expected = expected.into_data().try_into_vec::<f32>().unwrap();
        let loaded = FrozenEncoder::load(&checkpoint, choice, picture, &Device::default()).unwrap();
        let shared = FrozenEncoder::of(&learner.model, choice, picture).unwrap();
        assert_eq!((loaded.width(), loaded.patchify().grid()), (32, grid));
        for encoder in [&loaded, &shared] {
            assert_eq!(encoder.embed(Pictures::F32(&pictures)).unwrap(), expected, "{choice:?}");
        }
        // One clip at a time is the same but for the last bits of the products.
        let each = pictures.chunks(48 * 32).flat_map(|one| loaded.embed(Pictures::F32(one)).unwrap());
        let worst = each.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
    let worse = loaded_error(&checkpoint, [50, 32]);
    assert!(worse.contains("50"), "{worse}");
}

fn loaded_error(checkpoint: &Checkpoint, picture: [usize; 2]) -> String {
    FrozenEncoder::load(checkpoint, EncoderChoice::Target, picture, &Device::default()).unwrap_err().to_string()
}
