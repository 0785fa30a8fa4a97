//! x W^T + b on all rows of a batch at once.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, Put, product, product_new};
use super::simd::kernel;
use super::{Operation, apply, composed, cpu_tensor, dims};

/// Rows summed by one thread for the bias; fixed, so that the order of the sum is.
const ROWS: usize = 128;

/// x W^T + b, the weight lying in memory as PyTorch's `nn.Linear` has it.
///
/// # Shapes
/// `x` [rows, n_in], `weight` [n_out, n_in], `bias` [1, n_out] -> [rows, n_out].
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>) -> Tensor<2> {
    apply(&Linear, [x, weight, bias])
}

#[derive(Debug, Clone)]
struct Linear;

impl Operation<3> for Linear {
    type Kept = ();

    fn forward(&self, [x, weight, bias]: &[FlexTensor; 3], _keep: bool) -> (FlexTensor, ()) {
        let ([rows, n_in], [n_out, _]) = (dims(x), dims(weight));
        // The bias is what the product is added to: no second pass over the output.
        let mut y = Vec::with_capacity(rows * n_out);
        for _ in 0..rows {
            y.extend_from_slice(bias.storage());
        }
        let weight = Matrix::new(weight.storage(), n_out, n_in);
        product(MatrixMut::new(&mut y, rows, n_out), Put::Add, Matrix::new(x.storage(), rows, n_in), weight.t());
        (cpu_tensor(y, rows, n_out), ())
    }

    fn backward(
        &self,
        [x, weight, _]: [FlexTensor; 3],
        (): (),
        grad: FlexTensor,
        [for_x, ..]: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let ([rows, n_in], [n_out, _]) = (dims(&x), dims(&weight));
        let grads = Matrix::new(grad.storage(), rows, n_out);
        let x_grad = for_x.then(|| product_new(grads, Matrix::new(weight.storage(), n_out, n_in)));
        let weight_grad = product_new(grads.t(), Matrix::new(x.storage(), rows, n_in));
        let bias_grad = column_sums(grad.storage(), n_out);
        [
            x_grad.map(|x_grad| cpu_tensor(x_grad, rows, n_in)),
            Some(cpu_tensor(weight_grad, n_out, n_in)),
            Some(cpu_tensor(bias_grad, 1, n_out)),
        ]
    }

    fn composed(&self, [x, weight, bias]: [Tensor<2>; 3]) -> Tensor<2> {
        composed::linear(x, weight, bias)
    }
}

/// Sums over rows, chunk by chunk and then over the chunks in order.
fn column_sums(data: &[f32], width: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = data
        .par_chunks(width * ROWS)
        .map(|rows| {
            let mut sum = vec![0.0; width];
            add_rows(&mut sum, rows);
            sum
        })
        .collect();
    let mut sum = vec![0.0; width];
    for part in &partial {
        add_rows(&mut sum, part);
    }
    sum
}

kernel! {
    fn add_rows<'a>(sum: &'a mut [f32], rows: &'a [f32]) -> () {
        for row in rows.chunks_exact(sum.len()) {
            for (sum, row) in sum.iter_mut().zip(row) {
                *sum += row;
            }
        }
    }
}
