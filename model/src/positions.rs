//! Where a token lies, told to a transformer that cannot see it: fixed 2-D sin-cos, or rotations of queries and keys.

use ajepa_ops::patch::PatchGrid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Slowest over fastest wavelength, of Vaswani 2017 (arXiv 1706.03762).
const BASE: f64 = 10_000.0;

/// Fixed 2-D sin-cos positions as the reference computes them: half the width for the column, the other half for the row,
/// each half [sin(p w_k), cos(p w_k)] with w_k = 10000^(-k / (width / 4)); in f64, kept in f32.
///
/// # Shapes
/// [tokens, width], tokens row-major over the grid; `width` is a multiple of 4.
///
/// # Example: the first token stands at the origin
/// ```
/// use ajepa_model::positions::sin_cos;
/// use ajepa_ops::patch::PatchGrid;
/// let table = sin_cos(PatchGrid { rows: 2, cols: 3 }, 8);
/// assert_eq!(table[..8], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
/// assert_eq!(table[8], 1.0_f64.sin() as f32); // one column further
/// ```
pub fn sin_cos(grid: PatchGrid, width: usize) -> Vec<f32> {
    let quarter = width / 4;
    let mut table = Vec::with_capacity(grid.n_tokens() * width);
    for token in 0..grid.n_tokens() {
        let [row, col] = grid.row_col(token);
        for place in [col, row] {
            let angles = || angles(place, quarter);
            table.extend(angles().map(|angle| angle.sin() as f32));
            table.extend(angles().map(|angle| angle.cos() as f32));
        }
    }
    table
}

/// The numbers of [`sin_cos`] in the order in which the `timm` library lays them out (`build_sincos2d_pos_embed`, 1.0): sines of the row,
/// sines of the column, cosines of the row, cosines of the column. The weights of `Audio-JEPA-base` are used to it.
///
/// # Shapes
/// As [`sin_cos`].
pub fn sin_cos_timm(grid: PatchGrid, width: usize) -> Vec<f32> {
    let quarter = width / 4;
    let mut table = sin_cos(grid, width);
    for token in table.chunks_exact_mut((4 * quarter).max(1)) {
        let [sin_col, cos_col, sin_row, cos_row] = [0, 1, 2, 3].map(|part| token[part * quarter..][..quarter].to_vec());
        token.copy_from_slice(&[sin_row, sin_col, cos_row, cos_col].concat());
    }
    table
}

/// Cosines and sines by which [`rotate`](crate::ops::rotate) turns a head's pairs (`RoPE`, Su 2021, arXiv 2104.09864, along two axes):
/// the first half of the pairs by the column, the second by the row, at the frequencies of [`sin_cos`].
///
/// # Shapes
/// Two tables of [tokens, head width / 2]; the head's width is a multiple of 4.
pub fn rotations(grid: PatchGrid, head_width: usize) -> [Vec<f32>; 2] {
    let quarter = head_width / 4;
    let all = |part: fn(f64) -> f64| {
        let places = (0..grid.n_tokens()).flat_map(|token| {
            let [row, col] = grid.row_col(token);
            [col, row]
        });
        places.flat_map(|place| angles(place, quarter).map(part)).map(|x| x as f32).collect()
    };
    [all(f64::cos), all(f64::sin)]
}

fn angles(place: usize, n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |k| place as f64 * BASE.powf(-(k as f64) / n as f64))
}

/// Which positions a model is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// [`sin_cos`], added to the tokens.
    #[default]
    SinCos,
    /// [`sin_cos_timm`], added to the tokens: the same numbers in another order, for weights that were trained so.
    SinCosTimm,
    /// [`rotations`] of queries and keys; nothing is added.
    #[serde(rename = "rope_2d", alias = "rope2d")]
    Rope2d,
}

/// Positions of every token of one grid, on the device.
#[derive(Debug, Clone)]
pub struct PositionTable {
    added: Option<Tensor<2>>,
    rotation: Option<[Tensor<2>; 2]>,
}

/// Positions of the rows of one pass.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// What is added to each row.
    pub added: Option<Tensor<2>>,
    /// Cosines and sines by which each row's queries and keys are turned.
    pub rotation: Option<[Tensor<2>; 2]>,
}

impl PositionTable {
    /// Positions of `grid` for tokens `width` wide in heads of `head_width`.
    pub fn new(kind: Positions, grid: PatchGrid, width: usize, head_width: usize, device: &Device) -> Self {
        let table = |data: Vec<f32>| {
            let width = data.len() / grid.n_tokens();
            Tensor::from_data(TensorData::new(data, [grid.n_tokens(), width]), device)
        };
        match kind {
            Positions::SinCos => Self { added: Some(table(sin_cos(grid, width))), rotation: None },
            Positions::SinCosTimm => Self { added: Some(table(sin_cos_timm(grid, width))), rotation: None },
            Positions::Rope2d => Self { added: None, rotation: Some(rotations(grid, head_width).map(table)) },
        }
    }

    /// The rows of `tokens`.
    pub(crate) fn at(&self, tokens: &Tensor<1, Int>) -> Placed {
        let select = |table: &Tensor<2>| table.clone().select(0, tokens.clone());
        Placed {
            added: self.added.as_ref().map(select),
            rotation: self.rotation.as_ref().map(|both| both.each_ref().map(select)),
        }
    }
}

impl Placed {
    /// `x` with positions added, where they are of that kind.
    pub fn add_to(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.added {
            Some(added) => x + added.clone(),
            None => x,
        }
    }
}
