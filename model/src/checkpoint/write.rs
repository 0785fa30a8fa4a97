//! Writing: a folder that appears whole, its tensors streamed one by one.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ajepa_store::{Fs, PAGE_BYTES, PageWriter, PendingFile, PendingFolder, StoreError, commit_bytes, seal};

use super::CARD;
use super::card::{Card, FileCard};
use super::error::CheckpointError;

/// Name and shape of a tensor, and a way to its numbers when their turn comes.
pub struct TensorSource<'a> {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub numbers: Box<dyn Fn() -> Vec<f32> + 'a>,
}

/// One file to be.
pub struct FileSource<'a> {
    /// Its name in the folder, such as `encoder.safetensors`.
    pub name: &'static str,
    /// What is in it, in this order.
    pub tensors: Vec<TensorSource<'a>>,
}

/// Writes the checkpoint `dir`; `card.files` is filled in. `false` when there is a folder of that name already: it stays.
///
/// # Errors
/// [`CheckpointError::Store`]; nothing is left then.
pub fn write(fs: &Arc<dyn Fs>, dir: &Path, mut card: Card, files: &[FileSource<'_>]) -> Result<bool, CheckpointError> {
    let folder = PendingFolder::create(fs, dir.to_owned())?;
    card.files = files.iter().map(|file| write_file(fs, folder.path(), file)).collect::<Result<_, _>>()?;
    let path = folder.path().join(CARD);
    let json = seal(&card).map_err(|error| CheckpointError::mismatch(&path, error.to_string()))?;
    commit_bytes(fs, path, &json)?;
    Ok(folder.commit_new()?)
}

/// A safetensors file: the length of a JSON header, the header, the numbers end to end.
fn write_file(fs: &Arc<dyn Fs>, folder: &Path, file: &FileSource<'_>) -> Result<FileCard, CheckpointError> {
    let path = folder.join(file.name);
    let out = PendingFile::create(fs, path.clone())?;
    let mut out = PageWriter::new(out, PAGE_BYTES);
    let written = (|| {
        let header = header(&file.tensors);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for tensor in &file.tensors {
            let numbers = (tensor.numbers)();
            let expected = tensor.shape.iter().product::<usize>();
            if numbers.len() != expected {
                let problem = format!("{} has {} numbers, its shape {expected}", tensor.name, numbers.len());
                return Err(std::io::Error::other(problem));
            }
            // Little-endian on any machine, in pieces that stay in cache.
            let mut bytes = Vec::with_capacity(1 << 16);
            for piece in numbers.chunks(1 << 14) {
                bytes.clear();
                bytes.extend(piece.iter().flat_map(|x| x.to_le_bytes()));
                out.write_all(&bytes)?;
            }
        }
        Ok(())
    })();
    written.map_err(|error| StoreError::io("write", &path, error))?;
    let (pending, bytes, pages) = out.finish();
    pending.commit()?;
    Ok(FileCard { name: file.name.to_owned(), bytes, page_bytes: PAGE_BYTES, pages })
}

/// The JSON header, padded so that the numbers begin at a multiple of 64 bytes.
fn header(tensors: &[TensorSource<'_>]) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    let mut at = 0;
    for tensor in tensors {
        let end = at + 4 * tensor.shape.iter().product::<usize>();
        let entry = serde_json::json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [at, end] });
        entries.insert(tensor.name.clone(), entry);
        at = end;
    }
    let mut json = serde_json::Value::Object(entries).to_string().into_bytes();
    let len = (8 + json.len()).next_multiple_of(64) - 8;
    json.resize(len, b' ');
    json
}
