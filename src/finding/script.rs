//! Epochs by a script, for the tests of a finding's life.

use super::{AgentInfo, EpochSummary, Ledger, Moment, Origin, Said, Terms, samples, step};
use crate::check::{
    Context, Entity, Judgement, Observed, PolicySetting, Scripted, Settings, Severity, Verdict, evaluate,
};
use crate::checks::find;
use crate::snapshot::build::System;
use crate::snapshot::{Endpoint, History};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;

pub(crate) const CHECK: &str = "USER_002";
pub(crate) const USERS: [&str; 3] = ["a", "b", "c"];

/// What an epoch says of one user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Says {
    Warns,
    Alarms,
    Clear,
    Unknown,
    UnknownButOver,
}

/// How well the epoch went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sees {
    All,
    /// One server of two did not answer.
    Half,
    Nothing,
    /// The check is not enabled.
    Disabled,
}

pub(crate) fn entity(user: &str) -> Entity {
    Entity::user("APP", None, user, None)
}

fn verdict(user: &str, says: Says) -> Option<Verdict> {
    let entity = entity(user);
    let firing = |entity| {
        let observed = Observed::count(2, 1, "connections");
        Verdict::firing(entity, format!("{user} fires"), observed, &(), Vec::new())
    };
    match says {
        Says::Warns => Some(firing(entity)),
        Says::Alarms => Some(firing(entity).with_severity(Severity::Critical)),
        Says::Clear => None,
        Says::Unknown => Some(Verdict::unknown(entity, "hidden")),
        Says::UnknownButOver => Some(Verdict::unknown_but_over(entity, "limit not visible")),
    }
}

/// An epoch in which these are said of the users, under a policy of the check.
pub(crate) fn judged(says: &[Says], sees: Sees, policy: &PolicySetting) -> Vec<Judgement> {
    let system = System::of(2);
    let snapshot = match sees {
        Sees::Disabled => return Vec::new(),
        Sees::All => system,
        Sees::Half => system.silent("n1", Endpoint::Connz),
        Sees::Nothing => system.silent("n1", Endpoint::Connz).silent("n2", Endpoint::Connz),
    };
    let verdicts = USERS.iter().zip(says).filter_map(|(user, says)| verdict(user, *says)).collect();
    let (now, history, declared) = (snapshot.done(), History::default(), BTreeMap::new());
    let context = Context { now: &now, previous: None, history: &history, declared: &declared };
    let entry = find(CHECK).unwrap();
    let settings = Settings { policy: policy.clone(), ..Settings::default() };
    vec![evaluate(entry, &Scripted(verdicts), &Arc::new(entry.policies(&settings)), &context)]
}

pub(crate) fn origin(agent: &str) -> Origin {
    let agent = AgentInfo { id: agent.into(), name: "host".into(), version: "0".into() };
    Origin { system: "test".into(), system_account: "SYS".into(), agent }
}

pub(crate) fn moment(epoch: u64) -> Moment {
    let at = OffsetDateTime::from_unix_timestamp(1_700_000_000 + epoch as i64 * 30).unwrap();
    Moment { epoch, at }
}

/// A policy of so many epochs.
pub(crate) fn policy(for_epochs: u64, keep: u64) -> PolicySetting {
    PolicySetting { for_epochs: Some(for_epochs), keep: Some(keep), ..PolicySetting::default() }
}

/// What epochs said of users, each as one step after the other.
pub(crate) fn told(epochs: &[[Says; 3]]) -> Vec<Vec<Said>> {
    let (origin, mut ledger, mut all) = (origin("1"), Ledger::default(), Vec::new());
    for (epoch, says) in (0..).zip(epochs) {
        let terms = Terms::plain(&origin);
        let judged = judged(says, Sees::All, &PolicySetting::default());
        let (next, step) = step(ledger, &judged, &terms, moment(epoch));
        ledger = next;
        all.push(step.said);
    }
    all
}

/// The summary of an epoch, which says nothing.
pub(crate) fn summary(epoch: u64) -> Arc<EpochSummary> {
    Arc::new(EpochSummary { agent: origin("1").agent, ..samples::summary(epoch, moment(epoch).at) })
}

/// Any words of an epoch about a user.
pub(crate) fn any_says() -> impl Strategy<Value = Says> {
    prop_oneof![3 => Just(Says::Warns), 1 => Just(Says::Alarms), 2 => Just(Says::Clear), 1 => Just(Says::Unknown)]
}
