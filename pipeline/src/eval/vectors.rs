//! Vectors of clips, as files of embeddings hold them: those that a graph made, and those made elsewhere.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};

use super::task::{Role, parted};
use crate::corpus::read_table;
use crate::embed::mean;
use crate::stage::BuildError;
use crate::stages::sink_embeddings::read_about;

/// How far two hops of a file may differ, and are still one.
const SAME_HOP: f64 = 0.01;

/// Vectors of the clips, or crops, or frames of a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    /// Whose they are, a name a row.
    pub ids: Vec<String>,
    /// Numbers in one.
    pub width: usize,
    /// All of them, row by row.
    pub values: Vec<f32>,
    /// Labels of the clips, row by row.
    pub labels: Vec<Vec<String>>,
    /// Seconds from one frame to the next, where rows are frames.
    pub hop_s: Option<f64>,
}

impl Vectors {
    /// Rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Where the rows of each clip begin, and where the last one's end: rows of one name that follow each other are of one clip.
    pub fn clips(&self) -> Vec<usize> {
        let first = |at: &usize| *at == 0 || self.ids[at - 1] != self.ids[*at];
        (0..self.len()).filter(first).chain([self.len()]).collect()
    }

    /// Whether a clip has more than one row.
    pub fn has_several(&self) -> bool {
        self.ids.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// A row a clip: the mean of its rows.
    #[must_use]
    pub fn means(&self) -> Self {
        let mut means = Self { width: self.width, ..Self::default() };
        for at in self.clips().windows(2) {
            means.ids.push(self.ids[at[0]].clone());
            means.labels.push(self.labels[at[0]].clone());
            means.values.extend(mean(&self.values[at[0] * self.width..at[1] * self.width], self.width));
        }
        means
    }

    /// Without the rows of clips that are not among `known`.
    pub fn retain(&mut self, known: &HashSet<&str>) {
        let kept: Vec<bool> = self.ids.iter().map(|id| known.contains(id.as_str())).collect();
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let rows = self.values.chunks_exact(self.width.max(1)).zip(&kept);
        self.values = rows.filter(|(_, kept)| **kept).flat_map(|(row, _)| row.iter().copied()).collect();
        let mut all = kept.iter();
        self.ids.retain(|_| all.next() == Some(&true));
        let mut all = kept.iter();
        self.labels.retain(|_| all.next() == Some(&true));
    }

    /// A row for each of the `n_layers` vectors that a row is.
    fn layer_by_layer(self, n_layers: usize) -> Self {
        let Self { ids, width, values, labels, hop_s } = self;
        let often = |at: usize| std::iter::repeat_n(at, n_layers);
        Self {
            ids: (0..ids.len()).flat_map(often).map(|at| ids[at].clone()).collect(),
            labels: (0..ids.len()).flat_map(often).map(|at| labels[at].clone()).collect(),
            width: width / n_layers.max(1),
            values,
            hop_s,
        }
    }
}

/// A split with its vectors.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its vectors.
    pub vectors: Vectors,
}

/// The embeddings in a file: Parquet, or .npy with a table beside it. Of the layers of an encoder, a row each.
///
/// # Errors
/// [`BuildError`] for a file that is not such.
pub fn read(path: &Path) -> Result<Vectors, BuildError> {
    let table = table_of(path)?;
    let shown = path.display().to_string();
    let Some(about) = read_about(path).ok().flatten() else { return vectors(&shown, &table) };
    let vectors = Vectors { hop_s: about.hop_s, ..vectors(&shown, &table)? };
    Ok(if about.axes.len() > 1 { vectors.layer_by_layer(about.shape[0]) } else { vectors })
}

/// Embeddings that were made elsewhere, split by split. Where a clip has several rows they are its frames.
///
/// # Errors
/// As [`read`], and for a file without splits, or a clip whose frames lie apart.
pub fn read_parted(path: &Path) -> Result<Vec<Encoded>, BuildError> {
    let shown = path.display().to_string();
    let table = table_of(path)?;
    let said = read_about(path).ok().flatten().and_then(|about| about.hop_s);
    let encoded = |(name, role, rows): (String, Role, RecordBatch)| {
        let vectors = vectors(&shown, &rows)?;
        let clips = vectors.clips();
        if vectors.has_several() {
            check_order(&shown, &vectors, &clips)?;
        }
        let hop_s = hop_s(&rows, &clips, said);
        Ok(Encoded { name, role, vectors: Vectors { hop_s, ..vectors } })
    };
    parted(&shown, &table)?.into_iter().map(encoded).collect()
}

/// Checks that no clip's rows are parted by another's.
fn check_order(shown: &str, vectors: &Vectors, clips: &[usize]) -> Result<(), BuildError> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut firsts = clips[..clips.len() - 1].iter().map(|&at| vectors.ids[at].as_str());
    match firsts.find(|id| !seen.insert(id)) {
        None => Ok(()),
        Some(id) => {
            let help = "the rows of a clip are its frames: put them one after another, in order";
            Err(BuildError::new(format!("{shown}: rows of the clip {id} are apart"), help))
        }
    }
}

/// Seconds from one row of a clip to the next: what the file says of itself or in its column `hop_s`, else what `offset_s` tells. `None`
/// where nothing does, or where that is not one number.
fn hop_s(rows: &RecordBatch, clips: &[usize], said: Option<f64>) -> Option<f64> {
    let column = |name: &str| {
        let column = rows.column_by_name(name).and_then(|column| cast(column, &DataType::Float64).ok())?;
        (column.null_count() == 0).then(|| column.as_primitive::<Float64Type>().values().to_vec())
    };
    let (written, starts) = (column("hop_s").unwrap_or_default(), column("offset_s").unwrap_or_default());
    let inner = clips.windows(2).flat_map(|at| at[0] + 1..at[1]).filter(|_| !starts.is_empty());
    let steps: Vec<f64> = inner.map(|row| starts[row] - starts[row - 1]).collect();
    // What a difference of times has behind a tenth of a microsecond is rounding.
    let told = steps.first().map(|step| (step * 1e7).round() / 1e7);
    let hop_s = said.or(written.first().copied()).or(told).filter(|hop_s| *hop_s > 0.0 && hop_s.is_finite())?;
    written.iter().chain(&steps).all(|other| (other - hop_s).abs() <= SAME_HOP * hop_s).then_some(hop_s)
}

fn table_of(path: &Path) -> Result<RecordBatch, BuildError> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        super::npy::read(path)
    } else {
        read_table(path)
    }
}

fn vectors(shown: &str, table: &RecordBatch) -> Result<Vectors, BuildError> {
    let help = "a file of embeddings has the columns clip_id, embedding (lists of one length), labels or label, and split or fold";
    let fault = |problem: &str| BuildError::new(format!("{shown}: {problem}"), help);
    let column = |name: &str| table.column_by_name(name);
    let embedding = column("embedding").ok_or_else(|| fault("there is no column `embedding`"))?;
    let (width, values) =
        numbers(embedding).ok_or_else(|| fault("its column `embedding` holds no lists of one length"))?;
    let ids: Vec<String> = match column("clip_id").map(|ids| cast(ids, &DataType::Utf8)) {
        Some(Ok(ids)) => ids.as_string::<i32>().iter().map(|id| id.unwrap_or_default().to_owned()).collect(),
        _ => (0..table.num_rows()).map(|row| row.to_string()).collect(),
    };
    let labels = column("labels")
        .or_else(|| column("label"))
        .ok_or_else(|| fault("there is no column `labels` and none `label`"))?;
    let labels = texts(labels).ok_or_else(|| fault("its labels are neither texts nor lists of texts"))?;
    Ok(Vectors { ids, width, values, labels, hop_s: None })
}

/// The numbers of a column of lists of one length, and that length.
fn numbers(column: &ArrayRef) -> Option<(usize, Vec<f32>)> {
    let n_rows = column.len();
    let values = match column.data_type() {
        DataType::FixedSizeList(_, width) => {
            let width = *width as usize;
            let lists = column.as_fixed_size_list();
            lists.values().slice(lists.value_offset(0) as usize, n_rows * width)
        }
        DataType::List(item) | DataType::LargeList(item) => {
            let large =
                cast(column, &DataType::LargeList(Arc::new(Field::new("item", item.data_type().clone(), true))))
                    .ok()?;
            let lists = large.as_list::<i64>();
            let offsets = lists.value_offsets();
            let width = offsets.get(1)? - offsets.first()?;
            if offsets.windows(2).any(|pair| pair[1] - pair[0] != width) {
                return None;
            }
            lists.values().slice(offsets[0] as usize, n_rows * width as usize)
        }
        _ => return None,
    };
    let values = cast(&values, &DataType::Float32).ok().filter(|values| values.null_count() == 0)?;
    let width = values.len().checked_div(n_rows).unwrap_or(0);
    Some((width, values.as_primitive::<Float32Type>().values().to_vec()))
}

/// Labels row by row: lists of texts, or texts with `;` between labels.
fn texts(column: &ArrayRef) -> Option<Vec<Vec<String>>> {
    let lists = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    if column.data_type().is_nested() {
        let column = cast(column, &lists).ok()?;
        let row = |list: Option<ArrayRef>| -> Vec<String> {
            list.map_or_else(Vec::new, |list| list.as_string::<i32>().iter().flatten().map(str::to_owned).collect())
        };
        return Some(column.as_list::<i32>().iter().map(row).collect());
    }
    let column = cast(column, &DataType::Utf8).ok()?;
    let row = |text: Option<&str>| -> Vec<String> {
        text.into_iter().flat_map(|text| text.split(';')).filter(|label| !label.is_empty()).map(str::to_owned).collect()
    };
    Some(column.as_string::<i32>().iter().map(row).collect())
}
