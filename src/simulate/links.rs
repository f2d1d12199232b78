//! Routes and gateways of a server: every cluster is a full mesh, and reaches every other one.

use super::connection::{rfc3339, uptime};
use super::print::{HOST, ROUTE_POOL, quoted};
use super::request::Options;
use super::world::{Moment, World};
use std::fmt::Write;

/// What counts of a link that is fine.
const COUNTS: &str = "\"in_msgs\":119820,\"out_msgs\":120934,\"in_bytes\":47830112,\"out_bytes\":48120944";

impl World {
    /// Who tells, and when.
    fn told_by(&self, server: usize, moment: &Moment) -> String {
        format!("\"server_id\":\"{}\",\"now\":\"{}\"", self.id(server, moment), rfc3339(moment.now))
    }

    /// How long a link has been there; every link is as old as the server that tells.
    fn age(&self, server: usize, moment: &Moment) -> String {
        let start = self.boot(server, moment);
        let up = uptime((moment.now - start).whole_seconds().unsigned_abs());
        let (start, now) = (rfc3339(start), rfc3339(moment.now));
        format!("\"start\":\"{start}\",\"last_activity\":\"{now}\",\"uptime\":\"{up}\",\"idle\":\"0s\"")
    }

    /// ROUTEZ.
    pub(super) fn routez(&self, server: usize, moment: &Moment) -> String {
        let cluster = &self.layout.clusters[self.layout.servers[server].cluster];
        let (mut routes, mut number) = (String::new(), 0);
        let age = self.age(server, moment);
        for other in cluster.servers.clone().filter(|other| *other != server && self.runs(*other, moment)) {
            for pooled in 0..ROUTE_POOL {
                let comma = if number == 0 { "" } else { "," };
                let system = quoted(&self.shape.system_account);
                // The last one is that of the system account.
                let account =
                    if pooled + 1 == ROUTE_POOL { format!(",\"account\":{system}") } else { String::new() };
                let _ = write!(
                    routes,
                    "{comma}{{\"rid\":{},\"remote_id\":\"{}\",\"remote_name\":\"{}\",\"did_solicit\":{},\"is_configured\":true,\
                     \"ip\":\"{HOST}\",\"port\":6222,{age},\"rtt\":\"412µs\",\"pending_size\":0,{COUNTS},\"subscriptions\":{}{account},\
                     \"compression\":\"off\"}}",
                    5 + number,
                    self.id(other, moment),
                    self.layout.servers[other].name,
                    other > server,
                    cluster.interest,
                );
                number += 1;
            }
        }
        let name = &self.layout.servers[server].name;
        let data = format!(
            "{{{},\"server_name\":\"{name}\",\"num_routes\":{number},\"routes\":[{routes}]}}",
            self.told_by(server, moment)
        );
        self.envelope(server, moment, &data)
    }

    /// GATEWAYZ.
    pub(super) fn gatewayz(&self, server: usize, moment: &Moment, options: &Options) -> String {
        let place = &self.layout.servers[server];
        let (mut outbound, mut inbound) = (String::new(), String::new());
        let age = self.age(server, moment);
        for (index, other) in
            self.layout.clusters.iter().enumerate().filter(|(index, _)| *index != place.cluster)
        {
            let mut members = other.servers.clone().filter(|member| self.runs(*member, moment));
            let Some(peer) = members.next() else { continue };
            let mut accounts = String::new();
            if options.with_accounts {
                for account in &self.layout.pools[place.pool].accounts {
                    let comma = if accounts.is_empty() { "" } else { "," };
                    let id = quoted(&self.layout.accounts[*account].id);
                    let _ = write!(
                        accounts,
                        "{comma}{{\"name\":{id},\"interest_mode\":\"Interest-Only\",\"interest_only_threshold\":1000}}"
                    );
                }
                accounts = format!(",\"accounts\":[{accounts}]");
            }
            let link = |peer: &str, accounts: &str| {
                format!(
                    "{{\"configured\":true,\"connection\":{{\"cid\":{},\"kind\":\"Gateway\",\"ip\":\"{HOST}\",\"port\":7222,{age},\
                     \"rtt\":\"8.2ms\",\"pending_bytes\":0,{COUNTS},\"subscriptions\":{},\"name\":\"{peer}\"}}{accounts}}}",
                    20 + index,
                    other.interest,
                )
            };
            let comma = if outbound.is_empty() { "" } else { "," };
            let _ = write!(outbound, "{comma}\"{}\":{}", other.name, link(self.id(peer, moment), &accounts));
            let _ = write!(inbound, "{comma}\"{}\":[{}]", other.name, link(self.id(peer, moment), ""));
        }
        let cluster = &self.layout.clusters[place.cluster].name;
        let own = match self.layout.clusters.len() {
            1 => String::new(),
            _ => format!("\"name\":\"{cluster}\",\"host\":\"{HOST}\",\"port\":7222,"),
        };
        let data = format!(
            "{{{},{own}\"outbound_gateways\":{{{outbound}}},\"inbound_gateways\":{{{inbound}}}}}",
            self.told_by(server, moment)
        );
        self.envelope(server, moment, &data)
    }

    /// LEAFZ: there are none.
    pub(super) fn leafz(&self, server: usize, moment: &Moment) -> String {
        let data = format!("{{{},\"leafnodes\":0,\"leafs\":[]}}", self.told_by(server, moment));
        self.envelope(server, moment, &data)
    }
}
