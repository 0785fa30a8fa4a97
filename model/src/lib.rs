//! Audio-JEPA in burn: a context encoder, a predictor, and the objectives between them.
//!
//! A log-mel picture is cut into patches. The *encoder* sees a random part of them; the *predictor* gets what the encoder made of
//! it and says what a *target* is at the places that were hidden: latents of a moving average of the encoder that sees all, or
//! frozen codes. The loss is taken only there ([arXiv 2507.02915](https://arxiv.org/abs/2507.02915)).
//!
//! This crate takes batches and gives numbers: it knows nothing of pipelines, files of audio or YAML, and has no threads but the
//! pool its arithmetic runs on. [`ModelConfig`] names a preset and what is to be different; [`Learner`] makes one step after
//! another.
//!
//! # Example: one step on noise
//! ```
//! use ajepa_model::{EncoderConfig, Learner, ModelConfig, Pictures, TrainBatch};
//! # use ajepa_model::PredictorConfig;
//! let encoder = EncoderConfig { width: 32, depth: 2, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 };
//! # let predictor = PredictorConfig { width: 16, depth: 1, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5 };
//! let config = ModelConfig { picture: Some([32, 32]), encoder: Some(encoder), predictor: Some(predictor), ..ModelConfig::default() };
//! let mut learner = Learner::new(config.recipe()?, 0, &Default::default())?;
//! let pictures: Vec<f32> = (0..2 * 32 * 32).map(|i| (i as f32 * 0.7).sin()).collect();
//! let batch = TrainBatch {
//!     pictures: Pictures::F32(&pictures),
//!     context: &[0, 1, 1, 2],
//!     target: &[2, 3, 0, 3],
//!     n_clips: 2,
//!     n_masks: 1,
//!     n_blocks: 1,
//! };
//! let report = learner.step(&[batch])?;
//! assert!(report.loss.is_finite() && report.grad_norm > 0.0);
//! # Ok::<(), ajepa_model::ModelError>(())
//! ```

mod batch;
mod block;
pub mod checkpoint;
pub mod config;
pub mod device;
mod encoder;
mod error;
mod frozen;
mod jepa;
mod linear;
mod memory;
pub mod objective;
pub mod ops;
pub mod optim;
mod pages;
pub mod params;
pub mod positions;
mod predictor;
mod presets;
pub mod probe;
mod step;
pub mod telemetry;
pub mod train;

pub use batch::{Pictures, TrainBatch};
pub use burn::tensor::Device;
pub use config::{EncoderConfig, ModelConfig, PredictorConfig, Preset, Recipe};
pub use device::{DeviceChoice, DeviceError, GpuKind, OpenDevice};
pub use encoder::{Encoder, Tokens};
pub use error::ModelError;
pub use frozen::{EncoderChoice, FrozenEncoder};
pub use jepa::{Jepa, Uploaded, Uploader, Weights};
pub use memory::{BatchSizes, TrainMemory};
pub use objective::{LossConfig, RegulariserConfig, TargetConfig};
pub use optim::{ScheduleConfig, Shape};
pub use pages::{keep_pages, share_heaps};
pub use params::{Compute, Init, Params};
pub use positions::Positions;
pub use step::{Learner, StepReport};
