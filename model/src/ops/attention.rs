//! Attention of all heads over each sequence.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, Put, product_here};
use super::simd::{dot, exp, kernel, max, sum};
use super::{Operation, apply, composed, cpu_tensor, dims};

/// softmax(Q K^T / sqrt(head width)) V for every head of every sequence.
///
/// # Shapes
/// `qkv` [sequences * n_tokens, 3 * width], a row being all heads' queries, then keys, then values -> [sequences * n_tokens, width].
///
/// # Panics
/// When rows are not whole sequences or the width is not whole heads: config checks refuse both.
pub fn attention(qkv: Tensor<2>, n_tokens: usize, n_heads: usize) -> Tensor<2> {
    let [rows, cols] = qkv.dims();
    assert!(rows.is_multiple_of(n_tokens) && cols.is_multiple_of(3 * n_heads), "{rows} x {cols} in {n_tokens} tokens");
    apply(&Attention { n_tokens, n_heads }, [qkv])
}

#[derive(Debug, Clone)]
struct Attention {
    n_tokens: usize,
    n_heads: usize,
}

/// One sequence: n tokens, w wide in heads of d.
#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    w: usize,
    d: usize,
}

impl Sizes {
    /// What attention is over for head `head`: queries, keys, values, each [n, d].
    fn heads(self, qkv: &[f32], head: usize) -> [Matrix<'_>; 3] {
        [0, 1, 2].map(|part| Matrix::strided(&qkv[part * self.w + head * self.d..], self.n, self.d, 3 * self.w))
    }

    /// Head `head` of rows `width` wide, beginning at column `from`.
    fn head_mut(self, rows: &mut [f32], from: usize, head: usize, width: usize) -> MatrixMut<'_> {
        MatrixMut::strided(&mut rows[from + head * self.d..], self.n, self.d, width)
    }

    fn scale(self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }
}

impl Attention {
    fn sizes(&self, qkv: &FlexTensor) -> (usize, Sizes) {
        let [rows, cols] = dims(qkv);
        (rows, Sizes { n: self.n_tokens, w: cols / 3, d: cols / 3 / self.n_heads })
    }
}

impl Operation<1> for Attention {
    /// The weights [sequences, heads, n, n]: cheaper to keep than to compute again.
    type Kept = Option<FlexTensor>;

    fn forward(&self, [qkv]: &[FlexTensor; 1], keep: bool) -> (FlexTensor, Self::Kept) {
        let (rows, sizes) = self.sizes(qkv);
        let Sizes { n, w, .. } = sizes;
        let mut out = vec![0.0; rows * w];
        let sequences = out.par_chunks_mut(n * w).zip(qkv.storage::<f32>().par_chunks(n * 3 * w));
        if !keep {
            let scratch = || vec![0.0; n * n];
            sequences.for_each_init(scratch, |weights, (out, qkv)| {
                (0..self.n_heads).for_each(|head| attend(sizes, qkv, head, weights, out));
            });
            return (cpu_tensor(out, rows, w), None);
        }
        let mut kept = vec![0.0; rows * self.n_heads * n];
        sequences.zip(kept.par_chunks_mut(self.n_heads * n * n)).for_each(|((out, qkv), weights)| {
            for (head, weights) in weights.chunks_exact_mut(n * n).enumerate() {
                attend(sizes, qkv, head, weights, out);
            }
        });
        (cpu_tensor(out, rows, w), Some(cpu_tensor(kept, rows * self.n_heads, n)))
    }

    fn backward(
        &self,
        [qkv]: [FlexTensor; 1],
        kept: Self::Kept,
        grad: FlexTensor,
        _: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let (rows, sizes) = self.sizes(&qkv);
        let Sizes { n, w, .. } = sizes;
        let kept = kept.expect("kept by the forward of a recorded operation");
        let mut qkv_grad = vec![0.0; rows * 3 * w];
        qkv_grad
            .par_chunks_mut(n * 3 * w)
            .zip(qkv.storage::<f32>().par_chunks(n * 3 * w))
            .zip(kept.storage::<f32>().par_chunks(self.n_heads * n * n))
            .zip(grad.storage::<f32>().par_chunks(n * w))
            .for_each_init(
                || vec![0.0; n * n],
                |scratch, (((qkv_grad, qkv), weights), grad)| {
                    for (head, weights) in weights.chunks_exact(n * n).enumerate() {
                        attend_back(sizes, Forward { qkv, head, weights, grad }, scratch, qkv_grad);
                    }
                },
            );
        [Some(cpu_tensor(qkv_grad, rows, 3 * w))]
    }

    fn composed(&self, [qkv]: [Tensor<2>; 1]) -> Tensor<2> {
        composed::attention(qkv, self.n_tokens, self.n_heads)
    }
}

/// One head over one sequence: fills `weights` [n, n] and the head's columns of `out` [n, w].
fn attend(sizes: Sizes, qkv: &[f32], head: usize, weights: &mut [f32], out: &mut [f32]) {
    let Sizes { n, w, .. } = sizes;
    let [q, k, v] = sizes.heads(qkv, head);
    product_here(MatrixMut::new(weights, n, n), Put::Overwrite, q, k.t());
    softmax_rows(weights, n, sizes.scale());
    product_here(sizes.head_mut(out, 0, head, w), Put::Overwrite, Matrix::new(weights, n, n), v);
}

/// What one head's backward starts from.
#[derive(Clone, Copy)]
struct Forward<'a> {
    qkv: &'a [f32],
    head: usize,
    weights: &'a [f32],
    grad: &'a [f32],
}

/// Fills the head's columns of `qkv_grad` [n, 3 w]; `scratch` holds [n, n].
fn attend_back(sizes: Sizes, from: Forward<'_>, scratch: &mut [f32], qkv_grad: &mut [f32]) {
    let Sizes { n, w, d } = sizes;
    let Forward { qkv, head, weights, grad } = from;
    let [q, k, v] = sizes.heads(qkv, head);
    let grad = Matrix::strided(&grad[head * d..], n, d, w);
    let p = Matrix::new(weights, n, n);
    product_here(sizes.head_mut(qkv_grad, 2 * w, head, 3 * w), Put::Overwrite, p.t(), grad);
    product_here(MatrixMut::new(scratch, n, n), Put::Overwrite, grad, v.t());
    softmax_rows_back(scratch, weights, n, sizes.scale());
    let scores = Matrix::new(scratch, n, n);
    product_here(sizes.head_mut(qkv_grad, 0, head, 3 * w), Put::Overwrite, scores, k);
    product_here(sizes.head_mut(qkv_grad, w, head, 3 * w), Put::Overwrite, scores.t(), q);
}

kernel! {
    /// softmax(scale * row) of each row of `n`, in place.
    fn softmax_rows<'a>(rows: &'a mut [f32], n: usize, scale: f32) -> () {
        for row in rows.chunks_exact_mut(n) {
            let max = max(row);
            for score in &mut *row {
                *score = exp((*score - max) * scale);
            }
            let norm = 1.0 / sum(row, |weight| weight);
            for weight in row {
                *weight *= norm;
            }
        }
    }
}

kernel! {
    /// Each row of the weights' gradient becomes the scores': p (g - p.g) scale.
    fn softmax_rows_back<'a>(rows: &'a mut [f32], weights: &'a [f32], n: usize, scale: f32) -> () {
        for (row, weights) in rows.chunks_exact_mut(n).zip(weights.chunks_exact(n)) {
            let along = dot(row, weights);
            for (grad, &weight) in row.iter_mut().zip(weights) {
                *grad = weight * (*grad - along) * scale;
            }
        }
    }
}
