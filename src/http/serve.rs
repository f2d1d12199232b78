//! A small server: short answers, few connections, no patience with slow clients.

use crate::admin::{Answer, METHODS, Question};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Connections at a time. One more ends the oldest, so that those who send nothing never keep a probe out.
const CONNECTIONS: usize = 32;
/// How long a client may take to send the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a client may take in all.
const WITHIN: Duration = Duration::from_secs(10);
/// What the head of a request may take; the smallest size that hyper has.
const HEAD_BYTES: usize = 8192;
/// How long to wait when the system has no file descriptor left.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(500);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: io::Error,
}

/// A bound address; nobody is served before [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`; port 0 takes any that is free.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound.await.map_err(|source| BindError { address, source })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever. Dropping the future ends all connections.
    pub async fn run(self, answer: impl Fn(Question<'_>) -> Answer + Send + Sync + 'static) {
        let answer = Arc::new(answer);
        let mut open = Connections::default();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answer = Arc::clone(&answer);
                    open.push(tokio::spawn(connection(stream, answer)).abort_handle());
                }
                Err(_) => sleep(AFTER_ACCEPT_ERROR).await,
            }
        }
    }
}

/// The open connections, the oldest first.
#[derive(Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    fn push(&mut self, connection: AbortHandle) {
        self.0.retain(|open| !open.is_finished());
        if self.0.len() >= CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn connection<F>(stream: TcpStream, answer: Arc<F>)
where
    F: Fn(Question<'_>) -> Answer + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, &*answer);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever goes wrong is the client's, and it knows.
    let _ = timeout(WITHIN, served).await;
}

fn respond(request: &Request<Incoming>, answer: &impl Fn(Question<'_>) -> Answer) -> Response<Full<Bytes>> {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let question = Question { method: request.method().as_str(), path: request.uri().path(), accept };
    let Answer { status, content_type, body } = answer(question);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == 405 {
        headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn serve() -> SocketAddr {
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = server.address();
        tokio::spawn(server.run(|question| Answer {
            status: if question.method == "POST" { 405 } else { 200 },
            content_type: "text/plain",
            body: format!("{} {}", question.path, question.accept),
        }));
        address
    }

    async fn say(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn requests_are_answered_and_the_connection_closed() {
        let address = serve().await;
        let answer = say(address, "GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: y\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n/a y"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        let head = say(address, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        let post = say(address, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").await;
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    }

    #[tokio::test]
    async fn what_is_no_request_or_too_long_is_refused() {
        let address = serve().await;
        assert!(say(address, "hello\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(20_000));
        assert!(say(address, &long).await.starts_with("HTTP/1.1 431 "));
    }

    #[tokio::test]
    async fn clients_that_say_nothing_keep_nobody_out() {
        let address = serve().await;
        let mut silent = Vec::new();
        for _ in 0..3 * CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HT").await.unwrap();
            silent.push(stream);
        }
        let answer = say(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        // The oldest were ended for those that came after them.
        let mut byte = [0];
        assert!(matches!(silent[0].read(&mut byte).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let address = serve().await;
        let error = Server::bind(address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
    }
}
