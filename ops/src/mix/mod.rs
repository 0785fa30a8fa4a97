//! Gain, added noise and downmixing. Everything drawn is a function of a seed.
//!
//! Nothing here clips: a gain or a noise may carry samples beyond [-1, 1], and the `f32` samples keep what lies there.

mod downmix;
mod gain;
mod noise;

pub use downmix::{Downmix, DownmixChannels, DownmixConfig, Downmixed};
pub use gain::{Gain, GainConfig};
pub use noise::{MixNoise, MixNoiseConfig, NoiseKind};

use crate::{ConfigError, seed};

/// A level in dB: one value, or evenly drawn between two.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LevelRange {
    min_db: f64,
    max_db: f64,
}

/// A config's fields for a [`LevelRange`], by the names its errors use.
struct LevelFields {
    value: (&'static str, Option<f64>),
    min: (&'static str, Option<f64>),
    max: (&'static str, Option<f64>),
}

/// Levels beyond this are slips of the pen: 10^10 in amplitude.
const MAX_ABS_DB: f64 = 200.0;

impl LevelRange {
    fn new(fields: &LevelFields) -> Result<Self, ConfigError> {
        let LevelFields { value, min, max } = fields;
        let range = match (value.1, min.1, max.1) {
            (Some(db), None, None) => Self { min_db: db, max_db: db },
            (None, Some(min_db), Some(max_db)) => Self { min_db, max_db },
            _ => {
                let help = format!("either `{}`, or `{}` and `{}`", value.0, min.0, max.0);
                return Err(ConfigError::new(value.0, "the level is given neither once nor as a range", help));
            }
        };
        for (field, db) in [*value, *min, *max] {
            if db.is_some_and(|db| !(-MAX_ABS_DB..=MAX_ABS_DB).contains(&db)) {
                return Err(ConfigError::new(
                    field,
                    "the level is out of range",
                    format!("-{MAX_ABS_DB} to {MAX_ABS_DB} dB"),
                ));
            }
        }
        if range.min_db > range.max_db {
            let problem = format!("{} dB is above `{}`, {} dB", range.min_db, max.0, range.max_db);
            return Err(ConfigError::new(min.0, problem, "the smaller level first"));
        }
        Ok(range)
    }

    fn draw(self, rng: &mut impl rand_core::Rng) -> f64 {
        self.min_db + (self.max_db - self.min_db) * seed::unit(rng)
    }
}

fn amplitude(db: f64) -> f64 {
    10_f64.powf(db / 20.0)
}
