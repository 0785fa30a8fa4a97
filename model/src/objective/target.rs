//! Targets: what the predictor must say about a hidden token.

use burn::tensor::{Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CodesConfig;
use crate::config::Faults;

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetConfig {
    /// What a moving average of the encoder, which sees the whole picture, makes of the token (I-JEPA, Assran 2023, arXiv 2301.08243).
    MovingAverage(LatentTarget),
    /// The code of the token's patch under a random projection that is never trained (BEST-RQ, Chiu 2022, arXiv 2202.01855).
    RandomProjection(CodesConfig),
}

/// Which latents of the moving average are predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LatentTarget {
    /// The mean over the last so many blocks' outputs, each standardised first so that none outweighs the others (after data2vec,
    /// Baevski 2022, arXiv 2202.03555). Default: the last block's alone, after the final norm.
    pub mean_of_last: Option<usize>,
    /// Whether each token's target is brought to mean 0 and variance 1. Default false.
    pub standardize: bool,
}

/// Targets of one batch, row by row with the predictions.
#[derive(Debug, Clone)]
pub enum Targets {
    /// Latents [rows, width].
    Latents(Tensor<2>),
    /// Codes [rows, codebooks].
    Codes(Tensor<2, Int>),
}

impl TargetConfig {
    pub(crate) fn check(&self, depth: usize, faults: &mut Faults) {
        match self {
            Self::MovingAverage(LatentTarget { mean_of_last: Some(n), .. }) if !(1..=depth).contains(n) => {
                let problem = format!("the encoder has no last {n} of its {depth} blocks");
                faults.add("target.mean_of_last", problem, format!("1 to {depth}"));
            }
            Self::MovingAverage(_) => {}
            Self::RandomProjection(codes) => codes.check(faults),
        }
    }

    /// Numbers that the predictor gives for a token, the latents being `width` wide.
    pub(crate) fn answer_width(&self, width: usize) -> usize {
        match self {
            Self::MovingAverage(_) => width,
            Self::RandomProjection(codes) => codes.n_codes * codes.n_codebooks,
        }
    }
}

impl LatentTarget {
    /// The target from what was asked of the moving average: its last layers, or its output alone.
    pub(crate) fn combine(&self, layers: Vec<Tensor<2>>) -> Tensor<2> {
        let n = layers.len() as f32;
        let mean = if self.mean_of_last.is_some() {
            layers.into_iter().map(standardize).reduce(|sum, layer| sum + layer).map(|sum| sum.div_scalar(n))
        } else {
            layers.into_iter().next_back()
        };
        let mean = mean.expect("an encoder has at least one block");
        if self.standardize { standardize(mean) } else { mean }
    }
}

/// Each row less its mean, over sqrt(variance + 1e-6), the variance being the unbiased one: as the reference does.
pub fn standardize(x: Tensor<2>) -> Tensor<2> {
    let n = x.dims()[1] as f32;
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).sum_dim(1).div_scalar((n - 1.0).max(1.0));
    centred / variance.add_scalar(1e-6).sqrt()
}
