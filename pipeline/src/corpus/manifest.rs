//! From a table with a row per clip to clips: which column is what, and every fault by its row.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clip_table::{clip_ids, labels_field};
use super::tar_members::{Members, find_members};
use super::{ClipTable, Faults, has_extension};
use crate::schema::{Schema, list_of_utf8};
use crate::stage::BuildError;

/// Names of a manifest's columns, where they are not the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestColumns {
    /// The file of the clip. Default: `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name of the clip, no two alike. Default: `clip_id`; without it the path without its extension, and `@start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_id: Option<String>,
    /// First second of the clip in the file, 0 or more. Default: `start`, `start_s` or `offset_s`; without it the begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Last second of the clip in the file, beyond the start. Default: `end` or `end_s`; without it the end of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Length in seconds, more than 0: gives the end where there is a start and no end. Default: `duration_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Labels: a list of texts, or one text that `label_separator` parts. Default: `labels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
}

/// A table whose columns are being given their parts.
struct Roles<'a> {
    shown: &'a str,
    table: &'a RecordBatch,
    used: HashSet<String>,
}

/// The clips that a table lists. `shown` names it in errors; `root` is what relative paths are under.
///
/// # Errors
/// [`BuildError`] for a column that is missing or of a wrong type, and for rows at fault: up to ten by number, the first
/// row of data being row 1.
pub fn clips_of_table(
    shown: &str,
    table: &RecordBatch,
    columns: &ManifestColumns,
    label_separator: &str,
    root: PathBuf,
) -> Result<ClipTable, BuildError> {
    let mut roles = Roles { shown, table, used: HashSet::new() };
    let path = roles.find(columns.path.as_ref(), &["path"])?.ok_or_else(|| roles.missing("path", "path"))?;
    let path = plain_paths(roles.texts("path", &path)?);
    let mut faults = Faults::default();
    let mut numbers = |roles: &mut Roles<'_>, named: Option<&String>, usual: &[&str]| {
        roles.find(named, usual)?.map(|column| roles.numbers(usual[0], &column, &mut faults)).transpose()
    };
    let start_s = numbers(&mut roles, columns.start.as_ref(), &["start", "start_s", "offset_s"])?;
    let mut end_s = numbers(&mut roles, columns.end.as_ref(), &["end", "end_s"])?;
    let duration_s = numbers(&mut roles, columns.duration.as_ref(), &["duration_s"])?;
    if let (Some(start_s), None, Some(duration_s)) = (&start_s, &end_s, &duration_s) {
        end_s = Some(ends_of(start_s, duration_s));
    }
    let clip_id = roles.find(columns.clip_id.as_ref(), &["clip_id"])?;
    let clip_id = clip_id.map(|column| roles.texts("clip_id", &column)).transpose()?;
    let source = roles.find(None, &["source"])?.map(|column| roles.texts("source", &column)).transpose()?;
    let labels = roles.find(columns.labels.as_ref(), &["labels"])?;
    let labels = labels.map(|column| roles.labels(&column, label_separator)).transpose()?;

    check_paths(&path, &mut faults);
    check_parts(start_s.as_ref(), end_s.as_ref(), duration_s.as_ref(), &mut faults);
    let has_ids = clip_id.is_some();
    // Rows without a path have been counted; an empty text stands in, so that the names can be looked at as well.
    let whole = match path.null_count() {
        0 => path,
        _ => path.iter().map(|path| Some(path.unwrap_or_default())).collect(),
    };
    let clip_id = clip_id.unwrap_or_else(|| clip_ids(&whole, start_s.as_ref()));
    check_ids(&clip_id, &mut faults);
    let help = if has_ids {
        "mend these rows; rows are counted from 1, the header not among them"
    } else {
        "mend these rows (counted from 1, the header not among them); a column `clip_id` can tell rows of one file apart"
    };
    faults.into_result(shown, help)?;
    let extra = roles.extra()?;
    let places = roles.members(&whole)?.map(|member| find_members(&root, &whole, &member));
    let Members { bytes, faults, source: of_members } = places.unwrap_or_default();
    Ok(ClipTable {
        source: source.or(of_members),
        bytes,
        faults,
        start_s,
        end_s,
        duration_s,
        labels,
        extra,
        ..ClipTable::of_files(root, clip_id, whole)
    })
}

impl Roles<'_> {
    /// The column that the config names, else the first of the usual names that is there.
    fn find(&mut self, named: Option<&String>, usual: &[&str]) -> Result<Option<ArrayRef>, BuildError> {
        let name = match named {
            Some(name) => Some(name.as_str()),
            None => usual.iter().copied().find(|name| self.table.column_by_name(name).is_some()),
        };
        let Some(name) = name else { return Ok(None) };
        let column = self.table.column_by_name(name).ok_or_else(|| self.missing(usual[0], name))?;
        self.used.insert(name.to_owned());
        Ok(Some(column.clone()))
    }

    /// The members of the tars that `path` names, where there is a column of them. What the columns `member` and `row` mean of other
    /// files is the table's own matter.
    fn members(&self, path: &StringArray) -> Result<Option<StringArray>, BuildError> {
        let is_in = |row: usize, ends: &[&str]| {
            let ends: Vec<String> = ends.iter().map(|end| (*end).to_owned()).collect();
            has_extension(path.value(row), &ends)
        };
        if let Some(rows) = self.table.column_by_name("row")
            && let Some(row) = (0..path.len()).find(|&row| rows.is_valid(row) && is_in(row, &["parquet", "pq"]))
        {
            let problem = format!("{}: row {} is a row of {}", self.shown, row + 1, path.value(row));
            return Err(BuildError::new(problem, "audio in Parquet files is read by `source_parquet`"));
        }
        let Some(member) = self.table.column_by_name("member") else { return Ok(None) };
        let Ok(member) = self.texts("member", member) else { return Ok(None) };
        let of_tar = |row: usize| member.is_valid(row) && is_in(row, &["tar"]);
        let members: StringArray = (0..path.len()).map(|row| of_tar(row).then(|| member.value(row))).collect();
        Ok((members.null_count() < members.len()).then_some(members))
    }

    fn missing(&self, role: &str, name: &str) -> BuildError {
        let names: Vec<&str> = self.table.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
        let nearest =
            names.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let like =
            nearest.filter(|nearest| strsim::jaro_winkler(nearest, name) > 0.7).map_or("NAME", |nearest| nearest);
        let problem = format!("{}: there is no column {name:?} among {}", self.shown, names.join(", "));
        if let [header] = names[..]
            && let Some(separator) = [';', '\t', '|'].into_iter().find(|c| header.contains(*c))
        {
            let cure = if separator == '\t' { "name the file .tsv" } else { "part the columns by commas" };
            return BuildError::new(problem, format!("the header is one column, parted by {separator:?}: {cure}"));
        }
        BuildError::new(problem, format!("say which column holds it: columns: {{ {role}: {like} }}"))
    }

    fn wrong_type(&self, role: &str, column: &dyn Array, wanted: &str) -> BuildError {
        let problem = format!("{}: the column for {role} holds {:?}", self.shown, column.data_type());
        BuildError::new(problem, format!("it must hold {wanted}"))
    }

    fn texts(&self, role: &str, column: &ArrayRef) -> Result<StringArray, BuildError> {
        let kind = column.data_type();
        let simple =
            matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..));
        if !(simple || kind.is_integer() || kind.is_null()) {
            return Err(self.wrong_type(role, column, "texts"));
        }
        let texts = cast(column, &DataType::Utf8).map_err(|_| self.wrong_type(role, column, "texts"))?;
        Ok(texts.as_string::<i32>().clone())
    }

    /// Numbers, or texts that say numbers. Empty and null are null.
    fn numbers(&self, role: &str, column: &ArrayRef, faults: &mut Faults) -> Result<Float64Array, BuildError> {
        if column.data_type().is_numeric() || column.data_type().is_null() {
            let numbers = cast(column, &DataType::Float64).map_err(|_| self.wrong_type(role, column, "seconds"))?;
            return Ok(numbers.as_primitive::<Float64Type>().clone());
        }
        let texts = self.texts(role, column).map_err(|_| self.wrong_type(role, column, "seconds"))?;
        let mut numbers = Float64Builder::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let text = text.map(str::trim).filter(|text| !text.is_empty());
            let number = text.map(str::parse::<f64>);
            if number.as_ref().is_some_and(Result::is_err) {
                faults
                    .push_at(row, || format!("row {}: {role} {:?} is not a number", row + 1, text.unwrap_or_default()));
            }
            numbers.append_option(number.and_then(Result::ok));
        }
        Ok(numbers.finish())
    }

    fn labels(&self, column: &ArrayRef, separator: &str) -> Result<ArrayRef, BuildError> {
        if matches!(column.data_type(), DataType::List(_) | DataType::LargeList(_) | DataType::ListView(_)) {
            return cast(column, &list_of_utf8()).map_err(|_| self.wrong_type("labels", column, "lists of texts"));
        }
        let texts = self.texts("labels", column)?;
        let mut labels = ListBuilder::new(StringBuilder::new()).with_field(labels_field());
        for text in &texts {
            match text {
                Some(text) => {
                    labels.append_value(text.split(separator).map(str::trim).filter(|l| !l.is_empty()).map(Some));
                }
                None => labels.append_null(),
            }
        }
        Ok(Arc::new(labels.finish()))
    }

    /// The columns that have no part. A name that the pipeline gives itself would be overwritten: refused.
    fn extra(&self) -> Result<Vec<(Arc<arrow::datatypes::Field>, ArrayRef)>, BuildError> {
        let declared = Schema::of_media(false);
        let fields = self.table.schema_ref().fields().iter().zip(self.table.columns());
        // What a manifest says of the samples, `decode` finds out itself, in a type of its own.
        let is_extra = |name: &String| !self.used.contains(name) && name != "content_hash";
        let extra: Vec<_> = fields.filter(|(field, _)| is_extra(field.name())).collect();
        if let Some((field, _)) = extra.iter().find(|(field, _)| declared.get(field.name()).is_some()) {
            let problem =
                format!("{}: the column {:?} has a name that the pipeline uses itself", self.shown, field.name());
            return Err(BuildError::new(problem, "rename it in the table"));
        }
        Ok(extra.into_iter().map(|(field, column)| (field.clone(), column.clone())).collect())
    }
}

/// Addresses of this machine (`file://`) as the paths they mean; one that means none stays, and its clip is missing.
fn plain_paths(paths: StringArray) -> StringArray {
    if !paths.iter().flatten().any(|path| path.starts_with("file://")) {
        return paths;
    }
    let plain =
        |path: &str| ajepa_store::plain(Path::new(path)).map_or(path.into(), |p| p.to_string_lossy().into_owned());
    paths.iter().map(|path| path.map(plain)).collect()
}

fn ends_of(start_s: &Float64Array, duration_s: &Float64Array) -> Float64Array {
    start_s.iter().zip(duration_s).map(|(start_s, duration_s)| Some(start_s.unwrap_or(0.0) + duration_s?)).collect()
}

fn check_paths(paths: &StringArray, faults: &mut Faults) {
    for (row, path) in paths.iter().enumerate() {
        if path.is_none_or(|path| path.trim().is_empty()) {
            faults.push_at(row, || format!("row {}: no path", row + 1));
        }
    }
}

fn check_parts(
    start_s: Option<&Float64Array>,
    end_s: Option<&Float64Array>,
    duration_s: Option<&Float64Array>,
    faults: &mut Faults,
) {
    let n_rows = [start_s, end_s, duration_s].into_iter().flatten().map(Array::len).max().unwrap_or(0);
    let at = |column: Option<&Float64Array>, row: usize| column.filter(|c| c.is_valid(row)).map(|c| c.value(row));
    for row in 0..n_rows {
        let (start, end, length) = (at(start_s, row), at(end_s, row), at(duration_s, row));
        let shown = row + 1;
        if let Some(bad) = [start, end, length].into_iter().flatten().find(|s| !s.is_finite() || *s < 0.0) {
            faults.push_at(row, || format!("row {shown}: {bad} s is not a time in a file"));
        } else if let Some(end) = end.filter(|end| *end <= start.unwrap_or(0.0)) {
            faults.push_at(row, || {
                format!("row {shown}: the end {end} s is not behind the start {} s", start.unwrap_or(0.0))
            });
        }
    }
}

fn check_ids(ids: &StringArray, faults: &mut Faults) {
    let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::with_capacity(ids.len());
    for (row, id) in ids.iter().enumerate() {
        let shown = row + 1;
        match id {
            None | Some("") => faults.push_at(row, || format!("row {shown}: no clip_id")),
            Some(id) => {
                if let Some(first) = seen.insert(id, shown) {
                    faults.push_at(row, || format!("row {shown}: clip_id {id:?} is that of row {first} too"));
                }
            }
        }
    }
}
