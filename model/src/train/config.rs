//! How long is trained, and what is done on the way.

use crate::ModelError;
use crate::config::Faults;

/// How long to train, and how often to look, to ask, to save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainConfig {
    /// Steps to train in all, those of earlier processes included.
    pub steps: u64,
    /// Batches whose gradients are averaged into one step. Default 1.
    pub accumulate: usize,
    /// Steps between two lines of `metrics.jsonl`. Default 10.
    pub log_every: u64,
    /// Steps between two looks at the health of the representation; a multiple of `log_every`. Default 50.
    pub health_every: u64,
    /// Steps between two probes; a multiple of `log_every`. Default 500.
    pub probe_every: u64,
    /// Steps between two checkpoints. Default 1000.
    pub save_every: u64,
    /// Checkpoints that stay, beside the best one by probe: the newest so many. Default 2.
    pub keep: usize,
    /// Checkpoints at multiples of this step stay for ever. Default: none do.
    pub keep_every: Option<u64>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 20_000,
            accumulate: 1,
            log_every: 10,
            health_every: 50,
            probe_every: 500,
            save_every: 1000,
            keep: 2,
            keep_every: None,
        }
    }
}

impl TrainConfig {
    /// Proves it.
    ///
    /// # Errors
    /// [`ModelError::Config`] with every fault.
    pub fn check(&self) -> Result<(), ModelError> {
        let mut faults = Faults::default();
        for (name, value) in [
            ("steps", self.steps),
            ("accumulate", self.accumulate as u64),
            ("log_every", self.log_every),
            ("health_every", self.health_every),
            ("probe_every", self.probe_every),
            ("save_every", self.save_every),
            ("keep", self.keep as u64),
            ("keep_every", self.keep_every.unwrap_or(1)),
        ] {
            if value == 0 {
                faults.add(name, "0 is too few", "1 or more");
            }
        }
        let log_every = self.log_every.max(1);
        for (name, value) in [("health_every", self.health_every), ("probe_every", self.probe_every)] {
            if !value.is_multiple_of(log_every) {
                let help = format!("{} would fit", value.next_multiple_of(log_every));
                faults.add(name, format!("{value} is no multiple of log_every, {log_every}"), help);
            }
        }
        if faults.0.is_empty() { Ok(()) } else { Err(ModelError::Config { faults: faults.0 }) }
    }
}
