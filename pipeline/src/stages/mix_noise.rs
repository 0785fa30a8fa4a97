//! `mix_noise`: noise under the clip, at a signal-to-noise ratio, fixed or drawn for each clip.

use ajepa_ops::mix::{MixNoise, MixNoiseConfig};

use super::waveform::mono;
use crate::engine::MapCx;
use crate::row::{Audio, Cell, Row};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

impl StageConfig for MixNoiseConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        mono(inputs)?;
        MixNoiseConfig::build(self)?;
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone()))
    }

    fn validate(&self) -> Result<(), PlanError> {
        MixNoiseConfig::build(self)?;
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(MixNoiseMap { noise: MixNoiseConfig::build(self)? })))
    }
}

#[derive(Clone)]
struct MixNoiseMap {
    noise: MixNoise,
}

impl Map for MixNoiseMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let mut samples = cx.samples(&mut row)?;
        self.noise.process(&mut samples.values, cx.seed(&row));
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        cx.emit(row)
    }
}
