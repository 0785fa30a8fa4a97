//! The .npy file, with the other columns as .csv and what it is as .json beside it. The .npy is the last to get its name.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, PendingFile, StoreError, commit_bytes};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Float32Type};

use super::about::About;
use super::failed;
use crate::stage::StageError;

/// Length of the header: room for any count of rows.
const HEADER_BYTES: usize = 128;

/// An .npy file and its table on their way to their names.
pub struct NpyFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    shape: Vec<usize>,
    numbers: PendingFile,
    table: PendingFile,
    rows: u64,
    bytes: u64,
}

impl NpyFile {
    pub fn create(fs: &Arc<dyn Fs>, path: &Path, shape: &[usize]) -> Result<Self, StageError> {
        let mut numbers = PendingFile::create(fs, path.to_owned()).map_err(failed)?;
        let table = PendingFile::create(fs, path.with_extension("csv")).map_err(failed)?;
        let head = header(0, shape)?;
        let bytes = head.len() as u64;
        numbers.write_all(&head).map_err(|error| failed(StoreError::io("write", path, error)))?;
        Ok(Self { fs: fs.clone(), path: path.to_owned(), shape: shape.to_vec(), numbers, table, rows: 0, bytes })
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), StageError> {
        let last = rows.num_columns() - 1;
        let lost = || StageError::Other("embeddings that are no f32".to_owned());
        let lists = rows.column(last).as_fixed_size_list_opt().ok_or_else(lost)?;
        let first = lists.value_offset(0) as usize;
        let n = rows.num_rows() * lists.value_length() as usize;
        let values = lists.values().as_primitive_opt::<Float32Type>().ok_or_else(lost)?.values();
        let bytes: Vec<u8> = values[first..first + n].iter().flat_map(|x| x.to_le_bytes()).collect();
        self.numbers.write_all(&bytes).map_err(|error| failed(StoreError::io("write", &self.path, error)))?;
        let others: Vec<usize> = (0..last).collect();
        let table = plain(&rows.project(&others)?)?;
        let mut writer = WriterBuilder::new().with_header(self.rows == 0).build(&mut self.table);
        writer.write(&table)?;
        self.rows += rows.num_rows() as u64;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub fn commit(mut self, about: &About) -> Result<Option<u64>, StageError> {
        self.numbers.rewrite_head(&header(self.rows, &self.shape)?).map_err(failed)?;
        let json = serde_json::to_vec_pretty(about).map_err(|error| StageError::Other(error.to_string()))?;
        self.table.commit().map_err(failed)?;
        commit_bytes(&self.fs, self.path.with_extension("json"), &json).map_err(failed)?;
        Ok(self.numbers.commit_new().map_err(failed)?.then_some(self.bytes))
    }
}

/// `NumPy`'s format, version 1.0, always of the same length.
fn header(rows: u64, shape: &[usize]) -> Result<Vec<u8>, StageError> {
    let dims: Vec<String> = std::iter::once(rows.to_string()).chain(shape.iter().map(usize::to_string)).collect();
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", dims.join(", "));
    let room = HEADER_BYTES - 10 - 1;
    if text.len() > room {
        return Err(StageError::Other(format!("the shape {} does not fit into an .npy header", dims.join(" x "))));
    }
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&((room + 1) as u16).to_le_bytes());
    bytes.extend_from_slice(format!("{text:room$}\n").as_bytes());
    Ok(bytes)
}

/// The columns that a CSV can hold: lists of texts become one text, parted by `;`; other lists and bytes are left out.
fn plain(rows: &RecordBatch) -> Result<RecordBatch, StageError> {
    let schema = rows.schema();
    let column = |(name, column): (&String, &ArrayRef)| -> Option<(String, ArrayRef)> {
        match column.data_type() {
            DataType::List(item) if *item.data_type() == DataType::Utf8 => {
                let joined: StringArray = column.as_list::<i32>().iter().map(joined).collect();
                Some((name.clone(), Arc::new(joined)))
            }
            kind if kind.is_nested() || matches!(kind, DataType::FixedSizeBinary(_) | DataType::Binary) => None,
            _ => Some((name.clone(), column.clone())),
        }
    };
    let names = schema.fields().iter().map(|field| field.name());
    let columns: Vec<(String, ArrayRef)> = names.zip(rows.columns()).filter_map(column).collect();
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

fn joined(labels: Option<ArrayRef>) -> Option<String> {
    let labels = labels?;
    let texts: Vec<&str> = labels.as_string_opt::<i32>()?.iter().flatten().collect();
    Some(texts.join(";"))
}
