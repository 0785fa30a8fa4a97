//! `decode`: encoded bytes to a waveform, pulled as it is needed.

use std::io::{BufReader, Read, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use ajepa_ops::decode::{AudioInfo, Channels, Decode, DecodeConfig, Decoder};
use ajepa_ops::{AudioRead, OpError};
use ajepa_store::{Opened, is_url};
use arrow::datatypes::DataType;
use twox_hash::XxHash3_128;

use crate::columns::{CarriedBytes, MediaPlace};
use crate::engine::MapCx;
use crate::row::{Cell, Row};
use crate::schema::{AudioType, ColumnType, Schema};
use crate::stage::{
    BuildCx, BuildError, ClipError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan,
};

/// Files up to this size are read in one go; larger ones are read as they are decoded.
const WHOLE_FILE_BYTES: u64 = 64 << 20;
/// Buffers up to this size are kept for the next file, so that its pages need not be faulted in again.
const KEPT_BYTES: usize = 16 << 20;

impl StageConfig for DecodeConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let given = inputs.first().cloned().unwrap_or_default();
        if !given.columns.iter().any(|column| column.kind == ColumnType::Media) {
            let problem = format!("it needs encoded audio, and is given {given}");
            return Err(PlanError::new(problem, "put it right behind a source of files"));
        }
        DecodeConfig::build(self)?;
        let channels = match self.channels {
            Channels::Mono => Some(1),
            Channels::All => None,
        };
        let audio = AudioType { rate_hz: None, channels, max_s: None };
        let output = given
            .without("media")
            .with("content_hash", ColumnType::Plain(DataType::FixedSizeBinary(16)))
            .with("audio", ColumnType::Audio(audio));
        Ok(StagePlan::new(StageKind::Map, output))
    }

    fn validate(&self) -> Result<(), PlanError> {
        DecodeConfig::build(self)?;
        Ok(())
    }

    fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::Map(Box::new(DecodeMap::new(DecodeConfig::build(self)?))))
    }
}

struct DecodeMap {
    decode: Decode,
    /// The file read last: segments of one long file follow each other in a manifest.
    last: Option<(MediaPlace, Encoded)>,
    /// The bytes read last: once no stream holds them, their buffer takes the next file.
    spare: Arc<Vec<u8>>,
}

impl DecodeMap {
    fn new(decode: Decode) -> Self {
        Self { decode, last: None, spare: Arc::default() }
    }

    fn open_file(&mut self, row: &mut Row, place: &MediaPlace) -> Result<Decoder, ClipError> {
        let file = MediaPlace { start_s: None, end_s: None, ..place.clone() };
        let encoded = self.encoded(&file)?;
        row.set("content_hash", Cell::Hash(encoded.hash));
        let hint = extension(row.str("source"), &place.path);
        let bytes = encoded.bytes.clone();
        self.last = place.start_s.is_some().then(|| (file.clone(), encoded));
        Ok(match bytes {
            Some(bytes) => self.decode.open_bytes(SharedBytes(bytes), &hint)?,
            None => self.decode.open(Box::new(BufReader::with_capacity(1 << 20, open(&file)?.reader)), &hint)?,
        })
    }

    /// Encoded audio that came with the row: the path only says what it is.
    fn open_carried(&self, row: &mut Row, place: &MediaPlace, bytes: CarriedBytes) -> Result<Decoder, ClipError> {
        row.set("content_hash", Cell::Hash(XxHash3_128::oneshot(bytes.as_ref()).to_be_bytes()));
        // The name of a member of a tar is in `source` alone.
        let source = if place.bytes.is_some() { row.str("source") } else { "" };
        let hint = extension(source, &place.path);
        Ok(self.decode.open_bytes(bytes, &hint)?)
    }

    /// The bytes of `file`, or the way to them.
    fn encoded(&mut self, file: &MediaPlace) -> Result<Encoded, ClipError> {
        if let Some((known, encoded)) = self.last.take()
            && known == *file
        {
            return Ok(encoded);
        }
        let mut bytes = Arc::try_unwrap(std::mem::take(&mut self.spare)).unwrap_or_default();
        let read = read(file, &mut bytes)?;
        let bytes = read.whole.then(|| Arc::new(bytes));
        if let Some(bytes) = bytes.as_ref().filter(|bytes| bytes.capacity() <= KEPT_BYTES) {
            self.spare = bytes.clone();
        }
        Ok(Encoded { bytes, hash: read.hash })
    }
}

/// The bytes of a file or member, or the way to them, and their hash.
#[derive(Clone)]
struct Encoded {
    bytes: Option<Arc<Vec<u8>>>,
    hash: [u8; 16],
}

impl Map for DecodeMap {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(Self::new(self.decode.clone()))
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let place = MediaPlace::of(&row).ok_or_else(|| ClipError::missing_column("media"))?;
        if let Some(fault) = &place.fault {
            let (reason, detail) = fault.split_once(": ").unwrap_or(("unusable", fault));
            return Err(ClipError::new(reason.to_owned(), detail).into());
        }
        let mut audio: Box<dyn AudioRead> = Box::new(match CarriedBytes::of(&row) {
            Some(bytes) => self.open_carried(&mut row, &place, bytes)?,
            None => self.open_file(&mut row, &place)?,
        });
        if place.start_s.is_some() || place.end_s.is_some() {
            audio = Box::new(Section::new(audio, place.start_s.unwrap_or(0.0), place.end_s)?);
        }
        row.set("offset_s", Cell::F64(place.start_s.unwrap_or(0.0)));
        if let Some(n) = audio.n_frames_left() {
            row.set("duration_s", Cell::F64(n as f64 / f64::from(audio.rate_hz())));
        }
        row.set("audio", Cell::Audio(cx.stream(audio)));
        cx.emit(row)
    }
}

/// The hint for the container: from the clip's name, which for a member of an archive is not the file's.
fn extension(source: &str, path: &str) -> String {
    let of = |name: &str| Path::new(name).extension().map(|ext| ext.to_string_lossy().to_ascii_lowercase());
    of(source).or_else(|| of(path)).unwrap_or_default()
}

/// Opens a regular file. A pipe would be waited for, a device might never end.
fn open(place: &MediaPlace) -> Result<Opened, ClipError> {
    let path = Path::new(&place.path);
    if !is_url(path) {
        let about = std::fs::metadata(path).map_err(|error| unreadable(&error, place))?;
        if !about.is_file() {
            let kind = if about.is_dir() { "a folder" } else { "a pipe or a device" };
            return Err(ClipError::new("not_a_file", format!("{} is {kind}, not a file", place.path)));
        }
    }
    ajepa_store::open(path).map_err(|error| unreadable(&error, place))
}

fn unreadable(error: &std::io::Error, place: &MediaPlace) -> ClipError {
    let code = if error.kind() == std::io::ErrorKind::NotFound { "missing" } else { "io" };
    ClipError::new(code, format!("{}: {error}", place.path))
}

/// What was read.
struct Hashed {
    hash: [u8; 16],
    /// Whether the buffer holds all of it.
    whole: bool,
}

/// Hashes the bytes, and reads them into `buffer` when they are few.
fn read(place: &MediaPlace, buffer: &mut Vec<u8>) -> Result<Hashed, ClipError> {
    let io = |error: std::io::Error| unreadable(&error, place);
    let Opened { len: size, reader: mut file } = open(place)?;
    let (offset, len) = place.bytes.unwrap_or((0, size));
    if offset.checked_add(len).is_none_or(|end| end > size) {
        let detail = format!("{} ends before byte {} of the member", place.path, offset.saturating_add(len));
        return Err(ClipError::new("truncated", detail));
    }
    if offset > 0 {
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
    }
    if len <= WHOLE_FILE_BYTES {
        // Not into zeros: they would be written only to be written over.
        buffer.clear();
        buffer.reserve_exact(len as usize);
        file.take(len).read_to_end(buffer).map_err(io)?;
        if (buffer.len() as u64) < len {
            return Err(ClipError::new("truncated", format!("{} shrank while it was read", place.path)));
        }
        return Ok(Hashed { hash: XxHash3_128::oneshot(buffer).to_be_bytes(), whole: true });
    }
    if place.bytes.is_some() {
        let detail = format!("a member of {len} bytes; unpack it, or keep members under {WHOLE_FILE_BYTES} bytes");
        return Err(ClipError::new("too_large", detail));
    }
    let mut hasher = XxHash3_128::new();
    buffer.resize(1 << 20, 0);
    loop {
        match file.read(buffer).map_err(io)? {
            0 => break,
            n => hasher.write(&buffer[..n]),
        }
    }
    Ok(Hashed { hash: hasher.finish_128().to_be_bytes(), whole: false })
}

/// Bytes that several readers share.
struct SharedBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// From one second to another of a stream.
struct Section {
    inner: Box<dyn AudioRead>,
    left: Option<u64>,
}

impl Section {
    fn new(mut inner: Box<dyn AudioRead>, start_s: f64, end_s: Option<f64>) -> Result<Self, OpError> {
        let frames = |seconds: f64| (seconds * f64::from(inner.rate_hz())).round() as u64;
        let (start, end) = (frames(start_s), end_s.map(frames));
        let skipped = inner.skip(start)?;
        if skipped < start {
            let rate_hz = f64::from(inner.rate_hz());
            let detail =
                format!("the segment starts at {start_s} s, the clip ends at {:.3} s", skipped as f64 / rate_hz);
            return Err(OpError::Truncated { detail });
        }
        Ok(Self { inner, left: end.map(|end| end.saturating_sub(start)) })
    }
}

impl AudioRead for Section {
    fn rate_hz(&self) -> u32 {
        self.inner.rate_hz()
    }

    fn channels(&self) -> usize {
        self.inner.channels()
    }

    fn n_frames_left(&self) -> Option<u64> {
        let inner = self.inner.n_frames_left()?;
        Some(self.left.map_or(inner, |left| left.min(inner)))
    }

    fn info(&self) -> Option<&AudioInfo> {
        self.inner.info()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        let channels = self.channels();
        let wanted = self.left.map_or(out.len(), |left| out.len().min((left as usize).saturating_mul(channels)));
        let got = self.inner.read(&mut out[..wanted])?;
        self.left = self.left.map(|left| left - got as u64);
        Ok(got)
    }
}
