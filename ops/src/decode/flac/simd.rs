//! Frames, decoded by code that is compiled for what the processor has and chosen at run time.
//!
//! Both copies are made of the same integer formulas and exact conversions, so the digits do not depend on the processor;
//! what the second gains is shifts by any register, counting of leading zeros in one instruction, and wider vectors.
//! This is the only place of the decoder that says `unsafe`: calling a function that is compiled for instructions the
//! caller is not, which is sound because `Isa::detect` has seen that they are there.

use super::Frame;
use super::bits::Damage;

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
    #[expect(unsafe_code, reason = "a call of a function compiled for instructions that `detect` has found")]
    pub(super) fn run(self, frame: Frame<'_>) -> Result<(), Damage> {
        match self.0 {
            Kind::Portable => frame.run(),
            // SAFETY: only `detect` makes this kind, after it has found what the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2(frame) },
        }
    }

    /// Every kind this processor can run.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut kinds = vec![Self(Kind::Portable)];
        let widest = Self::detect();
        if widest.0 != Kind::Portable {
            kinds.push(widest);
        }
        kinds
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,movbe")]
fn avx2(frame: Frame<'_>) -> Result<(), Damage> {
    frame.run()
}
