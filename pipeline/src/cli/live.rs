//! A training on stderr while it goes: a few live lines on a terminal, plain lines elsewhere, or nothing.
//!
//! The live lines are drawn in place, below what was said before; they put the terminal into no state that anybody would have
//! to leave again (no raw mode, no other screen, no hidden cursor), so a panic or a signal, even SIGKILL, leaves nothing behind.

mod board;
mod seen;
mod strip;

use std::io::{IsTerminal, Write};
use std::time::Instant;

use ajepa_model::telemetry::{Moment, Phase};

use self::seen::{Seen, alarm_lines};
use self::strip::Strip;
use super::progress::{PLAIN_EVERY_S, ProgressMode};

/// Seconds between two drawings of steps. A change of phase is drawn at once: what follows may take long.
const LIVE_EVERY_S: f64 = 0.125;

/// Shows a training while it goes.
///
/// # Example: a training of three steps, as a log shows it
/// ```
/// use ajepa_model::telemetry::{Moment, Phase};
/// use ajepa_pipe::cli::live::TrainView;
/// use ajepa_pipe::cli::progress::ProgressMode;
/// let mut view = TrainView::new(ProgressMode::Plain);
/// for step in 1..=3 {
///     view.update(&Moment {
///         phase: Phase::Training,
///         steps_before: 0,
///         step,
///         steps: 3,
///         loss: 1.0 / step as f32,
///         clips_per_s: 40.0,
///         data_wait: 0.01,
///         record: None,
///         alarms: &[],
///     });
/// }
/// view.finish();
/// ```
#[derive(Debug)]
pub struct TrainView {
    face: Face,
    seen: Seen,
    begun: Instant,
}

enum Face {
    Live { strip: Strip, next_s: f64 },
    Plain { to: Box<dyn Write + Send>, next_s: f64 },
    Off,
}

impl TrainView {
    /// On stderr. `Auto` asks whether that is a terminal that can move its cursor.
    pub fn new(mode: ProgressMode) -> Self {
        let can_move = || std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match mode {
            ProgressMode::Off => Self::with_face(Face::Off),
            ProgressMode::Auto if can_move() => Self::with_face(Face::Live { strip: Strip::on_stderr(), next_s: 0.0 }),
            ProgressMode::Auto | ProgressMode::Plain => Self::plain(Box::new(std::io::stderr())),
        }
    }

    /// A line every five seconds to `to`, and one for each probing and each alarm.
    pub fn plain(to: Box<dyn Write + Send>) -> Self {
        Self::with_face(Face::Plain { to, next_s: 0.0 })
    }

    fn with_face(face: Face) -> Self {
        Self { face, seen: Seen::default(), begun: Instant::now() }
    }

    /// Shows the training as it is now. Call it at every step; what is too often is left out.
    pub fn update(&mut self, now: &Moment<'_>) {
        self.update_at(now, self.begun.elapsed().as_secs_f64());
    }

    fn update_at(&mut self, now: &Moment<'_>, elapsed_s: f64) {
        let turned = now.phase != self.seen.phase;
        self.seen.take(now, elapsed_s);
        let probed = now.record.is_some_and(|record| record.probe.is_some());
        match &mut self.face {
            Face::Live { strip, next_s } => {
                for line in alarm_lines(now) {
                    strip.say(&line);
                }
                if turned || elapsed_s >= *next_s {
                    *next_s = elapsed_s + LIVE_EVERY_S;
                    strip.paint(&self.seen);
                }
            }
            Face::Plain { to, next_s } => {
                for line in alarm_lines(now) {
                    say(to.as_mut(), &line);
                }
                if now.phase != Phase::Ended && (probed || elapsed_s >= *next_s) {
                    // From now and not from the last mark: after a pause there is one line, not a burst.
                    *next_s = elapsed_s + PLAIN_EVERY_S;
                    say(to.as_mut(), &self.seen.plain_line());
                }
            }
            // What is off is progress, not warnings.
            Face::Off => alarm_lines(now).for_each(|line| say(&mut std::io::stderr(), &line)),
        }
    }

    /// Takes the live lines away and says in one line what was done.
    pub fn finish(&mut self) {
        self.finish_at(self.begun.elapsed().as_secs_f64());
    }

    fn finish_at(&mut self, elapsed_s: f64) {
        let line = self.seen.last_line(elapsed_s);
        match &mut self.face {
            Face::Live { strip, .. } => strip.say(&line),
            Face::Plain { to, .. } => say(to.as_mut(), &line),
            Face::Off => {}
        }
    }

    /// Says something without tearing the live lines. Printed in every mode: what is off is progress, not warnings.
    pub fn say(&mut self, line: &str) {
        match &mut self.face {
            Face::Live { strip, .. } => {
                strip.say(line);
                strip.paint(&self.seen);
            }
            Face::Plain { to, .. } => say(to.as_mut(), line),
            Face::Off => say(&mut std::io::stderr(), line),
        }
    }
}

impl std::fmt::Debug for Face {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Live { .. } => "Live",
            Self::Plain { .. } => "Plain",
            Self::Off => "Off",
        })
    }
}

/// A closed stderr is no reason to stop a training of days.
fn say(to: &mut dyn Write, line: &str) {
    let _ = writeln!(to, "{}", strip::harmless(line));
}

#[cfg(test)]
mod tests;
