//! Which rows make which batch: a function of (seed, epoch, number of rows), nothing else.
//!
//! The order of an epoch is a permutation that is computed one position at a time (a Feistel network of alternating
//! modular additions on a rectangle a x b that just holds n rows, positions outside n walked on from; Black and Rogaway
//! 2002, "Ciphers with arbitrary finite domains"). So an epoch costs no memory and begins without a pause, any batch of any
//! epoch can be computed at once, and ranks and workers need not agree on anything but the three numbers.
//!
//! A *global batch* is `batch_clips` positions in a row. Rank r of n takes the r-th n-th of each: the union over ranks is the
//! same for any number of them.

use ajepa_ops::seed;

/// Most additions on each side of the rectangle.
const MOST_ROUNDS: usize = 12;

/// Additions on each side: few rows have few sums to mix by. With eight, 240,000 seeds show that the 120 orders of five rows
/// are not quite equally likely, with twelve they do not; four are enough where a side is 32 or more.
fn n_rounds(n: u64) -> usize {
    if n < 1024 { MOST_ROUNDS } else { 4 }
}

/// A permutation of `0..n`.
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    n: u64,
    rows: u64,
    cols: u64,
    keys: [u64; 2 * MOST_ROUNDS],
    n_keys: usize,
}

impl Permutation {
    /// The permutation of `n` numbers that belongs to `seed`.
    pub fn new(seed: u64, n: u64) -> Self {
        let cols = ceil_sqrt(n).max(1);
        let keys = std::array::from_fn(|round| seed::derive(&[seed, round as u64]));
        Self { n, rows: n.div_ceil(cols).max(1), cols, keys, n_keys: 2 * n_rounds(n) }
    }

    /// Where `at` goes; `at` must be below `n`.
    pub fn apply(&self, at: u64) -> u64 {
        debug_assert!(at < self.n);
        let mut at = at;
        loop {
            at = self.step(at);
            // Walking on from a place outside ends within n, on another place than any other start does.
            if at < self.n {
                return at;
            }
        }
    }

    fn step(&self, at: u64) -> u64 {
        let (mut row, mut col) = (at / self.cols, at % self.cols);
        for keys in self.keys[..self.n_keys].chunks_exact(2) {
            row = add_modulo(row, scaled(mix(col ^ keys[0]), self.rows), self.rows);
            col = add_modulo(col, scaled(mix(row ^ keys[1]), self.cols), self.cols);
        }
        row * self.cols + col
    }
}

/// Which rows each batch of a rank has.
#[derive(Debug, Clone)]
pub struct Order {
    /// Seed of all epochs.
    pub seed: u64,
    /// Rows in all.
    pub n_rows: u64,
    /// Whether epochs are permuted; else every epoch is in the order of the rows.
    pub shuffle: bool,
    /// Rows of a global batch.
    pub batch_clips: u64,
    /// Whether the rows behind the last whole batch of an epoch make a shorter one.
    pub keep_last: bool,
    /// This rank, and how many there are.
    pub rank: (u64, u64),
}

/// Rows of one batch of one rank, in order.
#[derive(Debug, Clone)]
pub struct BatchRows {
    permutation: Option<Permutation>,
    positions: std::ops::Range<u64>,
}

impl Order {
    /// Batches of one epoch, the same for every rank.
    pub fn steps_per_epoch(&self) -> u64 {
        if self.keep_last { self.n_rows.div_ceil(self.batch_clips) } else { self.n_rows / self.batch_clips }
    }

    /// The rows of this rank in global batch `step` of `epoch`.
    pub fn rows(&self, epoch: u64, step: u64) -> BatchRows {
        let start = step * self.batch_clips;
        let len = self.batch_clips.min(self.n_rows.saturating_sub(start));
        let (rank, ranks) = self.rank;
        let of_epoch = seed::derive(&[self.seed, seed::hash_str("feed.order"), epoch]);
        BatchRows {
            permutation: self.shuffle.then(|| Permutation::new(of_epoch, self.n_rows)),
            positions: start + len * rank / ranks..start + len * (rank + 1) / ranks,
        }
    }
}

impl Iterator for BatchRows {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at = self.positions.next()?;
        Some(self.permutation.as_ref().map_or(at, |permutation| permutation.apply(at)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.positions.size_hint()
    }
}

/// `word` in `0..2^64` scaled to `0..n`.
fn scaled(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

fn add_modulo(a: u64, b: u64, n: u64) -> u64 {
    let sum = a + b;
    if sum >= n { sum - n } else { sum }
}

/// `SplitMix64`'s finaliser.
fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn ceil_sqrt(n: u64) -> u64 {
    let root = n.isqrt();
    root + u64::from(root * root < n)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    #[test]
    fn every_row_comes_once() {
        for n in (1..60).chain([97, 1000, 1024, 20_000]) {
            let permutation = Permutation::new(n ^ 5, n);
            let seen: HashSet<u64> = (0..n).map(|at| permutation.apply(at)).collect();
            assert!(seen.len() as u64 == n && seen.iter().all(|row| *row < n), "{n} rows");
        }
    }

    /// Chi-square over all orders of few rows, and over the place that a row goes to.
    #[test]
    fn every_order_is_as_likely_as_another() {
        for (n, n_orders) in [(2, 2), (3, 6), (4, 24), (5, 120)] {
            let mut counts = BTreeMap::new();
            let n_draws = 60_000;
            for seed in 0..n_draws {
                let permutation = Permutation::new(seed::derive(&[seed]), n);
                *counts.entry((0..n).map(|at| permutation.apply(at)).collect::<Vec<_>>()).or_insert(0.0) += 1.0;
            }
            assert_eq!(counts.len(), n_orders);
            let expected = n_draws as f64 / n_orders as f64;
            let chi: f64 = counts.values().map(|count: &f64| (count - expected).powi(2) / expected).sum();
            // Mean of chi-square and five of its standard deviations.
            let freedom = n_orders as f64 - 1.0;
            assert!(chi < freedom + 5.0 * (2.0 * freedom).sqrt(), "{n} rows: chi-square {chi}, {freedom} degrees");
        }
    }

    #[test]
    fn neighbours_part_and_epochs_differ() {
        let n = 20_000;
        let orders: Vec<Vec<u64>> =
            (0..2).map(|seed| (0..n).map(|at| Permutation::new(seed, n).apply(at)).collect()).collect();
        let fixed = orders[0].iter().zip(&orders[1]).filter(|(a, b)| a == b).count();
        assert!(fixed < 10, "{fixed} rows at one place in both; one is expected");
        let close = orders[0].windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
        assert!((2..50).contains(&close), "{close} neighbours stay within 10; 18 are expected");
    }

    #[test]
    fn the_ranks_share_each_global_batch() {
        let order = |rank, ranks, keep_last| Order {
            seed: 3,
            n_rows: 107,
            shuffle: true,
            batch_clips: 16,
            keep_last,
            rank: (rank, ranks),
        };
        assert_eq!((order(0, 1, false).steps_per_epoch(), order(0, 1, true).steps_per_epoch()), (6, 7));
        for epoch in 0..3 {
            for step in 0..7 {
                let whole: Vec<u64> = order(0, 1, true).rows(epoch, step).collect();
                assert_eq!(whole.len(), if step < 6 { 16 } else { 11 });
                for ranks in [2, 4, 8] {
                    let union: Vec<u64> =
                        (0..ranks).flat_map(|rank| order(rank, ranks, true).rows(epoch, step)).collect();
                    assert_eq!(union, whole);
                }
            }
        }
        let of_epoch = |epoch| (0..7).flat_map(move |step| order(0, 1, true).rows(epoch, step)).collect::<Vec<_>>();
        assert_ne!(of_epoch(0), of_epoch(1));
        assert_eq!(of_epoch(1).into_iter().collect::<HashSet<_>>().len(), 107);
    }
}
