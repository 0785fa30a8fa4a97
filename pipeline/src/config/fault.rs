//! What is wrong with a config, shown the way a compiler shows it: file, line, column, the text itself, and a way out.

use std::fmt::{self, Write as _};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};

use super::tree::Place;

/// Faults shown in full; of the rest only the count is told.
const MAX_SHOWN: usize = 40;

/// Longest message, in characters.
const MAX_MESSAGE: usize = 600;

/// Longest line that is shown as an excerpt, in bytes.
const MAX_EXCERPT_LINE: usize = 300;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, in one clause.
    pub problem: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    /// A fault without advice.
    pub fn new(place: Place, problem: impl Into<String>) -> Self {
        Self { place, problem: problem.into(), help: None }
    }

    /// With advice, behind any it has.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        let help = help.into();
        self.help = match self.help {
            Some(first) if !help.is_empty() => {
                let gap = if first.ends_with(['?', '.']) { " " } else { "; " };
                Some(format!("{first}{gap}{help}"))
            }
            None if !help.is_empty() => Some(help),
            unchanged => unchanged,
        };
        self
    }
}

/// Everything that is wrong with a config, in the order of the document.
///
/// `Display` gives the plain report; [`ConfigErrors::render`] one for a terminal.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    texts: Vec<Text>,
    faults: Vec<Fault>,
}

/// One of the texts of a config: the document, or an override.
#[derive(Debug, Clone)]
struct Text {
    name: String,
    content: String,
}

impl ConfigErrors {
    /// `texts`: name and content of the document and then of each override; a fault's place counts in these.
    pub(super) fn new(texts: Vec<(String, String)>, mut faults: Vec<Fault>) -> Self {
        let texts: Vec<Text> =
            texts.into_iter().map(|(name, content)| Text { name, content: inert(&content) }).collect();
        for fault in &mut faults {
            fault.problem = short(&inert(&fault.problem));
            fault.help = fault.help.as_deref().map(|help| short(&inert(help)));
        }
        faults.sort_by_key(|fault| (fault.place.text, fault.place.start));
        faults.dedup();
        Self { texts, faults }
    }

    /// A fault of the file itself.
    pub(super) fn of_file(name: String, problem: impl Into<String>, help: impl Into<String>) -> Self {
        let fault = Fault::new(Place::default(), problem).help(help);
        Self::new(vec![(name, String::new())], vec![fault])
    }

    /// The faults, in order.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Line and column of a fault, both from 1, and the name of the text they count in. No line where the file itself is at fault.
    pub fn position(&self, fault: &Fault) -> (&str, Option<(usize, usize)>) {
        let Some(text) = self.texts.get(fault.place.text) else { return ("", None) };
        let position = (!text.content.is_empty()).then(|| line_column(&text.content, fault.place.start));
        (&text.name, position)
    }

    /// The report as a terminal shows it, in colour where `colour` is set.
    pub fn render(&self, colour: bool, width: usize) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(width.clamp(60, 200)).with_links(false);
        let mut out = String::new();
        for fault in self.faults.iter().take(MAX_SHOWN) {
            if handler.render_report(&mut out, self.report(fault).as_ref()).is_err() {
                let _ = writeln!(out, "{}", fault.problem);
            }
        }
        if self.faults.len() > MAX_SHOWN {
            let _ = writeln!(out, "... and {} more", self.faults.len() - MAX_SHOWN);
        }
        out
    }

    /// One fault for miette, its text attached.
    fn report(&self, fault: &Fault) -> Report {
        let (name, position) = self.position(fault);
        let text = self.texts.get(fault.place.text).filter(|text| excerptable(&text.content, fault.place.start));
        let place = match position {
            Some((line, column)) if text.is_none() => format!("{name}:{line}:{column}: "),
            None => format!("{name}: "),
            _ => String::new(),
        };
        let mut diagnostic = MietteDiagnostic::new(format!("{place}{}", fault.problem));
        diagnostic.help.clone_from(&fault.help);
        let Some(text) = text else { return Report::new(diagnostic) };
        let span = shown_span(&text.content, fault.place);
        let labelled = diagnostic.with_label(LabeledSpan::new_with_span(Some("here".to_owned()), span));
        Report::new(labelled).with_source_code(NamedSource::new(&text.name, text.content.clone()))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false, 120).trim_end())
    }
}

impl std::error::Error for ConfigErrors {}

/// Line and column in characters, both from 1.
pub(super) fn line_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Bytes to underline: on one line, at least one character where there is one.
fn shown_span(text: &str, place: Place) -> std::ops::Range<usize> {
    let start = place.start.min(text.len());
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let next = text[start..line_end].chars().next().map_or(start, |c| start + c.len_utf8());
    start..place.end.min(line_end).max(next)
}

/// Whether the lines around a place are short enough to show.
fn excerptable(text: &str, byte: usize) -> bool {
    if text.is_empty() {
        return false;
    }
    let (line, _) = line_column(text, byte);
    let near = text.split('\n').skip(line.saturating_sub(2)).take(3);
    near.map(str::len).all(|len| len <= MAX_EXCERPT_LINE)
}

/// The text, cut where nobody reads on.
fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// The text with control characters replaced by as many bytes of others: it may end on a terminal.
fn inert(text: &str) -> String {
    let calm = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() && c.len_utf8() == 1 => '?',
        c if c.is_control() => '\u{bf}',
        c => c,
    };
    text.chars().map(calm).collect()
}
