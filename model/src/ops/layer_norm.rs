//! Layer norm over rows, one pass each way while a row is in the cache.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::simd::{kernel, sum, sum2};
use super::{Operation, apply, composed, cpu_tensor, dims};

/// Rows that a thread takes at a time. Fixed, since the sums over rows are taken chunk by chunk.
const ROWS: usize = 64;

/// (x - mean) / sqrt(variance + eps) * gain + bias over each row; the variance is the biased one, as in PyTorch.
///
/// # Shapes
/// `x` [rows, width], `gain` and `bias` [1, width] -> [rows, width].
pub fn layer_norm(x: Tensor<2>, gain: Tensor<2>, bias: Tensor<2>, eps: f32) -> Tensor<2> {
    apply(&LayerNorm { eps }, [x, gain, bias])
}

#[derive(Debug, Clone)]
struct LayerNorm {
    eps: f32,
}

impl Operation<3> for LayerNorm {
    type Kept = ();

    fn forward(&self, [x, gain, bias]: &[FlexTensor; 3], _keep: bool) -> (FlexTensor, ()) {
        let [rows, width] = dims(x);
        let (gain, bias) = (gain.storage::<f32>(), bias.storage::<f32>());
        let mut y = vec![0.0; rows * width];
        y.par_chunks_mut(width * ROWS)
            .zip(x.storage::<f32>().par_chunks(width * ROWS))
            .for_each(|(y, x)| normalize(y, x, gain, bias, self.eps));
        (cpu_tensor(y, rows, width), ())
    }

    fn backward(
        &self,
        [x, gain, _]: [FlexTensor; 3],
        (): (),
        mut grad: FlexTensor,
        _: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let [_, width] = dims(&x);
        let gain = gain.storage::<f32>();
        let partial: Vec<[Vec<f32>; 2]> = grad
            .storage_mut::<f32>()
            .par_chunks_mut(width * ROWS)
            .zip(x.storage::<f32>().par_chunks(width * ROWS))
            .map(|(grad, x)| {
                let mut sums = [vec![0.0; width], vec![0.0; width]];
                rows_back(grad, x, gain, self.eps, &mut sums);
                sums
            })
            .collect();
        let mut sums = [vec![0.0; width], vec![0.0; width]];
        for (total, part) in partial.iter().flat_map(|part| [0, 1].map(|i| (i, &part[i]))) {
            sums[total].iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let [gain_grad, bias_grad] = sums.map(|sum| Some(cpu_tensor(sum, 1, width)));
        [Some(grad), gain_grad, bias_grad]
    }

    fn composed(&self, [x, gain, bias]: [Tensor<2>; 3]) -> Tensor<2> {
        composed::layer_norm(x, gain, bias, self.eps)
    }
}

/// Mean, and 1 / sqrt(variance + eps).
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

kernel! {
    fn normalize<'a>(y: &'a mut [f32], x: &'a [f32], gain: &'a [f32], bias: &'a [f32], eps: f32) -> () {
        for (y, x) in y.chunks_exact_mut(gain.len()).zip(x.chunks_exact(gain.len())) {
            let (mean, scale) = moments(x, eps);
            for (((y, &x), &gain), &bias) in y.iter_mut().zip(x).zip(gain).zip(bias) {
                *y = ((x - mean) * scale).mul_add(gain, bias);
            }
        }
    }
}

kernel! {
    /// Turns rows of the output's gradient into the input's, and adds to the sums for gain and bias.
    ///
    /// With h = (x - mean) scale and g = gradient * gain: scale (g - mean(g) - h mean(g h)).
    fn rows_back<'a>(grad: &'a mut [f32], x: &'a [f32], gain: &'a [f32], eps: f32, sums: &'a mut [Vec<f32>; 2]) -> () {
        let [gain_sum, bias_sum] = sums;
        let n = gain.len() as f32;
        for (grad, x) in grad.chunks_exact_mut(gain.len()).zip(x.chunks_exact(gain.len())) {
            let (mean, scale) = moments(x, eps);
            for (((gain_sum, bias_sum), &grad), &x) in gain_sum.iter_mut().zip(bias_sum.iter_mut()).zip(&*grad).zip(x) {
                *gain_sum = grad.mul_add((x - mean) * scale, *gain_sum);
                *bias_sum += grad;
            }
            for (grad, &gain) in grad.iter_mut().zip(gain) {
                *grad *= gain;
            }
            let mean_grad = sum(grad, |grad| grad) / n;
            let along = sum2(grad, x, |sum, grad, x| grad.mul_add(x - mean, sum)) * scale / n;
            for (grad, &x) in grad.iter_mut().zip(x) {
                *grad = scale * ((x - mean) * scale).mul_add(-along, *grad - mean_grad);
            }
        }
    }
}
