//! The presets' numbers: what the paper prints, what the code ran, what the published weights came from, and two small ones.

use ajepa_ops::patch::{PatchifyConfig, TimeAxis};

use crate::config::{EncoderConfig, PredictorConfig, Preset, Recipe};
use crate::objective::{LatentTarget, LossConfig, RegulariserConfig, TargetConfig, VarianceCovariance};
use crate::optim::{AdamWConfig, Decay, ScheduleConfig, Shape};
use crate::params::{Compute, Init};
use crate::positions::Positions;

/// Steps of an epoch of 1,921,982 clips in batches of 256: the code's moving average is scheduled by epochs.
const STEPS_AN_EPOCH: u64 = 7508;

impl Preset {
    /// The recipe behind the name.
    pub fn recipe(self) -> Recipe {
        match self {
            Self::Paper2025 => paper(),
            Self::Code225b816 => code(),
            Self::Base2026 => base(),
            Self::Tiny => small([192, 3], [96, 3]),
            Self::Small => small([384, 6], [192, 6]),
        }
    }
}

fn encoder(width: usize, n_heads: usize) -> EncoderConfig {
    EncoderConfig { width, depth: 12, n_heads, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 }
}

fn predictor(width: usize, depth: usize, n_heads: usize) -> PredictorConfig {
    PredictorConfig { width, depth, n_heads, mlp_ratio: 4, norm_eps: 1e-5 }
}

fn latents(standardize: bool) -> TargetConfig {
    TargetConfig::MovingAverage(LatentTarget { mean_of_last: None, standardize })
}

/// From `warmup_from` up to `start` in `warmup_steps`, then by a cosine to `end` at `steps`.
fn cosine([warmup_from, start, end]: [f64; 3], warmup_steps: u64, steps: u64) -> ScheduleConfig {
    let shape = Shape::Cosine;
    ScheduleConfig { shape, start, end, warmup_from, warmup_steps, steps, ..ScheduleConfig::constant(0.0) }
}

fn paper() -> Recipe {
    Recipe {
        picture: [256, 128],
        time_axis: TimeAxis::Rows,
        patch: PatchifyConfig::default(),
        positions: Positions::SinCos,
        encoder: encoder(768, 12),
        predictor: predictor(384, 6, 12),
        init: Init::TruncatedNormal,
        compute: Compute::F32,
        target: latents(false),
        loss: LossConfig::Mse,
        regulariser: RegulariserConfig::None,
        optimiser: AdamWConfig { betas: [0.9, 0.95], decay: Decay::Matrices, ..AdamWConfig::default() },
        learning_rate: cosine([1e-6, 3e-4, 0.0], 1000, 100_000),
        weight_decay: ScheduleConfig::constant(0.05),
        tau: code_tau(),
    }
}

fn code() -> Recipe {
    Recipe {
        picture: [512, 96],
        target: latents(true),
        loss: LossConfig::Cosine,
        learning_rate: cosine([1e-6, 1e-3, 0.0], 1000, 100_000),
        weight_decay: ScheduleConfig::constant(1e-6),
        ..paper()
    }
}

/// 0.996 to 1 by a cosine over 50 epochs: never past 0.9967 in the 100,000 steps that are trained.
fn code_tau() -> ScheduleConfig {
    cosine([0.0, 0.996, 1.0], 0, 50 * STEPS_AN_EPOCH)
}

fn base() -> Recipe {
    const STEPS: u64 = 200_000;
    Recipe {
        picture: [128, 256],
        time_axis: TimeAxis::Cols,
        encoder: EncoderConfig { drop_path: 0.1, ..encoder(768, 12) },
        predictor: predictor(768, 4, 12),
        optimiser: AdamWConfig { decay: Decay::All, ..AdamWConfig::default() },
        learning_rate: cosine([0.0, 1e-4, 1e-7], STEPS / 20, STEPS),
        tau: ScheduleConfig { shape: Shape::Linear, ..cosine([0.0, 0.996, 1.0], 0, STEPS) },
        ..paper()
    }
}

fn small([width, n_heads]: [usize; 2], [predictor_width, predictor_heads]: [usize; 2]) -> Recipe {
    const STEPS: u64 = 20_000;
    Recipe {
        encoder: encoder(width, n_heads),
        predictor: predictor(predictor_width, 6, predictor_heads),
        target: latents(true),
        // Without it latents fall into few directions within some hundred steps, and an untrained encoder serves better.
        regulariser: RegulariserConfig::VarianceCovariance(VarianceCovariance::default()),
        optimiser: AdamWConfig { clip_norm: Some(1.0), ..paper().optimiser },
        learning_rate: cosine([1e-6, 5e-4, 1e-6], STEPS / 20, STEPS),
        tau: ScheduleConfig { shape: Shape::Linear, ..cosine([0.0, 0.996, 1.0], 0, STEPS) },
        ..paper()
    }
}
