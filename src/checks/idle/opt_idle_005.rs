//! OPT_IDLE_005: accounts that nobody uses.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, seconds,
};
use crate::checks::evidence::{in_words, rfc3339};
use crate::checks::roll_up::MOST;
use crate::snapshot::{Account, Endpoint, LookBack, Quiet, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;

/// See [`Rule::META`].
pub(super) struct InactiveAccount;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when an account has done nothing for this long, e.g. `24h`; at least `1s`.
    #[serde(with = "crate::checks::as_text")]
    #[schemars(with = "String")]
    idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(24 * 3600) }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        seconds("idle", self.idle)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Seconds since the last epoch in which the account did something; none if it never did while this agent watched.
    inactive_seconds: Option<u64>,
    /// That epoch.
    last_active: Option<String>,
    /// For how long this agent has watched the account, in seconds.
    watched_seconds: u64,
    /// Bytes that the account sent and received since the starts of the servers: 0 if it was never used since then.
    bytes: u64,
    /// Subscriptions that servers hold for it: their own imports. None where no server shows them.
    subscriptions: Option<u64>,
}

impl Rule for InactiveAccount {
    const META: Meta = Meta {
        id: "OPT_IDLE_005",
        name: "Inactive Account",
        severity: Severity::Info,
        category: Category::Waste,
        kind: Kind::Optimization,
        entity: EntityType::Account,
        group: Some("idle"),
        since: "2.9",
        differs: Some(
            "It fires when this agent has watched the account do nothing for that long: no server tells when an account was \
             last used, and their counts of bytes begin anew with every start. `$G`, which every server has, is left out unless it \
             has been used.",
        ),
        rule: "An account has had no client, no leafnode and no traffic for 24 hours.",
        why: "An account that nobody uses is most often left over from a project or a test. Its users can still log in, its \
              imports and exports still connect it to others, and the streams that it may have still take disk space: \
              it is worth knowing whether somebody needs it.\n\n\
              Activity is an open connection of a client or a leafnode in any epoch, or bytes sent or received since the \
              epoch before, as servers count them for the account (ACCOUNT STATZ). What happens between two epochs shows \
              itself by its bytes. An account that is a part of the system only by its streams, with nobody connected and \
              nothing published to it, looks inactive as well.\n\n\
              Nothing is said before this agent has watched for as long as `idle` says: after its start, or after it took \
              over from another agent. A server that does not answer may have all clients of an account, so that all \
              servers must have answered. Where there are too many accounts to ask for all of them, only those with clients are \
              listed, and the others are unknown. The system account is left out, and so is `$G`, which every server has, unless \
              it has been used. Accounts of operator mode are seen once a server has loaded them.",
        remedy: &[
            "Ask the account's owner whether it is still needed.",
            "Look for streams and consumers in it before anything is removed.",
            "See whether other accounts import from it.",
            "Remove it from the resolver (`nsc delete account`, then `nsc push -R` with its public key, for which the resolver needs \
             `allow_delete: true`), or from the servers' configuration.",
            "`$G` cannot be removed, as every server has it: give its users an account of their own.",
            "Keep accounts that are used rarely out of this check by an override.",
        ],
        needs: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    const EPOCHS: u64 = 2;
    // An account whose clients are away for a maintenance has been active before it.
    const DISTURBED: Disturbed = Disturbed::Never;
    const MOST: usize = MOST;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn looks_back(_: &Limits) -> LookBack {
        LookBack { accounts: true, ..LookBack::default() }
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        if context.now.coverage.used_accounts_only {
            return used_accounts_only(context.now);
        }
        let tenants =
            context.now.accounts.values().filter(|account| account.id != context.now.system_account);
        tenants.filter_map(|account| judge_account(context, thresholds, account)).collect()
    }
}

/// Where servers were asked only for accounts that have clients, those are in use, and of others nothing is known.
fn used_accounts_only(now: &Snapshot) -> Vec<Verdict> {
    let used = now.accounts.values().filter(|account| account.connections() > 0 || account.leafnodes() > 0);
    let mut verdicts: Vec<Verdict> =
        used.map(|account| Verdict::clear(Entity::of_account(account))).collect();
    verdicts.push(Verdict::others_unknown(
        Entity::account("*", None),
        "accounts without clients are not listed, because there are too many to ask for all",
    ));
    verdicts
}

fn judge_account(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    account: &Account,
) -> Option<Verdict> {
    let quiet = context.history.quiet(account, context.now)?;
    if &*account.id == "$G" && account.bytes == 0 && quiet.last_active.is_none() {
        return None;
    }
    let entity = Entity::of_account(account);
    let idle = thresholds.of(&entity).idle.as_secs();
    if quiet.seconds < idle {
        // What this agent has seen to be active is clear; of what another one has found it cannot tell yet.
        let watched = in_words(quiet.seconds);
        let reason = format!("this agent has watched the account for {watched}, of {}", in_words(idle));
        return quiet.last_active.is_none().then(|| Verdict::not_yet(entity, reason));
    }
    Some(report(context, account, entity, quiet, idle))
}

fn report(context: &Context<'_>, account: &Account, entity: Entity, quiet: Quiet, idle: u64) -> Verdict {
    let since =
        |time: OffsetDateTime| u64::try_from((context.now.taken_at - time).whole_seconds()).unwrap_or(0);
    let for_how_long = in_words(quiet.seconds);
    let summary = match quiet.last_active {
        Some(_) => format!(
            "account {} has had no client, no leafnode and no traffic for {for_how_long}",
            account.label()
        ),
        None => format!(
            "account {} has had no client, no leafnode and no traffic in the {for_how_long} that this agent has watched it",
            account.label()
        ),
    };
    let observed = Observed::count(quiet.seconds, idle, "seconds");
    let evidence = Evidence {
        inactive_seconds: quiet.last_active.map(since),
        last_active: quiet.last_active.and_then(rfc3339),
        watched_seconds: since(quiet.first_seen),
        bytes: account.bytes,
        subscriptions: account.subscriptions(),
    };
    let remediation = remediation(account, &evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn remediation(account: &Account, evidence: &Evidence) -> Vec<String> {
    let label = account.label();
    let mut steps = Vec::new();
    if evidence.bytes == 0 {
        steps.push(format!("Nothing was ever sent in account {label} since its servers started: look whether it was set up in vain."));
    } else {
        steps
            .push(format!("Account {label} has been used before: ask its owner whether it is still needed."));
    }
    steps.push("Look for streams, consumers and imports of other accounts that depend on it.".into());
    steps.push(match &*account.id {
        "$G" => "It cannot be removed, as every server has it: give its users an account of their own, so that nobody lands in it."
            .into(),
        _ => "Then remove it from the resolver (`nsc delete account`, then `nsc push -R` with its public key, for which the \
              resolver needs `allow_delete: true`), or from the servers' configuration."
            .to_owned(),
    });
    steps.push(format!(
        "If it is used rarely on purpose, raise `idle` of this check by an override for account {label}."
    ));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge, judge_last, judge_last_set, only};
    use crate::snapshot::Snapshot;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = InactiveAccount;

    const DAY: i64 = 24 * 3600;

    fn entity() -> Entity {
        Entity::account("APP", None)
    }

    /// An epoch of an account without connections.
    fn epoch(second: i64, bytes: u64) -> System {
        let mut system = System::of(2).at(second).account("APP", -1, -1, -1);
        system.entry("APP").bytes = bytes;
        system
    }

    fn in_use(second: i64) -> Snapshot {
        epoch(second, 9).connect("n1", "APP", "u", 1, |_, _| {}).done()
    }

    #[test]
    fn a_day_without_anything_fires_and_says_since_when() {
        let judgement = judge_last::<Check>(&[in_use(0), epoch(60, 9).done(), epoch(DAY, 9).done()]);
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity());
        assert_eq!(firing.summary, "account APP has had no client, no leafnode and no traffic for 1day");
        assert_eq!(json!(firing.observed), json!({"value": DAY, "threshold": DAY, "unit": "seconds"}));
        assert_eq!(
            firing.evidence,
            json!({"inactive_seconds": DAY, "last_active": "2023-11-14T22:13:20Z", "watched_seconds": DAY, "bytes": 9,
                   "subscriptions": null})
        );
        let judgement = judge_last::<Check>(&[in_use(0), epoch(DAY - 1, 9).done()]);
        assert!(judgement.firing.is_empty());
        assert_eq!(judgement.standing(&entity()), Standing::Clear, "it was active within a day");
    }

    #[test]
    fn what_was_never_seen_active_is_watched_first() {
        let judgement = judge_last::<Check>(&[epoch(0, 0).done(), epoch(DAY - 1, 0).done()]);
        assert!(judgement.firing.is_empty() && judgement.unknown_rows().is_empty());
        let reason = "this agent has watched the account for 23h 59m 59s, of 1day".to_owned();
        assert_eq!(
            judgement.standing(&entity()),
            Standing::Unknown(reason),
            "another agent may have found it"
        );
        let judgement = judge_last::<Check>(&[epoch(0, 0).done(), epoch(DAY, 0).done()]);
        let firing = only(&judgement).1;
        assert!(firing.summary.ends_with("in the 1day that this agent has watched it"), "{}", firing.summary);
        assert_eq!(firing.evidence["inactive_seconds"], json!(null));
        assert!(firing.remediation[0].contains("in vain"));
    }

    #[test]
    fn clients_leafnodes_and_bytes_are_activity_and_a_restart_is_none() {
        let first = || epoch(0, 500).done();
        let last = |change: fn(System) -> System| {
            judge_last::<Check>(&[first(), change(epoch(2 * DAY, 500)).done()])
        };
        assert_eq!(last(|system| system).firing.len(), 1);
        assert!(last(|system| system.connect("n1", "APP", "u", 1, |_, _| {})).firing.is_empty());
        let leaf = |system: System| system.connect("n2", "APP", "l", 1, |c, _| c.kind = "Leafnode".into());
        assert!(last(leaf).firing.is_empty());
        assert!(judge_last::<Check>(&[first(), epoch(2 * DAY, 501).done()]).firing.is_empty());
        assert_eq!(judge_last::<Check>(&[first(), epoch(2 * DAY, 0).done()]).firing.len(), 1);
        assert_eq!(
            judge_last::<Check>(&[first(), epoch(DAY, 3).done(), epoch(2 * DAY, 3).done()]).firing.len(),
            1
        );
    }

    #[test]
    fn the_system_account_and_an_unused_global_account_are_left_out() {
        let of = |id: &'static str, bytes: u64| {
            let snapshot = |second| {
                let mut system =
                    System::of(1).at(second).with(|snapshot| snapshot.system_account = "SYS".into());
                system.entry(id).bytes = bytes;
                system.done()
            };
            let firing = judge_last::<Check>(&[snapshot(0), snapshot(2 * DAY)]).firing;
            firing.into_iter().map(|(_, firing)| firing.remediation[2].clone()).next()
        };
        assert_eq!((of("SYS", 5), of("$G", 0)), (None, None));
        assert!(of("$G", 5).unwrap().starts_with("It cannot be removed"));
        assert!(of("APP", 0).unwrap().contains("allow_delete"));
    }

    #[test]
    fn a_silent_server_may_have_all_of_its_clients() {
        let late = || epoch(2 * DAY, 0);
        for now in [late().silent("n1", Endpoint::AccountStatz), late().gone("n1")] {
            let judgement = judge_last::<Check>(&[epoch(0, 0).done(), now.done()]);
            assert!(judgement.firing.is_empty());
            assert!(matches!(judgement.standing(&entity()), Standing::Unknown(_)));
        }
        assert!(judge::<Check>(&late().done()).nothing.unwrap().contains("compares 2 epochs"));
    }

    #[test]
    fn accounts_that_are_not_listed_for_want_of_clients_are_unknown() {
        let used = |system: System| {
            let mut snapshot = system.done();
            snapshot.coverage.used_accounts_only = true;
            snapshot
        };
        let unused = || System::of(2).at(DAY).connect("n1", "OTHER", "u", 1, |_, _| {});
        let judgement = judge_last::<Check>(&[epoch(0, 0).done(), used(unused())]);
        assert!(judgement.firing.is_empty());
        let why = "accounts without clients are not listed, because there are too many to ask for all";
        assert_eq!(judgement.standing(&entity()), Standing::Unknown(why.into()));
        assert_eq!(judgement.standing(&Entity::account("OTHER", None)), Standing::Clear);
        assert_eq!((judgement.unknown_rows().len(), &*judgement.unknown_rows()[0].entity), (1, "*"));
        // What was watched before goes on.
        let later = epoch(DAY + 60, 0).done();
        assert_eq!(judge_last::<Check>(&[epoch(0, 0).done(), used(unused()), later]).firing.len(), 1);
        let back = epoch(DAY, 0).connect("n1", "APP", "u", 1, |_, _| {});
        assert_eq!(
            judge_last::<Check>(&[epoch(0, 0).done(), used(back)]).standing(&entity()),
            Standing::Clear
        );
    }

    #[test]
    fn the_duration_can_be_set() {
        let settings = |idle: &str| Settings {
            base: json!({ "idle": idle }).as_object().cloned().unwrap(),
            ..Settings::default()
        };
        let epochs = [epoch(0, 0).done(), epoch(4, 0).done()];
        assert_eq!(judge_last_set::<Check>(&epochs, &settings("4s")).firing.len(), 1);
        assert!(judge_last_set::<Check>(&epochs, &settings("5s")).firing.is_empty());
        assert!(Thresholds::<Limits>::new(&settings("10ms")).is_err());
    }
}
