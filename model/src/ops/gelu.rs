//! The exact GELU: x times the normal distribution's share below x.

use std::f32::consts::FRAC_1_SQRT_2;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::simd::{erf_with, exp, kernel};
use super::{Operation, apply, composed, cpu_tensor, dims};

/// Numbers that a thread takes at a time: 64 KiB, a share of the second-level cache.
const CHUNK: usize = 1 << 14;

/// x Phi(x), Phi being the standard normal distribution function by erf, not by tanh (Hendrycks 2016, arXiv 1606.08415).
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    apply(&Gelu, [x])
}

#[derive(Debug, Clone)]
struct Gelu;

impl Operation<1> for Gelu {
    type Kept = ();

    fn forward(&self, [x]: &[FlexTensor; 1], _keep: bool) -> (FlexTensor, ()) {
        let [rows, cols] = dims(x);
        let mut y = vec![0.0; rows * cols];
        y.par_chunks_mut(CHUNK).zip(x.storage::<f32>().par_chunks(CHUNK)).for_each(|(y, x)| forward(y, x));
        (cpu_tensor(y, rows, cols), ())
    }

    fn backward(&self, [x]: [FlexTensor; 1], (): (), mut grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let grads = grad.storage_mut::<f32>();
        grads.par_chunks_mut(CHUNK).zip(x.storage::<f32>().par_chunks(CHUNK)).for_each(|(grad, x)| backward(grad, x));
        [Some(grad)]
    }

    fn composed(&self, [x]: [Tensor<2>; 1]) -> Tensor<2> {
        composed::gelu(x)
    }
}

kernel! {
    fn forward<'a>(y: &'a mut [f32], x: &'a [f32]) -> () {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * share_below(x).0;
        }
    }
}

kernel! {
    fn backward<'a>(grad: &'a mut [f32], x: &'a [f32]) -> () {
        for (grad, &x) in grad.iter_mut().zip(x) {
            *grad *= slope(x);
        }
    }
}

/// Phi(x), and exp(-x^2 / 2) which it is made from.
#[inline(always)]
fn share_below(x: f32) -> (f32, f32) {
    let z = x * FRAC_1_SQRT_2;
    let e = exp(-z * z);
    (erf_with(z, e).mul_add(0.5, 0.5), e)
}

/// The derivative: Phi(x) + x phi(x).
#[inline(always)]
fn slope(x: f32) -> f32 {
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    let (share, e) = share_below(x);
    (x * INV_SQRT_TAU).mul_add(e, share)
}
