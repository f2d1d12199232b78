//! Which boots announced that they end, and when nobody here listened.

use super::roster::ServerEvent;
use crate::snapshot::{Deaf, Ends};
use crate::text::Name;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// How long an announcement is remembered.
const REMEMBER: Duration = Duration::hours(24);

/// Announcements that are remembered: anybody in the system account can publish them.
const ANNOUNCED: usize = 20_000;

/// Times of deafness that are remembered; those that follow each other for one reason are one.
const DEAF: usize = 200;

/// What was not heard, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missed {
    /// Announcements of servers but for the one that the agent was connected to: what it writes before it closes the
    /// connection has come.
    OfOthers(String),
    /// Those of every server.
    All(String),
}

/// What was heard of the ends of boots.
#[derive(Debug, Default)]
pub(super) struct Farewells {
    announced: BTreeMap<Name, OffsetDateTime>,
    deaf: Vec<Deaf>,
    /// The last epoch, and the server that the agent was connected to in it.
    before: Option<(OffsetDateTime, Name)>,
}

impl Farewells {
    /// Takes in what was announced.
    pub(super) fn hear<'a>(&mut self, events: impl IntoIterator<Item = &'a ServerEvent>, at: OffsetDateTime) {
        for event in events {
            if let ServerEvent::Shutdown(id) | ServerEvent::LameDuck(id) = event {
                self.announced.insert(id.clone(), at);
            }
        }
        self.announced.retain(|_, heard| at - *heard < REMEMBER);
        while self.announced.len() > ANNOUNCED {
            let oldest = self.announced.iter().min_by_key(|(_, heard)| **heard).map(|(id, _)| id.clone());
            oldest.map(|id| self.announced.remove(&id));
        }
    }

    /// Ends an epoch: `own` is the server that the agent is connected to, `missed` is why something may have been missed
    /// since the epoch before.
    pub(super) fn end(&mut self, at: OffsetDateTime, own: Name, missed: Option<Missed>) {
        if let (Some(missed), Some((from, next_door))) = (missed, self.before.take()) {
            let (why, except) = match missed {
                Missed::OfOthers(why) => (why, Some(next_door)),
                Missed::All(why) => (why, None),
            };
            match self.deaf.last_mut() {
                Some(last) if last.to == from && last.why == why => {
                    // What was heard of only one part cannot be told from what was missed in the other.
                    last.except.take_if(|other| except.as_ref() != Some(other));
                    last.to = at;
                }
                _ => self.deaf.push(Deaf { from, to: at, except, why }),
            }
        }
        self.deaf.retain(|deaf| at - deaf.to < REMEMBER);
        if self.deaf.len() > DEAF {
            self.deaf.drain(..self.deaf.len() - DEAF);
        }
        self.before = Some((at, own));
    }

    /// For a snapshot.
    pub(super) fn tell(&self) -> Ends {
        let announced = self.announced.keys().cloned().collect();
        Ends { announced, deaf: self.deaf.clone(), heard: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(second)
    }

    #[test]
    fn announcements_are_remembered_for_a_day_and_bounded() {
        let mut farewells = Farewells::default();
        farewells.hear(&[ServerEvent::LameDuck("A".into())], at(0));
        farewells.hear(&[ServerEvent::Shutdown("A".into()), ServerEvent::Shutdown("B".into())], at(60));
        assert_eq!(farewells.tell().announced.len(), 2);
        farewells.hear(&[], at(86_400 + 59));
        assert_eq!(farewells.tell().announced.len(), 2);
        farewells.hear(&[], at(86_400 + 60));
        assert!(farewells.tell().announced.is_empty());
        let many: Vec<_> =
            (0..ANNOUNCED + 3).map(|n| ServerEvent::Shutdown(Name::from(n.to_string()))).collect();
        farewells.hear(&many, at(90_000));
        assert_eq!(farewells.tell().announced.len(), ANNOUNCED);
    }

    #[test]
    fn deafness_lasts_from_one_epoch_to_the_next_but_not_for_the_server_next_door() {
        let mut farewells = Farewells::default();
        // Nothing was seen before the first epoch that could have ended.
        let cut = || Some(Missed::OfOthers("cut".into()));
        farewells.end(at(0), "S1".into(), cut());
        assert!(farewells.tell().deaf.is_empty());
        farewells.end(at(60), "S2".into(), cut());
        let expected = Deaf { from: at(0), to: at(60), except: Some("S1".into()), why: "cut".into() };
        assert_eq!(farewells.tell().deaf, std::slice::from_ref(&expected));
        // Twice in a row: neither server was next door all the time.
        farewells.end(at(120), "S3".into(), cut());
        assert_eq!(farewells.tell().deaf, [Deaf { to: at(120), except: None, ..expected }]);
        farewells.end(at(180), "S3".into(), None);
        farewells.end(at(240), "S3".into(), cut());
        assert_eq!(farewells.tell().deaf.len(), 2);
        for second in 0..500 {
            farewells.end(at(300 + second * 120), "S3".into(), None);
            farewells.end(at(360 + second * 120), "S3".into(), cut());
        }
        assert_eq!(farewells.tell().deaf.len(), DEAF);
        farewells.end(at(90_000), "S3".into(), Some(Missed::All("denied".into())));
        assert_eq!(farewells.tell().deaf.last().unwrap().except, None);
    }
}
