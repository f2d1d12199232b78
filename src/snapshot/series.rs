//! Numbers that checks follow over the window of the history.

#[cfg(doc)]
use super::Problem;
use super::{Account, Answer, Endpoint, HeardBoot, Server, Snapshot};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// How far back series reach.
pub(super) const WINDOW: Duration = Duration::from_secs(3600);

/// A number that is followed. Each is kept only while an enabled check declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// Open client connections of a server, by its key.
    ServerConnections,
    /// Processor use of a server in tenths of a percent of all its processors, by its key.
    ServerCpu,
    /// Subscriptions of the clients that a sweep saw on a server, by its key.
    ServerSubscriptions,
    /// The start of a server as Unix time in seconds, by its key: a point for every boot that was seen.
    ServerStarts,
    /// The same of boots that published a heartbeat and answered nothing in that epoch.
    HeardStarts,
    /// Bytes that an account sent and received over all servers, through gateways and in all other ways, by account, in a
    /// system with gateways. What stands for the boot is the set of servers that told it, so that a server that is started
    /// anew, or no longer lists the account, begins another track.
    AccountBytes,
    /// Those of them that went through gateways (2.11), by account and in the same way.
    AccountGatewayBytes,
    /// Instances of a service, by service, account and server.
    ServiceInstances,
    /// The outbound gateways that were seen, by [`gateway_link`]; the value is always 1.
    GatewayLinks,
    /// The first hundred streams and consumers of a server that lag, by [`lagging_asset`]; the value is always 1.
    LaggingAssets,
}

/// Streams and consumers of one server that are followed while they lag.
const LAGGING: usize = 100;

/// How values of a series belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A level. One that was not seen in an epoch begins anew, and so does one of a server that was started anew.
    Gauge,
    /// A count since a server's start. It is compared only with earlier values of the same boot, and stays while its server
    /// is silent.
    Counter,
}

/// One value of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it is of.
    pub key: Name,
    /// The id of the server that told it, which is new at every boot.
    pub boot: Name,
    /// The value.
    pub value: u64,
}

/// A value and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When, by the agent's clock.
    pub at: OffsetDateTime,
    /// The value.
    pub value: u64,
}

impl Series {
    /// See [`Kind`].
    pub const fn kind(self) -> Kind {
        match self {
            Self::ServerConnections | Self::ServerCpu | Self::ServerSubscriptions | Self::LaggingAssets => {
                Kind::Gauge
            }
            // Of those of services it is asked only when they were seen last.
            Self::ServerStarts
            | Self::HeardStarts
            | Self::ServiceInstances
            | Self::AccountBytes
            | Self::AccountGatewayBytes
            | Self::GatewayLinks => Kind::Counter,
        }
    }

    /// The most points that are kept of one key and boot: those of servers are few, those of accounts may be many. Where an
    /// hour has more epochs, points are thinned.
    const fn most(self) -> usize {
        match self {
            Self::ServerConnections | Self::ServerCpu | Self::ServerSubscriptions => 60,
            Self::ServerStarts
            | Self::HeardStarts
            | Self::ServiceInstances
            | Self::GatewayLinks
            | Self::LaggingAssets => 2,
            Self::AccountBytes | Self::AccountGatewayBytes => 12,
        }
    }

    /// The values of an epoch.
    pub fn readings(self, snapshot: &Snapshot) -> Vec<Reading> {
        let servers = |value: fn(&Server) -> Option<u64>| {
            let read = move |server: &Server| {
                Some(Reading { key: server.key(), boot: server.id.clone(), value: value(server)? })
            };
            snapshot.servers.values().filter_map(read).collect::<Vec<_>>()
        };
        match self {
            Self::ServerConnections => servers(|server| Some(server.vars.as_ref()?.connections)),
            Self::ServerCpu => servers(|server| {
                let vars = server.vars.as_ref()?;
                Some((vars.cpu * 10.0 / vars.cores.max(1) as f64) as u64)
            }),
            // A part of its connections would look like a loss, and then like growth.
            Self::ServerSubscriptions => {
                let mut readings = servers(|server| Some(server.fold.as_ref()?.subscriptions));
                let whole =
                    |id: &Name| snapshot.coverage.answer(Endpoint::Connz, id) == Some(&Answer::Complete);
                readings.retain(|reading| whole(&reading.boot));
                readings
            }
            Self::ServerStarts => servers(|server| u64::try_from(server.start?.unix_timestamp()).ok()),
            Self::HeardStarts => heard_starts(snapshot),
            Self::ServiceInstances => services(snapshot),
            Self::AccountBytes => accounts(snapshot, |account| account.bytes),
            Self::AccountGatewayBytes => accounts(snapshot, Account::gateway_bytes),
            Self::GatewayLinks => gateway_links(snapshot),
            Self::LaggingAssets => lagging_assets(snapshot),
        }
    }
}

/// What an account sends and receives is worth following only where there are gateways. It is followed before any of it went
/// through one: what crosses first counts as well.
fn accounts(snapshot: &Snapshot, value: fn(&Account) -> u64) -> Vec<Reading> {
    let mut vars = snapshot.servers.values().filter_map(|server| server.vars.as_ref());
    let mut accounts = snapshot.accounts.values();
    if vars.all(|vars| vars.gateways.is_none()) && accounts.all(|account| account.traffic.is_empty()) {
        return Vec::new();
    }
    let followed = snapshot.accounts.values().filter(|account| account.bytes > 0);
    let read = |account: &Account| Reading {
        key: account.id.clone(),
        boot: Name::from(format!("{:016x}", account.told_by)),
        value: value(account),
    };
    followed.map(read).collect()
}

/// The key of a server's gateway to a remote cluster. No name of a server or a cluster has a line break.
pub fn gateway_link(server: &Server, remote: &str) -> Name {
    Name::from(format!("{}\n{remote}", server.key()))
}

fn gateway_links(snapshot: &Snapshot) -> Vec<Reading> {
    let of = |server: &Server| -> Vec<Reading> {
        let remotes = server.gateways.iter().flat_map(|gateways| gateways.outbound.keys());
        let link =
            |remote: &Name| Reading { key: gateway_link(server, remote), boot: server.id.clone(), value: 1 };
        remotes.map(link).collect()
    };
    snapshot.servers.values().flat_map(of).collect()
}

fn heard_starts(snapshot: &Snapshot) -> Vec<Reading> {
    let read = |heard: &HeardBoot| {
        let value = u64::try_from(heard.start.unix_timestamp()).ok()?;
        Some(Reading { key: heard.key.clone(), boot: heard.id.clone(), value })
    };
    snapshot.ends.heard.iter().filter_map(read).collect()
}

/// The key of a stream or a consumer that lags on a server, from its [`Problem::asset`].
pub fn lagging_asset(server: &Server, asset: &str) -> Name {
    Name::from(format!("{}\n{asset}", server.key()))
}

fn lagging_assets(snapshot: &Snapshot) -> Vec<Reading> {
    let of = |server: &Server| -> Vec<Reading> {
        let problems = server.health.iter().flat_map(|health| &health.problems);
        let mut assets: Vec<&str> =
            problems.filter(|problem| problem.lags()).map(|problem| problem.asset()).collect();
        // Servers tell them in any order.
        assets.sort_unstable();
        assets.truncate(LAGGING);
        let reading =
            |asset: &str| Reading { key: lagging_asset(server, asset), boot: server.id.clone(), value: 1 };
        assets.into_iter().map(reading).collect()
    };
    snapshot.servers.values().flat_map(of).collect()
}

fn services(snapshot: &Snapshot) -> Vec<Reading> {
    let each = snapshot.services.iter().flat_map(|((account, name), service)| {
        let key = super::services::key(account, name);
        service.servers.iter().map(move |(server, count)| Reading {
            key: key.clone(),
            boot: server.clone(),
            value: *count,
        })
    });
    each.collect()
}

/// The points of one key and one boot, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What it is of.
    pub key: Name,
    /// The id of the server that told it.
    pub boot: Name,
    /// The values.
    pub points: Vec<Point>,
}

impl Track {
    /// By how much it grew from its first to its last point; 0 where it sank.
    pub fn growth(&self) -> u64 {
        match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => last.value.saturating_sub(first.value),
            _ => 0,
        }
    }

    /// Seconds from its first to its last point.
    pub fn seconds(&self) -> f64 {
        match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => (last.at - first.at).as_seconds_f64(),
            _ => 0.0,
        }
    }
}

/// The series that are followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Followed {
    series: BTreeMap<Series, BTreeMap<(Name, Name), Vec<Point>>>,
}

impl Followed {
    /// Follows these and forgets others.
    pub(super) fn want(&mut self, wanted: &BTreeSet<Series>) {
        self.series.retain(|series, _| wanted.contains(series));
        for series in wanted {
            self.series.entry(*series).or_default();
        }
    }

    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        for (series, tracks) in &mut self.series {
            let mut seen = BTreeSet::new();
            for Reading { key, boot, value } in series.readings(snapshot) {
                let id = (key, boot);
                let points = tracks.entry(id.clone()).or_default();
                points.push(Point { at, value });
                thin(points, series.most());
                seen.insert(id);
            }
            tracks.retain(|id, points| {
                // The newest point from before the window stays: growth is told over the whole of it.
                while points.get(1).is_some_and(|second| at - second.at >= WINDOW) {
                    points.remove(0);
                }
                let in_window = points.last().is_some_and(|last| at - last.at < WINDOW);
                in_window && (series.kind() == Kind::Counter || seen.contains(id))
            });
        }
    }

    /// Every track of a series, its present value included.
    pub(super) fn tracks(&self, series: Series, now: &Snapshot) -> Vec<Track> {
        let past = self.series.get(&series);
        let mut tracks = Vec::new();
        let mut present = BTreeSet::new();
        for Reading { key, boot, value } in series.readings(now) {
            let id = (key, boot);
            let mut points = past.and_then(|past| past.get(&id)).cloned().unwrap_or_default();
            points.push(Point { at: now.taken_at, value });
            present.insert(id.clone());
            tracks.push(Track { key: id.0, boot: id.1, points });
        }
        if series.kind() == Kind::Counter {
            let silent = past.into_iter().flatten().filter(|(id, _)| !present.contains(*id));
            tracks.extend(silent.map(|((key, boot), points)| Track {
                key: key.clone(),
                boot: boot.clone(),
                points: points.clone(),
            }));
        }
        tracks
    }
}

/// Takes out the point whose neighbours are nearest to each other, the ends aside, until there are at most so many.
fn thin(points: &mut Vec<Point>, most: usize) {
    while points.len() > most.max(2) {
        let gap = |at: usize| points[at + 1].at - points[at - 1].at;
        let Some(nearest) = (1..points.len() - 1).min_by_key(|at| gap(*at)) else { return };
        points.remove(nearest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::System;

    fn epoch(second: i64, connections: u64) -> Snapshot {
        System::of(1).at(second).vars("n1", |vars| vars.connections = connections).done()
    }

    fn following(series: Series) -> Followed {
        let mut followed = Followed::default();
        followed.want(&BTreeSet::from([series]));
        followed
    }

    #[test]
    fn a_level_is_followed_with_its_present_value_and_broken_by_a_gap_or_a_restart() {
        let mut followed = following(Series::ServerConnections);
        followed.push(&epoch(0, 10));
        followed.push(&epoch(60, 20));
        let tracks = followed.tracks(Series::ServerConnections, &epoch(120, 35));
        assert_eq!((tracks.len(), tracks[0].points.len()), (1, 3));
        assert_eq!((&*tracks[0].key, tracks[0].growth(), tracks[0].seconds()), ("east/n1", 25, 120.0));

        let mut silent = epoch(120, 0);
        silent.servers.clear();
        followed.push(&silent);
        assert_eq!(followed.tracks(Series::ServerConnections, &epoch(180, 35))[0].points.len(), 1);

        followed.push(&epoch(180, 35));
        let mut restarted = epoch(240, 1);
        let server = restarted.servers.pop_first().map(|(_, server)| server).unwrap();
        restarted.servers.insert("NEW".into(), Server { id: "NEW".into(), ..server });
        let tracks = followed.tracks(Series::ServerConnections, &restarted);
        assert_eq!((tracks.len(), tracks[0].points.len()), (1, 1));
    }

    #[test]
    fn a_count_outlives_the_silence_of_its_server_and_is_forgotten_after_the_window() {
        let mut followed = following(Series::ServerStarts);
        followed.push(&epoch(0, 10));
        let mut silent = epoch(60, 0);
        silent.servers.clear();
        followed.push(&silent);
        assert_eq!(followed.tracks(Series::ServerStarts, &silent).len(), 1);
        let mut late = epoch(3600, 0);
        late.servers.clear();
        followed.push(&late);
        assert!(followed.tracks(Series::ServerStarts, &late).is_empty());
    }

    #[test]
    fn an_hour_of_short_epochs_is_thinned_and_still_reaches_back() {
        let mut followed = following(Series::ServerConnections);
        for second in 0..3600 {
            followed.push(&epoch(second, second.unsigned_abs()));
        }
        let tracks = followed.tracks(Series::ServerConnections, &epoch(3600, 3600));
        assert_eq!((tracks[0].points.len(), tracks[0].growth()), (61, 3600));
    }

    #[test]
    fn what_nobody_declares_is_not_kept() {
        let mut followed = Followed::default();
        followed.push(&epoch(0, 1));
        assert_eq!(followed.tracks(Series::ServerConnections, &epoch(60, 1))[0].points.len(), 1);
    }
}
