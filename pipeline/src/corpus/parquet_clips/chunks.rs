//! A Parquet file to read pages from, here or in an object store.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ajepa_store::{Opened, is_url};
use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// A file that is open.
pub enum Chunks {
    /// On this machine.
    Here(File),
    /// In an object store: what is read is fetched in blocks, which all readers of the file share.
    Far(Arc<Mutex<Opened>>, u64),
}

impl Chunks {
    pub fn open(path: &Path) -> io::Result<Self> {
        if !is_url(path) {
            return ajepa_store::open_regular(path).map(Self::Here);
        }
        let opened = ajepa_store::open(path)?;
        let len = opened.len;
        Ok(Self::Far(Arc::new(Mutex::new(opened)), len))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::Here(file) => file.len(),
            Self::Far(_, len) => *len,
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(match self {
            Self::Here(file) => Box::new(file.get_read(start)?),
            Self::Far(file, _) => Box::new(FarRead { file: file.clone(), at: start }),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Self::Here(file) => file.get_bytes(start, length),
            Self::Far(file, len) if start.checked_add(length as u64).is_some_and(|end| end <= *len) => {
                let mut bytes = vec![0; length];
                FarRead { file: file.clone(), at: start }.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
            Self::Far(..) => Err(ParquetError::EOF(format!("{length} bytes from byte {start} are not there"))),
        }
    }
}

struct FarRead {
    file: Arc<Mutex<Opened>>,
    at: u64,
}

impl Read for FarRead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let reader = &mut self.file.lock().unwrap_or_else(PoisonError::into_inner).reader;
        reader.seek(SeekFrom::Start(self.at))?;
        let n = reader.read(out)?;
        self.at += n as u64;
        Ok(n)
    }
}
