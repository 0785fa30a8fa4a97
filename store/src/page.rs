//! Checksums of fixed ranges of a file: XXH3-64 of every page, footer and padding included.

use std::hash::Hasher;
use std::io::{self, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twox_hash::XxHash3_64;

use crate::sealed::{words_from_hex, words_to_hex};

/// Bytes of a page in the sets that this build writes: small enough to name what is damaged, large enough that
/// a set of 20,000 parts of 100 MB has 32 MB of checksums.
pub const PAGE_BYTES: u64 = 1 << 20;

/// XXH3-64 of each page of a file, or of other things that follow each other; hex in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums(pub Vec<u64>);

impl Checksums {
    /// Checksum of one page.
    pub fn of(page: &[u8]) -> u64 {
        XxHash3_64::oneshot(page)
    }

    /// Checksum of bytes that do not lie together, as if they did.
    pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        let mut hasher = XxHash3_64::new();
        pieces.into_iter().for_each(|piece| hasher.write(piece));
        hasher.finish()
    }
}

impl Serialize for Checksums {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&words_to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Checksums {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(from)?;
        let words =
            words_from_hex(&hex).ok_or_else(|| serde::de::Error::custom("checksums must be 16 hex digits each"))?;
        Ok(Self(words))
    }
}

/// Passes bytes on and takes the checksum of each page of them.
pub struct PageWriter<W> {
    inner: W,
    page_bytes: u64,
    in_page: u64,
    hasher: XxHash3_64,
    hashes: Vec<u64>,
    n_bytes: u64,
}

impl<W: Write> PageWriter<W> {
    /// Over `inner`, from its first byte.
    pub fn new(inner: W, page_bytes: u64) -> Self {
        Self { inner, page_bytes, in_page: 0, hasher: XxHash3_64::new(), hashes: Vec::new(), n_bytes: 0 }
    }

    /// What was written through: the inner writer, the bytes, their pages.
    pub fn finish(mut self) -> (W, u64, Checksums) {
        if self.in_page > 0 {
            self.end_page();
        }
        (self.inner, self.n_bytes, Checksums(self.hashes))
    }

    fn end_page(&mut self) {
        self.hashes.push(self.hasher.finish());
        self.hasher = XxHash3_64::new();
        self.in_page = 0;
    }
}

impl<W: Write> Write for PageWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        let mut rest = &bytes[..n];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min((self.page_bytes - self.in_page) as usize));
            self.hasher.write(now);
            self.in_page += now.len() as u64;
            if self.in_page == self.page_bytes {
                self.end_page();
            }
            rest = later;
        }
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_of_the_bytes_however_they_come() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        let whole: Vec<u64> = bytes.chunks(64).map(Checksums::of).collect();
        for step in [1, 63, 64, 65, 1000] {
            let mut out = PageWriter::new(Vec::new(), 64);
            for piece in bytes.chunks(step) {
                out.write_all(piece).unwrap();
            }
            let (written, n_bytes, hashes) = out.finish();
            assert_eq!((written, n_bytes, &hashes.0), (bytes.clone(), 1000, &whole), "in pieces of {step}");
        }
    }
}
