//! What servers print of the links between them: a full mesh of routes in each cluster, and from every server one gateway
//! connection to each other cluster. There are no leafnodes.

use super::connection::{rfc3339, uptime};
use super::print::{HOST, ROUTE_POOL, quoted};
use super::request::Options;
use super::world::{Moment, World};
use std::fmt::Write;
use time::OffsetDateTime;

/// Messages and bytes of every link, in both directions.
const TRAFFIC: &str =
    "\"pending_size\":0,\"in_msgs\":119820,\"out_msgs\":120934,\"in_bytes\":47830112,\"out_bytes\":48120944";
/// The same as a gateway's connection prints it.
const GATEWAY_TRAFFIC: &str =
    "\"pending_bytes\":0,\"in_msgs\":119820,\"out_msgs\":120934,\"in_bytes\":47830112,\"out_bytes\":48120944";

impl World {
    /// The other servers of its cluster that run.
    pub(super) fn route_peers(&self, server: usize, moment: &Moment) -> impl Iterator<Item = usize> {
        let cluster = self.layout.servers[server].cluster;
        let members = self.layout.clusters[cluster].servers.clone();
        members.filter(move |other| *other != server && self.runs(*other, moment))
    }

    /// The server of another cluster to which a server has its gateway connection: they spread over those that run.
    fn gateway_peer(&self, server: usize, remote: usize, moment: &Moment) -> Option<usize> {
        let home = &self.layout.clusters[self.layout.servers[server].cluster];
        let members = &self.layout.clusters[remote].servers;
        let first = (server - home.servers.start) % members.len();
        let from = |step: usize| members.start + (first + step) % members.len();
        (0..members.len()).map(from).find(|peer| self.runs(*peer, moment))
    }

    /// The servers of another cluster that have their gateway connection to this one.
    pub(super) fn gateway_clients(&self, server: usize, remote: usize, moment: &Moment) -> Vec<usize> {
        let home = self.layout.servers[server].cluster;
        let members = self.layout.clusters[remote].servers.clone();
        members
            .filter(|other| self.runs(*other, moment))
            .filter(|other| self.gateway_peer(*other, home, moment) == Some(server))
            .collect()
    }

    /// The other clusters of which a server runs.
    pub(super) fn remotes(&self, server: usize, moment: &Moment) -> impl Iterator<Item = (usize, usize)> {
        let own = self.layout.servers[server].cluster;
        let others = (0..self.layout.clusters.len()).filter(move |cluster| *cluster != own);
        others.filter_map(move |cluster| Some((cluster, self.gateway_peer(server, cluster, moment)?)))
    }

    /// Since when two servers are connected.
    fn linked(&self, one: usize, other: usize, moment: &Moment) -> OffsetDateTime {
        self.boot(one, moment).max(self.boot(other, moment))
    }

    /// An address of its own for every server.
    fn address(server: usize) -> String {
        format!("172.16.{}.{}", server / 250 % 250, server % 250 + 1)
    }

    /// ROUTEZ: each connection of the pools.
    pub(super) fn routez(&self, server: usize, moment: &Moment) -> String {
        let mut routes = String::new();
        let mut count = 0;
        let first = self.layout.clusters[self.layout.servers[server].cluster].servers.start;
        for peer in self.route_peers(server, moment) {
            let start = self.linked(server, peer, moment);
            for pooled in 0..ROUTE_POOL {
                let comma = if count == 0 { "" } else { "," };
                // The last one is the system account's own.
                let account = match pooled + 1 == ROUTE_POOL {
                    true => format!(",\"account\":{}", quoted(&self.shape.system_account)),
                    false => String::new(),
                };
                let _ = write!(
                    routes,
                    "{comma}{{\"rid\":{rid},\"remote_id\":\"{id}\",\"remote_name\":\"{name}\",\"did_solicit\":{solicited},\
                     \"is_configured\":true,\"ip\":\"{ip}\",\"port\":6222,\"start\":\"{start}\",\"last_activity\":\"{now}\",\
                     \"rtt\":\"{rtt}µs\",\"uptime\":\"{up}\",\"idle\":\"0s\",{TRAFFIC},\"subscriptions\":{interest}{account},\
                     \"compression\":\"off\"}}",
                    rid = 5 + (peer - first) * ROUTE_POOL + pooled,
                    id = self.id(peer, moment),
                    name = self.layout.servers[peer].name,
                    solicited = server < peer,
                    ip = Self::address(peer),
                    start = rfc3339(start),
                    now = rfc3339(moment.now),
                    rtt = 250 + pooled,
                    up = uptime((moment.now - start).whole_seconds().unsigned_abs()),
                    interest = self.layout.clusters[self.layout.servers[server].cluster].interest,
                );
                count += 1;
            }
        }
        let data = format!(
            "{{\"server_id\":\"{}\",\"server_name\":\"{}\",\"now\":\"{}\",\"num_routes\":{count},\"routes\":[{routes}]}}",
            self.id(server, moment),
            self.layout.servers[server].name,
            rfc3339(moment.now),
        );
        self.envelope(server, moment, &data)
    }

    /// GATEWAYZ: one connection to each other cluster, and those that come from there.
    pub(super) fn gatewayz(&self, server: usize, moment: &Moment, options: &Options) -> String {
        let head =
            format!("{{\"server_id\":\"{}\",\"now\":\"{}\"", self.id(server, moment), rfc3339(moment.now));
        if self.layout.clusters.len() == 1 {
            let data = format!("{head},\"outbound_gateways\":{{}},\"inbound_gateways\":{{}}}}");
            return self.envelope(server, moment, &data);
        }
        let wanted =
            |cluster: &usize| options.name.is_empty() || self.layout.clusters[*cluster].name == options.name;
        let (mut outbound, mut inbound) = (Vec::new(), Vec::new());
        for (cluster, peer) in self.remotes(server, moment).filter(|(cluster, _)| wanted(cluster)) {
            let name = &self.layout.clusters[cluster].name;
            let link = self.gateway_link(server, peer, moment);
            let accounts = self.gateway_accounts(server, options);
            outbound.push(format!("\"{name}\":{{\"configured\":true,\"connection\":{link}{accounts}}}"));
            let clients = self.gateway_clients(server, cluster, moment);
            let links: Vec<String> = clients
                .into_iter()
                .map(|client| {
                    let link = self.gateway_link(server, client, moment);
                    format!("{{\"configured\":false,\"connection\":{link}{accounts}}}")
                })
                .collect();
            if !links.is_empty() {
                inbound.push(format!("\"{name}\":[{}]", links.join(",")));
            }
        }
        let data = format!(
            "{head},\"name\":\"{}\",\"host\":\"{HOST}\",\"port\":7222,\"outbound_gateways\":{{{}}},\"inbound_gateways\":{{{}}}}}",
            self.layout.clusters[self.layout.servers[server].cluster].name,
            outbound.join(","),
            inbound.join(","),
        );
        self.envelope(server, moment, &data)
    }

    fn gateway_link(&self, server: usize, peer: usize, moment: &Moment) -> String {
        let start = self.linked(server, peer, moment);
        format!(
            "{{\"cid\":{cid},\"kind\":\"Gateway\",\"ip\":\"{ip}\",\"port\":7222,\"start\":\"{start}\",\"last_activity\":\"{now}\",\
             \"rtt\":\"4.{rtt:03}ms\",\"uptime\":\"{up}\",\"idle\":\"0s\",{GATEWAY_TRAFFIC},\"subscriptions\":{interest},\
             \"name\":\"{id}\"}}",
            cid = 5 + peer,
            ip = Self::address(peer),
            start = rfc3339(start),
            now = rfc3339(moment.now),
            rtt = peer % 1000,
            up = uptime((moment.now - start).whole_seconds().unsigned_abs()),
            interest = self.layout.clusters[self.layout.servers[peer].cluster].interest,
            id = self.id(peer, moment),
        )
    }

    /// Every account tells its interest: that is how it is since 2.9.
    fn gateway_accounts(&self, server: usize, options: &Options) -> String {
        if !options.wants_accounts() && options.account_name.is_empty() {
            return String::new();
        }
        let wanted = |id: &&str| options.account_name.is_empty() || options.account_name == **id;
        let pool = &self.layout.pools[self.layout.servers[server].pool];
        let ids = pool.accounts.iter().map(|account| self.layout.accounts[*account].id.as_str());
        let rows: Vec<String> = std::iter::once(self.shape.system_account.as_str())
            .chain(ids)
            .filter(wanted)
            .map(|id| {
                let name = quoted(id);
                format!(
                    "{{\"name\":{name},\"interest_mode\":\"Interest-Only\",\"interest_only_threshold\":1000}}"
                )
            })
            .collect();
        format!(",\"accounts\":[{}]", rows.join(","))
    }

    /// LEAFZ.
    pub(super) fn leafz(&self, server: usize, moment: &Moment) -> String {
        let (id, now) = (self.id(server, moment), rfc3339(moment.now));
        let data = format!("{{\"server_id\":\"{id}\",\"now\":\"{now}\",\"leafnodes\":0,\"leafs\":[]}}");
        self.envelope(server, moment, &data)
    }

    /// SUBSZ: the statistics, without the list.
    pub(super) fn subsz(&self, server: usize, moment: &Moment) -> String {
        let interest = self.interest_on(server);
        let data = format!(
            "{{\"server_id\":\"{}\",\"now\":\"{}\",\"num_subscriptions\":{interest},\"num_cache\":{},\"num_inserts\":{interest},\
             \"num_removes\":0,\"num_matches\":{},\"cache_hit_rate\":0.9,\"max_fanout\":3,\"avg_fanout\":1.2,\"total\":0,\
             \"offset\":0,\"limit\":1024}}",
            self.id(server, moment),
            rfc3339(moment.now),
            interest.min(1024),
            self.layout.servers[server].connections() * 1000,
        );
        self.envelope(server, moment, &data)
    }
}
