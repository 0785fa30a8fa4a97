//! How loud a signal is: its peak and its mean square, streamed.

use crate::simd::{Instructions, Kernel, Lanes};

/// Sums that run side by side, whatever the width of the vectors.
const SUMS: usize = 16;
/// Samples that are summed up in single precision.
const BLOCK: usize = 4_096;
/// What silence is said to be, in dB: minus infinity is no number to reckon with.
pub const SILENCE_DB: f32 = -200.0;

/// Peak and mean square of all that was pushed.
///
/// # Example: a square wave of half scale
/// ```
/// use ajepa_ops::level::Level;
/// let mut level = Level::default();
/// level.push(&[0.5, -0.5, 0.5, -0.5]);
/// assert_eq!((level.peak_db(), level.rms_db()), (20.0 * 0.5_f32.log10(), 20.0 * 0.5_f32.log10()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Level {
    peak: f32,
    squares: f64,
    n: u64,
}

impl Level {
    /// Takes samples of any channels.
    pub fn push(&mut self, samples: &[f32]) {
        let instructions = Instructions::widest();
        for block in samples.chunks(BLOCK) {
            let (peak, squares) = instructions.run(Measure(block));
            self.peak = self.peak.max(peak);
            self.squares += squares;
        }
        self.n += samples.len() as u64;
    }

    /// The largest magnitude.
    pub fn peak(&self) -> f32 {
        self.peak
    }

    /// The peak in dB of full scale, [`SILENCE_DB`] at least.
    pub fn peak_db(&self) -> f32 {
        decibels(self.peak)
    }

    /// The root of the mean square in dB of full scale, [`SILENCE_DB`] at least.
    pub fn rms_db(&self) -> f32 {
        decibels((self.squares / self.n.max(1) as f64).sqrt() as f32)
    }
}

fn decibels(x: f32) -> f32 {
    (20.0 * x.log10()).max(SILENCE_DB)
}

struct Measure<'a>(&'a [f32]);

impl Kernel for Measure<'_> {
    type Output = (f32, f64);

    #[inline(always)]
    fn run<V: Lanes>(self) -> (f32, f64) {
        let (chunks, rest) = self.0.as_chunks::<SUMS>();
        let (mut peaks, mut squares) = ([0.0_f32; SUMS], [0.0_f32; SUMS]);
        for chunk in chunks {
            for i in 0..SUMS {
                let magnitude = chunk[i].abs();
                peaks[i] = if magnitude > peaks[i] { magnitude } else { peaks[i] };
                squares[i] += chunk[i] * chunk[i];
            }
        }
        for (i, x) in rest.iter().enumerate() {
            peaks[i] = peaks[i].max(x.abs());
            squares[i] += x * x;
        }
        (peaks.into_iter().fold(0.0, f32::max), squares.into_iter().map(f64::from).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_in_any_blocks() {
        let signal: Vec<f32> = (0..10_007).map(|i| ((i * 37 % 101) as f32 - 50.0) / 80.0).collect();
        let mut whole = Level::default();
        whole.push(&signal);
        let mut parts = Level::default();
        signal.chunks(BLOCK).for_each(|block| parts.push(block));
        assert_eq!(whole, parts);
        assert_eq!(whole.peak(), 0.625);
        let mean = signal.iter().map(|x| f64::from(x * x)).sum::<f64>() / signal.len() as f64;
        assert!((f64::from(whole.rms_db()) - 10.0 * mean.log10()).abs() < 1e-4);
    }

    #[test]
    fn silence_has_a_number() {
        let mut level = Level::default();
        assert_eq!((level.peak_db(), level.rms_db()), (SILENCE_DB, SILENCE_DB));
        level.push(&[0.0; 100]);
        assert_eq!((level.peak_db(), level.rms_db()), (SILENCE_DB, SILENCE_DB));
    }
}
