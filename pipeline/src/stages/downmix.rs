//! `downmix`: one channel of several.

use ajepa_ops::mix::{Downmix, DownmixConfig};

use super::waveform::waveform;
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{AudioType, ColumnType, Schema};
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

impl StageConfig for DownmixConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        DownmixConfig::build(self)?;
        let audio = AudioType { channels: Some(1), ..waveform(inputs)?.clone() };
        Ok(StagePlan::new(StageKind::Map, inputs[0].clone().with("audio", ColumnType::Audio(audio))))
    }

    fn validate(&self) -> Result<(), PlanError> {
        DownmixConfig::build(self)?;
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(DownmixMap { downmix: DownmixConfig::build(self)? })))
    }
}

#[derive(Clone)]
struct DownmixMap {
    downmix: Downmix,
}

impl Map for DownmixMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let audio = row.take_audio()?;
        let audio =
            if audio.channels() == 1 { audio } else { cx.stream(Box::new(self.downmix.wrap(audio.into_stream()))) };
        row.set("audio", Cell::Audio(audio));
        cx.emit(row)
    }
}
