//! The power spectrogram as an op, and the blocks of frames that the mel kernel feeds on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{Block, Columns};
use super::framing::{Edges, Framing};
use super::spectrum::Spectrum;
use super::taps::{Taps, Tilt};
use super::window::Window;
use crate::simd::{Buffer, Instructions, Kernel, Lanes, MAX_LANES};
use crate::{ConfigError, OpError};

/// Largest FFT that is planned; 65,536 points are four seconds at 16 kHz.
const MAX_FFT: usize = 65_536;

/// Power spectrogram of a mono clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StftConfig {
    /// Window length in samples, 2 to `n_fft`.
    pub window_len: usize,
    /// Samples from one frame to the next, at least 1.
    pub hop_len: usize,
    /// FFT length in samples, even, up to 65536. Default: the next power of two at or above `window_len`.
    #[serde(default)]
    pub n_fft: Option<usize>,
    /// Window function. Default `hann` (symmetric).
    #[serde(default)]
    pub window: Window,
    /// What happens at the ends of the clip. Default `snip`.
    #[serde(default)]
    pub edges: Edges,
    /// Subtract each frame's mean before the window. Default false.
    #[serde(default)]
    pub remove_dc: bool,
    /// Coefficient c of `x[i] - c x[i-1]` within each frame, 0 to 1 (Kaldi: 0.97). Default 0, off.
    #[serde(default)]
    pub preemphasis: f64,
    /// Divide power by the window's energy, the sum of its squares. Default false.
    #[serde(default)]
    pub normalize_window: bool,
}

impl StftConfig {
    /// Checks every field and plans the FFT.
    ///
    /// # Errors
    /// Names the field that is out of range, and the range.
    pub fn build(&self) -> Result<Stft, ConfigError> {
        let within = |field, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::new(field, format!("{value} samples"), format!("{low} to {high}")))
        };
        within("window_len", self.window_len, 2, MAX_FFT)?;
        within("hop_len", self.hop_len, 1, usize::MAX / 4)?;
        let n_fft = self.n_fft.unwrap_or(self.window_len.next_power_of_two());
        within("n_fft", n_fft, self.window_len, MAX_FFT)?;
        if n_fft % 2 == 1 {
            return Err(ConfigError::new(
                "n_fft",
                format!("{n_fft} is odd"),
                "an even length; powers of two are fastest",
            ));
        }
        if !(0.0..=1.0).contains(&self.preemphasis) {
            return Err(ConfigError::new(
                "preemphasis",
                format!("{}", self.preemphasis),
                "0 (off) to 1; Kaldi's is 0.97",
            ));
        }
        let window = self.window.coefficients(self.window_len);
        let norm = if self.normalize_window { window.iter().map(|w| w * w).sum() } else { 1.0 };
        // The norm divides power: its root goes into the window.
        let window: Vec<f64> = window.iter().map(|w| w / f64::sqrt(norm)).collect();
        let taps = Taps::new(&window, self.preemphasis, n_fft);
        let framing = Framing { window_len: self.window_len, hop_len: self.hop_len, n_fft, edges: self.edges };
        Ok(Stft {
            instructions: Instructions::widest(),
            bin_gains: [taps.bin_gains(Tilt::Bass), taps.bin_gains(Tilt::Treble)],
            columns: Columns::new(&framing),
            rows: Buffer::new(n_fft),
            spectrum: Spectrum::new(n_fft),
            remove_dc: self.remove_dc,
            framing,
            taps,
        })
    }
}

/// A planned power spectrogram. Clone it, or build one, per thread.
#[derive(Clone)]
pub struct Stft {
    instructions: Instructions,
    framing: Framing,
    remove_dc: bool,
    taps: Taps,
    /// For either tilt.
    bin_gains: [Vec<f32>; 2],
    columns: Columns,
    rows: Buffer,
    spectrum: Spectrum,
}

/// Power spectra of a block of frames, still as the transform left them.
pub(crate) struct Powers<'a, V> {
    rows: &'a [V],
    slots: &'a [u32],
    gains: &'a [f32],
    /// 1 for frames that count, 0 for those that are too quiet.
    pub audible: V,
}

impl<'a, V: Lanes> Powers<'a, V> {
    /// Bin k has its power in `rows[slots[k]]` and its gain in `gains[k]`.
    pub fn new(rows: &'a [V], slots: &'a [u32], gains: &'a [f32], audible: V) -> Self {
        Self { rows, slots, gains, audible }
    }

    /// Powers of ascending bins, each to be multiplied with its [`Stft::bin_gains`].
    #[inline(always)]
    pub fn bins(&self, bins: std::ops::Range<usize>) -> impl Iterator<Item = V> + use<'a, V> {
        let rows = self.rows;
        self.slots[bins].iter().map(move |&slot| rows[slot as usize])
    }
}

impl Stft {
    /// Frames of a clip of `n_samples`; 0 when it is too short for one.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        self.framing.n_frames(n_samples)
    }

    /// Bins of a frame: `n_fft / 2 + 1`, from 0 Hz to Nyquist.
    pub fn n_bins(&self) -> usize {
        self.framing.n_fft / 2 + 1
    }

    /// FFT length in samples.
    pub fn n_fft(&self) -> usize {
        self.framing.n_fft
    }

    /// Writes `|X|^2` of every frame.
    ///
    /// # Shapes
    /// `samples` of length n; `out` of `n_frames(n)` x `n_bins()`, row-major.
    ///
    /// # Errors
    /// [`OpError::TooShort`], [`OpError::Shape`] for an `out` of another size, [`OpError::NonFinite`].
    ///
    /// # Example: a tone lands in its bin
    /// ```
    /// use ajepa_ops::stft::StftConfig;
    /// let config: StftConfig = serde_json::from_str(r#"{"window_len": 64, "hop_len": 32}"#)?;
    /// let mut stft = config.build()?;
    /// let tone: Vec<f32> = (0..128).map(|i| (i as f32 * std::f32::consts::TAU / 8.0).sin()).collect();
    /// let mut power = vec![0.0; stft.n_frames(128) * stft.n_bins()];
    /// stft.process(&tone, &mut power)?;
    /// let loudest = (0..stft.n_bins()).max_by(|&a, &b| power[a].total_cmp(&power[b]));
    /// assert_eq!(loudest, Some(64 / 8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process(&mut self, samples: &[f32], out: &mut [f32]) -> Result<(), OpError> {
        let (n, n_bins) = (self.n_frames(samples.len()), self.n_bins());
        if n == 0 {
            return Err(OpError::TooShort { n_samples: samples.len(), needed: self.framing.min_samples() });
        }
        if out.len() != n * n_bins {
            return Err(OpError::Shape { what: "stft output", expected: n * n_bins, got: out.len() });
        }
        self.instructions.run(Spectrogram { stft: self, samples, out })
    }

    /// Uses `instructions` instead of the widest there are. No digit changes.
    pub fn set_instructions(&mut self, instructions: Instructions) {
        self.instructions = instructions;
    }

    pub(crate) fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// How `samples` are to be whitened.
    pub(crate) fn tilt(&self, samples: &[f32]) -> Tilt {
        if self.taps.whitens() { Tilt::of(samples) } else { Tilt::Bass }
    }

    /// What each bin's power is yet to be multiplied with, in clips of this tilt.
    pub(crate) fn bin_gains(&self, tilt: Tilt) -> &[f32] {
        &self.bin_gains[tilt as usize]
    }

    pub(crate) fn framing(&self) -> &Framing {
        &self.framing
    }

    /// Powers of one block; none where no frame's total power, by Parseval, can reach
    /// `negligible` in any sum over bins.
    #[inline(always)]
    pub(crate) fn powers<V: Lanes>(
        &mut self,
        block: Block<'_>,
        negligible: f32,
    ) -> Result<Option<Powers<'_, V>>, OpError> {
        self.columns.fill::<V>(&self.framing, block);
        // Below f32's normal range a frame has no precision left; as a power it is nothing.
        let quiet = (negligible / self.taps.max_gain()).max(f32::MIN_POSITIVE * 1e6);
        let (mut means, mut audible) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
        for lane in 0..block.n_frames {
            let (mean, energy) = self.columns.mean_and_energy(lane);
            if !energy.is_finite() {
                return Err(OpError::NonFinite { index: first_unusable(block.samples) });
            }
            means[lane] = if self.remove_dc { mean } else { 0.0 };
            audible[lane] = if energy > quiet { 1.0 } else { 0.0 };
        }
        if audible == [0.0; MAX_LANES] {
            return Ok(None);
        }
        self.taps.apply(&self.columns, V::load(&means), block.tilt, self.rows.rows::<V>());
        self.spectrum.powers::<V>(&mut self.rows, block.n_frames);
        let (rows, slots) = (self.rows.rows(), self.spectrum.slots());
        Ok(Some(Powers::new(rows, slots, &self.bin_gains[block.tilt as usize], V::load(&audible))))
    }
}

/// All frames of a clip.
struct Spectrogram<'a> {
    stft: &'a mut Stft,
    samples: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Spectrogram<'_> {
    type Output = Result<(), OpError>;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Result<(), OpError> {
        let Self { stft, samples, out } = self;
        let (n_bins, tilt) = (stft.n_bins(), stft.tilt(samples));
        for (i, out) in out.chunks_mut(n_bins * V::N).enumerate() {
            let n_frames = out.len() / n_bins;
            let block = Block { samples, extent_len: samples.len(), first_frame: i * V::N, n_frames, tilt };
            let Some(powers) = stft.powers::<V>(block, 0.0)? else {
                out.fill(0.0);
                continue;
            };
            for (k, (power, gain)) in powers.bins(0..n_bins).zip(powers.gains).enumerate() {
                let mut lanes = [0.0; MAX_LANES];
                (power * V::splat(*gain) * powers.audible).store(&mut lanes);
                out[k..].iter_mut().step_by(n_bins).zip(lanes).for_each(|(out, power)| *out = power);
            }
        }
        Ok(())
    }
}

/// The first sample that is not finite, or whose square is not.
fn first_unusable(samples: &[f32]) -> usize {
    samples.iter().position(|x| !(x * x * 1e6).is_finite()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(edges: Edges) -> StftConfig {
        StftConfig {
            window_len: 10,
            hop_len: 5,
            n_fft: Some(12),
            window: Window::Hamming,
            edges,
            remove_dc: true,
            preemphasis: 0.5,
            normalize_window: true,
        }
    }

    /// The definition, in f64 and O(n^2).
    fn slow(config: &StftConfig, frame: &[f64], k: usize, n_fft: usize) -> f64 {
        let mean = frame.iter().sum::<f64>() / frame.len() as f64;
        let x: Vec<f64> = frame.iter().map(|x| x - mean).collect();
        let w = config.window.coefficients(frame.len());
        let (mut re, mut im) = (0.0, 0.0);
        for i in 0..x.len() {
            let v = (x[i] - config.preemphasis * x[i.saturating_sub(1)]) * w[i];
            let angle = std::f64::consts::TAU * (i * k) as f64 / n_fft as f64;
            re += v * angle.cos();
            im -= v * angle.sin();
        }
        (re * re + im * im) / w.iter().map(|w| w * w).sum::<f64>()
    }

    #[test]
    fn every_step_against_the_definition() {
        let config = config(Edges::Snip);
        let mut stft = config.build().unwrap();
        let clip: Vec<f32> = (0..97).map(|i| ((i * i) as f32 * 0.37).sin() + 0.25).collect();
        let (n, bins) = (stft.n_frames(97), stft.n_bins());
        assert_eq!((n, bins), (18, 7));
        let mut out = vec![0.0; n * bins];
        stft.process(&clip, &mut out).unwrap();
        for t in 0..n {
            let frame: Vec<f64> = clip[t * 5..t * 5 + 10].iter().map(|&x| f64::from(x)).collect();
            for k in 0..bins {
                let (got, want) = (f64::from(out[t * bins + k]), slow(&config, &frame, k, 12));
                assert!((got - want).abs() < 1e-6 * (1.0 + want), "frame {t} bin {k}: {got} {want}");
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let bad = |edit: fn(&mut StftConfig)| {
            let mut config = config(Edges::Reflect);
            edit(&mut config);
            config.build().err().map(|e| e.field)
        };
        assert_eq!(bad(|_| ()), None);
        assert_eq!(bad(|c| c.n_fft = Some(8)), Some("n_fft"));
        assert_eq!(bad(|c| c.n_fft = Some(13)), Some("n_fft"));
        assert_eq!(bad(|c| c.hop_len = 0), Some("hop_len"));
        assert_eq!(bad(|c| c.window_len = 1), Some("window_len"));
        assert_eq!(bad(|c| c.preemphasis = f64::NAN), Some("preemphasis"));
    }

    #[test]
    fn refuses_short_clips_wrong_sizes_and_nan() {
        let mut stft = config(Edges::Snip).build().unwrap();
        assert!(matches!(stft.process(&[0.0; 9], &mut []), Err(OpError::TooShort { n_samples: 9, needed: 10 })));
        assert!(matches!(stft.process(&[0.0; 10], &mut [0.0; 6]), Err(OpError::Shape { expected: 7, got: 6, .. })));
        let mut clip = [0.0; 10];
        clip[6] = f32::NAN;
        assert!(matches!(stft.process(&clip, &mut [0.0; 7]), Err(OpError::NonFinite { index: 6 })));
        clip[6] = 1e30;
        assert!(matches!(stft.process(&clip, &mut [0.0; 7]), Err(OpError::NonFinite { index: 6 })));
    }
}
