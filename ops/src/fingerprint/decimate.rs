//! Every k-th sample of a low-passed signal, streamed.

use std::f64::consts::PI;

use crate::simd::{Instructions, Kernel, Lanes};

/// Sums that run side by side, whatever the width of the vectors: the digits are the same on every processor.
const SUMS: usize = 16;
/// Taps for each sample left out.
const TAPS: usize = 4;
/// -6 dB point of the sinc, in parts of the rate that comes out, and Kaiser's shape parameter: what is folded onto the
/// lower third of the rate that comes out is 50 dB down. The slope within the passband is no matter to ratios in time.
const CUTOFF: f64 = 1_300.0 / 6_300.0;
const BETA: f64 = 5.5;

/// Keeps one sample of `factor`.
pub(super) struct Decimator {
    factor: usize,
    /// In chunks of [`SUMS`], filled up with zeros.
    taps: Vec<[f32; SUMS]>,
    /// Samples that a later output needs.
    held: Vec<f32>,
    instructions: Instructions,
}

impl Decimator {
    pub(super) fn new(factor: usize) -> Self {
        let mut decimator = Self { factor, taps: taps(factor), held: Vec::new(), instructions: Instructions::widest() };
        decimator.reset();
        decimator
    }

    fn reset(&mut self) {
        self.held.clear();
        // Half a filter of silence in front: output j is centred on input j * factor.
        self.held.resize(if self.factor > 1 { TAPS / 2 * self.factor } else { 0 }, 0.0);
    }

    /// Appends what comes out of `samples`.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        if self.factor == 1 {
            return out.extend_from_slice(samples);
        }
        self.held.extend_from_slice(samples);
        let reach = self.taps.len() * SUMS;
        let n = self.held.len().checked_sub(reach).map_or(0, |rest| rest / self.factor + 1);
        let at = out.len();
        out.resize(at + n, 0.0);
        self.instructions.run(Dot { taps: &self.taps, samples: &self.held, factor: self.factor, out: &mut out[at..] });
        self.held.drain(..n * self.factor);
    }

    /// Appends the outputs whose filters reach beyond the end, and forgets.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) {
        let centres_left = self.held.len().saturating_sub(TAPS / 2 * self.factor).div_ceil(self.factor);
        if self.factor > 1 && centres_left > 0 {
            let wanted = out.len() + centres_left;
            self.push(&vec![0.0; self.taps.len() * SUMS], out);
            out.truncate(wanted);
        }
        self.reset();
    }
}

/// A Kaiser-windowed sinc of unit gain.
fn taps(factor: usize) -> Vec<[f32; SUMS]> {
    let n = TAPS * factor;
    let middle = (n as f64 - 1.0) / 2.0;
    let tap = |i: usize| {
        let t = i as f64 - middle;
        let x = 2.0 * CUTOFF * t / factor as f64 * PI;
        let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
        sinc * bessel_i0(BETA * (1.0 - (t / middle).powi(2)).max(0.0).sqrt())
    };
    let taps: Vec<f64> = (0..n).map(tap).collect();
    let gain: f64 = taps.iter().sum();
    let at = |i: usize| taps.get(i).map_or(0.0, |tap| (tap / gain) as f32);
    (0..n.div_ceil(SUMS)).map(|chunk| std::array::from_fn(|i| at(chunk * SUMS + i))).collect()
}

/// The modified Bessel function of order zero, by its series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > 1e-15 * sum {
        term *= (x / (2.0 * k)).powi(2);
        sum += term;
        k += 1.0;
    }
    sum
}

struct Dot<'a> {
    taps: &'a [[f32; SUMS]],
    samples: &'a [f32],
    factor: usize,
    out: &'a mut [f32],
}

impl Kernel for Dot<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for (j, out) in self.out.iter_mut().enumerate() {
            let samples = &self.samples[j * self.factor..];
            let mut sums = [0.0_f32; SUMS];
            for (taps, samples) in self.taps.iter().zip(samples.as_chunks::<SUMS>().0) {
                for i in 0..SUMS {
                    sums[i] += taps[i] * samples[i];
                }
            }
            *out = fold(sums);
        }
    }
}

/// Adds up by halves.
#[inline(always)]
fn fold(sums: [f32; SUMS]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| sums[i] + sums[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn decimated(factor: usize, signal: &[f32], block: usize) -> Vec<f32> {
        let mut decimator = Decimator::new(factor);
        let mut out = Vec::new();
        signal.chunks(block).for_each(|block| decimator.push(block, &mut out));
        decimator.finish(&mut out);
        out
    }

    fn tone(hz: f64, rate_hz: f64) -> Vec<f32> {
        (0..rate_hz as usize).map(|i| (TAU * hz * i as f64 / rate_hz).sin() as f32).collect()
    }

    fn rms(signal: &[f32]) -> f64 {
        let middle = &signal[100..signal.len() - 100];
        (middle.iter().map(|x| f64::from(x * x)).sum::<f64>() / middle.len() as f64).sqrt()
    }

    #[test]
    fn what_would_fold_onto_the_bands_is_gone() {
        for (rate_hz, factor) in [(48_000.0, 8), (44_100.0, 7), (32_000.0, 5), (192_000.0, 32)] {
            let kept = rms(&decimated(factor, &tone(1_900.0, rate_hz), 1 << 14));
            for hz in [rate_hz / factor as f64 - 1_900.0, 5_000.0, 7_000.0, 11_000.0] {
                let folded = rms(&decimated(factor, &tone(hz, rate_hz), 1 << 14));
                assert!(folded < kept / 150.0, "{rate_hz} {hz}: {folded} beside {kept}");
            }
        }
    }

    #[test]
    fn blocks_do_not_matter_and_the_length_is_exact() {
        let signal = tone(700.0, 44_100.0);
        for len in [0, 1, 6, 7, 8, 1_000, 44_100] {
            let whole = decimated(7, &signal[..len], usize::MAX);
            assert_eq!(whole.len(), len.div_ceil(7), "{len}");
            for block in [1, 13, 999] {
                assert_eq!(decimated(7, &signal[..len], block), whole, "{len} in {block}");
            }
        }
        assert_eq!(decimated(1, &signal, 100), signal);
    }

    #[test]
    fn an_output_stands_where_its_input_stood_and_every_processor_says_the_same() {
        let mut click = vec![0.0; 800];
        click[399..401].fill(1.0);
        let out = decimated(8, &click, 64);
        let peak = (0..out.len()).max_by(|&a, &b| out[a].total_cmp(&out[b]));
        assert_eq!(peak, Some(50));
        let of = |instructions| {
            let (mut decimator, mut out) = (Decimator::new(8), Vec::new());
            decimator.instructions = instructions;
            decimator.push(&tone(500.0, 8_000.0), &mut out);
            out
        };
        let all: Vec<Vec<f32>> = Instructions::available().map(of).collect();
        assert!(all.iter().all(|out| *out == all[0] && !out.is_empty()));
    }
}
