//! `patchify`: the picture as a row of tokens.

use ajepa_ops::patch::{Patchify, PatchifyConfig};

use super::picture::{Picture, picture};
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{ColumnType, Schema, TensorType};
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

impl StageConfig for PatchifyConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let picture = picture(inputs)?;
        let patchify = self.build(picture.shape(), picture.time_axis())?;
        let tokens = TensorType {
            dtype: picture.tensor.dtype,
            shape: vec![patchify.n_tokens(), patchify.token_len()],
            axes: vec!["tokens".to_owned(), "values".to_owned()],
            // Shape and axes too, so that whoever has the shards alone can put the picture together again.
            front_end: serde_json::json!({
                "picture": picture.tensor.front_end,
                "picture_shape": picture.shape(),
                "picture_axes": picture.tensor.axes,
                "patchify": self,
            }),
        };
        let output = inputs[0].clone().without(&picture.column).with("patches", ColumnType::Tensor(tokens));
        Ok(StagePlan::new(StageKind::Map, output))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let Picture { column, .. } = picture(cx.inputs)?;
        let shape = picture(cx.inputs)?;
        let patchify = self.build(shape.shape(), shape.time_axis())?;
        Ok(Stage::Map(Box::new(PatchifyMap { patchify, column })))
    }
}

#[derive(Clone)]
struct PatchifyMap {
    patchify: Patchify,
    column: String,
}

impl Map for PatchifyMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let picture = row.take_tensor(&self.column)?;
        let mut tokens = cx.buffer();
        tokens.resize(picture.len(), 0.0);
        self.patchify.patchify(&picture, &mut tokens)?;
        cx.recycle(picture);
        row.set("patches", Cell::Tensor(tokens));
        cx.emit(row)
    }
}
