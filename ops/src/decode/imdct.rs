//! The inverse transform of Vorbis and AAC: a DCT-IV by a complex FFT of half its length, unfolded where it is windowed.
//!
//! With `u = DCT-IV(x)` of length N, the 2N samples of the IMDCT are `u[N/2..]`, its mirror image with the sign changed,
//! the mirror image of `u[..N/2]` and itself, both with the sign changed. Source: Vorbis I specification, 4.3.7; the sum
//! of ISO/IEC 14496-3, 4.6.11.3.1, is the same but for a factor.
#![allow(clippy::needless_range_loop, reason = "loops over places of several arrays are what becomes vector code")]

use std::f64::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::simd::{Instructions, Kernel, Lanes};

/// The transform of one length.
pub(super) struct Imdct {
    fft: Arc<dyn Fft<f32>>,
    /// Real and imaginary parts apart: so the loops become vectors.
    twiddles: [Vec<f32>; 2],
    instructions: Instructions,
}

impl Imdct {
    /// For spectra of `n` lines, a multiple of four.
    pub(super) fn new(n: usize) -> Self {
        let turn = |k: usize| Complex::from_polar(1.0, -PI * (8 * k + 1) as f64 / (8 * n) as f64);
        let turns = || (0..n / 2).map(turn);
        Self {
            fft: FftPlanner::new().plan_fft_forward(n / 2),
            twiddles: [turns().map(|w| w.re as f32).collect(), turns().map(|w| w.im as f32).collect()],
            instructions: Instructions::widest(),
        }
    }

    /// Transforms `spectrum` (n lines) to the first half of the block's samples and the second, not windowed.
    pub(super) fn transform(&self, spectrum: &[f32], work: &mut Work, first: &mut [f32], second: &mut [f32]) {
        let [re, im] = &self.twiddles;
        let m = re.len();
        let (points, scratch) = split(&mut work.points, m, self.fft.get_inplace_scratch_len());
        let (turned_re, turned_im) = split(&mut work.turned, m, m);
        let turned = [turned_re, turned_im];
        self.instructions.run(Turn { spectrum, re, im, points });
        self.fft.process_with_scratch(points, scratch);
        self.instructions.run(Unfold { points, re, im, turned, first, second });
    }
}

/// One line from each end, as a complex number, turned.
struct Turn<'a> {
    spectrum: &'a [f32],
    re: &'a [f32],
    im: &'a [f32],
    points: &'a mut [Complex<f32>],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (pairs, _) = self.spectrum.as_chunks::<2>();
        let m = pairs.len();
        let (points, re, im) = (&mut self.points[..m], &self.re[..m], &self.im[..m]);
        for k in 0..m {
            let (a, b) = (pairs[k][0], pairs[m - 1 - k][1]);
            points[k] = Complex::new(a * re[k] - b * im[k], a * im[k] + b * re[k]);
        }
    }
}

/// Points turned back and laid out as both halves of the block.
struct Unfold<'a> {
    points: &'a [Complex<f32>],
    re: &'a [f32],
    im: &'a [f32],
    /// Real and imaginary parts.
    turned: [&'a mut [f32]; 2],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Kernel for Unfold<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let m = self.points.len();
        let (points, re, im) = (&self.points[..m], &self.re[..m], &self.im[..m]);
        let [turned_re, turned_im] = self.turned;
        let (turned_re, turned_im) = (&mut turned_re[..m], &mut turned_im[..m]);
        for k in 0..m {
            turned_re[k] = points[k].re * re[k] - points[k].im * im[k];
            turned_im[k] = points[k].re * im[k] + points[k].im * re[k];
        }
        // A point k, turned back, is u[2k] and -u[n - 1 - 2k]: even places of the lower half of u, odd ones of the upper.
        let half = m / 2;
        let ((re_low, re_high), (im_low, im_high)) = (turned_re.split_at(half), turned_im.split_at(half));
        let (first_low, first_high) = halves(self.first, half);
        let (second_low, second_high) = halves(self.second, half);
        interleave(first_low, im_low, re_high, |low, high| [high, -low]);
        interleave(second_low, re_low, im_high, |low, high| [high, -low]);
        interleave(first_high, re_high, im_low, |high, low| [low, -high]);
        interleave(second_high, im_high, re_low, |high, low| [-low, high]);
    }
}

/// Both halves of a run of samples, in pairs.
#[inline(always)]
fn halves(samples: &mut [f32], half: usize) -> (&mut [[f32; 2]], &mut [[f32; 2]]) {
    let (low, high) = samples.as_chunks_mut::<2>().0.split_at_mut(half);
    (low, &mut high[..half])
}

/// Makes each pair of one value of `down`, from its end, and one of `up`.
#[inline(always)]
fn interleave(out: &mut [[f32; 2]], down: &[f32], up: &[f32], pair: impl Fn(f32, f32) -> [f32; 2]) {
    let n = out.len();
    let (down, up) = (&down[..n], &up[..n]);
    for k in 0..n {
        out[k] = pair(down[n - 1 - k], up[k]);
    }
}

/// Buffers of the transform.
#[derive(Default)]
pub(super) struct Work {
    points: Vec<Complex<f32>>,
    turned: Vec<f32>,
}

/// The first `n` values of a buffer and the `m` behind them.
fn split<T: Copy + Default>(buffer: &mut Vec<T>, n: usize, m: usize) -> (&mut [T], &mut [T]) {
    if buffer.len() < n + m {
        buffer.resize(n + m, T::default());
    }
    let (first, rest) = buffer.split_at_mut(n);
    (first, &mut rest[..m])
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
