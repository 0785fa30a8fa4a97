//! What a block size needs: the inverse transform and the window.

use std::f64::consts::PI;
use std::sync::OnceLock;

use super::super::imdct::{Imdct, Work};

/// Exponents of block sizes that the specification allows.
const EXPONENTS: std::ops::RangeInclusive<u32> = 6..=13;

/// Made once for the whole program.
pub(super) struct Plan {
    imdct: Imdct,
    /// The rising half of the window.
    pub(super) slope: Vec<f32>,
}

impl Plan {
    /// The plan of blocks of `1 << exponent` samples, which is one of [`EXPONENTS`].
    pub(super) fn of(exponent: u32) -> Option<&'static Self> {
        static PLANS: [OnceLock<Plan>; 14] = [const { OnceLock::new() }; 14];
        EXPONENTS.contains(&exponent).then(|| PLANS[exponent as usize].get_or_init(|| Self::new(1 << (exponent - 1))))
    }

    /// For spectra of `n` lines.
    fn new(n: usize) -> Self {
        let slope = |i: usize| (PI / 2.0 * ((i as f64 + 0.5) / n as f64 * PI / 2.0).sin().powi(2)).sin() as f32;
        Self { imdct: Imdct::new(n), slope: (0..n).map(slope).collect() }
    }

    /// Lines of the spectrum: half the block size.
    pub(super) fn n(&self) -> usize {
        self.slope.len()
    }

    /// Transforms `spectrum` (n lines) to the first half of the block's samples and the second, not windowed.
    pub(super) fn transform(&self, spectrum: &[f32], work: &mut Work, first: &mut [f32], second: &mut [f32]) {
        self.imdct.transform(spectrum, work, first, second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_allowed() {
        assert!(EXPONENTS.clone().all(|exponent| Plan::of(exponent).is_some_and(|plan| 2 * plan.n() == 1 << exponent)));
        assert!(Plan::of(5).is_none() && Plan::of(14).is_none());
    }

    #[test]
    fn slopes_are_power_complementary() {
        let slope = &Plan::of(11).unwrap().slope;
        assert!(slope.iter().zip(slope.iter().rev()).all(|(a, b)| (a * a + b * b - 1.0).abs() < 1e-6));
    }
}
