//! Complex transforms of any length that is a product of 2, 3, 5 and 7, one to a lane, in place.
//!
//! There and back without putting bins in order: decimation in frequency leaves bin k at [`MixedFft::place`] of k, and
//! decimation in time takes it from the same place. Both finish their parts one by one, so that these stay in the first
//! cache. There is no inverse: the forward transform of a number with its parts exchanged is the inverse with its parts
//! exchanged, and whoever moves the bins in between can exchange them for nothing.

use crate::butterfly::{Complex, Dft, Roots, turn, twiddle};
use crate::simd::Lanes;

/// Radices from the one that is tried first, with what a pass costs for each row: arithmetic, twiddles, loads and stores.
const RADICES: [(usize, f64); 7] = [(9, 17.0), (8, 14.0), (7, 16.5), (5, 14.0), (4, 11.0), (3, 11.0), (2, 9.0)];

/// The plan for one length; the memory is the caller's.
pub(super) struct MixedFft {
    /// From the whole transform to the shortest parts, which need no twiddles.
    stages: Vec<Stage>,
    len: usize,
}

/// One pass of butterflies over parts of `len`.
struct Stage {
    len: usize,
    radix: usize,
    /// `radix - 1` twiddles for each of `len / radix` butterflies.
    twiddles: Vec<[f32; 2]>,
    roots: Roots,
}

/// The passes for `len`, or `None` where another prime divides it.
fn radices(len: usize) -> Option<Vec<usize>> {
    let (mut found, mut left) = (Vec::new(), len);
    for (radix, _) in RADICES {
        while left.is_multiple_of(radix) {
            // 16 is better split evenly.
            if radix == 8 && left.trailing_zeros() == 4 {
                break;
            }
            found.push(radix);
            left /= radix;
        }
    }
    (left == 1 && len > 1).then_some(found)
}

/// Relative cost of a row of a transform of `len`; `None` where there is no such transform.
pub(super) fn cost_of_row(len: usize) -> Option<f64> {
    let cost_of = |radix: usize| RADICES.iter().find(|known| known.0 == radix).map_or(0.0, |known| known.1);
    Some(radices(len)?.into_iter().map(cost_of).sum())
}

/// Where [`MixedFft::forward`] puts its results. A trait for the reason that [`Dft`] is one.
pub(super) trait Take<V> {
    fn take(&mut self, place: usize, x: Complex<V>);
}

/// Does `$pass` with the radix of a stage.
macro_rules! by_radix {
    ($stage:expr, $pass:ident($($argument:expr),*)) => {{
        let stage: &Stage = $stage;
        match stage.radix {
            2 => $pass::<V, 2>(stage, $($argument),*),
            3 => $pass::<V, 3>(stage, $($argument),*),
            4 => $pass::<V, 4>(stage, $($argument),*),
            5 => $pass::<V, 5>(stage, $($argument),*),
            7 => $pass::<V, 7>(stage, $($argument),*),
            8 => $pass::<V, 8>(stage, $($argument),*),
            _ => $pass::<V, 9>(stage, $($argument),*),
        }
    }};
}

impl MixedFft {
    /// `None` where a prime beyond 7 divides `len`.
    pub fn new(len: usize) -> Option<Self> {
        let mut left = len;
        let stages = radices(len)?.into_iter().map(|radix| {
            let part = left;
            left /= radix;
            let twiddles = (0..left).flat_map(|j| (1..radix).map(move |q| twiddle(j * q, part))).collect();
            Stage { len: part, radix, twiddles, roots: std::array::from_fn(|k| twiddle(k, radix)) }
        });
        Some(Self { stages: stages.collect(), len })
    }

    /// Where bin `bin` lies after [`MixedFft::forward`] and before [`MixedFft::backward`].
    pub fn place(&self, mut bin: usize) -> usize {
        let mut place = 0;
        for stage in &self.stages {
            place += bin % stage.radix * (stage.len / stage.radix);
            bin /= stage.radix;
        }
        place
    }

    /// Length of the parts that are taken through the last two passes together.
    fn part_len(&self) -> usize {
        self.stages[self.stages.len().saturating_sub(2)].len
    }

    /// Transforms the `len` rows; hands each result to `taker` with its place. What is left in `z` means nothing.
    #[inline(always)]
    pub fn forward<V: Lanes>(&self, z: &mut [Complex<V>], taker: &mut impl Take<V>) {
        let (leaf, passes) = self.stages.split_last().expect("a transform has a pass");
        let part_len = self.part_len();
        for start in (0..self.len).step_by(part_len) {
            for stage in passes {
                if start.is_multiple_of(stage.len) {
                    let part = &mut z[start..start + stage.len];
                    by_radix!(stage, turn_after(part));
                }
            }
            let part = &z[start..start + part_len];
            by_radix!(leaf, give_leaves(part, start, taker));
        }
    }

    /// Transforms rows that lie in their places; the results come in order.
    #[inline(always)]
    pub fn backward<V: Lanes>(&self, z: &mut [Complex<V>]) {
        let (leaf, passes) = self.stages.split_last().expect("a transform has a pass");
        let part_len = self.part_len();
        for end in (part_len..=self.len).step_by(part_len) {
            let part = &mut z[end - part_len..end];
            by_radix!(leaf, leaves(part));
            for stage in passes.iter().rev() {
                if end.is_multiple_of(stage.len) {
                    let part = &mut z[end - stage.len..end];
                    by_radix!(stage, turn_before(part));
                }
            }
        }
    }
}

/// A pass of decimation in frequency.
#[inline(always)]
fn turn_after<V: Lanes, const R: usize>(stage: &Stage, z: &mut [Complex<V>])
where
    Roots: Dft<R>,
{
    let n = z.len() / R;
    for (j, w) in stage.twiddles.chunks_exact(R - 1).enumerate() {
        let mut x = [z[j]; R];
        for q in 1..R {
            x[q] = z[j + q * n];
        }
        let y = stage.roots.dft(x);
        z[j] = y[0];
        for q in 1..R {
            z[j + q * n] = turn(w[q - 1], y[q]);
        }
    }
}

/// A pass of decimation in time.
#[inline(always)]
fn turn_before<V: Lanes, const R: usize>(stage: &Stage, z: &mut [Complex<V>])
where
    Roots: Dft<R>,
{
    let n = z.len() / R;
    for (j, w) in stage.twiddles.chunks_exact(R - 1).enumerate() {
        let mut x = [z[j]; R];
        for q in 1..R {
            x[q] = turn(w[q - 1], z[j + q * n]);
        }
        let y = stage.roots.dft(x);
        for q in 0..R {
            z[j + q * n] = y[q];
        }
    }
}

#[inline(always)]
fn leaves<V: Lanes, const R: usize>(stage: &Stage, z: &mut [Complex<V>])
where
    Roots: Dft<R>,
{
    for x in z.as_chunks_mut::<R>().0 {
        *x = stage.roots.dft(*x);
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "indices are unrolled for certain and keep the results in registers")]
fn give_leaves<V: Lanes, const R: usize>(stage: &Stage, z: &[Complex<V>], start: usize, taker: &mut impl Take<V>)
where
    Roots: Dft<R>,
{
    for (i, x) in z.as_chunks::<R>().0.iter().enumerate() {
        let y = stage.roots.dft(*x);
        for q in 0..R {
            taker.take(start + i * R + q, y[q]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Buffer, Instructions, Kernel};

    impl<V: Lanes> Take<V> for &mut [Complex<V>] {
        #[inline(always)]
        fn take(&mut self, place: usize, x: Complex<V>) {
            self[place] = x;
        }
    }

    struct There<'a>(&'a MixedFft, &'a mut Buffer, &'a mut Buffer);

    impl Kernel for There<'_> {
        type Output = usize;

        #[inline(always)]
        fn run<V: Lanes>(self) -> usize {
            let (input, mut output) =
                (self.1.rows::<V>().as_chunks_mut::<2>().0, self.2.rows::<V>().as_chunks_mut::<2>().0);
            self.0.forward(input, &mut output);
            V::N
        }
    }

    struct Back<'a>(&'a MixedFft, &'a mut Buffer);

    impl Kernel for Back<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes>(self) {
            let rows = self.1.rows::<V>().as_chunks_mut::<2>().0;
            for x in rows.iter_mut() {
                x.reverse();
            }
            self.0.backward(rows);
            for x in rows.iter_mut() {
                x.reverse();
            }
        }
    }

    fn sample(i: usize) -> f32 {
        ((i * i * 31 + i) % 103) as f32 / 103.0 - 0.5
    }

    #[test]
    fn every_radix_against_the_definition_there_and_back() {
        for set in Instructions::available() {
            for n in [2, 3, 4, 5, 7, 8, 9, 16, 35, 63, 144, 441, 480, 1260] {
                let fft = MixedFft::new(n).unwrap();
                let (mut input, mut output) = (Buffer::new(2 * n), Buffer::new(2 * n));
                input.flat().iter_mut().enumerate().for_each(|(i, x)| *x = sample(i));
                let given = input.flat().to_vec();
                let lanes = set.run(There(&fft, &mut input, &mut output));
                let at = |row: usize, part: usize| (2 * row + part) * lanes + lanes - 1;
                for k in (0..n).step_by((n / 16).max(1)) {
                    let (mut re, mut im) = (0.0, 0.0);
                    for i in 0..n {
                        let (a, b) = (f64::from(given[at(i, 0)]), f64::from(given[at(i, 1)]));
                        let (sin, cos) = (-std::f64::consts::TAU * (i * k % n) as f64 / n as f64).sin_cos();
                        (re, im) = (re + a * cos - b * sin, im + a * sin + b * cos);
                    }
                    let got = [0, 1].map(|part| f64::from(output.flat()[at(fft.place(k), part)]));
                    assert!((got[0] - re).hypot(got[1] - im) < 1e-6 * n as f64, "{} {n} {k}", set.name());
                }
                set.run(Back(&fft, &mut output));
                for (i, &want) in given.iter().enumerate().take(2 * n * lanes) {
                    let got = output.flat()[i] / n as f32;
                    assert!((got - want).abs() < 1e-6, "{} {n} {i}: {got} {want}", set.name());
                }
            }
        }
    }

    #[test]
    fn other_primes_have_none() {
        assert!(MixedFft::new(11 * 16).is_none() && cost_of_row(2469).is_none() && MixedFft::new(1).is_none());
    }
}
