//! The bytes, as Symphonia and our own header readers want them.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::io::MediaSource;

use crate::OpError;

/// Anything that can be read, sought and sent to another thread: a file, a map, bytes in memory.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// Bytes that are all at hand: a file read in one go, a map.
pub(super) type Bytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The audio part of a source: what lies before it (an ID3 tag) is out of sight.
pub(super) struct Source {
    inner: Inner,
    base: u64,
    len: u64,
}

enum Inner {
    // Symphonia asks for `Sync`; a mutex that is only ever reached through `&mut` gives it at no cost.
    Stream(Mutex<Box<dyn ReadSeek>>),
    Memory(Cursor<Whole>),
}

/// [`Bytes`] as a cursor wants them.
struct Whole(Bytes);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Source {
    pub(super) fn new(mut inner: Box<dyn ReadSeek>) -> io::Result<Self> {
        let len = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(0))?;
        Ok(Self { inner: Inner::Stream(Mutex::new(inner)), base: 0, len })
    }

    pub(super) fn memory(bytes: Bytes) -> Self {
        let len = (*bytes).as_ref().len() as u64;
        Self { inner: Inner::Memory(Cursor::new(Whole(bytes))), base: 0, len }
    }

    /// The bytes themselves, where they are in memory.
    pub(super) fn as_slice(&self) -> Option<&[u8]> {
        match &self.inner {
            Inner::Stream(_) => None,
            Inner::Memory(cursor) => cursor.get_ref().as_ref().get(self.base as usize..),
        }
    }

    /// Hides `n` more bytes at the front and rewinds.
    pub(super) fn hide_front(&mut self, n: u64) -> io::Result<()> {
        let n = n.min(self.len);
        self.base += n;
        self.len -= n;
        self.rewind()
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads until `buf` is full or the source ends; returns the bytes read.
    pub(super) fn read_up_to(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut n = 0;
        while n < buf.len() {
            match self.read(&mut buf[n..]) {
                Ok(0) => break,
                Ok(got) => n += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(n)
    }

    /// The `N` bytes at `at`, or `None` where the source ends before.
    pub(super) fn bytes_at<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        if at.checked_add(N as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let mut bytes = [0; N];
        self.seek(SeekFrom::Start(at))?;
        let n = self.read_up_to(&mut bytes)?;
        Ok((n == N).then_some(bytes))
    }

    fn inner(&mut self) -> &mut dyn ReadSeek {
        match &mut self.inner {
            Inner::Stream(stream) => stream.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner),
            Inner::Memory(cursor) => cursor,
        }
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner().read(buf)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let base = self.base;
        let outer = match to {
            SeekFrom::Start(at) => SeekFrom::Start(at.saturating_add(base)),
            relative => relative,
        };
        let at = self.inner().seek(outer)?;
        at.checked_sub(base).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}

/// Runs library code that may panic on damaged input; a panic becomes [`OpError::Panicked`].
///
/// What `f` touched may be half-changed afterwards: the caller must not use it again.
pub(super) fn guard<T>(f: impl FnOnce() -> T) -> Result<T, OpError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".into());
        OpError::Panicked { message }
    })
}

/// Symphonia's errors in our words.
pub(super) fn from_symphonia(error: SymphoniaError) -> OpError {
    match error {
        SymphoniaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            OpError::Truncated { detail: "the file ends inside a structure it announced".into() }
        }
        // Symphonia reports its own parse failures with these kinds too; a real device error has another.
        SymphoniaError::IoError(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ) =>
        {
            OpError::Corrupt { detail: error.to_string() }
        }
        SymphoniaError::IoError(error) => OpError::Io(error),
        SymphoniaError::Unsupported(what) => OpError::UnsupportedCodec { codec: what.into() },
        SymphoniaError::DecodeError(what) | SymphoniaError::LimitError(what) => {
            OpError::Corrupt { detail: what.into() }
        }
        other => OpError::Corrupt { detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_bytes_are_gone() {
        let mut source = Source::new(Box::new(io::Cursor::new(b"tagaudio".to_vec()))).unwrap();
        source.hide_front(3).unwrap();
        assert_eq!(source.len(), 5);
        assert_eq!(source.bytes_at::<2>(3).unwrap(), Some(*b"io"));
        assert_eq!(source.bytes_at::<2>(4).unwrap(), None);
        assert_eq!(source.seek(SeekFrom::End(-1)).unwrap(), 4);
        assert_eq!(source.as_slice(), None);
    }

    #[test]
    fn memory_is_a_stream_and_a_slice() {
        let mut source = Source::memory(Box::new(b"tagaudio"));
        source.hide_front(3).unwrap();
        assert_eq!((source.len(), source.as_slice()), (5, Some(&b"audio"[..])));
        assert_eq!(source.bytes_at::<2>(3).unwrap(), Some(*b"io"));
        assert_eq!(source.bytes_at::<2>(4).unwrap(), None);
    }

    #[test]
    fn a_panic_is_an_error() {
        let error = guard(|| panic!("min > max")).unwrap_err();
        assert!(matches!(error, OpError::Panicked { message } if message == "min > max"));
    }
}
