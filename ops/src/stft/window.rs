//! Window functions, by their textbook formulas.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a frame is multiplied with before its FFT.
///
/// `x = i / (n - 1)` for the symmetric windows, `i / n` for the periodic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// `0.5 - 0.5 cos(2 pi x)`, symmetric: zero at both ends.
    #[default]
    Hann,
    /// The same with period `n`: what `torch.hann_window` gives by default.
    HannPeriodic,
    /// `0.54 - 0.46 cos(2 pi x)`, symmetric.
    Hamming,
    /// Kaldi's own: the symmetric Hann window to the power 0.85.
    Povey,
    /// `0.42 - 0.5 cos(2 pi x) + 0.08 cos(4 pi x)`, symmetric.
    Blackman,
    /// All ones.
    Rectangular,
}

impl Window {
    /// The `len` coefficients in f64. A window of one sample is 1.
    pub fn coefficients(self, len: usize) -> Vec<f64> {
        if len == 1 {
            return vec![1.0];
        }
        let period = if self == Self::HannPeriodic { len } else { len.saturating_sub(1) } as f64;
        (0..len).map(|i| self.at(i as f64 / period)).collect()
    }

    fn at(self, x: f64) -> f64 {
        let hann = 0.5 - 0.5 * (2.0 * PI * x).cos();
        match self {
            Self::Hann | Self::HannPeriodic => hann,
            Self::Hamming => 0.54 - 0.46 * (2.0 * PI * x).cos(),
            // Rounding may leave the last sample a hair below zero, where a power is not defined.
            Self::Povey => hann.max(0.0).powf(0.85),
            Self::Blackman => 0.42 - 0.5 * (2.0 * PI * x).cos() + 0.08 * (4.0 * PI * x).cos(),
            Self::Rectangular => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn five_samples_by_hand() {
        assert!(close(&Window::Hann.coefficients(5), &[0.0, 0.5, 1.0, 0.5, 0.0]));
        assert!(close(&Window::HannPeriodic.coefficients(4), &[0.0, 0.5, 1.0, 0.5]));
        assert!(close(&Window::Hamming.coefficients(3), &[0.08, 1.0, 0.08]));
        assert!(close(&Window::Blackman.coefficients(3), &[0.0, 1.0, 0.0]));
        assert!(close(&Window::Povey.coefficients(5), &[0.0, 0.5_f64.powf(0.85), 1.0, 0.5_f64.powf(0.85), 0.0]));
        assert!(close(&Window::Rectangular.coefficients(2), &[1.0, 1.0]));
        assert!(close(&Window::Hann.coefficients(1), &[1.0]));
    }
}
