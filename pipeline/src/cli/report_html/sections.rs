//! The sections of the page, top to bottom: what matters most comes first.

use std::fmt::Write;

use super::series;
use crate::cli::page::plot::{Unit, area, bar, strip};
use crate::cli::page::{Html, Section, css_percent, number};
use crate::engine::{Snapshot, StageSnapshot};
use crate::report::RunReport;

/// Those that have something to show.
pub(super) fn all(report: &RunReport) -> Vec<Section> {
    let timeline = series::timeline(report);
    let sections = [
        Some(header(report)),
        Some(headline(report)),
        bottleneck(report),
        Some(throughput(report, &timeline)),
        workers(&report.end),
        stages(report),
        queues(&report.end, &timeline),
        memory(report, &timeline),
        sinks(report),
        rejects(report),
        graph(report),
    ];
    sections.into_iter().flatten().collect()
}

fn header(report: &RunReport) -> Section {
    let mut body = Html::new();
    let mood = match report.outcome.as_str() {
        "done" => "good",
        "failed" => "bad",
        _ => "warn",
    };
    let _ = write!(body.0, "<header><h1>");
    body.name(&report.pipeline).raw("</h1><p><span class=\"pill ");
    body.raw(mood)
        .raw("\">")
        .text(&report.outcome)
        .raw("</span> started ")
        .text(&report.started_at)
        .raw("</p></header>");
    if let Some(error) = &report.error {
        body.raw("<pre class=\"error\">").text(error).raw("</pre>");
    }
    Section { body, ..Section::default() }
}

fn headline(report: &RunReport) -> Section {
    let end = &report.end;
    let of = |done: u64, total: u64| if total > 0 { format!("of {}", number::count(total)) } else { String::new() }
        + if done > total && total > 0 { " planned" } else { "" };
    let reject_share = end.rejects as f64 / end.clips_done.max(end.rejects).max(1) as f64;
    let kept = if end.clips_kept > 0 { format!("{} more kept", number::count(end.clips_kept)) } else { String::new() };
    let tiles = [
        ("clips", number::count(end.clips_done), of(end.clips_done, end.clips_total)),
        ("clips per second", number::quantity(end.clips_done as f64 / end.elapsed_s), "on average".to_owned()),
        ("time", number::duration(end.elapsed_s), number::counted(end.jobs, "worker")),
        (
            "shards",
            number::count(end.units_done),
            if kept.is_empty() { of(end.units_done, end.units_total) } else { kept },
        ),
        ("rejected", number::count(end.rejects), number::percent(reject_share)),
        (
            "peak memory",
            if report.peak_rss_bytes > 0 { number::bytes(report.peak_rss_bytes) } else { number::NO_NUMBER.to_owned() },
            String::new(),
        ),
    ];
    let mut body = Html::new();
    body.raw("<dl class=\"tiles\">");
    for (name, value, note) in tiles {
        let _ = write!(body.0, "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"note\">{note}</dd></div>");
    }
    body.raw("</dl>");
    Section { body, ..Section::default() }
}

fn bottleneck(report: &RunReport) -> Option<Section> {
    let found = report.bottleneck.as_ref()?;
    let is_map = report.end.stages.iter().any(|s| s.id == found.stage && s.kind == "map");
    let whose = if is_map { "of the workers' time" } else { "of its thread's time" };
    let mut body = Html::new();
    body.raw("<div class=\"callout\"><p><b>").name(&found.stage).raw("</b> sets the pace: it takes ");
    body.raw(number::percent(found.share))
        .raw(" ")
        .raw(whose)
        .raw(".</p><p>")
        .text(&sentence(&found.advice))
        .raw("</p></div>");
    Some(Section { body, ..Section::default() })
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) || text.is_empty() { "" } else { "." };
    // An option begins with a dash and stays as it is typed.
    format!("{first}{}{stop}", chars.as_str())
}

fn throughput(report: &RunReport, timeline: &[&Snapshot]) -> Section {
    let points = series::throughput(timeline);
    let mean = report.end.clips_done as f64 / report.end.elapsed_s;
    let mark = mean.is_finite().then_some((mean, "mean"));
    let body = area(&points, report.end.elapsed_s, Unit::ClipsPerS, mark);
    Section { title: "Clips per second", body, ..Section::default() }
}

fn memory(report: &RunReport, timeline: &[&Snapshot]) -> Option<Section> {
    let points = series::reading(timeline, |s| (s.rss_bytes > 0).then_some(s.rss_bytes as f64));
    if points.is_empty() {
        return None;
    }
    let mark = (report.peak_rss_bytes > 0).then_some((report.peak_rss_bytes as f64, "peak"));
    let body = area(&points, report.end.elapsed_s, Unit::Bytes, mark);
    Some(Section { title: "Resident memory", body, ..Section::default() })
}

/// Share of what the stage could use: of all workers for a Map stage, of its own thread otherwise.
fn share(stage: &StageSnapshot, end: &Snapshot) -> f64 {
    let threads = if stage.kind == "map" { end.jobs.max(1) as f64 } else { 1.0 };
    stage.busy_s / (end.elapsed_s * threads)
}

/// Where the workers' time went, as one bar.
fn workers(end: &Snapshot) -> Option<Section> {
    let maps: Vec<&StageSnapshot> =
        end.stages.iter().filter(|s| s.kind == "map" && share(s, end).is_finite()).collect();
    let busy: f64 = maps.iter().map(|s| share(s, end)).sum();
    if maps.is_empty() || busy <= 0.0 {
        return None;
    }
    // Clocks of many threads may add up to slightly more than the wall's.
    let scale = busy.max(1.0);
    let mut body = Html::new();
    body.raw("<div class=\"stack\">");
    for (i, stage) in maps.iter().enumerate() {
        let part = share(stage, end) / scale;
        let _ = write!(body.0, "<span class=\"c{}\" style=\"width:{}%\" title=\"", i % 6, css_percent(part));
        body.text(&stage.id).raw(" ").raw(number::percent(part)).raw("\">");
        // Half a word says less than none: about 8 of the page's 1,060 pixels for a letter.
        if part * 1_060.0 > 8.0 * stage.id.chars().count().min(64) as f64 + 60.0 {
            body.raw("<b>").name(&stage.id).raw("</b> ").raw(number::percent(part));
        }
        body.raw("</span>");
    }
    let idle = (1.0 - busy / scale).max(0.0);
    if idle > 0.001 {
        let _ = write!(
            body.0,
            "<span class=\"idle\" style=\"width:{}%\" title=\"waiting {1}\">{2}</span>",
            css_percent(idle),
            number::percent(idle),
            if idle > 0.05 { format!("waiting {}", number::percent(idle)) } else { String::new() }
        );
    }
    body.raw("</div>");
    Some(Section { title: "Where the workers' time went", body, ..Section::default() })
}

fn stages(report: &RunReport) -> Option<Section> {
    let end = &report.end;
    if end.stages.is_empty() {
        return None;
    }
    let slow = report.bottleneck.as_ref().map(|b| b.stage.as_str());
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>stage<th>kind<th class=\"n\">rows in<th class=\"n\">rows out");
    body.raw("<th class=\"n\">rejected<th class=\"n\">busy<th class=\"n\">per row<th class=\"b\">share of its threads");
    body.raw("<th class=\"n\">waited for<br>input<th class=\"n\">waited for<br>room</thead><tbody>");
    for stage in &end.stages {
        stage_row(&mut body, stage, end, slow == Some(stage.id.as_str()));
    }
    body.raw("</tbody></table></div>");
    let aside = "Map stages run fused on all workers and wait in common; each other stage has a thread of its own.";
    Some(Section { title: "Stages", aside, body })
}

fn stage_row(body: &mut Html, stage: &StageSnapshot, end: &Snapshot, slow: bool) {
    body.raw(if slow { "<tr class=\"slow\"><td class=\"name\">" } else { "<tr><td class=\"name\">" }).name(&stage.id);
    if stage.id != stage.type_name {
        body.raw(" <small>").name(&stage.type_name).raw("</small>");
    }
    body.raw("<td>").text(&stage.kind);
    for (n, none) in
        [(stage.rows_in, stage.kind == "source"), (stage.rows_out, stage.kind == "sink"), (stage.rejects, false)]
    {
        let zero = if n == 0 { " zero" } else { "" };
        let text = if none && n == 0 { number::NO_NUMBER.to_owned() } else { number::count(n) };
        let _ = write!(body.0, "<td class=\"n{zero}\">{text}");
    }
    let rows = stage.rows_in.max(stage.rows_out);
    let per_row = if rows == 0 { number::NO_NUMBER.to_owned() } else { per_row(stage.busy_s / rows as f64) };
    let _ =
        write!(body.0, "<td class=\"n\">{}<td class=\"n\">{per_row}<td class=\"b\">", number::duration(stage.busy_s));
    let part = share(stage, end);
    body.raw(bar(part, "", &format!("{} busy", number::duration(stage.busy_s)))).raw(number::percent(part));
    for waited_s in [stage.starved_s, stage.blocked_s] {
        let text = if stage.kind == "map" { number::NO_NUMBER.to_owned() } else { number::duration(waited_s) };
        let zero = if stage.kind == "map" || waited_s == 0.0 { " zero" } else { "" };
        let _ = write!(body.0, "<td class=\"n{zero}\">{text}");
    }
}

/// `6.12 ms`, `83.4 us`, `1.2 s`.
fn per_row(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() || s >= 1.0 => number::duration(s),
        s if s >= 1e-3 => format!("{} ms", number::quantity(s * 1e3)),
        s => format!("{} \u{b5}s", number::quantity(s * 1e6)),
    }
}

fn queues(end: &Snapshot, timeline: &[&Snapshot]) -> Option<Section> {
    if end.queues.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw(
        "<div class=\"wide\"><table><thead><tr><th>queue<th class=\"strips\">bytes in it over time<th class=\"n\">peak",
    );
    body.raw("<th class=\"n\">may hold</thead><tbody>");
    for (i, queue) in end.queues.iter().enumerate() {
        let fill = series::reading(timeline, |s| {
            let q = s.queues.get(i).filter(|q| q.from == queue.from && q.to == queue.to && q.cap_bytes > 0)?;
            Some(q.bytes as f64 / q.cap_bytes as f64)
        });
        body.raw("<tr><td class=\"name\">")
            .name(&queue.from)
            .raw(" \u{2192} ")
            .name(&queue.to)
            .raw("<td class=\"strips\">");
        body.raw(strip(&fill, end.elapsed_s).0);
        let peak = number::percent(queue.peak_bytes as f64 / queue.cap_bytes as f64);
        let _ = write!(body.0, "<td class=\"n\">{} <small>{peak}</small>", number::bytes(queue.peak_bytes));
        let _ = write!(body.0, "<td class=\"n\">{}", number::bytes(queue.cap_bytes));
    }
    body.raw("</tbody></table></div>");
    let aside =
        "A queue that stays full waits for the stage behind it; one that stays empty waits for the stage before it.";
    Some(Section { title: "Queues", aside, body })
}

fn sinks(report: &RunReport) -> Option<Section> {
    if report.sinks.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>sink<th>path<th class=\"n\">rows<th class=\"n\">size<th class=\"n\">shards");
    body.raw("<th class=\"n\">rejected<th>complete</thead><tbody>");
    for (id, sink) in &report.sinks {
        let path = sink.path.as_ref().map_or_else(|| number::NO_NUMBER.to_owned(), |p| p.display().to_string());
        body.raw("<tr><td class=\"name\">").name(id).raw("<td class=\"path\">").text(&path);
        let _ =
            write!(body.0, "<td class=\"n\">{}<td class=\"n\">{}", number::count(sink.rows), number::bytes(sink.bytes));
        let _ = write!(
            body.0,
            "<td class=\"n\">{}<td class=\"n\">{}",
            number::count(sink.units),
            number::count(sink.rejects)
        );
        body.raw(if sink.complete { "<td class=\"yes\">yes" } else { "<td class=\"no\">not yet" });
    }
    body.raw("</tbody></table></div>");
    let notes: Vec<(&String, &String)> =
        report.sinks.iter().flat_map(|(id, s)| s.notes.iter().map(move |n| (id, n))).collect();
    if !notes.is_empty() {
        body.raw("<ul class=\"notes\">");
        for (id, note) in notes {
            body.raw("<li><b>").text(id).raw("</b> ").text(note);
        }
        body.raw("</ul>");
    }
    Some(Section { title: "What was written", body, ..Section::default() })
}

fn rejects(report: &RunReport) -> Option<Section> {
    if report.reject_counts.is_empty() && report.first_rejects.is_empty() {
        return None;
    }
    let mut counts: Vec<_> = report.reject_counts.iter().collect();
    counts.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
    let total: u64 = counts.iter().fold(0, |sum, c| sum.saturating_add(c.2));
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>stage<th>reason<th class=\"n\">clips<th class=\"b\">share</thead><tbody>");
    for (stage, reason, n) in counts {
        let part = *n as f64 / total.max(1) as f64;
        body.raw("<tr><td class=\"name\">").name(stage).raw("<td>").name(reason);
        let _ = write!(
            body.0,
            "<td class=\"n\">{}<td class=\"b\">{}{}",
            number::count(*n),
            bar(part, "bad", ""),
            number::percent(part)
        );
    }
    body.raw("</tbody></table></div>");
    if !report.first_rejects.is_empty() {
        let first = number::counted(report.first_rejects.len() as u64, "clip");
        let _ = write!(body.0, "<details><summary>The first {first}</summary><div class=\"wide\"><table><thead><tr>");
        body.raw("<th>clip<th>stage<th>reason<th>detail<th>file</thead><tbody>");
        for reject in &report.first_rejects {
            body.raw("<tr><td class=\"path\">").text(&reject.clip_id);
            body.raw("<td>")
                .text(&reject.stage)
                .raw("<td>")
                .text(&reject.reason)
                .raw("<td class=\"detail\">")
                .text(&reject.detail);
            body.raw("<td class=\"path\">").text(&reject.source);
        }
        body.raw("</tbody></table></div></details>");
    }
    Some(Section { title: "Rejected clips", body, ..Section::default() })
}

/// As an image from a data address: a browser runs no script and loads nothing in there, whoever wrote the drawing.
fn graph(report: &RunReport) -> Option<Section> {
    let svg = report.graph_svg.as_ref().filter(|svg| !svg.trim().is_empty())?;
    let mut address = String::with_capacity(svg.len() * 2);
    for byte in svg.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~ =/,;()".contains(&byte) {
            address.push(char::from(byte));
        } else {
            let _ = write!(address, "%{byte:02X}");
        }
    }
    let mut body = Html::new();
    let _ = write!(body.0, "<img class=\"graph\" alt=\"the graph of the run\" src=\"data:image/svg+xml,{address}\">");
    Some(Section { title: "Graph", body, ..Section::default() })
}
