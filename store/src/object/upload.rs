//! A file on its way into an object store: small ones by one request, larger ones in parts that go while more is written.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, Result};
use tokio::task::JoinSet;

use super::{io_error, persist, wait};
use crate::fs::Upload;

/// Bytes of a part. Stores take 10,000 parts at most, and of 5 MiB at least; some want all of one size.
const PART_BYTES: usize = 8 << 20;

/// Parts that are under way at once: what one upload holds in memory.
const PARTS: usize = 4;

pub struct ObjectUpload {
    store: Arc<dyn ObjectStore>,
    key: Key,
    /// What is not in a part yet.
    rest: Vec<u8>,
    /// There from the first full part on: the store knows of the upload then, and shows nothing of it.
    parts: Option<Parts>,
}

struct Parts {
    upload: Box<dyn MultipartUpload>,
    under_way: JoinSet<Result<()>>,
}

impl Parts {
    async fn put(&mut self, part: Vec<u8>) -> Result<()> {
        self.wait_for(PARTS - 1).await?;
        self.under_way.spawn(self.upload.put_part(Bytes::from(part).into()));
        Ok(())
    }

    /// Waits until no more than `n` parts are under way.
    async fn wait_for(&mut self, n: usize) -> Result<()> {
        while self.under_way.len() > n {
            if let Some(done) = self.under_way.join_next().await {
                done??;
            }
        }
        Ok(())
    }

    async fn complete(&mut self, last: Vec<u8>) -> Result<()> {
        if !last.is_empty() {
            self.put(last).await?;
        }
        self.wait_for(0).await?;
        self.upload.complete().await.map(|_| ())
    }

    /// Parts that stay cost money and show nowhere. The store's own rules for old uploads remove what a kill leaves.
    async fn abort(&mut self) {
        self.under_way.shutdown().await;
        // Whoever aborts has an error to tell already.
        let _ = self.upload.abort().await;
    }
}

impl ObjectUpload {
    pub fn new(store: Arc<dyn ObjectStore>, key: Key) -> Self {
        Self { store, key, rest: Vec::new(), parts: None }
    }

    /// Sends what is collected as a part.
    fn send(&mut self) -> io::Result<()> {
        let part = std::mem::replace(&mut self.rest, Vec::with_capacity(PART_BYTES));
        let (begun, store, key) = (self.parts.take(), self.store.clone(), self.key.clone());
        let (parts, done) = wait(async move {
            let mut parts = match begun {
                Some(parts) => parts,
                None => match persist(|| store.put_multipart(&key)).await {
                    Ok(upload) => Parts { upload, under_way: JoinSet::new() },
                    Err(error) => return (None, Err(error)),
                },
            };
            let done = parts.put(part).await;
            (Some(parts), done)
        })?;
        self.parts = parts;
        done.map_err(io_error)
    }
}

async fn put(store: &dyn ObjectStore, key: &Key, bytes: Bytes, new_only: bool) -> Result<bool> {
    if !new_only {
        return store.put(key, bytes.into()).await.map(|_| true);
    }
    match store.put_opts(key, bytes.clone().into(), PutMode::Create.into()).await {
        Ok(_) => Ok(true),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
        // Stores without conditions: the look and the write are two steps, the best they offer.
        Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => match store.head(key).await {
            Ok(_) => Ok(false),
            Err(Error::NotFound { .. }) => store.put(key, bytes.into()).await.map(|_| true),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

impl Write for ObjectUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.rest.len() == PART_BYTES {
            self.send()?;
        }
        let n = bytes.len().min(PART_BYTES - self.rest.len());
        self.rest.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for ObjectUpload {
    fn complete(mut self: Box<Self>, new_only: bool) -> io::Result<bool> {
        let (store, key, rest) = (self.store.clone(), self.key.clone(), std::mem::take(&mut self.rest));
        let Some(mut parts) = self.parts.take() else {
            return wait(async move { put(store.as_ref(), &key, rest.into(), new_only).await })?.map_err(io_error);
        };
        let done = wait(async move {
            // No store has a condition for an upload in parts: the look is a step of its own.
            if new_only && store.head(&key).await.is_ok() {
                parts.abort().await;
                return Ok(false);
            }
            let done = parts.complete(rest).await;
            if done.is_err() {
                parts.abort().await;
            }
            done.map(|()| true)
        })?;
        done.map_err(io_error)
    }
}

impl Drop for ObjectUpload {
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take() {
            // Nobody could be told of an error.
            let _ = wait(async move { parts.abort().await });
        }
    }
}
