//! The natural logarithm of positive f32, in a form that compiles to vector arithmetic.

/// Energies to what a picture holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    /// What the natural logarithm is multiplied with: 1, or 10 / ln 10 for decibels.
    pub factor: f32,
    /// Energies up to here are silence.
    pub floor_energy: f32,
    /// What silence becomes: one value, not what rounding makes of it.
    pub floor: f32,
}

impl Log {
    /// In place.
    #[inline(always)]
    pub fn apply(&self, energies: &mut [f32]) {
        let Self { factor, floor_energy, floor } = *self;
        for cell in energies {
            let energy = *cell;
            let value = (factor * ln(energy.max(floor_energy))).max(floor);
            *cell = if energy > floor_energy { value } else { floor };
        }
    }
}

/// `ln(x)` for normal `x > 0`, within 2 units in the last place or 1.2e-7, whichever is larger.
///
/// x = 2^e m with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s), s = (m-1)/(m+1), whose series in odd powers of s is cut
/// after s^9: |s| <= 0.1716, so what is left out is below 2 s^11 / 11 = 7e-10. ln 2 is split in two, its upper part short
/// enough for e times it to be exact.
#[inline(always)]
fn ln(x: f32) -> f32 {
    /// Bits of sqrt(1/2).
    const ROOT_HALF: u32 = 0x3F35_04F3;
    const LN2_UPPER: f32 = 0.693_359_4;
    const LN2_LOWER: f32 = -2.121_944_4e-4;
    let shifted = x.to_bits().wrapping_sub(ROOT_HALF);
    let e = ((shifted as i32) >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007F_FFFF).wrapping_add(ROOT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let tail = s2 * (2.0 / 3.0 + s2 * (2.0 / 5.0 + s2 * (2.0 / 7.0 + s2 * (2.0 / 9.0))));
    // Smallest first.
    e * LN2_UPPER + (2.0 * s + (s * tail + e * LN2_LOWER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_f64_over_the_whole_normal_range() {
        let mut worst = 0.0_f64;
        for bits in (f32::MIN_POSITIVE.to_bits()..f32::MAX.to_bits()).step_by(4099) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).ln();
            let unit = (exact.abs() * f64::from(f32::EPSILON)).max(6e-8);
            worst = worst.max((f64::from(ln(x)) - exact).abs() / unit);
        }
        assert!(worst < 2.0, "{worst} units");
    }

    #[test]
    fn powers_of_two_are_right_to_the_bit() {
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(f32::EPSILON), -15.942_385);
        assert_eq!(ln(2.0), std::f32::consts::LN_2);
    }
}
