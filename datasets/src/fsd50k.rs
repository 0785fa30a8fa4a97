//! FSD50K: the ground truth of its development and evaluation sets.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{DatasetError, LineFaults};
use crate::lines::{TextTable, split_fields};
use crate::names::NameRule;
use crate::ontology::{Class, Ontology};
use crate::wanted::{Wanted, WantedBuilder, WantedRow};

/// FSD50K as it is published: `dev.csv` (`fname,labels,mids,split`), `eval.csv` (`fname,labels,mids`) and
/// `vocabulary.csv` (`index,label,mid` without a header), in the folder itself or in `FSD50K.ground_truth` under it.
///
/// Splits are `train` and `val` of the development set, and `eval`. The `group` of a clip is who uploaded it, where
/// `FSD50K.metadata/{dev,eval}_clips_info_FSD50K.json` say so: the publisher's splits keep uploaders apart, and so
/// should others.
#[derive(Debug, Clone)]
pub struct Fsd50k {
    /// The clips of both sets.
    pub wanted: Wanted,
    /// The 200 classes, without what is under which.
    pub vocabulary: Ontology,
}

#[derive(Deserialize)]
struct ClipInfo {
    uploader: Option<String>,
}

impl Fsd50k {
    /// Reads what is there of both sets in `dir`.
    ///
    /// # Errors
    /// [`DatasetError`] when neither set is there, and for lines at fault.
    pub fn open(dir: &Path) -> Result<Self, DatasetError> {
        let place = |name: &str| -> Option<PathBuf> {
            [dir.join(name), dir.join("FSD50K.ground_truth").join(name)].into_iter().find(|path| path.is_file())
        };
        let (dev, eval) = (place("dev.csv"), place("eval.csv"));
        if dev.is_none() && eval.is_none() {
            let help = "name the folder that has FSD50K.ground_truth in it, or dev.csv and eval.csv";
            return Err(DatasetError::unusable(dir.display(), "no dev.csv and no eval.csv", help));
        }
        let vocabulary = place("vocabulary.csv").map(|path| read_vocabulary(&path)).transpose()?.unwrap_or_default();
        let mut reading = Reading { vocabulary: &vocabulary, seen: HashSet::new(), unknown: HashMap::new() };
        let mut rows = WantedBuilder::with_capacity(52_000);
        if let Some(path) = &dev {
            reading.read(path, &["fname", "labels", "mids", "split"], &uploaders(dir, "dev")?, &mut rows)?;
        }
        if let Some(path) = &eval {
            reading.read(path, &["fname", "labels", "mids"], &uploaders(dir, "eval")?, &mut rows)?;
        }
        let mut notes: Vec<String> = reading.unknown.into_iter().map(unknown_note).collect();
        notes.sort_unstable();
        Ok(Self { wanted: rows.finish(NameRule::Stem, None, notes)?, vocabulary })
    }
}

fn unknown_note((mid, n): (String, usize)) -> String {
    format!("the label {mid:?} of {n} rows is not in vocabulary.csv")
}

struct Reading<'a> {
    vocabulary: &'a Ontology,
    seen: HashSet<String>,
    unknown: HashMap<String, usize>,
}

impl Reading<'_> {
    fn read(
        &mut self,
        path: &Path,
        columns: &[&str],
        uploaders: &HashMap<String, ClipInfo>,
        rows: &mut WantedBuilder,
    ) -> Result<(), DatasetError> {
        TextTable::read(path)?.rows(columns, &mut |fields| {
            let (clip_id, labels, mids) = (&*fields[0], &*fields[1], &*fields[2]);
            let split = fields.get(3).map_or("eval", |split| &**split);
            let parted = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
            let (names, mids) = (parted(labels), parted(mids));
            if clip_id.is_empty() || names.len() != mids.len() || mids.iter().any(String::is_empty) {
                return Err(format!("{} labels and {} mids of the clip {clip_id:?}", names.len(), mids.len()));
            }
            if !self.seen.insert(clip_id.to_owned()) {
                return Err(format!("the clip {clip_id:?} is there twice"));
            }
            if !self.vocabulary.classes().is_empty() {
                for mid in mids.iter().filter(|mid| self.vocabulary.get(mid).is_none()) {
                    *self.unknown.entry(mid.clone()).or_default() += 1;
                }
            }
            let group = uploaders.get(clip_id).and_then(|info| info.uploader.as_deref());
            let row = WantedRow { clip_id, split: Some(split), group, ..WantedRow::default() };
            rows.push(row, mids.iter().map(String::as_str), names.iter().map(String::as_str));
            Ok(())
        })
    }
}

fn read_vocabulary(path: &Path) -> Result<Ontology, DatasetError> {
    let table = TextTable::read(path)?;
    let (mut classes, mut fields, mut faults) = (Vec::new(), Vec::new(), LineFaults::default());
    for (line, text) in table.lines() {
        match split_fields(text, &mut fields) {
            Ok(()) if fields.len() == 3 => {
                let (name, mid) = (fields[1].to_string(), fields[2].to_string());
                classes.push(Class { mid, name, children: Vec::new() });
            }
            Ok(()) => faults.push(line, || format!("{} fields where index, label and mid are wanted", fields.len())),
            Err(problem) => faults.push(line, || problem.to_owned()),
        }
    }
    faults.into_result(path)?;
    Ontology::new(classes).map_err(|mid| {
        DatasetError::unusable(path.display(), format!("the mid {mid:?} is there twice"), "name each class once")
    })
}

/// Who uploaded what, by clip; nothing when the publisher's metadata are not there.
fn uploaders(dir: &Path, set: &str) -> Result<HashMap<String, ClipInfo>, DatasetError> {
    let path = dir.join("FSD50K.metadata").join(format!("{set}_clips_info_FSD50K.json"));
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let table = TextTable::read(&path)?;
    serde_json::from_str(table.text()).map_err(|error| {
        DatasetError::unusable(path.display(), error.to_string(), "fetch it from its publisher again, or take it away")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }

    fn corpus() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let truth = "FSD50K.ground_truth";
        let dev = "fname,labels,mids,split\n64760,\"Electric_guitar,Guitar,Music\",\"/m/02sgy,/m/0342h,/m/04rlf\",train\n\
                   16399,Rain,/m/06mb1,val\n";
        write(dir.path(), &format!("{truth}/dev.csv"), dev);
        write(dir.path(), &format!("{truth}/eval.csv"), "fname,labels,mids\n37199,Rain,/m/06mb1\n");
        let vocabulary = "0,Electric_guitar,/m/02sgy\n1,Guitar,/m/0342h\n2,Music,/m/04rlf\n3,Rain,/m/06mb1\n";
        write(dir.path(), &format!("{truth}/vocabulary.csv"), vocabulary);
        let info = r#"{"64760": {"title": "x", "uploader": "ann"}, "16399": {"uploader": null}}"#;
        write(dir.path(), "FSD50K.metadata/dev_clips_info_FSD50K.json", info);
        dir
    }

    #[test]
    fn both_sets_with_splits_and_uploaders() {
        let dir = corpus();
        let corpus = Fsd50k::open(dir.path()).unwrap();
        let texts = |column: &str| -> Vec<Option<String>> {
            corpus.wanted.frame().column(column).unwrap().str().unwrap().iter().map(|t| t.map(str::to_owned)).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts("clip_id"), [some("64760"), some("16399"), some("37199")]);
        assert_eq!(texts("split"), [some("train"), some("val"), some("eval")]);
        assert_eq!(texts("group"), [some("ann"), None, None]);
        assert_eq!(corpus.vocabulary.name("/m/06mb1"), Some("Rain"));
        assert!(corpus.wanted.notes().is_empty());
    }

    #[test]
    fn lines_at_fault_are_named() {
        let dir = corpus();
        let dev = "fname,labels,mids,split\n1,\"A,B\",/m/a,train\n2,A,/m/a,train\n2,A,/m/a,val\n3,A,/m/a\n";
        write(dir.path(), "dev.csv", dev);
        let error = Fsd50k::open(dir.path()).unwrap_err().to_string();
        let (_, told) = error.split_once("dev.csv: ").unwrap();
        assert_eq!(
            told,
            "3 lines are at fault\n  line 2: 2 labels and 1 mids of the clip \"1\"\n  line 4: the clip \"2\" is there twice\n  \
             line 5: 3 fields where the header has 4"
        );
    }

    #[test]
    fn a_folder_without_it_says_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Fsd50k::open(dir.path()).unwrap_err().help().unwrap().contains("FSD50K.ground_truth"));
    }
}
