//! The file operations of commits over an object store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::path::Path as Key;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use super::stores::Address;
use super::upload::ObjectUpload;
use super::{at_once, io_error, persist, requests, wait};
use crate::fs::{Fs, FsFile, Upload};

/// [`Fs`] over one bucket. Files appear when their upload is complete; folders are what names have in common.
#[derive(Debug, Clone)]
pub struct ObjectFs {
    store: Arc<dyn ObjectStore>,
    bucket: String,
}

/// The operations for the bucket of an address.
pub fn fs(place: &Path) -> io::Result<Arc<dyn Fs>> {
    let address = Address::parse(place)?;
    Ok(Arc::new(ObjectFs { store: address.store()?, bucket: address.bucket }))
}

impl ObjectFs {
    /// Over `store`, whose addresses begin with `bucket` (`s3://bucket`).
    pub fn new(bucket: &str, store: Arc<dyn ObjectStore>) -> Self {
        Self { store, bucket: bucket.trim_end_matches('/').to_owned() }
    }

    fn key(&self, path: &Path) -> io::Result<Key> {
        let address = Address::parse(path)?;
        if address.bucket != self.bucket {
            let why = format!("{} is not in {}", path.display(), self.bucket);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(address.key)
    }
}

async fn read(store: Arc<dyn ObjectStore>, key: Key, cap_bytes: u64) -> io::Result<Vec<u8>> {
    let _turn = requests().acquire_owned().await;
    let whole = || async {
        let answer = store.get(&key).await?;
        if answer.meta.size > cap_bytes { Ok(None) } else { answer.bytes().await.map(Some) }
    };
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, format!("longer than {cap_bytes} bytes"));
    Ok(persist(whole).await.map_err(io_error)?.ok_or_else(too_long)?.into())
}

fn whole_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "files of an object store are written whole"))
}

impl Fs for ObjectFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.key(dir).map(|_| ())
    }

    fn create_new(&self, _: &Path) -> io::Result<Box<dyn FsFile>> {
        whole_only()
    }

    fn upload(&self, target: &Path) -> Option<io::Result<Box<dyn Upload>>> {
        let upload = self.key(target).map(|key| ObjectUpload::new(self.store.clone(), key));
        Some(upload.map(|upload| Box::new(upload) as Box<dyn Upload>))
    }

    fn append(&self, _: &Path, _: u64) -> io::Result<Box<dyn FsFile>> {
        whole_only()
    }

    /// Copies and removes: two steps, between which both names are there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (store, from, to) = (self.store.clone(), self.key(from)?, self.key(to)?);
        wait(async move {
            store.copy(&from, &to).await?;
            store.delete(&from).await
        })?
        .map_err(io_error)
    }

    /// Copies, where `to` is free: a look, and a copy.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (store, from, to) = (self.store.clone(), self.key(from)?, self.key(to)?);
        wait(async move {
            match store.head(&to).await {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(Error::NotFound { .. }) => store.copy(&from, &to).await.map_err(io_error),
                Err(error) => Err(io_error(error)),
            }
        })?
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (store, key) = (self.store.clone(), self.key(path)?);
        wait(async move { store.delete(&key).await })?.map_err(io_error)
    }

    fn remove_folder(&self, _: &Path) -> io::Result<()> {
        whole_only()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let (store, key) = (self.store.clone(), self.key(path)?);
        Ok(wait(async move { store.head(&key).await })?.map_err(io_error)?.size)
    }

    fn read(&self, path: &Path, cap_bytes: u64) -> io::Result<Vec<u8>> {
        wait(read(self.store.clone(), self.key(path)?, cap_bytes))?
    }

    fn read_all(&self, paths: &[PathBuf], cap_bytes: u64) -> Vec<io::Result<Vec<u8>>> {
        let keys = paths.iter().map(|path| self.key(path)).collect();
        let store = self.store.clone();
        at_once(keys, move |key: io::Result<Key>| {
            let store = store.clone();
            async move { read(store, key?, cap_bytes).await }
        })
    }

    fn len_all(&self, paths: &[PathBuf]) -> Vec<io::Result<u64>> {
        let keys = paths.iter().map(|path| self.key(path)).collect();
        let store = self.store.clone();
        at_once(keys, move |key: io::Result<Key>| {
            let store = store.clone();
            async move { Ok(store.head(&key?).await.map_err(io_error)?.size) }
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (store, key) = (self.store.clone(), self.key(dir)?);
        let found = wait(async move { persist(|| store.list_with_delimiter(Some(&key))).await })?.map_err(io_error)?;
        let files = found.objects.iter().map(|object| &object.location);
        let names = files.chain(&found.common_prefixes).filter_map(|key| key.filename().map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }
}
