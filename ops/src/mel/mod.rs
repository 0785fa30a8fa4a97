//! Log-mel pictures: Kaldi's filter bank and the centred STFT form, in the presets of Audio-JEPA or with numbers of your own.

mod config;
mod filter_bank;
mod kernel;
mod log;
mod log_mel;
mod numbers;
mod standardize;

pub use config::{Axes, Extent, LogMelConfig, LogMelPreset, MelKind, Pad};
pub use log_mel::LogMel;
pub use numbers::LogMelNumbers;
pub use standardize::{Standardize, StandardizeConfig, StandardizeMode};
