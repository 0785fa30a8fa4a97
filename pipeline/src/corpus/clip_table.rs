//! Clips as Arrow columns: two million rows are a dozen buffers, not two million structs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ajepa_store::is_url;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use arrow::compute::{concat, filter, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema as ArrowSchema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use blake3::Hasher;
use twox_hash::XxHash3_64;

use super::length::guess_s;
use super::listing::Listing;
use super::stamps::Stamps;
use crate::columns::{MediaPlace, arrow_field, media_array};
use crate::schema::{Schema, list_of_utf8};
use crate::stage::StageError;

/// Clips that are whole files, or parts of files, by path. All columns are of one length.
#[derive(Debug, Clone)]
pub struct ClipTable {
    /// Folder that relative paths are under.
    pub root: PathBuf,
    /// Names, no two alike.
    pub clip_id: StringArray,
    /// Paths as listed: relative to `root`, or absolute.
    pub path: StringArray,
    /// What the `source` column says; the path when `None`.
    pub source: Option<StringArray>,
    /// First second wanted.
    pub start_s: Option<Float64Array>,
    /// Last second wanted.
    pub end_s: Option<Float64Array>,
    /// Length as the list has it, where start and end do not say.
    pub duration_s: Option<Float64Array>,
    /// Offset and length of each clip that is a member of an archive.
    pub bytes: Option<Vec<Option<(u64, u64)>>>,
    /// `list<utf8>`.
    pub labels: Option<ArrayRef>,
    /// Further columns, which travel along as they are.
    pub extra: Vec<(FieldRef, ArrayRef)>,
    /// Why a clip cannot be opened, as `reason: detail`, where the list knows it; null for the others.
    pub faults: Option<StringArray>,
    /// What was seen of the files.
    pub stamps: Stamps,
}

/// The column that says where audio lies.
const MEDIA: &str = "media";

impl ClipTable {
    /// Clips of files under `root`, by name and path; no labels, no parts.
    pub fn of_files(root: PathBuf, clip_id: StringArray, path: StringArray) -> Self {
        let (source, start_s, end_s, duration_s, bytes, labels) = (None, None, None, None, None, None);
        let (extra, faults, stamps) = (Vec::new(), None, Stamps::default());
        Self { root, clip_id, path, source, start_s, end_s, duration_s, bytes, labels, extra, faults, stamps }
    }

    /// The clips of all `tables`, one after another, by paths that are whole; columns that only some have are left out.
    ///
    /// # Errors
    /// [`StageError`] when texts of more than 2 GiB come together.
    pub fn concat(tables: &[Self]) -> Result<Self, StageError> {
        let rows = || tables.iter().flat_map(|table| (0..table.clip_id.len()).map(move |row| (table, row)));
        let texts =
            |of: &dyn Fn(&Self, usize) -> Option<String>| rows().map(|(t, row)| of(t, row)).collect::<StringArray>();
        let numbers = |of: fn(&Self) -> Option<&Float64Array>| -> Option<Float64Array> {
            let any = tables.iter().any(|table| of(table).is_some());
            any.then(|| rows().map(|(table, row)| number(of(table), row)).collect())
        };
        let labels: Vec<ArrayRef> = tables
            .iter()
            .map(|t| t.labels.clone().unwrap_or_else(|| new_null_array(&list_of_utf8(), t.clip_id.len())))
            .collect();
        let labels: Vec<&dyn Array> = labels.iter().map(AsRef::as_ref).collect();
        let source = |t: &Self, row: usize| t.source.as_ref().unwrap_or(&t.path).value(row).to_owned();
        Ok(Self {
            source: Some(texts(&|t, row| Some(source(t, row)))),
            start_s: numbers(|t| t.start_s.as_ref()),
            end_s: numbers(|t| t.end_s.as_ref()),
            duration_s: numbers(|t| t.duration_s.as_ref()),
            bytes: Some(rows().map(|(t, row)| t.bytes(row)).collect()),
            labels: Some(concat(&labels)?),
            faults: Some(texts(&|t, row| t.fault(row).map(str::to_owned))),
            stamps: Stamps::merged(tables.iter().map(|table| &table.stamps)),
            ..Self::of_files(
                PathBuf::new(),
                texts(&|t, row| Some(t.clip_id.value(row).to_owned())),
                texts(&|t, row| Some(t.file(row).to_string_lossy().into_owned())),
            )
        })
    }

    /// The clips that `keep` has true.
    ///
    /// # Errors
    /// [`StageError`] when the lengths differ.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, StageError> {
        let of = |column: &dyn Array| filter(column, keep);
        let texts = |column: &StringArray| of(column).map(|kept| kept.as_string::<i32>().clone());
        let numbers = |column: &Float64Array| of(column).map(|kept| kept.as_primitive::<Float64Type>().clone());
        let bytes = |bytes: &Vec<Option<(u64, u64)>>| {
            let kept = bytes.iter().zip(keep).filter(|(_, keep)| *keep == Some(true));
            kept.map(|(bytes, _)| *bytes).collect()
        };
        let extra = |(field, column): &(FieldRef, ArrayRef)| of(column).map(|kept| (field.clone(), kept));
        Ok(Self {
            root: self.root.clone(),
            clip_id: texts(&self.clip_id)?,
            path: texts(&self.path)?,
            source: self.source.as_ref().map(texts).transpose()?,
            start_s: self.start_s.as_ref().map(numbers).transpose()?,
            end_s: self.end_s.as_ref().map(numbers).transpose()?,
            duration_s: self.duration_s.as_ref().map(numbers).transpose()?,
            bytes: self.bytes.as_ref().map(bytes),
            labels: self.labels.as_ref().map(|labels| of(labels)).transpose()?,
            extra: self.extra.iter().map(extra).collect::<Result<_, _>>()?,
            faults: self.faults.as_ref().map(texts).transpose()?,
            stamps: self.stamps.clone(),
        })
    }

    /// Where the file of a clip is.
    fn file(&self, clip: usize) -> PathBuf {
        ajepa_store::join(&self.root, self.path.value(clip))
    }

    fn place(&self, clip: usize) -> MediaPlace {
        MediaPlace {
            path: self.file(clip).to_string_lossy().into_owned(),
            bytes: self.bytes(clip),
            start_s: number(self.start_s.as_ref(), clip),
            end_s: number(self.end_s.as_ref(), clip),
            fault: self.fault(clip).map(str::to_owned),
        }
    }

    fn source(&self, clip: usize) -> &str {
        self.source.as_ref().unwrap_or(&self.path).value(clip)
    }

    fn bytes(&self, clip: usize) -> Option<(u64, u64)> {
        self.bytes.as_ref().and_then(|bytes| bytes[clip])
    }

    fn fault(&self, clip: usize) -> Option<&str> {
        self.faults.as_ref().filter(|faults| faults.is_valid(clip)).map(|faults| faults.value(clip))
    }

    fn duration_s(&self, clip: usize) -> Option<f64> {
        let end_s = number(self.end_s.as_ref(), clip);
        let part = end_s.map(|end_s| end_s - number(self.start_s.as_ref(), clip).unwrap_or(0.0));
        part.or_else(|| number(self.duration_s.as_ref(), clip))
    }
}

fn number(column: Option<&Float64Array>, row: usize) -> Option<f64> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

impl Listing for ClipTable {
    fn fork(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn n_clips(&self) -> usize {
        self.clip_id.len()
    }

    fn prepare(&mut self, clips: &[u32]) -> std::io::Result<()> {
        if !is_url(&self.root) && !self.path.iter().flatten().any(|path| path.contains("://")) {
            return Ok(());
        }
        let mut stamps = std::mem::take(&mut self.stamps);
        let learnt = stamps.learn(&clips.iter().map(|&clip| self.file(clip as usize)));
        self.stamps = stamps;
        learnt
    }

    fn far_bytes(&self, clip: u32) -> Option<u64> {
        if self.stamps.knows_nothing() {
            return None;
        }
        let clip = clip as usize;
        let whole = self.stamps.far_bytes(&self.file(clip))?;
        Some(self.bytes(clip).map_or(whole, |(_, len)| len))
    }

    fn hash(&mut self, clips: &[u32], into: &mut Hasher) -> Result<f64, StageError> {
        let indices = UInt32Array::from(clips.to_vec());
        hash_column("clip_id", take(&self.clip_id, &indices, None)?.as_ref(), into)?;
        hash_column("path", take(&self.path, &indices, None)?.as_ref(), into)?;
        for (name, column) in [("start", &self.start_s), ("end", &self.end_s), ("duration", &self.duration_s)] {
            if let Some(column) = column {
                hash_column(name, take(column, &indices, None)?.as_ref(), into)?;
            }
        }
        if let Some(source) = &self.source {
            hash_column("source", take(source, &indices, None)?.as_ref(), into)?;
        }
        if let Some(labels) = &self.labels {
            hash_column("labels", take(labels, &indices, None)?.as_ref(), into)?;
        }
        for (field, column) in &self.extra {
            hash_column(field.name(), take(column, &indices, None)?.as_ref(), into)?;
        }
        let mut seconds = 0.0;
        for &clip in clips {
            let clip = clip as usize;
            let bytes = self.bytes(clip);
            if let Some((offset, len)) = bytes {
                into.update(&offset.to_le_bytes()).update(&len.to_le_bytes());
            }
            self.stamps.hash(&self.root, self.path.value(clip), into);
            seconds += self.duration_s(clip).unwrap_or_else(|| {
                let start_s = number(self.start_s.as_ref(), clip).unwrap_or(0.0);
                let size = bytes.map_or_else(|| self.stamps.size(), |(_, len)| len);
                guess_s(self.source(clip), Some(size), start_s)
            });
        }
        Ok(seconds)
    }

    fn rows(&mut self, clips: &[u32]) -> Result<RecordBatch, StageError> {
        let places: Vec<MediaPlace> = clips.iter().map(|&clip| self.place(clip as usize)).collect();
        self.table(clips, Some(media_array(&places)?))
    }

    fn columns(&mut self, clips: &[u32]) -> Result<RecordBatch, StageError> {
        self.table(clips, None)
    }
}

impl ClipTable {
    /// The rows of these clips, with or without where their audio lies.
    fn table(&self, clips: &[u32], media: Option<ArrayRef>) -> Result<RecordBatch, StageError> {
        let indices = UInt32Array::from(clips.to_vec());
        let of_clips = |value: &dyn Fn(usize) -> Option<f64>| -> ArrayRef {
            Arc::new(clips.iter().map(|&clip| value(clip as usize)).collect::<Float64Array>())
        };
        let labels = match &self.labels {
            Some(labels) => take(labels, &indices, None)?,
            None => new_null_array(&list_of_utf8(), clips.len()),
        };
        let mut columns = vec![
            take(&self.clip_id, &indices, None)?,
            take(self.source.as_ref().unwrap_or(&self.path), &indices, None)?,
            of_clips(&|clip| Some(number(self.start_s.as_ref(), clip).unwrap_or(0.0))),
            of_clips(&|clip| self.duration_s(clip)),
            labels,
        ];
        let declared = Schema::of_media(false);
        let declared = if media.is_some() { declared } else { declared.without(MEDIA) };
        columns.extend(media);
        let mut fields: Vec<FieldRef> = declared.columns.iter().map(|column| Arc::new(arrow_field(column))).collect();
        for (field, column) in &self.extra {
            fields.push(field.clone());
            columns.push(take(column, &indices, None)?);
        }
        Ok(RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)?)
    }
}

/// Feeds a column: its name, then each value in an unambiguous form that does not depend on how Arrow lays it out.
///
/// # Errors
/// [`StageError`] for a type that Arrow cannot show.
pub fn hash_column(name: &str, column: &dyn Array, into: &mut Hasher) -> Result<(), StageError> {
    let mut field = |bytes: &[u8]| {
        into.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    field(name.as_bytes());
    field(column.len().to_string().as_bytes());
    let null: &[u8] = &[0xFF];
    if let Some(texts) = column.as_string_opt::<i32>() {
        texts.iter().for_each(|text| field(text.map_or(null, str::as_bytes)));
        return Ok(());
    }
    // Quotes and commas inside texts of a list are told apart by the values being hashed one by one.
    if let DataType::List(_) = column.data_type() {
        let lists = column.as_list::<i32>();
        lists.iter().for_each(|list| field(list.map_or("null".to_owned(), |list| list.len().to_string()).as_bytes()));
        let (offsets, values) = (lists.value_offsets(), lists.values());
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        return hash_column("item", values.slice(first, last - first).as_ref(), into);
    }
    let options = FormatOptions::default().with_null("\u{FFFD}null").with_display_error(false);
    let formatter = ArrayFormatter::try_new(column, &options)?;
    for row in 0..column.len() {
        field(formatter.value(row).try_to_string()?.as_bytes());
    }
    Ok(())
}

/// Names for clips that have none: the path without its extension, with `@start` where the clip is a part of the file.
/// Where two would be alike, the extension stays.
pub fn clip_ids(paths: &StringArray, starts_s: Option<&Float64Array>) -> StringArray {
    let name = |row: usize, text: &str| match number(starts_s, row) {
        Some(start_s) => format!("{text}@{start_s}"),
        None => text.to_owned(),
    };
    let short = StringArray::from_iter_values((0..paths.len()).map(|row| name(row, stem(paths.value(row)))));
    if first_repeated(&short).is_none() {
        return short;
    }
    let mut uses: HashMap<&str, u32> = HashMap::with_capacity(short.len());
    short.iter().flatten().for_each(|id| *uses.entry(id).or_default() += 1);
    let long = |row: usize| name(row, paths.value(row));
    let mixed = (0..paths.len()).map(|row| match uses.get(short.value(row)) {
        Some(1) => short.value(row).to_owned(),
        _ => long(row),
    });
    let mixed = StringArray::from_iter_values(mixed);
    // `x.wav`, `x.mp3` and `x.wav.mp3` in one folder: only whole paths tell them apart.
    if first_repeated(&mixed).is_none() { mixed } else { StringArray::from_iter_values((0..paths.len()).map(long)) }
}

fn stem(path: &str) -> &str {
    let base_at = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[base_at..].rfind('.') {
        Some(dot) if dot > 0 => &path[..base_at + dot],
        _ => path,
    }
}

/// The first row that holds the same text as one before it, and that one before it.
///
/// Sixteen bytes a row: hashes are sorted, and only texts of one hash are compared.
pub fn first_repeated(texts: &StringArray) -> Option<(usize, usize)> {
    let hashed = |(row, text): (usize, Option<&str>)| Some((XxHash3_64::oneshot(text?.as_bytes()), row));
    let mut rows: Vec<(u64, usize)> = texts.iter().enumerate().filter_map(hashed).collect();
    rows.sort_unstable();
    let pairs = rows.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1).filter_map(|alike| {
        let text = |at: usize| texts.value(alike[at].1);
        let before = |at: usize| (0..at).find(|&before| text(before) == text(at));
        (1..alike.len()).find_map(|at| before(at).map(|before| (alike[before].1, alike[at].1)))
    });
    pairs.min_by_key(|(_, second)| *second)
}

/// A list field's name of `labels`, for those who build the column.
pub(super) fn labels_field() -> Field {
    Field::new("item", DataType::Utf8, true)
}
