//! Where the time goes.

use std::collections::VecDeque;
use std::time::Instant;

use crate::telemetry::Speed;

/// Seconds that the figures for who watches are over.
const WINDOW_S: f64 = 5.0;

/// One step as the clock saw it.
#[derive(Debug, Clone, Copy)]
struct Tick {
    at: Instant,
    step_s: f64,
    wait_s: f64,
    clips: u64,
}

/// Times of the steps since the last record, and of the last seconds.
#[derive(Debug)]
pub struct Meter {
    since_record: Vec<Tick>,
    recent: VecDeque<Tick>,
    last: Instant,
}

impl Meter {
    pub fn new() -> Self {
        Self { since_record: Vec::new(), recent: VecDeque::new(), last: Instant::now() }
    }

    /// A step is done; of the time since the one before, `wait_s` were spent waiting for data.
    pub fn step(&mut self, clips: u64, wait_s: f64) {
        let at = Instant::now();
        let tick = Tick { at, step_s: (at - self.last).as_secs_f64(), wait_s, clips };
        self.last = at;
        self.since_record.push(tick);
        self.recent.push_back(tick);
        while self.recent.len() > 1 && self.recent.front().is_some_and(|t| (at - t.at).as_secs_f64() > WINDOW_S) {
            self.recent.pop_front();
        }
    }

    /// What is neither training nor waiting (a probe, a checkpoint) is over: it does not count as the next step's.
    pub fn skip(&mut self) {
        self.last = Instant::now();
    }

    /// The figures since the record before.
    pub fn record(&mut self) -> Option<Speed> {
        let mut times: Vec<f64> = self.since_record.iter().map(|tick| tick.step_s).collect();
        times.sort_unstable_by(f64::total_cmp);
        let step_s = *times.get(times.len() / 2)?;
        let (clips_per_s, data_wait) = rates(self.since_record.iter());
        self.since_record.clear();
        Some(Speed { clips_per_s, data_wait, step_s })
    }

    /// Clips a second and share of waiting over the last seconds.
    pub fn recent(&self) -> (f64, f64) {
        rates(self.recent.iter())
    }
}

fn rates<'a>(ticks: impl Iterator<Item = &'a Tick>) -> (f64, f64) {
    let (mut clips, mut wait_s, mut all_s) = (0, 0.0, 0.0);
    for tick in ticks {
        clips += tick.clips;
        wait_s += tick.wait_s;
        all_s += tick.step_s;
    }
    let all_s = f64::max(all_s, 1e-9);
    (clips as f64 / all_s, (wait_s / all_s).min(1.0))
}
