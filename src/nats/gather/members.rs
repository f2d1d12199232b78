//! The servers of a scripted system and what they answer.

use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) cid: u64,
    pub(super) account: String,
    pub(super) user: &'static str,
    pub(super) subscriptions: u64,
    pub(super) messages: u64,
}

/// What a server keeps of accounts' JWTs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// In memory: it does not even listen.
    Nothing,
    /// A cache: it lists accounts and tells none.
    Some,
    /// All of them.
    All,
    /// All of them, and it lists them and is silent when asked for one.
    Listed,
    /// It listens and is silent.
    Mute,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) version: &'static str,
    /// Whether its clients logged in with JWTs.
    pub(super) jwts: bool,
    pub(super) max_connections: i64,
    pub(super) clients: Vec<Client>,
    /// Leafnodes of an account.
    pub(super) leafnodes: Option<(String, u64)>,
    /// Remote clusters, and the accounts that are in optimistic mode there.
    pub(super) gateways: Vec<(&'static str, Vec<&'static str>)>,
    /// Whether it is silent when asked for the accounts of gateways.
    pub(super) hides_accounts: bool,
    /// Whether it is silent when asked for an account.
    pub(super) hides_details: bool,
    /// Clients that only VARZ counts.
    pub(super) unlisted: u64,
    /// From a request to the answer.
    pub(super) latency: Duration,
    /// It takes so much longer for STATSZ.
    pub(super) statsz_later: Duration,
    /// Milliseconds that its clock has gone on since [`NOW`].
    pub(super) clock: i64,
    /// Connections that ended: their ids, and when by the same clock.
    pub(super) ended: Vec<(u64, i64)>,
    /// What it tells of one that ended, beside that; user and account only to whoever asks with `auth`.
    pub(super) ended_as: fn(u64) -> Value,
    /// How long it takes to look up the account of one that ended.
    pub(super) lookup: Duration,
    /// Its system account.
    pub(super) system: String,
    pub(super) keeps: Keeps,
}

impl Member {
    pub(super) fn new(number: usize) -> Self {
        Self {
            id: format!("N{number:0>55}"),
            name: format!("n{number}"),
            cluster: "east".into(),
            version: "2.15.1",
            jwts: false,
            max_connections: 65_536,
            clients: Vec::new(),
            leafnodes: None,
            gateways: Vec::new(),
            hides_accounts: false,
            hides_details: false,
            unlisted: 0,
            latency: Duration::from_millis(2),
            statsz_later: Duration::ZERO,
            clock: 0,
            ended: Vec::new(),
            ended_as: |_| json!({}),
            lookup: Duration::ZERO,
            system: "SYS".into(),
            keeps: Keeps::Nothing,
        }
    }

    /// Adds clients.
    pub(super) fn with(mut self, n: u64, account: &str, user: &'static str) -> Self {
        let from = self.clients.len() as u64 + 10;
        let client = |cid| Client { cid, account: account.to_owned(), user, subscriptions: 3, messages: 7 };
        self.clients.extend((from..from + n).map(client));
        self
    }
}

pub(super) const START: &str = "2023-11-14T20:13:20Z";
/// The clocks of all servers at first.
const NOW: i64 = 1_700_000_000_000;

fn clock(millisecond: i64) -> String {
    let nanoseconds = i128::from(NOW + millisecond) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap().format(&Rfc3339).unwrap()
}

impl Member {
    /// Servers write who they are first.
    pub(super) fn told(&self, key: &str, data: &Value) -> String {
        let Self { id, name, cluster, version, .. } = self;
        let now = clock(self.clock);
        format!(
            r#"{{"server":{{"name":"{name}","host":"h","id":"{id}","cluster":"{cluster}","ver":"{version}","time":"{now}"}},"{key}":{data}}}"#
        )
    }

    pub(super) fn varz(&self) -> Value {
        let connections = self.clients.len() as u64 + self.unlisted;
        let leafnodes = self.leafnodes.as_ref().map_or(0, |(_, leafnodes)| *leafnodes);
        json!({"connections": connections, "total_connections": connections, "leafnodes": leafnodes,
            "max_connections": self.max_connections, "system_account": self.system, "cluster": {"cluster_port": 6222}})
    }

    /// Whether it answers what is asked of the resolver.
    pub(super) fn tells(&self, request: &str) -> bool {
        match self.keeps {
            Keeps::Nothing | Keeps::Mute => false,
            Keeps::Some | Keeps::Listed => request == "LIST",
            Keeps::All => true,
        }
    }

    /// None where it is silent.
    pub(super) fn gatewayz(&self, body: &Value) -> Option<Value> {
        let accounts = body["accounts"] == true;
        if accounts && self.hides_accounts {
            return None;
        }
        let mut outbound = json!({});
        for (remote, optimistic) in &self.gateways {
            let account =
                |name: &&str| json!({"name": name, "interest_mode": "Optimistic", "no_interest_count": 1});
            let mut listed: Vec<Value> = optimistic.iter().map(account).collect();
            listed.push(json!({"name": "QUIET", "interest_mode": "Interest-Only"}));
            outbound[remote] = json!({"configured": true, "connection": {"name": "NW", "rtt": "1ms"}});
            if accounts {
                outbound[remote]["accounts"] = listed.into();
            }
        }
        Some(json!({"name": self.cluster, "outbound_gateways": outbound, "inbound_gateways": {}}))
    }

    pub(super) fn connz(&self, body: &Value, account: Option<&str>) -> String {
        let number = |key: &str| usize::try_from(body[key].as_u64().unwrap_or(0)).unwrap();
        if body["state"] == 1 {
            let mut ended = self.ended.clone();
            ended.retain(|(cid, _)| body["cid"].as_u64().is_none_or(|one| one == *cid));
            ended.sort_by_key(|(cid, stop)| std::cmp::Reverse((*stop, *cid)));
            let page = ended.iter().skip(number("offset")).take(number("limit"));
            let row = |(cid, stop): &(u64, i64)| {
                let mut row = json!({"cid": cid, "kind": "Client", "ip": "10.0.0.1", "start": START,
                    "stop": clock(*stop), "reason": "Read Error", "name": "app", "authorized_user": "a",
                    "account": "APP"});
                if let (Some(row), Value::Object(more)) = (row.as_object_mut(), (self.ended_as)(*cid)) {
                    row.extend(more);
                    let auth = body["auth"] == true;
                    row.retain(|key, _| auth || !matches!(key.as_str(), "authorized_user" | "account"));
                }
                row
            };
            return self.page(ended.len(), &page.map(|one| row(one).to_string()).collect::<Vec<_>>());
        }
        let wanted = |client: &&Client| {
            let one = body["cid"].as_u64().is_none_or(|cid| client.cid == cid);
            one && account.is_none_or(|account| client.account == account)
        };
        let open = body["state"] == 0;
        let mut all: Vec<&Client> = self.clients.iter().filter(wanted).filter(|_| open).collect();
        if body["sort"] == "subs" {
            all.sort_by_key(|client| std::cmp::Reverse(client.subscriptions));
        }
        let page = all.iter().skip(number("offset")).take(number("limit"));
        let auth = body["auth"] == true;
        let rows: Vec<String> = page.map(|client| client.row(auth, self.jwts).to_string()).collect();
        self.page(all.len(), &rows)
    }

    fn page(&self, total: usize, rows: &[String]) -> String {
        let start = self.told("data", &json!(null));
        let now = clock(self.clock);
        format!(
            r#"{}{{"now":"{now}","total":{total},"connections":[{}]}}}}"#,
            start.strip_suffix("null}").unwrap(),
            rows.join(",")
        )
    }
}

impl Client {
    fn row(&self, auth: bool, jwts: bool) -> Value {
        let mut row = json!({"cid": self.cid, "kind": "Client", "type": "nats", "ip": "10.0.0.1", "start": START,
            "last_activity": START, "in_msgs": self.messages, "out_msgs": 0, "subscriptions": self.subscriptions,
            "name": "app", "lang": "go", "version": "1.30.0"});
        if auth {
            row["authorized_user"] = json!(self.user);
            row["account"] = json!(self.account);
        }
        if auth && jwts {
            row["jwt"] = json!("head.claims.signature");
        }
        row
    }
}
