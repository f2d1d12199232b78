//! CHANGE_003: an account is new, or is there no longer.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::checks::evidence::TOP;
use crate::snapshot::{Account, Endpoint, Known, KnownAccount, Limits as AccountLimits, LookBack, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct AccountChange;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Tell so many accounts that changed in one epoch one by one; where there are more, one finding tells of all of them.
    most: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: 10 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("most", self.most, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// `added`, `removed`, or `several` where the finding is about many accounts.
    change: &'static str,
    /// Accounts that were added.
    added: u64,
    /// Accounts that were removed.
    removed: u64,
    /// Some of the added ones, at most 5.
    #[schemars(with = "Vec<String>")]
    added_accounts: Vec<Name>,
    /// Some of the removed ones, at most 5.
    #[schemars(with = "Vec<String>")]
    removed_accounts: Vec<Name>,
    /// Whether accounts come from JWTs, so that a new one is one that somebody uses and nobody had used for a day.
    operator_mode: bool,
    /// Accounts in all.
    accounts: u64,
    /// Servers that answer for the first time, at most 5.
    #[schemars(with = "Vec<String>")]
    new_servers: Vec<Name>,
    /// Client connections of the account, those before it was removed.
    connections: Option<u64>,
}

/// How an account changed.
#[derive(Clone, Copy)]
struct Change<'a> {
    id: &'a Name,
    name: Option<&'a Name>,
    of_jwt: bool,
    connections: u64,
    added: bool,
}

impl<'a> Change<'a> {
    fn added(account: &'a Account) -> Self {
        // What was not read may be of either kind, and is shown as of a JWT.
        let of_jwt = matches!(account.limits, AccountLimits::Jwt(_) | AccountLimits::Unread(_));
        let (name, connections) = (account.name.as_ref(), account.connections());
        Self { id: &account.id, name, of_jwt, connections, added: true }
    }

    fn removed((id, known): (&'a Name, &'a KnownAccount)) -> Self {
        let KnownAccount { name, of_jwt, connections, .. } = known;
        Self { id, name: name.as_ref(), of_jwt: *of_jwt, connections: *connections, added: false }
    }

    fn label(&self) -> &'a Name {
        self.name.unwrap_or(self.id)
    }
}

impl Rule for AccountChange {
    const META: Meta = Meta {
        id: "CHANGE_003",
        name: "Account Added or Removed",
        severity: Severity::Info,
        category: Category::Change,
        kind: Kind::Operational,
        entity: EntityType::Account,
        since: "2.9",
        differs: Some(
            "An account that was there within the last day is not new when it comes back, and one that was removed is told only \
             while every server runs that may have had it, because a server that is stopped takes its accounts with it, and \
             one that is started anew knows those of JWTs only when somebody needs them.",
        ),
        rule: "An account is there that was not within the last day, or the other way round.",
        why: "A new tenant, or one that is gone, is worth a look: by whom it was meant, and whether quotas and alarms know of \
              it. The finding is of the one epoch that saw the change and ends with the next.\n\n\
              Where accounts stand in configuration files, a server lists all of its own, so that a change is one of the file. \
              In operator mode a server knows an account from the moment somebody first needs it: a new one means its first \
              use for a day, not that it was created.\n\n\
              Nothing is said while a server does not answer, for it may be the only one that has the account; a change is \
              told when all answer again. Nor is anything said of what only a server had that was stopped: its accounts are \
              remembered for a day and are not new when it is back. More than ten in one epoch, as when a server of another \
              system joins, are one finding about the system account.",
        remedy: &[
            "Look who changed the accounts and whether that was meant.",
            "Give a new account limits, and alarms if it matters.",
            "If an account is gone by mistake, bring its block or its JWT back: its clients are refused.",
        ],
        needs: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    const DISTURBED: Disturbed = Disturbed::Never;
    const EPOCHS: u64 = 2;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn looks_back(_: &Limits) -> LookBack {
        LookBack { known: true, ..LookBack::default() }
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let (now, known) = (context.now, context.history.known());
        let added = known.added(now).into_iter().map(Change::added);
        let removed = known.removed(now).into_iter().map(Change::removed);
        let changes: Vec<Change<'_>> = added.chain(removed).collect();
        let together = Entity::account(&now.system_account, now.account_name(&now.system_account));
        if changes.len() as u64 > thresholds.of(&together).most {
            return vec![verdict(now, known, together, &changes)];
        }
        let each = changes.iter().map(|change| {
            let entity = Entity::account(change.id, change.name);
            verdict(now, known, entity, &[*change])
        });
        each.collect()
    }
}

fn verdict(now: &Snapshot, known: &Known, entity: Entity, changes: &[Change<'_>]) -> Verdict {
    let names = |added: bool| {
        let of = changes.iter().filter(move |change| change.added == added);
        of.map(|change| change.label().clone())
    };
    let new_servers = now.servers.values().filter(|server| known.is_new(server));
    let single = match changes {
        [one] => Some(one),
        _ => None,
    };
    let evidence = Evidence {
        change: single.map_or("several", |one| if one.added { "added" } else { "removed" }),
        added: names(true).count() as u64,
        removed: names(false).count() as u64,
        added_accounts: names(true).take(TOP).collect(),
        removed_accounts: names(false).take(TOP).collect(),
        operator_mode: changes.iter().any(|change| change.of_jwt),
        accounts: now.accounts.len() as u64,
        new_servers: new_servers.map(|server| server.name.clone()).take(TOP).collect(),
        connections: single.map(|one| one.connections),
    };
    let summary = match single {
        Some(one) if one.added && one.of_jwt => {
            format!("account {} is used, for the first time that this agent saw within a day", one.label())
        }
        Some(one) if one.added => format!("account {} is new", one.label()),
        Some(one) => format!("account {} is there no longer", one.label()),
        None => format!(
            "{} were added and {} removed since the epoch before",
            count(evidence.added, "account"),
            evidence.removed
        ),
    };
    let observed = Observed::count(changes.len() as u64, 0, "accounts");
    let remediation = remediation(&evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn remediation(evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    if !evidence.new_servers.is_empty() {
        steps.push(format!(
            "Look whether the accounts came with {}, which answered for the first time.",
            evidence.new_servers.join(", ")
        ));
    }
    steps.push("Look who changed the accounts and whether that was meant.".into());
    if evidence.removed > 0 {
        steps.push(
            "If an account is gone by mistake, bring its block or its JWT back: its clients are refused."
                .into(),
        );
    }
    if evidence.added > 0 {
        steps.push("Give a new account limits, and alarms if it matters.".into());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge, judge_last, judge_last_set, only};
    use crate::snapshot::Server;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = AccountChange;

    fn system(second: i64, accounts: &[&str]) -> System {
        let system =
            System::of(2).at(second).config_account("SYS").with(|now| now.system_account = "SYS".into());
        accounts.iter().fold(system, |system, account| system.config_account(account))
    }

    fn epoch(second: i64, accounts: &[&str]) -> Snapshot {
        system(second, accounts).done()
    }

    fn app() -> Entity {
        Entity::account("APP", None)
    }

    #[test]
    fn an_account_that_comes_and_goes_is_told_once() {
        let epochs =
            [epoch(0, &["A"]), epoch(60, &["A", "APP"]), epoch(120, &["A", "APP"]), epoch(180, &["A"])];
        let judgement = judge_last::<Check>(&epochs[..2]);
        let (entity, firing) = only(&judgement);
        assert_eq!((entity, &*firing.summary), (&app(), "account APP is new"));
        assert_eq!(json!(firing.observed), json!({"value": 1, "threshold": 0, "unit": "accounts"}));
        assert_eq!(
            firing.evidence,
            json!({"change": "added", "added": 1, "removed": 0, "added_accounts": ["APP"], "removed_accounts": [],
                   "operator_mode": false, "accounts": 3, "new_servers": [], "connections": 0})
        );
        assert!(judge_last::<Check>(&epochs[..3]).firing.is_empty());
        let judgement = judge_last::<Check>(&epochs);
        assert_eq!(only(&judgement).1.summary, "account APP is there no longer");
        assert!(only(&judgement).1.remediation[1].starts_with("If an account is gone by mistake"));
        assert!(matches!(judge::<Check>(&epochs[0]).standing(&app()), Standing::Unknown(_)));
    }

    #[test]
    fn nothing_is_said_of_what_a_silent_server_may_have() {
        let (with, without) = (["A", "APP"], ["A"]);
        let silent =
            |second, accounts: &[&str]| system(second, accounts).silent("n1", Endpoint::AccountStatz).done();
        let gone = |second, accounts: &[&str]| system(second, accounts).gone("n2").done();
        for after in [silent(60, &without), gone(60, &without), silent(60, &with), gone(60, &with)] {
            let judgement = judge_last::<Check>(&[epoch(0, &with), after]);
            assert!(judgement.firing.is_empty());
            assert!(matches!(judgement.standing(&app()), Standing::Unknown(_)));
        }
        // It is back, and so is what it alone had.
        for before in [silent(0, &without), gone(0, &without)] {
            assert!(judge_last::<Check>(&[before, epoch(60, &with)]).firing.is_empty());
        }
        let mut used = epoch(60, &without);
        used.only_used_accounts = true;
        assert!(judge_last::<Check>(&[epoch(0, &with), used.clone()]).firing.is_empty());
        assert!(judge_last::<Check>(&[used, epoch(60, &with)]).firing.is_empty());
    }

    #[test]
    fn in_operator_mode_use_is_told_and_a_restart_is_no_removal() {
        let operator = |second, accounts: &[&str]| {
            let system = accounts
                .iter()
                .fold(System::of(2).at(second), |system, account| system.account(account, 1, 1, 1));
            system.done()
        };
        let judgement = judge_last::<Check>(&[operator(0, &["A"]), operator(60, &["A", "APP"])]);
        let (_, firing) = only(&judgement);
        assert_eq!(
            firing.summary,
            "account APP is used, for the first time that this agent saw within a day"
        );
        assert_eq!(firing.evidence["operator_mode"], json!(true));
        let removed = judge_last::<Check>(&[operator(0, &["A", "APP"]), operator(60, &["A"])]);
        assert_eq!(removed.firing.len(), 1);
        let mut after = operator(60, &["A"]);
        let server = after.servers.remove("ID-n2").unwrap();
        after.servers.insert("NEW".into(), Server { id: "NEW".into(), ..server });
        assert!(judge_last::<Check>(&[operator(0, &["A", "APP"]), after]).firing.is_empty());
    }

    /// Accounts of configuration files on these servers.
    fn on(second: i64, servers: &[&str], accounts: &[&str]) -> Snapshot {
        let system = servers.iter().fold(System::of(0).at(second), |mut system, server| {
            system.add_server(server, Some("east"));
            system
        });
        accounts.iter().fold(system, |system, account| system.config_account(account)).done()
    }

    #[test]
    fn what_only_a_stopped_server_had_is_neither_removed_nor_new_when_it_is_back() {
        let both = ["n1", "n2"];
        let epochs = [
            on(0, &both, &["A", "ONLY"]),
            on(60, &["n1"], &["A"]),
            on(120, &["n1"], &["A"]),
            on(180, &both, &["A", "ONLY"]),
        ];
        for last in 2..=4 {
            let judgement = judge_last::<Check>(&epochs[..last]);
            assert!(judgement.firing.is_empty(), "{judgement:?}");
        }
        // It is back without it: then it is gone from its file.
        let judgement = judge_last::<Check>(&[epochs[0].clone(), epochs[1].clone(), on(180, &both, &["A"])]);
        assert_eq!(only(&judgement).1.summary, "account ONLY is there no longer");
        // What another one that runs on had went while the server was away.
        let judgement = judge_last::<Check>(&[
            epochs[0].clone(),
            on(60, &["n1"], &["A", "LATER"]),
            on(120, &["n1"], &["A"]),
        ]);
        assert_eq!(only(&judgement).1.summary, "account LATER is there no longer");
    }

    #[test]
    fn nothing_is_new_after_an_epoch_without_servers_and_no_change_is_lost_in_one_without_answers() {
        let both = ["n1", "n2"];
        let before = on(0, &both, &["A", "B"]);
        let epochs = [before.clone(), on(60, &[], &[]), on(120, &both, &["A", "B"])];
        assert!(judge_last::<Check>(&epochs).firing.is_empty());
        let mut silent = on(60, &both, &["A", "B", "C"]);
        let answer = crate::snapshot::Answer::Silent;
        silent.coverage.note(Endpoint::AccountStatz, &"ID-n2".into(), answer);
        let judgement = judge_last::<Check>(&[before, silent, on(120, &both, &["A", "B", "C"])]);
        assert_eq!(only(&judgement).1.summary, "account C is new");
    }

    #[test]
    fn an_account_that_is_loaded_again_after_a_restart_is_not_used_for_the_first_time() {
        let operator = |second, id: &str, accounts: &[&str]| {
            let mut now = accounts
                .iter()
                .fold(System::of(2).at(second), |system, account| system.account(account, 1, 1, 1))
                .done();
            let server = now.servers.remove("ID-n2").unwrap();
            now.servers.insert(id.into(), Server { id: id.into(), ..server });
            now
        };
        let epochs =
            [operator(0, "ID-n2", &["APP"]), operator(60, "NEW", &[]), operator(3600, "NEW", &["APP"])];
        for last in 2..=3 {
            assert!(judge_last::<Check>(&epochs[..last]).firing.is_empty());
        }
    }

    #[test]
    fn many_at_once_are_one_finding_of_the_system_account() {
        let names: Vec<String> = (0..11).map(|i| format!("T{i}")).collect();
        let tenants: Vec<&str> = names.iter().map(|name| &**name).collect();
        let mut after = epoch(60, &tenants);
        let mut other = System::of(0);
        other.add_server("far", None);
        after.servers.extend(other.done().servers);
        after.coverage.present.insert("ID-far".into(), ("far".into(), None));
        after.coverage.note(Endpoint::AccountStatz, &"ID-far".into(), crate::snapshot::Answer::Complete);
        let epochs = [epoch(0, &["OLD"]), after];
        let judgement = judge_last::<Check>(&epochs);
        let (entity, firing) = only(&judgement);
        assert_eq!(*entity, Entity::account("SYS", None));
        assert_eq!(firing.summary, "11 accounts were added and 1 removed since the epoch before");
        assert_eq!(firing.evidence["added_accounts"].as_array().unwrap().len(), 5);
        assert_eq!(firing.evidence["new_servers"], json!(["far"]));
        assert!(firing.remediation[0].contains("far"), "{:?}", firing.remediation);
        let base = [("most".to_owned(), json!(12))].into_iter().collect();
        assert_eq!(
            judge_last_set::<Check>(&epochs, &Settings { base, ..Settings::default() }).firing.len(),
            12
        );
    }
}
