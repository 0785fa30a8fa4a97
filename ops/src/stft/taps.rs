//! What is done to a frame before its FFT, as two weights per sample.

use std::f64::consts::TAU;

/// Coefficient of the difference that whitens where no pre-emphasis is asked for. Nearer to 1, quiet treble gains and quiet
/// bass under loud treble loses.
const WHITENING: f64 = 0.8;

/// Mean removal, window and a first difference in one pass: `out[i] = (x[i] - x[i-1]) w[i] + (x[i-1] - mean) level[i]`.
///
/// With pre-emphasis c, `level = (1 - c) w` and x[-1] = x[0]: Kaldi's `(x[i] - c x[i-1]) w[i]` after removal of the mean.
///
/// Without, the *windowed* frame is differenced, circularly over the FFT length, `level[i] = w[i] - c w[i-1]`. This
/// multiplies its spectrum by `1 - c exp(-i w)`; [`Taps::bin_gains`] divide that out of the power again. In exact arithmetic
/// nothing changes. In f32 the FFT's error is relative to the loudest bin, and sound is loudest in the bass: quiet bands
/// come out several times closer.
///
/// Either way neighbouring samples are subtracted first, which for sound is all but exact, so that rounding is relative to
/// the difference and not to the samples.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    window: Vec<f32>,
    level: Vec<f32>,
    /// What the last sample leaves behind the window, where the FFT is longer.
    echo: Option<f32>,
    /// Whether x[-1] is the last sample of the frame rather than the first.
    wraps: bool,
    whitening: f64,
    n_fft: usize,
}

impl Taps {
    /// For `window`, already scaled, within an FFT of `n_fft`.
    pub fn new(window: &[f64], preemphasis: f64, n_fft: usize) -> Self {
        let (len, whitens) = (window.len(), preemphasis == 0.0);
        let wraps = whitens && len == n_fft;
        let level = |i: usize| match i.checked_sub(1) {
            _ if !whitens => (1.0 - preemphasis) * window[i],
            Some(before) => window[i] - WHITENING * window[before],
            None if wraps => window[0] - WHITENING * window[len - 1],
            None => window[0],
        };
        Self {
            window: window.iter().map(|&w| w as f32).collect(),
            level: (0..len).map(|i| level(i) as f32).collect(),
            echo: (whitens && !wraps).then(|| (-WHITENING * window[len - 1]) as f32),
            wraps,
            whitening: if whitens { WHITENING } else { 0.0 },
            n_fft,
        }
    }

    /// Samples that [`Taps::apply`] writes: the window's, and one more where the difference runs over its end.
    pub fn out_len(&self) -> usize {
        self.window.len() + usize::from(self.echo.is_some())
    }

    /// The most that one unit of energy written can become once [`Taps::bin_gains`] are applied.
    pub fn max_gain(&self) -> f32 {
        (1.0 - self.whitening).powi(-2) as f32
    }

    /// What each bin's power is to be multiplied with, from 0 Hz to Nyquist.
    pub fn bin_gains(&self) -> Vec<f32> {
        let c = self.whitening;
        let gain = |k: usize| 1.0 / (1.0 + c * c - 2.0 * c * (TAU * k as f64 / self.n_fft as f64).cos());
        (0..=self.n_fft / 2).map(|k| gain(k) as f32).collect()
    }

    /// `frame` has the window's length, `out` [`Taps::out_len`].
    pub fn apply(&self, frame: &[f32], mean: f32, out: &mut [f32]) {
        let last = frame[frame.len() - 1];
        let before = if self.wraps { last } else { frame[0] };
        out[0] = (frame[0] - before) * self.window[0] + (before - mean) * self.level[0];
        let weights = self.window[1..].iter().zip(&self.level[1..]);
        for (((out, x), before), (window, level)) in out[1..].iter_mut().zip(&frame[1..]).zip(frame).zip(weights) {
            *out = (x - before) * window + (before - mean) * level;
        }
        if let Some(echo) = self.echo {
            out[frame.len()] = (last - mean) * echo;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(window: &[f64], preemphasis: f64, frame: &[f32], want: [f64; 4]) {
        let taps = Taps::new(window, preemphasis, 4);
        let mut out = [0.0; 4];
        taps.apply(frame, 2.0, &mut out[..taps.out_len()]);
        assert!(out.iter().zip(want).all(|(out, want)| (f64::from(*out) - want).abs() < 1e-6), "{out:?} {want:?}");
    }

    #[test]
    fn three_and_four_samples_by_hand() {
        let c = WHITENING;
        // Less the mean: 2, 4, 1. Pre-emphasised: 2 - 1, 4 - 1, 1 - 2.
        apply(&[1.0, 2.0, 1.0], 0.5, &[4.0, 6.0, 3.0], [1.0, 6.0, -1.0, 0.0]);
        // Windowed: 2, 8, 1, 0; then differenced.
        apply(&[1.0, 2.0, 1.0], 0.0, &[4.0, 6.0, 3.0], [2.0, 8.0 - c * 2.0, 1.0 - c * 8.0, -c]);
        // Windowed: 2, 8, 1, -1; the last wraps round to the first.
        apply(&[1.0, 2.0, 1.0, 1.0], 0.0, &[4.0, 6.0, 3.0, 1.0], [2.0 + c, 8.0 - c * 2.0, 1.0 - c * 8.0, -1.0 - c]);
    }

    #[test]
    fn gains_undo_the_difference() {
        let gains = Taps::new(&[1.0; 4], 0.0, 4).bin_gains();
        let want = [(1.0 - WHITENING).powi(-2), 1.0 / (1.0 + WHITENING * WHITENING), (1.0 + WHITENING).powi(-2)];
        assert!(gains.len() == 3 && gains.iter().zip(want).all(|(gain, want)| (f64::from(*gain) - want).abs() < 1e-5));
        assert_eq!(Taps::new(&[1.0; 4], 0.5, 4).bin_gains(), [1.0; 3]);
    }
}
