//! From any sample rate to one, the way soxr HQ does it, block by block, with no delay left over.
//!
//! # What it promises
//! * Pass band to 0.913 of the lower Nyquist frequency within 0.1 dB, off at 1.0; images and aliases <= -120 dB.
//! * Output frame `i` lies at time `i / rate_out`: no delay remains, not a whole frame and not a fraction of one.
//! * `ceil(n * rate_out / rate_in)` frames; outside the clip there is silence.
//! * A clip in pieces of any size gives the same bits as the clip whole.
//!
//! # How
//! Overlap-save: each block's spectrum is multiplied by a zero-phase Kaiser-windowed sinc and cut, or extended, to the other
//! rate. Where blocks have lengths without large primes, as at all common rates, up to 32 of them are converted side by side
//! in the lanes of vector registers (`lanes`), two to a lane, which takes half the time that [`realfft`] takes for them one
//! by one. The others go that way (`single`): 6400/2469 in a few times 6400, two coprime rates in a small multiple of the
//! larger one. A stream that asks for less gets less at first: nothing waits for 32 blocks.
//!
//! # Why not rubato
//! rubato 5.0.1's FFT resampler ties its filter to its block. Measured from 44.1 to 32 kHz: blocks of 882 and 1764 frames pass
//! up to 0.97 and 0.98 of the Nyquist frequency, leave no delay, and agree with soxr HQ on music to 22 to 39 dB and 20 to
//! 35 dB, against 72 to 88 dB here; blocks that are not even multiples of 441 come half an input frame early. Its sinc
//! resamplers leave a fraction of a frame and take ten times as long. It is beside this one in `benches/resample.rs`, where
//! it takes about four times the time.
//!
//! # Example: a tone keeps its place
//! ```
//! use ajepa_ops::resample::ResampleConfig;
//! let tone = |rate_hz: f64, n: usize| -> Vec<f32> {
//!     (0..n).map(|i| (std::f64::consts::TAU * 440.0 * i as f64 / rate_hz).sin() as f32).collect()
//! };
//! let mut resampler = ResampleConfig::new(32_000).build(44_100)?;
//! let mut out = Vec::new();
//! resampler.process(&tone(44_100.0, 44_100), &mut out)?;
//! assert_eq!(out.len(), 32_000);
//! let expected = tone(32_000.0, 32_000);
//! assert!((1000..31_000).all(|i| (out[i] - expected[i]).abs() < 1e-5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod fft;
mod filter;
mod lanes;
mod plan;
mod read;
mod sinc;
mod single;
mod stream;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cache::ResamplerCache;
pub use read::Resampled;
pub use sinc::HannSinc;
pub use stream::Resampler;

use crate::ConfigError;

/// Lowest sample rate that is converted, in Hz.
pub const MIN_RATE_HZ: u32 = 1_000;
/// Highest sample rate that is converted, in Hz.
pub const MAX_RATE_HZ: u32 = 768_000;

/// To which rate clips are brought, and with which filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResampleConfig {
    /// Sample rate of the output, in Hz; 1000 to 768000.
    #[schemars(range(min = 1_000, max = 768_000))]
    pub rate_hz: u32,
    /// Which low-pass stands between the rates. Default: `soxr_hq`.
    #[serde(default)]
    pub quality: Quality,
}

/// The low-pass between two rates, by its transition band. All are linear-phase; all stop by 120 dB at the lower Nyquist frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Passes up to 0.913 of the lower Nyquist frequency, as soxr does at "HQ": what most corpora went through.
    #[default]
    SoxrHq,
    /// Passes up to 0.97: the most bandwidth, with ringing three times as long.
    Steep,
    /// Passes up to 0.80: the shortest ringing.
    Gentle,
}

impl ResampleConfig {
    /// To `rate_hz` with the default filter.
    pub fn new(rate_hz: u32) -> Self {
        Self { rate_hz, quality: Quality::default() }
    }

    /// Plans mono clips of `rate_in_hz`; [`Resampler::reset`] changes the channels later.
    ///
    /// # Errors
    /// Either rate out of [`MIN_RATE_HZ`] to [`MAX_RATE_HZ`].
    pub fn build(&self, rate_in_hz: u32) -> Result<Resampler, ConfigError> {
        self.check()?;
        check_rate("rate_in_hz", rate_in_hz)?;
        Ok(Resampler::new(rate_in_hz, self.rate_hz, self.quality))
    }

    /// A cache that plans each input rate when it first meets it: what a worker holds for clips of many rates.
    ///
    /// # Errors
    /// `rate_hz` out of range.
    pub fn build_cache(&self) -> Result<ResamplerCache, ConfigError> {
        self.check()?;
        Ok(ResamplerCache::new(self.clone()))
    }

    /// Everything that can be wrong without knowing the input's rate.
    ///
    /// # Errors
    /// `rate_hz` out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_rate("rate_hz", self.rate_hz)
    }
}

fn check_rate(field: &'static str, rate_hz: u32) -> Result<(), ConfigError> {
    if (MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate_hz) {
        return Ok(());
    }
    Err(ConfigError::new(
        field,
        format!("{rate_hz} Hz is no sample rate of audio"),
        format!("{MIN_RATE_HZ} to {MAX_RATE_HZ}, for example 16000 or 32000"),
    ))
}
