//! Which subjects the agent's user is denied.
//!
//! A denied publish or subscription is told once, by an event on the side, and then by silence. So a denial is kept until
//! there is proof of the contrary.

use crate::election::AGENTS_SUBJECT;
use crate::nats::events::ClientEvents;
use crate::nats::permissions::covers;
use crate::snapshot::{Coverage, Denied, Endpoint, Event};
use crate::text::Name;
use std::collections::BTreeMap;

/// Denials by subject, and the number of connects when each was noted.
#[derive(Debug, Default)]
pub(super) struct Denials {
    known: BTreeMap<Denied, u64>,
}

impl Denials {
    /// Notes subjects, with wildcards, that the server says are not allowed.
    pub(super) fn note<'a>(
        &mut self,
        publish: impl IntoIterator<Item = &'a String>,
        subscribe: impl IntoIterator<Item = &'a String>,
        connects: u64,
    ) {
        let publish = publish.into_iter().map(|subject| (subject, false));
        for (subject, subscribe) in publish.chain(subscribe.into_iter().map(|subject| (subject, true))) {
            let needed = needed(subscribe);
            for subject in needed.filter(|needed| **needed == **subject) {
                self.known.insert(Denied { subject: Name::from(subject), subscribe }, connects);
            }
        }
    }

    /// Notes that this subject is allowed.
    pub(super) fn allowed(&mut self, subject: &str) {
        self.known.retain(|denied, _| &*denied.subject != subject);
    }

    /// Takes in an epoch, and leaves in its coverage what is denied.
    pub(super) fn take(&mut self, events: &ClientEvents, coverage: &mut Coverage) {
        let connects = events.connects();
        // Whoever answered the roll call did so after the server had judged the subscriptions, which come first.
        let answered = coverage.heard(Endpoint::Statsz);
        let heard = |subject: &str| {
            // Several requests differ in their options alone.
            let mut asked = Endpoint::ALL.into_iter().filter(|endpoint| endpoint.subject() == Some(subject));
            asked.any(|endpoint| coverage.heard(endpoint))
        };
        self.known.retain(|denied, noted| {
            let allowed_now = !denied.subscribe && heard(&denied.subject);
            !(allowed_now || (answered && connects > *noted))
        });
        for (told, subscribe) in [(events.denied_publishes(), false), (events.denied_subscriptions(), true)] {
            for subject in needed(subscribe) {
                if told.iter().any(|told| covers(subject, told)) {
                    self.known.insert(Denied { subject: Name::from(subject), subscribe }, connects);
                }
            }
        }
        coverage.denied = self.known.keys().cloned().collect();
    }
}

/// What is asked and heard here, and on what agents speak to each other.
fn needed(subscribe: bool) -> impl Iterator<Item = &'static str> {
    let asked = Endpoint::ALL.into_iter().filter_map(Endpoint::subject).filter(move |_| !subscribe);
    let heard = Event::ALL.into_iter().map(Event::subject).filter(move |_| subscribe);
    asked.chain(heard).chain([AGENTS_SUBJECT])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Answer;
    use async_nats::{Event, ServerError};

    fn refuse(events: &ClientEvents, what: &str, subject: &str) {
        let text = format!("Permissions Violation for {what} to \"{subject}\"");
        events.record(&Event::ServerError(ServerError::Other(text)));
    }

    fn heard(endpoints: &[Endpoint]) -> Coverage {
        let mut coverage = Coverage::default();
        endpoints.iter().for_each(|endpoint| coverage.note(*endpoint, &"A".into(), Answer::Complete));
        coverage
    }

    fn taken(denials: &mut Denials, events: &ClientEvents, answered: &[Endpoint]) -> Vec<String> {
        let mut coverage = heard(answered);
        denials.take(events, &mut coverage);
        coverage.denied.iter().map(|denied| denied.subject.to_string()).collect()
    }

    #[test]
    fn a_denial_is_told_as_the_subject_that_has_to_be_allowed() {
        let events = ClientEvents::new();
        events.record(&Event::Connected);
        refuse(&events, "Publish", "$SYS.REQ.SERVER.NABC.CONNZ");
        refuse(&events, "Publish", "$SYS.REQ.SERVER.NDEF.CONNZ");
        refuse(&events, "Subscription", "$SYS.SERVER.*.STATSZ");
        refuse(&events, "Publish", "something.else");
        let mut denials = Denials::default();
        let both = ["$SYS.REQ.SERVER.*.CONNZ", "$SYS.SERVER.*.STATSZ"];
        assert_eq!(taken(&mut denials, &events, &[Endpoint::Statsz]), both);
        // What was told stays true of the same connection.
        assert_eq!(taken(&mut denials, &events, &[Endpoint::Statsz]), both);
    }

    #[test]
    fn a_denial_ends_with_proof_and_not_with_silence() {
        let events = ClientEvents::new();
        events.record(&Event::Connected);
        let mut denials = Denials::default();
        let subjects = ["$SYS.REQ.SERVER.*.VARZ".to_owned()];
        denials.note(&subjects, &["$SYS.SERVER.*.LAMEDUCK".to_owned()], events.connects());
        assert_eq!(taken(&mut denials, &events, &[Endpoint::Statsz]).len(), 2);
        events.record(&Event::Disconnected);
        assert_eq!(taken(&mut denials, &events, &[]).len(), 2);
        events.record(&Event::Connected);
        // Connected again, but nobody has answered yet.
        assert_eq!(taken(&mut denials, &events, &[]).len(), 2);
        refuse(&events, "Publish", "$SYS.REQ.SERVER.PING.VARZ");
        assert_eq!(taken(&mut denials, &events, &[Endpoint::Statsz]), ["$SYS.REQ.SERVER.*.VARZ"]);
        let mut other = Denials::default();
        other.note(&subjects, &[], 0);
        assert!(taken(&mut other, &ClientEvents::new(), &[Endpoint::Varz]).is_empty());
    }
}
