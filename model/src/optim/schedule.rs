//! A number as a function of the step, and of nothing else: the same after a resume, with any batch size.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Faults;

/// How a scheduled number goes from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// It stays at `start`.
    #[default]
    Constant,
    /// Straight.
    Linear,
    /// Along half a cosine.
    Cosine,
}

/// A straight way to 0 after all else, which may be begun from any checkpoint (Hägele 2024, arXiv 2405.18392).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    /// The step at which it begins.
    pub from_step: u64,
    /// Steps until 0 is reached.
    pub steps: u64,
}

/// A number by step: a straight warm-up from `warmup_from` to `start`, then `shape` to `end` at `steps`, and `end` from there on.
///
/// # Example: up in 10 steps, down in 100
/// ```
/// use ajepa_model::{ScheduleConfig, Shape};
/// let lr = ScheduleConfig { shape: Shape::Cosine, warmup_steps: 10, steps: 110, ..ScheduleConfig::constant(1e-3) };
/// assert_eq!((lr.at(0), lr.at(5), lr.at(10)), (0.0, 5e-4, 1e-3));
/// assert!((lr.at(60) - 5e-4).abs() < 1e-12);
/// assert_eq!(lr.at(1000), 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// How it goes from `start` to `end`. Default `constant`.
    #[serde(default)]
    pub shape: Shape,
    /// Value after the warm-up.
    pub start: f64,
    /// Value at `steps` and after; active only if `shape` is not constant. Default 0.
    #[serde(default)]
    pub end: f64,
    /// Value at step 0; active only if there is a warm-up. Default 0.
    #[serde(default)]
    pub warmup_from: f64,
    /// Steps of warm-up. Default 0: none.
    #[serde(default)]
    pub warmup_steps: u64,
    /// The step, warm-up counted in, at which `end` is reached; active only if `shape` is not constant. Default 0.
    #[serde(default)]
    pub steps: u64,
    /// Where the value is led to 0 in the end. Default: nowhere.
    #[serde(default)]
    pub cooldown: Option<Cooldown>,
}

impl ScheduleConfig {
    /// `value` at every step.
    pub fn constant(value: f64) -> Self {
        let shape = Shape::Constant;
        Self { shape, start: value, end: 0.0, warmup_from: 0.0, warmup_steps: 0, steps: 0, cooldown: None }
    }

    /// The value at `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        let left =
            self.cooldown.map_or(1.0, |cooldown| 1.0 - share(step.saturating_sub(cooldown.from_step), cooldown.steps));
        left * self.course(step)
    }

    /// The same course for a run of `to` steps instead of `from`.
    pub(crate) fn stretched(self, to: u64, from: u64) -> Self {
        let stretch =
            |n: u64| u64::try_from(u128::from(n) * u128::from(to) / u128::from(from.max(1))).unwrap_or(u64::MAX);
        Self { warmup_steps: stretch(self.warmup_steps), steps: stretch(self.steps), ..self }
    }

    fn course(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return lerp(self.warmup_from, self.start, share(step, self.warmup_steps));
        }
        let done = share(step - self.warmup_steps, self.steps.saturating_sub(self.warmup_steps));
        match self.shape {
            Shape::Constant => self.start,
            Shape::Linear => lerp(self.start, self.end, done),
            Shape::Cosine => lerp(self.end, self.start, f64::midpoint(1.0, (std::f64::consts::PI * done).cos())),
        }
    }

    pub(crate) fn check(&self, field: &'static str, high: f64, faults: &mut Faults) {
        for value in [self.start, self.end, self.warmup_from] {
            faults.within(field, value, 0.0, high);
        }
        if self.shape != Shape::Constant && self.steps <= self.warmup_steps {
            let problem = format!("{} steps end within the warm-up of {}", self.steps, self.warmup_steps);
            faults.add(field, problem, format!("steps: {} or more, or shape: constant", self.warmup_steps + 1));
        }
    }
}

/// How much of `whole` steps is done, at most 1.
fn share(step: u64, whole: u64) -> f64 {
    if step >= whole { 1.0 } else { step as f64 / whole as f64 }
}

fn lerp(from: f64, to: f64, share: f64) -> f64 {
    if share >= 1.0 { to } else { from + (to - from) * share }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    #[test]
    fn the_code_never_gets_past_0_9967() {
        let tau = Preset::Code225b816.recipe().tau;
        assert_eq!(tau.at(0), 0.996);
        assert!((0.996_65..0.9967).contains(&tau.at(100_000)));
    }

    #[test]
    fn the_paper_warms_up_from_1e_6_and_ends_at_0() {
        let lr = Preset::Paper2025.recipe().learning_rate;
        assert_eq!((lr.at(0), lr.at(1000), lr.at(100_000)), (1e-6, 3e-4, 0.0));
        assert!((lr.at(500) - 1.505e-4).abs() < 1e-12);
    }

    #[test]
    fn a_cooldown_leads_any_course_to_0() {
        let cooldown = Some(Cooldown { from_step: 100, steps: 10 });
        let lr = ScheduleConfig { cooldown, ..ScheduleConfig::constant(2.0) };
        assert_eq!((lr.at(99), lr.at(100), lr.at(105), lr.at(110), lr.at(200)), (2.0, 2.0, 1.0, 0.0, 0.0));
    }
}
