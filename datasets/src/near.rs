//! Near duplicates: clips whose fingerprints agree but for some bits.
//!
//! A fingerprint is a row of numbers of 32 bits, one per 0.1 to 0.4 s; each bit is the sign of a difference between
//! parts of the spectrum (Haitsma and Kalker, *A Highly Robust Audio Fingerprinting System*, ISMIR 2002). Another
//! encoding of the same audio flips a few bits in each and leaves some numbers whole. So numbers that two clips share
//! are looked up; each says by how much one clip is shifted against the other, and there all bits are compared.

use serde::{Deserialize, Serialize};

use crate::error::DatasetError;
use crate::groups::Groups;

/// Numbers looked up at once, of 12 bytes each; more are done in several turns.
const TURN: usize = 24 << 20;
/// So many clips that share a number are compared each with each.
const FEW: usize = 32;
/// Where more share it, each is compared with so many behind it: a number that thousands share (hum, a jingle) would
/// ask for millions of pairs, and a chain unites them as well.
const NEXT: usize = 8;

/// When two clips count as the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearConfig {
    /// Share of bits that may differ: 0 to below 0.5, where unlike clips are. Default: 0.25. Of 300 clips of
    /// speech, music and effects in MP3, AAC, Opus and Vorbis at low rates one copy of two seconds or more differed in
    /// more (0.27), and no two unlike clips in less than 0.29.
    pub max_bit_error: f64,
    /// Numbers that must lie over each other, and be different among themselves: 1 or more. Shorter clips, and clips
    /// that are one steady sound, are not compared. Default: 16, of 512 bits, two seconds.
    pub min_values: usize,
    /// Share of the shorter clip that must lie over the longer one: above 0 to 1. Default: 0.75.
    pub min_overlap: f64,
}

impl Default for NearConfig {
    fn default() -> Self {
        Self { max_bit_error: 0.25, min_values: 16, min_overlap: 0.75 }
    }
}

impl NearConfig {
    fn check(&self) -> Result<(), DatasetError> {
        if !(0.0..0.5).contains(&self.max_bit_error) {
            return Err(DatasetError::argument("max_bit_error", self.max_bit_error, "0 to below 0.5"));
        }
        if self.min_values == 0 {
            return Err(DatasetError::argument("min_values", 0, "1 or more"));
        }
        if !(self.min_overlap > 0.0 && self.min_overlap <= 1.0) {
            return Err(DatasetError::argument("min_overlap", self.min_overlap, "above 0 to 1"));
        }
        Ok(())
    }
}

/// Share of bits that differ where `b` lies over `a` shifted by `shift` numbers, and over how many numbers; `None`
/// where they do not meet.
///
/// # Example: one bit of 64
/// ```
/// use ajepa_datasets::bit_error;
///
/// assert_eq!(bit_error(&[7, 9, 12], &[9, 13], 1), Some((1.0 / 64.0, 2)));
/// ```
pub fn bit_error(a: &[u32], b: &[u32], shift: i64) -> Option<(f64, usize)> {
    let (a, b) = over_each_other(a, b, shift)?;
    let wrong: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
    Some((f64::from(wrong) / (32 * a.len()) as f64, a.len()))
}

/// The parts that meet where `b`'s first number lies over `a`'s number `shift`.
fn over_each_other<'a>(a: &'a [u32], b: &'a [u32], shift: i64) -> Option<(&'a [u32], &'a [u32])> {
    let (a, b) = (a.get(shift.max(0) as usize..)?, b.get((-shift).max(0) as usize..)?);
    let n = a.len().min(b.len());
    (n > 0).then(|| (&a[..n], &b[..n]))
}

/// Whether two clips are the same, where `b`'s first number lies over `a`'s number `shift`.
fn alike(a: &[u32], b: &[u32], shift: i64, config: &NearConfig) -> bool {
    let needed = config.min_values.max((config.min_overlap * a.len().min(b.len()) as f64).ceil() as usize);
    let Some((a, b)) = over_each_other(a, b, shift).filter(|(a, _)| a.len() >= needed) else { return false };
    let mut left = (config.max_bit_error * (32 * a.len()) as f64) as u32;
    // Unlike clips are done with after half of the numbers.
    let close = a.iter().zip(b).all(|(a, b)| {
        let wrong = (a ^ b).count_ones();
        let fits = wrong <= left;
        left = left.saturating_sub(wrong);
        fits
    });
    close && [a, b].iter().all(|part| varied(part, config.min_values))
}

/// Whether so many numbers differ among themselves.
fn varied(part: &[u32], wanted: usize) -> bool {
    let mut sorted = part.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len() >= wanted
}

/// Unites the rows whose fingerprints are alike. Rows without one (`&[]`) stay alone.
pub(crate) fn unite_alike(
    fingerprints: &[&[u32]],
    config: &NearConfig,
    groups: &mut Groups,
) -> Result<(), DatasetError> {
    config.check()?;
    let n_values: usize = fingerprints.iter().map(|values| values.len()).sum();
    let n_turns = n_values.div_ceil(TURN).max(1) as u64;
    let mut entries: Vec<Entry> = Vec::with_capacity(n_values.min(TURN + TURN / 4));
    for turn in 0..n_turns {
        entries.clear();
        for (row, values) in fingerprints.iter().enumerate().filter(|(_, values)| values.len() >= config.min_values) {
            // Numbers of sound are not spread evenly; multiplied, they are.
            let mine = |value: u32| (u64::from(value.wrapping_mul(0x9E37_79B1)) * n_turns) >> 32 == turn;
            let numbered = values.iter().zip(0..).filter(|(value, _)| mine(**value));
            entries.extend(numbered.map(|(&value, at)| Entry { value, row: row as u32, at }));
        }
        entries.sort_unstable();
        entries.dedup_by_key(|entry| (entry.value, entry.row));
        for sharing in entries.chunk_by(|a, b| a.value == b.value) {
            unite_sharing(sharing, fingerprints, config, groups);
        }
    }
    Ok(())
}

/// The first place of a number in a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    value: u32,
    row: u32,
    at: u32,
}

/// Compares the clips that share one number, laid so that it lies over itself.
fn unite_sharing(sharing: &[Entry], fingerprints: &[&[u32]], config: &NearConfig, groups: &mut Groups) {
    let next = if sharing.len() <= FEW { FEW } else { NEXT };
    for (at, a) in sharing.iter().enumerate() {
        for b in &sharing[at + 1..sharing.len().min(at + 1 + next)] {
            let shift = i64::from(a.at) - i64::from(b.at);
            if groups.first(a.row) != groups.first(b.row)
                && alike(fingerprints[a.row as usize], fingerprints[b.row as usize], shift, config)
            {
                groups.unite(a.row, b.row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::Bits;

    fn clip(seed: u64, n: usize) -> Vec<u32> {
        let mut bits = Bits::new(seed);
        (0..n).map(|_| bits.next() as u32).collect()
    }

    /// Neighbours differ in a few bits, as in real fingerprints.
    fn walk(seed: u64, n: usize, flips: usize) -> Vec<u32> {
        let mut bits = Bits::new(seed);
        let mut value = bits.next() as u32;
        let mut step = || {
            (0..flips).for_each(|_| value ^= 1 << (bits.next() % 32));
            value
        };
        (0..n).map(|_| step()).collect()
    }

    /// Another encoding: every bit flips with a chance of `per_mille`.
    fn encoded(values: &[u32], seed: u64, per_mille: u64) -> Vec<u32> {
        let mut bits = Bits::new(seed);
        values
            .iter()
            .map(|value| (0..32).fold(*value, |v, bit| v ^ u32::from(bits.next() % 1000 < per_mille) << bit))
            .collect()
    }

    fn grouped(clips: &[Vec<u32>]) -> Vec<u32> {
        let clips: Vec<&[u32]> = clips.iter().map(Vec::as_slice).collect();
        let mut groups = Groups::new(clips.len());
        unite_alike(&clips, &NearConfig::default(), &mut groups).unwrap();
        (0..clips.len() as u32).map(|row| groups.first(row)).collect()
    }

    #[test]
    fn other_encodings_and_small_shifts_are_found_and_nothing_else() {
        let mut clips: Vec<Vec<u32>> = (0..200).map(|seed| walk(seed, 60, 4)).collect();
        for row in 0..100 {
            let other = encoded(&clips[row], 1000 + row as u64, 60);
            clips.push(other[row % 5..].to_vec());
        }
        let found = grouped(&clips);
        assert_eq!(found[..200], (0..200).collect::<Vec<_>>());
        let right = (0..100).filter(|&row| found[200 + row] == row as u32).count();
        assert!(right >= 99, "{right} of 100");
    }

    #[test]
    fn half_of_a_clip_is_another_clip_unless_it_is_the_shorter() {
        let long = clip(1, 80);
        let mut other = clip(2, 80);
        other[..40].copy_from_slice(&long[40..]);
        assert_eq!(grouped(&[long.clone(), long[20..70].to_vec(), other]), [0, 0, 2]);
    }

    #[test]
    fn steady_sounds_and_short_clips_are_not_compared() {
        let hum = vec![0x0F0F_0F0F; 60];
        assert_eq!(grouped(&[hum.clone(), hum, clip(1, 7), clip(1, 7)]), [0, 1, 2, 3]);
    }

    #[test]
    fn a_number_that_all_share_costs_no_square() {
        let mut clips: Vec<Vec<u32>> = (0..5_000).map(|seed| clip(seed, 16)).collect();
        for clip in &mut clips {
            clip[3] = 42;
        }
        clips.push(clips[0].clone());
        let found = grouped(&clips);
        assert_eq!((found[4_999], found[5_000]), (4_999, 0));
    }

    #[test]
    fn settings_without_a_meaning_are_refused() {
        let mut groups = Groups::new(0);
        for config in [
            NearConfig { max_bit_error: 0.5, ..NearConfig::default() },
            NearConfig { min_values: 0, ..NearConfig::default() },
            NearConfig { min_overlap: 0.0, ..NearConfig::default() },
        ] {
            assert!(unite_alike(&[], &config, &mut groups).is_err());
        }
    }

    proptest! {
        #[test]
        fn which_clip_comes_first_does_not_matter(seed in any::<u64>(), cut in 0_usize..20, noise in 0_u64..200) {
            let a = walk(seed, 50, 5);
            let b = encoded(&a[cut..], seed ^ 1, noise);
            prop_assert_eq!(grouped(&[a.clone(), b.clone()]), grouped(&[b, a.clone()]));
            prop_assert_eq!(grouped(&[a[cut..].to_vec(), a]), [0, 0]);
        }

        #[test]
        fn no_shift_is_too_far(
            a in prop::collection::vec(any::<u32>(), 0..9),
            b in prop::collection::vec(any::<u32>(), 0..9),
            shift in -12_i64..12,
        ) {
            let met = bit_error(&a, &b, shift);
            let n = (0..a.len() as i64).filter(|at| (0..b.len() as i64).contains(&(at - shift))).count();
            prop_assert_eq!(met.map_or(0, |(_, n)| n), n);
        }
    }
}
