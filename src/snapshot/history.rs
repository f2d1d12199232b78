//! What the last epochs were like, for growth and trends.

use super::boot::Boots;
use super::known::Known;
use super::look_back::{Accounts, Gone, LookBack, Quiet, Users};
use super::series::Followed;
use super::slow::{Slow, SlowCounts};
use super::unseen::Unseen;
use super::{Account, Boot, Series, Snapshot, Track};
use crate::text::Name;
use std::collections::{BTreeSet, HashMap, VecDeque};
use time::{Duration, OffsetDateTime};

/// Epochs that are remembered.
const WINDOW: usize = 10;

/// For how long a server that does not answer keeps its samples.
const MISSING: Duration = Duration::hours(1);

/// Fewest samples from which a trend is told: with three, two intervals can be compared.
const STEADY_SAMPLES: usize = 3;

/// One epoch of an entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub at: OffsetDateTime,
    /// Client connections.
    pub connections: u64,
    /// The account's interest; 0 for servers.
    pub subscriptions: u64,
}

/// How an entity grew over the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Seconds from the first sample to the last.
    pub seconds: f64,
    /// Connections gained (or lost).
    pub connections: i64,
    /// Subscriptions gained (or lost).
    pub subscriptions: i64,
    /// Connections gained per second, when every interval of the window grew by at least half the average.
    pub steady_connections_per_second: Option<f64>,
}

/// The last epochs of every account and of every boot of a server. Entities that an epoch could not see whole keep
/// what they had.
#[derive(Debug, Clone, Default)]
pub struct History {
    accounts: HashMap<Name, VecDeque<Sample>>,
    /// By the server's id, which is new at every boot.
    servers: HashMap<Name, VecDeque<Sample>>,
    followed: Followed,
    boots: Boots,
    look_back: LookBack,
    users: Users,
    activity: Accounts,
    services_unseen: Unseen,
    known: Known,
    slow: Slow,
    epochs: u64,
}

impl History {
    /// Follows these series from now on, and forgets others.
    pub fn follow(&mut self, wanted: &BTreeSet<Series>) {
        self.followed.want(wanted);
    }

    /// Remembers this of accounts and users from now on, and forgets what else was.
    pub fn look_back(&mut self, wanted: LookBack) {
        self.look_back = wanted;
        if wanted.users.is_none() {
            self.users = Users::default();
        }
        if !wanted.accounts {
            self.activity = Accounts::default();
        }
        if !wanted.known {
            self.known = Known::default();
        }
    }

    /// The users that were connected in earlier epochs and are not in this one, by account and user.
    pub fn gone_users(&self, now: &Snapshot) -> Vec<Gone<'_>> {
        self.users.gone(now)
    }

    /// For how long an account has done nothing; none if it does something now, or nothing is known of it.
    pub fn quiet(&self, account: &Account, now: &Snapshot) -> Option<Quiet> {
        self.activity.quiet(account, now.taken_at)
    }

    /// Which accounts and servers there were within the last day, as far as a rule looks back on them.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The slow consumers that a boot of the last hour counted when it last told them, by the server's id.
    pub fn slow_consumers(&self, id: &Name) -> Option<&SlowCounts> {
        self.slow.of(id)
    }

    /// Epochs that were remembered, also those beyond the window.
    pub const fn epochs(&self) -> u64 {
        self.epochs
    }

    /// A boot of the last day, by the server's id.
    pub fn boot(&self, id: &Name) -> Option<&Boot> {
        self.boots.get(id)
    }

    /// Of a server, by its key: the boot that was seen last, of those of the last day, other than the one with this id.
    pub fn boot_before(&self, key: &Name, id: &Name) -> Option<&Boot> {
        self.boots.before(key, id)
    }

    /// Of a server, by its key: the boot that was seen last and told its JetStream domain, with its id.
    pub fn last_with_domain(&self, key: &Name) -> Option<(&Name, &Boot)> {
        self.boots.last_with_domain(key)
    }

    /// How much of the time since then services were not seen whole, up to the last epoch and of the last hour.
    pub fn services_unseen(&self, since: OffsetDateTime) -> Duration {
        self.services_unseen.since(since)
    }

    /// Every track of a series, its value in the present epoch included.
    pub fn tracks(&self, series: Series, now: &Snapshot) -> Vec<Track> {
        self.followed.tracks(series, now)
    }

    /// Remembers an epoch. Sums over accounts are remembered only of epochs in which every server answered,
    /// because a missing server would look like a drop.
    pub fn push(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        self.epochs += 1;
        self.followed.push(snapshot);
        self.boots.push(snapshot);
        self.services_unseen.push(snapshot);
        self.slow.push(snapshot);
        if let Some(remember) = self.look_back.users {
            self.users.push(snapshot, remember);
        }
        if self.look_back.accounts {
            self.activity.push(snapshot);
        }
        if self.look_back.known {
            self.known.push(snapshot);
        }
        if snapshot.coverage.gaps(super::Endpoint::AccountStatz).is_empty() {
            self.accounts.retain(|id, _| snapshot.accounts.contains_key(id));
            for account in snapshot.accounts.values() {
                let subscriptions = account.subscriptions().unwrap_or(0);
                remember(
                    &mut self.accounts,
                    &account.id,
                    Sample { at, connections: account.connections(), subscriptions },
                );
            }
        }
        // A boot that is missing may be over.
        let is_recent = |samples: &VecDeque<Sample>| {
            !snapshot.coverage.missing.is_empty() && samples.back().is_some_and(|last| at - last.at < MISSING)
        };
        self.servers.retain(|id, samples| snapshot.servers.contains_key(id) || is_recent(samples));
        for server in snapshot.servers.values() {
            if let Some(vars) = &server.vars {
                remember(
                    &mut self.servers,
                    &server.id,
                    Sample { at, connections: vars.connections, subscriptions: 0 },
                );
            }
        }
    }

    /// How an account grew, with its present sample included.
    pub fn account(&self, id: &Name, now: Sample) -> Option<Trend> {
        trend(self.accounts.get(id)?, now)
    }

    /// How the connections of a boot of a server grew, by the server's id, with its present sample included.
    pub fn server(&self, id: &Name, now: Sample) -> Option<Trend> {
        trend(self.servers.get(id)?, now)
    }
}

/// `later - earlier`, at most the largest number where a server tells nonsense.
pub fn difference(later: u64, earlier: u64) -> i64 {
    0i64.saturating_add_unsigned(later).saturating_sub_unsigned(earlier)
}

fn remember(map: &mut HashMap<Name, VecDeque<Sample>>, key: &Name, sample: Sample) {
    let samples = map.entry(key.clone()).or_default();
    if samples.len() >= WINDOW {
        samples.pop_front();
    }
    samples.push_back(sample);
}

fn trend(past: &VecDeque<Sample>, now: Sample) -> Option<Trend> {
    let first = past.front()?;
    let seconds = (now.at - first.at).as_seconds_f64();
    if seconds <= 0.0 {
        return None;
    }
    let samples: Vec<Sample> = past.iter().copied().chain([now]).collect();
    let connections = difference(now.connections, first.connections);
    let average = connections as f64 / seconds;
    let steady = samples.len() >= STEADY_SAMPLES
        && average > 0.0
        && samples.windows(2).all(|pair| {
            let step = (pair[1].at - pair[0].at).as_seconds_f64();
            step > 0.0 && difference(pair[1].connections, pair[0].connections) as f64 / step >= average / 2.0
        });
    Some(Trend {
        seconds,
        connections,
        subscriptions: difference(now.subscriptions, first.subscriptions),
        steady_connections_per_second: steady.then_some(average),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, connections: u64) -> Sample {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000 + second).unwrap();
        Sample { at, connections, subscriptions: connections * 2 }
    }

    fn over(values: &[u64]) -> Option<Trend> {
        let mut samples: VecDeque<_> = values.iter().zip(0..).map(|(v, i)| sample(i * 10, *v)).collect();
        let now = samples.pop_back().unwrap();
        trend(&samples, now)
    }

    #[test]
    fn growth_is_of_one_boot_and_of_one_server_of_a_name() {
        use crate::snapshot::Server;
        use crate::snapshot::build::System;
        let epoch = |second: i64, id: &str, connections: u64| {
            let mut snapshot =
                System::of(1).at(second).vars("n1", |vars| vars.connections = connections).done();
            let server = snapshot.servers.pop_first().unwrap().1;
            snapshot.servers.insert(id.into(), Server { id: id.into(), ..server });
            snapshot
        };
        let mut history = History::default();
        history.push(&epoch(0, "A", 10));
        history.push(&epoch(10, "B", 400));
        assert_eq!(history.server(&"B".into(), sample(20, 420)).unwrap().connections, 20);
        assert_eq!(history.server(&"A".into(), sample(20, 420)), None, "nobody is missing");
        let missing = |second| System::of(1).gone("n1").at(second).done();
        history.push(&missing(3609));
        assert!(history.server(&"B".into(), sample(3609, 420)).is_some());
        history.push(&missing(3610));
        assert_eq!(history.server(&"B".into(), sample(3610, 420)), None);
    }

    #[test]
    fn growth_is_steady_only_when_every_interval_grows() {
        assert_eq!(over(&[10, 20, 30]).unwrap().steady_connections_per_second, Some(1.0));
        assert_eq!(over(&[10, 30, 30]).unwrap().steady_connections_per_second, None);
        assert_eq!(over(&[30, 20, 10]).unwrap().steady_connections_per_second, None);
        assert_eq!(over(&[30, 20, 10]).unwrap().connections, -20);
        assert_eq!(over(&[10, 20]).unwrap().steady_connections_per_second, None);
        assert_eq!(over(&[10]), None);
    }
}
