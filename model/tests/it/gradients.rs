//! Every operation with a kernel of ours: output and gradients against the same out of burn's operations, and gradients against
//! finite differences.

use ajepa_model::ops::{self, composed};
use burn::tensor::Tensor;

use crate::fixture::{assert_close, matrix, numbers};

/// Output, and the gradients of sum(output * weights) with respect to every input.
fn run<const N: usize>(inputs: &[Tensor<2>; N], op: impl Fn([Tensor<2>; N]) -> Tensor<2>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let inputs = inputs.each_ref().map(|input| input.clone().autodiff().require_grad());
    let output = op(inputs.clone());
    let [rows, cols] = output.dims();
    let grads = (output.clone() * matrix("weights", rows, cols)).sum().backward();
    let grads = inputs.iter().filter_map(|input| input.grad(&grads)).map(numbers).collect();
    (numbers(output.inner()), grads)
}

/// sum(output * weights), in f64.
fn objective<const N: usize>(inputs: [Tensor<2>; N], op: &impl Fn([Tensor<2>; N]) -> Tensor<2>) -> f64 {
    let output = op(inputs);
    let [rows, cols] = output.dims();
    let weights = numbers(matrix("weights", rows, cols));
    numbers(output).iter().zip(weights).map(|(&y, weight)| f64::from(y) * f64::from(weight)).sum()
}

/// Checks `ours` against `burns`, and its gradients along random directions against central differences.
fn check<const N: usize>(
    what: &str,
    inputs: &[Tensor<2>; N],
    ours: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    burns: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) {
    let (output, grads) = run(inputs, &ours);
    let (burns_output, burns_grads) = run(inputs, &burns);
    assert_close(what, &output, &burns_output, 2e-6);
    assert_eq!(output, numbers(ours(inputs.clone())), "{what}: the same with and without autodiff");
    assert_eq!(grads.len(), burns_grads.len().min(grads.len()));
    for (i, grad) in grads.iter().enumerate() {
        assert_close(&format!("{what}: gradient of input {i}"), grad, &burns_grads[i], 1e-5);
        let [rows, cols] = inputs[i].dims();
        let direction = matrix(&format!("direction {i}"), rows, cols);
        let slope: f64 = grad.iter().zip(numbers(direction.clone())).map(|(&g, d)| f64::from(g) * f64::from(d)).sum();
        let moved = |step: f32| {
            let mut inputs = inputs.clone();
            inputs[i] = inputs[i].clone() + direction.clone().mul_scalar(step);
            objective(inputs, &ours)
        };
        let step = 1e-2;
        // The second difference of the difference removes the error of order step^2.
        let wide = (moved(2.0 * step) - moved(-2.0 * step)) / f64::from(4.0 * step);
        let narrow = (moved(step) - moved(-step)) / f64::from(2.0 * step);
        let difference = (4.0 * narrow - wide) / 3.0;
        let scale = grad.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!(
            (slope - difference).abs() < 2e-3 * scale,
            "{what}: input {i}: {slope} along the gradient, {difference} measured"
        );
    }
}

#[test]
fn linear() {
    let inputs = [matrix("x", 70, 24), matrix("w", 40, 24), matrix("b", 1, 40)];
    check("linear", &inputs, |[x, w, b]| ops::linear(x, w, b), |[x, w, b]| composed::linear(x, w, b));
}

#[test]
fn linear_that_is_shared_out_to_threads() {
    let inputs = [matrix("x", 300, 96), matrix("w", 200, 96), matrix("b", 1, 200)];
    check("linear", &inputs, |[x, w, b]| ops::linear(x, w, b), |[x, w, b]| composed::linear(x, w, b));
}

#[test]
fn gelu() {
    // Wide enough to reach both tails.
    let x = matrix("x", 90, 33).mul_scalar(6.0);
    check("gelu", &[x], |[x]| ops::gelu(x), |[x]| composed::gelu(x));
}

#[test]
fn layer_norm() {
    // More rows than one chunk, a width that is no multiple of the lanes.
    let inputs = [matrix("x", 150, 37) + 3.0, matrix("g", 1, 37), matrix("b", 1, 37)];
    check(
        "layer norm",
        &inputs,
        |[x, g, b]| ops::layer_norm(x, g, b, 1e-5),
        |[x, g, b]| composed::layer_norm(x, g, b, 1e-5),
    );
}

#[test]
fn attention() {
    let qkv = matrix("qkv", 4 * 19, 3 * 24).mul_scalar(2.0);
    check("attention", &[qkv], |[x]| ops::attention(x, 19, 3), |[x]| composed::attention(x, 19, 3));
}

#[test]
fn rotation_turns_queries_and_keys_and_leaves_values() {
    let angles = matrix("angles", 20, 4).mul_scalar(3.0);
    let (cos, sin) = (angles.clone().cos(), angles.sin());
    let qkv = matrix("qkv", 20, 3 * 16);
    let ours = |[x]: [Tensor<2>; 1]| ops::rotate(x, cos.clone(), sin.clone(), 2);
    check("rotate", std::array::from_ref(&qkv), ours, |[x]| composed::rotate(x, cos.clone(), sin.clone(), 2));
    let turned = numbers(ops::rotate(qkv.clone(), cos.clone(), sin.clone(), 2).narrow(1, 32, 16));
    assert_eq!(turned, numbers(qkv.narrow(1, 32, 16)));
}

#[test]
fn strided_views_are_read_as_what_they_show() {
    let wide = matrix("wide", 12, 40);
    let (view, copy) = (wide.clone().narrow(1, 8, 24), wide.narrow(1, 8, 24).add_scalar(0.0));
    assert_eq!(numbers(ops::gelu(view.clone())), numbers(ops::gelu(copy.clone())));
    assert_eq!(numbers(ops::gelu(view.transpose())), numbers(ops::gelu(copy.transpose())));
}
