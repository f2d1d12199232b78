//! CONNZ.

use super::connection::{With, Writer, cid, rfc3339, user};
use super::fault::Kind;
use super::pages::list;
use super::request::Options;
use super::world::{Moment, World};

/// What a server takes for a limit that is not given.
const LIMIT: u64 = 1024;
/// Orders that a server knows of open connections. But for `subs` they are all answered by id.
const SORTS: &[&str] = &[
    "",
    "cid",
    "start",
    "subs",
    "pending",
    "msgs_to",
    "msgs_from",
    "bytes_to",
    "bytes_from",
    "last",
    "idle",
    "uptime",
    "rtt",
];
/// Orders of closed connections alone.
const SORTS_OF_CLOSED: &[&str] = &["stop", "reason"];

/// An answer, in plain or already compressed.
pub(super) enum Page {
    Plain(String),
    Compressed(Vec<u8>),
}

/// The numbers that stand before the connections.
struct Head {
    listed: u64,
    total: u64,
    offset: u64,
    limit: u64,
}

impl World {
    /// CONNZ.
    pub(super) fn connz(&self, server: usize, moment: &Moment, options: &Options, compressed: bool) -> Page {
        let of_closed = options.state == 1 && SORTS_OF_CLOSED.contains(&options.sort.as_str());
        if !of_closed && !SORTS.contains(&options.sort.as_str()) {
            let why = format!("invalid sorting option: {}", options.sort);
            return Page::Plain(self.refusal(server, moment, 500, &why));
        }
        if !options.acc.is_empty()
            && !self.is_bare(&options.acc)
            && self.loaded_by_id(server, &options.acc).is_none()
        {
            // Of an account that it does not know, a server says this (measured, 2.9.10 to 2.15.1).
            let nothing = "{\"server_id\":\"\",\"now\":\"0001-01-01T00:00:00Z\",\"num_connections\":0,\"total\":0,\
                           \"offset\":0,\"limit\":0,\"connections\":null}";
            return Page::Plain(self.envelope(server, moment, nothing));
        }
        let offset = u64::try_from(options.offset).unwrap_or(0);
        let limit = u64::try_from(options.limit).ok().filter(|limit| *limit > 0).unwrap_or(LIMIT);
        let listed_by_id = options.state != 1 && options.sort != "subs" && options.cid == 0;
        if listed_by_id && options.acc.is_empty() && options.user.is_empty() {
            return self.page(server, moment, options, (offset, limit), compressed);
        }
        let (positions, total) = self.selected(server, options);
        let from = offset.min(positions.len() as u64) as usize;
        let to = offset.saturating_add(limit).min(positions.len() as u64) as usize;
        let head = Head { listed: (to - from) as u64, total, offset, limit };
        let mut text = self.connz_head(server, moment, &head);
        let mut writer = Writer::new(self, server);
        let with = With { auth: options.auth, subscriptions: options.subscriptions };
        for (index, position) in positions[from..to].iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            writer.write(&mut text, *position, with);
        }
        text.push_str("]}}");
        Page::Plain(text)
    }

    /// A page of all connections by id.
    fn page(
        &self,
        server: usize,
        moment: &Moment,
        options: &Options,
        (offset, limit): (u64, u64),
        compressed: bool,
    ) -> Page {
        let all = self.layout.servers[server].connections();
        let closed = match self.fault(server, moment, |kind| matches!(kind, Kind::Shifting(_))) {
            Some(Kind::Shifting(percent)) => offset.min(all) * u64::from(*percent) / 100,
            _ => 0,
        };
        let total = match self.has(server, moment, |kind| *kind == Kind::WrongTotal) {
            true => all / 3,
            false => all - closed,
        };
        let from = offset.saturating_add(closed).min(all);
        let to = from.saturating_add(limit).min(all);
        let head = self.connz_head(server, moment, &Head { listed: to - from, total, offset, limit });
        if compressed && options.auth && !options.subscriptions {
            return Page::Compressed(self.pages(server).page(self, server, &head, from..to, "]}}"));
        }
        let mut text = head;
        let with = With { auth: options.auth, subscriptions: options.subscriptions };
        list(&mut Writer::new(self, server), &mut text, from..to, with);
        text.push_str("]}}");
        Page::Plain(text)
    }

    fn connz_head(&self, server: usize, moment: &Moment, head: &Head) -> String {
        let Head { listed, total, offset, limit } = head;
        format!(
            "{{\"server\":{},\"data\":{{\"server_id\":\"{}\",\"now\":\"{}\",\"num_connections\":{listed},\"total\":{total},\
             \"offset\":{offset},\"limit\":{limit},\"connections\":[",
            self.info(server, moment),
            self.id(server, moment),
            rfc3339(moment.now),
        )
    }

    /// Positions of the connections that are asked for, in the order that is asked for, and the total a server would
    /// print: of the account where there is one, whatever else narrows the list.
    fn selected(&self, server: usize, options: &Options) -> (Vec<u64>, u64) {
        if options.state == 1 {
            // No connection has ever been closed.
            return (Vec::new(), 0);
        }
        let of = |position: u64| self.layout.at(server, position);
        let mut positions: Vec<u64> = (0..self.layout.servers[server].connections()).collect();
        if options.cid > 0 {
            positions.retain(|position| cid(self.shape.seed, server, *position) == options.cid);
            return (positions, 1);
        }
        if !options.acc.is_empty() {
            let account = self.loaded_by_id(server, &options.acc);
            positions.retain(|position| Some(of(*position).0) == account);
        }
        let total = positions.len() as u64;
        if !options.user.is_empty() {
            positions.retain(|position| {
                let (account, number) = of(*position);
                user(self, account, self.layout.accounts[account].user_of(number)).id == options.user
            });
        }
        if options.sort == "subs" {
            let subscriptions = |position: &u64| {
                let (account, number) = of(*position);
                self.layout.accounts[account].subscriptions_of(number)
            };
            positions.sort_by_cached_key(|position| std::cmp::Reverse(subscriptions(position)));
        }
        (positions, total)
    }
}
