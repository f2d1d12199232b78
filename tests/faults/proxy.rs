//! A TCP proxy that can be cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Forwards connections to a port of this machine until it is cut.
#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<u16>,
    /// What the connecting side must say to be cut.
    trigger: Mutex<Option<&'static [u8]>>,
    whole: watch::Sender<bool>,
    /// How much later the connecting side hears.
    delay: Mutex<Duration>,
}

impl Proxy {
    /// A proxy without a target.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            target: Mutex::new(0),
            trigger: Mutex::new(None),
            whole: watch::Sender::new(true),
            delay: Mutex::new(Duration::ZERO),
        };
        let proxy = Self { port, shared: Arc::new(shared) };
        let shared = Arc::clone(&proxy.shared);
        tokio::spawn(async move {
            while let Ok((incoming, _)) = listener.accept().await {
                if *shared.whole.borrow() {
                    tokio::spawn(forward(incoming, Arc::clone(&shared)));
                }
            }
        });
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn aim(&self, port: u16) {
        *self.shared.target.lock().unwrap() = port;
    }

    /// Closes what goes through it, and whatever comes until it is mended.
    pub(crate) fn cut(&self) {
        self.shared.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.shared.whole.send_replace(true);
    }

    /// Is cut as soon as these bytes would pass; they do not.
    pub(crate) fn cut_before(&self, bytes: &'static [u8]) {
        *self.shared.trigger.lock().unwrap() = Some(bytes);
    }

    /// Holds back each piece of what comes from the target for so long.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    pub(crate) fn is_cut(&self) -> bool {
        !*self.shared.whole.borrow()
    }
}

async fn forward(incoming: TcpStream, shared: Arc<Shared>) {
    let target = *shared.target.lock().unwrap();
    let Ok(outgoing) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (from, to) = (incoming.into_split(), outgoing.into_split());
    let mut whole = shared.whole.subscribe();
    tokio::select! {
        () = ask(from.0, to.1, &shared) => {}
        () = answer(to.0, from.1, &shared) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}

/// What the connecting side says.
async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    // The bytes looked for may be cut in two by a read.
    let mut tail: Vec<u8> = Vec::new();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..read];
        let trigger = *shared.trigger.lock().unwrap();
        if let Some(needle) = trigger {
            tail.extend_from_slice(bytes);
            if tail.windows(needle.len()).any(|window| window == needle) {
                shared.whole.send_replace(false);
                return;
            }
            tail.drain(..tail.len().saturating_sub(needle.len()));
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// What it hears, each piece later than it came by as much as is wanted then.
async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let (sender, mut pieces) = unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + *shared.delay.lock().unwrap();
            if sender.send((due, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
