//! Something that answers as Alertmanager does, or as it should not.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::SOON_S;
use crate::support::eventually;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) alerts: Vec<Value>,
    /// What was answered.
    pub(crate) status: u16,
}

/// A status that is no status: never to answer.
pub(crate) const SILENT: u16 = 0;

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
    _task: AbortOnDropHandle<()>,
}

impl Fake {
    /// Answers every request with this status, until told otherwise.
    pub(crate) async fn start(status: u16) -> Self {
        Self::start_with(status, None).await
    }

    /// The same over TLS.
    pub(crate) async fn start_with(status: u16, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let status = Arc::new(AtomicU16::new(status));
        let (kept, answers) = (Arc::clone(&received), Arc::clone(&status));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answers, tls) = (Arc::clone(&kept), Arc::clone(&answers), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, kept, answers).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, kept, answers).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, received, status, _task: AbortOnDropHandle::new(task) }
    }

    /// Its base.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for a request that is accepted, old or new.
    pub(crate) async fn wait_for(&self, what: &str, wanted: impl Fn(&Received) -> bool) -> Received {
        eventually(what, SOON_S, async || {
            let received = self.received();
            received.iter().find(|one| wanted(one)).cloned().ok_or_else(|| format!("{received:?}"))
        })
        .await
    }
}

async fn serve<S>(stream: S, kept: Arc<Mutex<Vec<Received>>>, answers: Arc<AtomicU16>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
        async move {
            let path = request.uri().path().to_owned();
            let authorization = request.headers().get("authorization");
            let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let alerts = serde_json::from_slice(&body).unwrap();
            let status = answers.load(Ordering::Relaxed);
            kept.lock().unwrap().push(Received { path, authorization, alerts, status });
            if status == SILENT {
                std::future::pending::<()>().await;
            }
            let mut response = Response::new(Full::new(Bytes::from_static(b"\"as told\"")));
            *response.status_mut() = status.try_into().unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
