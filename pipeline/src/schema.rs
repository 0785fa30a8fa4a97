//! What travels on an edge: named columns with audio types, known before anything runs.

use std::fmt;

use arrow::datatypes::{DataType, Field};

/// The sample type of a tensor column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// IEEE 754 half: 11 bits of precision, enough for log-mel (|x| < 32, step <= 2^-6 at 16..32).
    F16,
    /// IEEE 754 single.
    F32,
}

impl Dtype {
    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// A waveform column. `None` means "as the file has it, known only when it is opened".
#[derive(Debug, Clone, PartialEq)]
pub struct AudioType {
    /// Frames per second.
    pub rate_hz: Option<u32>,
    /// Interleaved channels.
    pub channels: Option<u16>,
    /// Longest clip in seconds, if something bounds it.
    pub max_s: Option<f64>,
}

/// A dense tensor of one fixed shape per row.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorType {
    /// Type of one number as stored on the edge.
    pub dtype: Dtype,
    /// Lengths, outermost first.
    pub shape: Vec<usize>,
    /// A name per axis (`frames`, `mels`, `tokens`, `values`).
    pub axes: Vec<String>,
    /// How the picture came to be: whatever the front end says of itself, as JSON; compared for equality, written into manifests.
    pub front_end: serde_json::Value,
}

impl TensorType {
    /// Numbers in one row.
    pub fn n_values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What one column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnType {
    /// Where encoded audio lies; see [`crate::columns::MediaPlace`].
    Media,
    /// A waveform.
    Audio(AudioType),
    /// A picture, tokens, an embedding.
    Tensor(TensorType),
    /// Anything else, by its Arrow type.
    Plain(DataType),
}

/// One named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Unique within a schema.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
}

/// The columns of an edge, in order.
///
/// A source may bring columns that only its files name (`extra = true`): they travel along behind these.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// The columns every stage may rely on.
    pub columns: Vec<Column>,
    /// Whether further columns of a manifest travel along.
    pub extra: bool,
}

impl Schema {
    /// The columns every source of encoded audio gives.
    pub fn of_media(extra: bool) -> Self {
        let utf8 = || ColumnType::Plain(DataType::Utf8);
        Self { columns: Vec::new(), extra }
            .with("clip_id", utf8())
            .with("source", utf8())
            .with("offset_s", ColumnType::Plain(DataType::Float64))
            .with("duration_s", ColumnType::Plain(DataType::Float64))
            .with("labels", ColumnType::Plain(list_of_utf8()))
            .with("media", ColumnType::Media)
    }

    /// The column of that name.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// With the column added, or replaced where it stands.
    #[must_use]
    pub fn with(mut self, name: &str, kind: ColumnType) -> Self {
        match self.columns.iter_mut().find(|c| c.name == name) {
            Some(column) => column.kind = kind,
            None => self.columns.push(Column { name: name.to_owned(), kind }),
        }
        self
    }

    /// Without the column.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.columns.retain(|c| c.name != name);
        self
    }

    /// The waveform column `audio`, if there is one.
    pub fn audio(&self) -> Option<&AudioType> {
        self.columns.iter().find_map(|c| match &c.kind {
            ColumnType::Audio(audio) => Some(audio),
            _ => None,
        })
    }

    /// The tensor column of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorType> {
        match self.get(name)?.kind {
            ColumnType::Tensor(ref tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Bytes that one row takes on this edge, as far as the schema says: the plan's estimate, not a bound.
    pub fn row_bytes(&self) -> usize {
        let cell = |column: &Column| match &column.kind {
            ColumnType::Media => 96,
            ColumnType::Audio(audio) => {
                let samples_per_s = audio.rate_hz.unwrap_or(48_000) as usize * audio.channels.unwrap_or(1) as usize;
                (samples_per_s as f64 * audio.max_s.unwrap_or(10.0)) as usize * 4
            }
            ColumnType::Tensor(tensor) => tensor.n_values() * tensor.dtype.size_bytes(),
            ColumnType::Plain(_) => 24,
        };
        self.columns.iter().map(cell).sum()
    }
}

/// `list<utf8>`, the type of `labels`.
pub fn list_of_utf8() -> DataType {
    DataType::List(std::sync::Arc::new(Field::new("item", DataType::Utf8, true)))
}

impl fmt::Display for Schema {
    /// `clip_id utf8, audio f32[32000 Hz, mono], mel f16[512 frames x 96 mels]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, column) in self.columns.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", column.name, column.kind)?;
        }
        if self.extra { f.write_str(", + manifest columns") } else { Ok(()) }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Media => f.write_str("encoded audio"),
            Self::Audio(audio) => audio.fmt(f),
            Self::Tensor(tensor) => tensor.fmt(f),
            Self::Plain(DataType::List(item)) => write!(f, "list<{}>", plain_name(item.data_type())),
            Self::Plain(kind) => f.write_str(&plain_name(kind)),
        }
    }
}

impl fmt::Display for AudioType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate_hz {
            Some(rate_hz) => write!(f, "f32[{rate_hz} Hz")?,
            None => f.write_str("f32[rate of the file")?,
        }
        match self.channels {
            Some(1) => f.write_str(", mono")?,
            Some(n) => write!(f, ", {n} channels")?,
            None => f.write_str(", channels of the file")?,
        }
        match self.max_s {
            Some(max_s) => write!(f, ", <= {max_s} s]"),
            None => f.write_str("]"),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtype = if self.dtype == Dtype::F16 { "f16" } else { "f32" };
        let dims: Vec<String> = self.shape.iter().zip(&self.axes).map(|(n, axis)| format!("{n} {axis}")).collect();
        write!(f, "{dtype}[{}]", dims.join(" x "))
    }
}

fn plain_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "utf8".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_person_would_write_it() {
        let schema = Schema { columns: Vec::new(), extra: true }
            .with("audio", ColumnType::Audio(AudioType { rate_hz: Some(32_000), channels: Some(1), max_s: Some(10.0) }))
            .with("labels", ColumnType::Plain(list_of_utf8()));
        assert_eq!(schema.to_string(), "audio f32[32000 Hz, mono, <= 10 s], labels list<utf8>, + manifest columns");
        assert_eq!(schema.row_bytes(), 32_000 * 10 * 4 + 24);
    }
}
