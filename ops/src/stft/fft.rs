//! Power spectra of real frames, one frame to a lane, in place.
//!
//! Decimation in frequency: the sums of a frame's two halves are a real frame of half the length and hold its even bins,
//! down to one sample. The differences hold the odd ones; folded once more, as `(b[j] - i b[j + n/4]) exp(-2 pi i j / n)`,
//! they are a complex transform of a quarter of the length, whose bin m is bin `4 m + 1` of the frame, or the conjugate of
//! the one opposite. Each power thus comes out of one complex transform and no pass takes spectra apart: that would cost
//! time, and rounding would leak each loud bin into the one mirrored at half Nyquist.
//!
//! The complex transforms, radix 8 and 4, finish their parts one by one so that they stay in the first cache. Results are
//! permuted and stay so: [`LaneFft::slots`] says where each power lies.

use crate::butterfly::{Complex, add, dft4, dft8, sub, turn, twiddle};
use crate::simd::Lanes;

/// The plan for one power of two; the memory is the caller's.
#[derive(Debug, Clone)]
pub(super) struct LaneFft {
    levels: Vec<Level>,
    slots: Vec<u32>,
}

/// One halving of the real frame: `twiddles.len()` is a quarter of its length.
#[derive(Debug, Clone)]
struct Level {
    twiddles: Vec<[f32; 2]>,
    odd: ComplexFft,
}

/// A complex transform that ends in powers.
#[derive(Debug, Clone)]
struct ComplexFft {
    stages: Vec<Stage>,
    /// Length of the transforms that need no twiddles, at the end.
    leaf_len: usize,
}

/// One pass of butterflies over subtransforms of `len`.
#[derive(Debug, Clone)]
struct Stage {
    len: usize,
    radix: usize,
    /// `radix - 1` twiddles for each of `len / radix` butterflies.
    twiddles: Vec<[f32; 2]>,
}

impl LaneFft {
    /// For `n_fft` real samples, a power of two from 2.
    pub fn new(n_fft: usize) -> Self {
        let (mut levels, mut slots, mut len) = (Vec::new(), vec![0; n_fft / 2 + 1], n_fft);
        while len >= 4 {
            let (stages, leaf_len) = stages(len / 4);
            let radices: Vec<usize> = stages.iter().map(|stage| stage.radix).chain([leaf_len]).collect();
            for (m, place) in places(len / 4, &radices).into_iter().enumerate() {
                let bin = (4 * m + 1) * (n_fft / len);
                slots[bin.min(n_fft - bin)] = (len / 2 + 2 * place) as u32;
            }
            let twiddles = (0..len / 4).map(|j| twiddle(j, len)).collect();
            levels.push(Level { twiddles, odd: ComplexFft { stages, leaf_len } });
            len /= 2;
        }
        slots[n_fft / 2] = 1;
        Self { levels, slots }
    }

    /// The row in which [`LaneFft::powers`] leaves the power of each bin, from 0 Hz to Nyquist.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// `|rfft|^2` of `n_fft` rows of samples, each in its [slot](LaneFft::slots). Sample i comes in row `2 i`, or, from the
    /// middle on, in `2 i + 1 - n_fft`: what is added lies side by side, and so do the parts of a complex number.
    #[inline(always)]
    pub fn powers<V: Lanes>(&self, rows: &mut [V]) {
        let (pairs, _) = rows.as_chunks_mut::<2>();
        for level in &self.levels {
            let n = level.twiddles.len();
            let (sums, rest) = pairs.split_at_mut(n);
            let odd = &mut rest[..n];
            for ((a, b), w) in sums.iter_mut().zip(odd.iter_mut()).zip(&level.twiddles) {
                let (x, y) = (a[0] - a[1], b[1] - b[0]);
                *a = [a[0] + a[1], b[0] + b[1]];
                *b = turn(*w, [x, y]);
            }
            level.odd.powers(odd);
        }
        let (dc, nyquist) = (pairs[0][0] + pairs[0][1], pairs[0][0] - pairs[0][1]);
        pairs[0] = [dc * dc, nyquist * nyquist];
    }
}

impl ComplexFft {
    /// Depth first: a subtransform is begun when the run of leaves arrives at it. Powers replace the real parts.
    #[inline(always)]
    fn powers<V: Lanes>(&self, z: &mut [Complex<V>]) {
        for start in (0..z.len()).step_by(self.leaf_len) {
            for stage in &self.stages {
                if start % stage.len == 0 {
                    let part = &mut z[start..start + stage.len];
                    if stage.radix == 8 { pass8(part, &stage.twiddles) } else { pass4(part, &stage.twiddles) }
                }
            }
            leaf_powers(&mut z[start..start + self.leaf_len]);
        }
    }
}

/// Radix 8 as far as it goes, after as many passes of radix 4 as make it come out even.
fn stages(len: usize) -> (Vec<Stage>, usize) {
    let mut stages = Vec::new();
    let mut left = len;
    while left > 8 {
        let radix = if left.ilog2().is_multiple_of(3) { 8 } else { 4 };
        let twiddles = (0..left / radix).flat_map(|j| (1..radix).map(move |q| twiddle(j * q, left))).collect();
        stages.push(Stage { len: left, radix, twiddles });
        left /= radix;
    }
    (stages, left)
}

/// Where each bin lies after decimation in frequency by `radices`.
fn places(len: usize, radices: &[usize]) -> Vec<usize> {
    let Some((&radix, rest)) = radices.split_first() else {
        return vec![0; len];
    };
    let inner = places(len / radix, rest);
    (0..len).map(|bin| bin % radix * (len / radix) + inner[bin / radix]).collect()
}

#[inline(always)]
fn norm<V: Lanes>(a: Complex<V>) -> V {
    a[0].mul_add(a[0], a[1] * a[1])
}

#[inline(always)]
fn pass4<V: Lanes>(z: &mut [Complex<V>], twiddles: &[[f32; 2]]) {
    let n = z.len() / 4;
    for (j, w) in twiddles.as_chunks::<3>().0[..n].iter().enumerate() {
        let y = dft4(std::array::from_fn(|q| z[j + q * n]));
        z[j] = y[0];
        for q in 1..4 {
            z[j + q * n] = turn(w[q - 1], y[q]);
        }
    }
}

#[inline(always)]
fn pass8<V: Lanes>(z: &mut [Complex<V>], twiddles: &[[f32; 2]]) {
    let n = z.len() / 8;
    for (j, w) in twiddles.as_chunks::<7>().0[..n].iter().enumerate() {
        let y = dft8(std::array::from_fn(|q| z[j + q * n]));
        z[j] = y[0];
        for q in 1..8 {
            z[j + q * n] = turn(w[q - 1], y[q]);
        }
    }
}

#[inline(always)]
fn leaf_powers<V: Lanes>(z: &mut [Complex<V>]) {
    if let Some(z) = z.as_mut_array::<8>() {
        let y = dft8(*z);
        for k in 0..8 {
            z[k][0] = norm(y[k]);
        }
    } else if let Some(z) = z.as_mut_array::<4>() {
        let y = dft4(*z);
        for k in 0..4 {
            z[k][0] = norm(y[k]);
        }
    } else if let Some(z) = z.as_mut_array::<2>() {
        (z[0][0], z[1][0]) = (norm(add(z[0], z[1])), norm(sub(z[0], z[1])));
    } else if let Some(z) = z.first_mut() {
        z[0] = norm(*z);
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::simd::{Buffer, Instructions, Kernel};

    struct Run<'a>(&'a LaneFft, &'a mut Buffer);

    impl Kernel for Run<'_> {
        type Output = usize;

        #[inline(always)]
        fn run<V: Lanes>(self) -> usize {
            self.0.powers(self.1.rows::<V>());
            V::N
        }
    }

    /// Writes the samples of every lane, in the order that the transform asks for.
    struct Fill<'a>(&'a mut Buffer, usize);

    impl Kernel for Fill<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Lanes>(self) {
            for (at, x) in self.0.flat().iter_mut().enumerate() {
                let (row, half) = (at / V::N, self.1 / 2);
                *x = sample(row / 2 + row % 2 * half, at % V::N);
            }
        }
    }

    fn sample(i: usize, lane: usize) -> f32 {
        ((i * i * 31 + lane * 17 + i) % 103) as f32 / 103.0 - 0.5
    }

    /// The power of bin k, by the definition.
    fn slow(n: usize, k: usize, lane: usize) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for i in 0..n {
            let angle = TAU * (i * k % n) as f64 / n as f64;
            re += f64::from(sample(i, lane)) * angle.cos();
            im += f64::from(sample(i, lane)) * angle.sin();
        }
        re * re + im * im
    }

    #[test]
    fn every_power_of_two_against_the_definition_on_every_path() {
        for set in Instructions::available() {
            for n in (1..=12).map(|p| 1_usize << p) {
                let fft = LaneFft::new(n);
                let mut buffer = Buffer::new(n);
                set.run(Fill(&mut buffer, n));
                let lanes = set.run(Run(&fft, &mut buffer));
                for k in (0..=n / 2).step_by((n / 32).max(1)) {
                    for lane in [0, lanes - 1] {
                        let got = f64::from(buffer.flat()[fft.slots()[k] as usize * lanes + lane]);
                        let want = slow(n, k, lane);
                        assert!((got - want).abs() < 1e-5 * (n as f64 + want), "{} {n} {k}: {got} {want}", set.name());
                    }
                }
            }
        }
    }
}
