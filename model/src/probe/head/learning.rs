//! How a head learns.

use super::adam::Adam;
use super::{Examples, Head, ProbeError};

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

impl HeadConfig {
    /// Shows `train` to `head`, in each epoch in the order that `order` gives; `judge` is asked after each.
    ///
    /// # Errors
    /// [`ProbeError`] for a config out of range, a width that is not the head's, a class that it has not, clips of several vectors
    /// without a [`Pool`](super::Pool) that fits them.
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
                let gradient = head.taught(train, which, self.positive_weight)?;
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
        head.fits(train)?;
        match train.n_classes() {
            n if n <= head.n_classes() => Ok(()),
            got => Err(ProbeError::Shape { what: "classes", expected: head.n_classes(), got }),
        }
    }
}
