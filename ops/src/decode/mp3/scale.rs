//! Scale factors, and the gain of each band they make.
//!
//! Source: ISO/IEC 11172-3, 2.4.2.7 and 2.4.3.4.7; 13818-3, 2.4.3.2 for the low sampling frequencies.

use super::super::bits::Bits;
use super::header::{Block, Side};
use super::layout::Layout;

/// Scale factors by band, in the order of the stream. In the right channel of an intensity pair they are positions.
pub(super) type Factors = [u8; 40];

const LENS: [[u32; 2]; 16] = [
    [0, 0],
    [0, 1],
    [0, 2],
    [0, 3],
    [3, 0],
    [1, 1],
    [1, 2],
    [1, 3],
    [2, 1],
    [2, 2],
    [2, 3],
    [3, 1],
    [3, 2],
    [3, 3],
    [4, 2],
    [4, 3],
];
/// How many factors have each of the four lengths: by range of the compression field, and long, short, mixed.
const LSF_COUNTS: [[[usize; 4]; 3]; 6] = [
    [[6, 5, 5, 5], [9, 9, 9, 9], [6, 9, 9, 9]],
    [[6, 5, 7, 3], [9, 9, 12, 6], [6, 9, 12, 6]],
    [[11, 10, 0, 0], [18, 18, 0, 0], [15, 18, 0, 0]],
    [[7, 7, 7, 0], [12, 12, 12, 0], [6, 15, 12, 0]],
    [[6, 6, 6, 3], [12, 9, 9, 6], [6, 12, 9, 6]],
    [[8, 8, 5, 0], [15, 12, 9, 0], [6, 18, 9, 0]],
];
const PREEMPHASIS: [u8; 22] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 2, 0];

/// Reads the factors of an MPEG-1 granule; groups in `reuse` keep what `factors` holds.
pub(super) fn read_mpeg1(bits: &mut Bits<'_>, side: &Side, reuse: u32, factors: &mut Factors) {
    let [low, high] = LENS[side.compress as usize & 15];
    if side.block == Block::Short {
        let split = if side.mixed { 17 } else { 18 };
        factors[..split].fill_with(|| bits.take(low) as u8);
        factors[split..split + 18].fill_with(|| bits.take(high) as u8);
        factors[split + 18..].fill(0);
        return;
    }
    for (group, (range, len)) in [(0..6, low), (6..11, low), (11..16, high), (16..21, high)].into_iter().enumerate() {
        if reuse >> (3 - group) & 1 == 0 {
            factors[range].fill_with(|| bits.take(len) as u8);
        }
    }
    factors[21..].fill(0);
}

/// Reads the factors of an MPEG-2 or 2.5 granule and sets its preflag, which is not sent. Returns, as a bit each, the
/// bands whose factor is the largest of its length: as a position it says that there is none.
pub(super) fn read_lsf(bits: &mut Bits<'_>, side: &mut Side, positions: bool, factors: &mut Factors) -> u64 {
    let (range, lens) = if positions { position_lens(side.compress / 2) } else { factor_lens(side.compress) };
    side.preflag = !positions && range == 2;
    factors.fill(0);
    let (mut at, mut largest) = (0, 0);
    for (len, n) in lens.into_iter().zip(LSF_COUNTS[range][Layout::kind(side)]) {
        for band in at..at + n {
            let factor = bits.take(len);
            factors[band] = factor as u8;
            largest |= u64::from(len > 0 && factor == (1 << len) - 1) << band;
        }
        at += n;
    }
    largest
}

fn factor_lens(c: u32) -> (usize, [u32; 4]) {
    match c {
        0..400 => (0, [c / 80, c / 16 % 5, c / 4 % 4, c % 4]),
        400..500 => (1, [(c - 400) / 20, (c - 400) / 4 % 5, c % 4, 0]),
        _ => (2, [(c - 500) / 3, (c - 500) % 3, 0, 0]),
    }
}

fn position_lens(c: u32) -> (usize, [u32; 4]) {
    match c {
        0..180 => (3, [c / 36, c / 6 % 6, c % 6, 0]),
        180..244 => (4, [(c - 180) / 16, (c - 180) / 4 % 4, (c - 180) % 4, 0]),
        _ => (5, [(c - 244) / 3, (c - 244) % 3, 0, 0]),
    }
}

/// What each band is multiplied by; `quarters` are added to the exponent, in quarters of a power of two.
pub(super) fn gains(side: &Side, layout: &Layout, factors: &Factors, quarters: i32) -> [f32; 64] {
    let base = side.gain - 210 + quarters;
    let mut gains = [0.0; 64];
    for (band, gain) in gains[..layout.n_long].iter_mut().enumerate() {
        let emphasis = if side.preflag { PREEMPHASIS[band] } else { 0 };
        *gain = quarter_power(base - (i32::from(factors[band] + emphasis) << side.scale_shift));
    }
    let windows = side.window_gains.map(|gain| base - 8 * gain);
    for (i, gain) in gains[layout.n_long..layout.n_bands()].iter_mut().enumerate() {
        *gain = quarter_power(windows[i % 3] - (i32::from(factors[layout.n_long + i]) << side.scale_shift));
    }
    gains
}

/// `2^(e / 4)` for what side information and scale factors can say: -406 to 45.
fn quarter_power(e: i32) -> f32 {
    const ROOTS: [f32; 4] = [1.0, 1.189_207_1, std::f32::consts::SQRT_2, 1.681_792_9];
    ROOTS[(e & 3) as usize] * f32::from_bits(((e >> 2) + 127).clamp(1, 254).cast_unsigned() << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarter_powers() {
        for e in -406..=45 {
            let wanted = 2.0_f64.powf(f64::from(e) / 4.0);
            assert!((f64::from(quarter_power(e)) / wanted - 1.0).abs() < 1e-7, "{e}");
        }
    }

    #[test]
    fn lengths_of_the_low_rates() {
        assert_eq!((factor_lens(399), factor_lens(400)), ((0, [4, 4, 3, 3]), (1, [0, 0, 0, 0])));
        assert_eq!((factor_lens(499), factor_lens(511)), ((1, [4, 4, 3, 0]), (2, [3, 2, 0, 0])));
        assert_eq!((position_lens(179), position_lens(180)), ((3, [4, 5, 5, 0]), (4, [0, 0, 0, 0])));
        assert_eq!((position_lens(243), position_lens(255)), ((4, [3, 3, 3, 0]), (5, [3, 2, 0, 0])));
        for (range, counts) in LSF_COUNTS.iter().enumerate() {
            let sums = counts.map(|counts| counts.iter().sum::<usize>());
            assert_eq!(sums, [21, 36, 33], "range {range}");
        }
    }

    #[test]
    fn the_largest_position_is_none() {
        // Lengths 0, 1, 2: seven of none, seven of one bit, seven of two.
        let mut side = Side { compress: 2 * 8, ..Side::default() };
        let mut factors = [9; 40];
        let bytes = [0b0101_0101, 0b1011_0001, 0b1011_0000];
        let largest = read_lsf(&mut Bits::new(&bytes, 0), &mut side, true, &mut factors);
        assert_eq!(factors[..14], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(factors[14..22], [3, 1, 2, 0, 3, 1, 2, 0]);
        assert_eq!(largest, 1 << 8 | 1 << 10 | 1 << 12 | 1 << 14 | 1 << 18);
    }
}
