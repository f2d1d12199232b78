//! ACCOUNTS_004: nobody imports what an account exports.

use super::shares::{Limits, all_exports, export};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, Partial, Rule, Scope, Severity,
    Thresholds, Verdict, count,
};
use crate::checks::evidence::TOP;
use crate::checks::roll_up::first_and_rest;
use crate::snapshot::{Account, Endpoint, Export, ShareKind, Snapshot, overlaps};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// See [`Rule::META`].
pub(super) struct OrphanedExport;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Exports that the finding is about.
    orphaned: u64,
    /// Some of them, at most 5.
    exports: Vec<Row>,
    /// Exports of the account in all.
    of_exports: u64,
    /// Other accounts that import something from this account.
    importers: u64,
    /// Whether accounts come from JWTs, so that one that no server has loaded may import it unseen.
    operator_mode: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// `stream` or `service`.
    kind: &'static str,
    /// The subject.
    #[schemars(with = "String")]
    subject: Name,
    /// Whether an import needs an activation token.
    token_required: bool,
    /// How many accounts may import it; none where all may, and where tokens decide.
    approved_accounts: Option<u64>,
}

impl Rule for OrphanedExport {
    const META: Meta = Meta {
        id: "ACCOUNTS_004",
        name: "Orphaned Export",
        severity: Severity::Warning,
        category: Category::Waste,
        kind: Kind::Operational,
        entity: EntityType::Export,
        since: "2.9",
        differs: Some(
            "Imports that a JWT declares count as well as those that are in effect, because servers leave a broken import out \
             of their list and its export would look unused; accounts that no server has loaded are not shown by any.",
        ),
        rule: "An account other than the system account exports a stream or a service that no account imports.",
        why: "An export is a door in the wall between accounts. One that nobody uses is there for whoever finds it, and those \
              who change what is behind it have to think of users that do not exist.\n\n\
              An import uses an export if it names the account, is of the same kind, and its subject overlaps. It counts even \
              if it is not in effect.\n\n\
              In operator mode a server knows only the accounts that somebody needed since it was started: one without a \
              single connection since then may import it, and is not seen. Look at all accounts before anything is removed. \
              Where accounts stand in configuration files every server lists all of its own.\n\n\
              Ten orphaned exports of one account are told one by one; where there are more, one finding tells of the others.",
        remedy: &[
            "Ask those who own the account whom the export is for.",
            "In operator mode look for imports in the accounts that no server has loaded: `nsc describe account` of each.",
            "Remove the export, and push the account or reload the servers.",
        ],
        needs: &[Endpoint::AccountStatz, Endpoint::AccountDetails],
        scope: Scope::System,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // After a start servers load importing accounts as their clients come.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let now = context.now;
        let (mut subjects, mut importers) = (Subjects::new(), BTreeMap::<&Name, u64>::new());
        for account in now.accounts.values() {
            let mut exporters = BTreeSet::new();
            for import in account.details.iter().flat_map(|details| &details.imports) {
                subjects.entry((&import.account, import.kind)).or_default().insert(&import.subject);
                exporters.insert(&import.account);
            }
            for exporter in exporters {
                *importers.entry(exporter).or_default() += 1;
            }
        }
        let mut verdicts = Vec::new();
        for account in now.accounts.values().filter(|account| account.id != now.system_account) {
            let importers = importers.get(&account.id).copied().unwrap_or(0);
            judge_account(now, thresholds, account, (&subjects, importers), &mut verdicts);
        }
        verdicts
    }
}

/// Imported subjects by exporting account and kind.
type Subjects<'a> = BTreeMap<(&'a Name, ShareKind), BTreeSet<&'a Name>>;

fn judge_account(
    now: &Snapshot,
    thresholds: &Thresholds<Limits>,
    account: &Account,
    (subjects, importers): (&Subjects<'_>, u64),
    verdicts: &mut Vec<Verdict>,
) {
    let Some(details) = &account.details else { return };
    let is_used = |export: &&Export| {
        subjects.get(&(&account.id, export.kind)).is_some_and(|subjects| {
            subjects.contains(&export.subject)
                || subjects.iter().any(|subject| overlaps(&export.subject, subject))
        })
    };
    let mut orphaned: Vec<&Export> = details.exports.iter().filter(|export| !is_used(export)).collect();
    orphaned.retain(|one| thresholds.is_uniform() || thresholds.is_enabled(&export(account, one)));
    orphaned.sort_by(|a, b| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)));
    let of_exports = details.exports.len() as u64;
    let together = all_exports(account);
    let most = thresholds.of(&together).most;
    let report = |entity: Entity, orphaned: &[&Export]| {
        let rest = entity.id == together.id;
        let evidence = Evidence {
            orphaned: orphaned.len() as u64,
            exports: orphaned.iter().take(TOP).map(|export| row(export)).collect(),
            of_exports,
            importers,
            operator_mode: details.claims.is_some(),
        };
        let loaded = if evidence.operator_mode { " that is loaded" } else { "" };
        let summary = match orphaned {
            [one] if !rest => format!(
                "no account{loaded} imports the {} {} that account {} exports",
                one.kind.as_str(),
                one.subject,
                account.label(),
            ),
            _ => format!(
                "no account{loaded} imports {} more of the {of_exports} exports of account {}",
                orphaned.len(),
                account.label(),
            ),
        };
        let observed = Observed::count(evidence.orphaned, 0, "exports");
        let remediation = remediation(now, account, orphaned, &evidence);
        Verdict::firing(entity, summary, observed, &evidence, remediation)
    };
    verdicts.extend(first_and_rest(most, &orphaned, together.clone(), |one| export(account, one), report));
}

fn row(export: &Export) -> Row {
    Row {
        kind: export.kind.as_str(),
        subject: export.subject.clone(),
        token_required: export.token_required,
        approved_accounts: export.approved,
    }
}

fn remediation(now: &Snapshot, account: &Account, orphaned: &[&Export], evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    let example = orphaned.first().map_or("", |export| &export.subject);
    if evidence.operator_mode {
        steps.push(format!(
            "Look for imports of {example} in the accounts that no server has loaded ({} are): `nsc describe account` of each.",
            count(now.accounts.len() as u64, "account"),
        ));
    }
    if evidence.importers > 0 {
        steps.push(format!(
            "Look at what the {} that import from account {} import: a subject with a typing error overlaps nothing.",
            count(evidence.importers, "account"),
            account.label(),
        ));
    }
    if evidence.exports.iter().any(|row| row.token_required || row.approved_accounts.is_some()) {
        steps.push("Ask those who were given a token or were approved whether they still need it.".into());
    }
    steps.push(match evidence.operator_mode {
        true => format!(
            "Remove the export if nobody needs it: `nsc delete export --account '{}' --subject '{example}'`, then push.",
            account.label()
        ),
        false => format!(
            "Remove the export from account {} in the servers' configuration if nobody needs it, and reload.",
            account.label()
        ),
    });
    steps
}

#[cfg(test)]
mod tests;
