//! What the client noticed on the side: dropped messages, denied subjects, lost connections.
//!
//! A denied publish is answered by silence and a full subscription drops messages; only an event says so. async-nats
//! 0.51 queues 128 events and loses the rest, so every count is a lower bound, and more than none is what matters.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{ClientError, Event, ServerError};
use tokio::sync::Notify;

use super::permissions::covers;

/// Denied subjects that are remembered of each kind.
const MAX_DENIED: usize = 256;
/// Subjects of answers that are remembered, until the server may have refused them.
const MAX_ANSWERS: usize = 256;
/// Connections that are remembered over reconnects.
const MAX_OWNED: usize = 16;
/// Characters of a server's error that are kept.
const MAX_TEXT: usize = 512;

/// Counters and notes of one connection's events; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ClientEvents(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Which connection it is, for the log; none for the main one.
    name: Option<&'static str>,
    connected: AtomicBool,
    connects: AtomicU64,
    disconnects: AtomicU64,
    drops: AtomicU64,
    violations: AtomicU64,
    server_errors: AtomicU64,
    notes: Mutex<Notes>,
    /// Told at every connect.
    connected_again: Notify,
    /// The connections that there were, as servers list them: the server's id and the connection's there.
    owned: Mutex<VecDeque<(String, u64)>>,
    /// Subscriptions whose denial is told by whoever made them.
    tolerated: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Notes {
    publish: BTreeSet<String>,
    subscribe: BTreeSet<String>,
    /// What this program or the server said.
    problem: Option<String>,
    /// What the client library said, which is less.
    client_problem: Option<String>,
    /// What has been logged already, so that retries do not repeat it.
    logged: BTreeSet<String>,
    /// Where requests were answered to; the subjects are the requesters'.
    answers: VecDeque<String>,
    answers_denied: u64,
}

impl Notes {
    fn log_once(&mut self, connection: Option<&str>, text: &str) -> String {
        let text: String = text.chars().take(MAX_TEXT).collect();
        if self.logged.len() < MAX_DENIED && self.logged.insert(text.clone()) {
            tracing::warn!(connection, problem = text, "the connection has a problem");
        }
        text
    }
}

/// A permission violation as the server words it.
#[derive(Debug, PartialEq, Eq)]
enum Violation<'a> {
    Publish(&'a str),
    Subscribe(&'a str),
}

impl ClientEvents {
    /// No events so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// No events so far of a connection that the log calls by this name.
    pub fn named(name: &'static str) -> Self {
        Self(Arc::new(Shared { name: Some(name), ..Shared::default() }))
    }

    /// Whether the connection stands now.
    pub fn connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    /// How often a connection was made.
    pub fn connects(&self) -> u64 {
        self.0.connects.load(Ordering::Relaxed)
    }

    /// How often it was lost.
    pub fn disconnects(&self) -> u64 {
        self.0.disconnects.load(Ordering::Relaxed)
    }

    /// Messages dropped because a subscription was full: an epoch in which this grows is incomplete.
    pub fn drops(&self) -> u64 {
        self.0.drops.load(Ordering::Relaxed)
    }

    /// Permission violations, whether or not their subject is remembered.
    pub fn violations(&self) -> u64 {
        self.0.violations.load(Ordering::Relaxed)
    }

    /// Errors the server sent that are no permission violations.
    pub fn server_errors(&self) -> u64 {
        self.0.server_errors.load(Ordering::Relaxed)
    }

    /// Whether a publish to exactly this subject was refused since the last connect.
    pub fn denied(&self, subject: &str) -> bool {
        self.notes().publish.contains(subject)
    }

    /// Subjects to which publishing was refused since the last connect; a bounded set.
    pub fn denied_publishes(&self) -> Vec<String> {
        self.notes().publish.iter().cloned().collect()
    }

    /// Forgets which publishes were refused: permissions may change while the connection stands (a reload of the server),
    /// and whoever asks again is refused again.
    pub fn forget_denied_publishes(&self) {
        self.notes().publish.clear();
    }

    /// Forgets that these subjects were refused, for whoever tries them again.
    pub fn forget_denied(&self, subjects: &[&str]) {
        let mut notes = self.notes();
        for subject in subjects {
            notes.publish.remove(*subject);
            notes.subscribe.remove(*subject);
        }
    }

    /// Subscriptions that were refused since the last connect; a bounded set.
    pub fn denied_subscriptions(&self) -> Vec<String> {
        self.notes().subscribe.iter().cloned().collect()
    }

    /// Whether a subscription to exactly this subject was refused since the last connect.
    pub fn subscription_denied(&self, subject: &str) -> bool {
        self.notes().subscribe.contains(subject)
    }

    /// Whether a subscription below `prefix` was refused since the last connect.
    pub fn denied_below(&self, prefix: &str) -> bool {
        let pattern = format!("{prefix}.>");
        self.notes().subscribe.iter().any(|subject| covers(&pattern, subject))
    }

    /// Waits for the next connect, or for one that nobody has waited for.
    pub(super) async fn connect_noticed(&self) {
        self.0.connected_again.notified().await;
    }

    /// Notes a connection as its server lists it.
    pub(super) fn own(&self, one: (String, u64)) {
        let mut owned = self.0.owned.lock().unwrap_or_else(PoisonError::into_inner);
        if !owned.contains(&one) {
            if owned.len() >= MAX_OWNED {
                owned.pop_front();
            }
            owned.push_back(one);
        }
    }

    /// The connections that there were, the newest ones.
    pub(super) fn owned(&self) -> Vec<(String, u64)> {
        self.0.owned.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Announces a subscription that may be denied: that is remembered like any other, and told by whoever made it.
    pub(super) fn tolerate(&self, subject: &str) {
        self.0.tolerated.lock().unwrap_or_else(PoisonError::into_inner).insert(subject.to_owned());
    }

    /// Announces an answer to a request. Its subject is a new one every time: a refusal is counted, not remembered.
    pub(super) fn answering(&self, subject: &str) {
        let answers = &mut self.notes().answers;
        if answers.len() >= MAX_ANSWERS {
            answers.pop_front();
        }
        answers.push_back(subject.to_owned());
    }

    /// Answers to requests that were refused since the last connect.
    pub fn answers_denied(&self) -> u64 {
        self.notes().answers_denied
    }

    /// What went wrong with the connection since it last stood, in words.
    pub fn last_problem(&self) -> Option<String> {
        let notes = self.notes();
        notes.problem.clone().or_else(|| notes.client_problem.clone())
    }

    /// Notes a problem that is no event of the client.
    pub(super) fn problem(&self, text: &str) {
        let mut notes = self.notes();
        notes.problem = Some(notes.log_once(self.0.name, text));
    }

    fn client_problem(&self, text: &str) {
        let mut notes = self.notes();
        notes.client_problem = Some(notes.log_once(self.0.name, text));
    }

    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.0.connects.fetch_add(1, Ordering::Relaxed);
                self.0.connected.store(true, Ordering::Relaxed);
                self.0.connected_again.notify_one();
                // Other credentials may have been read, with other permissions.
                let mut notes = self.notes();
                *notes = Notes::default();
                tracing::debug!(connection = self.0.name, "connected");
            }
            Event::Disconnected => {
                self.0.disconnects.fetch_add(1, Ordering::Relaxed);
                self.0.connected.store(false, Ordering::Relaxed);
                tracing::warn!(connection = self.0.name, "the connection was lost; connecting again");
            }
            Event::SlowConsumer(_) => {
                if self.0.drops.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(
                        connection = self.0.name,
                        "answers come faster than they are read, and some were dropped"
                    );
                }
            }
            Event::ServerError(ServerError::Other(text)) => self.server_error(text),
            Event::ServerError(error) => self.server_error(&error.to_string()),
            Event::ClientError(ClientError::Other(text)) => self.client_problem(text),
            Event::ClientError(error) => self.client_problem(&error.to_string()),
            Event::LameDuckMode => {
                tracing::info!(connection = self.0.name, "the server is about to shut down")
            }
            Event::Closed => self.0.connected.store(false, Ordering::Relaxed),
            Event::Draining => {}
        }
    }

    fn server_error(&self, text: &str) {
        let Some(violation) = violation(text) else {
            self.0.server_errors.fetch_add(1, Ordering::Relaxed);
            self.problem(text);
            return;
        };
        self.0.violations.fetch_add(1, Ordering::Relaxed);
        let mut notes = self.notes();
        if let Violation::Publish(subject) = violation
            && notes.answers.iter().any(|answer| answer == subject)
        {
            notes.answers_denied += 1;
            return;
        }
        let tolerated = match violation {
            Violation::Publish(_) => false,
            Violation::Subscribe(subject) => {
                self.0.tolerated.lock().unwrap_or_else(PoisonError::into_inner).contains(subject)
            }
        };
        let (set, verb, subject) = match violation {
            Violation::Publish(subject) => (&mut notes.publish, "publish to", subject),
            Violation::Subscribe(subject) => (&mut notes.subscribe, "subscribe to", subject),
        };
        if set.len() < MAX_DENIED && set.insert(subject.to_owned()) {
            let text = format!("{verb} {subject}");
            if !tolerated && notes.logged.len() < MAX_DENIED && notes.logged.insert(text) {
                tracing::warn!(
                    connection = self.0.name,
                    subject,
                    "the server does not let this user {verb} the subject"
                );
            }
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The subject between quotes; a queue group may follow it.
fn violation(text: &str) -> Option<Violation<'_>> {
    const PUBLISH: &str = "permissions violation for publish to \"";
    const SUBSCRIBE: &str = "permissions violation for subscription to \"";
    let below = |start: &str| {
        let (head, rest) = text.split_at_checked(start.len())?;
        head.eq_ignore_ascii_case(start).then(|| rest.split('"').next()).flatten()
    };
    below(PUBLISH).map(Violation::Publish).or_else(|| below(SUBSCRIBE).map(Violation::Subscribe))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Event {
        Event::ServerError(ServerError::Other(text.to_owned()))
    }

    #[test]
    fn violations_are_parsed_from_the_servers_words() {
        assert_eq!(
            violation("Permissions Violation for Publish to \"$SYS.REQ.X\""),
            Some(Violation::Publish("$SYS.REQ.X"))
        );
        assert_eq!(
            violation("Permissions Violation for Subscription to \"a.>\" using queue \"q\""),
            Some(Violation::Subscribe("a.>"))
        );
        assert_eq!(violation("Authorization Violation"), None);
        assert_eq!(violation("Permissions Violation for Publish to"), None);
    }

    #[test]
    fn events_are_counted_and_denied_subjects_remembered_until_the_next_connect() {
        let events = ClientEvents::new();
        events.record(&Event::Connected);
        events.record(&error("Permissions Violation for Publish to \"a.b\""));
        events.record(&error("Permissions Violation for Subscription to \"_I.x.*\""));
        events.record(&error("Stale Connection"));
        events.record(&Event::SlowConsumer(7));
        events.record(&Event::Disconnected);
        assert!(events.denied("a.b") && !events.denied("a.c"));
        assert!(events.denied_below("_I") && !events.denied_below("_J"));
        assert_eq!((events.violations(), events.server_errors(), events.drops()), (2, 1, 1));
        assert_eq!((events.connects(), events.disconnects(), events.connected()), (1, 1, false));
        assert_eq!(events.last_problem().as_deref(), Some("Stale Connection"));

        events.forget_denied_publishes();
        assert!(!events.denied("a.b") && events.denied_below("_I"));
        events.record(&error("Permissions Violation for Publish to \"a.b\""));
        assert!(events.denied("a.b"));

        events.record(&Event::Connected);
        assert!(!events.denied("a.b") && events.connected());
        assert_eq!(events.violations(), 3);
    }

    #[test]
    fn refused_answers_are_counted_and_push_nothing_out() {
        let events = ClientEvents::new();
        events.record(&Event::Connected);
        for n in 0..1000 {
            events.answering(&format!("_INBOX.{n}"));
            events.record(&error(&format!("Permissions Violation for Publish to \"_INBOX.{n}\"")));
        }
        events.record(&error("Permissions Violation for Publish to \"a.b\""));
        assert_eq!((events.denied_publishes(), events.answers_denied()), (vec!["a.b".to_owned()], 1000));
        events.record(&Event::Connected);
        assert_eq!(events.answers_denied(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let events = ClientEvents::new();
        for n in 0..1000 {
            events.record(&error(&format!("Permissions Violation for Publish to \"a.{n}\"")));
        }
        events.problem(&"x".repeat(10_000));
        assert_eq!((events.denied_publishes().len(), events.violations()), (MAX_DENIED, 1000));
        assert_eq!(events.last_problem().map(|text| text.len()), Some(MAX_TEXT));
    }
}
