//! Parameters as one flat list: named and shaped as in PyTorch, held as matrices on the device.
//!
//! Layers hold indices into the list ([`Id`]) and are given the tensors when they run. So one layer serves the trained encoder,
//! its moving average and the recorded copy that gradients flow into, and the optimiser, checkpoints and exports are loops.

use ajepa_ops::seed;
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use rand_core::Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// How a model begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Weights from a normal distribution of deviation 0.02 cut off at two deviations, biases 0: what the reference meant.
    #[default]
    TruncatedNormal,
    /// Uniform within 1 / sqrt(inputs), biases too: PyTorch's default, which is what the reference ran with.
    PytorchDefault,
}

/// What products are computed in. Parameters, moments, norms, the residual stream and the loss are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compute {
    /// Single precision.
    #[default]
    F32,
    /// bfloat16, for devices that are faster in it; a CPU is not.
    Bf16,
}

/// Index of a parameter in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(usize);

/// Name and shape of one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name as in PyTorch, such as `blocks.0.attn.Wqkv.weight`; without `encoder.` or `predictor.` before it.
    pub name: String,
    /// Shape as in PyTorch: `nn.Linear` has [out, in].
    pub shape: Vec<usize>,
    start: Start,
}

impl Spec {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds none; no parameter does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has more than one axis: what the reference's weight decay is for, its mask token of [1, 1, width] included.
    pub fn is_matrix(&self) -> bool {
        self.shape.len() > 1
    }

    /// Rows and columns it is held as: the first axis, and all others.
    fn matrix(&self) -> [usize; 2] {
        match self.shape.as_slice() {
            [len] => [1, *len],
            [rows, rest @ ..] => [*rows, rest.iter().product()],
            [] => [1, 1],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Constant(u8),
    /// A learnt token: 0 where the reference's initialisation did nothing.
    Token,
    /// A weight or bias of a layer with so many inputs, and whether it is a bias.
    Layer {
        n_in: usize,
        bias: bool,
    },
}

/// Lists parameters while layers are laid out.
#[derive(Debug, Default)]
pub struct Layout {
    specs: Vec<Spec>,
}

impl Layout {
    /// A layer's weight, of `shape` = [out, inputs...].
    pub fn weight(&mut self, name: String, shape: &[usize]) -> Id {
        let n_in = shape[1..].iter().product();
        self.add(name, shape, Start::Layer { n_in, bias: false })
    }

    /// The bias of a layer with `n_in` inputs.
    pub fn bias(&mut self, name: String, n_out: usize, n_in: usize) -> Id {
        self.add(name, &[n_out], Start::Layer { n_in, bias: true })
    }

    /// A parameter that begins as 0 or 1 everywhere.
    pub fn constant(&mut self, name: String, shape: &[usize], value: u8) -> Id {
        self.add(name, shape, Start::Constant(value))
    }

    /// A learnt token of `width` numbers.
    pub fn token(&mut self, name: String, width: usize) -> Id {
        self.add(name, &[1, 1, width], Start::Token)
    }

    fn add(&mut self, name: String, shape: &[usize], start: Start) -> Id {
        self.specs.push(Spec { name, shape: shape.to_vec(), start });
        Id(self.specs.len() - 1)
    }

    /// Names and shapes of what is laid out so far.
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Tensors laid out so far.
    pub fn n_tensors(&self) -> usize {
        self.specs.len()
    }

    /// Numbers in all of them.
    pub fn n_numbers(&self) -> usize {
        self.specs.iter().map(Spec::len).sum()
    }

    /// Takes every parameter from `numbers`, in order: those of a file, say.
    ///
    /// # Errors
    /// The first that `numbers` has.
    ///
    /// # Panics
    /// When `numbers` gives another count than the parameter's shape holds.
    pub fn fill<E>(
        self,
        compute: Compute,
        device: &Device,
        mut numbers: impl FnMut(&Spec) -> Result<Vec<f32>, E>,
    ) -> Result<Params, E> {
        let values = self.specs.iter().map(|spec| Ok(tensor(numbers(spec)?, spec.matrix(), device)));
        let values = values.collect::<Result<_, E>>()?;
        Ok(Params { specs: self.specs, values, compute })
    }

    /// Draws every parameter, each from a stream of its own, so that one more layer leaves the others as they were.
    pub fn build(self, init: Init, compute: Compute, run_seed: u64, device: &Device) -> Params {
        let drawn: Vec<Vec<f32>> = self.specs.par_iter().map(|spec| draw(spec, init, run_seed)).collect();
        let values = self.specs.iter().zip(drawn).map(|(spec, data)| tensor(data, spec.matrix(), device)).collect();
        Params { specs: self.specs, values, compute }
    }
}

fn tensor(data: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(data, shape), device)
}

fn draw(spec: &Spec, init: Init, run_seed: u64) -> Vec<f32> {
    let rng = &mut seed::rng(seed::derive(&[run_seed, seed::hash_str("init"), seed::hash_str(&spec.name)]));
    let n = spec.len();
    match (spec.start, init) {
        (Start::Constant(value), _) => vec![f32::from(value); n],
        (Start::Layer { bias: true, .. }, Init::TruncatedNormal) | (Start::Token, Init::PytorchDefault) => vec![0.0; n],
        (Start::Layer { bias: false, .. } | Start::Token, Init::TruncatedNormal) => {
            (0..n).map(|_| (0.02 * normal_within(rng, 2.0)) as f32).collect()
        }
        (Start::Layer { n_in, .. }, Init::PytorchDefault) => {
            let bound = 1.0 / (n_in as f64).sqrt();
            (0..n).map(|_| ((2.0 * seed::unit(rng) - 1.0) * bound) as f32).collect()
        }
    }
}

/// A standard normal number, drawn again while it is beyond `bound` (Box and Muller 1958).
pub(crate) fn normal_within(rng: &mut impl Rng, bound: f64) -> f64 {
    loop {
        let radius = (-2.0 * (1.0 - seed::unit(rng)).ln()).sqrt();
        let z = radius * (std::f64::consts::TAU * seed::unit(rng)).cos();
        if z.abs() <= bound {
            return z;
        }
    }
}

/// Parameters on a device.
#[derive(Debug, Clone)]
pub struct Params {
    specs: Vec<Spec>,
    values: Vec<Tensor<2>>,
    compute: Compute,
}

impl std::ops::Index<Id> for Params {
    type Output = Tensor<2>;

    fn index(&self, id: Id) -> &Tensor<2> {
        &self.values[id.0]
    }
}

impl Params {
    /// Names and shapes, in order.
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// The tensors, in the same order, each as a matrix.
    pub fn values(&self) -> &[Tensor<2>] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [Tensor<2>] {
        &mut self.values
    }

    /// Numbers in all parameters together.
    pub fn n_numbers(&self) -> usize {
        self.specs.iter().map(Spec::len).sum()
    }

    /// Other numbers under the same names.
    fn with(&self, values: Vec<Tensor<2>>) -> Self {
        Self { specs: self.specs.clone(), values, compute: self.compute }
    }

    /// `x` in the type that products are computed in.
    pub(crate) fn narrowed(&self, x: Tensor<2>) -> Tensor<2> {
        match self.compute {
            Compute::F32 => x,
            Compute::Bf16 => x.cast(FloatDType::BF16),
        }
    }

    /// The same parameters, with gradients recorded for them; the numbers are shared until either is changed.
    #[must_use]
    pub fn recorded(&self) -> Self {
        let values = self.values.iter().map(|value| value.clone().autodiff().require_grad()).collect();
        self.with(values)
    }

    /// Copies under the same names that share nothing with these, all numbers 0: where an optimiser keeps its moments.
    #[must_use]
    pub fn zeros(&self) -> Self {
        self.with(self.values.iter().map(Tensor::zeros_like).collect())
    }

    /// A copy that shares no memory with these.
    #[must_use]
    pub fn detached(&self) -> Self {
        let mut copy = self.zeros();
        for (copy, value) in copy.values.iter_mut().zip(&self.values) {
            *copy = copy.clone() + value.clone();
        }
        copy
    }

    /// The numbers of one parameter, row-major in PyTorch's shape.
    ///
    /// # Panics
    /// When there are not so many parameters.
    pub fn read(&self, index: usize) -> Vec<f32> {
        self.values[index].to_data().convert::<f32>().try_into_vec::<f32>().expect("just converted")
    }

    /// Every name with shape and numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Spec, Vec<f32>)> {
        self.specs.iter().enumerate().map(|(index, spec)| (spec, self.read(index)))
    }

    /// Replaces the numbers of the parameter of this name.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] for an unknown name, or another length than the parameter's.
    pub fn write(&mut self, name: &str, data: &[f32]) -> Result<(), ModelError> {
        let fault = |problem: String| ModelError::Parameter { name: name.to_owned(), problem };
        let found = self.specs.iter().position(|spec| spec.name == name);
        let index = found.ok_or_else(|| fault("the model has no such parameter".to_owned()))?;
        let spec = &self.specs[index];
        if data.len() != spec.len() {
            return Err(fault(format!("{:?} holds {} numbers, got {}", spec.shape, spec.len(), data.len())));
        }
        self.values[index] = tensor(data.to_vec(), spec.matrix(), &self.values[index].device());
        Ok(())
    }
}

/// `x` in f32, whatever it was computed in.
pub(crate) fn widened(x: Tensor<2>) -> Tensor<2> {
    if x.dtype() == DType::F32 { x } else { x.cast(FloatDType::F32) }
}
