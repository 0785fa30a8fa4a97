//! Values of options that have a form of their own, each with a message that says what would fit.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// A number of things of which there must be one.
pub(super) fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "it must be a whole number, at least 1".to_owned())
}

/// A size with its unit.
pub(super) fn size_bytes(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>().ok().filter(|_| text.ends_with(|c: char| c.is_ascii_alphabetic()));
    let size = size.ok_or("it must be a size with its unit: 4GiB, 512MiB")?;
    if size < bytesize::ByteSize::mib(1) { Err("it must be 1MiB or more".to_owned()) } else { Ok(size.as_u64()) }
}

/// A length of time that is more than nothing.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|s| s.is_finite() && *s > 0.0);
    found.ok_or_else(|| "it must be a number of seconds, more than 0".to_owned())
}

/// A folder of this machine or of an object store.
pub(super) fn place(text: &str) -> Result<PathBuf, String> {
    let place = ajepa_store::plain(Path::new(text)).map_err(|error| error.to_string())?;
    ajepa_store::check(&place).map(|()| place).map_err(|error| error.to_string())
}

/// A limit of time with its unit, or 0 for none.
pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    let limit =
        || if text == "0" { Some(Duration::ZERO) } else { text.parse::<jiff::SignedDuration>().ok()?.try_into().ok() };
    limit().ok_or_else(|| "it must be a time with its unit: 90s, 30m, 1h30m; 0 for none".to_owned())
}

/// A level below full scale.
pub(super) fn decibels(text: &str) -> Result<f32, String> {
    let found = text.parse::<f32>().ok().filter(|db| (-200.0..=0.0).contains(db));
    found.ok_or_else(|| "it must be a number of decibels, -200 to 0".to_owned())
}

/// A share of bits that may differ, below that of sounds that are not alike.
pub(super) fn bit_error(text: &str) -> Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|share| (0.0..0.5).contains(share));
    found.ok_or_else(|| "it must be a share, 0 to below 0.5; unlike sounds differ in 0.5".to_owned())
}

/// A Parquet file, by its extension.
pub(super) fn parquet_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("parquet" | "pq") => Ok(path),
        _ => Err("it must end in .parquet".to_owned()),
    }
}

/// A file of embeddings, by its extension.
pub(super) fn embeddings_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("parquet" | "pq" | "npy") => Ok(path),
        _ => Err("it must end in .parquet or .npy".to_owned()),
    }
}

/// `--set stages.mel.n_mels=96`: where in the YAML, and what to put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The path's segments, none of them empty.
    pub path: Vec<String>,
    /// The value, as YAML text; never empty.
    pub value: String,
}

impl std::fmt::Display for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.path.join("."), self.value)
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write it like stages.mel.n_mels=96";
        let (key, value) = text.split_once('=').ok_or_else(|| format!("no `=` in it: {example}"))?;
        let path: Vec<String> = key.split('.').map(|segment| segment.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("the key {key:?} has an empty segment: {example}"));
        }
        if value.trim().is_empty() {
            return Err(format!("no value after the `=`: {example}; write `null` for none"));
        }
        Ok(Self { path, value: value.trim().to_owned() })
    }
}

/// `--part 3/8`: which share of the units this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which one, counted from 0 (the command line counts from 1).
    pub index: usize,
    /// Of how many; more than `index`.
    pub of: usize,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it I/N, like 3/8 for the third of eight";
        let (part, of) = text.split_once('/').ok_or_else(|| format!("no `/` in it: {form}"))?;
        let number =
            |word: &str| word.trim().parse::<usize>().map_err(|_| format!("{word:?} is no whole number: {form}"));
        let (part, of) = (number(part)?, number(of)?);
        if of == 0 {
            return Err(format!("there are no parts of zero: {form}"));
        }
        if part == 0 {
            return Err(format!("parts are counted from 1: use 1/{of} to {of}/{of}"));
        }
        if part > of {
            return Err(format!("there is no part {part} of {of}: use 1/{of} to {of}/{of}"));
        }
        Ok(Self { index: part - 1, of })
    }
}

/// `--patch 16x16`: the size of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchSize {
    /// Frames of one patch.
    pub frames: usize,
    /// Mel bins of one patch.
    pub mels: usize,
}

impl FromStr for PatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it FxM, like 16x16: frames, then mel bins, both at least 1";
        let (frames, mels) = text.split_once('x').ok_or_else(|| form.to_owned())?;
        let number = |word: &str| word.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| form.to_owned());
        Ok(Self { frames: number(frames)?, mels: number(mels)? })
    }
}

/// `--report run.html`: a file, and what to write into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// The file.
    pub path: PathBuf,
    /// By its extension.
    pub format: ReportFormat,
}

/// What a report file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// A page for people.
    Html,
    /// [`RunReport`](crate::report::RunReport) as JSON.
    Json,
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let format = match extension.as_str() {
            "html" | "htm" => ReportFormat::Html,
            "json" => ReportFormat::Json,
            _ => return Err("its name must end in .html (a page) or .json (data)".to_owned()),
        };
        Ok(Self { path, format })
    }
}

/// `--into train=0.9,valid=0.1`: names and shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(pub Vec<(String, f64)>);

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write it like train=0.9,valid=0.1";
        let one = |part: &str| {
            let (name, share) = part.split_once('=').ok_or_else(|| format!("{part:?} has no `=`: {example}"))?;
            let share = share.trim().parse::<f64>().ok().filter(|share| share.is_finite() && *share > 0.0);
            let share = share.ok_or_else(|| format!("the share of {name:?} is no number above 0: {example}"))?;
            Ok((name.trim().to_owned(), share))
        };
        text.split(',').map(one).collect::<Result<_, String>>().map(Self)
    }
}
