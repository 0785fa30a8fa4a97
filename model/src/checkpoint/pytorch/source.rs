//! The tensors of a file, whatever wrote it, and nothing else of it.
//!
//! What is refused before a pickle is parsed: archives with anything compressed in them (`torch.save` compresses nothing; a bomb
//! does), pickles longer than [`MAX_PICKLE_BYTES`] (a byte of pickle may become a hundred in memory), tensors that claim more
//! than the file holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use ajepa_store::{Fs, RealFs, open_regular};
use burn::tensor::{bf16, f16};
use pytorch_reader::{DType, PickleValue, PytorchError, PytorchReader, Tensor};
use safetensors::{Dtype, SafeTensors};
use zip::{CompressionMethod, ZipArchive};

use super::error::ImportError;

/// Longest pickle that is parsed. That of a ViT-B with its optimiser has 0.2 MB.
const MAX_PICKLE_BYTES: u64 = 4 << 20;

/// Longest safetensors file that is read into memory.
const MAX_PLAIN_BYTES: u64 = 64 << 30;

/// What an archive begins with.
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// What a number is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    /// Integers and truth values: no weights.
    Other,
}

/// What a file says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub shape: Vec<usize>,
    pub kind: Kind,
    bytes: u64,
}

/// An opened file.
pub(super) struct Source {
    path: PathBuf,
    file_bytes: u64,
    content: Content,
    /// Names as in the file.
    described: BTreeMap<String, Described>,
}

enum Content {
    Pickled(PytorchReader),
    /// The whole safetensors file, proven once.
    Plain(Vec<u8>),
}

impl Source {
    /// Opens an archive of `torch.save` or a safetensors file; which of the two is seen from its first bytes.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let io = |error: std::io::Error| ImportError::unreadable(path, error.to_string());
        let mut file = open_regular(path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let mut magic = [0; 4];
        let is_zip = file.read_exact(&mut magic).is_ok() && magic == ZIP_MAGIC;
        let (content, described) = if is_zip { pickled(path, file)? } else { plain(path)? };
        Ok(Self { path: path.to_owned(), file_bytes, content, described })
    }

    /// What it holds, by the names in the file.
    pub fn described(&self) -> &BTreeMap<String, Described> {
        &self.described
    }

    /// Refuses tensors that hold more together than the file could: views of one storage may each claim all of it.
    pub fn check_size<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), ImportError> {
        let sizes = names.filter_map(|name| self.described.get(name)).map(|tensor| tensor.bytes);
        let claimed = sizes.fold(0_u64, u64::saturating_add);
        if claimed <= self.file_bytes {
            return Ok(());
        }
        let problem = format!("its tensors claim {claimed} bytes, and it has {}", self.file_bytes);
        Err(ImportError::unreadable(&self.path, problem))
    }

    /// The numbers of one tensor, row-major, as f32.
    pub fn numbers(&self, name: &str) -> Result<Vec<f32>, ImportError> {
        let fault = |problem: String| ImportError::unreadable(&self.path, format!("{name}: {problem}"));
        let described = self.described.get(name).ok_or_else(|| fault("there is no such tensor".to_owned()))?;
        if described.bytes > self.file_bytes {
            return Err(fault(format!("it claims {} bytes, more than the file has", described.bytes)));
        }
        let read;
        let parsed;
        let bytes = match &self.content {
            Content::Pickled(reader) => {
                let tensor = reader.get(name).ok_or_else(|| fault("there is no such tensor".to_owned()))?;
                read = tensor.read().map_err(|error| fault(error.to_string()))?;
                &read[..]
            }
            Content::Plain(bytes) => {
                parsed = SafeTensors::deserialize(bytes).map_err(|error| fault(error.to_string()))?;
                parsed.tensor(name).map_err(|error| fault(error.to_string()))?.data()
            }
        };
        let numbers = floats(bytes, described.kind).ok_or_else(|| fault("it holds no floating-point numbers".to_owned()))?;
        if numbers.iter().any(|x| !x.is_finite()) {
            return Err(fault("it holds a number that is not finite".to_owned()));
        }
        Ok(numbers)
    }

    /// What lies beside the tensors under one name, where it can be read.
    pub fn beside(&self, key: &str) -> Option<PickleValue> {
        match &self.content {
            Content::Pickled(_) => PytorchReader::read_pickle_data(&self.path, Some(key)).ok(),
            Content::Plain(_) => None,
        }
    }
}

fn pickled(path: &Path, file: File) -> Result<(Content, BTreeMap<String, Described>), ImportError> {
    look_at_archive(path, file)?;
    let reader = match PytorchReader::with_top_level_key(path, "state_dict") {
        Err(PytorchError::KeyNotFound(_)) => PytorchReader::new(path),
        opened => opened,
    };
    let reader = reader.map_err(|error| ImportError::unreadable(path, error.to_string()))?;
    let described = reader.tensors().iter().map(|(name, tensor)| (name.clone(), describe(tensor)));
    let described = described.collect();
    Ok((Content::Pickled(reader), described))
}

/// Refuses what would become much larger than it is.
fn look_at_archive(path: &Path, file: File) -> Result<(), ImportError> {
    let fault = |problem: String| ImportError::unreadable(path, problem);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| fault(error.to_string()))?;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| fault(error.to_string()))?;
        let name = entry.name().map_err(|error| fault(error.to_string()))?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.size() != entry.compressed_size() {
            return Err(fault(format!("{name} is compressed in it, which `torch.save` never does")));
        }
        if name.ends_with("data.pkl") && entry.size() > MAX_PICKLE_BYTES {
            return Err(fault(format!("{name} has {} bytes; at most {MAX_PICKLE_BYTES} are read", entry.size())));
        }
    }
    Ok(())
}

fn describe(tensor: &Tensor) -> Described {
    let kind = match tensor.dtype() {
        DType::F64 => Kind::F64,
        DType::F32 => Kind::F32,
        DType::F16 => Kind::F16,
        DType::BF16 => Kind::Bf16,
        _ => Kind::Other,
    };
    Described { shape: tensor.shape().to_vec(), kind, bytes: tensor.byte_len() as u64 }
}

fn plain(path: &Path) -> Result<(Content, BTreeMap<String, Described>), ImportError> {
    let fault = |problem: String| ImportError::unreadable(path, problem);
    let bytes = RealFs.read(path, MAX_PLAIN_BYTES).map_err(|error| fault(error.to_string()))?;
    let parsed = SafeTensors::deserialize(&bytes)
        .map_err(|error| fault(format!("neither an archive of `torch.save` nor a safetensors file ({error})")))?;
    let described = parsed.iter().map(|(name, view)| {
        let kind = match view.dtype() {
            Dtype::F64 => Kind::F64,
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::Bf16,
            _ => Kind::Other,
        };
        (name.to_owned(), Described { shape: view.shape().to_vec(), kind, bytes: view.data().len() as u64 })
    });
    let described = described.collect();
    Ok((Content::Plain(bytes), described))
}

/// Little-endian numbers as f32; `None` for what are none.
fn floats(bytes: &[u8], kind: Kind) -> Option<Vec<f32>> {
    let (twos, fours, eights) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0, bytes.as_chunks::<8>().0);
    Some(match kind {
        Kind::F64 => eights.iter().map(|&x| f64::from_le_bytes(x) as f32).collect(),
        Kind::F32 => fours.iter().map(|&x| f32::from_le_bytes(x)).collect(),
        Kind::F16 => twos.iter().map(|&x| f16::from_le_bytes(x).to_f32()).collect(),
        Kind::Bf16 => twos.iter().map(|&x| bf16::from_le_bytes(x).to_f32()).collect(),
        Kind::Other => return None,
    })
}
