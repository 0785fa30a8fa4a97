//! A level up or down, fixed or drawn.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LevelFields, LevelRange, amplitude};
use crate::{ConfigError, seed};

/// By how much a clip is raised: `db`, or evenly drawn in decibels between `min_db` and `max_db`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GainConfig {
    /// Gain in dB, -200 to 200; negative attenuates. Not together with `min_db` and `max_db`.
    pub db: Option<f64>,
    /// Smallest gain in dB, -200 to 200. Together with `max_db`.
    pub min_db: Option<f64>,
    /// Largest gain in dB, -200 to 200. Together with `min_db`.
    pub max_db: Option<f64>,
}

impl GainConfig {
    /// Checks the levels.
    ///
    /// # Errors
    /// Neither one level nor a range, or a level out of -200 to 200 dB.
    pub fn build(&self) -> Result<Gain, ConfigError> {
        let fields = LevelFields { value: ("db", self.db), min: ("min_db", self.min_db), max: ("max_db", self.max_db) };
        Ok(Gain { range: LevelRange::new(&fields)? })
    }
}

/// Raises or lowers clips, in place. [`GainConfig::build`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Gain {
    range: LevelRange,
}

impl Gain {
    /// The gain that `seed` draws, in dB.
    pub fn db(&self, seed: u64) -> f64 {
        self.range.draw(&mut seed::rng(seed))
    }

    /// Applies it; samples may leave [-1, 1].
    ///
    /// # Example: a quarter of a clip's level, whatever the seed
    /// ```
    /// use ajepa_ops::mix::GainConfig;
    /// let mut clip = [1.0, -0.5];
    /// GainConfig { db: Some(-12.041_199_8), ..GainConfig::default() }.build()?.process(&mut clip, 7);
    /// assert_eq!(clip, [0.25, -0.125]);
    /// # Ok::<(), ajepa_ops::ConfigError>(())
    /// ```
    pub fn process(&self, samples: &mut [f32], seed: u64) {
        let factor = amplitude(self.db(seed)) as f32;
        for sample in samples {
            *sample *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_gains_fill_their_range_and_follow_the_seed() {
        let gain = GainConfig { min_db: Some(-6.0), max_db: Some(6.0), ..GainConfig::default() }.build().unwrap();
        let drawn: Vec<f64> = (0..500).map(|seed| gain.db(seed)).collect();
        assert!(drawn.iter().all(|db| (-6.0..=6.0).contains(db)));
        assert!(drawn.iter().any(|&db| db < -5.5) && drawn.iter().any(|&db| db > 5.5));
        assert!((drawn.iter().sum::<f64>() / 500.0).abs() < 0.6);
        assert_eq!(gain.db(3), drawn[3]);
    }

    #[test]
    fn half_a_range_is_refused() {
        let field = |config: GainConfig| config.build().err().map(|error| error.field);
        assert_eq!(field(GainConfig::default()), Some("db"));
        assert_eq!(field(GainConfig { min_db: Some(0.0), ..GainConfig::default() }), Some("db"));
        assert_eq!(field(GainConfig { db: Some(f64::NAN), ..GainConfig::default() }), Some("db"));
        assert_eq!(field(GainConfig { db: None, min_db: Some(3.0), max_db: Some(1.0) }), Some("min_db"));
    }
}
