//! Level of a clip: the reference's peak normalisation, peak, RMS, or only the mean removed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::simd::{Instructions, Kernel, Lanes};
use crate::{ConfigError, OpError};

/// How a clip is brought to level. It runs on the whole clip, before cropping and padding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NormalizeConfig {
    /// Which rule. Default: `code-225b816`.
    #[serde(default)]
    pub preset: NormalizePreset,
    /// Level to reach, in dB relative to full scale (a sample of 1.0, for `rms` a root mean square of 1.0); -120 to 0.
    /// Default: -1 for `peak`, -23 for `rms`. Active only if `preset` is `peak` or `rms`.
    #[serde(default)]
    #[schemars(range(min = -120.0, max = 0.0))]
    pub level_dbfs: Option<f64>,
    /// No sample ends above this, in dB relative to full scale; -120 to 0. Default: 0. Active only if `preset` is `rms`.
    #[serde(default)]
    #[schemars(range(min = -120.0, max = 0.0))]
    pub peak_limit_dbfs: Option<f64>,
}

/// The rule of [`NormalizeConfig`]. In all of them a silent clip stays silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum NormalizePreset {
    /// `(x - mean) / max|x - mean| + 1e-6`, in single precision: Audio-JEPA's code at commit 225b816, to the digit.
    ///
    /// The offset of 1e-6 is the reference's; it was meant to guard the division and does not. A clip with no sound
    /// becomes NaN there; here it becomes zeros.
    #[default]
    #[serde(rename = "code-225b816")]
    Code225b816,
    /// The largest magnitude comes to `level_dbfs`; the mean stays.
    #[serde(rename = "peak")]
    Peak,
    /// The root mean square comes to `level_dbfs`, or as near as `peak_limit_dbfs` allows; the mean stays.
    #[serde(rename = "rms")]
    Rms,
    /// The mean is taken off, the level stays.
    #[serde(rename = "mean")]
    Mean,
}

impl NormalizeConfig {
    /// `preset` with its default levels.
    pub fn new(preset: NormalizePreset) -> Self {
        Self { preset, level_dbfs: None, peak_limit_dbfs: None }
    }

    /// Checks the levels.
    ///
    /// # Errors
    /// A level out of -120 to 0 dBFS, or one that the preset does not use.
    pub fn build(&self) -> Result<Normalize, ConfigError> {
        use NormalizePreset::{Code225b816, Mean, Peak, Rms};
        let rule = match self.preset {
            Code225b816 => Rule::Reference,
            Mean => Rule::Mean,
            Peak => Rule::Peak { level: amplitude("level_dbfs", self.level_dbfs.unwrap_or(-1.0))? },
            Rms => Rule::Rms {
                level: amplitude("level_dbfs", self.level_dbfs.unwrap_or(-23.0))?,
                limit: amplitude("peak_limit_dbfs", self.peak_limit_dbfs.unwrap_or(0.0))?,
            },
        };
        if self.level_dbfs.is_some() && !matches!(self.preset, Peak | Rms) {
            return Err(unused("level_dbfs", "`peak` or `rms`"));
        }
        if self.peak_limit_dbfs.is_some() && self.preset != Rms {
            return Err(unused("peak_limit_dbfs", "`rms`"));
        }
        Ok(Normalize { rule })
    }
}

fn amplitude(field: &'static str, dbfs: f64) -> Result<f64, ConfigError> {
    if (-120.0..=0.0).contains(&dbfs) {
        return Ok(10_f64.powf(dbfs / 20.0));
    }
    Err(ConfigError::new(field, format!("{dbfs} dBFS is out of range"), "-120 to 0"))
}

fn unused(field: &'static str, presets: &str) -> ConfigError {
    ConfigError::new(field, "the preset does not use it", format!("remove it, or set `preset` to {presets}"))
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    Reference,
    Mean,
    Peak { level: f64 },
    Rms { level: f64, limit: f64 },
}

/// Brings clips to level, in place. [`NormalizeConfig::build`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Normalize {
    rule: Rule,
}

/// What normalisation does to a clip's samples: `(x - mean) / divisor + offset`, in single precision.
///
/// Apart from the clip, so that it can be measured on the whole of it and applied to a crop, or carried into the features:
/// a log-mel, before its floor, is shifted by `-2 ln(divisor)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjustment {
    /// Taken off every sample.
    pub mean: f32,
    /// Divides every sample after that; never 0.
    pub divisor: f32,
    /// Added at the end.
    pub offset: f32,
}

impl Adjustment {
    /// Leaves samples as they are.
    pub const IDENTITY: Self = Self { mean: 0.0, divisor: 1.0, offset: 0.0 };

    /// Applies it to `samples`.
    pub fn apply(&self, samples: &mut [f32]) {
        Instructions::widest().run(Apply { adjustment: *self, samples });
    }
}

// The three loops below are plain ones that the compiler makes vectors of; inside a kernel it may use the widest there are. Their
// lanes are arrays of a fixed length, so that the digits are the same with any.

struct Apply<'a> {
    adjustment: Adjustment,
    samples: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Adjustment { mean, divisor, offset } = self.adjustment;
        for sample in self.samples {
            // A division, as in the reference: a product with the reciprocal rounds differently.
            *sample = (*sample - mean) / divisor + offset;
        }
    }
}

impl Normalize {
    /// Normalises a whole clip of one channel (of several: all by the same numbers) in place.
    ///
    /// # Errors
    /// [`OpError::NonFinite`] when a sample is NaN or infinite; the clip is left as it was.
    ///
    /// # Example: a quiet tone on a constant
    /// ```
    /// use ajepa_ops::normalize::{NormalizeConfig, NormalizePreset};
    /// let mut clip = [0.25, 0.75, 0.25, 0.75];
    /// NormalizeConfig::new(NormalizePreset::Code225b816).build()?.process(&mut clip)?;
    /// assert_eq!(clip, [-1.0 + 1e-6, 1.0 + 1e-6, -1.0 + 1e-6, 1.0 + 1e-6]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process(&self, samples: &mut [f32]) -> Result<(), OpError> {
        self.measure(samples)?.apply(samples);
        Ok(())
    }

    /// The numbers by which a clip is normalised, without touching it.
    ///
    /// # Errors
    /// [`OpError::NonFinite`] when a sample is NaN or infinite.
    pub fn measure(&self, samples: &[f32]) -> Result<Adjustment, OpError> {
        let (sum, square_sum) =
            sum_and_square_sum(samples).ok_or_else(|| OpError::NonFinite { index: first_non_finite(samples) })?;
        let n = samples.len().max(1) as f64;
        let mean = (sum / n) as f32;
        Ok(match self.rule {
            Rule::Reference => match peak(samples, mean) {
                // Silence: taking the mean off is all that can be done, and leaves zeros.
                0.0 => Adjustment { mean, ..Adjustment::IDENTITY },
                divisor => Adjustment { mean, divisor, offset: 1e-6 },
            },
            Rule::Mean => Adjustment { mean, ..Adjustment::IDENTITY },
            Rule::Peak { level } => scaled_by(level / f64::from(peak(samples, 0.0))),
            Rule::Rms { level, limit } => {
                let gain = level / (square_sum / n).sqrt();
                scaled_by(gain.min(limit / f64::from(peak(samples, 0.0))))
            }
        })
    }
}

/// The adjustment of a pure gain; none for the infinite gain of a silent clip.
fn scaled_by(gain: f64) -> Adjustment {
    let divisor = (1.0 / gain) as f32;
    if divisor > 0.0 && divisor.is_finite() {
        Adjustment { divisor, ..Adjustment::IDENTITY }
    } else {
        Adjustment::IDENTITY
    }
}

/// The sums of the samples and of their squares, in double precision; `None` when a sample is not finite.
fn sum_and_square_sum(samples: &[f32]) -> Option<(f64, f64)> {
    let (sum, square) = Instructions::widest().run(Sums(samples));
    (sum.is_finite() && square.is_finite()).then_some((sum, square))
}

struct Sums<'a>(&'a [f32]);

impl Kernel for Sums<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<V: Lanes>(self) -> (f64, f64) {
        const LANES: usize = 8;
        let (mut sums, mut squares) = ([0.0_f64; LANES], [0.0_f64; LANES]);
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                let x = f64::from(chunk[lane]);
                sums[lane] += x;
                squares[lane] += x * x;
            }
        }
        for ((sum, square), &sample) in sums.iter_mut().zip(&mut squares).zip(rest) {
            let x = f64::from(sample);
            *sum += x;
            *square += x * x;
        }
        (sums.iter().sum(), squares.iter().sum())
    }
}

/// `max |x - mean|`, each difference rounded as [`Adjustment::apply`] rounds it.
fn peak(samples: &[f32], mean: f32) -> f32 {
    Instructions::widest().run(Peak { samples, mean })
}

struct Peak<'a> {
    samples: &'a [f32],
    mean: f32,
}

impl Kernel for Peak<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<V: Lanes>(self) -> f32 {
        const LANES: usize = 32;
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = self.samples.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                let distance = (chunk[lane] - self.mean).abs();
                // Not `max`, which would look for NaN: the sums have found them.
                lanes[lane] = if distance > lanes[lane] { distance } else { lanes[lane] };
            }
        }
        let rest = rest.iter().map(|sample| (sample - self.mean).abs());
        lanes.into_iter().chain(rest).fold(0.0, f32::max)
    }
}

fn first_non_finite(samples: &[f32]) -> usize {
    samples.iter().position(|sample| !sample.is_finite()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn normalized(config: &NormalizeConfig, samples: &[f32]) -> Vec<f32> {
        let mut samples = samples.to_vec();
        config.build().unwrap().process(&mut samples).unwrap();
        samples
    }

    #[test]
    fn the_reference_is_met_to_its_last_digits() {
        // make_normalize.py ran the reference's two lines in torch.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signal");
        let input = std::fs::read(folder.join("normalize.in.i16")).unwrap();
        let expected = std::fs::read(folder.join("normalize.out.f32")).unwrap();
        let input: Vec<f32> =
            input.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect();
        let expected = expected.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let ours = normalized(&NormalizeConfig::new(NormalizePreset::Code225b816), &input);
        let worst = ours.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("worst difference {worst:e}");
        assert!(input.len() == 32_000 && worst <= 1.2e-7, "{worst:e}");
    }

    #[test]
    fn silence_and_constants_become_zeros() {
        for clip in [vec![0.0; 1000], vec![0.1; 999], vec![], vec![-0.7]] {
            let out = normalized(&NormalizeConfig::new(NormalizePreset::Code225b816), &clip);
            assert!(out.iter().all(|&x| x == 0.0), "{out:?}");
        }
        for preset in [NormalizePreset::Peak, NormalizePreset::Rms] {
            assert_eq!(normalized(&NormalizeConfig::new(preset), &[0.0; 4]), [0.0; 4]);
        }
    }

    #[test]
    fn levels_are_met_and_the_limit_holds() {
        let clip = [0.1, -0.2, 0.1, -0.2];
        let peak = NormalizeConfig { level_dbfs: Some(-20.0), ..NormalizeConfig::new(NormalizePreset::Peak) };
        assert!((normalized(&peak, &clip)[1] + 0.1).abs() < 1e-7);
        let rms = NormalizeConfig { level_dbfs: Some(-20.0), ..NormalizeConfig::new(NormalizePreset::Rms) };
        let out = normalized(&rms, &clip);
        let level = (out.iter().map(|x| x * x).sum::<f32>() / 4.0).sqrt();
        assert!((level - 0.1).abs() < 1e-7, "{level}");
        let mut spike = [0.0; 1000];
        spike[7] = -0.5;
        assert_eq!(normalized(&NormalizeConfig { level_dbfs: Some(0.0), ..rms }, &spike)[7], -1.0);
        assert_eq!(normalized(&NormalizeConfig::new(NormalizePreset::Mean), &[1.0, 2.0, 3.0]), [-1.0, 0.0, 1.0]);
    }

    #[test]
    fn a_sample_that_is_not_finite_is_named() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut clip = [0.0, 1.0, bad, 2.0];
            let error = NormalizeConfig::new(NormalizePreset::Peak).build().unwrap().process(&mut clip).unwrap_err();
            assert!(matches!(error, OpError::NonFinite { index: 2 }));
            assert_eq!(clip[1], 1.0);
        }
    }

    #[test]
    fn levels_that_cannot_be_are_refused() {
        let loud = NormalizeConfig { level_dbfs: Some(3.0), ..NormalizeConfig::new(NormalizePreset::Peak) };
        assert_eq!(loud.build().unwrap_err().field, "level_dbfs");
        let unused = NormalizeConfig { level_dbfs: Some(-3.0), ..NormalizeConfig::new(NormalizePreset::Mean) };
        assert_eq!(unused.build().unwrap_err().field, "level_dbfs");
        let config: NormalizeConfig = serde_json::from_str(r#"{"preset": "code-225b816"}"#).unwrap();
        assert_eq!(config, NormalizeConfig::new(NormalizePreset::Code225b816));
    }
}
