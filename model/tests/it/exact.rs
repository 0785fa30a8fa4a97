//! The same bits each time, for any number of threads; nothing changed by a step that fails.

use ajepa_model::objective::{CodesConfig, Sigreg, VarianceCovariance};
use ajepa_model::ops::without_kernels;
use ajepa_model::{
    Compute, EncoderConfig, Learner, LossConfig, ModelConfig, ModelError, Pictures, PredictorConfig, RegulariserConfig,
    TargetConfig, TrainBatch,
};
use burn::tensor::Device;

use crate::fixture::noise;

/// Large enough that products are shared out to threads.
fn config() -> ModelConfig {
    ModelConfig {
        picture: Some([128, 64]),
        encoder: Some(EncoderConfig { width: 96, depth: 3, n_heads: 3, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.2 }),
        predictor: Some(PredictorConfig { width: 48, depth: 2, n_heads: 3, mlp_ratio: 4, norm_eps: 1e-5 }),
        ..ModelConfig::default()
    }
}

fn masks(n_clips: u32) -> [Vec<u32>; 2] {
    let tokens = |range: std::ops::Range<u32>| {
        (0..n_clips).flat_map(move |clip| range.clone().map(move |i| (i * 5 + clip) % 32)).collect()
    };
    [tokens(0..12), tokens(12..28)]
}

/// All bits of a learner after `n` steps, and the losses.
fn train(config: &ModelConfig, n: usize, threads: usize) -> (Vec<u32>, Vec<u32>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| train_here(config, n))
}

fn train_here(config: &ModelConfig, n: usize) -> (Vec<u32>, Vec<u32>) {
    let mut learner = Learner::new(config.recipe().unwrap(), 5, &Device::default()).unwrap();
    let [context, target] = masks(8);
    let losses = (0..n).map(|step| {
        let pictures = noise(&format!("pictures {step}"), 8 * 128 * 64);
        let pictures = Pictures::F32(&pictures);
        let batch = TrainBatch { pictures, context: &context, target: &target, n_clips: 8, n_masks: 1, n_blocks: 2 };
        learner.step(&[batch]).unwrap().loss.to_bits()
    });
    let losses = losses.collect();
    (bits(&learner), losses)
}

fn bits(learner: &Learner) -> Vec<u32> {
    learner.lists().flat_map(|(_, params)| params.iter().flat_map(|(_, data)| data).map(f32::to_bits)).collect()
}

#[test]
fn lists_carried_over_by_name_go_on_as_if_nothing_had_been() {
    let recipe = config().recipe().unwrap();
    let (pictures, [context, target]) = (noise("carried", 8 * 128 * 64), masks(8));
    let pictures = Pictures::F32(&pictures);
    let batch = TrainBatch { pictures, context: &context, target: &target, n_clips: 8, n_masks: 1, n_blocks: 2 };
    let mut learner = Learner::new(recipe.clone(), 5, &Device::default()).unwrap();
    (0..2).for_each(|_| drop(learner.step(&[batch]).unwrap()));
    let mut other = Learner::new(recipe, 5, &Device::default()).unwrap();
    for (list, params) in learner.lists() {
        for (spec, data) in params.iter() {
            other.write(&format!("{list}.{}", spec.name), &data).unwrap();
        }
    }
    other.steps = learner.steps;
    assert_eq!(learner.step(&[batch]).unwrap().loss.to_bits(), other.step(&[batch]).unwrap().loss.to_bits());
    assert_eq!(bits(&learner), bits(&other));
}

#[test]
fn the_same_bits_twice_and_with_one_thread_or_three() {
    let once = train(&config(), 3, 2);
    assert_eq!(once, train(&config(), 3, 2));
    assert_eq!(once, train(&config(), 3, 1));
    assert_eq!(once, train(&config(), 3, 3));
}

#[test]
fn codes_and_regularisers_repeat_too() {
    let codes = ModelConfig {
        target: Some(TargetConfig::RandomProjection(CodesConfig { n_codes: 64, code_width: 8, n_codebooks: 2 })),
        loss: Some(LossConfig::CrossEntropy),
        regulariser: Some(RegulariserConfig::Sigreg(Sigreg { n_directions: 16, ..Sigreg::default() })),
        ..config()
    };
    let (bits, losses) = train(&codes, 3, 2);
    assert_eq!((bits, losses.clone()), train(&codes, 3, 1));
    // Two books of 64 codes, nothing learnt: ln 64, and the regulariser on top.
    assert!(f32::from_bits(losses[0]) > 64.0_f32.ln());
    let apart = RegulariserConfig::VarianceCovariance(VarianceCovariance::default());
    let apart = ModelConfig { regulariser: Some(apart), ..config() };
    assert_eq!(train(&apart, 2, 2), train(&apart, 2, 1));
}

#[test]
fn loss_falls_on_one_batch() {
    let mut recipe = config().recipe().unwrap();
    recipe.learning_rate = ajepa_model::ScheduleConfig::constant(1e-3);
    let mut learner = Learner::new(recipe, 0, &Device::default()).unwrap();
    let (pictures, [context, target]) = (noise("one", 8 * 128 * 64), masks(8));
    let batch = TrainBatch {
        pictures: Pictures::F32(&pictures),
        context: &context,
        target: &target,
        n_clips: 8,
        n_masks: 1,
        n_blocks: 2,
    };
    let losses: Vec<f32> = (0..30).map(|_| learner.step(&[batch]).unwrap().loss).collect();
    assert!(losses[29] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn bf16_products_stay_near_and_keep_f32_parameters() {
    let narrow = ModelConfig { compute: Some(Compute::Bf16), ..config() };
    let (bits, losses) = train(&narrow, 3, 2);
    let (f32_bits, f32_losses) = train(&config(), 3, 2);
    for (narrow, f32) in losses.iter().zip(&f32_losses).map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b))) {
        assert!((narrow / f32 - 1.0).abs() < 0.02 && narrow != f32, "{narrow} {f32}");
    }
    // Steps of 1e-6 are far below what bf16 could hold beside a weight: the masters moved all the same, and alike.
    let moved =
        bits.iter().zip(&f32_bits).filter(|(a, b)| (f32::from_bits(**a) - f32::from_bits(**b)).abs() < 1e-4).count();
    assert!(moved as f32 > 0.99 * bits.len() as f32);
    assert!(
        bits.iter().filter(|bits| **bits & 0xFFFF != 0).count() > bits.len() / 2,
        "parameters have more digits than bf16"
    );
    // As on a GPU, where norms, optimiser and moving average are composed too: what they see is f32 all the same.
    let (composed_bits, composed_losses) = without_kernels(|| train_here(&narrow, 3));
    for (composed, narrow) in composed_losses.iter().zip(&losses).map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b)))
    {
        assert!((composed / narrow - 1.0).abs() < 0.005, "{composed} {narrow}");
    }
    let apart = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs();
    let near = composed_bits.iter().zip(&bits).filter(|pair| apart(*pair) < 1e-4).count();
    assert!(near as f32 > 0.99 * bits.len() as f32, "{near} of {}", bits.len());
}

#[test]
fn a_step_from_what_was_brought_before_is_the_same_step() {
    let (pictures, [context, target]) = (noise("one", 4 * 128 * 64), masks(4));
    let half = |part: usize| TrainBatch {
        pictures: Pictures::F32(&pictures[part * 2 * 128 * 64..(part + 1) * 2 * 128 * 64]),
        context: &context[part * context.len() / 2..(part + 1) * context.len() / 2],
        target: &target[part * target.len() / 2..(part + 1) * target.len() / 2],
        n_clips: 2,
        n_masks: 1,
        n_blocks: 2,
    };
    let batches = [half(0), half(1)];
    let mut learner = Learner::new(config().recipe().unwrap(), 5, &Device::default()).unwrap();
    let mut other = learner.clone();
    learner.step(&batches).unwrap();
    let first = other.model.uploader().upload(&batches[0]).unwrap();
    let mut calls = 0;
    other.step_from(first, &batches, || calls += 1).unwrap();
    assert_eq!((calls, bits(&learner)), (1, bits(&other)));
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut learner = Learner::new(config().recipe().unwrap(), 5, &Device::default()).unwrap();
    let (mut pictures, [context, mut target]) = (noise("bad", 2 * 128 * 64), masks(2));
    let before = bits(&learner);
    let fails = |learner: &mut Learner, pictures: &[f32], target: &[u32], n_clips| {
        let pictures = Pictures::F32(pictures);
        learner
            .step(&[TrainBatch { pictures, context: &context, target, n_clips, n_masks: 1, n_blocks: 2 }])
            .unwrap_err()
    };
    assert_eq!(
        fails(&mut learner, &pictures, &target, 3).to_string(),
        "numbers in the pictures: expected 24576, got 16384"
    );
    target[16] = 32;
    let error = fails(&mut learner, &pictures, &target, 2);
    assert_eq!(error.to_string(), "token 32 of clip 1 is not among the picture's 32 tokens");
    target[16] = 0;
    assert_eq!(fails(&mut learner, &pictures, &target[1..], 2).to_string(), "target tokens: expected 28, got 31");
    pictures[128 * 64 + 7] = f32::NAN;
    assert_eq!(
        fails(&mut learner, &pictures, &target, 2).to_string(),
        "the picture of clip 1 holds a number that is not finite"
    );
    pictures[128 * 64 + 7] = 0.0;
    assert_eq!(before, bits(&learner));

    let huge = vec![1e20; 96 * 256];
    learner.model.write("encoder.patch_embed.proj.weight", &huge).unwrap();
    let before = bits(&learner);
    for x in &mut pictures {
        *x *= 1e25;
    }
    let error = fails(&mut learner, &pictures, &target, 2);
    assert!(matches!(error, ModelError::Diverged { step: 0, .. }), "{error}");
    assert_eq!((before, 0), (bits(&learner), learner.steps));
}
