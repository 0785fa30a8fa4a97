//! Small discrete Fourier transforms of whatever stands in the lanes: the pieces of the longer ones.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use crate::simd::Lanes;

/// A complex number in every lane.
pub(crate) type Complex<V> = [V; 2];

/// Powers of `exp(-2 pi i / P)`, as many as any [`Dft`] may ask for.
pub(crate) type Roots = [[f32; 2]; 9];

/// `exp(-2 pi i k / n)`.
pub(crate) fn twiddle(k: usize, n: usize) -> [f32; 2] {
    let angle = -TAU * (k % n) as f64 / n as f64;
    [angle.cos() as f32, angle.sin() as f32]
}

#[inline(always)]
pub(crate) fn add<V: Lanes>(a: Complex<V>, b: Complex<V>) -> Complex<V> {
    [a[0] + b[0], a[1] + b[1]]
}

#[inline(always)]
pub(crate) fn sub<V: Lanes>(a: Complex<V>, b: Complex<V>) -> Complex<V> {
    [a[0] - b[0], a[1] - b[1]]
}

/// a - i b.
#[inline(always)]
pub(crate) fn add_turned<V: Lanes>(a: Complex<V>, b: Complex<V>) -> Complex<V> {
    [a[0] + b[1], a[1] - b[0]]
}

/// a + i b.
#[inline(always)]
pub(crate) fn sub_turned<V: Lanes>(a: Complex<V>, b: Complex<V>) -> Complex<V> {
    [a[0] - b[1], a[1] + b[0]]
}

#[inline(always)]
pub(crate) fn turn<V: Lanes>(w: [f32; 2], a: Complex<V>) -> Complex<V> {
    let (re, im) = (V::splat(w[0]), V::splat(w[1]));
    [a[0].mul_sub(re, a[1] * im), a[1].mul_add(re, a[0] * im)]
}

#[inline(always)]
pub(crate) fn dft4<V: Lanes>([a, b, c, d]: [Complex<V>; 4]) -> [Complex<V>; 4] {
    let (even, odd, even_less, odd_less) = (add(a, c), add(b, d), sub(a, c), sub(b, d));
    [add(even, odd), add_turned(even_less, odd_less), sub(even, odd), sub_turned(even_less, odd_less)]
}

#[inline(always)]
pub(crate) fn dft8<V: Lanes>(x: [Complex<V>; 8]) -> [Complex<V>; 8] {
    let [e0, e2, e4, e6] = dft4([add(x[0], x[4]), add(x[1], x[5]), add(x[2], x[6]), add(x[3], x[7])]);
    let (d0, d1, d2, d3) = (sub(x[0], x[4]), sub(x[1], x[5]), sub(x[2], x[6]), sub(x[3], x[7]));
    // The odd bins: 1 and 5 are d0 - i d2 +- w (d1 - i d3), 3 and 7 d0 + i d2 -+ w* (d1 + i d3), w an eighth of a turn.
    let (even, even_less) = (add_turned(d0, d2), sub_turned(d0, d2));
    let (u, v) = (add_turned(d1, d3), sub_turned(d1, d3));
    let (p, q) = ([u[0] + u[1], u[1] - u[0]], [v[0] - v[1], v[1] + v[0]]);
    let (root, less) = (V::splat(FRAC_1_SQRT_2 as f32), V::splat(-FRAC_1_SQRT_2 as f32));
    let add_scaled = |a: Complex<V>, b: Complex<V>, by: V| [b[0].mul_add(by, a[0]), b[1].mul_add(by, a[1])];
    [
        e0,
        add_scaled(even, p, root),
        e2,
        add_scaled(even_less, q, less),
        e4,
        add_scaled(even, p, less),
        e6,
        add_scaled(even_less, q, root),
    ]
}

/// The transform of `R`, with the powers of `exp(-2 pi i / R)` at hand. A trait rather than a closure: no closure can be told
/// to be inlined, and what is not inlined is not compiled to the vector instructions of its caller.
pub(crate) trait Dft<const R: usize> {
    fn dft<V: Lanes>(&self, x: [Complex<V>; R]) -> [Complex<V>; R];
}

macro_rules! dfts {
    ($($radix:literal: |$x:ident, $roots:ident| $transform:expr;)*) => {$(
        impl Dft<$radix> for Roots {
            #[inline(always)]
            fn dft<V: Lanes>(&self, $x: [Complex<V>; $radix]) -> [Complex<V>; $radix] {
                let $roots = self;
                $transform
            }
        }
    )*};
}

dfts! {
    2: |x, _roots| [add(x[0], x[1]), sub(x[0], x[1])];
    3: |x, roots| dft_prime(x, roots);
    4: |x, _roots| dft4(x);
    5: |x, roots| dft_prime(x, roots);
    7: |x, roots| dft_prime(x, roots);
    8: |x, _roots| dft8(x);
    9: |x, roots| dft9(x, roots);
}

/// Of 3, 5 or 7: terms j and P - j have conjugate roots, so that their sums meet the cosines and their differences the sines.
#[inline(always)]
fn dft_prime<V: Lanes, const P: usize>(x: [Complex<V>; P], roots: &[[f32; 2]]) -> [Complex<V>; P] {
    let mut y = [x[0]; P];
    let (mut sums, mut differences) = (x, x);
    for j in 1..=P / 2 {
        (sums[j], differences[j]) = (add(x[j], x[P - j]), sub(x[j], x[P - j]));
        y[0] = add(y[0], sums[j]);
    }
    for k in 1..=P / 2 {
        let sine = V::splat(roots[k][1]);
        let (mut even, mut odd) = (x[0], [differences[1][0] * sine, differences[1][1] * sine]);
        for j in 1..=P / 2 {
            let (cosine, sine) = (V::splat(roots[j * k % P][0]), V::splat(roots[j * k % P][1]));
            even = [sums[j][0].mul_add(cosine, even[0]), sums[j][1].mul_add(cosine, even[1])];
            if j > 1 {
                odd = [differences[j][0].mul_add(sine, odd[0]), differences[j][1].mul_add(sine, odd[1])];
            }
        }
        (y[k], y[P - k]) = (sub_turned(even, odd), add_turned(even, odd));
    }
    y
}

/// Three of three, turned, and three of those.
#[inline(always)]
fn dft9<V: Lanes>(x: [Complex<V>; 9], roots: &Roots) -> [Complex<V>; 9] {
    let thirds = [roots[0], roots[3], roots[6]];
    let a = dft_prime([x[0], x[3], x[6]], &thirds);
    let b = dft_prime([x[1], x[4], x[7]], &thirds);
    let c = dft_prime([x[2], x[5], x[8]], &thirds);
    let d = dft_prime([a[0], b[0], c[0]], &thirds);
    let e = dft_prime([a[1], turn(roots[1], b[1]), turn(roots[2], c[1])], &thirds);
    let f = dft_prime([a[2], turn(roots[2], b[2]), turn(roots[4], c[2])], &thirds);
    [d[0], e[0], f[0], d[1], e[1], f[1], d[2], e[2], f[2]]
}
