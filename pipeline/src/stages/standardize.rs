//! `standardize`: a picture's values to mean 0 and deviation 1.

use ajepa_ops::mel::{Axes, Standardize, StandardizeConfig};
use ajepa_ops::patch::TimeAxis;

use super::picture::{Picture, picture};
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{ColumnType, Schema};
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

fn n_mels(picture: &Picture) -> usize {
    picture.time_axis().time_mel(picture.shape())[1]
}

impl StageConfig for StandardizeConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let mut picture = picture(inputs)?;
        StandardizeConfig::build(self, n_mels(&picture))?;
        picture.tensor.front_end = serde_json::json!({ "picture": picture.tensor.front_end, "standardize": self });
        let output = inputs[0].clone().with(&picture.column, ColumnType::Tensor(picture.tensor));
        Ok(StagePlan::new(StageKind::Map, output))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let picture = picture(cx.inputs)?;
        let axes = match picture.time_axis() {
            TimeAxis::Rows => Axes::TimeMel,
            TimeAxis::Cols => Axes::MelTime,
        };
        let standardize = StandardizeConfig::build(self, n_mels(&picture))?;
        let all_frames = picture.time_axis().time_mel(picture.shape())[0];
        Ok(Stage::Map(Box::new(StandardizeMap { standardize, axes, column: picture.column, all_frames })))
    }
}

#[derive(Clone)]
struct StandardizeMap {
    standardize: Standardize,
    axes: Axes,
    column: String,
    all_frames: usize,
}

impl Map for StandardizeMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let mut values = row.take_tensor(&self.column)?;
        let n_valid = row.u32("n_frames").map_or(self.all_frames, |n| n as usize);
        self.standardize.process(&mut values, self.axes, n_valid)?;
        row.set(self.column.clone(), Cell::Tensor(values));
        cx.emit(row)
    }
}
