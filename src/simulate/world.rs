//! A world of servers that do not exist.

use super::fault::Kind;
use super::layout::Layout;
use super::pages::Pages;
use super::planting::{Planted, Unplanted, plant};
use super::random::{For, draw};
use super::shape::{Shape, ShapeError};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;
use time::OffsetDateTime;

/// When a question is asked.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time that servers print.
    pub now: OffsetDateTime,
    /// Time since the world was built.
    pub since_start: Duration,
    /// Roll calls so far, this one included.
    pub roll_call: u64,
}

impl Moment {
    /// The moment at which a world is built.
    pub const fn start(now: OffsetDateTime) -> Self {
        Self { now, since_start: Duration::ZERO, roll_call: 0 }
    }
}

/// Servers, accounts and connections that follow from a [`Shape`]. It never changes; only compressed pages are kept
/// once they have been made.
#[derive(Debug)]
pub struct World {
    pub(super) shape: Shape,
    pub(super) built: OffsetDateTime,
    pub(super) layout: Layout,
    pub(super) planted: Vec<Planted>,
    pub(super) unplanted: Vec<Unplanted>,
    /// Servers by both of their ids.
    by_id: HashMap<String, usize>,
    pages: Vec<OnceLock<Pages>>,
    pub(super) statz: Vec<OnceLock<Vec<u8>>>,
}

/// What preparing the answers came to, of one server or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Prepared {
    /// Bytes of all connections, as the servers would print them.
    pub bytes_plain: u64,
    /// The same compressed, as they are kept.
    pub bytes_compressed: u64,
    /// The largest answer of one server, compressed where answers to that request are.
    pub largest_answer: u64,
}

impl Prepared {
    /// Takes in another part.
    pub fn add(&mut self, other: Self) {
        self.bytes_plain += other.bytes_plain;
        self.bytes_compressed += other.bytes_compressed;
        self.largest_answer = self.largest_answer.max(other.largest_answer);
    }
}

impl World {
    /// The world at this time.
    pub fn new(shape: Shape, now: OffsetDateTime) -> Result<Self, ShapeError> {
        shape.validate()?;
        let mut layout = Layout::new(&shape);
        let (planted, unplanted) = plant(&mut layout, &shape)?;
        let ids = layout.servers.iter().enumerate();
        let by_id =
            ids.flat_map(|(index, server)| server.ids.iter().map(move |id| (id.clone(), index))).collect();
        let pages = layout.servers.iter().map(|_| OnceLock::new()).collect();
        let statz = layout.servers.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { shape, built: now, layout, planted, unplanted, by_id, pages, statz })
    }

    /// Servers, those included that are not there yet.
    pub fn servers(&self) -> usize {
        self.layout.servers.len()
    }

    /// Their clusters.
    pub const fn clusters(&self) -> u32 {
        self.shape.clusters
    }

    /// Accounts besides the system account.
    pub const fn accounts(&self) -> u32 {
        self.shape.accounts
    }

    /// Client connections on all of them.
    pub fn connections(&self) -> u64 {
        self.layout.servers.iter().map(super::layout::Server::connections).sum()
    }

    /// Prepares the answers of one server.
    pub fn prepare(&self, server: usize) -> Prepared {
        let moment = Moment::start(self.built);
        let pages = self.pages(server);
        let statsz = self.statsz(server, &moment).len() as u64;
        let statz = self.prepared_statz(server).len() as u64;
        Prepared {
            bytes_plain: pages.plain,
            bytes_compressed: pages.size(),
            // The head of an answer takes some hundred bytes.
            largest_answer: statsz.max(statz).max(pages.size()) + 1024,
        }
    }

    pub(super) fn pages(&self, server: usize) -> &Pages {
        self.pages[server].get_or_init(|| Pages::new(self, server))
    }

    /// The server with this id at this moment.
    pub(super) fn by_id(&self, id: &str, moment: &Moment) -> Option<usize> {
        let server = *self.by_id.get(id)?;
        (self.id(server, moment) == id).then_some(server)
    }

    /// Its id at this moment.
    pub(super) fn id(&self, server: usize, moment: &Moment) -> &str {
        &self.layout.servers[server].ids[usize::from(self.has(server, moment, |kind| *kind == Kind::Restart))]
    }

    /// When its process started, before any restart.
    pub(super) fn started(&self, server: usize) -> OffsetDateTime {
        let seconds = 86_400 + draw(self.shape.seed, For::Start, server as u64, u64::MAX) % (30 * 86_400);
        self.built - time::Duration::seconds(seconds as i64)
    }

    /// The fault that holds for a server at this moment, if there is such a one.
    pub(super) fn fault(
        &self,
        server: usize,
        moment: &Moment,
        wanted: impl Fn(&Kind) -> bool,
    ) -> Option<&Kind> {
        let faults = self.layout.servers[server].faults.iter();
        let mut holding = faults.filter(|fault| fault.holds(moment.roll_call, moment.since_start));
        holding.find(|fault| wanted(&fault.kind)).map(|fault| &fault.kind)
    }

    pub(super) fn has(&self, server: usize, moment: &Moment, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.fault(server, moment, wanted).is_some()
    }

    /// Whether its process runs.
    pub(super) fn runs(&self, server: usize, moment: &Moment) -> bool {
        let appears = self.layout.servers[server].faults.iter().any(|fault| fault.kind == Kind::Appear);
        (!appears || self.has(server, moment, |kind| *kind == Kind::Appear))
            && !self.has(server, moment, |kind| *kind == Kind::Vanish)
    }

    /// The ids of those servers that answer requests at this moment.
    pub fn answering(&self, moment: &Moment) -> Vec<&str> {
        let speaks = |server: &usize| self.runs(*server, moment) && !self.mute(*server, moment);
        (0..self.servers()).filter(speaks).map(|server| self.id(server, moment)).collect()
    }

    /// Whether it says nothing at all.
    pub(super) fn mute(&self, server: usize, moment: &Moment) -> bool {
        self.has(server, moment, |kind| *kind == Kind::Silent(None))
    }
}
