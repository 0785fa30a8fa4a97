//! Probes over a task's embeddings: neighbours, and a head that is trained, in every round and for every seed.

use ajepa_model::probe::{
    Examples, Head, HeadConfig, Interval, KnnConfig, Labels, Measure, Order, Pool, ProbeError, Similarity, Votes, each,
};
use ajepa_ops::seed;
use serde::Serialize;

use super::features::Form;
use super::protocol::{Kind, Mode, Protocol};
use super::sides::{Classes, Events, Reading, Round, Side, kind_of, rounds};
use super::vectors::Encoded;

/// Bootstrap samples of an interval.
const DRAWS: usize = 1000;

/// Queries of attention, each of which takes its part of the numbers.
const QUERIES: usize = 4;

/// What asks embeddings what they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Ten nearest neighbours; nothing is trained.
    Knn,
    /// One linear layer behind a layer normalisation, trained: what X-ARES calls MLP.
    Mlp,
    /// The same behind attention over the frames of a clip, in place of their mean.
    Attentive,
    /// The same behind a learnt mix of what all layers of the encoder say of a clip, in place of the last.
    Layers,
}

impl Probe {
    /// All, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Knn, Self::Mlp, Self::Attentive, Self::Layers];

    /// Those that averages over tasks are taken of: what X-ARES has.
    pub const AVERAGED: [Self; 2] = [Self::Knn, Self::Mlp];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Knn => "knn",
            Self::Mlp => "mlp",
            Self::Attentive => "attentive",
            Self::Layers => "layers",
        }
    }

    /// Which embeddings it asks.
    pub fn form(self) -> Form {
        match self {
            Self::Knn | Self::Mlp => Form::Usual,
            Self::Attentive => Form::Frames,
            Self::Layers => Form::Layers,
        }
    }
}

/// The embeddings of a task in the forms that are there.
#[derive(Debug, Clone, Default)]
pub struct Embeddings {
    /// A vector a clip, or one a frame where frames are asked about.
    pub usual: Vec<Encoded>,
    /// A row a frame; none where there are none.
    pub frames: Vec<Encoded>,
    /// A row a layer of the encoder; none where there are none.
    pub layers: Vec<Encoded>,
    /// What is heard when, where a task asks that; where `None`, the labels of rows say it.
    pub events: Option<Events>,
}

impl Embeddings {
    /// Those of a form.
    pub fn of(&self, form: Form) -> &[Encoded] {
        match form {
            Form::Usual => &self.usual,
            Form::Frames => &self.frames,
            Form::Layers => &self.layers,
        }
    }
}

/// How probes are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whose rules.
    pub mode: Mode,
    /// Which.
    pub probes: Vec<Probe>,
    /// How many trainings each is the mean of.
    pub seeds: u64,
    /// Another seed, other trainings.
    pub seed: u64,
}

/// One round of a probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Which training, counted from 0.
    pub seed: u64,
    /// The fold that was asked about, or `test`.
    pub fold: String,
    /// What it scored.
    pub score: f64,
    /// The epoch that was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// Of a mix of layers the share of each, the first block first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<Vec<f32>>,
    /// Between which two the middle 95 % of the score lie over bootstrap samples of the clips asked about.
    #[serde(skip)]
    pub interval: Option<Interval>,
}

/// A probe of a task, all rounds of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// Which.
    pub probe: Probe,
    /// All rounds.
    pub runs: Vec<Run>,
}

/// What was found about a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it asks.
    pub kind: Kind,
    /// Classes that occur.
    pub n_classes: usize,
    /// Clips, or crops, that were learnt from and asked about, in one round.
    pub n_clips: [usize; 2],
    /// The probes.
    pub probed: Vec<Probed>,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// A task's embeddings, ready to be asked.
struct Data<'a> {
    splits: &'a [Encoded],
    n_classes: usize,
    reading: Reading<'a>,
}

impl<'a> Data<'a> {
    /// Embeddings of another form, of the same classes.
    fn in_form(&self, splits: &'a [Encoded], form: Form) -> Self {
        let reading = Reading { pooled: form != Form::Usual, ..self.reading.clone() };
        Self { splits, reading, ..*self }
    }

    fn side(&self, places: &[usize]) -> Side {
        Side::of(self.splits, places, &self.reading)
    }
}

/// Says it when there are not the classes that the task has, or too few to tell apart.
fn classes_missing(n_of_task: usize, n_found: usize) -> Vec<String> {
    match n_found {
        1 => vec!["all clips have one label: there is nothing to tell apart".to_owned()],
        n if n_of_task > 0 && n != n_of_task => {
            vec![format!("{n} classes are there, the task has {n_of_task}: not to be set beside other scores of it")]
        }
        _ => Vec::new(),
    }
}

/// Asks all probes that the settings name and the task allows.
///
/// # Errors
/// [`ProbeError`] for embeddings that cannot be used.
pub fn probe(protocol: &Protocol, embeddings: &Embeddings, settings: &Settings) -> Result<Found, ProbeError> {
    let splits = &embeddings.usual[..];
    let kind = protocol.kind.unwrap_or_else(|| kind_of(splits));
    let events = embeddings.events.as_ref();
    let classes = Classes::of(splits, events, kind);
    let n_found = classes.count();
    let reading = Reading { kind, classes, events, pooled: false };
    let data = Data { splits, n_classes: protocol.n_classes.max(n_found), reading };
    check(&data)?;
    let rounds = rounds(splits, settings.mode);
    let n_clips = |round: &Round| [&round.train, &round.test].map(|side| data.side(side).n_clips());
    let mut found = Found {
        kind,
        n_classes: n_found,
        n_clips: rounds.first().map_or([0; 2], n_clips),
        probed: Vec::new(),
        notes: classes_missing(protocol.n_classes, n_found),
    };
    for &which in &settings.probes {
        let form = which.form();
        let runs = match which {
            Probe::Knn if !protocol.asks_neighbours(settings.mode, kind) => continue,
            Probe::Knn => {
                rounds.iter().map(|round| neighbours(&data, round, settings)).collect::<Result<Vec<_>, _>>()?
            }
            _ if embeddings.of(form).is_empty() => {
                found.notes.push(not_asked(which, kind));
                continue;
            }
            _ => {
                let data = data.in_form(embeddings.of(form), form);
                check(&data)?;
                trainings(&data, protocol, &rounds, which, settings)?
            }
        };
        found.probed.push(Probed { probe: which, runs });
    }
    if found.kind == Kind::OneLabel {
        found.notes.extend(unseen(&data, &rounds));
    }
    Ok(found)
}

fn not_asked(which: Probe, kind: Kind) -> String {
    let why = match (kind, which) {
        (Kind::Frames { .. }, _) => "the task asks about frames, and it pools a clip",
        (_, Probe::Layers) => "embeddings made elsewhere have no layers",
        _ => "there is one vector a clip, and nothing to attend to",
    };
    format!("{} was not asked: {why}", which.word())
}

/// All trainings of a probe, seed by seed.
fn trainings(
    data: &Data<'_>,
    protocol: &Protocol,
    rounds: &[Round],
    which: Probe,
    settings: &Settings,
) -> Result<Vec<Run>, ProbeError> {
    let of_round = |round| (0..settings.seeds).map(move |seed| (seed, round));
    let all: Vec<(u64, &Round)> = rounds.iter().flat_map(of_round).collect();
    // Several vectors a clip are many: only those of one round are held at a time.
    let together = if data.reading.pooled { settings.seeds.max(1) as usize } else { all.len().max(1) };
    let mut runs = Vec::with_capacity(all.len());
    for some in all.chunks(together) {
        runs.extend(each(some, |(seed, round)| trained(data, protocol, round, which, *seed, settings))?);
    }
    runs.sort_by_key(|run: &Run| run.seed);
    Ok(runs)
}

fn check(data: &Data<'_>) -> Result<(), ProbeError> {
    if data.n_classes == 0 {
        return Err(ProbeError::Empty { what: "labels of its clips" });
    }
    let width = data.splits.iter().map(|split| split.vectors.width).find(|width| *width > 0).unwrap_or(0);
    for split in data.splits {
        if split.vectors.is_empty() {
            return Err(ProbeError::Empty { what: "clips of a split that could be embedded" });
        }
        if split.vectors.width != width {
            return Err(ProbeError::Shape { what: "width of the features", expected: width, got: split.vectors.width });
        }
        let bad = split.vectors.labels.iter().find(|labels| labels.len() != 1);
        if let (Kind::OneLabel, Some(labels)) = (data.reading.kind, bad) {
            return Err(ProbeError::Shape { what: "labels of a clip", expected: 1, got: labels.len() });
        }
    }
    Ok(())
}

/// Says how many clips are asked about whose class nobody shows: they cannot be found.
fn unseen(data: &Data<'_>, rounds: &[Round]) -> Option<String> {
    let mut n = 0;
    for round in rounds {
        let of = |places: &[usize]| -> Vec<&String> {
            places.iter().flat_map(|at| data.splits[*at].vectors.labels.iter().flatten()).collect()
        };
        let shown: std::collections::HashSet<&String> = of(&round.train).into_iter().collect();
        n += of(&round.test).into_iter().filter(|label| !shown.contains(label)).count();
    }
    (n > 0).then(|| format!("{n} clips are of a class that no clip to learn from is of: counted as not found"))
}

/// The measure of a task.
fn measure(kind: Kind, mode: Mode, batch_len: usize, hop_s: Option<f64>) -> Measure {
    match kind {
        Kind::Frames { segment_s, average, .. } => {
            let frames = (segment_s / hop_s.unwrap_or(segment_s)).ceil().max(1.0) as usize;
            Measure::SegmentF1 { frames, average, batch_len }
        }
        Kind::Labels if mode == Mode::Xares => Measure::MeanPrecisionOfAll,
        Kind::Labels => Measure::MeanPrecision,
        _ => Measure::Accuracy,
    }
}

fn neighbours(data: &Data<'_>, round: &Round, settings: &Settings) -> Result<Run, ProbeError> {
    let (train, test) = (data.side(&round.train), data.side(&round.test));
    let (train_starts, test_starts) = (train.starts(), test.starts());
    let (Examples::Clips(known), Examples::Clips(asked)) =
        (train.examples(&train_starts)?, test.examples(&test_starts)?)
    else {
        return Err(ProbeError::Kinds);
    };
    let similarity = if settings.mode == Mode::Xares { Similarity::Xares } else { Similarity::Cosine };
    let config = KnnConfig { similarity, ..KnnConfig::default() };
    let votes = config.votes_among(known, asked.features, data.n_classes)?;
    let measure = measure(data.reading.kind, settings.mode, 1, None);
    let interval = interval(&votes, asked.labels, settings.seed);
    let score = measure.of_votes(&votes, asked.labels);
    Ok(Run { seed: 0, fold: round.name.clone(), score, epoch: None, shares: None, interval: Some(interval) })
}

fn interval(votes: &Votes, labels: &Labels, seed: u64) -> Interval {
    votes.interval(labels, DRAWS, 0.95, seed)
}

fn trained(
    data: &Data<'_>,
    protocol: &Protocol,
    round: &Round,
    which: Probe,
    number: u64,
    settings: &Settings,
) -> Result<Run, ProbeError> {
    let seed = seed::derive(&[settings.seed, number, seed::hash_str(&round.name)]);
    let train = data.side(&round.train);
    let starts = train.starts();
    let examples = train.examples(&starts)?;
    let config = HeadConfig {
        epochs: protocol.epochs,
        batch_len: protocol.batch_len,
        positive_weight: protocol.positive_weight,
        ..HeadConfig::default()
    };
    let hop_s = data.splits.first().and_then(|split| split.vectors.hop_s);
    let measure = measure(data.reading.kind, settings.mode, protocol.batch_len, hop_s);
    let test = data.side(&round.test);
    let test_starts = test.starts();
    let asked = test.examples(&test_starts)?;
    let valid = round.valid.as_ref().filter(|valid| **valid != round.test).map(|valid| data.side(valid));
    let valid_starts = valid.as_ref().map(Side::starts).unwrap_or_default();
    let judged = match &valid {
        Some(valid) => valid.examples(&valid_starts)?,
        None => asked,
    };
    let judge = |head: &Head| measure.of(head, &judged);
    let judge: Option<&dyn Fn(&Head) -> f64> = if round.valid.is_some() { Some(&judge) } else { None };
    let kind = if settings.mode == Mode::Xares { Order::Xares } else { Order::Even };
    let mut order = |epoch: usize| kind.of(&train.files, seed, epoch);
    let head = begun(which, &examples, data.n_classes, seed::derive(&[seed, 1]));
    let fitted = config.fit(head, &examples, &mut order, judge)?;
    let interval = match asked.labels() {
        Some(labels) => Some(interval(&fitted.head.votes_of(&asked)?, labels, seed)),
        None => None,
    };
    let score = measure.of(&fitted.head, &asked);
    let shares = fitted.head.pool().and_then(Pool::shares);
    Ok(Run { seed: number, fold: round.name.clone(), score, epoch: Some(fitted.epoch), shares, interval })
}

/// A head that has learnt nothing yet.
fn begun(which: Probe, examples: &Examples<'_>, n_classes: usize, seed: u64) -> Head {
    let width = examples.width();
    let head = Head::new(width, n_classes, seed);
    match (which, examples) {
        (Probe::Attentive, _) => head.behind(Pool::attention(width, QUERIES.min(width))),
        (Probe::Layers, Examples::Sets(sets)) => head.behind(Pool::layers(sets.longest())),
        _ => head,
    }
}
