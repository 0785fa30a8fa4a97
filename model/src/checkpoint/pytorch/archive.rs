//! The zip archive that `torch.save` writes: entries that lie in it as they are, found by the directory at its end.
//!
//! Nothing is unpacked (`torch.save` compresses nothing; a bomb does), nothing is written anywhere, and every place and length is
//! compared with the file before memory is taken.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The directory's end: 22 bytes and a comment of at most 65,535.
const END_BYTES: u64 = 22;
const MAX_TAIL_BYTES: u64 = END_BYTES + 65_535;

/// Largest directory that is read; one entry takes some 80 bytes.
const MAX_DIRECTORY_BYTES: u64 = 32 << 20;

/// An opened archive.
pub(super) struct Archive {
    file: File,
    file_bytes: u64,
    entries: BTreeMap<String, Entry>,
}

/// A piece of the file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    header_at: u64,
    bytes: u64,
    /// 0 where `torch.save` was told not to compute it.
    crc: u32,
}

impl Archive {
    pub fn open(file: File) -> Result<Self, String> {
        let file_bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let mut archive = Self { file, file_bytes, entries: BTreeMap::new() };
        let (at, bytes) = archive.find_directory()?;
        let directory = archive.read(at, bytes.min(MAX_DIRECTORY_BYTES + 1))?;
        if bytes > MAX_DIRECTORY_BYTES {
            return Err(format!("its directory has {bytes} bytes; at most {MAX_DIRECTORY_BYTES} are read"));
        }
        archive.entries = entries(&directory)?;
        Ok(archive)
    }

    /// The folder that `data.pkl` lies in, with the slash behind it.
    pub fn root(&self) -> Result<String, String> {
        let roots = self.entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
        let root = roots.filter(|root| root.is_empty() || root.ends_with('/')).min_by_key(|root| root.len());
        root.map(str::to_owned).ok_or_else(|| "there is no data.pkl in it".to_owned())
    }

    /// Length of an entry.
    pub fn len_of(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.bytes)
    }

    /// `bytes` of an entry from its byte `from` on. Its checksum is compared where all of it is read.
    pub fn part(&self, name: &str, from: u64, bytes: u64) -> Result<Vec<u8>, String> {
        let entry = self.entries.get(name).ok_or_else(|| format!("there is no {name} in it"))?;
        if from.checked_add(bytes).is_none_or(|end| end > entry.bytes) {
            return Err(format!("{name} has {} bytes, wanted are {from}..+{bytes}", entry.bytes));
        }
        let header = self.read(entry.header_at, 30)?;
        if header[..4] != *b"PK\x03\x04" {
            return Err(format!("{name} does not begin where the directory says"));
        }
        let (name_bytes, extra_bytes) = (u16_at(&header, 26)?, u16_at(&header, 28)?);
        let start = entry.header_at + 30 + u64::from(name_bytes) + u64::from(extra_bytes) + from;
        let part = self.read(start, bytes)?;
        if bytes == entry.bytes && entry.crc != 0 && crc32fast::hash(&part) != entry.crc {
            return Err(format!("{name} is damaged (checksum)"));
        }
        Ok(part)
    }

    /// Bytes of the file.
    fn read(&self, at: u64, bytes: u64) -> Result<Vec<u8>, String> {
        if at.checked_add(bytes).is_none_or(|end| end > self.file_bytes) {
            return Err(format!("bytes {at}..+{bytes} are wanted, and it has {}", self.file_bytes));
        }
        let mut read = vec![0; usize::try_from(bytes).map_err(|error| error.to_string())?];
        let mut file = &self.file;
        let done = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut read));
        done.map(|()| read).map_err(|error| error.to_string())
    }

    /// Place and length of the directory.
    fn find_directory(&self) -> Result<(u64, u64), String> {
        let torn = || "its directory is missing: it was cut short".to_owned();
        let tail_at = self.file_bytes.saturating_sub(MAX_TAIL_BYTES);
        let tail = self.read(tail_at, self.file_bytes - tail_at)?;
        let end = tail.windows(4).rposition(|four| four == b"PK\x05\x06").ok_or_else(torn)?;
        let (bytes, at) = (u32_at(&tail, end + 12)?, u32_at(&tail, end + 16)?);
        if bytes != u32::MAX && at != u32::MAX {
            return Ok((u64::from(at), u64::from(bytes)));
        }
        // The 64-bit form: twenty bytes before the end there is the place of another end.
        let locator = end.checked_sub(20).filter(|&at| tail[at..].starts_with(b"PK\x06\x07")).ok_or_else(torn)?;
        let wide = self.read(u64_at(&tail, locator + 8)?, 56)?;
        if !wide.starts_with(b"PK\x06\x06") {
            return Err(torn());
        }
        Ok((u64_at(&wide, 48)?, u64_at(&wide, 40)?))
    }
}

/// Names and places, by the directory.
fn entries(directory: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let mut entries = BTreeMap::new();
    let mut rest = directory;
    while rest.starts_with(b"PK\x01\x02") {
        let [flags, method] = [u16_at(rest, 8)?, u16_at(rest, 10)?];
        let [name_bytes, extra_bytes, comment_bytes] = [28, 30, 32].map(|at| u16_at(rest, at).map(usize::from));
        let (name_bytes, extra_bytes, comment_bytes) = (name_bytes?, extra_bytes?, comment_bytes?);
        let name = rest.get(46..46 + name_bytes).ok_or("its directory is cut short")?;
        let name = std::str::from_utf8(name).map_err(|_| "a name in it is no text")?.to_owned();
        let extra = rest.get(46 + name_bytes..46 + name_bytes + extra_bytes).ok_or("its directory is cut short")?;
        let narrow = [u32_at(rest, 24)?, u32_at(rest, 20)?, u32_at(rest, 42)?];
        let [bytes, packed_bytes, header_at] = widened(narrow, extra)?;
        if method != 0 || packed_bytes != bytes || flags & 1 == 1 {
            return Err(format!("{name} is compressed in it, which `torch.save` never does"));
        }
        if entries.insert(name.clone(), Entry { header_at, bytes, crc: u32_at(rest, 16)? }).is_some() {
            return Err(format!("{name} is in it twice"));
        }
        rest = rest.get(46 + name_bytes + extra_bytes + comment_bytes..).ok_or("its directory is cut short")?;
    }
    if rest.is_empty() { Ok(entries) } else { Err("its directory is damaged".to_owned()) }
}

/// Length, packed length and place; each that is all ones is in the extra field instead, in this order.
fn widened(narrow: [u32; 3], extra: &[u8]) -> Result<[u64; 3], String> {
    let mut at = 0;
    let mut wide: &[u8] = &[];
    while at + 4 <= extra.len() {
        let (id, bytes) = (u16_at(extra, at)?, usize::from(u16_at(extra, at + 2)?));
        if id == 1 {
            wide = extra.get(at + 4..at + 4 + bytes).ok_or("its directory is damaged")?;
        }
        at += 4 + bytes;
    }
    let mut used = 0;
    let mut all = [0; 3];
    for (to, narrow) in all.iter_mut().zip(narrow) {
        *to = u64::from(narrow);
        if narrow == u32::MAX {
            *to = u64_at(wide, used)?;
            used += 8;
        }
    }
    Ok(all)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    found.copied().ok_or_else(|| "it was cut short".to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}
