//! What is learnt from and what is asked about, round by round, in the form that probes take.

use std::collections::BTreeMap;

use ajepa_datasets::XaresEvent;
use ajepa_model::probe::{Examples, Features, Frames, Labelled, Labels, ProbeError, Sets};

use super::protocol::{Kind, Mode};
use super::task::Role;
use super::vectors::{Encoded, Vectors};

/// Examples that X-ARES writes into one file.
const PER_FILE: usize = 2000;

/// Which splits are learnt from, judged by and asked about, by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The fold that is asked about; `test` where there are no folds.
    pub name: String,
    /// What is learnt from.
    pub train: Vec<usize>,
    /// What chooses the epoch; the last is taken where nothing does.
    pub valid: Option<Vec<usize>>,
    /// What is asked about.
    pub test: Vec<usize>,
}

/// The rounds of a task. X-ARES chooses the epoch on what it asks about, where there are folds or no split to choose it on.
pub fn rounds(splits: &[Encoded], mode: Mode) -> Vec<Round> {
    let of = |role: Role| -> Vec<usize> { (0..splits.len()).filter(|&at| splits[at].role == role).collect() };
    let folds = of(Role::Fold);
    let peeked = |test: &Vec<usize>| (mode == Mode::Xares).then(|| test.clone());
    if folds.is_empty() {
        let (train, valid, test) = (of(Role::Train), of(Role::Valid), of(Role::Test));
        let valid = if valid.is_empty() { peeked(&test) } else { Some(valid) };
        return vec![Round { name: "test".to_owned(), train, valid, test }];
    }
    let round = |&fold: &usize| {
        let test = vec![fold];
        let train = folds.iter().copied().filter(|other| *other != fold).collect();
        Round { name: splits[fold].name.clone(), train, valid: peeked(&test), test }
    };
    folds.iter().map(round).collect()
}

/// What is heard when, by the clips' names.
pub type Events = BTreeMap<String, Vec<XaresEvent>>;

/// What rows of embeddings are, and how they are labelled.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// What is asked.
    pub kind: Kind,
    /// The classes by number.
    pub classes: Classes,
    /// Where frames have the labels of events; their own rows' where there are none. Active only if frames are asked about.
    pub events: Option<&'a Events>,
    /// Whether a clip's rows are vectors that are pooled. Active only if clips are asked about.
    pub pooled: bool,
}

/// Vectors of splits end to end, with their classes by number.
#[derive(Debug, Clone, Default)]
pub struct Side {
    width: usize,
    values: Vec<f32>,
    labels: Option<Labels>,
    /// Where clips of several rows begin, and the labels of their frames; empty where a clip has one row, or one label for all.
    starts: [Vec<usize>; 2],
    /// Clips in each file that X-ARES would have written.
    pub files: Vec<usize>,
}

/// The numbers of classes.
#[derive(Debug, Clone, Default)]
pub struct Classes(BTreeMap<String, u32>);

impl Classes {
    /// Of everything that occurs in a task; of its events, where frames are asked about that have such.
    pub fn of(splits: &[Encoded], events: Option<&Events>, kind: Kind) -> Self {
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        let mut add = |label: &String| {
            numbers.insert(label.clone(), 0);
        };
        match (kind, events) {
            (Kind::Frames { .. }, Some(events)) => events.values().flatten().flat_map(|e| &e.labels).for_each(&mut add),
            _ => splits.iter().flat_map(|split| split.vectors.labels.iter().flatten()).for_each(&mut add),
        }
        numbers.values_mut().enumerate().for_each(|(number, value)| *value = number as u32);
        Self(numbers)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn numbers(&self, labels: &[String]) -> Vec<u32> {
        labels.iter().filter_map(|label| self.0.get(label).copied()).collect()
    }
}

/// What a task asks, told by its labels: one class a clip, or several.
pub fn kind_of(splits: &[Encoded]) -> Kind {
    let one = splits.iter().all(|split| split.vectors.labels.iter().all(|labels| labels.len() == 1));
    if one { Kind::OneLabel } else { Kind::Labels }
}

impl Side {
    /// The splits at `places`, end to end.
    pub fn of(splits: &[Encoded], places: &[usize], reading: &Reading<'_>) -> Self {
        let mut side = Self::default();
        let mut rows: Vec<Vec<u32>> = Vec::new();
        for &place in places {
            let vectors = &splits[place].vectors;
            side.width = vectors.width;
            let n_clips = if matches!(reading.kind, Kind::Frames { .. }) {
                side.lay_frames(vectors, reading, &mut rows)
            } else if reading.pooled {
                side.lay_sets(vectors, reading, &mut rows)
            } else {
                rows.extend(vectors.labels.iter().map(|labels| reading.classes.numbers(labels)));
                vectors.len()
            };
            side.values.extend_from_slice(&vectors.values);
            side.files.extend((0..n_clips).step_by(PER_FILE).map(|first| PER_FILE.min(n_clips - first)));
        }
        side.labels = Some(match reading.kind {
            Kind::OneLabel => Labels::One(rows.into_iter().flatten().collect()),
            _ => Labels::Several(rows),
        });
        side
    }

    /// Rows that are there already.
    fn n_rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Lays out clips of several rows, each with one entry of labels; returns how many there are.
    fn lay_sets(&mut self, vectors: &Vectors, reading: &Reading<'_>, rows: &mut Vec<Vec<u32>>) -> usize {
        let first = self.n_rows();
        let clips = vectors.clips();
        let own = &clips[..clips.len() - 1];
        self.starts[0].extend(own.iter().map(|at| first + at));
        rows.extend(own.iter().map(|at| reading.classes.numbers(&vectors.labels[*at])));
        own.len()
    }

    /// Lays out the frames of a split's clips, and the labels of each; returns how many clips there are.
    fn lay_frames(&mut self, vectors: &Vectors, reading: &Reading<'_>, rows: &mut Vec<Vec<u32>>) -> usize {
        let hop_s = vectors.hop_s.unwrap_or(1.0);
        let labelled_s = if let Kind::Frames { labelled_s, .. } = reading.kind { labelled_s } else { None };
        let first = self.n_rows();
        let clips = vectors.clips();
        for at in clips.windows(2) {
            self.starts[0].push(first + at[0]);
            self.starts[1].push(rows.len());
            if let Some(events) = reading.events {
                let own = events.get(&vectors.ids[at[0]]).map_or(&[][..], Vec::as_slice);
                rows.extend(frames_of(own, hop_s, labelled_s, &reading.classes));
            } else {
                rows.extend(vectors.labels[at[0]..at[1]].iter().map(|labels| reading.classes.numbers(labels)));
            }
        }
        // Where the next split's begin, or the last clip ends: `examples` puts that behind.
        clips.len() - 1
    }

    /// Clips.
    pub fn n_clips(&self) -> usize {
        self.files.iter().sum()
    }

    /// As probes take it.
    ///
    /// # Errors
    /// [`ProbeError`] where there are no vectors, or one is not finite.
    pub fn examples<'a>(&'a self, starts: &'a [Vec<usize>; 2]) -> Result<Examples<'a>, ProbeError> {
        let features = Features::new(self.width, &self.values)?;
        let labels = self.labels.as_ref().ok_or(ProbeError::Empty { what: "labels" })?;
        Ok(match starts {
            [clips, _] if clips.is_empty() => Examples::Clips(Labelled::new(features, labels)?),
            [clips, frames] if frames.is_empty() => Examples::Sets(Sets::new(features, clips, labels)?),
            [clips, frames] => Examples::Frames(Frames::new(features, clips, labels, frames)?),
        })
    }

    /// Where clips of frames, and their labels, begin, and where the last ones end.
    pub fn starts(&self) -> [Vec<usize>; 2] {
        let mut starts = self.starts.clone();
        if !starts[0].is_empty() {
            starts[0].push(self.n_rows());
        }
        if !starts[1].is_empty() {
            starts[1].push(self.labels.as_ref().map_or(0, Labels::n_rows));
        }
        starts
    }
}

/// Classes of each frame of a clip, as X-ARES lays events over frames: from and to the frame behind their seconds.
fn frames_of(events: &[XaresEvent], hop_s: f64, labelled_s: Option<f64>, classes: &Classes) -> Vec<Vec<u32>> {
    // A hop in milliseconds is what the package divides by.
    let hop_s = hop_s * 1000.0 / 1000.0;
    let frame = |seconds: f64| (seconds / hop_s).ceil().max(0.0) as usize;
    let last_s = events.iter().map(|event| event.end_s).fold(0.0, f64::max);
    let mut frames: Vec<Vec<u32>> = vec![Vec::new(); frame(labelled_s.unwrap_or(last_s))];
    for event in events {
        let n = frames.len();
        let own = classes.numbers(&event.labels);
        for frame in
            &mut frames[frame(event.start_s).min(n)..frame(event.end_s).min(n).max(frame(event.start_s).min(n))]
        {
            for class in &own {
                if !frame.contains(class) {
                    frame.push(*class);
                }
            }
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str, role: Role) -> Encoded {
        Encoded { name: name.to_owned(), role, vectors: Vectors::default() }
    }

    #[test]
    fn only_xares_peeks() {
        let folds = ["1", "2", "3"].map(|name| split(name, Role::Fold));
        let [xares, clean] = [Mode::Xares, Mode::Clean].map(|mode| rounds(&folds, mode));
        assert_eq!(
            (xares.len(), &xares[1].train, &xares[1].valid, &xares[1].test),
            (3, &vec![0, 2], &Some(vec![1]), &vec![1])
        );
        assert!(clean.iter().all(|round| round.valid.is_none()));
        let named = [split("train", Role::Train), split("test", Role::Test)];
        assert_eq!(rounds(&named, Mode::Xares)[0].valid, Some(vec![1]));
        assert_eq!(rounds(&named, Mode::Clean)[0].valid, None);
        let all = [split("train", Role::Train), split("valid", Role::Valid), split("test", Role::Test)];
        assert!(
            [Mode::Xares, Mode::Clean]
                .map(|mode| rounds(&all, mode)[0].valid.clone())
                .iter()
                .all(|v| *v == Some(vec![1]))
        );
    }

    #[test]
    fn events_are_laid_over_frames() {
        let event = |start_s, end_s, label: &str| XaresEvent { start_s, end_s, labels: vec![label.to_owned()] };
        let events = [event(0.0, 1.0, "a"), event(0.7, 5.0, "b"), event(1.9, 1.9, "a")];
        let classes = Classes(BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), 1)]));
        // ceil(1 / 0.625) = 2 frames of a; b from frame 2 to the end.
        let expected: Vec<Vec<u32>> = vec![vec![0], vec![0], vec![1], vec![1]];
        assert_eq!(frames_of(&events, 0.625, Some(2.5), &classes), expected);
        assert_eq!(frames_of(&events, 0.625, None, &classes).len(), 8);
    }
}
