//! Which server answered what: silence is never taken for health.

use crate::text::Name;
use std::collections::BTreeMap;

/// A request of the gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// `$SYS.REQ.SERVER.PING.STATSZ`: the roll call.
    Statsz,
    /// `$SYS.REQ.SERVER.PING.VARZ`, or `$SYS.REQ.SERVER.<id>.VARZ`.
    Varz,
    /// `$SYS.REQ.SERVER.<id>.CONNZ`, page by page.
    Connz,
    /// `$SYS.REQ.ACCOUNT.PING.STATZ` with unused accounts.
    AccountStatz,
    /// `$SYS.REQ.SERVER.<id>.ACCOUNTZ` for one account. A server of which nothing was wanted has answered.
    Accountz,
    /// `$SYS.REQ.ACCOUNT.<account>.CONNZ`, for evidence.
    AccountConnz,
    /// `$SYS.ACCOUNT.*.DISCONNECT` and the orderly ends of servers.
    Events,
}

impl Endpoint {
    /// The name used in reasons.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Statsz => "STATSZ",
            Self::Varz => "VARZ",
            Self::Connz => "CONNZ",
            Self::AccountStatz => "ACCOUNT STATZ",
            Self::Accountz => "ACCOUNTZ",
            Self::AccountConnz => "ACCOUNT CONNZ",
            Self::Events => "events",
        }
    }
}

/// How a server answered a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Whole.
    Complete,
    /// A part is missing, and which.
    Partial(String),
    /// Not within the time given.
    Silent,
    /// The agent's user may not ask; the subject.
    Denied(String),
    /// It answered with an error or with something unreadable.
    Failed(String),
}

/// A server that is known from an earlier epoch and did not answer the roll call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: Name,
    /// The id it had when it last answered.
    pub id: Name,
    /// Its cluster.
    pub cluster: Option<Name>,
    /// The epoch in which it last answered.
    pub last_epoch: u64,
    /// Whether it had announced lame-duck mode, in which a server no longer answers.
    pub lame_duck: bool,
}

/// Something that was needed from a server and did not come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The server's name.
    pub server: Name,
    /// Its cluster.
    pub cluster: Option<Name>,
    /// One clause: `server n3 did not answer CONNZ`.
    pub reason: String,
}

/// Which server answered what.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// Servers that answered the roll call: id to (name, cluster).
    pub present: BTreeMap<Name, (Name, Option<Name>)>,
    /// Known servers that did not.
    pub missing: Vec<Missing>,
    /// Requests that were not made in this epoch at all, and why.
    pub not_asked: BTreeMap<Endpoint, String>,
    /// Sentences for the operator about anything else that was incomplete.
    pub notes: Vec<String>,
    answers: BTreeMap<(Endpoint, Name), Answer>,
}

impl Coverage {
    /// Notes how a server answered; a better answer does not undo a worse one of the same epoch.
    pub fn note(&mut self, endpoint: Endpoint, server: &Name, answer: Answer) {
        let slot = self.answers.entry((endpoint, server.clone())).or_insert(Answer::Complete);
        if *slot == Answer::Complete {
            *slot = answer;
        }
    }

    /// How a server answered; none if it was not asked.
    pub fn answer(&self, endpoint: Endpoint, server: &Name) -> Option<&Answer> {
        self.answers.get(&(endpoint, server.clone()))
    }

    /// What is missing of an endpoint, over all known servers.
    pub fn gaps(&self, endpoint: Endpoint) -> Vec<Gap> {
        let what = endpoint.as_str();
        let mut gaps = Vec::new();
        for missing in &self.missing {
            let Missing { name, cluster, .. } = missing;
            let reason = if missing.lame_duck {
                format!("server {name} is in lame-duck mode, in which it answers nothing")
            } else {
                format!("server {name} did not answer {what}")
            };
            gaps.push(Gap { server: name.clone(), cluster: cluster.clone(), reason });
        }
        for (id, (name, cluster)) in &self.present {
            let reason = match self.answers.get(&(endpoint, id.clone())) {
                Some(Answer::Complete) => continue,
                Some(Answer::Partial(what_is_missing)) => {
                    format!("server {name} answered {what} in part: {what_is_missing}")
                }
                Some(Answer::Failed(why)) => format!("server {name} answered {what} with an error: {why}"),
                Some(Answer::Denied(subject)) => format!("this agent's user may not publish to {subject}"),
                Some(Answer::Silent) => format!("server {name} did not answer {what}"),
                None => match self.not_asked.get(&endpoint) {
                    Some(why) => format!("{what} was not asked: {why}"),
                    None => format!("server {name} was not asked for {what}"),
                },
            };
            gaps.push(Gap { server: name.clone(), cluster: cluster.clone(), reason });
        }
        gaps
    }

    /// Names of the known servers: those that answered the roll call and those missing.
    pub fn known(&self) -> usize {
        self.present.len() + self.missing.len()
    }
}
