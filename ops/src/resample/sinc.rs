//! The resampler that torchaudio has by default, for numbers that must be those of programs that use it.

use std::f64::consts::PI;

use super::check_rate;
use super::plan::gcd;
use crate::ConfigError;

/// Zero crossings of the sinc on either side.
const N_ZEROS: f64 = 6.0;
/// Where the pass band ends, over the lower Nyquist frequency.
const ROLL_OFF: f64 = 0.99;

/// A sinc under a Hann window, six zero crossings to a side, cut off at 0.99 of the lower Nyquist frequency: what
/// `torchaudio.functional.resample` (2.8) does unless it is told otherwise, to the rounding of its sums.
///
/// It lets through what it should stop: -7 dB just above the Nyquist frequency. [`super::ResampleConfig`] is the resampler to use.
///
/// # Example: a second stays a second
/// ```
/// use ajepa_ops::resample::HannSinc;
/// let mut out = Vec::new();
/// HannSinc::new(44_100, 16_000)?.process(&[0.5; 44_100], &mut out);
/// assert_eq!(out.len(), 16_000);
/// assert!((out[8_000] - 0.5).abs() < 1e-3);
/// # Ok::<(), ajepa_ops::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct HannSinc {
    /// Output rate over input rate, in lowest terms.
    num: usize,
    den: usize,
    /// For each output frame of a period.
    phases: Vec<Phase>,
}

/// What an output frame takes of the input.
#[derive(Debug, Clone)]
struct Phase {
    /// Frames of input from the period's first to the first that is taken.
    first: isize,
    taps: Vec<f32>,
}

impl HannSinc {
    /// From `rate_in_hz` to `rate_out_hz`.
    ///
    /// # Errors
    /// Either rate out of [`super::MIN_RATE_HZ`] to [`super::MAX_RATE_HZ`].
    pub fn new(rate_in_hz: u32, rate_out_hz: u32) -> Result<Self, ConfigError> {
        check_rate("rate_in_hz", rate_in_hz)?;
        check_rate("rate_hz", rate_out_hz)?;
        let divisor = gcd(rate_in_hz, rate_out_hz);
        let (num, den) = ((rate_out_hz / divisor) as usize, (rate_in_hz / divisor) as usize);
        let phases = (0..num).map(|phase| Phase::new(phase, num, den)).collect();
        Ok(Self { num, den, phases })
    }

    /// Converts a whole clip of one channel: `out` is replaced by `ceil(n * rate_out / rate_in)` frames.
    pub fn process(&self, samples: &[f32], out: &mut Vec<f32>) {
        out.clear();
        if self.num == self.den {
            out.extend_from_slice(samples);
            return;
        }
        let n = (samples.len() * self.num).div_ceil(self.den);
        out.extend((0..n).map(|frame| {
            let phase = &self.phases[frame % self.num];
            let start = (frame / self.num * self.den) as isize + phase.first;
            // Silence before and behind the clip.
            let skipped = (-start).max(0) as usize;
            let from = (start.max(0) as usize).min(samples.len());
            let products = samples[from..].iter().zip(phase.taps.get(skipped..).unwrap_or_default());
            products.map(|(x, tap)| f64::from(*x) * f64::from(*tap)).sum::<f64>() as f32
        }));
    }
}

impl Phase {
    fn new(phase: usize, num: usize, den: usize) -> Self {
        let base = num.min(den) as f64 * ROLL_OFF;
        let width = (N_ZEROS * den as f64 / base).ceil() as isize;
        // Divided in single precision there, and so here.
        let late = f64::from(-(phase as f32) / num as f32);
        let at = |k: isize| (late + k as f64 / den as f64) * base;
        let inside: Vec<isize> = (-width..width + den as isize).filter(|&k| at(k).abs() < N_ZEROS).collect();
        let tap = |&k: &isize| {
            let t = at(k);
            let window = (t * PI / N_ZEROS / 2.0).cos().powi(2);
            let sinc = if t == 0.0 { 1.0 } else { (t * PI).sin() / (t * PI) };
            (sinc * window * (base / den as f64)) as f32
        };
        Self { first: inside.first().copied().unwrap_or(0), taps: inside.iter().map(tap).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize) -> Vec<f32> {
        let mut x = 1_u64;
        let mut draw = || {
            x = (x * 1_103_515_245 + 12_345) % (1 << 31);
            (x as f64 / f64::from(1 << 30) - 1.0) as f32
        };
        (0..n).map(|_| draw()).collect()
    }

    /// Its convolution, in f32, is up to 1.4e-6 off the same in f64; so is it from this one.
    ///
    /// torchaudio 2.8.0: `resample(noise(200), rate_in, rate_out)[[0, 1, 30, 31, 47, -1]]`.
    #[test]
    fn the_digits_are_those_of_torchaudio() {
        let cases: [(u32, u32, usize, [f32; 6]); 3] = [
            (
                44_100,
                16_000,
                73,
                [-0.256_845_4, -0.042_646_72, -0.422_847_66, -0.146_741_02, -0.113_526_2, -0.271_357_92],
            ),
            (
                8_000,
                16_000,
                400,
                [0.021_843_985, -0.351_825_98, 0.083_303_22, 0.172_539_2, -0.681_928_75, -0.393_801_27],
            ),
            (
                48_000,
                32_000,
                134,
                [-0.063_103_765, -0.666_388_45, 0.678_934_8, 0.193_167_63, 0.285_330_4, -0.452_836_25],
            ),
        ];
        for (rate_in_hz, rate_out_hz, n, expected) in cases {
            let mut out = Vec::new();
            HannSinc::new(rate_in_hz, rate_out_hz).unwrap().process(&noise(200), &mut out);
            assert_eq!(out.len(), n);
            for (at, expected) in [0, 1, 30, 31, 47, n - 1].into_iter().zip(expected) {
                assert!((out[at] - expected).abs() < 3e-6, "{rate_in_hz} {rate_out_hz} {at}: {} {expected}", out[at]);
            }
        }
    }
}
