//! The same operations out of burn's own: what runs on devices without kernels of ours, and what the kernels are tested against.

use burn::tensor::FloatDType;
use burn::tensor::Tensor;
use burn::tensor::activation;

/// See [`linear`](super::linear()).
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>) -> Tensor<2> {
    x.matmul(weight.transpose()) + bias
}

/// See [`gelu`](super::gelu()).
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    activation::gelu(x)
}

/// See [`layer_norm`](super::layer_norm()).
pub fn layer_norm(x: Tensor<2>, gain: Tensor<2>, bias: Tensor<2>, eps: f32) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    centred / (variance + eps).sqrt() * gain + bias
}

/// See [`attention`](super::attention()).
pub fn attention(qkv: Tensor<2>, n_tokens: usize, n_heads: usize) -> Tensor<2> {
    let [rows, cols] = qkv.dims();
    let (width, head) = (cols / 3, cols / 3 / n_heads);
    let parts = qkv.reshape([rows / n_tokens, n_tokens, 3, n_heads, head]);
    let [q, k, v] = [0, 1, 2].map(|part| parts.clone().narrow(2, part, 1).squeeze_dim::<4>(2).swap_dims(1, 2));
    let scores = q.mul_scalar((head as f64).powf(-0.5)).matmul(k.transpose());
    // Sums of many small weights are taken in f32, whatever products are computed in.
    let weights = activation::softmax(scores.cast(FloatDType::F32), 3).cast(v.dtype());
    weights.matmul(v).swap_dims(1, 2).reshape([rows, width])
}

/// See [`rotate`](super::rotate()).
pub fn rotate(qkv: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>, n_heads: usize) -> Tensor<2> {
    let [rows, cols] = qkv.dims();
    let (width, half) = (cols / 3, cols / 3 / n_heads / 2);
    let pairs = qkv.clone().narrow(1, 0, 2 * width).reshape([rows, 2 * n_heads, half, 2]);
    let [x, y] = [0, 1].map(|i| pairs.clone().narrow(3, i, 1));
    let dtype = qkv.dtype();
    let [cos, sin] = [cos, sin].map(|angles| angles.cast(dtype).reshape([rows, 1, half, 1]));
    let turned_x = x.clone() * cos.clone() - y.clone() * sin.clone();
    let turned_y = x * sin + y * cos;
    let turned = Tensor::cat(vec![turned_x, turned_y], 3).reshape([rows, 2 * width]);
    Tensor::cat(vec![turned, qkv.narrow(1, 2 * width, width)], 1)
}
