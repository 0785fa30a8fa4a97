//! From rounds to scores: means, how sure they are, averages over tasks, and what others published.

use serde::Serialize;

use super::probe::{Found, Probe, Probed, Run};
use super::protocol::{Kind, Mode};

/// Of the t distribution, where 95 % lie within, by degrees of freedom from 1.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// What several models scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Version of the program.
    pub program: String,
    /// Whose rules.
    pub mode: Mode,
    /// A row each.
    pub models: Vec<Model>,
    /// What others published; only beside numbers of their own protocol.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

/// What one model scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What names its encoder's numbers; none for embeddings that were made elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// A row each.
    pub tasks: Vec<Row>,
    /// The weighted mean over the tasks that were run, of the probes that X-ARES has.
    pub averages: Vec<Mean>,
}

/// A task of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The task.
    pub task: String,
    /// Its weight in averages.
    pub weight: u32,
    /// What is counted.
    pub measure: &'static str,
    /// Classes that occur.
    pub n_classes: usize,
    /// Clips, or crops, learnt from and asked about in one round.
    pub n_clips: [usize; 2],
    /// What probes found.
    pub scores: Vec<Score>,
    /// What was odd, or why it was not run.
    pub notes: Vec<String>,
}

/// What a probe found about a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Which.
    pub probe: Probe,
    /// The mean over folds and seeds.
    pub score: f64,
    /// Lower end of 95 %: over folds where there are some, else over bootstrap samples of the clips asked about.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Standard deviation over seeds.
    pub spread: Option<f64>,
    /// All rounds.
    pub runs: Vec<Run>,
}

/// A weighted mean over tasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mean {
    /// Of which probe.
    pub probe: Probe,
    /// The mean.
    pub score: f64,
    /// Tasks in it.
    pub n_tasks: usize,
    /// Sum of their weights.
    pub weight: u32,
}

/// A row that others published.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Published {
    /// Whose.
    pub name: &'static str,
    /// Where.
    pub source: &'static str,
    /// The task; the weighted average over all public tasks where it is empty.
    pub task: &'static str,
    /// By neighbours.
    pub knn: Option<f64>,
    /// By the trained layer.
    pub mlp: Option<f64>,
}

impl Row {
    /// Of what was found.
    pub fn new(task: &str, weight: u32, found: Found, notes: &[String]) -> Self {
        Self {
            task: task.to_owned(),
            weight,
            measure: found.kind.measure(),
            n_classes: found.n_classes,
            n_clips: found.n_clips,
            scores: found.probed.into_iter().map(Score::of).collect(),
            notes: notes.iter().cloned().chain(found.notes).collect(),
        }
    }

    /// Of a task that was not run.
    pub fn not_run(task: &str, why: &str) -> Self {
        Self {
            task: task.to_owned(),
            weight: 0,
            measure: Kind::NotRun("").measure(),
            n_classes: 0,
            n_clips: [0; 2],
            scores: Vec::new(),
            notes: vec![format!("not run: {why}")],
        }
    }

    /// What a probe scored.
    pub fn score(&self, probe: Probe) -> Option<&Score> {
        self.scores.iter().find(|score| score.probe == probe)
    }
}

impl Score {
    fn of(Probed { probe, runs }: Probed) -> Self {
        let mut folds: Vec<&str> = runs.iter().map(|run| run.fold.as_str()).collect();
        folds.dedup();
        folds.sort_unstable();
        folds.dedup();
        let n_seeds = runs.iter().map(|run| run.seed).max().unwrap_or(0) + 1;
        let of_seed = |seed: u64| mean(runs.iter().filter(|run| run.seed == seed).map(|run| run.score));
        let of_fold = |fold: &&str| mean(runs.iter().filter(|run| run.fold == **fold).map(|run| run.score));
        let score = mean(runs.iter().map(|run| run.score));
        let by_fold: Vec<f64> = folds.iter().map(of_fold).collect();
        let seeds: Vec<f64> = (0..n_seeds).map(of_seed).collect();
        let ends = if by_fold.len() > 1 {
            let half =
                T_95.get(by_fold.len() - 2).unwrap_or(&1.96) * deviation(&by_fold) / (by_fold.len() as f64).sqrt();
            Some([score - half, score + half])
        } else {
            let ends: Option<Vec<[f64; 2]>> =
                runs.iter().map(|run| run.interval.map(|ends| [ends.low, ends.high])).collect();
            ends.map(|ends| [0, 1].map(|end| mean(ends.iter().map(|ends| ends[end]))))
        };
        // No share is below none or above all, however few folds there are to tell by.
        let ends = ends.map(|ends| ends.map(|end| end.clamp(0.0, 1.0)));
        let spread = (seeds.len() > 1).then(|| deviation(&seeds));
        Self { probe, score, low: ends.map(|ends| ends[0]), high: ends.map(|ends| ends[1]), spread, runs }
    }
}

impl Model {
    /// With the averages of its tasks.
    pub fn new(name: String, digest: Option<String>, tasks: Vec<Row>) -> Self {
        let averages = Probe::AVERAGED.into_iter().filter_map(|probe| average(probe, &tasks)).collect();
        Self { name, digest, tasks, averages }
    }
}

fn average(probe: Probe, tasks: &[Row]) -> Option<Mean> {
    let scored = || tasks.iter().filter_map(|row| Some((row.score(probe)?.score, row.weight)));
    let weight: u32 = scored().map(|(_, weight)| weight).sum();
    let sum: f64 = scored().map(|(score, weight)| score * f64::from(weight)).sum();
    (weight > 0).then(|| Mean { probe, score: sum / f64::from(weight), n_tasks: scored().count(), weight })
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = numbers.fold((0.0, 0_u32), |(sum, n), x| (sum + x, n + 1));
    sum / f64::from(n)
}

/// Of a sample.
fn deviation(numbers: &[f64]) -> f64 {
    let centre = mean(numbers.iter().copied());
    let squares: f64 = numbers.iter().map(|x| (x - centre).powi(2)).sum();
    (squares / (numbers.len() as f64 - 1.0)).sqrt()
}

const X_ARES: &str = "X-ARES, weighted over its public tasks";
const PAPER: &str = "arXiv 2507.02915";

const fn row(
    name: &'static str,
    source: &'static str,
    task: &'static str,
    knn: Option<f64>,
    mlp: Option<f64>,
) -> Published {
    Published { name, source, task, knn, mlp }
}

/// What others published of models under the protocol of X-ARES.
pub const PUBLISHED: [Published; 12] = [
    row("dasheng", X_ARES, "", Some(0.504), Some(0.699)),
    row("whisper", X_ARES, "", Some(0.299), Some(0.632)),
    row("data2vec", X_ARES, "", Some(0.388), Some(0.598)),
    row("wav2vec2", X_ARES, "", Some(0.262), Some(0.490)),
    row("Audio-JEPA", PAPER, "esc50", Some(0.140), None),
    row("Audio-JEPA", PAPER, "freemusicarchive", Some(0.449), Some(0.553)),
    row("Audio-JEPA", PAPER, "gtzan_genre", Some(0.452), None),
    row("Audio-JEPA", PAPER, "desed", None, Some(0.306)),
    row("Audio-JEPA", PAPER, "fluentspeechcommands", None, Some(0.025)),
    row("Audio-JEPA", PAPER, "speechcommandsv1", None, Some(0.152)),
    row("Audio-JEPA", PAPER, "voxceleb1", None, Some(0.041)),
    row("Audio-JEPA", PAPER, "voxlingua33", None, Some(0.093)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, fold: &str, score: f64) -> Run {
        Run { seed, fold: fold.to_owned(), score, epoch: None, shares: None, interval: None }
    }

    #[test]
    fn means_and_ends_by_hand() {
        let runs = vec![run(0, "1", 0.50), run(0, "2", 0.52), run(1, "1", 0.51), run(1, "2", 0.53)];
        let score = Score::of(Probed { probe: Probe::Mlp, runs });
        assert!((score.score - 0.515).abs() < 1e-12);
        // Folds 0.505 and 0.525: half is 12.706 x 0.01414 / sqrt 2; seeds 0.51 and 0.52.
        assert!(
            (score.high.unwrap() - 0.515 - 0.12706).abs() < 1e-4 && (score.low.unwrap() - 0.515 + 0.12706).abs() < 1e-4
        );
        assert!((score.spread.unwrap() - 0.007_071).abs() < 1e-5);
        let apart = Score::of(Probed { probe: Probe::Mlp, runs: vec![run(0, "1", 0.4), run(0, "2", 0.9)] });
        assert_eq!((apart.low, apart.high), (Some(0.0), Some(1.0)));
        let row = |task: &str, weight: u32, score: f64| Row {
            weight,
            scores: vec![Score::of(Probed { probe: Probe::Knn, runs: vec![run(0, "test", score)] })],
            ..Row::not_run(task, "")
        };
        let model =
            Model::new("m".to_owned(), None, vec![row("a", 100, 0.5), row("b", 300, 0.9), Row::not_run("c", "")]);
        // What X-ARES has no probe for has no average.
        let other = Score::of(Probed { probe: Probe::Layers, runs: vec![run(0, "test", 1.0)] });
        let with_other = Row { scores: vec![other], ..row("d", 100, 0.1) };
        assert!(Model::new("m".to_owned(), None, vec![with_other]).averages.is_empty());
        assert_eq!(model.averages.len(), 1);
        assert!((model.averages[0].score - 0.8).abs() < 1e-12 && model.averages[0].n_tasks == 2);
    }
}
