//! The silent ends of a clip.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// What counts as silence at a clip's ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrimSilenceConfig {
    /// A frame whose root mean square lies below this is silent, in dB relative to a root mean square of 1.0; -200 to 0.
    /// Default: -60.
    #[schemars(range(min = -200.0, max = 0.0))]
    pub threshold_dbfs: f64,
    /// Length of the frames that are measured, in seconds; more than 0, at most 10. Default: 0.02.
    pub frame_s: f64,
    /// Silence that stays before the first and after the last loud frame, in seconds; 0 to 3600. Default: 0.05.
    pub keep_s: f64,
}

impl Default for TrimSilenceConfig {
    fn default() -> Self {
        Self { threshold_dbfs: -60.0, frame_s: 0.02, keep_s: 0.05 }
    }
}

impl TrimSilenceConfig {
    /// Checks everything and fixes lengths for clips of `rate_hz`.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn build(&self, rate_hz: u32) -> Result<TrimSilence, ConfigError> {
        let range = |field, value: f64, range: std::ops::RangeInclusive<f64>| {
            if range.contains(&value) {
                return Ok(value);
            }
            Err(ConfigError::new(
                field,
                format!("{value} is out of range"),
                format!("{} to {}", range.start(), range.end()),
            ))
        };
        let threshold_dbfs = range("threshold_dbfs", self.threshold_dbfs, -200.0..=0.0)?;
        let frame = (range("frame_s", self.frame_s, 1e-6..=10.0)? * f64::from(rate_hz)).round().max(1.0);
        let keep = (range("keep_s", self.keep_s, 0.0..=3600.0)? * f64::from(rate_hz)).round();
        Ok(TrimSilence { power: 10_f64.powf(threshold_dbfs / 10.0), frame: frame as usize, keep: keep as usize })
    }
}

/// Finds where a clip's sound begins and ends. [`TrimSilenceConfig::build`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct TrimSilence {
    /// Mean square from which on a frame is loud.
    power: f64,
    /// Samples per channel of a measured frame.
    frame: usize,
    keep: usize,
}

impl TrimSilence {
    /// The part of an interleaved clip that is not silence at its ends, in samples per channel. Empty (`0..0`) when all of it
    /// is silent: whether that is a bad clip is the caller's to say.
    ///
    /// # Example: half a second of sound in the middle
    /// ```
    /// use ajepa_ops::crop::TrimSilenceConfig;
    /// let mut clip = vec![0.0; 3000];
    /// clip[1000..1500].fill(0.5);
    /// let trim = TrimSilenceConfig { keep_s: 0.1, ..TrimSilenceConfig::default() }.build(1000)?;
    /// assert_eq!(trim.range(&clip, 1), 900..1600);
    /// assert_eq!(trim.range(&[0.0; 3000], 1), 0..0);
    /// # Ok::<(), ajepa_ops::ConfigError>(())
    /// ```
    pub fn range(&self, samples: &[f32], channels: usize) -> Range<usize> {
        let n = samples.len() / channels;
        let loud = |frame: &[f32]| {
            let sum: f64 = frame.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            sum >= self.power * frame.len() as f64
        };
        let mut frames = samples[..n * channels].chunks(self.frame * channels);
        let Some(first) = frames.position(loud) else { return 0..0 };
        // `position` has passed the first loud frame; when no later one is loud, it is the last as well.
        let last = frames.rposition(loud).map_or(first, |index| first + 1 + index);
        let start = (first * self.frame).saturating_sub(self.keep);
        let end = ((last + 1) * self.frame).saturating_add(self.keep).min(n);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_is_heard_and_ends_are_clamped() {
        let trim = TrimSilenceConfig { keep_s: 10.0, ..TrimSilenceConfig::default() }.build(1000).unwrap();
        let mut clip = vec![0.0; 2 * 500];
        clip[2 * 499 + 1] = 0.9;
        assert_eq!(trim.range(&clip, 2), 0..500);
        let trim = TrimSilenceConfig { keep_s: 0.0, ..TrimSilenceConfig::default() }.build(1000).unwrap();
        assert_eq!(trim.range(&clip, 2), 480..500);
        assert_eq!(trim.range(&[], 2), 0..0);
    }

    #[test]
    fn the_threshold_is_a_root_mean_square() {
        let trim = TrimSilenceConfig { threshold_dbfs: -20.0, ..TrimSilenceConfig::default() }.build(1000).unwrap();
        assert_eq!(trim.range(&[0.0999; 100], 1), 0..0);
        assert_eq!(trim.range(&[0.1001; 100], 1), 0..100);
        assert!(TrimSilenceConfig { frame_s: 0.0, ..TrimSilenceConfig::default() }.build(1000).is_err());
    }
}
