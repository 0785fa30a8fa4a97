//! Tasks: clips with labels, parted into what is learnt from and what is asked about.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_datasets::{XARES_TASKS, XaresSplits, XaresTask};
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BooleanArray, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;

use super::protocol::Protocol;
use super::sides::Events;
use crate::corpus::{ManifestColumns, Stamps, TarSamples, audio_extensions, clips_of_table, expand, read_table};
use crate::stage::BuildError;

/// Clips with labels, split by split.
#[derive(Debug, Clone)]
pub struct Task {
    /// The task's name: that of its folder or table.
    pub name: String,
    /// How it is run and scored.
    pub protocol: Protocol,
    /// What is learnt from and asked about.
    pub splits: Vec<Split>,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// Clips of a task that are one side of it.
#[derive(Debug, Clone)]
pub struct Split {
    /// Its name, such as `train` or `fold3`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// A row a clip, as `source_files` reads it.
    pub clips: RecordBatch,
    /// Names what is heard: the rows, and size and time of the files that they name.
    pub key: [u8; 32],
    /// What is heard when, by the clips' names; where the task asks for it.
    pub events: Events,
}

/// What a split is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It is learnt from.
    Train,
    /// It says when to stop.
    Valid,
    /// It is asked about.
    Test,
    /// Each in turn is asked about, the others are learnt from.
    Fold,
}

impl Role {
    /// Of a split of that name, among splits of which some are or are not `named`.
    fn of(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "valid" | "validation" | "val" | "dev" => Some(Self::Valid),
            "test" | "testing" | "eval" | "evaluation" => Some(Self::Test),
            _ => None,
        }
    }
}

/// What splits of these names are for.
///
/// # Errors
/// [`BuildError`] when nothing is learnt from or asked about.
pub fn roles(shown: &str, names: &[&str]) -> Result<Vec<Role>, BuildError> {
    let known: Vec<Option<Role>> = names.iter().map(|name| Role::of(name)).collect();
    if names.len() > 1 && known.iter().all(Option::is_none) {
        return Ok(vec![Role::Fold; names.len()]);
    }
    let there = |role: Role| known.contains(&Some(role));
    if there(Role::Train) && there(Role::Test) && known.iter().all(Option::is_some) {
        return Ok(known.into_iter().flatten().collect());
    }
    let problem = format!("{shown}: its splits are {}, of which no task can be made", words(names));
    let help = "name them train, valid (where there is one) and test, or any other two names or more for folds: \
                `ajepa-pipe dataset refine --into train=0.8,test=0.2` or `--folds 5` makes some";
    Err(BuildError::new(problem, help))
}

fn words(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Task {
    /// What is heard when in all its clips.
    pub fn events(&self) -> Events {
        self.splits.iter().flat_map(|split| split.events.clone()).collect()
    }

    /// The tasks at `path`: a folder of an X-ARES task's tars, a folder of such folders, or a table of clips with labels and splits.
    ///
    /// # Errors
    /// [`BuildError`] for what is none of these.
    pub fn open(path: &Path) -> Result<Vec<Self>, BuildError> {
        if path.is_file() {
            return Ok(vec![Self::of_table(path)?]);
        }
        if !path.is_dir() {
            let problem = format!("{}: there is no such file or folder", path.display());
            return Err(BuildError::new(problem, "check the path"));
        }
        if let Some(task) = known(path) {
            return Ok(vec![Self::of_tars(task, path)?]);
        }
        let mut folders: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(|error| BuildError::new(format!("{}: {error}", path.display()), "check the folder"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|inner| inner.is_dir() && known(inner).is_some() && has_tars(inner))
            .collect();
        folders.sort();
        if folders.is_empty() {
            let names: Vec<&str> = XARES_TASKS.iter().map(|task| task.dir).collect();
            let problem = format!("{}: neither the folder of a task of X-ARES nor of such folders", path.display());
            let help =
                format!("its folders of tars are named {}; a task of your own is a table of clips", names.join(", "));
            return Err(BuildError::new(problem, help));
        }
        folders.iter().map(|folder| Self::of_tars(known(folder).ok_or_else(unknown)?, folder)).collect()
    }

    fn of_tars(task: &XaresTask, folder: &Path) -> Result<Self, BuildError> {
        let tars = expand(&folder.to_string_lossy(), "tar")?;
        let mut parts: Vec<(String, Clips)> = Vec::new();
        let mut notes = Vec::new();
        for tar in tars {
            let name = tar.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(split) = task.split(&name) else {
                notes.push(format!("{name} names no split of {}: left out", task.name));
                continue;
            };
            let at = parts.iter().position(|(known, _)| *known == split).unwrap_or_else(|| {
                parts.push((split, Clips::default()));
                parts.len() - 1
            });
            parts[at].1.add(task, &tar)?;
        }
        parts.sort_by(|(a, _), (b, _)| (Role::of(a), number(a), a).cmp(&(Role::of(b), number(b), b)));
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let roles = roles(&folder.display().to_string(), &names)?;
        let unlabelled: usize = parts.iter().map(|(_, clips)| clips.unlabelled).sum();
        if unlabelled > 0 {
            notes.push(format!("{unlabelled} samples have no usable field {:?} in their JSON: left out", task.field));
        }
        let faults: Vec<&String> = parts.iter().flat_map(|(_, clips)| &clips.faults).collect();
        if let Some(first) = faults.first() {
            notes.push(format!("{} samples of its tars cannot be used, such as {first}", faults.len()));
        }
        if let XaresSplits::Folds(folds) = task.splits
            && folds != parts.len()
        {
            let there = parts.len();
            notes.push(format!(
                "{there} folds are there, the task has {folds}: not to be set beside other scores of it"
            ));
        }
        if let Some((name, clips)) = parts.iter().find(|(_, clips)| clips.clip_id.is_empty()) {
            let problem = format!("{}: no clip of {name} can be used", folder.display());
            let help = match clips.faults.first() {
                Some(fault) => format!("fetch its tars again: {fault}"),
                None => format!("a sample is KEY.wav (.flac, ...) and KEY.json with the field {:?}", task.field),
            };
            return Err(BuildError::new(problem, help));
        }
        let splits = parts
            .into_iter()
            .zip(roles)
            .map(|((name, clips), role)| clips.split(name, role))
            .collect::<Result<_, _>>()?;
        Ok(Self { name: task.dir.to_owned(), protocol: Protocol::of(task.dir), splits, notes })
    }

    fn of_table(path: &Path) -> Result<Self, BuildError> {
        let shown = path.display().to_string();
        let table = read_table(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let table = with_paths(&shown, &with_labels(&shown, table)?, path.parent().unwrap_or(Path::new("")))?;
        let parts = parted(&shown, &table)?;
        check_rows(&shown, &table)?;
        let split = |(name, role, clips): (String, Role, RecordBatch)| {
            let key = key(&clips);
            Split { name, role, clips, key, events: Events::new() }
        };
        let splits = parts.into_iter().map(split).collect();
        let protocol = Protocol::of(&name);
        Ok(Self { name, protocol, splits, notes: Vec::new() })
    }
}

/// The split of each row, as texts.
fn splits_of(table: &RecordBatch) -> Option<ArrayRef> {
    let column = ["split", "fold"].iter().find_map(|name| table.column_by_name(name));
    column.and_then(|column| cast(column, &DataType::Utf8).ok())
}

/// Names the faults of rows by their numbers in the table: its splits are embedded from copies, which nobody could mend. A clip may be in
/// two splits, such as one that says when to stop and is asked about too.
fn check_rows(shown: &str, table: &RecordBatch) -> Result<(), BuildError> {
    let ids = table.column_by_name("clip_id").and_then(|ids| cast(ids, &DataType::Utf8).ok());
    let (Some(ids), Some(splits)) = (ids, splits_of(table)) else { return Ok(()) };
    let (mut used, mut of_splits) = (HashSet::new(), HashMap::new());
    let apart = |(id, split): (Option<&str>, Option<&str>)| {
        let (id, split) = (id?.to_owned(), split.unwrap_or_default().to_owned());
        let (first, of_split) = (used.insert(id.clone()), format!("{id} of {split}"));
        Some(of_splits.entry((id.clone(), split)).or_insert(if first { id } else { of_split }).clone())
    };
    let apart: StringArray = ids.as_string::<i32>().iter().zip(splits.as_string::<i32>()).map(apart).collect();
    let table = replaced(shown, table, ["clip_id", "clip_id"], &(Arc::new(apart) as ArrayRef))?;
    // What is in tars was not looked into yet, and its faults are those of clips.
    let table = replaced(
        shown,
        &table,
        ["member", "_member"],
        &arrow::array::new_null_array(&DataType::Utf8, table.num_rows()),
    )?;
    clips_of_table(shown, &table, &ManifestColumns::default(), ";", PathBuf::new()).map(drop)
}

/// Rows of a table split by split: by its column `split`, or `fold`.
///
/// # Errors
/// [`BuildError`] when there is none, or no task can be made of it.
pub fn parted(shown: &str, table: &RecordBatch) -> Result<Vec<(String, Role, RecordBatch)>, BuildError> {
    let column = splits_of(table).ok_or_else(|| {
        let help = "a task has a column `split` (train, valid, test) or `fold`: `ajepa-pipe dataset refine --folds 5` makes one";
        BuildError::new(format!("{shown}: there is no column `split` and none `fold`"), help)
    })?;
    let of_rows = column.as_string::<i32>();
    let mut names: Vec<&str> = of_rows.iter().flatten().collect();
    names.sort_unstable_by_key(|name| (Role::of(name), number(name), *name));
    names.dedup();
    let roles = roles(shown, &names)?;
    let part = |(name, role): (&&str, Role)| {
        let rows: BooleanArray = of_rows.iter().map(|own| Some(own == Some(*name))).collect();
        let rows = filter_record_batch(table, &rows);
        rows.map(|rows| ((*name).to_owned(), role, rows)).map_err(|error| odd(shown, &error))
    };
    names.iter().zip(roles).map(part).collect()
}

/// The number at the end of a name, so that fold10 comes behind fold9.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().ok()
}

fn odd(shown: &str, error: &dyn std::fmt::Display) -> BuildError {
    BuildError::new(format!("{shown}: {error}"), "check the table")
}

fn unknown() -> BuildError {
    BuildError::new("a folder that is of no task of X-ARES", "check its name")
}

fn known(folder: &Path) -> Option<&'static XaresTask> {
    XaresTask::of(folder.file_name()?.to_str()?)
}

fn has_tars(folder: &Path) -> bool {
    expand(&folder.to_string_lossy(), "tar").is_ok()
}

/// The clips of a split's tars, column by column.
#[derive(Default)]
struct Clips {
    clip_id: StringBuilder,
    path: StringBuilder,
    member: StringBuilder,
    labels: ListBuilder<StringBuilder>,
    events: Events,
    unlabelled: usize,
    /// What is wrong with samples that cannot be used.
    faults: Vec<String>,
}

impl Clips {
    fn add(&mut self, task: &XaresTask, tar: &Path) -> Result<(), BuildError> {
        let mut samples = TarSamples::scan(vec![tar.to_owned()], &audio_extensions(), false)?;
        let whole = std::path::absolute(tar).unwrap_or_else(|_| tar.to_owned());
        let whole = whole.to_string_lossy();
        let stem = tar.file_stem().unwrap_or_default().to_string_lossy();
        for sample in samples.parts() {
            let sample = sample?;
            if let Some(fault) = sample.fault {
                self.faults.push(format!("{}!{}: {fault}", sample.tar, sample.key));
                continue;
            }
            let Some(audio) = sample.audio else { continue };
            let json = sample.json.as_deref();
            let Some(labels) = json.and_then(|json| task.labels_of(json)) else {
                self.unlabelled += 1;
                continue;
            };
            let clip_id = format!("{stem}/{}", sample.key);
            if let Some(events) = json.and_then(|json| task.events_of(json)) {
                self.events.insert(clip_id.clone(), events);
            }
            self.clip_id.append_value(clip_id);
            self.path.append_value(&whole);
            self.member.append_value(audio);
            for label in &labels {
                self.labels.values().append_value(label);
            }
            self.labels.append(true);
        }
        Ok(())
    }

    fn split(mut self, name: String, role: Role) -> Result<Split, BuildError> {
        let columns: [(&str, ArrayRef); 4] = [
            ("clip_id", Arc::new(self.clip_id.finish())),
            ("path", Arc::new(self.path.finish())),
            ("member", Arc::new(self.member.finish())),
            ("labels", Arc::new(self.labels.finish())),
        ];
        let clips = RecordBatch::try_from_iter(columns).map_err(|error| odd(&name, &error))?;
        Ok(Split { name, role, key: key(&clips), clips, events: self.events })
    }
}

/// Columns that decide what of which file is heard, and what a file of embeddings says of it.
const HEARD: [&str; 10] =
    ["clip_id", "path", "member", "start", "start_s", "offset_s", "end", "end_s", "duration_s", "labels"];

/// Names what the rows say is heard: their values, and what the files that they name are now, as the key of a unit does.
fn key(clips: &RecordBatch) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (name, column) in HEARD.iter().filter_map(|name| Some((name, clips.column_by_name(name)?))) {
        hasher.update(name.as_bytes()).update(&(column.len() as u64).to_le_bytes());
        for row in 0..column.len() {
            let text = arrow::util::display::array_value_to_string(column, row).unwrap_or_default();
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
    }
    let paths = clips.column_by_name("path").and_then(|paths| paths.as_string_opt::<i32>());
    let mut stamps = Stamps::default();
    paths.into_iter().flatten().flatten().for_each(|path| stamps.hash(Path::new(""), path, &mut hasher));
    *hasher.finalize().as_bytes()
}

/// With a column `labels`: `label` is taken for it.
fn with_labels(shown: &str, table: RecordBatch) -> Result<RecordBatch, BuildError> {
    if table.column_by_name("labels").is_some() {
        return Ok(table);
    }
    let Some(column) = table.column_by_name("label") else {
        let problem = format!("{shown}: there is no column `labels` and none `label`");
        return Err(BuildError::new(problem, "a task's clips have labels: a list of texts, or one text"));
    };
    let texts = cast(column, &DataType::Utf8).map_err(|error| odd(shown, &error))?;
    replaced(shown, &table, ["label", "labels"], &texts)
}

/// With whole paths: the table is read again from elsewhere.
fn with_paths(shown: &str, table: &RecordBatch, root: &Path) -> Result<RecordBatch, BuildError> {
    let Some(column) = table.column_by_name("path") else {
        let problem = format!("{shown}: there is no column `path`");
        let help = "a task of audio names its files; one of embeddings that are there already is given by --embeddings";
        return Err(BuildError::new(problem, help));
    };
    let texts = cast(column, &DataType::Utf8).map_err(|error| odd(shown, &error))?;
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let whole = |path: Option<&str>| path.map(|path| root.join(path).to_string_lossy().into_owned());
    let paths: StringArray = texts.as_string::<i32>().iter().map(whole).collect();
    let table = with_ids(shown, table, &texts)?;
    replaced(shown, &table, ["path", "path"], &(Arc::new(paths) as ArrayRef))
}

/// With names of clips as they would be made of the paths that the table has, not of whole ones.
fn with_ids(shown: &str, table: &RecordBatch, paths: &ArrayRef) -> Result<RecordBatch, BuildError> {
    if table.column_by_name("clip_id").is_some() {
        return Ok(table.clone());
    }
    let starts = ["start", "start_s", "offset_s"].iter().find_map(|name| table.column_by_name(name));
    let starts = starts.and_then(|starts| cast(starts, &DataType::Float64).ok());
    let starts = starts.as_ref().map(arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>);
    let ids: ArrayRef = Arc::new(crate::corpus::clip_ids(paths.as_string::<i32>(), starts));
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| field.name().as_str()).zip(table.columns().iter().cloned());
    let columns = std::iter::once(("clip_id", ids)).chain(columns);
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| odd(shown, &error))
}

/// With other values under another name in the column `old`.
fn replaced(
    shown: &str,
    table: &RecordBatch,
    [old, new]: [&str; 2],
    values: &ArrayRef,
) -> Result<RecordBatch, BuildError> {
    let schema = table.schema();
    let columns = schema.fields().iter().zip(table.columns()).map(|(field, column)| {
        if field.name() == old { (new, values.clone(), true) } else { (field.name().as_str(), column.clone(), true) }
    });
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| odd(shown, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_what_their_names_say() {
        use Role::{Fold, Test, Train, Valid};
        assert_eq!(roles("t", &["train", "dev", "eval"]).unwrap(), [Train, Valid, Test]);
        assert_eq!(roles("t", &["1", "2", "3"]).unwrap(), [Fold, Fold, Fold]);
        for names in [&["train"][..], &["all"], &["train", "valid"], &["train", "test", "other"], &[]] {
            let error = roles("t.csv", names).unwrap_err();
            assert!(error.problem.contains("t.csv") && error.help.contains("--folds"), "{}", error.problem);
        }
        let table = RecordBatch::try_from_iter([(
            "fold",
            Arc::new(StringArray::from(vec!["fold10", "fold9", "fold10"])) as ArrayRef,
        )]);
        let parts = parted("t", &table.unwrap()).unwrap();
        let shown: Vec<(&str, usize)> = parts.iter().map(|(name, _, rows)| (name.as_str(), rows.num_rows())).collect();
        assert_eq!(shown, [("fold9", 1), ("fold10", 2)]);
    }
}
