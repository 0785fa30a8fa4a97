//! Overlap-save block by block on [`realfft`], for lengths with large primes in them.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// The transforms of one pair of rates and the filter between them.
pub(super) struct SingleFilter {
    n_in: usize,
    n_out: usize,
    response: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

/// What [`SingleFilter::convert`] writes into.
pub(super) struct SingleBuffers {
    input: Vec<f32>,
    spectrum: Vec<Complex32>,
    output: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl SingleFilter {
    /// `response` is the gain of bins 0 to half of the shorter transform.
    pub fn new(n_in: usize, n_out: usize, response: Vec<f32>) -> Self {
        let mut planner = RealFftPlanner::<f32>::new();
        let (forward, inverse) = (planner.plan_fft_forward(n_in), planner.plan_fft_inverse(n_out));
        Self { n_in, n_out, response, forward, inverse }
    }

    pub fn buffers(&self) -> SingleBuffers {
        let scratch_len = self.forward.get_scratch_len().max(self.inverse.get_scratch_len());
        SingleBuffers {
            input: vec![0.0; self.n_in],
            spectrum: vec![Complex32::default(); self.n_in.max(self.n_out) / 2 + 1],
            output: vec![0.0; self.n_out],
            scratch: vec![Complex32::default(); scratch_len],
        }
    }

    /// Converts the window in `window`; returns its `n_out` frames, the circular wrap among them.
    pub fn convert<'a>(&self, window: &[f32], buffers: &'a mut SingleBuffers) -> &'a [f32] {
        let SingleBuffers { input, spectrum, output, scratch } = buffers;
        input.copy_from_slice(window);
        let scratch_len = self.forward.get_scratch_len();
        self.forward
            .process_with_scratch(input, &mut spectrum[..=self.n_in / 2], &mut scratch[..scratch_len])
            .expect("buffers come from this plan");
        for (bin, &gain) in spectrum.iter_mut().zip(&self.response) {
            *bin *= gain;
        }
        spectrum[self.response.len()..].fill(Complex32::default());
        // Products of real numbers stay real; the inverse transform asks for +0, not -0 or a rounding.
        spectrum[0].im = 0.0;
        let scratch_len = self.inverse.get_scratch_len();
        self.inverse
            .process_with_scratch(&mut spectrum[..=self.n_out / 2], output, &mut scratch[..scratch_len])
            .expect("buffers come from this plan");
        output
    }
}
