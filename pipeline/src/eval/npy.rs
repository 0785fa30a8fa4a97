//! Embeddings as `NumPy` writes them: an .npy file of [rows, width], and a .csv of the same name with a line for each of its rows.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field};

use crate::corpus::read_table;
use crate::stage::BuildError;

/// The two as one table, the numbers in its column `embedding`.
///
/// # Errors
/// [`BuildError`] for what is no .npy of f32 or f64 rows, and a table of another length.
pub fn read(path: &Path) -> Result<RecordBatch, BuildError> {
    let shown = path.display().to_string();
    let csv = path.with_extension("csv");
    if !csv.exists() {
        let problem = format!("{shown}: it has only numbers, and there is no {} beside it", csv.display());
        let help = "write one with a header and a line for each row: clip_id, labels, and split or fold";
        return Err(BuildError::new(problem, help));
    }
    let bytes = std::fs::read(path).map_err(|error| BuildError::new(format!("{shown}: {error}"), "check the file"))?;
    let fault = |problem: &str| {
        let help = "write it by np.save of a C-ordered float32 array [rows, width]";
        BuildError::new(format!("{shown}: {problem}"), help)
    };
    let ([rows, width], numbers) = parse(&bytes).map_err(|problem| fault(&problem))?;
    let table = read_table(&csv)?;
    if table.num_rows() != rows {
        let n = table.num_rows();
        return Err(fault(&format!("it has {rows} rows, and the .csv beside it {n}")));
    }
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let lists = i32::try_from(width)
        .ok()
        .and_then(|width| FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(numbers)), None).ok());
    let lists: ArrayRef = Arc::new(lists.ok_or_else(|| fault("its rows are too wide"))?);
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| field.name().as_str()).zip(table.columns().iter().cloned());
    let columns = columns.filter(|(name, _)| *name != "embedding").chain([("embedding", lists)]);
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| fault(&error.to_string()))
}

/// Shape and numbers of an .npy file.
fn parse(bytes: &[u8]) -> Result<([usize; 2], Vec<f32>), String> {
    let cut = || "it is cut short, or no .npy".to_owned();
    let head = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(cut)?;
    let (len, at): (usize, usize) = if let Some(1) = head.first() {
        (usize::from(u16::from_le_bytes([*head.get(2).ok_or_else(cut)?, *head.get(3).ok_or_else(cut)?])), 4)
    } else {
        let len: [u8; 4] = head.get(2..6).and_then(|len| len.try_into().ok()).ok_or_else(cut)?;
        (u32::from_le_bytes(len) as usize, 6)
    };
    let text = head.get(at..at.saturating_add(len)).ok_or_else(cut)?;
    let text = String::from_utf8_lossy(text).replace(' ', "");
    if !text.contains("'fortran_order':False") {
        return Err("its numbers are in Fortran's order".to_owned());
    }
    let shape = text.split_once("'shape':(").and_then(|(_, rest)| rest.split_once(')')).ok_or_else(cut)?.0;
    let dims: Vec<usize> = shape.split(',').filter(|dim| !dim.is_empty()).map_while(|dim| dim.parse().ok()).collect();
    let &[rows, width] = &dims[..] else { return Err(format!("its shape is ({shape}), not (rows, width)")) };
    let data = &head[at + len..];
    let n = rows.checked_mul(width).ok_or_else(cut)?;
    let numbers: Vec<f32> = if text.contains("'descr':'<f4'") {
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    } else if text.contains("'descr':'<f8'") {
        data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()
    } else {
        return Err("its numbers are neither f32 nor f64".to_owned());
    };
    if numbers.len() == n { Ok(([rows, width], numbers)) } else { Err(cut()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(head: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((head.len() as u16).to_le_bytes());
        bytes.extend(head.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn numbers_of_both_widths_and_nothing_else() {
        let head = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n";
        let data: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(parse(&npy(head, &data)), Ok(([1, 2], vec![1.5, -2.0])));
        let wide: Vec<u8> = [1.5_f64, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(parse(&npy(&head.replace("f4", "f8"), &wide)), Ok(([1, 2], vec![1.5, -2.0])));
        for (head, data) in [
            (head.replace("False", "True"), &data[..]),
            (head.replace("(1, 2)", "(2,)"), &data[..]),
            (head.replace("(1, 2)", "(1, 4611686018427387905)"), &data[..]),
            (head.replace("<f4", "|O"), &data[..]),
            (head.to_owned(), &data[..5]),
        ] {
            assert!(parse(&npy(&head, data)).is_err(), "{head}");
        }
        assert!((0..12).all(|n| parse(&npy(head, &data)[..n]).is_err()));
    }
}
