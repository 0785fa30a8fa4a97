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

/// The first block of two is what an encoder of one block has before its final norm; the last layer is what `embed` gives, to the last
/// bit and whatever stands beside.
#[test]
fn layers_are_what_blocks_give_and_the_last_is_behind_the_norm() {
    let deep = |depth| ModelConfig {
        picture: Some([64, 32]),
        encoder: Some(EncoderConfig { width: 32, depth, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 }),
        predictor: Some(PredictorConfig { width: 16, depth: 1, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5 }),
        ..ModelConfig::default()
    };
    let learner = |depth| Learner::new(deep(depth).recipe().unwrap(), 5, &Device::default()).unwrap();
    let (two, mut one) = (learner(2), learner(1));
    let there: Vec<_> = two.model.weights.encoder.iter().map(|(spec, data)| (spec.name.clone(), data)).collect();
    let names: Vec<String> = one.model.weights.encoder.specs().iter().map(|spec| spec.name.clone()).collect();
    for name in names {
        let (_, data) = there.iter().find(|(known, _)| *known == name).unwrap();
        one.write(&format!("encoder.{name}"), data).unwrap();
    }
    let [two, one] =
        [&two, &one].map(|learner| FrozenEncoder::of(&learner.model, EncoderChoice::Context, [64, 32]).unwrap());
    let pictures = noise("layers", 3 * 64 * 32);
    let layers = two.embed_layers(Pictures::F32(&pictures)).unwrap();
    assert_eq!((layers.len(), two.depth()), (2, 2));
    assert_eq!(layers[1], two.embed(Pictures::F32(&pictures)).unwrap());
    let each = layers[0].len() / 3;
    let alone = two.embed_layers(Pictures::F32(&pictures[64 * 32..2 * 64 * 32])).unwrap();
    assert_eq!((&alone[0][..], &alone[1][..]), (&layers[0][each..2 * each], &layers[1][each..2 * each]));
    // The final norm begins as none but a layer normalisation.
    let normed = layers[0].chunks_exact(32).flat_map(|vector| {
        let mean = vector.iter().sum::<f32>() / 32.0;
        let variance = vector.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 32.0;
        vector.iter().map(move |x| (x - mean) / (variance + 1e-5).sqrt()).collect::<Vec<f32>>()
    });
    let expected = one.embed(Pictures::F32(&pictures)).unwrap();
    let worst = normed.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
}

fn loaded_error(checkpoint: &Checkpoint, picture: [usize; 2]) -> String {
    FrozenEncoder::load(checkpoint, EncoderChoice::Target, picture, &Device::default()).unwrap_err().to_string()
}
