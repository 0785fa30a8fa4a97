//! Which column is the picture, and which of its axes is time: shared by the stages that work on pictures.

use ajepa_ops::patch::TimeAxis;

use crate::schema::{ColumnType, Schema, TensorType};
use crate::stage::{BuildError, PlanError};

/// The picture column of an edge.
pub struct Picture {
    /// Its name.
    pub column: String,
    /// Its type, two axes.
    pub tensor: TensorType,
}

impl Picture {
    /// [rows, cols].
    pub fn shape(&self) -> [usize; 2] {
        [self.tensor.shape[0], self.tensor.shape[1]]
    }

    /// The axis called `frames`.
    pub fn time_axis(&self) -> TimeAxis {
        if self.tensor.axes.get(1).is_some_and(|axis| axis == "frames") { TimeAxis::Cols } else { TimeAxis::Rows }
    }
}

/// The first tensor with an axis `frames` and another axis.
///
/// # Errors
/// [`PlanError`] when there is none.
pub fn picture(inputs: &[Schema]) -> Result<Picture, PlanError> {
    let columns = inputs.first().map_or(&[][..], |schema| &schema.columns);
    let found = columns.iter().find_map(|column| match &column.kind {
        ColumnType::Tensor(tensor) if tensor.shape.len() == 2 && tensor.axes.iter().any(|axis| axis == "frames") => {
            Some(Picture { column: column.name.clone(), tensor: tensor.clone() })
        }
        _ => None,
    });
    let given = inputs.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    found.ok_or_else(|| PlanError::new(format!("it needs a picture, and is given {given}"), "put `log_mel` before it"))
}

impl From<PlanError> for BuildError {
    fn from(error: PlanError) -> Self {
        Self::new(error.problem, error.help)
    }
}
