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
            for band in row..row + left.info.max_sfb {
                let (used, books) = (mask.used[band], (left.books[band], right.books[band]));
                relations[band] = match books {
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
