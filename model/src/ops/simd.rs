//! Inner loops over rows and slices, compiled for the widest vectors the processor has and chosen when the program runs.
//!
//! Loops are written over arrays of [`LANES`] numbers, which compilers turn into vectors. `mul_add` rounds once everywhere, and
//! sums have a fixed order, so that the bits are the same for every width.

use std::sync::LazyLock;

/// Numbers in one AVX-512 vector.
pub(crate) const LANES: usize = 16;

/// This processor's vectors.
pub(crate) static ARCH: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Makes of a function one that is compiled for each width of vectors, together with all that is inlined into it, and runs as the
/// one for this processor.
///
/// What it calls is `inline(always)` or a closure of a line. A function that the compiler leaves on its own is compiled for the
/// vectors that every processor has; even the shim through which a function is passed as an argument is such a one.
macro_rules! kernel {
    ($(#[$about:meta])* fn $name:ident<$life:lifetime>($($arg:ident: $kind:ty),* $(,)?) -> $out:ty $body:block) => {
        $(#[$about])*
        fn $name<$life>($($arg: $kind),*) -> $out {
            struct Run<$life> {
                $($arg: $kind),*
            }
            impl<$life> pulp::WithSimd for Run<$life> {
                type Output = $out;

                #[inline(always)]
                #[allow(clippy::inline_always)]
                fn with_simd<S: pulp::Simd>(self, _: S) -> $out {
                    let Self { $($arg),* } = self;
                    $body
                }
            }
            $crate::ops::simd::ARCH.dispatch(Run { $($arg),* })
        }
    };
}
pub(crate) use kernel;

/// Sum of `term` over pairs of numbers, in lanes.
#[inline(always)]
pub(crate) fn sum2(x: &[f32], y: &[f32], term: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (x_heads, x_tail) = x.as_chunks::<LANES>();
    let (y_heads, y_tail) = y.as_chunks::<LANES>();
    for (x, y) in x_heads.iter().zip(y_heads) {
        for ((sum, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *sum = term(*sum, x, y);
        }
    }
    for ((sum, &x), &y) in lanes.iter_mut().zip(x_tail).zip(y_tail) {
        *sum = term(*sum, x, y);
    }
    fold(lanes)
}

/// Sum of `term` over numbers, in lanes.
#[inline(always)]
pub(crate) fn sum(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    sum2(x, x, |sum, x, _| sum + term(x))
}

/// Dot product.
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    sum2(x, y, |sum, x, y| x.mul_add(y, sum))
}

/// Lanes to one number, halves onto halves.
#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest number; negative infinity of none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (heads, tail) = x.as_chunks::<LANES>();
    for head in heads {
        for (max, &x) in lanes.iter_mut().zip(head) {
            *max = if x > *max { x } else { *max };
        }
    }
    for (max, &x) in lanes.iter_mut().zip(tail) {
        *max = if x > *max { x } else { *max };
    }
    let mut max = f32::NEG_INFINITY;
    for lane in lanes {
        max = if lane > max { lane } else { max };
    }
    max
}

/// e^x to the last place or two; 0 below -87, and never beyond the largest finite number.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2, where the Taylor series needs seven terms; then n goes into the exponent.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const TERMS: [f32; 6] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    let bounded = x.clamp(-87.3, 88.0);
    let n = (bounded * std::f32::consts::LOG2_E).round_ties_even();
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, bounded));
    let mut series = 1.0_f32 / 5040.0;
    for term in TERMS {
        series = series.mul_add(r, term);
    }
    let mantissa = series.mul_add(r, 1.0);
    let power = f32::from_bits((((n as i32) + 127) << 23) as u32);
    let y = mantissa * power;
    // A NaN passes through `clamp` and all that follows; -inf (a masked score) must give 0.
    if x < -87.3 { 0.0 } else { y }
}

/// erf(x) by Abramowitz and Stegun 7.1.26 (error below 1.5e-7), given `e` = exp(-x^2).
#[inline(always)]
pub(crate) fn erf_with(x: f32, e: f32) -> f32 {
    const TERMS: [f32; 4] = [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let t = 1.0 / 0.327_591_1_f32.mul_add(x.abs(), 1.0);
    let mut series = 1.061_405_4_f32;
    for term in TERMS {
        series = series.mul_add(t, term);
    }
    (-series * t).mul_add(e, 1.0).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_of_the_last_place() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2.4e-7, "exp({x})");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::INFINITY).is_finite());
    }

    kernel! {
        fn all<'a>(x: &'a [f32]) -> (f32, f32, f32) {
            (sum(x, |v| v), dot(x, x), max(x))
        }
    }

    #[test]
    fn sums_are_the_same_for_every_vector_width() {
        let x: Vec<f32> = (0..1003).map(|i| ((i * 37) % 101) as f32 * 0.013 - 0.5).collect();
        let (plain, wide) = ((sum(&x, |v| v), dot(&x, &x), max(&x)), all(&x));
        assert_eq!(plain, wide);
        assert!((f64::from(plain.0) - x.iter().map(|&v| f64::from(v)).sum::<f64>()).abs() < 1e-4);
    }
}
