//! The tensors of a file, whatever wrote it, and nothing else of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ajepa_store::{Fs, RealFs, open_regular};
use burn::tensor::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::archive::Archive;
use super::error::ImportError;
use super::pickle;
use super::value::{Kind, Tensor, Value, Values};

/// Longest pickle that is parsed. That of a ViT-B with its optimiser has 0.2 MB.
const MAX_PICKLE_BYTES: u64 = 4 << 20;

/// Longest safetensors file that is read into memory.
const MAX_PLAIN_BYTES: u64 = 64 << 30;

/// How many times a file's bytes its tensors may hold.
const MAX_SHARING: u64 = 4;

/// Dictionaries in dictionaries that hyper-parameters are looked for in.
const MAX_DEPTH: usize = 8;

/// What an archive begins with.
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

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
    Pickled(Box<Pickled>),
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

    /// Refuses tensors that hold far more together than the file: each of many views of one storage may claim all of it. Two encoders
    /// may share theirs.
    pub fn check_size<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), ImportError> {
        let sizes = names.filter_map(|name| self.described.get(name)).map(|tensor| tensor.bytes);
        let claimed = sizes.fold(0_u64, u64::saturating_add);
        if claimed <= self.file_bytes.saturating_mul(MAX_SHARING) {
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
            Content::Pickled(pickled) => {
                read = pickled.read(name).map_err(fault)?;
                &read[..]
            }
            Content::Plain(bytes) => {
                parsed = SafeTensors::deserialize(bytes).map_err(|error| fault(error.to_string()))?;
                parsed.tensor(name).map_err(|error| fault(error.to_string()))?.data()
            }
        };
        let numbers =
            floats(bytes, described.kind).ok_or_else(|| fault("it holds no floating-point numbers".to_owned()))?;
        if numbers.iter().any(|x| !x.is_finite()) {
            return Err(fault("it holds a number that is not finite".to_owned()));
        }
        Ok(numbers)
    }

    /// Steps that were done, where it says it.
    pub fn steps(&self) -> Option<u64> {
        let Content::Pickled(pickled) = &self.content else { return None };
        match pickled.values.field(pickled.values.root, "global_step") {
            Some(Value::Int(steps)) => u64::try_from(steps).ok(),
            _ => None,
        }
    }

    /// Heads of the encoder, where the hyper-parameters say it.
    pub fn n_heads(&self) -> Option<usize> {
        let Content::Pickled(pickled) = &self.content else { return None };
        let all = pickled.values.field(pickled.values.root, "hyper_parameters")?;
        heads_of(&pickled.values, all, 0)
    }
}

/// `num_heads` of what is called `encoder`, wherever in the hyper-parameters.
fn heads_of(values: &Values, all: Value, depth: usize) -> Option<usize> {
    let of_encoder = values.field(all, "encoder").and_then(|encoder| values.field(encoder, "num_heads"));
    if let Some(Value::Int(n_heads)) = of_encoder {
        return usize::try_from(n_heads).ok();
    }
    if depth == MAX_DEPTH {
        return None;
    }
    // A dictionary may hold itself many times over: only the first dictionaries of each are looked at.
    let inner = values.fields(all).filter(|(_, value)| matches!(value, Value::Dict(_))).take(4);
    inner.into_iter().find_map(|(_, value)| heads_of(values, value, depth + 1))
}

/// An archive, and what its pickle made.
struct Pickled {
    archive: Archive,
    /// The folder in it that everything lies in.
    root: String,
    values: Values,
    /// Tensors by name.
    tensors: BTreeMap<String, usize>,
}

impl Pickled {
    fn open(file: File) -> Result<Self, String> {
        let archive = Archive::open(file)?;
        let root = archive.root()?;
        let name = format!("{root}data.pkl");
        let bytes = archive.len_of(&name).unwrap_or_default();
        if bytes > MAX_PICKLE_BYTES {
            return Err(format!("{name} has {bytes} bytes; at most {MAX_PICKLE_BYTES} are read"));
        }
        let order = format!("{root}byteorder");
        let is_big = archive
            .len_of(&order)
            .is_some_and(|bytes| archive.part(&order, 0, bytes.min(16)).is_ok_and(|order| order == b"big"));
        if is_big {
            return Err("its numbers are big-endian, which is not supported".to_owned());
        }
        let values = pickle::parse(archive.part(&name, 0, bytes)?)?;
        let of = values.field(values.root, "state_dict").unwrap_or(values.root);
        let named = values.fields(of).filter_map(|(name, value)| match value {
            Value::Tensor(index) => Some((name.to_owned(), index)),
            _ => None,
        });
        let tensors = named.collect();
        Ok(Self { archive, root, values, tensors })
    }

    fn described(&self) -> BTreeMap<String, Described> {
        let describe = |(name, &index): (&String, &usize)| {
            let tensor = &self.values.tensors[index];
            let kind = self.values.storages[tensor.storage].kind;
            let bytes = tensor.len().unwrap_or(u64::MAX).saturating_mul(kind.bytes());
            (name.clone(), Described { shape: tensor.shape.clone(), kind, bytes })
        };
        self.tensors.iter().map(describe).collect()
    }

    /// The bytes of a tensor, row-major.
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let index = self.tensors.get(name).ok_or("there is no such tensor")?;
        let tensor = &self.values.tensors[*index];
        let storage = &self.values.storages[tensor.storage];
        let each = storage.kind.bytes();
        let (from, bytes) = (tensor.offset.checked_mul(each), tensor.reach().and_then(|reach| reach.checked_mul(each)));
        let (Some(from), Some(bytes)) = (from, bytes) else { return Err("it is too long".to_owned()) };
        let entry = format!("{}data/{}", self.root, storage.key);
        let data = self.archive.part(&entry, from, bytes)?;
        Ok(if tensor.is_contiguous() { data } else { gathered(tensor, &data, each as usize) })
    }
}

/// The numbers of a view, one after the other; all of them are in `data`.
fn gathered(tensor: &Tensor, data: &[u8], each: usize) -> Vec<u8> {
    let n = tensor.len().unwrap_or_default();
    let mut all = Vec::new();
    for index in 0..n {
        let mut rest = index;
        let mut at = 0;
        for (&dim, &stride) in tensor.shape.iter().zip(&tensor.stride).rev() {
            at += (rest % dim as u64) * stride;
            rest /= dim as u64;
        }
        let at = at as usize * each;
        all.extend_from_slice(&data[at..at + each]);
    }
    all
}

fn pickled(path: &Path, file: File) -> Result<(Content, BTreeMap<String, Described>), ImportError> {
    let pickled = Pickled::open(file).map_err(|problem| ImportError::unreadable(path, problem))?;
    let described = pickled.described();
    Ok((Content::Pickled(Box::new(pickled)), described))
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
            Dtype::I64 => Kind::I64,
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
        Kind::I64 | Kind::Other => return None,
    })
}
