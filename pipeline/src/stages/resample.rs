//! `resample`: every clip at one rate.

use std::sync::{Arc, Mutex, PoisonError};

use ajepa_ops::resample::{ResampleConfig, Resampled, ResamplerCache};
use ajepa_ops::{AudioRead, OpError};

use super::waveform::waveform;
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{AudioType, ColumnType, Schema};
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

impl StageConfig for ResampleConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        self.check()?;
        let audio = AudioType { rate_hz: Some(self.rate_hz), ..waveform(inputs)?.clone() };
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone().with("audio", ColumnType::Audio(audio))))
    }

    fn validate(&self) -> Result<(), PlanError> {
        Ok(self.check()?)
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(ResampleMap::new(self)?)))
    }
}

/// One cache of planned resamplers per worker; a stream gives its resampler back when it is dropped.
struct ResampleMap {
    config: ResampleConfig,
    cache: Arc<Mutex<ResamplerCache>>,
}

impl ResampleMap {
    fn new(config: &ResampleConfig) -> Result<Self, ajepa_ops::ConfigError> {
        Ok(Self { config: config.clone(), cache: Arc::new(Mutex::new(config.build_cache()?)) })
    }
}

impl Map for ResampleMap {
    fn fork(&self) -> Box<dyn Map> {
        // The config built once already, so it builds again; sharing the cache would be slow but right.
        let fresh = Self::new(&self.config);
        Box::new(fresh.unwrap_or_else(|_| Self { config: self.config.clone(), cache: self.cache.clone() }))
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let audio = row.take_audio()?;
        if audio.rate_hz() == self.config.rate_hz {
            row.set("audio", Cell::Audio(audio));
            return cx.emit(row);
        }
        let stream = lock(&self.cache).wrap(audio.into_stream())?;
        let lent = Lent { stream: Some(stream), rate_hz: self.config.rate_hz, cache: self.cache.clone() };
        row.set("audio", Cell::Audio(cx.stream(Box::new(lent))));
        cx.emit(row)
    }
}

fn lock(cache: &Mutex<ResamplerCache>) -> std::sync::MutexGuard<'_, ResamplerCache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A resampled stream whose resampler belongs to a cache.
struct Lent {
    /// There until `drop`.
    stream: Option<Resampled<Box<dyn AudioRead>>>,
    rate_hz: u32,
    cache: Arc<Mutex<ResamplerCache>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            lock(&self.cache).put(stream.into_parts().1);
        }
    }
}

impl AudioRead for Lent {
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn channels(&self) -> usize {
        self.stream.as_ref().map_or(1, AudioRead::channels)
    }

    fn n_frames_left(&self) -> Option<u64> {
        self.stream.as_ref()?.n_frames_left()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        self.stream.as_mut().map_or(Ok(0), |stream| stream.read(out))
    }

    fn skip(&mut self, n: u64) -> Result<u64, OpError> {
        self.stream.as_mut().map_or(Ok(0), |stream| stream.skip(n))
    }

    fn read_to_end(&mut self, out: &mut Vec<f32>, max_frames: u64) -> Result<usize, OpError> {
        self.stream.as_mut().map_or(Ok(0), |stream| stream.read_to_end(out, max_frames))
    }
}
