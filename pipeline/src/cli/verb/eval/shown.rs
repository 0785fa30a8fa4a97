//! Scores as a table, as CSV, as JSON.

use std::fmt::Write as _;

use crate::cli::format::count;
use crate::eval::{Evaluation, Mode, Model, Probe, Row, Score};

/// `esc50: accuracy knn 0.312, mlp 0.401`.
pub fn line(row: &Row) -> String {
    let scores: Vec<String> =
        row.scores.iter().map(|score| format!("{} {}", score.probe.word(), number(score.score))).collect();
    format!("{}: {} {}", row.task, row.measure, scores.join(", "))
}

fn number(x: f64) -> String {
    if x.is_finite() { format!("{x:.4}") } else { "-".to_owned() }
}

/// `0.4012 [0.38, 0.42] +-0.004`.
fn cell(score: Option<&Score>) -> String {
    let Some(score) = score else { return "-".to_owned() };
    let mut out = number(score.score);
    if let (Some(low), Some(high)) = (score.low, score.high) {
        let _ = write!(out, " [{low:.3}, {high:.3}]");
    }
    if let Some(spread) = score.spread {
        let _ = write!(out, " +-{spread:.4}");
    }
    out
}

pub fn json(evaluation: &Evaluation) -> String {
    let mut text = serde_json::to_string_pretty(evaluation).unwrap_or_default();
    text.push('\n');
    text
}

/// A line for each model, task and probe.
pub fn csv(evaluation: &Evaluation) -> String {
    let mut out = "mode,model,task,weight,measure,train,test,classes,probe,score,low,high,spread\n".to_owned();
    let mode = mode(evaluation.mode);
    let some = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
    for model in &evaluation.models {
        for row in &model.tasks {
            for score in &row.scores {
                let [train, test] = row.n_clips;
                let _ = writeln!(
                    out,
                    "{mode},{},{},{},{},{train},{test},{},{},{},{},{},{}",
                    quoted(&model.name),
                    quoted(&row.task),
                    row.weight,
                    quoted(row.measure),
                    row.n_classes,
                    score.probe.word(),
                    score.score,
                    some(score.low),
                    some(score.high),
                    some(score.spread)
                );
            }
        }
    }
    out
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Xares => "xares",
        Mode::Clean => "clean",
    }
}

/// For reading.
pub fn table(evaluation: &Evaluation) -> String {
    let mut out = String::new();
    for model in &evaluation.models {
        let digest = model.digest.as_ref().map_or_else(String::new, |digest| format!(", digest {digest}"));
        let _ = writeln!(out, "{} (mode {}{digest})", model.name, mode(evaluation.mode));
        out.push_str(&aligned(&lines(model)));
        for row in &model.tasks {
            for note in &row.notes {
                let _ = writeln!(out, "  {}: {note}", row.task);
            }
        }
        out.push('\n');
    }
    if !evaluation.published.is_empty() {
        let head = ["published", "task", "knn", "mlp", "source"].map(str::to_owned).to_vec();
        let some = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.3}"));
        let rows = evaluation.published.iter().map(|row| {
            let task = if row.task.is_empty() { "weighted mean" } else { row.task };
            vec![row.name.to_owned(), task.to_owned(), some(row.knn), some(row.mlp), row.source.to_owned()]
        });
        out.push_str(&aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
        out.push('\n');
    }
    out.push_str(
        "[low, high]: 95 %, over folds, else over samples of the clips asked about; +-: deviation over trainings\n",
    );
    out
}

fn lines(model: &Model) -> Vec<Vec<String>> {
    let asked =
        |probe: &Probe| Probe::AVERAGED.contains(probe) || model.tasks.iter().any(|row| row.score(*probe).is_some());
    let probes: Vec<Probe> = Probe::ALL.into_iter().filter(asked).collect();
    let words = probes.iter().map(|probe| probe.word());
    let mut lines: Vec<Vec<String>> = Vec::new();
    lines.push(["task", "measure", "classes", "train", "test"].into_iter().chain(words).map(str::to_owned).collect());
    for row in model.tasks.iter().filter(|row| !row.scores.is_empty()) {
        let [train, test] = row.n_clips.map(|n| count(n as u64));
        let mut line = vec![row.task.clone(), row.measure.to_owned(), count(row.n_classes as u64), train, test];
        line.extend(probes.iter().map(|probe| cell(row.score(*probe))));
        lines.push(line);
    }
    if model.tasks.len() > 1 {
        let average = |probe: &Probe| {
            let mean = model.averages.iter().find(|mean| mean.probe == *probe);
            mean.map_or_else(|| "-".to_owned(), |mean| format!("{} over {}", number(mean.score), mean.n_tasks))
        };
        let mut line = vec!["weighted mean".to_owned()];
        line.extend(std::iter::repeat_n(String::new(), 4));
        line.extend(probes.iter().map(average));
        lines.push(line);
    }
    lines
}

fn aligned(lines: &[Vec<String>]) -> String {
    let letters = |text: &String| text.chars().count();
    let n = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..n).map(|at| lines.iter().map(|line| letters(&line[at])).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for line in lines {
        let cells =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - letters(cell))));
        let _ = writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out
}
