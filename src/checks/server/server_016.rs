//! SERVER_016: JetStream of a server holds data of accounts that cannot be found.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict,
};
use crate::snapshot::{Endpoint, Problem, ProblemKind, Server, Snapshot, Version};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct AccountsUnresolved;

/// Nothing can be set: an account is found or it is not.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// How many accounts.
    accounts: u64,
    /// The first of them by their ids, at most 5.
    first: Vec<Row>,
    /// Whether the server may mean accounts whose JWT has expired: those before 2.12.14, and 2.14.0 to 2.14.3, say so of
    /// them as well. None where its version is not known.
    may_be_expired: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The account's name or public key.
    #[schemars(with = "Option<String>")]
    account: Option<Name>,
    /// The name that people know, where another server tells it.
    #[schemars(with = "Option<String>")]
    name: Option<Name>,
    /// Whether any server has this account loaded: then it is there, and this server does not find it.
    loaded_elsewhere: bool,
    /// The server's words.
    #[schemars(with = "String")]
    problem: Name,
}

/// Rows that are shown.
const NAMED: usize = 5;

impl Rule for AccountsUnresolved {
    const META: Meta = Meta {
        id: "SERVER_016",
        name: "JetStream Accounts Not Found",
        severity: Severity::Warning,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.10",
        differs: Some(
            "There is one finding for each server with the first five accounts, since one resolver that does not answer \
             hides all of them at once.",
        ),
        rule: "A server says for 2 epochs in a row that JetStream has streams of accounts that it cannot find.",
        why: "The streams of an account that a server cannot find are not loaded: nobody can read them or write to them \
              there, and they hold disk space.\n\n\
              Without a cluster a server looks up every directory below its `jetstream` directory, so that what a removed \
              account left behind is told for ever. In a cluster it looks up the accounts that streams are assigned to. \
              In operator mode an account is also not found while its resolver does not answer, or does not have it.\n\n\
              Servers before 2.12.14, and 2.14.0 to 2.14.3, say the same of accounts whose JWT has expired; later ones \
              leave them out.",
        remedy: &[
            "If the account still exists, see why this server does not find it: push its JWT again (`nsc push`), or look \
             at the URL and the log of the resolver.",
            "If its JWT has expired, renew it: `nsc edit account NAME --expiry …` and push.",
            "If it was removed for good, delete its streams, or remove its directory from the store of the server.",
        ],
        needs: &[Endpoint::Healthz],
        evidence_from: &[Endpoint::AccountStatz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // A resolver may be slow right after a start.
    const FOR: u64 = 2;
    // The server that leaves may be the one that answers for JWTs.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context.now, server)).collect()
    }
}

/// Whether a server of this version reports expired accounts (server source).
fn reports_expired(version: Version) -> bool {
    version < Version(2, 12, 14) || (version >= Version(2, 14, 0) && version < Version(2, 14, 4))
}

fn judge_server(now: &Snapshot, server: &Server) -> Option<Verdict> {
    let mut problems: Vec<&Problem> = server.health.as_ref()?.of_kind(ProblemKind::Account).collect();
    problems.sort_by(|a, b| (&a.account, &a.text).cmp(&(&b.account, &b.text)));
    let first = problems.first()?;
    let row = |problem: &&Problem| {
        let known = problem.account.as_ref().and_then(|account| now.accounts.get(account));
        Row {
            account: problem.account.clone(),
            name: known.and_then(|account| account.name.clone()),
            loaded_elsewhere: known.is_some(),
            problem: problem.text.clone(),
        }
    };
    let total = problems.len() as u64;
    let evidence = Evidence {
        accounts: total,
        first: problems.iter().take(NAMED).map(row).collect(),
        may_be_expired: server.version.map(reports_expired),
    };
    let name = &server.name;
    let summary = match (total, &first.account) {
        (1, Some(account)) => {
            let account = now.account_label(account);
            format!("JetStream of server {name} does not find account {account}: {}", first.text)
        }
        (1, None) => format!("JetStream of server {name} does not find an account: {}", first.text),
        _ => format!("JetStream of server {name} does not find {total} accounts, such as: {}", first.text),
    };
    let entity = Entity::of_server(server);
    let observed = Observed::count(total, 1, "accounts");
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation(server, &evidence)))
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let name = &server.name;
    let there = evidence.first.iter().find(|row| row.loaded_elsewhere);
    let exists = match there.and_then(|row| row.name.as_ref().or(row.account.as_ref())) {
        Some(account) => format!(
            "Account {account} is loaded by a server, so that it exists: see why server {name} does not find it; push its \
             JWT again (`nsc push`), or look at the URL and the log of the resolver."
        ),
        None => format!(
            "If the account still exists, see why server {name} does not find it: push its JWT again (`nsc push`), or add \
             it to the configuration file."
        ),
    };
    let removed = format!(
        "If it was removed for good, delete its streams, or stop server {name} and remove the account's directory from \
         its `jetstream` directory."
    );
    let mut steps = if there.is_some() { vec![exists, removed] } else { vec![removed, exists] };
    if evidence.may_be_expired != Some(false) {
        steps.push(
            "See whether its JWT has expired, which a server of this version reports in the same words, and renew it."
                .into(),
        );
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Standing;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::Health;
    use crate::snapshot::build::System;
    use crate::wire::healthz::Healthz;
    use serde_json::json;

    type Check = AccountsUnresolved;

    fn answers(system: System, accounts: &[&str]) -> System {
        let mut system = system;
        let error = |account: &&str| {
            json!({"type": "ACCOUNT", "account": account,
                "error": format!("JetStream account '{account}' could not be resolved")})
        };
        let errors: Vec<_> = accounts.iter().map(error).collect();
        let told: Healthz = serde_json::from_value(json!({"status": "error", "errors": errors})).unwrap();
        system.server_mut("n1").health = Some(Health::of(&told));
        system
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn a_directory_without_an_account_is_named() {
        let judgement = judge::<Check>(&answers(System::of(2), &["GONE"]).done());
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &server("n1"));
        assert_eq!(
            firing.summary,
            "JetStream of server n1 does not find account GONE: JetStream account 'GONE' could not be resolved"
        );
        assert_eq!(
            firing.evidence,
            json!({"accounts": 1, "may_be_expired": false, "first": [{"account": "GONE", "name": null,
                "loaded_elsewhere": false, "problem": "JetStream account 'GONE' could not be resolved"}]})
        );
        assert!(firing.remediation[0].starts_with("If it was removed for good"));
        assert_eq!(firing.remediation.len(), 2);
    }

    #[test]
    fn many_are_one_finding_and_one_that_others_know_comes_first_in_what_to_do() {
        let mut system = System::of(2).account("AC", -1, -1, -1);
        system.entry("AC").name = Some("Shop".into());
        let judgement = judge::<Check>(&answers(system, &["AX", "AC", "AZ", "A4", "A5", "A6"]).done());
        let (_, firing) = only(&judgement);
        assert!(
            firing.summary.contains("does not find 6 accounts, such as: JetStream account 'A4'"),
            "{firing:?}"
        );
        let first = firing.evidence["first"].as_array().unwrap();
        assert_eq!(
            (first.len(), &first[3]["name"], &first[3]["loaded_elsewhere"]),
            (5, &json!("Shop"), &json!(true))
        );
        assert!(firing.remediation[0].starts_with("Account Shop is loaded by a server"));
    }

    #[test]
    fn versions_that_report_expired_accounts_say_so() {
        for (version, expected) in [
            (Some(Version(2, 10, 26)), json!(true)),
            (Some(Version(2, 12, 12)), json!(true)),
            (Some(Version(2, 12, 14)), json!(false)),
            (Some(Version(2, 14, 3)), json!(true)),
            (Some(Version(2, 14, 4)), json!(false)),
            (None, json!(null)),
        ] {
            let mut system = answers(System::of(1), &["GONE"]);
            system.server_mut("n1").version = version;
            let judgement = judge::<Check>(&system.done());
            let (_, firing) = only(&judgement);
            assert_eq!(firing.evidence["may_be_expired"], expected, "{version:?}");
            assert_eq!(firing.remediation.len(), if expected == json!(false) { 2 } else { 3 });
        }
    }

    #[test]
    fn healthy_is_silent_and_silence_unknown() {
        assert!(judge::<Check>(&System::of(2).done()).firing.is_empty());
        let judgement =
            judge::<Check>(&answers(System::of(2), &["GONE"]).silent("n1", Endpoint::Healthz).done());
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&server("n1")), Standing::Unknown(_)));
    }
}
