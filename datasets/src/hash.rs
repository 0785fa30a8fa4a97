//! A corpus' name: a hash that neither the order of rows nor the place of files changes.

use blake3::Hasher;
use polars::prelude::*;

use crate::error::DatasetError;
use crate::manifest::Manifest;

/// What a row is, in the order in which it is hashed. A change here changes the names of all corpora.
const TEXTS: [&str; 4] = ["clip_id", "split", "group", "status"];
const NUMBERS: [&str; 2] = ["start_s", "duration_s"];

pub(crate) fn dataset_hash(manifest: &Manifest) -> Result<String, DatasetError> {
    let frame = manifest.frame();
    let texts: Vec<&StringChunked> = TEXTS.iter().map(|name| manifest.texts(name)).collect::<Result<_, _>>()?;
    let numbers: Vec<&Float64Chunked> =
        NUMBERS.iter().map(|name| frame.column(name)?.f64()).collect::<PolarsResult<_>>()?;
    let content = frame.column("content_hash")?.binary()?;
    let labels = manifest.label_lists()?;
    let mut row_hashes: Vec<[u8; 32]> = Vec::with_capacity(frame.height());
    let mut bytes = Vec::with_capacity(256);
    for row in 0..frame.height() {
        bytes.clear();
        for column in &texts {
            push(&mut bytes, column.get(row).map(str::as_bytes));
        }
        for column in &numbers {
            push(&mut bytes, column.get(row).map(f64::to_le_bytes).as_ref().map(|number| &number[..]));
        }
        push(&mut bytes, content.get(row));
        let mut sorted: Vec<&str> = labels.row(row).collect();
        sorted.sort_unstable();
        bytes.extend_from_slice(&(sorted.len() as u64).to_le_bytes());
        for label in sorted {
            push(&mut bytes, Some(label.as_bytes()));
        }
        row_hashes.push(*blake3::hash(&bytes).as_bytes());
    }
    row_hashes.sort_unstable();
    let mut hasher = Hasher::new();
    hasher.update(b"ajepa dataset 1");
    for hash in &row_hashes {
        hasher.update(hash);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// A value behind its length, so that no two rows are the same bytes; nothing has a length that no value has.
fn push(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        None => bytes.extend_from_slice(&u64::MAX.to_le_bytes()),
    }
}
