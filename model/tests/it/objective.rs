//! Losses and regularisers, values and gradients, against PyTorch.

use ajepa_model::LossConfig;
use ajepa_model::objective::{Targets, sigreg, standardize, variance_covariance};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::fixture::{assert_close, load, matrix, noise, numbers};

/// Value and gradient with respect to predictions.
fn assert_agrees(name: &str, of: impl Fn(Tensor<2>) -> Tensor<1>) {
    let stored = load("objective");
    let predictions = matrix("p", 24, 12).autodiff().require_grad();
    let value = of(predictions.clone());
    let grad = predictions.grad(&value.backward()).unwrap();
    assert_close(name, &numbers(value.inner()), &stored[name], 1e-5);
    assert_close(name, &numbers(grad), &stored[&format!("{name}.grad")], 1e-5);
}

#[test]
fn losses_over_latents() {
    let targets = Targets::Latents(standardize(matrix("t", 24, 12)));
    assert_agrees("mse", |p| LossConfig::Mse.of(p, &targets));
    assert_agrees("smooth_l1", |p| LossConfig::SmoothL1 { beta: 0.5 }.of(p, &targets));
    assert_agrees("cosine", |p| LossConfig::Cosine.of(p, &targets));
}

#[test]
fn cross_entropy_over_three_books_of_four_codes() {
    let codes: Vec<i32> = noise("codes", 72).into_iter().map(|x| ((f64::from(x) + 1.0) * 2.0) as i32).collect();
    let codes = Tensor::<2, Int>::from_data(TensorData::new(codes, [24, 3]), &Device::default());
    let targets = Targets::Codes(codes);
    assert_agrees("cross_entropy", |p| LossConfig::CrossEntropy.of(p, &targets));
}

#[test]
fn regularisers() {
    assert_agrees("variance_covariance", |p| variance_covariance(p, 0.7, 0.3));
    let directions = matrix("directions", 12, 9);
    let directions = directions.clone() / (directions.clone() * directions).sum_dim(0).sqrt();
    assert_agrees("sigreg", |p| sigreg(p, directions.clone()));
}
