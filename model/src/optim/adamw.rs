//! AdamW with decay groups, the moving average in the same pass.

use burn::backend::Flex;
use burn::tensor::{Device, Tensor, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::config::Faults;
use crate::ops::simd::{dot, kernel};
use crate::ops::{dense, on_cpu};
use crate::params::Params;
use crate::step::read;

/// Numbers that a thread updates at a time.
const CHUNK: usize = 1 << 15;

/// Which parameters weight decay is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Whatever has more than one axis: neither biases nor the gains of norms.
    #[default]
    Matrices,
    /// All of them.
    All,
}

/// AdamW (Loshchilov 2019, arXiv 1711.05101). Rates and decay are schedules beside it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Shares of the two moments that stay at a step, in [0, 1). Default [0.9, 0.95].
    pub betas: [f64; 2],
    /// What is added to the root of the second moment. Default 1e-8.
    pub eps: f64,
    /// Which parameters decay. Default `matrices`.
    pub decay: Decay,
    /// Longest gradient, over all parameters together; a longer one is shortened to it. Default: any length.
    pub clip_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { betas: [0.9, 0.95], eps: 1e-8, decay: Decay::Matrices, clip_norm: None }
    }
}

impl AdamWConfig {
    pub(crate) fn check(&self, faults: &mut Faults) {
        for beta in self.betas {
            faults.within("optimiser.betas", beta, 0.0, 0.999_999);
        }
        faults.within("optimiser.eps", self.eps, 1e-20, 1.0);
        if let Some(clip_norm) = self.clip_norm {
            faults.within("optimiser.clip_norm", clip_norm, 1e-12, f64::MAX);
        }
    }

    /// What gradients of this global norm are multiplied by.
    pub(crate) fn clip_factor(&self, norm: f64) -> f64 {
        // PyTorch's 1e-6, so that its runs can be followed.
        self.clip_norm.map_or(1.0, |longest| (longest / (norm + 1e-6)).min(1.0))
    }
}

/// Rates of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub lr: f64,
    pub weight_decay: f64,
    /// Share of the moving average that stays.
    pub tau: f64,
    /// What gradients are multiplied by.
    pub grad_factor: f64,
}

/// The two moments of a list of parameters.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Mean of gradients.
    pub first: Params,
    /// Mean of squared gradients.
    pub second: Params,
}

impl AdamW {
    /// Moments of 0.
    pub fn new(params: &Params) -> Self {
        Self { first: params.zeros(), second: params.zeros() }
    }

    /// Moves `params` by `grads`, and the moving average towards where they come to stand. `updates` counts the updates
    /// before this one.
    pub(crate) fn update(
        &mut self,
        config: &AdamWConfig,
        rates: Rates,
        updates: u64,
        params: &mut Params,
        grads: Vec<Tensor<2>>,
        average: Option<&mut Params>,
    ) {
        let factors = Factors::new(config, rates, updates);
        let decays: Vec<bool> =
            params.specs().iter().map(|spec| config.decay == Decay::All || spec.is_matrix()).collect();
        let mut averages: Vec<Option<&mut Tensor<2>>> = match average {
            Some(average) => average.values_mut().iter_mut().map(Some).collect(),
            None => params.values().iter().map(|_| None).collect(),
        };
        let moments = self.first.values_mut().iter_mut().zip(self.second.values_mut());
        let params = params.values_mut().iter_mut().zip(moments).zip(grads).zip(&mut averages).zip(decays);
        let slots: Vec<Slot<'_>> = params
            .map(|((((param, (first, second)), grad), average), decays)| Slot {
                param,
                first,
                second,
                grad,
                average: average.as_deref_mut(),
                keep: factors.keep(decays),
            })
            .collect();
        if slots.iter().all(Slot::on_cpu) {
            update_here(slots, &factors);
        } else {
            for slot in slots {
                slot.update_there(&factors);
            }
        }
    }
}

/// Scalars of one update.
#[derive(Clone, Copy)]
struct Factors {
    rates: Rates,
    betas: [f32; 2],
    /// Learning rate over the first moment's bias correction.
    step: f32,
    /// 1 over the root of the second moment's bias correction.
    unbias: f32,
    eps: f32,
    tau_left: f32,
    grad_factor: f32,
}

impl Factors {
    fn new(config: &AdamWConfig, rates: Rates, updates: u64) -> Self {
        let t = (updates + 1) as f64;
        let [bias1, bias2] = config.betas.map(|beta| 1.0 - beta.powf(t));
        Self {
            rates,
            betas: config.betas.map(|beta| beta as f32),
            step: (rates.lr / bias1) as f32,
            unbias: (1.0 / bias2.sqrt()) as f32,
            eps: config.eps as f32,
            tau_left: (1.0 - rates.tau) as f32,
            grad_factor: rates.grad_factor as f32,
        }
    }

    /// What is left of a parameter after its decay.
    fn keep(&self, decays: bool) -> f32 {
        if decays { (1.0 - self.rates.lr * self.rates.weight_decay) as f32 } else { 1.0 }
    }
}

/// One parameter with all that belongs to it.
struct Slot<'a> {
    param: &'a mut Tensor<2>,
    first: &'a mut Tensor<2>,
    second: &'a mut Tensor<2>,
    grad: Tensor<2>,
    average: Option<&'a mut Tensor<2>>,
    keep: f32,
}

impl Slot<'_> {
    fn on_cpu(&self) -> bool {
        on_cpu(self.param) && on_cpu(&self.grad)
    }

    /// The update out of burn's operations, on whatever device the parameter is.
    fn update_there(self, by: &Factors) {
        let Self { param: param_home, first: first_home, second: second_home, grad, average: average_home, keep } =
            self;
        let grad = grad.mul_scalar(by.grad_factor);
        // Out of their homes nobody shares their memory: a device writes in place what nobody else holds.
        let take = |home: &mut Tensor<2>| std::mem::replace(home, grad.clone());
        let [beta1, beta2] = by.betas;
        let first = take(first_home).mul_scalar(beta1) + grad.clone().mul_scalar(1.0 - beta1);
        let second = take(second_home).mul_scalar(beta2) + (grad.clone() * grad.clone()).mul_scalar(1.0 - beta2);
        let scale = second.clone().sqrt().mul_scalar(by.unbias).add_scalar(by.eps);
        let param = take(param_home).mul_scalar(keep) - first.clone().mul_scalar(by.step) / scale;
        if let Some(home) = average_home {
            *home = take(home).mul_scalar(1.0 - by.tau_left) + param.clone().mul_scalar(by.tau_left);
        }
        (*param_home, *first_home, *second_home) = (param, first, second);
    }
}

/// All parameters in one parallel pass, in place: each number is read and written once.
fn update_here(slots: Vec<Slot<'_>>, by: &Factors) {
    let nothing: Tensor<2> = Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0, 0]), &Device::flex());
    let mut open: Vec<Open<'_>> = slots.into_iter().map(|slot| Open::new(slot, &nothing)).collect();
    let chunks: Vec<Chunk<'_>> = open.iter_mut().flat_map(Open::chunks).collect();
    chunks.into_par_iter().for_each(|chunk| update_chunk(chunk, by));
    open.into_iter().for_each(Open::close);
}

/// A slot's tensors taken out of burn, so that nobody shares their memory while it is written.
struct Open<'a> {
    homes: [Option<&'a mut Tensor<2>>; 4],
    held: [Option<FlexTensor>; 4],
    grad: FlexTensor,
    keep: f32,
}

impl<'a> Open<'a> {
    fn new(slot: Slot<'a>, nothing: &Tensor<2>) -> Self {
        let mut homes = [Some(slot.param), Some(slot.first), Some(slot.second), slot.average];
        let held = homes.each_mut().map(|home| {
            let tensor = std::mem::replace(&mut **home.as_mut()?, nothing.clone());
            Some(primitive(tensor))
        });
        Self { homes, held, grad: primitive(slot.grad), keep: slot.keep }
    }

    fn chunks(&mut self) -> impl Iterator<Item = Chunk<'_>> {
        let keep = self.keep;
        let mut cut =
            self.held.each_mut().map(|held| held.as_mut().map(|held| held.storage_mut::<f32>().chunks_mut(CHUNK)));
        self.grad.storage::<f32>().chunks(CHUNK).map(move |grad| {
            let [param, first, second, average] =
                cut.each_mut().map(|chunks| chunks.as_mut().and_then(Iterator::next).unwrap_or_default());
            Chunk { param, first, second, average, grad, keep }
        })
    }

    fn close(self) {
        for (home, held) in self.homes.into_iter().zip(self.held) {
            if let (Some(home), Some(held)) = (home, held) {
                *home = Tensor::from_primitive::<Flex>(held);
            }
        }
    }
}

fn primitive(tensor: Tensor<2>) -> FlexTensor {
    dense(tensor.try_into_primitive::<Flex>().expect("checked to be on the CPU"))
}

struct Chunk<'a> {
    param: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    /// Empty where there is no moving average.
    average: &'a mut [f32],
    grad: &'a [f32],
    keep: f32,
}

kernel! {
    fn update_chunk<'a>(chunk: Chunk<'a>, by: &'a Factors) -> () {
        let [beta1, beta2] = by.betas;
        let moments = chunk.first.iter_mut().zip(chunk.second.iter_mut());
        for ((param, (first, second)), &grad) in chunk.param.iter_mut().zip(moments).zip(chunk.grad) {
            let grad = grad * by.grad_factor;
            *first = (grad - *first).mul_add(1.0 - beta1, *first);
            *second = (grad * grad).mul_add(1.0 - beta2, *second * beta2);
            let scale = second.sqrt().mul_add(by.unbias, by.eps);
            *param = (-by.step).mul_add(*first / scale, *param * chunk.keep);
        }
        for (average, &param) in chunk.average.iter_mut().zip(&*chunk.param) {
            *average = (param - *average).mul_add(by.tau_left, *average);
        }
    }
}

kernel! {
    fn square<'a>(x: &'a [f32]) -> f32 {
        dot(x, x)
    }
}

/// Length of all gradients as one vector, which a device may still be computing.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it lives for a step")]
pub(crate) enum GlobalNorm {
    Known(f64),
    /// Its square.
    Coming(Tensor<1>),
}

impl GlobalNorm {
    /// On the CPU summed chunk by chunk in a fixed order, in f64 between chunks.
    pub fn of(grads: &[Tensor<2>]) -> Self {
        if grads.iter().all(on_cpu) {
            let grads: Vec<FlexTensor> = grads.iter().map(|grad| primitive(grad.clone())).collect();
            let chunks: Vec<&[f32]> = grads.iter().flat_map(|grad| grad.storage::<f32>().chunks(CHUNK)).collect();
            let sums: Vec<f64> = chunks.par_iter().map(|chunk| f64::from(square(chunk))).collect();
            return Self::Known(sums.iter().sum::<f64>().sqrt());
        }
        let sums: Vec<Tensor<1>> = grads.iter().map(|grad| (grad.clone() * grad.clone()).sum()).collect();
        Self::Coming(Tensor::cat(sums, 0).sum())
    }

    /// Waits for it.
    pub fn read(self) -> Result<f64, ModelError> {
        match self {
            Self::Known(norm) => Ok(norm),
            Self::Coming(square) => Ok(f64::from(read(square)?).sqrt()),
        }
    }
}
