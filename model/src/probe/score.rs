//! Scores, and how far they would move with other clips of the same kind.

use ajepa_ops::seed;
use rayon::prelude::*;

use super::Labels;

/// What a probe found about clips it was asked about. Where clips have one label each, accuracies; where they have several, the mean
/// average precision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// See [`accuracy`].
    pub accuracy: Option<f64>,
    /// See [`balanced_accuracy`].
    pub balanced_accuracy: Option<f64>,
    /// See [`mean_average_precision`].
    pub mean_average_precision: Option<f64>,
}

impl Scores {
    /// The usual one of them: accuracy, or mean average precision.
    pub fn main(&self) -> f64 {
        self.accuracy.or(self.mean_average_precision).unwrap_or(f64::NAN)
    }
}

/// Where a score would be expected with other clips.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a probe says to each clip for each class: the larger, the surer.
///
/// # Shapes
/// [clips, classes], row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Votes {
    pub(super) values: Vec<f64>,
    pub(super) n_classes: usize,
}

impl Votes {
    /// All votes, [clips, classes].
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Classes.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// The class with most votes, of equals the first, for each clip.
    pub fn winners(&self) -> Vec<u32> {
        self.values.chunks_exact(self.n_classes).map(winner).collect()
    }

    /// Scores against what the clips are.
    ///
    /// # Panics
    /// When there are not as many labels as clips.
    pub fn scores(&self, labels: &Labels) -> Scores {
        self.weighed(labels).scores(&vec![1; labels.n_rows()])
    }

    /// Between which two numbers the middle `level` (such as 0.95) of [`Scores::main`] lies over `n_draws` bootstrap samples of the
    /// clips (Efron 1979, percentiles by nearest rank); the samples are functions of `seed`.
    ///
    /// # Panics
    /// When there are not as many labels as clips, or no draws.
    pub fn interval(&self, labels: &Labels, n_draws: usize, level: f64, seed: u64) -> Interval {
        assert!(n_draws > 0, "a bootstrap without draws");
        let weighed = self.weighed(labels);
        let draw = |index: usize| {
            let rng = &mut seed::rng(seed::derive(&[seed, index as u64]));
            let mut weights = vec![0_u32; labels.n_rows()];
            for _ in 0..weights.len() {
                let row = seed::below(rng, labels.n_rows() as u64) as usize;
                weights[row] += 1;
            }
            weighed.scores(&weights).main()
        };
        let mut drawn: Vec<f64> = (0..n_draws).into_par_iter().map(draw).collect();
        drawn.sort_by(f64::total_cmp);
        let at = |share: f64| drawn[((share * n_draws as f64).ceil() as usize).clamp(1, n_draws) - 1];
        Interval { low: at(0.5 - level / 2.0), high: at(0.5 + level / 2.0) }
    }

    fn weighed<'a>(&self, labels: &'a Labels) -> Weighed<'a> {
        assert!(labels.n_rows() * self.n_classes == self.values.len(), "as many labels as clips");
        match labels {
            Labels::One(truth) => Weighed::One { predicted: self.winners(), truth },
            Labels::Several(_) => Weighed::Several(Ranking::new(&self.values, self.n_classes, labels)),
        }
    }
}

/// What is sorted once and then scored with any weights of the clips.
enum Weighed<'a> {
    One { predicted: Vec<u32>, truth: &'a [u32] },
    Several(Vec<Ranking>),
}

impl Weighed<'_> {
    fn scores(&self, weights: &[u32]) -> Scores {
        let none = Scores { accuracy: None, balanced_accuracy: None, mean_average_precision: None };
        match self {
            Self::One { predicted, truth } => {
                let (accuracy, balanced) = accuracies(predicted, truth, weights);
                Scores { accuracy: Some(accuracy), balanced_accuracy: Some(balanced), ..none }
            }
            Self::Several(rankings) => {
                Scores { mean_average_precision: Some(mean_precision(rankings, weights)), ..none }
            }
        }
    }
}

/// Share of the clips whose class was found; NaN of none.
///
/// # Panics
/// When the lists differ in length.
pub fn accuracy(predicted: &[u32], truth: &[u32]) -> f64 {
    accuracies(predicted, truth, &vec![1; truth.len()]).0
}

/// Mean over the classes that occur in `truth` of the share of their clips whose class was found; NaN of no clips.
///
/// # Panics
/// When the lists differ in length.
pub fn balanced_accuracy(predicted: &[u32], truth: &[u32]) -> f64 {
    accuracies(predicted, truth, &vec![1; truth.len()]).1
}

fn accuracies(predicted: &[u32], truth: &[u32], weights: &[u32]) -> (f64, f64) {
    assert!(predicted.len() == truth.len() && truth.len() == weights.len(), "a prediction for each clip");
    let n_classes = truth.iter().max().map_or(0, |max| *max as usize + 1);
    let mut found = vec![[0_u64; 2]; n_classes];
    for ((predicted, truth), &weight) in predicted.iter().zip(truth).zip(weights) {
        found[*truth as usize][0] += u64::from(weight);
        found[*truth as usize][1] += u64::from(weight) * u64::from(predicted == truth);
    }
    let [all, right] = found.iter().fold([0, 0], |sum, class| [sum[0] + class[0], sum[1] + class[1]]);
    let recalls: Vec<f64> =
        found.iter().filter(|class| class[0] > 0).map(|class| class[1] as f64 / class[0] as f64).collect();
    (right as f64 / all as f64, recalls.iter().sum::<f64>() / recalls.len() as f64)
}

/// Mean over the classes that some clip has of the average precision: the sum over the distinct scores, from the highest down, of
/// (recall here - recall at the score above) x precision here. NaN where no clip has a class.
///
/// # Shapes
/// `scores` [clips, n_classes], row-major.
///
/// # Panics
/// When `scores` are of another shape.
pub fn mean_average_precision(scores: &[f64], n_classes: usize, labels: &Labels) -> f64 {
    assert!(scores.len() == labels.n_rows() * n_classes, "a score for each clip and class");
    mean_precision(&Ranking::new(scores, n_classes, labels), &vec![1; labels.n_rows()])
}

/// The same over all classes, one that no clip has counting 0: scikit-learn's `average_precision_score` of clips with several labels.
///
/// # Shapes
/// `scores` [clips, n_classes], row-major.
///
/// # Panics
/// When `scores` are of another shape.
pub fn mean_average_precision_of_all(scores: &[f64], n_classes: usize, labels: &Labels) -> f64 {
    assert!(scores.len() == labels.n_rows() * n_classes, "a score for each clip and class");
    let weights = vec![1; labels.n_rows()];
    let rankings = Ranking::new(scores, n_classes, labels);
    let each = rankings.iter().map(|ranking| ranking.average_precision(&weights).unwrap_or(0.0));
    each.sum::<f64>() / n_classes as f64
}

/// Clips by one class's score, from the highest down.
struct Ranking {
    /// Row, whether it is of the class, whether the next one's score is another.
    order: Vec<(u32, bool, bool)>,
}

impl Ranking {
    /// One for each class.
    fn new(scores: &[f64], n_classes: usize, labels: &Labels) -> Vec<Self> {
        let class = |class: usize| {
            let score = |row: u32| scores[row as usize * n_classes + class];
            let mut rows: Vec<u32> = (0..labels.n_rows() as u32).collect();
            rows.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
            let is = |row: u32| labels.of(row as usize).contains(&(class as u32));
            let ends = |i: usize, row: u32| rows.get(i + 1).is_none_or(|&next| score(next) != score(row));
            Self { order: rows.iter().enumerate().map(|(i, &row)| (row, is(row), ends(i, row))).collect() }
        };
        (0..n_classes).into_par_iter().map(class).collect()
    }

    /// None where no clip with a weight is of the class.
    fn average_precision(&self, weights: &[u32]) -> Option<f64> {
        let (mut above, mut right, mut counted, mut sum) = (0_u64, 0_u64, 0_u64, 0.0);
        for &(row, is, ends) in &self.order {
            let weight = u64::from(weights[row as usize]);
            above += weight;
            right += weight * u64::from(is);
            if ends && right > counted {
                sum += (right - counted) as f64 * right as f64 / above as f64;
                counted = right;
            }
        }
        (right > 0).then(|| sum / right as f64)
    }
}

fn mean_precision(rankings: &[Ranking], weights: &[u32]) -> f64 {
    let each: Vec<f64> = rankings.iter().filter_map(|ranking| ranking.average_precision(weights)).collect();
    each.iter().sum::<f64>() / each.len() as f64
}

/// Index of the largest, of equals the first.
fn winner(votes: &[f64]) -> u32 {
    votes
        .iter()
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (class, &vote)| if vote > best.1 { (class, vote) } else { best })
        .0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(accuracy(&[0, 1, 1, 2], &[0, 0, 1, 2]), 0.75);
        assert_eq!(balanced_accuracy(&[0, 1, 1, 2], &[0, 0, 1, 2]), (0.5 + 1.0 + 1.0) / 3.0);
        // Right, wrong, right from the top: (1 + 2/3) / 2.
        let labels = Labels::Several(vec![vec![0], vec![], vec![0]]);
        assert_eq!(mean_average_precision(&[0.9, 0.8, 0.7], 1, &labels), f64::midpoint(1.0, 2.0 / 3.0));
        // Equal scores are one threshold.
        assert_eq!(mean_average_precision(&[0.5, 0.5, 0.5], 1, &labels), 2.0 / 3.0);
        // A class that nobody has does not count.
        assert_eq!(mean_average_precision(&[0.9, 0.0, 0.8, 0.0, 0.7, 0.0], 2, &labels), f64::midpoint(1.0, 2.0 / 3.0));
    }

    #[test]
    fn an_interval_holds_the_score_and_shrinks_with_more_clips() {
        let votes = |n: usize| {
            let values = (0..n).flat_map(|row| if row % 4 == 0 { [0.0, 1.0] } else { [1.0, 0.0] }).collect();
            (Votes { values, n_classes: 2 }, Labels::One(vec![0; n]))
        };
        let width = |n: usize| {
            let (votes, labels) = votes(n);
            let Interval { low, high } = votes.interval(&labels, 500, 0.95, 3);
            assert!(low < 0.75 && 0.75 < high, "{low} {high}");
            assert_eq!(votes.interval(&labels, 500, 0.95, 3), Interval { low, high });
            high - low
        };
        // 2 x 1.96 x sqrt(0.75 x 0.25 / n).
        assert!((width(400) - 0.085).abs() < 0.015, "{}", width(400));
        assert!((width(40) - 0.268).abs() < 0.05, "{}", width(40));
    }
}
