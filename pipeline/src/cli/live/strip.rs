//! A few lines at the end of what a terminal shows, drawn again in place.
//!
//! Moves are relative to the cursor, which waits on the line below: nothing has to be asked of the terminal, so stdin and stdout
//! may be anything. A frame is one write.

use std::fmt::Write as _;
use std::io::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use ratatui::widgets::Widget;

use super::board::HEIGHT;

/// Columns and lines of a terminal that does not say.
const USUAL: (u16, u16) = (80, 24);

/// Columns and lines of the terminal as it is now; `None` where it does not say.
type Size = Box<dyn Fn() -> Option<(u16, u16)> + Send>;

pub(super) struct Strip {
    to: Box<dyn Write + Send>,
    size: Size,
    colour: bool,
    /// Columns that each line of the last frame took.
    drawn: Vec<usize>,
}

impl Strip {
    pub(super) fn on_stderr() -> Self {
        let terminal = console::Term::stderr();
        let size = move || terminal.size_checked().map(|(lines, columns)| (columns, lines));
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::new(Box::new(std::io::stderr()), Box::new(size), colour)
    }

    pub(super) fn new(to: Box<dyn Write + Send>, size: Size, colour: bool) -> Self {
        Self { to, size, colour, drawn: Vec::new() }
    }

    /// Draws in the place of the last frame.
    pub(super) fn paint(&mut self, widget: impl Widget) {
        let (columns, lines) = self.size();
        // One line for the cursor; and the last column stays free, where terminals disagree on what wraps.
        let area = Rect::new(0, 0, columns.saturating_sub(1).max(1), HEIGHT.min(lines.saturating_sub(1)).max(1));
        let mut buffer = Buffer::empty(Rect { height: HEIGHT, ..area });
        widget.render(buffer.area, &mut buffer);
        // Terminals that know this show the frame at once; others leave it out.
        let mut frame = format!("\x1b[?2026h{}", self.to_top(columns));
        self.drawn.clear();
        for y in 0..area.height {
            let (line, width) = self.line(&buffer, y);
            let _ = write!(frame, "{line}\x1b[K\r\n");
            self.drawn.push(width);
        }
        frame.push_str("\x1b[J\x1b[?2026l");
        self.send(&frame);
    }

    /// Puts a line in the place of the last frame; the next frame comes below it.
    pub(super) fn say(&mut self, line: &str) {
        let columns = self.size().0;
        let text = format!("{}\x1b[J{}\r\n", self.to_top(columns), harmless(line));
        self.drawn.clear();
        self.send(&text);
    }

    fn size(&self) -> (u16, u16) {
        (self.size)().filter(|size| size.0 > 0 && size.1 > 0).unwrap_or(USUAL)
    }

    /// To the first column of the last frame's first line. A terminal that has become narrower has wrapped its lines.
    fn to_top(&self, columns: u16) -> String {
        let lines: usize = self.drawn.iter().map(|width| width.div_ceil(columns as usize).max(1)).sum();
        if lines > 0 { format!("\r\x1b[{lines}A") } else { "\r".to_owned() }
    }

    /// One line without what is blank at its end, and how many columns it takes.
    fn line(&self, buffer: &Buffer, y: u16) -> (String, usize) {
        let cell = |x: u16| &buffer[(x, y)];
        let width = (0..buffer.area.width).rev().find(|x| cell(*x).symbol() != " ").map_or(0, |x| x + 1);
        let (mut text, mut style, mut x) = (String::new(), String::new(), 0);
        while x < width {
            let next = if self.colour { style_of(cell(x)) } else { String::new() };
            if next != style {
                let _ = write!(text, "\x1b[0{next}m");
                style = next;
            }
            text.push_str(cell(x).symbol());
            // What is two columns wide has an empty cell behind it.
            x += console::measure_text_width(cell(x).symbol()).max(1) as u16;
        }
        if !style.is_empty() {
            text.push_str("\x1b[0m");
        }
        (text, width as usize)
    }

    /// A closed stderr is no reason to stop a training of days.
    fn send(&mut self, text: &str) {
        let _ = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
    }
}

/// The colours and weights that the board uses, as parameters of SGR.
fn style_of(cell: &Cell) -> String {
    let colour = match cell.fg {
        Color::Red => ";31",
        Color::Cyan => ";36",
        Color::DarkGray => ";90",
        _ => "",
    };
    format!("{}{colour}", if cell.modifier.contains(Modifier::BOLD) { ";1" } else { "" })
}

/// Without what would move a cursor: alarms may name clips, and clips are named by strangers.
pub(super) fn harmless(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
