//! A clip as a stream: samples are pulled, so a ten-hour file costs no more memory than a short one.

use crate::OpError;
use crate::decode::AudioInfo;

/// A finite stream of interleaved `f32` samples in [-1, 1], pulled block by block.
///
/// A *frame* here is one sample of every channel. Decoders are sources; resampler, trim and the like wrap one.
///
/// # Contract
/// * `read` returns fewer frames than asked only at the end, where it returns 0 for ever after.
/// * After an error the stream is over; what was read before stays valid.
pub trait AudioRead: Send {
    /// Frames per second.
    fn rate_hz(&self) -> u32;

    /// Interleaved channels; at least 1.
    fn channels(&self) -> usize;

    /// Frames still to come, when that is known exactly without decoding.
    fn n_frames_left(&self) -> Option<u64>;

    /// What the file was that the stream comes from, where it comes straight from one.
    fn info(&self) -> Option<&AudioInfo> {
        None
    }

    /// Fills `out` (a whole number of frames) from the front; returns the number of *frames* written.
    ///
    /// # Errors
    /// Whatever makes the clip unusable; see [`OpError::code`].
    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError>;

    /// Drops up to `n` frames; returns how many there were. Sources that can seek do better than the default, which reads.
    ///
    /// # Errors
    /// As [`AudioRead::read`].
    fn skip(&mut self, n: u64) -> Result<u64, OpError> {
        let mut scratch = [0.0_f32; 4096];
        let channels = self.channels();
        let block = (scratch.len() / channels) as u64;
        let mut done = 0;
        while done < n {
            let want = (n - done).min(block) as usize;
            let got = self.read(&mut scratch[..want * channels])?;
            if got == 0 {
                break;
            }
            done += got as u64;
        }
        Ok(done)
    }

    /// Appends what is left to `out`, at most `max_frames`; returns the frames appended.
    ///
    /// # Errors
    /// [`OpError::TooLong`] when more than `max_frames` are left; otherwise as [`AudioRead::read`].
    fn read_to_end(&mut self, out: &mut Vec<f32>, max_frames: u64) -> Result<usize, OpError> {
        let channels = self.channels();
        reserve(self, out, max_frames)?;
        let start = out.len();
        loop {
            let at = out.len();
            out.resize(at + BLOCK * channels, 0.0);
            let got = match self.read(&mut out[at..]) {
                Ok(got) => got,
                Err(error) => {
                    out.truncate(at);
                    return Err(error);
                }
            };
            out.truncate(at + got * channels);
            let n = (out.len() - start) / channels;
            if n as u64 > max_frames {
                return Err(too_long(self.rate_hz(), max_frames));
            }
            if got == 0 {
                return Ok(n);
            }
        }
    }
}

/// Frames that [`AudioRead::read_to_end`] asks for at a time.
pub(crate) const BLOCK: usize = 16_384;

pub(crate) fn too_long(rate_hz: u32, max_frames: u64) -> OpError {
    OpError::TooLong { max_s: max_frames as f64 / f64::from(rate_hz) }
}

/// Makes room in `out` for what a stream says is left of it; refuses one that says it is too long.
pub(crate) fn reserve<R: AudioRead + ?Sized>(stream: &R, out: &mut Vec<f32>, max_frames: u64) -> Result<(), OpError> {
    let expected = stream.n_frames_left();
    if expected.is_some_and(|n| n > max_frames) {
        return Err(too_long(stream.rate_hz(), max_frames));
    }
    // The header's word is trusted for a reservation of at most one minute; growth does the rest.
    let n = expected.unwrap_or(0).min(60 * u64::from(stream.rate_hz())) as usize;
    out.reserve(n * stream.channels());
    Ok(())
}

macro_rules! forward_audio_read {
    ($($pointer:ty),*) => {$(
        impl<R: AudioRead + ?Sized> AudioRead for $pointer {
            fn rate_hz(&self) -> u32 {
                (**self).rate_hz()
            }

            fn channels(&self) -> usize {
                (**self).channels()
            }

            fn n_frames_left(&self) -> Option<u64> {
                (**self).n_frames_left()
            }

            fn info(&self) -> Option<&AudioInfo> {
                (**self).info()
            }

            fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
                (**self).read(out)
            }

            fn skip(&mut self, n: u64) -> Result<u64, OpError> {
                (**self).skip(n)
            }

            fn read_to_end(&mut self, out: &mut Vec<f32>, max_frames: u64) -> Result<usize, OpError> {
                (**self).read_to_end(out, max_frames)
            }
        }
    )*};
}

forward_audio_read!(Box<R>, &mut R);

/// Samples that are already in memory, as a stream.
#[derive(Debug, Clone)]
pub struct MemoryAudio {
    samples: Vec<f32>,
    at: usize,
    rate_hz: u32,
    channels: usize,
}

impl MemoryAudio {
    /// Interleaved `samples` of `channels` channels at `rate_hz`. A trailing part frame is dropped.
    pub fn new(mut samples: Vec<f32>, rate_hz: u32, channels: usize) -> Self {
        let channels = channels.max(1);
        samples.truncate(samples.len() / channels * channels);
        Self { samples, at: 0, rate_hz, channels }
    }
}

impl AudioRead for MemoryAudio {
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn n_frames_left(&self) -> Option<u64> {
        Some(((self.samples.len() - self.at) / self.channels) as u64)
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        let n = out.len().min(self.samples.len() - self.at) / self.channels * self.channels;
        out[..n].copy_from_slice(&self.samples[self.at..self.at + n]);
        self.at += n;
        Ok(n / self.channels)
    }

    fn skip(&mut self, n: u64) -> Result<u64, OpError> {
        let left = (self.samples.len() - self.at) / self.channels;
        let n = (n.min(left as u64)) as usize;
        self.at += n * self.channels;
        Ok(n as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_skips_and_ends() {
        let mut audio = MemoryAudio::new((0..10).map(|i| i as f32).collect(), 8000, 2);
        assert_eq!(audio.n_frames_left(), Some(5));
        assert_eq!(audio.skip(2).unwrap(), 2);
        let mut rest = Vec::new();
        assert_eq!(audio.read_to_end(&mut rest, 100).unwrap(), 3);
        assert_eq!(rest, [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(audio.read(&mut [0.0; 4]).unwrap(), 0);
    }

    #[test]
    fn longer_than_the_budget_is_an_error_not_a_cut() {
        let mut audio = MemoryAudio::new(vec![0.0; 50_000], 1000, 1);
        let error = audio.read_to_end(&mut Vec::new(), 49_999).unwrap_err();
        assert_eq!(error.code(), "too_long");
    }
}
