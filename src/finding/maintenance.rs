//! Servers that left in order, and what is not said for a while because of that.

use crate::check::{Disturbed, Entity};
use crate::snapshot::{Departure, Leaving};
use crate::text::Name;
use std::time::Duration;
use time::OffsetDateTime;

/// A time in which findings that begin may be because of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The server.
    pub server: Name,
    /// Its cluster.
    pub cluster: Option<Name>,
    /// What it announced.
    pub how: Leaving,
    /// When it did.
    pub since: OffsetDateTime,
    /// When the time is over, unless the server comes back or leaves again meanwhile.
    pub until: OffsetDateTime,
}

/// The windows of one epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintenance {
    windows: Vec<Window>,
}

impl Maintenance {
    /// Without any window.
    pub const fn none() -> Self {
        Self { windows: Vec::new() }
    }

    /// Those of the servers that left, or came back, less than `grace` ago. Without a grace period there are none.
    pub fn of(departures: &[Departure], grace: Duration, now: OffsetDateTime) -> Self {
        let window = |one: &Departure| {
            let until = one.back_at.unwrap_or(one.at) + grace;
            // It may have come back within the time that its leaving gives.
            let until = until.max(one.at + grace);
            (now < until).then(|| Window {
                server: one.server.clone(),
                cluster: one.cluster.clone(),
                how: one.how,
                since: one.at,
                until,
            })
        };
        Self { windows: departures.iter().filter_map(window).collect() }
    }

    /// All windows.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The first window in which an entity may look bad because of the server, as an index into all.
    pub(super) fn holds(&self, entity: &Entity, disturbed: Disturbed) -> Option<usize> {
        self.windows.iter().position(|window| match disturbed {
            Disturbed::Never => false,
            Disturbed::Own => entity.server.as_ref() == Some(&window.server),
            Disturbed::Cluster => entity.cluster.is_none() || entity.cluster == window.cluster,
            Disturbed::System => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)
    }

    fn departure(server: &str, cluster: &str, left: i64, back: Option<i64>) -> Departure {
        Departure {
            server: server.into(),
            cluster: Some(cluster.into()),
            how: Leaving::Shutdown,
            at: at(left),
            back_at: back.map(at),
        }
    }

    #[test]
    fn a_window_lasts_from_the_announcement_and_again_from_the_return() {
        let grace = Duration::from_secs(120);
        // Left at 100, back at 400.
        for (now, back, expected) in [
            (100, None, Some(220)),
            (219, None, Some(220)),
            (220, None, None),
            (399, None, None),
            (400, Some(400), Some(520)),
            (519, Some(400), Some(520)),
            (520, Some(400), None),
            // Back at once.
            (110, Some(105), Some(225)),
        ] {
            let departures = [departure("n1", "east", 100, back)];
            let windows = Maintenance::of(&departures, grace, at(now)).windows;
            assert_eq!(windows.first().map(|one| one.until), expected.map(at), "{now} {back:?}");
            assert!(windows.iter().all(|one| one.since == at(100)));
            assert!(Maintenance::of(&departures, Duration::ZERO, at(now)).windows.is_empty());
        }
    }

    #[test]
    fn a_window_holds_what_the_server_can_disturb() {
        let departures = [departure("n1", "east", 0, None), departure("w1", "west", 0, None)];
        let maintenance = Maintenance::of(&departures, Duration::from_secs(60), at(0));
        let (east, north) = (Name::from("east"), Name::from("north"));
        let server = |name: &str, cluster| Entity::server(&name.into(), cluster);
        use Disturbed::{Cluster, Never, Own, System};
        for (entity, disturbed, expected) in [
            (server("n1", Some(&east)), Never, None),
            (server("n1", Some(&east)), Own, Some(0)),
            (server("n2", Some(&east)), Own, None),
            (server("n2", Some(&east)), Cluster, Some(0)),
            (server("w1", None), Own, Some(1)),
            (server("x1", Some(&north)), Cluster, None),
            (server("x1", Some(&north)), System, Some(0)),
            (Entity::account("A", None), Cluster, Some(0)),
            (Entity::account("A", None), Own, None),
            (Entity::account_in_cluster("A", None, &north), Cluster, None),
        ] {
            assert_eq!(maintenance.holds(&entity, disturbed), expected, "{entity:?} {disturbed:?}");
        }
    }
}
