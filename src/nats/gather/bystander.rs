//! What an agent knows of servers while another one asks them: by their heartbeats, and by their farewells.
//!
//! Without it, an agent that takes over after it was cut off from a part of the system would not know that there is such a
//! part, and would take what it does not see for over.

use super::Gatherer;
use super::events::EventReader;
use super::roster::{Departures, Expected, Roster, ServerEvent};
use crate::nats::connect::Connection;
use crate::nats::inbox::{Inbox, InboxError};
use crate::nats::selftest::Answered;
use crate::snapshot::Leaving;
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
    /// Whether disconnects are counted: from the first epoch on that another agent was heard to publish.
    counts: bool,
}

#[derive(Debug, Default)]
struct Servers {
    seen: BTreeMap<Name, Seen>,
    departures: Departures,
}

impl Bystander {
    /// Begins to listen. `servers` are those that are known to be there, by name.
    pub async fn start(
        connection: &Connection,
        servers: &BTreeMap<String, Answered>,
        at: OffsetDateTime,
    ) -> Result<Self, InboxError> {
        let events = EventReader::start(connection).await?;
        let name = |name: &String| bounded(name, NAME_BYTES);
        let seen = |(called, server): (&String, &Answered)| {
            let cluster = server.cluster.as_ref().map(name);
            (name(called), Seen { id: Some(name(&server.id)), cluster, at })
        };
        let seen = servers.iter().take(MAX_SERVERS).map(seen).collect();
        Ok(Self { events, servers: Servers { seen, departures: Departures::default() }, counts: false })
    }

    /// Takes in what was heard since the last call.
    pub fn listen(&mut self, at: OffsetDateTime) {
        if !self.counts {
            // Whoever asks first begins to count when it begins.
            let _ = self.events.take_disconnects();
        }
        self.servers.take_in(self.events.take_server_events().events, at);
    }

    /// Another agent has published an epoch: connections that ended before it are told, and those that end from now on are for
    /// whoever publishes the next.
    pub fn epoch_ended(&mut self) {
        let _ = self.events.take_disconnects();
        self.counts = true;
    }
}

impl Servers {
    fn take_in(&mut self, events: Vec<ServerEvent>, at: OffsetDateTime) {
        let (mut left, mut heartbeats) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                ServerEvent::Shutdown(id) => left.push((id, Leaving::Shutdown)),
                ServerEvent::LameDuck(id) => left.push((id, Leaving::LameDuck)),
                ServerEvent::Heartbeat { id, name, cluster } => heartbeats.push((id, name, cluster)),
            }
        }
        for (id, name, cluster) in heartbeats {
            if self.seen.len() < MAX_SERVERS || self.seen.contains_key(&name) {
                self.departures.met(&name, &id, at);
                self.seen.insert(name, Seen { id: Some(id), cluster, at });
            }
        }
        for (id, how) in &left {
            if *how == Leaving::Shutdown {
                self.departures.ended(id, at);
            }
            for (name, seen) in self.seen.iter().filter(|(_, seen)| seen.id.as_ref() == Some(id)) {
                self.departures.announce(id, (name, seen.cluster.as_ref()), *how, at);
            }
        }
        let left: BTreeSet<&Name> = left.iter().map(|(id, _)| id).collect();
        self.seen.retain(|_, seen| {
            let gone = seen.id.as_ref().is_some_and(|id| left.contains(id));
            !gone && at - seen.at < FORGET
        });
        self.departures.forget(self.seen.values().filter_map(|seen| seen.cluster.as_ref()), at);
    }

    /// Makes them known to whoever asks from now on.
    fn tell(self, roster: &mut Roster) {
        roster.take_over(self.departures);
        for (name, Seen { id, cluster, at }) in self.seen {
            match id {
                Some(id) => roster.apply(vec![ServerEvent::Heartbeat { id, name, cluster }], at),
                None => {
                    let expected =
                        Expected { name, cluster, silent_epochs: 0, silent_since: None, left_at: None };
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

    /// Asks no more, and only listens, since another agent has published an epoch.
    pub fn stand_by(mut self) -> Bystander {
        let seen = self.roster.seen().map(|(name, id, cluster, at)| (name, Seen { id, cluster, at }));
        let seen = seen.take(MAX_SERVERS).collect();
        let departures = self.roster.take_departures();
        let mut bystander =
            Bystander { servers: Servers { seen, departures }, events: self.events, counts: false };
        bystander.epoch_ended();
        bystander
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
        servers.seen.keys().map(|name| &**name).collect()
    }

    #[tokio::test]
    async fn connections_that_end_after_the_last_epoch_of_another_agent_are_counted_by_the_next() {
        let events = EventReader::of_nothing(crate::nats::events::ClientEvents::new());
        let mut bystander = Bystander { events, servers: Servers::default(), counts: false };
        let counted = |bystander: &mut Bystander| {
            let (events, _) = bystander.events.take_disconnects();
            events.accounts().map(|(_, counts)| counts.closed).sum::<u64>()
        };
        // No epoch was heard, so that nobody knows since when.
        bystander.events.disconnected("APP");
        bystander.listen(at(0));
        assert_eq!(counted(&mut bystander), 0);
        bystander.events.disconnected("APP");
        bystander.epoch_ended();
        bystander.events.disconnected("APP");
        bystander.listen(at(1));
        bystander.events.disconnected("APP");
        bystander.listen(at(2));
        assert_eq!(counted(&mut bystander), 2);
    }

    #[test]
    fn who_is_heard_is_known_until_it_says_goodbye_or_for_a_day() {
        let mut servers = Servers::default();
        servers.seen.insert("n0".into(), Seen { id: None, cluster: None, at: at(0) });
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
        servers.seen.insert("n0".into(), Seen { id: None, cluster: None, at: at(0) });
        servers.take_in(vec![heartbeat("n1", "A")], at(10));
        let mut roster = Roster::default();
        servers.tell(&mut roster);
        let known: Vec<_> = roster.seen().map(|(name, id, ..)| (name.to_string(), id)).collect();
        assert_eq!(known, [("n1".to_owned(), Some("A".into()))], "the other is expected, but was not seen");
        assert_eq!(roster.ids().len(), 1);
    }

    /// Departures as `name` and, once it is back, `name back`.
    fn departures(servers: &Servers) -> Vec<String> {
        let each = servers.departures.list().into_iter();
        each.map(|one| format!("{}{}", one.server, if one.back_at.is_some() { " back" } else { "" }))
            .collect()
    }

    #[test]
    fn whoever_asks_next_knows_who_left_in_order() {
        let mut servers = Servers::default();
        servers.take_in(vec![heartbeat("n1", "A"), heartbeat("n2", "B"), heartbeat("n3", "C")], at(10));
        let left = vec![
            ServerEvent::LameDuck("B".into()),
            ServerEvent::Shutdown("C".into()),
            ServerEvent::Shutdown("STRANGER".into()),
        ];
        servers.take_in(left, at(20));
        assert_eq!(departures(&servers), ["n2", "n3"]);
        servers.take_in(vec![heartbeat("n3", "C2")], at(30));
        assert_eq!(departures(&servers), ["n2", "n3 back"]);
        let mut roster = Roster::default();
        servers.tell(&mut roster);
        let told = roster.departures();
        assert_eq!((&*told[0].server, told[0].cluster.as_deref(), told[0].at), ("n2", Some("east"), at(20)));
        assert_eq!((told.len(), told[1].back_at), (2, Some(at(30))));
        assert!(roster.knows_as_lame_duck("n2"));
        // And back again, as one that stands by.
        assert_eq!(roster.take_departures().list(), told);
        assert_eq!(roster.departures(), []);
    }

    #[test]
    fn who_left_is_forgotten_after_a_day_unless_the_whole_cluster_did() {
        let west = |name: &str, id: &str| ServerEvent::Heartbeat {
            id: id.into(),
            name: name.into(),
            cluster: Some("west".into()),
        };
        let mut servers = Servers::default();
        let all = vec![heartbeat("n1", "A"), heartbeat("n2", "B"), west("w1", "C"), west("w2", "D")];
        servers.take_in(all, at(0));
        let gone = ["B", "C", "D"].map(|id| ServerEvent::Shutdown(id.into()));
        servers.take_in(gone.into(), at(10));
        let day = 24 * 3600;
        servers.take_in(vec![heartbeat("n1", "A")], at(9 + day));
        assert_eq!(departures(&servers), ["n2", "w1", "w2"]);
        servers.take_in(vec![heartbeat("n1", "A")], at(10 + day));
        assert_eq!(departures(&servers), ["w1", "w2"]);
        servers.take_in(vec![heartbeat("n1", "A"), west("w1", "C2")], at(20 + day));
        assert_eq!(departures(&servers), ["w1 back"]);
    }

    #[test]
    fn they_are_bounded() {
        let mut servers = Servers::default();
        let many = (0..MAX_SERVERS + 5).map(|n| heartbeat(&format!("n{n}"), &format!("I{n}"))).collect();
        servers.take_in(many, at(0));
        assert_eq!(servers.seen.len(), MAX_SERVERS);
    }
}
