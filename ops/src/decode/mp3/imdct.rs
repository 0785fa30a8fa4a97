//! From lines to subband samples: alias reduction, inverse MDCT, windows, overlap.
//!
//! Every loop runs over subbands side by side, `L` at a time, so that the compiler makes vector code of scalar
//! formulas, each subband being one lane. The 18-point DCT-IV behind the 36-point transform goes through DCT-II of 9
//! points: `2 cos(a) x` turns a DCT-IV into sums of neighbours of a DCT-II. Source: ISO/IEC 11172-3, 2.4.3.4.10.

use std::f64::consts::PI;

use super::header::Block;
use super::layout::{STRIDE, Spectrum};

/// Subband samples of one granule: 18 slots of 32 subbands.
pub(super) type Slots = [[f32; 32]; 18];
/// One window, 36 samples by 32 subbands: odd samples of odd subbands are negated, which undoes the inversion of
/// frequencies in the filter bank.
type Window = [[f32; 32]; 36];

/// Constants of the transforms.
#[derive(Debug)]
pub(super) struct Imdct {
    /// Long, start, stop; then start and stop of mixed blocks, where the two lowest subbands are long.
    windows: Vec<Window>,
    /// The first of `windows` for subband 0 alone, and the window of a short block.
    long: [f32; 36],
    short: [f32; 12],
    /// Cosines of the alias butterflies and of the 6-point DCT-IV.
    alias: [(f32, f32); 8],
    dct6: [[f32; 6]; 6],
}

/// How a granule of one channel is transformed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) block: Block,
    pub(super) mixed: bool,
    /// Subbands that may hold something, from the lowest on.
    pub(super) n_subbands: usize,
}

fn sine(i: usize, n: usize) -> f64 {
    (PI / n as f64 * (i as f64 + 0.5)).sin()
}

fn window(block: Block, i: usize) -> f64 {
    match (block, i) {
        (Block::Start, 18..24) | (Block::Stop, 12..18) => 1.0,
        (Block::Start, 24..30) => sine(i - 18, 12),
        (Block::Stop, 6..12) => sine(i - 6, 12),
        (Block::Start, 30..) | (Block::Stop, 0..6) => 0.0,
        _ => sine(i, 36),
    }
}

fn sign(row: usize, subband: usize) -> f32 {
    if row % 2 == 1 && subband % 2 == 1 { -1.0 } else { 1.0 }
}

impl Imdct {
    pub(super) fn new() -> Self {
        let mut windows = vec![[[0.0; 32]; 36]; 5];
        let blocks = [Block::Long, Block::Start, Block::Stop, Block::Start, Block::Stop];
        for (k, (rows, block)) in windows.iter_mut().zip(blocks).enumerate() {
            for (i, row) in rows.iter_mut().enumerate() {
                for (subband, w) in row.iter_mut().enumerate() {
                    let block = if k >= 3 && subband < 2 { Block::Long } else { block };
                    *w = window(block, i) as f32 * sign(i % 18, subband);
                }
            }
        }
        let alias = [-0.6, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037_f64].map(|c| {
            let length = c.hypot(1.0);
            ((1.0 / length) as f32, (c / length) as f32)
        });
        let dct6 = |n: usize, k: usize| (PI / 24.0 * ((2 * n + 1) * (2 * k + 1)) as f64).cos() as f32;
        Self {
            windows,
            long: std::array::from_fn(|i| window(Block::Long, i) as f32),
            short: std::array::from_fn(|i| sine(i, 12) as f32),
            alias,
            dct6: std::array::from_fn(|n| std::array::from_fn(|k| dct6(n, k))),
        }
    }

    /// Transforms one granule: `out` becomes its subband samples, `overlap` what it leaves to the next.
    #[inline(always)]
    pub(super) fn run<const L: usize>(&self, x: &mut Spectrum, shape: Shape, overlap: &mut Slots, out: &mut Slots) {
        let mut n_subbands = shape.n_subbands;
        match (shape.block, shape.mixed) {
            (Block::Short, false) => {}
            (Block::Short, true) => self.reduce_alias(x, 1),
            _ => {
                self.reduce_alias(x, n_subbands.min(31));
                n_subbands = if n_subbands == 0 { 0 } else { (n_subbands + 1).min(32) };
            }
        }
        let lanes = n_subbands.next_multiple_of(L);
        for first in (0..lanes).step_by(L) {
            if shape.block == Block::Short {
                let lowest: [[f32; 2]; 18] = std::array::from_fn(|row| [overlap[row][0], overlap[row][1]]);
                self.short_blocks::<L>(x, first, overlap, out);
                if shape.mixed && first == 0 {
                    self.lowest_two(x, &lowest, overlap, out);
                }
            } else {
                let window = match (shape.block, shape.mixed) {
                    (Block::Start, false) => 1,
                    (Block::Stop, false) => 2,
                    (Block::Start, true) => 3,
                    (Block::Stop, true) => 4,
                    _ => 0,
                };
                long_blocks::<L>(x, &self.windows[window], first, overlap, out);
            }
        }
        for (out, overlap) in out.iter_mut().zip(overlap) {
            out[lanes..].copy_from_slice(&overlap[lanes..]);
            overlap[lanes..].fill(0.0);
        }
    }

    /// The butterflies over the lowest `n` borders between subbands.
    #[inline(always)]
    fn reduce_alias(&self, x: &mut Spectrum, n: usize) {
        for (i, &(cs, ca)) in self.alias.iter().enumerate() {
            let (low, high) = x.split_at_mut((17 - i) * STRIDE);
            let above = &mut low[i * STRIDE + 1..][..n];
            for (a, b) in high[..n].iter_mut().zip(above) {
                (*a, *b) = (*a * cs - *b * ca, *b * cs + *a * ca);
            }
        }
    }

    #[inline(always)]
    fn short_blocks<const L: usize>(&self, x: &Spectrum, first: usize, overlap: &mut Slots, out: &mut Slots) {
        let mut z = [[0.0_f32; L]; 36];
        for w in 0..3 {
            for n in 0..6 {
                let mut sum = [0.0_f32; L];
                for k in 0..6 {
                    let row: &[f32; L] = lanes(&x[(3 * k + w) * STRIDE + first..]);
                    let c = self.dct6[n][k];
                    for l in 0..L {
                        sum[l] += c * row[l];
                    }
                }
                // Sample n of the DCT-IV is these two of the transform's twelve.
                let at = if n < 3 { [(8 - n, -1.0), (n + 9, -1.0)] } else { [(n - 3, 1.0), (8 - n, -1.0)] };
                for (i, sign) in at {
                    let c = self.short[i] * sign;
                    for l in 0..L {
                        z[6 + 6 * w + i][l] += c * sum[l];
                    }
                }
            }
        }
        for row in 0..18 {
            for l in 0..L {
                let sign = sign(row, l);
                out[row][first + l] = overlap[row][first + l] + z[row][l] * sign;
                overlap[row][first + l] = z[18 + row][l] * sign;
            }
        }
    }

    /// The long part of a mixed block, in place of what was made of it as a short one.
    #[inline(always)]
    fn lowest_two(&self, x: &Spectrum, before: &[[f32; 2]; 18], overlap: &mut Slots, out: &mut Slots) {
        for subband in 0..2 {
            let c = dct4_18(&std::array::from_fn(|k| [x[k * STRIDE + subband]]));
            for row in 0..18 {
                let (a, b) = unfold(row);
                let a = if row < 9 { c[a][0] } else { -c[a][0] };
                out[row][subband] = before[row][subband] + a * self.long[row] * sign(row, subband);
                overlap[row][subband] = -c[b][0] * self.long[18 + row] * sign(row, subband);
            }
        }
    }
}

/// The first `L` floats.
#[inline(always)]
fn lanes<const L: usize>(floats: &[f32]) -> &[f32; L] {
    floats.first_chunk().unwrap_or(&[0.0; L])
}

/// A few rows of `L` lanes.
type Rows<const L: usize, const N: usize> = [[f32; L]; N];

/// An array of a function of its index, written out: a loop here would become vector code along the wrong axis.
macro_rules! list {
    (9, $f:expr) => {
        list!(@ $f, 0 1 2 3 4 5 6 7 8)
    };
    (18, $f:expr) => {
        list!(@ $f, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17)
    };
    (@ $f:expr, $($k:literal)*) => {
        [$($f($k)),*]
    };
}

#[inline(always)]
fn long_blocks<const L: usize>(x: &Spectrum, window: &Window, first: usize, overlap: &mut Slots, out: &mut Slots) {
    let c = dct4_18::<L>(&std::array::from_fn(|k| *lanes(&x[k * STRIDE + first..])));
    for row in 0..18 {
        let (a, b) = unfold(row);
        let now: &[f32; L] = lanes(&window[row][first..]);
        let later: &[f32; L] = lanes(&window[18 + row][first..]);
        let overlap = &mut overlap[row][first..first + L];
        let out = &mut out[row][first..first + L];
        let sign = if row < 9 { 1.0 } else { -1.0 };
        for l in 0..L {
            out[l] = overlap[l] + c[a][l] * (now[l] * sign);
            overlap[l] = -c[b][l] * later[l];
        }
    }
}

/// Which numbers of the DCT-IV are the samples `row` and `18 + row` of the 36 it stands for. The first is negated from
/// row 9 on, the second always.
#[inline(always)]
fn unfold(row: usize) -> (usize, usize) {
    if row < 9 { (row + 9, 8 - row) } else { (26 - row, row - 9) }
}

/// `y[n] = sum x[k] cos(pi / 72 (2n + 1) (2k + 1))`, lane by lane.
#[inline(always)]
fn dct4_18<const L: usize>(x: &Rows<L, 18>) -> Rows<L, 18> {
    // 2 cos(pi / 72 (2k + 1)).
    const C: [f32; 18] = [
        1.998_096_443_163_715_6,
        1.982_889_722_747_620_8,
        1.952_592_014_239_866_7,
        1.907_433_901_496_453_9,
        1.847_759_065_022_573_5,
        1.774_021_666_356_443_4,
        1.686_782_891_625_771_4,
        1.586_706_680_582_470_6,
        1.474_554_673_620_247_9,
        1.351_180_415_231_320_7,
        1.217_522_858_017_441_3,
        1.074_599_216_693_647_8,
        0.923_497_226_470_067_7,
        0.765_366_864_730_179_7,
        0.601_411_599_008_546_1,
        0.432_879_227_876_205_8,
        0.261_052_384_440_103_0,
        0.087_238_774_730_672_0,
    ];
    // 2 cos(pi / 36 (2k + 1)).
    const C9: [f32; 9] = [
        1.992_389_396_183_491_1,
        1.931_851_652_578_136_6,
        1.812_615_574_073_299_9,
        1.638_304_088_577_983_6,
        std::f32::consts::SQRT_2,
        1.147_152_872_702_092_1,
        0.845_236_523_481_398_9,
        0.517_638_090_205_041_5,
        0.174_311_485_495_316_3,
    ];
    let mut y = [[0.0; L]; 18];
    for l in 0..L {
        let x: [f32; 18] = list!(18, |k: usize| x[k][l] * C[k]);
        let even = dct2_9(list!(9, |k: usize| x[k] + x[17 - k]));
        let odd = dct2_9(list!(9, |k: usize| (x[k] - x[17 - k]) * C9[k]));
        // Each DCT-IV from its DCT-II: the first is halved, the others take off the one before.
        let mut of_odd = odd[0] * 0.5;
        let mut last = even[0] * 0.5;
        y[0][l] = last;
        last = of_odd - last;
        y[1][l] = last;
        let mut step = |m: usize| {
            of_odd = odd[m] - of_odd;
            last = even[m] - last;
            y[2 * m][l] = last;
            last = of_odd - last;
            y[2 * m + 1][l] = last;
        };
        let _: [(); 8] = list!(@ step, 1 2 3 4 5 6 7 8);
    }
    y
}

/// `y[m] = sum x[k] cos(pi / 18 m (2k + 1))`.
#[inline(always)]
fn dct2_9(x: [f32; 9]) -> [f32; 9] {
    // cos(pi / 18 i).
    const C1: f32 = 0.984_807_753_012_208;
    const C2: f32 = 0.939_692_620_785_908_4;
    const C3: f32 = 0.866_025_403_784_438_6;
    const C4: f32 = 0.766_044_443_118_978;
    const C5: f32 = 0.642_787_609_686_539_3;
    const C7: f32 = 0.342_020_143_325_668_7;
    const C8: f32 = 0.173_648_177_666_930_33;
    let (a0, b0) = (x[0] + x[8], x[0] - x[8]);
    let (a1, b1) = (x[1] + x[7], x[1] - x[7]);
    let (a2, b2) = (x[2] + x[6], x[2] - x[6]);
    let (a3, b3) = (x[3] + x[5], x[3] - x[5]);
    let a4 = x[4];
    let low = 0.5 * a1 - a4;
    let side = a0 + a2 + a3;
    let middle = b1 * C3;
    [
        side + a1 + a4,
        b0 * C1 + middle + b2 * C5 + b3 * C7,
        a0 * C2 - a2 * C8 - a3 * C4 + low,
        (b0 - b2 - b3) * C3,
        a0 * C4 - a2 * C2 + a3 * C8 - low,
        b0 * C5 - middle - b2 * C7 + b3 * C1,
        0.5 * side - a1 - a4,
        b0 * C7 - middle + b2 * C1 - b3 * C5,
        a0 * C8 + a2 * C4 - a3 * C2 - low,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::layout::LEN;
    use super::*;

    fn noise(seed: u32) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        }
    }

    /// The 36 windowed samples of one subband by the formula of the standard.
    fn by_formula(x: &[f64; 18], block: Block) -> [f64; 36] {
        let transform = |x: &[f64], i: usize| {
            let n = 2 * x.len();
            let term = |k: usize| (PI / (2 * n) as f64 * ((2 * i + 1 + n / 2) * (2 * k + 1)) as f64).cos();
            x.iter().enumerate().map(|(k, x)| x * term(k)).sum::<f64>()
        };
        if block != Block::Short {
            return std::array::from_fn(|i| transform(x, i) * window(block, i));
        }
        let mut z = [0.0; 36];
        for w in 0..3 {
            let lines: [f64; 6] = std::array::from_fn(|k| x[3 * k + w]);
            (0..12).for_each(|i| z[6 + 6 * w + i] += transform(&lines, i) * sine(i, 12));
        }
        z
    }

    fn check<const L: usize>(block: Block, mixed: bool) {
        let imdct = Imdct::new();
        let (mut next, mut x) = (noise(7), [0.0; LEN]);
        (0..18 * STRIDE).filter(|i| i % STRIDE < 32).for_each(|i| x[i] = next());
        let mut overlap: Slots = std::array::from_fn(|_| std::array::from_fn(|_| next()));
        let before = overlap;
        // What the butterflies make of it, in place, by the formula.
        let mut wanted: Vec<[f64; 18]> =
            (0..32).map(|sb| std::array::from_fn(|k| f64::from(x[k * STRIDE + sb]))).collect();
        let is_long = |sb: usize| block != Block::Short || mixed && sb < 2;
        for sb in (0..31).filter(|&sb| is_long(sb + 1)) {
            for (i, &(cs, ca)) in imdct.alias.iter().enumerate() {
                let (a, b) = (wanted[sb][17 - i], wanted[sb + 1][i]);
                wanted[sb][17 - i] = a * f64::from(cs) - b * f64::from(ca);
                wanted[sb + 1][i] = b * f64::from(cs) + a * f64::from(ca);
            }
        }
        let mut out = [[0.0; 32]; 18];
        imdct.run::<L>(&mut x, Shape { block, mixed, n_subbands: 32 }, &mut overlap, &mut out);
        for (sb, lines) in wanted.iter().enumerate() {
            let block = if mixed && sb < 2 { Block::Long } else { block };
            let z = by_formula(lines, block);
            for row in 0..18 {
                let sign = f64::from(sign(row, sb));
                let now = f64::from(before[row][sb]) + z[row] * sign;
                assert!((f64::from(out[row][sb]) - now).abs() < 1e-5, "{block:?} {mixed} {sb} {row}");
                assert!(
                    (f64::from(overlap[row][sb]) - z[18 + row] * sign).abs() < 1e-5,
                    "{block:?} {mixed} {sb} {row}"
                );
            }
        }
    }

    #[test]
    fn all_blocks_follow_the_formula() {
        for block in [Block::Long, Block::Start, Block::Short, Block::Stop] {
            for mixed in [false, true] {
                check::<8>(block, mixed);
                check::<16>(block, mixed);
            }
        }
    }

    #[test]
    fn empty_subbands_give_their_overlap() {
        let imdct = Imdct::new();
        for n_subbands in [0, 5, 9] {
            let mut x = [0.0; LEN];
            (0..18).for_each(|k| x[k * STRIDE..k * STRIDE + n_subbands].fill(0.5));
            let mut again = x;
            let (mut overlap, mut out) = ([[0.25; 32]; 18], [[0.0; 32]; 18]);
            let (mut overlap2, mut out2) = (overlap, out);
            let shape = Shape { block: Block::Long, mixed: false, n_subbands };
            imdct.run::<8>(&mut x, shape, &mut overlap, &mut out);
            imdct.run::<16>(&mut again, Shape { n_subbands: 32, ..shape }, &mut overlap2, &mut out2);
            assert!(out == out2 && overlap == overlap2, "{n_subbands}");
        }
    }
}
