//! What the rows of a step are, and how the loss falls along their logits.

use nalgebra::DMatrix;

use super::super::Labels;
use super::softmax;

/// What the rows of a step are.
pub(super) enum Truth {
    /// A class each.
    One(Vec<u32>),
    /// Any classes each.
    Several(Vec<Vec<u32>>),
}

impl Truth {
    /// Of the clips `which`.
    pub fn of(labels: &Labels, which: &[u32]) -> Self {
        let of = |clip: &u32| labels.of(*clip as usize);
        match labels {
            Labels::One(_) => Self::One(which.iter().map(|clip| of(clip)[0]).collect()),
            Labels::Several(_) => Self::Several(which.iter().map(|clip| of(clip).to_vec()).collect()),
        }
    }

    /// Turns logits [classes, rows] into the slope of the mean loss along them.
    pub fn slope(&self, logits: &mut DMatrix<f32>, positive_weight: f32) {
        match self {
            Self::One(classes) => {
                let share = 1.0 / classes.len() as f32;
                for (mut logits, &class) in logits.column_iter_mut().zip(classes) {
                    softmax(logits.as_mut_slice());
                    logits[class as usize] -= 1.0;
                    logits.iter_mut().for_each(|x| *x *= share);
                }
            }
            Self::Several(classes) => {
                let share = 1.0 / (classes.len() * logits.nrows()) as f32;
                for (mut logits, classes) in logits.column_iter_mut().zip(classes) {
                    logits.iter_mut().for_each(|x| *x = share * sigmoid(*x));
                    for &class in classes {
                        let x = &mut logits[class as usize];
                        *x = positive_weight * (*x - share);
                    }
                }
            }
        }
    }
}

/// 1 / (1 + exp(-x)).
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_by_hand() {
        let mut logits = DMatrix::from_column_slice(2, 2, &[0.0, 0.0, 3.0_f32.ln(), 0.0]);
        Truth::One(vec![0, 1]).slope(&mut logits, 1.0);
        let expected = [-0.25, 0.25, 0.375, -0.375];
        assert!(logits.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-6), "{logits}");

        let mut logits = DMatrix::from_column_slice(2, 1, &[0.0, 3.0_f32.ln()]);
        Truth::Several(vec![vec![1]]).slope(&mut logits, 10.0);
        // Half of sigmoid(0); half of -10 (1 - 3/4).
        assert!((logits[0] - 0.25).abs() < 1e-6 && (logits[1] + 1.25).abs() < 1e-6, "{logits}");
    }
}
