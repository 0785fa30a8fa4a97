//! Eight frames side by side: four complex FFTs of two real frames each, power spectra out in lanes.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Frames transformed together; the innermost dimension of [`PowerLanes::rows`].
pub(crate) const LANES: usize = 8;

/// Power spectra of [`LANES`] real frames, bin-major so that work across frames is plain vector arithmetic.
///
/// Two real frames a and b go through one complex FFT as a + ib; since Z(k) and the conjugate of Z(N-k) are
/// A(k) +- iB(k), both powers fall out of sums and differences. The error of an f32 FFT is relative to the louder of the
/// two, so each frame is first scaled by a power of two to unit energy, which costs no precision, and scaled back after.
#[derive(Clone)]
pub(crate) struct PowerLanes {
    fft: Arc<dyn Fft<f32>>,
    frames: Vec<Vec<f32>>,
    factors: [f32; LANES],
    input: Vec<Complex<f32>>,
    spectra: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    rows: Vec<[f32; LANES]>,
    bin_gains: Vec<f32>,
}

impl PowerLanes {
    /// For frames of `frame_len` samples, zero-padded to an even `n_fft`; the power of bin k is multiplied by `bin_gains[k]`.
    pub fn new(frame_len: usize, n_fft: usize, bin_gains: Vec<f32>) -> Self {
        let fft = FftPlanner::new().plan_fft_forward(n_fft);
        Self {
            frames: vec![vec![0.0; frame_len]; LANES],
            factors: [0.0; LANES],
            input: vec![Complex::default(); n_fft],
            spectra: vec![Complex::default(); n_fft * LANES / 2],
            scratch: vec![Complex::default(); fft.get_outofplace_scratch_len()],
            rows: vec![[0.0; LANES]; n_fft / 2 + 1],
            fft,
            bin_gains,
        }
    }

    /// The windowed samples of one lane, to be written before [`PowerLanes::transform`].
    pub fn frame_mut(&mut self, lane: usize) -> &mut [f32] {
        &mut self.frames[lane]
    }

    /// States the energy (sum of squares) of what was written to `lane`; 0 leaves the lane out.
    pub fn set_energy(&mut self, lane: usize, energy: f32) {
        self.factors[lane] = if energy > 0.0 { power_of_two_near(energy.sqrt().recip()) } else { 0.0 };
    }

    /// `|rfft|^2`, times the bin's gain, of every lane for bins `first..last`; a lane left out is all zero.
    ///
    /// # Panics
    /// Where `last` exceeds `n_fft / 2 + 1`.
    pub fn transform(&mut self, first: usize, last: usize) -> &[[f32; LANES]] {
        let n = self.input.len();
        for (pair, spectrum) in self.spectra.chunks_exact_mut(n).enumerate() {
            let (a, b) = (&self.frames[2 * pair], &self.frames[2 * pair + 1]);
            let (gain_a, gain_b) = (self.factors[2 * pair], self.factors[2 * pair + 1]);
            let (head, tail) = self.input.split_at_mut(a.len());
            for ((slot, a), b) in head.iter_mut().zip(a).zip(b) {
                *slot = Complex::new(a * gain_a, b * gain_b);
            }
            tail.fill(Complex::default());
            self.fft.process_outofplace_with_scratch(&mut self.input, spectrum, &mut self.scratch);
        }
        self.separate(first, last);
        &self.rows
    }

    /// What [`PowerLanes::transform`] gives when every lane was left out.
    pub fn silence(&mut self, first: usize, last: usize) -> &[[f32; LANES]] {
        self.rows[first..last].fill([0.0; LANES]);
        &self.rows
    }

    fn separate(&mut self, first: usize, last: usize) {
        let n = self.input.len();
        let restore = self.factors.map(|gain| if gain > 0.0 { 0.25 / (gain * gain) } else { 0.0 });
        let spectra: [&[Complex<f32>]; LANES / 2] = std::array::from_fn(|pair| &self.spectra[pair * n..(pair + 1) * n]);
        if first == 0 {
            let dc = spectra.map(|s| s[0]);
            self.rows[0] = separate_bin(dc, dc, &restore, self.bin_gains[0]);
        }
        // Bin k lies opposite bin n - k: one run forwards, one backwards, four spectra abreast.
        let first = first.max(1);
        let [a, b, c, d] = spectra.map(|s| s[first..last].iter().zip(s[n + 1 - last..=n - first].iter().rev()));
        let bins = a.zip(b).zip(c.zip(d));
        let rows = self.rows[first..last].iter_mut().zip(&self.bin_gains[first..last]);
        for ((row, gain), ((a, b), (c, d))) in rows.zip(bins) {
            *row = separate_bin([*a.0, *b.0, *c.0, *d.0], [*a.1, *b.1, *c.1, *d.1], &restore, *gain);
        }
    }
}

/// The powers of eight real frames at one bin, from their four shared spectra there and at the bin opposite.
#[inline]
fn separate_bin(
    here: [Complex<f32>; LANES / 2],
    opposite: [Complex<f32>; LANES / 2],
    restore: &[f32; LANES],
    gain: f32,
) -> [f32; LANES] {
    let flat = |s: [Complex<f32>; LANES / 2]| [s[0].re, s[0].im, s[1].re, s[1].im, s[2].re, s[2].im, s[3].re, s[3].im];
    let (z, y) = (flat(here), flat(opposite));
    let mut sums = [0.0; LANES];
    let mut differences = [0.0; LANES];
    for i in 0..LANES {
        sums[i] = (z[i] + y[i]) * (z[i] + y[i]);
        differences[i] = (z[i] - y[i]) * (z[i] - y[i]);
    }
    std::array::from_fn(|i| (sums[i] + differences[i ^ 1]) * (restore[i] * gain))
}

/// The power of two at or below `x > 0`: the number with its mantissa cleared.
fn power_of_two_near(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0x7F80_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(frame: &[f32]) -> f32 {
        frame.iter().map(|x| x * x).sum()
    }

    #[test]
    fn impulse_is_flat_and_dc_is_one_bin() {
        let mut lanes = PowerLanes::new(16, 16, vec![1.0; 9]);
        lanes.frame_mut(0)[3] = 2.0;
        lanes.frame_mut(1).fill(0.5);
        lanes.set_energy(0, 4.0);
        lanes.set_energy(1, 4.0);
        let rows = lanes.transform(0, 9);
        for (k, row) in rows.iter().enumerate() {
            let dc = if k == 0 { 64.0 } else { 0.0 };
            assert!((row[0] - 4.0).abs() < 1e-5 && (row[1] - dc).abs() < 1e-5, "{k}: {row:?}");
            assert!(row[2..].iter().all(|&p| p == 0.0));
        }
    }

    #[test]
    fn parseval_holds_in_every_lane_whatever_its_neighbour_plays() {
        let mut lanes = PowerLanes::new(60, 64, vec![1.0; 33]);
        for lane in 0..LANES {
            // Neighbours are 120 dB apart.
            let level = if lane % 2 == 0 { 1.0 } else { 1e-6 };
            for (i, x) in lanes.frame_mut(lane).iter_mut().enumerate() {
                *x = level * ((i * (lane + 3) * 7919 + lane) % 101) as f32 / 101.0;
            }
            let sum = energy(lanes.frame_mut(lane));
            lanes.set_energy(lane, sum);
        }
        let rows = lanes.transform(0, 33).to_vec();
        for lane in 0..LANES {
            let inner: f32 = rows[1..32].iter().map(|row| row[lane]).sum();
            let spectral = (rows[0][lane] + 2.0 * inner + rows[32][lane]) / 64.0;
            let expected = energy(lanes.frame_mut(lane));
            assert!((spectral / expected - 1.0).abs() < 1e-5, "lane {lane}: {spectral} {expected}");
        }
    }
}
