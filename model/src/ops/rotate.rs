//! Rotary positions: queries and keys turned by angles that grow with a token's place.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::simd::kernel;
use super::{Operation, apply, composed, cpu_tensor, dims};

/// Rows that a thread takes at a time.
const ROWS: usize = 16;

/// Turns each pair (2 i, 2 i + 1) of every head's query and key by the angle whose cosine and sine are given for its row.
///
/// # Shapes
/// `qkv` [rows, 3 * width] as in [`attention`](super::attention), `cos` and `sin` [rows, head width / 2]: constants, through which
/// no gradient flows -> [rows, 3 * width].
pub fn rotate(qkv: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>, n_heads: usize) -> Tensor<2> {
    apply(&Rotate { n_heads }, [qkv, cos, sin])
}

#[derive(Debug, Clone)]
struct Rotate {
    n_heads: usize,
}

impl Operation<3> for Rotate {
    type Kept = ();

    fn forward(&self, [qkv, cos, sin]: &[FlexTensor; 3], _keep: bool) -> (FlexTensor, ()) {
        let [rows, cols] = dims(qkv);
        let mut turned = qkv.storage::<f32>().to_vec();
        self.turn(&mut turned, cols, cos.storage(), sin.storage(), 1.0);
        (cpu_tensor(turned, rows, cols), ())
    }

    fn backward(
        &self,
        [_, cos, sin]: [FlexTensor; 3],
        (): (),
        mut grad: FlexTensor,
        _: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        // The transpose of a rotation is the rotation back.
        let [_, cols] = dims(&grad);
        self.turn(grad.storage_mut(), cols, cos.storage(), sin.storage(), -1.0);
        [Some(grad), None, None]
    }

    fn composed(&self, [qkv, cos, sin]: [Tensor<2>; 3]) -> Tensor<2> {
        composed::rotate(qkv, cos, sin, self.n_heads)
    }
}

impl Rotate {
    fn turn(&self, data: &mut [f32], cols: usize, cos: &[f32], sin: &[f32], sign: f32) {
        let half = cols / 3 / self.n_heads / 2;
        let angles = cos.par_chunks(half * ROWS).zip(sin.par_chunks(half * ROWS));
        data.par_chunks_mut(cols * ROWS)
            .zip(angles)
            .for_each(|(rows, (cos, sin))| turn_rows(rows, cols, half, cos, sin, sign));
    }
}

kernel! {
    fn turn_rows<'a>(rows: &'a mut [f32], cols: usize, half: usize, cos: &'a [f32], sin: &'a [f32], sign: f32) -> () {
        let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
        for (row, (cos, sin)) in rows.chunks_exact_mut(cols).zip(angles) {
            for head in row[..cols / 3 * 2].chunks_exact_mut(2 * half) {
                turn_head(head, cos, sin, sign);
            }
        }
    }
}

#[inline(always)]
fn turn_head(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let (pairs, _) = head.as_chunks_mut::<2>();
    for (([x, y], &cos), &sin) in pairs.iter_mut().zip(cos).zip(sin) {
        let sin = sign * sin;
        (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
    }
}
