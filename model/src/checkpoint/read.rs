//! Reading: nothing is believed before its checksum is seen to match.

use std::path::{Path, PathBuf};

use ajepa_store::{Checksums, Fs, RealFs, StoreError, unseal};
use safetensors::{Dtype, SafeTensors};

use super::CARD;
use super::card::{Card, FORMAT, FileCard};
use super::error::CheckpointError;
use crate::frozen::EncoderChoice;
use crate::objective::TargetConfig;

/// Longest `checkpoint.json` that is read: page checksums of a terabyte take 16 MB.
const MAX_CARD_BYTES: u64 = 64 << 20;

/// Longest tensor file that is read into memory.
const MAX_FILE_BYTES: u64 = 1 << 40;

/// A checkpoint on disk whose card was read and is whole.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    dir: PathBuf,
    card: Card,
}

/// The tensors of one file, verified.
pub struct Tensors {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// Reads the card of `dir`; no tensor yet.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] without a card, [`CheckpointError::Damaged`] for one that is torn, edited or of
    /// another version.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let path = dir.join(CARD);
        let bytes = match RealFs.read(&path, MAX_CARD_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                let is_there = dir.exists();
                let problem = if is_there { format!("there is no {CARD} in it") } else { "it is not there".to_owned() };
                return Err(CheckpointError::NotACheckpoint { dir: dir.to_owned(), problem });
            }
            Err(error) => return Err(StoreError::io("read", &path, error).into()),
        };
        let card = unseal::<Card>(&bytes, FORMAT).map_err(|problem| CheckpointError::damaged(&path, problem))?;
        Ok(Self { dir: dir.to_owned(), card })
    }

    /// What it says of itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads and verifies every file; what a resume does before it begins.
    ///
    /// # Errors
    /// As [`Checkpoint::tensors`], for the first file that has a fault.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.card.files.iter().try_for_each(|file| self.load(file).map(drop))
    }

    /// Reads and verifies one file.
    ///
    /// # Errors
    /// As [`Checkpoint::tensors`].
    pub fn verify_file(&self, file: &FileCard) -> Result<(), CheckpointError> {
        self.load(file).map(drop)
    }

    /// Whether it has a file of that name.
    pub fn has(&self, name: &str) -> bool {
        self.card.files.iter().any(|file| file.name == name)
    }

    /// The tensors of the file `name`, each page's checksum compared before anything is looked at.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] naming the bytes, [`CheckpointError::Mismatch`] for a file that it does not have.
    pub fn tensors(&self, name: &str) -> Result<Tensors, CheckpointError> {
        let found = self.card.files.iter().find(|file| file.name == name);
        let file = found.ok_or_else(|| {
            let is_of_codes = matches!(self.card.recipe.target, TargetConfig::RandomProjection(_));
            let problem = if is_of_codes && name == EncoderChoice::Target.file() {
                "its targets are random-projection codes: it has only the context encoder".to_owned()
            } else {
                format!("it has no {name}; it was exported without it")
            };
            CheckpointError::mismatch(&self.dir, problem)
        })?;
        self.load(file)
    }

    fn load(&self, file: &FileCard) -> Result<Tensors, CheckpointError> {
        let path = self.dir.join(&file.name);
        if Path::new(&file.name).components().count() != 1 || file.page_bytes == 0 {
            return Err(CheckpointError::damaged(&self.dir.join(CARD), format!("file {:?}", file.name)));
        }
        let cap = file.bytes.min(MAX_FILE_BYTES);
        let bytes = RealFs.read(&path, cap).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                CheckpointError::damaged(&path, format!("it is missing, and {CARD} lists it"))
            }
            std::io::ErrorKind::InvalidData => {
                CheckpointError::damaged(&path, format!("longer than {} bytes", file.bytes))
            }
            _ => StoreError::io("read", &path, error).into(),
        })?;
        if bytes.len() as u64 != file.bytes {
            let problem = format!("{} bytes, {CARD} says {}: it was cut short", bytes.len(), file.bytes);
            return Err(CheckpointError::damaged(&path, problem));
        }
        let page_bytes = usize::try_from(file.page_bytes).unwrap_or(usize::MAX);
        let n_pages = bytes.len().div_ceil(page_bytes);
        if n_pages != file.pages.0.len() {
            let problem = format!("{n_pages} pages, {CARD} has {} checksums", file.pages.0.len());
            return Err(CheckpointError::damaged(&path, problem));
        }
        for (i, (page, &expected)) in bytes.chunks(page_bytes).zip(&file.pages.0).enumerate() {
            if Checksums::of(page) != expected {
                let start = i * page_bytes;
                let problem = format!("bytes {start}..{} are damaged (checksum)", start + page.len());
                return Err(CheckpointError::damaged(&path, problem));
            }
        }
        SafeTensors::deserialize(&bytes).map_err(|error| CheckpointError::damaged(&path, error.to_string()))?;
        Ok(Tensors { path, bytes })
    }
}

impl Tensors {
    /// The whole file, as safetensors readers take it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Names with shapes, sorted.
    ///
    /// # Errors
    /// None for a file that was loaded; the format is looked at again.
    pub fn names(&self) -> Result<Vec<(String, Vec<usize>)>, CheckpointError> {
        let parsed = self.parsed()?;
        let mut names: Vec<_> = parsed.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The numbers of one tensor, row-major.
    ///
    /// # Errors
    /// [`CheckpointError::Mismatch`] when there is none of that name, or it is of another shape or type than f32.
    pub fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let parsed = self.parsed()?;
        let view = parsed
            .tensor(name)
            .map_err(|_| CheckpointError::mismatch(&self.path, format!("there is no tensor {name}")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            let problem = format!("{name} is {:?} {:?}, wanted F32 {shape:?}", view.dtype(), view.shape());
            return Err(CheckpointError::mismatch(&self.path, problem));
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        Ok(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    fn parsed(&self) -> Result<SafeTensors<'_>, CheckpointError> {
        SafeTensors::deserialize(&self.bytes).map_err(|error| CheckpointError::damaged(&self.path, error.to_string()))
    }
}
