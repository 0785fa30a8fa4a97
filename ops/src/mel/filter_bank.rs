//! Triangular mel filters, stored as what they are: every bin feeds at most two of them.

use crate::simd::Lanes;
use crate::stft::Powers;

/// Where the triangles are straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Triangles {
    /// Straight over mel; the Nyquist bin is unused (Kaldi).
    OverMel,
    /// Straight over frequency; the Nyquist bin counts (HTK as torchaudio's `melscale_fbanks`).
    OverHz,
}

/// Kaldi's `1127 ln(1 + f / 700)`; HTK's `2595 log10(1 + f / 700)` is the same scale up to a factor of 1.00001, which
/// cancels in evenly spaced edges.
fn mel_of(hz: f64) -> f64 {
    1127.0 * (hz / 700.0).ln_1p()
}

fn hz_of(mel: f64) -> f64 {
    700.0 * (mel / 1127.0).exp_m1()
}

/// `n_mels` triangles with unit peaks, edges evenly spaced in mel, no area normalisation.
///
/// Edge j is the left foot of filter j, the peak of filter j-1 and the right foot of filter j-2. The bins between edges j
/// and j+1 therefore rise into filter j and fall out of filter j-1: one pass over the bins, two weights each.
#[derive(Debug, Clone)]
pub(crate) struct FilterBank {
    centres_hz: Vec<f64>,
    /// `intervals[j]..intervals[j + 1]` are the bins between edges j and j+1.
    intervals: Vec<usize>,
    /// Rising and falling weight of each bin from `intervals[0]` on.
    weights: Vec<[f32; 2]>,
    empty: usize,
}

/// Where the filters lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Band {
    pub rate_hz: u32,
    pub n_fft: usize,
    pub n_mels: usize,
    pub low_hz: f64,
    pub high_hz: f64,
    pub triangles: Triangles,
}

impl FilterBank {
    pub fn new(band: &Band) -> Self {
        let (low, high) = (mel_of(band.low_hz), mel_of(band.high_hz));
        let step = (high - low) / (band.n_mels + 1) as f64;
        let edges_mel: Vec<f64> = (0..band.n_mels + 2).map(|j| low + j as f64 * step).collect();
        let centres_hz = edges_mel[1..=band.n_mels].iter().map(|&mel| hz_of(mel)).collect();
        let half = band.n_fft / 2;
        let (edges, bins): (Vec<f64>, Vec<f64>) = match band.triangles {
            Triangles::OverMel => {
                let width_hz = f64::from(band.rate_hz) / band.n_fft as f64;
                (edges_mel, (0..half).map(|k| mel_of(k as f64 * width_hz)).collect())
            }
            Triangles::OverHz => {
                // The source divides the rate as an integer; it shows at odd rates only.
                let nyquist_hz = f64::from(band.rate_hz / 2);
                let at = |k: usize| nyquist_hz * k as f64 / half as f64;
                (edges_mel.iter().map(|&mel| hz_of(mel)).collect(), (0..=half).map(at).collect())
            }
        };
        let (intervals, weights) = lay_out(&edges, &bins);
        let mut bank = Self { centres_hz, intervals, weights, empty: 0 };
        bank.empty = (0..band.n_mels).filter(|&m| bank.is_empty(m)).count();
        bank
    }

    /// First bin used and the one past the last.
    #[cfg(test)]
    fn bins(&self) -> (usize, usize) {
        (self.intervals[0], self.intervals[self.intervals.len() - 1])
    }

    pub fn n_mels(&self) -> usize {
        self.centres_hz.len()
    }

    pub fn centres_hz(&self) -> &[f64] {
        &self.centres_hz
    }

    /// Filters between whose feet no bin lies: they are at the floor for ever.
    pub fn n_empty(&self) -> usize {
        self.empty
    }

    /// Whether filter `m` weighs nothing: no bin lies where it rises, none where it falls.
    fn is_empty(&self, m: usize) -> bool {
        let side = |j: usize, side: usize| {
            let first = self.intervals[0];
            self.weights[self.intervals[j] - first..self.intervals[j + 1] - first].iter().all(|w| w[side] == 0.0)
        };
        side(m, 0) && side(m + 1, 1)
    }

    /// The same filters with the weights of each bin multiplied by its gain, once for all frames.
    pub fn scaled(&self, gains: &[f32]) -> Self {
        let mut scaled = self.clone();
        for (weights, gain) in scaled.weights.iter_mut().zip(&gains[self.intervals[0]..]) {
            *weights = weights.map(|weight| weight * gain);
        }
        scaled
    }

    /// Filter energies of one block of frames -> `energies` [`n_mels`][lanes].
    #[inline(always)]
    pub fn apply<V: Lanes>(&self, powers: &Powers<'_, V>, energies: &mut [V]) {
        let first = self.intervals[0];
        let mut rising_before = V::splat(0.0);
        for (j, edge) in self.intervals.windows(2).enumerate() {
            let (mut rising, mut falling) = (V::splat(0.0), V::splat(0.0));
            let weights = &self.weights[edge[0] - first..edge[1] - first];
            for (power, [up, down]) in powers.bins(edge[0]..edge[1]).zip(weights) {
                rising = power.mul_add(V::splat(*up), rising);
                falling = power.mul_add(V::splat(*down), falling);
            }
            if j > 0 {
                energies[j - 1] = (rising_before + falling) * powers.audible;
            }
            rising_before = rising;
        }
    }
}

/// Sorts ascending `bins` into the intervals between `edges`, with their rising and falling weights.
fn lay_out(edges: &[f64], bins: &[f64]) -> (Vec<usize>, Vec<[f32; 2]>) {
    let intervals: Vec<usize> = edges.iter().map(|edge| bins.partition_point(|bin| bin < edge)).collect();
    let mut weights = Vec::with_capacity(bins.len());
    for (edge, at) in edges.windows(2).zip(intervals.windows(2)) {
        let width = edge[1] - edge[0];
        weights.extend(
            bins[at[0]..at[1]].iter().map(|bin| [((bin - edge[0]) / width) as f32, ((edge[1] - bin) / width) as f32]),
        );
    }
    (intervals, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Instructions, Kernel, MAX_LANES};

    fn bank(triangles: Triangles, n_mels: usize) -> FilterBank {
        FilterBank::new(&Band { rate_hz: 16_000, n_fft: 512, n_mels, low_hz: 20.0, high_hz: 8000.0, triangles })
    }

    /// One spectrum through the bank.
    struct Apply<'a>(&'a FilterBank, &'a [f32]);

    impl Kernel for Apply<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<V: Lanes>(self) -> Vec<f32> {
            let rows: Vec<V> = self.1.iter().map(|&power| V::splat(power)).collect();
            let slots: Vec<u32> = (0..self.1.len() as u32).collect();
            let mut energies = vec![V::splat(0.0); self.0.n_mels()];
            self.0.apply(&Powers::new(&rows, &slots, &[], V::splat(1.0)), &mut energies);
            let first = |energy: &V| {
                let mut lanes = [0.0; MAX_LANES];
                energy.store(&mut lanes);
                lanes[0]
            };
            energies.iter().map(first).collect()
        }
    }

    fn sums(bank: &FilterBank, power: impl Fn(usize) -> f32) -> Vec<f32> {
        let powers: Vec<f32> = (0..bank.bins().1).map(power).collect();
        Instructions::widest().run(Apply(bank, &powers))
    }

    /// One filter's weight at `x` by its three edges.
    fn triangle(left: f64, peak: f64, right: f64, x: f64) -> f64 {
        ((x - left) / (peak - left)).min((right - x) / (right - peak)).max(0.0)
    }

    #[test]
    fn one_pass_gives_the_dense_product() {
        for (triangles, n_bins) in [(Triangles::OverMel, 256), (Triangles::OverHz, 257)] {
            let bank = bank(triangles, 23);
            let power = |k: usize| 1.0 + (k * 37 % 11) as f32;
            let sums = sums(&bank, power);
            let (low, high) = (mel_of(20.0), mel_of(8000.0));
            let edge = |j: usize| low + (high - low) / 24.0 * j as f64;
            for (m, &got) in sums.iter().enumerate() {
                let want: f64 = (0..n_bins)
                    .map(|k| {
                        let hz = k as f64 * 31.25;
                        let weight = match triangles {
                            Triangles::OverMel => triangle(edge(m), edge(m + 1), edge(m + 2), mel_of(hz)),
                            Triangles::OverHz => triangle(hz_of(edge(m)), hz_of(edge(m + 1)), hz_of(edge(m + 2)), hz),
                        };
                        weight * f64::from(power(k))
                    })
                    .sum();
                assert!((f64::from(got) - want).abs() < 1e-5 * want, "filter {m}: {got} {want}");
            }
        }
    }

    #[test]
    fn centres_are_evenly_spaced_in_mel_and_empty_filters_are_counted() {
        let bank = bank(Triangles::OverMel, 128);
        let centres: Vec<f64> = bank.centres_hz().iter().map(|&hz| mel_of(hz)).collect();
        let step = (mel_of(8000.0) - mel_of(20.0)) / 129.0;
        assert!(centres.windows(2).all(|c| (c[1] - c[0] - step).abs() < 1e-9));
        // 128 filters over bins of 31.25 Hz: some of the lowest fall between two bins.
        assert!(bank.n_empty() > 0);
        assert_eq!(super::tests::bank(Triangles::OverMel, 40).n_empty(), 0);
    }
}
