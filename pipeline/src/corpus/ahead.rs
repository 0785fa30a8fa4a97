//! Clips that lie in object stores: some dozens are fetched at once, ahead of the workers, and travel with their rows. What workers
//! decode waits for no network, as long as the network gives bytes as fast as they take them.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use ajepa_store::{Fetch, Wanted, is_url};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::UInt64Type;
use bytes::Bytes;

use crate::columns::media_fields;
use crate::stage::StageError;

/// Rows that a source gives at once: few enough that all workers get work from the first unit on.
const BATCH_ROWS: usize = 16;

/// Encoded bytes of one batch, about.
const BATCH_BYTES: u64 = 8 << 20;

/// Larger objects are read by `decode` as it goes.
const CARRIED_BYTES: u64 = 64 << 20;

/// Encoded bytes on their way or waiting for workers, at most; one batch may be larger alone.
const MAX_AHEAD_BYTES: u64 = 64 << 20;

/// Cuts clips into batches: sixteen, or fewer where their bytes, as far as they have to be fetched, are many.
pub fn batches<'a>(clips: &'a [u32], n_bytes: &dyn Fn(u32) -> u64) -> Vec<&'a [u32]> {
    let (mut batches, mut rest) = (Vec::new(), clips);
    while !rest.is_empty() {
        let mut sum = 0;
        let fits = |clip: &&u32| {
            sum += n_bytes(**clip);
            sum <= BATCH_BYTES
        };
        let n = rest.iter().take(BATCH_ROWS).take_while(fits).count().max(1);
        let (batch, behind) = rest.split_at(n);
        batches.push(batch);
        rest = behind;
    }
    batches
}

/// Batches whose bytes are on their way, in order.
#[derive(Default)]
pub struct Ahead {
    waiting: VecDeque<Waiting>,
    n_bytes: u64,
}

struct Waiting {
    rows: RecordBatch,
    n_bytes: u64,
    /// Rows whose bytes are fetched.
    fetched: Vec<usize>,
    fetch: Option<Fetch>,
}

impl Ahead {
    /// Whether a batch of so many bytes has to wait until one is taken out.
    pub fn is_full(&self, n_bytes: u64, budget_bytes: u64) -> bool {
        let budget_bytes = budget_bytes.min(MAX_AHEAD_BYTES);
        // Rows of this machine are given on as they come.
        !self.waiting.is_empty() && (n_bytes == 0 || self.n_bytes + n_bytes > budget_bytes)
    }

    /// Begins to fetch what `rows` need; `sizes` are the bytes of each.
    pub fn push(&mut self, rows: RecordBatch, sizes: &[u64]) {
        let wanted = wanted(&rows, sizes);
        let n_bytes = wanted.iter().map(|(row, _)| sizes[*row]).sum();
        let (fetched, wanted): (Vec<usize>, Vec<Wanted>) = wanted.into_iter().unzip();
        let fetch = (!wanted.is_empty()).then(|| Fetch::start(wanted));
        self.n_bytes += n_bytes;
        self.waiting.push_back(Waiting { rows, n_bytes, fetched, fetch });
    }

    /// The next batch, its bytes in it.
    ///
    /// # Errors
    /// [`StageError::Io`] when a store cannot be reached; an object that is not there, or may not be read, is its clip's fault.
    pub fn pop(&mut self) -> Result<Option<RecordBatch>, StageError> {
        let Some(Waiting { rows, n_bytes, fetched, fetch }) = self.waiting.pop_front() else { return Ok(None) };
        self.n_bytes -= n_bytes;
        let Some(fetch) = fetch else { return Ok(Some(rows)) };
        let answers = fetch.wait().map_err(|error| StageError::io("cannot read clips", error))?;
        with_bytes(&rows, &fetched, answers).map(Some)
    }
}

/// The rows whose bytes are to be fetched ahead.
fn wanted(rows: &RecordBatch, sizes: &[u64]) -> Vec<(usize, Wanted)> {
    let Some(media) = rows.column_by_name("media").and_then(|media| media.as_struct_opt()) else { return Vec::new() };
    let column = |name: &str| media.column_by_name(name);
    let Some(paths) = column("path").and_then(|paths| paths.as_string_opt::<i32>()) else { return Vec::new() };
    let number = |name: &str, row: usize| {
        let numbers = column(name)?.as_primitive_opt::<UInt64Type>()?;
        numbers.is_valid(row).then(|| numbers.value(row))
    };
    let range = |row: usize| number("byte_offset", row).zip(number("byte_len", row));
    let is_null = |name: &str, row: usize| column(name).is_none_or(|column| column.is_null(row));
    let same = |a: usize, b: usize| paths.value(a) == paths.value(b) && range(a) == range(b);
    let n = rows.num_rows();
    let is_wanted = |row: &usize| {
        let row = *row;
        // Parts of one recording follow each other: `decode` reads the recording once and keeps it.
        let shared = (row > 0 && same(row, row - 1)) || (row + 1 < n && same(row, row + 1));
        let small = sizes.get(row).is_some_and(|size| *size <= CARRIED_BYTES);
        small && !shared && is_null("fault", row) && is_null("bytes", row) && is_url(Path::new(paths.value(row)))
    };
    let wanted = |row: usize| (row, Wanted { url: paths.value(row).to_owned(), range: range(row) });
    (0..n).filter(is_wanted).map(wanted).collect()
}

/// The rows with what was fetched for some of them.
fn with_bytes(
    rows: &RecordBatch,
    fetched: &[usize],
    answers: Vec<std::io::Result<Bytes>>,
) -> Result<RecordBatch, StageError> {
    let at = rows.schema().index_of("media")?;
    let media = rows.column(at).as_struct();
    let child = |name: &str| media.column_by_name(name).map(AsArray::as_string::<i32>);
    let (paths, faults) = (child("path"), child("fault"));
    let text = |column: Option<&StringArray>, row: usize| {
        column.filter(|column| column.is_valid(row)).map(|column| column.value(row).to_owned())
    };
    let mut faults: Vec<Option<String>> = (0..rows.num_rows()).map(|row| text(faults, row)).collect();
    let mut bytes: Vec<Option<Bytes>> = vec![None; rows.num_rows()];
    for (&row, answer) in fetched.iter().zip(answers) {
        let path = text(paths, row).unwrap_or_default();
        let reason = match answer {
            Ok(answer) => {
                bytes[row] = Some(answer);
                continue;
            }
            Err(error) => match error.kind() {
                ErrorKind::NotFound => format!("missing: {path}: {error}"),
                ErrorKind::UnexpectedEof => format!("truncated: {path}: {error}"),
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput => format!("io: {path}: {error}"),
                _ => return Err(StageError::io(format!("cannot read {path}"), error)),
            },
        };
        faults[row] = Some(reason);
    }
    let kept = rows.column(at).as_struct().column_by_name("bytes").and_then(|bytes| bytes.as_binary_opt::<i32>());
    let value = |row: usize| {
        bytes[row].as_deref().or_else(|| kept.filter(|kept| kept.is_valid(row)).map(|kept| kept.value(row)))
    };
    let bytes: BinaryArray = (0..rows.num_rows()).map(value).collect();
    let fields = media_fields();
    let columns = fields.iter().zip(media.columns()).map(|(field, column)| -> ArrayRef {
        match field.name().as_str() {
            "fault" => Arc::new(StringArray::from(faults.clone())),
            "bytes" => Arc::new(bytes.clone()),
            _ => column.clone(),
        }
    });
    let media = StructArray::try_new(fields.clone(), columns.collect(), None)?;
    let mut columns = rows.columns().to_vec();
    columns[at] = Arc::new(media);
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_sixteen_clips_or_of_eight_megabytes() {
        let clips: Vec<u32> = (0..40).collect();
        let lens = |of: &dyn Fn(u32) -> u64| batches(&clips, of).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        assert_eq!(lens(&|_| 0), [16, 16, 8]);
        assert_eq!(lens(&|_| 160_000), [16, 16, 8]);
        assert_eq!(lens(&|_| 3 << 20), [2; 20]);
        let one_large = |clip: u32| if clip == 5 { 1 << 30 } else { 1000 };
        assert_eq!(lens(&one_large), [5, 1, 16, 16, 2]);
    }
}
