//! A hyperplane for each class.

use nalgebra::{DMatrix, DVector};

use super::logistic::{Link, Problem};
use super::{Features, Labelled, Labels, ProbeError, Scores, Votes};

/// Logistic regression on standardised features: multinomial where clips have one class each, one against the rest where they have
/// several. The minimum is unique and is reached, so that there are no rates, epochs or seeds to choose.
///
/// Minimised is the sum over clips of -ln(probability of what the clip is) + `l2` / 2 x the squared weights, intercepts excepted:
/// scikit-learn's `LogisticRegression(C=1 / l2)`, but that two classes have weights for both as any other number of classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearConfig {
    /// Price of a squared weight, over 0. Default 1.
    pub l2: f64,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { l2: 1.0 }
    }
}

/// A trained linear probe.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearProbe {
    mean: DVector<f64>,
    spread: DVector<f64>,
    /// [width + 1, classes], the last row being the intercepts.
    weights: DMatrix<f64>,
}

impl LinearConfig {
    /// Learns from `train`. Features are brought to mean 0 and variance 1 over its clips; one that does not vary is only centred.
    ///
    /// # Errors
    /// [`ProbeError::OneClass`] or [`ProbeError::Empty`] when there is nothing to tell apart, [`ProbeError::Config`].
    pub fn fit(&self, train: Labelled<'_>) -> Result<LinearProbe, ProbeError> {
        if !(self.l2 > 0.0 && self.l2.is_finite()) {
            return Err(ProbeError::Config { field: "l2", value: self.l2 });
        }
        train.tells_apart()?;
        let columns = train.features.columns().map(f64::from);
        let mean = columns.column_mean();
        let spread = columns.column_variance().map(|variance| if variance > 0.0 { variance.sqrt() } else { 1.0 });
        let rows = standardized(train.features, &mean, &spread);
        let mut truth = DMatrix::zeros(rows.nrows(), train.labels.n_classes());
        for row in 0..rows.nrows() {
            train.labels.of(row).iter().for_each(|&class| truth[(row, class as usize)] = 1.0);
        }
        let link = match train.labels {
            Labels::One(_) => Link::Softmax,
            Labels::Several(_) => Link::Sigmoid,
        };
        let weights = Problem::new(&rows, &truth, link, self.l2).minimum();
        Ok(LinearProbe { mean, spread, weights })
    }

    /// How well a probe that learnt from `train` says what the clips of `test` are.
    ///
    /// # Errors
    /// As [`LinearConfig::fit`]; a [`ProbeError`] for widths or kinds of labels that differ, or a class that `train` has not.
    ///
    /// # Example: a line between two classes
    /// ```
    /// use ajepa_model::probe::{Features, Labelled, Labels, LinearConfig};
    /// let labels = Labels::One(vec![0, 0, 1, 1]);
    /// let train = Labelled::new(Features::new(1, &[1.0, 2.0, 3.0, 4.0])?, &labels)?;
    /// let test = Labelled::new(Features::new(1, &[0.0, 2.4, 2.6, 9.0])?, &labels)?;
    /// assert_eq!(LinearConfig::default().score(train, test)?.accuracy, Some(1.0));
    /// # Ok::<(), ajepa_model::probe::ProbeError>(())
    /// ```
    pub fn score(&self, train: Labelled<'_>, test: Labelled<'_>) -> Result<Scores, ProbeError> {
        train.teaches(&test)?;
        Ok(self.fit(train)?.votes(test.features)?.scores(test.labels))
    }
}

impl LinearProbe {
    /// Logits of clips, [clips, classes].
    ///
    /// # Errors
    /// [`ProbeError::Shape`] for features of another width.
    pub fn votes(&self, features: Features<'_>) -> Result<Votes, ProbeError> {
        let (expected, got) = (self.mean.len(), features.width());
        if expected != got {
            return Err(ProbeError::Shape { what: "width of the features", expected, got });
        }
        let rows = standardized(features, &self.mean, &self.spread);
        // Columns of this product are clips, which is the order of votes.
        let logits = self.weights.transpose() * rows.transpose();
        Ok(Votes { values: logits.as_slice().to_vec(), n_classes: self.weights.ncols() })
    }

    /// Weights of the standardised features, [classes, width] row-major.
    pub fn weights(&self) -> Vec<f64> {
        self.weights.rows(0, self.mean.len()).iter().copied().collect()
    }

    /// Intercepts, one a class.
    pub fn intercepts(&self) -> Vec<f64> {
        self.weights.row(self.mean.len()).iter().copied().collect()
    }
}

/// [clips, width + 1], the last column being ones.
fn standardized(features: Features<'_>, mean: &DVector<f64>, spread: &DVector<f64>) -> DMatrix<f64> {
    let columns = features.columns();
    let width = columns.nrows();
    DMatrix::from_fn(columns.ncols(), width + 1, |row, i| {
        if i == width { 1.0 } else { (f64::from(columns[(i, row)]) - mean[i]) / spread[i] }
    })
}
