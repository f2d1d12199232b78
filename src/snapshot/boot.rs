//! Boots of servers: what is remembered of those that are over, and how it is known that they were to end.

use super::{ByKind, ServerVars, Snapshot, Version};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet};
use time::{Duration, OffsetDateTime};

/// How long a boot is remembered after it was last seen. A server that is repaired for longer comes back as a stranger.
const REMEMBER: Duration = Duration::hours(24);

/// Boots that are remembered; more than a server may have in a day, were it alone.
const MOST: usize = 20_000;

/// A boot of a server, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The server's key, which stays over restarts.
    pub key: Name,
    /// Its version.
    pub version: Option<Version>,
    /// Its JetStream domain, if it has one; none where JetStream is off, or nothing was told.
    pub domain: Option<Option<Name>>,
    /// What it counted when it last told, which may be earlier.
    pub counters: Option<Counters>,
    /// When it read its configuration, by its own clock, and the digest of that (2.11), as it last told; none if it never did.
    pub config: Option<(OffsetDateTime, Option<Name>)>,
    /// When it was last seen, by the agent's clock.
    pub last: OffsetDateTime,
}

/// What a boot counts from its start on. All are 0 then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// See [`ServerVars::slow_consumers`].
    pub slow_consumers: u64,
    /// See [`ServerVars::slow_by_kind`].
    pub slow_by_kind: Option<ByKind>,
    /// See [`ServerVars::stale_connections`].
    pub stale_connections: Option<u64>,
    /// See [`ServerVars::stale_by_kind`].
    pub stale_by_kind: Option<ByKind>,
    /// See [`ServerVars::stalled_clients`].
    pub stalled_clients: Option<u64>,
    /// When they were told, by the agent's clock; none where that is the start of the boot.
    pub at: Option<OffsetDateTime>,
}

impl Counters {
    fn of(vars: &ServerVars, at: OffsetDateTime) -> Self {
        Self {
            slow_consumers: vars.slow_consumers,
            slow_by_kind: vars.slow_by_kind,
            stale_connections: vars.stale_connections,
            stale_by_kind: vars.stale_by_kind,
            stalled_clients: vars.stalled_clients,
            at: Some(at),
        }
    }
}

/// The boots that were seen, by the server's id.
#[derive(Debug, Clone, Default)]
pub(super) struct Boots(BTreeMap<Name, Boot>);

impl Boots {
    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        for server in snapshot.servers.values() {
            let told = server.vars.as_ref().and_then(|vars| vars.jetstream.as_ref());
            let told = told.map(|jetstream| jetstream.domain.clone());
            let domain = told.or_else(|| self.0.get(&server.id)?.domain.clone());
            let vars = server.vars.as_ref();
            let counters = vars.map(|vars| Counters::of(vars, at));
            let counters = counters.or_else(|| self.0.get(&server.id)?.counters);
            let config = vars.and_then(|vars| Some((vars.config_loaded?, vars.config_digest.clone())));
            let config = config.or_else(|| self.0.get(&server.id)?.config.clone());
            let boot =
                Boot { key: server.key(), version: server.version, domain, counters, config, last: at };
            self.0.insert(server.id.clone(), boot);
        }
        self.0.retain(|_, boot| at - boot.last < REMEMBER);
        if self.0.len() > MOST {
            let mut times: Vec<OffsetDateTime> = self.0.values().map(|boot| boot.last).collect();
            times.sort_unstable();
            let oldest = times[self.0.len() - MOST];
            self.0.retain(|_, boot| boot.last >= oldest);
        }
    }

    pub(super) fn get(&self, id: &Name) -> Option<&Boot> {
        self.0.get(id)
    }

    /// The boot of this server that was seen last before the one with this id.
    pub(super) fn before(&self, key: &Name, id: &Name) -> Option<&Boot> {
        let others = self.0.iter().filter(|(other, boot)| boot.key == *key && *other != id);
        others.map(|(_, boot)| boot).max_by_key(|boot| boot.last)
    }

    /// The boot of this server that was seen last and told its JetStream domain; of two servers with the same key, neither.
    pub(super) fn last_with_domain(&self, key: &Name) -> Option<(&Name, &Boot)> {
        let of_key = self.0.iter().filter(|(_, boot)| boot.key == *key && boot.domain.is_some());
        let newest = of_key.clone().max_by_key(|(_, boot)| boot.last)?;
        (of_key.filter(|(_, boot)| boot.last == newest.1.last).count() == 1).then_some(newest)
    }
}

/// How it is known which boots were to end.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// The ids of boots that announced their end within the last day.
    pub announced: BTreeSet<Name>,
    /// When announcements may have been missed, the oldest first.
    pub deaf: Vec<Deaf>,
    /// Boots that published a heartbeat since the previous epoch, and neither answered yet nor were heard before.
    pub heard: Vec<HeardBoot>,
}

/// A boot that is known by its heartbeat alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardBoot {
    /// Its id.
    pub id: Name,
    /// The server's key.
    pub key: Name,
    /// The start of its process, by its own clock.
    pub start: OffsetDateTime,
}

/// A time in which announcements may have been missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deaf {
    /// From the beginning of an epoch.
    pub from: OffsetDateTime,
    /// To the beginning of another one.
    pub to: OffsetDateTime,
    /// The server that this agent was connected to when it began: its announcement comes before the end of its connections
    /// (server source: it is written in place), so that it would have been heard.
    pub except: Option<Name>,
    /// One clause.
    pub why: String,
}

impl Ends {
    /// Why the announcement of a boot may have been missed that ended between these times; none if it would have been heard.
    pub fn missed(&self, id: &Name, from: OffsetDateTime, to: OffsetDateTime) -> Option<&str> {
        let deaf = self.deaf.iter().find(|deaf| {
            deaf.from <= to && deaf.to >= from && deaf.except.as_ref().is_none_or(|except| except != id)
        });
        deaf.map(|deaf| deaf.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::JetStreamVars;
    use crate::snapshot::build::{System, at};

    fn epoch(second: i64, id: &str, domain: Option<Option<&str>>) -> Snapshot {
        let mut snapshot = System::of(1)
            .at(second)
            .vars("n1", |vars| {
                vars.jetstream = domain.map(|domain| JetStreamVars {
                    domain: domain.map(Into::into),
                    ..JetStreamVars::default()
                });
            })
            .done();
        let server = snapshot.servers.pop_first().unwrap().1;
        snapshot.servers.insert(id.into(), crate::snapshot::Server { id: id.into(), ..server });
        snapshot
    }

    #[test]
    fn the_last_domain_is_remembered_over_silence_and_over_epochs_without_jetstream() {
        let mut boots = Boots::default();
        boots.push(&epoch(0, "A", Some(Some("hub"))));
        boots.push(&epoch(60, "A", None));
        assert_eq!(boots.last_with_domain(&"east/n1".into()).unwrap().1.domain, Some(Some("hub".into())));
        boots.push(&epoch(120, "B", Some(None)));
        assert_eq!(boots.last_with_domain(&"east/n1".into()).unwrap().1.domain, Some(None));
        assert_eq!(boots.last_with_domain(&"east/n2".into()), None);
        assert_eq!(boots.get(&"A".into()).unwrap().last, at(60));
        boots.push(&epoch(86_400 + 60, "B", None));
        assert_eq!(boots.get(&"A".into()), None);
    }

    #[test]
    fn an_announcement_is_missed_only_while_nobody_listened() {
        let deaf =
            Deaf { from: at(60), to: at(120), except: Some("OWN".into()), why: "the line was cut".into() };
        let ends = Ends { deaf: vec![deaf], ..Ends::default() };
        for (from, to, expected) in
            [(0, 59, false), (0, 60, true), (61, 62, true), (120, 180, true), (121, 180, false)]
        {
            assert_eq!(ends.missed(&"A".into(), at(from), at(to)).is_some(), expected, "{from} {to}");
        }
        assert_eq!(ends.missed(&"OWN".into(), at(61), at(62)), None);
    }
}
