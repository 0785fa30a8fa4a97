//! A picture's values brought to mean 0 and deviation 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::Axes;
use crate::{ConfigError, OpError};

/// Where mean and deviation come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandardizeMode {
    /// From all valid cells of the clip at hand.
    #[default]
    Clip,
    /// From the valid frames of the clip at hand, for every mel band by itself.
    ClipPerMel,
    /// Given: `mean` and `std`, usually of a whole corpus.
    Global,
}

/// `(x - mean) / max(std, min_std)` over a log-mel picture.
///
/// Statistics are taken over valid frames only, else a short clip's would be those of its padding. Every cell is then
/// mapped, padding too, so that silence stays the quietest thing in the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StandardizeConfig {
    /// `clip`, `clip_per_mel` or `global`. Default `clip`.
    pub mode: StandardizeMode,
    /// Mean in the picture's unit: one value, or one per mel band. Active only if `mode` is `global`.
    pub mean: Vec<f64>,
    /// Standard deviation in the picture's unit, above 0: one value, or one per mel band. Active only if `mode` is `global`.
    pub std: Vec<f64>,
    /// Least deviation that is divided by, above 0, so that silence does not become infinite. Default 1e-5.
    pub min_std: f64,
}

impl Default for StandardizeConfig {
    fn default() -> Self {
        Self { mode: StandardizeMode::Clip, mean: Vec::new(), std: Vec::new(), min_std: 1e-5 }
    }
}

impl StandardizeConfig {
    /// Checks the fields against the pictures' `n_mels`.
    ///
    /// # Errors
    /// Names the field that is missing, has the wrong number of values, or a value out of range.
    pub fn build(&self, n_mels: usize) -> Result<Standardize, ConfigError> {
        if !(self.min_std > 0.0 && self.min_std.is_finite()) {
            return Err(ConfigError::new("min_std", format!("{}", self.min_std), "a number above 0, such as 1e-5"));
        }
        let global = self.mode == StandardizeMode::Global;
        for (field, values) in [("mean", &self.mean), ("std", &self.std)] {
            let fits = if global { values.len() == 1 || values.len() == n_mels } else { values.is_empty() };
            if !fits {
                let help = if global {
                    format!("one value, or {n_mels}, one per mel band")
                } else {
                    "leave it out, or say `mode: global`".to_owned()
                };
                return Err(ConfigError::new(field, format!("{} values", values.len()), help));
            }
            if let Some(bad) = values.iter().find(|v| !v.is_finite() || (field == "std" && **v <= 0.0)) {
                return Err(ConfigError::new(field, format!("{bad}"), "finite numbers; a deviation is above 0"));
            }
        }
        let spread = |values: &[f64]| match values {
            [] => vec![0.0; n_mels],
            [one] => vec![*one; n_mels],
            all => all.to_vec(),
        };
        Ok(Standardize { mode: self.mode, min_std: self.min_std, mean: spread(&self.mean), std: spread(&self.std) })
    }
}

/// A standardiser for pictures of a fixed number of mel bands.
#[derive(Debug, Clone)]
pub struct Standardize {
    mode: StandardizeMode,
    min_std: f64,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Standardize {
    /// Maps `picture` in place. Allocates nothing.
    ///
    /// # Shapes
    /// `picture` [frames, `n_mels`] or [`n_mels`, frames] by `axes`, row-major; the first `n_valid` frames are the clip's.
    ///
    /// # Errors
    /// [`OpError::Shape`] for a picture that is not a whole number of frames or has fewer than `n_valid`;
    /// [`OpError::Empty`] when statistics are wanted of no frames.
    pub fn process(&mut self, picture: &mut [f32], axes: Axes, n_valid: usize) -> Result<(), OpError> {
        let n_mels = self.mean.len();
        let n_frames = picture.len() / n_mels;
        if n_frames * n_mels != picture.len() || n_valid > n_frames {
            let expected = n_mels * n_valid.max(n_frames);
            return Err(OpError::Shape { what: "picture", expected, got: picture.len() });
        }
        if self.mode != StandardizeMode::Global {
            if n_valid == 0 {
                return Err(OpError::Empty);
            }
            self.measure(picture, axes, n_valid);
        }
        let map =
            |cell: &mut f32, mean: f64, std: f64| *cell = ((f64::from(*cell) - mean) / std.max(self.min_std)) as f32;
        for (i, cell) in picture.iter_mut().enumerate() {
            let m = if axes == Axes::TimeMel { i % n_mels } else { i / n_frames };
            map(cell, self.mean[m], self.std[m]);
        }
        Ok(())
    }

    /// Mean and deviation (of the population) of the valid cells, in two passes.
    fn measure(&mut self, picture: &[f32], axes: Axes, n_valid: usize) {
        let n_mels = self.mean.len();
        let n_frames = picture.len() / n_mels;
        let cell = |t: usize, m: usize| match axes {
            Axes::TimeMel => f64::from(picture[t * n_mels + m]),
            Axes::MelTime => f64::from(picture[m * n_frames + t]),
        };
        let count = n_valid as f64;
        for m in 0..n_mels {
            self.mean[m] = (0..n_valid).map(|t| cell(t, m)).sum::<f64>() / count;
        }
        if self.mode == StandardizeMode::Clip {
            let mean = self.mean.iter().sum::<f64>() / n_mels as f64;
            self.mean.fill(mean);
        }
        for m in 0..n_mels {
            self.std[m] = (0..n_valid).map(|t| (cell(t, m) - self.mean[m]).powi(2)).sum::<f64>() / count;
        }
        if self.mode == StandardizeMode::Clip {
            let variance = self.std.iter().sum::<f64>() / n_mels as f64;
            self.std.fill(variance);
        }
        self.std.iter_mut().for_each(|variance| *variance = variance.sqrt());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: &StandardizeConfig, axes: Axes, picture: &[f32], n_valid: usize) -> Vec<f32> {
        let mut out = picture.to_vec();
        config.build(2).unwrap().process(&mut out, axes, n_valid).unwrap();
        out
    }

    #[test]
    fn clip_statistics_are_of_valid_frames_and_padding_moves_along() {
        let config = StandardizeConfig::default();
        // Valid cells 1, 3, 5, 7: mean 4, variance (9 + 1 + 1 + 9) / 4 = 5.
        let unit = |x: f64| (x / 5.0_f64.sqrt()) as f32;
        let want = [-3.0, -1.0, 1.0, 3.0, -14.0, -14.0].map(unit);
        assert_eq!(run(&config, Axes::TimeMel, &[1.0, 3.0, 5.0, 7.0, -10.0, -10.0], 2), want);
        let want = [-3.0, 1.0, -14.0, -1.0, 3.0, -14.0].map(unit);
        assert_eq!(run(&config, Axes::MelTime, &[1.0, 5.0, -10.0, 3.0, 7.0, -10.0], 2), want);
    }

    #[test]
    fn per_mel_and_global() {
        let config = StandardizeConfig { mode: StandardizeMode::ClipPerMel, ..StandardizeConfig::default() };
        assert_eq!(run(&config, Axes::TimeMel, &[1.0, 10.0, 3.0, 30.0], 2), [-1.0, -1.0, 1.0, 1.0]);
        let config: StandardizeConfig =
            serde_json::from_str(r#"{"mode": "global", "mean": [1, 2], "std": [2]}"#).unwrap();
        assert_eq!(run(&config, Axes::TimeMel, &[1.0, 2.0, 3.0, 6.0], 0), [0.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn silence_stays_finite() {
        assert_eq!(run(&StandardizeConfig::default(), Axes::TimeMel, &[-15.9; 4], 2), [0.0; 4]);
    }

    #[test]
    fn faults_are_named() {
        let field =
            |json| serde_json::from_str::<StandardizeConfig>(json).unwrap().build(2).map(|_| ()).unwrap_err().field;
        assert_eq!(field(r#"{"mode": "global", "std": [1]}"#), "mean");
        assert_eq!(field(r#"{"mode": "global", "mean": [0], "std": [1, 2, 3]}"#), "std");
        assert_eq!(field(r#"{"mode": "global", "mean": [0], "std": [0]}"#), "std");
        assert_eq!(field(r#"{"mean": [0]}"#), "mean");
        assert_eq!(field(r#"{"min_std": 0}"#), "min_std");
        let mut op = StandardizeConfig::default().build(2).unwrap();
        assert!(matches!(op.process(&mut [0.0; 3], Axes::TimeMel, 1), Err(OpError::Shape { .. })));
        assert!(matches!(op.process(&mut [0.0; 4], Axes::TimeMel, 0), Err(OpError::Empty)));
    }
}
