//! The secret that scheduler, executors and clients share.

use std::fmt;
use std::path::Path;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;

use super::error::ClusterError;

/// Bytes of a token at least: 32 random letters cannot be guessed.
pub const MIN_TOKEN_BYTES: usize = 32;

/// Bytes of a token at most.
const MAX_TOKEN_BYTES: usize = 4096;

/// A shared secret, sent with every request and compared in constant time. It is not encrypted on its way: it keeps strangers out of a
/// private network, and does not replace one.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    header: HeaderValue,
    hash: blake3::Hash,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The text of the file, less blanks around it.
    ///
    /// # Errors
    /// [`ClusterError::Token`] for a file that cannot be read, that others may read, or whose text is too short, too long or not
    /// printable ASCII without blanks.
    pub fn read(path: &Path) -> Result<Self, ClusterError> {
        let fault = |why: String| ClusterError::Token { path: path.to_owned(), why };
        others_may_not_read(path).map_err(fault)?;
        let text = std::fs::read_to_string(path).map_err(|e| fault(e.to_string()))?;
        Self::new(text.trim()).map_err(fault)
    }

    /// This text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() < MIN_TOKEN_BYTES {
            let n = text.len();
            return Err(format!(
                "a token of {n} bytes can be guessed: take {MIN_TOKEN_BYTES} or more (openssl rand -hex 32)"
            ));
        }
        if text.len() > MAX_TOKEN_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("a token is at most {MAX_TOKEN_BYTES} printable ASCII letters without blanks"));
        }
        let mut header = HeaderValue::try_from(format!("Bearer {text}")).map_err(|e| e.to_string())?;
        header.set_sensitive(true);
        let hash = blake3::hash(header.as_bytes());
        Ok(Self { header, hash })
    }

    /// Whether a request carries it. Hashes are compared, in constant time, so that nothing of it can be learned by trying.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let first = given.next().is_some_and(|given| blake3::hash(given.as_bytes()) == self.hash);
        first && given.next().is_none()
    }
}

#[cfg(unix)]
fn others_may_not_read(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_err(|e| e.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("others may read it (mode {:o}): chmod 600 keeps it a secret", mode & 0o777));
    }
    Ok(())
}

#[cfg(not(unix))]
fn others_may_not_read(_: &Path) -> Result<(), String> {
    Ok(())
}

/// Puts the token into every call.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(pub Option<Token>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            let value = token.header.to_str().ok().and_then(|text| MetadataValue::try_from(text).ok());
            let value = value.ok_or_else(|| tonic::Status::internal("the token cannot be sent"))?;
            request.metadata_mut().insert(AUTHORIZATION.as_str(), value);
        }
        Ok(request)
    }
}

impl Bearer {
    /// The same for a plain request.
    pub fn headers(&self, headers: &mut HeaderMap) {
        if let Some(token) = &self.0 {
            headers.insert(AUTHORIZATION, token.header.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token::new(LONG).unwrap();
        assert!(token.is_in(&headers(&[&format!("Bearer {LONG}")])));
        let wrong =
            [LONG.to_owned(), format!("Bearer {LONG}0"), format!("Bearer {}", &LONG[1..]), format!("bearer {LONG}")];
        for wrong in &wrong {
            assert!(!token.is_in(&headers(&[wrong])), "{wrong}");
        }
        assert!(!token.is_in(&headers(&[])));
        assert!(!token.is_in(&headers(&[&format!("Bearer {LONG}"), "Bearer other"])), "two are one too many");
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_read_if_it_is_a_secret() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, format!("{LONG}\n")).unwrap();
        let mode = |mode: u32| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(Token::read(&path).unwrap_err().to_string().contains("chmod 600"));
        mode(0o600);
        assert_eq!(Token::read(&path).unwrap(), Token::new(LONG).unwrap());
        std::fs::write(&path, "short").unwrap();
        assert!(Token::read(&path).unwrap_err().to_string().contains("can be guessed"));
        std::fs::write(&path, format!("{LONG} {LONG}")).unwrap();
        assert!(Token::read(&path).unwrap_err().to_string().contains("without blanks"));
        assert!(Token::read(&dir.path().join("none")).is_err());
    }
}
