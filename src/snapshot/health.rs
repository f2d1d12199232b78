//! What a server says of its own health.

use crate::text::{NAME_BYTES, Name, TEXT_BYTES, bounded};
use crate::wire::healthz::Healthz;

/// Problems that are kept of one server; a server that recovers may report tens of thousands.
const PROBLEMS: usize = 1000;

/// A server's answer to HEALTHZ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it calls itself healthy.
    pub ok: bool,
    /// Its problems, in its order.
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub omitted: u64,
}

/// What a problem is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// The server's own listeners.
    Connection,
    /// JetStream as a whole.
    JetStream,
    /// An account of JetStream.
    Account,
    /// A stream.
    Stream,
    /// A consumer.
    Consumer,
    /// Of a kind that is not known here.
    Other,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// See [`ProblemKind`].
    pub kind: ProblemKind,
    /// The account's name or public key.
    pub account: Option<Name>,
    /// The stream.
    pub stream: Option<Name>,
    /// The consumer.
    pub consumer: Option<Name>,
    /// The server's words.
    pub text: Name,
}

impl Problem {
    /// Whether it is of a stream or a consumer that only lags.
    pub fn lags(&self) -> bool {
        matches!(self.kind, ProblemKind::Stream | ProblemKind::Consumer) && self.cause().0
    }

    /// What it is of, in the server's words and without its cause: that stays while the cause changes.
    pub fn asset(&self) -> &str {
        self.text.rsplit_once('\'').map_or(&self.text, |(asset, _)| asset)
    }

    /// The cause without the names, and whether it says only that a replica lags (server source, 2.9 to 2.14).
    pub fn cause(&self) -> (bool, &str) {
        // Names may hold quotes and colons: what follows the last quote is the server's own.
        let words = self.text.rsplit_once('\'').map_or(&*self.text, |(_, words)| words.trim());
        let cause = match words.strip_prefix("is not current") {
            None => return (false, words),
            Some(rest) => rest.trim_start_matches(':').trim(),
        };
        match cause {
            // 2.9 gives no cause.
            "" => (true, "is not current"),
            "stream catching up"
            | "group node unhealthy"
            | "group node missing"
            | "stream node missing"
            | "consumer node missing" => (true, cause),
            _ => (false, cause),
        }
    }
}

impl Health {
    /// From an answer. Before 2.10 there is one text and no more: its kind is read from how it begins.
    pub fn of(healthz: &Healthz) -> Self {
        let ok = healthz.status == "ok";
        let told = healthz.errors.iter().flatten().map(|error| Problem {
            kind: kind(&error.kind),
            account: name(error.account.as_deref()),
            stream: name(error.stream.as_deref()),
            consumer: name(error.consumer.as_deref()),
            text: bounded(&error.error, TEXT_BYTES),
        });
        let mut problems: Vec<Problem> = told.collect();
        if problems.is_empty() && !ok {
            problems.extend(name(healthz.error.as_deref()).map(|text| Problem {
                kind: kind_of_text(&text),
                account: None,
                stream: None,
                consumer: None,
                text,
            }));
        }
        let omitted = problems.len().saturating_sub(PROBLEMS) as u64;
        problems.truncate(PROBLEMS);
        Self { ok, problems, omitted }
    }

    /// The problems of one kind.
    pub fn of_kind(&self, kind: ProblemKind) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(move |problem| problem.kind == kind)
    }
}

fn name(text: Option<&str>) -> Option<Name> {
    text.filter(|text| !text.is_empty()).map(|text| bounded(text, NAME_BYTES))
}

fn kind(text: &str) -> ProblemKind {
    match text {
        "CONNECTION" => ProblemKind::Connection,
        "JETSTREAM" => ProblemKind::JetStream,
        "ACCOUNT" => ProblemKind::Account,
        "STREAM" => ProblemKind::Stream,
        "CONSUMER" => ProblemKind::Consumer,
        _ => ProblemKind::Other,
    }
}

fn kind_of_text(text: &str) -> ProblemKind {
    let begins = |start: &str| text.starts_with(start);
    match () {
        () if begins("JetStream stream") => ProblemKind::Stream,
        () if begins("JetStream consumer") => ProblemKind::Consumer,
        () if begins("JetStream account") => ProblemKind::Account,
        // 2.9.16 to 2.9.25, where JetStream itself is well.
        () if begins("JetStream can not lookup account") => ProblemKind::Account,
        () if begins("JetStream") => ProblemKind::JetStream,
        () => ProblemKind::Connection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::healthz::HealthError;

    #[test]
    fn details_are_kept_up_to_a_bound_and_old_servers_tell_one_text() {
        let error =
            |kind: &str| HealthError { kind: kind.into(), error: "x".into(), ..HealthError::default() };
        let errors = (0..1001).map(|_| error("STREAM")).collect();
        let healthz = Healthz { status: "error".into(), errors: Some(errors), error: None };
        let health = Health::of(&healthz);
        assert_eq!((health.ok, health.problems.len(), health.omitted), (false, 1000, 1));
        let text = "JetStream stream 'APP > S' is not current";
        let old = Healthz { status: "unavailable".into(), error: Some(text.into()), errors: None };
        let health = Health::of(&old);
        assert_eq!(health.problems[0].kind, ProblemKind::Stream);
        for (text, kind) in [
            ("JetStream can not lookup account \"APP\": account missing", ProblemKind::Account),
            ("JetStream account 'APP' could not be resolved", ProblemKind::Account),
            ("JetStream is not current with the meta leader", ProblemKind::JetStream),
        ] {
            let old = Healthz { status: "unavailable".into(), error: Some(text.into()), errors: None };
            assert_eq!(Health::of(&old).problems[0].kind, kind, "{text}");
        }
        assert!(Health::of(&Healthz { status: "ok".into(), ..Healthz::default() }).ok);
    }
}
