//! What servers print of accounts.

use super::connection::rfc3339;
use super::pages::chunks;
use super::print::quoted;
use super::request::Options;
use super::world::{Moment, World};

/// The account of clients for whom the configuration names none; every server has it.
const GLOBAL: &str = "$G";
/// The only name of an operator: no key of one is needed but as an issuer.
const OPERATOR: &str = "OAW4WUGGMGPZWJHPKECAV3XQDQ4QRLP35QUB6C37SKC24P7FDQMEWM3D";

impl World {
    /// The accounts that a server has loaded, besides the global and the system account.
    fn loaded(&self, server: usize) -> &[usize] {
        &self.layout.pools[self.layout.servers[server].pool].accounts
    }

    /// The account with this id, if the server has loaded it.
    pub(super) fn loaded_by_id(&self, server: usize, id: &str) -> Option<usize> {
        self.loaded(server).iter().copied().find(|account| self.layout.accounts[*account].id == id)
    }

    /// Whether it is one of those that nobody connects to.
    pub(super) fn is_bare(&self, id: &str) -> bool {
        id == GLOBAL || id == self.shape.system_account
    }

    /// ACCOUNTZ.
    pub(super) fn accountz(&self, server: usize, moment: &Moment, options: &Options) -> String {
        let head = format!(
            "{{\"server_id\":\"{}\",\"now\":\"{}\",\"system_account\":{}",
            self.id(server, moment),
            rfc3339(moment.now),
            quoted(&self.shape.system_account)
        );
        if options.account.is_empty() {
            let mut ids = vec![quoted(&self.shape.system_account), quoted(GLOBAL)];
            ids.extend(self.loaded(server).iter().map(|account| quoted(&self.layout.accounts[*account].id)));
            return self.envelope(server, moment, &format!("{head},\"accounts\":[{}]}}", ids.join(",")));
        }
        let detail = if self.is_bare(&options.account) {
            bare_detail(&options.account, &rfc3339(self.started(server)))
        } else if let Some(account) = self.loaded_by_id(server, &options.account) {
            self.detail(server, account)
        } else {
            let why = format!("Account {} does not exist", options.account);
            return self.refusal(server, moment, 500, &why);
        };
        self.envelope(server, moment, &format!("{head},\"account_detail\":{detail}}}"))
    }

    fn detail(&self, server: usize, account: usize) -> String {
        let tenant = &self.layout.accounts[account];
        let cluster = self.layout.servers[server].cluster;
        let interest = self.layout.interest(account, cluster);
        let issued = self.started(0);
        let claims = if tenant.jwt {
            format!(
                ",\"issuer_key\":\"{OPERATOR}\",\"name_tag\":\"{name}\",\"decoded_jwt\":{{\"jti\":\"{name}\",\"iat\":{iat},\
                 \"iss\":\"{OPERATOR}\",\"name\":\"{name}\",\"sub\":\"{id}\",\"nats\":{{\"limits\":{{\"subs\":{subs},\"data\":-1,\
                 \"payload\":-1,\"imports\":-1,\"exports\":-1,\"wildcards\":true,\"conn\":{conn},\"leaf\":-1}},\
                 \"default_permissions\":{{\"pub\":{{}},\"sub\":{{}}}},\"authorization\":{{}},\"type\":\"account\",\"version\":2}}}}",
                name = tenant.name,
                id = tenant.id,
                iat = issued.unix_timestamp(),
                subs = tenant.most_subscriptions,
                conn = tenant.most_connections,
            )
        } else {
            format!(",\"name_tag\":\"{}\"", tenant.name)
        };
        format!(
            "{{\"account_name\":\"{}\",\"update_time\":\"{}\",\"expired\":false,\"complete\":true,\"jetstream_enabled\":{},\
             \"leafnode_connections\":0,\"client_connections\":{},\"subscriptions\":{interest}{claims},\"sublist_stats\":\
             {{\"num_subscriptions\":{interest},\"num_cache\":0,\"num_inserts\":{interest},\"num_removes\":0,\"num_matches\":0,\
             \"cache_hit_rate\":0,\"max_fanout\":0,\"avg_fanout\":0}}}}",
            tenant.id,
            rfc3339(issued),
            self.shape.streams > 0,
            self.layout.on(account, server),
        )
    }

    /// SUBSZ. What clients subscribe to is only counted here, so that none is listed, and there are no services.
    pub(super) fn subsz(&self, server: usize, moment: &Moment, options: &Options) -> String {
        let cluster = self.layout.servers[server].cluster;
        let interest = self.loaded(server).iter().map(|account| self.layout.interest(*account, cluster));
        let all = interest.fold(0u64, u64::saturating_add);
        let list = if options.subscriptions { ",\"subscriptions_list\":[]" } else { "" };
        let data = format!(
            "{{\"server_id\":\"{}\",\"now\":\"{}\",\"num_subscriptions\":{all},\"num_cache\":0,\"num_inserts\":{all},\
             \"num_removes\":0,\"num_matches\":0,\"cache_hit_rate\":0,\"max_fanout\":0,\"avg_fanout\":0,\"total\":0,\
             \"offset\":0,\"limit\":1024{list}}}",
            self.id(server, moment),
            rfc3339(moment.now)
        );
        self.envelope(server, moment, &data)
    }

    /// ACCOUNT STATZ: the head, and the accounts. None where no account is to be listed: then a server is silent.
    pub(super) fn statz(&self, server: usize, moment: &Moment, options: &Options) -> Option<String> {
        let wanted =
            |id: &str| options.accounts.is_empty() || options.accounts.iter().any(|account| account == id);
        let mut rows = Vec::new();
        for account in self.loaded(server) {
            let tenant = &self.layout.accounts[*account];
            let connections = self.layout.on(*account, server);
            if wanted(&tenant.id) && (connections > 0 || options.include_unused) {
                let interest = self.layout.interest(*account, self.layout.servers[server].cluster);
                rows.push(row(&tenant.id, &tenant.name, connections, interest));
            }
        }
        if options.include_unused {
            let bare = [self.shape.system_account.as_str(), GLOBAL].into_iter().filter(|id| wanted(id));
            rows.extend(bare.map(|id| row(id, id, 0, 5)));
        }
        (!rows.is_empty()).then(|| format!("{}{}]}}}}", self.statz_head(server, moment), rows.join(",")))
    }

    /// What stands before the accounts.
    pub(super) fn statz_head(&self, server: usize, moment: &Moment) -> String {
        format!(
            "{{\"server\":{},\"data\":{{\"server_id\":\"{}\",\"now\":\"{}\",\"account_statz\":[",
            self.info(server, moment),
            self.id(server, moment),
            rfc3339(moment.now)
        )
    }

    /// All accounts of a server, compressed, to follow a head.
    pub(super) fn prepared_statz(&self, server: usize) -> &[u8] {
        self.statz[server].get_or_init(|| {
            let moment = Moment::start(self.built);
            let all = Options { include_unused: true, ..Options::default() };
            let text = self.statz(server, &moment, &all).unwrap_or_default();
            let head = self.statz_head(server, &moment).len();
            chunks(&text.as_bytes()[head.min(text.len())..])
        })
    }
}

fn row(id: &str, name: &str, connections: u64, interest: u64) -> String {
    let none = "{\"msgs\":0,\"bytes\":0}";
    let messages = connections * 1000;
    let traffic = format!(
        "{{\"msgs\":{messages},\"bytes\":{},\"gateways\":{none},\"routes\":{none},\"leafs\":{none}}}",
        messages * 100
    );
    format!(
        "{{\"acc\":{},\"name\":{},\"conns\":{connections},\"leafnodes\":0,\"total_conns\":{connections},\
         \"num_subscriptions\":{interest},\"sent\":{traffic},\"received\":{traffic},\"slow_consumers\":0}}",
        quoted(id),
        quoted(name)
    )
}

fn bare_detail(id: &str, updated: &str) -> String {
    format!(
        "{{\"account_name\":{id},\"update_time\":\"{updated}\",\"expired\":false,\"complete\":true,\"jetstream_enabled\":false,\
         \"leafnode_connections\":0,\"client_connections\":0,\"subscriptions\":5,\"name_tag\":{id}}}",
        id = quoted(id)
    )
}
