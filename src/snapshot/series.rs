//! Numbers that checks follow over the window of the history.

#[cfg(doc)]
use super::Problem;
use super::{Account, Answer, Endpoint, HeardBoot, Server, Snapshot};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use time::OffsetDateTime;

/// How far back series reach.
pub const WINDOW: Duration = Duration::from_secs(3600);

/// Tracks that are kept of one account: each server that is started anew or silent makes another set of servers that tell, and
/// a rolling restart of many makes many.
const SETS: usize = 6;

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
    /// anew, or no longer lists the account, begins another track. An epoch in which servers were asked only for accounts with
    /// clients has no value: another set would tell each time.
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
    /// A level. One that was not seen in an epoch begins anew, and so does one of a server that was started anew, or after a
    /// time in which there were no epochs.
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

    const fn is_of_accounts(self) -> bool {
        matches!(self, Self::AccountBytes | Self::AccountGatewayBytes)
    }

    /// Whether the highest value of the window outlives the thinning.
    const fn keeps_highest(self) -> bool {
        matches!(self, Self::ServerConnections | Self::ServerCpu)
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
    if !tells_accounts(snapshot) {
        return Vec::new();
    }
    let followed = snapshot.accounts.values().filter(|account| account.bytes > 0);
    let read = |account: &Account| Reading {
        key: account.id.clone(),
        boot: set(account.told_by),
        value: value(account),
    };
    followed.map(read).collect()
}

/// What stands for the boot of an account.
fn set(told_by: u64) -> Name {
    Name::from(format!("{told_by:016x}"))
}

fn tells_accounts(snapshot: &Snapshot) -> bool {
    let mut vars = snapshot.servers.values().filter_map(|server| server.vars.as_ref());
    let mut accounts = snapshot.accounts.values();
    let has_gateways =
        vars.any(|vars| vars.gateways.is_some()) || accounts.any(|account| !account.traffic.is_empty());
    has_gateways && !snapshot.coverage.used_accounts_only
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

type Tracks = BTreeMap<(Name, Name), Vec<Point>>;

/// The series that are followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Followed {
    series: BTreeMap<Series, Tracks>,
    unused: Unused,
}

/// The accounts without any traffic, and who told so, of the last epoch with values. Their first bytes grow from there, and
/// until then they need no track.
#[derive(Debug, Clone, Default)]
struct Unused {
    at: Option<OffsetDateTime>,
    told_by: HashMap<Name, u64>,
}

impl Unused {
    fn push(&mut self, snapshot: &Snapshot) {
        if tells_accounts(snapshot) {
            self.at = Some(snapshot.taken_at);
            let unused = snapshot.accounts.values().filter(|account| account.bytes == 0);
            self.told_by = unused.map(|account| (account.id.clone(), account.told_by)).collect();
        }
    }

    /// The point before the first one of a track.
    fn before(&self, (account, boot): &(Name, Name), now: OffsetDateTime) -> Option<Point> {
        let at = self.at.filter(|at| now - *at < WINDOW)?;
        let told_by = self.told_by.get(account)?;
        (*boot == set(*told_by)).then_some(Point { at, value: 0 })
    }
}

impl Followed {
    /// Follows these and forgets others.
    pub(super) fn want(&mut self, wanted: &BTreeSet<Series>) {
        self.series.retain(|series, _| wanted.contains(series));
        for series in wanted {
            self.series.entry(*series).or_default();
        }
        if !wanted.iter().any(|series| series.is_of_accounts()) {
            self.unused = Unused::default();
        }
    }

    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        let Self { series: all, unused } = self;
        for (series, tracks) in all.iter_mut() {
            let mut seen = BTreeSet::new();
            for Reading { key, boot, value } in series.readings(snapshot) {
                let id = (key, boot);
                let points = tracks.entry(id.clone()).or_default();
                lead_in(*series, &id, unused, snapshot, points);
                points.push(Point { at, value });
                thin(points, *series);
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
            if series.is_of_accounts() {
                bound(tracks, &seen);
            }
        }
        if all.keys().any(|series| series.is_of_accounts()) {
            unused.push(snapshot);
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
            lead_in(series, &id, &self.unused, now, &mut points);
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

/// Makes a track ready for its next point.
fn lead_in(series: Series, id: &(Name, Name), unused: &Unused, snapshot: &Snapshot, points: &mut Vec<Point>) {
    if series.is_of_accounts() && points.is_empty() {
        points.extend(unused.before(id, snapshot.taken_at));
    }
    let is_broken = |last: &Point| snapshot.pace.breaks(snapshot.taken_at - last.at);
    if series.kind() == Kind::Gauge && points.last().is_some_and(is_broken) {
        points.clear();
    }
}

/// Leaves no more tracks of one key than [`SETS`]: of those that were not seen now the longest, and of equals the newest.
fn bound(tracks: &mut Tracks, seen: &BTreeSet<(Name, Name)>) {
    let all: Vec<(&(Name, Name), &Vec<Point>)> = tracks.iter().collect();
    let mut spare = Vec::new();
    for of_one in all.chunk_by(|((a, _), _), ((b, _), _)| a == b).filter(|of_one| of_one.len() > SETS) {
        let mut past: Vec<_> = of_one.iter().filter(|(id, _)| !seen.contains(*id)).collect();
        let rank = |points: &[Point]| {
            let (first, last) = (points.first()?, points.last()?);
            Some((last.at - first.at, last.at))
        };
        past.sort_by_key(|(_, points)| rank(points));
        spare.extend(past.iter().take(of_one.len() - SETS).map(|(id, _)| (*id).clone()));
    }
    for id in spare {
        tracks.remove(&id);
    }
}

/// Takes out the point whose neighbours are nearest to each other, the ends aside, until there are no more than are kept.
/// Where the highest value is to outlive that, the lower of two goes.
fn thin(points: &mut Vec<Point>, series: Series) {
    while points.len() > series.most().max(2) {
        let gap = |at: usize| points[at + 1].at - points[at - 1].at;
        let inner = 1..points.len() - 1;
        let Some(nearest) = inner.clone().min_by_key(|at| gap(*at)) else { return };
        let beside = [nearest + 1, nearest - 1].into_iter().filter(|at| inner.contains(at));
        let lower = match beside.min_by_key(|at| gap(*at)) {
            Some(beside) if series.keeps_highest() && points[beside].value < points[nearest].value => beside,
            _ => nearest,
        };
        points.remove(lower);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Pace;
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
    fn the_highest_level_of_an_hour_outlives_the_thinning_and_no_more() {
        let mut followed = following(Series::ServerConnections);
        for second in 0..7200 {
            followed.push(&epoch(second, if second == 1800 { 900 } else { 5 + second.unsigned_abs() % 7 }));
            let tracks = &followed.series[&Series::ServerConnections];
            let points = tracks.values().next().unwrap();
            let highest = points.iter().map(|point| point.value).max().unwrap();
            match second {
                1800..5400 => assert_eq!(highest, 900, "{second}"),
                5600.. => assert!(highest < 12, "{second}"),
                _ => {}
            }
            // What is kept is spread over the hour.
            let widest = points.windows(2).map(|pair| pair[1].at - pair[0].at).max();
            assert!(
                widest.is_none_or(|widest| widest < time::Duration::seconds(200)),
                "{second}: {widest:?}"
            );
        }
    }

    #[test]
    fn a_level_is_broken_by_a_time_without_epochs() {
        let minutes = |second, pace: Pace| Snapshot { pace, ..epoch(second, 1) };
        let pace = || Pace { interval: Duration::from_secs(60), ..Pace::default() };
        let seen = |later: Snapshot| {
            let mut followed = following(Series::ServerConnections);
            followed.push(&minutes(0, pace()));
            let told = followed.tracks(Series::ServerConnections, &later)[0].points.len();
            followed.push(&later);
            assert_eq!(followed.series[&Series::ServerConnections].values().next().unwrap().len(), told);
            told
        };
        assert_eq!((seen(minutes(180, pace())), seen(minutes(181, pace()))), (2, 1));
        // An agent that needs longer for each epoch has not slept.
        let slow = Pace { previous_took: Some(Duration::from_secs(200)), ..pace() };
        assert_eq!((seen(minutes(600, slow.clone())), seen(minutes(601, slow))), (2, 1));
        // A count of the same boot goes on.
        let mut followed = following(Series::ServerStarts);
        followed.push(&minutes(0, pace()));
        assert_eq!(followed.tracks(Series::ServerStarts, &minutes(1800, pace()))[0].points.len(), 2);
    }

    /// What an account counts, told by this set of servers.
    fn account(second: i64, told_by: u64, bytes: u64) -> Snapshot {
        let mut system = System::of(1).at(second).vars("n1", |vars| vars.gateways = Some(Vec::new()));
        (system.entry("APP").told_by, system.entry("APP").bytes) = (told_by, bytes);
        system.done()
    }

    #[test]
    fn the_first_bytes_of_an_account_grow_from_the_epoch_before() {
        let mut followed = following(Series::AccountBytes);
        followed.push(&account(0, 1, 0));
        assert!(followed.series[&Series::AccountBytes].is_empty(), "an idle account has no track");
        let growth = |followed: &Followed, now: &Snapshot| {
            let tracks = followed.tracks(Series::AccountBytes, now);
            tracks.iter().map(Track::growth).collect::<Vec<_>>()
        };
        assert_eq!(growth(&followed, &account(60, 1, 700)), [700]);
        // Others tell: it may have been used there for long.
        assert_eq!(growth(&followed, &account(60, 2, 700)), [0]);
        assert_eq!(growth(&followed, &account(3600, 1, 700)), [0]);
        followed.push(&account(60, 1, 700));
        assert_eq!(growth(&followed, &account(120, 1, 900)), [900]);
    }

    #[test]
    fn an_epoch_that_lists_used_accounts_only_has_no_value_and_breaks_nothing() {
        let mut followed = following(Series::AccountBytes);
        followed.push(&account(0, 1, 100));
        let mut used = account(60, 9, 20);
        used.coverage.used_accounts_only = true;
        followed.push(&used);
        let tracks = followed.tracks(Series::AccountBytes, &account(120, 1, 400));
        assert_eq!((tracks.len(), tracks[0].growth()), (1, 300));
    }

    #[test]
    fn sets_of_servers_are_bounded_and_the_longest_stay() {
        let mut followed = following(Series::AccountBytes);
        let epochs = (0..20).map(|minute| (minute, 1)).chain((20..50).map(|minute| (minute, 100 + minute)));
        for (minute, told_by) in epochs {
            followed.push(&account(minute * 60, told_by.unsigned_abs(), 5));
        }
        let tracks = &followed.series[&Series::AccountBytes];
        assert_eq!(tracks.len(), SETS);
        let has = |told_by: u64| tracks.contains_key(&("APP".into(), set(told_by)));
        assert!(has(1) && has(149) && has(148) && !has(120), "{tracks:?}");
    }

    #[test]
    fn what_nobody_declares_is_not_kept() {
        let mut followed = Followed::default();
        followed.push(&epoch(0, 1));
        assert_eq!(followed.tracks(Series::ServerConnections, &epoch(60, 1))[0].points.len(), 1);
    }
}
