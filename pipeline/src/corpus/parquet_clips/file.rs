//! One Parquet file: its footer, and its rows as clips.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::Length;

use super::chunks::Chunks;
use super::columns::Roles;
use crate::columns::{MediaPlace, arrow_field, media_with_bytes};
use crate::schema::{Schema, list_of_utf8};
use crate::stage::{BuildError, StageError};

/// Rows that are given at once, at most.
const BATCH_ROWS: u64 = 16;
/// Encoded bytes that are given at once, about.
const BATCH_BYTES: u64 = 8 << 20;
/// A column that claims to become this large, and a hundred times as large as it is stored, is a bomb: audio does not shrink so.
const BOMB_BYTES: i64 = 256 << 20;
const BOMB_RATIO: i64 = 100;

/// A file whose footer has been read.
pub struct AudioFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Rows of each group.
    groups: Vec<u64>,
}

/// Rows that are asked for.
pub struct Rows<'a> {
    pub roles: &'a Roles,
    /// Their names, where a column has them.
    pub ids: Option<StringArray>,
    /// The first, counted in the file.
    pub start: u64,
    pub n: u64,
}

impl AudioFile {
    pub fn open(path: PathBuf) -> Result<Self, BuildError> {
        let shown = path.display().to_string();
        let wrong =
            |why: String| BuildError::new(format!("{shown}: {why}"), "check the path, or download the file again");
        let file = Chunks::open(&path).map_err(|error| wrong(error.to_string()))?;
        let options = ArrowReaderOptions::new();
        let metadata = guard(|| ArrowReaderMetadata::load(&file, options)).map_err(wrong)?;
        let groups = metadata.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()));
        let groups =
            groups.collect::<Result<Vec<u64>, _>>().map_err(|_| wrong("a row group of less than no rows".into()))?;
        let (n_rows, n_bytes) = (groups.iter().fold(0, |sum: u64, rows| sum.saturating_add(*rows)), file.len());
        if n_rows > n_bytes {
            // A list of units is made of this count: it must not be a lie that fills the memory.
            return Err(wrong(format!("it claims {n_rows} rows, and has {n_bytes} bytes")));
        }
        Ok(Self { path, metadata, groups })
    }

    pub fn schema(&self) -> &ArrowSchema {
        self.metadata.schema()
    }

    pub fn n_rows(&self) -> u64 {
        self.groups.iter().fold(0, |sum, rows| sum.saturating_add(*rows))
    }

    pub fn shown(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where the first page of a column of a group begins.
    #[cfg(test)]
    pub fn first_page(&self, group: usize, name: &str) -> usize {
        let group = self.metadata.metadata().row_group(group);
        let column = group.columns().iter().find(|column| column.column_path().string() == name);
        column.map_or(0, |column| column.byte_range().0 as usize)
    }

    fn reader(
        &self,
        names: &[&str],
        group: Option<usize>,
        (skip, n): (usize, usize),
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, String> {
        let file = Chunks::open(&self.path).map_err(|error| error.to_string())?;
        guard(|| {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
            let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
            let builder = match group {
                Some(group) => builder.with_row_groups(vec![group]),
                None => builder,
            };
            builder.with_projection(mask).with_offset(skip).with_limit(n).with_batch_size(batch_rows).build()
        })
    }

    /// Appends the first `n` texts of the column `name`.
    pub fn texts(&self, name: &str, n: usize, into: &mut Vec<Option<String>>) -> Result<(), BuildError> {
        let wrong =
            |why: String| BuildError::new(format!("{}: {name}: {why}", self.shown()), "download the file again");
        let mut reader = self.reader(&[name], None, (0, n), 65_536).map_err(wrong)?;
        let before = into.len();
        while let Some(batch) = next(&mut reader) {
            let texts =
                cast(batch.map_err(wrong)?.column(0), &DataType::Utf8).map_err(|error| wrong(error.to_string()))?;
            into.extend(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)));
        }
        let (found, there) = (into.len() - before, n.min(self.n_rows() as usize));
        if found == there {
            return Ok(());
        }
        Err(wrong(format!("{found} rows are there, the footer says {there}")))
    }

    /// Gives the rows; what cannot be read is given as clips that `decode` refuses.
    pub fn read(
        &self,
        rows: &Rows<'_>,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let (mut group_start, end) = (0, rows.start + rows.n);
        for (group, &n_rows) in self.groups.iter().enumerate() {
            let (from, to) = (rows.start.max(group_start), end.min(group_start + n_rows));
            if from < to {
                let fault = self.read_group(rows, group, (from, to), from - group_start, emit)?;
                if let Some((at, fault)) = fault {
                    self.refuse(rows, (at, to), &fault, emit)?;
                }
            }
            group_start += n_rows;
        }
        Ok(())
    }

    /// Gives `from..to`, which begin `skip` rows into the group; where it ends early, the first row that is lost, and why.
    fn read_group(
        &self,
        rows: &Rows<'_>,
        group: usize,
        (from, to): (u64, u64),
        skip: u64,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<Option<(u64, String)>, StageError> {
        let lost =
            |at: u64, why: String| Ok(Some((at, format!("corrupt: row group {group} of {}: {why}", self.name()))));
        let batch_rows = match self.batch_rows(rows.roles, group) {
            Ok(batch_rows) => batch_rows,
            Err(why) => return lost(from, why),
        };
        let names: Vec<&str> = rows.roles.names().collect();
        let reader = self.reader(&names, Some(group), (skip as usize, (to - from) as usize), batch_rows);
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(why) => return lost(from, why),
        };
        let mut at = from;
        while at < to {
            let table = match next(&mut reader) {
                Some(Ok(table)) if table.num_rows() as u64 <= to - at => table,
                Some(Ok(_)) => return lost(at, "more rows than were asked for".into()),
                Some(Err(why)) => return lost(at, why),
                None => return lost(at, format!("it ends {} rows early", to - at)),
            };
            let n = table.num_rows() as u64;
            if n > 0 {
                match self.clips(rows, at, &table) {
                    Ok(clips) => emit(clips)?,
                    Err(error) => return lost(at, error.to_string()),
                }
            }
            at += n;
        }
        Ok(None)
    }

    /// Rows that come to some megabytes of audio.
    fn batch_rows(&self, roles: &Roles, group: usize) -> Result<usize, String> {
        let metadata = self.metadata.metadata().row_group(group);
        let of_audio = metadata.columns().iter().filter(|c| c.column_path().parts().first() == Some(&roles.audio));
        let mut bytes = 0;
        for column in of_audio {
            let (whole, stored) = (column.uncompressed_size(), column.compressed_size());
            if is_bomb(whole, stored) {
                return Err(format!("{stored} bytes that are to become {whole}: audio does not shrink so"));
            }
            bytes += u64::try_from(whole).unwrap_or_default();
        }
        let per_row = bytes / self.groups[group].max(1);
        Ok((BATCH_BYTES / per_row.max(1)).clamp(1, BATCH_ROWS) as usize)
    }

    /// Rows as clips.
    fn clips(&self, rows: &Rows<'_>, at: u64, table: &RecordBatch) -> Result<RecordBatch, StageError> {
        let roles = rows.roles;
        let column = |name: &str| {
            let missing = || StageError::Other(format!("no column {name}"));
            table.column_by_name(name).cloned().ok_or_else(missing)
        };
        let audio = column(&roles.audio)?;
        let (bytes, paths) = if roles.nested { in_struct(&audio)? } else { (audio, None) };
        let bytes = cast(&bytes, &DataType::Binary)?;
        let places: Vec<MediaPlace> =
            (0..table.num_rows()).map(|row| self.place(row, &bytes, paths.as_ref())).collect();
        let labels = match &roles.labels {
            Some(name) => label_lists(&column(name)?)?,
            None => new_null_array(&list_of_utf8(), table.num_rows()),
        };
        let extra = roles.extra.iter().map(|(name, _)| column(name)).collect::<Result<Vec<_>, _>>()?;
        self.batch(rows, at, media_with_bytes(&places, bytes)?, labels, extra)
    }

    /// Where a clip without bytes lies, or that it lies nowhere.
    fn place(&self, row: usize, bytes: &ArrayRef, paths: Option<&StringArray>) -> MediaPlace {
        let path = paths.filter(|paths| paths.is_valid(row)).map(|paths| paths.value(row)).unwrap_or_default();
        if bytes.is_valid(row) {
            // Only a name: the bytes are at hand.
            return MediaPlace { path: path.to_owned(), ..MediaPlace::default() };
        }
        if path.is_empty() {
            let fault = Some("missing: the row has neither bytes nor a path".to_owned());
            return MediaPlace { path: self.shown(), fault, ..MediaPlace::default() };
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        MediaPlace { path: folder.join(path).to_string_lossy().into_owned(), ..MediaPlace::default() }
    }

    /// The rows `from..to` as clips that cannot be used.
    fn refuse(
        &self,
        rows: &Rows<'_>,
        (from, to): (u64, u64),
        fault: &str,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let mut at = from;
        while at < to {
            let n = (to - at).min(BATCH_ROWS) as usize;
            let place = MediaPlace { path: self.shown(), fault: Some(fault.to_owned()), ..MediaPlace::default() };
            let media = media_with_bytes(&vec![place; n], new_null_array(&DataType::Binary, n))?;
            let extra = rows.roles.extra.iter().map(|(_, kind)| new_null_array(kind, n)).collect();
            emit(self.batch(rows, at, media, new_null_array(&list_of_utf8(), n), extra)?)?;
            at += n as u64;
        }
        Ok(())
    }

    fn batch(
        &self,
        rows: &Rows<'_>,
        at: u64,
        media: ArrayRef,
        labels: ArrayRef,
        extra: Vec<ArrayRef>,
    ) -> Result<RecordBatch, StageError> {
        let n = media.len();
        let name = self.name();
        let source = StringArray::from_iter_values((at..at + n as u64).map(|row| format!("{name}#{row}")));
        let ids = match &rows.ids {
            Some(ids) => ids.slice((at - rows.start) as usize, n),
            None => source.clone(),
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(ids),
            Arc::new(source),
            Arc::new(Float64Array::from(vec![0.0; n])),
            new_null_array(&DataType::Float64, n),
            labels,
            media,
        ];
        let declared = Schema::of_media(false);
        let mut fields: Vec<FieldRef> = declared.columns.iter().map(|column| Arc::new(arrow_field(column))).collect();
        for ((name, kind), column) in rows.roles.extra.iter().zip(extra) {
            fields.push(Arc::new(Field::new(name, kind.clone(), true)));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)?)
    }
}

pub(super) fn is_bomb(whole_bytes: i64, stored_bytes: i64) -> bool {
    whole_bytes > BOMB_BYTES && whole_bytes / BOMB_RATIO > stored_bytes
}

/// Bytes and paths of `struct<bytes, path>`. A struct that is null has neither.
fn in_struct(audio: &ArrayRef) -> Result<(ArrayRef, Option<StringArray>), StageError> {
    let not_there = || StageError::Other("the audio is no struct with bytes".to_owned());
    let audio = audio.as_struct_opt().ok_or_else(not_there)?;
    let field = |name: &str| audio.column_by_name(name).map(|column| (column, audio.nulls()));
    let masked = |(column, nulls): (&ArrayRef, Option<&arrow::buffer::NullBuffer>)| match nulls {
        Some(nulls) => arrow::compute::nullif(column, &arrow::array::BooleanArray::new(!nulls.inner(), None)),
        None => Ok(column.clone()),
    };
    let bytes = masked(field("bytes").ok_or_else(not_there)?)?;
    let path = field("path").map(masked).transpose()?.and_then(|path| cast(&path, &DataType::Utf8).ok());
    Ok((bytes, path.map(|path| path.as_string::<i32>().clone())))
}

/// `list<utf8>` of lists of texts, or of texts.
fn label_lists(column: &ArrayRef) -> Result<ArrayRef, StageError> {
    if matches!(column.data_type(), DataType::List(_) | DataType::LargeList(_)) {
        return Ok(cast(column, &list_of_utf8())?);
    }
    let texts = cast(column, &DataType::Utf8)?;
    let mut labels = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    texts.as_string::<i32>().iter().for_each(|text| match text {
        Some(text) => labels.append_value([Some(text)]),
        None => labels.append_null(),
    });
    Ok(Arc::new(labels.finish()))
}

fn next(reader: &mut ParquetRecordBatchReader) -> Option<Result<RecordBatch, String>> {
    guard(|| match reader.next() {
        Some(Ok(batch)) => Ok(Some(batch)),
        Some(Err(error)) => Err(ParquetError::General(error.to_string())),
        None => Ok(None),
    })
    .transpose()
}

/// Runs library code that may panic on a damaged file: that too is only a fault of the file.
fn guard<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its reader panicked".to_owned()),
    }
}
