//! Configs: presets are sound, mistakes are named.

use ajepa_model::objective::{CodesConfig, LatentTarget};
use ajepa_model::optim::AdamWConfig;
use ajepa_model::{
    EncoderConfig, Jepa, LossConfig, ModelConfig, ModelError, Positions, Preset, ScheduleConfig, Shape, TargetConfig,
};
use ajepa_ops::patch::PatchifyConfig;
use burn::tensor::Device;

/// The fields at fault, in order.
fn faults(config: &ModelConfig) -> Vec<&'static str> {
    match config.recipe() {
        Err(ModelError::Config { faults }) => faults.iter().map(|fault| fault.field).collect(),
        other => panic!("expected faults, got {other:?}"),
    }
}

fn encoder(width: usize, depth: usize, n_heads: usize) -> EncoderConfig {
    EncoderConfig { width, depth, n_heads, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 }
}

#[test]
fn presets_have_the_published_sizes() {
    let count = |preset| {
        let model = Jepa::new(ModelConfig::preset(preset).recipe().unwrap(), 0, &Device::default()).unwrap();
        [model.weights.encoder.n_numbers(), model.weights.predictor.n_numbers()]
    };
    // The code's 96,713,472 count the fixed positions of its 192 tokens, 768 and 384 wide, in.
    let [encoder, predictor] = count(Preset::Code225b816);
    assert_eq!((encoder, predictor), (85_253_376, 11_238_912));
    assert_eq!(encoder + predictor + 192 * (768 + 384), 96_713_472);
    // The published encoder of `base-2026`: positions of 128 tokens, mel filters of 1,025 bins and a window of 2,048 beside these.
    let [encoder, _] = count(Preset::Base2026);
    assert_eq!(encoder + 128 * 768 + 1025 * 128 + 2048, 85_484_928);
    assert_eq!(count(Preset::Tiny), [5_388_096, 708_480]);
}

#[test]
fn names_and_shapes_are_the_published_ones() {
    let model = Jepa::new(ModelConfig::preset(Preset::Tiny).recipe().unwrap(), 0, &Device::default()).unwrap();
    let all: Vec<(String, Vec<usize>)> = model
        .parts()
        .flat_map(|(part, params)| {
            params.specs().iter().map(move |spec| (format!("{part}.{}", spec.name), spec.shape.clone()))
        })
        .collect();
    let holds = |name: &str, shape: &[usize]| all.iter().any(|(n, s)| n == name && s == shape);
    assert!(holds("encoder.patch_embed.proj.weight", &[192, 1, 16, 16]));
    assert!(holds("target_encoder.blocks.11.attn.Wqkv.weight", &[576, 192]));
    assert!(holds("encoder.blocks.0.mlp.fc1.bias", &[768]));
    assert!(holds("predictor.mask_token", &[1, 1, 96]));
    assert!(holds("predictor.predictor_blocks.5.attn.out_proj.weight", &[96, 96]));
    assert!(holds("predictor.predictor_proj.weight", &[192, 96]));
}

#[test]
fn every_fault_is_reported_by_its_field() {
    let config = ModelConfig {
        picture: Some([250, 128]),
        encoder: Some(encoder(190, 0, 4)),
        optimiser: Some(AdamWConfig { betas: [0.9, 1.0], clip_norm: Some(0.0), ..AdamWConfig::default() }),
        tau: Some(ScheduleConfig::constant(1.5)),
        ..ModelConfig::default()
    };
    let expected = [
        "patch_frames",
        "encoder.depth",
        "encoder.width",
        "encoder.n_heads",
        "optimiser.betas",
        "optimiser.clip_norm",
        "tau",
    ];
    assert_eq!(faults(&config), expected);
    let message = config.recipe().unwrap_err().to_string();
    assert!(message.contains("encoder.n_heads: 190 does not divide into 4 heads"), "{message}");
}

#[test]
fn parts_that_do_not_go_together_are_refused() {
    let codes = TargetConfig::RandomProjection(CodesConfig::default());
    assert_eq!(faults(&ModelConfig { target: Some(codes), ..ModelConfig::default() }), ["loss"]);
    assert_eq!(faults(&ModelConfig { loss: Some(LossConfig::CrossEntropy), ..ModelConfig::default() }), ["loss"]);
    let deep = TargetConfig::MovingAverage(LatentTarget { mean_of_last: Some(13), standardize: true });
    assert_eq!(faults(&ModelConfig { target: Some(deep), ..ModelConfig::default() }), ["target.mean_of_last"]);
    let rope =
        ModelConfig { positions: Some(Positions::Rope2d), encoder: Some(encoder(24, 2, 4)), ..ModelConfig::default() };
    assert_eq!(faults(&rope), ["encoder.n_heads"]);
    let short = ScheduleConfig { shape: Shape::Cosine, warmup_steps: 10, steps: 10, ..ScheduleConfig::constant(1e-3) };
    assert_eq!(faults(&ModelConfig { learning_rate: Some(short), ..ModelConfig::default() }), ["learning_rate"]);
    let nan = ScheduleConfig::constant(f64::NAN);
    assert!(faults(&ModelConfig { weight_decay: Some(nan), ..ModelConfig::default() }).contains(&"weight_decay"));
}

#[test]
fn other_patches_than_square_ones() {
    let strip = ModelConfig {
        patch: Some(PatchifyConfig { patch_frames: 4, patch_mels: 64 }),
        encoder: Some(encoder(16, 1, 2)),
        ..ModelConfig::default()
    };
    let model = Jepa::new(strip.recipe().unwrap(), 0, &Device::default()).unwrap();
    assert_eq!(model.patchify().n_tokens(), 64 * 2);
    assert_eq!(model.weights.encoder.specs()[0].shape, [16, 1, 4, 64]);
}

#[test]
fn json_in_and_out_and_unknown_words_refused() {
    let text = r#"{"preset": "base-2026", "target": {"random_projection": {"n_codes": 256}}, "loss": "cross_entropy"}"#;
    let config: ModelConfig = serde_json::from_str(text).unwrap();
    let recipe = config.recipe().unwrap();
    assert_eq!(recipe.predictor.width, 768);
    let again: ajepa_model::Recipe = serde_json::from_str(&serde_json::to_string(&recipe).unwrap()).unwrap();
    assert_eq!(again, recipe);
    assert!(serde_json::from_str::<ModelConfig>(r#"{"presets": "tiny"}"#).is_err());
    assert!(serde_json::from_str::<ModelConfig>(r#"{"preset": "tinny"}"#).is_err());
    assert!(serde_json::from_str::<ModelConfig>(r#"{"tau": {"start": 0.9, "stop": 1}}"#).is_err());
}

#[test]
fn a_parameter_of_another_name_or_length_is_refused() {
    let recipe = ModelConfig { encoder: Some(encoder(16, 1, 2)), ..ModelConfig::default() }.recipe().unwrap();
    let mut model = Jepa::new(recipe, 0, &Device::default()).unwrap();
    let message = |model: &mut Jepa, name: &str, n: usize| model.write(name, &vec![0.0; n]).unwrap_err().to_string();
    assert_eq!(message(&mut model, "decoder.norm.bias", 16), "parameter decoder.norm.bias: there is no such part");
    assert_eq!(
        message(&mut model, "encoder.norms.bias", 16),
        "parameter encoder.norms.bias: the model has no such parameter"
    );
    assert_eq!(
        message(&mut model, "encoder.norm.bias", 15),
        "parameter encoder.norm.bias: [16] holds 16 numbers, got 15"
    );
    model.write("target_encoder.norm.bias", &[0.5; 16]).unwrap();
    let (_, average) = model.parts().find(|(part, _)| *part == "target_encoder").unwrap();
    assert_eq!(average.iter().find(|(spec, _)| spec.name == "norm.bias").unwrap().1, vec![0.5; 16]);
}
