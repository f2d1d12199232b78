//! Pages of connections as nats-server 2.15.1 writes them, made by code, and the system they belong to.

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use insights_agent::check::Settings;
use insights_agent::checks::{ActiveCheck, ActiveChecks, catalogue};
use insights_agent::snapshot::{
    Account, AccountLimits, Answer, ConnectionFold, Endpoint, FoldRules, Limits, Login, OnServer, PageSource,
    Server, ServerVars, Snapshot, Version,
};
use insights_agent::text::Name;
use insights_agent::wire::connz;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How large a system is, and what its accounts are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) servers: usize,
    pub(crate) accounts: usize,
    /// Users of an account; none where every connection has its own.
    pub(crate) users: Option<usize>,
    pub(crate) connections: usize,
    /// Whether an account is on the ten servers of one cluster, and not on any.
    pub(crate) at_home: bool,
    /// With JWTs and public keys, and not with names.
    pub(crate) operator: bool,
    /// Whether every client has a name of its own, and an address.
    pub(crate) distinct: bool,
}

/// Servers of one cluster.
const CLUSTER: usize = 10;

/// A system: which connections are on which server, in the order in which the server lists them.
pub(crate) struct World {
    pub(crate) size: Size,
    on: Vec<Vec<u32>>,
}

const NOW: &str = "2026-11-20T10:39:31.831071096Z";

impl World {
    pub(crate) fn new(size: Size) -> Self {
        let mut on = vec![Vec::new(); size.servers];
        for connection in 0..size.connections {
            let account = connection % size.accounts;
            let any = mix(connection as u64) as usize;
            let clusters = (size.servers / CLUSTER).max(1);
            let server = if size.at_home {
                account % clusters * CLUSTER + any % CLUSTER.min(size.servers)
            } else {
                any % size.servers
            };
            on[server].push(connection as u32);
        }
        Self { size, on }
    }

    pub(crate) fn account(&self, number: usize) -> String {
        if self.size.operator { key('A', number) } else { format!("ACCOUNT-{number}") }
    }

    pub(crate) fn server_id(number: usize) -> Name {
        key('N', number).into()
    }

    pub(crate) fn source(number: usize) -> PageSource {
        PageSource {
            server: Self::server_id(number),
            version: Some(Version(2, 15, 1)),
            since: Some(OffsetDateTime::from_unix_timestamp(1_795_170_000).unwrap()),
            max_subscriptions: None,
        }
    }

    /// All connections of a server on one page.
    pub(crate) fn page(&self, server: usize) -> String {
        let listed = &self.on[server];
        let mut page = String::with_capacity(listed.len() * 1400 + 1000);
        write!(
            page,
            r#"{{"server":{{"name":"n{server}","host":"10.0.0.1","id":"{id}","ver":"2.15.1","jetstream":true,"flags":7,"seq":61,"time":"{NOW}"}},"data":{{"server_id":"{id}","now":"{NOW}","num_connections":{n},"total":{n},"offset":0,"limit":{n},"connections":["#,
            id = Self::server_id(server),
            n = listed.len(),
        )
        .unwrap();
        for (at, connection) in listed.iter().enumerate() {
            page.push_str(if at > 0 { "," } else { "" });
            self.connection(&mut page, *connection as usize, at);
        }
        page.push_str("]}}");
        page
    }

    fn connection(&self, page: &mut String, connection: usize, at: usize) {
        let Size { accounts, users, operator, distinct, .. } = self.size;
        let (account, number, any) = (connection % accounts, connection / accounts, mix(connection as u64));
        let user_number = users.map_or(connection, |users| account * users + number % users);
        let (name, host) = match distinct {
            true => (format!("client-{connection:08}"), connection),
            false => (format!("service-{}-{}", account % 200, number % 7), account * 20 + number % 20),
        };
        write!(
            page,
            r#"{{"cid":{},"kind":"Client","type":"nats","ip":"10.{}.{}.{}","port":{},"start":"2026-11-20T{:02}:{:02}:17.{:09}Z","last_activity":"2026-11-20T10:39:{:02}.830979554Z","rtt":"786µs","uptime":"14m2s","idle":"0s","pending_bytes":0,"in_msgs":{},"out_msgs":{},"in_bytes":10528,"out_bytes":47644,"subscriptions":{},"name":"{name}","lang":"go","version":"1.4{}.0","#,
            at + 5,
            host >> 16,
            host >> 8 & 255,
            host & 255,
            32768 + any % 20_000,
            any % 10,
            any % 60,
            any % 1_000_000_000,
            any % 31,
            any % 1000 + 1,
            any % 700,
            any % 40,
            any % 5,
        )
        .unwrap();
        if operator {
            let (user, account) = (key('U', user_number), key('A', account));
            let claims = format!(
                r#"{{"sub":"{user}","name":"user-{user_number}","nats":{{"type":"user","version":2,"subs":-1,"data":-1,"payload":-1,"pub":{{}},"sub":{{}}}},"iss":"{account}","iat":1795171157,"jti":"QULRAFMVO74SQGNNHBWSO6Y4CEAJY46YD3KXNUISI5JHZJZG5JHA"}}"#
            );
            write!(
                page,
                r#""authorized_user":"{user}","account":"{account}","jwt":"eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.{}.{}","issuer_key":"{account}","name_tag":"TENANT"}}"#,
                BASE64URL_NOPAD.encode(claims.as_bytes()),
                BASE64URL_NOPAD.encode(&bytes(user_number as u64 + (1 << 40), 64)),
            )
            .unwrap();
        } else {
            write!(page, r#""authorized_user":"user-{user_number}","account":"ACCOUNT-{account}"}}"#)
                .unwrap();
        }
    }

    /// What every other endpoint tells of the system.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let at = OffsetDateTime::from_unix_timestamp(1_795_171_171).unwrap();
        let mut snapshot = Snapshot::empty(1_795_171_171, at);
        let mut on: Vec<Vec<(usize, u32)>> = vec![Vec::new(); self.size.accounts];
        for (server, listed) in self.on.iter().enumerate() {
            let (id, name) = (Self::server_id(server), Name::from(format!("n{server}")));
            let cluster = Some(Name::from(format!("c{}", server / CLUSTER)));
            for endpoint in [
                Endpoint::Statsz,
                Endpoint::Varz,
                Endpoint::Connz,
                Endpoint::AccountStatz,
                Endpoint::Accountz,
                Endpoint::Events,
            ] {
                snapshot.coverage.note(endpoint, &id, Answer::Complete);
            }
            snapshot.coverage.present.insert(id.clone(), (name.clone(), cluster.clone()));
            let vars = ServerVars {
                max_connections: 65_536,
                connections: listed.len() as u64,
                ..ServerVars::default()
            };
            let server_of = Server {
                version: Some(Version(2, 15, 1)),
                now: Some(at),
                vars: Some(vars),
                ..Server::new(id.clone(), name, cluster)
            };
            snapshot.servers.insert(id, server_of);
            for connection in listed {
                let row = &mut on[*connection as usize % self.size.accounts];
                match row.last_mut().filter(|(last, _)| *last == server) {
                    Some((_, count)) => *count += 1,
                    None => row.push((server, 1)),
                }
            }
        }
        let ids: Vec<Name> = (0..self.size.servers).map(Self::server_id).collect();
        for (number, row) in on.into_iter().enumerate() {
            let id = Name::from(self.account(number));
            let mut account = Account::new(id.clone());
            account.limits = match self.size.operator {
                true => {
                    Limits::Jwt(AccountLimits { connections: 100_000, subscriptions: 10_000, leafnodes: -1 })
                }
                false => Limits::NotVisible,
            };
            for (server, connections) in row {
                let on = OnServer { connections: connections.into(), leafnodes: 0, subscriptions: Some(500) };
                account.servers.insert(ids[server].clone(), on);
            }
            snapshot.accounts.insert(id, account);
        }
        snapshot
    }

    pub(crate) fn rules(checks: &'static ActiveChecks) -> FoldRules {
        let thresholds = |login: Login<'_>| checks.fold_thresholds(login);
        FoldRules { thresholds: Box::new(thresholds), own: Vec::new() }
    }
}

/// Parses a page into the fold; how many connections it had.
pub(crate) fn fold(fold: &mut ConnectionFold, source: &PageSource, page: &[u8]) -> u64 {
    connz::parse(page, &mut |head, connection| fold.add(source, head, connection)).unwrap().listed
}

/// Every check with its defaults, for the life of the program.
pub(crate) fn checks() -> &'static ActiveChecks {
    let checks = catalogue().map(|entry| {
        let judge = entry.configure(&Settings::default()).unwrap();
        let policies = Arc::new(entry.policies(&Settings::default()));
        ActiveCheck { entry, judge, policies }
    });
    Box::leak(Box::new(ActiveChecks { checks: checks.collect(), disabled: 0 }))
}

/// CPU time of this thread: other programs on the machine make it slower, but are not counted in it.
pub(crate) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// A field of /proc/self/status in KiB.
pub(crate) fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn bytes(seed: u64, n: usize) -> Vec<u8> {
    (0..n.div_ceil(8) as u64).flat_map(|at| mix(seed * 31 + at).to_le_bytes()).take(n).collect()
}

/// As long as a public key, and as hard to compress.
fn key(kind: char, number: usize) -> String {
    let key = BASE32_NOPAD.encode(&bytes(number as u64 + ((kind as u64) << 48), 35));
    format!("{kind}{}", &key[..55])
}
