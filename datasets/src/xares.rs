//! X-ARES: one folder of tars per task, with a JSON beside each clip.

use std::collections::HashMap;

use polars::prelude::*;
use serde_json::Value;

use crate::error::DatasetError;
use crate::names::{NameRule, last_part};
use crate::wanted::{Wanted, WantedBuilder, WantedRow};

/// How a task's JSON says what a clip is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum XaresLabels {
    /// A text or a whole number: one label.
    One,
    /// A text with labels between semicolons.
    Many,
    /// A list of events; each names labels between commas under this name.
    Events(&'static str),
    /// Text that is no label: captions, transcripts.
    Text,
}

/// How the tars of a task name their splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum XaresSplits {
    /// A part of the tar's name, and the split it stands for; the first that is there counts.
    Named(&'static [(&'static str, &'static str)]),
    /// `fold` and a number behind it; so many folds.
    Folds(usize),
}

/// A task of X-ARES 0.1.3.
///
/// # Example: what the JSON of a task is asked for
/// ```
/// use ajepa_datasets::XaresTask;
///
/// let task = XaresTask::of("urbansound8k").unwrap();
/// assert_eq!((task.name, task.field), ("UrbanSound8k", "soundevent"));
/// assert_eq!(task.split("urbansound_fold10_0000000.tar").as_deref(), Some("fold10"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XaresTask {
    /// The task's name.
    pub name: &'static str,
    /// Its folder under `env`.
    pub dir: &'static str,
    /// The field of the JSON that says what a clip is.
    pub field: &'static str,
    /// How it says it.
    pub labels: XaresLabels,
    /// Which tar is which split.
    pub splits: XaresSplits,
}

use XaresLabels::{Events, Many, One, Text};
use XaresSplits::{Folds, Named};

const TRAIN_VALID_TEST: XaresSplits = Named(&[
    ("_train", "train"),
    ("-train", "train"),
    ("_valid", "valid"),
    ("-valid", "valid"),
    ("_test", "test"),
    ("-test", "test"),
    ("train", "train"),
    ("valid", "valid"),
    ("test", "test"),
]);
const EVAL_IS_TEST: XaresSplits = Named(&[("_train", "train"), ("_valid", "valid"), ("_eval", "test")]);
const LIBRISPEECH: XaresSplits = Named(&[("train-clean-100", "train"), ("dev-clean", "valid"), ("test-clean", "test")]);

const fn task(
    name: &'static str,
    dir: &'static str,
    field: &'static str,
    labels: XaresLabels,
    splits: XaresSplits,
) -> XaresTask {
    XaresTask { name, dir, field, labels, splits }
}

/// The public tasks of X-ARES 0.1.3. Where the package validates and tests on the same tars, they are `test`.
pub const XARES_TASKS: [XaresTask; 22] = [
    task("ASV2015", "asvspoof2015", "binary_spoof", One, EVAL_IS_TEST),
    task(
        "Clotho",
        "clotho",
        "captions",
        Text,
        Named(&[("_development", "train"), ("_evaluation", "valid"), ("_validation", "test")]),
    ),
    task("CREMA-D", "cremad", "label", One, TRAIN_VALID_TEST),
    task("DESED", "desed", "events", Events("label"), Named(&[("-train", "train"), ("-eval", "test")])),
    task("ESC-50", "esc50", "label", One, Folds(5)),
    task("Fluent Speech Commands", "fluentspeechcommands", "transcription", One, TRAIN_VALID_TEST),
    task("FMA small", "freemusicarchive", "genre", One, TRAIN_VALID_TEST),
    task(
        "FSD50k",
        "fsd50k",
        "soundevent",
        Many,
        Named(&[("_train", "train"), ("_validation", "valid"), ("_eval", "test")]),
    ),
    task("FSD18-Kaggle", "fsdkaggle2018", "sound", One, TRAIN_VALID_TEST),
    task("GTZAN", "gtzan_genre", "genre", One, Folds(10)),
    task("LibriCount", "libricount", "num_speakers", One, Folds(5)),
    task("LibriSpeech-100h", "librispeech", "trans", Text, LIBRISPEECH),
    task("LibriSpeech-MF", "librispeechmalefemale", "gender", One, LIBRISPEECH),
    task("MAESTRO", "maestro", "notes", Events("note"), TRAIN_VALID_TEST),
    task("NSynth", "nsynthinstument", "instrument_family_str", One, TRAIN_VALID_TEST),
    task("RAVDESS", "ravdess", "emotion", One, Folds(4)),
    task("Speech Commands V1", "speechcommandsv1", "labels", One, TRAIN_VALID_TEST),
    task("UrbanSound8k", "urbansound8k", "soundevent", One, Folds(10)),
    task("Vocal Imitation", "vocalimitations", "imitation", One, Folds(3)),
    task("VocalSound", "vocalsound", "label", One, TRAIN_VALID_TEST),
    task("VoxCeleb1", "voxceleb1", "speakerid", One, TRAIN_VALID_TEST),
    task("VoxLingua33", "voxlingua33", "labels", One, Named(&[("train_subset", "train"), ("dev", "test")])),
];

impl XaresTask {
    /// The task of that folder or name, in any case of letters.
    pub fn of(name: &str) -> Option<&'static Self> {
        XARES_TASKS.iter().find(|task| [task.dir, task.name].iter().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The split that a tar of this name holds.
    pub fn split(&self, tar: &str) -> Option<String> {
        match self.splits {
            Named(known) => known.iter().find(|(part, _)| tar.contains(part)).map(|(_, split)| (*split).to_owned()),
            Folds(_) => {
                let behind = tar.rsplit_once("fold")?.1.trim_start_matches(['_', '-']);
                let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                behind[..digits].parse::<u32>().ok().map(|fold| format!("fold{fold}"))
            }
        }
    }

    /// The labels that the text of a clip's JSON says; `None` when it is none, or the field is not there or is not of its kind.
    pub fn labels_of(&self, json: &str) -> Option<Vec<String>> {
        self.labels(&serde_json::from_str(json).ok()?)
    }

    /// The events that the text of a clip's JSON lists; `None` for a task without events.
    pub fn events_of(&self, json: &str) -> Option<Vec<XaresEvent>> {
        let Events(name) = self.labels else { return None };
        let json: Value = serde_json::from_str(json).ok()?;
        let seconds = |event: &Value, names: [&str; 2]| names.iter().find_map(|name| event.get(name)?.as_f64());
        let event = |event: &Value| {
            let label = event.get(name)?;
            let text = label.as_str().map_or_else(|| label.to_string(), str::to_owned);
            Some(XaresEvent {
                start_s: seconds(event, ["onset", "start"])?,
                end_s: seconds(event, ["offset", "end"])?,
                labels: text.split(',').map(|label| label.trim().to_owned()).collect(),
            })
        };
        self.list(&json)?.iter().map(event).collect()
    }

    /// The list of events: the JSON itself, or its one list.
    fn list<'a>(&self, json: &'a Value) -> Option<&'a Vec<Value>> {
        let lists = || json.as_object()?.values().find_map(Value::as_array);
        json.as_array().or_else(|| json.get(self.field)?.as_array()).or_else(lists)
    }

    /// What a clip's JSON says: `None` when the field is not there or is not of its kind.
    fn labels(&self, json: &Value) -> Option<Vec<String>> {
        let parts = |text: &str, by: char| -> Vec<String> {
            text.split(by).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let one = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match self.labels {
            Text => Some(Vec::new()),
            One => json.get(self.field).and_then(one).map(|label| vec![label]),
            Many => json.get(self.field).and_then(Value::as_str).map(|text| parts(text, ';')),
            Events(name) => {
                let events = self.list(json)?;
                let mut labels: Vec<String> = Vec::new();
                for text in events.iter().filter_map(|event| one(event.get(name)?)) {
                    for label in parts(&text, ',') {
                        if !labels.contains(&label) {
                            labels.push(label);
                        }
                    }
                }
                Some(labels)
            }
        }
    }
}

/// Something that is heard in a part of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct XaresEvent {
    /// Its first second.
    pub start_s: f64,
    /// Its last.
    pub end_s: f64,
    /// What it is; one or more.
    pub labels: Vec<String>,
}

/// A sample of a tar, as whoever read the tar found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TarSample {
    /// The tar, with or without its folder.
    pub tar: String,
    /// The samples' common name, up to the first dot.
    pub key: String,
    /// Name of the audio member.
    pub audio: Option<String>,
    /// Text of the member `.json`.
    pub json: Option<String>,
}

/// The clips of a task's tars: labels of their JSON, splits of the tars' names.
///
/// A clip's name is its key, with the tar's name before it where tars share keys. Samples without the JSON or its field
/// stay in the table without labels, and are counted in the notes, as are tars whose names say no split.
///
/// # Errors
/// [`DatasetError`] when there are samples and none has what the task asks for, or two of one tar have one key.
pub fn xares(task: &XaresTask, samples: &[TarSample]) -> Result<Wanted, DatasetError> {
    let mut uses: HashMap<&str, u32> = HashMap::with_capacity(samples.len());
    for sample in samples {
        *uses.entry(&sample.key).or_default() += 1;
    }
    let (mut bare, mut unplaced) = (0_usize, HashMap::<&str, u32>::new());
    let mut seen = std::collections::HashSet::with_capacity(samples.len());
    let mut rows = WantedBuilder::with_capacity(samples.len());
    let mut keys = StringChunkedBuilder::new("key".into(), samples.len());
    for sample in samples {
        let tar = last_part(&sample.tar);
        let shared = format!("{}/{}", tar.strip_suffix(".tar").unwrap_or(tar), sample.key);
        let clip_id = if uses.get(sample.key.as_str()) == Some(&1) { &sample.key } else { &shared };
        if !seen.insert(clip_id.clone()) {
            let problem = format!("two samples have the key {:?}", sample.key);
            return Err(DatasetError::unusable(&sample.tar, problem, "pack the tar again: one key a sample"));
        }
        let json = sample.json.as_ref().and_then(|text| serde_json::from_str(text).ok());
        let labels = json.and_then(|json| task.labels(&json)).unwrap_or_else(|| {
            bare += 1;
            Vec::new()
        });
        let split = task.split(tar);
        if split.is_none() {
            *unplaced.entry(tar).or_default() += 1;
        }
        let row = WantedRow { clip_id, split: split.as_deref(), ..WantedRow::default() };
        let labels = || labels.iter().map(String::as_str);
        rows.push(row, labels(), labels());
        keys.append_value(format!("{tar}!{}", sample.audio.as_ref().unwrap_or(&sample.key)));
    }
    if !samples.is_empty() && bare == samples.len() {
        let problem = format!("no sample's JSON has a usable field {:?}", task.field);
        return Err(DatasetError::unusable(task.dir, problem, "check that these are the tars of this task"));
    }
    let mut notes: Vec<String> = unplaced
        .iter()
        .map(|(tar, n)| format!("{tar} names no split of {}: {n} samples have none", task.name))
        .collect();
    notes.sort_unstable();
    if bare > 0 {
        notes.push(format!("{bare} samples have no usable field {:?} in their JSON", task.field));
    }
    Ok(rows.finish(NameRule::Member, Some(keys.finish()), notes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tar: &str, key: &str, json: &str) -> TarSample {
        let (tar, key) = (tar.to_owned(), key.to_owned());
        TarSample { audio: Some(format!("{key}.flac")), tar, key, json: Some(json.to_owned()) }
    }

    fn texts(wanted: &Wanted, column: &str) -> Vec<Option<String>> {
        wanted.frame().column(column).unwrap().str().unwrap().iter().map(|t| t.map(str::to_owned)).collect()
    }

    fn labels(wanted: &Wanted, row: usize) -> Vec<String> {
        let lists = crate::columns::TextLists::of(wanted.frame().column("labels").unwrap()).unwrap();
        lists.row(row).map(str::to_owned).collect()
    }

    #[test]
    fn every_tar_of_the_protocol_has_its_split() {
        let split = |task: &str, tar: &str| XaresTask::of(task).unwrap().split(tar).unwrap();
        assert_eq!(split("asvspoof2015", "asvspoof_eval_0000000.tar"), "test");
        assert_eq!(split("clotho", "clotho_validation_0000000.tar"), "test");
        assert_eq!(split("clotho", "clotho_evaluation_0000000.tar"), "valid");
        assert_eq!(split("esc50", "wds-audio-fold-3-000000.tar"), "fold3");
        assert_eq!(split("fsd50k", "fsd50k_validation_0000001.tar"), "valid");
        assert_eq!(split("gtzan_genre", "gtzan_fold_0_0000000.tar"), "fold0");
        assert_eq!(split("libricount", "libricount_fold04.tar"), "fold4");
        assert_eq!(split("LibriSpeech-MF", "dev-clean_0000000.tar"), "valid");
        assert_eq!(split("speechcommandsv1", "wds-audio-test-000000.tar"), "test");
        assert_eq!(split("vocalimitations", "vocal_imitations_fold02_0000000.tar"), "fold2");
        assert_eq!(split("voxlingua33", "train_subset_0000000.tar"), "train");
        assert_eq!(XaresTask::of("esc50").unwrap().split("fold.tar"), None);
    }

    #[test]
    fn labels_of_each_kind() {
        let of = |task: &str, json: &str| {
            let samples = [sample("x_train.tar", "a", json)];
            xares(XaresTask::of(task).unwrap(), &samples).map(|wanted| labels(&wanted, 0)).unwrap()
        };
        assert_eq!(of("esc50", r#"{"label": 14}"#), ["14"]);
        assert_eq!(of("fsd50k", r#"{"soundevent": "Rain;Water"}"#), ["Rain", "Water"]);
        let events = r#"[{"onset": 0.1, "offset": 1, "label": "Dog,Cat"}, {"onset": 2, "offset": 3, "label": "Dog"}]"#;
        assert_eq!(of("desed", events), ["Dog", "Cat"]);
        assert_eq!(of("desed", &format!(r#"{{"events": {events}}}"#)), ["Dog", "Cat"]);
        let listed = XaresTask::of("desed").unwrap().events_of(events).unwrap();
        assert_eq!((listed.len(), listed[0].start_s, listed[1].end_s), (2, 0.1, 3.0));
        assert_eq!(listed[0].labels, ["Dog", "Cat"]);
        assert_eq!(XaresTask::of("esc50").unwrap().events_of(events), None);
        assert_eq!(of("maestro", r#"{"x": [{"start": 0, "end": 1, "note": 60}]}"#), ["60"]);
    }

    #[test]
    fn shared_keys_get_their_tars_and_bad_samples_are_counted() {
        let task = XaresTask::of("cremad").unwrap();
        let samples = [
            sample("d/wds-audio-train-0.tar", "a", r#"{"label": "ANG"}"#),
            sample("d/wds-audio-test-0.tar", "a", r#"{"label": "SAD"}"#),
            sample("d/wds-audio-test-0.tar", "b", "{"),
            sample("d/other.tar", "c", r#"{"emotion": "SAD"}"#),
        ];
        let wanted = xares(task, &samples).unwrap();
        let ids: Vec<String> = texts(&wanted, "clip_id").into_iter().flatten().collect();
        assert_eq!(ids, ["wds-audio-train-0/a", "wds-audio-test-0/a", "b", "c"]);
        assert_eq!(texts(&wanted, "key")[1].as_deref(), Some("wds-audio-test-0.tar!a.flac"));
        assert_eq!(texts(&wanted, "split")[3], None);
        assert_eq!(
            wanted.notes(),
            [
                "other.tar names no split of CREMA-D: 1 samples have none",
                "2 samples have no usable field \"label\" in their JSON"
            ]
        );
        assert!(xares(task, &samples[2..]).is_err());
        assert!(xares(task, &[samples[0].clone(), samples[0].clone()]).is_err());
    }
}
