//! Which server answered what: silence is never taken for health.

use super::{Missing, Version};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet};

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
    /// `$SYS.REQ.SERVER.PING.ROUTEZ`.
    Routez,
    /// `$SYS.REQ.SERVER.PING.GATEWAYZ`.
    Gatewayz,
    /// `$SYS.REQ.SERVER.PING.GATEWAYZ` with accounts, which is asked rarely.
    GatewayAccounts,
    /// `$SYS.REQ.SERVER.PING.LEAFZ`.
    Leafz,
    /// `$SYS.REQ.SERVER.PING.SUBSZ`, for statistics.
    Subsz,
    /// `$SYS.REQ.SERVER.PING.HEALTHZ` with details.
    Healthz,
    /// `$SYS.REQ.SERVER.<id>.CONNZ` of connections that ended since the previous epoch.
    Closed,
    /// `$SYS.REQ.SERVER.<id>.ACCOUNTZ` for the imports, exports and claims of accounts. A server of which nothing was
    /// wanted has answered.
    AccountDetails,
    /// `$SYS.REQ.SERVER.<id>.CONNZ` of connections that answer `$SRV.PING`, account by account.
    Services,
    /// `$SYS.REQ.SERVER.<id>.CONNZ` of connections that subscribe to what their account imports. A server of which nothing
    /// was wanted has answered.
    Interest,
    /// `$SYS.REQ.CLAIMS.LIST`: the accounts that the servers' resolver keeps, which is asked rarely. A server that keeps
    /// none has answered.
    ClaimsList,
    /// `$SYS.REQ.ACCOUNT.<account>.CLAIMS.LOOKUP`: the JWT of an account that no server has loaded. The answer does
    /// not tell whose it is.
    ClaimsLookup,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Statsz,
        Self::Varz,
        Self::Connz,
        Self::AccountStatz,
        Self::Accountz,
        Self::AccountConnz,
        Self::Events,
        Self::Routez,
        Self::Gatewayz,
        Self::GatewayAccounts,
        Self::Leafz,
        Self::Subsz,
        Self::Healthz,
        Self::Closed,
        Self::AccountDetails,
        Self::Services,
        Self::Interest,
        Self::ClaimsList,
        Self::ClaimsLookup,
    ];

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
            Self::Routez => "ROUTEZ",
            Self::Gatewayz => "GATEWAYZ",
            Self::GatewayAccounts => "GATEWAYZ with accounts",
            Self::Leafz => "LEAFZ",
            Self::Subsz => "SUBSZ",
            Self::Healthz => "HEALTHZ",
            Self::Closed => "CONNZ of closed connections",
            Self::AccountDetails => "ACCOUNTZ with imports and exports",
            Self::Services => "CONNZ of services",
            Self::Interest => "CONNZ by subject",
            Self::ClaimsList => "CLAIMS LIST",
            Self::ClaimsLookup => "CLAIMS LOOKUP",
        }
    }

    /// The subject to be allowed for asking: `*` stands for `PING`, for a server's id and for an account. None for what
    /// is subscribed to.
    pub const fn subject(self) -> Option<&'static str> {
        match self {
            Self::Statsz => Some("$SYS.REQ.SERVER.*.STATSZ"),
            Self::Varz => Some("$SYS.REQ.SERVER.*.VARZ"),
            Self::Connz | Self::Closed | Self::Services | Self::Interest => Some("$SYS.REQ.SERVER.*.CONNZ"),
            Self::Accountz | Self::AccountDetails => Some("$SYS.REQ.SERVER.*.ACCOUNTZ"),
            Self::AccountStatz => Some("$SYS.REQ.ACCOUNT.*.STATZ"),
            Self::AccountConnz => Some("$SYS.REQ.ACCOUNT.*.CONNZ"),
            Self::Routez => Some("$SYS.REQ.SERVER.*.ROUTEZ"),
            Self::Gatewayz | Self::GatewayAccounts => Some("$SYS.REQ.SERVER.*.GATEWAYZ"),
            Self::Leafz => Some("$SYS.REQ.SERVER.*.LEAFZ"),
            Self::Subsz => Some("$SYS.REQ.SERVER.*.SUBSZ"),
            Self::Healthz => Some("$SYS.REQ.SERVER.*.HEALTHZ"),
            Self::ClaimsList => Some("$SYS.REQ.CLAIMS.LIST"),
            Self::ClaimsLookup => Some("$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP"),
            Self::Events => None,
        }
    }

    /// The first version of nats-server that knows the request; none for those that every version knows which this agent
    /// can work with (2.9 and later).
    pub const fn since(self) -> Option<Version> {
        // Every one of them exists since 2.9.
        let _ = self;
        None
    }
}

/// A set of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests(u32);

impl Requests {
    /// Whether it is one of them.
    pub const fn contains(self, endpoint: Endpoint) -> bool {
        self.0 & (1 << endpoint as u32) != 0
    }

    /// All that there are.
    pub fn all() -> Self {
        Endpoint::ALL.into_iter().collect()
    }
}

impl FromIterator<Endpoint> for Requests {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        Self(endpoints.into_iter().fold(0, |set, endpoint| set | 1 << endpoint as u32))
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
    /// Its version does not know the request; the first that does.
    Unsupported(Version),
}

impl Answer {
    /// One clause on what a server did not do, where the answer is not complete.
    fn reason(&self, name: &str, endpoint: Endpoint) -> Option<String> {
        let what = endpoint.as_str();
        Some(match self {
            Self::Complete => return None,
            Self::Partial(missing) => format!("server {name} answered {what} in part: {missing}"),
            Self::Silent => format!("server {name} did not answer {what}"),
            Self::Denied(subject) if endpoint == Endpoint::Events => {
                format!("this agent's user may not subscribe to {subject}")
            }
            Self::Denied(subject) => format!("this agent's user may not publish to {subject}"),
            Self::Failed(why) => format!("server {name} answered {what} with an error: {why}"),
            Self::Unsupported(since) => {
                format!("server {name} does not know {what}, which exists since nats-server {since}")
            }
        })
    }
}

/// Something that was needed from a server and did not come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The server's name.
    pub server: Name,
    /// Its cluster.
    pub cluster: Option<Name>,
    /// Whether nothing but its name is known, so that it may be in any cluster.
    pub anywhere: bool,
    /// One clause: `server n3 did not answer CONNZ`.
    pub reason: String,
}

impl Gap {
    /// Whether the server may be in this cluster; none stands for a server without one.
    pub fn may_be_in(&self, cluster: Option<&Name>) -> bool {
        self.anywhere || self.cluster.as_ref() == cluster
    }
}

/// Something that was asked and did not come whole, whether or not a check needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The server's name.
    pub server: Name,
    /// What it was asked.
    pub endpoint: Endpoint,
    /// How it answered.
    pub answer: Answer,
    /// One clause: `server n3 did not answer CONNZ`.
    pub reason: String,
}

/// A subject that the agent's user may not use although the gather needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// As it has to be allowed, with `*` for `PING`, ids and accounts.
    pub subject: Name,
    /// Whether it was to be subscribed to, and not to be published to.
    pub subscribe: bool,
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
    /// Subjects that are denied, until there is proof that they no longer are.
    pub denied: BTreeSet<Denied>,
    /// Whether servers were asked only for accounts that have clients, because all would have been too much: what they count
    /// for another one was not seen.
    pub used_accounts_only: bool,
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

    /// Whether any server answered a request, whole or not.
    pub fn heard(&self, endpoint: Endpoint) -> bool {
        let heard =
            |answer: &Answer| matches!(answer, Answer::Complete | Answer::Partial(_) | Answer::Failed(_));
        self.answers.iter().any(|((of, _), answer)| *of == endpoint && heard(answer))
    }

    /// Tells those that cannot answer from those that do not: what is silent or fails, and is older than the request,
    /// does not support it. `versions` are those of the servers, `since` is [`Endpoint::since`].
    pub fn settle(
        &mut self,
        versions: impl Fn(&Name) -> Option<Version>,
        since: impl Fn(Endpoint) -> Option<Version>,
    ) {
        for ((endpoint, server), answer) in &mut self.answers {
            if let (Some(since), Some(version)) = (since(*endpoint), versions(server))
                && matches!(answer, Answer::Silent | Answer::Failed(_))
                && version < since
            {
                *answer = Answer::Unsupported(since);
            }
        }
    }

    /// What is missing of an endpoint, over all known servers.
    pub fn gaps(&self, endpoint: Endpoint) -> Vec<Gap> {
        let what = endpoint.as_str();
        let mut gaps = Vec::new();
        for missing in &self.missing {
            let reason = match self.not_asked.get(&Endpoint::Statsz) {
                Some(why) => why.clone(),
                None => missing.reason(what),
            };
            let (server, cluster) = (missing.name.clone(), missing.cluster.clone());
            gaps.push(Gap { server, cluster, anywhere: missing.may_be_anywhere(), reason });
        }
        for (id, (name, cluster)) in &self.present {
            let reason = match (self.answer(endpoint, id), self.not_asked.get(&endpoint)) {
                (Some(answer), _) => match answer.reason(name, endpoint) {
                    Some(reason) => reason,
                    None => continue,
                },
                (None, Some(why)) => format!("{what} was not asked: {why}"),
                (None, None) => format!("server {name} was not asked for {what}"),
            };
            gaps.push(Gap { server: name.clone(), cluster: cluster.clone(), anywhere: false, reason });
        }
        gaps
    }

    /// Everything that was asked and is not complete, by server and request. A server that did not answer the roll call
    /// is asked nothing more, so that it stands here once.
    pub fn shortfalls(&self) -> Vec<Shortfall> {
        let roll_call = Endpoint::Statsz;
        let mut shortfalls: Vec<Shortfall> = Vec::new();
        for missing in &self.missing {
            let (answer, reason) = match self.not_asked.get(&roll_call) {
                Some(why) => (Answer::Denied(why.clone()), why.clone()),
                None => (Answer::Silent, missing.reason(roll_call.as_str())),
            };
            shortfalls.push(Shortfall { server: missing.name.clone(), endpoint: roll_call, answer, reason });
        }
        for ((endpoint, id), answer) in &self.answers {
            let name = self.present.get(id).map_or(id, |(name, _)| name);
            if let Some(reason) = answer.reason(name, *endpoint) {
                let (server, answer) = (name.clone(), answer.clone());
                shortfalls.push(Shortfall { server, endpoint: *endpoint, answer, reason });
            }
        }
        shortfalls
            .sort_by(|a, b| (&a.server, a.endpoint, &a.reason).cmp(&(&b.server, b.endpoint, &b.reason)));
        shortfalls
    }

    /// Number of the known servers: those that answered the roll call and those missing.
    pub fn known(&self) -> usize {
        self.present.len() + self.missing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Coverage {
        let mut coverage = Coverage::default();
        for (id, name) in [("A", "n1"), ("B", "n2")] {
            coverage.present.insert(id.into(), (name.into(), None));
            coverage.note(Endpoint::Statsz, &id.into(), Answer::Complete);
        }
        coverage
    }

    #[test]
    fn a_server_that_is_too_old_is_told_from_a_silent_one() {
        let mut coverage = two();
        for id in ["A", "B"] {
            coverage.note(Endpoint::Varz, &id.into(), Answer::Silent);
            coverage.note(Endpoint::Connz, &id.into(), Answer::Silent);
        }
        // As if VARZ were new in 2.10.26.
        let since = |endpoint| (endpoint == Endpoint::Varz).then_some(Version(2, 10, 26));
        let version = |id: &Name| Some(if **id == *"A" { Version(2, 10, 25) } else { Version(2, 10, 26) });
        coverage.settle(version, since);
        let of = |endpoint, id: &str| coverage.answer(endpoint, &id.into()).unwrap().clone();
        assert_eq!(of(Endpoint::Varz, "A"), Answer::Unsupported(Version(2, 10, 26)));
        assert_eq!(of(Endpoint::Varz, "B"), Answer::Silent);
        assert_eq!(of(Endpoint::Connz, "A"), Answer::Silent);
        let reasons: Vec<String> = coverage.gaps(Endpoint::Varz).into_iter().map(|gap| gap.reason).collect();
        assert_eq!(
            reasons,
            [
                "server n1 does not know VARZ, which exists since nats-server 2.10.26",
                "server n2 did not answer VARZ"
            ]
        );
        // What answers although it is too old, as a build of its own may, has answered.
        let mut whole = two();
        whole.note(Endpoint::Varz, &"A".into(), Answer::Complete);
        whole.settle(|_| Some(Version(2, 9, 0)), since);
        assert_eq!(whole.answer(Endpoint::Varz, &"A".into()), Some(&Answer::Complete));
    }

    #[test]
    fn shortfalls_name_what_was_asked_in_vain_and_nothing_else() {
        let mut coverage = two();
        coverage.note(Endpoint::Varz, &"B".into(), Answer::Failed("x".into()));
        coverage.note(Endpoint::Connz, &"A".into(), Answer::Partial("the end".into()));
        coverage.not_asked.insert(Endpoint::Accountz, "nobody needs it".into());
        coverage.missing.push(Missing { name: "n0".into(), last_epoch: Some(1), ..Missing::default() });
        let rows: Vec<(String, Endpoint)> =
            coverage.shortfalls().into_iter().map(|row| (row.server.to_string(), row.endpoint)).collect();
        let expected = [("n0", Endpoint::Statsz), ("n1", Endpoint::Connz), ("n2", Endpoint::Varz)];
        assert_eq!(rows, expected.map(|(server, endpoint)| (server.to_owned(), endpoint)));
        assert!(coverage.heard(Endpoint::Varz) && !coverage.heard(Endpoint::AccountStatz));
    }
}
