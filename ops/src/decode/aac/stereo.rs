//! What the two channels of a pair have in common. Source: ISO/IEC 14496-3, 4.6.8 and 4.6.13.3.

use super::super::bits::Bits;
use super::huffman::Lines;
use super::ics::{INTENSITY, INTENSITY_OUT, Ics, Info, NOISE, octave_quarters};

/// Which bands are sent as middle and side; of noise, which is the same on both sides; of intensity, which is turned.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    used: [bool; 128],
    /// Whether bands were told apart, which intensity asks for.
    by_band: bool,
}

impl Mask {
    /// Of a pair that has no windows in common.
    pub(super) fn none() -> Self {
        Self { used: [false; 128], by_band: false }
    }

    pub(super) fn read(bits: &mut Bits<'_>, info: &Info) -> Result<Self, &'static str> {
        let present = bits.take(2);
        let mut mask = Self { used: [present == 2; 128], by_band: present == 1 };
        if present == 3 {
            return Err("aac: a mask of middle and side that is none");
        }
        for (row, _) in info.groups().filter(|_| present == 1) {
            mask.used[row..row + info.max_sfb].fill_with(|| bits.take(1) == 1);
        }
        Ok(mask)
    }

    /// Whether the lines that the left channel sends for a band may be a middle. The right channel, which is sent later,
    /// may still say that they are not.
    fn may_be_middle(&self, left: &Ics, band: usize) -> bool {
        self.used[band] && left.books[band] != NOISE
    }
}

/// How a band's right channel follows from what is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Relation {
    /// It is sent.
    Apart,
    /// What is sent are middle and side.
    MidSide,
    /// It is the left channel times a factor.
    Scaled(f32),
}

/// Halves the left channel for a mean, but for what may be a middle, which is the mean.
pub(super) fn halve_left(mask: &Mask, left: &Ics, gains: &mut [f32; 128]) {
    for (band, gain) in gains.iter_mut().enumerate() {
        *gain *= if mask.may_be_middle(left, band) { 1.0 } else { 0.5 };
    }
}

/// The relations of all bands.
pub(super) struct Joint {
    relations: [Relation; 128],
}

impl Joint {
    /// For a pair that shares its windows. Of `right`, bands that follow from the left channel send nothing afterwards.
    pub(super) fn new(mask: &Mask, left: &Ics, right: &mut Ics) -> Self {
        let mut relations = [Relation::Apart; 128];
        for (row, _) in left.groups() {
            let bands = row..row + left.info.max_sfb;
            for (band, relation) in bands.clone().zip(&mut relations[bands]) {
                let (used, books) = (mask.used[band], (left.books[band], right.books[band]));
                *relation = match books {
                    (_, INTENSITY | INTENSITY_OUT) => {
                        let turned = (books.1 == INTENSITY_OUT) != (mask.by_band && used);
                        let factor = octave_quarters(-i32::from(right.scales[band]));
                        Relation::Scaled(if turned { -factor } else { factor })
                    }
                    (NOISE, NOISE) if used => {
                        right.books[band] = super::ics::ZERO;
                        let difference = i32::from(right.scales[band]) - i32::from(left.scales[band]);
                        Relation::Scaled(octave_quarters(difference))
                    }
                    (NOISE, _) | (_, NOISE) => Relation::Apart,
                    _ if used => Relation::MidSide,
                    _ => Relation::Apart,
                };
            }
        }
        Self { relations }
    }

    /// For a pair of which each channel stands alone.
    pub(super) fn apart() -> Self {
        Self { relations: [Relation::Apart; 128] }
    }

    /// Where the left channel was halved, mends the bands that turned out to be no middle, and (`mixed`) adds what the
    /// right channel takes from the left one.
    pub(super) fn mend_left(&self, mask: &Mask, left: &Ics, mixed: bool, lines: &mut Lines) {
        self.each(&left.info, |relation, band, span| {
            let halve = if mask.may_be_middle(left, band) && relation != Relation::MidSide { 0.5 } else { 1.0 };
            let factor = match relation {
                Relation::Scaled(factor) if mixed => halve * (1.0 + factor),
                _ => halve,
            };
            if factor != 1.0 {
                lines[span].iter_mut().for_each(|line| *line *= factor);
            }
        });
    }

    /// Makes gains of the right channel for a mean: of a side there is nothing in it. The code words are read all the same.
    pub(super) fn drop_sides(&self, gains: &mut [f32; 128]) {
        for (gain, relation) in gains.iter_mut().zip(&self.relations) {
            *gain *= if *relation == Relation::MidSide { 0.0 } else { 0.5 };
        }
    }

    /// Halves the right channel, as [`halve_left`] the left one.
    pub(super) fn halve_right(&self, gains: &mut [f32; 128]) {
        for (gain, relation) in gains.iter_mut().zip(&self.relations) {
            *gain *= if *relation == Relation::MidSide { 1.0 } else { 0.5 };
        }
    }

    /// Makes left and right of what was sent; `scale` is that of middle and side.
    pub(super) fn separate(&self, info: &Info, scale: f32, left: &mut Lines, right: &mut Lines) {
        self.each(info, |relation, _, span| {
            let pairs = left[span.clone()].iter_mut().zip(&mut right[span]);
            match relation {
                Relation::Apart => {}
                Relation::MidSide => pairs.for_each(|(l, r)| (*l, *r) = ((*l + *r) * scale, (*l - *r) * scale)),
                Relation::Scaled(factor) => pairs.for_each(|(l, r)| *r = *l * factor),
            }
        });
    }

    /// Calls `band` with the relation, the place in tables and the lines of every band of every window.
    fn each(&self, info: &Info, mut band: impl FnMut(Relation, usize, std::ops::Range<usize>)) {
        for (row, windows) in info.groups() {
            for sfb in 0..info.max_sfb {
                for window in windows.clone() {
                    band(self.relations[row + sfb], row + sfb, info.band(window, sfb));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bands::Bands;
    use super::*;

    /// Bands of four lines with these books and scales.
    fn ics(books: [u8; 6], scales: [i16; 6]) -> Ics {
        let info = Info { max_sfb: 6, edges: Bands::of(44_100).long, ..Info::default() };
        let mut ics = Ics { info, ..Ics::default() };
        ics.books[..6].copy_from_slice(&books);
        ics.scales[..6].copy_from_slice(&scales);
        ics
    }

    /// Left and right of what is sent in full, and the mean of what is sent in halves.
    fn both(by_band: bool) -> ([f32; 6], [f32; 6], [f32; 6]) {
        let mut mask = Mask { used: [!by_band; 128], by_band };
        mask.used[..6].copy_from_slice(&[true, false, true, false, true, true]);
        // Middle and side, left and right, three of intensity (two of them turned by band), noise in common.
        let left = ics([1, 1, 1, 1, 1, NOISE], [100, 100, 100, 100, 100, 20]);
        let mut right = ics([1, 1, INTENSITY, INTENSITY_OUT, INTENSITY_OUT, NOISE], [100, 100, 4, 4, -4, 24]);
        let joint = Joint::new(&mask, &left, &mut right);
        assert_eq!(right.books[5], super::super::ics::ZERO);
        let (mut l, mut r) = ([8.0; 1024], [0.0; 1024]);
        r[..8].fill(2.0);
        let sent = (l, r);
        joint.separate(&left.info, 1.0, &mut l, &mut r);
        let (mut gains, mut mean) = ([1.0; 128], sent.0);
        halve_left(&mask, &left, &mut gains);
        for (lines, gain) in mean.chunks_exact_mut(4).zip(gains) {
            for line in lines {
                *line *= gain;
            }
        }
        joint.mend_left(&mask, &left, true, &mut mean);
        let mut gains = [1.0; 128];
        joint.drop_sides(&mut gains);
        mean.iter_mut().zip(&sent.1).enumerate().for_each(|(i, (line, x))| *line += x * gains[(i / 4).min(127)]);
        let pick = |lines: &Lines| std::array::from_fn(|band| lines[4 * band + 1]);
        (pick(&l), pick(&r), pick(&mean))
    }

    #[test]
    fn relations_by_hand_and_their_mean() {
        let (left, right, mean) = both(true);
        assert_eq!(left, [10.0, 8.0, 8.0, 8.0, 8.0, 8.0]);
        // A position of 4 is a half, of -4 twice; a band of the mask turns the sign once more.
        assert_eq!(right, [6.0, 2.0, -4.0, -4.0, 16.0, 16.0]);
        assert_eq!(mean, std::array::from_fn(|band| f32::midpoint(left[band], right[band])));
        // Where all bands are middle and side, the mask turns no intensity.
        let (left, right, mean) = both(false);
        assert_eq!(right, [6.0, 2.0, 4.0, -4.0, -16.0, 16.0]);
        assert_eq!(mean, std::array::from_fn(|band| f32::midpoint(left[band], right[band])));
    }

    #[test]
    fn halves_for_two_transforms_add_up_to_the_mean() {
        let mask = Mask { used: [true; 128], by_band: true };
        let (left, mut right) = (ics([1; 6], [100; 6]), ics([1, 1, NOISE, INTENSITY, 1, 1], [0; 6]));
        let joint = Joint::new(&mask, &left, &mut right);
        let (mut gains_left, mut gains_right) = ([1.0; 128], [1.0; 128]);
        halve_left(&mask, &left, &mut gains_left);
        joint.halve_right(&mut gains_right);
        let (mut l, mut r) = ([8.0; 1024], [2.0; 1024]);
        r[12..16].fill(0.0);
        let (mut full_l, mut full_r) = (l, r);
        joint.separate(&left.info, 1.0, &mut full_l, &mut full_r);
        l.iter_mut().enumerate().for_each(|(i, x)| *x *= gains_left[(i / 4).min(127)]);
        r.iter_mut().enumerate().for_each(|(i, x)| *x *= gains_right[(i / 4).min(127)]);
        joint.mend_left(&mask, &left, false, &mut l);
        joint.separate(&left.info, 0.5, &mut l, &mut r);
        assert!((0..24).all(|i| l[i] == full_l[i] / 2.0 && r[i] == full_r[i] / 2.0));
    }
}
