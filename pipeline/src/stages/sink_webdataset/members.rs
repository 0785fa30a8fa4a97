//! Bytes of the members: WAV, .npy, JSON.

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Float16Type, Float32Type, UInt16Type, UInt32Type};
use arrow::json::LineDelimitedWriter;

use super::SampleFormat;
use crate::schema::{ColumnType, Dtype, Schema, TensorType};
use crate::stage::StageError;

/// RIFF/WAVE of the waveform in `row` of an audio column; 32-bit floats have format tag 3 and a `fact` chunk.
pub fn wav(audio: &StructArray, row: usize, format: SampleFormat) -> Result<Vec<u8>, StageError> {
    let lost = || StageError::Other("an audio column is not as it was planned".to_owned());
    let samples = audio.column_by_name("samples").and_then(|c| c.as_list_opt::<i64>()).ok_or_else(lost)?.value(row);
    let samples = samples.as_primitive_opt::<Float32Type>().ok_or_else(lost)?.values();
    let rate_hz = audio.column_by_name("rate_hz").and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or_else(lost)?;
    let channels =
        audio.column_by_name("channels").and_then(|c| c.as_primitive_opt::<UInt16Type>()).ok_or_else(lost)?;
    let (rate_hz, channels) = (rate_hz.value(row), channels.value(row));
    let (tag, width) = match format {
        SampleFormat::Int16 => (1_u16, 2_u16),
        SampleFormat::Float32 => (3, 4),
    };
    let too_long =
        |_| StageError::Other("a clip of 4 GiB does not fit into a WAV file: crop before this sink".to_owned());
    let data_len = u32::try_from(samples.len() * usize::from(width)).map_err(too_long)?;
    let riff_len = u32::try_from(u64::from(data_len) + 50).map_err(too_long)?;
    let frame_len = channels.saturating_mul(width);
    let mut bytes = Vec::with_capacity(data_len as usize + 58);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(if tag == 3 { riff_len } else { riff_len - 14 }).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt ");
    bytes.extend_from_slice(&(if tag == 3 { 18_u32 } else { 16 }).to_le_bytes());
    bytes.extend_from_slice(&tag.to_le_bytes());
    bytes.extend_from_slice(&channels.to_le_bytes());
    bytes.extend_from_slice(&rate_hz.to_le_bytes());
    bytes.extend_from_slice(&rate_hz.saturating_mul(u32::from(frame_len)).to_le_bytes());
    bytes.extend_from_slice(&frame_len.to_le_bytes());
    bytes.extend_from_slice(&(width * 8).to_le_bytes());
    if tag == 3 {
        let n_frames = samples.len() as u32 / u32::from(channels.max(1));
        bytes.extend_from_slice(&0_u16.to_le_bytes());
        bytes.extend_from_slice(b"fact");
        bytes.extend_from_slice(&4_u32.to_le_bytes());
        bytes.extend_from_slice(&n_frames.to_le_bytes());
    }
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&data_len.to_le_bytes());
    match format {
        SampleFormat::Int16 => {
            // `as` saturates: +1.0 becomes 32767.
            samples.iter().for_each(|&x| bytes.extend_from_slice(&((x * 32_768.0).round() as i16).to_le_bytes()));
        }
        SampleFormat::Float32 => samples.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
    }
    Ok(bytes)
}

/// `NumPy`'s format, version 1.0: magic, a header of a multiple of 64 bytes, the numbers in C order.
pub fn npy(tensor: &TensorType, values: &dyn Array) -> Result<Vec<u8>, StageError> {
    let dims: Vec<String> = tensor.shape.iter().map(|n| format!("{n},")).collect();
    let descr = match tensor.dtype {
        Dtype::F16 => "<f2",
        Dtype::F32 => "<f4",
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", dims.join(" "));
    let padded = (10 + header.len() + 1).next_multiple_of(64);
    header.push_str(&" ".repeat(padded - 10 - header.len() - 1));
    header.push('\n');
    let mut bytes = Vec::with_capacity(padded + tensor.n_values() * tensor.dtype.size_bytes());
    bytes.extend_from_slice(b"\x93NUMPY\x01\x00");
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    if let Some(halves) = values.as_primitive_opt::<Float16Type>().filter(|_| tensor.dtype == Dtype::F16) {
        halves.values().iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
    } else if let Some(singles) = values.as_primitive_opt::<Float32Type>().filter(|_| tensor.dtype == Dtype::F32) {
        singles.values().iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
    } else {
        return Err(StageError::Other(format!("a tensor of {:?} where {tensor} was planned", values.data_type())));
    }
    Ok(bytes)
}

/// A JSON object per row, of all columns but encoded audio, waveforms and tensors; nulls are left out.
pub fn json_lines(rows: &RecordBatch, schema: &Schema) -> Result<Vec<String>, StageError> {
    let is_plain = |name: &str| schema.get(name).is_none_or(|column| matches!(column.kind, ColumnType::Plain(_)));
    let fields = rows.schema_ref().fields().iter().enumerate();
    let plain: Vec<usize> = fields.filter(|(_, field)| is_plain(field.name())).map(|(at, _)| at).collect();
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(&rows.project(&plain)?)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).map_err(|error| StageError::Other(error.to_string()))?;
    Ok(text.lines().map(str::to_owned).collect())
}
