//! A linear layer and a layer norm: where their parameters stand.

use burn::tensor::Tensor;

use crate::ops;
use crate::params::{Id, Layout, Params};

/// x W^T + b.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Id,
    bias: Id,
}

impl Linear {
    /// Lays out `name.weight` [n_out, n_in] and `name.bias` [n_out].
    pub fn new(layout: &mut Layout, name: &str, n_in: usize, n_out: usize) -> Self {
        Self::shaped(layout, name, &[n_out, n_in])
    }

    /// The same with a weight of more than two axes, such as a convolution's whose stride is its kernel.
    pub fn shaped(layout: &mut Layout, name: &str, shape: &[usize]) -> Self {
        let weight = layout.weight(format!("{name}.weight"), shape);
        let bias = layout.bias(format!("{name}.bias"), shape[0], shape[1..].iter().product());
        Self { weight, bias }
    }

    /// The output is in the type that products are computed in.
    ///
    /// # Shapes
    /// [rows, n_in] -> [rows, n_out].
    pub fn forward(&self, params: &Params, x: Tensor<2>) -> Tensor<2> {
        let [weight, bias] = [self.weight, self.bias].map(|id| params.narrowed(params[id].clone()));
        ops::linear(params.narrowed(x), weight, bias)
    }
}

/// Layer norm with gain and bias.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    gain: Id,
    bias: Id,
    eps: f32,
}

impl LayerNorm {
    /// Lays out `name.weight` and `name.bias`, [width] each.
    pub fn new(layout: &mut Layout, name: &str, width: usize, eps: f32) -> Self {
        let gain = layout.constant(format!("{name}.weight"), &[width], 1);
        let bias = layout.constant(format!("{name}.bias"), &[width], 0);
        Self { gain, bias, eps }
    }

    /// # Shapes
    /// [rows, width] -> [rows, width].
    pub fn forward(&self, params: &Params, x: Tensor<2>) -> Tensor<2> {
        ops::layer_norm(x, params[self.gain].clone(), params[self.bias].clone(), self.eps)
    }
}
