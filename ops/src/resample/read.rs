//! A stream at another rate.

use super::Resampler;
use crate::audio::{BLOCK, reserve, too_long};
use crate::{AudioRead, OpError};

/// Seeks go at most here in one step, so that frame counts times a ratio stay far below 2^64; reading does the rest.
const MAX_SEEK_FRAMES: u64 = 1 << 40;

/// `inner` at the resampler's output rate, pulled block by block. [`super::ResamplerCache::wrap`] makes one.
///
/// Skipping far costs no filtering: whole blocks are passed over in the inner stream, and the samples that follow are the
/// same bits as if everything before had been read.
pub struct Resampled<R> {
    inner: R,
    resampler: Resampler,
    /// Converted frames, of which `at` samples are delivered.
    ready: Vec<f32>,
    at: usize,
    /// The inner stream is over.
    ended: bool,
}

impl<R: AudioRead> Resampled<R> {
    /// Wraps `inner`; `resampler` was made for its rate and is reset for its channels.
    ///
    /// # Panics
    /// When the rate of `inner` is not the one the resampler was planned for.
    pub fn new(inner: R, mut resampler: Resampler) -> Self {
        assert_eq!(inner.rate_hz(), resampler.rate_in_hz(), "resampler planned for another rate");
        resampler.reset(inner.channels());
        Self { inner, resampler, ready: Vec::new(), at: 0, ended: false }
    }

    /// The stream and the resampler, to be put back into its cache.
    pub fn into_parts(self) -> (R, Resampler) {
        (self.inner, self.resampler)
    }

    fn is_identity(&self) -> bool {
        self.resampler.rate_in_hz() == self.resampler.rate_out_hz()
    }

    /// Converts more of the inner stream into `ready`, which is used up, as `wanted` frames ask for; false at the end.
    fn refill(&mut self, wanted: u64) -> Result<bool, OpError> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.at = 0;
        let converted = self.convert(wanted, &mut ready);
        self.ready = ready;
        converted
    }

    /// Appends more of the inner stream to `out`, as `wanted` frames ask for; false at the end.
    fn convert(&mut self, wanted: u64, out: &mut Vec<f32>) -> Result<bool, OpError> {
        self.resampler.aim(wanted);
        let start = out.len();
        while out.len() == start {
            if self.ended {
                return Ok(self.resampler.drain(out));
            }
            let space = self.resampler.space();
            let wanted = space.len() / self.inner.channels();
            let got = self.inner.read(space)?;
            self.resampler.advance(got, out);
            self.ended = got < wanted;
        }
        Ok(true)
    }

    /// Drops up to `n` frames of what is ready; returns how many.
    fn drop_ready(&mut self, n: u64) -> u64 {
        let channels = self.inner.channels();
        let n = n.min(((self.ready.len() - self.at) / channels) as u64);
        self.at += n as usize * channels;
        n
    }
}

impl<R: AudioRead> AudioRead for Resampled<R> {
    fn rate_hz(&self) -> u32 {
        self.resampler.rate_out_hz()
    }

    fn channels(&self) -> usize {
        self.inner.channels()
    }

    fn n_frames_left(&self) -> Option<u64> {
        if self.is_identity() {
            return self.inner.n_frames_left();
        }
        let inner_left = if self.ended { 0 } else { self.inner.n_frames_left()? };
        let (given, total) = self.resampler.progress(inner_left);
        let ready = (self.ready.len() - self.at) / self.inner.channels();
        Some(total.saturating_sub(given) + ready as u64)
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        if self.is_identity() {
            return self.inner.read(out);
        }
        let channels = self.inner.channels();
        let wanted = out.len() / channels * channels;
        let mut done = 0;
        while done < wanted {
            if self.at == self.ready.len() && !self.refill(((wanted - done) / channels) as u64)? {
                break;
            }
            let n = (wanted - done).min(self.ready.len() - self.at);
            out[done..done + n].copy_from_slice(&self.ready[self.at..self.at + n]);
            done += n;
            self.at += n;
        }
        Ok(done / channels)
    }

    /// As the default, without the blocks between: what is converted lands where it is wanted.
    fn read_to_end(&mut self, out: &mut Vec<f32>, max_frames: u64) -> Result<usize, OpError> {
        if self.is_identity() {
            return self.inner.read_to_end(out, max_frames);
        }
        reserve(self, out, max_frames)?;
        let (start, channels) = (out.len(), self.channels());
        out.extend_from_slice(&self.ready[self.at..]);
        self.at = self.ready.len();
        loop {
            let (kept, n) = (out.len(), (out.len() - start) / channels);
            if n as u64 > max_frames {
                return Err(too_long(self.rate_hz(), max_frames));
            }
            match self.convert(BLOCK as u64, out) {
                Ok(true) => {}
                Ok(false) => return Ok(n),
                Err(error) => {
                    out.truncate(kept);
                    return Err(error);
                }
            }
        }
    }

    fn skip(&mut self, n: u64) -> Result<u64, OpError> {
        if self.is_identity() {
            return self.inner.skip(n);
        }
        let dropped = self.drop_ready(n);
        if dropped == n {
            return Ok(n);
        }
        let (start, _) = self.resampler.progress(0);
        let gap = self.resampler.seek(start.saturating_add(n - dropped).min(MAX_SEEK_FRAMES));
        if gap > 0 {
            let got = if self.ended { 0 } else { self.inner.skip(gap)? };
            self.resampler.skipped(got);
            self.ended |= got < gap;
        }
        let (given, _) = self.resampler.progress(0);
        let mut done = dropped + (given - start);
        while done < n {
            if self.at == self.ready.len() && !self.refill(n - done)? {
                break;
            }
            done += self.drop_ready(n - done);
        }
        if self.ended {
            // The block that was sought may lie beyond the end.
            let (_, total) = self.resampler.progress(0);
            done = done.min(dropped + total.saturating_sub(start));
        }
        Ok(done)
    }
}
