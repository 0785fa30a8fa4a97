//! What is done to a frame before its FFT, as two weights per sample.

use std::f64::consts::TAU;

use super::columns::Columns;
use crate::simd::Lanes;

/// Coefficient of the difference that whitens where no pre-emphasis is asked for. Nearer to 1, the loud end of the spectrum
/// is levelled further and what is quiet there loses.
const WHITENING: f64 = 0.8;

/// At which end of the spectrum a clip is loud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tilt {
    /// Neighbouring samples are alike: nearly all sound.
    Bass,
    /// Neighbouring samples are opposed.
    Treble,
}

impl Tilt {
    /// By the sign of the correlation of neighbours, in an order of additions that is the same everywhere.
    pub fn of(samples: &[f32]) -> Self {
        let mut sums = [0.0_f32; 16];
        let pairs = samples.windows(17).step_by(16);
        for window in pairs {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum += window[i] * window[i + 1];
            }
        }
        if sums.iter().sum::<f32>() < 0.0 { Self::Treble } else { Self::Bass }
    }
}

/// Mean removal, window and a first difference in one pass: `out[i] = (x[i] - x[i-1]) w[i] + (x[i-1] - mean) level[i]`.
///
/// With pre-emphasis c, `level = (1 - c) w` and x[-1] = x[0]: Kaldi's `(x[i] - c x[i-1]) w[i]` after removal of the mean.
///
/// Without, the *windowed* frame is differenced, circularly over the FFT length, `level[i] = w[i] - c w[i-1]`. This
/// multiplies its spectrum by `1 - c exp(-i w)`; [`Taps::bin_gains`] divide that out of the power again. In exact arithmetic
/// nothing changes. In f32 the FFT's error is relative to the loudest bin, and sound is loudest in the bass: quiet bands
/// come out closer. For a clip whose treble is loudest ([`Tilt`]) neighbours are added instead, which is the mirror image.
///
/// Either way neighbouring samples are subtracted (added) first, which is all but exact where they are alike (opposed), so
/// that rounding is relative to the difference and not to the samples.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    window: Vec<f32>,
    level: Vec<f32>,
    /// What the last sample leaves behind the window.
    echo: Option<f32>,
    max_gain: f32,
    n_fft: usize,
}

impl Taps {
    /// For `window`, already scaled, within an FFT of `n_fft`.
    pub fn new(window: &[f64], preemphasis: f64, n_fft: usize) -> Self {
        let (len, whitens) = (window.len(), preemphasis == 0.0);
        let level = |i: usize| match i.checked_sub(1) {
            _ if !whitens => (1.0 - preemphasis) * window[i],
            Some(before) => window[i] - WHITENING * window[before],
            None => window[i],
        };
        let peak = window.iter().fold(0.0_f64, |peak, w| peak.max(w.abs()));
        Self {
            window: window.iter().map(|&w| w as f32).collect(),
            level: (0..len).map(|i| level(i) as f32).collect(),
            echo: whitens.then_some((-WHITENING * window[len - 1]) as f32),
            max_gain: (n_fft as f64 * (peak * (1.0 + preemphasis)).powi(2)) as f32,
            n_fft,
        }
    }

    /// Whether it whitens, so that the tilt of a clip matters.
    pub fn whitens(&self) -> bool {
        self.echo.is_some()
    }

    /// The most that the power of all bins together can be to the energy of a frame's samples: by Parseval the FFT length,
    /// times the largest square of the window, times what pre-emphasis can add.
    pub fn max_gain(&self) -> f32 {
        self.max_gain
    }

    /// What each bin's power is to be multiplied with, from 0 Hz to Nyquist.
    pub fn bin_gains(&self, tilt: Tilt) -> Vec<f32> {
        let c = match tilt {
            _ if !self.whitens() => 0.0,
            Tilt::Bass => WHITENING,
            Tilt::Treble => -WHITENING,
        };
        let gain = |k: usize| 1.0 / (1.0 + c * c - 2.0 * c * (TAU * k as f64 / self.n_fft as f64).cos());
        (0..=self.n_fft / 2).map(|k| gain(k) as f32).collect()
    }

    /// Writes `n_fft` rows: the frames of `columns`, less their `means`, then zeros; in the order that the transform asks for
    /// (sample i in row `2 i`, from the middle on in `2 i + 1 - n_fft`).
    #[inline(always)]
    pub fn apply<V: Lanes>(&self, columns: &Columns, means: V, tilt: Tilt, out: &mut [V]) {
        match tilt {
            Tilt::Bass => {
                self.weigh(columns, out, |x, before, w, level| (x - before).mul_add(w, (before - means) * level));
            }
            Tilt::Treble => {
                self.weigh(columns, out, |x, before, w, level| {
                    let (x, before) = (x - means, before - means);
                    (x + before).mul_sub(w, before * level)
                });
            }
        }
        if let Some(echo) = self.echo {
            let echo = V::splat(if tilt == Tilt::Bass { echo } else { -echo });
            let (len, half) = (self.window.len(), out.len() / 2);
            let last = columns.at::<V>(len - 1) - means;
            let at = len % (2 * half);
            let row = if at < half { 2 * at } else { 2 * (at - half) + 1 };
            out[row] = last.mul_add(echo, out[row]);
        }
    }

    #[inline(always)]
    fn weigh<V: Lanes>(&self, columns: &Columns, out: &mut [V], weigh: impl Fn(V, V, V, V) -> V) {
        let (pairs, _) = out.as_chunks_mut::<2>();
        let half = pairs.len();
        let place = |i: usize| if i < half { (i, 0) } else { (i - half, 1) };
        let (mut before, mut i) = (columns.at::<V>(0), 0);
        for run in columns.runs::<V>() {
            let weights = self.window[i..].iter().zip(&self.level[i..]);
            for (x, (&w, &level)) in run.zip(weights) {
                let (pair, side) = place(i);
                pairs[pair][side] = weigh(x, before, V::splat(w), V::splat(level));
                before = x;
                i += 1;
            }
        }
        for rest in i..2 * half {
            let (pair, side) = place(rest);
            pairs[pair][side] = V::splat(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::Block;
    use super::super::framing::{Edges, Framing};
    use super::*;
    use crate::simd::{Instructions, Kernel};

    /// The frame, in the last lane that is used, less a mean of 2.
    struct Apply<'a>(&'a Taps, Tilt, &'a [f32], &'a mut [f32; 4]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes>(self) {
            let len = self.2.len();
            let framing = Framing { hop_len: 2, window_len: len, n_fft: 4, edges: Edges::Snip };
            let mut columns = Columns::new(&framing);
            let clip = [&[0.0; 6], self.2].concat();
            columns.fill::<V>(
                &framing,
                Block { samples: &clip, extent_len: clip.len(), first_frame: 0, n_frames: 4, tilt: self.1 },
            );
            let mut rows = [V::splat(f32::NAN); 4];
            self.0.apply(&columns, V::splat(2.0), self.1, &mut rows);
            for (out, row) in self.3.iter_mut().zip(rows) {
                let mut lanes = [0.0; 16];
                row.store(&mut lanes);
                *out = lanes[3];
            }
            // Out of the transform's order.
            self.3.swap(1, 2);
        }
    }

    fn apply(window: &[f64], preemphasis: f64, tilt: Tilt, frame: &[f32], want: [f64; 4]) {
        let taps = Taps::new(window, preemphasis, 4);
        for set in Instructions::available() {
            let mut out = [0.0; 4];
            set.run(Apply(&taps, tilt, frame, &mut out));
            let close = out.iter().zip(want).all(|(out, want)| (f64::from(*out) - want).abs() < 1e-6);
            assert!(close, "{}: {out:?} {want:?}", set.name());
        }
    }

    #[test]
    fn three_and_four_samples_by_hand() {
        // Less the mean: 2, 4, 1. Pre-emphasised: 2 - 1, 4 - 1, 1 - 2.
        apply(&[1.0, 2.0, 1.0], 0.5, Tilt::Bass, &[4.0, 6.0, 3.0], [1.0, 6.0, -1.0, 0.0]);
        for (tilt, c) in [(Tilt::Bass, WHITENING), (Tilt::Treble, -WHITENING)] {
            // Windowed: 2, 8, 1, 0; then differenced.
            apply(&[1.0, 2.0, 1.0], 0.0, tilt, &[4.0, 6.0, 3.0], [2.0, 8.0 - c * 2.0, 1.0 - c * 8.0, -c]);
            // Windowed: 2, 8, 1, -1; the last wraps round to the first.
            let want = [2.0 + c, 8.0 - c * 2.0, 1.0 - c * 8.0, -1.0 - c];
            apply(&[1.0, 2.0, 1.0, 1.0], 0.0, tilt, &[4.0, 6.0, 3.0, 1.0], want);
        }
    }

    #[test]
    fn gains_undo_the_difference() {
        let (low, middle) = ((1.0 - WHITENING).powi(-2), 1.0 / (1.0 + WHITENING * WHITENING));
        let high = (1.0 + WHITENING).powi(-2);
        for (tilt, want) in [(Tilt::Bass, [low, middle, high]), (Tilt::Treble, [high, middle, low])] {
            let gains = Taps::new(&[1.0; 4], 0.0, 4).bin_gains(tilt);
            let close = |(gain, want): (&f32, f64)| (f64::from(*gain) - want).abs() < 1e-5;
            assert!(gains.len() == 3 && gains.iter().zip(want).all(close));
            assert_eq!(Taps::new(&[1.0; 4], 0.5, 4).bin_gains(tilt), [1.0; 3]);
        }
    }

    #[test]
    fn tilt_is_where_the_sound_is() {
        let tone = |turns: f64| (0..400).map(|i| (TAU * turns * f64::from(i)).sin() as f32).collect::<Vec<_>>();
        assert_eq!(Tilt::of(&tone(0.01)), Tilt::Bass);
        assert_eq!(Tilt::of(&tone(0.45)), Tilt::Treble);
        assert_eq!(Tilt::of(&[0.0; 3]), Tilt::Bass);
    }
}
