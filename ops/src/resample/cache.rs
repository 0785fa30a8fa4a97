//! One resampler per input rate, kept from clip to clip.

use super::{ResampleConfig, Resampled, Resampler};
use crate::{AudioRead, OpError};

/// Input rates whose plans are kept; a corpus has a handful, and a hostile one may not fill the memory.
const MAX_IDLE: usize = 8;

/// Resamplers by input rate: taken for a clip, put back after it, planned at most once per rate in use.
pub struct ResamplerCache {
    config: ResampleConfig,
    /// Least recently used first.
    idle: Vec<Resampler>,
}

impl ResamplerCache {
    pub(super) fn new(config: ResampleConfig) -> Self {
        Self { config, idle: Vec::new() }
    }

    /// Frames per second of every output.
    pub fn rate_hz(&self) -> u32 {
        self.config.rate_hz
    }

    /// A resampler for a clip of `rate_in_hz` and `channels`, ready to go. [`ResamplerCache::put`] it back afterwards.
    ///
    /// # Errors
    /// [`OpError::Corrupt`] for a rate that no recording has (see [`super::MIN_RATE_HZ`], [`super::MAX_RATE_HZ`]).
    pub fn take(&mut self, rate_in_hz: u32, channels: usize) -> Result<Resampler, OpError> {
        let found = self.idle.iter().position(|resampler| resampler.rate_in_hz() == rate_in_hz);
        let mut resampler = match found {
            Some(index) => self.idle.remove(index),
            None => self.config.build(rate_in_hz).map_err(|error| OpError::Corrupt { detail: error.problem })?,
        };
        resampler.reset(channels);
        Ok(resampler)
    }

    /// Keeps `resampler` for the next clip of its rate; forgets the rate that was longest unused when there are too many.
    pub fn put(&mut self, resampler: Resampler) {
        if self.idle.len() == MAX_IDLE {
            self.idle.remove(0);
        }
        self.idle.push(resampler);
    }

    /// `inner` as a stream at this cache's rate. [`Resampled::into_parts`] gives the resampler back.
    ///
    /// # Errors
    /// As [`ResamplerCache::take`].
    pub fn wrap<R: AudioRead>(&mut self, inner: R) -> Result<Resampled<R>, OpError> {
        let resampler = self.take(inner.rate_hz(), inner.channels())?;
        Ok(Resampled::new(inner, resampler))
    }

    /// Converts a whole clip of interleaved `samples`; `out` is replaced.
    ///
    /// # Errors
    /// As [`ResamplerCache::take`] and [`Resampler::process`].
    pub fn process(
        &mut self,
        rate_in_hz: u32,
        channels: usize,
        samples: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), OpError> {
        let mut resampler = self.take(rate_in_hz, channels)?;
        let result = resampler.process(samples, out);
        self.put(resampler);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_kept_and_bounded() {
        let mut cache = ResampleConfig::new(16_000).build_cache().unwrap();
        let mut out = Vec::new();
        for rate_hz in 8_000..8_020 {
            cache.process(rate_hz, 2, &[0.5; 200], &mut out).unwrap();
            assert_eq!(out.len(), 2 * (100 * 16_000_usize).div_ceil(rate_hz as usize));
        }
        assert_eq!(cache.idle.len(), MAX_IDLE);
        assert_eq!(cache.take(5, 1).err().map(|error| error.code()), Some("corrupt"));
    }
}
