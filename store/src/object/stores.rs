//! From an address to a store: one client for each bucket, made from the environment when it is first named.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use super::io_error;

/// Longest time for one request, its body included: 64 MiB at 1 MB/s.
const REQUEST_TIMEOUT: &str = "70 seconds";

/// How long a server may take to take a connection.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What to do where access is denied.
pub const CREDENTIALS: &str = "; S3 takes its credentials from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION \
    (`aws configure export-credentials --format env` prints those of a profile; AWS_SKIP_SIGNATURE=true for public buckets), Google's \
    store from GOOGLE_APPLICATION_CREDENTIALS";

/// Where a machine of Amazon's asks for its credentials.
const INSTANCE_METADATA: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);

type Stores = Mutex<HashMap<String, Arc<dyn ObjectStore>>>;

fn stores() -> &'static Stores {
    static STORES: OnceLock<Stores> = OnceLock::new();
    STORES.get_or_init(Stores::default)
}

/// Makes `store` the one that addresses beginning with `bucket` (`az://container`) are in, for stores that this crate has no client of.
pub fn register(bucket: &str, store: Arc<dyn ObjectStore>) {
    let name = bucket.trim_end_matches('/').to_owned();
    stores().lock().unwrap_or_else(PoisonError::into_inner).insert(name, store);
}

/// An address in its parts.
pub struct Address {
    /// `s3://bucket`.
    pub bucket: String,
    pub key: Key,
}

impl Address {
    pub fn parse(place: &Path) -> io::Result<Self> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let text = place.to_str().ok_or_else(|| invalid("the address is not UTF-8".to_owned()))?;
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("no address".to_owned()))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(invalid(format!("it names no bucket: {scheme}://bucket/folder")));
        }
        let key = Key::parse(key.trim_end_matches('/')).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { bucket: format!("{scheme}://{bucket}"), key })
    }

    pub fn store(&self) -> io::Result<Arc<dyn ObjectStore>> {
        let mut stores = stores().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&self.bucket) {
            return Ok(store.clone());
        }
        let store = make(&self.bucket)?;
        stores.insert(self.bucket.clone(), store.clone());
        Ok(store)
    }
}

/// Whether there is a client for an address; no credentials are looked for.
pub fn check(place: &Path) -> io::Result<()> {
    let address = Address::parse(place)?;
    let (scheme, _) = address.bucket.split_once("://").unwrap_or_default();
    let known = stores().lock().unwrap_or_else(PoisonError::into_inner).contains_key(&address.bucket);
    if known || matches!(scheme, "s3" | "gs") { Ok(()) } else { Err(unknown(scheme)) }
}

/// The path that a `file://` address means.
pub fn plain(place: &Path) -> io::Result<PathBuf> {
    let parsed = place.to_str().and_then(|text| Url::parse(text).ok()).and_then(|url| url.to_file_path().ok());
    parsed.ok_or_else(|| {
        let why = "no path of this machine: write file:///folder/file, three slashes";
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

fn unknown(scheme: &str) -> io::Error {
    let why = format!("{scheme}:// is not known here: paths, s3://bucket/..., gs://bucket/... and file:///... are");
    io::Error::new(io::ErrorKind::Unsupported, why)
}

fn make(bucket: &str) -> io::Result<Arc<dyn ObjectStore>> {
    let (scheme, name) = bucket.split_once("://").unwrap_or_default();
    match scheme {
        "s3" => s3(name),
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(name);
            if std::env::var_os("GOOGLE_TIMEOUT").is_none() {
                builder = builder.with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
            }
            Ok(Arc::new(builder.with_retry(patience()).build().map_err(io_error)?))
        }
        other => Err(unknown(other)),
    }
}

fn s3(bucket: &str) -> io::Result<Arc<dyn ObjectStore>> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if set("AWS_TIMEOUT").is_none() {
        builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
    }
    if let Some(endpoint) = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].into_iter().find_map(set) {
        answers(&endpoint)?;
        // Whoever names an endpoint of http:// has said so.
        builder = builder.with_allow_http(endpoint.starts_with("http://"));
    }
    let given = ["AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_METADATA_ENDPOINT"];
    let container = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    // The client would ask for minutes, on a machine that is not Amazon's.
    if given.into_iter().chain(container).all(|name| set(name).is_none())
        && TcpStream::connect_timeout(&INSTANCE_METADATA, Duration::from_secs(1)).is_err()
    {
        let why = format!("no credentials for s3://{bucket}{CREDENTIALS}");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(Arc::new(builder.with_retry(patience()).build().map_err(io_error)?))
}

/// A minute, in which a server may be started anew.
fn patience() -> RetryConfig {
    let longest = Duration::from_secs(5);
    let backoff = BackoffConfig { max_backoff: longest, ..BackoffConfig::default() };
    // The time is what counts; waits are drawn, and may be short.
    RetryConfig { backoff, max_retries: 10_000, retry_timeout: Duration::from_mins(1) }
}

/// Whether somebody listens at an endpoint that was named: a typing error is said at once, and not after a minute.
fn answers(endpoint: &str) -> io::Result<()> {
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
    if proxies.into_iter().any(|name| std::env::var_os(name).is_some()) {
        return Ok(());
    }
    let silent = |why: &dyn std::fmt::Display| {
        let why = format!("no server answers at {endpoint}, which AWS_ENDPOINT_URL names: {why}");
        io::Error::new(io::ErrorKind::ConnectionRefused, why)
    };
    let url = Url::parse(endpoint).map_err(|error| silent(&error))?;
    let addresses = url.socket_addrs(|| None).map_err(|error| silent(&error))?;
    let mut tries = addresses.iter().map(|address| TcpStream::connect_timeout(address, ANSWER_WITHIN));
    let mut last = None;
    match tries.find_map(|tried| tried.map_err(|error| last = Some(error)).ok()) {
        Some(_) => Ok(()),
        None => Err(last.map_or_else(|| silent(&"the name has no address"), |error| silent(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_bucket_and_a_key() {
        let parse = |text: &str| Address::parse(Path::new(text)).map(|a| (a.bucket, a.key.to_string()));
        assert_eq!(parse("s3://b/a b/c#1%20.flac").unwrap(), ("s3://b".to_owned(), "a b/c#1%20.flac".to_owned()));
        assert_eq!(parse("gs://b/x/").unwrap(), ("gs://b".to_owned(), "x".to_owned()));
        assert_eq!(parse("s3://b").unwrap().1, "");
        for bad in ["s3://", "s3:///x", "s3://b/a//c", "s3://b/../c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let error = check(Path::new("http://example.org/a")).unwrap_err().to_string();
        assert!(error.contains("http://") && error.contains("s3://bucket"), "{error}");
        assert!(check(Path::new("gs://b/a")).is_ok());
        assert_eq!(plain(Path::new("file:///a%20b/c")).unwrap(), Path::new("/a b/c"));
        assert!(plain(Path::new("file://host/c")).unwrap_err().to_string().contains("three slashes"));
    }
}
