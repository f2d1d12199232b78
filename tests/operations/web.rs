//! As much of an HTTP client as the tests need.

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// Asks for a page.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    request("GET", address, path, "*/*").await
}

/// Asks, on a connection of its own.
pub(crate) async fn request(
    method: &str,
    address: SocketAddr,
    path: &str,
    accept: &str,
) -> Result<Answer, String> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", address.to_string())
            .header("Accept", accept)
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let header = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let content_type = header.unwrap_or_default().to_owned();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status, content_type, body: String::from_utf8_lossy(&body).into_owned() })
    };
    let timed_out = || Err(format!("{address}{path} did not answer"));
    tokio::time::timeout(Duration::from_secs(20), exchange).await.unwrap_or_else(|_| timed_out())
}
