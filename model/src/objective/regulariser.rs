//! What keeps latents apart without a moving average: a price on their collapse.

use ajepa_ops::seed;
use burn::tensor::{Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Faults;
use crate::params::normal_within;

/// Which latents are regularised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Regularised {
    /// The context encoder's output.
    #[default]
    Context,
    /// The predictor's answers.
    Predictions,
}

/// What is added to the loss.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegulariserConfig {
    /// Nothing.
    #[default]
    None,
    /// Each dimension is to vary, no two together (VICReg, Bardes 2022, arXiv 2105.04906).
    VarianceCovariance(VarianceCovariance),
    /// Latents are to be distributed as a standard normal, by tests along random directions (LeJEPA, Balestriero 2025, arXiv 2511.08544).
    Sigreg(Sigreg),
}

/// Weights of [`variance_covariance`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VarianceCovariance {
    /// Which latents. Default `context`.
    pub on: Regularised,
    /// Weight of the variance term. Default 1.
    pub variance_weight: f32,
    /// Weight of the covariance term. Default 0.04.
    pub covariance_weight: f32,
}

impl Default for VarianceCovariance {
    fn default() -> Self {
        Self { on: Regularised::Context, variance_weight: 1.0, covariance_weight: 0.04 }
    }
}

/// Weight and extent of [`sigreg`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sigreg {
    /// Which latents. Default `context`.
    pub on: Regularised,
    /// Weight of the statistic. Default 0.05.
    pub weight: f32,
    /// Random directions, drawn anew at each step. Default 256.
    pub n_directions: usize,
}

impl Default for Sigreg {
    fn default() -> Self {
        Self { on: Regularised::Context, weight: 0.05, n_directions: 256 }
    }
}

impl RegulariserConfig {
    pub(crate) fn check(&self, faults: &mut Faults) {
        let high = f64::from(f32::MAX);
        match self {
            Self::None => {}
            Self::VarianceCovariance(weights) => {
                faults.within("regulariser.variance_weight", f64::from(weights.variance_weight), 0.0, high);
                faults.within("regulariser.covariance_weight", f64::from(weights.covariance_weight), 0.0, high);
            }
            Self::Sigreg(sigreg) => {
                faults.within("regulariser.weight", f64::from(sigreg.weight), 0.0, high);
                faults.positive("regulariser.n_directions", sigreg.n_directions);
            }
        }
    }

    /// The term, [1]; none where there is nothing to add. `step_seed` decides about directions.
    pub(crate) fn of(&self, context: &Tensor<2>, predictions: &Tensor<2>, step_seed: u64) -> Option<Tensor<1>> {
        let pick = |on| match on {
            Regularised::Context => context.clone(),
            Regularised::Predictions => predictions.clone(),
        };
        match *self {
            Self::None => None,
            Self::VarianceCovariance(VarianceCovariance { on, variance_weight, covariance_weight }) => {
                Some(variance_covariance(pick(on), variance_weight, covariance_weight))
            }
            Self::Sigreg(Sigreg { on, weight, n_directions }) => {
                let latents = pick(on);
                let directions = directions(latents.dims()[1], n_directions, step_seed, &latents.device().inner());
                Some(sigreg(latents, directions).mul_scalar(weight))
            }
        }
    }
}

/// variance weight * mean over dimensions of max(0, 1 - sqrt(variance + 1e-4)), plus covariance weight * sum of squared covariances
/// of different dimensions / dimensions; variances and covariances over rows are the unbiased ones.
///
/// # Shapes
/// `latents` [rows, width] -> one number.
pub fn variance_covariance(latents: Tensor<2>, variance_weight: f32, covariance_weight: f32) -> Tensor<1> {
    let [rows, width] = latents.dims();
    let centred = latents.clone() - latents.mean_dim(0);
    let covariance = centred.clone().transpose().matmul(centred.clone()).div_scalar((rows.max(2) - 1) as f32);
    let variance = (centred.clone() * centred).sum_dim(0).div_scalar((rows.max(2) - 1) as f32);
    let spread = variance.clone().add_scalar(1e-4).sqrt();
    let too_little = spread.neg().add_scalar(1.0).clamp_min(0.0).mean();
    let all = (covariance.clone() * covariance).sum();
    let own = (variance.clone() * variance).sum();
    too_little.mul_scalar(variance_weight) + (all - own).mul_scalar(covariance_weight / width as f32)
}

/// Mean over directions of the Epps-Pulley statistic against the standard normal: rows times the integral over t in [-5, 5] of
/// |mean of exp(i t x) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), by the trapezium rule at 17 knots, x being latents along the direction.
///
/// # Shapes
/// `latents` [rows, width], `directions` [width, n] of unit length each -> one number.
pub fn sigreg(latents: Tensor<2>, directions: Tensor<2>) -> Tensor<1> {
    // The integrand is even, and nothing at 0: eight knots stand for all seventeen.
    const KNOTS: usize = 8;
    const STEP: f32 = 5.0 / KNOTS as f32;
    let rows = latents.dims()[0] as f32;
    let along = latents.matmul(directions);
    let term = |knot: usize| {
        let t = STEP * knot as f32;
        let normal = (-0.5 * t * t).exp();
        let share = if knot == KNOTS { STEP } else { 2.0 * STEP };
        let angle = along.clone().mul_scalar(t);
        let real = angle.clone().cos().mean_dim(0).sub_scalar(normal);
        let imaginary = angle.sin().mean_dim(0);
        (real.clone() * real + imaginary.clone() * imaginary).mean().mul_scalar(share * normal)
    };
    let integral = (2..=KNOTS).map(term).fold(term(1), |sum, term| sum + term);
    integral.mul_scalar(rows)
}

/// Unit vectors [width, n], uniform over the sphere.
fn directions(width: usize, n: usize, step_seed: u64, device: &Device) -> Tensor<2> {
    let rng = &mut seed::rng(seed::derive(&[step_seed, seed::hash_str("sigreg")]));
    let drawn = (0..width * n).map(|_| normal_within(rng, f64::INFINITY) as f32).collect::<Vec<_>>();
    let drawn = Tensor::<2>::from_data(TensorData::new(drawn, [width, n]), device);
    drawn.clone() / (drawn.clone() * drawn).sum_dim(0).sqrt()
}
