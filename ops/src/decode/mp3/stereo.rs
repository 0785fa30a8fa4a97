//! Two channels from what was sent: middle and side, and intensity with positions.
//!
//! Source: ISO/IEC 11172-3, 2.4.3.4.9; 13818-3, 2.4.3.2 for the positions of the low sampling frequencies.

use super::layout::{Layout, Spectrum};
use super::scale::Factors;

/// Left and right from middle and side, which are scaled by the root of one half already.
pub(super) fn mid_side(left: &mut Spectrum, right: &mut Spectrum) {
    for (l, r) in left.iter_mut().zip(right) {
        (*l, *r) = (*l + *r, *l - *r);
    }
}

/// What the right channel of an intensity pair says.
pub(super) struct Positions<'a> {
    pub(super) factors: &'a Factors,
    /// Bands, as a bit each, that have no position.
    pub(super) none: u64,
    pub(super) lsf: bool,
    /// The step of the positions in MPEG-2: a fourth or half of a power of two.
    pub(super) coarse: bool,
}

impl Positions<'_> {
    /// What left and right are of the one channel sent, if the band has a position.
    fn weights(&self, band: usize) -> Option<(f32, f32)> {
        let position = self.factors[band];
        if !self.lsf {
            let ratio = (f64::from(position) * std::f64::consts::PI / 12.0).tan();
            return match position {
                0..6 => Some(((ratio / (1.0 + ratio)) as f32, (1.0 / (1.0 + ratio)) as f32)),
                6 => Some((1.0, 0.0)),
                _ => None,
            };
        }
        let step = if self.coarse { 0.5 } else { 0.25 };
        let weight = (-step * f64::from(position.div_ceil(2))).exp2() as f32;
        (self.none >> band & 1 == 0).then_some(if position % 2 == 1 { (weight, 1.0) } else { (1.0, weight) })
    }
}

/// Makes left and right of a granule that may hold intensity bands: those above the last line of the right channel,
/// window by window. Where a band has no position and below them it is middle and side, if `mid_side` says so.
///
/// With `mid_side` both come scaled by the root of one half.
pub(super) fn intensity(
    left: &mut Spectrum,
    right: &mut Spectrum,
    layout: &Layout,
    positions: &Positions<'_>,
    mid_side: bool,
) {
    let unscaled = if mid_side { std::f32::consts::SQRT_2 } else { 1.0 };
    let n_bands = layout.n_bands();
    // Whether a line was met in each window, from the top; in the long part in any.
    let mut met = [false; 3];
    for band in (0..n_bands).rev() {
        let (window, group) = if band >= layout.n_long { ((band - layout.n_long) % 3, 3) } else { (0, 1) };
        if band + 1 == layout.n_long {
            met[0] = met.contains(&true);
        }
        met[window] = met[window] || layout.places(band).any(|place| right[place] != 0.0);
        // The highest band of each window has no factor of its own and takes that of the one below.
        let positioned = if band + group >= n_bands { band - group } else { band };
        match positions.weights(positioned).filter(|_| !met[window]) {
            Some((l, r)) => layout.places(band).for_each(|place| {
                let line = left[place] * unscaled;
                (left[place], right[place]) = (line * l, line * r);
            }),
            None if mid_side => layout.places(band).for_each(|place| {
                (left[place], right[place]) = (left[place] + right[place], left[place] - right[place]);
            }),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::LEN;
    use super::*;

    /// The lines of a band that is all 2 on the left and empty on the right, after intensity.
    fn run(position: u8, lsf: bool, coarse: bool, mid_side: bool) -> (f32, f32) {
        let layouts = Layout::all();
        let layout = &layouts[0][0];
        let (mut left, mut right) = ([2.0; LEN], [0.0; LEN]);
        right[layout.places(3).next().unwrap()] = 1.0;
        let mut factors = [0; 40];
        factors[10] = position;
        let positions = Positions { factors: &factors, none: u64::from(position == 31) << 10, lsf, coarse };
        intensity(&mut left, &mut right, layout, &positions, mid_side);
        let at = layout.places(10).next().unwrap();
        (left[at], right[at])
    }

    #[test]
    fn positions_by_hand() {
        let near = |(a, b): (f32, f32), (c, d): (f32, f32)| (a - c).abs() < 1e-6 && (b - d).abs() < 1e-6;
        assert!(near(run(0, false, false, false), (0.0, 2.0)));
        assert!(near(run(3, false, false, false), (1.0, 1.0)));
        assert!(near(run(6, false, false, false), (2.0, 0.0)));
        assert!(near(run(7, false, false, false), (2.0, 0.0)));
        assert!(near(run(7, false, false, true), (2.0, 2.0)));
        let root = std::f32::consts::SQRT_2;
        assert!(near(run(3, false, false, true), (root, root)));
        assert!(near(run(0, true, false, false), (2.0, 2.0)));
        assert!(near(run(1, true, true, false), (root, 2.0)));
        assert!(near(run(4, true, true, false), (2.0, 1.0)));
        assert!(near(run(4, true, false, false), (2.0, root)));
        assert!(near(run(31, true, false, false), (2.0, 0.0)));
    }
}
