//! `trim_silence`: without the silence at both ends.

use ajepa_ops::OpError;
use ajepa_ops::crop::TrimSilenceConfig;

use super::waveform::waveform;
use crate::engine::MapCx;
use crate::row::{Audio, Cell, Row};
use crate::schema::Schema;
use crate::stage::{
    BuildCx, BuildError, ClipError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan,
};

impl StageConfig for TrimSilenceConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let audio = waveform(inputs)?;
        TrimSilenceConfig::build(self, audio.rate_hz.unwrap_or(48_000))?;
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone()))
    }

    fn validate(&self) -> Result<(), PlanError> {
        TrimSilenceConfig::build(self, 48_000)?;
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(TrimMap { config: self.clone() })))
    }
}

/// A clip that is silent throughout is rejected as `empty`.
#[derive(Clone)]
struct TrimMap {
    config: TrimSilenceConfig,
}

impl Map for TrimMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let mut samples = cx.samples(&mut row)?;
        let fault = |error: ajepa_ops::ConfigError| ClipError::new("corrupt", error.to_string());
        let trim = TrimSilenceConfig::build(&self.config, samples.rate_hz).map_err(fault)?;
        let range = trim.range(&samples.values, samples.channels);
        if range.is_empty() {
            return Err(OpError::Empty.into());
        }
        let (start, n) = (range.start * samples.channels, range.len() * samples.channels);
        samples.values.copy_within(start..start + n, 0);
        samples.values.truncate(n);
        let start_s = range.start as f64 / f64::from(samples.rate_hz);
        row.set("offset_s", Cell::F64(row.f64("offset_s").unwrap_or(0.0) + start_s));
        row.set("duration_s", Cell::F64(samples.duration_s()));
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        cx.emit(row)
    }
}
