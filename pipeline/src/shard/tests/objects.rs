//! The same promises over an object store: every request fails in turn, and what is there is whole.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use ajepa_store::object_store::memory::InMemory;
use ajepa_store::object_store::path::Path as Key;
use ajepa_store::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use ajepa_store::register;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::*;
use crate::shard::{Manifest, copy, verify};

/// A store of which one request fails, and perhaps all after it.
#[derive(Debug)]
struct FaultyStore {
    inner: Arc<InMemory>,
    count: Arc<AtomicU64>,
    fail_at: u64,
    for_good: bool,
}

impl FaultyStore {
    fn step(&self) -> Result<()> {
        let n = self.count.fetch_add(1, Ordering::SeqCst);
        if n != self.fail_at && !(self.for_good && n > self.fail_at) {
            return Ok(());
        }
        Err(Error::Generic { store: "faulty", source: "the line is cut".into() })
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.step()?;
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.step()?;
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.step()?;
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.step() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.step()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.step()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// A bucket in memory, and the requests that have been made to it.
fn bucket(name: &str, inner: &Arc<InMemory>, fail_at: u64, for_good: bool) -> (PathBuf, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    register(
        &format!("mem://{name}"),
        Arc::new(FaultyStore { inner: inner.clone(), count: count.clone(), fail_at, for_good }),
    );
    (PathBuf::from(format!("mem://{name}/set")), count)
}

fn write(dir: &Path, run: &RunInfo) -> std::result::Result<SinkReport, crate::stage::StageError> {
    drive(&mut ShardWriter::new(dir, stored(Dtype::F16), Compression::None)?, run, 64, Dtype::F16)
}

#[test]
fn any_failed_request_leaves_a_set_that_is_whole_or_not_there_and_the_next_run_completes() {
    let here = tempfile::tempdir().unwrap();
    let mut run = job(&[70, 0, 20]);
    run.fingerprint = "f-2".into();
    write_set(here.path(), &job(&[9]));
    write_set(here.path(), &run);
    let expected = files(here.path());
    let mut n_faults = 0;
    for (round, for_good) in [false, true].into_iter().enumerate() {
        for fail_at in 0.. {
            let (name, inner) = (format!("faults-{round}-{fail_at}"), Arc::new(InMemory::new()));
            let (dir, _) = bucket(&name, &inner, u64::MAX, false);
            write(&dir, &job(&[9])).unwrap();
            let (_, count) = bucket(&name, &inner, fail_at, for_good);
            let result = write(&dir, &run);
            let n_steps = count.load(Ordering::SeqCst);
            // Whoever reads it now sees the first generation or the second, whole.
            let (_, _) = bucket(&name, &inner, u64::MAX, false);
            let when = format!("request {fail_at}, for good: {for_good}");
            assert_eq!(verify(&dir).unwrap().damaged, [], "{when}");
            if fail_at >= n_steps {
                assert!(result.unwrap().complete);
                break;
            }
            n_faults += 1;
            if let Err(error) = &result {
                assert!(error.to_string().contains("the line is cut"), "{when}: {error}");
            }
            let again = write(&dir, &run).unwrap();
            assert!(again.complete && Manifest::read(&dir).unwrap().generation == 2, "{when}");
            let back = tempfile::tempdir().unwrap();
            copy(&dir, back.path(), &mut |_, _| ()).unwrap();
            for (name, bytes) in files(back.path()) {
                assert!(expected.get(&name) == Some(&bytes), "{when}: {name}");
            }
        }
    }
    assert!(n_faults > 40, "{n_faults} requests failed");
}

#[test]
fn two_programs_that_begin_one_set_at_once_are_of_one_generation() {
    let inner = Arc::new(InMemory::new());
    let (dir, _) = bucket("claims", &inner, u64::MAX, false);
    let run = job(&[20, 30, 10, 5]);
    let mine = |of: usize| RunInfo { mine: (0..4).map(|unit| unit % 2 == of).collect(), ..run.clone() };
    std::thread::scope(|scope| {
        let both: Vec<_> = [0, 1]
            .map(|of| {
                scope.spawn({
                    let (dir, mine) = (&dir, mine(of));
                    move || write(dir, &mine).unwrap()
                })
            })
            .into();
        let complete = both.into_iter().map(|one| one.join().unwrap().complete).filter(|complete| *complete).count();
        assert!(complete >= 1, "nobody was last");
    });
    let manifest = Manifest::read(&dir).unwrap();
    assert_eq!((manifest.generation, manifest.rows), (1, 65));
    assert!(write(&dir, &run).unwrap().complete);
}
