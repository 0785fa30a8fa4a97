//! What pages for people are made of: no script, no request to anywhere, light or dark as the reader's system is.
//!
//! Everything that comes from outside (ids, paths, reasons, errors) is escaped. Numbers that are none are shown as dashes.

pub(super) mod bars;
#[cfg(feature = "train")]
pub(super) mod chart;
pub(super) mod plot;
#[cfg(test)]
pub(super) mod sound;
#[cfg(feature = "train")]
mod thin;

use std::fmt::Write;

/// Forbids the page to load or run anything, should something slip through the escaping.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// One section of a page; without a title it stands as it is.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// A sentence below the title: what is to be seen. Markup of ours.
    pub(super) aside: &'static str,
    pub(super) body: Html,
}

/// The page: one file, whose last line names the program.
pub(super) fn document(title: &str, sections: &[Section], program: &str) -> String {
    let mut page = String::with_capacity(64 * 1024);
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    let _ = write!(page, "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">");
    let style = include_str!("page/page.css");
    let _ = write!(page, "<title>{}</title><style>{style}</style></head><body><main>", Html::escape(title));
    for section in sections {
        page.push_str(&section_html(section));
    }
    let _ = write!(page, "<footer>ajepa-pipe {}</footer></main></body></html>", Html::escape(program));
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
pub(super) struct Html(pub(super) String);

impl Html {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds markup that this module wrote; what is put into it must be a number or escaped.
    pub(super) fn raw(&mut self, markup: impl AsRef<str>) -> &mut Self {
        self.0.push_str(markup.as_ref());
        self
    }

    /// Adds text from anywhere.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&Self::escape(text));
        self
    }

    /// Adds a name that may be long: cut in its middle, whole in its title.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
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
    pub(super) fn escape(text: &str) -> String {
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
pub(super) mod number {
    use super::Html;
    use crate::cli::format;
    pub(in crate::cli) use crate::cli::format::{NO_NUMBER, bytes, count, counted, duration};

    pub(in crate::cli) fn percent(share: f64) -> String {
        Html::escape(&format::percent(share))
    }

    pub(in crate::cli) fn quantity(x: f64) -> String {
        Html::escape(&format::quantity(x))
    }

    pub(in crate::cli) fn rate(per_s: f64) -> String {
        Html::escape(&format::rate(per_s))
    }
}

/// A share as a CSS or SVG percentage, within 0 to 100 whatever comes in.
pub(super) fn css_percent(share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    format!("{:.2}", share * 100.0)
}
