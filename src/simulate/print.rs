//! What servers print, in the order of nats-server 2.15.

use super::connection::{rfc3339, uptime};
use super::fault::Kind;
use super::world::{Moment, World};
use crate::text::digest_hex;
use std::fmt::Write;

/// The version that the servers say they have.
pub(super) const VERSION: &str = "2.15.1";
/// Their listen address.
pub(super) const HOST: &str = "0.0.0.0";
const FLAGS: &str = "{\"js_ack_fc_v2\":false,\"js_api_reply_v2\":false,\"js_raft_delete_range\":true,\"js_snapshot_sources\":false}";
/// Where streams are stored, which VARZ alone tells.
const STORE: &str = "\"store_dir\":\"/data/jetstream\",";
/// Connections of a route: a pool of three, and one for the system account (2.10 and later).
pub(super) const ROUTE_POOL: usize = 4;

/// A text in JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl World {
    /// The description that stands before every answer.
    pub(super) fn info(&self, server: usize, moment: &Moment) -> String {
        let place = &self.layout.servers[server];
        format!(
            "{{\"name\":\"{}\",\"host\":\"{HOST}\",\"id\":\"{}\",\"cluster\":\"{}\",\"ver\":\"{VERSION}\",\
             \"feature_flags\":{FLAGS},\"jetstream\":{},\"flags\":{},\"seq\":{},\"time\":\"{}\"}}",
            place.name,
            self.id(server, moment),
            self.layout.clusters[place.cluster].name,
            self.jetstream(),
            if self.jetstream() { 7 } else { 0 },
            moment.since_start.as_millis(),
            rfc3339(moment.now),
        )
    }

    /// An answer in the usual envelope.
    pub(super) fn envelope(&self, server: usize, moment: &Moment, data: &str) -> String {
        format!("{{\"server\":{},\"data\":{data}}}", self.info(server, moment))
    }

    /// A refusal.
    pub(super) fn refusal(&self, server: usize, moment: &Moment, code: u16, why: &str) -> String {
        let error = format!("{{\"code\":{code},\"description\":{}}}", quoted(why));
        format!("{{\"server\":{},\"data\":null,\"error\":{error}}}", self.info(server, moment))
    }

    const fn jetstream(&self) -> bool {
        self.shape.streams > 0
    }

    /// When the process started that runs at this moment.
    pub(super) fn boot(&self, server: usize, moment: &Moment) -> time::OffsetDateTime {
        let restarted = self.has(server, moment, |kind| *kind == Kind::Restart);
        if restarted { self.built } else { self.started(server) }
    }

    /// STATSZ, as an answer and as a heartbeat.
    pub(super) fn statsz(&self, server: usize, moment: &Moment) -> String {
        let place = &self.layout.servers[server];
        let cluster = &self.layout.clusters[place.cluster];
        let counts =
            "\"sent\":{\"msgs\":120934,\"bytes\":48120944},\"received\":{\"msgs\":119820,\"bytes\":47830112}";
        let running = (0..self.servers()).filter(|other| self.runs(*other, moment)).count();
        let connections = place.connections();
        let mut text = format!(
            "{{\"server\":{},\"statsz\":{{\"start\":\"{}\",\"mem\":{},\"cores\":8,\"cpu\":12,\"connections\":{connections},\
             \"total_connections\":{},\"active_accounts\":{},\"subscriptions\":{},\
             \"sent\":{{\"msgs\":{sent},\"bytes\":{bytes}}},\"sent_to_clients\":{{\"msgs\":{sent},\"bytes\":{bytes}}},\
             \"received\":{{\"msgs\":{sent},\"bytes\":{bytes}}},\"received_from_clients\":{{\"msgs\":{sent},\"bytes\":{bytes}}},\"slow_consumers\":0",
            self.info(server, moment),
            rfc3339(self.boot(server, moment)),
            64_000_000 + connections * 20_000,
            connections * 2,
            self.layout.pools[place.pool].accounts.len() + 1,
            cluster.interest + 60,
            sent = connections * 1000,
            bytes = connections * 100_000,
        );
        let mut routes = String::new();
        for other in cluster.servers.clone().filter(|other| *other != server && self.runs(*other, moment)) {
            for pooled in 0..ROUTE_POOL {
                let comma = if routes.is_empty() { "" } else { "," };
                let rid = 5 + (other - cluster.servers.start) * ROUTE_POOL + pooled;
                let name = &self.layout.servers[other].name;
                let _ = write!(routes, "{comma}{{\"rid\":{rid},\"name\":\"{name}\",{counts},\"pending\":0}}");
            }
        }
        if !routes.is_empty() {
            let _ = write!(text, ",\"routes\":[{routes}]");
        }
        let mut gateways = String::new();
        for (index, other) in
            self.layout.clusters.iter().enumerate().filter(|(index, _)| *index != place.cluster)
        {
            let comma = if gateways.is_empty() { "" } else { "," };
            let inbound = other.servers.len().div_ceil(cluster.servers.len());
            let _ = write!(
                gateways,
                "{comma}{{\"gwid\":{},\"name\":\"{}\",{counts},\"inbound_connections\":{inbound}}}",
                5 + index,
                other.name
            );
        }
        if !gateways.is_empty() {
            let _ = write!(text, ",\"gateways\":[{gateways}]");
        }
        let _ = write!(text, ",\"active_servers\":{running}");
        if self.jetstream() {
            let _ = write!(text, ",\"jetstream\":{}", self.jetstream_of(server, ""));
        }
        text.push_str(",\"gomaxprocs\":8}}");
        text
    }

    /// Streams and consumers have three replicas, and are counted where those are.
    fn jetstream_of(&self, server: usize, store: &str) -> String {
        let assets = (self.shape.streams + self.shape.consumers) * 3;
        let all = self.servers() as u64;
        let here = assets / all + u64::from((server as u64) < assets % all);
        let accounts = self.layout.pools[self.layout.servers[server].pool].accounts.len();
        format!(
            "{{\"config\":{{\"max_memory\":8589934592,\"max_storage\":1099511627776,{store}\
             \"sync_interval\":120000000000,\"compress_ok\":true,\"strict\":true}},\"stats\":{{\"memory\":0,\
             \"storage\":{},\"reserved_memory\":0,\"reserved_storage\":0,\"accounts\":{accounts},\"ha_assets\":{},\
             \"api\":{{\"level\":5,\"total\":{},\"errors\":0}}}},\"limits\":{{\"default_max_consumers\":1000}}}}",
            here * 1_048_576,
            here + 1,
            here * 3,
        )
    }

    /// VARZ.
    pub(super) fn varz(&self, server: usize, moment: &Moment) -> String {
        let place = &self.layout.servers[server];
        let cluster = &self.layout.clusters[place.cluster];
        let boot = self.boot(server, moment);
        let connections = place.connections();
        let running = |other: &usize| *other != server && self.runs(*other, moment);
        let peers = cluster.servers.clone().filter(running).count();
        let gateways: Vec<String> = self
            .layout
            .clusters
            .iter()
            .map(|other| {
                format!("{{\"name\":\"{}\",\"urls\":[\"{}.example:7222\"]}}", other.name, other.name)
            })
            .collect();
        let gateway = match gateways.len() {
            1 => "{}".to_owned(),
            _ => format!(
                "{{\"name\":\"{}\",\"host\":\"{HOST}\",\"port\":7222,\"auth_timeout\":2,\"tls_timeout\":2,\"gateways\":[{}]}}",
                cluster.name,
                gateways.join(",")
            ),
        };
        // Its peers, as they stand in its configuration.
        let peers_in_cluster = cluster.servers.clone().filter(|other| *other != server);
        let urls: Vec<String> = peers_in_cluster
            .map(|other| format!("\"{}.example:6222\"", self.layout.servers[other].name))
            .collect();
        let urls = if urls.is_empty() { String::new() } else { format!("\"urls\":[{}],", urls.join(",")) };
        let jetstream = if self.jetstream() { self.jetstream_of(server, STORE) } else { "{}".into() };
        let none = "{\"clients\":0,\"routes\":0,\"gateways\":0,\"leafs\":0}";
        let data = format!(
            "{{\"server_id\":\"{id}\",\"server_name\":\"{name}\",\"version\":\"{VERSION}\",\"proto\":1,\"git_commit\":\"b2fd3ef\",\
             \"go\":\"go1.27.2\",\"host\":\"{HOST}\",\"port\":4222,\"auth_required\":true,\"max_connections\":{most},\
             \"ping_interval\":120000000000,\"ping_max\":2,\"http_host\":\"{HOST}\",\"http_port\":0,\"http_base_path\":\"\",\
             \"https_port\":0,\"auth_timeout\":2,\"max_control_line\":4096,\"max_payload\":1048576,\"max_pending\":67108864,\
             \"cluster\":{{\"name\":\"{cluster}\",\"addr\":\"{HOST}\",\"cluster_port\":6222,\"auth_timeout\":2,{urls}\"tls_timeout\":2,\
             \"pool_size\":3}},\"gateway\":{gateway},\"leaf\":{{}},\"mqtt\":{{}},\"websocket\":{{}},\"jetstream\":{jetstream},\
             \"tls_timeout\":2,\"write_deadline\":10000000000,\"start\":\"{start}\",\"now\":\"{now}\",\"uptime\":\"{up}\",\
             \"mem\":{mem},\"cores\":8,\"gomaxprocs\":8,\"cpu\":12,\"connections\":{connections},\"total_connections\":{total},\
             \"routes\":{routes},\"remotes\":{peers},\"leafnodes\":0,\"in_msgs\":{msgs},\"in_bytes\":{bytes},\
             \"in_client_msgs\":{msgs},\"in_client_bytes\":{bytes},\"out_msgs\":{msgs},\"out_bytes\":{bytes},\
             \"out_client_msgs\":{msgs},\"out_client_bytes\":{bytes},\"slow_consumers\":0,\"stale_connections\":0,\
             \"stalled_clients\":0,\"subscriptions\":{subscriptions},\"http_req_stats\":{{}},\"config_load_time\":\"{start}\",\
             \"config_digest\":\"sha256:{digest}\",\
             \"feature_flags\":{FLAGS},\"system_account\":{system},\"slow_consumer_stats\":{none},\
             \"stale_connection_stats\":{none},\"disk_io_wait_stats\":{{\"waiters\":0,\"waits\":0,\"wait_time\":0,\"max_wait_time\":0}}}}",
            id = self.id(server, moment),
            name = place.name,
            most = place.max_connections,
            cluster = cluster.name,
            digest = digest_hex(cluster.name.as_bytes(), 32),
            start = rfc3339(boot),
            now = rfc3339(moment.now),
            up = uptime((moment.now - boot).whole_seconds().unsigned_abs()),
            mem = 64_000_000 + connections * 20_000,
            total = connections * 2,
            routes = peers * ROUTE_POOL,
            msgs = connections * 1000,
            bytes = connections * 100_000,
            subscriptions = cluster.interest + 60,
            system = quoted(&self.shape.system_account),
        );
        self.envelope(server, moment, &data)
    }
}
