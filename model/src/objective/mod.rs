//! What is predicted, how far off a prediction is, and what keeps latents from all becoming the same.
//!
//! | part | choices |
//! |---|---|
//! | [`TargetConfig`] | latents of a moving average of the encoder (last layer, or the mean of the last K; standardised or not); frozen random-projection codes |
//! | [`LossConfig`] | mean squared error, smooth L1, cosine, cross-entropy over codes |
//! | [`RegulariserConfig`] | none, variance and covariance, SIGReg |

mod codes;
mod loss;
mod regulariser;
mod target;

pub use codes::{CodeBook, CodesConfig};
pub use loss::LossConfig;
pub use regulariser::{Regularised, RegulariserConfig, Sigreg, VarianceCovariance, sigreg, variance_covariance};
pub use target::{LatentTarget, TargetConfig, Targets, standardize};
