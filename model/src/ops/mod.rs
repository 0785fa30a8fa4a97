//! Operations of our own for the CPU, with their own backward: where a transformer's time goes beside its matrix products.
//!
//! burn's autodiff unfolds layer norm, attention and GELU into a dozen passes over memory each, and its `Linear` multiplies
//! a batch item by item. Here each is one operation on activations of shape [batch * tokens, width]. Every function runs its
//! kernel when all its tensors are f32 on burn's CPU backend, with or without autodiff, and is composed of burn's own operations
//! ([`composed`]) anywhere else, so that the same model runs on a GPU.

// A loop is compiled for a processor's vectors only where it is inlined into the function that may use them.
#![allow(clippy::inline_always)]

mod attention;
pub mod composed;
mod gelu;
mod layer_norm;
mod linear;
pub(crate) mod matrix;
mod rotate;
pub(crate) mod simd;

use std::cell::Cell;
use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, DispatchDevice, Flex};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};

pub use attention::attention;
pub use gelu::gelu;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use rotate::rotate;

/// An operation with kernels for the CPU, and what it is composed of elsewhere.
trait Operation<const N: usize>: Clone + Debug + Send + 'static {
    /// What forward keeps for backward, beside the inputs.
    type Kept: Clone + Debug + Send + 'static;

    /// The output; `keep` is false where no backward will follow.
    fn forward(&self, inputs: &[FlexTensor; N], keep: bool) -> (FlexTensor, Self::Kept);

    /// Gradients of the inputs that are `wanted`, from the output's.
    fn backward(
        &self,
        inputs: [FlexTensor; N],
        kept: Self::Kept,
        grad: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];

    /// The same by burn's own operations.
    fn composed(&self, inputs: [Tensor<2>; N]) -> Tensor<2>;
}

/// Runs `op` by its kernel where there is one for the inputs' device and type.
fn apply<O: Operation<N>, const N: usize>(op: &O, inputs: [Tensor<2>; N]) -> Tensor<2> {
    if !inputs.iter().all(has_kernels) {
        return op.composed(inputs);
    }
    if inputs.iter().any(Tensor::is_autodiff) {
        return track(op, inputs);
    }
    let inputs = inputs.map(|tensor| dense(tensor.try_into_primitive::<Flex>().expect("checked to be on the CPU")));
    Tensor::from_primitive::<Flex>(op.forward(&inputs, false).0)
}

/// Runs `op` and records its backward.
fn track<O: Operation<N>, const N: usize>(op: &O, inputs: [Tensor<2>; N]) -> Tensor<2> {
    let inputs = inputs
        .map(|tensor| tensor.autodiff().try_into_primitive::<Autodiff<Flex>>().expect("checked to be on the CPU"));
    let nodes = inputs.each_ref().map(FloatTensor::<Autodiff<Flex>>::node);
    let inputs = inputs.map(|tensor| dense(tensor.into_primitive()));
    let output = match Step(op.clone()).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, kept) = op.forward(&inputs, true);
            prepared.finish((inputs, kept), output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(op.forward(&inputs, false).0),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// The backward of an operation as burn's autodiff calls it.
#[derive(Debug)]
struct Step<O>(O);

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Step<O> {
    type State = ([FlexTensor; N], O::Kept);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = dense(grads.consume::<Flex>(&ops.node));
        let (inputs, kept) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(inputs, kept, grad, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(parent.id, grad);
            }
        }
    }
}

/// Whether kernels for this tensor's device and type exist: f32 on the CPU, autodiff without gradient checkpointing.
fn has_kernels(tensor: &Tensor<2>) -> bool {
    use burn::tensor::GradientCheckpointingStrategy::Disabled;
    let recorded = tensor.gradient_checkpointing_strategy().is_none_or(|strategy| strategy == Disabled);
    tensor.dtype() == DType::F32 && recorded && on_cpu(tensor)
}

/// Whether a tensor lies in this process's memory, where kernels and the optimiser can reach it.
pub(crate) fn on_cpu(tensor: &Tensor<2>) -> bool {
    !COMPOSED.get() && is_cpu(&tensor.device().inner())
}

/// Whether a device is the CPU.
pub(crate) fn is_cpu(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` as on a device that has no kernels of ours: every operation, the optimiser and norms composed of burn's own. This is
/// how what a GPU is given can be compared with the kernels where there is no GPU. Holds for this thread.
pub fn without_kernels<T>(work: impl FnOnce() -> T) -> T {
    /// Brings back what was, even when `work` panics.
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            COMPOSED.set(self.0);
        }
    }
    let _back = Back(COMPOSED.replace(true));
    work()
}

/// The tensor with its numbers in order and without gaps.
pub(crate) fn dense(tensor: FlexTensor) -> FlexTensor {
    let whole = tensor.bytes().len() == tensor.layout().num_elements() * size_of::<f32>();
    let ordered = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
    if whole && ordered { tensor } else { tensor.to_contiguous() }
}

/// A CPU tensor of `rows` x `cols` numbers.
fn cpu_tensor(data: Vec<f32>, rows: usize, cols: usize) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(data), Layout::contiguous(Shape::new([rows, cols])), DType::F32)
}

/// Rows and columns.
fn dims(tensor: &FlexTensor) -> [usize; 2] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1]]
}
