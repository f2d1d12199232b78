//! A server that is known and did not answer the roll call.

use super::Version;
use crate::text::Name;
use time::OffsetDateTime;

/// A server that is known, by its own answers or by what others tell, and did not answer the roll call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Its name; `*/<cluster>` for a cluster that gateways name while none of its servers is known.
    pub name: Name,
    /// The id it was last heard of under; none for one that only its name is known of.
    pub id: Option<Name>,
    /// Its cluster.
    pub cluster: Option<Name>,
    /// Its version, when it last answered.
    pub version: Option<Version>,
    /// The epoch in which it last answered this agent, if it ever did.
    pub last_epoch: Option<u64>,
    /// When the gather of that epoch began.
    pub last_at: Option<OffsetDateTime>,
    /// Epochs in a row in which it was asked in vain, this one included. Epochs in which no server at all answered, or
    /// in which the agent's connection was lost, do not count: they say nothing about this server.
    pub silent_epochs: u64,
    /// Whether it had announced lame-duck mode, in which a server no longer answers.
    pub lame_duck: bool,
    /// Whether it publishes heartbeats while it does not answer.
    pub heartbeats: bool,
    /// Whether this agent knows it only from findings of an agent that ran before.
    pub expected: bool,
    /// Servers that answered in this epoch and have a route (or a gateway) to it; sorted.
    pub named_by: Vec<Name>,
}

impl Missing {
    /// Whether it stands for a whole cluster, of which only gateways tell.
    pub fn is_cluster(&self) -> bool {
        self.id.is_none() && self.name.starts_with("*/")
    }

    /// Whether nothing but its name is known: a server without a cluster says so when it answers, or by its heartbeats.
    pub fn may_be_anywhere(&self) -> bool {
        self.cluster.is_none() && self.last_epoch.is_none() && !self.heartbeats
    }

    /// One clause on why there is no answer to `what`: `server n3 did not answer VARZ`.
    pub fn reason(&self, what: &str) -> String {
        let name = &self.name;
        let by = self.named_by.first();
        if self.lame_duck {
            return format!("server {name} is in lame-duck mode, in which it answers nothing");
        }
        if self.is_cluster() {
            let by = by.map_or_else(|| "another cluster".into(), |by| format!("a gateway of {by}"));
            let cluster = self.cluster.as_ref().unwrap_or(name);
            return format!(
                "cluster {cluster} is named by {by}, but none of its servers answered this agent"
            );
        }
        if self.last_epoch.is_some() {
            return match (self.heartbeats, by) {
                (true, _) => format!("server {name} did not answer {what}, though it sends heartbeats"),
                (false, Some(by)) => {
                    format!("server {name} did not answer {what}, though {by} has a route to it")
                }
                (false, None) => format!("server {name} did not answer {what}"),
            };
        }
        match (self.heartbeats, by) {
            (true, _) => format!("server {name} sends heartbeats but does not answer requests"),
            (false, Some(by)) => {
                format!("server {name} is named by a route of {by}, but never answered this agent")
            }
            (false, None) if self.expected => {
                format!("server {name} is known from earlier findings, but never answered this agent")
            }
            (false, None) => format!("server {name} was heard of, but never answered this agent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_tells_how_it_is_known() {
        let known = Missing { name: "n3".into(), last_epoch: Some(1), ..Missing::default() };
        let told = Missing { name: "n3".into(), ..Missing::default() };
        let by = || vec![Name::from("n1"), Name::from("n2")];
        for (missing, expected) in [
            (known.clone(), "server n3 did not answer VARZ"),
            (
                Missing { named_by: by(), ..known.clone() },
                "server n3 did not answer VARZ, though n1 has a route to it",
            ),
            (
                Missing { heartbeats: true, ..known.clone() },
                "server n3 did not answer VARZ, though it sends heartbeats",
            ),
            (
                Missing { lame_duck: true, named_by: by(), ..known },
                "server n3 is in lame-duck mode, in which it answers nothing",
            ),
            (
                Missing { named_by: by(), ..told.clone() },
                "server n3 is named by a route of n1, but never answered this agent",
            ),
            (
                Missing { heartbeats: true, ..told.clone() },
                "server n3 sends heartbeats but does not answer requests",
            ),
            (
                Missing { expected: true, ..told.clone() },
                "server n3 is known from earlier findings, but never answered this agent",
            ),
            (told, "server n3 was heard of, but never answered this agent"),
            (
                Missing {
                    name: "*/west".into(),
                    cluster: Some("west".into()),
                    named_by: by(),
                    ..Missing::default()
                },
                "cluster west is named by a gateway of n1, but none of its servers answered this agent",
            ),
        ] {
            assert_eq!(missing.reason("VARZ"), expected);
        }
    }
}
