//! Optimisation: AdamW and the moving average in one pass over memory, and schedules as functions of the step.

mod adamw;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, Decay};
pub(crate) use adamw::{GlobalNorm, Rates};
pub use schedule::{Cooldown, ScheduleConfig, Shape};
