//! Frames, decoded by code that is compiled for what the processor has and chosen at run time.
//!
//! Both copies are made of the same integer formulas and exact conversions, so the digits do not depend on the processor;
//! what the second gains is shifts by any register, counting of leading zeros in one instruction, and wider vectors.
//! This is the only place of the decoder that says `unsafe`: a function is called that is compiled for instructions the
//! caller is not, and vector instructions are used in what is inlined there. Both are sound because `Isa::detect` has seen
//! that they are there, and values of the vector types are made nowhere but under it. No pointer is followed.
#![allow(
    unsafe_code,
    reason = "vector instructions behind a check; the module's documentation says why they are sound"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

use super::Frame;
use super::bits::Damage;
#[cfg(test)]
use super::predict;
use super::predict::Portable;
#[cfg(target_arch = "x86_64")]
use super::predict::{Lanes, Vectors};

/// The instructions in use; wider ones only where this module has found them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// The widest instructions of this processor.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("movbe")
        {
            return Self(Kind::Avx2);
        }
        Self(Kind::Portable)
    }

    /// Decodes the frame.
    pub(super) fn run(self, frame: Frame<'_>) -> Result<(), Damage> {
        match self.0 {
            Kind::Portable => frame.run::<Portable>(),
            // SAFETY: only `detect` makes this kind, after it has found what the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2(frame) },
        }
    }

    /// One predictor: see [`predict::linear`].
    #[cfg(test)]
    pub(super) fn linear(self, coefficients: &[i32; 32], order: usize, shift: u32, width: u32, out: &mut [i32]) {
        match self.0 {
            Kind::Portable => predict::linear::<Portable>(coefficients, order, shift, width, out),
            // SAFETY: as in `run`; the vectors need no more.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => predict::linear::<Registers>(coefficients, order, shift, width, out),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,movbe")]
fn avx2(frame: Frame<'_>) -> Result<(), Damage> {
    frame.run::<Registers>()
}

/// Registers of four, as what is beyond four moves from one to the other in a single instruction.
#[cfg(target_arch = "x86_64")]
struct Registers;

#[cfg(target_arch = "x86_64")]
impl Vectors for Registers {
    type Four = One;
    type Eight = Two;
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct One(x86::__m128i);

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Two(x86::__m128i, x86::__m128i);

#[cfg(target_arch = "x86_64")]
impl Lanes for One {
    #[inline(always)]
    fn new(v: &[i32; 8]) -> Self {
        // SAFETY: see the module.
        Self(unsafe { x86::_mm_setr_epi32(v[0], v[1], v[2], v[3]) })
    }

    #[inline(always)]
    fn push(self, coefficients: Self, x: i32) -> Self {
        // SAFETY: see the module.
        unsafe {
            let products = x86::_mm_mullo_epi32(coefficients.0, x86::_mm_set1_epi32(x));
            Self(x86::_mm_add_epi32(x86::_mm_srli_si128::<4>(self.0), products))
        }
    }

    #[inline(always)]
    fn first(self) -> i32 {
        // SAFETY: see the module.
        unsafe { x86::_mm_cvtsi128_si32(self.0) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for Two {
    #[inline(always)]
    fn new(v: &[i32; 8]) -> Self {
        // SAFETY: see the module.
        unsafe { Self(x86::_mm_setr_epi32(v[0], v[1], v[2], v[3]), x86::_mm_setr_epi32(v[4], v[5], v[6], v[7])) }
    }

    #[inline(always)]
    fn push(self, coefficients: Self, x: i32) -> Self {
        // SAFETY: see the module.
        unsafe {
            let x = x86::_mm_set1_epi32(x);
            let (near, far) = (x86::_mm_mullo_epi32(coefficients.0, x), x86::_mm_mullo_epi32(coefficients.1, x));
            Self(
                x86::_mm_add_epi32(x86::_mm_alignr_epi8::<4>(self.1, self.0), near),
                x86::_mm_add_epi32(x86::_mm_srli_si128::<4>(self.1), far),
            )
        }
    }

    #[inline(always)]
    fn first(self) -> i32 {
        // SAFETY: see the module.
        unsafe { x86::_mm_cvtsi128_si32(self.0) }
    }
}
