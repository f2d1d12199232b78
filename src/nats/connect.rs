//! Connecting to a NATS system, and staying connected.

mod error;
mod login;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::ConnectOptions;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::auth::Credentials;
use super::backoff::{Backoff, random};
use super::context::{self, Environment};
use super::events::ClientEvents;
use super::tls::check_files;
use super::urls;
use crate::connection::ConnectionOptions;

pub use error::ConnectError;
use login::Login;

/// Messages a subscription holds before it drops: a sweep of a thousand servers answers at once.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// A connection that mends itself; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    client: async_nats::Client,
    events: ClientEvents,
    inbox_prefix: String,
    timeout: Duration,
    /// Notes each connection that is made, until the last clone is gone.
    _noting: Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// The client library's handle.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// What the client noticed on the side.
    pub fn events(&self) -> &ClientEvents {
        &self.events
    }

    /// The first tokens of every inbox.
    pub fn inbox_prefix(&self) -> &str {
        &self.inbox_prefix
    }

    /// How long one question may wait for its answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The id of the server on the other end.
    pub fn server_id(&self) -> String {
        self.client.server_info().server_id
    }

    /// The connection as that server lists it: the server's id, and its own there. Both are others after a reconnect.
    pub fn own(&self) -> (String, u64) {
        let info = self.client.server_info();
        (info.server_id, info.client_id)
    }

    /// All that it has been since the start, the newest ones: one that was lost and mended twice between two looks was
    /// three connections.
    pub fn owned(&self) -> Vec<(String, u64)> {
        self.events.own(self.own());
        self.events.owned()
    }

    /// The largest payload that server accepts.
    pub fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }
}

/// Connects. Afterwards the connection mends itself for ever, reading credentials and TLS files anew each time.
pub async fn connect(options: &ConnectionOptions, events: ClientEvents) -> Result<Connection, ConnectError> {
    let options = context::apply(options, &Environment::process())?;
    check_files(&options)?;
    check_inbox_prefix(options.inbox_prefix())?;
    if options.timeout().is_zero() {
        return Err(ConnectError::NoTime);
    }
    let (addresses, url_user) = urls::parse(&options.server_urls())?;
    let login = Login::new(Credentials::select(&options, url_user)?, events.clone());
    // A file that cannot be read is said at once, whether or not a server can be reached.
    login.credentials().clone().answer(Vec::new()).await?;

    let shown: Vec<String> = addresses.iter().map(urls::shown).collect();
    let pace = Arc::new(Pace::default());
    match client_options(&options, &login, &events, Arc::clone(&pace)).connect(&addresses[..]).await {
        Ok(client) => {
            pace.connected.store(true, Ordering::Relaxed);
            let noting = note_connects(client.clone(), events.clone());
            Ok(Connection {
                _noting: Arc::new(AbortOnDropHandle::new(tokio::spawn(noting))),
                client,
                events,
                inbox_prefix: options.inbox_prefix().to_owned(),
                timeout: options.timeout(),
            })
        }
        Err(failure) => Err(error::classify(&failure, shown.join(", "), options.timeout(), &login)),
    }
}

/// The event of a connect does not say which connection it is; the client knows it then.
async fn note_connects(client: async_nats::Client, events: ClientEvents) {
    loop {
        let info = client.server_info();
        events.own((info.server_id, info.client_id));
        events.connect_noticed().await;
    }
}

fn client_options(
    options: &ConnectionOptions,
    login: &Login,
    events: &ClientEvents,
    pace: Arc<Pace>,
) -> ConnectOptions {
    let (login, recorder) = (login.clone(), events.clone());
    let mut client = ConnectOptions::with_auth_callback(move |nonce| {
        let login = login.clone();
        async move { login.answer(nonce).await }
    })
    .event_callback(move |event| {
        recorder.record(&event);
        std::future::ready(())
    })
    .reconnect_delay_callback(move |_| pace.delay())
    .max_reconnects(None)
    .connection_timeout(options.timeout())
    .subscription_capacity(SUBSCRIPTION_CAPACITY)
    .custom_inbox_prefix(options.inbox_prefix())
    .name(options.name());
    if let Some(path) = &options.tls_ca {
        client = client.add_root_certificates(path.clone()).require_tls(true);
    }
    if let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) {
        client = client.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
    }
    if options.tls_first {
        client = client.tls_first();
    }
    client
}

/// async-nats 0.51 panics on an empty prefix and on one that ends with a dot.
fn check_inbox_prefix(prefix: &str) -> Result<(), ConnectError> {
    let token = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
    };
    if prefix.split('.').all(token) {
        Ok(())
    } else {
        Err(ConnectError::InboxPrefix { prefix: prefix.to_owned() })
    }
}

/// The delays between attempts.
#[derive(Default)]
struct Pace {
    connected: AtomicBool,
    state: Mutex<(Backoff, Option<Instant>)>,
}

impl Pace {
    fn delay(&self) -> Duration {
        // The first connect tries each server once and then reports, so it has no loop to slow down.
        if !self.connected.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (backoff, last) = &mut *state;
        let since_last = last.map_or(Duration::MAX, |last| last.elapsed());
        let delay = backoff.next(since_last, random());
        *last = Some(Instant::now() + delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_prefixes_are_checked() {
        for good in ["_INBOX_INSIGHTS", "_INBOX.a-b", "$x"] {
            assert!(check_inbox_prefix(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "a\tb", "é"] {
            assert!(check_inbox_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_connect_is_not_delayed_and_every_later_one_is() {
        let pace = Pace::default();
        assert_eq!(pace.delay(), Duration::ZERO);
        pace.connected.store(true, Ordering::Relaxed);
        for _ in 0..50 {
            let delay = pace.delay();
            assert!(
                (super::super::backoff::FLOOR..=super::super::backoff::CEILING).contains(&delay),
                "{delay:?}"
            );
        }
    }
}
