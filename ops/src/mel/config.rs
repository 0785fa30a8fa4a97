//! What a user writes, and the numbers it resolves to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::filter_bank::{Band, Triangles};
use crate::ConfigError;
use crate::stft::{Edges, StftConfig, Window};

/// Largest picture that is planned, in cells.
const MAX_CELLS: usize = 1 << 28;

/// A published front end, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogMelPreset {
    /// Audio-JEPA as printed: Kaldi log-mel, 32 kHz, 10 s, 256 frames x 128 mels, time x mel.
    #[serde(rename = "paper-2025")]
    Paper2025,
    /// Audio-JEPA's code at 225b816: Kaldi log-mel, 32 kHz, 10 s, 512 frames x 96 mels, time x mel.
    #[serde(rename = "code-225b816")]
    Code225b816,
    /// Audio-JEPA-base of 2026: STFT log-mel in decibels, 16 kHz, 10 s, 128 mels x 256 frames, mel x time.
    #[serde(rename = "base-2026")]
    Base2026,
}

/// The two conventions in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MelKind {
    /// Kaldi's filter bank: frames inside the clip, each freed of its mean, pre-emphasised by 0.97; natural logarithm.
    Kaldi,
    /// Centred, reflected STFT, power divided by the window's energy; decibels.
    Stft,
}

/// What fills the frames that the picture has and the clip has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pad {
    /// The floor: what silence looks like.
    #[default]
    Floor,
    /// 0.0, a *loud* value in the log domain: what the reference implementations do.
    Zero,
}

/// How many frames a picture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Always `frames`: longer clips are cut, shorter ones padded.
    #[default]
    Fixed,
    /// As many as the clip gives.
    Clip,
}

/// The order of a picture's dimensions in memory, slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// A row is a frame.
    TimeMel,
    /// A row is a mel band.
    MelTime,
}

/// Log-mel picture of a mono clip.
///
/// `{ preset: code-225b816 }` is complete; `{ rate_hz: 16000, n_mels: 80, frame_shift_ms: 10, frame_length_ms: 25 }` is
/// too. Fields given beside a preset override it.
///
/// The row's `n_frames` counts every frame that sees a sample of the clip, those that hang over an end included (not only
/// those that lie inside, as Kaldi's count does), at most the picture's frames; what is behind them is padding.
///
/// Time is three numbers of which two fix the third: `seconds` / `frames` = `frame_shift_ms`. `frames` alone keeps
/// `seconds` and changes the shift; `seconds` alone keeps the shift and changes the frames. Given all three, the picture has
/// `frames` rows, cut or padded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogMelConfig {
    /// Where every default comes from. Default: none, that is Kaldi's filter bank at `rate_hz`.
    pub preset: Option<LogMelPreset>,
    /// `kaldi` or `stft`. Default `kaldi`; fixed by a preset.
    pub kind: Option<MelKind>,
    /// Sample rate of the clips in Hz, 1000 to 384000. Required without a preset.
    pub rate_hz: Option<u32>,
    /// Part of a clip that the picture covers, in seconds from its start, up to 3600. Default 10. Active only if `extent` is
    /// `fixed`.
    pub seconds: Option<f64>,
    /// Frames of the picture. Default: `seconds` over the frame shift, rounded down. Kaldi's convention fills two or so fewer.
    /// Active only if `extent` is `fixed`.
    pub frames: Option<usize>,
    /// `fixed`: every picture has `frames` frames; `clip`: as many as its clip gives. Default `fixed`.
    pub extent: Option<Extent>,
    /// Time from one frame to the next in milliseconds, at least one sample. Default: `seconds` / `frames`, else 10.
    pub frame_shift_ms: Option<f64>,
    /// Length of the window in milliseconds, at least two samples. Default 2.5 frame shifts; 128 in `base-2026`.
    pub frame_length_ms: Option<f64>,
    /// FFT length in samples, even, up to 65536. Default: the next power of two at or above the window.
    pub n_fft: Option<usize>,
    /// Window function. Default `hann`; `hann_periodic` for `stft`.
    pub window: Option<Window>,
    /// Mel bands, 1 to 1024. Default 80, or the preset's.
    pub n_mels: Option<usize>,
    /// Lower edge of the lowest band in Hz. Default 20; 0 in `base-2026`.
    pub low_hz: Option<f64>,
    /// Upper edge of the highest band in Hz, up to `rate_hz` / 2, the default.
    pub high_hz: Option<f64>,
    /// Energy below which everything counts as silence. Default 1.1920929e-7 (`kaldi`), 1e-10 (`stft`).
    pub energy_floor: Option<f64>,
    /// What fills frames beyond the last one of `seconds`. Default `floor`. Active only if `extent` is `fixed`.
    pub pad: Option<Pad>,
    /// Order of the dimensions. Default `time_mel`; `mel_time` in `base-2026`.
    pub axes: Option<Axes>,
}

/// A front end with every number filled in.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub kind: MelKind,
    pub rate_hz: u32,
    pub stft: StftConfig,
    pub band: Band,
    pub axes: Axes,
    pub pad: Pad,
    pub energy_floor: f32,
    /// Frames of every picture and samples that it covers; none when as many as the clip gives.
    pub fixed: Option<Fixed>,
}

/// A picture of fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fixed {
    pub n_frames: usize,
    pub extent_len: usize,
}

/// What a preset, or none, supplies.
struct Defaults {
    kind: MelKind,
    rate_hz: Option<u32>,
    frames: Option<usize>,
    n_mels: usize,
    frame_length_ms: Option<f64>,
    low_hz: f64,
    axes: Axes,
}

impl Defaults {
    fn of(preset: Option<LogMelPreset>) -> Self {
        let kaldi = Self {
            kind: MelKind::Kaldi,
            rate_hz: Some(32_000),
            frames: None,
            n_mels: 80,
            frame_length_ms: None,
            low_hz: 20.0,
            axes: Axes::TimeMel,
        };
        match preset {
            None => Self { rate_hz: None, ..kaldi },
            Some(LogMelPreset::Paper2025) => Self { frames: Some(256), n_mels: 128, ..kaldi },
            Some(LogMelPreset::Code225b816) => Self { frames: Some(512), n_mels: 96, ..kaldi },
            Some(LogMelPreset::Base2026) => Self {
                kind: MelKind::Stft,
                rate_hz: Some(16_000),
                frames: Some(256),
                n_mels: 128,
                frame_length_ms: Some(128.0),
                low_hz: 0.0,
                axes: Axes::MelTime,
            },
        }
    }
}

impl LogMelConfig {
    /// The front end of `preset`, nothing overridden.
    pub fn preset(preset: LogMelPreset) -> Self {
        Self { preset: Some(preset), ..Self::default() }
    }

    pub(super) fn resolve(&self) -> Result<Resolved, ConfigError> {
        let defaults = Defaults::of(self.preset);
        let kind = self.kind(&defaults)?;
        let rate_hz = self.rate_hz(&defaults)?;
        self.extent_is_coherent()?;
        let seconds = in_range("seconds", self.seconds.unwrap_or(10.0), 0.001, 3600.0, "s")?;
        let shift_ms = self.shift_ms(&defaults, seconds)?;
        let length_ms = self.frame_length_ms.or(defaults.frame_length_ms).unwrap_or(2.5 * shift_ms);
        let hop_len = samples_of("frame_shift_ms", shift_ms, rate_hz, 1)?;
        let stft = self.stft(kind, hop_len, samples_of("frame_length_ms", length_ms, rate_hz, 2)?);
        let band = self.band(&defaults, kind, rate_hz, &stft)?;
        let fixed = match self.extent.unwrap_or_default() {
            Extent::Clip => None,
            Extent::Fixed => Some(self.fixed(seconds, rate_hz, &stft, band.n_mels)?),
        };
        let default_floor = if kind == MelKind::Kaldi { f64::from(f32::EPSILON) } else { 1e-10 };
        let energy_floor = in_range("energy_floor", self.energy_floor.unwrap_or(default_floor), 1e-30, 1e30, "")?;
        Ok(Resolved {
            kind,
            rate_hz,
            stft,
            band,
            axes: self.axes.unwrap_or(defaults.axes),
            pad: self.pad.unwrap_or_default(),
            energy_floor: energy_floor as f32,
            fixed,
        })
    }

    fn kind(&self, defaults: &Defaults) -> Result<MelKind, ConfigError> {
        match self.kind {
            Some(kind) if self.preset.is_some() && kind != defaults.kind => Err(ConfigError::new(
                "kind",
                format!("{} contradicts the preset", word(kind)),
                format!("leave it out (the preset is {}), or leave the preset out", word(defaults.kind)),
            )),
            Some(kind) => Ok(kind),
            None => Ok(defaults.kind),
        }
    }

    fn rate_hz(&self, defaults: &Defaults) -> Result<u32, ConfigError> {
        let help = "1000 to 384000, the rate of the clips that come in";
        match self.rate_hz.or(defaults.rate_hz) {
            Some(rate_hz) if (1000..=384_000).contains(&rate_hz) => Ok(rate_hz),
            Some(rate_hz) => Err(ConfigError::new("rate_hz", format!("{rate_hz} Hz"), help)),
            None => Err(ConfigError::new("rate_hz", "missing, and there is no preset to supply it", help)),
        }
    }

    /// A picture as long as its clip has no fixed extent to speak of.
    fn extent_is_coherent(&self) -> Result<(), ConfigError> {
        if self.extent != Some(Extent::Clip) {
            return Ok(());
        }
        let idle =
            [("seconds", self.seconds.is_some()), ("frames", self.frames.is_some()), ("pad", self.pad.is_some())];
        match idle.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((field, _)) => Err(ConfigError::new(
                field,
                "has no meaning with `extent: clip`, where a picture is as long as its clip",
                "leave it out (`frame_shift_ms` sets the resolution), or say `extent: fixed`",
            )),
        }
    }

    fn shift_ms(&self, defaults: &Defaults, seconds: f64) -> Result<f64, ConfigError> {
        if self.frames == Some(0) {
            return Err(ConfigError::new("frames", "0 frames", "at least 1"));
        }
        Ok(match (self.frame_shift_ms, self.frames, defaults.frames) {
            (Some(shift_ms), ..) => shift_ms,
            (None, Some(frames), _) => seconds * 1000.0 / frames as f64,
            (None, None, Some(frames)) => 10_000.0 / frames as f64,
            (None, None, None) => 10.0,
        })
    }

    fn stft(&self, kind: MelKind, hop_len: usize, window_len: usize) -> StftConfig {
        let kaldi = kind == MelKind::Kaldi;
        StftConfig {
            window_len,
            hop_len,
            n_fft: self.n_fft,
            window: self.window.unwrap_or(if kaldi { Window::Hann } else { Window::HannPeriodic }),
            edges: if kaldi { Edges::Snip } else { Edges::Reflect },
            remove_dc: kaldi,
            preemphasis: if kaldi { 0.97 } else { 0.0 },
            normalize_window: !kaldi,
        }
    }

    fn band(&self, defaults: &Defaults, kind: MelKind, rate_hz: u32, stft: &StftConfig) -> Result<Band, ConfigError> {
        let n_mels = self.n_mels.unwrap_or(defaults.n_mels);
        if !(1..=1024).contains(&n_mels) {
            return Err(ConfigError::new("n_mels", format!("{n_mels} bands"), "1 to 1024"));
        }
        let nyquist_hz = f64::from(rate_hz) / 2.0;
        let high_hz = in_range("high_hz", self.high_hz.unwrap_or(nyquist_hz), 1.0, nyquist_hz, "Hz")?;
        let low_hz = in_range("low_hz", self.low_hz.unwrap_or(defaults.low_hz), 0.0, nyquist_hz, "Hz")?;
        if low_hz >= high_hz {
            let help = format!("less than `high_hz`, {high_hz}");
            return Err(ConfigError::new("low_hz", format!("{low_hz} Hz leaves no band below {high_hz} Hz"), help));
        }
        let n_fft = stft.n_fft.unwrap_or(stft.window_len.next_power_of_two());
        let triangles = if kind == MelKind::Kaldi { Triangles::OverMel } else { Triangles::OverHz };
        Ok(Band { rate_hz, n_fft, n_mels, low_hz, high_hz, triangles })
    }

    fn fixed(&self, seconds: f64, rate_hz: u32, stft: &StftConfig, n_mels: usize) -> Result<Fixed, ConfigError> {
        let extent_len = (seconds * f64::from(rate_hz)).round() as usize;
        let needed = stft.build().map_err(in_user_words)?.framing().min_samples();
        if extent_len < needed {
            let least_s = needed as f64 / f64::from(rate_hz);
            let problem = format!("{seconds} s is shorter than one frame");
            return Err(ConfigError::new("seconds", problem, format!("at least {least_s} at {rate_hz} Hz")));
        }
        let n_frames = self.frames.unwrap_or(extent_len / stft.hop_len).max(1);
        if n_frames > MAX_CELLS / n_mels {
            let problem = format!("{n_frames} frames of {n_mels} bands");
            return Err(ConfigError::new("frames", problem, format!("at most {} frames", MAX_CELLS / n_mels)));
        }
        Ok(Fixed { n_frames, extent_len })
    }
}

/// A duration in whole samples, rounded down as Kaldi does, in its order of operations.
fn samples_of(field: &'static str, ms: f64, rate_hz: u32, least: usize) -> Result<usize, ConfigError> {
    let rate = f64::from(rate_hz);
    let len = rate * ms * 0.001;
    if len.is_finite() && len >= least as f64 && len <= 65_536.0 {
        return Ok(len as usize);
    }
    let (low, high) = (least as f64 * 1000.0 / rate, 65_536_000.0 / rate);
    Err(ConfigError::new(field, format!("{ms} ms"), format!("{low} to {high} ms at {rate_hz} Hz")))
}

fn in_range(field: &'static str, value: f64, low: f64, high: f64, unit: &str) -> Result<f64, ConfigError> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    let gap = if unit.is_empty() { "" } else { " " };
    Err(ConfigError::new(field, format!("{value}{gap}{unit}"), format!("{low} to {high}{gap}{unit}")))
}

/// The STFT speaks of samples; the user wrote milliseconds.
pub(super) fn in_user_words(error: ConfigError) -> ConfigError {
    let field = match error.field {
        "window_len" => "frame_length_ms",
        "hop_len" => "frame_shift_ms",
        same => same,
    };
    ConfigError { field, ..error }
}

fn word(kind: MelKind) -> &'static str {
    match kind {
        MelKind::Kaldi => "kaldi",
        MelKind::Stft => "stft",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(json: &str) -> Result<Resolved, ConfigError> {
        serde_json::from_str::<LogMelConfig>(json).unwrap().resolve()
    }

    /// hop, window, FFT, frames, samples covered, bands.
    fn sizes(json: &str) -> (usize, usize, usize, usize, usize, usize) {
        let r = resolve(json).unwrap();
        let fixed = r.fixed.unwrap();
        (r.stft.hop_len, r.stft.window_len, r.band.n_fft, fixed.n_frames, fixed.extent_len, r.band.n_mels)
    }

    #[test]
    fn presets_are_the_published_numbers() {
        assert_eq!(sizes(r#"{"preset": "paper-2025"}"#), (1250, 3125, 4096, 256, 320_000, 128));
        assert_eq!(sizes(r#"{"preset": "code-225b816"}"#), (625, 1562, 2048, 512, 320_000, 96));
        assert_eq!(sizes(r#"{"preset": "base-2026"}"#), (625, 2048, 2048, 256, 160_000, 128));
        let base = resolve(r#"{"preset": "base-2026"}"#).unwrap();
        assert_eq!(
            (base.axes, base.kind, base.band.low_hz, base.band.high_hz),
            (Axes::MelTime, MelKind::Stft, 0.0, 8000.0)
        );
    }

    #[test]
    fn two_of_seconds_frames_and_shift_fix_the_third() {
        assert_eq!(
            sizes(r#"{"rate_hz": 16000, "frame_shift_ms": 10, "frame_length_ms": 25}"#),
            (160, 400, 512, 1000, 160_000, 80)
        );
        assert_eq!(sizes(r#"{"preset": "code-225b816", "seconds": 5}"#), (625, 1562, 2048, 256, 160_000, 96));
        assert_eq!(sizes(r#"{"preset": "code-225b816", "frames": 256}"#), (1250, 3125, 4096, 256, 320_000, 96));
        assert_eq!(sizes(r#"{"preset": "code-225b816", "frame_shift_ms": 10}"#), (320, 800, 1024, 1000, 320_000, 96));
        assert_eq!(sizes(r#"{"rate_hz": 16000, "frames": 1024, "frame_shift_ms": 10}"#).3, 1024);
        assert_eq!(sizes(r#"{"rate_hz": 11025, "frame_shift_ms": 10, "frame_length_ms": 25}"#).1, 275);
    }

    #[test]
    fn contradictions_name_the_field() {
        let field = |json| resolve(json).unwrap_err().field;
        assert_eq!(field("{}"), "rate_hz");
        assert_eq!(field(r#"{"rate_hz": 3}"#), "rate_hz");
        assert_eq!(field(r#"{"preset": "base-2026", "kind": "kaldi"}"#), "kind");
        assert_eq!(field(r#"{"rate_hz": 16000, "extent": "clip", "frames": 100}"#), "frames");
        assert_eq!(field(r#"{"rate_hz": 16000, "extent": "clip", "pad": "zero"}"#), "pad");
        assert_eq!(field(r#"{"rate_hz": 16000, "high_hz": 9000}"#), "high_hz");
        assert_eq!(field(r#"{"rate_hz": 16000, "low_hz": 8000}"#), "low_hz");
        assert_eq!(field(r#"{"rate_hz": 16000, "n_fft": 256}"#), "n_fft");
        assert_eq!(field(r#"{"rate_hz": 16000, "n_mels": 0}"#), "n_mels");
        assert_eq!(field(r#"{"rate_hz": 16000, "frames": 0}"#), "frames");
        assert_eq!(field(r#"{"rate_hz": 16000, "seconds": 0.02, "frame_shift_ms": 10}"#), "seconds");
        assert_eq!(field(r#"{"rate_hz": 16000, "frame_length_ms": 9e9}"#), "frame_length_ms");
        assert_eq!(field(r#"{"rate_hz": 16000, "frame_shift_ms": 0}"#), "frame_shift_ms");
        assert_eq!(field(r#"{"rate_hz": 16000, "energy_floor": 0}"#), "energy_floor");
    }
}
