//! The sections of the page, top to bottom: what matters most comes first.

use std::fmt::Write;

use ajepa_model::telemetry::{Health, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::TrainPage;
use super::curves::{Feed, best_probe, by_step, health, of_one_run};
use crate::cli::page::chart::{Across, Chart, Curve, Mark, Up};
use crate::cli::page::{Html, Section, css_percent, number};

/// Most alarms that are written out; a broken run may raise one at every measuring.
const MAX_ALARMS: usize = 20;

/// Those that have something to show.
pub(super) fn all(page: &TrainPage<'_>) -> Vec<Section> {
    let run = of_one_run(page.records);
    let feed = Feed::of(&run);
    let charts = Charts { page, run: &run, end: run.last().map_or(0, |record| record.step) as f64 };
    let sections = [
        Some(header(page)),
        Some(headline(page, &run, &feed)),
        alarms(page),
        charts.loss(),
        charts.probe(),
        charts.health(),
        charts.optimiser(),
        waiting(&feed),
        pictures(page),
        facts(page),
    ];
    sections.into_iter().flatten().collect()
}

fn header(page: &TrainPage<'_>) -> Section {
    let mut body = Html::new();
    let mood = match page.outcome {
        "done" | "running" => "good",
        "failed" => "bad",
        _ => "warn",
    };
    body.raw("<header><h1>")
        .name(page.title)
        .raw("</h1><p><span class=\"pill ")
        .raw(mood)
        .raw("\">")
        .text(page.outcome);
    body.raw("</span>");
    if !page.started_at.is_empty() {
        body.raw(" started ").text(page.started_at);
    }
    body.raw("</p></header>");
    if let Some(error) = page.error {
        body.raw("<pre class=\"error\">").text(error).raw("</pre>");
    }
    Section { body, ..Section::default() }
}

fn headline(page: &TrainPage<'_>, run: &[&Record], feed: &Feed) -> Section {
    let last = run.last();
    let dash = || number::NO_NUMBER.to_owned();
    let best = best_probe(run);
    let parameters =
        if page.parameters > 0 { format!("{} parameters", millions(page.parameters)) } else { String::new() };
    let clips_per_s = last.map_or(0, |record| record.clips) as f64 / feed.end_s;
    let tiles = [
        ("preset", Html::escape(page.preset), parameters),
        ("step", last.map_or_else(dash, |r| number::count(r.step)), format!("of {}", number::count(page.steps))),
        (
            "clips seen",
            last.map_or_else(dash, |r| number::count(r.clips)),
            last.map_or_else(String::new, |r| format!("pass {}", number::count(r.epoch.saturating_add(1)))),
        ),
        ("loss", last.map_or_else(dash, |r| number::quantity(f64::from(r.loss))), "at the last step".to_owned()),
        (
            "best probe",
            best.map_or_else(dash, |b| number::quantity(b.1)),
            best.map_or_else(String::new, |b| format!("at step {}", number::count(b.0))),
        ),
        ("clips per second", number::quantity(clips_per_s), format!("{} trained", number::duration(feed.end_s))),
    ];
    let mut body = Html::new();
    body.raw("<dl class=\"tiles\">");
    for (name, value, note) in tiles {
        let _ = write!(body.0, "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"note\">{note}</dd></div>");
    }
    body.raw("</dl>");
    Section { body, ..Section::default() }
}

/// `5.53 million`, `940 thousand`.
fn millions(n: u64) -> String {
    match n {
        0..1_000 => number::count(n),
        1_000..1_000_000 => format!("{} thousand", number::quantity(n as f64 / 1e3)),
        _ => format!("{} million", number::quantity(n as f64 / 1e6)),
    }
}

fn alarms(page: &TrainPage<'_>) -> Option<Section> {
    if page.alarms.is_empty() {
        return None;
    }
    let mut body = Html::new();
    for alarm in page.alarms.iter().take(MAX_ALARMS) {
        let _ = write!(body.0, "<div class=\"callout alarmed\"><p><b>Step {}:</b> ", number::count(alarm.step));
        body.text(&alarm.text).raw("</p>");
        body.raw("</div>");
    }
    if let Some(more) = page.alarms.len().checked_sub(MAX_ALARMS).filter(|more| *more > 0) {
        let _ = write!(body.0, "<p class=\"none\">and {} more</p>", number::count(more as u64));
    }
    Some(Section { title: "Alarms", body, ..Section::default() })
}

/// The charts over steps.
struct Charts<'a> {
    page: &'a TrainPage<'a>,
    run: &'a [&'a Record],
    end: f64,
}

impl Charts<'_> {
    fn chart<'b>(&'b self, title: &'static str, unit: &'b str, curves: Vec<Curve>, up: Up) -> Chart<'b> {
        let alarms = self.page.alarms.iter().take(MAX_ALARMS);
        let marks = alarms.map(|alarm| Mark::Alarm(alarm.step as f64, &alarm.text)).collect();
        Chart { title, unit, curves, across: Across::Steps, end: self.end, up, marks, large: false }
    }

    fn loss(&self) -> Option<Section> {
        let mut curves = vec![by_step("minimised", self.run, |r| Some(f64::from(r.loss)))];
        if self.run.iter().any(|record| record.regulariser != 0.0) {
            curves.push(by_step("of it the regulariser", self.run, |r| Some(f64::from(r.regulariser))));
        }
        let chart = Chart { large: true, ..self.chart("", "mean over a step's clips", curves, Up::Linear) };
        section("Loss", "Low is not good in itself: a collapsed model has a low loss too.", &[chart])
    }

    fn probe(&self) -> Option<Section> {
        let score = by_step("k-NN", self.run, |r| r.probe.map(|probe| probe.knn));
        let best = best_probe(self.run);
        let mut chart = Chart { large: true, ..self.chart("", "score from 0 to 1", vec![score], Up::Linear) };
        let name = best.map_or_else(String::new, |b| format!("best {}", number::quantity(b.1)));
        chart.marks.extend(best.map(|(step, score)| Mark::Point(step as f64, score, name.as_str())));
        section("What the encoder knows", "Neighbours in the frozen encoder's space share labels.", &[chart])
    }

    /// Codes in a book, where targets are codes: what is measured of them is another thing than of latents.
    fn n_codes(&self) -> Option<u64> {
        self.run.iter().rev().find_map(|record| Some(record.health?.codes?.n_codes))
    }

    /// What targets and predictions are like.
    fn answers<'b>(&'b self, of_book: Option<&'b str>) -> Vec<Chart<'b>> {
        let run = self.run;
        let [target, prediction] = [|h: &Health| h.target_spread, |h: &Health| h.prediction_spread];
        let Some(of_book) = of_book else {
            let spread = vec![
                health("target", run, target),
                health("prediction", run, prediction),
                health("context", run, |h| h.context_spread),
            ];
            let explained = vec![health("r\u{b2}", run, |h| h.r2)];
            return vec![
                self.chart("Spread", "standard deviation", spread, Up::Linear),
                self.chart("Explained by the predictor", "r\u{b2} against the mean target", explained, Up::Linear),
            ];
        };
        let right = by_step("right", run, |r| r.health?.codes.map(|codes| codes.accuracy));
        let in_use = vec![health("of targets", run, target), health("of predictions", run, prediction)];
        let explained = vec![health("explained", run, |h| h.r2)];
        vec![
            self.chart("Codes told right", "share of the hidden tokens", vec![right], Up::Share),
            self.chart("Codes in use", of_book, in_use, Up::Linear),
            self.chart("Explained by the predictor", "share of the entropy of codes", explained, Up::Linear),
            self.chart(
                "Spread of the context",
                "standard deviation",
                vec![health("context", run, |h| h.context_spread)],
                Up::Linear,
            ),
        ]
    }

    fn health(&self) -> Option<Section> {
        let run = self.run;
        let of_book = self.n_codes().map(|n| format!("exponential of their entropy, of {}", number::count(n)));
        let mut charts = self.answers(of_book.as_deref());
        charts.extend([
            self.chart(
                "Dimensions in use",
                "of the width",
                vec![health("RankMe", run, |h| h.rank_me), health("participation", run, |h| h.participation_ratio)],
                Up::Linear,
            ),
            self.chart(
                "Where the variance lies",
                "share of all",
                vec![
                    health("between clips", run, |h| h.between_clips),
                    health("between positions", run, |h| h.between_positions),
                ],
                Up::Share,
            ),
            self.chart("Dead dimensions", "share of all", vec![health("dead", run, |h| h.dead_dimensions)], Up::Share),
        ]);
        let aside = if of_book.is_some() {
            "A collapse shows as predictions that use few codes, few dimensions in use, and clips that all look alike."
        } else {
            "A collapse shows as a spread that falls to 0, few dimensions in use, and clips that all look alike."
        };
        section("Health of the representation", aside, &charts)
    }

    fn optimiser(&self) -> Option<Section> {
        let run = self.run;
        let mut charts = vec![
            self.chart(
                "Gradient",
                "norm before clipping, log scale",
                vec![by_step("norm", run, |r| Some(r.grad_norm))],
                Up::Log,
            ),
            self.chart("Learning rate", "as applied", vec![by_step("rate", run, |r| Some(r.lr))], Up::Linear),
            self.chart("Weight decay", "as applied", vec![by_step("decay", run, |r| Some(r.weight_decay))], Up::Linear),
        ];
        // Codes need none.
        if self.n_codes().is_none() {
            let tau = vec![by_step("tau", run, |r| Some(r.tau))];
            charts.push(self.chart("Moving average", "share that stays in a step", tau, Up::Linear));
        }
        let section = section("Optimiser", "", &charts)?;
        let body = Html(section.body.0.replacen("charts", "charts pairs", 1));
        Some(Section { body, ..section })
    }
}

fn section(title: &'static str, aside: &'static str, charts: &[Chart<'_>]) -> Option<Section> {
    let mut drawn = Html::new();
    for chart in charts {
        drawn.raw(chart.draw().0);
    }
    if drawn.0.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"charts\">").raw(drawn.0).raw("</div>");
    Some(Section { title, aside, body })
}

/// Who waited for whom: the pace, and the share of the time that went into waiting for data.
fn waiting(feed: &Feed) -> Option<Section> {
    if feed.clips_per_s.is_empty() {
        return None;
    }
    let share = feed.waited_s / feed.end_s;
    let mut body = Html::new();
    body.raw("<div class=\"stack\">");
    for (class, name, part) in [("c0", "making steps", 1.0 - share), ("c3", "waiting for data", share)] {
        // Its padding alone would be seen.
        if part < 0.001 {
            continue;
        }
        let text = format!("{name} {}", number::percent(part));
        let shown = if part > 0.2 { text.as_str() } else { "" };
        let _ = write!(
            body.0,
            "<span class=\"{class}\" style=\"width:{}%\" title=\"{text}\">{shown}</span>",
            css_percent(part)
        );
    }
    body.raw("</div><p class=\"below\">");
    let wait = number::percent(share);
    let _ = match share {
        s if s < 0.02 => write!(body.0, "The data waited for the trainer, which lost {wait} of its time."),
        _ => write!(
            body.0,
            "The trainer waited for data {wait} of its time: more feeding workers, or shards on a faster disk, would help."
        ),
    };
    body.raw("</p>");
    let chart = |title, unit, name, points: &[(f64, f64)], up| {
        let curves = vec![Curve { name, points: points.to_vec() }];
        Chart { title, unit, curves, across: Across::Seconds, end: feed.end_s, up, marks: Vec::new(), large: true }
    };
    let pace = chart("Pace", "clips per second, over time", "trained", &feed.clips_per_s, Up::Linear);
    let wait = chart("Data wait", "share of the time, over time", "waited", &feed.data_wait, Up::Share);
    let charts = section("", "", &[pace, wait])?;
    body.raw(charts.body.0);
    Some(Section { title: "Who waited for whom", body, ..Section::default() })
}

fn pictures(page: &TrainPage<'_>) -> Option<Section> {
    if page.pictures.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"pictures\">");
    for picture in page.pictures {
        body.raw("<figure><img alt=\"log-mel with its mask\" src=\"data:image/png;base64,");
        body.raw(STANDARD.encode(&picture.png))
            .raw("\"><figcaption>")
            .text(&picture.caption)
            .raw("</figcaption></figure>");
    }
    body.raw("</div>");
    let aside = "The context encoder sees what is clear; what is veiled and outlined is predicted.";
    Some(Section { title: "Clips and their masks", aside, body })
}

fn facts(page: &TrainPage<'_>) -> Option<Section> {
    if page.facts.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table class=\"facts\"><tbody>");
    for (name, value) in page.facts {
        body.raw("<tr><th scope=\"row\">").text(name).raw("<td class=\"path\">").text(value);
    }
    body.raw("</tbody></table></div>");
    Some(Section { title: "Config", body, ..Section::default() })
}
