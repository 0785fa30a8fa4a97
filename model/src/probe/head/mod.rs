//! One linear layer behind a layer normalisation, trained as X-ARES trains what it calls an MLP; behind what pools a clip's several
//! vectors, where it has several.

mod adam;
mod examples;
mod learning;
mod measure;
mod order;
mod pool;
mod truth;

use ajepa_ops::seed;
use nalgebra::DMatrix;

use super::ProbeError;
use super::score::Votes;
use truth::Truth;

pub use examples::{Examples, Frames};
pub use learning::{Fitted, HeadConfig};
pub use measure::{Average, Measure};
pub use order::{Order, xares_order};
pub use pool::{Pool, Sets};

/// Added to the variance of a vector before it is normalised.
const EPS: f64 = 1e-5;

/// Rows whose logits are taken together where nothing is learnt.
const BLOCK: usize = 256;

/// The same of clips whose vectors are pooled first, and held meanwhile.
const POOLED: usize = 32;

/// A layer normalisation and a linear layer: `weight (norm(x) * scale + shift) + bias`, where x is a clip's vector, or what a [`Pool`]
/// makes of its several.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    pool: Option<Pool>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// [classes, width], a class a row.
    weight: DMatrix<f32>,
    bias: Vec<f32>,
}

impl Head {
    /// As PyTorch begins one: weights and biases uniform within 1 / sqrt(width), scale 1, shift 0.
    pub fn new(width: usize, n_classes: usize, seed: u64) -> Self {
        let rng = &mut seed::rng(seed);
        let bound = 1.0 / (width as f64).sqrt();
        let mut draw = || ((2.0 * seed::unit(rng) - 1.0) * bound) as f32;
        let weight = DMatrix::from_fn(n_classes, width, |_, _| draw());
        let bias = (0..n_classes).map(|_| draw()).collect();
        Self { pool: None, scale: vec![1.0; width], shift: vec![0.0; width], weight, bias }
    }

    /// From weights made elsewhere, [classes, width] row-major, and biases; scale 1, shift 0.
    ///
    /// # Panics
    /// When there are not as many weights as classes times `width`.
    pub fn of(width: usize, weight: &[f32], bias: &[f32]) -> Self {
        let weight = DMatrix::from_row_slice(bias.len(), width, weight);
        Self { pool: None, scale: vec![1.0; width], shift: vec![0.0; width], weight, bias: bias.to_vec() }
    }

    /// The same behind `pool`, for clips of several vectors.
    #[must_use]
    pub fn behind(self, pool: Pool) -> Self {
        Self { pool: Some(pool), ..self }
    }

    /// What makes one vector of a clip's several, where there is such.
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
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

    /// Logits of clips, [clips, classes].
    ///
    /// # Errors
    /// [`ProbeError`] for clips that it was not made for; [`ProbeError::Pool`] of frames that are labelled each for itself.
    pub fn votes_of(&self, examples: &Examples<'_>) -> Result<Votes, ProbeError> {
        self.fits(examples)?;
        let (sets, pool) = match (examples, &self.pool) {
            (Examples::Sets(sets), Some(pool)) => (sets, pool),
            (Examples::Clips(clips), _) => return self.votes(clips.features),
            _ => return Err(ProbeError::Pool),
        };
        let mut values = Vec::with_capacity(sets.n_clips() * self.n_classes());
        let all: Vec<u32> = (0..sets.n_clips() as u32).collect();
        for which in all.chunks(POOLED) {
            let (rows, _) = pool.pooled(sets, which);
            let logits = self.logits(&normalised(rows.as_slice(), self.width()));
            values.extend(logits.as_slice().iter().map(|x| f64::from(*x)));
        }
        Ok(Votes { values, n_classes: self.n_classes() })
    }

    /// Logits of vectors, [rows, classes]; of vectors that are pooled already, where there is a pool.
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

    /// Checks that it can be shown these.
    fn fits(&self, examples: &Examples<'_>) -> Result<(), ProbeError> {
        same("width of the features", self.width(), examples.width())?;
        match (examples, &self.pool) {
            (Examples::Sets(sets), Some(pool)) => pool.check(sets),
            (Examples::Clips(_) | Examples::Frames(_), None) => Ok(()),
            _ => Err(ProbeError::Pool),
        }
    }

    /// The gradient of the mean loss over the clips `which`.
    fn taught(&self, examples: &Examples<'_>, which: &[u32], positive_weight: f32) -> Result<Gradient, ProbeError> {
        let (sets, pool) = match (examples, &self.pool) {
            (Examples::Sets(sets), Some(pool)) => (sets, pool),
            (Examples::Clips(clips), None) => {
                let rows = examples::vectors(&clips.features, which);
                return Ok(self.slopes(&rows, &Truth::of(clips.labels, which), positive_weight).0);
            }
            (Examples::Frames(frames), None) => {
                let (rows, truth) = frames.batch(which);
                return Ok(self.slopes(&rows, &truth, positive_weight).0);
            }
            _ => return Err(ProbeError::Pool),
        };
        let (mut rows, kept) = pool.pooled(sets, which);
        let scales: Vec<f32> = rows.as_mut_slice().chunks_exact_mut(self.width()).map(normalise).collect();
        let (gradient, slope) = self.slopes(&rows, &Truth::of(sets.labels, which), positive_weight);
        let pool = pool.gradient(sets, &kept, &self.slope_before(&rows, &scales, &slope));
        Ok(Gradient { pool, ..gradient })
    }

    /// The gradient of all behind the pool, and the slope along the logits, of normalised rows [width, rows].
    fn slopes(&self, rows: &DMatrix<f32>, truth: &Truth, positive_weight: f32) -> (Gradient, DMatrix<f32>) {
        let mut slope = self.logits(rows);
        truth.slope(&mut slope, positive_weight);
        (self.gradient(rows, &slope), slope)
    }

    /// The loss's slope [width, rows] along vectors before they were normalised, by what each was multiplied by then.
    fn slope_before(&self, rows: &DMatrix<f32>, scales: &[f32], slope: &DMatrix<f32>) -> DMatrix<f32> {
        let mut before = self.weight.tr_mul(slope);
        let n = self.width() as f32;
        for ((mut slope, row), factor) in before.column_iter_mut().zip(rows.column_iter()).zip(scales) {
            slope.iter_mut().zip(&self.scale).for_each(|(x, scale)| *x *= scale);
            let [mean, along] = [slope.sum() / n, slope.dot(&row) / n];
            slope.iter_mut().zip(row.iter()).for_each(|(x, row)| *x = factor * (*x - mean - row * along));
        }
        before
    }

    /// The gradient where `slope` [classes, rows] is the loss's slope along the logits of `rows` [width, rows].
    ///
    /// All of it follows from one product, of the slopes and the normalised rows: where features are frozen up to here, nothing needs to
    /// know how the rows themselves should change.
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
        Gradient { pool: Vec::new(), scale, shift, weight, bias }
    }
}

/// One number for each of a head's.
struct Gradient {
    pool: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    weight: DMatrix<f32>,
    bias: Vec<f32>,
}

/// Rows of `width` numbers brought to mean 0 and variance 1, one a column.
fn normalised(rows: &[f32], width: usize) -> DMatrix<f32> {
    let mut columns = DMatrix::from_column_slice(width, rows.len() / width, rows);
    for row in columns.as_mut_slice().chunks_exact_mut(width) {
        normalise(row);
    }
    columns
}

/// Brings a vector to mean 0 and variance 1; returns what it was multiplied by.
fn normalise(row: &mut [f32]) -> f32 {
    let n = row.len() as f64;
    let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + EPS).sqrt();
    for x in row.iter_mut() {
        *x = ((f64::from(*x) - mean) * scale) as f32;
    }
    scale as f32
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), ProbeError> {
    if expected == got { Ok(()) } else { Err(ProbeError::Shape { what, expected, got }) }
}

fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    for x in logits.iter_mut() {
        *x = (*x - largest).exp();
    }
    let sum: f32 = logits.iter().sum();
    for x in logits.iter_mut() {
        *x /= sum;
    }
}
