//! Logistic regression with a price on large weights: Newton's method, each step solved by conjugate gradients.

use nalgebra::DMatrix;
use rayon::prelude::*;

/// Rows that one task works on, at least.
const MIN_BLOCK: usize = 128;
/// Tasks that rows are cut into, at most; their sums are added in order.
const MAX_BLOCKS: usize = 16;
const MAX_STEPS: usize = 100;
const MAX_PRODUCTS: usize = 200;
/// Length of the gradient, over its length at the start, at which the minimum is reached.
const ENOUGH: f64 = 1e-9;

/// How the classes of a clip exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// One class a clip: probabilities add up to 1.
    Softmax,
    /// Each class for itself.
    Sigmoid,
}

/// Sum over rows of -ln(probability of what the row is), plus `l2` / 2 times the squares of all weights but the last row's, which is
/// that of the intercepts.
pub(super) struct Problem {
    blocks: Vec<Block>,
    link: Link,
    l2: f64,
    shape: [usize; 2],
}

struct Block {
    /// [rows, width + 1], the last column being ones.
    rows: DMatrix<f64>,
    /// The transpose: products are fastest of two matrices as they lie.
    columns: DMatrix<f64>,
    /// [rows, classes], 1 where a row is of a class.
    truth: DMatrix<f64>,
}

/// Where weights stand.
struct Point {
    weights: DMatrix<f64>,
    value: f64,
    gradient: DMatrix<f64>,
    /// For each block, [rows, classes].
    probabilities: Vec<DMatrix<f64>>,
}

impl Problem {
    /// `rows` [clips, width + 1] with ones in the last column, `truth` [clips, classes].
    pub fn new(rows: &DMatrix<f64>, truth: &DMatrix<f64>, link: Link, l2: f64) -> Self {
        let n = rows.nrows();
        let size = n.div_ceil(MAX_BLOCKS).max(MIN_BLOCK);
        let firsts: Vec<usize> = (0..n).step_by(size).collect();
        let block = |&first: &usize| {
            let n_rows = size.min(n - first);
            let rows = rows.rows(first, n_rows).into_owned();
            Block { columns: rows.transpose(), rows, truth: truth.rows(first, n_rows).into_owned() }
        };
        Self { blocks: firsts.par_iter().map(block).collect(), link, l2, shape: [rows.ncols(), truth.ncols()] }
    }

    /// The weights [width + 1, classes] of the smallest value.
    pub fn minimum(&self) -> DMatrix<f64> {
        let [width, n_classes] = self.shape;
        let mut point = self.at(DMatrix::zeros(width, n_classes));
        let enough = ENOUGH * point.gradient.norm();
        for _ in 0..MAX_STEPS {
            let length = point.gradient.norm();
            if length <= enough {
                break;
            }
            let direction = self.newton(&point, (length * 0.1).min(length * (length * ENOUGH / enough).sqrt()));
            let Some(next) = self.along(&point, &direction) else { break };
            point = next;
        }
        point.weights
    }

    fn at(&self, weights: DMatrix<f64>) -> Point {
        let parts = self.blocks.par_iter().map(|block| {
            let mut probabilities = &block.rows * &weights;
            let value = surprise(self.link, &mut probabilities, &block.truth);
            let gradient = &block.columns * (&probabilities - &block.truth);
            (value, gradient, probabilities)
        });
        let parts: Vec<_> = parts.collect();
        let mut gradient = self.penalty(&weights);
        let mut value = 0.5 * gradient.dot(&weights);
        let mut probabilities = Vec::with_capacity(parts.len());
        for (part, grad, block) in parts {
            value += part;
            gradient += grad;
            probabilities.push(block);
        }
        Point { weights, value, gradient, probabilities }
    }

    /// `l2` times all weights but the intercepts.
    fn penalty(&self, weights: &DMatrix<f64>) -> DMatrix<f64> {
        let mut penalty = weights * self.l2;
        penalty.row_mut(self.shape[0] - 1).fill(0.0);
        penalty
    }

    /// The Hessian times `vector`.
    fn curvature(&self, point: &Point, vector: &DMatrix<f64>) -> DMatrix<f64> {
        let parts = self.blocks.par_iter().zip(&point.probabilities).map(|(block, probabilities)| {
            let mut along = &block.rows * vector;
            match self.link {
                Link::Softmax => {
                    along.component_mul_assign(probabilities);
                    let means = along.column_sum();
                    for (mut along, p) in along.column_iter_mut().zip(probabilities.column_iter()) {
                        along -= p.component_mul(&means);
                    }
                }
                Link::Sigmoid => along.zip_apply(probabilities, |x, p| *x *= p * (1.0 - p)),
            }
            &block.columns * along
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().fold(self.penalty(vector), |sum, part| sum + part)
    }

    /// The step to where the quadratic through `point` is smallest, until what is missing is shorter than `enough`.
    fn newton(&self, point: &Point, enough: f64) -> DMatrix<f64> {
        let mut step = DMatrix::zeros(self.shape[0], self.shape[1]);
        let mut missing = -&point.gradient;
        let mut direction = missing.clone();
        let mut squares = missing.norm_squared();
        for _ in 0..MAX_PRODUCTS {
            if squares.sqrt() <= enough {
                break;
            }
            let bent = self.curvature(point, &direction);
            let curvature = direction.dot(&bent);
            if curvature <= 0.0 {
                break;
            }
            let far = squares / curvature;
            step += &direction * far;
            missing -= bent * far;
            let next = missing.norm_squared();
            direction = &missing + direction * (next / squares);
            squares = next;
        }
        step
    }

    /// The first of the whole step, its half, its quarter and so on that is worth its length; none when digits are used up.
    fn along(&self, point: &Point, direction: &DMatrix<f64>) -> Option<Point> {
        let slope = point.gradient.dot(direction);
        let steps = (0..30).map(|halvings| 0.5_f64.powi(halvings));
        let mut points = steps.map(|far| (far, self.at(&point.weights + direction * far)));
        let rounding = 1e-13 * point.value.abs();
        points.find(|(far, next)| next.value <= point.value + 1e-4 * far * slope + rounding).map(|(_, next)| next)
    }
}

/// -ln of the probability of `truth`, summed; `logits` become probabilities.
fn surprise(link: Link, logits: &mut DMatrix<f64>, truth: &DMatrix<f64>) -> f64 {
    match link {
        Link::Softmax => {
            let mut sum = 0.0;
            for (mut logits, truth) in logits.row_iter_mut().zip(truth.row_iter()) {
                let largest = logits.max();
                let of_truth = logits.dot(&truth);
                logits.apply(|x| *x = (*x - largest).exp());
                let all = logits.sum();
                logits /= all;
                sum += all.ln() + largest - of_truth;
            }
            sum
        }
        Link::Sigmoid => {
            let mut sum = 0.0;
            for (logit, truth) in logits.iter_mut().zip(truth.iter()) {
                // ln(1 + exp(x)) without overflow.
                sum += logit.max(0.0) + (-logit.abs()).exp().ln_1p() - truth * *logit;
                *logit = 1.0 / (1.0 + (-*logit).exp());
            }
            sum
        }
    }
}
