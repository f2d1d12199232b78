//! What an agent knows of servers while another one asks them: by their heartbeats, and by their farewells.
//!
//! Without it, an agent that takes over after it was cut off from a part of the system would not know that there is such a
//! part, and would take what it does not see for over.

use super::Gatherer;
use super::events::EventReader;
use super::roster::{Expected, Roster, ServerEvent};
use crate::nats::connect::Connection;
use crate::nats::inbox::{Inbox, InboxError};
use crate::text::{NAME_BYTES, Name, bounded};
use std::collections::{BTreeMap, BTreeSet};
use time::{Duration, OffsetDateTime};

/// After that, a server that is not heard any more is forgotten, as one that is missed would be.
const FORGET: Duration = Duration::hours(24);

/// Servers that are remembered. Anybody in the system account can publish heartbeats.
const MAX_SERVERS: usize = 10_000;

/// A server that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Known from its first heartbeat on.
    id: Option<Name>,
    cluster: Option<Name>,
    at: OffsetDateTime,
}

/// Listens, and asks nothing.
#[derive(Debug)]
pub struct Bystander {
    events: EventReader,
    servers: Servers,
}

#[derive(Debug, Default)]
struct Servers(BTreeMap<Name, Seen>);

impl Bystander {
    /// Begins to listen. `servers` are the names of those that are known to be there.
    pub async fn start(
        connection: &Connection,
        servers: &[String],
        at: OffsetDateTime,
    ) -> Result<Self, InboxError> {
        let events = EventReader::start(connection).await?;
        let seen = |name: &String| (bounded(name, NAME_BYTES), Seen { id: None, cluster: None, at });
        Ok(Self { events, servers: Servers(servers.iter().take(MAX_SERVERS).map(seen).collect()) })
    }

    /// Takes in what was heard since the last call.
    pub fn listen(&mut self, at: OffsetDateTime) {
        // Whoever asks begins to count when it begins.
        let _ = self.events.take_disconnects();
        self.servers.take_in(self.events.take_server_events().events, at);
    }
}

impl Servers {
    fn take_in(&mut self, events: Vec<ServerEvent>, at: OffsetDateTime) {
        let left: BTreeSet<Name> = events
            .iter()
            .filter_map(|event| match event {
                ServerEvent::Shutdown(id) | ServerEvent::LameDuck(id) => Some(id.clone()),
                ServerEvent::Heartbeat { .. } => None,
            })
            .collect();
        for event in events {
            if let ServerEvent::Heartbeat { id, name, cluster } = event
                && (self.0.len() < MAX_SERVERS || self.0.contains_key(&name))
            {
                self.0.insert(name, Seen { id: Some(id), cluster, at });
            }
        }
        self.0.retain(|_, seen| {
            let gone = seen.id.as_ref().is_some_and(|id| left.contains(id));
            !gone && at - seen.at < FORGET
        });
    }

    /// Makes them known to whoever asks from now on.
    fn tell(self, roster: &mut Roster) {
        for (name, Seen { id, cluster, at }) in self.0 {
            match id {
                Some(id) => roster.apply(vec![ServerEvent::Heartbeat { id, name, cluster }], at),
                None => {
                    let expected = Expected { name, cluster, silent_epochs: 0, silent_since: None };
                    roster.look_out_for(std::iter::once(expected));
                }
            }
        }
    }
}

impl Gatherer {
    /// Goes on where a bystander was, which asks from now on. `system_account` is what the self-test found.
    pub async fn after(
        mut bystander: Bystander,
        connection: &Connection,
        system_account: Option<&str>,
        at: OffsetDateTime,
    ) -> Result<Self, InboxError> {
        let inbox = Inbox::open(connection).await?;
        bystander.listen(at);
        let mut gatherer = Self::over(inbox, bystander.events, system_account);
        bystander.servers.tell(&mut gatherer.roster);
        Ok(gatherer)
    }

    /// Asks no more, and only listens.
    pub fn stand_by(self) -> Bystander {
        let seen = self.roster.seen().map(|(name, id, cluster, at)| (name, Seen { id, cluster, at }));
        Bystander { servers: Servers(seen.take(MAX_SERVERS).collect()), events: self.events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_763_632_800 + seconds).unwrap()
    }

    fn heartbeat(name: &str, id: &str) -> ServerEvent {
        ServerEvent::Heartbeat { id: id.into(), name: name.into(), cluster: Some("east".into()) }
    }

    fn names(servers: &Servers) -> Vec<&str> {
        servers.0.keys().map(|name| &**name).collect()
    }

    #[test]
    fn who_is_heard_is_known_until_it_says_goodbye_or_for_a_day() {
        let mut servers = Servers::default();
        servers.0.insert("n0".into(), Seen { id: None, cluster: None, at: at(0) });
        servers.take_in(vec![heartbeat("n1", "A"), heartbeat("n2", "B"), heartbeat("n3", "C")], at(10));
        assert_eq!(names(&servers), ["n0", "n1", "n2", "n3"]);
        // A heartbeat of the same moment was sent before the goodbye.
        servers.take_in(vec![ServerEvent::Shutdown("B".into()), heartbeat("n2", "B")], at(20));
        servers.take_in(vec![ServerEvent::LameDuck("C".into())], at(20));
        assert_eq!(names(&servers), ["n0", "n1"]);
        servers.take_in(vec![heartbeat("n1", "A2")], at(30));
        servers.take_in(vec![ServerEvent::Shutdown("A".into())], at(40));
        assert_eq!(names(&servers), ["n0", "n1"], "the id of before its restart");
        servers.take_in(Vec::new(), at(24 * 3600 + 1));
        assert_eq!(names(&servers), ["n1"]);
    }

    #[test]
    fn whoever_asks_next_knows_them() {
        let mut servers = Servers::default();
        servers.0.insert("n0".into(), Seen { id: None, cluster: None, at: at(0) });
        servers.take_in(vec![heartbeat("n1", "A")], at(10));
        let mut roster = Roster::default();
        servers.tell(&mut roster);
        let known: Vec<_> = roster.seen().map(|(name, id, ..)| (name.to_string(), id)).collect();
        assert_eq!(known, [("n1".to_owned(), Some("A".into()))], "the other is expected, but was not seen");
        assert_eq!(roster.ids().len(), 1);
    }

    #[test]
    fn they_are_bounded() {
        let mut servers = Servers::default();
        let many = (0..MAX_SERVERS + 5).map(|n| heartbeat(&format!("n{n}"), &format!("I{n}"))).collect();
        servers.take_in(many, at(0));
        assert_eq!(servers.0.len(), MAX_SERVERS);
    }
}
