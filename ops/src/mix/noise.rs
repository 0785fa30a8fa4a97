//! Noise added at a signal-to-noise ratio.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LevelFields, LevelRange, amplitude};
use crate::{ConfigError, seed};

/// Which noise is added, and how far below the clip: at `snr_db`, or evenly drawn between `min_snr_db` and `max_snr_db`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MixNoiseConfig {
    /// Power of the clip over power of the noise in dB, -200 to 200. Not together with `min_snr_db` and `max_snr_db`.
    pub snr_db: Option<f64>,
    /// Smallest ratio in dB, -200 to 200. Together with `max_snr_db`.
    pub min_snr_db: Option<f64>,
    /// Largest ratio in dB, -200 to 200. Together with `min_snr_db`.
    pub max_snr_db: Option<f64>,
    /// The noise that is made where none is given. Default: `white`.
    pub kind: NoiseKind,
}

/// The spectrum of made noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoiseKind {
    /// The same power in every hertz; normally distributed.
    #[default]
    White,
    /// The same power in every octave, over the fourteen below the Nyquist frequency.
    Pink,
}

impl MixNoiseConfig {
    /// Checks the levels.
    ///
    /// # Errors
    /// Neither one ratio nor a range, or a ratio out of -200 to 200 dB.
    pub fn build(&self) -> Result<MixNoise, ConfigError> {
        let fields = LevelFields {
            value: ("snr_db", self.snr_db),
            min: ("min_snr_db", self.min_snr_db),
            max: ("max_snr_db", self.max_snr_db),
        };
        Ok(MixNoise { range: LevelRange::new(&fields)?, kind: self.kind, made: Vec::new() })
    }
}

/// Adds noise to clips, in place. [`MixNoiseConfig::build`] makes one.
///
/// Powers are means over the whole clip. A silent clip has no ratio to keep and stays silent; samples may leave [-1, 1].
#[derive(Debug, Clone)]
pub struct MixNoise {
    range: LevelRange,
    kind: NoiseKind,
    /// The last noise made, kept for its memory.
    made: Vec<f32>,
}

impl MixNoise {
    /// The ratio that `seed` draws, in dB.
    pub fn snr_db(&self, seed: u64) -> f64 {
        self.range.draw(&mut seed::rng(seed))
    }

    /// Adds noise made from `seed` to a clip of one channel (of several: to each sample its own).
    pub fn process(&mut self, samples: &mut [f32], seed: u64) {
        let mut rng = seed::rng(seed);
        let snr_db = self.range.draw(&mut rng);
        self.made.resize(samples.len(), 0.0);
        match self.kind {
            NoiseKind::White => self.made.fill_with(|| normal(&mut rng) as f32),
            NoiseKind::Pink => {
                let mut filter = PinkFilter::new();
                self.made.fill_with(|| filter.next(normal(&mut rng)) as f32);
            }
        }
        add_at(samples, &self.made, 0, snr_db);
    }

    /// Adds a recording of noise at a ratio drawn by `seed`, from a place in it drawn by `seed`; a short one is repeated.
    /// Of several channels, both are interleaved alike. Nothing happens when `noise` is empty or silent.
    pub fn process_with(&self, samples: &mut [f32], noise: &[f32], channels: usize, seed: u64) {
        let mut rng = seed::rng(seed);
        let snr_db = self.range.draw(&mut rng);
        let n_frames = noise.len() / channels.max(1);
        let needed = samples.len() / channels.max(1);
        // A long recording is entered where it need not wrap around, a short one anywhere.
        let starts = if n_frames >= needed { n_frames - needed + 1 } else { n_frames };
        let start = seed::below(&mut rng, starts as u64) as usize * channels;
        add_at(samples, &noise[..n_frames * channels], start, snr_db);
    }
}

/// Adds `noise`, from `start` on and round, scaled so that the powers of what is added and of `samples` are `snr_db` apart.
fn add_at(samples: &mut [f32], noise: &[f32], start: usize, snr_db: f64) {
    if noise.is_empty() {
        return;
    }
    let turned = || noise[start..].iter().chain(noise.iter().cycle());
    let square_sum = |x: &f32| f64::from(*x) * f64::from(*x);
    let noise_power: f64 = turned().take(samples.len()).map(square_sum).sum();
    let signal_power: f64 = samples.iter().map(square_sum).sum();
    if noise_power == 0.0 {
        return;
    }
    let factor = (signal_power / noise_power).sqrt() / amplitude(snr_db);
    for (sample, &noise) in samples.iter_mut().zip(turned()) {
        *sample += (f64::from(noise) * factor) as f32;
    }
}

/// A draw of mean 0 and variance 1, near enough normal (the sum of twelve even draws): sums and products alone, so that the
/// bits are the same on every platform, as those of a logarithm are not.
fn normal(rng: &mut impl rand_core::Rng) -> f64 {
    let mut sum = 0_u64;
    for _ in 0..3 {
        let word = rng.next_u64();
        sum += (0..4).map(|i| (word >> (16 * i)) & 0xFFFF).sum::<u64>();
    }
    // Each of the twelve has 65,536 values of mean 32767.5.
    (sum as f64 - 12.0 * 32_767.5) / 65_536.0
}

/// Poles and zeros that take turns, an octave apart: -3 dB an octave to within 0.2 dB over fourteen octaves.
struct PinkFilter {
    sections: [Section; PinkFilter::N],
}

#[derive(Clone, Copy, Default)]
struct Section {
    pole: f64,
    zero: f64,
    input: f64,
    output: f64,
}

impl PinkFilter {
    const N: usize = 8;

    fn new() -> Self {
        let mut sections = [Section::default(); Self::N];
        // The section next to the Nyquist frequency is fitted (least ripple of the whole): there an analogue pair does not carry
        // over. The poles below it lie two octaves apart, in radians per sample.
        sections[0] = Section { pole: 0.0431, zero: -0.1899, ..Section::default() };
        for (k, section) in sections.iter_mut().enumerate().skip(1) {
            let pole = std::f64::consts::PI * 2_f64.powf(-0.7128 - 2.0 * k as f64);
            *section = Section { pole: (-pole).exp(), zero: (-2.0 * pole).exp(), ..Section::default() };
        }
        Self { sections }
    }

    fn next(&mut self, white: f64) -> f64 {
        self.sections.iter_mut().fold(white, |x, section| {
            let y = x - section.zero * section.input + section.pole * section.output;
            section.input = x;
            section.output = y;
            y
        })
    }
}

#[cfg(test)]
mod tests {
    use realfft::RealFftPlanner;

    use super::*;

    fn noise_of(kind: NoiseKind, n: usize, seed: u64) -> Vec<f32> {
        let mut mix = MixNoiseConfig { snr_db: Some(0.0), kind, ..MixNoiseConfig::default() }.build().unwrap();
        // The clip is one impulse; what is beside it is the noise.
        let mut clip = vec![0.0; n];
        clip[0] = 100.0;
        mix.process(&mut clip, seed);
        clip[0] = 0.0;
        clip
    }

    /// Mean power in each octave band, from the Nyquist frequency down, in dB.
    fn octaves_db(samples: &[f32]) -> Vec<f64> {
        let n = samples.len();
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(n);
        let mut spectrum = fft.make_output_vec();
        fft.process(&mut samples.to_vec(), &mut spectrum).unwrap();
        let band = |octave: usize| {
            let (low, high) = (n >> (octave + 2), n >> (octave + 1));
            spectrum[low..high].iter().map(|bin| f64::from(bin.norm_sqr())).sum::<f64>() / (high - low) as f64
        };
        (0..8).map(|octave| 10.0 * band(octave).log10()).collect()
    }

    #[test]
    fn white_is_level_and_pink_falls_three_decibels_an_octave() {
        let white = octaves_db(&noise_of(NoiseKind::White, 1 << 17, 1));
        let pink = octaves_db(&noise_of(NoiseKind::Pink, 1 << 17, 1));
        for octave in 1..8 {
            assert!((white[octave] - white[0]).abs() < 0.7, "{white:?}");
            let slope = (pink[octave] - pink[0]) / octave as f64;
            assert!((slope - 3.01).abs() < 0.3, "{pink:?}");
        }
    }

    #[test]
    fn draws_are_normal_enough() {
        let mut rng = seed::rng(9);
        let draws: Vec<f64> = (0..200_000).map(|_| normal(&mut rng)).collect();
        let moment = |p: i32| draws.iter().map(|x| x.powi(p)).sum::<f64>() / draws.len() as f64;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.01, "{} {}", moment(1), moment(2));
        // The fourth moment of this sum is 2.9, of a normal draw 3.
        assert!((moment(4) - 2.9).abs() < 0.1, "{}", moment(4));
    }

    #[test]
    fn the_ratio_is_met_and_the_seed_decides() {
        let clip: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.1).sin()).collect();
        let mix = |snr_db, seed| {
            let mut noisy = clip.clone();
            let config = MixNoiseConfig { snr_db: Some(snr_db), ..MixNoiseConfig::default() };
            config.build().unwrap().process(&mut noisy, seed);
            noisy
        };
        let power = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        for snr_db in [-5.0, 0.0, 20.0] {
            let noise: Vec<f32> = mix(snr_db, 4).iter().zip(&clip).map(|(a, b)| a - b).collect();
            let measured = 10.0 * (power(&clip) / power(&noise)).log10();
            assert!((measured - snr_db).abs() < 1e-3, "{measured}");
        }
        assert_eq!(mix(0.0, 4), mix(0.0, 4));
        assert_ne!(mix(0.0, 4), mix(0.0, 5));
    }

    #[test]
    fn given_noise_is_scaled_repeated_and_entered_anywhere() {
        let mix = MixNoiseConfig { snr_db: Some(0.0), ..MixNoiseConfig::default() }.build().unwrap();
        // Two channels of noise, 0.1 left and -0.1 right, five frames for a clip of twelve.
        let noise: Vec<f32> = [0.1, -0.1].repeat(5);
        let mut clip = vec![1.0; 24];
        mix.process_with(&mut clip, &noise, 2, 3);
        assert!(clip.chunks(2).all(|frame| (frame[0] - 2.0).abs() < 1e-6 && frame[1].abs() < 1e-6), "{clip:?}");
        let ramp: Vec<f32> = (1..=100).map(|i| i as f32).collect();
        let places: Vec<f32> = (0..50)
            .map(|seed| {
                let mut clip = vec![1.0; 3];
                mix.process_with(&mut clip, &ramp, 1, seed);
                (clip[1] - clip[0]) / (clip[0] - 1.0)
            })
            .collect();
        // Three steps of the ramp from k on: the relative step is 1 / k.
        let entered: Vec<u32> = places.iter().map(|step| (1.0 / step).round() as u32).collect();
        assert!(entered.iter().all(|k| (1..=98).contains(k)));
        assert!(entered.iter().any(|&k| k < 20) && entered.iter().any(|&k| k > 80), "{entered:?}");
    }

    #[test]
    fn silence_stays_silent() {
        let mut mix = MixNoiseConfig { snr_db: Some(0.0), ..MixNoiseConfig::default() }.build().unwrap();
        let mut silent = vec![0.0; 100];
        mix.process(&mut silent, 1);
        assert_eq!(silent, vec![0.0; 100]);
        let mut clip = vec![0.5; 100];
        mix.process_with(&mut clip, &[0.0; 10], 1, 1);
        mix.process_with(&mut clip, &[], 1, 1);
        assert_eq!(clip, vec![0.5; 100]);
    }
}
