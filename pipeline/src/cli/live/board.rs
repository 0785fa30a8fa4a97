//! The live lines as a widget.

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols;
use ratatui::text::{Line, Span};
use ratatui::widgets::{LineGauge, Sparkline, Widget};

use super::seen::Seen;
use crate::cli::format;

/// Lines that are drawn where the terminal has them.
pub(super) const HEIGHT: u16 = 8;
/// Eighths of a line, twice: the sparkline is two lines high.
const SPARK_TOP: u64 = 16;
/// Columns of a line's name.
const NAMES: u16 = 8;
/// Columns of the loss as a number.
const NUMBER: u16 = 9;
/// Columns below which the bar is left to the words.
const LEAST_BAR: u16 = 16;

const SOFT: Style = Style::new().fg(Color::DarkGray);
const BAD: Style = Style::new().fg(Color::Red).bold();

impl Widget for &Seen {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let lines = |at: u16, height: u16| area.intersection(Rect { y: area.y + at, height, ..area });
        rule(self).render(lines(0, 1), buffer);
        bar(self, lines(1, 1), buffer);
        loss(self, lines(2, 2), buffer);
        let pace = [format::rate(self.clips_per_s), format!("data wait {}", format::percent(self.data_wait))];
        row("pace", &pace, Style::new()).render(lines(4, 1), buffer);
        row("health", &or_not_yet(self.health_words()), Style::new()).render(lines(5, 1), buffer);
        row("probe", &or_not_yet(self.probe_words()), Style::new()).render(lines(6, 1), buffer);
        match &self.alarm {
            Some((step, what)) => {
                let count = if self.n_alarms > 1 { format!("{} so far, ", self.n_alarms) } else { String::new() };
                let words = [format!("{count}step {}: {what}", format::count(*step))];
                row("alarm", &words, BAD).render(lines(7, 1), buffer);
            }
            None => row("alarm", &["none".to_owned()], SOFT).render(lines(7, 1), buffer),
        }
    }
}

fn or_not_yet(words: Vec<String>) -> Vec<String> {
    if words.is_empty() { vec!["not measured yet".to_owned()] } else { words }
}

/// What it is at, and a rule to the edge.
fn rule(seen: &Seen) -> Line<'static> {
    let doing = seen.doing().unwrap_or("training");
    let rest = symbols::line::HORIZONTAL.repeat(300);
    Line::from(vec![Span::raw(format!(" {doing} ")), Span::styled(rest, SOFT)])
}

fn bar(seen: &Seen, area: Rect, buffer: &mut Buffer) {
    let mut words = format!("  {}  step {}", format::percent(seen.share()), seen.steps_of());
    let left = seen.left().map(|left| format!("  {left}")).unwrap_or_default();
    let width = |text: &str| text.chars().count() as u16;
    // A bar of a few columns says less than the words.
    if width(&words) + width(&left) + LEAST_BAR <= area.width {
        words += &left;
    }
    let bar = Rect { width: area.width.saturating_sub(width(&words) + 1), ..area }.inner(Margin::new(1, 0));
    let text = columns(area, bar.width + 1);
    LineGauge::default()
        .ratio(seen.share())
        .label("")
        .filled_symbol(symbols::line::THICK_HORIZONTAL)
        .unfilled_symbol(symbols::line::HORIZONTAL)
        .filled_style(Style::new().fg(Color::Cyan))
        .unfilled_style(SOFT)
        .render(bar, buffer);
    Line::raw(words).render(text, buffer);
}

fn loss(seen: &Seen, area: Rect, buffer: &mut Buffer) {
    let lower = area.intersection(Rect { y: area.y + 1, height: 1, ..area });
    row("loss", &[format::quantity(f64::from(seen.loss))], Style::new()).render(lower, buffer);
    let mut spark = columns(area, NAMES + NUMBER);
    spark.width = spark.width.saturating_sub(1);
    // The lowest is still to be seen.
    let means = seen.losses.columns(spark.width as usize, SPARK_TOP - 1).into_iter().map(|v| v + 1);
    Sparkline::default().data(means).max(SPARK_TOP).style(Style::new().fg(Color::Cyan)).render(spark, buffer);
}

/// What is right of the first `n` columns.
fn columns(area: Rect, n: u16) -> Rect {
    let n = n.min(area.width);
    Rect { x: area.x + n, width: area.width - n, ..area }
}

fn row(name: &'static str, words: &[String], style: Style) -> Line<'static> {
    let name = format!(" {name:<width$}", width = NAMES as usize - 1);
    Line::from(vec![Span::styled(name, SOFT), Span::styled(words.join(" \u{b7} "), style)])
}
