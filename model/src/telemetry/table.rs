//! Rows of numbers in double precision and what they spread over: moments, rank, and whose doing the spread is.

use burn::tensor::Tensor;
use nalgebra::{DMatrix, DVector, Matrix3, Vector3};

/// Numbers row by row, each column less its mean.
pub(super) struct Table {
    /// One column a row of the tensor: nalgebra stores columns one after the other, as a tensor does rows.
    centred: DMatrix<f64>,
    mean: DVector<f64>,
}

/// Shares of the variance, each in [0, 1], together at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    pub clips: f64,
    pub positions: f64,
}

impl Table {
    /// Of a matrix [rows, width].
    pub fn of(tensor: Tensor<2>) -> Self {
        let [n_rows, width] = tensor.dims();
        Self::new(width, n_rows, tensor.into_data().iter::<f64>())
    }

    pub fn new(width: usize, n_rows: usize, numbers: impl Iterator<Item = f64>) -> Self {
        let mut centred = DMatrix::from_iterator(width, n_rows, numbers);
        let mean = centred.column_mean();
        centred.column_iter_mut().for_each(|mut row| row -= &mean);
        Self { centred, mean }
    }

    fn n_rows(&self) -> usize {
        self.centred.ncols()
    }

    /// Sum of squared distances from the mean.
    pub fn scatter(&self) -> f64 {
        self.centred.norm_squared()
    }

    /// Standard deviation of each dimension over the rows.
    pub fn spreads(&self) -> Vec<f64> {
        let mut sums = DVector::zeros(self.centred.nrows());
        for row in self.centred.column_iter() {
            sums += row.component_mul(&row);
        }
        let n = self.n_rows() as f64;
        sums.iter().map(|sum| (sum / n).sqrt()).collect()
    }

    /// Mean of [`Table::spreads`].
    pub fn spread(&self) -> f64 {
        mean_of(&self.spreads())
    }

    /// Exponential of the entropy of the rows' singular values, the mean left in; 0 where all is 0.
    pub fn rank_me(&self) -> f64 {
        let rows =
            DMatrix::from_fn(self.centred.nrows(), self.n_rows(), |i, row| self.centred[(i, row)] + self.mean[i]);
        let gram = gram(&rows);
        // The iteration for eigenvalues would not end on a NaN.
        if !gram.iter().all(|x| x.is_finite()) {
            return 0.0;
        }
        let mut singular: Vec<f64> = gram.symmetric_eigenvalues().iter().map(|x| x.max(0.0).sqrt()).collect();
        singular.sort_by(|a, b| b.total_cmp(a));
        let sum: f64 = singular.iter().sum();
        if sum > 0.0 { perplexity(singular.iter().map(|x| x / sum)) } else { 0.0 }
    }

    /// (Sum of the covariance's eigenvalues)^2 over the sum of their squares; 0 where nothing varies.
    pub fn participation_ratio(&self) -> f64 {
        let squares = gram(&self.centred).norm_squared();
        if squares > 0.0 { self.scatter().powi(2) / squares } else { 0.0 }
    }

    /// How much of the variance is the clips' and how much the positions': variance components of x = mean + clip + position + rest by
    /// Henderson's first method (Biometrics 9, 1953), summed over the dimensions, an estimate under 0 taken for 0.
    ///
    /// Plain variances of means would not do: a clip's mean is over the few positions that it was seen at, so that it varies with these
    /// and with the rest, though clips be all alike. The method sets three sums of squares (of all rows, of the clips' sums, of the
    /// positions' sums) equal to what they are expected to be for the layout at hand, whatever its gaps, and solves for the three
    /// components.
    ///
    /// `clips` and `positions` say of each row whose it is. Both shares are 0 where the layout cannot tell: a single clip.
    pub fn shares(&self, clips: &[usize], positions: &[usize]) -> Shares {
        let n = self.n_rows() as f64;
        let (by_clip, by_position) = (Groups::new(clips), Groups::new(positions));
        let crossings = Crossings::new(&by_clip, &by_position, clips, positions);
        let (clips_squared, positions_squared) = (by_clip.squared_share(n), by_position.squared_share(n));
        let expected = Matrix3::new(
            n - clips_squared,
            crossings.within_clips - positions_squared,
            by_clip.sizes_used() - 1.0,
            crossings.within_positions - clips_squared,
            n - positions_squared,
            by_position.sizes_used() - 1.0,
            n - clips_squared,
            n - positions_squared,
            n - 1.0,
        );
        let found = Vector3::new(
            by_clip.sum_of_squares(&self.centred, clips),
            by_position.sum_of_squares(&self.centred, positions),
            self.scatter(),
        );
        let components = expected.lu().solve(&found).filter(|x| x.iter().all(|x| x.is_finite()));
        let components = components.unwrap_or_default().map(|x| x.max(0.0));
        let sum = components.sum();
        if sum > 0.0 {
            Shares { clips: components[0] / sum, positions: components[1] / sum }
        } else {
            Shares { clips: 0.0, positions: 0.0 }
        }
    }
}

/// How many rows each group has.
struct Groups {
    sizes: Vec<f64>,
}

impl Groups {
    fn new(group_of: &[usize]) -> Self {
        let mut sizes = vec![0.0; group_of.iter().max().map_or(0, |max| max + 1)];
        for &group in group_of {
            sizes[group] += 1.0;
        }
        Self { sizes }
    }

    fn sizes_used(&self) -> f64 {
        self.sizes.iter().filter(|size| **size > 0.0).count() as f64
    }

    /// Sum of the squared sizes over the number of rows.
    fn squared_share(&self, n: f64) -> f64 {
        self.sizes.iter().map(|size| size * size).sum::<f64>() / n
    }

    /// Squared lengths of the groups' sums over their sizes.
    fn sum_of_squares(&self, rows: &DMatrix<f64>, group_of: &[usize]) -> f64 {
        let mut sums = DMatrix::zeros(rows.nrows(), self.sizes.len());
        for (row, &group) in rows.column_iter().zip(group_of) {
            let mut sum = sums.column_mut(group);
            sum += row;
        }
        let used = sums.column_iter().zip(&self.sizes).filter(|(_, size)| **size > 0.0);
        used.map(|(sum, size)| sum.norm_squared() / size).sum()
    }
}

/// How often clips meet positions.
struct Crossings {
    /// Sum over clips of the squared counts of their positions, over the clip's size.
    within_clips: f64,
    /// The same the other way round.
    within_positions: f64,
}

impl Crossings {
    fn new(by_clip: &Groups, by_position: &Groups, clips: &[usize], positions: &[usize]) -> Self {
        let n_positions = by_position.sizes.len();
        let mut counts = vec![0.0_f64; by_clip.sizes.len() * n_positions];
        for (clip, position) in clips.iter().zip(positions) {
            counts[clip * n_positions + position] += 1.0;
        }
        let mut crossings = Self { within_clips: 0.0, within_positions: 0.0 };
        for (cell, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0.0) {
            crossings.within_clips += count * count / by_clip.sizes[cell / n_positions];
            crossings.within_positions += count * count / by_position.sizes[cell % n_positions];
        }
        crossings
    }
}

/// Products of all pairs of rows, or of columns where these are fewer: the eigenvalues that are not 0 are the same.
fn gram(rows: &DMatrix<f64>) -> DMatrix<f64> {
    let transposed = rows.transpose();
    if rows.ncols() < rows.nrows() { transposed * rows } else { rows * transposed }
}

/// Exponential of the entropy of shares that add up to 1.
pub(super) fn perplexity(shares: impl Iterator<Item = f64>) -> f64 {
    shares.filter(|share| *share > 0.0).map(|share| -share * share.ln()).sum::<f64>().exp()
}

pub(super) fn mean_of(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use ajepa_ops::seed;

    use super::*;

    fn near(a: f64, b: f64, within: f64) -> bool {
        (a - b).abs() < within
    }

    #[test]
    fn ranks_by_hand() {
        // Singular values in the ratio 3 to 1, mean 0.
        let table = Table::new(2, 4, [3.0, 0.0, -3.0, 0.0, 0.0, 1.0, 0.0, -1.0].into_iter());
        let entropy = -(0.75_f64 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        assert!(near(table.rank_me(), entropy.exp(), 1e-9));
        assert!(near(table.participation_ratio(), 100.0 / 82.0, 1e-12));
        assert!(near(table.spread(), f64::midpoint(4.5_f64.sqrt(), 0.5_f64.sqrt()), 1e-12));
        // Fewer rows than dimensions; the mean, which all share, is the one direction there is.
        let same = Table::new(3, 2, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0].into_iter());
        assert!(near(same.rank_me(), 1.0, 1e-6));
        assert_eq!((same.participation_ratio(), same.spread()), (0.0, 0.0));
        assert_eq!(Table::new(2, 2, [0.0; 4].into_iter()).rank_me(), 0.0);
        assert_eq!(Table::new(2, 2, [f64::NAN; 4].into_iter()).rank_me(), 0.0);
        // Two orthogonal directions of equal length, in more dimensions than rows.
        let two = Table::new(5, 2, [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0].into_iter());
        assert!(near(two.rank_me(), 2.0, 1e-9));
    }

    const N_CLIPS: usize = 24;
    const N_POSITIONS: usize = 32;
    const WIDTH: usize = 60;

    /// Half the positions of each clip; effects of clips, positions and the rest with these standard deviations.
    fn layout([clip, position, rest]: [f64; 3]) -> (Table, Vec<usize>, Vec<usize>) {
        let rng = &mut seed::rng(4);
        let mut effects = |n: usize, spread: f64| -> Vec<f64> {
            (0..n * WIDTH).map(|_| (seed::unit(rng) - 0.5) * 12.0_f64.sqrt() * spread).collect()
        };
        let [of_clips, of_positions] = [effects(N_CLIPS, clip), effects(N_POSITIONS, position)];
        let of_rows = effects(N_CLIPS * N_POSITIONS / 2, rest);
        let (mut clips, mut positions) = (Vec::new(), Vec::new());
        for clip in 0..N_CLIPS {
            let mut order: Vec<usize> = (0..N_POSITIONS).collect();
            seed::shuffle(&mut seed::rng(clip as u64), &mut order);
            clips.extend([clip; N_POSITIONS / 2]);
            positions.extend_from_slice(&order[..N_POSITIONS / 2]);
        }
        let number = |at: usize| {
            let (row, i) = (at / WIDTH, at % WIDTH);
            7.0 + of_clips[clips[row] * WIDTH + i] + of_positions[positions[row] * WIDTH + i] + of_rows[at]
        };
        let table = Table::new(WIDTH, clips.len(), (0..clips.len() * WIDTH).map(number));
        (table, clips, positions)
    }

    #[test]
    fn variance_is_shared_out_as_it_was_made_though_every_clip_misses_half_the_positions() {
        for spreads in [[1.0, 1.0, 1.0], [0.5, 2.0, 1.0], [2.0, 0.3, 1.0], [0.0, 1.0, 0.5], [1.0, 0.0, 1.0]] {
            let (table, clips, positions) = layout(spreads);
            let Shares { clips, positions } = table.shares(&clips, &positions);
            let squares = spreads.map(|x: f64| x * x);
            let all: f64 = squares.iter().sum();
            let within = 0.04;
            assert!(near(clips, squares[0] / all, within), "{spreads:?}: clips {clips}");
            assert!(near(positions, squares[1] / all, within), "{spreads:?}: positions {positions}");
        }
    }

    #[test]
    fn clips_that_are_all_alike_have_no_share_though_their_means_differ() {
        let (table, clips, positions) = layout([0.0, 1.0, 1.0]);
        let means = Groups::new(&clips).sum_of_squares(&table.centred, &clips) / table.scatter();
        assert!(means > 0.04, "{means}");
        assert!(table.shares(&clips, &positions).clips < 0.01);
    }

    #[test]
    fn one_clip_cannot_tell() {
        let table = Table::new(1, 4, [1.0, 2.0, 4.0, 3.0].into_iter());
        assert_eq!(table.shares(&[0; 4], &[0, 1, 2, 3]), Shares { clips: 0.0, positions: 0.0 });
        assert_eq!(table.shares(&[0; 4], &[0, 0, 1, 1]).clips, 0.0);
    }
}
