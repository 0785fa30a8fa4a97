//! A scanned corpus, or a manifest, as one page: what can be used, what cannot and why, and pictures of lengths, rates, loudness and
//! labels.

use std::fmt::Write;

use super::page::bars::{table, upright};
use super::page::{self, Html, Section, number};
use crate::scan::{Bar, Summary};

/// Labels that are drawn; the rest is counted.
const SHOWN_LABELS: usize = 60;

/// What became of what a publisher lists, where the page is of a manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// What the columns of both tables count.
    pub heads: Vec<&'static str>,
    /// A row for each split, and one for all.
    pub splits: Vec<(String, Vec<usize>)>,
    /// A row for each label in each split, first those of which least can be used.
    pub labels: Vec<(String, Vec<usize>)>,
    /// What was odd in the lists, in words.
    pub notes: Vec<String>,
    /// The name of what is in it.
    pub dataset_hash: String,
}

/// Writes the page.
///
/// # Example: the page of a table
/// ```no_run
/// use ajepa_pipe::{cli::corpus_html, scan::Summary};
/// let summary = Summary::read("scan.parquet".as_ref())?;
/// std::fs::write("scan.html", corpus_html::render("scan.parquet", &summary, None))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn render(title: &str, scan: &Summary, wanted: Option<&Wanted>) -> String {
    let pictures = [
        ("Lengths", "Usable clips by seconds.", &scan.durations),
        ("Loudness", "Usable clips by the root of their mean square, in dB of full scale.", &scan.loudness),
        ("Peaks", "Usable clips by their largest sample, in dB of full scale.", &scan.peaks),
        ("Rates", "Usable clips by samples per second, as their files have it.", &scan.rates),
        ("Labels of a clip", "Usable clips by how many labels they have.", &scan.labels_per_clip),
    ];
    let mut sections = vec![header(title, scan, wanted), tiles(scan, wanted.is_some())];
    sections.extend(wanted.map(|wanted| counts("Splits", "split", &wanted.heads, &wanted.splits)));
    sections.push(statuses(scan));
    let says_something = |bars: &[Bar]| bars.len() > 1 || bars.first().is_some_and(|bar| bar.name != "1");
    let pictures = pictures.into_iter().filter(|(.., bars)| says_something(bars));
    sections.extend(pictures.filter_map(|(title, aside, bars)| picture(title, aside, upright, bars)));
    let tables: [(&'static str, &'static str, &Vec<Bar>); 3] = [
        ("Codecs", "codec", &scan.codecs),
        ("Channels", "channels", &scan.channels),
        ("Labels", "label", &scan.labels),
    ];
    for (title, head, bars) in tables {
        sections.extend(picture(title, "", |bars| table(head, bars, SHOWN_LABELS, ""), bars));
    }
    let labels = wanted.filter(|wanted| !wanted.labels.is_empty());
    sections.extend(
        labels
            .map(|wanted| counts("Labels of which least can be used", "label / split", &wanted.heads, &wanted.labels)),
    );
    sections.extend([duplicates(scan), first(scan)].into_iter().flatten());
    let kind = if wanted.is_some() { "manifest" } else { "scan" };
    page::document(&format!("{title}: {kind}"), &sections, env!("CARGO_PKG_VERSION"))
}

fn header(title: &str, scan: &Summary, wanted: Option<&Wanted>) -> Section {
    let mut body = Html::new();
    body.raw("<header><h1>").name(title).raw("</h1><p>");
    let usable = number::percent(scan.usable() as f64 / scan.clips.max(1) as f64);
    let did = if wanted.is_some() { "wanted" } else { "scanned" };
    let _ = write!(body.0, "{} {did}, {usable} can be used</p></header>", number::counted(scan.clips, "clip"));
    if let Some(Wanted { notes, dataset_hash, .. }) = wanted {
        body.raw("<p>dataset <code>").text(dataset_hash).raw("</code></p>");
        for note in notes {
            body.raw("<div class=\"callout\"><p>").text(note).raw("</p></div>");
        }
    }
    if let Some(name) = &scan.repeated_name {
        body.raw("<div class=\"callout\"><p><b>Two clips have one name:</b> ").text(name);
        body.raw("</p><p>What joins tables by <code>clip_id</code> will not tell them apart.</p></div>");
    }
    Section { body, ..Section::default() }
}

fn tiles(scan: &Summary, compared: bool) -> Section {
    let usable = scan.usable();
    let mut body = Html::new();
    body.raw("<dl class=\"tiles\">");
    for (name, value, note) in [
        ("usable", number::count(usable), format!("of {}", number::counted(scan.clips, "clip"))),
        ("not usable", number::count(scan.clips - usable), "each with its reason".to_owned()),
        ("sound", number::duration(scan.hours * 3_600.0), "in usable clips".to_owned()),
        ("duplicates", number::count(scan.duplicates), "with the samples of a clip before".to_owned()),
        ("near duplicates", number::count(scan.near_duplicates), "that sound like a clip before".to_owned()),
        ("misnamed", number::count(scan.wrong_extension), "usable all the same".to_owned()),
        ("encoded", number::bytes(scan.content_bytes), String::new()),
    ] {
        // A scan knows each clip by itself.
        if name == "near duplicates" && !compared {
            continue;
        }
        let _ = write!(body.0, "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"note\">{note}</dd></div>");
    }
    body.raw("</dl>");
    Section { body, ..Section::default() }
}

fn statuses(scan: &Summary) -> Section {
    let body = table("status", &scan.statuses, usize::MAX, "");
    Section { title: "How the clips ended", body, ..Section::default() }
}

fn picture(title: &'static str, aside: &'static str, draw: impl Fn(&[Bar]) -> Html, bars: &[Bar]) -> Option<Section> {
    (!bars.is_empty()).then(|| Section { title, aside, body: draw(bars) })
}

fn counts(title: &'static str, head: &str, heads: &[&'static str], rows: &[(String, Vec<usize>)]) -> Section {
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>").text(head);
    for head in heads {
        body.raw("<th class=\"n\">").text(head);
    }
    body.raw("</thead><tbody>");
    for (name, counts) in rows.iter().take(SHOWN_LABELS) {
        body.raw("<tr><td class=\"name\">").name(name);
        for count in counts {
            let _ = write!(body.0, "<td class=\"n\">{}", number::count(*count as u64));
        }
    }
    body.raw("</tbody></table></div>");
    if rows.len() > SHOWN_LABELS {
        let more = number::counted((rows.len() - SHOWN_LABELS) as u64, "more row");
        let _ = write!(body.0, "<p class=\"below\">and {more}</p>");
    }
    Section { title, body, ..Section::default() }
}

fn duplicates(scan: &Summary) -> Option<Section> {
    if scan.first_duplicates.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>clip<th>is a copy of</thead><tbody>");
    for one in &scan.first_duplicates {
        body.raw("<tr><td class=\"path\">").text(&one.clip_id).raw("<td class=\"path\">").text(&one.of);
    }
    body.raw("</tbody></table></div>");
    Some(Section {
        title: "The first duplicates",
        aside: "The same samples to the last bit, whatever the files are; in a manifest also what sounds the same.",
        body,
    })
}

fn first(scan: &Summary) -> Option<Section> {
    if scan.first.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>clip<th>status<th>detail<th>file</thead><tbody>");
    for clip in &scan.first {
        body.raw("<tr><td class=\"path\">").text(&clip.clip_id).raw("<td>").text(&clip.status);
        body.raw("<td class=\"detail\">").text(&clip.detail).raw("<td class=\"path\">").text(&clip.source);
    }
    body.raw("</tbody></table></div>");
    Some(Section { title: "The first clips to look at", body, ..Section::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Clip, Duplicate};

    #[test]
    fn everything_is_there_and_nothing_of_it_is_markup() {
        let evil = "<script>alert(1)</script>\u{0}";
        let bars = |names: &[&str]| names.iter().map(|n| Bar { name: (*n).to_owned(), count: 3 }).collect::<Vec<_>>();
        let scan = Summary {
            clips: 9,
            statuses: bars(&["ok", evil]),
            durations: bars(&["1 to 2 s", "2 to 5 s"]),
            labels: bars(&[evil]),
            first: vec![Clip { clip_id: evil.into(), source: evil.into(), status: evil.into(), detail: evil.into() }],
            first_duplicates: vec![Duplicate { clip_id: evil.into(), of: evil.into() }],
            repeated_name: Some(evil.to_owned()),
            ..Summary::default()
        };
        let wanted = Wanted {
            heads: vec!["wanted", "usable"],
            splits: vec![(evil.to_owned(), vec![3, 2])],
            labels: vec![(evil.to_owned(), vec![1, 1])],
            notes: vec![evil.to_owned()],
            dataset_hash: "abc".to_owned(),
        };
        let page = render(evil, &scan, Some(&wanted));
        assert!(!page.contains("<script") && !page.contains('\u{0}'));
        for words in ["33 % can be used", "Lengths", "1 to 2 s: 3", "The first duplicates", "&lt;script&gt;"] {
            assert!(page.contains(words), "{words}");
        }
        let empty = render("nothing", &Summary::default(), None);
        assert!(empty.contains("0 clips scanned") && !empty.contains("NaN") && !empty.contains("Lengths"));
    }
}
