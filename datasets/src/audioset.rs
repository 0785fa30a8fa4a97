//! AudioSet: the segment lists, the labels and the ontology, as research.google.com/audioset ships them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::error::{DatasetError, LineFaults};
use crate::index::TextIndex;
use crate::lines::{TextTable, split_fields};
use crate::names::{NameRule, is_id};
use crate::ontology::Ontology;
use crate::wanted::{Wanted, WantedBuilder, WantedRow};

/// The segment lists and the names that their splits go by.
const LISTS: [(&str, &str); 3] = [
    ("balanced_train", "balanced_train_segments.csv"),
    ("unbalanced_train", "unbalanced_train_segments.csv"),
    ("eval", "eval_segments.csv"),
];

/// Bytes of a line of a list, about: it tells how many rows there is room to make for.
const LINE_BYTES: usize = 56;

/// AudioSet as its publisher lists it.
///
/// A list's lines are `YTID, start_seconds, end_seconds, "mid,mid,..."` behind lines that begin with `#`. A clip's name
/// is its `YTID`; where the lists have two segments of one video, `YTID_MS` with the start in milliseconds. A label
/// that the ontology does not know keeps its identifier as its name, and is noted.
///
/// # Example: which clips of a folder of lists are music
/// ```
/// use ajepa_datasets::AudioSet;
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// # std::fs::write(dir.join("eval_segments.csv"), "# made up\n--4gqARaEJE, 0.000, 10.000, \"/m/068hy,/m/04rlf\"\n")?;
/// # std::fs::write(dir.join("ontology.json"), r#"[{"id": "/m/04rlf", "name": "Music", "child_ids": []},
/// #     {"id": "/m/068hy", "name": "Domestic animals, pets", "child_ids": []}]"#)?;
/// let audioset = AudioSet::open(dir)?;
/// assert_eq!(audioset.wanted.frame().height(), 1);
/// assert_eq!(audioset.ontology.under("music"), ["/m/04rlf"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct AudioSet {
    /// The segments of all lists.
    pub wanted: Wanted,
    /// The classes: of `ontology.json`, else of `class_labels_indices.csv`, else none.
    pub ontology: Ontology,
}

impl AudioSet {
    /// Reads those of the three lists, `ontology.json` and `class_labels_indices.csv` that are in the folder `dir`.
    ///
    /// # Errors
    /// [`DatasetError`] when no list is there, and for lines at fault: the first ten of a file by number and reason.
    pub fn open(dir: &Path) -> Result<Self, DatasetError> {
        let paths = LISTS.map(|(split, file)| (split, dir.join(file)));
        let there: Vec<(&str, PathBuf)> = paths.into_iter().filter(|(_, path)| path.is_file()).collect();
        if there.is_empty() {
            let help = "put balanced_train_segments.csv, unbalanced_train_segments.csv or eval_segments.csv there, \
                        and ontology.json";
            return Err(DatasetError::unusable(dir.display(), "no list of segments is in this folder", help));
        }
        let (ontology, labels) = (dir.join("ontology.json"), dir.join("class_labels_indices.csv"));
        let ontology = match (ontology.is_file(), labels.is_file()) {
            (true, _) => Ontology::read(&ontology)?,
            (false, true) => Ontology::read_class_labels(&labels)?,
            (false, false) => Ontology::default(),
        };
        Self::read(&there, ontology)
    }

    /// Reads lists by path, each with the name of its split.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read<P: AsRef<Path>>(lists: &[(&str, P)], ontology: Ontology) -> Result<Self, DatasetError> {
        let tables: Vec<(&str, TextTable)> = lists
            .iter()
            .map(|(split, path)| Ok((*split, TextTable::read(path.as_ref())?)))
            .collect::<Result<_, DatasetError>>()?;
        let wanted = read_tables(&tables, &ontology)?;
        Ok(Self { wanted, ontology })
    }
}

struct Segment<'a> {
    id: &'a str,
    start_s: f64,
    end_s: f64,
    labels: &'a str,
}

/// One line, taken apart. Fields in quotes with quotes in them occur nowhere in AudioSet, so all fields are borrowed.
fn segment<'a>(line: &'a str, fields: &mut Vec<Cow<'a, str>>) -> Result<Segment<'a>, String> {
    split_fields(line, fields)?;
    let [Cow::Borrowed(id), Cow::Borrowed(start), Cow::Borrowed(end), Cow::Borrowed(labels)] = fields[..] else {
        return Err(format!("{} fields where YTID, start, end and \"labels\" are wanted", fields.len()));
    };
    if id.is_empty() || !is_id(id) {
        return Err(format!("{id:?} is no YTID"));
    }
    let seconds = |text: &str| text.parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0);
    let start_s = seconds(start).ok_or_else(|| format!("the start {start:?} is no time in seconds"))?;
    let end_s = seconds(end).ok_or_else(|| format!("the end {end:?} is no time in seconds"))?;
    if end_s <= start_s {
        return Err(format!("the end {end} is not behind the start {start}"));
    }
    if labels.split(',').any(|label| label.trim().is_empty()) {
        return Err(format!("the labels {labels:?} have an empty one among them"));
    }
    Ok(Segment { id, start_s, end_s, labels })
}

/// Which segment a row is, and where it was read.
struct Place<'a> {
    id: &'a str,
    start_s: f64,
    list: u32,
    line: u32,
}

/// The lists being read.
struct Reading<'a> {
    tables: &'a [(&'a str, TextTable)],
    names: PlHashMap<&'a str, &'a str>,
    unknown: PlHashMap<&'a str, usize>,
    /// The first row of each identifier.
    seen: TextIndex,
    /// The rows of identifiers that have more than one: their names need the starts.
    repeated: PlHashMap<&'a str, Vec<usize>>,
    /// Where each row was read.
    places: Vec<Place<'a>>,
    rows: WantedBuilder,
}

fn read_tables(tables: &[(&str, TextTable)], ontology: &Ontology) -> Result<Wanted, DatasetError> {
    let n_about = tables.iter().map(|(_, table)| table.text().len() / LINE_BYTES).sum();
    let mut reading = Reading {
        tables,
        names: ontology.classes().iter().map(|class| (class.mid.as_str(), class.name.as_str())).collect(),
        unknown: PlHashMap::default(),
        seen: TextIndex::with_capacity(n_about),
        repeated: PlHashMap::default(),
        places: Vec::with_capacity(n_about),
        rows: WantedBuilder::with_capacity(n_about),
    };
    for list in 0..tables.len() {
        reading.read(list)?;
    }
    let notes = notes(ontology, &reading.unknown);
    reading.finish(notes)
}

/// Labels without a class, the commonest first; what is odd about the classes.
fn notes(ontology: &Ontology, unknown: &PlHashMap<&str, usize>) -> Vec<String> {
    let mut notes = ontology.notes().to_vec();
    if ontology.classes().is_empty() {
        notes.push("no ontology.json and no class_labels_indices.csv: labels go by their identifiers".to_owned());
        return notes;
    }
    let mut unknown: Vec<(&str, usize)> = unknown.iter().map(|(label, n)| (*label, *n)).collect();
    unknown.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    notes.extend(
        unknown.iter().map(|(label, n)| format!("the label {label:?} of {n} rows is no class of the ontology")),
    );
    notes
}

impl<'a> Reading<'a> {
    fn read(&mut self, list: usize) -> Result<(), DatasetError> {
        let (split, table) = &self.tables[list];
        let (mut fields, mut faults, before) = (Vec::with_capacity(4), LineFaults::default(), self.places.len());
        for (line, text) in table.lines().filter(|(_, text)| !text.starts_with('#')) {
            let taken =
                segment(text, &mut fields).and_then(|segment| self.note_id(&segment, list, line).map(|()| segment));
            match taken {
                Ok(segment) => self.push(&segment, split),
                Err(problem) => faults.push(line, || problem),
            }
        }
        faults.into_result(&table.path)?;
        if self.places.len() == before {
            let help = "fetch it from its publisher again";
            return Err(DatasetError::unusable(table.path.display(), "no segments, only comments", help));
        }
        Ok(())
    }

    /// Takes the next row's identifier and place down.
    ///
    /// # Errors
    /// Where the same segment was before, in words.
    fn note_id(&mut self, segment: &Segment<'a>, list: usize, line: usize) -> Result<(), String> {
        let row = self.places.len();
        self.places.push(Place { id: segment.id, start_s: segment.start_s, list: list as u32, line: line as u32 });
        if let Some(first) = self.seen.insert(row as u32, |row| self.places[row as usize].id) {
            let rows = self.repeated.entry(segment.id).or_insert_with(|| vec![first as usize]);
            if let Some(&same) = rows.iter().find(|&&row| self.places[row].start_s == segment.start_s) {
                self.places.pop();
                let Place { list, line, .. } = self.places[same];
                let file = self.tables[list as usize].1.path.display();
                return Err(format!(
                    "the segment {} from {} s is in line {line} of {file} too",
                    segment.id, segment.start_s
                ));
            }
            rows.push(row);
        }
        Ok(())
    }

    fn push(&mut self, segment: &Segment<'a>, split: &str) {
        let labels = || segment.labels.split(',').map(str::trim);
        let (names, unknown) = (&self.names, &mut self.unknown);
        let mut name = |label: &'a str| {
            names.get(label).copied().unwrap_or_else(|| {
                *unknown.entry(label).or_default() += 1;
                label
            })
        };
        let row = WantedRow {
            clip_id: segment.id,
            start_s: Some(segment.start_s),
            duration_s: Some(segment.end_s - segment.start_s),
            split: Some(split),
            // The recording: its segments must not be on two sides of a split.
            group: Some(segment.id),
        };
        self.rows.push(row, labels(), labels().map(&mut name));
    }

    fn finish(self, notes: Vec<String>) -> Result<Wanted, DatasetError> {
        let mut wanted = self.rows.finish(NameRule::YouTube, None, notes)?;
        // An identifier with one segment, refused a second time, is in the list too.
        let repeated: PlHashSet<usize> = self.repeated.into_values().filter(|rows| rows.len() > 1).flatten().collect();
        if repeated.is_empty() {
            return Ok(wanted);
        }
        let ids = wanted.frame.column("key")?.str()?.clone();
        let named = ids.iter().zip(&self.places).enumerate().map(|(row, (id, Place { start_s, .. }))| {
            let id = id.unwrap_or_default();
            if repeated.contains(&row) {
                Cow::Owned(format!("{id}_{}", (start_s * 1000.0).round()))
            } else {
                Cow::Borrowed(id)
            }
        });
        wanted.frame.with_column(StringChunked::from_iter_values("clip_id".into(), named).into_column())?;
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=4, num_segs=4, num_unique_labels=3\n\
                        # YTID, start_seconds, end_seconds, positive_labels\n";

    const ONTOLOGY: &str = r#"[{"id": "/m/09x0r", "name": "Speech", "child_ids": ["/t/dd00088"]},
        {"id": "/t/dd00088", "name": "Gush", "child_ids": []}]"#;

    fn read(lists: &[(&str, &str)]) -> Result<AudioSet, DatasetError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in lists {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("ontology.json"), ONTOLOGY).unwrap();
        AudioSet::open(dir.path())
    }

    fn of(lines: &str) -> Result<AudioSet, DatasetError> {
        read(&[("eval_segments.csv", &format!("{HEAD}{lines}"))])
    }

    fn texts<'a>(wanted: &'a Wanted, column: &str) -> Vec<&'a str> {
        wanted.frame().column(column).unwrap().str().unwrap().iter().flatten().collect()
    }

    fn list(wanted: &Wanted, column: &str, row: usize) -> Vec<String> {
        let lists = crate::columns::TextLists::of(wanted.frame().column(column).unwrap()).unwrap();
        lists.row(row).map(str::to_owned).collect()
    }

    #[test]
    fn ids_stay_what_they_are_and_labels_are_lists() {
        let lines = "00000000000, 30.000, 40.000, \"/m/09x0r,/t/dd00088\"\n1e10aaaaaaa, 0.000, 8.500, \"/m/09x0r\"\n\
                     -_000000000, 0.000, 10.000, \"/t/dd00088\"\n";
        let audioset = of(lines).unwrap();
        assert_eq!(texts(&audioset.wanted, "clip_id"), ["00000000000", "1e10aaaaaaa", "-_000000000"]);
        assert_eq!(list(&audioset.wanted, "labels", 0), ["/m/09x0r", "/t/dd00088"]);
        assert_eq!(list(&audioset.wanted, "label_names", 0), ["Speech", "Gush"]);
        let duration_s = audioset.wanted.frame().column("duration_s").unwrap().f64().unwrap().clone();
        assert_eq!(duration_s.iter().flatten().collect::<Vec<_>>(), [10.0, 8.5, 10.0]);
        assert_eq!(texts(&audioset.wanted, "split"), ["eval"; 3]);
        assert!(audioset.wanted.notes().is_empty());
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
        let lines = "00000000000, 30.000, 40.000, \"/m/09x0r\"\n1e10aaaaaaa, 0.000, 8.500, \"/m/09x0r\"";
        let plain = of(lines).unwrap();
        let dressed = format!("\u{FEFF}{}", format!("{HEAD}{lines}\n").replace('\n', "\r\n"));
        let dressed = read(&[("eval_segments.csv", &dressed)]).unwrap();
        assert!(plain.wanted.frame().equals_missing(dressed.wanted.frame()));
    }

    #[test]
    fn every_line_at_fault_is_named() {
        let lines = "00000000000, 30.000, 40.000, \"/m/09x0r\n11111111111, 30.000, 40.000, /m/09x0r,/m/a\n\
                     22222222222, 30.000, 20.000, \"/m/09x0r\"\n33333333333, x, 20.000, \"/m/09x0r\"\n\
                     44444444444, 1.0, 2.0\n55555555555, 1.0, 2.0, \"\"\n66666666666, 1.0, 2.0, \"/m/09x0r\"\n\
                     a b c d e f, 1.0, 2.0, \"/m/09x0r\"\n";
        let error = of(lines).unwrap_err().to_string();
        let (_, told) = error.split_once("eval_segments.csv: ").unwrap();
        assert_eq!(
            told,
            "7 lines are at fault\n  line 4: a quote that is not closed\n  \
             line 5: 5 fields where YTID, start, end and \"labels\" are wanted\n  \
             line 6: the end 20.000 is not behind the start 30.000\n  line 7: the start \"x\" is no time in seconds\n  \
             line 8: 3 fields where YTID, start, end and \"labels\" are wanted\n  \
             line 9: the labels \"\" have an empty one among them\n  line 11: \"a b c d e f\" is no YTID"
        );
    }

    #[test]
    fn a_segment_twice_is_a_fault_and_two_of_one_video_are_not() {
        let one = "00000000000, 30.000, 40.000, \"/m/09x0r\"\n";
        let two = format!("{one}00000000000, 40.000, 50.000, \"/m/09x0r\"\n11111111111, 0.000, 10.000, \"/m/09x0r\"\n");
        let audioset = of(&two).unwrap();
        assert_eq!(texts(&audioset.wanted, "clip_id"), ["00000000000_30000", "00000000000_40000", "11111111111"]);
        assert_eq!(texts(&audioset.wanted, "key"), ["00000000000", "00000000000", "11111111111"]);
        let lists = [("balanced_train_segments.csv", one), ("eval_segments.csv", one)];
        let error = read(&lists).unwrap_err().to_string();
        assert!(error.contains("line 1: the segment 00000000000 from 30 s is in line 1 of"), "{error}");
        assert!(error.ends_with("balanced_train_segments.csv too"), "{error}");
    }

    #[test]
    fn a_label_that_is_no_class_is_kept_and_noted() {
        let audioset = of("00000000000, 30.000, 40.000, \"/m/zither,/m/09x0r\"\n").unwrap();
        assert_eq!(list(&audioset.wanted, "label_names", 0), ["/m/zither", "Speech"]);
        assert_eq!(audioset.wanted.notes(), ["the label \"/m/zither\" of 1 rows is no class of the ontology"]);
    }

    #[test]
    fn nothing_is_told_from_empty() {
        assert!(of("").unwrap_err().to_string().ends_with("no segments, only comments"));
        let empty = read(&[("eval_segments.csv", "")]).unwrap_err();
        assert!(empty.to_string().ends_with("eval_segments.csv: the file is empty"));
        assert!(read(&[]).unwrap_err().help().unwrap().contains("ontology.json"));
    }

    #[test]
    fn without_an_ontology_the_vocabulary_names_the_labels() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("balanced_train_segments.csv", "00000000000, 30.000, 40.000, \"/m/068hy\"\n");
        write("class_labels_indices.csv", "index,mid,display_name\n0,/m/068hy,\"Domestic animals, pets\"\n");
        let audioset = AudioSet::open(dir.path()).unwrap();
        assert_eq!(list(&audioset.wanted, "label_names", 0), ["Domestic animals, pets"]);
    }
}
