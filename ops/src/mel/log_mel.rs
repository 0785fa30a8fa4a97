//! The op: geometry, padding, logarithm.

use super::config::{Axes, Fixed, LogMelConfig, MelKind, Pad, in_user_words};
use super::filter_bank::FilterBank;
use super::kernel::{Clip, MelKernel, Picture};
use super::log::Log;
use crate::simd::Instructions;
use crate::{ConfigError, OpError};

impl LogMelConfig {
    /// Checks every field, plans the FFT and lays out the filters.
    ///
    /// # Errors
    /// Names the field that is missing, out of range or at odds with another, and what would do.
    ///
    /// # Example: a preset, and one of your own
    /// ```
    /// use ajepa_ops::mel::{LogMelConfig, LogMelPreset};
    /// let mel = LogMelConfig::preset(LogMelPreset::Code225b816).build()?;
    /// assert_eq!((mel.rate_hz(), mel.shape(320_000)), (32_000, [512, 96]));
    ///
    /// let own = LogMelConfig { rate_hz: Some(16_000), n_mels: Some(64), ..LogMelConfig::default() };
    /// assert_eq!(own.build()?.shape(160_000), [1000, 64]);
    ///
    /// let wrong = LogMelConfig { high_hz: Some(20_000.0), ..own };
    /// assert_eq!(wrong.build().err().map(|e| e.to_string()).as_deref(), Some("high_hz: 20000 Hz"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build(&self) -> Result<LogMel, ConfigError> {
        let resolved = self.resolve()?;
        let stft = resolved.stft.build().map_err(in_user_words)?;
        let (factor, floor) = match resolved.kind {
            MelKind::Kaldi => (1.0, f64::from(resolved.energy_floor).ln()),
            MelKind::Stft => (10.0 / std::f32::consts::LN_10, 10.0 * f64::from(resolved.energy_floor).log10()),
        };
        Ok(LogMel {
            rate_hz: resolved.rate_hz,
            hop_len: resolved.stft.hop_len,
            axes: resolved.axes,
            pad_value: if resolved.pad == Pad::Zero { 0.0 } else { floor as f32 },
            fixed: resolved.fixed,
            kernel: MelKernel::new(
                stft,
                &FilterBank::new(&resolved.band),
                Log { factor, floor_energy: resolved.energy_floor, floor: floor as f32 },
            ),
        })
    }
}

/// A planned log-mel. Clone it, or build one, per thread.
///
/// A picture of fixed extent behaves as if the clip were cut or extended with zeros to `seconds` before anything else, as
/// the reference implementations do: frames over the clip's end see its last samples and then zeros, frames after it are
/// digital silence and therefore exactly the floor. Only rows that not even the extended clip reaches are *padding* (two of
/// 512 in `code-225b816`): the floor again, or 0.0 with `pad: zero`, which reproduces the reference.
///
/// The reference removes the mean of the whole clip once more before its frames. Kaldi's convention removes each frame's
/// own mean, so that changes nothing and is not done; the mean is subtracted before anything that could lose its digits.
#[derive(Clone)]
pub struct LogMel {
    rate_hz: u32,
    hop_len: usize,
    axes: Axes,
    pad_value: f32,
    fixed: Option<Fixed>,
    kernel: MelKernel,
}

impl LogMel {
    /// Sample rate that clips must have, in Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Mel bands of a picture.
    pub fn n_mels(&self) -> usize {
        self.kernel.bank().n_mels()
    }

    /// Frames of every picture; none with `extent: clip`, where [`LogMel::n_frames`] tells.
    pub fn n_frames_out(&self) -> Option<usize> {
        self.fixed.map(|fixed| fixed.n_frames)
    }

    /// Frames of a picture that see at least one sample of a clip of `n_samples`.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        let framing = self.kernel.stft().framing();
        match self.fixed {
            None => framing.n_frames(n_samples),
            Some(_) if n_samples == 0 => 0,
            Some(Fixed { n_frames, extent_len }) => {
                framing.n_touched(n_samples.min(extent_len), extent_len).min(n_frames)
            }
        }
    }

    /// The picture's dimensions for a clip of `n_samples`, in the order of [`LogMel::axes`].
    pub fn shape(&self, n_samples: usize) -> [usize; 2] {
        let n_frames = self.n_frames_out().unwrap_or_else(|| self.n_frames(n_samples));
        match self.axes {
            Axes::TimeMel => [n_frames, self.n_mels()],
            Axes::MelTime => [self.n_mels(), n_frames],
        }
    }

    /// Which dimension of a picture is which.
    pub fn axes(&self) -> Axes {
        self.axes
    }

    /// The value of silence, the least a picture can hold: -15.942385 in Kaldi's convention, -100 dB in the other.
    pub fn floor(&self) -> f32 {
        self.kernel.log().floor
    }

    /// The value of cells that no sample reaches.
    pub fn pad_value(&self) -> f32 {
        self.pad_value
    }

    /// Peak of every mel band, in Hz.
    pub fn mel_centres_hz(&self) -> &[f64] {
        self.kernel.bank().centres_hz()
    }

    /// Seconds from one frame to the next.
    pub fn frame_s(&self) -> f64 {
        self.hop_len as f64 / f64::from(self.rate_hz)
    }

    /// Bands too narrow to hold a single FFT bin: they stay at the floor whatever is played. Worth a warning when not 0.
    pub fn n_empty_mels(&self) -> usize {
        self.kernel.bank().n_empty()
    }

    /// Writes the picture of a clip, padding included; returns its valid frames, [`LogMel::n_frames`]. Allocates nothing.
    ///
    /// # Shapes
    /// `samples` of length n, mono at [`LogMel::rate_hz`], about [-1, 1]; `out` [`LogMel::shape`], row-major. Natural logarithm of
    /// energy (Kaldi) or decibels (STFT).
    ///
    /// # Errors
    /// [`OpError::Empty`]; [`OpError::TooShort`] with `extent: clip` and less than one frame; [`OpError::Shape`] for an
    /// `out` of another size; [`OpError::NonFinite`] for a NaN, an infinity, or a sample beyond 1e16, inside a frame.
    /// After an error `out` holds nothing of use.
    ///
    /// # Example: silence is the floor
    /// ```
    /// use ajepa_ops::mel::{LogMelConfig, LogMelPreset};
    /// let mut mel = LogMelConfig::preset(LogMelPreset::Code225b816).build()?;
    /// let mut picture = vec![0.0; 512 * 96];
    /// let valid = mel.process(&[0.0; 320_000], &mut picture)?;
    /// assert_eq!(valid, 510);
    /// assert!(picture.iter().all(|&cell| cell == -15.942385));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process(&mut self, samples: &[f32], out: &mut [f32]) -> Result<usize, OpError> {
        if samples.is_empty() {
            return Err(OpError::Empty);
        }
        let extent_len = self.fixed.map_or(samples.len(), |fixed| fixed.extent_len);
        let framing = self.kernel.stft().framing();
        let n_real = framing.n_frames(extent_len);
        if n_real == 0 {
            return Err(OpError::TooShort { n_samples: samples.len(), needed: framing.min_samples() });
        }
        let samples = &samples[..samples.len().min(extent_len)];
        let n_frames = self.n_frames_out().unwrap_or(n_real);
        if out.len() != n_frames * self.n_mels() {
            return Err(OpError::Shape { what: "picture", expected: n_frames * self.n_mels(), got: out.len() });
        }
        let valid = self.n_frames(samples.len());
        // At the very end the mirror may show a sample to one frame more than the samples themselves reach.
        let n_heard = n_frames.min(n_real).min(valid + 1);
        let picture = Picture { cells: &mut *out, axes: self.axes, n_frames };
        self.kernel.write(Clip { samples, extent_len }, picture, n_heard)?;
        self.fill(n_heard..n_frames.min(n_real), self.floor(), n_frames, out);
        self.fill(n_frames.min(n_real)..n_frames, self.pad_value, n_frames, out);
        Ok(valid)
    }

    /// Uses `instructions` instead of the widest there are. No digit changes.
    pub fn set_instructions(&mut self, instructions: Instructions) {
        self.kernel.stft_mut().set_instructions(instructions);
    }

    fn fill(&self, frames: std::ops::Range<usize>, value: f32, n_frames: usize, out: &mut [f32]) {
        match self.axes {
            Axes::TimeMel => out[frames.start * self.n_mels()..frames.end * self.n_mels()].fill(value),
            Axes::MelTime => out.chunks_exact_mut(n_frames).for_each(|row| row[frames.clone()].fill(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::LogMelPreset;
    use super::*;
    use proptest::prelude::*;

    fn small(json: &str) -> LogMel {
        serde_json::from_str::<LogMelConfig>(json).unwrap().build().unwrap()
    }

    fn noise(n: usize, level: f32) -> Vec<f32> {
        let mut state = 1_u32;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                level * (f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0) as f32
            })
            .collect()
    }

    #[test]
    fn short_long_and_padded() {
        let mut mel =
            LogMelConfig { pad: Some(Pad::Zero), ..LogMelConfig::preset(LogMelPreset::Code225b816) }.build().unwrap();
        let mut picture = vec![f32::NAN; 512 * 96];
        // One second: frames 0 to 51 start before sample 32,000.
        assert_eq!(mel.process(&noise(32_000, 0.5), &mut picture).unwrap(), 52);
        assert!(picture[..51 * 96].iter().all(|&cell| cell > mel.floor()));
        assert!(picture[52 * 96..510 * 96].iter().all(|&cell| cell == mel.floor()));
        assert!(picture[510 * 96..].iter().all(|&cell| cell == 0.0));
        // What lies beyond ten seconds is not heard.
        let long = noise(400_000, 0.5);
        let mut cut = picture.clone();
        assert_eq!(mel.process(&long, &mut picture).unwrap(), 510);
        mel.process(&long[..320_000], &mut cut).unwrap();
        assert_eq!(picture, cut);
        assert!(matches!(mel.process(&[], &mut picture), Err(OpError::Empty)));
        assert!(matches!(mel.process(&long, &mut cut[1..]), Err(OpError::Shape { expected: 49_152, got: 49_151, .. })));
        assert_eq!(mel.process(&[0.5], &mut picture).unwrap(), 1);
    }

    #[test]
    fn both_axes_hold_the_same_cells() {
        let clip = noise(5000, 0.3);
        let mut rows = small(r#"{"rate_hz": 16000, "seconds": 0.4, "n_mels": 12, "pad": "zero"}"#);
        let mut columns =
            small(r#"{"rate_hz": 16000, "seconds": 0.4, "n_mels": 12, "pad": "zero", "axes": "mel_time"}"#);
        let ([n, m], flipped) = (rows.shape(0), columns.shape(0));
        assert_eq!(([n, m], flipped), ([40, 12], [12, 40]));
        let (mut a, mut b) = (vec![0.0; n * m], vec![0.0; n * m]);
        assert_eq!(rows.process(&clip, &mut a).unwrap(), columns.process(&clip, &mut b).unwrap());
        for t in 0..n {
            assert!((0..m).all(|k| a[t * m + k] == b[k * n + t]));
        }
    }

    #[test]
    fn extent_clip_gives_what_the_clip_has() {
        let mut mel = small(r#"{"rate_hz": 16000, "extent": "clip"}"#);
        assert_eq!((mel.n_frames_out(), mel.shape(16_000)), (None, [98, 80]));
        let mut picture = vec![0.0; 98 * 80];
        assert_eq!(mel.process(&noise(16_000, 0.1), &mut picture).unwrap(), 98);
        assert!(matches!(mel.process(&[0.0; 399], &mut []), Err(OpError::TooShort { n_samples: 399, needed: 400 })));
    }

    /// Loud, quiet and silent stretches, and an end that fills no block.
    fn uneven(n: usize) -> Vec<f32> {
        let level = |i: usize| [0.9, 1e-3, 0.0, 1e-7, 0.2][i / 3000 % 5];
        noise(n, 1.0).iter().enumerate().map(|(i, x)| level(i) * x + 0.01).collect()
    }

    const MANY: [&str; 6] = [
        r#"{"preset": "code-225b816"}"#,
        r#"{"preset": "paper-2025", "pad": "zero"}"#,
        r#"{"preset": "base-2026"}"#,
        r#"{"rate_hz": 16000, "n_mels": 41, "seconds": 3.1, "axes": "mel_time"}"#,
        r#"{"rate_hz": 16000, "n_mels": 23, "seconds": 2, "n_fft": 600, "extent": "fixed"}"#,
        r#"{"rate_hz": 8000, "kind": "stft", "seconds": 3, "frame_shift_ms": 20, "frame_length_ms": 15, "n_mels": 20}"#,
    ];

    #[test]
    fn the_same_digits_on_every_path() {
        for json in MANY {
            let mut mel = small(json);
            for n in [mel.rate_hz() as usize * 10, 17_341] {
                let clip = uneven(n);
                let [rows, columns] = mel.shape(n);
                let mut pictures = Instructions::available().map(|set| {
                    let mut picture = vec![f32::NAN; rows * columns];
                    mel.set_instructions(set);
                    mel.process(&clip, &mut picture).unwrap();
                    (set.name(), picture.iter().map(|cell| cell.to_bits()).collect::<Vec<_>>())
                });
                let (widest, first) = pictures.next().unwrap();
                assert!(first.iter().any(|&bits| f32::from_bits(bits) > mel_floor(json)));
                for (name, picture) in pictures {
                    assert!(picture == first, "{widest} and {name} differ: {json}, {n} samples");
                }
            }
        }
    }

    fn mel_floor(json: &str) -> f32 {
        small(json).floor()
    }

    /// A clip that starts a few frames later has the same frames, at other places in their blocks.
    #[test]
    fn a_frame_has_the_same_digits_whatever_stands_beside_it() {
        for json in [r#"{"rate_hz": 16000, "extent": "clip"}"#, r#"{"rate_hz": 16000, "extent": "clip", "n_fft": 600}"#]
        {
            let mut mel = small(json);
            let clip = uneven(40_000);
            let mut picture_of = |clip: &[f32]| {
                let mut picture = vec![f32::NAN; mel.shape(clip.len()).iter().product()];
                mel.process(clip, &mut picture).unwrap();
                picture
            };
            let whole = picture_of(&clip);
            for skipped in [1, 7, 16, 29] {
                assert!(picture_of(&clip[160 * skipped..]) == whole[80 * skipped..], "{skipped} frames: {json}");
            }
        }
    }

    #[test]
    fn a_tone_peaks_in_the_band_whose_centre_is_nearest() {
        for preset in [LogMelPreset::Code225b816, LogMelPreset::Base2026] {
            let mut mel = LogMelConfig::preset(preset).build().unwrap();
            let m = 60;
            let hz = mel.mel_centres_hz()[m] / f64::from(mel.rate_hz());
            let tone: Vec<f32> = (0..100_000).map(|i| (std::f64::consts::TAU * hz * i as f64).sin() as f32).collect();
            let [rows, columns] = mel.shape(0);
            let mut picture = vec![0.0; rows * columns];
            mel.process(&tone, &mut picture).unwrap();
            let cell = |k: usize| {
                if mel.axes() == Axes::TimeMel { picture[50 * columns + k] } else { picture[k * columns + 50] }
            };
            let loudest = (0..mel.n_mels()).max_by(|&a, &b| cell(a).total_cmp(&cell(b)));
            assert_eq!(loudest, Some(m));
        }
    }

    #[test]
    fn refuses_nan_by_its_index() {
        let mut mel = small(r#"{"rate_hz": 16000, "seconds": 1}"#);
        let mut clip = noise(16_000, 0.1);
        clip[1234] = f32::NAN;
        let mut picture = vec![0.0; 100 * 80];
        assert!(matches!(mel.process(&clip, &mut picture), Err(OpError::NonFinite { index: 1234 })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn gain_moves_every_cell_by_its_logarithm(gain in 0.05_f32..20.0, level in 0.01_f32..0.5) {
            let mut mel = small(r#"{"rate_hz": 16000, "seconds": 0.5, "n_mels": 40}"#);
            let clip = noise(8000, level);
            let louder: Vec<f32> = clip.iter().map(|x| x * gain).collect();
            let (mut a, mut b) = (vec![0.0; 50 * 40], vec![0.0; 50 * 40]);
            let valid = mel.process(&clip, &mut a).unwrap();
            mel.process(&louder, &mut b).unwrap();
            for (a, b) in a.iter().zip(&b).take(valid * 40).filter(|(a, b)| **a > -12.0 && **b > -12.0) {
                prop_assert!((b - a - 2.0 * gain.ln()).abs() < 1e-3, "{a} {b} {gain}");
            }
        }

        #[test]
        fn valid_frames_never_exceed_the_picture_and_grow_with_the_clip(n in 1_usize..40_000, reflect: bool) {
            let kind = if reflect { "stft" } else { "kaldi" };
            let mel = small(&format!(r#"{{"rate_hz": 16000, "seconds": 2, "kind": "{kind}"}}"#));
            let valid = mel.n_frames(n);
            prop_assert!((1..=200).contains(&valid) && valid <= mel.n_frames(n + 1));
            prop_assert!((valid as f64 - 1.0) * mel.frame_s() <= n as f64 / 16_000.0 + 0.0125);
        }
    }
}
