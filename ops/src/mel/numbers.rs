//! A front end in plain numbers, for a program that is to compute the same pictures without this crate.

use serde::{Deserialize, Serialize};

use super::config::{Axes, LogMelConfig, MelKind};
use crate::ConfigError;
use crate::stft::Window;

/// Everything that decides what a picture looks like, nothing left to be looked up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMelNumbers {
    /// Which convention.
    pub kind: MelKind,
    /// Sample rate in Hz.
    pub rate_hz: u32,
    /// Samples that a picture covers: longer clips are cut, shorter ones extended with zeros. None when as many as the clip has.
    pub n_samples: Option<usize>,
    /// Frames of a picture, what the samples do not reach filled with `pad_value`. None when as many as the clip gives.
    pub n_frames: Option<usize>,
    /// Window function.
    pub window: Window,
    /// Its length in samples.
    pub window_len: usize,
    /// Samples from one frame to the next.
    pub hop_len: usize,
    /// FFT length in samples.
    pub n_fft: usize,
    /// Mel bands.
    pub n_mels: usize,
    /// Lower edge of the lowest band in Hz.
    pub low_hz: f64,
    /// Upper edge of the highest band in Hz.
    pub high_hz: f64,
    /// Least energy of a band.
    pub energy_floor: f32,
    /// The value of cells that no sample reaches.
    pub pad_value: f32,
    /// Order of the dimensions.
    pub axes: Axes,
}

impl LogMelConfig {
    /// The config in plain numbers.
    ///
    /// # Errors
    /// As [`LogMelConfig::build`].
    ///
    /// # Example: a preset's
    /// ```
    /// use ajepa_ops::mel::{LogMelConfig, LogMelPreset};
    /// let numbers = LogMelConfig::preset(LogMelPreset::Code225b816).numbers()?;
    /// assert_eq!((numbers.window_len, numbers.hop_len, numbers.n_fft), (1562, 625, 2048));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn numbers(&self) -> Result<LogMelNumbers, ConfigError> {
        let pad_value = self.build()?.pad_value();
        let resolved = self.resolve()?;
        let (stft, band) = (&resolved.stft, &resolved.band);
        Ok(LogMelNumbers {
            kind: resolved.kind,
            rate_hz: resolved.rate_hz,
            n_samples: resolved.fixed.map(|fixed| fixed.extent_len),
            n_frames: resolved.fixed.map(|fixed| fixed.n_frames),
            window: stft.window,
            window_len: stft.window_len,
            hop_len: stft.hop_len,
            n_fft: band.n_fft,
            n_mels: band.n_mels,
            low_hz: band.low_hz,
            high_hz: band.high_hz,
            energy_floor: resolved.energy_floor,
            pad_value,
            axes: resolved.axes,
        })
    }
}
