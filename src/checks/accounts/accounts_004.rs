//! ACCOUNTS_004: nobody imports what an account exports.

use super::shares::{Limits, all_exports, export};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, Partial, Rule, Scope, Severity,
    Thresholds, Verdict, count,
};
use crate::checks::evidence::TOP;
use crate::checks::roll_up::first_and_rest;
use crate::snapshot::{Account, Endpoint, Export, ShareKind, Snapshot, Unloaded, overlaps};
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
    /// Whether accounts come from JWTs, so that there may be some that no server has loaded.
    operator_mode: bool,
    /// Accounts that no server has loaded and whose imports were looked at as well. None where they, or some of them, could not
    /// be, so that one of those may import it unseen; and where accounts stand in configuration files.
    unloaded_read: Option<u64>,
}

impl Evidence {
    /// Whether an account that no server has loaded may import it unseen.
    const fn is_partial(&self) -> bool {
        self.operator_mode && self.unloaded_read.is_none()
    }
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
             of their list and its export would look unused; of accounts that no server has loaded, and so none shows, the \
             JWTs are read where the resolver lists them.",
        ),
        rule: "An account other than the system account exports a stream or a service that no account imports.",
        why: "An export is a door in the wall between accounts. One that nobody uses is there for whoever finds it, and those \
              who change what is behind it have to think of users that do not exist.\n\n\
              An import uses an export if it names the account, is of the same kind, and its subject overlaps. It counts even \
              if it is not in effect.\n\n\
              In operator mode a server knows only the accounts that somebody needed since it was started. The imports of the \
              others are read from the resolver where it keeps all JWTs in a directory (`type: full`), at most 64 accounts an \
              epoch; until all are read, nothing fires. The list, and what was read, are brought up to date every ten minutes. A \
              resolver in memory or behind a URL lists nothing, and the agent's user may not be allowed to ask: then an account \
              without a single connection since the servers were started may import it, and is not seen. The finding says so; \
              look at all accounts before anything is removed. Where accounts stand in configuration files every server lists \
              all of its own.\n\n\
              Ten orphaned exports of one account are told one by one; where there are more, one finding tells of the others.",
        remedy: &[
            "Ask those who own the account whom the export is for.",
            "Where the finding says that accounts were not looked at, look for imports in those that no server has loaded: \
             `nsc describe account` of each.",
            "Remove the export, and push the account or reload the servers.",
        ],
        needs: &[Endpoint::AccountStatz, Endpoint::AccountDetails],
        evidence_from: &[Endpoint::ClaimsList, Endpoint::ClaimsLookup],
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
        let mut imported = Imported::default();
        for details in now.accounts.values().filter_map(|account| account.details.as_ref()) {
            let imports = details.imports.iter();
            imported.add(imports.map(|import| (&import.account, import.kind, &import.subject)));
        }
        for account in now.unloaded.iter().flat_map(|unloaded| unloaded.read.values()) {
            let imports = account.imports.iter();
            imported.add(imports.map(|import| (&import.account, import.kind, &import.subject)));
        }
        let mut verdicts = Vec::new();
        for account in now.accounts.values().filter(|account| account.id != now.system_account) {
            judge_account(now, thresholds, account, &imported, &mut verdicts);
        }
        verdicts
    }
}

/// What accounts import.
#[derive(Default)]
struct Imported<'a> {
    /// Subjects by exporting account and kind.
    subjects: BTreeMap<(&'a Name, ShareKind), BTreeSet<&'a Name>>,
    /// How many accounts import something from an account.
    importers: BTreeMap<&'a Name, u64>,
}

impl<'a> Imported<'a> {
    /// Adds the imports of one account.
    fn add(&mut self, imports: impl Iterator<Item = (&'a Name, ShareKind, &'a Name)>) {
        let mut exporters = BTreeSet::new();
        for (exporter, kind, subject) in imports {
            self.subjects.entry((exporter, kind)).or_default().insert(subject);
            exporters.insert(exporter);
        }
        for exporter in exporters {
            *self.importers.entry(exporter).or_default() += 1;
        }
    }

    fn is_used(&self, account: &Account, export: &Export) -> bool {
        self.subjects.get(&(&account.id, export.kind)).is_some_and(|subjects| {
            subjects.contains(&export.subject)
                || subjects.iter().any(|subject| overlaps(&export.subject, subject))
        })
    }
}

/// Why an account that no server has loaded may use it, while it will be known soon whether one does.
fn waits_for(unloaded: &Unloaded) -> Option<String> {
    match (unloaded.unread(), unloaded.cut()) {
        _ if !unloaded.told => None,
        (0, 0) => None,
        (0, cut) => {
            Some(format!("not all imports of {} that no server has loaded are kept", count(cut, "account")))
        }
        (unread, _) => Some(format!(
            "{} that no server has loaded may import it and were not read yet",
            count(unread, "account")
        )),
    }
}

fn judge_account(
    now: &Snapshot,
    thresholds: &Thresholds<Limits>,
    account: &Account,
    imported: &Imported<'_>,
    verdicts: &mut Vec<Verdict>,
) {
    let Some(details) = &account.details else { return };
    let is_used = |export: &&Export| imported.is_used(account, export);
    let mut orphaned: Vec<&Export> = details.exports.iter().filter(|export| !is_used(export)).collect();
    orphaned.retain(|one| thresholds.is_uniform() || thresholds.is_enabled(&export(account, one)));
    orphaned.sort_by(|a, b| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)));
    let of_exports = details.exports.len() as u64;
    let together = all_exports(account);
    let most = thresholds.of(&together).most;
    if let Some(why) = now.unloaded.as_ref().filter(|_| details.claims.is_some()).and_then(waits_for) {
        let each = orphaned.iter().map(|one| export(account, one));
        let rest = (orphaned.len() as u64 > most).then_some(together);
        verdicts.extend(each.chain(rest).map(|entity| Verdict::not_yet(entity, &*why)));
        return;
    }
    let importers = imported.importers.get(&account.id).copied().unwrap_or(0);
    let read = now.unloaded.as_ref().filter(|unloaded| unloaded.told && details.claims.is_some());
    let unloaded_read = read.map(|unloaded| unloaded.read.len() as u64);
    let report = |entity: Entity, orphaned: &[&Export]| {
        let rest = entity.id == together.id;
        let evidence = Evidence {
            orphaned: orphaned.len() as u64,
            exports: orphaned.iter().take(TOP).map(|export| row(export)).collect(),
            of_exports,
            importers,
            operator_mode: details.claims.is_some(),
            unloaded_read,
        };
        let loaded = if evidence.is_partial() { " that is loaded" } else { "" };
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
    if evidence.is_partial() {
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
