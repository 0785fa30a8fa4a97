//! `normalize`: the level of a whole clip.

use ajepa_ops::normalize::{Normalize, NormalizeConfig};

use super::waveform::mono;
use crate::engine::MapCx;
use crate::row::{Audio, Cell, Row};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

impl StageConfig for NormalizeConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        NormalizeConfig::build(self)?;
        mono(inputs)?;
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone()))
    }

    fn validate(&self) -> Result<(), PlanError> {
        NormalizeConfig::build(self)?;
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(NormalizeMap { normalize: NormalizeConfig::build(self)? })))
    }
}

#[derive(Clone)]
struct NormalizeMap {
    normalize: Normalize,
}

impl Map for NormalizeMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let mut samples = cx.samples(&mut row)?;
        self.normalize.process(&mut samples.values)?;
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        cx.emit(row)
    }
}
