//! Reading objects: many small ones at once, or one in blocks that are fetched ahead.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::stores::Address;
use super::{TRIES, about_of, at_once, begin, broke_off, each, io_error, pause, persist, requests, wait};
use crate::place::{About, Fetch, Opened, Wanted};

/// Bytes that are fetched at once of an object that is read here and there.
const BLOCK_BYTES: u64 = 4 << 20;

fn reach(url: &Path) -> io::Result<(Arc<dyn ObjectStore>, Key)> {
    let address = Address::parse(url)?;
    Ok((address.store()?, address.key))
}

/// Begins to fetch; the answers come together.
pub fn fetch(wanted: Vec<Wanted>) -> Fetch {
    let reached = wanted.into_iter().map(|want| (reach(Path::new(&want.url)), want.range)).collect();
    Fetch::of(begin(each(reached, fetch_one)))
}

type Reached = io::Result<(Arc<dyn ObjectStore>, Key)>;

async fn fetch_one((reached, range): (Reached, Option<(u64, u64)>)) -> io::Result<Bytes> {
    let (store, key) = reached?;
    let _turn = requests().acquire_owned().await;
    let Some((offset, len)) = range else {
        return persist(|| async { store.get(&key).await?.bytes().await }).await.map_err(io_error);
    };
    if len == 0 {
        return Ok(Bytes::new());
    }
    let bytes = persist(|| store.get_range(&key, offset..offset.saturating_add(len))).await.map_err(io_error)?;
    if (bytes.len() as u64) < len {
        let why = format!("it ends before byte {}", offset.saturating_add(len));
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    Ok(bytes)
}

/// What is known of each object, without its bytes.
pub fn about(urls: &[String]) -> Vec<io::Result<About>> {
    let reached: Vec<Reached> = urls.iter().map(|url| reach(Path::new(url))).collect();
    at_once(reached, |reached: Reached| async move {
        let (store, key) = reached?;
        let _turn = requests().acquire_owned().await;
        Ok(about_of(&store.head(&key).await.map_err(io_error)?))
    })
}

/// Objects in a folder, or under it, by their paths there, `n` of them or a few more.
pub fn list(folder: &Path, deep: bool, n: usize) -> io::Result<Vec<(String, About)>> {
    let (store, prefix) = reach(folder)?;
    let folder = prefix.clone();
    let under = move |meta: &ObjectMeta| {
        let parts = meta.location.prefix_match(&folder)?.map(|part| part.as_ref().to_owned());
        let path = parts.collect::<Vec<_>>().join("/");
        // A key that is the folder's own name with a slash is how some programs write an empty folder.
        (!path.is_empty()).then(|| (path, about_of(meta)))
    };
    let found = wait(async move {
        if deep || n < usize::MAX {
            return list_all(store.as_ref(), &prefix, n).await;
        }
        Ok(persist(|| store.list_with_delimiter(Some(&prefix))).await?.objects)
    })?;
    let mut found: Vec<(String, About)> = found.map_err(io_error)?.iter().filter_map(under).collect();
    found.retain(|(path, _)| deep || !path.contains('/'));
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// A list may take thousands of requests: when one breaks off, it goes on behind what has come, where that came in order.
async fn list_all(store: &dyn ObjectStore, prefix: &Key, n: usize) -> object_store::Result<Vec<ObjectMeta>> {
    let (mut metas, mut tries): (Vec<ObjectMeta>, u32) = (Vec::new(), 1);
    loop {
        let mut stream = match metas.last() {
            Some(last) => store.list_with_offset(Some(prefix), &last.location),
            None => store.list(Some(prefix)),
        };
        let failed = loop {
            match stream.next().await {
                Some(Ok(meta)) => metas.push(meta),
                Some(Err(error)) => break error,
                None => return Ok(metas),
            }
            tries = 1;
            if metas.len() >= n {
                return Ok(metas);
            }
        };
        if tries >= TRIES || !broke_off(&failed) {
            return Err(failed);
        }
        if !metas.is_sorted_by(|one, next| one.location < next.location) {
            metas.clear();
        }
        tries = pause(tries).await;
    }
}

/// Opens an object to be read here and there.
pub fn open(url: &Path) -> io::Result<Opened> {
    let (store, key) = reach(url)?;
    let (asked, of) = (store.clone(), key.clone());
    let meta = wait(async move { asked.head(&of).await })?.map_err(io_error)?;
    let reader =
        ObjectFile { store, key, tag: meta.e_tag, len: meta.size, at: 0, block: (0, Bytes::new()), ahead: None };
    Ok(Opened { len: meta.size, reader: Box::new(reader) })
}

/// Copies an object into a file without a name, which stands at its begin.
pub fn copy_to_temporary(url: &Path) -> io::Result<File> {
    let mut file = tempfile::tempfile().map_err(|error| {
        io::Error::new(error.kind(), format!("no temporary file: {error} (TMPDIR names the folder for them)"))
    })?;
    let mut from = open(url)?;
    io::copy(&mut from.reader, &mut Named(&mut file))?;
    file.rewind()?;
    Ok(file)
}

/// Says where the room is missing.
struct Named<'a>(&'a mut File);

impl Write for Named<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| {
            let folder = std::env::temp_dir();
            let why = format!("a copy in {}: {error} (TMPDIR names the folder for copies)", folder.display());
            io::Error::new(error.kind(), why)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An object as a file: a block at a time, the next one on its way while one is read from front to back.
struct ObjectFile {
    store: Arc<dyn ObjectStore>,
    key: Key,
    /// What it was when it was opened: another object of its name is an error, not a mixture.
    tag: Option<String>,
    len: u64,
    at: u64,
    block: (u64, Bytes),
    ahead: Option<(u64, Receiver<object_store::Result<Bytes>>)>,
}

impl ObjectFile {
    fn begin(&self, start: u64) -> io::Result<Receiver<object_store::Result<Bytes>>> {
        let (store, key, tag) = (self.store.clone(), self.key.clone(), self.tag.clone());
        let end = self.len.min(start + BLOCK_BYTES);
        begin(async move {
            let _turn = requests().acquire_owned().await;
            let options = GetOptions::new().with_if_match(tag).with_range(Some(GetRange::Bounded(start..end)));
            persist(|| async { store.get_opts(&key, options.clone()).await?.bytes().await }).await
        })
    }

    /// The block that byte `at` is in.
    fn load(&mut self) -> io::Result<()> {
        let follows = self.at == self.block.0 + self.block.1.len() as u64;
        let answer = match self.ahead.take() {
            Some((start, answer)) if start == self.at => answer,
            _ => self.begin(self.at)?,
        };
        let block = answer.recv().map_err(|_| io::Error::other("a request ended without an answer"))?;
        let block = block.map_err(|error| match error {
            object_store::Error::Precondition { .. } => io::Error::other("it was written anew while it was read"),
            other => io_error(other),
        })?;
        if block.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let next = self.at + block.len() as u64;
        self.block = (self.at, block);
        if follows && next < self.len {
            self.ahead = Some((next, self.begin(next)?));
        }
        Ok(())
    }
}

impl Read for ObjectFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len || out.is_empty() {
            return Ok(0);
        }
        let inside = |(start, block): &(u64, Bytes), at: u64| at >= *start && at < start + block.len() as u64;
        if !inside(&self.block, self.at) {
            self.load()?;
        }
        let from = &self.block.1[(self.at - self.block.0) as usize..];
        let n = from.len().min(out.len());
        out[..n].copy_from_slice(&from[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for ObjectFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the first byte"))?;
        Ok(self.at)
    }
}
