//! The run report as one page: no script, no request to anywhere, light or dark as the reader's system is.
//!
//! Everything that comes from outside (ids, paths, reasons, errors) is escaped; a drawing of the graph is shown as an image,
//! in which a browser runs no script either. Numbers that are none are shown as dashes.

mod plot;
mod sections;
mod series;

use std::fmt::Write;

use self::sections::Section;
use crate::report::RunReport;

/// Forbids the page to load or run anything, should something slip through the escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Writes the page.
///
/// # Example: from the JSON of a run to a page
/// ```no_run
/// let report: ajepa_pipe::report::RunReport = serde_json::from_str(&std::fs::read_to_string("run.json")?)?;
/// std::fs::write("run.html", ajepa_pipe::cli::report_html::render(&report))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn render(report: &RunReport) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let title = Html::escape(&report.pipeline);
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    let _ = write!(page, "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">");
    let _ = write!(
        page,
        "<title>{title}: run report</title><style>{}</style></head><body><main>",
        include_str!("report_html/page.css")
    );
    for section in sections::all(report) {
        page.push_str(&section_html(&section));
    }
    let _ = write!(page, "<footer>ajepa-pipe {}</footer></main></body></html>", Html::escape(&report.program));
    page.push('\n');
    page
}

fn section_html(section: &Section) -> String {
    if section.title.is_empty() {
        return section.body.0.clone();
    }
    let aside =
        if section.aside.is_empty() { String::new() } else { format!("<p class=\"aside\">{}</p>", section.aside) };
    format!("<section><h2>{}</h2>{aside}{}</section>", section.title, section.body.0)
}

/// Markup under construction. Text gets in only through [`Html::text`], or as a literal of ours.
#[derive(Debug, Clone, Default)]
struct Html(String);

impl Html {
    fn new() -> Self {
        Self::default()
    }

    /// Adds markup that this module wrote; what is put into it must be a number or escaped.
    fn raw(&mut self, markup: impl AsRef<str>) -> &mut Self {
        self.0.push_str(markup.as_ref());
        self
    }

    /// Adds text from anywhere.
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&Self::escape(text));
        self
    }

    /// Adds a name that may be long: cut in its middle, whole in its title.
    fn name(&mut self, name: &str) -> &mut Self {
        const MOST: usize = 64;
        let n = name.chars().count();
        if n <= MOST {
            return self.text(name);
        }
        let (head, tail): (String, String) =
            (name.chars().take(MOST / 2).collect(), name.chars().skip(n - MOST / 2).collect());
        self.raw("<span title=\"").text(name).raw("\">").text(&head).raw("\u{2026}").text(&tail).raw("</span>")
    }

    /// Safe as element content and inside double-quoted attributes. Control characters, which XML forbids, become U+FFFD.
    fn escape(text: &str) -> String {
        let mut safe = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            match c {
                '&' => safe.push_str("&amp;"),
                '<' => safe.push_str("&lt;"),
                '>' => safe.push_str("&gt;"),
                '"' => safe.push_str("&quot;"),
                '\'' => safe.push_str("&#39;"),
                '\n' | '\t' => safe.push(c),
                c if c.is_control() => safe.push('\u{fffd}'),
                c => safe.push(c),
            }
        }
        safe
    }
}

/// Numbers as markup: [`crate::cli::format`], escaped, since what is tiny is written `<0.1 %`.
mod number {
    use super::Html;
    use crate::cli::format;
    pub(super) use crate::cli::format::{NO_NUMBER, bytes, count, counted, duration};

    pub(super) fn percent(share: f64) -> String {
        Html::escape(&format::percent(share))
    }

    pub(super) fn quantity(x: f64) -> String {
        Html::escape(&format::quantity(x))
    }

    pub(super) fn rate(per_s: f64) -> String {
        Html::escape(&format::rate(per_s))
    }
}

/// A share as a CSS or SVG percentage, within 0 to 100 whatever comes in.
fn css_percent(share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    format!("{:.2}", share * 100.0)
}

#[cfg(test)]
mod tests;
