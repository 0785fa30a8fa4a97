//! The transforms, compiled for what the processor has and chosen at run time.
//!
//! All copies are made of the same scalar formulas in the same order, without fused multiplication, so the digits do
//! not depend on the processor. This is the only place of the decoder that says `unsafe`: calling a function that is
//! compiled for instructions the caller is not, which is sound because `Isa::detect` has seen that they are there.

use super::imdct::{Imdct, Shape, Slots};
use super::layout::Spectrum;
use super::synth::{Bank, History};

/// The instructions in use; wider ones only where this module has found them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// One piece of work.
pub(super) enum Work<'a> {
    Imdct { imdct: &'a Imdct, lines: &'a mut Spectrum, shape: Shape, overlap: &'a mut Slots, out: &'a mut Slots },
    Bank { bank: &'a Bank, slots: &'a Slots, history: &'a mut History, out: &'a mut [f32; 576] },
}

impl Work<'_> {
    #[inline(always)]
    fn run<const L: usize>(self) {
        match self {
            Self::Imdct { imdct, lines, shape, overlap, out } => imdct.run::<L>(lines, shape, overlap, out),
            Self::Bank { bank, slots, history, out } => bank.run::<L>(slots, history, out),
        }
    }
}

impl Isa {
    /// The widest instructions of this processor.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                return Self(Kind::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                return Self(Kind::Avx2);
            }
        }
        Self(Kind::Portable)
    }

    /// Does the work.
    #[expect(unsafe_code, reason = "calls of functions compiled for instructions that `detect` has found")]
    pub(super) fn run(self, work: Work<'_>) {
        match self.0 {
            Kind::Portable => work.run::<8>(),
            // SAFETY: only `detect` makes this kind, after it has found AVX2.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2(work) },
            // SAFETY: only `detect` makes this kind, after it has found AVX-512 F, VL and DQ.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512(work) },
        }
    }

    /// Every kind this processor can run.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let kinds = [
            Some(Kind::Portable),
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx2").then_some(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            (Self::detect().0 == Kind::Avx512).then_some(Kind::Avx512),
        ];
        kinds.into_iter().flatten().map(Self).collect()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(work: Work<'_>) {
    work.run::<8>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq")]
fn avx512(work: Work<'_>) {
    work.run::<16>();
}
