//! Scores of several models as one page, and what others published beside them.

use std::fmt::Write as _;

use super::format::count;
use super::page::{self, Html, Section};
use crate::eval::{Evaluation, Mode, Probe, Row};

/// Writes the page.
pub fn render(evaluation: &Evaluation) -> String {
    let mut sections = vec![header(evaluation)];
    sections.extend(sizes(evaluation));
    let all = [
        (Probe::Mlp, "Trained layer", MLP),
        (Probe::Knn, "Neighbours", KNN),
        (Probe::Attentive, "Attention over frames", ATTENTIVE),
        (Probe::Layers, "Mix of layers", LAYERS),
    ];
    sections.extend(all.into_iter().filter_map(|(probe, title, aside)| scores(evaluation, probe, title, aside)));
    sections.extend(published(evaluation));
    sections.extend(notes(evaluation));
    page::document("Judged by probes", &sections, &evaluation.program)
}

const MLP: &str = "One linear layer behind a layer normalisation, trained on the frozen embeddings: the mean over folds and \
                   trainings, 95 % over folds or over samples of the clips asked about, and the deviation over trainings.";
const KNN: &str = "Ten nearest neighbours vote; nothing is trained.";
const ATTENTIVE: &str = "The trained layer behind learnt queries that attend to the frames of a clip, in place of their mean; no \
                         silence that fills up a clip is among them. Not of X-ARES, and in no average.";
const LAYERS: &str = "The trained layer behind a mix of what all blocks of the encoder say of a clip, in learnt shares (the JSON has \
                      them), in place of the last. Not of X-ARES, and in no average.";

fn header(evaluation: &Evaluation) -> Section {
    let mut body = Html::new();
    let words = match evaluation.mode {
        Mode::Xares => "mode xares: as X-ARES 0.1.3 runs, quirks and all",
        Mode::Clean => {
            "mode clean: true lengths, cosine, every crop, no epoch chosen on what is scored; not to be set beside published numbers"
        }
    };
    body.raw("<header><h1>Judged by probes</h1><p>").text(words).raw("</p></header>");
    for model in &evaluation.models {
        if let Some(digest) = &model.digest {
            body.raw("<p>").name(&model.name).raw(": digest <code>").text(digest).raw("</code></p>");
        }
    }
    Section { body, ..Section::default() }
}

/// Tasks in the order they first occur.
fn tasks(evaluation: &Evaluation) -> Vec<&Row> {
    let mut rows: Vec<&Row> = Vec::new();
    for row in evaluation.models.iter().flat_map(|model| &model.tasks) {
        if !row.scores.is_empty() && rows.iter().all(|known| known.task != row.task) {
            rows.push(row);
        }
    }
    rows
}

/// How many clips and classes each task has; a line for each count, where models were asked about other ones.
fn sizes(evaluation: &Evaluation) -> Option<Section> {
    let mut body = Html::new();
    body.raw(
        "<div class=\"wide\"><table><thead><tr><th>task<th>measure<th class=\"n\">classes<th class=\"n\">learnt from",
    );
    body.raw("<th class=\"n\">asked about<th class=\"n\">weight<th>models</thead><tbody>");
    let tasks = tasks(evaluation);
    for task in &tasks {
        let mut counts: Vec<(&Row, Vec<&str>)> = Vec::new();
        for model in &evaluation.models {
            for row in model.tasks.iter().filter(|row| row.task == task.task && !row.scores.is_empty()) {
                match counts.iter_mut().find(|(of, _)| (of.n_classes, of.n_clips) == (row.n_classes, row.n_clips)) {
                    Some((_, names)) => names.push(&model.name),
                    None => counts.push((row, vec![&model.name])),
                }
            }
        }
        for (row, names) in counts {
            body.raw("<tr><td class=\"name\">").text(&row.task).raw("<td>").text(row.measure);
            for n in [row.n_classes as u64, row.n_clips[0] as u64, row.n_clips[1] as u64, u64::from(row.weight)] {
                body.raw("<td class=\"n\">").text(&count(n));
            }
            let is_all = names.len() == evaluation.models.len();
            body.raw("<td>").name(&if is_all { "all".to_owned() } else { names.join(", ") });
        }
    }
    body.raw("</tbody></table></div>");
    let aside = "Clips, or crops of them; where there are folds, of the first round.";
    (!tasks.is_empty()).then_some(Section { title: "Tasks", aside, body })
}

fn scores(evaluation: &Evaluation, probe: Probe, title: &'static str, aside: &'static str) -> Option<Section> {
    let tasks: Vec<&Row> = tasks(evaluation);
    let any = evaluation.models.iter().flat_map(|model| &model.tasks).any(|row| row.score(probe).is_some());
    if !any {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>task<th>measure");
    for model in &evaluation.models {
        body.raw("<th class=\"n\">").name(&model.name);
    }
    body.raw("</thead><tbody>");
    for task in tasks {
        body.raw("<tr><td class=\"name\">").text(&task.task).raw("<td>").text(task.measure);
        for model in &evaluation.models {
            let score = model.tasks.iter().find(|row| row.task == task.task).and_then(|row| row.score(probe));
            body.raw("<td class=\"n\">");
            let Some(score) = score else {
                body.raw("-");
                continue;
            };
            let _ = write!(body.0, "<b>{:.4}</b>", score.score);
            if let (Some(low), Some(high)) = (score.low, score.high) {
                let _ = write!(body.0, "<br>[{low:.3}, {high:.3}]");
            }
            if let Some(spread) = score.spread {
                let _ = write!(body.0, " \u{b1}{spread:.4}");
            }
        }
    }
    if Probe::AVERAGED.contains(&probe) {
        means(evaluation, probe, &mut body);
    }
    body.raw("</tbody></table></div>");
    Some(Section { title, aside, body })
}

fn means(evaluation: &Evaluation, probe: Probe, body: &mut Html) {
    body.raw("<tr><td class=\"name\">weighted mean<td>");
    for model in &evaluation.models {
        body.raw("<td class=\"n\">");
        let mean = model.averages.iter().find(|mean| mean.probe == probe);
        body.raw(
            mean.map_or_else(|| "-".to_owned(), |mean| format!("<b>{:.4}</b><br>over {}", mean.score, mean.n_tasks)),
        );
    }
}

fn published(evaluation: &Evaluation) -> Option<Section> {
    if evaluation.published.is_empty() {
        return None;
    }
    let mut body = Html::new();
    body.raw("<div class=\"wide\"><table><thead><tr><th>model<th>task<th class=\"n\">neighbours<th class=\"n\">trained layer<th>source</thead><tbody>");
    for row in &evaluation.published {
        let task = if row.task.is_empty() { "weighted mean of all" } else { row.task };
        body.raw("<tr><td class=\"name\">").text(row.name).raw("<td>").text(task);
        for score in [row.knn, row.mlp] {
            body.raw("<td class=\"n\">").text(&score.map_or_else(|| "-".to_owned(), |score| format!("{score:.3}")));
        }
        body.raw("<td>").text(row.source);
    }
    body.raw("</tbody></table></div>");
    let aside = "Under the same protocol; a mean over fewer tasks than all is no mean over all.";
    Some(Section { title: "Published", aside, body })
}

fn notes(evaluation: &Evaluation) -> Option<Section> {
    let mut body = Html::new();
    let mut any = false;
    body.raw("<ul>");
    for model in &evaluation.models {
        for row in &model.tasks {
            for note in &row.notes {
                any = true;
                body.raw("<li>").name(&model.name).raw(", ").text(&row.task).raw(": ").text(note);
            }
        }
    }
    body.raw("</ul>");
    any.then_some(Section { title: "Notes", aside: "", body })
}
