//! Extent of a clip: windows at its head, centre, at random or sliding over it, and its silent ends.
//!
//! Where windows lie is pure geometry ([`Crop::windows`]); [`Crop::cut`] takes one from samples in memory,
//! [`Crop::read`] the single one of a stream, [`SlidingWindows`] one after another from a stream that is never held whole.
//! A *frame* here is one sample of every channel.

mod stream;
mod trim;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use stream::SlidingWindows;
pub use trim::{TrimSilence, TrimSilenceConfig};

use crate::{ConfigError, seed};

/// Longest window, in frames: three hours at 96 kHz, 4 GB of one channel.
const MAX_WINDOW_FRAMES: u64 = 1 << 30;

/// Cuts one window out of a clip, at its head, centre or at random, or a row per window that slides over it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CropConfig {
    /// Length of a window in seconds; more than 0. Exactly one of `seconds` and `samples` is given.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Length of a window in samples of one channel; 1 to 2^30. Exactly one of `seconds` and `samples` is given.
    #[serde(default)]
    pub samples: Option<u64>,
    /// Where the window lies. Default: `head`.
    #[serde(default)]
    pub position: CropPosition,
    /// Seconds from the start of one window to the start of the next; more than 0. Default: the window's length.
    /// Active only if `position` is `sliding`.
    #[serde(default)]
    pub hop_seconds: Option<f64>,
    /// What becomes of a clip shorter than the window. Default: `none`. Active unless `position` is `sliding`.
    #[serde(default)]
    pub pad: CropPad,
    /// What becomes of the last window where the clip does not fill it. Default: `keep`.
    /// Active only if `position` is `sliding`.
    #[serde(default)]
    pub tail: CropTail,
}

/// Where a window lies in its clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CropPosition {
    /// At the start.
    #[default]
    Head,
    /// In the middle; of an odd surplus the smaller half lies before it.
    Centre,
    /// Anywhere, evenly; a function of the seed.
    Random,
    /// One window after another from the start, `hop_seconds` apart, until one reaches the clip's end.
    Sliding,
}

/// What becomes of a clip that is shorter than its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CropPad {
    /// It stays short: a log-mel pads with its own floor, which silence before it would not give.
    #[default]
    None,
    /// Silence follows it, up to the window's length.
    Zero,
}

/// What becomes of a sliding window that the clip does not fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CropTail {
    /// It is left out; a clip shorter than one window yields nothing.
    Drop,
    /// It stays short.
    #[default]
    Keep,
    /// Silence follows it, up to the window's length.
    Pad,
}

impl CropConfig {
    /// Windows of `seconds` at `position`, everything else by default.
    pub fn new(seconds: f64, position: CropPosition) -> Self {
        Self {
            seconds: Some(seconds),
            samples: None,
            position,
            hop_seconds: None,
            pad: CropPad::default(),
            tail: CropTail::default(),
        }
    }

    /// Checks everything and fixes lengths for clips of `rate_hz`.
    ///
    /// # Errors
    /// No length or two, a length or hop that is no whole frame at least, or a field that the position does not use.
    pub fn build(&self, rate_hz: u32) -> Result<Crop, ConfigError> {
        let n_frames = match (self.seconds, self.samples) {
            (Some(seconds), None) => frames("seconds", seconds, rate_hz)?,
            (None, Some(samples)) if (1..=MAX_WINDOW_FRAMES).contains(&samples) => samples,
            (None, Some(samples)) => {
                let help = format!("1 to {MAX_WINDOW_FRAMES}");
                return Err(ConfigError::new("samples", format!("a window of {samples} samples"), help));
            }
            (given, _) => {
                let problem = if given.is_some() { "two lengths are given" } else { "no length is given" };
                return Err(ConfigError::new("seconds", problem, "exactly one of `seconds` and `samples`"));
            }
        };
        let sliding = self.position == CropPosition::Sliding;
        let only_if = |field, wanted: &str| {
            Err(ConfigError::new(field, "this position does not use it", format!("remove it, or {wanted}")))
        };
        match (sliding, self.hop_seconds, self.pad, self.tail) {
            (false, Some(_), ..) => only_if("hop_seconds", "set `position: sliding`"),
            (false, _, _, CropTail::Drop | CropTail::Pad) => only_if("tail", "set `position: sliding`"),
            (true, _, CropPad::Zero, _) => only_if("pad", "say `tail: pad`"),
            _ => {
                let hop = self.hop_seconds.map_or(Ok(n_frames), |hop| frames("hop_seconds", hop, rate_hz))?;
                Ok(Crop { n_frames, hop, position: self.position, pad: self.pad, tail: self.tail })
            }
        }
    }
}

/// `seconds` in frames, rounded to the nearest; at least one.
fn frames(field: &'static str, seconds: f64, rate_hz: u32) -> Result<u64, ConfigError> {
    let n = (seconds * f64::from(rate_hz)).round();
    if (1.0..=MAX_WINDOW_FRAMES as f64).contains(&n) {
        return Ok(n as u64);
    }
    let longest = MAX_WINDOW_FRAMES / u64::from(rate_hz.max(1));
    let problem = if seconds > 0.0 {
        format!("{seconds} s at {rate_hz} Hz are {n} samples")
    } else {
        format!("{seconds} s is not a length")
    };
    Err(ConfigError::new(field, problem, format!("more than 0, at most {longest} s")))
}

/// A part of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Frame of the clip at which it starts.
    pub start: u64,
    /// Frames of the clip in it.
    pub n_frames: u64,
    /// Frames of silence behind them.
    pub n_padding: u64,
}

/// Windows of clips of any length. [`CropConfig::build`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Crop {
    n_frames: u64,
    hop: u64,
    position: CropPosition,
    pad: CropPad,
    tail: CropTail,
}

impl Crop {
    /// Frames of a full window.
    pub fn n_frames(&self) -> u64 {
        self.n_frames
    }

    /// Frames from one sliding window to the next.
    pub fn hop_frames(&self) -> u64 {
        self.hop
    }

    /// Whether every window has [`Crop::n_frames`] frames, padding counted.
    pub fn is_fixed_length(&self) -> bool {
        match self.position {
            CropPosition::Sliding => self.tail != CropTail::Keep,
            _ => self.pad == CropPad::Zero,
        }
    }

    /// Whether one clip can yield any number of windows rather than one.
    pub fn is_sliding(&self) -> bool {
        self.position == CropPosition::Sliding
    }

    /// The windows of a clip of `n_frames`, in order; `seed` places the random one. An empty clip has none.
    ///
    /// # Example: ten-second windows, five seconds apart, over 22 s
    /// ```
    /// use ajepa_ops::crop::{CropConfig, CropPosition};
    /// let config = CropConfig { hop_seconds: Some(5.0), ..CropConfig::new(10.0, CropPosition::Sliding) };
    /// let windows: Vec<_> = config.build(100)?.windows(2_200, 0).map(|w| (w.start, w.n_frames)).collect();
    /// assert_eq!(windows, [(0, 1000), (500, 1000), (1000, 1000), (1500, 700)]);
    /// # Ok::<(), ajepa_ops::ConfigError>(())
    /// ```
    pub fn windows(&self, n_frames: u64, seed: u64) -> impl ExactSizeIterator<Item = Window> + use<> {
        let crop = *self;
        let first = match self.position {
            CropPosition::Head | CropPosition::Sliding => 0,
            CropPosition::Centre => n_frames.saturating_sub(self.n_frames) / 2,
            CropPosition::Random => self.random_start(n_frames, seed),
        };
        (0..self.n_windows(n_frames)).map(move |index| crop.window(first + index as u64 * crop.hop, n_frames))
    }

    /// How many windows a clip of `n_frames` yields.
    pub fn n_windows(&self, n_frames: u64) -> usize {
        if n_frames == 0 {
            return 0;
        }
        if !self.is_sliding() {
            return 1;
        }
        let full = if n_frames < self.n_frames { 0 } else { 1 + (n_frames - self.n_frames) / self.hop };
        // After the full windows comes a partial one, unless the last full one ends with the clip or the hop leaps over it.
        let next = full * self.hop;
        let reached = full > 0 && next - self.hop + self.n_frames == n_frames;
        let partial = self.tail != CropTail::Drop && !reached && next < n_frames;
        (full + u64::from(partial)) as usize
    }

    /// The window at `start` of a clip of `n_frames`, shortened or padded at the clip's end.
    fn window(&self, start: u64, n_frames: u64) -> Window {
        let n = self.n_frames.min(n_frames - start);
        let n_padding = if self.is_fixed_length() { self.n_frames - n } else { 0 };
        Window { start, n_frames: n, n_padding }
    }

    fn random_start(&self, n_frames: u64, seed: u64) -> u64 {
        seed::below(&mut seed::rng(seed), n_frames.saturating_sub(self.n_frames) + 1)
    }

    /// Replaces `out` by `window` of the interleaved `samples`, with its padding.
    ///
    /// # Panics
    /// When the window is not one of a clip of this length.
    pub fn cut(samples: &[f32], channels: usize, window: Window, out: &mut Vec<f32>) {
        let start = window.start as usize * channels;
        let end = start + window.n_frames as usize * channels;
        out.clear();
        out.extend_from_slice(&samples[start..end]);
        out.resize(out.len() + window.n_padding as usize * channels, 0.0);
    }
}

#[cfg(test)]
mod tests;
