//! What is printed before a world is served: what must be found, and what is wrong with it.

use super::connection::user;
use super::planting::Place;
use super::world::{Moment, World};
use crate::check::Severity;
use crate::checks::find;
use serde::Serialize;

/// A finding that the agent must give, with default thresholds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// The check.
    pub check: &'static str,
    /// The severity of the check.
    pub severity: Severity,
    /// The entity's type, as in a finding.
    pub entity_type: &'static str,
    /// The entity's id, as in a finding.
    pub entity: String,
    /// The account that it belongs to, unless it is a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What people call it.
    pub name: String,
    /// The condition that was planted.
    pub condition: &'static str,
}

/// A condition for which there is no room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotPlanted {
    /// Its name.
    pub condition: &'static str,
    /// What is missing.
    pub reason: String,
}

/// A server with a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faulty {
    /// The fault's name.
    pub fault: &'static str,
    /// The server's name.
    pub server: String,
    /// Its cluster.
    pub cluster: String,
    /// Its id at the start.
    pub id: String,
    /// Its id after a restart, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_after: Option<String>,
    /// Its client connections.
    pub connections: u64,
}

impl World {
    /// What must be found.
    pub fn expected(&self) -> Vec<Expected> {
        self.planted
            .iter()
            .map(|planted| {
                let check = planted.condition.check();
                let severity = find(check).map_or(Severity::Info, |entry| entry.meta.severity);
                let of_account = |index: usize| &self.layout.accounts[index];
                let (entity_type, entity, account, name) = match planted.place {
                    Place::Account(index) => {
                        let account = of_account(index);
                        ("account", account.id.clone(), Some(account.id.clone()), account.name.clone())
                    }
                    Place::AccountInCluster(index, cluster) => {
                        let (account, cluster) = (of_account(index), &self.layout.clusters[cluster].name);
                        let id = format!("{}/{cluster}", account.id);
                        ("account", id, Some(account.id.clone()), account.name.clone())
                    }
                    Place::User(index) => {
                        let user = user(self, index, 0);
                        let kind = if check == "OPT_IDLE_007" { "connection" } else { "user" };
                        (kind, user.id, Some(of_account(index).id.clone()), user.name)
                    }
                    Place::Server(index) => {
                        let name = &self.layout.servers[index].name;
                        ("server", name.clone(), None, name.clone())
                    }
                };
                Expected {
                    check,
                    severity,
                    entity_type,
                    entity,
                    account,
                    name,
                    condition: planted.condition.name(),
                }
            })
            .collect()
    }

    /// Conditions for which there was no room, where nobody asked for them in particular.
    pub fn not_planted(&self) -> Vec<NotPlanted> {
        let rows = self.unplanted.iter();
        rows.map(|row| NotPlanted { condition: row.condition.name(), reason: row.reason.clone() }).collect()
    }

    /// Servers with faults.
    pub fn faulty(&self) -> Vec<Faulty> {
        let mut rows = Vec::new();
        for (index, server) in self.layout.servers.iter().enumerate() {
            for fault in &server.faults {
                let restarts = fault.kind == super::fault::Kind::Restart;
                rows.push(Faulty {
                    fault: fault.kind.name(),
                    server: server.name.clone(),
                    cluster: self.layout.clusters[server.cluster].name.clone(),
                    id: self.id(index, &Moment::start(self.built)).to_owned(),
                    id_after: restarts.then(|| server.ids[1].clone()),
                    connections: server.connections(),
                });
            }
        }
        rows
    }
}
