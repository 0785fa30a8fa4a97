//! Lines to sound: transforms, windows, overlap. Source: ISO/IEC 14496-3, 4.6.11.

use std::f64::consts::PI;

use super::super::imdct::{Imdct, Work};
use super::huffman::Lines;
use super::ics::{Info, Sequence};

/// Samples of a frame.
pub(super) const FRAME: usize = 1024;
/// Lines of a short window.
const SHORT: usize = 128;
/// Where the slope of short windows begins in the half of a long one.
const FLAT: usize = (FRAME - SHORT) / 2;

/// A rising slope and its mirror image.
struct Slope {
    rise: Vec<f32>,
    fall: Vec<f32>,
}

impl Slope {
    fn new(rise: Vec<f32>) -> Self {
        let fall = rise.iter().rev().copied().collect();
        Self { rise, fall }
    }

    fn sine(n: usize) -> Self {
        Self::new((0..n).map(|i| (PI * (i as f64 + 0.5) / (2 * n) as f64).sin() as f32).collect())
    }

    /// Kaiser-Bessel derived: the root of the running sum of a Kaiser window of n + 1 points.
    fn kaiser(n: usize, alpha: f64) -> Self {
        let kaiser = |i: usize| {
            let x = 2.0 * i as f64 / n as f64 - 1.0;
            bessel(PI * alpha * (1.0 - x * x).sqrt())
        };
        let whole: f64 = (0..=n).map(kaiser).sum();
        let sums = (0..n).scan(0.0, |sum, i| {
            *sum += kaiser(i);
            Some(*sum)
        });
        Self::new(sums.map(|sum| (sum / whole).sqrt() as f32).collect())
    }
}

/// The modified Bessel function of order 0 by its series, for arguments up to 20.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..64 {
        term *= (x / f64::from(2 * k)).powi(2);
        sum += term;
    }
    sum
}

/// The windows of a frame, which the shape of those before has a part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    sequence: Sequence,
    kaiser: bool,
    kaiser_before: bool,
}

impl Windows {
    pub(super) fn new(info: &Info, kaiser_before: bool) -> Self {
        Self { sequence: info.sequence, kaiser: info.kaiser, kaiser_before }
    }
}

/// What all decoders share.
pub(super) struct Synth {
    long: Imdct,
    short: Imdct,
    /// Sine and Kaiser-Bessel derived.
    long_slopes: [Slope; 2],
    short_slopes: [Slope; 2],
}

/// A block between transform and overlap.
pub(super) struct Block {
    work: Work,
    /// The two halves of a block one after the other.
    halves: Box<[f32; 2 * FRAME]>,
}

impl Block {
    pub(super) fn new() -> Self {
        Self { work: Work::default(), halves: Box::new([0.0; 2 * FRAME]) }
    }
}

impl Synth {
    pub(super) fn new() -> Self {
        Self {
            long: Imdct::new(FRAME),
            short: Imdct::new(SHORT),
            long_slopes: [Slope::sine(FRAME), Slope::kaiser(FRAME, 4.0)],
            short_slopes: [Slope::sine(SHORT), Slope::kaiser(SHORT, 6.0)],
        }
    }

    /// Appends the sound of `lines` over `overlap` to `out`, and leaves in `overlap` what fades out.
    pub(super) fn run(
        &self,
        lines: &Lines,
        windows: Windows,
        block: &mut Block,
        overlap: &mut Lines,
        out: &mut Vec<f32>,
    ) {
        let (first, second) = self.transform(lines, windows, block);
        out.extend(overlap.iter().zip(first).map(|(old, new)| old + new));
        overlap.copy_from_slice(second);
    }

    /// Adds the sound of `lines` to the last frame of `out` and to `overlap`.
    pub(super) fn add(&self, lines: &Lines, windows: Windows, block: &mut Block, overlap: &mut Lines, out: &mut [f32]) {
        let (first, second) = self.transform(lines, windows, block);
        out.iter_mut().zip(first).for_each(|(sum, x)| *sum += x);
        overlap.iter_mut().zip(second).for_each(|(sum, x)| *sum += x);
    }

    /// The windowed halves of a block.
    fn transform<'a>(&self, lines: &Lines, windows: Windows, block: &'a mut Block) -> (&'a [f32], &'a [f32]) {
        let Block { work, halves } = block;
        if windows.sequence == Sequence::Short {
            self.transform_short(lines, windows, work, halves);
            return halves.split_at(FRAME);
        }
        let (first, second) = halves.split_at_mut(FRAME);
        self.long.transform(lines, work, first, second);
        if windows.sequence == Sequence::Stop {
            first[..FLAT].fill(0.0);
            times(&mut first[FLAT..FLAT + SHORT], &self.short_slopes[usize::from(windows.kaiser_before)].rise);
        } else {
            times(first, &self.long_slopes[usize::from(windows.kaiser_before)].rise);
        }
        if windows.sequence == Sequence::Start {
            times(&mut second[FLAT..FLAT + SHORT], &self.short_slopes[usize::from(windows.kaiser)].fall);
            second[FLAT + SHORT..].fill(0.0);
        } else {
            times(second, &self.long_slopes[usize::from(windows.kaiser)].fall);
        }
        (first, second)
    }

    /// Eight short blocks, each half over the last half of the one before, in the middle of a long one.
    fn transform_short(&self, lines: &Lines, windows: Windows, work: &mut Work, halves: &mut [f32; 2 * FRAME]) {
        halves.fill(0.0);
        let (mut first, mut second) = ([0.0; SHORT], [0.0; SHORT]);
        let slope = |kaiser| &self.short_slopes[usize::from(kaiser)];
        let mut rise = &slope(windows.kaiser_before).rise;
        let fall = &slope(windows.kaiser).fall;
        for (lines, at) in lines.chunks_exact(SHORT).zip((FLAT..).step_by(SHORT)) {
            self.short.transform(lines, work, &mut first, &mut second);
            for (half, slope, at) in [(&first, rise, at), (&second, fall, at + SHORT)] {
                let sums = halves[at..at + SHORT].iter_mut();
                sums.zip(half.iter().zip(slope)).for_each(|(sum, (x, slope))| *sum += x * slope);
            }
            rise = &slope(windows.kaiser).rise;
        }
    }
}

fn times(samples: &mut [f32], slope: &[f32]) {
    samples.iter_mut().zip(slope).for_each(|(x, slope)| *x *= slope);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_power_complementary() {
        let synth = Synth::new();
        for slope in synth.long_slopes.iter().chain(&synth.short_slopes) {
            let sums = slope.rise.iter().zip(&slope.fall).map(|(a, b)| a * a + b * b);
            assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-6));
            assert!(slope.rise.is_sorted());
        }
        assert!((bessel(1.0) - 1.266_065_877_752).abs() < 1e-12);
    }

    /// The lines of a block of samples: the transform that the decoder inverts, scaled so that `run` gives samples back.
    fn lines_of(samples: &[f32]) -> Vec<f32> {
        let n = samples.len() / 2;
        let angle = |i: usize, k: usize| PI / (4 * n) as f64 * ((2 * i + 1 + n) * (2 * k + 1)) as f64;
        let sum = |k| samples.iter().enumerate().map(|(i, &x)| f64::from(x) * angle(i, k).cos()).sum::<f64>();
        (0..n).map(|k| (2.0 * sum(k) / n as f64) as f32).collect()
    }

    /// What an encoder windows a block with, by the same rules as the decoder.
    fn window(synth: &Synth, windows: Windows) -> Vec<f32> {
        let long = |kaiser| &synth.long_slopes[usize::from(kaiser)];
        let short = |kaiser| &synth.short_slopes[usize::from(kaiser)];
        let mut rise = long(windows.kaiser_before).rise.clone();
        let mut fall = long(windows.kaiser).fall.clone();
        if windows.sequence == Sequence::Stop {
            rise = [vec![0.0; FLAT], short(windows.kaiser_before).rise.clone(), vec![1.0; FLAT]].concat();
        }
        if windows.sequence == Sequence::Start {
            fall = [vec![1.0; FLAT], short(windows.kaiser).fall.clone(), vec![0.0; FLAT]].concat();
        }
        [rise, fall].concat()
    }

    #[test]
    fn every_sequence_gives_the_samples_back() {
        use Sequence::{Long, Short, Start, Stop};
        let synth = Synth::new();
        let sound: Vec<f32> = (0..8 * FRAME).map(|i| ((i * i * 37 + 11) % 2003) as f32 / 1001.0 - 1.0).collect();
        let frames =
            [(Long, false), (Start, true), (Short, false), (Short, true), (Stop, true), (Long, true), (Long, false)];
        let (mut before, mut block, mut overlap, mut out) = (false, Block::new(), [0.0; FRAME], Vec::new());
        for (i, (sequence, kaiser)) in frames.into_iter().enumerate() {
            let windows = Windows { sequence, kaiser, kaiser_before: before };
            let span = &sound[i * FRAME..(i + 2) * FRAME];
            let lines: Vec<f32> = if sequence == Short {
                let slopes = |kaiser| &synth.short_slopes[usize::from(kaiser)];
                let short = |w: usize| {
                    let rise = &slopes(if w == 0 { before } else { kaiser }).rise;
                    let window = rise.iter().chain(&slopes(kaiser).fall);
                    let samples = &span[FLAT + w * SHORT..][..2 * SHORT];
                    lines_of(&samples.iter().zip(window).map(|(x, w)| x * w).collect::<Vec<_>>())
                };
                (0..8).flat_map(short).collect()
            } else {
                lines_of(&span.iter().zip(window(&synth, windows)).map(|(x, w)| x * w).collect::<Vec<_>>())
            };
            synth.run(lines[..].try_into().unwrap(), windows, &mut block, &mut overlap, &mut out);
            before = kaiser;
        }
        assert_eq!(out.len(), 7 * FRAME);
        let worst = out[FRAME..].iter().zip(&sound[FRAME..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
}
