//! Requests in hand: a few at work, a few more waiting, and the rest refused at once.

use super::{Handler, Refusal, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Requests that are worked on at a time. The epochs need the processor as well.
const AT_WORK: usize = 2;
/// Requests that may wait for their turn.
const WAITING: usize = 32;

/// A request with its outcome.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) endpoint: usize,
    pub(super) reply: String,
    pub(super) outcome: Result<Vec<u8>, Refusal>,
    pub(super) took: Duration,
}

/// What an endpoint has been asked since the service began.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) requests: usize,
    pub(super) errors: usize,
    pub(super) last_error: Option<Refusal>,
    pub(super) took: Duration,
}

pub(super) struct Requests {
    handler: Handler,
    turn: Arc<Semaphore>,
    in_hand: JoinSet<Done>,
    counts: Vec<Counts>,
}

impl Requests {
    pub(super) fn new(handler: Handler) -> Self {
        let turn = Arc::new(Semaphore::new(AT_WORK));
        Self { handler, turn, in_hand: JoinSet::new(), counts: Vec::new() }
    }

    /// Takes a request, or refuses it at once.
    pub(super) fn take(&mut self, request: Request, reply: String) -> Option<Done> {
        let endpoint = request.endpoint;
        if self.in_hand.len() >= AT_WORK + WAITING {
            let text = format!("busy: {WAITING} requests wait already; ask again");
            let outcome = Err(Refusal { code: 429, text });
            return Some(Done { endpoint, reply, outcome, took: Duration::ZERO });
        }
        let (handler, turn, began) = (Arc::clone(&self.handler), Arc::clone(&self.turn), Instant::now());
        self.in_hand.spawn(async move {
            // It is never closed.
            let _turn = turn.acquire().await;
            let worked = tokio::task::spawn_blocking(move || handler(&request)).await;
            let outcome = worked.unwrap_or_else(|error| {
                tracing::error!("a request could not be worked on: {error}");
                Err(Refusal { code: 500, text: "the agent failed at this request; its log says how".into() })
            });
            Done { endpoint, reply, outcome, took: began.elapsed() }
        });
        None
    }

    /// The next one that is done; none while none is in hand.
    pub(super) async fn next(&mut self) -> Option<Done> {
        // Nothing here panics, and nothing is aborted.
        self.in_hand.join_next().await?.ok()
    }

    pub(super) fn count(&mut self, done: &Done) {
        if self.counts.len() <= done.endpoint {
            self.counts.resize(done.endpoint + 1, Counts::default());
        }
        if let Some(counts) = self.counts.get_mut(done.endpoint) {
            counts.requests += 1;
            counts.took += done.took;
            if let Err(refusal) = &done.outcome {
                counts.errors += 1;
                counts.last_error = Some(refusal.clone());
            }
        }
    }

    /// By endpoint; those that have not been asked yet may be missing at the end.
    pub(super) fn counts(&self) -> &[Counts] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc;

    fn request(endpoint: usize) -> Request {
        Request { endpoint, subject: "s".into(), payload: Default::default(), limit: 1000 }
    }

    #[tokio::test]
    async fn two_are_at_work_some_wait_and_the_rest_is_refused() {
        let (gate, open) = mpsc::channel::<()>();
        let open = Mutex::new(open);
        let began = Arc::new(Semaphore::new(0));
        let at_work = Arc::clone(&began);
        let mut requests = Requests::new(Arc::new(move |_| {
            at_work.add_permits(1);
            let _ = open.lock().map(|open| open.recv());
            Ok(b"{}".to_vec())
        }));
        for _ in 0..AT_WORK + WAITING {
            assert!(requests.take(request(0), "r".into()).is_none());
        }
        let refused = requests.take(request(1), "r".into()).unwrap();
        assert_eq!(refused.outcome.as_ref().unwrap_err().code, 429);
        requests.count(&refused);
        let _both = began.acquire_many(AT_WORK as u32).await.unwrap();
        assert_eq!(began.available_permits(), 0);
        drop(gate);
        let mut done = 0;
        while let Some(next) = requests.next().await {
            assert!(next.outcome.is_ok());
            requests.count(&next);
            done += 1;
        }
        assert_eq!(done, AT_WORK + WAITING);
        let counts: Vec<(usize, usize)> =
            requests.counts().iter().map(|counts| (counts.requests, counts.errors)).collect();
        assert_eq!(counts, [(AT_WORK + WAITING, 0), (1, 1)]);
    }

    #[tokio::test]
    async fn one_that_fails_is_told_and_the_next_is_answered() {
        let handler: Handler = Arc::new(|request| match request.endpoint {
            0 => panic!("as it must not"),
            _ => Ok(b"{}".to_vec()),
        });
        let mut requests = Requests::new(handler);
        assert!(requests.take(request(0), "r".into()).is_none());
        assert_eq!(requests.next().await.unwrap().outcome.unwrap_err().code, 500);
        assert!(requests.take(request(1), "r".into()).is_none());
        assert!(requests.next().await.unwrap().outcome.is_ok());
    }
}
