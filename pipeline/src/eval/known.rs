//! Embeddings made elsewhere beside the clips of the task that they are said to be of.

use std::collections::HashSet;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::task::{Role, Split, Task, number};
use super::vectors::Encoded;

/// How many clips of a file are those of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Clips in the file.
    pub n_clips: usize,
    /// Of these, clips that the task does not have.
    pub n_unknown: usize,
    /// Clips that the task has in another split.
    pub n_moved: usize,
    /// Clips of the task, and how many of them are not in the file.
    pub of_task: [usize; 2],
    /// How the task names its clips.
    pub example: String,
}

impl Known {
    /// Whether no clip is named as one of the task is.
    pub fn is_of_none(&self) -> bool {
        self.n_clips == self.n_unknown
    }

    /// What was odd, in words.
    pub fn notes(&self) -> Vec<String> {
        if self.is_of_none() {
            let problem = "none of the clips in its file is named as in the task";
            return vec![format!("{problem} (such as {}): whether they are its clips was not looked at", self.example)];
        }
        let [n_task, n_missing] = self.of_task;
        let all = [
            (
                self.n_unknown,
                format!("{} of {} clips in its file are not in the task: left out", self.n_unknown, self.n_clips),
            ),
            (self.n_moved, format!("{} clips in its file are in another split than in the task", self.n_moved)),
            (n_missing, format!("{n_missing} of {n_task} clips of the task are not in its file")),
        ];
        all.into_iter().filter(|(n, _)| *n > 0).map(|(_, words)| words).collect()
    }
}

/// A split by what it is for; a fold also by its number, or its name where that has none.
fn side(role: Role, name: &str) -> (Role, Option<u64>, &str) {
    match (role, number(name)) {
        (Role::Fold, Some(number)) => (role, Some(number), ""),
        (Role::Fold, None) => (role, None, name),
        _ => (role, None, ""),
    }
}

impl Task {
    /// Takes out of `splits` the rows of clips that the task does not have; all stay where none is named as one of the task's.
    pub fn keep_known(&self, splits: &mut [Encoded]) -> Known {
        let ids: Vec<(&Split, Vec<String>)> = self.splits.iter().map(|split| (split, names(split))).collect();
        let all: HashSet<&str> = ids.iter().flat_map(|(_, ids)| ids).map(String::as_str).collect();
        let placed: HashSet<_> = ids
            .iter()
            .flat_map(|(split, ids)| ids.iter().map(|id| (id.as_str(), side(split.role, &split.name))))
            .collect();
        let example = all.iter().min().map_or_else(String::new, |id| (*id).to_owned());
        let mut known = Known { example, ..Known::default() };
        let mut there: HashSet<&str> = HashSet::new();
        for split in splits.iter() {
            let own = side(split.role, &split.name);
            let starts = split.vectors.clips();
            for id in starts[..starts.len() - 1].iter().map(|&at| split.vectors.ids[at].as_str()) {
                known.n_clips += 1;
                match all.get(id) {
                    None => known.n_unknown += 1,
                    Some(id) => {
                        there.insert(id);
                        known.n_moved += usize::from(!placed.contains(&(*id, own)));
                    }
                }
            }
        }
        known.of_task = [all.len(), all.len() - there.len()];
        if known.n_unknown > 0 && !known.is_of_none() {
            for split in splits {
                split.vectors.retain(&all);
            }
        }
        known
    }
}

/// The names of a split's clips.
fn names(split: &Split) -> Vec<String> {
    let ids = split.clips.column_by_name("clip_id").and_then(|ids| cast(ids, &DataType::Utf8).ok());
    ids.iter().flat_map(|ids| ids.as_string::<i32>().iter().flatten()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};

    use super::*;
    use crate::eval::{Events, Protocol, Vectors};

    fn task(splits: &[(&str, Role, &[&str])]) -> Task {
        let split = |(name, role, ids): &(&str, Role, &[&str])| {
            let ids: ArrayRef = Arc::new(StringArray::from(ids.to_vec()));
            let clips = RecordBatch::try_from_iter([("clip_id", ids)]).unwrap();
            Split { name: (*name).to_owned(), role: *role, clips, key: [0; 32], events: Events::new() }
        };
        let splits = splits.iter().map(split).collect();
        Task { name: "t".to_owned(), protocol: Protocol::of("t"), splits, notes: Vec::new() }
    }

    fn encoded(name: &str, role: Role, ids: &[&str]) -> Encoded {
        let vectors = Vectors {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            width: 1,
            values: (0..ids.len()).map(|at| at as f32).collect(),
            labels: vec![Vec::new(); ids.len()],
            hop_s: None,
        };
        Encoded { name: name.to_owned(), role, vectors }
    }

    #[test]
    fn rows_of_other_clips_go_and_everything_is_counted() {
        let task = task(&[("train", Role::Train, &["a", "b", "c"]), ("test", Role::Test, &["d", "e"])]);
        // Two frames of `a`; `x` is of no clip of the task, `e` is learnt from, `b` is not there.
        let mut splits =
            [encoded("train", Role::Train, &["a", "a", "x", "c", "e"]), encoded("eval", Role::Test, &["d"])];
        let known = task.keep_known(&mut splits);
        assert_eq!((known.n_clips, known.n_unknown, known.n_moved, known.of_task), (5, 1, 1, [5, 1]));
        assert_eq!(
            (&splits[0].vectors.ids[..], &splits[0].vectors.values[..]),
            (&["a", "a", "c", "e"].map(str::to_owned)[..], &[0.0, 1.0, 3.0, 4.0][..])
        );
        assert_eq!(known.notes().len(), 3, "{:?}", known.notes());
        // Other names throughout: nothing is taken out.
        let mut splits = [encoded("train", Role::Train, &["0", "1"]), encoded("test", Role::Test, &["0"])];
        let known = task.keep_known(&mut splits);
        assert!(known.is_of_none() && splits[0].vectors.len() == 2 && known.notes()[0].contains("such as a"));
    }

    #[test]
    fn folds_are_told_by_their_numbers() {
        let task = task(&[("fold1", Role::Fold, &["a"]), ("fold2", Role::Fold, &["b"])]);
        let mut splits = [encoded("1", Role::Fold, &["a"]), encoded("2", Role::Fold, &["b"])];
        assert_eq!(task.keep_known(&mut splits).notes(), [] as [&str; 0]);
        let mut splits = [encoded("1", Role::Fold, &["b"]), encoded("2", Role::Fold, &["a"])];
        assert_eq!(task.keep_known(&mut splits).n_moved, 2);
    }
}
