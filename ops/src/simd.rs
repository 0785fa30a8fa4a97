//! Frames side by side in the lanes of vector registers: the widest registers that the processor has, chosen at run time.
//!
//! Kernels are written once, over `Lanes`. Each lane holds a frame of its own and no operation mixes lanes, multiplies and
//! leaves the order of additions open; a product is rounded before it is added, or (in `Lanes::mul_add`) nowhere. Digits are therefore the same for every width, whatever
//! frames stand side by side, and on every processor.
//!
//! # Why this module may be unsafe
//! * *Instructions the processor may lack.* The vector types are private; generic code meets them only inside
//!   `Instructions::run`, and an [`Instructions`] is only made after `is_x86_feature_detected!` has seen them.
//! * *Loads and stores* take slices, whose length is checked first.
//! * *`Buffer::rows`* shows aligned memory as vectors: every type in question is plain f32, any bits are a value, and no
//!   vector is larger or more strictly aligned than a line of the buffer.
#![allow(
    unsafe_code,
    reason = "vector instructions behind a check; the module's documentation says why they are sound"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;
use std::ops::{Add, Mul, Sub};

/// The most lanes that any vector has.
pub(crate) const MAX_LANES: usize = 16;

/// Which vector instructions a kernel uses. All give the same digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Instructions {
    /// All that this machine has, the widest first. The last is the portable one: what the compiler makes of arrays of four.
    pub fn available() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma")).then_some(Self(Set::Avx512)),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(Set::Avx2)),
            Some(Self(Set::Portable)),
        ]
        .into_iter()
        .flatten()
    }

    /// The widest that this machine has.
    pub fn widest() -> Self {
        Self::available().next().unwrap_or(Self(Set::Portable))
    }

    /// `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            Set::Portable => "portable",
        }
    }

    /// Runs `kernel` over the vectors of this set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: the processor has the instructions: see `available`, the only place that makes this value.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { in_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { in_avx2(kernel) },
            Set::Portable => kernel.run::<F32x4>(),
        }
    }
}

/// Work written over any number of lanes. `run` and all it calls must be `#[inline(always)]`: only what ends up inside the
/// functions below is compiled to the instructions they enable.
pub(crate) trait Kernel {
    type Output;
    fn run<V: Lanes>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn in_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<F32x16>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn in_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<F32x8>()
}

/// A vector of f32.
///
/// # Safety
/// The type is [`Lanes::N`] f32 and nothing else, for which any bits are a value; it is at most [`MAX_LANES`] long, and its
/// alignment at most its size.
pub(crate) unsafe trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    const N: usize;
    fn splat(x: f32) -> Self;
    /// `self * factor + term` in one rounding. Where a processor has no such instruction (x86-64 before 2013) it is done in
    /// software: the same digits, fifty times the time.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `self * factor - term` in one rounding.
    fn mul_sub(self, factor: Self, term: Self) -> Self;
    /// The first [`Lanes::N`] of `from`, which has at least as many.
    fn load(from: &[f32]) -> Self;
    /// Into the first [`Lanes::N`] of `to`, which has at least as many.
    fn store(self, to: &mut [f32]);
}

#[cfg(target_arch = "x86_64")]
macro_rules! x86_lanes {
    (
        $name:ident, $register:ident, $n:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident,
        $mul:ident, $mul_add:ident, $mul_sub:ident
    ) => {
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        struct $name(x86::$register);

        // SAFETY: a register of that many f32. The instructions are there: values of the type exist only under `run`.
        unsafe impl Lanes for $name {
            const N: usize = $n;

            #[inline(always)]
            fn splat(x: f32) -> Self {
                // SAFETY: see the `impl`.
                Self(unsafe { x86::$splat(x) })
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, term: Self) -> Self {
                // SAFETY: see the `impl`.
                Self(unsafe { x86::$mul_add(self.0, factor.0, term.0) })
            }

            #[inline(always)]
            fn mul_sub(self, factor: Self, term: Self) -> Self {
                // SAFETY: see the `impl`.
                Self(unsafe { x86::$mul_sub(self.0, factor.0, term.0) })
            }

            #[inline(always)]
            fn load(from: &[f32]) -> Self {
                let from: &[f32] = &from[..$n];
                // SAFETY: see the `impl`; the slice is long enough, and the load needs no alignment.
                Self(unsafe { x86::$load(from.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, to: &mut [f32]) {
                let to: &mut [f32] = &mut to[..$n];
                // SAFETY: see the `impl`; the slice is long enough, and the store needs no alignment.
                unsafe { x86::$store(to.as_mut_ptr(), self.0) }
            }
        }

        x86_lanes!(@operator $name, Add, add, $add);
        x86_lanes!(@operator $name, Sub, sub, $sub);
        x86_lanes!(@operator $name, Mul, mul, $mul);
    };
    (@operator $name:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $name {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: values of the type exist only where the processor has the instructions.
                Self(unsafe { x86::$intrinsic(self.0, other.0) })
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
x86_lanes!(
    F32x16, __m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps,
    _mm512_fmadd_ps, _mm512_fmsub_ps
);
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
x86_lanes!(
    F32x8, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps,
    _mm256_fmadd_ps, _mm256_fmsub_ps
);

/// Four f32 in an array, which compilers keep in one SSE2 or NEON register.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct F32x4([f32; 4]);

// SAFETY: it is what it says.
unsafe impl Lanes for F32x4 {
    const N: usize = 4;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let (a, b, c) = (self.0, factor.0, term.0);
        Self(std::array::from_fn(|i| a[i].mul_add(b[i], c[i])))
    }

    #[inline(always)]
    fn mul_sub(self, factor: Self, term: Self) -> Self {
        let (a, b, c) = (self.0, factor.0, term.0);
        Self(std::array::from_fn(|i| a[i].mul_add(b[i], -c[i])))
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        Self([from[0], from[1], from[2], from[3]])
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self.0);
    }
}

macro_rules! array_operator {
    ($trait:ident, $method:ident, $op:tt) => {
        impl $trait for F32x4 {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let (a, b) = (self.0, other.0);
                Self([a[0] $op b[0], a[1] $op b[1], a[2] $op b[2], a[3] $op b[3]])
            }
        }
    };
}

array_operator!(Add, add, +);
array_operator!(Sub, sub, -);
array_operator!(Mul, mul, *);

/// Rows of lanes in memory, aligned for the widest vector; enough of it for [`MAX_LANES`] lanes, whatever is used.
#[derive(Clone)]
pub(crate) struct Buffer(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; MAX_LANES]);

impl Buffer {
    /// `n_rows` of zeros.
    pub fn new(n_rows: usize) -> Self {
        Self(vec![Line([0.0; MAX_LANES]); n_rows])
    }

    /// The rows as vectors, packed to the front of the memory.
    #[inline(always)]
    pub fn rows<V: Lanes>(&mut self) -> &mut [V] {
        // SAFETY: as many vectors as there are lines, each no larger and no more strictly aligned than a line; any bits are
        // a value (see `Lanes`); the borrow of `self` is handed on.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len()) }
    }

    /// The same memory number by number: row r of n lanes begins at `r * n`.
    #[inline(always)]
    pub fn flat(&mut self) -> &mut [f32] {
        // SAFETY: a line is that many f32 without padding.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * MAX_LANES) }
    }
}

/// Four rows of four as four columns of four.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn transpose4(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    // SAFETY: both are sixteen f32, of which any bits are a value; every x86-64 has SSE.
    unsafe {
        let [a, b, c, d] = std::mem::transmute::<[[f32; 4]; 4], [x86::__m128; 4]>(rows);
        let (ab_low, ab_high) = (x86::_mm_unpacklo_ps(a, b), x86::_mm_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (x86::_mm_unpacklo_ps(c, d), x86::_mm_unpackhi_ps(c, d));
        std::mem::transmute::<[x86::__m128; 4], [[f32; 4]; 4]>([
            x86::_mm_movelh_ps(ab_low, cd_low),
            x86::_mm_movehl_ps(cd_low, ab_low),
            x86::_mm_movelh_ps(ab_high, cd_high),
            x86::_mm_movehl_ps(cd_high, ab_high),
        ])
    }
}

/// Four rows of four as four columns of four.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn transpose4(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    std::array::from_fn(|j| std::array::from_fn(|i| rows[i][j]))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a mut Buffer);

    impl Kernel for Sum<'_> {
        type Output = (usize, f32);

        #[inline(always)]
        fn run<V: Lanes>(self) -> (usize, f32) {
            self.0.flat().iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
            let rows = self.0.rows::<V>();
            rows[0] = rows[1] * V::splat(2.0) - rows[2] + rows[3];
            (V::N, self.0.flat()[1])
        }
    }

    #[test]
    fn every_set_counts_its_own_lanes() {
        assert!(Instructions::available().any(|set| set.name() == "portable"));
        for set in Instructions::available() {
            let (n, got) = set.run(Sum(&mut Buffer::new(4)));
            let n_f32 = n as f32;
            assert_eq!(got, 2.0 * (n_f32 + 1.0) - (2.0 * n_f32 + 1.0) + (3.0 * n_f32 + 1.0), "{}", set.name());
        }
    }

    #[test]
    fn transposing_four_by_four() {
        let rows: [[f32; 4]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| (10 * i + j) as f32));
        let columns = transpose4(rows);
        assert!((0..4).all(|i| (0..4).all(|j| columns[j][i] == rows[i][j])));
    }
}
