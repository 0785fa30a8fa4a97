//! What somebody who watches a training sees.

use super::{Alarm, Record};

/// What the trainer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Making steps.
    #[default]
    Training,
    /// Asking the frozen encoder's neighbours.
    Probing,
    /// Writing a checkpoint.
    Saving,
    /// All steps are done, or a stop was asked for and followed.
    Ended,
}

/// Told after every step and whenever the phase changes.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// What the trainer is at.
    pub phase: Phase,
    /// Steps that were done before this process began.
    pub steps_before: u64,
    /// Steps done.
    pub step: u64,
    /// Steps to do in all.
    pub steps: u64,
    /// Loss of the last step.
    pub loss: f32,
    /// Clips trained on a second, over the last seconds.
    pub clips_per_s: f64,
    /// Share of the last seconds that the trainer waited for data.
    pub data_wait: f64,
    /// The record that was just written to the log; most steps write none.
    pub record: Option<&'a Record>,
    /// What has just been noticed to be wrong.
    pub alarms: &'a [Alarm],
}
