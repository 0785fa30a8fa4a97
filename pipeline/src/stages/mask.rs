//! `mask`: which tokens the context encoder sees, and which it must predict.

use ajepa_ops::mask::{MaskConfig, Masker};
use ajepa_ops::patch::PatchGrid;
use ajepa_ops::patch::{PatchifyConfig, TimeAxis};
use ajepa_ops::seed;
use arrow::datatypes::{DataType, Field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::picture::picture;
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{ColumnType, Schema};
use crate::stage::{BuildCx, BuildError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// Draws which patches of the picture a model sees and which it predicts, as columns `context` and `target`.
///
/// Both are lists of token indices, row by row of the patch grid.
///
/// A mask is a function of the run's seed, the clip and its offset alone. With several masks per clip the columns are
/// `context`, `target`, `context_1`, `target_1`, ...
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskStageConfig {
    /// Patch size; 16 frames x 16 mels by default.
    pub patch: PatchifyConfig,
    /// The strategy and its parameters; the reference's random 40 to 60 % by default.
    pub mask: MaskConfig,
}

impl MaskStageConfig {
    /// Draws such masks over the picture of the edge.
    pub(crate) fn masker(&self, inputs: &[Schema]) -> Result<Masker, PlanError> {
        let (grid, time_axis) = self.grid(inputs)?;
        self.mask.build(grid, time_axis).map_err(|error| {
            let mut error = PlanError::from(error);
            error.field = error.field.map(|field| format!("mask.{field}"));
            error
        })
    }

    fn grid(&self, inputs: &[Schema]) -> Result<(PatchGrid, TimeAxis), PlanError> {
        let picture = picture(inputs)?;
        let patchify = self.patch.build(picture.shape(), picture.time_axis()).map_err(|error| {
            let mut error = PlanError::from(error);
            error.field = error.field.map(|field| format!("patch.{field}"));
            error
        })?;
        Ok((patchify.grid(), picture.time_axis()))
    }
}

fn names(mask: usize) -> (String, String) {
    let suffix = if mask == 0 { String::new() } else { format!("_{mask}") };
    (format!("context{suffix}"), format!("target{suffix}"))
}

impl StageConfig for MaskStageConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let masker = self.masker(inputs)?;
        let indices = DataType::List(Field::new("item", DataType::UInt32, true).into());
        let mut output = inputs[0].clone();
        for mask in 0..masker.n_masks() {
            let (context, target) = names(mask);
            output = output.with(&context, ColumnType::Plain(indices.clone()));
            output = output.with(&target, ColumnType::Plain(indices.clone()));
        }
        Ok(StagePlan::new(StageKind::Map, output))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let masker = self.masker(cx.inputs)?;
        let size_seed = seed::derive(&[cx.seed, seed::hash_str(cx.id)]);
        Ok(Stage::Map(Box::new(MaskMap { masker, size_seed })))
    }
}

#[derive(Clone)]
struct MaskMap {
    masker: Masker,
    /// Sizes are drawn once for a run, so that rows can be put into one batch.
    size_seed: u64,
}

impl Map for MaskMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let seed = cx.seed(&row);
        for (i, mask) in self.masker.draw(self.size_seed, seed).iter().enumerate() {
            let (context, target) = names(i);
            row.set(context, Cell::U32s(mask.context.clone()));
            row.set(target, Cell::U32s(mask.target.clone()));
        }
        cx.emit(row)
    }
}
