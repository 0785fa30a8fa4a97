//! How far predictions are from their targets.

use burn::tensor::{Int, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TargetConfig, Targets};
use crate::config::Faults;

/// The loss, a mean over all rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossConfig {
    /// Mean squared error, over rows and columns.
    Mse,
    /// Squares below `beta`, straight beyond, over rows and columns.
    SmoothL1 {
        /// Where the straight part begins.
        beta: f32,
    },
    /// 2 - 2 cos(prediction, target), over rows; for latents.
    Cosine,
    /// Cross-entropy over codes; for random-projection codes.
    CrossEntropy,
}

impl LossConfig {
    pub(crate) fn check(self, target: &TargetConfig, faults: &mut Faults) {
        let codes = matches!(target, TargetConfig::RandomProjection(_));
        match self {
            Self::CrossEntropy if !codes => {
                faults.add(
                    "loss",
                    "cross_entropy needs codes for targets",
                    "target: random_projection, or another loss",
                );
            }
            Self::Mse | Self::SmoothL1 { .. } | Self::Cosine if codes => {
                faults.add("loss", "random-projection codes are classes, not vectors", "loss: cross_entropy");
            }
            Self::SmoothL1 { beta } => faults.within("loss.beta", f64::from(beta), 1e-6, 1e6),
            _ => {}
        }
    }

    /// The loss, one number.
    ///
    /// # Panics
    /// When targets are of another kind than the loss: a recipe that was checked has none such.
    pub fn of(self, predictions: Tensor<2>, targets: &Targets) -> Tensor<1> {
        match (self, targets) {
            (Self::Mse, Targets::Latents(targets)) => {
                let off = predictions - targets.clone();
                (off.clone() * off).mean()
            }
            (Self::SmoothL1 { beta }, Targets::Latents(targets)) => {
                let off = (predictions - targets.clone()).abs();
                let inner = off.clone().clamp_max(beta);
                (inner.clone() * (off - inner.mul_scalar(0.5))).mean().div_scalar(beta)
            }
            (Self::Cosine, Targets::Latents(targets)) => cosine(predictions, targets.clone()),
            (Self::CrossEntropy, Targets::Codes(codes)) => cross_entropy(predictions, codes.clone()),
            (loss, _) => panic!("{loss:?} does not go with these targets"),
        }
    }
}

fn cosine(predictions: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let length = |x: Tensor<2>| (x.clone() * x).sum_dim(1).sqrt();
    let lengths = (length(predictions.clone()) * length(targets.clone())).clamp_min(1e-8);
    let cosines = (predictions * targets).sum_dim(1) / lengths;
    cosines.mean().mul_scalar(-2.0).add_scalar(2.0)
}

/// Mean over rows and code books; `logits` [rows, books * codes], `codes` [rows, books].
fn cross_entropy(logits: Tensor<2>, codes: Tensor<2, Int>) -> Tensor<1> {
    let ([rows, width], [_, books]) = (logits.dims(), codes.dims());
    let logits = logits.reshape([rows * books, width / books]);
    let likelihoods = activation::log_softmax(logits, 1).gather(1, codes.reshape([rows * books, 1]));
    likelihoods.mean().neg()
}
