//! A client that posts JSON, over TLS where the URL says so.

use crate::connection::Secret;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How much of a response is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// How much of it is told.
const TOLD_CHARS: usize = 200;
/// How long a connection is kept for the next request. Servers and proxies close idle ones after a minute and more.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Whose certificates are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// Nobody's: for URLs without TLS, which must work where the platform has no certificates.
    Nobody,
    /// Those of the platform's authorities.
    Platform,
    /// Those of the authorities in this PEM file.
    Authority(&'a Path),
}

/// Posts to one server.
#[derive(Debug, Clone)]
pub struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The beginning of the body, in one printable line.
    pub text: String,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The certificate authority cannot be used.
    #[error("cannot use {} as the certificate authority: {reason}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The platform has no certificates.
    #[error("cannot read the platform's certificate authorities: {reason}")]
    Platform {
        /// What is wrong.
        reason: String,
    },
    /// The URL or a header cannot be sent.
    #[error("the request cannot be written: {reason}")]
    Request {
        /// What is wrong.
        reason: String,
    },
    /// No connection, or one that ended too early.
    #[error("{reason}")]
    Failed {
        /// What is wrong.
        reason: String,
    },
    /// It took too long.
    #[error("there was no answer within {}", humantime::format_duration(*within))]
    TimedOut {
        /// How long it was waited for.
        within: Duration,
    },
}

impl Poster {
    /// A client with no connection yet. It knows TLS 1.3.
    pub fn new(trust: Trust<'_>) -> Result<Self, PostError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PostError::Platform { reason: error.to_string() })?;
        let config = match trust {
            Trust::Nobody => config.with_root_certificates(RootCertStore::empty()),
            Trust::Authority(path) => config.with_root_certificates(roots(path)?),
            Trust::Platform => config
                .with_native_roots()
                .map_err(|error| PostError::Platform { reason: error.to_string() })?,
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT_FOR)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client })
    }

    /// Posts `json`. `authorization` is the value of the header of that name.
    pub async fn json(
        &self,
        url: &str,
        authorization: Option<&Secret>,
        json: Vec<u8>,
        within: Duration,
    ) -> Result<Response, PostError> {
        let request = request(url, authorization, json)?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| failed(&error))?;
            let status = response.status().as_u16();
            // A body that is too long or breaks off changes nothing about the status.
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            Ok(Response { status, text: told(&body) })
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(PostError::TimedOut { within }))
    }
}

fn request(
    url: &str,
    authorization: Option<&Secret>,
    json: Vec<u8>,
) -> Result<Request<Full<Bytes>>, PostError> {
    let unusable = |reason: String| PostError::Request { reason };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("insights-agent/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(json)))
        .map_err(|error| unusable(error.to_string()))?;
    if let Some(secret) = authorization {
        let mut value = HeaderValue::from_str(secret.expose())
            .map_err(|_| unusable("the credentials hold a character that no header may hold".into()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

fn roots(path: &Path) -> Result<RootCertStore, PostError> {
    let unusable = |reason: String| PostError::Authority { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| unusable("its PEM is damaged".into()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no PEM certificate".into()));
    }
    Ok(roots)
}

/// The words of an error and of those behind it: the outermost says no more than that something failed.
fn failed(error: &dyn Error) -> PostError {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if words.last().is_none_or(|last| !last.ends_with(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    PostError::Failed { reason: words.join(": ") }
}

/// The beginning of a body in one line.
fn told(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * TOLD_CHARS)]).into_owned();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(TOLD_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_body_is_one_printable_line() {
        assert_eq!(told(b"{\n  \"a\":\t1\x1b[2J }"), "{ \"a\": 1[2J }");
        assert_eq!(told("ü".repeat(5000).as_bytes()).chars().count(), TOLD_CHARS);
        assert!(told(&[0xff; 10_000]).chars().count() <= TOLD_CHARS);
    }

    #[test]
    fn an_authority_that_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let error = || Poster::new(Trust::Authority(&path)).unwrap_err().to_string();
        assert!(error().contains("ca.pem as the certificate authority"), "{}", error());
        std::fs::write(&path, "hush").unwrap();
        assert!(error().ends_with("it holds no PEM certificate"), "{}", error());
    }

    #[test]
    fn credentials_show_in_no_error_and_no_debug() {
        let secret = Secret::from("Bearer hunter2\n");
        let error = request("http://a/", Some(&secret), Vec::new()).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let request = request("http://a/", Some(&"Bearer hunter2".into()), Vec::new()).unwrap();
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_or_says_nothing_is_a_sentence() {
        let poster = Poster::new(Trust::Nobody).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let silent = poster.json(&url, None, Vec::new(), Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(silent.to_string(), "there was no answer within 50ms");
        drop(listener);
        let refused = poster.json(&url, None, Vec::new(), Duration::from_secs(20)).await.unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
    }
}
