//! The media column: where encoded audio lies, or the bytes themselves.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, StringArray, StructArray, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, UInt64Type};

use crate::row::Row;
use crate::stage::StageError;

/// Fields of the struct behind a media column.
pub fn media_fields() -> Fields {
    Fields::from(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("byte_offset", DataType::UInt64, true),
        Field::new("byte_len", DataType::UInt64, true),
        Field::new("start_s", DataType::Float64, true),
        Field::new("end_s", DataType::Float64, true),
        Field::new("fault", DataType::Utf8, true),
        Field::new("bytes", DataType::Binary, true),
    ])
}

/// A media column: one entry per row, whose bytes lie elsewhere.
///
/// # Errors
/// Only if the lengths differ.
pub fn media_array(places: &[MediaPlace]) -> Result<ArrayRef, StageError> {
    media_with_bytes(places, new_null_array(&DataType::Binary, places.len()))
}

/// A media column that carries the encoded bytes itself where `bytes` has some.
///
/// # Errors
/// Only if the lengths or types differ.
pub fn media_with_bytes(places: &[MediaPlace], bytes: ArrayRef) -> Result<ArrayRef, StageError> {
    let paths: StringArray = places.iter().map(|p| Some(p.path.as_str())).collect();
    let offsets: UInt64Array = places.iter().map(|p| p.bytes.map(|(at, _)| at)).collect();
    let lens: UInt64Array = places.iter().map(|p| p.bytes.map(|(_, len)| len)).collect();
    let starts: Float64Array = places.iter().map(|p| p.start_s).collect();
    let ends: Float64Array = places.iter().map(|p| p.end_s).collect();
    let faults: StringArray = places.iter().map(|p| p.fault.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(paths),
        Arc::new(offsets),
        Arc::new(lens),
        Arc::new(starts),
        Arc::new(ends),
        Arc::new(faults),
        bytes,
    ];
    Ok(Arc::new(StructArray::try_new(media_fields(), columns, None)?))
}

/// Where encoded audio lies: a file, or a range of bytes in one, and the part of the clip that is wanted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MediaPlace {
    /// The file.
    pub path: String,
    /// Offset and length of the member, when the file is an archive.
    pub bytes: Option<(u64, u64)>,
    /// First second wanted; the start when `None`.
    pub start_s: Option<f64>,
    /// Last second wanted; the end when `None`.
    pub end_s: Option<f64>,
    /// Why there is nothing to be opened, as `reason: detail`: the list knows already that this clip cannot be used.
    pub fault: Option<String>,
}

/// Encoded audio that a row carries itself: shared, not copied.
#[derive(Debug, Clone)]
pub struct CarriedBytes {
    column: BinaryArray,
    row: usize,
}

impl CarriedBytes {
    /// Those of the row, where it has some.
    pub fn of(row: &Row) -> Option<Self> {
        let (_, i) = row.origin();
        let column = row.carried("media")?.as_struct_opt()?.column_by_name("bytes")?.as_binary_opt::<i32>()?;
        column.is_valid(i).then(|| Self { column: column.clone(), row: i })
    }
}

impl AsRef<[u8]> for CarriedBytes {
    fn as_ref(&self) -> &[u8] {
        self.column.value(self.row)
    }
}

impl MediaPlace {
    /// Bytes of the encoded audio, where they can be counted.
    pub fn n_bytes(&self, row: &Row) -> Option<u64> {
        let carried = || CarriedBytes::of(row).map(|bytes| bytes.as_ref().len() as u64);
        let member = self.bytes.map(|(_, len)| len).or_else(carried);
        member.or_else(|| std::fs::metadata(&self.path).ok().map(|about| about.len()))
    }

    /// Reads the place of a row back from its media column.
    pub fn of(row: &Row) -> Option<Self> {
        let (_, i) = row.origin();
        let media = row.carried("media")?.as_struct_opt()?;
        let u64_at = |name: &str| {
            let column = media.column_by_name(name)?.as_primitive_opt::<UInt64Type>()?;
            column.is_valid(i).then(|| column.value(i))
        };
        let f64_at = |name: &str| {
            let column = media.column_by_name(name)?.as_primitive_opt::<Float64Type>()?;
            column.is_valid(i).then(|| column.value(i))
        };
        let faults = media.column_by_name("fault").and_then(|column| column.as_string_opt::<i32>());
        Some(Self {
            path: media.column_by_name("path")?.as_string_opt::<i32>()?.value(i).to_owned(),
            bytes: u64_at("byte_offset").zip(u64_at("byte_len")),
            start_s: f64_at("start_s"),
            end_s: f64_at("end_s"),
            fault: faults.filter(|faults| faults.is_valid(i)).map(|faults| faults.value(i).to_owned()),
        })
    }
}
