//! Health of real steps: the same digits for any number of threads, and what each number must say where it is known.

use ajepa_model::objective::{CodesConfig, Targets};
use ajepa_model::telemetry::{CodesHealth, Health, health};
use ajepa_model::{EncoderConfig, Learner, LossConfig, ModelConfig, PredictorConfig, RegulariserConfig, TargetConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::audio::{Owned, PICTURE};
use crate::fixture::{matrix, numbers};

pub fn config(predictor: [usize; 2]) -> ModelConfig {
    let encoder = EncoderConfig { width: 64, depth: 4, n_heads: 4, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 };
    let [width, depth] = predictor;
    let predictor = PredictorConfig { width, depth, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5 };
    ModelConfig {
        picture: Some(PICTURE),
        encoder: Some(encoder),
        predictor: Some(predictor),
        // What is to be noticed must be able to happen.
        regulariser: Some(RegulariserConfig::None),
        ..ModelConfig::default()
    }
}

fn codes() -> ModelConfig {
    ModelConfig {
        target: Some(TargetConfig::RandomProjection(CodesConfig { n_codes: 64, code_width: 8, n_codebooks: 2 })),
        loss: Some(LossConfig::CrossEntropy),
        ..config([32, 2])
    }
}

/// Health of a run's first step.
fn first(config: &ModelConfig, batch: &Owned) -> Health {
    let mut learner = Learner::new(config.recipe().unwrap(), 0, &Device::default()).unwrap();
    let report = learner.step(&[batch.batch()]).unwrap();
    health(learner.model.recipe(), &report, &batch.batch())
}

#[test]
fn the_same_digits_with_one_thread_or_three() {
    // More than 2048 rows of context: a choice is made.
    let batch = Owned::draw(0, 0, 48, 3);
    for config in [config([32, 2]), codes()] {
        let measure = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| first(&config, &batch))
        };
        let once = measure(1);
        assert_eq!(once, measure(3));
        assert!(once.rank_me > 5.0 && once.rank_me < 64.0, "{once:?}");
        assert!(once.between_clips + once.between_positions < 1.0, "{once:?}");
    }
}

#[test]
fn a_choice_of_rows_says_what_all_of_them_would() {
    let (some, more) = (Owned::draw(0, 0, 48, 2), Owned::draw(0, 0, 48, 3));
    let [some, more] = [some, more].map(|batch| first(&config([32, 2]), &batch));
    for (a, b) in [
        (some.context_spread, more.context_spread),
        (some.rank_me, more.rank_me),
        (some.between_clips, more.between_clips),
        (some.between_positions, more.between_positions),
    ] {
        assert!((a / b - 1.0).abs() < 0.2, "{some:?} {more:?}");
    }
}

/// A report whose answers are replaced.
fn with_answers(loss: LossConfig, predictions: Tensor<2>, targets: Targets) -> Health {
    let batch = Owned::draw(0, 0, 4, 1);
    let mut learner = Learner::new(config([32, 2]).recipe().unwrap(), 0, &Device::default()).unwrap();
    let mut report = learner.step(&[batch.batch()]).unwrap();
    report.predictions = predictions;
    report.targets = targets;
    let mut recipe = learner.model.recipe().clone();
    recipe.loss = loss;
    health(&recipe, &report, &batch.batch())
}

#[test]
fn r2_of_latents_is_1_of_the_truth_and_0_of_the_mean() {
    let targets = matrix("targets", 64, 64);
    let r2 = |loss, predictions: Tensor<2>| with_answers(loss, predictions, Targets::Latents(targets.clone())).r2;
    assert_eq!(r2(LossConfig::Mse, targets.clone()), 1.0);
    let mean = targets.clone().mean_dim(0).repeat_dim(0, 64);
    assert!(r2(LossConfig::Mse, mean.clone()).abs() < 1e-5);
    // Half way between the two a quarter of the variance is missed.
    let half = (mean + targets.clone()).div_scalar(2.0);
    assert!((r2(LossConfig::Mse, half) - 0.75).abs() < 1e-5);
    // The length of a prediction counts where the loss sees it, only.
    let long = targets.clone().mul_scalar(9.0);
    assert!(r2(LossConfig::Mse, long.clone()) < -10.0);
    assert!((r2(LossConfig::Cosine, long) - 1.0).abs() < 1e-9);
    // Targets that do not vary have no variance to explain.
    let flat = Tensor::ones([64, 64], &Device::default());
    let flat = with_answers(LossConfig::Mse, flat.clone(), Targets::Latents(flat));
    assert_eq!((flat.r2, flat.target_spread, flat.prediction_spread), (0.0, 0.0, 0.0));
    let spread = with_answers(LossConfig::Mse, targets.clone(), Targets::Latents(targets.clone())).target_spread;
    let squares = numbers(targets.clone() * targets).iter().sum::<f32>() / 4096.0;
    assert!((spread - f64::from(squares).sqrt()).abs() < 0.02, "{spread} {squares}");
}

#[test]
fn r2_of_codes_is_1_of_the_truth_and_0_of_their_frequencies() {
    // Codes 0 to 3, 64 rows each, in two books.
    let list: Vec<i32> = (0..256).flat_map(|row| [row % 4, row / 64]).collect();
    let codes = Tensor::<2, Int>::from_data(TensorData::new(list.clone(), [256, 2]), &Device::default());
    let with = |logits: Vec<f32>| {
        let logits = Tensor::from_data(TensorData::new(logits, [256, 10]), &Device::default());
        with_answers(LossConfig::CrossEntropy, logits, Targets::Codes(codes.clone()))
    };
    let truth = with(list.iter().flat_map(|&code| (0..5).map(move |k| if k == code { 50.0 } else { 0.0 })).collect());
    assert!((truth.r2 - 1.0).abs() < 1e-9, "{truth:?}");
    assert_eq!(truth.codes, Some(CodesHealth { n_codes: 5, accuracy: 1.0 }));
    assert!((truth.target_spread - 4.0).abs() < 1e-9 && (truth.prediction_spread - 4.0).abs() < 1e-9);
    let often = with([0.0, 0.0, 0.0, 0.0, -50.0].repeat(512));
    // Miller and Madow add 3 / 512 to ln 4.
    let expected = 1.0 - 4.0_f64.ln() / (4.0_f64.ln() + 3.0 / 512.0);
    assert!((often.r2 - expected).abs() < 1e-9, "{often:?}");
    assert!((often.prediction_spread - 1.0).abs() < 1e-9);
    assert_eq!(often.codes, Some(CodesHealth { n_codes: 5, accuracy: 0.25 }));
    assert!(with(vec![0.0; 2560]).r2 < 0.0);
}

#[test]
fn pictures_that_are_all_alike_leave_positions_alone() {
    let healthy = first(&config([32, 2]), &Owned::draw(0, 0, 16, 1));
    assert!(healthy.between_clips > 0.05, "{healthy:?}");
    assert!(healthy.target_spread > 0.1 && healthy.dead_dimensions == 0.0, "{healthy:?}");
    let alike = first(&config([32, 2]), &Owned::draw(0, 0, 16, 1).silent());
    assert!(alike.between_clips < 0.01 && alike.between_positions > 0.9, "{alike:?}");
}

#[test]
#[should_panic(expected = "last one of the step")]
fn another_batch_is_refused() {
    let batch = Owned::draw(0, 0, 4, 1);
    let mut learner = Learner::new(config([32, 2]).recipe().unwrap(), 0, &Device::default()).unwrap();
    let report = learner.step(&[batch.batch()]).unwrap();
    health(learner.model.recipe(), &report, &Owned::draw(0, 0, 5, 1).batch());
}
