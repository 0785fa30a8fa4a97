//! Many channels to one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AudioRead, ConfigError, OpError};

/// Which channel a clip of several is brought to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DownmixConfig {
    /// What is taken. Default: `mean`.
    pub channels: DownmixChannels,
}

/// What [`DownmixConfig`] takes of a frame. Clips of one channel pass unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DownmixChannels {
    /// The mean of all channels.
    #[default]
    Mean,
    /// The first channel, of however many.
    #[serde(alias = "first")]
    Left,
    /// The second channel, of however many.
    Right,
}

impl DownmixConfig {
    /// Nothing can be wrong; here for the sake of a common idiom.
    ///
    /// # Errors
    /// None.
    pub fn build(&self) -> Result<Downmix, ConfigError> {
        Ok(Downmix { channels: self.channels })
    }
}

/// Brings clips to one channel. [`DownmixConfig::build`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Downmix {
    channels: DownmixChannels,
}

impl Downmix {
    /// Writes one sample for each interleaved frame of `channels` (at least 1) samples; `out` has room for just these.
    ///
    /// # Errors
    /// [`OpError::Shape`] when `out` is of another length.
    ///
    /// # Example: two channels
    /// ```
    /// use ajepa_ops::mix::DownmixConfig;
    /// let mut mono = [0.0; 2];
    /// DownmixConfig::default().build()?.process(&[0.5, 0.25, 1.0, -1.0], 2, &mut mono)?;
    /// assert_eq!(mono, [0.375, 0.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn process(&self, interleaved: &[f32], channels: usize, out: &mut [f32]) -> Result<(), OpError> {
        let channels = channels.max(1);
        let expected = interleaved.len() / channels;
        if out.len() != expected {
            return Err(OpError::Shape { what: "downmixed samples", expected, got: out.len() });
        }
        let frames = interleaved.chunks_exact(channels);
        match (self.channels, channels) {
            (_, 1) => out.copy_from_slice(interleaved),
            (DownmixChannels::Mean, _) => {
                let scale = 1.0 / channels as f32;
                out.iter_mut().zip(frames).for_each(|(sample, frame)| *sample = frame.iter().sum::<f32>() * scale);
            }
            (DownmixChannels::Left, _) => out.iter_mut().zip(frames).for_each(|(sample, frame)| *sample = frame[0]),
            (DownmixChannels::Right, _) => out.iter_mut().zip(frames).for_each(|(sample, frame)| *sample = frame[1]),
        }
        Ok(())
    }

    /// `inner` as a stream of one channel.
    pub fn wrap<R: AudioRead>(self, inner: R) -> Downmixed<R> {
        Downmixed { downmix: self, inner, block: Vec::new() }
    }
}

/// A stream brought to one channel. [`Downmix::wrap`] makes one.
pub struct Downmixed<R> {
    downmix: Downmix,
    inner: R,
    /// Interleaved frames on their way.
    block: Vec<f32>,
}

impl<R> Downmixed<R> {
    /// The stream within.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: AudioRead> AudioRead for Downmixed<R> {
    fn rate_hz(&self) -> u32 {
        self.inner.rate_hz()
    }

    fn channels(&self) -> usize {
        1
    }

    fn n_frames_left(&self) -> Option<u64> {
        self.inner.n_frames_left()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        const BLOCK: usize = 4096;
        let channels = self.inner.channels();
        if channels == 1 {
            return self.inner.read(out);
        }
        self.block.resize(BLOCK * channels, 0.0);
        let mut done = 0;
        while done < out.len() {
            let wanted = (out.len() - done).min(BLOCK);
            let got = self.inner.read(&mut self.block[..wanted * channels])?;
            self.downmix.process(&self.block[..got * channels], channels, &mut out[done..done + got])?;
            done += got;
            if got < wanted {
                break;
            }
        }
        Ok(done)
    }

    fn skip(&mut self, n: u64) -> Result<u64, OpError> {
        self.inner.skip(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryAudio;

    #[test]
    fn each_choice_takes_what_it_says() {
        let frames = [1.0, 2.0, 6.0, -1.0, -2.0, -6.0];
        let mix = |channels| {
            let mut out = [0.0; 2];
            DownmixConfig { channels }.build().unwrap().process(&frames, 3, &mut out).unwrap();
            out
        };
        assert_eq!(mix(DownmixChannels::Mean), [3.0, -3.0]);
        assert_eq!(mix(DownmixChannels::Left), [1.0, -1.0]);
        assert_eq!(mix(DownmixChannels::Right), [2.0, -2.0]);
        let downmix = DownmixConfig { channels: DownmixChannels::Right }.build().unwrap();
        let mut out = [0.0; 6];
        downmix.process(&frames, 1, &mut out).unwrap();
        assert_eq!(out, frames);
        assert!(downmix.process(&frames, 2, &mut out).is_err());
        let config: DownmixConfig = serde_json::from_str(r#"{"channels": "first"}"#).unwrap();
        assert_eq!(config.channels, DownmixChannels::Left);
    }

    #[test]
    fn a_stream_gives_what_the_whole_gives() {
        let samples: Vec<f32> = (0..20_002).map(|i| (i % 97) as f32).collect();
        let downmix = DownmixConfig::default().build().unwrap();
        let mut expected = vec![0.0; 10_001];
        downmix.process(&samples, 2, &mut expected).unwrap();
        let mut stream = downmix.wrap(MemoryAudio::new(samples, 8_000, 2));
        assert_eq!((stream.skip(3).unwrap(), stream.n_frames_left()), (3, Some(9_998)));
        let mut out = Vec::new();
        stream.read_to_end(&mut out, 20_000).unwrap();
        assert_eq!(out, expected[3..]);
    }
}
