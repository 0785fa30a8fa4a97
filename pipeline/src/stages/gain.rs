//! `gain`: louder or softer, by a fixed amount or one drawn for each clip.

use ajepa_ops::mix::{Gain, GainConfig};

use super::waveform::waveform;
use crate::engine::MapCx;
use crate::row::{Audio, Cell, Row};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

impl StageConfig for GainConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        waveform(inputs)?;
        GainConfig::build(self)?;
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone()))
    }

    fn validate(&self) -> Result<(), PlanError> {
        GainConfig::build(self)?;
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(GainMap { gain: GainConfig::build(self)? })))
    }
}

#[derive(Clone)]
struct GainMap {
    gain: Gain,
}

impl Map for GainMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let mut samples = cx.samples(&mut row)?;
        self.gain.process(&mut samples.values, cx.seed(&row));
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        cx.emit(row)
    }
}
