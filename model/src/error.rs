//! What can go wrong: a recipe that cannot be built, a batch of another shape, a step that left the finite numbers.

use ajepa_ops::ConfigError;
use thiserror::Error;

/// A fault of the model's config, of a batch, or of a step.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A config that cannot be built, with every fault found in it.
    #[error("{}", list(faults))]
    Config {
        /// Field, problem and help of each fault.
        faults: Vec<ConfigError>,
    },
    /// A batch that does not fit the model or itself.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// Which length.
        what: &'static str,
        /// The length that would fit.
        expected: usize,
        /// The length that came.
        got: usize,
    },
    /// A mask that names a token the picture does not have.
    #[error("token {token} of clip {clip} is not among the picture's {n_tokens} tokens")]
    Token {
        /// The index that is too large.
        token: u32,
        /// Which clip of the batch.
        clip: usize,
        /// Tokens of a picture.
        n_tokens: usize,
    },
    /// A picture with a NaN or an infinity in it.
    #[error("the picture of clip {clip} holds a number that is not finite")]
    Picture {
        /// Which clip of the batch.
        clip: usize,
    },
    /// Loss or gradients are no longer finite; nothing was changed by the step.
    #[error("step {step} diverged: loss {loss}, norm of the gradient {grad_norm}; nothing was changed by it")]
    Diverged {
        /// The step, counted from 0.
        step: u64,
        /// The loss as computed.
        loss: f32,
        /// The gradient's norm as computed.
        grad_norm: f32,
    },
    /// What a device could not compute; asked for when its results are read.
    #[error("the device failed: {problem}")]
    Device {
        /// What it says.
        problem: String,
    },
    /// A parameter that is not there, or is of another shape.
    #[error("parameter {name}: {problem}")]
    Parameter {
        /// Its name, as in PyTorch.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl ModelError {
    /// A fault of the device, without the trace that a driver may add.
    pub(crate) fn device(error: impl std::fmt::Display) -> Self {
        let words = error.to_string();
        let lines = words.lines().map(str::trim).filter(|line| !line.is_empty()).take(3);
        Self::Device { problem: lines.collect::<Vec<_>>().join(" ") }
    }
}

fn list(faults: &[ConfigError]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
