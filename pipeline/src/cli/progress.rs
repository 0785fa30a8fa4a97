//! Progress of a run on stderr: a live bar, plain lines, or nothing.

mod pace;
mod rate;

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::pace::Pace;
#[cfg(feature = "train")]
pub(super) use self::rate::Rate;
use super::format;
use crate::engine::Snapshot;

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A live bar on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// A line every few seconds, for logs
    Plain,
    /// Nothing
    Off,
}

/// Seconds between plain lines.
pub(super) const PLAIN_EVERY_S: f64 = 5.0;

/// Shows a run on stderr while it goes.
#[derive(Debug)]
pub struct Progress {
    face: Face,
    pace: Pace,
}

enum Face {
    Live(ProgressBar),
    Plain { to: Box<dyn Write + Send>, next_s: f64 },
    Off,
}

impl Progress {
    /// On stderr. `Auto` asks whether that is a terminal.
    pub fn new(mode: ProgressMode) -> Self {
        match mode {
            ProgressMode::Off => Self::with_face(Face::Off),
            ProgressMode::Auto if std::io::stderr().is_terminal() => Self::live(ProgressDrawTarget::stderr()),
            ProgressMode::Auto | ProgressMode::Plain => Self::plain(Box::new(std::io::stderr())),
        }
    }

    /// A live bar drawn to `target`.
    pub fn live(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(" {spinner} {wide_msg}"));
        Self::with_face(Face::Live(bar))
    }

    /// A line every five seconds to `to`.
    pub fn plain(to: Box<dyn Write + Send>) -> Self {
        Self::with_face(Face::Plain { to, next_s: 0.0 })
    }

    fn with_face(face: Face) -> Self {
        Self { face, pace: Pace::default() }
    }

    /// Shows the run as it is now. Call it a few times a second; what is too often is left out.
    pub fn update(&mut self, now: &Snapshot) {
        self.pace.push(now);
        match &mut self.face {
            Face::Live(bar) => draw(bar, now, &self.pace),
            Face::Plain { to, next_s } if now.elapsed_s >= *next_s => {
                // From now and not from the last mark: after a pause there is one line, not a burst.
                *next_s = now.elapsed_s + PLAIN_EVERY_S;
                say(to.as_mut(), &plain_line(now, &self.pace));
            }
            Face::Plain { .. } | Face::Off => {}
        }
    }

    /// Takes the bar away and says in one line what was done.
    pub fn finish(&mut self, end: &Snapshot) {
        let line = last_line(end);
        match &mut self.face {
            Face::Live(bar) => {
                bar.println(line);
                bar.finish_and_clear();
            }
            Face::Plain { to, .. } => say(to.as_mut(), &line),
            Face::Off => {}
        }
    }

    /// Says something without tearing the bar. Printed in every mode: what is off is progress, not warnings.
    pub fn say(&mut self, line: &str) {
        match &mut self.face {
            Face::Live(bar) => bar.println(line),
            Face::Plain { to, .. } => say(to.as_mut(), line),
            Face::Off => say(&mut std::io::stderr(), line),
        }
    }
}

impl std::fmt::Debug for Face {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Live(_) => "Live",
            Self::Plain { .. } => "Plain",
            Self::Off => "Off",
        })
    }
}

/// A closed stderr is no reason to stop a run of hours.
fn say(to: &mut dyn Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

fn style(template: &str) -> ProgressStyle {
    // The templates are literals in this file; the test below draws them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

fn draw(bar: &ProgressBar, now: &Snapshot, pace: &Pace) {
    if now.clips_total == 0 {
        bar.set_message("listing clips");
        return;
    }
    if bar.length().is_none() {
        bar.set_style(style(" {percent:>3} % {wide_bar:.cyan/dim}  {prefix}\n       {wide_msg:.dim}"));
    }
    bar.set_length(now.clips_total);
    bar.set_prefix(headline(now, pace).join("  "));
    bar.set_message(details(now, pace).join(" · "));
    bar.set_position(now.clips_done.min(now.clips_total));
}

/// `1,234/5,310 clips`, `57.8 clips/s`, `1 min 10 s left`.
fn headline(now: &Snapshot, pace: &Pace) -> Vec<String> {
    let mut parts = vec![format!("{}/{} clips", format::count(now.clips_done), format::count(now.clips_total))];
    if let Some(per_s) = pace.clips_per_s() {
        parts.push(format::rate(per_s));
        let left = now.clips_total.saturating_sub(now.clips_done);
        if left > 0 && per_s > 0.0 {
            parts.push(format!("{} left", format::duration(left as f64 / per_s)));
        }
    }
    parts
}

/// `shards 3/11`, `2 rejected (0.2 %)`, `512 kept`, `1.2 GiB`, `limited by decode (71 %)`.
fn details(now: &Snapshot, pace: &Pace) -> Vec<String> {
    let mut parts = Vec::new();
    if now.units_total > 0 {
        parts.push(format!("shards {}/{}", format::count(now.units_done), format::count(now.units_total)));
    }
    if now.rejects > 0 {
        let share = now.rejects as f64 / now.clips_done.max(now.rejects) as f64;
        parts.push(format!("{} rejected ({})", format::count(now.rejects), format::percent(share)));
    }
    if now.clips_kept > 0 {
        parts.push(format!("{} kept from earlier runs", format::count(now.clips_kept)));
    }
    if now.rss_bytes > 0 {
        parts.push(format::bytes(now.rss_bytes));
    }
    if let Some(bottleneck) = pace.bottleneck() {
        parts.push(format!("limited by {} ({})", bottleneck.stage, format::percent(bottleneck.share)));
    }
    parts
}

fn plain_line(now: &Snapshot, pace: &Pace) -> String {
    let mut parts = vec![format!("[{}]", format::duration(now.elapsed_s))];
    if now.clips_total == 0 {
        parts.push("listing clips".to_owned());
        return parts.join(" ");
    }
    let share = now.clips_done as f64 / now.clips_total as f64;
    parts.push(format::percent(share));
    let mut rest = headline(now, pace);
    rest.extend(details(now, pace));
    format!("{}  {}", parts.join(" "), rest.join(", "))
}

/// `5,310 clips in 1 min 32 s (57.7 clips/s), 11 shards, 3 rejected, 512 kept from earlier runs`.
fn last_line(end: &Snapshot) -> String {
    let mut line = format!(
        "{} in {} ({}), {}",
        format::counted(end.clips_done, "clip"),
        format::duration(end.elapsed_s),
        format::rate(end.clips_done as f64 / end.elapsed_s),
        format::counted(end.units_done, "shard"),
    );
    for (n, what) in [(end.rejects, "rejected"), (end.clips_kept, "kept from earlier runs")] {
        if n > 0 {
            line.extend([", ", &format::count(n), " ", what]);
        }
    }
    line
}

#[cfg(test)]
mod tests;
