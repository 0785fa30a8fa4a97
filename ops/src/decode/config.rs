//! What a caller chooses about decoding.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decoder::Decoder;
use super::source::{ReadSeek, Source};
use crate::{ConfigError, OpError};

/// Which channels come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// One channel: the mean of all.
    #[default]
    Mono,
    /// As many as the file has, interleaved.
    All,
}

/// How files are decoded, and how much damage and length is borne.
///
/// # Example: ten samples of a WAV file
/// ```
/// use ajepa_ops::{AudioRead, decode::DecodeConfig};
/// let mut bytes = b"RIFF\x38\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x14\0\0\0".to_vec();
/// bytes.extend((0..10_i16).flat_map(|i| (i * 1024).to_le_bytes()));
/// let mut audio = DecodeConfig::default().build()?.open(Box::new(std::io::Cursor::new(bytes)), "wav")?;
/// assert_eq!((audio.rate_hz(), audio.n_frames_left()), (8000, Some(10)));
/// let mut samples = Vec::new();
/// audio.read_to_end(&mut samples, 80_000)?;
/// assert_eq!(samples[9], 9.0 / 32.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// `mono` (the mean of all channels) or `all`. Default `mono`.
    pub channels: Channels,
    /// Seconds of audio that one file may decode to, in (0, 1e7]. Default 43200 (twelve hours): decoding streams, so
    /// this bounds time, not memory.
    pub max_seconds: f64,
    /// Share of damaged packets that is borne in a lossy file, in [0, 1]. A damaged packet becomes as much silence, so
    /// that what follows stays in its place. Default 0.01. Lossless files bear none.
    pub max_bad_packets: f64,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { channels: Channels::Mono, max_seconds: 43_200.0, max_bad_packets: 0.01 }
    }
}

impl DecodeConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is out of its range.
    pub fn build(&self) -> Result<Decode, ConfigError> {
        if !(self.max_seconds > 0.0 && self.max_seconds <= 1e7) {
            return Err(ConfigError::new(
                "max_seconds",
                format!("{} is not a budget of seconds", self.max_seconds),
                "a number above 0 and up to 10000000",
            ));
        }
        if !(0.0..=1.0).contains(&self.max_bad_packets) {
            return Err(ConfigError::new(
                "max_bad_packets",
                format!("{} is not a share", self.max_bad_packets),
                "a number from 0 to 1, such as 0.01",
            ));
        }
        Ok(Decode { config: self.clone() })
    }
}

/// A checked [`DecodeConfig`]: opens files. Cheap to clone, free to share between threads.
#[derive(Debug, Clone)]
pub struct Decode {
    config: DecodeConfig,
}

impl Decode {
    /// Opens the audio in `source`, positioned anywhere; `hint` is the file's extension or empty.
    ///
    /// The container is told by its first bytes; the hint only names formats that have no magic of their own.
    ///
    /// # Errors
    /// [`OpError::UnsupportedContainer`] and [`OpError::UnsupportedCodec`] by name, [`OpError::Truncated`] where the
    /// header promises more bytes than there are, [`OpError::TooLong`] where it promises more than the budget,
    /// [`OpError::Corrupt`], [`OpError::Panicked`], [`OpError::Io`].
    pub fn open(&self, source: Box<dyn ReadSeek>, hint: &str) -> Result<Decoder, OpError> {
        Decoder::open(&self.config, Source::new(source)?, hint)
    }

    /// Opens audio that is in memory as a whole: PCM is read where it lies, without a copy.
    ///
    /// # Errors
    /// As [`Decode::open`].
    pub fn open_bytes(&self, bytes: impl AsRef<[u8]> + Send + Sync + 'static, hint: &str) -> Result<Decoder, OpError> {
        Decoder::open(&self.config, Source::memory(Box::new(bytes)), hint)
    }

    /// The config this was built from.
    pub fn config(&self) -> &DecodeConfig {
        &self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_field_at_fault() {
        for (seconds, share, field) in
            [(0.0, 0.0, "max_seconds"), (f64::NAN, 0.0, "max_seconds"), (1.0, 1.5, "max_bad_packets")]
        {
            let config = DecodeConfig { max_seconds: seconds, max_bad_packets: share, ..Default::default() };
            assert_eq!(config.build().unwrap_err().field, field);
        }
    }
}
