//! Audio front end as plain objects: decode, downmix, resample, normalise, crop, mix, log-mel, patches and masks.
//!
//! Every op is a `XConfig` that is checked once by `build()` and yields an `X` that works on slices without allocating.
//! No threads, no files, no framework: an op is reused in another program by naming it.
//!
//! | step | config -> op |
//! |---|---|
//! | bytes to samples | [`decode::DecodeConfig`] -> [`decode::Decoder`] |
//! | rate | [`resample::ResampleConfig`] -> [`resample::Resampler`] |
//! | level | [`normalize::NormalizeConfig`], [`mix::GainConfig`], [`mix::MixNoiseConfig`] |
//! | extent | [`crop::CropConfig`], [`crop::TrimSilenceConfig`] |
//! | picture | [`mel::LogMelConfig`] -> [`mel::LogMel`], [`mel::StandardizeConfig`] |
//! | what it is | [`fingerprint::Fingerprinter`], [`level::Level`] |
//! | tokens | [`patch::PatchifyConfig`], [`mask::MaskConfig`] |

pub mod audio;
mod butterfly;
pub mod crop;
pub mod decode;
mod error;
pub mod fingerprint;
pub mod level;
pub mod mask;
pub mod mel;
pub mod mix;
pub mod normalize;
pub mod patch;
pub mod resample;
pub mod seed;
pub mod simd;
pub mod stft;

pub use audio::{AudioRead, MemoryAudio};
pub use error::{ConfigError, OpError};
