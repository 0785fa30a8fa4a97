//! Whether two fingerprints are of one recording.

/// How two fingerprints fit together best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likeness {
    /// Words by which the second recording begins after the first; negative where it begins before.
    pub shift: isize,
    /// Share of differing bits where both are: about 0.5 for recordings that have nothing to do with each other.
    pub bit_error_rate: f32,
    /// Words that both have.
    pub n_words: usize,
}

/// Share of differing bits over the words that both have, begin upon begin; 1 where one of them is empty.
pub fn bit_error_rate(a: &[u32], b: &[u32]) -> f32 {
    let n = a.len().min(b.len());
    if n == 0 {
        return 1.0;
    }
    let differing: u64 = a.iter().zip(b).map(|(a, b)| u64::from((a ^ b).count_ones())).sum();
    differing as f32 / (32 * n) as f32
}

/// The best of all shifts up to `max_shift` words that leave half of the shorter fingerprint to be compared; `None` where one
/// is empty.
///
/// # Example: the second begins a word later
/// ```
/// use ajepa_ops::fingerprint::compare;
/// let a = [7, 0xFFFF_0000, 0x1234_5678, 99, 100];
/// let found = compare(&a, &a[1..], 4).unwrap();
/// assert_eq!((found.shift, found.bit_error_rate, found.n_words), (1, 0.0, 4));
/// ```
pub fn compare(a: &[u32], b: &[u32], max_shift: usize) -> Option<Likeness> {
    let least = a.len().min(b.len()).div_ceil(2);
    let limit = isize::try_from(max_shift).ok()?.min(a.len().max(b.len()) as isize);
    let at = |shift: isize| {
        let skip = shift.unsigned_abs();
        let (a, b) = if shift >= 0 { (a.get(skip..)?, b) } else { (a, b.get(skip..)?) };
        let n_words = a.len().min(b.len());
        let likeness = Likeness { shift, bit_error_rate: bit_error_rate(a, b), n_words };
        (n_words >= least.max(1)).then_some(likeness)
    };
    let all = (-limit..=limit).filter_map(at);
    all.min_by(|x, y| {
        let by_rate = x.bit_error_rate.total_cmp(&y.bit_error_rate);
        by_rate.then(x.shift.unsigned_abs().cmp(&y.shift.unsigned_abs()))
    })
}
