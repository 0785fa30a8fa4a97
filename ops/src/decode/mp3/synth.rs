//! From subband samples to sound: the polyphase filter bank.
//!
//! The cosines of the standard are applied as small matrices: folding a slot once gives the odd outputs from 16
//! numbers, folding it twice the even ones from 8. Outputs are held by their remainder modulo four, which keeps each
//! group together in a vector until the sound is stored. Source: ISO/IEC 11172-3, 3-A.2 and table B.3.

use std::f64::consts::PI;

use super::imdct::Slots;
use super::window::D;

/// Slots of the past that the window reaches back to.
const PAST: usize = 15;
/// Slots windowed together, so that a row of the window is loaded once for all of them.
const TOGETHER: usize = 6;

/// 64 numbers of one slot: for either half of the window, output `4m + q` at `8q + m`.
type Row = [f32; 64];

/// Constants of the filter bank.
#[derive(Debug)]
pub(super) struct Bank {
    /// By folded input, either half of the outputs that are 0 modulo 4, that are 2, and that are 1; those that are 3 are
    /// those that are 1 mirrored.
    fours: [[f32; 16]; 8],
    twos: [[f32; 16]; 8],
    ones: [[f32; 16]; 16],
    /// The window in the order of a [`Row`]: its first half meets even slots of the past, its second odd ones.
    window: [Row; 8],
}

/// What one channel remembers: the numbers of the past slots, and room for those of a granule.
#[derive(Debug)]
pub(super) struct History(Box<[Row; PAST + 18]>);

impl History {
    pub(super) fn new() -> Self {
        Self(Box::new([[0.0; 64]; PAST + 18]))
    }
}

impl Bank {
    pub(super) fn new() -> Self {
        let cosine = |v: usize, input: usize| (PI / 64.0 * ((16 + v) * (2 * input + 1)) as f64).cos() as f32;
        // The number in half `h` of output `4m + q`.
        let v = |h: usize, q: usize, m: usize| 32 * h + 4 * m + q;
        let by_half = |q: usize, lane: usize, input: usize| cosine(v(lane / 8, q, lane % 8), input);
        let tap = |j: usize, lane: usize| D[64 * j + v(lane / 32, lane / 8 % 4, lane % 8)] as f32 / 65_536.0;
        Self {
            fours: std::array::from_fn(|input| std::array::from_fn(|lane| by_half(0, lane, input))),
            twos: std::array::from_fn(|input| std::array::from_fn(|lane| by_half(2, lane, input))),
            ones: std::array::from_fn(|input| std::array::from_fn(|lane| by_half(1, lane, input))),
            window: std::array::from_fn(|j| std::array::from_fn(|lane| tap(j, lane))),
        }
    }

    /// The 576 samples of one granule.
    #[inline(always)]
    pub(super) fn run<const L: usize>(&self, slots: &Slots, history: &mut History, out: &mut [f32; 576]) {
        let rows = &mut history.0;
        for (slots, rows) in slots.as_chunks::<2>().0.iter().zip(rows[PAST..].as_chunks_mut::<2>().0) {
            self.matrix(slots, rows);
        }
        for (i, out) in out.as_chunks_mut::<{ 32 * TOGETHER }>().0.iter_mut().enumerate() {
            if let Some(rows) = rows[TOGETHER * i..].first_chunk() {
                self.window::<L>(rows, out);
            }
        }
        rows.copy_within(18.., 0);
    }

    /// The numbers of two slots.
    #[inline(always)]
    fn matrix(&self, slots: &[[f32; 32]; 2], rows: &mut [Row; 2]) {
        let (mut sums, mut differences) = ([[0.0; 16]; 2], [[0.0; 16]; 2]);
        for (s, slot) in slots.iter().enumerate() {
            for i in 0..16 {
                sums[s][i] = slot[i] + slot[31 - i];
                differences[s][i] = slot[i] - slot[31 - i];
            }
        }
        // Sums of eight terms, side by side: one of sixteen would wait for its own additions.
        let (mut fours, mut twos) = ([[0.0_f32; 16]; 2], [[0.0_f32; 16]; 2]);
        let (mut ones, mut more) = ([[0.0_f32; 16]; 2], [[0.0_f32; 16]; 2]);
        for i in 0..8 {
            for s in 0..2 {
                let (a, b) = (sums[s][i] + sums[s][15 - i], sums[s][i] - sums[s][15 - i]);
                let (c, d) = (differences[s][i], differences[s][8 + i]);
                for l in 0..16 {
                    fours[s][l] += self.fours[i][l] * a;
                    twos[s][l] += self.twos[i][l] * b;
                    ones[s][l] += self.ones[i][l] * c;
                    more[s][l] += self.ones[8 + i][l] * d;
                }
            }
        }
        for s in 0..2 {
            for l in 0..16 {
                ones[s][l] += more[s][l];
            }
        }
        for (s, row) in rows.iter_mut().enumerate() {
            for half in 0..2 {
                let mirror = if half == 0 { -1.0 } else { 1.0 };
                for m in 0..8 {
                    row[32 * half + m] = fours[s][8 * half + m];
                    row[32 * half + 8 + m] = ones[s][8 * half + m];
                    row[32 * half + 16 + m] = twos[s][8 * half + m];
                    row[32 * half + 24 + m] = ones[s][8 * half + 7 - m] * mirror;
                }
            }
        }
    }

    /// The sound of [`TOGETHER`] slots, whose rows are the last.
    #[inline(always)]
    fn window<const L: usize>(&self, rows: &[Row; PAST + TOGETHER], out: &mut [f32; 32 * TOGETHER]) {
        let mut made = [[0.0_f32; 32]; TOGETHER];
        for first in (0..32).step_by(L) {
            let mut sums = [[0.0_f32; L]; TOGETHER];
            for j in 0..8 {
                let taps = &self.window[j];
                for s in 0..TOGETHER {
                    let now = &rows[PAST + s - 2 * j];
                    for l in 0..L {
                        sums[s][l] += now[first + l] * taps[first + l];
                    }
                }
                for s in 0..TOGETHER {
                    let before = &rows[PAST + s - 2 * j - 1];
                    for l in 0..L {
                        sums[s][l] += before[32 + first + l] * taps[32 + first + l];
                    }
                }
            }
            for (made, sums) in made.iter_mut().zip(&sums) {
                made[first..first + L].copy_from_slice(sums);
            }
        }
        for (out, made) in out.as_chunks_mut::<32>().0.iter_mut().zip(&made) {
            for m in 0..8 {
                for q in 0..4 {
                    out[4 * m + q] = made[8 * q + m];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The filter bank as the standard draws it, in double precision.
    fn by_formula(slots: &[[f32; 32]]) -> Vec<f64> {
        let mut v = vec![0.0; 1024];
        let mut out = Vec::new();
        for slot in slots {
            v.copy_within(0..960, 64);
            for (i, v) in v[..64].iter_mut().enumerate() {
                let term = |(k, &s): (usize, &f32)| f64::from(s) * (PI / 64.0 * ((16 + i) * (2 * k + 1)) as f64).cos();
                *v = slot.iter().enumerate().map(term).sum();
            }
            for i in 0..32 {
                let tap = |k: usize| f64::from(D[k]) / 65_536.0;
                let pair = |j: usize| v[128 * j + i] * tap(64 * j + i) + v[128 * j + 96 + i] * tap(64 * j + 32 + i);
                out.push((0..8).map(pair).sum());
            }
        }
        out
    }

    #[test]
    fn follows_the_formula_over_granules() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let slots: Vec<[f32; 32]> = (0..54).map(|_| std::array::from_fn(|_| next())).collect();
        let wanted = by_formula(&slots);
        let bank = Bank::new();
        let (mut eight, mut sixteen) = (History::new(), History::new());
        for (slots, wanted) in slots.chunks_exact(18).zip(wanted.chunks_exact(576)) {
            let slots = slots.first_chunk().unwrap();
            let (mut a, mut b) = ([0.0; 576], [0.0; 576]);
            bank.run::<8>(slots, &mut eight, &mut a);
            bank.run::<16>(slots, &mut sixteen, &mut b);
            assert!(a == b);
            assert!(a.iter().zip(wanted).all(|(a, wanted)| (f64::from(*a) - wanted).abs() < 3e-6));
        }
    }
}
