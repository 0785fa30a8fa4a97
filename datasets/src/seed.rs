//! Chance that is a function of a seed and a name: what a row gets does not depend on the rows around it, or their
//! order.

use twox_hash::XxHash3_64;

/// A number for `name`, even over all 64 bits; another seed gives another.
pub(crate) fn number_of(seed: u64, name: &str) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, name.as_bytes())
}

/// The same as a number between 0 and 1, both left out.
pub(crate) fn chance_of(seed: u64, name: &str) -> f64 {
    ((number_of(seed, name) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
/// Numbers for tests: SplitMix64.
pub(crate) struct Bits(u64);

#[cfg(test)]
impl Bits {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
