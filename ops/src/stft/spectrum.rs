//! From rows of samples to rows of powers: by lanes where the length is a power of two, frame by frame where it is not.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use super::fft::LaneFft;
use crate::simd::{Buffer, Lanes};

/// A planned transform of either kind.
#[derive(Clone)]
pub(super) enum Spectrum {
    PowerOfTwo(LaneFft),
    AnyEven(FrameFft),
}

/// Any even length, one frame after the other.
#[derive(Clone)]
pub(super) struct FrameFft {
    fft: Arc<dyn RealToComplex<f32>>,
    frame: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
    slots: Vec<u32>,
}

impl Spectrum {
    pub fn new(n_fft: usize) -> Self {
        if n_fft.is_power_of_two() {
            return Self::PowerOfTwo(LaneFft::new(n_fft));
        }
        let fft = RealFftPlanner::new().plan_fft_forward(n_fft);
        Self::AnyEven(FrameFft {
            frame: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            slots: (0..=n_fft as u32 / 2).collect(),
            fft,
        })
    }

    /// The row in which [`Spectrum::powers`] leaves the power of each bin, from 0 Hz to Nyquist.
    pub fn slots(&self) -> &[u32] {
        match self {
            Self::PowerOfTwo(fft) => fft.slots(),
            Self::AnyEven(fft) => &fft.slots,
        }
    }

    /// `|rfft|^2` of the first `n_frames` lanes, in its slots. What was in `rows` is lost.
    #[inline(always)]
    pub fn powers<V: Lanes>(&mut self, rows: &mut Buffer, n_frames: usize) {
        match self {
            Self::PowerOfTwo(fft) => fft.powers(rows.rows::<V>()),
            Self::AnyEven(fft) => {
                for lane in 0..n_frames {
                    fft.lane(rows.flat(), V::N, lane);
                }
            }
        }
    }
}

impl FrameFft {
    /// Reads one lane and writes its powers back, from the first row on.
    fn lane(&mut self, rows: &mut [f32], n_lanes: usize, lane: usize) {
        let mut column = rows[lane..].iter().step_by(n_lanes);
        let half = self.frame.len() / 2;
        let (first, second) = self.frame.split_at_mut(half);
        // The second half lies between the first.
        for (a, b) in first.iter_mut().zip(second) {
            (*a, *b) = (column.next().map_or(0.0, |x| *x), column.next().map_or(0.0, |x| *x));
        }
        // Fails only for buffers of another length than it made itself.
        let done = self.fft.process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch);
        debug_assert!(done.is_ok());
        let column = rows[lane..].iter_mut().step_by(n_lanes);
        column.zip(&self.spectrum).for_each(|(row, z)| *row = z.re * z.re + z.im * z.im);
    }
}
