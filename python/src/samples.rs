//! Waveforms that come from Python: mono, `f32`, at a rate that need not be ours.

use std::sync::{Mutex, PoisonError};

use ajepa_ops::OpError;
use ajepa_ops::resample::ResamplerCache;

/// Samples out of the bytes of a contiguous array of `float32`.
pub fn of_bytes(bytes: &[u8]) -> Vec<f32> {
    let (samples, _) = bytes.as_chunks::<4>();
    samples.iter().map(|sample| f32::from_ne_bytes(*sample)).collect()
}

/// `samples` at the cache's rate, converted as the stage `resample` does it.
pub fn at_rate(cache: &Mutex<ResamplerCache>, samples: Vec<f32>, rate_hz: u32) -> Result<Vec<f32>, OpError> {
    let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = {
        let mut cache = lock();
        if cache.rate_hz() == rate_hz {
            return Ok(samples);
        }
        cache.take(rate_hz, 1)
    };
    let mut resampler = taken?;
    let mut out = Vec::new();
    let result = resampler.process(&samples, &mut out);
    lock().put(resampler);
    result.map(|()| out)
}
