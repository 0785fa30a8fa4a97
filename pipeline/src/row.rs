//! One row inside a chain of Map stages: carried columns stay in the Arrow batch they came in, new values lie over them.

use std::borrow::Cow;
use std::sync::Arc;

use ajepa_ops::{AudioRead, MemoryAudio};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, UInt16Type, UInt32Type, UInt64Type};

use crate::stage::ClipError;

/// A value that a stage has put into a row.
pub enum Cell {
    /// A waveform, pulled or in memory.
    Audio(Audio),
    /// The numbers of a tensor column, row-major, in the shape that the schema declares.
    Tensor(Vec<f32>),
    /// A text.
    Str(String),
    /// A list of texts.
    Strs(Vec<String>),
    /// A double.
    F64(f64),
    /// A single.
    F32(f32),
    /// An unsigned 32-bit number.
    U32(u32),
    /// An unsigned 64-bit number.
    U64(u64),
    /// A truth value.
    Bool(bool),
    /// A list of unsigned numbers, such as token indices.
    U32s(Vec<u32>),
    /// Sixteen bytes, such as a content hash.
    Hash([u8; 16]),
}

/// A waveform in a row.
pub enum Audio {
    /// Still to be decoded: nothing is held but the decoder's own state.
    Stream(Box<dyn AudioRead>),
    /// In memory.
    Samples(Samples),
}

/// Interleaved samples in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Interleaved values in [-1, 1].
    pub values: Vec<f32>,
    /// Frames per second.
    pub rate_hz: u32,
    /// Interleaved channels.
    pub channels: usize,
}

impl Samples {
    /// Length in seconds.
    pub fn duration_s(&self) -> f64 {
        self.values.len() as f64 / self.channels.max(1) as f64 / f64::from(self.rate_hz.max(1))
    }
}

impl Audio {
    /// Frames per second.
    pub fn rate_hz(&self) -> u32 {
        match self {
            Self::Stream(stream) => stream.rate_hz(),
            Self::Samples(samples) => samples.rate_hz,
        }
    }

    /// Interleaved channels.
    pub fn channels(&self) -> usize {
        match self {
            Self::Stream(stream) => stream.channels(),
            Self::Samples(samples) => samples.channels,
        }
    }

    /// As a stream, whichever it is.
    pub fn into_stream(self) -> Box<dyn AudioRead> {
        match self {
            Self::Stream(stream) => stream,
            Self::Samples(s) => Box::new(MemoryAudio::new(s.values, s.rate_hz, s.channels)),
        }
    }

    /// All samples in memory, in `buffer` where a stream must be read.
    ///
    /// # Errors
    /// `too_long` beyond `max_frames`; whatever the decoder says.
    pub fn into_samples(self, mut buffer: Vec<f32>, max_frames: u64) -> Result<Samples, ClipError> {
        match self {
            Self::Samples(samples) => Ok(samples),
            Self::Stream(mut stream) => {
                buffer.clear();
                stream.read_to_end(&mut buffer, max_frames)?;
                Ok(Samples { values: buffer, rate_hz: stream.rate_hz(), channels: stream.channels() })
            }
        }
    }
}

/// One clip, or one window of a clip, on its way through a chain.
pub struct Row {
    origin: Arc<RecordBatch>,
    index: usize,
    cells: Vec<(Cow<'static, str>, Cell)>,
}

impl Row {
    /// Row `index` of `origin`, with nothing laid over it.
    ///
    /// # Panics
    /// When `index` is not a row of `origin`.
    pub fn new(origin: Arc<RecordBatch>, index: usize) -> Self {
        assert!(index < origin.num_rows(), "row {index} of {}", origin.num_rows());
        Self { origin, index, cells: Vec::new() }
    }

    /// Another row with the same carried columns and copies of the plain cells: a second window of one clip.
    /// Audio and tensors stay with `self`.
    #[must_use]
    pub fn sibling(&self) -> Self {
        let plain = |(name, cell): &(Cow<'static, str>, Cell)| cell.try_clone().map(|cell| (name.clone(), cell));
        Self { origin: self.origin.clone(), index: self.index, cells: self.cells.iter().filter_map(plain).collect() }
    }

    /// The batch whose columns this row carries, and the row's place in it.
    pub fn origin(&self) -> (&RecordBatch, usize) {
        (&self.origin, self.index)
    }

    /// Lays `cell` over the column `name`.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, cell: Cell) {
        let name = name.into();
        match self.cells.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = cell,
            None => self.cells.push((name, cell)),
        }
    }

    /// The cell laid over the column, if any.
    pub fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|(n, _)| n == name).map(|(_, cell)| cell)
    }

    /// The cell to work on in place.
    pub fn cell_mut(&mut self, name: &str) -> Option<&mut Cell> {
        self.cells.iter_mut().find(|(n, _)| n == name).map(|(_, cell)| cell)
    }

    /// Removes and returns the cell laid over the column.
    pub fn take(&mut self, name: &str) -> Option<Cell> {
        let at = self.cells.iter().position(|(n, _)| n == name)?;
        Some(self.cells.swap_remove(at).1)
    }

    /// Text in a column; empty when absent or null.
    pub fn str(&self, name: &str) -> &str {
        if let Some(Cell::Str(text)) = self.cell(name) {
            return text;
        }
        self.carried(name).and_then(|c| c.as_string_opt::<i32>()).map_or("", |texts| texts.value(self.index))
    }

    /// Number in a column; `None` when absent, null or not a number.
    pub fn f64(&self, name: &str) -> Option<f64> {
        if let Some(Cell::F64(value)) = self.cell(name) {
            return Some(*value);
        }
        self.carried(name)?.as_primitive_opt::<Float64Type>().map(|values| values.value(self.index))
    }

    /// Unsigned number in a column.
    pub fn u32(&self, name: &str) -> Option<u32> {
        if let Some(Cell::U32(value)) = self.cell(name) {
            return Some(*value);
        }
        self.carried(name)?.as_primitive_opt::<UInt32Type>().map(|values| values.value(self.index))
    }

    /// Unsigned 64-bit number in a column.
    pub fn u64(&self, name: &str) -> Option<u64> {
        if let Some(Cell::U64(value)) = self.cell(name) {
            return Some(*value);
        }
        self.carried(name)?.as_primitive_opt::<UInt64Type>().map(|values| values.value(self.index))
    }

    /// The labels that the row carries.
    pub fn labels(&self) -> Vec<String> {
        let list = self.carried("labels").and_then(|labels| labels.as_list_opt::<i32>());
        let list = list.map(|lists| lists.value(self.index));
        let texts = list.as_ref().and_then(|list| list.as_string_opt::<i32>());
        texts.map_or_else(Vec::new, |texts| texts.iter().flatten().map(str::to_owned).collect())
    }

    /// The carried Arrow column, when it is there and this row's value is not null.
    pub fn carried(&self, name: &str) -> Option<&dyn Array> {
        let column = self.origin.column_by_name(name)?;
        column.is_valid(self.index).then_some(column.as_ref())
    }

    /// Takes the waveform: the cell, or a copy of what an edge carries.
    ///
    /// # Errors
    /// `missing_column` when the row has no audio.
    pub fn take_audio(&mut self) -> Result<Audio, ClipError> {
        if let Some(Cell::Audio(audio)) = self.take("audio") {
            return Ok(audio);
        }
        self.carried_samples().map(Audio::Samples).ok_or_else(|| ClipError::missing_column("audio"))
    }

    fn carried_samples(&self) -> Option<Samples> {
        let audio = self.carried("audio")?.as_struct_opt()?;
        let values = audio.column_by_name("samples")?.as_list_opt::<i64>()?.value(self.index);
        Some(Samples {
            values: values.as_primitive_opt::<Float32Type>()?.values().to_vec(),
            rate_hz: audio.column_by_name("rate_hz")?.as_primitive_opt::<UInt32Type>()?.value(self.index),
            channels: audio.column_by_name("channels")?.as_primitive_opt::<UInt16Type>()?.value(self.index).into(),
        })
    }

    /// Takes the tensor column `name` as `f32`: the cell, or a copy of what an edge carries (widened from f16).
    ///
    /// # Errors
    /// `missing_column` when the row has no such tensor.
    pub fn take_tensor(&mut self, name: &str) -> Result<Vec<f32>, ClipError> {
        if let Some(Cell::Tensor(values)) = self.take(name) {
            return Ok(values);
        }
        self.carried(name)
            .and_then(|column| column.as_fixed_size_list_opt())
            .and_then(|list| crate::columns::tensor_values(list.value(self.index).as_ref()))
            .ok_or_else(|| ClipError::missing_column(name))
    }

    pub(crate) fn into_cells(self) -> (usize, Vec<(Cow<'static, str>, Cell)>) {
        (self.index, self.cells)
    }
}

impl Cell {
    fn try_clone(&self) -> Option<Self> {
        Some(match self {
            Self::Audio(_) | Self::Tensor(_) => return None,
            Self::Str(text) => Self::Str(text.clone()),
            Self::Strs(texts) => Self::Strs(texts.clone()),
            Self::F64(value) => Self::F64(*value),
            Self::F32(value) => Self::F32(*value),
            Self::U32(value) => Self::U32(*value),
            Self::U64(value) => Self::U64(*value),
            Self::Bool(value) => Self::Bool(*value),
            Self::U32s(values) => Self::U32s(values.clone()),
            Self::Hash(bytes) => Self::Hash(*bytes),
        })
    }
}
