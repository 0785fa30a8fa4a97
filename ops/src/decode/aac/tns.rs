//! Temporal noise shaping: filters that run along the lines. Source: ISO/IEC 14496-3, 4.6.9.

use std::f64::consts::FRAC_PI_2;
use std::ops::Range;
use std::sync::LazyLock;

use super::super::bits::Bits;
use super::bands::Bands;
use super::huffman::Lines;
use super::ics::{Info, Sequence};

/// The most coefficients that LC allows, in long windows and in short ones.
const MAX_ORDER: [usize; 2] = [12, 7];
/// Filters of all windows: three of a long one, one of each short one.
const MAX_FILTERS: usize = 8;

/// One all-pole filter and where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Filter {
    lines: (u16, u16),
    downwards: bool,
    /// What is taken of the lines before, the nearest one first.
    taps: [f32; 12],
}

/// The filters of one channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tns {
    n: usize,
    filters: [Filter; MAX_FILTERS],
}

/// Reflection coefficients by resolution (3 and 4 bits) and the coded value as a pattern of four bits.
static REFLECTIONS: LazyLock<[[f32; 16]; 2]> = LazyLock::new(|| {
    [3, 4].map(|n_bits| {
        std::array::from_fn(|pattern| {
            let value = if pattern < 8 { pattern as f64 } else { pattern as f64 - 16.0 };
            let steps = f64::from(1 << (n_bits - 1)) - 0.5_f64.copysign(value);
            (value * FRAC_PI_2 / steps).sin() as f32
        })
    })
});

impl Tns {
    pub(super) fn read(bits: &mut Bits<'_>, info: &Info, bands: &Bands) -> Result<Option<Self>, &'static str> {
        if bits.take(1) == 0 {
            return Ok(None);
        }
        let short = info.sequence == Sequence::Short;
        let reach = bands.tns[usize::from(short)].min(info.max_sfb);
        let (count_bits, len_bits, order_bits) = if short { (1, 4, 3) } else { (2, 6, 5) };
        let mut tns = Self::default();
        for window in 0..info.n_windows() {
            let n_filters = bits.take(count_bits);
            let resolution = if n_filters > 0 { bits.take(1) } else { 0 };
            // Filters come from the top of the spectrum downwards.
            let mut bottom = info.edges.len() - 1;
            for _ in 0..n_filters {
                let top = bottom;
                bottom = top.saturating_sub(bits.take(len_bits) as usize);
                let order = bits.take(order_bits) as usize;
                if order > MAX_ORDER[usize::from(short)] {
                    return Err("aac: a filter of TNS that is too long");
                }
                if order == 0 {
                    continue;
                }
                let mut filter = Filter { downwards: bits.take(1) == 1, ..Filter::default() };
                filter.taps = read_taps(bits, resolution, order);
                let edge = |sfb: usize| 128 * window as u16 + info.edges[sfb.min(reach)];
                filter.lines = (edge(bottom), edge(top));
                tns.filters[tns.n] = filter;
                tns.n += 1;
            }
        }
        Ok(Some(tns))
    }

    /// Runs the filters.
    pub(super) fn run(&self, lines: &mut Lines) {
        for filter in &self.filters[..self.n] {
            let (start, end) = filter.lines;
            filter.run(lines, usize::from(start)..usize::from(end));
        }
    }
}

fn read_taps(bits: &mut Bits<'_>, resolution: u32, order: usize) -> [f32; 12] {
    let n_bits = 3 + resolution - bits.take(1);
    let reflections = &REFLECTIONS[resolution as usize & 1];
    let mut taps = [0.0; 12];
    for m in 0..order {
        // The highest bit is the sign, whichever that is.
        let pattern = bits.take(n_bits) << (4 - n_bits);
        let value = (pattern as i32) << 28 >> (32 - n_bits);
        let reflection = reflections[value as usize & 15];
        let before = taps;
        for i in 0..m {
            taps[i] = before[i] + reflection * before[m - 1 - i];
        }
        taps[m] = reflection;
    }
    taps
}

impl Filter {
    fn run(&self, lines: &mut Lines, range: Range<usize>) {
        let lines = &mut lines[range];
        if self.downwards {
            lines.reverse();
        }
        run(&self.taps, lines);
        if self.downwards {
            lines.reverse();
        }
    }
}

/// Takes from each line the taps of what became of those before it. The nearest one comes last: all others are known
/// while it is still being computed.
fn run(taps: &[f32; 12], lines: &mut [f32]) {
    let mut before = [0.0; 12];
    for line in lines {
        let mut sums = [*line, 0.0, 0.0, 0.0];
        for i in (1..12).rev() {
            sums[i % 4] -= taps[i] * before[i];
        }
        *line = ((sums[1] + sums[2]) + (sums[3] + sums[0])) - taps[0] * before[0];
        before.copy_within(..11, 1);
        before[0] = *line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_by_hand() {
        // Not compressed, 4 bits: 4 is sin(4 / 7.5 * pi/2), -8 (1000) is sin(-8 / 8.5 * pi/2).
        let bytes = [0b0010_0100, 0b0000_0000];
        let taps = read_taps(&mut Bits::new(&bytes, 0), 1, 2);
        let k = [(4.0 / 7.5 * FRAC_PI_2).sin() as f32, (-8.0 / 8.5 * FRAC_PI_2).sin() as f32];
        assert_eq!(taps[..3], [k[0] + k[1] * k[0], k[1], 0.0]);
        // Compressed, 3 bits: 2 of them are sent, 11 is -1.
        let taps = read_taps(&mut Bits::new(&[0b1110_0000], 0), 0, 1);
        assert_eq!(taps[0], (-1.0 / 4.5 * FRAC_PI_2).sin() as f32);
    }

    #[test]
    fn filters_undo_their_prediction() {
        let taps: [f32; 12] = std::array::from_fn(|i| 0.2 / (i + 1) as f32 * if i % 2 == 0 { 1.0 } else { -1.0 });
        for downwards in [false, true] {
            let original: Lines = std::array::from_fn(|i| ((i * 37 + 11) % 23) as f32 - 11.0);
            let filter = Filter { lines: (100, 300), downwards, taps };
            // The prediction error of the original, which the filter must turn back into it.
            let mut lines = original;
            for (i, line) in lines.iter_mut().enumerate().take(300).skip(100) {
                for (tap, distance) in taps.iter().zip(1..) {
                    let from = if downwards { i + distance } else { i.wrapping_sub(distance) };
                    if (100..300).contains(&from) {
                        *line += tap * original[from];
                    }
                }
            }
            let mut filters = [Filter::default(); MAX_FILTERS];
            filters[0] = filter;
            Tns { n: 1, filters }.run(&mut lines);
            assert!(lines.iter().zip(&original).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }
}
