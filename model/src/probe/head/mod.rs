//! One linear layer behind a layer normalisation, trained as X-ARES trains what it calls an MLP.

mod adam;
mod examples;
mod measure;
mod order;
mod truth;

use ajepa_ops::seed;
use nalgebra::DMatrix;

use super::ProbeError;
use super::score::Votes;
use adam::Adam;

pub use examples::{Examples, Frames};
pub use measure::{Average, Measure};
pub use order::{Order, xares_order};

/// Added to the variance of a vector before it is normalised.
const EPS: f64 = 1e-5;

/// Rows whose logits are taken together where nothing is learnt.
const BLOCK: usize = 256;

/// How a [`Head`] learns: mini-batches, Adam (Kingma 2015, betas 0.9 and 0.999, no decay), and a learning rate that falls along a
/// cosine, epoch by epoch, to a tenth: `lr - 0.45 lr (1 - cos(pi e / epochs))` in epoch e, counted from 0.
///
/// The loss is the cross-entropy where clips have one class each, and the mean binary cross-entropy where they have several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadConfig {
    /// How often every example is shown; 1 or more. Default 10.
    pub epochs: usize,
    /// Examples of a step; 1 or more. Default 32.
    pub batch_len: usize,
    /// Learning rate of the first epoch. Default 1e-3.
    pub learning_rate: f64,
    /// How much more a class that is there counts than one that is not; 1 for all but MAESTRO's notes. Active only where clips have
    /// several classes.
    pub positive_weight: f32,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { epochs: 10, batch_len: 32, learning_rate: 1e-3, positive_weight: 1.0 }
    }
}

/// A layer normalisation and a linear layer: `weight (norm(x) * scale + shift) + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// [classes, width], a class a row.
    weight: DMatrix<f32>,
    bias: Vec<f32>,
}

/// A head that has learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// After its best epoch, of equals the first; after the last where nothing judged.
    pub head: Head,
    /// Which epoch that was, counted from 1.
    pub epoch: usize,
    /// What the judge said after each epoch.
    pub scores: Vec<f64>,
}

impl Head {
    /// As PyTorch begins one: weights and biases uniform within 1 / sqrt(width), scale 1, shift 0.
    pub fn new(width: usize, n_classes: usize, seed: u64) -> Self {
        let rng = &mut seed::rng(seed);
        let bound = 1.0 / (width as f64).sqrt();
        let mut draw = || ((2.0 * seed::unit(rng) - 1.0) * bound) as f32;
        let weight = DMatrix::from_fn(n_classes, width, |_, _| draw());
        let bias = (0..n_classes).map(|_| draw()).collect();
        Self { scale: vec![1.0; width], shift: vec![0.0; width], weight, bias }
    }

    /// From weights made elsewhere, [classes, width] row-major, and biases; scale 1, shift 0.
    ///
    /// # Panics
    /// When there are not as many weights as classes times `width`.
    pub fn of(width: usize, weight: &[f32], bias: &[f32]) -> Self {
        let weight = DMatrix::from_row_slice(bias.len(), width, weight);
        Self { scale: vec![1.0; width], shift: vec![0.0; width], weight, bias: bias.to_vec() }
    }

    /// Numbers in a vector that it reads.
    pub fn width(&self) -> usize {
        self.scale.len()
    }

    /// Classes that it tells apart.
    pub fn n_classes(&self) -> usize {
        self.bias.len()
    }

    /// What a normalised vector is multiplied by.
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// What is added to it then.
    pub fn shift(&self) -> &[f32] {
        &self.shift
    }

    /// Weights of the linear layer, [classes, width] row-major.
    pub fn weights(&self) -> Vec<f32> {
        self.weight.transpose().as_slice().to_vec()
    }

    /// Its biases, one a class.
    pub fn biases(&self) -> &[f32] {
        &self.bias
    }

    /// Logits of vectors, [rows, classes].
    ///
    /// # Errors
    /// [`ProbeError::Shape`] for vectors of another width.
    pub fn votes(&self, features: super::Features<'_>) -> Result<Votes, ProbeError> {
        let (expected, got) = (self.width(), features.width());
        if expected != got {
            return Err(ProbeError::Shape { what: "width of the features", expected, got });
        }
        let mut values = Vec::with_capacity(features.n_rows() * self.n_classes());
        for rows in features.values().chunks(BLOCK * expected) {
            let logits = self.logits(&normalised(rows, expected));
            values.extend(logits.as_slice().iter().map(|x| f64::from(*x)));
        }
        Ok(Votes { values, n_classes: self.n_classes() })
    }

    /// [classes, rows] for normalised rows [width, rows].
    fn logits(&self, rows: &DMatrix<f32>) -> DMatrix<f32> {
        let mut input = rows.clone();
        for mut row in input.column_iter_mut() {
            row.iter_mut().zip(&self.scale).zip(&self.shift).for_each(|((x, scale), shift)| *x = *x * scale + shift);
        }
        let mut logits = &self.weight * input;
        for mut row in logits.column_iter_mut() {
            row.iter_mut().zip(&self.bias).for_each(|(x, bias)| *x += bias);
        }
        logits
    }

    /// The gradient where `slope` [classes, rows] is the loss's slope along the logits of `rows` [width, rows].
    ///
    /// All of it follows from one product, of the slopes and the normalised rows: behind frozen features nothing needs to know how the
    /// rows themselves should change.
    fn gradient(&self, rows: &DMatrix<f32>, slope: &DMatrix<f32>) -> Gradient {
        let product = slope * rows.transpose();
        let bias: Vec<f32> = slope.column_sum().iter().copied().collect();
        let mut weight = product.clone();
        let mut scale = Vec::with_capacity(self.width());
        let mut shift = Vec::with_capacity(self.width());
        for (i, mut column) in weight.column_iter_mut().enumerate() {
            let own = self.weight.column(i);
            scale.push(own.dot(&product.column(i)));
            shift.push(own.iter().zip(&bias).map(|(w, b)| w * b).sum());
            column.iter_mut().zip(&bias).for_each(|(x, bias)| *x = *x * self.scale[i] + bias * self.shift[i]);
        }
        Gradient { scale, shift, weight, bias }
    }
}

/// One number for each of a head's.
struct Gradient {
    scale: Vec<f32>,
    shift: Vec<f32>,
    weight: DMatrix<f32>,
    bias: Vec<f32>,
}

impl HeadConfig {
    /// Shows `train` to `head`, in each epoch in the order that `order` gives; `judge` is asked after each.
    ///
    /// # Errors
    /// [`ProbeError`] for a config out of range, a width that is not the head's, a class that it has not.
    pub fn fit(
        &self,
        mut head: Head,
        train: &Examples<'_>,
        order: &mut dyn FnMut(usize) -> Vec<u32>,
        judge: Option<&dyn Fn(&Head) -> f64>,
    ) -> Result<Fitted, ProbeError> {
        self.check(&head, train)?;
        let mut adam = Adam::new(&head);
        let mut scores = Vec::with_capacity(self.epochs);
        let mut best: Option<(f64, usize, Head)> = None;
        for epoch in 0..self.epochs {
            let rate = self.rate(epoch);
            for which in order(epoch).chunks(self.batch_len) {
                let (rows, truth) = train.batch(which, head.n_classes());
                let mut logits = head.logits(&rows);
                truth.slope(&mut logits, self.positive_weight);
                let gradient = head.gradient(&rows, &logits);
                adam.step(&mut head, &gradient, rate);
            }
            let Some(judge) = judge else { continue };
            let score = judge(&head);
            scores.push(score);
            if best.as_ref().is_none_or(|(known, ..)| score > *known) {
                best = Some((score, epoch + 1, head.clone()));
            }
        }
        let (_, epoch, head) = best.unwrap_or((f64::NAN, self.epochs, head));
        Ok(Fitted { head, epoch, scores })
    }

    /// Learning rate of an epoch, counted from 0.
    fn rate(&self, epoch: usize) -> f64 {
        let turn = (std::f64::consts::PI * epoch as f64 / self.epochs as f64).cos();
        self.learning_rate * (1.0 - 0.45 * (1.0 - turn))
    }

    fn check(&self, head: &Head, train: &Examples<'_>) -> Result<(), ProbeError> {
        for (field, value) in [("epochs", self.epochs), ("batch_len", self.batch_len)] {
            if value == 0 {
                return Err(ProbeError::Config { field, value: 0.0 });
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(ProbeError::Config { field: "learning_rate", value: self.learning_rate });
        }
        let (expected, got) = (head.width(), train.width());
        if expected != got {
            return Err(ProbeError::Shape { what: "width of the features", expected, got });
        }
        match train.n_classes() {
            n if n <= head.n_classes() => Ok(()),
            got => Err(ProbeError::Shape { what: "classes", expected: head.n_classes(), got }),
        }
    }
}

/// Rows of `width` numbers brought to mean 0 and variance 1, one a column.
fn normalised(rows: &[f32], width: usize) -> DMatrix<f32> {
    let mut columns = DMatrix::from_column_slice(width, rows.len() / width, rows);
    columns.as_mut_slice().chunks_exact_mut(width).for_each(normalise);
    columns
}

fn normalise(row: &mut [f32]) {
    let n = row.len() as f64;
    let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + EPS).sqrt();
    for x in row.iter_mut() {
        *x = ((f64::from(*x) - mean) * scale) as f32;
    }
}
