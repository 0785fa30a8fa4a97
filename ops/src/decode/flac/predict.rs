//! The predictors of FLAC: samples from what was left of them. Source: RFC 9639, 9.2.5 and 9.2.6.

/// Taps whose sums are made when a sample is due; those behind them are summed ahead, in lanes.
const NEAR: usize = 4;

/// Adds the fixed predictor of `order`, at most 4, to all samples behind the first `order`.
#[inline(always)]
pub(super) fn fixed(order: usize, out: &mut [i32]) {
    match order {
        1 => sums::<1>(out),
        2 => sums::<2>(out),
        3 => sums::<3>(out),
        4 => sums::<4>(out),
        _ => {}
    }
}

/// What is left are the differences of order `N`: they are summed `N` times.
#[inline(always)]
fn sums<const N: usize>(out: &mut [i32]) {
    let Some((warm, rest)) = out.split_first_chunk_mut::<N>() else { return };
    // The last sample and its differences, by the order of the difference.
    let mut last = [0_i32; N];
    let mut differences = *warm;
    for (order, last) in last.iter_mut().enumerate() {
        *last = differences[N - 1];
        for i in (order + 1..N).rev() {
            differences[i] = differences[i].wrapping_sub(differences[i - 1]);
        }
    }
    for slot in rest {
        for last in last.iter_mut().rev() {
            *last = last.wrapping_add(*slot);
            *slot = *last;
        }
    }
}

/// Adds the prediction to every sample of `width` bits behind the first `order`; the first coefficient is that of the
/// newest sample.
#[inline(always)]
pub(super) fn linear<V: Vectors>(coefficients: &[i32; 32], order: usize, shift: u32, width: u32, out: &mut [i32]) {
    if !fits_32_bits(&coefficients[..order], shift, width, &out[order..]) {
        return wide(&coefficients[..order], shift, out);
    }
    match order {
        1 => near::<1>(coefficients, shift, out),
        2 => near::<2>(coefficients, shift, out),
        3 => near::<3>(coefficients, shift, out),
        4 => near::<4>(coefficients, shift, out),
        5 => near_and_far::<5, V::Four>(coefficients, shift, out),
        6 => near_and_far::<6, V::Four>(coefficients, shift, out),
        7 => near_and_far::<7, V::Four>(coefficients, shift, out),
        8 => near_and_far::<8, V::Four>(coefficients, shift, out),
        9 => near_and_far::<9, V::Eight>(coefficients, shift, out),
        10 => near_and_far::<10, V::Eight>(coefficients, shift, out),
        11 => near_and_far::<11, V::Eight>(coefficients, shift, out),
        12 => near_and_far::<12, V::Eight>(coefficients, shift, out),
        _ => wide(&coefficients[..order], shift, out),
    }
}

/// Whether sums of products fit 32 bits: by the sizes of the factors, or because a sample of `width` bits and the
/// largest of the `residuals` leave a prediction no more room. On the way to a sum, wrapping does no harm.
#[inline(always)]
fn fits_32_bits(coefficients: &[i32], shift: u32, width: u32, residuals: &[i32]) -> bool {
    let sum = coefficients.iter().map(|c| u64::from(c.unsigned_abs())).sum::<u64>();
    if sum << (width - 1) < 1 << 31 {
        return true;
    }
    let size = residuals.iter().fold(0, |size, x| size | (x ^ (x >> 31)));
    let prediction = (1 << (width - 1)) + size as u64 + 2;
    prediction << shift < 1 << 31
}

#[inline(always)]
fn near<const N: usize>(coefficients: &[i32; 32], shift: u32, out: &mut [i32]) {
    let Some((warm, rest)) = out.split_first_chunk_mut::<N>() else { return };
    let mut past: [i32; N] = std::array::from_fn(|j| warm[N - 1 - j]);
    for slot in rest {
        let sum = (0..N).rev().fold(0_i32, |sum, j| sum.wrapping_add(coefficients[j].wrapping_mul(past[j])));
        *slot = slot.wrapping_add(sum >> shift);
        past.copy_within(..N - 1, 1);
        past[0] = *slot;
    }
}

/// Order `N`, at most [`NEAR`] more than there are lanes. A sample is multiplied by all far coefficients at once when it is known, each
/// product added to the sum of the sample it is for; four samples pass before the first of these is due, so that only
/// the near taps wait for each other.
#[inline(always)]
fn near_and_far<const N: usize, L: Lanes>(coefficients: &[i32; 32], shift: u32, out: &mut [i32]) {
    let Some((warm, rest)) = out.split_first_chunk_mut::<N>() else { return };
    let far = std::array::from_fn(|j| if NEAR + j < N { coefficients[NEAR + j] } else { 0 });
    let [c0, c1, c2, c3] = std::array::from_fn(|j| coefficients[j]);
    let mut ahead = Ahead { far: L::new(&far), sums: L::new(&[0; 8]), due: [0; NEAR + 1] };
    for &x in warm.iter() {
        ahead.push(x);
    }
    let [mut x0, mut x1, mut x2, x3] = std::array::from_fn(|j| warm[N - 1 - j]);
    // Of the near taps two are summed a sample ahead. One sum of four products is what compilers make a vector of, whose
    // parts are then added across, on the way that everything waits for.
    let mut old = ahead.due[0].wrapping_add(c3.wrapping_mul(x3)).wrapping_add(c2.wrapping_mul(x2));
    for slot in rest {
        let sum = old.wrapping_add(c1.wrapping_mul(x1)).wrapping_add(c0.wrapping_mul(x0));
        let x = slot.wrapping_add(sum >> shift);
        *slot = x;
        old = ahead.due[1].wrapping_add(c3.wrapping_mul(x2)).wrapping_add(c2.wrapping_mul(x1));
        (x0, x1, x2) = (x, x0, x1);
        ahead.push(x);
    }
}

/// What the samples so far give, by the far taps, to those that are to come.
struct Ahead<L> {
    far: L,
    /// To those from the fifth after the newest on.
    sums: L,
    /// To the five after the newest, who get no more.
    due: [i32; NEAR + 1],
}

impl<L: Lanes> Ahead<L> {
    #[inline(always)]
    fn push(&mut self, x: i32) {
        self.sums = self.sums.push(self.far, x);
        let [_, a, b, c, d] = self.due;
        self.due = [a, b, c, d, self.sums.first()];
    }
}

/// Sums in the lanes of a vector, that of the next sample first.
pub(super) trait Lanes: Copy {
    /// The first of `values`, as many as there are lanes.
    fn new(values: &[i32; 8]) -> Self;
    /// The sums moved up by one, and `x` times its coefficient added to each.
    fn push(self, coefficients: Self, x: i32) -> Self;
    fn first(self) -> i32;
}

/// The vectors of one set of instructions.
pub(super) trait Vectors {
    type Four: Lanes;
    type Eight: Lanes;
}

/// Arrays.
pub(super) struct Portable;

impl Vectors for Portable {
    type Four = [i32; 4];
    type Eight = [i32; 8];
}

impl<const N: usize> Lanes for [i32; N] {
    #[inline(always)]
    fn new(values: &[i32; 8]) -> Self {
        std::array::from_fn(|i| values[i])
    }

    #[inline(always)]
    fn push(self, coefficients: Self, x: i32) -> Self {
        let mut sums = [0; N];
        sums[..N - 1].copy_from_slice(&self[1..]);
        for (sum, coefficient) in sums.iter_mut().zip(coefficients) {
            *sum = coefficient.wrapping_mul(x).wrapping_add(*sum);
        }
        sums
    }

    #[inline(always)]
    fn first(self) -> i32 {
        self[0]
    }
}

/// Any order in 64 bits.
#[inline(always)]
fn wide(coefficients: &[i32], shift: u32, out: &mut [i32]) {
    // A loop whose length the compiler knows is much faster; encoders stop at 12.
    match coefficients.len() {
        0..=4 => padded::<4>(coefficients, shift, out),
        5..=8 => padded::<8>(coefficients, shift, out),
        9..=12 => padded::<12>(coefficients, shift, out),
        _ => padded::<32>(coefficients, shift, out),
    }
}

#[inline(never)]
fn padded<const N: usize>(coefficients: &[i32], shift: u32, out: &mut [i32]) {
    let order = coefficients.len();
    let mut all = [0_i64; N];
    all.iter_mut().zip(coefficients).for_each(|(all, &c)| *all = i64::from(c));
    // The first samples have fewer than N before them.
    for i in order..N.min(out.len()) {
        let sum = (0..order).fold(0_i64, |sum, j| sum.wrapping_add(all[j].wrapping_mul(i64::from(out[i - 1 - j]))));
        out[i] = out[i].wrapping_add((sum >> shift) as i32);
    }
    for i in N..out.len() {
        let (past, rest) = out.split_at_mut(i);
        let (Some(past), Some(next)) = (past.last_chunk::<N>(), rest.first_mut()) else { return };
        let sum = (0..N).rev().fold(0_i64, |sum, j| sum.wrapping_add(all[j].wrapping_mul(i64::from(past[N - 1 - j]))));
        *next = next.wrapping_add((sum >> shift) as i32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::flac::simd::Isa;

    fn samples() -> Vec<i32> {
        (0..200).map(|i: i32| (i * i * 7919 + i * 13) % 2000 - 1000).collect()
    }

    #[test]
    fn fixed_predictors_undo_differences() {
        let samples = samples();
        for order in 0..=4 {
            let mut left = samples.clone();
            for _ in 0..order {
                for i in (1..left.len()).rev() {
                    left[i] -= left[i - 1];
                }
            }
            left[..order].copy_from_slice(&samples[..order]);
            fixed(order, &mut left);
            assert_eq!(left, samples, "{order}");
        }
    }

    #[test]
    fn every_order_gives_back_what_it_was_made_from() {
        let samples = samples();
        let coefficients: [i32; 32] = std::array::from_fn(|j| (j as i32 * 37) % 101 - 50);
        for order in 1..=32 {
            let mut left = samples.clone();
            for i in order..left.len() {
                let sum: i32 = (0..order).map(|j| coefficients[j] * samples[i - 1 - j]).sum();
                left[i] -= sum >> 5;
            }
            let residuals = left.clone();
            for width in [11, 32] {
                left.copy_from_slice(&residuals);
                linear::<Portable>(&coefficients, order, 5, width, &mut left);
                assert_eq!(left, samples, "{order} {width}");
                left.copy_from_slice(&residuals);
                Isa::detect().linear(&coefficients, order, 5, width, &mut left);
                assert_eq!(left, samples, "{order} {width}, vectors");
            }
            let mut short = residuals[..=order].to_vec();
            linear::<Portable>(&coefficients, order, 5, 32, &mut short);
            assert_eq!(short, samples[..=order], "{order}");
        }
    }

    #[test]
    fn sums_fit_where_the_samples_show_it() {
        assert!(fits_32_bits(&[1 << 14, 1 << 13], 13, 17, &[1000, -1000]));
        assert!(!fits_32_bits(&[1 << 14, 1 << 13], 13, 24, &[0]));
        assert!(!fits_32_bits(&[1 << 14, 1 << 14], 13, 17, &[1 << 18]));
        assert!(!fits_32_bits(&[1 << 14, 1 << 14], 13, 17, &[i32::MIN]));
    }
}
