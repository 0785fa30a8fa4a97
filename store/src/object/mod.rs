//! Object stores behind [`Fs`](crate::Fs) and the functions of [`place`](crate::place): S3 and Google's, by address. Who calls waits; the
//! requests run on a few threads of their own, so that any thread may call, those of another runtime too.

mod fs;
mod read;
mod stores;
#[cfg(test)]
mod tests;
mod upload;

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::StreamExt;
use object_store::client::HttpError;
use object_store::{Error, ObjectMeta};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use twox_hash::XxHash3_128;

pub use fs::ObjectFs;
pub(crate) use fs::fs;
pub(crate) use read::{about, copy_to_temporary, fetch, list, open};
pub use stores::register;
pub(crate) use stores::{check, plain};

use crate::place::About;

/// Threads that speak to stores: what they do beside waiting is encryption.
const THREADS: usize = 4;

/// Requests of a process that are under way at once.
const REQUESTS: usize = 64;

fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let build = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("object store").enable_all().build().map_err(|e| e.to_string())
    };
    RUNTIME.get_or_init(build).as_ref().map_err(|error| io::Error::other(error.clone()))
}

/// A place among the requests that are under way.
fn requests() -> Arc<Semaphore> {
    static REQUESTS_LEFT: OnceLock<Arc<Semaphore>> = OnceLock::new();
    REQUESTS_LEFT.get_or_init(|| Arc::new(Semaphore::new(REQUESTS))).clone()
}

/// Begins `work` on the threads of this module.
fn begin<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> io::Result<Receiver<T>> {
    let (done, answer) = sync_channel(1);
    runtime()?.spawn(async move {
        // Nobody may be waiting any more.
        let _ = done.send(work.await);
    });
    Ok(answer)
}

/// Does `work` there and waits for it.
fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    begin(work)?.recv().map_err(|_| io::Error::other("a request to an object store ended without an answer"))
}

/// Does `one` for each of `all`, as many at once as there are places; the answers are in order.
async fn each<In, Out, Work: Future<Output = io::Result<Out>>>(
    all: Vec<In>,
    one: impl Fn(In) -> Work,
) -> Vec<io::Result<Out>> {
    futures::stream::iter(all).map(one).buffered(REQUESTS).collect().await
}

/// The same, waited for.
fn at_once<In, Out, Work>(all: Vec<In>, one: impl Fn(In) -> Work + Send + 'static) -> Vec<io::Result<Out>>
where
    In: Send + 'static,
    Out: Send + 'static,
    Work: Future<Output = io::Result<Out>> + Send + 'static,
{
    let n = all.len();
    wait(each(all, one)).unwrap_or_else(|error| (0..n).map(|_| Err(io::Error::other(error.to_string()))).collect())
}

/// Times that a request is made whose answer breaks off; `object_store` itself tries again what cannot be asked, or is answered with a
/// fault of the server's.
const TRIES: u32 = 5;

/// A request that took longer has been tried often enough.
const SOON: Duration = Duration::from_secs(30);

/// Makes a request again when its answer breaks off.
async fn persist<T, Work: Future<Output = Result<T, Error>>>(request: impl Fn() -> Work) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        let since = Instant::now();
        match request().await {
            Err(error) if tries < TRIES && since.elapsed() < SOON && broke_off(&error) => tries = pause(tries).await,
            ended => return ended,
        }
    }
}

/// Waits longer before each further try; returns its number.
async fn pause(tries: u32) -> u32 {
    tokio::time::sleep(Duration::from_millis(50 << tries)).await;
    tries + 1
}

/// Whether the line failed, and not the store.
fn broke_off(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A store's word as the system would say it.
#[allow(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn io_error(error: Error) -> io::Error {
    use io::ErrorKind::{AlreadyExists, InvalidInput, NotFound, Other, PermissionDenied, Unsupported};
    let (kind, cure) = match &error {
        Error::NotFound { .. } => (NotFound, ""),
        Error::AlreadyExists { .. } | Error::Precondition { .. } => (AlreadyExists, ""),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (PermissionDenied, stores::CREDENTIALS),
        Error::InvalidPath { .. } => (
            InvalidInput,
            "; objects whose names have empty parts, `.` or `..` between slashes cannot be read: rename them",
        ),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => (Unsupported, ""),
        // Where a machine of the provider's would have its credentials from.
        other if other.to_string().contains("http://169.254.") => (PermissionDenied, stores::CREDENTIALS),
        _ => (Other, ""),
    };
    io::Error::new(kind, format!("{error}{cure}"))
}

fn about_of(meta: &ObjectMeta) -> About {
    let version = match &meta.e_tag {
        Some(tag) => XxHash3_128::oneshot(tag.as_bytes()),
        None => XxHash3_128::oneshot(&meta.last_modified.timestamp_micros().to_le_bytes()),
    };
    About { len: meta.size, version }
}
