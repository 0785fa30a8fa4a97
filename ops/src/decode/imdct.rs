//! The inverse transform of Vorbis and AAC: a DCT-IV by a complex FFT of half its length, unfolded where it is windowed.
//!
//! With `u = DCT-IV(x)` of length N, the 2N samples of the IMDCT are `u[N/2..]`, its mirror image with the sign changed,
//! the mirror image of `u[..N/2]` and itself, both with the sign changed. Source: Vorbis I specification, 4.3.7; the sum
//! of ISO/IEC 14496-3, 4.6.11.3.1, is the same but for a factor.

use std::f64::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// The transform of one length.
pub(super) struct Imdct {
    fft: Arc<dyn Fft<f32>>,
    twiddles: Vec<Complex<f32>>,
}

impl Imdct {
    /// For spectra of `n` lines, a multiple of four.
    pub(super) fn new(n: usize) -> Self {
        let turn = |k: usize| Complex::from_polar(1.0, -PI * (8 * k + 1) as f64 / (8 * n) as f64);
        Self {
            fft: FftPlanner::new().plan_fft_forward(n / 2),
            twiddles: (0..n / 2).map(turn).map(|w| Complex::new(w.re as f32, w.im as f32)).collect(),
        }
    }

    /// Lines of the spectrum: half the block size.
    pub(super) fn n(&self) -> usize {
        2 * self.twiddles.len()
    }

    /// Transforms `spectrum` (n lines) to the first half of the block's samples and the second, not windowed.
    pub(super) fn transform(&self, spectrum: &[f32], work: &mut Work, first: &mut [f32], second: &mut [f32]) {
        let n = self.n();
        let (points, scratch) = work.split(n / 2, self.fft.get_inplace_scratch_len());
        let (pairs, _) = spectrum.as_chunks::<2>();
        let ends = pairs.iter().zip(pairs.iter().rev());
        for ((point, w), (&[a, _], &[_, b])) in points.iter_mut().zip(&self.twiddles).zip(ends) {
            *point = Complex::new(a, b) * w;
        }
        self.fft.process_with_scratch(points, scratch);
        // A point k, turned back, is u[2k] and -u[n - 1 - 2k]: even places of the lower half of u, odd ones of the upper.
        // One from each end gives two neighbours of both halves.
        let (low, high) = points.split_at(n / 4);
        let (w_low, w_high) = self.twiddles.split_at(n / 4);
        let turned = low.iter().zip(w_low).zip(high.iter().zip(w_high).rev()).map(|((a, v), (b, w))| (a * v, b * w));
        let (first_low, first_high) = halves(first);
        let (second_low, second_high) = halves(second);
        let rising = first_high.iter_mut().zip(second_high);
        let falling = first_low.iter_mut().rev().zip(second_low.iter_mut().rev());
        for (((a, b), (first_high, second_high)), (first_low, second_low)) in turned.zip(rising).zip(falling) {
            *first_low = [b.re, -a.im];
            *first_high = [a.im, -b.re];
            *second_high = [-a.re, b.im];
            *second_low = [b.im, -a.re];
        }
    }
}

/// Both halves of a run of samples, in pairs.
fn halves(samples: &mut [f32]) -> (&mut [[f32; 2]], &mut [[f32; 2]]) {
    let (pairs, _) = samples.as_chunks_mut::<2>();
    pairs.split_at_mut(pairs.len() / 2)
}

/// Buffers of the transform.
#[derive(Default)]
pub(super) struct Work {
    points: Vec<Complex<f32>>,
}

impl Work {
    fn split(&mut self, n_points: usize, n_scratch: usize) -> (&mut [Complex<f32>], &mut [Complex<f32>]) {
        if self.points.len() < n_points + n_scratch {
            self.points.resize(n_points + n_scratch, Complex::default());
        }
        let (points, rest) = self.points.split_at_mut(n_points);
        (points, &mut rest[..n_scratch])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum_it_stands_for() {
        let n = 32;
        let imdct = Imdct::new(n);
        let spectrum: Vec<f32> = (0..n).map(|i| ((i * 37 + 11) % 23) as f32 - 11.0).collect();
        let (mut first, mut second) = (vec![0.0; n], vec![0.0; n]);
        imdct.transform(&spectrum, &mut Work::default(), &mut first, &mut second);
        for (i, y) in first.iter().chain(&second).enumerate() {
            let sum: f64 = spectrum
                .iter()
                .enumerate()
                .map(|(k, &x)| f64::from(x) * (PI / (4 * n) as f64 * ((2 * i + 1 + n) * (2 * k + 1)) as f64).cos())
                .sum();
            assert!((f64::from(*y) - sum).abs() < 1e-4, "{i}: {y} for {sum}");
        }
    }
}
