//! The instances of one account on one server, page by page.

use super::SERVICES;
use crate::nats::gather::Plan;
use crate::nats::gather::ask_one::{Missed, Unusable, ask_for};
use crate::nats::gather::lanes::{BUDGET, Lanes};
use crate::nats::gather::tally::Tally;
use crate::nats::inbox::Inbox;
use crate::snapshot::{Answer, Library, Service, ServiceConnection};
use crate::text::{Name, TEXT_BYTES, bounded};
use crate::wire::connz::{Connection, ConnzOptions, parse};
use std::collections::{BTreeMap, BTreeSet};

/// What the subscription of an instance begins with.
const PING: &str = "$SRV.PING.";

/// Connections of the first page; one may come with any number of subscriptions.
const FIRST_PAGE: u64 = 64;

/// Most connections of a page.
const LARGEST_PAGE: u64 = 1024;

/// Bytes of a connection until one has come.
const CONNECTION_BYTES: u64 = 1024;

/// Connections by which a page overlaps the one before, so that those closed in between do not hide others.
const OVERLAP: u64 = 8;

/// Pages that are read of one account on one server.
const PAGES: u64 = 64;

/// Libraries of one service that are told apart; languages and versions are whatever clients say.
const LIBRARIES: usize = 64;

/// Connections that are kept of one service, and of one library of it.
const CONNECTIONS: usize = 5;
const OF_A_LIBRARY: usize = 2;

/// Services of one account on one server.
#[derive(Debug, Default)]
pub(super) struct Fold {
    pub(super) services: BTreeMap<Name, Found>,
    /// Whether there are more than are kept.
    pub(super) beyond: bool,
    /// Pages that it took.
    pages: u64,
}

/// Instances of one service on one server.
#[derive(Debug, Default)]
pub(super) struct Found {
    libraries: BTreeMap<Library, u64>,
    behind_leafnodes: u64,
    connections: Vec<ServiceConnection>,
}

impl Fold {
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Pages that it will likely take the next time.
    pub(super) fn pages(&self) -> u64 {
        self.pages.max(1)
    }

    /// Takes in a connection with all its instances.
    fn add(&mut self, server: &Name, connection: &Connection<'_>) {
        let subjects = connection.subscriptions_list.iter().flatten();
        // Twice the same subscription is one instance.
        let instances: BTreeSet<(&str, &str)> = subjects
            .filter_map(|subject| subject.strip_prefix(PING)?.split_once('.'))
            .filter(|(name, id)| !name.is_empty() && !id.is_empty() && !id.contains('.'))
            .filter(|(name, id)| ![name, id].iter().any(|token| matches!(**token, "*" | ">")))
            .collect();
        for (name, _) in instances {
            let name = bounded(name, TEXT_BYTES);
            if self.services.len() >= SERVICES && !self.services.contains_key(&name) {
                self.beyond = true;
                continue;
            }
            self.services.entry(name).or_default().add(server, connection);
        }
    }
}

impl Found {
    fn add(&mut self, server: &Name, connection: &Connection<'_>) {
        let text = |text: &str| bounded(text, TEXT_BYTES);
        if connection.kind == "Leafnode" {
            self.behind_leafnodes += 1;
            return;
        }
        let mut library = Library { language: text(&connection.lang), version: text(&connection.version) };
        if self.libraries.len() >= LIBRARIES && !self.libraries.contains_key(&library) {
            library = Library { language: text("others"), version: text("") };
        }
        *self.libraries.entry(library.clone()).or_default() += 1;
        let alike = self.connections.iter().filter(|other| other.library == library).count();
        if alike < OF_A_LIBRARY && self.connections.len() < CONNECTIONS {
            self.connections.push(ServiceConnection {
                name: Some(text(&connection.name)).filter(|name| !name.is_empty()),
                address: text(&connection.ip),
                server: server.clone(),
                library,
            });
        }
    }

    /// Adds the instances of this server to those of others.
    pub(super) fn add_to(&self, server: &Name, service: &mut Service) {
        let mut all = self.behind_leafnodes;
        service.behind_leafnodes = service.behind_leafnodes.saturating_add(self.behind_leafnodes);
        for (library, count) in &self.libraries {
            let sum = service.libraries.entry(library.clone()).or_default();
            *sum = sum.saturating_add(*count);
            all = all.saturating_add(*count);
        }
        service.servers.insert(server.clone(), all);
        let of = |service: &Service, library: &Library| {
            service.connections.iter().filter(|other| other.library == *library).count()
        };
        for connection in &self.connections {
            let alike = of(service, &connection.library);
            if service.connections.len() < CONNECTIONS {
                service.connections.push(connection.clone());
            } else if alike == 0
                // One of a library that others stand for makes room.
                && let Some(at) = service.connections.iter().rposition(|other| of(service, &other.library) > 1)
            {
                service.connections[at] = connection.clone();
            }
        }
    }
}

/// Connections with an instance. Whose they are is known, since one account is asked for, and no user is looked at.
fn options(account: &Name, offset: u64, limit: u64) -> ConnzOptions {
    ConnzOptions {
        auth: false,
        subscriptions: true,
        acc: Some(account.to_string()),
        filter_subject: Some(format!("{PING}*.*")),
        offset,
        limit,
        ..ConnzOptions::open()
    }
}

/// The pages of one account on one server.
pub(super) struct Pages<'a> {
    pub(super) inbox: &'a Inbox,
    pub(super) plan: &'a Plan,
    pub(super) lanes: &'a Lanes,
    /// Its id and its name.
    pub(super) server: (&'a Name, &'a Name),
    pub(super) account: &'a Name,
    /// The agent's own connections.
    pub(super) own: &'a [(Name, u64)],
}

impl Pages<'_> {
    /// Reads them all.
    pub(super) async fn read(&self, tally: &mut Tally) -> Result<Fold, Answer> {
        let mut fold = Fold::default();
        let (mut offset, mut limit, mut last_cid, mut bytes_of_one) = (0, FIRST_PAGE, 0, CONNECTION_BYTES);
        while fold.pages < PAGES {
            fold.pages += 1;
            let bytes = limit.saturating_mul(bytes_of_one);
            let (listed, bytes) = self.page(&mut fold, (offset, limit, bytes), &mut last_cid, tally).await?;
            if listed < limit {
                return Ok(fold);
            }
            bytes_of_one = (bytes / listed.max(1)).max(1);
            offset += listed.saturating_sub(OVERLAP).max(1);
            limit = (BUDGET / 8 / bytes_of_one).clamp(2 * OVERLAP, LARGEST_PAGE);
        }
        Err(Answer::Partial(format!("account {} has too many instances of services", self.account)))
    }

    /// One page; how many connections were listed, and the bytes that took.
    async fn page(
        &self,
        fold: &mut Fold,
        (offset, limit, bytes): (u64, u64, u64),
        last_cid: &mut u64,
        tally: &mut Tally,
    ) -> Result<(u64, u64), Answer> {
        let (id, name) = self.server;
        let options = options(self.account, offset, limit);
        let subject = format!("$SYS.REQ.SERVER.{id}.CONNZ");
        let Some(_pass) = self.lanes.enter(id, bytes, self.plan.deadline).await else {
            return Err(Missed::Deadline.answer(&subject, offset));
        };
        // Whose an answer is stands before what it lists, but it may break off: nothing of that must be kept.
        let before = *last_cid;
        let read = |body: &[u8]| {
            let (mut page, mut newest) = (Fold::default(), before);
            let read = parse(body, &mut |_, connection| {
                let own = self.own.iter().any(|(server, cid)| server == id && *cid == connection.cid);
                if connection.cid > before && !own {
                    page.add(name, connection);
                }
                newest = newest.max(connection.cid);
            });
            match read {
                Ok(read) if *read.server.id == **id => Ok((page, newest, read.listed)),
                Ok(_) => Err(Unusable::Stranger),
                Err(error) => Err(Unusable::Broken(error.to_string())),
            }
        };
        let told = ask_for((self.inbox, self.plan), (&subject, &options), tally, read).await;
        let ((page, newest, listed), bytes) = told.map_err(|untold| untold.answer(&subject, offset))?;
        *last_cid = newest;
        fold.merge(page);
        Ok((listed, bytes))
    }
}

impl Fold {
    /// Takes in a page of the same account on the same server.
    fn merge(&mut self, page: Self) {
        self.beyond |= page.beyond;
        for (name, found) in page.services {
            if self.services.len() >= SERVICES && !self.services.contains_key(&name) {
                self.beyond = true;
                continue;
            }
            self.services.entry(name).or_default().merge(found);
        }
    }
}

impl Found {
    fn merge(&mut self, other: Self) {
        self.behind_leafnodes = self.behind_leafnodes.saturating_add(other.behind_leafnodes);
        for (library, count) in other.libraries {
            let sum = self.libraries.entry(library).or_default();
            *sum = sum.saturating_add(count);
        }
        let room = CONNECTIONS.saturating_sub(self.connections.len());
        self.connections.extend(other.connections.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(cid: u64, version: &str, subjects: &[&str]) -> Connection<'static> {
        Connection {
            cid,
            kind: "Client".into(),
            lang: "go".into(),
            version: version.to_owned().into(),
            ip: "10.0.0.1".into(),
            name: format!("c{cid}").into(),
            subscriptions_list: Some(subjects.iter().map(|subject| (*subject).to_owned().into()).collect()),
            ..Connection::default()
        }
    }

    #[test]
    fn no_user_is_asked_for() {
        let asked = serde_json::to_value(options(&"APP".into(), 8, 64)).unwrap();
        assert_eq!(
            (&asked["auth"], &asked["acc"], &asked["limit"]),
            (&false.into(), &"APP".into(), &64.into())
        );
    }

    #[test]
    fn instances_are_told_by_their_own_subscriptions() {
        let mut fold = Fold::default();
        let server = Name::from("n1");
        fold.add(
            &server,
            &connection(
                1,
                "1.0",
                &[
                    "$SRV.PING",
                    "$SRV.PING.echo",
                    "$SRV.PING.echo.A",
                    "$SRV.PING.echo.A",
                    "$SRV.PING.echo.B",
                    "$SRV.INFO.echo.A",
                    "$SRV.PING.*.C",
                    "$SRV.PING.x.*",
                    "$SRV.PING.x.y.z",
                    ">",
                    "$SRV.PING..D",
                ],
            ),
        );
        fold.add(&server, &connection(2, "2.0", &["$SRV.PING.echo.E", "$SRV.PING.other.F"]));
        fold.add(
            &server,
            &Connection { kind: "Leafnode".into(), ..connection(3, "", &["$SRV.PING.echo.G"]) },
        );
        let counts: Vec<(&str, u64, u64)> = fold
            .services
            .iter()
            .map(|(name, found)| (&**name, found.libraries.values().sum(), found.behind_leafnodes))
            .collect();
        assert_eq!(counts, [("echo", 3, 1), ("other", 1, 0)]);
        let mut service = Service::default();
        fold.services["echo"].add_to(&"ID1".into(), &mut service);
        fold.services["echo"].add_to(&"ID2".into(), &mut service);
        assert_eq!((service.instances(), service.behind_leafnodes, service.libraries.len()), (8, 2, 2));
        assert_eq!(service.connections.len(), CONNECTIONS);
    }

    #[test]
    fn every_library_has_a_connection_and_what_clients_say_is_bounded() {
        let server = Name::from("n1");
        let (mut many, mut one, mut service) = (Fold::default(), Fold::default(), Service::default());
        for cid in 0..10 {
            many.add(&server, &connection(cid, "1.0", &[&format!("$SRV.PING.s.{cid}")]));
        }
        many.add(&server, &connection(11, "1.1", &["$SRV.PING.s.x"]));
        many.services["s"].add_to(&"A".into(), &mut service);
        many.services["s"].add_to(&"B".into(), &mut service);
        one.add(&server, &connection(1, "3.0", &["$SRV.PING.s.z"]));
        one.services["s"].add_to(&"C".into(), &mut service);
        let versions: BTreeSet<&str> =
            service.connections.iter().map(|connection| &*connection.library.version).collect();
        assert_eq!(versions, BTreeSet::from(["1.0", "1.1", "3.0"]));
        for cid in 0..200 {
            one.add(&server, &connection(cid, &format!("4.{cid}"), &["$SRV.PING.s.y"]));
        }
        assert!(one.services["s"].libraries.len() <= LIBRARIES + 1);
        for cid in 0..2000 {
            one.add(&server, &connection(cid, "1.0", &[&format!("$SRV.PING.s{cid}.y")]));
        }
        assert!(one.services.len() == SERVICES && one.beyond);
    }
}
