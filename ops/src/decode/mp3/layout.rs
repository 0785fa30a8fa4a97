//! Where the lines of the bit stream lie: their band, and their place among subbands.
//!
//! A spectrum is held by rows: row `k` has the `k`-th line of every subband side by side, so that the transforms take
//! eight or sixteen subbands at once. Short blocks come window after window and are put into their places while read.

use super::bands::{LONG, SHORT_WIDTHS};
use super::header::{Block, Side};

/// Floats from one row to the next: 32 subbands, and room for what the alias reduction reads beyond them.
pub(super) const STRIDE: usize = 40;
/// Floats of a spectrum: 18 rows, rounded up so that ten bits never point outside.
pub(super) const LEN: usize = 1024;
/// The lines of one granule of one channel, in rows.
pub(super) type Spectrum = [f32; LEN];

/// One arrangement of lines.
#[derive(Debug)]
pub(super) struct Layout {
    /// For each pair of lines: place of the first, place of the second and band, in fields of ten bits.
    pairs: [u32; 288],
    /// For each pair, the subbands that may hold something when it is the last.
    subbands: [u8; 288],
    /// First lines of the bands, in the order of the stream; three windows of a short band are three bands.
    starts: Vec<usize>,
    /// How many of the bands are long.
    pub(super) n_long: usize,
}

impl Layout {
    fn new(rate: usize, n_long: usize, first_short: usize) -> Self {
        let mut starts: Vec<usize> = LONG[rate][..=n_long.min(22)].iter().map(|&line| usize::from(line)).collect();
        let mut places: Vec<usize> = (0..starts[n_long]).collect();
        let mut ends: Vec<usize> = (1..=starts[n_long]).collect();
        for &width in SHORT_WIDTHS[rate].get(first_short..).unwrap_or_default() {
            let (width, start) = (usize::from(width), places.len());
            for window in 0..3 {
                places.extend((0..width).map(|line| start + 3 * line + window));
                starts.push(start + (window + 1) * width);
            }
            ends.resize(places.len(), places.len());
        }
        let place = |line: usize| (places[line] % 18 * STRIDE + places[line] / 18) as u32;
        let band = |line: usize| starts.partition_point(|&start| start <= line) as u32 - 1;
        let pairs = std::array::from_fn(|i| place(2 * i) | place(2 * i + 1) << 10 | band(2 * i) << 20);
        let subbands = std::array::from_fn(|i| ends[2 * i + 1].div_ceil(18) as u8);
        Self { pairs, subbands, starts, n_long }
    }

    /// The three layouts of every rate: long, short, mixed.
    pub(super) fn all() -> [[Self; 3]; 9] {
        std::array::from_fn(|rate| {
            // In a mixed block 36 lines are long; at 8 kHz 72, which no encoder is known to write.
            let mixed = if rate < 3 { 8 } else { 6 };
            [Self::new(rate, 22, 13), Self::new(rate, 0, 0), Self::new(rate, mixed, 3)]
        })
    }

    /// Which of the three a granule has.
    pub(super) fn kind(side: &Side) -> usize {
        if side.block == Block::Short { 1 + usize::from(side.mixed) } else { 0 }
    }

    /// Places and band of a pair of lines; places are below [`LEN`], bands below 64.
    #[inline(always)]
    pub(super) fn pair(&self, i: usize) -> (usize, usize, usize) {
        let packed = self.pairs[i] as usize;
        (packed & 1023, packed >> 10 & 1023, packed >> 20 & 63)
    }

    /// Subbands from the lowest on that the first `n` pairs reach into.
    pub(super) fn subbands(&self, n: usize) -> usize {
        n.checked_sub(1).map_or(0, |last| usize::from(self.subbands[last]))
    }

    pub(super) fn n_bands(&self) -> usize {
        self.starts.len() - 1
    }

    /// Places of the lines of a band.
    pub(super) fn places(&self, band: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        (self.starts[band] / 2..self.starts[band + 1] / 2).flat_map(|i| {
            let (a, b, _) = self.pair(i);
            [a, b]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_own_place_and_band() {
        for layout in Layout::all().iter().flatten() {
            let mut places: Vec<_> = (0..layout.n_bands()).flat_map(|band| layout.places(band)).collect();
            assert_eq!(places.len(), 576);
            assert!((0..layout.n_bands()).all(|band| layout.starts[band] % 2 == 0));
            places.sort_unstable();
            let wanted: Vec<_> = (0..18).flat_map(|row| (0..32).map(move |sb| row * STRIDE + sb)).collect();
            assert_eq!(places, wanted);
            assert_eq!((layout.subbands(0), layout.subbands(288)), (0, 32));
        }
    }

    #[test]
    fn short_blocks_are_interleaved() {
        let [long, short, mixed] = &Layout::all()[0];
        // The second line of the first window is the fourth of the first subband; four to a window in this band.
        assert_eq!((long.pair(0), short.pair(0)), ((0, STRIDE, 0), (0, 3 * STRIDE, 0)));
        assert_eq!(short.pair(2), (STRIDE, 4 * STRIDE, 1));
        // Band 3 of the short ones begins at line 36, which is subband 2; its windows are bands 8, 9, 10 here.
        assert_eq!((mixed.pair(18), mixed.pair(20)), ((2, 3 * STRIDE + 2, 8), (STRIDE + 2, 4 * STRIDE + 2, 9)));
        assert_eq!((long.n_bands(), short.n_bands(), mixed.n_bands()), (22, 39, 38));
    }
}
