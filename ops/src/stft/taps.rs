//! What is done to a frame before its FFT, as two weights per sample.

use std::f64::consts::TAU;

use super::columns::Columns;
use crate::simd::Lanes;

/// Coefficient of the difference that whitens where no pre-emphasis is asked for. Nearer to 1, the middle gains and what is
/// quiet at either end loses.
const WHITENING: f64 = 0.8;

/// Mean removal, window and a difference in one pass: `out[i] = (x[i] - x[i-d]) w[i] + (x[i-d] - mean) level[i]`.
///
/// With pre-emphasis c, d = 1, `level = (1 - c) w` and x[-1] = x[0]: Kaldi's `(x[i] - c x[i-1]) w[i]` after removal of the
/// mean.
///
/// Without, the *windowed* frame is differenced over d = 2, circularly over the FFT length, `level[i] = w[i] - c w[i-2]`.
/// This multiplies its spectrum by `1 - c exp(-2 i w)`; [`Taps::bin_gains`] divide that out of the power again. In exact
/// arithmetic nothing changes. In f32 the FFT's error is relative to the loudest bin, and sound is loudest in the bass:
/// quiet bands come out closer. The last butterflies add and subtract bins half the rate apart, bass and the mirror image
/// of the treble, so the gain must be the same for both: hence the step of two.
///
/// Either way nearby samples are subtracted first, which for sound is all but exact, so that rounding is relative to the
/// difference and not to the samples.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    window: Vec<f32>,
    level: Vec<f32>,
    /// What the last two samples leave behind the window.
    echo: Option<[f32; 2]>,
    whitening: f64,
    max_gain: f32,
    n_fft: usize,
}

impl Taps {
    /// For `window`, already scaled, of at least two samples, within an FFT of `n_fft`.
    pub fn new(window: &[f64], preemphasis: f64, n_fft: usize) -> Self {
        let (len, whitens) = (window.len(), preemphasis == 0.0);
        let level = |i: usize| match i.checked_sub(2) {
            _ if !whitens => (1.0 - preemphasis) * window[i],
            Some(before) => window[i] - WHITENING * window[before],
            None => window[i],
        };
        let peak = window.iter().fold(0.0_f64, |peak, w| peak.max(w.abs()));
        let echo = [len - 2, len - 1].map(|i| (-WHITENING * window[i]) as f32);
        Self {
            window: window.iter().map(|&w| w as f32).collect(),
            level: (0..len).map(|i| level(i) as f32).collect(),
            echo: whitens.then_some(echo),
            whitening: if whitens { WHITENING } else { 0.0 },
            max_gain: (n_fft as f64 * (peak * (1.0 + preemphasis)).powi(2)) as f32,
            n_fft,
        }
    }

    /// The most that the power of all bins together can be to the energy of a frame's samples: by Parseval the FFT length,
    /// times the largest square of the window, times what pre-emphasis can add.
    pub fn max_gain(&self) -> f32 {
        self.max_gain
    }

    /// What each bin's power is to be multiplied with, from 0 Hz to Nyquist.
    pub fn bin_gains(&self) -> Vec<f32> {
        let c = self.whitening;
        let gain = |k: usize| 1.0 / (1.0 + c * c - 2.0 * c * (2.0 * TAU * k as f64 / self.n_fft as f64).cos());
        (0..=self.n_fft / 2).map(|k| gain(k) as f32).collect()
    }

    /// Writes `n_fft` rows: the frames of `columns`, less their `means`, then zeros; in the order that the transform asks for
    /// ([`super::fft::LaneFft::powers`]), the second half between the first.
    #[inline(always)]
    pub fn apply<V: Lanes>(&self, columns: &Columns, means: V, out: &mut [V]) {
        let (pairs, _) = out.as_chunks_mut::<2>();
        let half = pairs.len();
        let place = |i: usize| if i < half { (i, 0) } else { (i - half, 1) };
        let first = columns.at::<V>(0);
        // The samples one and two before.
        let (mut one, mut two, mut i) = (first, first, 0);
        for run in columns.runs::<V>() {
            let weights = self.window[i..].iter().zip(&self.level[i..]);
            for (x, (&w, &l)) in run.zip(weights) {
                let before = if self.echo.is_some() { two } else { one };
                let (pair, side) = place(i);
                pairs[pair][side] = (x - before) * V::splat(w) + (before - means) * V::splat(l);
                (one, two) = (x, one);
                i += 1;
            }
        }
        for rest in i..2 * half {
            let (pair, side) = place(rest);
            pairs[pair][side] = V::splat(0.0);
        }
        for (k, echo) in self.echo.iter().flatten().enumerate() {
            let (pair, side) = place((i + k) % (2 * half));
            let x = if k == 0 { two } else { one };
            pairs[pair][side] = pairs[pair][side] + (x - means) * V::splat(*echo);
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
    struct Apply<'a>(&'a Taps, &'a [f32], &'a mut [f32; 4]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes>(self) {
            let len = self.1.len();
            let framing = Framing { hop_len: 2, window_len: len, n_fft: 4, edges: Edges::Snip };
            let mut columns = Columns::new(&framing);
            let clip = [&[0.0; 6], self.1].concat();
            columns.fill::<V>(
                &framing,
                Block { samples: &clip, extent_len: clip.len(), first_frame: 0, n_frames: 4 },
            );
            let mut rows = [V::splat(f32::NAN); 4];
            self.0.apply(&columns, V::splat(2.0), &mut rows);
            for (out, row) in self.2.iter_mut().zip(rows) {
                let mut lanes = [0.0; 16];
                row.store(&mut lanes);
                *out = lanes[3];
            }
            // Out of the transform's order.
            self.2.swap(1, 2);
        }
    }

    fn apply(window: &[f64], preemphasis: f64, frame: &[f32], want: [f64; 4]) {
        let taps = Taps::new(window, preemphasis, 4);
        for set in Instructions::available() {
            let mut out = [0.0; 4];
            set.run(Apply(&taps, frame, &mut out));
            let close = out.iter().zip(want).all(|(out, want)| (f64::from(*out) - want).abs() < 1e-6);
            assert!(close, "{}: {out:?} {want:?}", set.name());
        }
    }

    #[test]
    fn three_and_four_samples_by_hand() {
        let c = WHITENING;
        // Less the mean: 2, 4, 1. Pre-emphasised: 2 - 1, 4 - 1, 1 - 2.
        apply(&[1.0, 2.0, 1.0], 0.5, &[4.0, 6.0, 3.0], [1.0, 6.0, -1.0, 0.0]);
        // Windowed: 2, 8, 1, 0; then differenced over two, round the end: 8 c falls on the fourth, c on the first.
        apply(&[1.0, 2.0, 1.0], 0.0, &[4.0, 6.0, 3.0], [2.0 - c, 8.0, 1.0 - c * 2.0, -c * 8.0]);
        // Windowed: 2, 8, 1, -1.
        let want = [2.0 - c, 8.0 + c, 1.0 - c * 2.0, -1.0 - c * 8.0];
        apply(&[1.0, 2.0, 1.0, 1.0], 0.0, &[4.0, 6.0, 3.0, 1.0], want);
    }

    #[test]
    fn gains_undo_the_difference() {
        let gains = Taps::new(&[1.0; 4], 0.0, 4).bin_gains();
        let ends = (1.0 - WHITENING).powi(-2);
        let want = [ends, (1.0 + WHITENING).powi(-2), ends];
        assert!(gains.len() == 3 && gains.iter().zip(want).all(|(gain, want)| (f64::from(*gain) - want).abs() < 1e-5));
        assert_eq!(Taps::new(&[1.0; 4], 0.5, 4).bin_gains(), [1.0; 3]);
    }
}
