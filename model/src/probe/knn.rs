//! k nearest neighbours by cosine.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::{Features, Labelled, Labels, ProbeError, Scores, Votes};

/// Clips asked about at a time: one product with all clips to learn from.
const BLOCK: usize = 64;

/// k nearest neighbours, as self-supervised encoders are usually judged: each of the k clips to learn from that are nearest by cosine
/// votes for its classes with the weight exp(cosine / temperature), the k weights scaled to add up to 1 (Wu 2018, arXiv 1805.01978).
/// A vector of length 0 has the cosine 0 with all. Of equally near clips the first in the list counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnConfig {
    /// Neighbours that vote; all where there are fewer. Default 10.
    pub k: usize,
    /// How little a farther neighbour counts: weights fall by a factor e for each `temperature` of cosine. Default 0.07.
    pub temperature: f64,
    /// What near means. Default: cosine.
    pub similarity: Similarity,
}

/// What near means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Similarity {
    /// The cosine of the angle between two vectors.
    #[default]
    Cosine,
    /// What X-ARES 0.1.3 takes in its place: the product of a vector of length 1 and one whose every number is divided by the length of
    /// that feature over all clips to learn from. No cosine: the same embeddings may score 0.28 so and 0.74 by cosine.
    Xares,
}

impl Default for KnnConfig {
    fn default() -> Self {
        Self { k: 10, temperature: 0.07, similarity: Similarity::Cosine }
    }
}

impl KnnConfig {
    /// How well the neighbours in `train` say what the clips of `test` are.
    ///
    /// # Errors
    /// A [`ProbeError`] for a config out of range, widths or kinds of labels that differ, a class of `test` that `train` has not, or a
    /// `train` of one class.
    pub fn score(&self, train: Labelled<'_>, test: Labelled<'_>) -> Result<Scores, ProbeError> {
        Ok(self.votes(train, test)?.scores(test.labels))
    }

    /// Votes for the clips of `test`, [clips, classes].
    ///
    /// # Errors
    /// As [`KnnConfig::score`].
    pub fn votes(&self, train: Labelled<'_>, test: Labelled<'_>) -> Result<Votes, ProbeError> {
        self.check()?;
        train.teaches(&test)?;
        Ok(self.ask(train, test.features, train.labels.n_classes(), false))
    }

    /// Votes for the vectors of `test` among `n_classes` classes, [clips, classes]; classes that `train` has not get none.
    ///
    /// # Errors
    /// A [`ProbeError`] for a config out of range, widths that differ, a class beyond `n_classes`.
    pub fn votes_among(&self, train: Labelled<'_>, test: Features<'_>, n_classes: usize) -> Result<Votes, ProbeError> {
        self.check()?;
        let same = |what: &'static str, expected: usize, got: usize| ProbeError::Shape { what, expected, got };
        if train.features.width() != test.width() {
            return Err(same("width of the features", train.features.width(), test.width()));
        }
        if train.labels.n_classes() > n_classes {
            return Err(same("classes", n_classes, train.labels.n_classes()));
        }
        Ok(self.ask(train, test, n_classes, false))
    }

    /// How well a clip's neighbours among all the others say what it is.
    ///
    /// # Errors
    /// As [`KnnConfig::score`]; [`ProbeError::Unseen`] for a class of which there is but one clip.
    pub fn leave_one_out(&self, clips: Labelled<'_>) -> Result<Scores, ProbeError> {
        Ok(self.votes_of_others(clips)?.scores(clips.labels))
    }

    /// Votes of all others for each clip, [clips, classes].
    ///
    /// # Errors
    /// As [`KnnConfig::leave_one_out`].
    pub fn votes_of_others(&self, clips: Labelled<'_>) -> Result<Votes, ProbeError> {
        self.check()?;
        clips.tells_apart()?;
        let mut counts = vec![0_usize; clips.labels.n_classes()];
        clips.labels.all().for_each(|class| counts[class as usize] += 1);
        match counts.iter().position(|count| *count == 1) {
            Some(class) => Err(ProbeError::Unseen { class: class as u32 }),
            None => Ok(self.ask(clips, clips.features, clips.labels.n_classes(), true)),
        }
    }

    fn check(&self) -> Result<(), ProbeError> {
        if self.k == 0 {
            return Err(ProbeError::Config { field: "k", value: 0.0 });
        }
        if self.temperature > 0.0 && self.temperature.is_finite() {
            Ok(())
        } else {
            Err(ProbeError::Config { field: "temperature", value: self.temperature })
        }
    }

    /// `of_itself`: both are the same clips, and none is its own neighbour.
    fn ask(&self, train: Labelled<'_>, test: Features<'_>, n_classes: usize, of_itself: bool) -> Votes {
        let known = match self.similarity {
            Similarity::Cosine => unit_columns(train.features).transpose(),
            Similarity::Xares => unit_features(train.features),
        };
        let asked = unit_columns(test);
        let blocks: Vec<usize> = (0..test.n_rows()).step_by(BLOCK).collect();
        let votes = |&first: &usize| {
            let n = BLOCK.min(test.n_rows() - first);
            let cosines = &known * asked.columns(first, n);
            let mut votes = vec![0.0; n * n_classes];
            for (i, (cosines, votes)) in cosines.column_iter().zip(votes.chunks_exact_mut(n_classes)).enumerate() {
                let itself = of_itself.then_some(first + i);
                self.vote(cosines.as_slice(), itself, train.labels, votes);
            }
            votes
        };
        Votes { values: blocks.par_iter().flat_map_iter(votes).collect(), n_classes }
    }

    fn vote(&self, cosines: &[f64], itself: Option<usize>, labels: &Labels, votes: &mut [f64]) {
        let mut rows: Vec<usize> = (0..cosines.len()).filter(|row| Some(*row) != itself).collect();
        let nearer = |&a: &usize, &b: &usize| cosines[b].total_cmp(&cosines[a]).then(a.cmp(&b));
        if self.k < rows.len() {
            rows.select_nth_unstable_by(self.k - 1, nearer);
            rows.truncate(self.k);
        }
        rows.sort_unstable_by(nearer);
        let Some(&nearest) = rows.first() else { return };
        let weight = |row: usize| ((cosines[row] - cosines[nearest]) / self.temperature).exp();
        let sum: f64 = rows.iter().map(|&row| weight(row)).sum();
        for &row in &rows {
            labels.of(row).iter().for_each(|&class| votes[class as usize] += weight(row) / sum);
        }
    }
}

/// Vectors of unit length, one a column.
fn unit_columns(features: Features<'_>) -> DMatrix<f64> {
    let mut columns = features.columns().map(f64::from);
    for mut column in columns.column_iter_mut() {
        let length = column.norm();
        if length > 0.0 {
            column /= length;
        }
    }
    columns
}

/// Features of unit length over all clips, one a column.
fn unit_features(features: Features<'_>) -> DMatrix<f64> {
    let mut columns = features.columns().transpose().map(f64::from);
    for mut column in columns.column_iter_mut() {
        // Below this X-ARES divides by this.
        column /= column.norm().max(1e-12);
    }
    columns
}
