//! What a pickle may hold, and where it is kept: flat lists that values point into, so that no nesting, however deep or circular, is
//! ever followed by a call.

/// What a number of a storage is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    /// Other integers and truth values: no weights.
    Other,
}

impl Kind {
    /// By the name of a storage's class in `torch`.
    pub fn of_storage(class: &str) -> Self {
        match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::I64,
            _ => Self::Other,
        }
    }

    /// Bytes of one number; of others one, the least there is.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other => 1,
        }
    }
}

/// A piece of the pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub at: usize,
    pub len: usize,
}

/// A value; those that are indices point into [`Values`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Span),
    /// A class or function by its module and name. It is never looked up.
    Global(Span, Span),
    List(usize),
    Tuple(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    /// Whatever an unknown class or function would have made: nothing is known of it.
    Opaque,
}

/// Numbers in an entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub key: String,
    pub kind: Kind,
    pub len: u64,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    pub storage: usize,
    pub offset: u64,
    pub shape: Vec<usize>,
    pub stride: Vec<u64>,
}

impl Tensor {
    /// Numbers in it; `None` for more than can be counted.
    pub fn len(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |n, &dim| n.checked_mul(dim as u64))
    }

    /// Numbers of the storage from `offset` on that it reaches; `None` for more than can be counted.
    pub fn reach(&self) -> Option<u64> {
        if self.len()? == 0 {
            return Some(0);
        }
        let dims = self.shape.iter().zip(&self.stride);
        let last = dims.map(|(&dim, &stride)| (dim as u64 - 1).checked_mul(stride));
        last.into_iter().try_fold(1_u64, |sum, last| sum.checked_add(last?))
    }

    /// Whether its numbers lie one after the other.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(&dim, &stride)| {
            let fits = dim <= 1 || stride == expected;
            expected *= dim as u64;
            fits
        })
    }
}

/// Everything that a pickle made.
#[derive(Debug)]
pub(super) struct Values {
    /// The pickle itself, which texts are pieces of.
    pub bytes: Vec<u8>,
    pub root: Value,
    /// Lists and tuples.
    pub sequences: Vec<Vec<Value>>,
    pub dicts: Vec<Vec<(Value, Value)>>,
    pub storages: Vec<Storage>,
    pub tensors: Vec<Tensor>,
}

impl Values {
    /// A text, where it is one.
    pub fn text(&self, span: Span) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(span.at..span.at.checked_add(span.len)?)?).ok()
    }

    /// Keys that are texts with what stands under them, of a dictionary; none of anything else.
    pub fn fields(&self, value: Value) -> impl Iterator<Item = (&str, Value)> {
        let pairs = match value {
            Value::Dict(index) => &self.dicts[index][..],
            _ => &[],
        };
        pairs.iter().filter_map(|(key, value)| match key {
            Value::Text(span) => Some((self.text(*span)?, *value)),
            _ => None,
        })
    }

    /// What a dictionary has under `name`: of several the last, as in Python.
    pub fn field(&self, value: Value, name: &str) -> Option<Value> {
        self.fields(value).filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }
}
